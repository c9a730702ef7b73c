"""Parts of a text that must come through as they are: addresses and the holes that programs fill in."""

import re

# From the most special on: an address may hold braces, a brace may hold a percent sign.
PLACEHOLDER = re.compile(
    r"""
    ``[^`\n]+`` | (?::[\w:.+-]+:)?`[^`\n]+`_{0,2}     # code and roles of reStructuredText
    | https?://[^\s<>"']*[^\s<>"'.,;:!?)\]}]             # addresses, without the punctuation after them
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                     # e-mail
    | \$?\{\{?[^{}\n]{0,80}\}?\}                       # {name} {0:.2f} {{count}} ${name}
    | (?<![\d%])%\(\w+\)[-+#0]*\d*(?:\.\d+)?[a-zA-Z]   # %(name)s
    | (?<![\d%])%(?:\d+\$)?[-+#0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z)?[diouxXeEfFgGcrsa@](?![A-Za-z])   # %s %1$d %.2f
    | \$[A-Za-z_]\w*                                   # $name
    """,
    re.VERBOSE,
)


def placeholders(text: str) -> list[str]:
    """All placeholders of `text`, in their order."""
    return PLACEHOLDER.findall(text)

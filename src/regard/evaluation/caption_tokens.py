"""Words of a caption as the caption scorers count them: Penn Treebank tokens, lower case, without punctuation.

The published figures of captioning are measured on the tokens of the COCO scorer (Chen et al. 2015, section 4.1),
which runs Stanford's tokenizer in Java and drops punctuation. These are its rules as far as captions meet them.
"""

import re
from functools import lru_cache

_ABBREVIATIONS = (
    "mr mrs ms dr st ft mt ave blvd rd jr sr prof gen sen rev capt sgt lt col inc ltd corp co vs etc dept no"
)
_CLITICS = r"(?:'(?:s|m|d|ll|re|ve)|n't)(?!\w)"
_TOKEN = re.compile(
    rf"""
    [$£€](?=\d)                                   # a price is its sign and its number
    | \d+(?:[.,:/]\d+)+ (?:-\w+)*                 # 6:55, 1,000, 1/2
    | '\d\ds?(?!\w)                               # '90s
    | (?:[^\W\d_]\.){{2,}}                        # t.v.
    | (?:{"|".join(_ABBREVIATIONS.split())})\.    # blvd.
    | {_CLITICS}                                  # bear 's, ca n't
    | (?:(?!{_CLITICS})[\w])+                     # a word, up to its clitic,
      (?:(?!{_CLITICS})['.\-_&@/] (?:(?!{_CLITICS})[\w])+)*   # with what joins its parts: upside-down, o'clock
    | [()\[\]{{}}]
    | [^\s\w]
    """,
    re.VERBOSE,
)
_TWO_WORDS = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "lemme": "lem me"}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset(".,;:?!-'\"`\N{HORIZONTAL ELLIPSIS}\N{EN DASH}\N{EM DASH}")
_STRAIGHT = {ord(curved): "'" for curved in "\u2018\u2019\u00b4"} | {ord(mark): '"' for mark in "\u201c\u201d\u201e«»"}


@lru_cache(maxsize=65_536)
def caption_tokens(caption: str) -> tuple[str, ...]:
    """The counted words of `caption`, in any language that separates its words by spaces."""
    found = _TOKEN.findall(caption.translate(_STRAIGHT).lower())
    words = (_TWO_WORDS.get(token, _BRACKETS.get(token, token)).split() for token in found if token not in _DROPPED)
    return tuple(word for pair in words for word in pair)

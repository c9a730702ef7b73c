"""A translation while it is being found: what is new in the best output after each step of the search."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from regard.errors import UsageError
from regard.pipelines.translate import Translation
from regard.serve.models import ServedModel


class Update(NamedTuple):
    """The best output so far. `revised_from` is the first character that changed, None where text only came to it."""

    step: int  # from 1
    text: str
    added: str
    revised_from: int | None


def updates(
    model: ServedModel, text: str, *, prefix: str = "", row: int = 0, **search: Any
) -> Iterator[Update | Translation | None]:
    """Updates, None where nothing comes for a while, and last the translation itself; sampling draws by `row`.

    Raises:
        UsageError: a setting is wrong, or `text` is too long for the model.
        DataError: `text` holds half a surrogate pair.
    """
    translator = model.translator
    config, request = translator.settings(**search), translator.request(text, prefix=prefix, row=row)
    if len(request.source) > translator.longest:
        raise UsageError(f"the text has {len(request.source)} pieces, but the model reads {translator.longest} at most")
    if len(request.source) == 1 and translator.reads_source:  # blank: there is nothing to search
        yield translator.translate(text, **search)[0]
        return
    searching = model.engine.updates(request, config)
    step, said = 0, ""
    while True:
        try:
            ids = next(searching)
        except StopIteration as end:
            yield translator.result(text, request, end.value, config)
            return
        if ids is None:
            yield None
            continue
        step, now = step + 1, translator.vocabularies.target.decode(ids)
        # A character may need several tokens; until it is whole, it is not said.
        if now != said and not now.endswith("\N{REPLACEMENT CHARACTER}"):
            same = _same_beginning(said, now)
            yield Update(step, now, now[same:], None if same == len(said) else same)
            said = now


def _same_beginning(one: str, other: str) -> int:
    """How many characters."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)

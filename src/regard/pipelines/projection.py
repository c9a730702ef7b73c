"""Mark-up and placeholders of a source, carried to its translation along the alignment of words.

A word of the translation is in the elements of the source word that it used most. No tag and no placeholder is ever
lost or changed, and elements stay well nested. An element whose words have come apart is written once around all of
them where nothing lies between that is in other elements, and else around each part.
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Any

from regard.errors import DataError
from regard.pipelines.translate import Translation, Translator
from regard.pipelines.units import Marked, Path, Unit, split

Escape = Callable[[str], str]
Origins = dict[int, int]  # word of the translation: word of the source
# Words that many models copy, offered in the place of what must be kept: of names and of numbers.
NAMES = ("Tom", "Berlin", "Anna", "London", "X")
NUMBERS = ("5", "10", "20")
IS_NUMBER = re.compile(r"%(?:\(\w+\)|\d+\$)?[-+#0]*\d*(?:hh|h|ll|l|z)?[diu]")
SPACE = " "  # as the literal of a unit with text: there is a space before it even inside of a word
ENDS = ".!?…"


def escape_html(text: str) -> str:
    """`text` so that no part of it is mark-up."""
    return html.escape(text, quote=False)


def translate_marked(
    translator: Translator,
    sources: Sequence[Marked],
    *,
    escape: Escape = escape_html,
    droppable: Collection[str] = (),
    tell: Callable[[str], object] = lambda notice: None,
    **search: Any,
) -> list[str]:
    """The translations of `sources` with their mark-up; `escape` makes text safe among it.

    Of elements that have got no words, those whose opening tag is `droppable` are left out. `tell` hears of outputs
    that were ended at their greatest length.

    Raises:
        UsageError: there is something to be placed and the model does not attend to its source; or a setting is wrong.
        DataError: a source is too long for the model.
    """
    stand_ins = _stand_ins(translator, sources, search)
    texts = [source.text(words) for source, words in zip(sources, stand_ins, strict=True)]
    done = translator.translate(texts, batch_size=max(1, len(texts)), **search)
    for each in done:
        if each.notice and not each.ids:
            raise DataError(f"a passage was {each.notice}")
        if each.notice:
            tell(f"{each.source[:60]!r}: {each.notice}")
    translator.look_at_all(
        [each for source, each in zip(sources, done, strict=True) if _has_something_to_place(source)]
    )
    return [
        _write(source, each, words, escape, droppable)
        for source, each, words in zip(sources, done, stand_ins, strict=True)
    ]


def _stand_ins(translator: Translator, sources: Sequence[Marked], search: dict[str, Any]) -> list[list[str]]:
    """For everything that must be kept a word that the model copies; none where it copies none of those it is offered.

    A sentence with a name in it is one like those that the model has learnt; one with a `{name}` in it is not.
    """
    if not any(source.kept for source in sources):
        return [[] for _ in sources]
    offered = [*NAMES, *NUMBERS]
    said = translator.translate([f"{word}." for word in offered], batch_size=len(offered), **search)
    copied = {word for word, each in zip(offered, said, strict=True) if each.text == f"{word}."}
    names, numbers = ([word for word in words if word in copied] for words in (NAMES, NUMBERS))
    if not names:
        return [[] for _ in sources]
    return [
        [
            _pick(numbers if numbers and IS_NUMBER.fullmatch(text) else names, place)
            for place, text in enumerate(source.kept)
        ]
        for source in sources
    ]


def _pick(words: Sequence[str], place: int) -> str:
    return words[place % len(words)]


def _has_something_to_place(source: Marked) -> bool:
    return bool(source.elements) or any(unit.is_kept or unit.literal for unit in source.units)


def _write(
    source: Marked,
    translation: Translation,
    stand_ins: Sequence[str],
    escape: Escape,
    droppable: Collection[str],
) -> str:
    if not _has_something_to_place(source):
        return escape(translation.text)
    origins = _origins(source, translation)
    units = _with_placeholders(source, split(translation.text), origins, stand_ins)
    units = _with_paths(source, units, origins)
    units = _with_mark_up(source, _close_gaps(units), origins, droppable)
    return _serialise(source, units, escape)


def _origins(source: Marked, translation: Translation) -> Origins:
    """Where the tokenizer's words are not what stands between spaces, the order of words has to do."""
    num_source, num_target = len(source.text().split()), len(translation.text.split())
    links = {target: link for link, target in translation.alignment} if translation.ids else {}
    if sorted(links) == list(range(num_target)) and all(word < num_source for word in links.values()):
        return links
    return {target: target * num_source // num_target for target in range(num_target)}


def _with_placeholders(source: Marked, units: Sequence[Unit], origins: Origins, stand_ins: Sequence[str]) -> list[Unit]:
    """`units` of the translation, with every placeholder of the source just as often as it stands there."""
    missing = Counter(unit.text for unit in source.units if unit.is_kept)
    placed = []
    for unit in units:  # those that the model copied by itself, no more of them than there should be
        if unit.text in missing:
            missing[unit.text] -= 1
        if missing[unit.text] >= 0:
            placed.append(unit)
    kept = [unit for unit in source.units if unit.is_kept]
    for unit, word in reversed(list(zip(kept, stand_ins or [""] * len(kept), strict=True))):
        if missing[unit.text] > 0:  # of several equal ones it is the last that is lacking
            missing[unit.text] -= 1
            placed = _put(unit._replace(path=()), word, source, placed, origins)
    return _without_leftovers(source, placed, stand_ins)


def _put(placeholder: Unit, stand_in: str, source: Marked, units: list[Unit], origins: Origins) -> list[Unit]:
    """`units` with `placeholder` in the place of what the model made of it; if that is nothing, in its order."""
    copied = _copied(placeholder, stand_in, units, origins)
    if copied is not None:
        rest = units[copied].text.removeprefix(stand_in)  # an ending, as in "Toms"
        ending = [units[copied]._replace(text=rest)] if rest else []
        return [*units[:copied], placeholder._replace(word=units[copied].word), *ending, *units[copied + 1 :]]
    neighbours = [unit for unit in source.units if unit.word == placeholder.word and unit.text]
    made = []
    if not any(unit.is_word and not unit.is_kept for unit in neighbours):
        made = [place for place, unit in enumerate(units) if _is_made_of(unit, placeholder.word, origins)]
    if made:
        last = made[0]
        for place in made:  # as far as nothing else lies between; the signs at its end stay
            if all(origins.get(unit.word) == placeholder.word for unit in units[last:place]):
                last = place
        first_word, last_word = units[made[0]].word, units[last].word
        following = [u._replace(word=first_word) if u.word == last_word else u for u in units[last + 1 :]]
        return [*units[: made[0]], placeholder._replace(word=first_word), *following]
    place = _behind(placeholder.word - 1, units, origins)
    while place and units[place - 1].text in ENDS:
        place -= 1
    word = units[place - 1].word if place else -1
    return [*units[:place], placeholder._replace(word=word, literal=SPACE), *units[place:]]


def _copied(placeholder: Unit, stand_in: str, units: Sequence[Unit], origins: Origins) -> int | None:
    """Where the model said `stand_in`: that unit, of several the one that looked there, or one that begins with it."""
    if not stand_in:
        return None
    looked = [origins.get(unit.word) == placeholder.word for unit in units]
    same = [place for place, unit in enumerate(units) if unit.text == stand_in]
    begins = [place for place, unit in enumerate(units) if looked[place] and unit.text.startswith(stand_in)]
    return min([*same, *begins], key=lambda place: (not looked[place], units[place].text != stand_in), default=None)


def _without_leftovers(source: Marked, units: Sequence[Unit], stand_ins: Sequence[str]) -> list[Unit]:
    """No stand-in stays that the source does not hold itself: the model said it once more than it should."""
    own = {unit.text for unit in source.units}
    return [unit for unit in units if unit.is_kept or unit.text in own or unit.text not in stand_ins]


def _is_made_of(unit: Unit, word: int, origins: Origins) -> bool:
    return not unit.is_kept and unit.text not in (*ENDS, ",", ";", ":") and origins.get(unit.word) == word


def _behind(word: int, units: Sequence[Unit], origins: Origins) -> int:
    """Behind the last unit that comes from source word `word`, or else from the nearest one before it."""
    nearest, place = -1, 0
    for number, unit in enumerate(units, 1):
        origin = origins.get(unit.word, -1)
        if unit.text and nearest <= origin <= word:
            nearest, place = origin, number
    return place


def _with_paths(source: Marked, units: Sequence[Unit], origins: Origins) -> list[Unit]:
    """Each unit in the elements of the source word that it comes from; a copied word just as it was."""
    by_word: dict[int, list[Unit]] = {}
    for unit in source.units:
        if unit.text:
            by_word.setdefault(unit.word, []).append(unit)
    kept = {unit.text: unit.path for unit in source.units if unit.is_kept}
    result = []
    for word, group in groupby(units, key=lambda unit: unit.word):
        said, origin = list(group), by_word.get(origins.get(word, -1), [])
        if origin and "".join(unit.text for unit in said) == "".join(unit.text for unit in origin):
            result += [unit._replace(word=word) for unit in origin]
        else:
            result += [unit._replace(path=kept.get(unit.text, _path_from(origin, unit))) for unit in said]
    return result


def _path_from(origin: Sequence[Unit], unit: Unit) -> Path:
    """That of the first unit of its sort: words from words, signs from signs, if there are any."""
    of_its_sort = [each for each in origin if each.is_word == unit.is_word]
    return next((each.path for each in (*of_its_sort, *origin)), ())


def _close_gaps(units: list[Unit]) -> list[Unit]:
    """Units between two of one element join it, if all that they are in surrounds the element too."""
    # Outer elements first: a gap that they have closed may be one of an inner element.
    for _, element in sorted({(len(_up_to(unit.path, e)), e) for unit in units for e in unit.path}):
        places = [place for place, unit in enumerate(units) if element in unit.path]
        path = _up_to(units[places[0]].path, element)
        gap = [place for place in range(places[0], places[-1]) if element not in units[place].path]
        if all(path[: len(units[place].path)] == units[place].path for place in gap):
            for place in gap:
                units[place] = units[place]._replace(path=path)
    return units


def _up_to(path: Path, element: int) -> Path:
    return path[: path.index(element) + 1]


def _with_mark_up(source: Marked, units: list[Unit], origins: Origins, droppable: Collection[str]) -> list[Unit]:
    """What stands alone in its order, and so every element that has got no words."""
    for number, unit in enumerate(source.units):
        if not unit.text:
            units = _insert(unit, number, source, units, origins)
    for element in source.elements.values():
        if element.opening not in droppable and not any(element.path[-1] in unit.path for unit in units):
            units = _insert(Unit("", element.path, 0), element.first, source, units, origins)
    return units


def _insert(mark: Unit, number: int, source: Marked, units: list[Unit], origins: Origins) -> list[Unit]:
    """`mark` before what comes from the words that follow unit `number` of the source."""
    following = next((unit.word for unit in source.units[number:] if unit.text), None)
    place = len(units)
    if following is not None:
        came = [place for place, unit in enumerate(units) if unit.text and origins.get(unit.word) == following]
        place = came[0] if came else _behind(following, units, origins)
    return [*units[:place], mark, *units[place:]]


def _serialise(source: Marked, units: Sequence[Unit], escape: Escape) -> str:
    """Text and tags, with a space between two words."""
    written, path, word = list[str](), Path(), None
    for unit in units:
        common = next((n for n, pair in enumerate(zip(path, unit.path, strict=False)) if pair[0] != pair[1]), None)
        common = min(len(path), len(unit.path)) if common is None else common
        written += [source.elements[element].closing for element in reversed(path[common:])]
        if unit.text and word is not None and (unit.word != word or unit.literal == SPACE):
            written.append(" ")
        written += [source.elements[element].opening for element in unit.path[common:]]
        written.append(escape(unit.text) if unit.text else unit.literal)
        path, word = unit.path, unit.word if unit.text else word
    written += [source.elements[element].closing for element in reversed(path)]
    return "".join(written)

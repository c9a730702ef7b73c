"""A dictionary of words, read off what a model looks at in given pairs: for `<unk>` (Luong et al. 2015b, 3.3).

A vocabulary of words is never complete. The model says `<unk>` then, but it has looked at a source word, and the
pairs that it learnt from may say what that word is called: there both words are known, whatever the vocabulary.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from regard.data.files import LineWriter
from regard.data.text import clean_line, read_lines
from regard.errors import DataError
from regard.pipelines.watch import Link


class WordLinks:
    """How often words were linked, added up over sentences."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self.num_skipped = 0

    def add(self, source: str, target: str, links: Iterable[Link]) -> None:
        """Count the links of one pair; it is skipped, and counted as such, where they name a word that is not there."""
        sources, targets = clean_line(source).split(), clean_line(target).split()
        links = list(links)
        if any(i >= len(sources) or j >= len(targets) for i, j in links):
            self.num_skipped += 1
            return
        self._pairs.update((sources[i], targets[j]) for i, j in links)

    def dictionary(self) -> dict[str, str]:
        """For every source word the target word with the greatest Dice coefficient, 2 n(s, t) / (n(s) + n(t)).

        Unlike the most frequent partner, it is not a comma because commas are everywhere. Ties: in alphabetical order.
        """
        of_source, of_target = Counter[str](), Counter[str]()
        for (source, target), count in self._pairs.items():
            of_source[source] += count
            of_target[target] += count
        best: dict[str, tuple[float, str]] = {}
        for (source, target), count in sorted(self._pairs.items()):
            dice = 2 * count / (of_source[source] + of_target[target])
            if source not in best or dice > best[source][0]:
                best[source] = (dice, target)
        return {source: target for source, (_, target) in best.items()}


def write_dictionary(path: Path, dictionary: Mapping[str, str]) -> None:
    """One `source<TAB>target` a line, in alphabetical order."""
    with LineWriter(path) as file:
        for source in sorted(dictionary):
            file.write(f"{source}\t{dictionary[source]}")


def read_dictionary(path: Path) -> dict[str, str]:
    """The words of such a file; a target may be several words.

    Raises:
        DataError: a line is no `source<TAB>target`, or a source word stands twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        source, _, target = (part.strip() for part in line.partition("\t"))
        if not source or not target or "\t" in target:
            raise DataError(f"{path}:{number}: a line of a dictionary is `source<TAB>target`, but this is {line!r}")
        if source in found:
            raise DataError(f"{path}:{number}: {source!r} stands here for the second time; leave one of the lines out")
        found[source] = target
    return found


def replaced(text: str, unknown: str, words: Sequence[str], dictionary: Mapping[str, str]) -> str:
    """`text` with its n-th `unknown` replaced by what `dictionary` has for words[n], or else by words[n] itself."""
    parts = text.split(unknown)
    said = [dictionary.get(word, word) for word in words]
    return "".join(part + word for part, word in zip(parts, [*said, ""], strict=True))

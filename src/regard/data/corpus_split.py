"""One side of a corpus that is split in two: what to train on, and what is held out to validate on."""

import hashlib
import json
import zlib
from collections.abc import Iterator

from regard.data.corpus_base import Corpus, Record
from regard.data.text import Counts


def is_held_out(source: str, share: float) -> bool:
    """Whether pairs of this source belong to the `share` held out: a pure function of the text.

    So every pair of a source is on one side, wherever it stands. Blank sources, of no use, never are. Of plain text,
    which has no sources, the text itself decides.
    """
    return bool(source.strip()) and zlib.crc32(source.encode()) < share * 2**32


class SplitCorpus(Corpus):
    """The pairs of `whole` that are held out, or all the others; each keeps its location.

    Lines that give no pair, and what reading changed, are counted for the whole, on the side that is trained on.
    """

    def __init__(self, whole: Corpus, share: float, *, held_out: bool) -> None:
        super().__init__(whole.paths, whole.reading)
        self.format, self.has_source, self.not_faults = whole.format, whole.has_source, whole.not_faults
        self.pictures = whole.pictures
        self._whole, self._share, self._held_out = whole, share, held_out

    @property
    def name(self) -> str:
        """The files, and which side of them."""
        return f"{self._whole.name} (held out)" if self._held_out else self._whole.name

    def records(self, counts: Counts) -> Iterator[Record]:
        """The records of this side.

        Raises:
            DataError: a file cannot be read, or a line has not the form of the file.
        """
        for record in self._whole.records(Counts() if self._held_out else counts):
            text = "" if record.pair is None else record.pair.source if self.has_source else record.pair.target
            taken = is_held_out(text, self._share)
            if taken == self._held_out:
                yield record

    def place(self, line: int) -> str:
        """As the whole names it."""
        return self._whole.place(line)

    def fingerprint(self) -> str:
        """SHA-256 of the whole's fingerprint, the share and the side.

        Raises:
            DataError: a file cannot be read.
        """
        parts = [self._whole.fingerprint(), self._share, self._held_out]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

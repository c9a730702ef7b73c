"""Conversations: every turn but the first is to be said, and what was said before it is read."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from regard.data.corpus_base import Format, Pair, Reading
from regard.data.corpus_formats import LineCorpus, MalformedLineError
from regard.data.text import Counts, clean_line
from regard.errors import DataError

# Between two turns of a history: a symbol that every tokenizer keeps and nobody types.
TURN = " ⏎ "
CONVERSATION, TEXT, TURNS = "conversation", "text", "turns"

Parse = Callable[[str, Counts], Iterator[Pair]]


def history_text(turns: Sequence[str]) -> str:
    """What a model reads: the turns so far, the oldest first."""
    return TURN.join(turns)


def has_conversations(first_line: str) -> bool:
    """Whether a file that begins so is a table of turns, or of conversations in JSON."""
    if first_line.startswith("{"):
        return f'"{TURNS}"' in first_line
    cells = first_line.split("\t")
    return CONVERSATION in cells and TEXT in cells


class ConversationCorpus(LineCorpus):
    """The source of a pair is the `history` turns before the target.

    A line is a turn (TSV with the columns `conversation` and `text`, in order), or a conversation (JSONL,
    `{"turns": ["Hello.", "Hi!", ...]}`).
    """

    format: Format = "conversation"

    def __init__(self, path: Path, reading: Reading, header: str | None, history: int) -> None:
        """`header` is the first line of a table; None for JSONL."""
        super().__init__(path, reading, num_header_lines=0 if header is None else 1)
        self.history = history
        self._header = header

    def parser(self) -> Parse:
        """For one reading of the file: it remembers what was said in the conversation so far."""
        if self._header is None:
            return self.parse
        return _Table(self._header.split("\t"), self.history)

    def parse(self, line: str, counts: Counts) -> Iterator[Pair]:
        """The pairs of one conversation in JSON.

        Raises:
            MalformedLineError: it is no object with a list of texts under `turns`.
        """
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MalformedLineError(f"this is not JSON ({error})") from error
        turns = value.get(TURNS) if isinstance(value, dict) else None
        if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
            raise MalformedLineError(f"a JSON object with a list of texts under `{TURNS}` is wanted")
        said = deque[str](maxlen=self.history)
        for turn in turns:
            try:
                text = clean_line(turn, counts)
            except DataError as error:  # half a surrogate pair, which only an escape can bring in
                raise MalformedLineError(str(error)) from error
            yield from _reply(said, text)

    def rewrite(self, line: str, pairs: Sequence[Pair]) -> str:
        """The line itself: leaving a turn out would put words into mouths."""
        return line

    def _columns(self) -> tuple[str | int, ...]:
        return (self.history,)


class _Table:
    """Reads turn after turn; a new conversation begins where the first column changes."""

    def __init__(self, header: Sequence[str], history: int) -> None:
        self._places = header.index(CONVERSATION), header.index(TEXT)
        self._conversation: str | None = None
        self._said = deque[str](maxlen=history)

    def __call__(self, line: str, counts: Counts) -> Iterator[Pair]:
        cells = line.split("\t")
        if len(cells) <= max(self._places):
            self._said.clear()  # who answers the turn after this one is not known
            raise MalformedLineError(
                f"there are {len(cells)} column(s) between tabs, but column {max(self._places) + 1} is wanted"
            )
        conversation, text = (cells[place] for place in self._places)
        if conversation != self._conversation:
            self._conversation = conversation
            self._said.clear()
        yield from _reply(self._said, text)


def _reply(said: deque[str], text: str) -> Iterator[Pair]:
    """The pair that ends with `text`, if anything was said before; an empty turn is no answer and gets none."""
    if not text.strip():
        said.clear()
        return
    if said:
        yield Pair(history_text(said), text)
    said.append(text)

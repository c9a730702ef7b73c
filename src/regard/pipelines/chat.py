"""A conversation with a model: what was said is remembered, and answered."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from regard.data.corpus_conversation import history_text
from regard.data.text import texts_of
from regard.pipelines.translate import Translator


def chat_search(
    temperature: float, *, top_k: int = 0, top_p: float = 0.95, seed: int = 1, most: int = 60
) -> dict[str, Any]:
    """Settings for replies of at most `most` pieces: draws, or at temperature 0 the most probable words."""
    search: dict[str, Any] = {"beam_size": 1, "n_best": 1, "max_length": most}
    if temperature > 0:
        search |= {"sampling": True, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    return search


class Chat:
    """A conversation. The model reads the last `history` turns, its own among them (Vinyals and Le 2015).

    >>> chat = regard.Chat(regard.load("runs/chat/model"), history=3)
    >>> print(*chat.reply("Hello, who are you?"), sep="")
    """

    def __init__(self, translator: Translator, *, history: int = 1, said: Sequence[str] = (), **search: object) -> None:
        """`history` should be the recipe's `data.history`; `search` holds settings such as `sampling=True`.

        `said` is a conversation to go on with, the oldest turn first.

        Raises:
            ValueError: `history` is less than 1.
            UsageError: a search setting is wrong.
        """
        if history < 1:
            raise ValueError(f"history is {history}, but at least the last turn must be read")
        translator.settings(**search)
        self._translator = translator
        self._search = search
        self._turns = deque(said, maxlen=history)
        self._num_replies = len(said) // 2

    @property
    def num_replies(self) -> int:
        """How many replies there have been: the number of the next draw."""
        return self._num_replies

    @property
    def turns(self) -> tuple[str, ...]:
        """The turns that are remembered, the oldest first."""
        return tuple(self._turns)

    def reply(self, text: str) -> Iterator[str]:
        """The answer to `text`, piece by piece as the model finds it; when it is whole, both are remembered.

        Of a history that is too long for the model the oldest turns are forgotten. Draws differ from turn to turn, and
        are the same again in the same conversation.

        Raises:
            TypeError: `text` is no str.
            UsageError: `text` alone is too long for the model.
        """
        (text,) = texts_of([text])
        pieces = []
        for piece in self._translator.stream(self.read(text), row=self._num_replies, **self._search):
            pieces.append(piece)
            yield piece
        self._turns.extend((text, "".join(pieces)))
        self._num_replies += 1

    def read(self, text: str) -> str:
        """What the model reads to answer `text`: the turns that are remembered and `text`, as many as it can read."""
        turns = [*self._turns, text][-(self._turns.maxlen or 1) :]

        def fits(start: int) -> bool:
            return self._translator.can_read(history_text(turns[start:]))

        # Fewer turns are shorter, so halving finds where to begin; `text` itself is never left out.
        start = bisect_left(range(len(turns) - 1), True, key=fits)
        return history_text(turns[start:])

    def reset(self) -> None:
        """Forget everything."""
        self._turns.clear()
        self._num_replies = 0

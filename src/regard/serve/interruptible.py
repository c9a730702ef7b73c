"""A model that can be listened to while it searches, and that hurries a sentence to its end when nobody wants it.

It stands between the search and the model, which know nothing of it: what it must remember travels in their state.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.protocol import Decodable, State
from regard.serve.ticket import Ticket, VoidError
from regard.symbols import BOS, EOS

# Gets the best living hypothesis of its sentence in every step, without `BOS`.
Listener = Callable[[list[int]], None]
# What the rest of a forced prefix gets: as good as forbidden, but finite, so that it can still be said.
UNWANTED = -1e4


class Interruptible:
    """`is_void`, `listeners` and `prefixes` (numbers of tokens) have one entry a sentence of the batch."""

    def __init__(
        self,
        model: Decodable,
        *,
        is_void: Sequence[Callable[[], bool]],
        listeners: Sequence[Listener | None],
        prefixes: Sequence[int],
    ) -> None:
        self._model = model
        self._is_void = is_void
        self._listeners = listeners
        self._prefixes = prefixes
        self._num_steps = 0
        self._has_listeners = any(listener is not None for listener in listeners)

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """The model's own state, with the number of each sentence and, where somebody listens, what was said."""
        memory, carry = self._model.encode(source, record)
        sentences = torch.arange(source.size(0), device=source.device)
        nothing = torch.empty(source.size(0), 0, dtype=torch.long, device=source.device)
        said = nothing if self._has_listeners else None
        return State((memory, sentences), (carry, said))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """The model's own step; a sentence that nobody wants can say nothing but `EOS` any more."""
        (memory, sentences), (carry, said) = state
        logits, following = self._model.step(State(memory, carry), tokens, record)
        beams = tokens.size(0) // sentences.size(0)
        if said is not None:
            said = torch.cat([said, tokens.unsqueeze(1)], 1)
            self._tell(said[::beams], sentences)
        numbers = sentences.tolist()
        void = [place for place, number in enumerate(numbers) if self._is_void[number]()]
        if void:
            by_sentence = logits.unflatten(0, (-1, beams)).clone()
            for place in void:
                is_forced = self._num_steps < self._prefixes[numbers[place]]
                by_sentence[place] = UNWANTED if is_forced else -torch.inf  # so that even `min_length` lets it end
            by_sentence[void, :, EOS] = 0.0
            logits = by_sentence.flatten(0, 1)
        self._num_steps += 1
        return logits, State((following.memory, sentences), (following.carry, said))

    def _tell(self, best: Tensor, sentences: Tensor) -> None:
        """A beam's hypotheses are sorted, so the first of each sentence is its best."""
        for number, tokens in zip(sentences.tolist(), best.tolist(), strict=True):
            listener = self._listeners[number]
            if listener is not None and tokens[-1] != BOS:
                listener(tokens[1:])


class Stoppable:
    """A model for a search that is one client's alone, so that it may fail: its next step does when nobody waits."""

    def __init__(self, model: Decodable, ticket: Ticket) -> None:
        self._model = model
        self._ticket = ticket

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """The model's own."""
        return self._model.encode(source, record)

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """The model's own, as long as the ticket is good.

        Raises:
            VoidError: it is not.
        """
        if self._ticket.is_void:
            raise VoidError
        return self._model.step(state, tokens, record)

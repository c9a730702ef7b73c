"""The page to read first: what a model takes, what it gives, and the calls by which search or labelling uses it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.record import AttentionRecord
from regard.data.batch import Batch as Batch


class Dimensions(NamedTuple):
    """What the data tells `build`: the sizes of the vocabularies, and whether they are one.

    Of pictures `source` is the number of channels; `height` and `width`, in pixels, are 0 for text.
    """

    source: int
    target: int
    shared: bool = False
    height: int = 0
    width: int = 0


class Output(NamedTuple):
    """What a model's `forward` returns: the last hidden states, and how they become logits.

    The logits of a batch are its largest tensor by far, so they are not made until somebody asks: the loss
    projects a few rows at a time. `penalty` is a model's own regulariser, already weighted and summed
    over the batch's target tokens, so that it shares the loss's normaliser.

    A model may predict every label several times, from the left and from the right say: then `hidden` has
    `voices` times as many rows, those of the first voice first, and the loss is the mean over the voices.
    """

    hidden: Float[Tensor, "voices_times_batch target_length size"]
    readout: nn.Linear
    penalty: Float[Tensor, ""] | None = None
    voices: int = 1

    @property
    def logits(self) -> Float[Tensor, "voices_times_batch target_length vocabulary"]:
        """Unnormalised log-probabilities of the next token at every position."""
        logits: Tensor = self.readout(self.hidden)
        return logits


class Model(nn.Module, ABC):
    """Something that can be trained: teacher-forced, a batch in, an `Output` out."""

    source_kind: str | None = None  # the only kind of source tokenizer that the model can do with; None: any
    target_kind: str | None = None
    body: str | None = None  # the part with which a model of another kind, that has it too, can begin: its name
    longest_output: int | None = None  # tokens but `EOS` for which it has positions; None: no end
    reads_source: bool = True  # False for a language model: it goes on from what was said before

    @abstractmethod
    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Read the sources and `batch.decoder_input`; predict `batch.labels`. Attention goes to `record`."""

    def frozen_flops(self, source: Tensor) -> int:
        """Operations, of those that a `Counted` model counts, of parts that read `source` but do not learn now."""
        return 0


@runtime_checkable
class Counted(Protocol):
    """Something that knows what it costs."""

    def flops(self, batch: Batch) -> int:
        """Floating-point operations of `forward` on `batch`, and of reading out the labels that are no padding.

        Counted are products of matrices, convolutions among them (see `regard.operations`), as they are computed:
        with the padding, where it is computed; with the noise of training, while `training` is on.
        """
        ...


@runtime_checkable
class Labeller(Protocol):
    """Something that gives its source a label, or each of its words one, instead of generating a text."""

    def label(self, source: Tensor, record: AttentionRecord | None = None) -> Float[Tensor, "batch places labels"]:
        """Logits of every label (ids as in the target vocabulary, special symbols included).

        There is one place for the label of the whole source, or one for each of its words; rows of shorter sources
        have places at their end that mean nothing. `forward` has the same places, before its readout.
        """
        ...


@runtime_checkable
class Parts(Protocol):
    """One picture that is too large to be a tensor: a model asks for squares of it. `shape` is that of the tensor."""

    shape: tuple[int, int, int, int]

    def part(self, top: int, left: int, width: int) -> Float[Tensor, "channels width width"]:
        """What a tensor would hold there; 0 beyond the edges."""
        ...


@runtime_checkable
class SeesParts(Protocol):
    """A `Labeller` of pictures that looks at parts of them, and so need not be given the whole."""

    def label_parts(self, picture: Parts, record: AttentionRecord | None = None) -> Float[Tensor, "1 1 labels"]:
        """As `label` of the one picture."""
        ...


@runtime_checkable
class Pretrained(Protocol):
    """Something of which a part begins from weights that come from elsewhere. A saved model holds its own."""

    @property
    def pretrained(self) -> str | None:
        """Where from: a name that is known (`regard.pipelines.pretrained`), or a file; None: from nowhere."""
        ...

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Take them over.

        Raises:
            RuntimeError: they are another part's.
        """
        ...


@runtime_checkable
class Seeing(Protocol):
    """A model of pictures whose encoder may be frozen: then `encode` and `forward` also take what it has seen."""

    @property
    def frozen_encoder(self) -> nn.Module | None:
        """Pictures in, (batch, regions, size) out, always the same; None where it is trained with the rest."""
        ...


class State(NamedTuple):
    """What decoding remembers: trees (`regard.trees`) of tensors whose first axis is the batch.

    `memory` belongs to the sentence (encoder states, projected keys) and has one row a sentence.
    `carry` belongs to the hypothesis (hidden states, past keys) and is what a beam reorders: row r of
    `carry` reads row r // (rows of carry / rows of memory) of `memory`, so beams never copy the memory.
    """

    memory: Any
    carry: Any


@runtime_checkable
class Decodable(Protocol):
    """Something that can generate. Called under `torch.inference_mode` by the search."""

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """Read `source` (batch, source_length) once; the state before the first target token. `record` as in `step`."""
        ...

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """Feed one token a hypothesis (the first is `BOS`); logits of the next, and the new state."""
        ...

"""Many sources in, the outputs of each in the same order out: batches of like length, any engine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from regard.data.abstract_tokenizer import Tokenizer
from regard.data.batching import pad
from regard.data.text import clean_line
from regard.decoding.search import Hypothesis, SearchConfig, search, stream
from regard.errors import UsageError
from regard.protocol import Decodable
from regard.symbols import UNK

BATCH_SIZE = 32
# Pieces of the longest source that is read. The memory that attention takes grows with the square.
LONGEST_SOURCE = 1024
# Positions (sentences * longest source) that a batch of one beam may have, whatever the batch size.
MAX_POSITIONS = 16_384

Result = TypeVar("Result")
NOTHING = Hypothesis([], 0.0, 0.0, [])  # what an empty source becomes


class Request(NamedTuple):
    """One source to work on: ids ending in `EOS`, the prefix of its outputs, its number in the whole input.

    In place of ids a source may be a picture (channels, height, width), or the regions of one (regions, features).
    """

    source: Sequence[int] | Tensor
    prefix: Sequence[int] = ()
    row: int = 0


def prefix_ids(target: Tokenizer, prefix: str, text: str = "") -> list[int]:
    """The ids that outputs begin with: of the words `prefix`, and of a `text` that is gone on from.

    Raises:
        DataError: `prefix` or `text` holds half a surrogate pair.
        UsageError: the vocabulary lacks a word of `prefix`, which no output could have.
    """
    unknown = [word for word in clean_line(prefix).split() if UNK in target.encode(word)]
    if unknown:
        raise UsageError(f"no output can begin with {prefix!r}: the model's vocabulary lacks {', '.join(unknown)}")
    words = " ".join(filter(None, (prefix, text)))
    return target.encode(clean_line(words)) if words else []


def longest_source(models: Iterable[object]) -> int:
    """Pieces, with `EOS`, of the longest source that all of these models read, their positions being limited or not."""
    # Where positions are learnt, there are as many for the source; an output's first one is that of `BOS`.
    limits = [longest + 1 for model in models if (longest := getattr(model, "longest_output", None)) is not None]
    return min([LONGEST_SOURCE, *limits])


@runtime_checkable
class Engine(Protocol):
    """Turns one batch of requests into hypotheses. Command line and API know nothing else of how that is done."""

    def search(self, requests: Sequence[Request], config: SearchConfig) -> list[list[Hypothesis]]:
        """The n best outputs of every request."""
        ...

    def stream(self, request: Request, config: SearchConfig) -> Iterator[int]:
        """The tokens of one output, each as soon as it is known."""
        ...


@runtime_checkable
class Run(Protocol):
    """Where a computation with the models runs: here, or (in a server) in the one thread that computes."""

    def __call__(self, compute: Callable[[], Result]) -> Result:
        """The result of `compute`."""
        ...


def at_once(compute: Callable[[], Result]) -> Result:
    """Here and now."""
    return compute()


class TorchEngine:
    """The model itself, on the device where it is."""

    def __init__(self, model: Decodable, device: torch.device) -> None:
        self.model = model
        self.device = device

    def search(self, requests: Sequence[Request], config: SearchConfig) -> list[list[Hypothesis]]:
        """The n best outputs of every request."""
        return search(
            self.model,
            collate_sources([request.source for request in requests]).to(self.device),
            config,
            prefixes=[request.prefix for request in requests] if any(request.prefix for request in requests) else None,
            rows=[request.row for request in requests],
        )

    def stream(self, request: Request, config: SearchConfig) -> Iterator[int]:
        """The tokens of one output, each as soon as it is known."""
        source = collate_sources([request.source]).to(self.device)
        return stream(self.model, source, config, prefix=request.prefix, row=request.row)


def generate(
    engine: Engine,
    requests: Sequence[Request],
    config: SearchConfig,
    *,
    batch_size: int = BATCH_SIZE,
    skip_empty: bool = True,
) -> list[list[Hypothesis]]:
    """The n best outputs of every request, in their order; a source with nothing but `EOS` gives `NOTHING`.

    With `skip_empty=False` such sources are searched too, for models that need none.

    Sentences of like length make a batch, the longest first, so that what does not fit into memory says so at once.
    """
    outputs = [[NOTHING] for _ in requests]
    searched = [row for row, request in enumerate(requests) if source_length(request.source) > 1 or not skip_empty]
    most = MAX_POSITIONS // (1 if config.sampling else config.beam_size)
    for rows in _batches(requests, searched, batch_size, most):
        for row, hypotheses in zip(rows, engine.search([requests[row] for row in rows], config), strict=True):
            outputs[row] = hypotheses
    return outputs


def collate_sources(sources: Sequence[Sequence[int] | Tensor]) -> Tensor:
    """Sources of one kind as a batch: ids padded, pictures one on the other."""
    pictures = [source for source in sources if isinstance(source, Tensor)]
    if pictures:
        return torch.stack(pictures)
    return pad([source for source in sources if not isinstance(source, Tensor)])


def source_length(source: Sequence[int] | Tensor) -> int:
    """Positions with `EOS`; a picture is one, and never empty."""
    return 2 if isinstance(source, Tensor) else len(source)


def _batches(requests: Sequence[Request], rows: Sequence[int], batch_size: int, max_positions: int) -> list[list[int]]:
    lengths = [source_length(request.source) for request in requests]
    order = sorted(rows, key=lambda row: -lengths[row])
    batches, start = [], 0
    while start < len(order):
        longest = lengths[order[start]]
        size = max(1, min(batch_size, max_positions // longest))
        batches.append(order[start : start + size])
        start += size
    return batches

"""The probabilities of labels for many sources, in their order: batches of like length, or of pictures."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from regard.data.batching import batch_rows_by_length, pad
from regard.data.corpus import TestItem
from regard.data.dataset import Vocabularies
from regard.data.picture_store import PictureStore
from regard.data.tokenizer import Tokenizer
from regard.protocol import Labeller, Parts, SeesParts
from regard.symbols import NAMES

# Positions (sources * longest) of a batch.
BATCH_POSITIONS = 4096
BATCH_PIXELS = 1 << 20
_NUM_SPECIAL = len(NAMES)

Probabilities = Float[Tensor, "places labels"]


@torch.inference_mode()
def label(
    models: Sequence[Labeller],
    sources: Sequence[Sequence[int]],
    vocabularies: Vocabularies,
    *,
    device: torch.device,
    before_batch: Callable[[], None] = lambda: None,
) -> list[Probabilities]:
    """For each source (ids ending in `EOS`) the probabilities of the labels, ids from 4 on; several models: their mean.

    There is one place, or with a target vocabulary of tags one for each word. A source of nothing but `EOS` has none.
    """
    num_labels = vocabularies.target.size - _NUM_SPECIAL
    found = [torch.empty(0, num_labels)] * len(sources)
    real = [row for row, source in enumerate(sources) if len(source) > 1]
    for places in batch_rows_by_length([len(sources[row]) for row in real], BATCH_POSITIONS):
        before_batch()
        rows = [real[place] for place in places.tolist()]
        batch = pad([sources[row] for row in rows]).to(device)
        for row, probabilities in zip(rows, _mean([model.label(batch) for model in models]), strict=True):
            found[row] = probabilities[: num_places(vocabularies, sources[row])]
    return found


def label_pictures(
    models: Sequence[Labeller],
    batches: Iterable[Tensor],
    *,
    device: torch.device,
    before_batch: Callable[[], None] = lambda: None,
) -> Iterator[Probabilities]:
    """For each picture of the batches (batch, channels, height, width) the probabilities of its labels, one place."""
    for batch in batches:
        before_batch()
        with torch.inference_mode():
            found = _mean([model.label(batch.to(device)) for model in models])
        yield from found


@torch.inference_mode()
def label_parts(models: Sequence[SeesParts], picture: Parts) -> Probabilities:
    """The same for one picture that is read while the models look at it."""
    return _mean([model.label_parts(picture) for model in models])[0]


def _mean(logits: Sequence[Tensor]) -> Float[Tensor, "batch places labels"]:
    """The models' mean probabilities. No special symbol is a label, whatever its logit."""
    return torch.stack([each[..., _NUM_SPECIAL:] for each in logits]).float().softmax(-1).mean(0).cpu()


def picture_batches(store: PictureStore) -> Iterator[Tensor]:
    """All pictures of a store, in their order."""
    number = rows_of_pictures(*store.encoding.reader.shape[:2])
    for start in range(0, len(store.names), number):
        yield store.pictures(range(start, min(start + number, len(store.names))))


def rows_of_pictures(height: int, width: int) -> int:
    """How many pictures make a batch that no memory minds."""
    return max(8, BATCH_PIXELS // (height * width))


def num_places(vocabularies: Vocabularies, source: Sequence[int]) -> int:
    """How many labels a source (ids ending in `EOS`) gets: one, or one a word."""
    return 1 if vocabularies.target.kind == "labels" else 1 + vocabularies.source_tokenizer.words(source[:-1])[-1]


def best_labels(probabilities: Probabilities) -> list[int]:
    """The id of the most probable label at every place."""
    return [_NUM_SPECIAL + best for best in probabilities.argmax(-1).tolist()]


def as_learnt(target: Tokenizer, item: TestItem) -> TestItem:
    """The item with its labels as the model would say them: one that it has not learnt is `<unk>`."""
    if target.kind != "labels":
        return item
    return item._replace(references=tuple(target.decode(target.encode(label)) for label in item.references))

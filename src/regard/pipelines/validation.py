"""Validation: the loss of unseen pairs, and the metric that decides, on what the model itself generates."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import nn

from regard.data.abstract_store import Store
from regard.data.batching import Batches
from regard.data.dataset import Dataset
from regard.data.picture_store import PictureStore
from regard.data.tokenizer import Tokenizer
from regard.decoding.search import Hypothesis, SearchConfig
from regard.evaluation.metrics import BLEU_TOKENIZERS, evaluate
from regard.pipelines.generate import Request, TorchEngine, generate, longest_source
from regard.pipelines.label import as_learnt, best_labels, label, label_pictures, picture_batches, rows_of_pictures
from regard.protocol import Batch, Decodable, Labeller
from regard.symbols import EOS
from regard.training.loop import validation_loss

BATCH_TOKENS = 4096
PICTURES_AT_ONCE = 256
# The metric that decides comes first; the other costs hardly anything. Loss and perplexity are always measured.
MEASURED = {
    "loss": (),
    "perplexity": (),
    **{name: (name, "chrf") for name in BLEU_TOKENIZERS},
    "chrf": ("chrf", "bleu"),
    "wer": ("wer", "per"),
    "per": ("per", "wer"),
    "cer": ("cer", "wer"),
    "bleu-4": ("bleu-4", "bleu-1", "cider-d"),
    "cider-d": ("cider-d", "bleu-1", "bleu-4"),
    "accuracy": ("accuracy",),
    "tag_accuracy": ("tag_accuracy", "f1"),
    "f1": ("f1", "tag_accuracy"),
}


_OF_LABELS = {"labels": ("accuracy",), "tags": ("f1", "tag_accuracy")}
_OF_ANYTHING = ("loss", "perplexity")
_OF_TEXTS = tuple(name for name in MEASURED if name not in {*_OF_ANYTHING, *chain(*_OF_LABELS.values())})


def metrics_for(model: nn.Module, target: Tokenizer) -> tuple[str, ...]:
    """What can decide about `model`: always the loss, and the metrics of what it says, texts or labels, if anything."""
    if isinstance(model, Labeller):
        return (*_OF_LABELS.get(target.kind, ()), *_OF_ANYTHING)
    return (*_OF_TEXTS, *_OF_ANYTHING) if isinstance(model, Decodable) else _OF_ANYTHING


class Stopped(Exception):  # noqa: N818  no error: somebody asked for it
    """Validation was broken off because the caller asked the run to stop."""


class Validated(NamedTuple):
    """The scores by name, the signatures of those that have one, and one output for every validation item."""

    scores: dict[str, float]
    signatures: dict[str, str]
    hypotheses: list[str]


def validate(
    model: nn.Module,
    dataset: Dataset,
    *,
    metric: str,
    search_config: SearchConfig,
    should_stop: Callable[[], bool] = lambda: False,
) -> Validated:
    """Measure `model`, which is in evaluation mode, on the validation set.

    Raises:
        Stopped: `should_stop` said so between two batches.
    """
    scores = _loss(model, dataset, should_stop)
    hypotheses: list[str] = []
    signatures: dict[str, str] = {}
    if MEASURED[metric]:
        items = dataset.validation_items
        if isinstance(model, Labeller):
            hypotheses = _label(model, dataset, should_stop)
            items = [as_learnt(dataset.vocabularies.target, item) for item in items]
        else:
            hypotheses = _generate(model, dataset, search_config, should_stop)
        for measured in evaluate(MEASURED[metric], hypotheses, [item.references for item in items]):
            scores[measured.name] = measured.value
            signatures[measured.name] = measured.signature
    return Validated(scores, signatures, hypotheses)


def _loss(model: nn.Module, dataset: Dataset, should_stop: Callable[[], bool]) -> dict[str, float]:
    assert dataset.validation is not None
    batches = Batches(dataset.validation, batch_tokens=_budget(dataset.validation), seed=0, shuffle=False).epoch(0)
    return validation_loss(model, _while_wanted(batches, should_stop))


def _while_wanted(batches: Iterable[Batch], should_stop: Callable[[], bool]) -> Iterator[Batch]:
    for batch in batches:
        if should_stop():
            raise Stopped
        yield batch


class _Interruptible(TorchEngine):
    """An engine that asks, before every batch, whether to go on."""

    def __init__(self, model: Decodable, device: torch.device, should_stop: Callable[[], bool]) -> None:
        super().__init__(model, device)
        self._should_stop = should_stop

    def search(self, requests: Sequence[Request], config: SearchConfig) -> list[list[Hypothesis]]:
        if self._should_stop():
            raise Stopped
        return super().search(requests, config)


def _generate(model: nn.Module, dataset: Dataset, config: SearchConfig, should_stop: Callable[[], bool]) -> list[str]:
    """The best output for every validation item, in their order."""
    assert isinstance(model, Decodable)
    engine = _Interruptible(model, next(model.parameters()).device, should_stop)
    target, outputs = dataset.vocabularies.target, list[str]()
    for requests in _requests(model, dataset):
        outputs += [target.decode(found[0].tokens) for found in generate(engine, requests, config)]
    return outputs


def _requests(model: nn.Module, dataset: Dataset) -> Iterator[list[Request]]:
    """The validation items; pictures a few at a time, for they are large."""
    items, store = dataset.validation_items, dataset.validation
    if not isinstance(store, PictureStore):
        yield [Request(source, row=row) for row, source in enumerate(_sources(model, dataset))]
        return
    for start in range(0, len(items), PICTURES_AT_ONCE):
        numbers = range(start, min(start + PICTURES_AT_ONCE, len(items)))
        yield [Request(picture, row=row) for row, picture in zip(numbers, store.pictures(numbers), strict=True)]


def _sources(model: nn.Module, dataset: Dataset) -> list[list[int]]:
    """What the model reads of every validation item; of one that is too long for it nothing, as in `Translator`."""
    tokenizer, longest = dataset.vocabularies.source_tokenizer, longest_source([model])
    sources = [[*tokenizer.encode(item.source), EOS] for item in dataset.validation_items]
    return [source if len(source) <= longest else [EOS] for source in sources]


def _label(model: Labeller, dataset: Dataset, should_stop: Callable[[], bool]) -> list[str]:
    """The best label, or tags, of every validation item, in their order."""
    assert isinstance(model, nn.Module)
    device, target = next(model.parameters()).device, dataset.vocabularies.target

    def go_on() -> None:
        if should_stop():
            raise Stopped

    if isinstance(dataset.validation, PictureStore):
        batches = picture_batches(dataset.validation)
        found = list(label_pictures([model], batches, device=device, before_batch=go_on))
    else:
        found = label([model], _sources(model, dataset), dataset.vocabularies, device=device, before_batch=go_on)
    return [target.decode(best_labels(probabilities)) for probabilities in found]


def _budget(store: Store) -> int:
    """Tokens of a batch; of pictures as many as there are in so many captions."""
    if not isinstance(store, PictureStore):
        return BATCH_TOKENS
    rows = rows_of_pictures(*store.encoding.reader.shape[:2])
    return min(BATCH_TOKENS, rows * int(store.target_lengths.max()))

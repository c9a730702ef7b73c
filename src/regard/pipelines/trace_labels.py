"""A label seen whole: how probable every other was, what the model looked at, and what it depends on.

A label is an output of one token, tags are one of a token for each word; so the trace is the same as that of a sentence
that was generated, without a search.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.override import Override, OverridingRecord, record_of
from regard.attention.record import AttentionRecord
from regard.data.batching import pad
from regard.data.text import is_blank
from regard.decoding.search import Hypothesis
from regard.errors import DataError
from regard.pipelines.caption import Pixels
from regard.pipelines.classify import Classifier
from regard.pipelines.classify_pictures import PictureClassifier
from regard.pipelines.label import num_places
from regard.pipelines.trace import SentenceTrace, Step, check_override, seen, steps_of
from regard.protocol import Labeller
from regard.symbols import NAMES

FIRST = len(NAMES)  # the id of the first label: no special symbol is one
OCCLUDED_AT_ONCE = 64  # copies of a picture, each without one region


@torch.inference_mode()
def trace_text_label(classifier: Classifier, text: str, *, override: Override | None = None) -> SentenceTrace:
    """Give `text` its label, or its words their tags, and keep everything.

    Raises:
        UsageError: the overridden row is not there.
        DataError: `text` is blank, or longer than the model reads.
    """
    if is_blank(text):
        raise DataError("there is nothing to look at in an empty text; give one with a word in it")
    source = classifier.encode(text)
    if len(source) > classifier.longest:
        raise DataError(f"the text has {len(source):,} pieces, but the model reads {classifier.longest:,} at most")
    places = num_places(classifier.vocabularies, source)
    trace = _look(classifier.model, pad([source]), override, places)
    return trace._replace(source=source)


@torch.inference_mode()
def trace_picture_label(
    classifier: PictureClassifier, pixels: Pixels, *, override: Override | None = None
) -> SentenceTrace:
    """Give a picture its label and keep everything; of glimpses what would have been said after each.

    Raises:
        UsageError: the overridden row is not there.
    """
    return _look(classifier.model, classifier.reader.tensor(pixels[None]), override, 1)


def _look(model: Labeller, source: Tensor, override: Override | None, places: int) -> SentenceTrace:
    assert isinstance(model, nn.Module)
    check_override(model, override)
    record = record_of(override)
    told = _told(model, source, record)[0]
    told = told if record.has_glimpses else told[:places]
    if isinstance(record, OverridingRecord):
        record.check_used()
    labels = told.argmax(-1) + FIRST
    steps = steps_of(told, labels, first=FIRST)
    return SentenceTrace(
        source=[],
        target=labels.tolist(),
        prefix=[],
        hypothesis=_answer(steps[-1:] if record.has_glimpses else steps),
        others=[],
        steps=steps,
        tree=[],
        sites=seen(model, record),
        handed_over=None,
        routings=[],
        search=None,
        glimpses=record.glimpses[0].float().cpu() if record.has_glimpses else None,
    )


def _answer(steps: Sequence[Step]) -> Hypothesis:
    scores = [step.log_prob for step in steps]
    return Hypothesis([step.token for step in steps], sum(scores), sum(scores), scores)


@torch.inference_mode()
def label_influence(
    classifier: Classifier, source: Sequence[int], words: Sequence[int], labels: Sequence[int]
) -> Float[Tensor, "places words"]:
    """Nats that each label loses without each word (leave one out); a word that is not there has no tag to lose.

    `source` ends in `EOS`, which is always left in; `words` are the numbers of its words.
    """
    numbers = sorted(set(words[: len(source) - 1]))
    tags = len(labels) > 1
    columns = []

    def log_probs(ids: Sequence[int], said: Sequence[int]) -> Tensor:
        found = label_log_probs(classifier.model, pad([ids]))[0, : len(said)]
        return found.gather(1, torch.tensor(said)[:, None] - FIRST)[:, 0]

    whole = log_probs(source, labels)
    for place, left_out in enumerate(numbers):
        rest = [token for token, word in zip(source, words, strict=True) if word != left_out]
        kept = [label for number, label in enumerate(labels) if not (tags and number == place)]
        if len(rest) == 1:  # nothing is left to be read
            columns.append(torch.zeros(len(labels)))
            continue
        lost = log_probs(rest, kept)
        columns.append(whole - (torch.cat([lost[:place], whole[place : place + 1], lost[place:]]) if tags else lost))
    return torch.stack(columns, 1)


@torch.inference_mode()
def label_log_probs(model: Labeller, source: Tensor) -> Float[Tensor, "batch places labels"]:
    """Of every label, in every place; of a model that glimpses the places are what it would say after each glimpse."""
    return _told(model, source, AttentionRecord()).log_softmax(-1).cpu()


def _told(model: Labeller, source: Tensor, record: AttentionRecord) -> Float[Tensor, "batch places labels"]:
    """The logits of the labels proper."""
    assert isinstance(model, nn.Module)
    logits = model.label(source.to(next(model.parameters()).device), record)
    return (record.answers if record.has_glimpses else logits)[..., FIRST:].float()


@torch.inference_mode()
def occlusion(
    score: Callable[[Tensor], Float[Tensor, "batch steps"]], picture: Tensor, grid: tuple[int, int]
) -> Float[Tensor, "steps regions"]:
    """Nats that each step loses without each region of a picture (1, channels, height, width) (Zeiler and Fergus 2014).

    The regions tile the picture in `grid` rows and columns and are made 0, which is what a reader's mean becomes.
    `score` gives the log-probabilities of what was said.
    """
    whole, number = score(picture), grid[0] * grid[1]
    lost = []
    for start in range(0, number, OCCLUDED_AT_ONCE):
        regions = range(start, min(start + OCCLUDED_AT_ONCE, number))
        lost.append(whole - score(torch.cat([_without(picture, grid, region) for region in regions])))
    return torch.cat(lost).T


def _without(picture: Tensor, grid: tuple[int, int], region: int) -> Tensor:
    top, bottom = _edges(picture.size(-2), grid[0], region // grid[1])
    left, right = _edges(picture.size(-1), grid[1], region % grid[1])
    copy = picture.clone()
    copy[..., top:bottom, left:right] = 0.0
    return copy


def _edges(side: int, count: int, place: int) -> tuple[int, int]:
    return round(place * side / count), round((place + 1) * side / count)

"""What there is to see, the same for every kind of model: a source in, a trace and its document out.

A model that reads text takes a sentence, one that reads pictures takes pixels; one that generates obeys a prefix and
the settings of a search, one that gives labels has neither. Whoever shows them need not know which is which.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from regard.attention.override import Override
from regard.checkpoint.model_folder import LoadedModel
from regard.data.batching import pad
from regard.pipelines.caption import Captioner, Pixels
from regard.pipelines.classify import Classifier
from regard.pipelines.classify_pictures import PictureClassifier
from regard.pipelines.trace import Around, SentenceTrace, next_token_distributions, trace_picture, trace_sentence
from regard.pipelines.trace_labels import FIRST, label_log_probs, occlusion, trace_picture_label, trace_text_label
from regard.pipelines.translate import Translator
from regard.protocol import Batch
from regard.show.document import (
    Document,
    array,
    document,
    grid_of,
    influences,
    label_document,
    label_influences,
    picture_document,
)
from regard.symbols import BOS, EOS

Source = TypeVar("Source")
Says = Literal["text", "labels"]


class Wish(NamedTuple):
    """How it shall be done: what the output begins with, what the model is made to look at, settings of the search.

    The search takes what `around` makes of the model for the model itself.
    """

    prefix: str | Sequence[int] = ""
    override: Override | None = None
    search: Mapping[str, Any] = MappingProxyType({})
    around: Around | None = None


class Viewer(ABC, Generic[Source]):
    """Looks at one source after the other with the model `loaded`. What labels things takes no prefix and no search."""

    says: Says
    loaded: LoadedModel

    @property
    @abstractmethod
    def verb(self) -> str:
        """What it does with a source, as one would write on a button."""

    @abstractmethod
    def trace(self, source: Source, wish: Wish) -> SentenceTrace:
        """Do it, and keep everything.

        Raises:
            UsageError, DataError: the wish, or the source, makes no sense.
        """

    @abstractmethod
    def document(self, trace: SentenceTrace, source: Source, name: str = "") -> Document:
        """The trace as the page draws it."""

    @abstractmethod
    def influences(self, trace: SentenceTrace, source: Source) -> Document:
        """Nats that each step loses without each word, or each region: (steps, words)."""

    @abstractmethod
    def distributions(self, trace: SentenceTrace, source: Source) -> Tensor:
        """How probable every symbol was for this model at every step of a trace, which may be another's."""


class TranslatorViewer(Viewer[str]):
    """Of models that read text and generate some."""

    says: Says = "text"

    def __init__(self, translator: Translator) -> None:
        self.translator, self.loaded = translator, translator.loaded[0]

    @property
    def verb(self) -> str:
        """As the model was trained: a text's translation, its continuation, the answer to it, or how it is spoken."""
        if not self.translator.reads_source:
            return "Continue"
        if self.loaded.card.history > 1:
            return "Answer"
        return "Pronounce" if self.loaded.vocabularies.target.kind == "symbols" else "Translate"

    def trace(self, source: str, wish: Wish) -> SentenceTrace:
        """The search and one replay."""
        prefix, override, search, around = wish
        return trace_sentence(self.translator, source, prefix=prefix, override=override, around=around, **search)

    def document(self, trace: SentenceTrace, source: str, name: str = "") -> Document:
        """That of a sentence."""
        return document(self.translator, trace, text=source, name=name)

    def influences(self, trace: SentenceTrace, source: str) -> Document:
        """Without each word."""
        return influences(self.translator, trace)

    def distributions(self, trace: SentenceTrace, source: str) -> Tensor:
        """Of the next token."""
        ids = self.translator.encode_source(source)
        return next_token_distributions(self.loaded.model, ids, trace.target[:-1])


class CaptionerViewer(Viewer[Pixels]):
    """Of models that say what a picture shows."""

    says: Says = "text"

    def __init__(self, captioner: Captioner) -> None:
        self.captioner, self.loaded = captioner, captioner.loaded[0]

    @property
    def verb(self) -> str:
        """Of a picture."""
        return "Describe"

    def trace(self, source: Pixels, wish: Wish) -> SentenceTrace:
        """The search and one replay."""
        prefix, override, search, around = wish
        return trace_picture(self.captioner, source, prefix=prefix, override=override, around=around, **search)

    def document(self, trace: SentenceTrace, source: Pixels, name: str = "") -> Document:
        """That of a picture."""
        return picture_document(self.captioner, trace, source, name=name)

    def influences(self, trace: SentenceTrace, source: Pixels) -> Document:
        """Without each region."""
        model, labels = self.captioner.model, torch.tensor(trace.target)

        def score(pictures: Tensor) -> Tensor:
            targets = torch.tensor([[BOS, *trace.target[:-1], EOS]]).expand(len(pictures), -1)
            batch = Batch(pictures, targets).to(next(model.parameters()).device)
            return _of(labels, model(batch).logits.float().cpu().log_softmax(-1))

        return _occlusion(score, self.captioner, trace, source)

    def distributions(self, trace: SentenceTrace, source: Pixels) -> Tensor:
        """Of the next token."""
        picture = self.captioner.reader.tensor(source[None])
        return next_token_distributions(self.loaded.model, picture, trace.target[:-1])


class LabelViewer(Viewer[str]):
    """Of models that give texts labels, or words tags."""

    says: Says = "labels"

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.loaded = classifier, classifier.loaded[0]

    @property
    def verb(self) -> str:
        """Of a text, or of its words."""
        return "Tag" if self.classifier.gives_tags else "Classify"

    def trace(self, source: str, wish: Wish) -> SentenceTrace:
        """One pass."""
        return trace_text_label(self.classifier, source, override=wish.override)

    def document(self, trace: SentenceTrace, source: str, name: str = "") -> Document:
        """That of a text and its labels."""
        return label_document(self.classifier, trace, text=source, name=name)

    def influences(self, trace: SentenceTrace, source: str) -> Document:
        """Without each word."""
        return label_influences(self.classifier, trace)

    def distributions(self, trace: SentenceTrace, source: str) -> Tensor:
        """Of the labels."""
        own = self.trace(source, Wish())
        return label_log_probs(self.classifier.model, pad([own.source]))[0, : len(own.target)].double().exp()


class PictureLabelViewer(Viewer[Pixels]):
    """Of models that give pictures labels."""

    says: Says = "labels"

    def __init__(self, classifier: PictureClassifier) -> None:
        self.classifier, self.loaded = classifier, classifier.loaded[0]

    @property
    def verb(self) -> str:
        """Of a picture."""
        return "Classify"

    def trace(self, source: Pixels, wish: Wish) -> SentenceTrace:
        """One pass."""
        return trace_picture_label(self.classifier, source, override=wish.override)

    def document(self, trace: SentenceTrace, source: Pixels, name: str = "") -> Document:
        """That of a picture."""
        return picture_document(self.classifier, trace, source, name=name)

    def influences(self, trace: SentenceTrace, source: Pixels) -> Document:
        """Without each region."""
        labels = torch.tensor(trace.target) - FIRST

        def score(pictures: Tensor) -> Tensor:
            return _of(labels, label_log_probs(self.classifier.model, pictures))

        return _occlusion(score, self.classifier, trace, source)

    def distributions(self, trace: SentenceTrace, source: Pixels) -> Tensor:
        """Of the labels, after every glimpse if there are some."""
        return label_log_probs(self.classifier.model, self.classifier.reader.tensor(source[None]))[0].double().exp()


def _of(labels: Tensor, log_probs: Tensor) -> Tensor:
    """Of (batch, steps, symbols) those of the `labels`, one for each step."""
    return log_probs.gather(2, labels.expand(len(log_probs), -1)[..., None])[..., 0]


def _occlusion(
    score: Callable[[Tensor], Tensor], pictured: Captioner | PictureClassifier, trace: SentenceTrace, pixels: Pixels
) -> Document:
    return array(occlusion(score, pictured.reader.tensor(pixels[None]), grid_of(pictured, trace)))


def open_viewer(loaded: LoadedModel) -> Viewer[Any]:
    """The one that fits the model.

    Raises:
        UsageError: it gives neither text nor labels.
    """
    generates, reads_pictures = loaded.vocabularies.target.ends_with_eos, loaded.vocabularies.reads_pictures
    if generates:
        return CaptionerViewer(Captioner([loaded])) if reads_pictures else TranslatorViewer(Translator([loaded]))
    return PictureLabelViewer(PictureClassifier([loaded])) if reads_pictures else LabelViewer(Classifier([loaded]))

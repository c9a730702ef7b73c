"""Text in, label out: a model folder becomes a `Classifier`, a line becomes a `Classification`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.checkpoint.model_folder import LoadedModel, first_of, load_model
from regard.data.batching import pad
from regard.data.text import clean_line, is_blank, texts_of
from regard.errors import UsageError
from regard.pipelines.generate import longest_source
from regard.pipelines.label import best_labels, label
from regard.protocol import Decodable, Labeller
from regard.symbols import EOS, NAMES


@dataclass(frozen=True)
class Classification:
    """What label a text got, or which tag each of its words, and how sure the model is of it.

    `label` is the most probable one; tags have a space between them. `probability` is that of the whole: the product
    over the words. `probabilities` has one table for the text, or one for each word, the most probable label first.
    `notice` is what a user should know: that the text was too long to be read. It then has no label, as a blank one.
    """

    source: str
    label: str
    probability: float
    probabilities: list[dict[str, float]]
    source_tokens: list[str]
    source_ids: list[int]
    notice: str | None = None
    _classifier: "Classifier | None" = field(default=None, repr=False, compare=False)

    @cached_property
    def attention(self) -> dict[str, Float[Tensor, "heads queries keys"]]:
        """What the model looked at, by site; empty where it has no attention. The last key is the end of the text."""
        assert self._classifier is not None
        return self._classifier.look(self)


def labellers(loaded: Sequence[LoadedModel]) -> list[Labeller]:
    """The models, ready to be asked together.

    Raises:
        UsageError: the vocabularies differ, or a model generates text instead of labels.
    """
    _ = first_of(loaded)
    models: list[Labeller] = []
    for each in loaded:
        if not isinstance(each.model, Decodable | Labeller):
            raise UsageError(f"{each.folder}: this model gives no label; its vectors are for a tagger to begin with")
        if not isinstance(each.model, Labeller) or each.vocabularies.target.ends_with_eos:
            raise UsageError(
                f"{each.folder}: this model generates text and gives no label; "
                "use `regard translate`, or for pictures `regard caption` (where it looked: --attention FOLDER)"
            )
        models.append(each.model.eval())
    return models


class Classifier:
    """A model folder, or several that share their vocabularies as an ensemble (the mean of their probabilities).

    >>> regard.Classifier.load("runs/trec").classify("How far is it to Aspen?")[0].label
    """

    def __init__(self, loaded: Sequence[LoadedModel]) -> None:
        """Use models on the device where they are.

        Raises:
            UsageError: the vocabularies differ, or a model generates text instead of labels.
        """
        self._models = labellers(loaded)
        first = loaded[0]
        _ = first.vocabularies.source_tokenizer  # or this is no model for texts
        self.loaded = list(loaded)
        self.vocabularies = first.vocabularies
        self.longest = longest_source([each.model for each in loaded])
        self._device = next(first.model.parameters()).device

    @classmethod
    def load(cls, *folders: str | Path, device: str = "cpu") -> "Classifier":
        """Open a model folder, or the best model of a run folder; several become an ensemble.

        Raises:
            ModelError: a folder is missing, damaged, foreign, or holds what could run code.
            UsageError: none is named, the models' vocabularies differ, or one gives no labels.
        """
        if not folders:
            raise UsageError("name a model folder with -m")
        return cls([load_model(folder, device=device) for folder in folders])

    @property
    def model(self) -> Labeller:
        """The first model: the one whose attention is shown."""
        return self._models[0]

    @property
    def gives_tags(self) -> bool:
        """Whether every word gets a label."""
        return self.vocabularies.target.kind == "tags"

    def classify(self, texts: str | Sequence[str]) -> list[Classification]:
        """One classification a text, in their order; nothing is ever cut off.

        Raises:
            TypeError: a text is no str.
            DataError: a text holds half a surrogate pair.
        """
        texts = texts_of(texts)
        sources = [self.encode(text) for text in texts]
        readable = [source if len(source) <= self.longest else [EOS] for source in sources]
        found = label(self._models, readable, self.vocabularies, device=self._device)
        return [
            self._classification(text, source, probabilities)
            for text, source, probabilities in zip(texts, sources, found, strict=True)
        ]

    @torch.inference_mode()
    def look(self, classification: Classification) -> dict[str, Float[Tensor, "heads queries keys"]]:
        """Every attention of the first model, read once more with a record."""
        if not classification.label:
            return {}
        record = AttentionRecord()
        self._models[0].label(pad([classification.source_ids]).to(self._device), record)
        return {site: record.weights(site)[0].cpu() for site in record.sites}

    def encode(self, text: str) -> list[int]:
        """The ids that the model reads for `text`, `EOS` at their end.

        Raises:
            DataError: it holds half a surrogate pair.
        """
        return [EOS] if is_blank(text) else [*self.vocabularies.source_tokenizer.encode(clean_line(text)), EOS]

    def _classification(self, text: str, source: list[int], probabilities: Tensor) -> Classification:
        notice = None
        if len(source) > self.longest:
            notice = f"not read: its {len(source):,} pieces are more than the model's {self.longest:,}; split it"
        best = probabilities.amax(-1).double()
        return Classification(
            source=text,
            label=self.vocabularies.target.decode(best_labels(probabilities)),
            probability=float(best.prod()) if len(best) else 0.0,
            probabilities=[self._table(row) for row in probabilities],
            source_tokens=self.vocabularies.source_tokenizer.pieces(source[:-1]),
            source_ids=source,
            notice=notice,
            _classifier=self,
        )

    def _table(self, probabilities: Float[Tensor, " labels"]) -> dict[str, float]:
        values, order = probabilities.sort(descending=True, stable=True)
        names = self.vocabularies.target.pieces([len(NAMES) + place for place in order.tolist()])
        return dict(zip(names, values.tolist(), strict=True))

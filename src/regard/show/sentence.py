"""What there is to see of one sentence: its attentions, each with the pieces and words along its two sides."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from regard.data.tokenizer import Tokenizer
from regard.errors import UsageError
from regard.pipelines.classify import Classifier
from regard.pipelines.trace import SentenceTrace
from regard.pipelines.translate import Translation, Translator
from regard.symbols import BOS


class Side(NamedTuple):
    """The positions along one axis of a map: their pieces, and the word that each piece belongs to."""

    pieces: list[str]
    words: list[int]

    @property
    def labels(self) -> list[str]:
        """The words: their pieces joined."""
        joined = [""] * (max(self.words, default=-1) + 1)
        for piece, word in zip(self.pieces, self.words, strict=True):
            joined[word] += piece.removeprefix("▁")
        return joined


class Site(NamedTuple):
    """The weights of one attention (heads, queries, keys), with what stands along its two sides."""

    name: str
    weights: np.ndarray
    queries: Side
    keys: Side

    def map(self, *, head: int | None = None, pieces: bool = False) -> tuple[np.ndarray, list[str], list[str]]:
        """One map (queries, keys) of a head or of the mean of all, with the labels of its keys and of its queries.

        Of whole words, unless `pieces`: the sum over the pieces of a key, the mean over the pieces of a query.

        Raises:
            UsageError: there is no such head.
        """
        weights = self.weights.mean(0) if head is None else self._head(head)
        if pieces:
            return weights, self.keys.pieces, self.queries.pieces
        by_key = _membership(self.keys)
        by_query = _membership(self.queries)
        by_query /= by_query.sum(0)
        return by_query.T @ weights @ by_key, self.keys.labels, self.queries.labels

    def title(self, head: int | None = None) -> str:
        """Which weights these are, in words."""
        count = len(self.weights)
        if count == 1:
            return self.name
        return f"{self.name}, " + (f"mean of {count} heads" if head is None else f"head {head + 1} of {count}")

    def _head(self, head: int) -> np.ndarray:
        if not 0 <= head < len(self.weights):
            raise UsageError(f"{self.name} has no head {head + 1}; it has {len(self.weights)}")
        return self.weights[head]


def _membership(side: Side) -> np.ndarray:
    return np.eye(max(side.words, default=-1) + 1)[side.words]  # (pieces, words)


def look(translator: Translator, translation: Translation) -> list[Site]:
    """All attentions of `translation`, in the model's order, from one replay of it.

    Raises:
        UsageError: the model has no attention, so there is nothing to see.
    """
    watched = translator.watch([translation])[0]
    if not watched.sites:
        raise UsageError(
            "this model has no attention, so there is nothing to show; "
            "train one with model.score=additive, or a Transformer"
        )
    source = side_of(translator.vocabularies.source_tokenizer, watched.source)
    target = side_of(translator.vocabularies.target, watched.target)
    said = side_of(translator.vocabularies.target, [BOS, *watched.target[:-1]])  # what the decoder has read
    return _sites({name: weights.numpy() for name, weights in watched.sites.items()}, source, target, said)


def look_for_label(classifier: Classifier, trace: SentenceTrace) -> list[Site]:
    """The same of a text that got a label, or its words tags.

    Raises:
        UsageError: the model has no attention, so there is nothing to see.
    """
    if not trace.sites:
        raise UsageError(
            "this model has no attention; `-o page.html` shows what its answer owes to every word; "
            "a text_classifier with model.preset=attention is one that has"
        )
    source = side_of(classifier.vocabularies.source_tokenizer, trace.source)
    target = side_of(classifier.vocabularies.target, trace.target)
    return _sites({name: seen.weights.numpy() for name, seen in trace.sites.items()}, source, target, target)


def _sites(weights: Mapping[str, np.ndarray], source: Side, target: Side, said: Side) -> list[Site]:
    sides, sites = {"source": source, "target": target, "said": said}, []
    for name, each in weights.items():
        queries, keys = (sides[side] for side in sides_of(kind_of(name)[0]))
        sites.append(Site(name, each.astype(np.float32), queries, keys))
    return sites


def kind_of(site: str) -> tuple[str, int]:
    """`decoder.3.cross` is ("cross", 3); self-attention is named after its half of the model, `pool` is just that."""
    half, *rest = site.split(".")
    kind = "cross" if rest and rest[-1] == "cross" else half
    return kind, int(rest[0]) if len(rest) > 1 and rest[0].isdigit() else 0


def sides_of(kind: str) -> tuple[str, str]:
    """Along which of a document's sides the queries and the keys of such an attention stand."""
    return {"encoder": ("source", "source"), "decoder": ("target", "said")}.get(kind, ("target", "source"))


def choose(sites: Sequence[Site], name: str | None) -> Site:
    """The site called `name`; without one, the attention to the source that aligns best (the last but one layer's).

    Raises:
        UsageError: there is no such site, or without a name no attention to the source.
    """
    by_name = {site.name: site for site in sites}
    if name is None:
        cross = [site for site in by_name if site.endswith(".cross")]
        return by_name[cross[max(0, len(cross) - 2)]] if cross else sites[-1]
    if name not in by_name:
        raise UsageError(f"there is no attention `{name}` in this model; there are {', '.join(by_name)}")
    return by_name[name]


def side_of(tokenizer: Tokenizer, ids: Sequence[int]) -> Side:
    """The side along which `ids` stand."""
    pieces, words = list(tokenizer.pieces(ids)), list(tokenizer.words(ids))
    # One word spelt in letters or phones: its pieces are what one wants to see.
    spelt = len({word for word, piece in zip(words, pieces, strict=True) if not piece.startswith("<")}) <= 1
    return Side(pieces, list(range(len(ids))) if spelt else words)

"""Looking at a finished output: one teacher-forced pass with a record, and the alignment read off it.

The search itself keeps no attention. Replaying the winner once costs a fraction of the search, gives every layer
and head, and works for a given translation too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from regard.attention.record import AttentionRecord
from regard.data.batching import pad
from regard.errors import UsageError
from regard.protocol import Batch, Model
from regard.symbols import BOS, EOS, PAD

Link = tuple[int, int]


class Watched(NamedTuple):
    """Attention weights of one pair by site, (heads, queries, keys), without padding.

    `source` ends in `EOS`, and is empty where it was a picture; `target` ends in `EOS` too. Row t of a decoder's site
    is what was looked at when token t of `target` was said. Its own past (`decoder.0.self`) begins with `BOS`, so
    there key t is what stands before token t.
    """

    source: list[int]
    target: list[int]
    sites: dict[str, Float[Tensor, "heads queries keys"]]

    @property
    def cross_sites(self) -> list[str]:
        """The attentions from target to source, first layer to last."""
        return [site for site in self.sites if site.endswith(".cross")]


def watch(model: Model, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Watched]:
    """Say `pairs` (source ids ending in `EOS`, output ids without `BOS` and `EOS`) once more and keep all attention."""
    sources = [list(source) for source, _ in pairs]
    return _watch(model, pad(sources), sources, [output for _, output in pairs])


def watch_pictures(model: Model, pictures: Tensor, outputs: Sequence[Sequence[int]]) -> list[Watched]:
    """The same for pictures (or their regions) and what was said of them; the keys are regions, row after row."""
    return _watch(model, pictures, [[]] * len(outputs), outputs)


@torch.inference_mode()
def _watch(
    model: Model, source: Tensor, sources: Sequence[list[int]], outputs: Sequence[Sequence[int]]
) -> list[Watched]:
    if not outputs:
        return []
    targets = [[BOS, *output, EOS] for output in outputs]
    batch = Batch(source, pad(targets)).to(next(model.parameters()).device)
    record = AttentionRecord()
    model(batch, record)
    return [
        Watched(
            list(ids),
            target[1:],
            {site: _without_padding(record.weights(site)[row], batch, row, site) for site in record.sites},
        )
        for row, (ids, target) in enumerate(zip(sources, targets, strict=True))
    ]


def _without_padding(weights: Tensor, batch: Batch, row: int, site: str) -> Tensor:
    target_length = int((batch.labels[row] != PAD).sum())
    looks_at_itself = site.startswith("decoder") and site.endswith(".self")
    if batch.source.is_floating_point():  # regions are as many in every picture
        return weights[:, :target_length, : target_length if looks_at_itself else None].float().cpu()
    source_length = int((batch.source[row] != PAD).sum())
    queries = source_length if site.startswith("encoder") else target_length
    return weights[:, :queries, : target_length if looks_at_itself else source_length].float().cpu()


def token_alignment(
    watched: Watched, *, site: str | None = None, heads: Sequence[int] | None = None
) -> Float[Tensor, "target source"]:
    """How much of each source token every target token used: the mean of `heads` (all, if not given) at `site`.

    Without `site` it is the last but one attention to the source, where there are several: in Transformers the
    layer before the last aligns best (Garg et al. 2019, 4.2); else the only one.

    Raises:
        UsageError: the model does not attend to its source, or has no such site or head.
    """
    sites = watched.cross_sites
    if not sites:
        raise UsageError("this model does not attend to the source, so that it has no alignment")
    site = sites[max(0, len(sites) - 2)] if site is None else site
    if site not in watched.sites:
        raise UsageError(f"there is no attention {site!r}; there are {', '.join(watched.sites)}")
    weights = watched.sites[site]
    if heads is None:
        return weights.mean(0)
    if not heads or not all(0 <= head < weights.size(0) for head in heads):
        raise UsageError(f"{site} has the heads 0 to {weights.size(0) - 1}")
    return weights[list(heads)].mean(0)


def word_alignment(
    weights: Float[Tensor, "target source"], source_words: Sequence[int], target_words: Sequence[int]
) -> Float[Tensor, "target_words source_words"]:
    """Sum over the pieces of a source word, mean over the pieces of a target word.

    The words are numbered from 0 as `Tokenizer.words` does. Whoever wants `EOS` left out gives fewer numbers than
    there are rows and columns: what lies beyond them is not looked at.
    """
    weights = weights[: len(target_words), : len(source_words)]
    by_source = weights.new_zeros(weights.size(0), max(source_words, default=-1) + 1)
    by_source.index_add_(1, torch.tensor(source_words, dtype=torch.long), weights)
    words = torch.tensor(target_words, dtype=torch.long)
    total = weights.new_zeros(max(target_words, default=-1) + 1, by_source.size(1)).index_add_(0, words, by_source)
    return total / torch.bincount(words, minlength=total.size(0)).clamp(min=1).unsqueeze(1)


def hard_links(weights: Float[Tensor, "target source"]) -> list[Link]:
    """For every target word the source word that it used most: (source, target), both from 0 (Pharaoh)."""
    if not weights.numel():
        return []
    return sorted((source, target) for target, source in enumerate(weights.argmax(1).tolist()))

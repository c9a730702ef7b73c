"""Attention, once for every model: weights = softmax(score(query, keys) + mask), context = weights . values."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.mask import Hiding, causal_mask, hide
from regard.attention.record import AttentionRecord
from regard.attention.score import Score

# Below this many queries or keys the explicit softmax beats the fused kernel on a CPU (benchmarks/attention_paths.py):
# in bf16 up to six times, in decoding, with one query a row, up to five times. On a GPU the explicit one is made
# of kernels that torch calls deterministic; it warns that the fused kernels' backward passes are not.
FUSED_FROM = 512


class Memory(NamedTuple):
    """What can be attended to. `keys` have been through `Score.project_keys`."""

    keys: Float[Tensor, "batch heads keys projected"]
    values: Float[Tensor, "batch heads keys value_size"]
    mask: Bool[Tensor, "batch keys"] | None = None  # True: may be attended to
    hiding: Hiding | None = None  # the same, made ready for the scores


class Attention(nn.Module):
    """Softmax and weighted sum around any `Score`. Holds no state between calls.

    A query without a single key it may attend to gets the context 0, on every path. The softmax is taken
    in float32 even where scores and weights are stored in 16 bits. `site` is the name under which a
    record keeps what was seen.
    """

    takes_greatest = False  # in use all of the weight goes to the key with the greatest score

    def __init__(self, score: Score, *, site: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.score = score
        self.site = site
        self.dropout = dropout

    def remember(self, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Memory:
        """Prepare keys (batch, heads, keys, d1) and values for any number of queries."""
        projected = self.score.project_keys(keys)
        return Memory(projected, values, mask, None if mask is None else hide(mask[:, None, None, :], projected))

    def forward(
        self,
        query: Float[Tensor, "rows heads queries query_size"],
        memory: Memory,
        *,
        causal: bool = False,
        record: AttentionRecord | None = None,
    ) -> Float[Tensor, "rows heads queries value_size"]:
        """The context of every query.

        With `causal`, query i sees keys 0..i only (queries and keys are the same positions). The query may
        have k times the memory's rows (k beams a sentence): they are folded into the query axis, so that
        the memory is never copied.
        """
        beams = query.size(0) // memory.keys.size(0)
        if beams != 1:
            query = _fold(query, beams)
        if record is None and self._fused_is_better(query, memory):
            context = self._fused(query, memory, causal=causal)
        else:
            context = self._explicit(query, memory, causal=causal, beams=beams, record=record)
        return context if beams == 1 else _unfold(context, beams)

    def flops(self, rows: int, queries: int, keys: int, value_size: int) -> int:
        """Operations of `forward`; `rows` are heads times sentences. What is hidden is computed as well."""
        num_pairs = rows * queries * keys
        return self.score.flops(rows * queries, num_pairs) + 2 * num_pairs * value_size

    def _weigh(self, scores: Tensor) -> Tensor:
        """From scores to weights, over the keys."""
        return scores.softmax(-1)

    def _fused_is_better(self, query: Tensor, memory: Memory) -> bool:
        return self.score.scale is not None and min(query.size(2), memory.keys.size(2)) >= FUSED_FROM

    def _fused(self, query: Tensor, memory: Memory, *, causal: bool) -> Tensor:
        only_causal = causal and memory.mask is None  # for this alone there are kernels that skip the future
        hiding = None if only_causal else _hiding(query, memory, causal=causal)
        context = functional.scaled_dot_product_attention(
            query,
            memory.keys,
            memory.values,
            attn_mask=None if hiding is None else hiding.bias,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=only_causal,
            scale=self.score.scale,
        )
        return context if hiding is None or hiding.empty is None else context.masked_fill(hiding.empty, 0.0)

    def _explicit(
        self, query: Tensor, memory: Memory, *, causal: bool, beams: int, record: AttentionRecord | None
    ) -> Tensor:
        hiding = _hiding(query, memory, causal=causal)
        scores = self.score(query, memory.keys, None if hiding is None else hiding.bias)
        weights = self._weigh(scores).to(memory.values.dtype)
        if hiding is not None and hiding.empty is not None:
            weights = weights.masked_fill(hiding.empty, 0.0)
        if self.dropout:
            weights = functional.dropout(weights, self.dropout, self.training)
        if record is not None:
            if hiding is not None and hiding.empty is not None:
                scores = scores.masked_fill(hiding.empty, float("-inf"))
            weights = _fold(record.instead(self.site, _unfold(scores, beams), _unfold(weights, beams)), beams)
        context = weights @ memory.values
        if record is not None:
            asked = (_unfold(each, beams) for each in (scores, weights, context, query))
            record.add(self.site, *asked, memory.keys, memory.values)
        return context


def _hiding(query: Tensor, memory: Memory, *, causal: bool) -> Hiding | None:
    """What the memory hides and, with `causal`, the future: query i may see keys 0..i."""
    if not causal:
        return memory.hiding
    past = causal_mask(query.size(2), query.device)[None, None]
    return hide(past if memory.mask is None else past & memory.mask[:, None, None, :], memory.keys)


def _fold(query: Tensor, beams: int) -> Tensor:
    """The k beams of a sentence into its queries: (rows, heads, queries, d2) to (batch, heads, beams * queries, d2)."""
    return query.unflatten(0, (-1, beams)).transpose(1, 2).flatten(2, 3)


def _unfold(folded: Tensor, beams: int) -> Tensor:
    """The way back: (batch, heads, beams * queries, n) to (rows, heads, queries, n)."""
    return folded.unflatten(2, (beams, -1)).transpose(1, 2).flatten(0, 1)

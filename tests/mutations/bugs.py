"""Bugs that public code has had, and the check that must go red for each (pytorch issues, fairseq, joeynmt, ...)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import regard.attention.attention as attention
import regard.attention.multi_head as multi_head
import regard.decoding.beam as beam
import regard.layers.positional_encoding as positional_encoding
from checks import attention as attention_checks
from checks import layers as layer_checks
from checks import models as model_checks
from checks import oracle, search
from checks import rotary as rotary_checks
from checks import transformer as transformer_checks
from checks.making import transformer_model
from checks.planted import Bug, Change
from regard.attention.mask import Hiding
from regard.attention.record import AttentionRecord
from regard.attention.score import ScaledDotProduct
from regard.layers.add_and_norm import PostNorm
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.positional_encoding import Rotary, Sinusoidal
from regard.models import transformer
from regard.trees import select_rows


def with_model(check: Callable[..., None]) -> Callable[[Any], None]:
    """A check of any model, for the Transformer."""
    return lambda _: check(transformer_model)


def with_score(check: Callable[..., None], name: str = "scaled dot", *, patches: bool = False) -> Callable[[Any], None]:
    """A check of attention, for one of its scores."""
    return lambda patch: check(name, patch) if patches else check(name)


def plain(check: Callable[[], None]) -> Callable[[Any], None]:
    """A check that needs nothing."""
    return lambda _: check()


LEAK = with_model(model_checks.the_future_does_not_leak)
PADDING = with_model(model_checks.padding_changes_nothing)
STEP = with_model(model_checks.a_step_says_what_forward_says)
BEAMS = with_model(model_checks.beams_say_what_forward_says)
ORACLE = with_model(oracle.equals_torch_transformer)
PRE_NORM_ORACLE = with_model(oracle.equals_torch_transformer_in_pre_norm)


def _rotary_step(_: Any) -> None:
    """A step of a Transformer with rotary positions."""
    model_checks.a_step_says_what_forward_says(lambda **settings: transformer_model(positions="rotary", **settings))


def _halves_turned(right: Change) -> Change:
    def wrong(self: Any, vectors: Tensor, **options: Any) -> Tensor:
        return right(self, vectors.unflatten(-1, (2, -1)).mT.flatten(-2), **options)

    return wrong


def _backwards_beyond_the_table(right: Change) -> Change:
    def wrong(self: Any, start: int, stop: int) -> Tensor:
        sines, cosines = right(self, start, stop).unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([-sines if stop > 512 else sines, cosines], -1).flatten(-2)

    return wrong


def _minus_ten_thousand(hide: Change) -> Change:
    def wrong(allowed: Tensor, like: Tensor) -> Hiding:
        return Hiding(hide(allowed, like).bias.clamp(min=-1e4), None)

    return wrong


def _nan_for_nothing(_: Change) -> Change:
    def wrong(allowed: Tensor, like: Tensor) -> Hiding:
        return Hiding(torch.zeros_like(allowed, dtype=like.dtype).masked_fill(~allowed, -math.inf), None)

    return wrong


def _never_reordered(_: Change) -> Change:
    def wrong(tree: Any, rows: Tensor) -> Any:
        same_number = isinstance(tree, tuple) and tree and tree[0][0].size(0) == rows.numel()
        return tree if same_number else select_rows(tree, rows)

    return wrong


def _forgetful(right: Change) -> Change:
    def wrong(self: Any, state: Tensor, past: multi_head.Past, **options: Any) -> Any:
        context, grown = right(self, state, past, **options)
        return context, multi_head.Past(grown.keys[:, :, :1].expand_as(grown.keys), grown.values)

    return wrong


def _in_place(right: Change) -> Change:
    def wrong(self: Any, state: Tensor, past: multi_head.Past, **options: Any) -> Any:
        past.keys.data.mul_(0.5)
        return right(self, state, past, **options)

    return wrong


def looking_after_the_step(_: Any) -> Any:
    """Of `follow`: the layers above get a_{t+1}, as in gnmt_v2."""

    def wrong(layer: Any, inputs: Tensor, states: Any, look: Any) -> Any:
        context, outputs, contexts = look(states.hidden[:, -1]), [], []
        for vector in inputs.unbind(1):
            output, states = layer.step(torch.cat([vector, context], -1), states)
            context = look(output)
            outputs.append(output)
            contexts.append(context)
        return torch.stack(outputs, 1), torch.stack(contexts, 1), states

    return wrong


def _records_before_masking(right: Change) -> Change:
    def wrong(self: Any, site: str, scores: Tensor, weights: Tensor, *rest: Tensor) -> None:
        right(self, site, scores, scores.clamp(min=-9.0).softmax(-1), *rest)

    return wrong


def _sines_then_cosines(right: Change) -> Change:
    def wrong(start: int, stop: int, size: int) -> Tensor:
        interleaved = right(start, stop, size)
        return torch.cat([interleaved[:, 0::2], interleaved[:, 1::2]], 1)

    return wrong


class IdleNorm(nn.LayerNorm):
    """A norm with parameters, but without effect."""

    def forward(self, states: Tensor) -> Tensor:
        """Nothing happens."""
        return states


def _copied_instead_of_tied(right: Change) -> Change:
    def wrong(config: Any, dimensions: Any) -> Any:
        model = right(config, dimensions)
        model.readout.weight = nn.Parameter(model.readout.weight.detach().clone())
        return model

    return wrong


def _unscaled(right: Change) -> Change:
    def wrong(self: Any, query_size: int, key_size: int) -> None:
        right(self, query_size, key_size)
        self.scale = 1.0

    return wrong


def _not_rescaled(right: Change) -> Change:
    def wrong(self: Any, probability: float) -> None:
        right(self, probability)
        self._scale = 1.0

    return wrong


def _huge_embeddings(right: Change) -> Change:
    def wrong(self: Any, num_tokens: int, size: int, **options: Any) -> None:
        right(self, num_tokens, size, **options)
        self.weight.data.mul_(math.sqrt(size))

    return wrong


def _same_noise_in_four_places(right: Change) -> Change:
    def wrong(self: Any, states: Tensor) -> Tensor:
        return right(self, states[::4]).repeat_interleave(4)

    return wrong


def _causal(offset: int) -> Change:
    """A causal mask that is off."""
    return lambda _: lambda length, device: torch.ones(length, length, dtype=torch.bool, device=device).tril(offset)


def _kernel_that(ignores: str) -> Change:
    """A fused kernel that overlooks one of its options."""
    return lambda right: (
        lambda *tensors, **options: right(*tensors, **{key: value for key, value in options.items() if key != ignores})
    )


Attention = attention.Attention
SelfAttention, CrossAttention = multi_head.SelfAttention, multi_head.MultiHeadAttention

BUGS = [
    # masks
    Bug("causal mask sees one ahead", attention, "causal_mask", _causal(1), LEAK),
    Bug("no causal mask", attention, "causal_mask", _causal(100), LEAK),
    Bug("causal mask hides the present", attention, "causal_mask", _causal(-1), STEP),
    Bug(
        "encoder sees padding", SelfAttention, "forward",
        lambda right: lambda self, states, mask=None, **o: right(self, states, None, **o), PADDING,
    ),
    Bug(
        "decoder sees the source's padding", CrossAttention, "remember",
        lambda right: lambda self, states, mask=None: right(self, states, None), PADDING,
    ),
    Bug(
        "memory mask upside down", CrossAttention, "remember",
        lambda right: lambda self, states, mask: right(self, states, ~mask), PADDING,
    ),
    Bug(
        "-1e4 instead of -inf", attention, "hide", _minus_ten_thousand,
        with_score(attention_checks.huge_scores_stay_hidden, patches=True),
    ),
    Bug("an empty source gives NaN", attention, "hide", _nan_for_nothing,
        with_model(model_checks.an_empty_source_is_harmless)),
    Bug(
        "a query without keys gives NaN", attention, "hide", _nan_for_nothing,
        with_score(attention_checks.nothing_to_see_gives_zero, "additive", patches=True),
    ),
    # scores and softmax
    Bug("scale missing", ScaledDotProduct, "__init__", _unscaled, plain(attention_checks.scores_have_unit_variance)),
    Bug("scale missing (oracle)", ScaledDotProduct, "__init__", _unscaled, ORACLE),
    Bug(
        "softmax over the queries", torch.Tensor, "softmax",
        lambda right: lambda self, dim, **o: right(self, -2 if dim == -1 else dim, **o),
        with_model(model_checks.weights_are_probabilities),
    ),
    Bug("softmax over the queries (formula)", torch.Tensor, "softmax",
        lambda right: lambda self, dim, **o: right(self, -2 if dim == -1 else dim, **o),
        with_score(attention_checks.follows_the_formula)),
    Bug("keys and values swapped", Attention, "remember",
        lambda right: lambda self, keys, values, mask=None: right(self, values, keys, mask), ORACLE),
    Bug("heads cut across", multi_head, "_heads",
        lambda _: lambda projected, parts, heads: (
            projected.unflatten(-1, (parts, -1, heads)).permute(2, 0, 4, 1, 3).unbind(0)
        ), ORACLE),
    Bug("heads not joined back", multi_head, "_join",
        lambda right: lambda context: context.reshape(context.size(0), context.size(2), -1), ORACLE),
    # the fused path
    Bug("fused kernel without mask", functional, "scaled_dot_product_attention", _kernel_that("attn_mask"),
        with_score(attention_checks.fused_equals_explicit, patches=True)),
    Bug("fused kernel not causal", functional, "scaled_dot_product_attention", _kernel_that("is_causal"),
        with_score(attention_checks.fused_equals_explicit, patches=True)),
    Bug("fused kernel with its own scale", functional, "scaled_dot_product_attention", _kernel_that("scale"),
        with_score(attention_checks.fused_equals_explicit, "multiplicative", patches=True)),
    # looking
    Bug("weights recorded before masking", AttentionRecord, "add", _records_before_masking,
        with_model(model_checks.weights_are_probabilities)),
    Bug("weights recorded are not those used", AttentionRecord, "add", _records_before_masking,
        with_score(attention_checks.the_record_is_what_was_used)),
    # positions and embeddings
    Bug("positions dropped", positional_encoding.Positions, "forward",
        lambda _: lambda self, embedded, *, start=0: embedded, with_model(model_checks.the_order_of_words_matters)),
    Bug("positions dropped (encoder)", positional_encoding.Positions, "forward",
        lambda _: lambda self, embedded, *, start=0: embedded,
        with_model(transformer_checks.encoder_without_positions_is_permutation_equivariant)),
    Bug("every step is position 0", positional_encoding.Positions, "forward",
        lambda right: lambda self, embedded, *, start=0: right(self, embedded), STEP),
    Bug("sines, then cosines", positional_encoding, "sinusoids", _sines_then_cosines,
        plain(layer_checks.sines_follow_the_formula)),
    Bug("sines, then cosines (oracle)", positional_encoding, "sinusoids", _sines_then_cosines, ORACLE),
    Bug("rotary: every step is position 0", Rotary, "forward",
        lambda right: lambda self, vectors, *, start=0: right(self, vectors), _rotary_step),
    Bug("rotary: nothing is turned", Rotary, "forward",
        lambda _: lambda self, vectors, *, start=0: vectors, plain(rotary_checks.scores_depend_on_the_distance_alone)),
    Bug("rotary: positions are added to what is embedded, too", transformer, "_positions",
        lambda _: lambda config: Sinusoidal(config.size),
        plain(transformer_checks.rotary_positions_are_relative)),
    Bug("rotary: halves turned, not neighbours", Rotary, "forward", _halves_turned,
        plain(rotary_checks.vectors_are_turned_as_in_the_paper)),
    Bug("rotary: turned backwards beyond the table", Sinusoidal, "encode", _backwards_beyond_the_table,
        plain(rotary_checks.vectors_are_turned_as_in_the_paper)),
    Bug("embeddings not scaled", Embedding, "forward",
        lambda _: lambda self, tokens: functional.embedding(tokens, self.weight), ORACLE),
    Bug("embeddings drawn from N(0, 1)", Embedding, "__init__", _huge_embeddings,
        plain(transformer_checks.an_untrained_model_knows_nothing)),
    Bug("readout copied instead of tied", transformer, "build", _copied_instead_of_tied,
        with_model(transformer_checks.tied_matrices_are_one)),
    # norms and residuals
    Bug("a final norm too many", transformer, "_final_norm",
        lambda _: lambda config: nn.LayerNorm(config.size), ORACLE),
    Bug("no final norm after pre-norm", transformer, "_final_norm", lambda _: lambda config: IdleNorm(config.size),
        PRE_NORM_ORACLE),
    Bug("no residual", PostNorm, "leave", lambda _: lambda self, states, branch: self.norm(branch), ORACLE),
    Bug("norm before the sum", PostNorm, "leave", lambda _: lambda self, states, branch: states + self.norm(branch),
        ORACLE),
    # dropout
    Bug("dropout in evaluation", Dropout, "_active", lambda _: property(lambda self: self._num_dropped > 0),
        with_model(model_checks.evaluation_is_deterministic)),
    Bug("no dropout in training", Dropout, "_active", lambda _: property(lambda self: False),
        with_model(model_checks.evaluation_is_deterministic)),
    Bug("dropout not rescaled", Dropout, "__init__", _not_rescaled, plain(layer_checks.dropout_keeps_the_mean)),
    Bug("neighbours dropped together", Dropout, "_noise", _same_noise_in_four_places,
        plain(layer_checks.dropout_draws_every_element_for_itself)),
    # decoding
    Bug("cache forgets", SelfAttention, "step", _forgetful, STEP),
    Bug("a step changes the state it got", SelfAttention, "step", _in_place,
        with_model(model_checks.a_state_is_not_changed_by_a_step)),
    Bug("cache not reordered", beam, "select_rows", _never_reordered,
        with_model(search.search_scores_are_the_model_s)),
    Bug("cache not reordered (steps)", model_checks, "select_rows", _never_reordered, BEAMS),
    Bug("beams folded repeat-wise", attention, "_fold",
        lambda _: lambda query, beams: query.unflatten(0, (beams, -1)).permute(1, 2, 0, 3, 4).flatten(2, 3), BEAMS),
    Bug("beams folded repeat-wise (attention)", attention, "_fold",
        lambda _: lambda query, beams: query.unflatten(0, (beams, -1)).permute(1, 2, 0, 3, 4).flatten(2, 3),
        with_score(attention_checks.beams_fold_in_order)),
    Bug("memory projected at every step", transformer.DecoderLayer, "step",
        lambda right: lambda self, state, memory, past, record: (
            self.cross_attention.key_value(state), right(self, state, memory, past, record))[1],
        with_model(transformer_checks.the_memory_is_projected_once)),
]  # fmt: skip

"""Bugs that ByteNets have had or invite, planted one by one: the check of each must go red."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import regard.decoding.beam as beam
from checks import bytenet as checks
from checks import models as model_checks
from checks import search
from checks.bytenet import bytenet_model
from checks.planted import Bug, Change, green_then_red
from regard.layers.add_and_norm import PreNorm
from regard.layers.dilated_convolution import DilatedConvolution
from regard.models import bytenet
from regard.models.bytenet import Block, Carry, Config, Decoder, Encoder, MultiplicativeBlock, ReluBlock
from regard.symbols import PAD

MULTIPLICATIVE = {"block": "multiplicative", "join": "add"}


def equations(**settings: object) -> Any:
    return lambda _: checks.follows_the_equations(**settings)


def invariant(check: Any, **settings: object) -> Any:
    return lambda _: check(lambda: bytenet_model(**settings))


LEAK = invariant(model_checks.the_future_does_not_leak)
PADDING = invariant(model_checks.padding_changes_nothing)
STEP = invariant(model_checks.a_step_says_what_forward_says)
BEAMS = invariant(model_checks.beams_say_what_forward_says)
FIELD = lambda _: checks.only_the_receptive_field_is_seen()  # noqa: E731


def _reaching(ahead: Any) -> Change:
    """A convolution that says truly how far it may look, and looks somewhere else."""

    def change(right: Any) -> Any:
        def wrong(self: Any, *sizes: int, **shape: Any) -> None:
            right(self, *sizes, **shape)
            self.reach_ahead = ahead(self, shape["causal"])

        return wrong

    return change


def _one_dilation_for_all(right: Any) -> Any:
    return lambda self, *sizes, dilation, **shape: right(self, *sizes, dilation=1, **shape)


def _newest_first(right: Any) -> Any:
    def wrong(self: Any, inputs: Tensor, past: Tensor) -> Any:
        window = torch.cat([past, inputs.unsqueeze(1)], 1)
        return self.taps(window[:, :: self.dilation].flip(1).flatten(1)), window[:, 1:]

    return wrong


def _forgets_one(right: Any) -> Any:
    return lambda self, inputs, past: right(self, inputs, torch.cat([past[:, :1] * 0, past[:, 1:]], 1))


def _in_place(right: Any) -> Any:
    """A real ring buffer, written into the state that others may still want to continue from."""

    def wrong(self: Any, inputs: Tensor, past: Tensor) -> Any:
        output, new = right(self, inputs, past)
        return output, past.copy_(new)

    return wrong


def _remembers_everything(right: Any) -> Any:
    """Right outputs from pasts that are never cut."""

    def wrong(self: Any, tokens: Tensor, memory: Tensor, carry: Carry) -> Any:
        cut = [past[:, -block.convolution.reach :] for block, past in zip(self.blocks, carry.pasts, strict=True)]
        read, after = right(self, tokens, memory, carry._replace(pasts=tuple(cut)))
        longer = [torch.cat([old, new[:, -1:]], 1) for old, new in zip(carry.pasts, after.pasts, strict=True)]
        return read, after._replace(pasts=tuple(longer))

    return wrong


def _over_the_sequence(right: Any) -> Any:
    """Statistics of the whole sequence, as a normalisation over a batch of positions has them."""

    def wrong(self: Any, inputs: Tensor, mask: Any = None) -> Tensor:
        return right(self, inputs - inputs.mean(1, keepdim=True), mask)

    return wrong


def _over_the_batch(right: Any) -> Any:
    def wrong(self: Any, inputs: Tensor, mask: Any = None) -> Tensor:
        return right(self, inputs - inputs.mean(0, keepdim=True), mask)

    return wrong


def _without_mask(right: Any) -> Any:
    return lambda self, states, mask=None: right(self, states, None)


def _never_ending(right: Any) -> Any:
    """The source's representation is not cut at |t^|."""

    def wrong(self: Any, source: Tensor) -> Tensor:
        represented = right(self, source)
        return torch.where(represented == 0, self.norm.bias, represented)

    return wrong


def _bound(change: Any) -> Change:
    def bug(right: Any) -> Any:
        def wrong(self: Any, source: Tensor) -> Tensor:
            bounds = change(self, (source != PAD).sum(1))
            return torch.arange(max(1, int(bounds.max()))) < bounds.unsqueeze(1)

        return wrong

    return bug


def _beside(change: Any) -> Change:
    """`change` is given the memory that teacher forcing reads."""
    return lambda right: lambda self, tokens, memory: right(self, tokens, change(memory))


def _one_late(memory: Tensor) -> Tensor:
    return functional.pad(memory, (0, 0, 1, 0))


def _last_again(memory: Tensor) -> Tensor:
    """The source's last position is read for ever."""
    return torch.cat([memory[:, :-1], memory[:, -2:-1].expand(-1, 9, -1)], 1)


def _target_first(right: Any) -> Any:
    def wrong(self: Any, tokens: Tensor, beside: Tensor) -> Tensor:
        return self.join(torch.cat([self.dropout(self.embedding(tokens)), beside], -1))

    return wrong


def _without_source(right: Any) -> Any:
    return lambda self, tokens, beside: right(self, tokens, torch.zeros_like(beside))


def _padding_is_nothing(right: Any) -> Any:
    """Between |s| and |t^| zeros are read instead of what stands for padding."""

    def wrong(self: Any, tokens: Tensor) -> Tensor:
        return right(self, tokens) * (tokens != PAD).unsqueeze(-1)

    return wrong


def _standing_still(right: Any) -> Any:
    def wrong(self: Any, tokens: Tensor, memory: Tensor, carry: Carry) -> Any:
        read, after = right(self, tokens, memory, carry)
        return read, after._replace(position=carry.position)

    return wrong


def _beams_repeat_wise(_: Any) -> Any:
    def wrong(memory: Tensor, position: Tensor) -> Tensor:
        sentence = torch.arange(len(position)) % len(memory)
        return memory[sentence, position.clamp(max=memory.size(1) - 1)]

    return wrong


def _wrapping_around(_: Any) -> Any:
    def wrong(memory: Tensor, position: Tensor) -> Tensor:
        sentence = torch.arange(len(position)) // (len(position) // len(memory))
        return memory[sentence, position % memory.size(1)]

    return wrong


def _nothing_reordered(right: Any) -> Any:
    def wrong(tree: Any, rows: Tensor) -> Any:
        return tree if isinstance(tree, Carry) and len(tree.position) == len(rows) else right(tree, rows)

    return wrong


def _post_activation(_: Any) -> Any:
    def wrong(self: Any, states: Tensor) -> Tensor:
        return self.norm(functional.relu(self.narrow(functional.relu(self.around.enter(states)))))

    return wrong


def _swapped_gates(right: Any) -> Any:
    def wrong(inputs: Tensor, gates: Tensor) -> Tensor:
        g1, g2, g3, u = gates.chunk(4, -1)
        return right(inputs, torch.cat([g1, g3, g2, u], -1))

    return wrong


def _candidate_as_it_is(_: Any) -> Any:
    def wrong(inputs: Tensor, gates: Tensor) -> Tensor:
        g1, g2, g3, u = gates.chunk(4, -1)
        return g1.sigmoid() * torch.tanh(g2.sigmoid() * inputs + g3.sigmoid() * u)

    return wrong


def _one_unit(_: Any) -> Any:
    return lambda self, inputs, convolved: bytenet.multiplicative_unit(inputs, convolved)


def _no_final_norm(right: Any) -> Any:
    def wrong(config: Any, dimensions: Any) -> Any:
        model = right(config, dimensions)
        model.decoder.norm.forward = lambda states: states
        return model

    return wrong


def _highest_first(right: Any) -> Any:
    return lambda self, sets: right(self, sets)[::-1]


BUGS = [
    # convolutions
    Bug("the decoder's kernel has its middle on t", DilatedConvolution, "__init__",
        _reaching(lambda self, causal: self.reach // 2), LEAK),
    Bug("masked, but one position off", DilatedConvolution, "__init__",
        _reaching(lambda self, causal: 1 if causal else self.reach // 2), LEAK),
    Bug("masked once too often: t is not seen", DilatedConvolution, "__init__",
        _reaching(lambda self, causal: -1 if causal else self.reach // 2), FIELD),
    Bug("the encoder is masked too", DilatedConvolution, "__init__", _reaching(lambda self, causal: 0), FIELD),
    Bug("no dilation", DilatedConvolution, "__init__", _one_dilation_for_all, equations()),
    Bug("no dilation (field)", DilatedConvolution, "__init__", _one_dilation_for_all, FIELD),
    Bug("the highest dilation first", Config, "dilations", _highest_first, equations()),
    Bug("padding is read", Block, "forward", _without_mask, PADDING),
    # normalisation
    Bug("normalised over the sequence", DilatedConvolution, "forward", _over_the_sequence, LEAK),
    Bug("normalised over the batch", DilatedConvolution, "forward", _over_the_batch, PADDING),
    Bug("norm after the activation", Block, "_enter", _post_activation, equations()),
    Bug("no norm before the readout", bytenet, "build", _no_final_norm, equations()),
    Bug("no norm before the block", PreNorm, "enter", lambda _: lambda self, states: states, equations()),
    Bug("no residual", PreNorm, "leave", lambda _: lambda self, states, branch: branch, equations()),
    Bug("no norm after the convolution", ReluBlock, "activate",
        lambda _: lambda self, inputs, convolved: functional.relu(convolved), equations()),
    # multiplicative units
    Bug("second and third gate changed over", bytenet, "multiplicative_unit", _swapped_gates,
        equations(**MULTIPLICATIVE)),
    Bug("the candidate without its tanh", bytenet, "multiplicative_unit", _candidate_as_it_is,
        equations(**MULTIPLICATIVE)),
    Bug("one unit instead of two", MultiplicativeBlock, "activate", _one_unit, equations(**MULTIPLICATIVE)),
    # dynamic unfolding
    Bug("the bound rounded down", Encoder, "_unfold", _bound(lambda self, n: n * self._thousandths // 1000),
        equations()),
    Bug("the source not lengthened", Encoder, "_unfold", _bound(lambda self, n: n), equations()),
    Bug("lengthened with its longest neighbour", Encoder, "_unfold",
        _bound(lambda self, n: n.amax().expand_as(n) * 6 // 5), PADDING),
    Bug("something beyond the bound", Encoder, "forward", _never_ending, equations()),
    Bug("the last source position for ever", Decoder, "forward", _beside(_last_again), equations()),
    Bug("padding read as zeros", bytenet.Embedding, "forward", _padding_is_nothing, equations()),
    Bug("the source read one position late", Decoder, "forward", _beside(_one_late), equations()),
    Bug("the source not read", Decoder, "_read", _without_source,
        invariant(model_checks.the_order_of_words_matters)),
    Bug("[y; s] instead of [s; y]", Decoder, "_read", _target_first, equations()),
    # decoding
    Bug("the position stands still", Decoder, "step", _standing_still, STEP),
    Bug("the source again from its beginning", bytenet, "source_beside", _wrapping_around,
        lambda _: checks.steps_go_on_beyond_the_bound()),
    Bug("taps in the wrong order", DilatedConvolution, "step", _newest_first, STEP),
    Bug("a past too short by one", DilatedConvolution, "step", _forgets_one, STEP),
    Bug("the past written in place", DilatedConvolution, "step", _in_place,
        invariant(model_checks.a_state_is_not_changed_by_a_step)),
    Bug("the past grows", Decoder, "step", _remembers_everything,
        lambda _: checks.a_step_costs_the_same_at_any_time()),
    Bug("beams folded repeat-wise", bytenet, "source_beside", _beams_repeat_wise, BEAMS),
    Bug("the carry is not reordered", model_checks, "select_rows", _nothing_reordered, BEAMS),
    Bug("the carry is not reordered in the search", beam, "select_rows", _nothing_reordered,
        lambda _: search.search_scores_are_the_model_s(bytenet_model)),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)

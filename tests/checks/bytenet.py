"""ByteNet against its equations, position by position, and what may reach what; for the tests and the mutations."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from checks.making import UNSHARED, example, float64, randomise
from regard.attention.record import AttentionRecord
from regard.models import bytenet
from regard.models.bytenet import Block, ByteNet, ReluBlock
from regard.protocol import Batch, Dimensions
from regard.symbols import BOS, EOS, PAD

EXACT = {"rtol": 0, "atol": 1e-9}
SETTINGS: dict[str, Any] = {
    "size": 6,
    "max_dilation": 2,
    "encoder_sets": 2,
    "decoder_sets": 1,
    "unfold_ratio": 1.2,
    "dropout": 0.5,
}


def bytenet_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> ByteNet:
    """A tiny ByteNet, all parameters random, in evaluation; its dropout is high, should it ever be used."""
    with float64():
        model = bytenet.build(bytenet.Config(**(SETTINGS | settings)), dimensions)
    randomise(model)
    return model.eval()


def affine(layer: nn.Linear, vector: Tensor) -> Tensor:
    return layer.weight @ vector + layer.bias


def normalised(norm: nn.LayerNorm, vector: Tensor) -> Tensor:
    centred = vector - vector.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias


def positive(vector: Tensor) -> Tensor:
    return vector * (vector > 0)


def logistic(vector: Tensor) -> Tensor:
    return 1 / (1 + (-vector).exp())


def unit(h: Tensor, gates: Tensor) -> Tensor:
    """MU(h) = g1 tanh(g2 h + g3 u)."""
    size = len(h)
    g1, g2, g3 = (logistic(gates[number * size : (number + 1) * size]) for number in range(3))
    return g1 * torch.tanh(g2 * h + g3 * torch.tanh(gates[3 * size :]))


def through(block: Block, states: list[Tensor], *, kernel_size: int, dilation: int, causal: bool) -> list[Tensor]:
    """One block over one sentence, tap by tap; nothing is there before the first position or after the last."""
    inputs = [
        positive(normalised(block.norm, affine(block.narrow, positive(normalised(block.around.norm, state)))))
        for state in states
    ]
    matrices = block.convolution.taps.weight.split(len(inputs[0]), 1)
    outputs = []
    for place, state in enumerate(states):
        total = block.convolution.taps.bias
        for tap, matrix in enumerate(matrices):
            seen = place + (tap - (kernel_size - 1 if causal else kernel_size // 2)) * dilation
            if 0 <= seen < len(states):
                total = total + matrix @ inputs[seen]
        if isinstance(block, ReluBlock):
            inner = positive(normalised(block.activation_norm, total))
        else:
            inner = unit(inputs[place], total)
            inner = unit(inner, affine(block.gates, inner))
        outputs.append(state + affine(block.widen, inner))
    return outputs


def dilations(highest: int, sets: int) -> list[int]:
    rates = [1]
    while rates[-1] < highest:
        rates.append(2 * rates[-1])
    return rates * sets


def sentence_logits(model: ByteNet, source: Tensor, target: Tensor, **settings: Any) -> Tensor:
    """The definition for one sentence, with nothing in common with the model but its weights."""
    settings = {"kernel_size": 3, "unfold_extra": 0} | SETTINGS | settings
    width = 2 * settings["size"]
    bound = ceil(Fraction(str(settings["unfold_ratio"])) * len(source)) + settings["unfold_extra"]
    unfolded = source.tolist() + [PAD] * (bound - len(source))
    states = [model.encoder.embedding.weight[token] * width**0.5 for token in unfolded]
    shape = {"kernel_size": settings["kernel_size"]}
    rates = dilations(settings["max_dilation"], settings["encoder_sets"])
    for block, rate in zip(model.encoder.blocks, rates, strict=True):
        states = through(block, states, dilation=rate, causal=False, **shape)
    memory = [normalised(model.encoder.norm, state) for state in states]
    states = []
    for place, token in enumerate(target[:-1]):
        embedded = model.decoder.embedding.weight[token] * width**0.5
        beside = memory[place] if place < bound else torch.zeros_like(embedded)
        join = model.decoder.join
        states.append(beside + embedded if join is None else affine(join, torch.cat([beside, embedded])))
    rates = dilations(settings["max_dilation"], settings["decoder_sets"])
    for block, rate in zip(model.decoder.blocks, rates, strict=True):
        states = through(block, states, dilation=rate, causal=True, **shape)
    return torch.stack([affine(model.readout, normalised(model.decoder.norm, state)) for state in states])


def follows_the_equations(**settings: object) -> None:
    """The padded batch says at every position of every sentence what the definition says; some end beyond |t^|."""
    model, batch = bytenet_model(**settings), example(target_lengths=(10, 9, 2))
    logits = model(batch).logits
    for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
        expected = sentence_logits(model, source[source != PAD], target[target != PAD], **settings)
        assert_close(logits[row, : len(expected)], expected, **EXACT)


def reach(stack: Callable[[Tensor], Tensor], *, length: int, width: int, place: int) -> list[int]:
    """The positions whose input has any influence on the output at `place`, by the gradient."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(1, length, width, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(width, generator=generator, dtype=torch.float64)
    (stack(inputs)[0, place] @ weights).backward()
    return inputs.grad[0].abs().sum(-1).nonzero().flatten().tolist()


def in_order(blocks: Any) -> Callable[[Tensor], Tensor]:
    def stack(states: Tensor) -> Tensor:
        for block in blocks:
            states = block(states)
        return states

    return stack


def only_the_receptive_field_is_seen(**settings: object) -> None:
    """Which tokens change the logits at t: exactly those in reach, of the past, and of the source around it."""
    settings = {"size": 10, "encoder_sets": 1} | settings
    model, length = bytenet_model(**settings), 20
    back = sum(2 * rate for rate in dilations(2, 1))  # 6 positions
    around = sum(dilations(2, 1))  # 3 positions to either side
    generator = torch.Generator().manual_seed(4)
    batch = Batch(
        torch.randint(EOS + 1, 11, (1, 10), generator=generator),
        torch.randint(EOS + 1, 11, (1, length + 1), generator=generator),
    )
    bound = 12
    before = model(batch).logits[0]

    def changed(**tensors: Tensor) -> list[int]:
        difference = (model(batch._replace(**tensors)).logits[0] - before).abs().amax(-1)
        return (difference > 1e-12).nonzero().flatten().tolist()

    for place in range(length):
        target = batch.target.clone()
        target[0, place] = BOS
        assert changed(target=target) == list(range(place, min(length, place + back + 1))), f"target token {place}"
    for place in range(10):
        source = batch.source.clone()
        source[0, place] = BOS
        represented = range(max(0, place - around), min(bound, place + around + 1))
        expected = sorted({t for p in represented for t in range(p, min(length, p + back + 1))})
        assert changed(source=source) == expected, f"source token {place}"


def a_step_costs_the_same_at_any_time(**settings: object) -> None:
    """Neither what is carried nor what is multiplied grows with the number of tokens said, and some work is done."""
    model, batch = bytenet_model(**settings), example()
    state, costs = model.encode(batch.source), []
    for _ in range(12):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            _, state = model.step(state, torch.full((3,), 4))
        carried = sum(past.numel() for past in state.carry.pasts)
        costs.append((counter.get_total_flops(), carried))
    assert min(costs[0]) > 0
    assert set(costs) == {costs[0]}, "the cost of a step changes"


def every_past_is_as_long_as_its_convolution_reaches() -> None:
    """(k - 1) * dilation inputs a block, whatever has been said; the memory has one row a sentence."""
    model, batch = bytenet_model(kernel_size=5, max_dilation=4), example()
    _, state = model.step(model.encode(batch.source), torch.full((3,), BOS))
    assert [past.shape for past in state.carry.pasts] == [(3, 4, 6), (3, 8, 6), (3, 16, 6)]
    assert state.carry.position.tolist() == [1, 1, 1]
    assert state.memory.shape == (3, 9, 12)  # |t^| = ceil(1.2 * 6) = 8, and a column of zeros
    for row, end in zip(state.memory, (8, 4, 6), strict=True):
        assert (row[end:] == 0).all()
        assert (row[:end] != 0).any(-1).all()


def steps_go_on_beyond_the_bound(**settings: object) -> None:
    """Where the source's representation has ended, for all rows, steps still say what teacher forcing says."""
    model, batch = bytenet_model(**settings), example(target_lengths=(14, 14, 14))
    forced, state = model(batch).logits, model.encode(batch.source)
    assert state.memory.size(1) < 14
    for position, tokens in enumerate(batch.decoder_input.unbind(1)):
        logits, state = model.step(state, tokens)
        assert_close(logits, forced[:, position], **EXACT)


def the_record_stays_empty(**settings: object) -> None:
    """There is no attention, teacher-forced or step by step."""
    model, batch, record = bytenet_model(**settings), example(), AttentionRecord()
    model(batch, record)
    model.step(model.encode(batch.source), torch.full((3,), BOS), record)
    assert record.sites == []

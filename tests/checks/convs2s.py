"""ConvS2S against its equations, sentence by sentence, window by window; called by the tests and by the mutations."""

import math

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from checks.making import UNSHARED, example, float64, randomise
from regard.attention.record import AttentionRecord
from regard.layers.gated_convolution import GatedConvolution
from regard.models import convs2s
from regard.models.convs2s import ConvS2S, EncoderLayer
from regard.protocol import Dimensions
from regard.symbols import PAD
from regard.trees import tensors

EXACT = {"rtol": 0, "atol": 1e-9}


def blocks(*groups: tuple[int, int, int]) -> list[dict[str, int]]:
    """Layers, size, width."""
    return [dict(zip(("layers", "size", "width"), group, strict=True)) for group in groups]


SIZES = {
    "embedding_size": 6,
    "encoder": blocks((2, 5, 3), (1, 7, 5)),
    "decoder": blocks((2, 4, 3), (1, 8, 2), (1, 8, 1)),
    "tied": False,
    "dropout": 0.5,
    "max_length": 16,
}
EQUAL = {"encoder": blocks((2, 6, 3)), "decoder": blocks((3, 6, 3))}  # wrong products fit too


def convs2s_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> ConvS2S:
    """A tiny ConvS2S, all parameters random, in evaluation, hardly two sizes the same unless asked for."""
    with float64():
        model = convs2s.build(convs2s.Config(**(SIZES | settings)), dimensions)
    randomise(model)
    for name, parameter in model.named_parameters():
        if name.endswith("original0"):  # the lengths of rows: gains, so around 1
            parameter.data.add_(1)
    return model.eval()


def weights(linear: nn.Linear) -> Tensor:
    """Row by row g v / |v|; of a readout that is an embedding too, the matrix as it is."""
    if not hasattr(linear, "parametrizations"):
        return linear.weight
    parts = linear.parametrizations.weight
    rows = zip(parts.original0, parts.original1, strict=True)
    return torch.stack([g * v / (v * v).sum() ** 0.5 for g, v in rows])


def affine(linear: nn.Module, vector: Tensor) -> Tensor:
    return vector if isinstance(linear, nn.Identity) else weights(linear) @ vector + linear.bias


def convolved(layer: GatedConvolution, inputs: list[Tensor], *, before: int, after: int) -> list[Tensor]:
    """Position by position: the window, zeros beyond the ends, one matrix, the gate."""
    assert layer.linear.in_features == (before + 1 + after) * inputs[0].numel()
    matrix, nothing, outputs = weights(layer.linear), torch.zeros_like(inputs[0]), []
    for i in range(len(inputs)):
        window = [inputs[j] if 0 <= j < len(inputs) else nothing for j in range(i - before, i + after + 1)]
        both = matrix @ torch.cat(window) + layer.linear.bias
        a, b = both[: len(both) // 2], both[len(both) // 2 :]
        outputs.append(a / (1 + (-b).exp()))
    return outputs


def embedded(part: nn.Module, tokens: Tensor) -> list[Tensor]:
    words, positions = part.embedded.words.weight, part.embedded.positions.weight
    return [words[token] + positions[place] for place, token in enumerate(tokens)]


def half(a: Tensor, b: Tensor) -> Tensor:
    return (a + b) / math.sqrt(2)


def sentence_logits(model: ConvS2S, source: Tensor, target: Tensor, widths: list[list[int]], share: float) -> Tensor:
    """Sections 3.1 to 3.5 of the paper for one sentence; `share` of its gradient is what z passes on."""
    e = embedded(model.encoder, source)
    states = [affine(model.encoder.enter, vector) for vector in e]
    for layer, width in zip(model.encoder.layers, widths[0], strict=True):
        outputs = convolved(layer.convolution, states, before=width // 2, after=width // 2)
        states = [half(new, affine(layer.residual, old)) for new, old in zip(outputs, states, strict=True)]
    z = [affine(model.encoder.leave, state) for state in states]
    z = [vector.detach() + share * (vector - vector.detach()) for vector in z]
    g = embedded(model.decoder, target[:-1])
    states = [affine(model.decoder.enter, vector) for vector in g]
    for layer, width in zip(model.decoder.layers, widths[1], strict=True):
        outputs = convolved(layer.convolution, states, before=width - 1, after=0)
        for i, h in enumerate(outputs):
            d = affine(layer.attend.query, h) + g[i]
            a = torch.stack([d @ key for key in z]).softmax(0)
            c = sum(a[j] * (z[j] + e[j]) for j in range(len(z))) * (len(z) * math.sqrt(1 / len(z)))
            attended = half(affine(layer.attend.output, c), h)
            outputs[i] = half(attended, affine(layer.residual, states[i]))
        states = outputs
    return torch.stack([affine(model.readout, affine(model.decoder.leave, state)) for state in states])


def follows_the_equations(*, share: float = 1 / 8, **settings: object) -> None:
    """The padded batch says at every word of every sentence what the equations say, and learns alike from it.

    Four decoder layers unless `settings` say otherwise: z passes on 1/8 of its gradient.
    """
    model, batch = convs2s_model(**settings), example()
    asked = SIZES | settings
    widths = [
        [width for group in asked[side] for width in [group["width"]] * group["layers"]]
        for side in ("encoder", "decoder")
    ]
    logits = model(batch).logits
    real = [int((row != PAD).sum()) - 1 for row in batch.target]
    ours = torch.cat([row[:length] for row, length in zip(logits, real, strict=True)])
    expected = torch.cat(
        [
            sentence_logits(model, source[source != PAD], target[target != PAD], widths, share)
            for source, target in zip(batch.source, batch.target, strict=True)
        ]
    )
    assert_close(ours, expected, **EXACT)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad((ours * probe).sum(), parameters)
    wanted = torch.autograd.grad((expected * probe).sum(), parameters)
    for name, gradient, right in zip(names, gradients, wanted, strict=True):
        assert_close(gradient, right, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def every_layer_has_an_attention_of_its_own() -> None:
    """As many attentions as decoder layers, none sharing a parameter, each seen under its own site."""
    model, record = convs2s_model(), AttentionRecord()
    model(example(), record)
    assert record.sites == [f"decoder.{number}.cross" for number in range(4)]
    parameters = [parameter for layer in model.decoder.layers for parameter in layer.attend.parameters()]
    assert len({id(parameter) for parameter in parameters}) == len(parameters) == 4 * 2 * 3


def a_step_costs_the_same_however_late() -> None:
    """A hypothesis remembers width - 1 inputs a layer, never more; the memory is the sentence's own, untouched."""
    model, batch = convs2s_model(), example()
    state = model.encode(batch.source)
    shapes = [tensor.shape for tensor in tensors(state.carry)]
    assert [past.size(1) for past in state.carry.pasts] == [2, 2, 1, 0]
    memory = state.memory
    for tokens in batch.decoder_input.unbind(1):
        _, state = model.step(state, tokens)
        assert state.memory is memory, "the source is read again"
        assert [tensor.shape for tensor in tensors(state.carry)] == shapes, "the past grows"


def variance_stays(num_layers: int = 20) -> None:
    """At first a layer changes the variance by less than half, small or large, and twenty do not let it run away."""
    torch.manual_seed(0)
    for scale in (0.1, 1.0):
        states = scale * torch.randn(4, 40, 128)
        for _ in range(num_layers):
            before, states = (
                states.var(),
                EncoderLayer(128, 128, width=3, dropout=0.0)(states, torch.ones(4, 40, dtype=torch.bool)).detach(),
            )
            ratio = float(states.var() / before)
            assert 0.9 < ratio < 1.5, f"one layer makes the variance {ratio:.2f} times what it was"


def a_gate_passes_what_it_should() -> None:
    """Output over input variance of a fresh gated convolution: 1 where inputs are small, 1.4 where they are not."""
    torch.manual_seed(0)
    inputs = torch.randn(8, 40, 128)
    layer = GatedConvolution(128, 128, width=3, after=1)
    for scale, expected in ((0.01, 1.0), (1.0, 1.395)):
        inner = layer(inputs * scale)[:, 1:-1]
        ratio = float(inner.detach().var() / scale**2)
        assert abs(ratio - expected) < 0.1, f"{ratio:.3f} instead of {expected}"


def z_sees_as_far_as_its_windows(num_positions: int = 15) -> None:
    """The middle word's z depends on 1 + sum of (width - 1) words around it, and on no other."""
    model = convs2s_model(max_length=20)
    source = torch.randint(4, 13, (1, num_positions), generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    model.encoder.embedded.register_forward_hook(lambda *call: seen.append(call[-1].retain_grad() or call[-1]))
    z, _ = model.encoder(source, source != PAD)
    z[0, num_positions // 2].sum().backward()
    felt = seen[0].grad[0].abs().sum(-1) > 0
    far = (2 * 2 + 4) // 2
    middle = num_positions // 2
    assert felt.tolist() == [abs(place - middle) <= far for place in range(num_positions)]

"""The residual network against its equations and, where it is installed, against transformers'."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from checks.making import float64, randomise
from regard.layers.residual_network import Block, ResidualNetwork, ResidualNetworkConfig, with_coordinates

EXACT = {"rtol": 0, "atol": 1e-9}


def network(**settings: object) -> ResidualNetwork:
    with float64():
        made = ResidualNetwork(ResidualNetworkConfig(**settings), 3)
    randomise(made)
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.3)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return made.eval()


def plain(layer: nn.Sequential, volume: torch.Tensor) -> torch.Tensor:
    """Convolution and the normalisation's definition, written out."""
    convolution, norm = layer
    seen = functional.conv2d(volume, convolution.weight, stride=convolution.stride, padding=convolution.padding)
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (seen - norm.running_mean[:, None, None]) * gain[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_adds_to_its_input(kind, stride):
    with float64():
        block = Block(kind, 8, 8, stride=stride)
    randomise(block)
    block.eval()
    volume = torch.randn(2, 8, 7, 6, dtype=torch.float64)
    added = volume
    for place, layer in enumerate(block.convolutions):
        added = plain(layer, added if place == 0 else added.clamp(min=0))
    shortcut = volume if stride == 1 else plain(block.shortcut, volume)
    assert isinstance(block.shortcut, nn.Identity) == (stride == 1)
    assert_close(block(volume), (shortcut + added).clamp(min=0), **EXACT)


@pytest.mark.parametrize(("stem", "rows", "columns"), [("small", 6, 5), ("large", 3, 3)])
def test_every_stage_after_the_first_halves_rows_and_columns(stem, rows, columns):
    made = network(stem=stem, widths=[8, 8, 12], depths=[1, 2, 1])
    assert made(torch.randn(2, 3, 48, 40, dtype=torch.float64)).shape == (2, 12, rows, columns)
    assert made.num_halvings == {"small": 3, "large": 4}[stem]


def test_coordinates_tell_where_a_pixel_is():
    seen = with_coordinates(torch.zeros(1, 1, 3, 5))
    assert seen[0, 1].tolist() == [[-1, -0.5, 0, 0.5, 1]] * 3
    assert seen[0, 2, :, 0].tolist() == [-1, 0, 1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widths": [8], "depths": [1, 1]}, "every stage has a width and a depth"),
        ({"widths": [0], "depths": [1]}, "at least 1"),
        ({"widths": [6], "depths": [1], "block": "bottleneck"}, "multiples of 4"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        ResidualNetworkConfig(**settings)


@pytest.mark.oracle
@pytest.mark.parametrize(("ours", "theirs"), [("basic", "basic"), ("bottleneck", "bottleneck")])
def test_it_equals_transformers_resnet(ours, theirs):
    """With the large stem, over all stages; every parameter and statistic random."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `oracle`")
    made = network(stem="large", stem_width=8, block=ours, widths=[8, 16, 24], depths=[2, 1, 3])
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24], depths=[2, 1, 3], layer_type=theirs, hidden_act="relu"
    )
    oracle = transformers.ResNetModel(config).double().eval()
    assert len(oracle.state_dict()) == len(made.state_dict())
    oracle.load_state_dict(dict(zip(oracle.state_dict(), in_their_order(made), strict=True)))
    pictures = torch.randn(2, 3, 75, 64, dtype=torch.float64)
    assert_close(made(pictures), oracle(pictures).last_hidden_state, **EXACT)


def in_their_order(made: ResidualNetwork) -> list[torch.Tensor]:
    """Theirs names a block's shortcut before its convolutions."""
    parts: list[nn.Module] = [made.stem]
    for block in made.blocks:
        parts += [block.shortcut, *block.convolutions]
    return [tensor for part in parts for tensor in part.state_dict().values()]


def test_one_picture_that_ends_in_one_place_can_be_learnt_from():
    made = ResidualNetwork(ResidualNetworkConfig(stem="large", widths=[4, 4, 4, 4], depths=[1, 1, 1, 1]), 3).train()
    one, before = torch.randn(1, 3, 32, 32), {name: buffer.clone() for name, buffer in made.named_buffers()}
    volume = made(one)
    assert volume.shape[2:] == (1, 1)
    assert volume.isfinite().all()
    changed = {name for name, buffer in made.named_buffers() if not torch.equal(buffer, before[name])}
    assert changed  # where there are several places, their mean is noted
    assert all(buffer.isfinite().all() for buffer in made.buffers())

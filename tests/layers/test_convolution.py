"""The slide's worked convolution, exactly, and what every convolution keeps."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from checks.making import randomise
from regard.layers.convolution import Convolution

PICTURE = """
1 0 0 0 0 1
0 1 0 0 1 0
0 0 1 1 0 0
1 0 0 0 1 0
0 1 0 0 1 0
0 0 1 0 1 0
"""
FILTER_1 = "1 -1 -1\n-1 1 -1\n-1 -1 1"
FILTER_2 = "-1 1 -1\n-1 1 -1\n-1 1 -1"
ASYMMETRIC = "1 2 0\n0 -1 3\n-2 0 1"  # filter 1 turned round is filter 1: it cannot tell which way round it is laid

STRIDE_1 = "3 -1 -3 -1\n-3 1 0 -3\n-3 -3 0 1\n3 -2 -2 -1"
SECOND_MAP = "-1 -1 -1 -1\n-1 -1 -2 1\n-1 -1 -2 1\n-1 0 -4 3"


def table(text: str) -> torch.Tensor:
    return torch.tensor([[float(number) for number in line.split()] for line in text.strip().splitlines()])


def convolution(filters: list[str], **settings: int) -> Convolution:
    layer = Convolution(1, len(filters), width=3, **settings)
    layer.weight.data = torch.stack([table(text) for text in filters])[:, None]
    return layer


def by_hand(layer: Convolution, volume: torch.Tensor) -> torch.Tensor:
    """Every place, filter and weight in a loop of its own."""
    width, stride, edge = layer.width, layer.stride, layer.padding
    padded = functional.pad(volume, (edge, edge, edge, edge))
    rows, columns = layer.side(volume.size(2)), layer.side(volume.size(3))
    result = torch.zeros(len(volume), len(layer.weight), rows, columns, dtype=volume.dtype)
    for f, filter_ in enumerate(layer.weight):
        for i in range(rows):
            for j in range(columns):
                part = padded[:, :, i * stride : i * stride + width, j * stride : j * stride + width]
                for c, u, v in torch.cartesian_prod(*map(torch.arange, filter_.shape)).tolist():
                    result[:, f, i, j] += filter_[c, u, v] * part[:, c, u, v]
                result[:, f, i, j] += layer.bias[f]
    return result


def test_the_map_of_the_slide() -> None:
    maps = convolution([FILTER_1, FILTER_2])(table(PICTURE)[None, None])[0]
    assert torch.equal(maps[0], table(STRIDE_1))
    assert torch.equal(maps[1], table(SECOND_MAP))
    assert torch.equal(functional.max_pool2d(maps[:1], 2)[0], table("3 0\n3 1"))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kernel", [FILTER_1, FILTER_2, ASYMMETRIC])
def test_every_stride_by_hand_and_by_the_library(stride: int, padding: int, kernel: str) -> None:
    layer = convolution([kernel], stride=stride, padding=padding)
    picture = table(PICTURE)[None, None]
    found = layer(picture)
    assert torch.equal(found, by_hand(layer, picture))
    assert torch.equal(found, functional.conv2d(picture, table(kernel)[None, None], stride=stride, padding=padding))
    if kernel == FILTER_1 and padding == 0:
        assert torch.equal(found[0, 0], table(STRIDE_1)[::stride, ::stride])
    if stride == 3 and padding == 0 and kernel == FILTER_1:
        assert torch.equal(found[0, 0], table("3 -1\n3 -1"))


def test_the_filter_is_not_turned_round() -> None:
    picture = torch.zeros(1, 1, 5, 5)
    picture[0, 0, 2, 2] = 1
    # A single point shows the filter turned round: y(i) = sum W(u) x(i + u) is W at 2 - i.
    assert torch.equal(convolution([ASYMMETRIC])(picture)[0, 0], table(ASYMMETRIC).flip(0, 1))


def test_many_channels_and_odd_sides_by_hand() -> None:
    layer = Convolution(3, 4, width=5, stride=2, padding=1).double()
    randomise(layer)
    picture = torch.randn(2, 3, 9, 12, dtype=torch.double)
    assert_close(layer(picture), by_hand(layer, picture), rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_moves_moves_the_answer(stride: int) -> None:
    layer = Convolution(1, 2, width=3, stride=stride).double()
    picture = torch.randn(1, 1, 16, 16, dtype=torch.double)
    moved = layer(picture.roll((2 * stride, 3 * stride), (2, 3)))
    assert torch.equal(moved[:, :, 2:, 3:], layer(picture)[:, :, :-2, :-3])


def test_how_far_a_stack_sees() -> None:
    """1 + sum of (width - 1) times all strides below, measured by the gradient."""
    layers = [Convolution(1, 1, width=width, stride=stride) for width, stride in ((3, 2), (5, 1), (3, 2), (3, 1))]
    for layer in layers:
        layer.weight.data.fill_(1.0)
    picture = torch.zeros(1, 1, 40, 40, requires_grad=True)
    volume = picture
    for layer in layers:
        volume = layer(volume)
    volume[0, 0, 1, 1].backward()
    assert picture.grad is not None
    assert int((picture.grad[0, 0].abs().sum(0) > 0).sum()) == 1 + 2 + 4 * 2 + 2 * 2 + 2 * 4


def test_operations_are_counted() -> None:
    assert Convolution(3, 8, width=5, padding=2).flops(2, 10, 12) == 2 * 2 * 10 * 12 * 8 * 3 * 25

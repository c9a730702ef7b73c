"""The dilated convolution against torch's, and its steps against itself."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from checks.making import randomise
from regard.layers.dilated_convolution import DilatedConvolution

EXACT = {"rtol": 0, "atol": 1e-12}


def convolution(*, causal, kernel_size=3, dilation=2):
    layer = DilatedConvolution(4, 5, kernel_size=kernel_size, dilation=dilation, causal=causal).double()
    randomise(layer)
    return layer


def inputs(length=9):
    return torch.randn(2, length, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 1), (3, 4), (5, 2), (1, 3)])
def test_it_is_torch_s_convolution(causal, kernel_size, dilation):
    layer = convolution(causal=causal, kernel_size=kernel_size, dilation=dilation)
    reach = (kernel_size - 1) * dilation
    padding = (reach, 0) if causal else (reach // 2, reach // 2)
    kernel = layer.taps.weight.unflatten(1, (kernel_size, 4)).transpose(1, 2)  # outputs, inputs, taps
    padded = functional.pad(inputs().transpose(1, 2), padding)
    expected = functional.conv1d(padded, kernel, layer.taps.bias, dilation=dilation).transpose(1, 2)
    assert_close(layer(inputs()), expected, **EXACT)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(2, 1), (3, 1), (3, 4), (4, 3), (1, 1)])
def test_steps_say_what_the_sequence_says(kernel_size, dilation):
    layer = convolution(causal=True, kernel_size=kernel_size, dilation=dilation)
    past = layer.start(inputs())
    for vector, expected in zip(inputs(14).unbind(1), layer(inputs(14)).unbind(1), strict=True):
        assert past.shape == (2, (kernel_size - 1) * dilation, 4)
        output, past = layer.step(vector, past)
        assert_close(output, expected, **EXACT)


def test_what_is_masked_is_as_if_it_were_not_there():
    layer, mask = convolution(causal=False), torch.ones(2, 9, dtype=torch.bool)
    mask[0, 6:] = False
    assert_close(layer(inputs(), mask)[:1, :6], layer(inputs()[:1, :6]), **EXACT)
    assert_close(layer(inputs(), mask)[1], layer(inputs())[1], **EXACT)


def test_a_kernel_without_a_middle_must_be_causal():
    with pytest.raises(ValueError, match="a kernel of 4 taps has no middle"):
        convolution(causal=False, kernel_size=4)


def test_one_that_looks_ahead_cannot_step():
    layer = convolution(causal=False)
    with pytest.raises(ValueError, match="cannot go step by step"):
        layer.step(inputs()[:, 0], layer.start(inputs()))

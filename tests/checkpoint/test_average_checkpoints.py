"""The mean of checkpoints is the mean, bit for bit where it can be, and only of checkpoints that belong together."""

from pathlib import Path

import pytest
import torch
from small_models import Parts, UnflushedStorage, small

from regard.checkpoint.average import average, average_model, choose
from regard.checkpoint.card import Card, Metric
from regard.checkpoint.model_folder import load_model
from regard.checkpoint.run_folder import RunFolder
from regard.cli.main import run as regard
from regard.errors import ModelError, UsageError
from tiny_folder import save_tiny


@pytest.fixture(scope="module")
def parts() -> Parts:
    return small()


@pytest.fixture
def run(parts: Parts, tmp_path: Path) -> Path:
    """A run with the checkpoints 1 to 4, whose weights are 1.0 to 4.0 and whose best are 2 and 1."""
    with RunFolder.create_or_open(tmp_path / "run", keep_last=4, notify=print, storage=UnflushedStorage()) as folder:
        for step, score in ((1, 8.0), (2, 9.0), (3, 1.0), (4, None)):
            parts.publish(folder, step, score)
    return tmp_path / "run"


def values(folder: Path) -> set[float]:
    return {float(value) for tensor in load_model(folder).model.state_dict().values() for value in tensor.unique()}


def test_the_mean_of_the_newest_and_of_the_best(run: Path, tmp_path: Path) -> None:
    average_model(choose(run, 2, notify=print), tmp_path / "newest")
    average_model(choose(run, 2, best=True, notify=print), tmp_path / "best")
    assert values(tmp_path / "newest") == {3.5}
    assert len(choose(run, None, notify=print)) == 4  # five, but there are no more
    assert values(tmp_path / "best") == {1.5}
    assert (
        "Mean of the weights of 2 checkpoints: step-00000004, step-00000003"
        in (tmp_path / "newest" / "README.md").read_text()
    )


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_the_mean_of_equal_weights_is_equal_bit_for_bit(parts: Parts, tmp_path: Path, number: int) -> None:
    folders = [parts.save(tmp_path / str(index), storage=UnflushedStorage()) for index in range(number)]
    mean = average(folders)
    state = parts.model.state_dict()
    for name, tensor in mean.items():
        assert torch.equal(tensor, state[name])
        assert tensor.dtype == state[name].dtype


def test_the_mean_is_accumulated_in_double_precision(parts: Parts, tmp_path: Path) -> None:
    # In single precision 2^24 + 1 is 2^24, and the mean of these would be too small by a third.
    numbers, folders = [2.0**24, 1.0, 1.0], []
    for index, number in enumerate(numbers):
        state = {name: torch.full_like(tensor, number) for name, tensor in parts.model.state_dict().items()}
        folders.append(tmp_path / str(index))
        with torch.no_grad():
            saved = {name: tensor.clone() for name, tensor in parts.model.state_dict().items()}
            parts.model.load_state_dict(state)
            parts.save(folders[-1], storage=UnflushedStorage())
            parts.model.load_state_dict(saved)
    mean = average(folders)
    assert {float(value) for tensor in mean.values() for value in tensor.unique()} == {
        float(torch.tensor(sum(numbers) / 3, dtype=torch.float32))
    }


def test_other_shapes_and_other_tokenizers_are_refused_in_one_sentence(parts: Parts, tmp_path: Path) -> None:
    one = parts.save(tmp_path / "one")
    other = small(size=32).save(tmp_path / "other")
    with pytest.raises(ModelError, match="only checkpoints of one model") as caught:
        average([one, other])
    assert str(caught.value).endswith(f"size is 32 in {other}, but 16 in {one}")
    swapped = small(letters="abcdeg").save(tmp_path / "swapped")  # as many symbols, but another one
    with pytest.raises(ModelError, match=r"tokenizer\.json is [0-9a-f]{12} in .*swapped, but [0-9a-f]{12} in"):
        average([one, swapped])
    (tmp_path / "kinds").mkdir()
    unlike = save_tiny(tmp_path / "kinds" / "seq2seq", "seq2seq")
    with pytest.raises(
        ModelError, match=r"kind is seq2seq in .*, but transformer in .* \(and \d+ more settings differ"
    ):
        average([one, unlike])


def test_too_few_checkpoints_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 4 intact checkpoints, not 5"):
        choose(run, 5, notify=print)
    with pytest.raises(UsageError, match="has 3 intact scored checkpoints, not 4"):
        choose(run, 4, best=True, notify=print)
    with pytest.raises(UsageError, match="at least one"):
        average_model([], tmp_path / "model")


def test_the_command_prints_what_it_averaged(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert regard(["average", str(run), "-n", "2", "-o", str(tmp_path / "model")]) == 0
    printed = capsys.readouterr().out.split("\n")
    assert [Path(line).name for line in printed] == ["step-00000004", "step-00000003", ""]
    assert values(tmp_path / "model") == {3.5}
    assert regard(["average", printed[0], str(tmp_path / "model"), "-o", str(tmp_path / "second")]) == 0
    assert values(tmp_path / "second") == {3.75}


def test_a_model_is_written_again_smaller_and_with_a_card(parts: Parts, tmp_path: Path) -> None:
    metric = Metric(name="bleu", value=30.0)
    card = Card(command="regard train /home/me/recipe.yaml", metrics=[metric], notes=["Seed 1."], data={"a": "b"})
    model = parts.save(tmp_path / "model", card=card, storage=UnflushedStorage())
    (tmp_path / "card.yaml").write_text("title: English to German\nlicence: CC BY 2.0\ncommand: regard train r.yaml\n")
    arguments = ["average", str(model), "--precision", "bf16", "--card", str(tmp_path / "card.yaml")]
    assert regard([*arguments, "-o", str(tmp_path / "small")]) == 0
    whole, small_one = load_model(model), load_model(tmp_path / "small")
    for name, tensor in small_one.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, whole.model.state_dict()[name].bfloat16().float())
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "small", model)]
    assert sizes[0] < 0.7 * sizes[1]
    written = small_one.card
    assert (written.title, written.licence, written.command) == (
        "English to German",
        "CC BY 2.0",
        "regard train r.yaml",
    )
    assert (written.metrics, written.data) == ([metric], {"a": "b"})
    assert written.notes == ["Seed 1.", "Weights are stored as bfloat16, rounded after they were measured."]
    assert "/home/me" not in (tmp_path / "small" / "README.md").read_text()


def test_no_folder_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert regard(["average", str(tmp_path / "nix"), "-o", str(tmp_path / "model")]) == 4
    assert "nix: no such model folder" in capsys.readouterr().err


def test_names_and_run_folders_are_models_too(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert regard(["average", str(run), str(run), "-o", str(tmp_path / "model")]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == ["step-00000002"] * 2
    assert regard(["average", "pronounce", "--precision", "bf16", "-o", str(tmp_path / "small")]) == 0
    assert Path(capsys.readouterr().out.strip()).name == "pronounce"


def test_what_stands_in_the_place_of_the_output_is_told_first(
    run: Path, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.checkpoint.average.average", lambda folders: pytest.fail("the work began"))
    parts.save(tmp_path / "mm")
    for output, message in ((tmp_path, "is not a model folder"), (tmp_path / "mm", "is the input itself")):
        assert regard(["average", str(tmp_path / "mm"), str(run), "-o", str(output)]) == 2
        assert message in capsys.readouterr().err


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"run has no intact scored checkpoints yet$"):
        choose(tmp_path / "run", None, best=True, notify=print)


def test_a_card_that_says_something_unknown_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "card.yaml").write_text("title: x\nlicense: CC BY 2.0\n")
    options = ["-n", "1", "--card", str(tmp_path / "card.yaml"), "-o", str(tmp_path / "model")]
    assert regard(["average", str(run), *options]) == 2
    assert "card.yaml:2: unknown key `license`; did you mean `licence`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN/checkpoints/step-00000001"], "the mean of one model is that model"),
        (["RUN/checkpoints/step-00000001", "--best", "--precision", "bf16"], "--best chooses among"),
        (["RUN", "-n", "1", "--precision", "fp16"], "it is fp32 or bf16"),
        (["RUN", "RUN", "--best"], "--best chooses among"),
        (["RUN", "RUN", "-n", "2"], "-n chooses among"),
        (["RUN", "-n", "9"], "not 9"),
    ],
)
def test_settings_without_effect_are_refused(
    run: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.replace("RUN", str(run)) for argument in arguments]
    assert regard(["average", *filled, "-o", str(tmp_path / "model")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()

"""A run folder finds its newest and best intact checkpoint, keeps what it must, and forgets what will be redone."""

import json
import os
import random
from pathlib import Path

import pytest
import torch
from small_models import Parts, UnflushedStorage, small

from regard.checkpoint.checkpoints import CHECKPOINTS, Checkpoints
from regard.checkpoint.model_folder import load_model
from regard.checkpoint.run_folder import RunFolder
from regard.errors import ModelError, UsageError, UserError


@pytest.fixture(scope="module")
def parts() -> Parts:
    return small()


def open_run(path: Path, told: list[str] | None = None, **options: int) -> RunFolder:
    notify = (lambda message: None) if told is None else told.append
    return RunFolder.create_or_open(path, notify=notify, storage=UnflushedStorage(), **options)


def steps(run: RunFolder) -> list[int]:
    return [step for step, _ in Checkpoints(run.path, notify=print).folders()]


def test_a_checkpoint_gives_back_what_was_published(parts: Parts, tmp_path: Path) -> None:
    state = {"optimizer.first.weight": torch.rand(3, 2), "random.cpu": torch.get_rng_state(), "count": torch.tensor(7)}
    values = {"epoch": 3, "best": None, "schedule": [0.1, float("inf")], "name": "ä\n"}
    with open_run(tmp_path / "run") as run:
        published = run.publish(12, parts.model.state_dict(), state, values, score=31.5, files=parts.files())
        assert (published.step, published.score) == (12, 31.5)
        found = run.newest()
        assert found == published
        assert found.folder.name == "step-00000012"
        tensors, back = found.state()
        assert back == values
        assert set(tensors) == set(state)
        for name, tensor in state.items():
            assert torch.equal(tensors[name], tensor)
            assert tensors[name].dtype == tensor.dtype
        other = small(seed=9).model
        found.restore(other)
        for name, tensor in parts.model.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor)


def test_restoring_keeps_the_parameters_that_the_optimizer_knows(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1)
        model = small(seed=3).model
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        run.newest().restore(model)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        sum(parameter.sum() for parameter in model.parameters()).backward()
        optimizer.step()
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[name] - 1), name


def test_a_checkpoint_of_another_architecture_is_refused_with_the_differences(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1)
        with pytest.raises(ModelError, match=r"not the weights of this configuration: .*shape \[\d+, 16\] in the file"):
            run.newest().restore(small(size=32).model)
        with pytest.raises(ModelError, match="missing"):
            run.newest().restore(small(layers=2).model)


def test_a_new_run_has_no_checkpoint(tmp_path: Path) -> None:
    with open_run(tmp_path / "deep" / "run") as run:
        assert run.newest() is None
        assert run.best() is None
        assert run.recipe() is None
        assert run.card() == {}
        assert run.validations() == []


def test_the_newest_and_the_best_are_kept_and_nothing_else(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", keep_last=2, keep_best=2) as run:
        for step, score in [(1, 1.0), (2, 9.0), (3, None), (4, 9.0), (5, 9.5), (6, float("nan")), (7, 2.0), (8, None)]:
            parts.publish(run, step, score)
        assert steps(run) == [2, 5, 7, 8]  # of the equals 2 and 4, the earlier
        assert run.best().step == 5
        assert run.newest().step == 8
        assert (run.path / "latest").read_text() == "step-00000008\n"
        assert (run.path / "best").read_text() == "step-00000005\n"


def test_the_newest_that_were_evaluated_are_kept_however_many_came_between(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", keep_last=1, keep_scored=2) as run:
        for step, score in [(1, 9.0), (2, 1.0), (3, None), (4, 2.0), (5, None), (6, 3.0), (7, None), (8, None)]:
            parts.publish(run, step, score)
        assert steps(run) == [1, 4, 6, 8]


def test_a_damaged_checkpoint_is_skipped_and_the_user_told(parts: Parts, tmp_path: Path) -> None:
    told: list[str] = []
    with open_run(tmp_path / "run", told) as run:
        for step in (1, 2, 3):
            parts.publish(run, step, score=float(step))
        weights = run.path / CHECKPOINTS / "step-00000003" / "state.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        assert run.newest().step == 2
        assert run.best().step == 2
        assert len(told) == 2
        assert "checkpoint skipped" in told[0]
        assert "step-00000003/state.safetensors" in told[0]


def test_c07_a_flipped_bit_in_a_checkpoint_is_noticed_or_harmless(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1, score=1.0)
        parts.publish(run, 2, score=2.0)
        folder = run.newest().folder
        weights, state = run.newest().model_state(), run.newest().state()
        chance = random.Random(11)
        paths = sorted(folder.iterdir())
        skipped = 0
        for trial in range(60):
            path = paths[trial % len(paths)]
            content = path.read_bytes()
            place = chance.randrange(len(content) * 8)
            flipped = bytearray(content)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            newest, best = run.newest(), run.best()
            assert newest == best
            skipped += newest.step == 1
            if newest.step == 2:
                assert path.name == "manifest.json", f"bit {place} of {path.name} was not noticed"
                assert all(torch.equal(tensor, weights[name]) for name, tensor in newest.model_state().items())
                assert newest.state()[1] == state[1]
            path.write_bytes(content)
        assert skipped >= 50


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_afresh(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1)
        (run.path / CHECKPOINTS / "step-00000001" / "manifest.json").unlink()
        with pytest.raises(ModelError, match="no checkpoint is intact"):
            run.newest()


def test_nothing_old_is_removed_while_the_new_checkpoint_does_not_verify(parts: Parts, tmp_path: Path) -> None:
    class RottingStorage(UnflushedStorage):
        def rename(self, old: Path, new: Path) -> None:
            super().rename(old, new)
            if new.name.startswith("step-"):
                (new / "state.json").write_text("rotten")

    told: list[str] = []
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1)
        parts.publish(run, 2)
    with RunFolder.create_or_open(run.path, keep_last=1, notify=told.append, storage=RottingStorage()) as run:
        parts.publish(run, 3)
        assert steps(run) == [1, 2, 3]
        assert "no older checkpoint is removed" in told[0]
        assert run.newest().step == 2


def test_c16_a_removal_that_fails_is_told_once_and_tried_again(parts: Parts, tmp_path: Path) -> None:
    class StickyStorage(UnflushedStorage):
        sticky = True

        def rename(self, old: Path, new: Path) -> None:
            if self.sticky and new.name.startswith(".trash-"):
                raise PermissionError(1, "Operation not permitted")
            super().rename(old, new)

    told: list[str] = []
    storage = StickyStorage()
    with RunFolder.create_or_open(tmp_path / "run", keep_last=1, notify=told.append, storage=storage) as run:
        for step in (1, 2, 3):
            parts.publish(run, step)
        assert steps(run) == [1, 2, 3]
        assert [message for message in told if "step-00000001: cannot be removed now" in message] == told[:1]
        storage.sticky = False
        parts.publish(run, 4)
        assert steps(run) == [4]


def test_c19_hints_that_lie_do_no_harm(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1, 1.0)
        outside = tmp_path / "outside"
        (run.path / CHECKPOINTS / "step-00000001").rename(outside)
        (run.path / CHECKPOINTS / "step-00000009").symlink_to(outside)
        assert run.newest() is None, "a link out of the run was followed"
        for text in ("", "step-00000077\n", "../../etc\n"):
            (run.path / "latest").write_text(text)
            parts.publish(run, 2, 2.0)
            assert run.newest().step == 2
        (run.path / "best").unlink()
        (run.path / "best").mkdir()
        told: list[str] = []
        Checkpoints(run.path, notify=told.append).publish(3, {"a": torch.ones(1)}, {}, {}, score=5.0)
        assert run.newest().step == 3
        assert any("`best` is only a hint" in message for message in told)


def test_weights_that_are_not_finite_are_not_published(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        with pytest.raises(ModelError, match="NaN or infinite"):
            run.publish(1, {"a": torch.tensor([1.0, float("nan")])}, {}, {})
        assert run.newest() is None


def test_a_step_may_be_published_again(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1)
        run.publish(1, {"a": torch.tensor([5.0])}, {}, {})
        assert run.newest().model_state()["a"].item() == 5
        assert len(list((run.path / CHECKPOINTS).iterdir())) == 1


def test_a_run_folder_is_a_model_its_best_checkpoint_or_its_final_model(parts: Parts, tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        with pytest.raises(ModelError, match="has no checkpoint yet"):
            load_model(run.path)
        for step, score in [(1, None), (2, 5.0), (3, 1.0)]:
            parts.publish(run, step, score)
        loaded = load_model(run.path)
        assert loaded.folder.name == "step-00000002"
        assert float(next(loaded.model.parameters()).detach().flatten()[0]) == 2.0
        parts.save(run.model)
        assert load_model(run.path).folder == run.model


def test_recipe_and_card_are_replaced_whole(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        run.write_recipe("model:\n  kind: ä\n")
        run.write_card({"seed": 1, "note": "ä"})
        run.write_card({"seed": 2})
        assert run.recipe() == "model:\n  kind: ä\n"
        assert run.card() == {"seed": 2}
        (run.path / "card.json").write_text("{")
        with pytest.raises(ModelError, match=r"card\.json: damaged"):
            run.card()


def lines(run: RunFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run.path / "log.jsonl").read_bytes().split(b"\n")[:-1]]


def test_t10_a_resumed_log_ends_with_the_last_whole_line_of_its_step(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        for step in range(1, 7):
            run.log({"step": step, "loss": 1.0 / step, "text": "a\u2028b\r"})
    with (run.path / "log.jsonl").open("ab") as file:
        file.write(b'{"step": 7, "lo')
    with open_run(run.path) as run:
        run.truncate_log(4)
        run.log({"step": 5, "loss": 0.5})
        assert [line["step"] for line in lines(run)] == [1, 2, 3, 4, 5]


def test_half_a_line_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        run.log({"step": 1})
    with (run.path / "log.jsonl").open("ab") as file:
        file.write(b'{"step": 2')
    with open_run(run.path) as run:
        run.log({"step": 3})
        assert [line["step"] for line in lines(run)] == [1, 3]


def test_numbers_that_are_not_finite_stay_readable_json(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        run.log({"step": 1, "loss": float("nan"), "norms": [float("inf"), (1, -float("inf"))], "at": {"x": True}})
        assert lines(run) == [{"step": 1, "loss": "nan", "norms": ["inf", [1, "-inf"]], "at": {"x": True}}]


def test_a_log_line_that_does_not_fit_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(tmp_path / "run") as run:
        run.log({"step": 1})
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
        with pytest.raises(UserError, match=r"log\.jsonl: cannot be written: No space left on device"):
            run.log({"step": 2})
        monkeypatch.undo()
        run.log({"step": 3})
        assert [line["step"] for line in lines(run)] == [1, 3]


def test_validations_grow_columns_and_are_cut_with_the_log(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        run.add_validation(10, {"bleu": 1.5})
        run.add_validation(20, {"bleu": 2.5, "chrf": 40.123456789})
        run.add_validation(30, {"bleu": 3.5})
        assert (
            run.path / "validations.tsv"
        ).read_text() == "step\tbleu\tchrf\n10\t1.5\t\n20\t2.5\t40.1235\n30\t3.5\t\n"
        run.truncate_log(20)
        run.truncate_log(20)
        assert [row["step"] for row in run.validations()] == ["10", "20"]


def test_an_evaluation_that_is_about_to_be_repeated_is_forgotten(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        for step in (10, 20):
            run.log({"event": "step", "step": step})
            run.log({"event": "evaluated", "step": step})
            run.add_validation(step, {"bleu": 1.5})
        run.truncate_log(20)
        assert len(lines(run)) == 4
        run.truncate_log(20, evaluated=False)
        assert [(line["event"], line["step"]) for line in lines(run)] == [("step", 10), ("evaluated", 10), ("step", 20)]
        assert [row["step"] for row in run.validations()] == ["10"]


def test_hypotheses_have_one_line_each(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        path = run.write_hypotheses(10, ["ein Haus", "", "ä"])
        assert path == run.path / "hypotheses" / "step-00000010.txt"
        assert path.read_bytes() == "ein Haus\n\nä\n".encode()


@pytest.mark.parametrize("name", ["a\nb", "x" * 201, "a\x00b"])
def test_f06_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a run folder"):
        open_run(tmp_path / name)


def test_spaces_and_emoji_are_fine(tmp_path: Path) -> None:
    with open_run(tmp_path / "my 'first' run 🎉") as run:
        assert run.newest() is None


def test_other_folders_and_files_are_not_taken_for_runs(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files and is no run folder"):
        open_run(tmp_path / "thesis")
    with pytest.raises(UsageError, match="is a file"):
        open_run(tmp_path / "thesis" / "chapter.txt")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, where nobody can make a folder")
def test_c09_a_place_that_cannot_be_written_is_told_at_the_start() -> None:
    with pytest.raises(UserError, match="not written") as caught:
        open_run(Path("/proc/regard-run"))
    assert caught.value.exit_code == 1  # as of any other place that cannot be written


def test_c17_a_reader_sees_only_what_is_published(parts: Parts, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    class ReadingStorage(UnflushedStorage):
        def before(self) -> None:
            found = Checkpoints(tmp_path / "run", notify=lambda message: pytest.fail(message)).newest()
            seen.append([checkpoint.step for checkpoint in found])

        def create(self, path: Path) -> int:
            self.before()
            return super().create(path)

        def rename(self, old: Path, new: Path) -> None:
            self.before()
            super().rename(old, new)
            self.before()

        def remove(self, path: Path) -> None:
            self.before()
            super().remove(path)

    with open_run(tmp_path / "run") as run:
        parts.publish(run, 1)
    with RunFolder.create_or_open(run.path, keep_last=1, storage=ReadingStorage(), notify=print) as run:
        parts.publish(run, 2)
    assert sorted(map(tuple, seen)) == sorted([(1,)] * seen.count([1]) + [(2,)] * seen.count([2]))
    assert [1] in seen
    assert [2] in seen

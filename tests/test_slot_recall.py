"""The generator of conversations: the question alone does not hold its answer, the history does."""

import json
import runpy
import sys
from pathlib import Path

from documented_commands import ROOT


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_only_the_history_knows_the_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["slot_recall.py", str(tmp_path)])
    made = runpy.run_path(str(ROOT / "recipes" / "slot_recall.py"), run_name="__main__")
    asked = {slot[2]: slot for slot in made["SLOTS"]}
    tests = {history: [line.split("\t") for line in lines_of(tmp_path / f"test-{history}.tsv")] for history in (1, 7)}
    assert len(tests[1]) == len(tests[7]) == 2 * made["NUM_TEST"]
    for (short, answer), (long, same) in zip(tests[1], tests[7], strict=True):
        tell, _, _, recall = asked[short]
        (name,) = [name for name in made["NAMES"] if recall.format(name) == answer]
        assert same == answer
        assert tell.format(name) in long.split(made["TURN"])
        assert sum(other in long for other in made["NAMES"]) in (1, 2)  # both things may have one name
    train, held = (
        {tuple(json.loads(line)["turns"]) for line in lines_of(tmp_path / f"{name}.jsonl")}
        for name in ("train", "validation")
    )
    assert len(train) == made["NUM_TRAIN"]
    assert not train & held

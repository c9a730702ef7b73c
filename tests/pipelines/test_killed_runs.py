"""Killed at twenty random moments and resumed each time, a run ends with the same losses and weights, bit for bit."""

import multiprocessing
import random
import sys

import pytest
import torch
from killed_run import train_and_tell

from checks.runs import logged
from regard.checkpoint.model_folder import load_model

NUM_KILLS = 20


@pytest.fixture(scope="module")
def server():
    """Processes that have imported torch already, so that a run costs half a second and not five."""
    context = multiprocessing.get_context("forkserver")
    # What the first optimizer and the first event file import; modules of the tests cannot be found there.
    context.set_forkserver_preload(["regard.pipelines.fit", "torch._dynamo", "torch.utils.tensorboard"])
    return context


class Run:
    """`train_and_tell` in a new process, as a context manager that leaves no process behind."""

    def __init__(self, server, *arguments):
        self.told, end = server.Pipe(duplex=False)
        self.process = server.Process(target=train_and_tell, args=(*arguments, end))
        self.process.start()
        end.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.join()
        self.told.close()
        self.process.close()

    def events(self):
        try:
            while True:
                yield self.told.recv()
        except EOFError:
            return


@pytest.mark.skipif(sys.platform == "win32", reason="kills are those of POSIX")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_killed_at_random_moments_ends_as_the_uninterrupted_one(toy_recipe, tmp_path, server, precision):
    settings = [
        f"training.precision={precision}",
        "training.steps=60",
        "training.evaluate_every={steps: 10}",
        "training.save_every={steps: 3}",
    ]
    with Run(server, toy_recipe, settings, tmp_path / "whole") as whole:
        assert list(whole.events())[-1] == "Published"
    moments, kills = random.Random(precision), 0
    while kills < NUM_KILLS:
        with Run(server, toy_recipe, settings, tmp_path / "parts") as run:
            for number, name in enumerate(run.events()):
                # Between this and the next event the process is somewhere: in a step, in a validation, in a save.
                if number >= moments.randint(1, 12):
                    break
                assert name != "Published", f"finished after {kills} kills"
        kills += 1
    with Run(server, toy_recipe, settings, tmp_path / "parts") as last:
        names = list(last.events())
    assert names[-1] == "Published"
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    ours, theirs = (load_model(tmp_path / name / "model").model.state_dict() for name in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

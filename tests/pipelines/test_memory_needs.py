"""A model or a batch that does not fit is told, in numbers, before the system ends the run."""

import pytest
import torch
from torch import nn

from regard.data.batching import Batches
from regard.data.dataset import prepare
from regard.errors import UserError
from regard.models import transformer
from regard.pipelines import memory
from regard.pipelines.events import Prepared
from regard.pipelines.fit import fit
from regard.pipelines.plan import describe_plan
from regard.protocol import Dimensions, Model, Output
from regard.recipe import Recipe

DIMENSIONS = Dimensions(30, 30, shared=True)


class Known(Model):
    """Embedding, linear layer, logistic: what is kept for the backward pass can be counted by hand."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, size)
        self.linear = nn.Linear(size, 3 * size)
        self.readout = nn.Linear(3 * size, 30)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, batch, record=None):
        self.calls += 1
        torch.rand(1)
        return Output(torch.sigmoid(self.linear(self.embedding(batch.decoder_input))), self.readout)

    def bytes_kept(self, rows: int, length: int) -> int:
        size = self.linear.in_features
        # Ids of 8 bytes, of which the row's last is kept along; the linear layer's input; the logistic's output.
        return rows * (8 * (length + 1) + 4 * length * (size + 3 * size))


@pytest.fixture
def recipe(toy_recipe):
    return Recipe.read(toy_recipe)


@pytest.fixture
def batches(recipe):
    return Batches(prepare(recipe.data).train, batch_tokens=256, seed=1)


def test_what_a_batch_keeps_is_what_can_be_counted_by_hand(recipe, batches):
    model, store = Known(16), batches.store
    row = int((store.source_lengths + store.target_lengths).argmax())
    longest = max(int(store.source_lengths[row]), int(store.target_lengths[row]))
    needs = memory.estimate(recipe, model, batches)
    assert needs.batch == 2 * model.bytes_kept(256 // longest, int(store.target_lengths[row]))
    assert needs.weights == 16 * sum(parameter.numel() for parameter in model.parameters())
    twice = memory.estimate(recipe.with_training(consistency=5.0), model, batches)
    assert twice == needs._replace(batch=2 * needs.batch)


def test_looking_changes_nothing(recipe, batches):
    model = Known(16).eval()
    before, weights = torch.get_rng_state(), [parameter.clone() for parameter in model.parameters()]
    memory.estimate(recipe, model, batches)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.calls.item() == 0
    assert not model.training
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), weights, strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_weights_count_with_gradients_moments_and_average(toy_recipe):
    for settings, copies in [
        ([], 4),
        (["training.average=1", "training.average_decay=0.9"], 5),
        (["training.optimizer={kind: sgd}"], 2),
        (["training.optimizer={kind: sgd, momentum: 0.9}"], 3),
    ]:
        recipe = Recipe.read(toy_recipe, settings)
        assert memory.bytes_of_weights(recipe, 1000) == copies * 4 * 1000
    built = transformer.build(recipe.model, DIMENSIONS)
    assert memory.count_parameters(recipe, DIMENSIONS) == sum(parameter.numel() for parameter in built.parameters())


def test_a_model_larger_than_the_memory_is_refused_before_it_is_built(toy_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    recipe = Recipe.read(toy_recipe, ["model.size=20000"])
    message = r"the model does not fit .* [\d,]{13} parameters .* take [\d.]+ GB, and 1.0 GB are free here \(cpu\)"
    with pytest.raises(UserError, match=message):
        next(fit(recipe, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=message):
        describe_plan(recipe)


@pytest.mark.parametrize("free", [None, 10**12, 0])
def test_a_batch_larger_than_the_memory_is_told_at_the_start(recipe, tmp_path, monkeypatch, free):
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    monkeypatch.setattr(memory, "refuse_too_large", lambda *_: None)
    prepared = next(fit(recipe, tmp_path / "run"))
    assert isinstance(prepared, Prepared)
    told = [note for note in prepared.notes if "may be killed for lack of memory" in note]
    assert len(told) == (free == 0)


def test_the_plan_says_what_is_needed_and_what_is_free(recipe):
    (line,) = [line for line in describe_plan(recipe).splitlines() if line.startswith("memory: ")]
    assert "for the largest batch" in line
    assert line.endswith(" free (cpu)")

"""Expected reward: the estimate of its gradient against exact enumeration, and GLEU against its definition."""

import itertools
import math
import random

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from regard.evaluation.gleu import sentence_gleu
from regard.protocol import Batch, Model, Output, State
from regard.symbols import BOS, EOS, NAMES, PAD
from regard.training import reward
from regard.training.chunked_cross_entropy import linear_cross_entropy
from regard.training.config import TrainingConfig
from regard.training.loss import sequence_loss
from regard.training.objective import Objective
from regard.training.reward import RewardConfig, weighted_batches
from regard.training.state import Position

A, B = len(NAMES), len(NAMES) + 1
VOCABULARY, LONGEST, NEVER = len(NAMES) + 2, 3, -1e4
REFERENCE = [A, B, A]


class ByPlace(Model):
    """Every place has its own distribution over EOS, A and B, whatever came before; after three tokens it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(LONGEST, 3, generator=torch.Generator().manual_seed(5)))
        self.readout = nn.Linear(VOCABULARY, VOCABULARY, bias=False)
        self.readout.weight = nn.Parameter(torch.eye(VOCABULARY), requires_grad=False)

    def logits(self) -> Tensor:
        free = torch.full((LONGEST, VOCABULARY), NEVER).index_copy(1, torch.tensor([EOS, A, B]), self.table)
        last = torch.full((1, VOCABULARY), NEVER).index_fill(1, torch.tensor([EOS]), 0.0)
        return torch.cat([free, last])

    def forward(self, batch: Batch, record: object = None) -> Output:
        length = batch.decoder_input.size(1)
        return Output(self.logits()[:length].expand(batch.source.size(0), -1, -1), self.readout)

    def encode(self, source: Tensor, record=None) -> State:
        return State(source, torch.zeros(source.size(0), dtype=torch.long))

    def step(self, state: State, tokens: Tensor, record: object = None) -> tuple[Tensor, State]:
        return self.logits()[state.carry.clamp(max=LONGEST)], State(state.memory, state.carry + 1)


def batch_of(*references: list[int]) -> Batch:
    target = nn.utils.rnn.pad_sequence(
        [torch.tensor([BOS, *reference, EOS]) for reference in references], batch_first=True, padding_value=PAD
    )
    return Batch(torch.full((len(references), 2), EOS), target, torch.arange(len(references)))


def expected_gleu(model: ByPlace) -> Tensor:
    """E[GLEU], by going through all outputs."""
    log_probs, expected = model.logits().log_softmax(-1), torch.zeros(())
    for length in range(LONGEST + 1):
        for output in itertools.product([A, B], repeat=length):
            probability = sum(log_probs[place, token] for place, token in enumerate([*output, EOS])).exp()
            expected = expected + probability * sentence_gleu(output, REFERENCE)
    return expected


def exact_gradient(model: ByPlace) -> Tensor:
    return torch.autograd.grad(-expected_gleu(model), model.table)[0]


def estimates(model: ByPlace, config: RewardConfig, num: int) -> Tensor:
    """The estimated gradients of `num` draws."""
    found = []
    for seed in range(num):
        model.zero_grad()
        for batch, weights in weighted_batches(model, batch_of(REFERENCE), config, seed=seed):
            sequence_loss(model(batch), batch.labels, weights=weights).total.backward()
        found.append(model.table.grad.clone())
    return torch.stack(found)


def farthest(model: ByPlace, num_samples: int, num: int = 300) -> float:
    """The largest distance of the mean estimate from the exact gradient, in standard errors."""
    found = estimates(model, RewardConfig(samples=num_samples, likelihood=0.0), num)
    error = found.std(0) / math.sqrt(num)
    return float(((found.mean(0) - exact_gradient(model)) / error).abs().max())


@pytest.mark.parametrize("num_samples", [2, 5])
def test_the_estimated_gradient_is_unbiased(num_samples):
    assert farthest(ByPlace(), num_samples) < 4


def test_a_baseline_that_counts_the_sample_itself_would_be_biased(monkeypatch):
    right = reward._advantages

    def with_itself(batch, samples):
        return [[value / 2 for value in row] for row in right(batch, samples)]  # (N - 1) / N of it, with N = 2

    monkeypatch.setattr(reward, "_advantages", with_itself)
    assert farthest(ByPlace(), 2) > 8


def test_likelihood_is_mixed_in_with_its_weight():
    model = ByPlace()
    (plain,) = estimates(model, RewardConfig(samples=2, likelihood=0.0), 1)
    (mixed,) = estimates(model, RewardConfig(samples=2, likelihood=0.5), 1)
    batch = batch_of(REFERENCE)
    model.zero_grad()
    sequence_loss(model(batch), batch.labels).total.backward()
    torch.testing.assert_close(mixed - plain, 0.5 * model.table.grad)


class Regularised(ByPlace):
    """Adds 7 to every loss of its own."""

    def forward(self, batch: Batch, record: object = None) -> Output:
        return super().forward(batch)._replace(penalty=torch.tensor(7.0))


def test_what_a_model_adds_to_the_loss_counts_once():
    batch = batch_of(REFERENCE, [B])
    config = TrainingConfig(steps=1, start_from="first", reward=RewardConfig(samples=5), label_smoothing=0)
    totals = [
        sum(part.total.item() for part in Objective(config).losses(model, batch, Position(precision="fp32")))
        for model in (ByPlace(), Regularised())
    ]
    assert totals[1] - totals[0] == pytest.approx(7.0, abs=1e-4)


def test_what_is_drawn_belongs_to_the_sentence_and_not_to_its_neighbours():
    model, config = ByPlace(), RewardConfig(samples=4)
    whole = batch_of(REFERENCE, [B], [A, A])
    together = list(weighted_batches(model, whole, config, seed=9))
    alone = list(weighted_batches(model, Batch(whole.source[1:2], whole.target[1:2], whole.rows[1:2]), config, seed=9))
    assert together[0][0] is whole
    (many, weights), (one, weight) = together[1], alone[1]
    mine = many.rows == whole.rows[1]
    assert mine.sum() == one.rows.numel() == 4
    assert torch.equal(many.source[mine], whole.source[1:2].expand(4, -1))
    assert torch.equal(many.target[mine, : one.target.size(1)], one.target)
    torch.testing.assert_close(weights[mine], weight)


def test_the_model_draws_without_dropout_and_then_trains_on():
    model = ByPlace().train()
    list(weighted_batches(model, batch_of(REFERENCE), RewardConfig(samples=2), seed=1))
    assert model.training


def test_learning_from_reward_raises_it():
    model = ByPlace()
    optimizer = torch.optim.Adam([model.table], lr=0.1)
    config = RewardConfig(samples=8, likelihood=0.0)
    before = expected_gleu(model).item()
    for step in range(60):
        optimizer.zero_grad()
        for batch, weights in weighted_batches(model, batch_of(REFERENCE), config, seed=step):
            sequence_loss(model(batch), batch.labels, weights=weights).total.backward()
        optimizer.step()
    assert before < 0.5
    assert expected_gleu(model).item() > 0.9


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_rows_equal_weighted_cross_entropy(smoothing):
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, dtype=torch.double, requires_grad=True) for shape in ((13, 6), (11, 6), (11,))]
    labels, weights = torch.randint(0, 11, (13,)), torch.randn(13, dtype=torch.double)
    losses = functional.cross_entropy(functional.linear(*tensors), labels, label_smoothing=smoothing, reduction="none")
    ours = linear_cross_entropy(*tensors, labels, label_smoothing=smoothing, row_weights=weights, chunk_rows=4)
    torch.testing.assert_close(ours.total, (weights * losses).sum())
    for left, right in zip(
        torch.autograd.grad(ours.total, tensors), torch.autograd.grad((weights * losses).sum(), tensors), strict=True
    ):
        torch.testing.assert_close(left, right)


def naive_gleu(hypothesis: str, reference: str) -> float:
    """The smaller of precision and recall, each n-gram of the one crossed out in the other."""

    def grams(text: str) -> list[str]:
        return [text[i : i + n] for n in range(1, 5) for i in range(len(text) - n + 1)]

    left, matches = grams(reference), 0
    for gram in grams(hypothesis):
        if gram in left:
            left.remove(gram)
            matches += 1
    return min(matches / len(grams(hypothesis)), matches / len(grams(reference)))


def test_gleu_is_its_definition():
    draw = random.Random(2)
    for _ in range(200):
        pair = ["".join(draw.choice("abc") for _ in range(draw.randint(1, 9))) for _ in range(2)]
        assert sentence_gleu(*pair) == pytest.approx(naive_gleu(*pair))
        assert sentence_gleu(*pair) == sentence_gleu(*reversed(pair))


def test_gleu_of_nothing():
    assert (sentence_gleu("", ""), sentence_gleu("", "a"), sentence_gleu("a", "")) == (1, 0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.1, "start_from": "model"}, "set label_smoothing to 0"),
        ({"label_smoothing": 0.0}, "name the first stage's model in start_from"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate({"steps": 1, "reward": {}, **settings})

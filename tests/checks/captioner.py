"""The captioner against its equations, caption by caption; called by the tests and by the mutation suite."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from checks.making import SOURCE, UNSHARED, float64, randomise
from regard.attention.hard import HardAttention
from regard.attention.record import AttentionRecord
from regard.models import captioner, captioner_transformer
from regard.models.captioner import SITE, Captioner
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import BOS, EOS, PAD

EXACT = {"rtol": 0, "atol": 1e-9}
PICTURES = Dimensions(3, UNSHARED.target, height=9, width=11)
ENCODER = {"kind": "resnet", "stem_width": 4, "widths": [4, 5], "depths": [1, 1]}

BOTTLENECKS = {"kind": "resnet", "stem": "large", "block": "bottleneck", "widths": [4, 8], "depths": [2, 1]}


def captioner_model(**settings: object) -> Captioner:
    """A tiny captioner, all parameters random, in evaluation, no two sizes the same; 3 x 3 regions of 5 numbers."""
    sizes = {"embedding_size": 4, "decoder_size": 6, "dropout": 0.5}
    if settings.get("attention") != "none":
        sizes["attention_size"] = 7
    with float64():
        config = captioner.Config.model_validate({"encoder": ENCODER} | sizes | settings)
        model = captioner.build(config, PICTURES)
    randomise(model)
    model.baseline.fill_(-1.3)
    return model.eval()


def transformer_captioner(**settings: object) -> Model:
    """The same with a Transformer for a decoder, all parameters random."""
    sizes = {"size": 8, "num_layers": 2, "num_heads": 2, "feed_forward_size": 12, "max_length": 9, "dropout": 0.5}
    with float64():
        config = captioner_transformer.Config.model_validate({"encoder": ENCODER} | sizes | settings)
        model = captioner_transformer.build(config, PICTURES)
    randomise(model)
    return model.eval()


def pictures(number: int = 3, seed: int = 2) -> Tensor:
    return torch.randn(number, 3, 9, 11, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def example(lengths: tuple[int, ...] = (4, 6, 2), seed: int = 3) -> Batch:
    """Pictures with captions of these lengths, their `EOS` counted."""
    draw = np.random.default_rng(seed)
    target = torch.full((len(lengths), max(lengths) + 1), PAD)
    for row, length in enumerate(lengths):
        words = draw.integers(EOS + 1, UNSHARED.target, length - 1).tolist()
        target[row, : length + 1] = torch.tensor([BOS, *words, EOS])
    return Batch(pictures(len(lengths)), target)


class FromTokens(Model):
    """Reads token ids as pictures, so that what every encoder-decoder must keep can be asked of a captioner.

    Padding adds nothing to a picture, the order of the tokens does.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        generator = torch.Generator().manual_seed(7)
        self.paint = torch.randn(SOURCE, 64, 3 * 9 * 11, generator=generator, dtype=torch.float64) * 0.02
        self.paint[PAD] = 0

    def seen(self, source: Tensor) -> Tensor:
        places = torch.arange(source.size(1))
        return self.paint[source, places].sum(1).view(-1, 3, 9, 11)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        return self.model(batch._replace(source=self.seen(batch.source)), record)

    def flops(self, batch: Batch) -> int:
        return self.model.flops(batch._replace(source=self.seen(batch.source)))

    def encode(self, source: Tensor, record=None) -> State:
        return self.model.encode(self.seen(source))

    def step(self, state: State, tokens: Tensor, record: AttentionRecord | None = None) -> tuple[Tensor, State]:
        return self.model.step(state, tokens, record)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def of(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    bias = 0.0 if layer.bias is None else layer.bias.detach().numpy()
    return layer.weight.detach().numpy() @ x + bias


def paper_says(
    model: Captioner, regions: np.ndarray, words: list[int], *, mean_only: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, alpha and beta of every step of one caption: the equations of the paper in numpy."""
    kernel = model.recurrent.kernel
    input_weight, hidden_weight = kernel.weight_ih_l0.detach().numpy(), kernel.weight_hh_l0.detach().numpy()
    bias = (kernel.bias_ih_l0 + kernel.bias_hh_l0).detach().numpy()
    embedding = model.embedding.weight.detach().numpy()
    mean = sum(regions) / len(regions)
    h, c = np.tanh(of(model.first_hidden, mean)), np.tanh(of(model.first_cell, mean))
    logits, alphas, betas = [], [], []
    for word in words:
        beta = sigmoid(of(model.look.gate, h))
        alpha = np.full(len(regions), 1 / len(regions))
        if model.look.attention is not None:
            score = model.look.attention.score
            energies = [
                of(score.energy, np.tanh(of(score.key_weight, a) + of(score.query_weight, h)))[0] for a in regions
            ]
            alpha = np.exp(energies) / np.exp(energies).sum()
            if isinstance(model.look.attention, HardAttention) and not mean_only:
                alpha = np.eye(len(regions))[alpha.argmax()]
        z = beta * sum(weight * a for weight, a in zip(alpha, regions, strict=True))
        i, f, g, o = np.split(input_weight @ np.concatenate([embedding[word], z]) + hidden_weight @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        said = np.tanh(embedding[word] + of(model.from_hidden, h) + of(model.from_context, z))
        logits.append(of(model.readout, said))
        alphas.append(alpha)
        betas.append(beta)
    return np.stack(logits), np.stack(alphas), np.stack(betas)


def follows_the_paper(**settings: object) -> None:
    """The padded batch says at every word what the equations say, and looks where they look."""
    model, batch, record = captioner_model(**settings), example(), AttentionRecord()
    logits = model(batch, record).logits
    regions = model.encoder(batch.source).detach().numpy()
    for row, length in enumerate((4, 6, 2)):
        expected, alphas, _ = paper_says(model, regions[row], batch.decoder_input[row, :length].tolist())
        assert_close(logits[row, :length], torch.from_numpy(expected), **EXACT)
        if model.look.attention is not None:
            assert_close(record.weights(SITE)[row, 0, :length], torch.from_numpy(alphas), **EXACT)


def the_regulariser_is_the_papers(**settings: object) -> None:
    """Lambda * sum over captions and regions of (1 - sum over real words of alpha)^2, and its gradient."""
    model, batch = captioner_model(doubly_stochastic=0.7, dropout=0.0, **settings), example()
    regions = model.encoder(batch.source).detach().numpy()
    expected = 0.0
    for row, length in enumerate((4, 6, 2)):
        words = batch.decoder_input[row, :length].tolist()
        _, alphas, _ = paper_says(model, regions[row], words, mean_only=True)
        expected += 0.7 * ((1 - alphas.sum(0)) ** 2).sum()
    model.train()
    model.encoder.eval()  # statistics of the batch would be other regions
    penalty = model(batch).penalty
    assert penalty is not None
    assert_close(penalty.double(), torch.tensor(expected).double(), rtol=0, atol=1e-4)  # summed in float32
    assert model.eval()(batch).penalty is None, "a penalty in evaluation"


def the_gate_is_one_number_and_changes(**settings: object) -> None:
    """beta_t is (rows, 1): with a gate shut nothing is seen; opened, each step has its own."""
    model, batch = captioner_model(**settings), example()
    assert model.look.gate.out_features == 1
    regions = model.encoder(batch.source).detach().numpy()
    _, _, betas = paper_says(model, regions[0], batch.decoder_input[0, :4].tolist())
    assert np.ptp(betas) > 1e-3
    nn.init.zeros_(model.look.gate.weight)
    nn.init.constant_(model.look.gate.bias, -1e9)
    memory, states = model.encode(batch.source)
    assert (model.look(states.hidden[:, -1], memory, None) == 0).all()


def toy(sampled: float = 1.0) -> tuple[Captioner, Batch]:
    """Four regions, captions of two words: 16 ways of looking; regions are given, so that no encoder is in the way."""
    hard = {"sampled": sampled, "reinforce_weight": 1.0, "entropy_weight": 0.0}
    model = captioner_model(attention="hard", hard=hard, doubly_stochastic=0.0, dropout=0.0).train()
    regions = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return model, Batch(regions, torch.tensor([[BOS, 5, EOS]]))


def exact_gradient(model: Captioner, batch: Batch, parameter: Tensor) -> Tensor:
    """Of sum over s of p(s) log p(y | s), all locations enumerated."""
    attention = model.look.attention
    assert isinstance(attention, HardAttention)
    total = torch.zeros((), dtype=torch.float64)
    for places in itertools.product(range(4), repeat=2):
        left = list(places)
        attention._draw = lambda weights, left=left: torch.full_like(weights[..., :1], left.pop(0), dtype=torch.long)
        record = AttentionRecord()
        log_probs = model(batch, record).logits.log_softmax(-1)
        said = sum(log_probs[0, t, word] for t, word in enumerate(batch.labels[0].tolist()))
        scores = record.calls(SITE)[0].scores[0, 0].log_softmax(-1)
        total = total + sum(scores[t, place] for t, place in enumerate(places)).exp() * said
    del attention._draw
    return torch.autograd.grad(total, parameter)[0]


def reinforce_is_unbiased(num_samples: int = 3_000, sampled: float = 1.0) -> None:
    """The mean gradient of the training loss, over drawn locations, is minus the exact one within 3 sigma."""
    model, batch = toy(sampled)
    assert model.look.attention is not None
    parameter = model.look.attention.score.query_weight.weight
    expected = exact_gradient(model, batch, parameter)
    torch.manual_seed(0)
    many = Batch(batch.source.expand(num_samples, -1, -1), batch.target.expand(num_samples, -1))
    # A parameter for each sample: the gradients of all samples from one pass.
    each = parameter.detach().expand(num_samples, -1, -1).clone().requires_grad_()
    score = model.look.attention.score
    score.query_weight.forward = lambda query: torch.einsum("bhqd,bsd->bhqs", query, each)
    output = model(many)
    log_probs = output.logits.log_softmax(-1).gather(-1, many.labels.unsqueeze(-1)).sum()
    assert output.penalty is not None
    (gradients,) = torch.autograd.grad(output.penalty - log_probs, each)
    mean, error = -gradients.mean(0), gradients.std(0) / num_samples**0.5
    assert expected.abs().max() > 1e-3
    worst = ((mean - expected).abs() / (error + 1e-12)).max()
    # 42 numbers: the largest of so many standard normals is below 4 in 499 of 500 cases.
    assert ((mean - expected).abs() <= 3 * error + 1e-12).double().mean() > 0.95, worst
    assert worst < 4, worst


def only_scores_get_the_reward() -> None:
    """The score function's gradient reaches what decides where to look, not what says the words."""
    model, batch = toy()
    torch.manual_seed(0)
    penalty = model(batch).penalty
    assert penalty is not None
    penalty.backward()
    assert model.look.attention is not None
    assert model.look.attention.score.energy.weight.grad.abs().sum() > 0
    assert model.readout.weight.grad is None
    assert model.from_context.weight.grad is None

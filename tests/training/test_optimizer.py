import pytest
import torch
from torch import nn

from regard.errors import UsageError
from regard.layers.embedding import Embedding
from regard.models import transformer
from regard.protocol import Dimensions
from regard.training.optimizer import SGD, Adam, AdamW, Muon, build_optimizer, hidden_matrices


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, num_steps: int = 5) -> list[torch.Tensor]:
    for parameters in optimizer.param_groups:
        parameters["lr"] = 0.1
    for number in range(num_steps):
        for parameter in model.parameters():
            parameter.grad = torch.sin(parameter.detach() * (number + 1))
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Embedding(5, 4))


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (Adam(epsilon=1e-8), lambda p: torch.optim.Adam(p, 0.1, (0.9, 0.98), 1e-8, foreach=False)),
        (SGD(), lambda p: torch.optim.SGD(p, 0.1)),
        (SGD(momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9)),
        (SGD(momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True)),
        (AdamW(weight_decay=0.0), lambda p: torch.optim.AdamW(p, 0.1, (0.9, 0.98), 1e-9, weight_decay=0.0)),
    ],
)
def test_each_optimizer_moves_like_the_plain_one_of_torch(config, reference):
    ours, theirs = layer(), layer()
    moved = steps(ours, build_optimizer(ours, config))
    expected = steps(theirs, reference(theirs.parameters()))
    for left, right in zip(moved, expected, strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [AdamW(weight_decay=0.5), SGD(weight_decay=0.5)])
def test_weight_decay_spares_biases_and_norms(config):
    model = layer()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = build_optimizer(model, config)
    for parameters in optimizer.param_groups:
        parameters["lr"] = 0.1
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        expected = old * (1 - 0.1 * 0.5) if old.dim() > 1 else old
        torch.testing.assert_close(new.detach(), expected)


def test_frozen_parameters_are_left_out():
    model = layer()
    model[2].weight.requires_grad_(False)
    optimized = [parameter for group in build_optimizer(model, Adam()).param_groups for parameter in group["params"]]
    assert len(optimized) == 4
    assert all(parameter is not model[2].weight for parameter in optimized)


def test_nesterov_needs_momentum():
    with pytest.raises(ValueError, match="momentum"):
        SGD(nesterov=True)


class Small(nn.Module):
    """A table of tokens, a hidden matrix, a vector, and a readout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.hidden, self.readout = Embedding(9, 8), nn.Linear(8, 24), nn.Linear(24, 9)
        self.register_parameter("volume", nn.Parameter(torch.randn(2, 3, 4)))


def test_muon_moves_a_hidden_matrix_by_an_orthogonal_one_of_the_size_of_adams_steps():
    model = Small()
    before = model.hidden.weight.detach().clone()
    gradient = torch.randn(24, 8) @ torch.diag(torch.logspace(0, -2, 8))
    optimizer = build_optimizer(model, Muon(matrix_rate=3.0, weight_decay=0.0))
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["scale"]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.hidden.weight.grad = gradient.clone()
    optimizer.step()
    moved = (before - model.hidden.weight.detach()) / (0.03 * 0.2 * 24**0.5)
    # The iteration's coefficients leave singular values between 0.7 and 1.2, whatever those of the gradient were.
    values = torch.linalg.svdvals(moved)
    assert torch.linalg.svdvals(gradient).aminmax()[0] < 0.05
    assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_muon_moves_all_else_like_adam():
    ours, theirs = Small(), Small()
    steps(ours, build_optimizer(ours, Muon(epsilon=1e-8)))
    steps(theirs, torch.optim.Adam(theirs.parameters(), 0.1, (0.9, 0.98), 1e-8, foreach=False))
    for (name, left), right in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        alike = torch.allclose(left, right, atol=1e-5, rtol=1e-5)
        assert alike == (name != "hidden.weight"), name


def test_muons_decay_is_of_hidden_matrices_alone():
    model = Small()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, Muon(weight_decay=0.5))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "hidden.weight" else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_tokens_and_positions_are_no_hidden_matrices(tied):
    dimensions = Dimensions(source=11, target=11, shared=tied)
    settings = {"size": 8, "num_heads": 2, "num_layers": 1, "positions": "learned", "max_length": 5, "tied": tied}
    model = transformer.build(transformer.Config(**settings), dimensions)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = {names[id(parameter)] for parameter in hidden_matrices(model)}
    others = {name for name, parameter in model.named_parameters() if parameter.dim() == 2} - hidden
    assert all("coder.0." in name for name in hidden), hidden
    assert not any("coder.0." in name for name in others), others
    assert len(others) == (3 if tied else 5)


def test_muon_needs_a_torch_that_has_it(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UsageError, match=r"muon needs torch 2\.9 or later"):
        build_optimizer(Small(), Muon())

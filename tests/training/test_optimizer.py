import pytest
import torch
from torch import nn

from regard.training.optimizer import SGD, Adam, AdamW, build_optimizer


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

"""Do experts share the work? Sixteen of them learn a function, with the losses of Shazeer et al. (2017) and without.

Printed for each weight of the losses: how many times the mean the busiest expert is asked for, chosen with the noise
of training (which is what the losses balance) and without it, the experts that are asked at all, and the error; and
that the expected load adds up to k tokens a token.

Usage: python benchmarks/experts_balance.py [--out docs/images]      less than a minute
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch

from curves import curves
from regard.layers.experts import Experts, Routing
from regard.layers.fully_connected import FullyConnected
from regard.show.plot import save

SIZE, NUMBER, USED = 8, 16, 2
STEPS, EVERY, TOKENS = 300, 30, 256
WEIGHTS = (0.0, 0.01, 0.1, 1.0)


class Balance(NamedTuple):
    """Of one layer at one moment."""

    busiest: float  # the load of the busiest expert, in multiples of the mean
    asked: int  # experts that get at least one token of a thousand


def balance(layer: Experts, *, noisy: bool) -> Balance:
    """How a thousand tokens are divided."""
    routings: list[Routing] = []
    layer.train(noisy)(inputs(1000), None, routings)
    load = (routings[0].gates != 0).sum((0, 1)).float()
    return Balance(float(load.max() / load.mean()), int((load > 0).sum()))


def inputs(tokens: int) -> torch.Tensor:
    """Tokens that have something in common, so that the same experts suit them all a little better at first."""
    return torch.randn(1, tokens, SIZE) + 1


def train(weight: float) -> tuple[Experts, list[float], float]:
    """The layer, how busy its busiest expert was on the way, and the mean squared error at the end."""
    torch.manual_seed(0)
    layer = Experts(
        (FullyConnected(SIZE, SIZE) for _ in range(NUMBER)),
        SIZE,
        used=USED,
        site="experts",
        importance_weight=weight,
        load_weight=weight,
    )
    function = torch.nn.Sequential(torch.nn.Linear(SIZE, 16), torch.nn.Tanh(), torch.nn.Linear(16, SIZE))
    optimizer = torch.optim.Adam(layer.parameters(), 0.03)
    busiest, errors = [], []
    for step in range(STEPS):
        if step % EVERY == 0:
            busiest.append(balance(layer, noisy=True).busiest)
        layer.train()
        tokens, routings = inputs(TOKENS), list[Routing]()
        error = (layer(tokens, None, routings) - function(tokens).detach()).square().mean()
        penalty = routings[0].penalty
        assert penalty is not None
        optimizer.zero_grad()
        (error + penalty).backward()
        optimizer.step()
        errors.append(error.item())
    return layer, [*busiest, balance(layer, noisy=True).busiest], sum(errors[-20:]) / 20


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    out = parser.parse_args().out
    series = {}
    for weight in WEIGHTS:
        layer, series[f"losses times {weight:g}"], error = train(weight)
        noisy, plain = balance(layer, noisy=True), balance(layer, noisy=False)
        print(
            f"losses times {weight:g}: busiest {noisy.busiest:.2f} x mean with noise, {plain.busiest:.2f} without; "
            f"{noisy.asked} of {NUMBER} experts asked; error {error:.4f}",
            flush=True,
        )
    layer.train()
    loads = torch.stack([layer.router(inputs(TOKENS)[0]).load.detach().sum() for _ in range(200)])
    print(f"expected load of all experts: {loads.mean():.2f}; {USED} x {TOKENS} tokens = {USED * TOKENS}")
    places = range(0, STEPS + 1, EVERY)
    figure, axes = curves(series, list(places), across="updates", up="load of the busiest expert / mean")
    axes.axhline(1.5, color="#8892a0", linewidth=0.8, linestyle="--")
    save(figure, out / "experts-balance.svg")


if __name__ == "__main__":
    main()

"""What a tanh RNN forgets and an LSTM keeps: gradients through time, and the adding problem (Hochreiter et al. 1997).

    python benchmarks/memory_of_recurrence.py --gradients gradients.svg
    python benchmarks/memory_of_recurrence.py --adding adding.svg --length 100 --steps 1500

Gradients: |dh_T / dx_1|, the largest singular value, for a fresh layer and growing T. In a tanh RNN it is a product of
T Jacobians, and shrinks or grows as the spectral radius of W says; the cell of an LSTM is added to, and its forget gate
decides. Adding: a sequence of numbers in [0, 1] of which two are marked; the answer is their sum. Whoever always
says 1 has a mean squared error of 0.1667.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from regard.layers.recurrent import CellName, Recurrent

SIZE = 32
BASELINE = 1 / 6


def layer(cell: CellName, *, radius: float = 1.0, forget: float = 0.0, seed: int = 0, inputs: int = 2) -> Recurrent:
    """A fresh layer: W orthogonal times `radius`, so that this is its spectral radius; `forget` biases the gate f."""
    torch.manual_seed(seed)
    made = Recurrent(cell, inputs, size=SIZE)
    with torch.no_grad():
        for gate in made.kernel.weight_hh_l0.split(SIZE):
            nn.init.orthogonal_(gate).mul_(radius)
        made.kernel.bias_ih_l0.zero_()
        made.kernel.bias_hh_l0.zero_()
        if cell == "lstm":
            made.kernel.bias_ih_l0[SIZE : 2 * SIZE] = forget
    return made


def gradient_norm(made: Recurrent, length: int, *, seed: int = 1) -> float:
    """|dh_T / dx_1|: how much the last state of `length` small inputs depends on the first one."""
    rest = 0.1 * torch.randn(1, length - 1, 2, generator=torch.Generator().manual_seed(seed))

    def last_state(first: Tensor) -> Tensor:
        return made(torch.cat([first.view(1, 1, 2), rest], 1))[0][0, -1]

    jacobian = torch.autograd.functional.jacobian(last_state, torch.full((2,), 0.1))
    return float(torch.linalg.matrix_norm(jacobian, 2))


def adding_batch(rows: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers and marks (rows, length, 2), one mark in each half; and the sums of the marked numbers."""
    numbers = torch.rand(rows, length, generator=generator)
    marks = torch.zeros(rows, length)
    half = length // 2
    first = torch.randint(0, half, (rows, 1), generator=generator)
    second = torch.randint(half, length, (rows, 1), generator=generator)
    marks.scatter_(1, first, 1.0).scatter_(1, second, 1.0)
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(1)


def learn_to_add(cell: CellName, *, length: int, steps: int, rate: float = 0.005, seed: int = 0) -> list[float]:
    """The mean squared error of each fifty updates, the last one that on a thousand unseen sequences."""
    made, readout = layer(cell, forget=1.0, seed=seed), nn.Linear(SIZE, 1)
    nn.init.constant_(readout.bias, 1.0)
    parameters = [*made.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    generator, errors, sums = torch.Generator().manual_seed(seed), [], []
    for step in range(1, steps + 1):
        numbers, answers = adding_batch(50, length, generator)
        error = (readout(made(numbers)[0][:, -1]).squeeze(1) - answers).square().mean()
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        sums.append(error.item())
        if step % 50 == 0:
            errors.append(sum(sums) / len(sums))
            sums = []
    with torch.no_grad():
        numbers, answers = adding_batch(1000, length, torch.Generator().manual_seed(seed + 1))
        return [*errors, float((readout(made(numbers)[0][:, -1]).squeeze(1) - answers).square().mean())]


def show_gradients(path: Path) -> None:
    """Print the table and draw it."""
    lengths = [1, 2, 5, 10, 20, 40, 80]
    layers = {
        "tanh RNN, radius 0.7": layer("rnn", radius=0.7),
        "tanh RNN, radius 1.0": layer("rnn", radius=1.0),
        "tanh RNN, radius 1.5": layer("rnn", radius=1.5),
        "LSTM, forget gate open (bias 4)": layer("lstm", forget=4.0),
    }
    figure, axes = plt.subplots(figsize=(7, 4))
    sys.stdout.write("T".ljust(34) + "".join(f"{length:>10}" for length in lengths) + "\n")
    for name, made in layers.items():
        norms = [gradient_norm(made, length) for length in lengths]
        sys.stdout.write(name.ljust(34) + "".join(f"{norm:>10.1e}" for norm in norms) + "\n")
        axes.plot(lengths, norms, marker="o", label=name)
    _finish(figure, axes, path, x="T", y=r"$\|\partial h_T / \partial x_1\|$")


def show_adding(path: Path, *, length: int, steps: int) -> None:
    """Train both, print the errors and draw them."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, cell in (("tanh RNN", "rnn"), ("LSTM", "lstm")):
        *errors, final = learn_to_add(cell, length=length, steps=steps)
        sys.stdout.write(f"{name:<10}length {length}, {steps} updates: mean squared error {final:.4f}\n")
        axes.plot([50 * (place + 1) for place in range(len(errors))], errors, label=name)
    axes.axhline(BASELINE, color="gray", linestyle="--", label="always 1")
    _finish(figure, axes, path, x="updates", y="mean squared error")


def _finish(figure: plt.Figure, axes: plt.Axes, path: Path, *, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, yscale="log")
    axes.legend()
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gradients", type=Path, metavar="FILE", help="draw gradients through time")
    parser.add_argument("--adding", type=Path, metavar="FILE", help="draw learning curves of the adding problem")
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args(arguments)
    if given.gradients is None and given.adding is None:
        parser.error("name a file with --gradients or --adding")
    if given.gradients is not None:
        show_gradients(given.gradients)
    if given.adding is not None:
        show_adding(given.adding, length=given.length, steps=given.steps)


if __name__ == "__main__":
    main()

"""How many layers it takes until one word can depend on another (the slide's linear, logarithmic and constant).

For each distance D: the smallest number of decoder layers with which the gradient of what is said at place D + 1 by
the word at place 1 is not 0. Nothing is trained, nothing is assumed: the models are built and differentiated.

Usage: python benchmarks/dependency_paths.py [--out docs/images]      less than a minute
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from curves import curves
from regard.models import bytenet, convs2s, transformer
from regard.protocol import Batch, Dimensions, Model
from regard.show.plot import save
from regard.symbols import BOS, EOS

DISTANCES = (8, 16, 32, 64, 128, 256, 512)
SIZES = Dimensions(8, 8)
WORD, OTHER = 4, 5


def convs2s_of(layers: int) -> Model:
    """Width 3, causal: a layer sees two places more."""
    one = [convs2s.Blocks(layers=1, size=4, width=3)]
    blocks = [convs2s.Blocks(layers=layers, size=4, width=3)]
    config = convs2s.Config(embedding_size=4, encoder=one, decoder=blocks, dropout=0.0, tied=False, max_length=1024)
    return convs2s.build(config, SIZES)


def bytenet_of(layers: int) -> Model:
    """Kernel 3 with gaps of 1, 2, 4, ...: one set, whose last gap is as large as the number of layers says."""
    config = bytenet.Config(
        size=4, max_dilation=1 << (layers - 1), encoder_sets=1, decoder_sets=1, dropout=0.0, tied=False
    )
    return bytenet.build(config, SIZES)


def transformer_of(layers: int) -> Model:
    """Every layer sees everything."""
    config = transformer.Config(
        size=4, num_layers=layers, num_heads=1, feed_forward_size=4, norm="pre", dropout=0.0, tied=False
    )
    return transformer.build(config, SIZES)


SYSTEMS: dict[str, Callable[[int], Model]] = {
    "ConvS2S": convs2s_of,
    "ByteNet": bytenet_of,
    "Transformer": transformer_of,
}


def is_reached(model: Model, distance: int) -> bool:
    """Whether what is said `distance` places after a word depends on it; the source does not know the word."""
    target = torch.full((1, distance + 3), OTHER)
    target[0, :2] = torch.tensor([BOS, WORD])
    logits = model.double().eval()(Batch(torch.tensor([[OTHER, EOS]]), target)).logits
    logits[0, 1 + distance].square().sum().backward()
    gradients = [
        parameter.grad[WORD]
        for name, parameter in model.named_parameters()
        if parameter.size(0) == SIZES.target and parameter.grad is not None and _embeds_targets(name)
    ]
    return any(bool(gradient.abs().sum() > 0) for gradient in gradients)


def _embeds_targets(name: str) -> bool:
    return name.endswith(".weight") and ("decoder.embed" in name or "target_embedding" in name)


def layers_needed(make: Callable[[int], Model], distance: int) -> int:
    """By doubling, then by halving the rest: seeing further with more layers is monotone."""
    high = 1
    while not is_reached(make(high), distance):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_reached(make(middle), distance) else (middle, high)
    return high


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    out = parser.parse_args().out
    torch.manual_seed(0)
    needed = {name: [layers_needed(make, distance) for distance in DISTANCES] for name, make in SYSTEMS.items()}
    print("distance   ", *(f"{distance:5}" for distance in DISTANCES))
    for name, layers in needed.items():
        print(f"{name:11}", *(f"{number:5}" for number in layers))
    figure, _ = curves(
        needed, DISTANCES, across="distance of two words", up="layers between them", log_across=True, log_up=True
    )
    save(figure, out / "dependency-paths.svg")


if __name__ == "__main__":
    main()

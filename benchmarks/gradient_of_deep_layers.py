"""How much gradient reaches the lowest layer of Deep-Att, with fast-forward connections and without, by depth.

Fresh models of the same sizes; printed is the norm of the gradient of the lowest encoder layer's W_f, of the cross
entropy a word on random sentences, the mean of several seeds.

Usage: python benchmarks/gradient_of_deep_layers.py [--out docs/images]      about a minute
"""

import argparse
from pathlib import Path

import torch
from torch.nn import functional

from curves import curves
from regard.models import deep_att
from regard.protocol import Batch, Dimensions
from regard.show.plot import save
from regard.symbols import BOS, EOS

DEPTHS = (2, 4, 8, 12, 16)  # encoder and decoder together
SIZE, LENGTH, ROWS, WORDS, SEEDS = 32, 15, 8, 50, 3


def gradient(depth: int, *, fast_forward: bool, seed: int) -> float:
    """Of one fresh model, half of whose layers are the decoder's."""
    torch.manual_seed(seed)
    config = deep_att.Config(
        size=SIZE,
        embedding_size=SIZE,
        memory_size=SIZE,
        encoder_layers=depth // 2,
        decoder_layers=depth // 2,
        fast_forward=fast_forward,
        tied=False,
        dropout=0.0,
    )
    model = deep_att.build(config, Dimensions(WORDS, WORDS))
    source, words = torch.randint(EOS + 1, WORDS, (2, ROWS, LENGTH))
    source[:, -1] = words[:, -1] = EOS
    batch = Batch(source, torch.cat([torch.full((ROWS, 1), BOS), words], 1))
    functional.cross_entropy(model(batch).logits.flatten(0, 1), batch.labels.flatten()).backward()
    lowest = model.encoder.columns[0][0].recurrent.kernel.get_parameter("weight_ih_l0").grad
    assert lowest is not None
    return float(lowest.norm())


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    out = parser.parse_args().out
    series = {
        name: [sum(gradient(depth, fast_forward=way, seed=seed) for seed in range(SEEDS)) / SEEDS for depth in DEPTHS]
        for name, way in (("with fast-forward connections", True), ("without", False))
    }
    for depth, *norms in zip(DEPTHS, *series.values(), strict=True):
        print(f"{depth} layers: {norms[0]:.2e} with, {norms[1]:.2e} without: {norms[0] / norms[1]:.1f} times")
    figure, _ = curves(series, DEPTHS, across="layers, half of them the decoder's", up="gradient of the lowest W_f",
                       log_up=True)  # fmt: skip
    save(figure, out / "deep-att-gradient.svg")


if __name__ == "__main__":
    main()

"""Write the pictures of `recipes/mnist-clutter-*.yaml`: digits at random places of 60 x 60, among pieces of others.

    python recipes/mnist_clutter.py data/mnist data/mnist-clutter

Of every training digit there are `--copies` pictures, each with another place and other pieces. The same seed writes
the same bytes.
"""

import argparse
from pathlib import Path

import numpy as np

from regard.data.pictures import read_idx, write_idx
from regard.evaluation.clutter import scatter


def main() -> None:
    """Write both splits as IDX."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for split, copies in (("train", arguments.copies), ("t10k", 1)):
        digits, labels = (
            np.concatenate([_read(arguments.mnist / name, axes)] * copies)
            for name, axes in ((f"{split}-images-idx3-ubyte", 3), (f"{split}-labels-idx1-ubyte", 1))
        )
        found = scatter(digits, labels, seed=2 * arguments.seed + (split == "t10k"))
        write_idx(arguments.folder / f"{split}-images-idx3-ubyte", found.pictures)
        write_idx(arguments.folder / f"{split}-labels-idx1-ubyte", found.labels)
        print(f"{split}: {len(found.pictures):,} pictures")


def _read(path: Path, num_axes: int) -> np.ndarray:
    compressed = path.with_name(path.name + ".gz")
    return read_idx(path if path.exists() else compressed, num_axes=num_axes)


if __name__ == "__main__":
    main()

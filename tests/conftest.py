"""Fixtures shared by all tests."""

import os
import random
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def torch_before_all_tests() -> tuple[str, int]:
    """Precision of products and number of threads as torch itself chose them."""
    import torch

    return torch.get_float32_matmul_precision(), torch.get_num_threads()


@pytest.fixture(autouse=True)
def settings_of_torch_are_its_own(torch_before_all_tests: tuple[str, int]) -> None:
    """Whatever a test sets up, or a fixture that several share, this one begins with torch's own settings.

    (A shared fixture that trains comes before this one; what it chose is not to be taken for torch's own.)
    """
    import torch

    precision, threads = torch_before_all_tests
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real corpora, from REGARD_DATA; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("REGARD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real corpora are not here: {root} is no folder (set REGARD_DATA)")
    return root


TOY_RECIPE = """\
data:
  train: [train]
  validation: validation
  format: moses
  tokenizer: {kind: symbols}
  cache: cache
model: {kind: transformer, size: 16, num_layers: 1, num_heads: 2, feed_forward_size: 32, dropout: 0.1}
training:
  steps: 12
  threads: 1
  precision: fp32
  batch_tokens: 256
  schedule: {kind: inverse_sqrt, learning_rate: 0.01, warmup: 4}
  evaluate_every: {steps: 4}
  metric: per
  average: 2
search: {beam_size: 2, max_length: 12}
"""


@pytest.fixture
def toy_recipe(tmp_path: Path) -> Path:
    """A recipe with its corpus (say the letters backwards), trained in a second."""
    letters = random.Random(7)
    for name, num_lines in (("train", 60), ("validation", 6)):
        lines = [[letters.choice("abcdef") for _ in range(letters.randint(2, 6))] for _ in range(num_lines)]
        (tmp_path / f"{name}.source").write_text("".join(" ".join(line) + "\n" for line in lines))
        (tmp_path / f"{name}.target").write_text("".join(" ".join(line[::-1]) + "\n" for line in lines))
    path = tmp_path / "toy.yaml"
    path.write_text(TOY_RECIPE)
    return path

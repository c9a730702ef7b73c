"""Does it work here, and how fast: a few seconds of small checks, each of which passes or says why not."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from regard.models import family
from regard.protocol import Batch, Decodable, Dimensions, Model
from regard.symbols import BOS, EOS
from regard.training.loss import sequence_loss

_VOCABULARY = 50
_MATRIX = 1024


class Check(NamedTuple):
    """What was tried, whether it went well, and the measured figure (or what went wrong)."""

    name: str
    passed: bool
    detail: str


class FailedCheckError(Exception):
    """A check ran, and gave a wrong result."""


def self_test(device: torch.device, *, seconds: float = 5.0) -> Iterator[Check]:
    """Run the checks on `device` in about `seconds`. Torch's settings and random state stay as they were."""
    share = seconds / 5
    checks: dict[str, Callable[[], str]] = {
        "decoding step by step equals teacher forcing": lambda: _decode(device),
        "training lowers the loss": lambda: _train(device),
        "float32 products": lambda: _multiply(device, torch.float32, "highest", share),
        'float32 products, "medium"': lambda: _multiply(device, torch.float32, "medium", share),
        "bfloat16 products": lambda: _multiply(device, torch.bfloat16, "highest", share),
    }
    for name, check in checks.items():
        with _untouched(device):
            try:
                result = Check(name, True, check())
            except Exception as error:  # whatever breaks here is what the report is for
                result = Check(name, False, str(error).partition("\n")[0] or type(error).__name__)
        yield result


def _decode(device: torch.device) -> str:
    """A cached step must give the logits that reading the whole target at once gives."""
    model, batch = _model(device).eval(), _batch(device)
    assert isinstance(model, Decodable)
    with torch.inference_mode():
        expected = model(batch).logits
        state = model.encode(batch.source)
        steps = []
        for tokens in batch.decoder_input.unbind(1):
            logits, state = model.step(state, tokens)
            steps.append(logits)
        difference = float((torch.stack(steps, dim=1) - expected).abs().max())
    if not difference < 1e-3:
        raise FailedCheckError(f"the logits differ by {difference:.1e}")
    return f"logits differ by at most {difference:.0e}"


def _train(device: torch.device) -> str:
    """Twenty updates on one batch."""
    model, batch = _model(device), _batch(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    start = time.perf_counter()
    for _ in range(20):
        loss = sequence_loss(model(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
        losses.append(float(loss.nll) / loss.num_tokens)
    seconds = time.perf_counter() - start
    if not (math.isfinite(losses[-1]) and losses[-1] < losses[0]):
        raise FailedCheckError(f"the loss went from {losses[0]:.2f} to {losses[-1]:.2f} nats a token")
    return f"from {losses[0]:.2f} to {losses[-1]:.2f} nats a token in {seconds:.1f} s"


def _multiply(device: torch.device, dtype: torch.dtype, precision: str, seconds: float) -> str:
    """Speed of square matrix products, and whether they are as exact as their numbers."""
    torch.set_float32_matmul_precision(precision)
    left, right = (torch.randn(_MATRIX, _MATRIX, device=device).to(dtype) for _ in range(2))
    rows = left[:64].double().cpu() @ right.double().cpu()  # 64 rows are proof enough
    error = float(((left @ right)[:64].double().cpu() - rows).abs().max() / rows.abs().max())
    exact = error < (1e-5 if dtype == torch.float32 else 1e-2)
    if not exact and precision == "highest":
        raise FailedCheckError(f"their relative error is {error:.0e}")
    speed = _operations_per_second(left, right, seconds) / 1e9
    note = "" if exact else "; rounded to fewer bits, so training stays at the exact setting"
    return f"{speed:,.0f} GFLOP/s, relative error {error:.0e}{note}"


def _operations_per_second(left: Tensor, right: Tensor, seconds: float) -> float:
    number = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or number == 0:
        product = left @ right
        float(product[0, 0])  # a GPU answers before it has computed
        number += 1
    return 2 * _MATRIX**3 * number / elapsed if elapsed else math.inf


def _model(device: torch.device) -> Model:
    transformer = family("transformer")
    config = transformer.Config(size=32, num_layers=2, num_heads=2, feed_forward_size=64, dropout=0.0)
    torch.manual_seed(0)
    model: Model = transformer.build(config, Dimensions(_VOCABULARY, _VOCABULARY, shared=True))
    return model.to(device)


def _batch(device: torch.device) -> Batch:
    """Three sentences of different length, to be repeated."""
    source = torch.zeros(3, 9, dtype=torch.long)
    for row, length in enumerate((9, 6, 2)):
        source[row, :length] = torch.arange(4, 4 + length) + 10 * row
        source[row, length - 1] = EOS
    target = torch.cat([torch.full((3, 1), BOS), source], dim=1)
    return Batch(source, target).to(device)


@contextmanager
def _untouched(device: torch.device) -> Iterator[None]:
    """Leaves torch's precision and random state as they were."""
    precision = torch.get_float32_matmul_precision()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_float32_matmul_precision(precision)

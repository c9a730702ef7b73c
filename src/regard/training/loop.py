"""The training loop: a generator of events. It knows no logger, no disk and no browser."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from regard.errors import UsageError, UserError
from regard.protocol import Batch
from regard.symbols import PAD
from regard.training.config import TrainingConfig as TrainingConfig
from regard.training.events import Evaluated, Event, Finished, Improved, Reason, Skipped, Step
from regard.training.finetuning import freeze
from regard.training.information import perplexity
from regard.training.loss import sequence_loss
from regard.training.objective import Objective
from regard.training.schedule import learning_rate, unfinished_warmup
from regard.training.state import Position, TrainerState

MAX_SKIPPED_IN_A_ROW = 5
MAX_SPLITS = 8


@runtime_checkable
class Batches(Protocol):
    """Training data: the batches of any epoch, in an order that depends on nothing but the epoch's number."""

    def epoch(self, epoch: int) -> Sequence[Batch]:
        """The batches of epoch `epoch` (from 0)."""
        ...


def train(
    model: nn.Module,
    batches: Batches,
    config: TrainingConfig,
    *,
    evaluate: Callable[[nn.Module, int], dict[str, float]],
    state: TrainerState,
    teachers: Sequence[nn.Module] = (),
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Event]:
    """Train `model` from where `state` stands until a limit of `config`; yield what happens.

    After any event the caller may save `model.state_dict()`, `state.tensors()` and `state.values()`: a run
    resumed from there goes on bit for bit like this one. `evaluate(model, step)` gets the model in
    evaluation mode, without gradients, holding the averaged weights where there are any; it gives scores by
    name, among them `config.metric`; random numbers it uses are given back. `teachers` are the models of
    `config.teacher`, on the same device. `should_stop` is asked before every step. An interrupted run
    evaluates nothing any more; any other end is evaluated.

    Raises:
        UserError: five batches in a row gave no finite loss, or one did and `nonfinite` is "stop".
        UsageError: `evaluate` does not give the metric that decides.
    """
    now, number, objective = state.position, -1, Objective(config, teachers)
    epoch: Sequence[Batch] = ()
    while True:
        if should_stop():
            yield Finished(now.step, "stopped")
            return
        reason = _reason_to_finish(now, config)
        due = reason or config.evaluate_every.is_due(step=now.step, epoch=now.epoch, batch=now.batch)
        if due and now.evaluated_step != now.step:
            yield from _evaluate(model, config, evaluate=evaluate, state=state, clock=clock)
            continue
        if reason:
            warmup = unfinished_warmup(config.schedule, now.step)
            yield Finished(now.step, reason, warmup)
            return
        if number != now.epoch:
            number, epoch = now.epoch, _batches_of(batches, now.epoch)
        group = [epoch[index] for index in range(now.batch, min(now.batch + config.accumulate, len(epoch)))]
        yield _advance(model, group, objective, state=state, num_batches=len(epoch), clock=clock)
        if now.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise UserError(
                f"{MAX_SKIPPED_IN_A_ROW} batches in a row could not be learnt from after step {now.step}; "
                "lower the learning rate, lengthen the warm-up, or train with training.precision=fp32"
            )


def _batches_of(batches: Batches, epoch: int) -> Sequence[Batch]:
    found = batches.epoch(epoch)
    if not found:
        raise ValueError(f"epoch {epoch} has no batch")
    return found


def _reason_to_finish(now: Position, config: TrainingConfig) -> Reason | None:
    if config.steps is not None and now.step >= config.steps:
        return "steps"
    if config.epochs is not None and now.epoch >= config.epochs:
        return "epochs"
    if config.minutes is not None and now.seconds >= 60 * config.minutes:
        return "minutes"
    if config.patience is not None and now.evaluations_since_best >= config.patience:
        return "patience"
    return None


def _progress(now: Position, config: TrainingConfig, num_batches: int) -> float:
    """The share of the run that is done, by the limit that is nearest."""
    shares = [0.0]
    if config.steps is not None:
        shares.append(now.step / config.steps)
    if config.epochs is not None:
        shares.append((now.epoch + now.batch / num_batches) / config.epochs)
    if config.minutes is not None:
        shares.append(now.seconds / (60 * config.minutes))
    return min(1.0, max(shares))


def _evaluate(
    model: nn.Module,
    config: TrainingConfig,
    *,
    evaluate: Callable[[nn.Module, int], dict[str, float]],
    state: TrainerState,
    clock: Callable[[], float],
) -> Iterator[Event]:
    now, started = state.position, clock()
    devices = [torch.cuda.current_device()] if next(model.parameters()).is_cuda else []
    model.eval()
    with torch.random.fork_rng(devices), state.averaged(), torch.no_grad():
        scores = evaluate(model, now.step)
    if config.metric not in scores:
        raise UsageError(f"training.metric is `{config.metric}`, but the evaluation gives {', '.join(scores)}")
    improved = state.judge(scores[config.metric], config)
    now.evaluated_step = now.step
    yield Evaluated(now.step, now.epoch, scores, improved, clock() - started)
    if improved:
        yield Improved(now.step, config.metric, scores[config.metric])


@torch.inference_mode()
def validation_loss(model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """`loss`, the negative log-likelihood in nats per target token without smoothing, and `perplexity` = exp(loss).

    The mean is over all tokens of all batches, so it does not depend on how they are batched.
    """
    device = next(model.parameters()).device
    nll, num_tokens = torch.zeros((), dtype=torch.float64), 0
    for batch in batches:
        loss = sequence_loss(model(batch.to(device)), batch.labels)
        nll += loss.nll.cpu()
        num_tokens += loss.num_tokens
    mean = float(nll) / max(1, num_tokens)
    return {"loss": mean, "perplexity": perplexity(mean)}


class _Sums(NamedTuple):
    """Summed over the micro batches of one step; the gradients of `total` / tokens are in the parameters."""

    total: Tensor
    nll: Tensor


def _advance(
    model: nn.Module,
    group: list[Batch],
    objective: Objective,
    *,
    state: TrainerState,
    num_batches: int,
    clock: Callable[[], float],
) -> Step | Skipped:
    """One update from the batches of `group`, or none if there is something wrong with it."""
    now, optimizer, config, started = state.position, state.optimizer, objective.config, clock()
    epoch = now.epoch + 1
    rate = learning_rate(
        config.schedule,
        step=now.step + 1,
        progress=_progress(now, config, num_batches),
        reductions=now.reductions,
    )
    if not model.training:  # once after an evaluation: this tells every module, which in a small model takes its time
        model.train()
    if config.finetuning is not None:
        freeze(model, config.finetuning, now.epoch)
    num_tokens = sum(batch.num_target_tokens for batch in group)
    optimizer.zero_grad(set_to_none=True)
    noted = [tensor.clone() for tensor in state.noted]
    reason, loss, nll, norm = "no target tokens", 0.0, 0.0, 0.0
    if num_tokens:
        sums = _gradients(model, group, objective, num_tokens=num_tokens, now=now)
        learning = (parameter for part in optimizer.param_groups for parameter in part["params"])
        gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
        total_norm = torch.nn.utils.get_total_norm(gradients)
        # The only wait for a GPU in a step: the three numbers are read at once, before the weights change.
        loss, nll, norm = torch.stack([sums.total, sums.nll, total_norm.to(sums.total.dtype)]).tolist()
        reason = "" if math.isfinite(loss) and math.isfinite(norm) else "loss or gradient is not finite"
        loss, nll = loss / num_tokens, nll / num_tokens
    if not reason:
        if config.clip_norm is not None and norm > config.clip_norm:
            torch._foreach_mul_(gradients, config.clip_norm / norm)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate * parameters["scale"]
        optimizer.step()
        now.step += 1
        if state.average is not None:
            state.average.update(now.step)
    optimizer.zero_grad(set_to_none=True)
    _move(now, len(group), num_batches)
    seconds = clock() - started
    now.seconds += seconds
    if reason:
        for tensor, before in zip(state.noted, noted, strict=True):
            tensor.copy_(before)  # as if that batch had never been seen
        return _skip(now, config, group, epoch=epoch, reason=reason)
    now.skipped_in_a_row = 0
    now.num_tokens += num_tokens
    return Step(
        now.step, epoch, loss, nll, num_tokens, _num_source_tokens(group), rate, norm, seconds,
        _progress(now, config, num_batches),
    )  # fmt: skip


def _move(now: Position, num_batches_done: int, num_batches: int) -> None:
    now.batch += num_batches_done
    if now.batch >= num_batches:
        now.epoch, now.batch = now.epoch + 1, 0


def _skip(now: Position, config: TrainingConfig, group: list[Batch], *, epoch: int, reason: str) -> Skipped:
    now.skipped += 1
    now.skipped_in_a_row += 1
    rows = [row for batch in group if batch.rows is not None for row in batch.rows.tolist()]
    if config.nonfinite == "stop":
        some = f"{rows[:8]}"[:-1] + (", ...]" if len(rows) > 8 else "]")
        raise UserError(f"{reason} after step {now.step}, at rows {some}; the weights are those before it")
    return Skipped(now.step, epoch, reason, rows)


def _num_source_tokens(group: list[Batch]) -> int:
    return sum(int((batch.source != PAD).sum()) for batch in group if not batch.source.is_floating_point())


def _gradients(model: nn.Module, group: list[Batch], objective: Objective, *, num_tokens: int, now: Position) -> _Sums:
    """Leave the gradient of the loss per token in the parameters; batches too large for the GPU are split."""
    pieces = list(group)
    for _ in range(MAX_SPLITS):
        pieces = [piece for batch in pieces for piece in _split(batch, now.split_above)]
        try:
            return _backward(model, pieces, objective, num_tokens=num_tokens, now=now)
        except torch.OutOfMemoryError:
            now.split_above = max(_size(piece) for piece in pieces)
        # Outside of the handler, so that the traceback no longer keeps the activations alive.
        for parameter in model.parameters():
            parameter.grad = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise UserError("even a single example does not fit into the memory of the GPU; lower data.max_length")


def _size(batch: Batch) -> int:
    assert batch.target is not None
    return max(batch.source.numel(), batch.target.numel())


def _split(batch: Batch, split_above: int | None) -> list[Batch]:
    """`batch`, or halves of its halves, so that all are smaller than what did not fit."""
    num_rows = batch.source.size(0)
    if split_above is None or _size(batch) < split_above or num_rows == 1:
        return [batch]
    assert batch.target is not None
    parts = []
    for rows in (slice(0, num_rows // 2), slice(num_rows // 2, None)):
        part = Batch(batch.source[rows], batch.target[rows], None if batch.rows is None else batch.rows[rows])
        parts.extend(_split(part, split_above))
    return parts


def _backward(model: nn.Module, pieces: list[Batch], objective: Objective, *, num_tokens: int, now: Position) -> _Sums:
    device = next(model.parameters()).device
    total, nll = torch.zeros((), device=device), torch.zeros((), device=device)
    for piece in pieces:
        for number, loss in enumerate(objective.losses(model, piece, now)):
            (loss.total / num_tokens).backward()
            total = total + loss.total.detach()
            nll = nll + loss.nll if number == 0 else nll
    return _Sums(total, nll)

"""The one entrance to every search: settings, a model, a batch of sources; the n best outputs of each come out."""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.config.base import Config
from regard.decoding.beam import Hypothesis as Hypothesis
from regard.decoding.beam import Rules, beam_search
from regard.decoding.constraints import Constraints
from regard.decoding.coverage import WithCoverage
from regard.decoding.greedy import Followed, best_token, follow
from regard.decoding.penalties import LengthKind, LengthPenalty
from regard.decoding.sampling import Sampler
from regard.decoding.trace import Trace
from regard.errors import ModelError
from regard.protocol import Decodable
from regard.symbols import BOS, EOS, PAD


class SearchConfig(Config):
    """How outputs are looked for. A beam of 1 is greedy search; lengths are in tokens, without `EOS`."""

    beam_size: int = Field(5, ge=1)
    n_best: int = Field(1, ge=1)
    length_penalty: float = Field(0.6, ge=0)
    length_normalisation: LengthKind = "gnmt"
    min_length: int = Field(0, ge=0)
    max_length: int = Field(1024, ge=1)  # whatever the source
    max_length_factor: float = Field(1.0, ge=0)  # and at most factor * source length + extra
    max_length_extra: int = Field(50, ge=0)
    early_stopping: bool = False  # give up what would not win if it ended now: faster, and nearly always the same
    coverage_penalty: float = Field(0.0, ge=0)  # beta; works with models that attend to the source
    no_repeat_ngram_size: int = Field(0, ge=0)
    forbid_unknown: bool = False
    sampling: bool = False  # draw n_best outputs instead of searching for the best
    temperature: float = Field(1.0, gt=0)
    top_k: int = Field(0, ge=0)  # 0: all
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _agrees(self) -> "SearchConfig":
        if self.early_stopping and (self.sampling or self.beam_size == 1):
            way = "when sampling" if self.sampling else "with a beam of 1"
            raise ValueError(f"`early_stopping` has no effect {way}")
        if self.sampling and self.coverage_penalty:
            raise ValueError("`coverage_penalty` has no effect when sampling")
        if not self.sampling and (self.temperature, self.top_k, self.top_p) != (1.0, 0, 1.0):
            raise ValueError("`temperature`, `top_k` and `top_p` have no effect without `sampling: true`")
        if self.min_length > self.max_length:
            raise ValueError(f"`min_length` is {self.min_length}, but `max_length` is {self.max_length}")
        if not self.sampling and self.n_best > self.beam_size:
            raise ValueError(f"`n_best` is {self.n_best}, but a beam of {self.beam_size} can find no more than that")
        return self

    def limit(self, source_length: int) -> int:
        """Most tokens of an output for a source of `source_length`, both without `EOS`."""
        return min(self.max_length, int(source_length * self.max_length_factor) + self.max_length_extra)


@torch.inference_mode()
def search(
    model: Decodable,
    source: Tensor,
    config: SearchConfig,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    rows: Sequence[int] | None = None,
    trace: Trace | None = None,
) -> list[list[Hypothesis]]:
    """The `n_best` best outputs of every row of `source`, best first; each begins with its prefix, if any.

    `rows` are the numbers of the sentences in the whole input, on which the random numbers of sampling depend.
    `trace` gets to see what a beam search weighs.

    Raises:
        ModelError: the model's outputs are NaN.
        UsageError: a coverage penalty for a model without attention to the source.
        ValueError: the model is in training mode (dropout would make its outputs random).
    """
    if isinstance(model, nn.Module) and model.training:
        raise ValueError("search needs the model in evaluation mode: call model.eval() first")
    if not source.size(0):
        return []
    constrain = _constraints(model, source, config, prefixes)
    normalise = LengthPenalty(config.length_penalty, config.length_normalisation)
    rules = Rules(constrain.limits, constrain, normalise, hasty=config.early_stopping)
    if config.coverage_penalty:
        model = WithCoverage(model, config.coverage_penalty)
        rules = rules._replace(bonus=model.bonus)
    if config.sampling:
        sampler = _sampler(rows, rules.limits, config)
        followed = follow(model, source, num=config.n_best, pick=sampler, constrain=constrain)
        outputs = [_ranked(samples, rules) for samples in followed]
    elif config.beam_size == 1 and trace is None and rules.bonus is None:
        followed = follow(model, source, num=1, pick=best_token, constrain=constrain)
        outputs = [_ranked(one, rules) for one in followed]
    else:
        size = config.beam_size
        outputs = beam_search(model, source, beam_size=size, n_best=config.n_best, rules=rules, trace=trace)
    if any(not found or math.isnan(found[0].score) for found in outputs):
        raise ModelError("the model gives NaN instead of probabilities: its weights are damaged or it has diverged")
    return outputs


@torch.inference_mode()
def stream(
    model: Decodable, source: Tensor, config: SearchConfig, *, prefix: Sequence[int] = (), row: int = 0
) -> Iterator[int]:
    """The tokens of one output for the one row of `source`, each as soon as it is known, without `EOS`.

    They are those of `search` with a beam of 1, or with one sample: the best token each time, or a drawn one.

    Raises:
        ValueError: the model is in training mode.
    """
    if isinstance(model, nn.Module) and model.training:
        raise ValueError("search needs the model in evaluation mode: call model.eval() first")
    constrain = _constraints(model, source, config, [prefix] if prefix else None)
    one = config.model_copy(update={"n_best": 1})
    pick = _sampler([row], constrain.limits, one) if config.sampling else best_token
    state, sentences = model.encode(source), torch.zeros(1, dtype=torch.long, device=source.device)
    token = torch.full((1,), BOS, device=source.device)
    tokens = torch.empty(1, 1, 0, dtype=torch.long, device=source.device)
    while True:
        logits, state = model.step(state, token)
        log_probs = constrain(logits.float().log_softmax(-1).unsqueeze(0), tokens, sentences)
        token = pick(log_probs, tokens.size(-1), sentences)[:, 0]
        if token.item() == EOS:
            return
        yield int(token)
        tokens = torch.cat([tokens, token[None, None]], -1)


def _constraints(
    model: Decodable, source: Tensor, config: SearchConfig, prefixes: Sequence[Sequence[int]] | None
) -> Constraints:
    longest: int | None = getattr(model, "longest_output", None)
    limits = length_limits(source, config)
    return Constraints(
        limits if longest is None else limits.clamp(max=longest),
        min_length=config.min_length,
        no_repeat_ngram_size=config.no_repeat_ngram_size,
        forbid_unknown=config.forbid_unknown,
        prefixes=prefixes,
    )


def _ranked(outputs: list[Followed], rules: Rules) -> list[Hypothesis]:
    scores = torch.tensor([sum(output.token_scores) for output in outputs], dtype=torch.double)
    normalised = rules.normalise(scores, torch.tensor([len(output.token_scores) for output in outputs]))
    hypotheses = [
        Hypothesis(output.tokens, score, rank, output.token_scores)
        for output, score, rank in zip(outputs, scores.tolist(), normalised.tolist(), strict=True)
    ]
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.normalised)


def _sampler(rows: Sequence[int] | None, limits: Tensor, config: SearchConfig) -> Sampler:
    return Sampler(
        range(limits.numel()) if rows is None else rows,
        num=config.n_best,
        steps=int(limits.max()) + 1,
        seed=config.seed,
        device=limits.device,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
    )


def length_limits(source: Tensor, config: SearchConfig) -> Int[Tensor, " batch"]:
    """`config.limit` of every row; a picture has no length, so that only `max_length` bounds what is said of it."""
    if source.is_floating_point():
        return torch.full((source.size(0),), config.max_length, device=source.device)
    lengths = (source != PAD).sum(-1) - 1
    return torch.tensor([config.limit(length) for length in lengths.tolist()], device=source.device)

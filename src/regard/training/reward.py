"""Training on what the model itself says: expected reward, mixed with likelihood (Wu et al. 2016, section 3.5)."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from regard.config.base import Config
from regard.decoding.search import SearchConfig, search
from regard.errors import UsageError
from regard.evaluation.gleu import sentence_gleu
from regard.protocol import Batch, Decodable
from regard.symbols import BOS, EOS, PAD


class RewardConfig(Config):
    """The second stage of training: it starts from a trained model (`training.start_from`), with a low learning rate.

    Dropout would make the model that is trained another one than the model that drew the samples; the paper has none
    in this stage (`model.dropout=0`).
    """

    samples: int = Field(15, ge=2)  # drawn for every sentence
    likelihood: float = Field(0.017, ge=0)  # the weight of cross entropy beside the reward: the paper's alpha


def weighted_batches(
    model: nn.Module, batch: Batch, config: RewardConfig, *, seed: int
) -> Iterator[tuple[Batch, Float[Tensor, " batch"]]]:
    """Batches, with a weight for every sentence, whose weighted cross entropies add up to the mixed objective.

    First the real targets, weighted by `likelihood`. Then all samples at once: y_n of N, drawn for every sentence, has
    the weight (r_n - mean r of the other N - 1) / N, where the reward r is GLEU over tokens. As the others do not
    depend on y_n, that is an unbiased estimate of the gradient of -E[r] (Williams 1992). What is drawn depends on
    the weights, `seed` and the rows of the batch alone.

    Raises:
        UsageError: the model cannot generate.
    """
    device = batch.source.device
    yield batch, torch.full((batch.source.size(0),), config.likelihood, device=device)
    samples = _draw(model, batch, num=config.samples, seed=seed)
    drawn = _padded([sample for sentence in samples for sample in sentence]).to(device)
    rows = None if batch.rows is None else batch.rows.repeat_interleave(config.samples)
    weights = torch.tensor(_advantages(batch, samples), device=device).flatten() / config.samples
    yield Batch(batch.source.repeat_interleave(config.samples, 0), drawn, rows), weights


def _draw(model: nn.Module, batch: Batch, *, num: int, seed: int) -> list[list[list[int]]]:
    """`num` outputs of every sentence, each with its probability, from the model without dropout."""
    if not isinstance(model, Decodable):
        raise UsageError("training.reward needs a model that can generate")
    config = SearchConfig.model_validate({"sampling": True, "n_best": num, "length_penalty": 0.0, "seed": seed})
    rows = None if batch.rows is None else batch.rows.tolist()
    was_training = model.training
    model.eval()
    try:
        found = search(model, batch.source, config, rows=rows)
    finally:
        model.train(was_training)
    return [[hypothesis.tokens for hypothesis in sentence] for sentence in found]


def _advantages(batch: Batch, samples: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
    advantages = []
    for labels, sentence in zip(batch.labels.tolist(), samples, strict=True):
        reference = [token for token in labels if token not in (PAD, EOS)]
        rewards = [sentence_gleu(sample, reference) for sample in sentence]
        total, others = sum(rewards), len(rewards) - 1
        advantages.append([reward - (total - reward) / others for reward in rewards])
    return advantages


def _padded(outputs: Sequence[Sequence[int]]) -> Int[Tensor, "batch length"]:
    rows = [torch.tensor([BOS, *output, EOS]) for output in outputs]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)

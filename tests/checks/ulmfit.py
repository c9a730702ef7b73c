"""ULM-FiT's classifier against its equations, and how it is fine-tuned; called by the tests and the mutation suite."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.language_model import QUIET
from checks.making import UNSHARED, float64, randomise
from checks.seq2seq import cells, read
from checks.text_classifier import texts
from regard.models import ulmfit
from regard.models.ulmfit import Normalised, ULMFiT
from regard.protocol import Dimensions
from regard.symbols import BOS, PAD
from regard.training.finetuning import FinetuningConfig, freeze, groups_of
from regard.training.loss import sequence_loss
from regard.training.optimizer import Adam, build_optimizer

EXACT = {"rtol": 0, "atol": 1e-9}


def ulmfit_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> ULMFiT:
    """A tiny one, all parameters and running statistics random, in evaluation."""
    with float64():
        model = ulmfit.build(
            ulmfit.Config(**({"embedding_size": 4, "size": 6, "num_layers": 2, "hidden_size": 5} | settings)),
            dimensions,
        )
    randomise(model)
    for block in (model.pooled, model.normed):
        block.norm.running_mean.normal_(generator=torch.Generator().manual_seed(1))
        block.norm.running_var.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(2))
    return model.eval()


def normalised(block: Normalised, vector: Tensor) -> Tensor:
    """In evaluation: (x - mean) / sqrt(variance + epsilon) * gain + bias."""
    norm = block.norm
    return (vector - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


def text_logits(model: ULMFiT, source: Tensor) -> Tensor:
    """The equations for one text."""
    states = list(model.reader.embedding.weight[torch.cat([torch.tensor([BOS]), source])])
    for layer in model.reader.layers:
        states, _ = read(cells(layer.kernel)[0], states)
    stacked = torch.stack(states)
    vector = torch.cat([states[-1], stacked.amax(0), stacked.mean(0)])
    hidden = (model.hidden.weight @ normalised(model.pooled, vector) + model.hidden.bias).clamp(min=0)
    return model.readout.weight @ normalised(model.normed, hidden) + model.readout.bias


def follows_the_equations() -> None:
    """The padded batch says of every text what the equations say."""
    model, batch = ulmfit_model(), texts(source_lengths=(6, 1, 4))
    logits = model(batch).logits
    assert_close(model.label(batch.source), logits, **EXACT)
    for row, source in enumerate(batch.source):
        assert_close(logits[row, 0], text_logits(model, source[source != PAD]), **EXACT)


def one_update(model: ULMFiT, config: FinetuningConfig, epoch: int, *, rate: float = 0.01) -> list[float]:
    """Make one and tell how far the parameters of each part moved, from the bottom to the top."""
    optimizer, batch = build_optimizer(model, Adam(beta1=0.0, beta2=0.9), config), texts()
    before = [[parameter.detach().clone() for parameter in part] for part in groups_of(model)]
    freeze(model.train(), config, epoch)
    sequence_loss(model(batch), batch.labels).total.backward()
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    optimizer.step()
    return [
        max(float((now - then).detach().abs().max()) for now, then in zip(part, old, strict=True))
        for part, old in zip(groups_of(model), before, strict=True)
    ]


def parts_thaw_from_the_top(num_parts: int = 4) -> None:
    """In epoch n the top n + 1 parts learn, and the others stay bit for bit what they were."""
    for epoch in range(num_parts + 1):
        moved = one_update(ulmfit_model(), FinetuningConfig(), epoch)
        assert len(moved) == num_parts
        assert [distance > 0 for distance in moved] == [place >= num_parts - 1 - epoch for place in range(num_parts)]


def the_last_part_alone_can_learn() -> None:
    """However long."""
    moved = one_update(ulmfit_model(), FinetuningConfig(unfreeze="last"), 9)
    assert [distance > 0 for distance in moved] == [False, False, False, True]


def every_part_learns_slower_than_the_one_above() -> None:
    """Adam's first step is the rate itself, so the parts' steps are 2.6 times as small, one below the other."""
    moved = one_update(ulmfit_model(**QUIET), FinetuningConfig(decay=2.6, unfreeze="all"), 0)
    for below, above in pairwise(moved):
        assert abs(above / below - 2.6) < 1e-3
    assert abs(moved[-1] - 0.01) < 1e-5


def all_parameters_are_in_a_part() -> None:
    """Each once."""
    model = ulmfit_model()
    found = [parameter for part in groups_of(model) for parameter in part]
    assert len(found) == len(set(found)) == len(list(model.parameters()))

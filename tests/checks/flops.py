"""A model's own count against torch's counter, which sees every matrix product that is really made."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from checks.making import example
from regard.attention import additive
from regard.evaluation.flops import PASSES_OF_TRAINING
from regard.protocol import Batch, Counted, Labeller, Model
from regard.training.loss import sequence_loss


def plain_additive_scores(query: Tensor, keys: Tensor, energy: Tensor) -> Tensor:
    """v . tanh(W1 h + W2 s) of all pairs, as one product that the counter sees."""
    hidden = torch.tanh(query.unsqueeze(3) + keys.unsqueeze(2))
    return (hidden @ energy.unsqueeze(1)).squeeze(-1)


def counted(model: Model, batch: Batch, *, backward: bool = False) -> int:
    """What torch counts. In float64, where recurrent layers are made of products that it can see."""
    with pytest.MonkeyPatch.context() as patch, torch.set_grad_enabled(backward):
        patch.setattr(additive, "additive_scores", plain_additive_scores)
        with FlopCounterMode(display=False) as counter:
            loss = sequence_loss(model(batch), batch.labels)
            if backward:
                (loss.total / max(1, loss.num_tokens)).backward()
    return counter.get_total_flops()


def suited(model: Model, batch: Batch) -> Batch:
    """Of a target only the first symbol, for a model that gives its source one label."""
    return batch._replace(target=batch.target[:, :2]) if isinstance(model, Labeller) else batch


def sentences() -> list[Batch]:
    """Of equal and of unequal lengths, padded together."""
    equal = example(source_lengths=(5, 5), target_lengths=(7, 7))
    return [equal, example(), example(source_lengths=(2, 9, 4), target_lengths=(8, 1, 3))]


def states_its_operations(model: Model, batches: Sequence[Batch]) -> None:
    """Exactly, in evaluation and in training."""
    assert isinstance(model, Counted)
    for batch in batches:
        for training in (False, True):
            model.train(training)
            assert model.flops(batch) == counted(model, batch)


def training_costs_three_passes(model: Model, *, exactly: bool) -> None:
    """Backward is twice forward; a recurrent layer that starts from zeros needs no gradient of those, so a bit less."""
    assert isinstance(model, Counted)
    batch = suited(model, example(source_lengths=(12, 12), target_lengths=(12, 12)))
    model.train()
    ratio = counted(model, batch, backward=True) / model.flops(batch)
    if exactly:
        assert ratio == PASSES_OF_TRAINING
    else:
        assert 0.95 * PASSES_OF_TRAINING < ratio < PASSES_OF_TRAINING


def the_plain_scores_are_the_fused_ones() -> None:
    """The stand-in computes what it stands for."""
    query, keys, energy = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 5, 4), torch.randn(4)
    assert_close(plain_additive_scores(query, keys, energy), additive.additive_scores(query, keys, energy))

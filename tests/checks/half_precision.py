"""Autocast to bfloat16 changes a model by no more than its rounding."""

import torch
from torch.testing import assert_close

from checks.making import example
from regard.protocol import Model
from regard.training.loss import sequence_loss


def half_precision_is_close(model: Model, *, tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What is read out differs by at most `tolerance`, and the gradients point the same way; both, 32 bits first."""
    batch, gradients, outputs = example(), [], []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(batch)
            loss = sequence_loss(output, batch.labels)
        loss.total.backward()
        outputs.append(output.hidden.detach().float())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert_close(outputs[1], outputs[0], rtol=0, atol=tolerance)
    assert torch.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.999
    return gradients[0], gradients[1]

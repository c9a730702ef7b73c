"""The Transformer against torch.nn.Transformer, and position encodings against the formula written out."""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from checks.making import Make, example
from regard.protocol import Model
from regard.symbols import PAD


def sines(length: int, size: int) -> Tensor:
    """Section 3.5 of the paper, component by component."""
    return torch.tensor(
        [
            [(math.sin if k % 2 == 0 else math.cos)(position / 10000 ** ((k - k % 2) / size)) for k in range(size)]
            for position in range(length)
        ],
        dtype=torch.float64,
    )


def torch_transformer(model: Model, *, size: int, num_heads: int, hidden: int, norm: str, activation: str):
    """torch's Transformer with the parameters of ours; its final norms are there with pre-norm only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its fast path for inference does not know pre-norm
        oracle = nn.Transformer(
            size, num_heads, len(model.encoder), len(model.decoder), hidden, 0.0, activation,
            batch_first=True, norm_first=norm == "pre", dtype=torch.float64,
        )  # fmt: skip
    if norm == "post":
        oracle.encoder.norm = oracle.decoder.norm = None
    else:
        oracle.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
        oracle.decoder.norm.load_state_dict(model.decoder_norm.state_dict())
    layers = [*oracle.encoder.layers, *oracle.decoder.layers]
    for ours, theirs in zip([*model.encoder, *model.decoder], layers, strict=True):
        own = ours.self_attention
        _load_attention(theirs.self_attn, [own.query_key_value], own.output)
        norms = [ours.self_norm, ours.feed_forward_norm]
        if hasattr(ours, "cross_attention"):
            cross = ours.cross_attention
            _load_attention(theirs.multihead_attn, [cross.query, cross.key_value], cross.output)
            norms.insert(1, ours.cross_norm)
        for number, norm_ in enumerate(norms, 1):
            getattr(theirs, f"norm{number}").load_state_dict(norm_.norm.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward.outer.state_dict())
    return oracle


def _load_attention(theirs: nn.MultiheadAttention, inputs: list[nn.Linear], output: nn.Linear) -> None:
    theirs.in_proj_weight.data.copy_(torch.cat([linear.weight for linear in inputs]))
    theirs.in_proj_bias.data.copy_(torch.cat([linear.bias for linear in inputs]))
    theirs.out_proj.load_state_dict(output.state_dict())


def equals_torch_transformer(make: Make, *, norm: str = "post", activation: str = "relu") -> None:
    """Logits and the gradients of both embeddings, in float64, all parameters random."""
    model, batch = make(norm=norm, activation=activation), example()
    size = model.readout.in_features
    oracle = torch_transformer(model, size=size, num_heads=2, hidden=12, norm=norm, activation=activation)
    source_matrix = model.source_embedding.weight.detach().clone().requires_grad_()
    target_matrix = model.target_embedding.weight.detach().clone().requires_grad_()
    length = batch.decoder_input.size(1)
    source = source_matrix[batch.source] * math.sqrt(size) + sines(batch.source.size(1), size)
    target = target_matrix[batch.decoder_input] * math.sqrt(size) + sines(length, size)
    hidden = oracle(
        source,
        target,
        tgt_mask=torch.ones(length, length, dtype=torch.bool).triu(1),
        src_key_padding_mask=batch.source == PAD,
        memory_key_padding_mask=batch.source == PAD,
    )
    expected = hidden @ target_matrix.T  # tied: the readout is the target embedding
    logits = model(batch).logits
    assert_close(logits, expected, rtol=0, atol=1e-9)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (logits * probe).sum().backward()
    (expected * probe).sum().backward()
    assert_close(model.source_embedding.weight.grad, source_matrix.grad, rtol=1e-9, atol=1e-9)
    assert_close(model.target_embedding.weight.grad, target_matrix.grad, rtol=1e-9, atol=1e-9)


def equals_torch_transformer_in_pre_norm(make: Make) -> None:
    """The same with the norms before the sub-layers, and gelu."""
    equals_torch_transformer(make, norm="pre", activation="gelu")

"""The captioner with a Transformer's decoder: its invariants, and its layer against torch's own."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from checks.captioner import EXACT, PICTURES, FromTokens, example, transformer_captioner
from checks.models import INVARIANTS, weights_are_probabilities
from checks.search import search_scores_are_the_model_s
from regard.attention.record import AttentionRecord
from regard.models import captioner_transformer
from regard.protocol import Batch, Decodable
from regard.training.loss import sequence_loss


def from_tokens(**settings):
    return FromTokens(transformer_captioner(**settings)).eval()


@pytest.mark.parametrize("check", INVARIANTS, ids=lambda check: check.__name__)
def test_it_keeps_the_invariant(check):
    if check is weights_are_probabilities:
        pytest.skip("keys are regions, not words; see the next test")
    check(from_tokens)


def test_every_layer_looks_at_all_regions():
    model, record = transformer_captioner(), AttentionRecord()
    model(example(), record)
    for site in ("decoder.0.cross", "decoder.1.cross"):
        assert record.weights(site).shape == (3, 2, 6, 9)
        assert_close(record.weights(site).sum(-1), torch.ones(3, 2, 6).double(), rtol=0, atol=1e-6)


def test_a_search_scores_what_the_model_says():
    search_scores_are_the_model_s(from_tokens)


def test_a_layer_is_torchs_pre_norm_decoder_layer():
    model = transformer_captioner()
    ours = model.decoder[0]
    theirs = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=True).double().eval()
    key_value = ours.cross_attention.key_value
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": ours.self_attention.query_key_value.weight,
            "self_attn.in_proj_bias": ours.self_attention.query_key_value.bias,
            "self_attn.out_proj.weight": ours.self_attention.output.weight,
            "self_attn.out_proj.bias": ours.self_attention.output.bias,
            "multihead_attn.in_proj_weight": torch.cat([ours.cross_attention.query.weight, key_value.weight]),
            "multihead_attn.in_proj_bias": torch.cat([ours.cross_attention.query.bias, key_value.bias]),
            "multihead_attn.out_proj.weight": ours.cross_attention.output.weight,
            "multihead_attn.out_proj.bias": ours.cross_attention.output.bias,
            "linear1.weight": ours.feed_forward.inner.weight,
            "linear1.bias": ours.feed_forward.inner.bias,
            "linear2.weight": ours.feed_forward.outer.weight,
            "linear2.bias": ours.feed_forward.outer.bias,
            **{
                f"norm{place}.{name}": getattr(norm.norm, name)
                for place, norm in enumerate([ours.self_norm, ours.cross_norm, ours.feed_forward_norm], 1)
                for name in ("weight", "bias")
            },
        }
    )
    states, regions = torch.randn(2, 5, 8).double(), torch.randn(2, 9, 8).double()
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = theirs(states, regions, tgt_mask=causal)
    assert_close(ours(states, ours.cross_attention.remember(regions), None), expected, **EXACT)


def test_regions_know_their_places():
    model, batch = transformer_captioner(), example()
    regions = model.encoder(batch.source)
    assert_close(model(batch._replace(source=regions)).logits, model(batch).logits, **EXACT)
    moved = model(batch._replace(source=regions.flip(1))).logits
    assert (moved - model(batch).logits).abs().amax() > 1e-4


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    sizes = {"size": 32, "num_layers": 2, "num_heads": 4, "feed_forward_size": 64, "dropout": 0.0}
    encoder = {"kind": "resnet", "stem_width": 4, "widths": [4, 5], "depths": [1, 1]}
    config = captioner_transformer.Config.model_validate({"encoder": encoder} | sizes)
    model, batch = captioner_transformer.build(config, PICTURES), example(lengths=(4, 5, 2))
    batch = Batch(batch.source.float(), batch.target)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(80):
        loss = sequence_loss(model(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    assert float(loss.nll) / loss.num_tokens < 0.02
    assert isinstance(model, Decodable)

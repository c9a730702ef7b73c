"""A model that is told to look elsewhere does, whether it is given the whole output or says it step by step."""

import pytest
import torch

from checks.captioner import FromTokens, captioner_model, transformer_captioner
from checks.convs2s import convs2s_model
from checks.deep_att import deep_att_model
from checks.gnmt import gnmt_model
from checks.making import example, transformer_model
from checks.moe import moe_model
from checks.seq2seq import seq2seq_model
from regard.attention.record import AttentionRecord, Override
from regard.models import family, kinds, reads_pictures
from regard.protocol import Decodable

MAKERS = {
    "transformer": transformer_model,
    "convs2s": convs2s_model,
    "deep_att": deep_att_model,
    "gnmt": gnmt_model,
    "moe": moe_model,
    "seq2seq": seq2seq_model,
    "captioner": lambda: FromTokens(captioner_model()),
    "captioner_transformer": lambda: FromTokens(transformer_captioner()),
}
QUERY = 2


@pytest.mark.parametrize("kind", MAKERS)
def test_weights_that_are_given_are_those_that_are_used(kind):
    model, batch = MAKERS[kind](), example(source_lengths=(5, 5), target_lengths=(4, 4))
    record = AttentionRecord()
    plain = model(batch, record).logits
    site = [site for site in record.sites if site.startswith("decoder") and "self" not in site][-1]
    given = torch.linspace(1, 2, record.weights(site).size(-1)).softmax(0)
    told = AttentionRecord(Override(site, 0, QUERY, given))
    otherwise = model(batch, told).logits
    assert torch.equal(told.weights(site)[:, 0, QUERY], given.to(plain).expand(2, -1))
    assert torch.equal(otherwise[:, :QUERY], plain[:, :QUERY])
    assert not torch.allclose(otherwise[:, QUERY], plain[:, QUERY])
    steps, state = AttentionRecord(told.override), model.encode(batch.source)
    for place in range(QUERY + 1):
        logits, state = model.step(state, batch.decoder_input[:, place], steps)
    assert torch.allclose(logits, otherwise[:, QUERY], atol=1e-5)


def test_every_kind_that_attends_while_it_speaks_is_told_here():
    speaking = {kind for kind in kinds() if issubclass(family(kind).build.__annotations__["return"], Decodable)}
    assert speaking - {"bytenet", "language_model"} <= set(MAKERS)
    assert {kind for kind in MAKERS if reads_pictures(kind)} == {"captioner", "captioner_transformer"}

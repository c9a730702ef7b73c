"""Counted operations: every kind of model against torch's counter, and the totals made of them."""

import pytest
import torch

from checks import flops as checks
from checks.bytenet import bytenet_model
from checks.captioner import BOTTLENECKS, FromTokens, captioner_model, transformer_captioner
from checks.convs2s import convs2s_model
from checks.deep_att import deep_att_model
from checks.elmo import SENTENCES, elmo_model
from checks.elmo import batch_of as elmo_batch_of
from checks.gnmt import gnmt_model
from checks.language_model import language_model_model
from checks.making import transformer_model
from checks.moe import moe_model
from checks.pictures import CONVOLUTIONS, classifier_model, glimpse_model, pictures
from checks.seq2seq import seq2seq_model
from checks.tagger import tagged, tagger_model
from checks.text_classifier import text_classifier_model
from checks.ulmfit import ulmfit_model
from regard.evaluation.flops import flops_per_token, readable, sentence, training_flops
from regard.models import family, kinds, reads_pictures, transformer
from regard.protocol import Counted, Dimensions
from regard.training.finetuning import FinetuningConfig, freeze

EXPERTS = {"number": 3, "used": 2}
RECURRENT = {
    **{f"seq2seq {cell}": lambda c=cell: seq2seq_model(cell=c) for cell in ("rnn", "gru", "lstm")},
    **{
        f"seq2seq {score}": lambda s=score: seq2seq_model(score=s, encoder_size=6, decoder_size=6)
        for score in ("none", "dot", "scaled_dot", "additive")
    },
    "seq2seq input feeding": lambda: seq2seq_model(input_feeding=True, encoder_layers=2),
    "seq2seq one way": lambda: seq2seq_model(bidirectional=False, reverse_source=True, encoder_size=5),
    "gnmt": gnmt_model,
    "text_classifier lstm": lambda: text_classifier_model(preset="lstm", bidirectional=True),
    "text_classifier attention": lambda: text_classifier_model(preset="attention", hidden_layers=1),
    "deep_att": deep_att_model,
    "deep_att without fast-forward": lambda: deep_att_model(fast_forward=False),
    "language_model": language_model_model,
    "language_model rnn": lambda: language_model_model(cell="rnn", tied=False),
    "ulmfit": ulmfit_model,
    "moe": moe_model,
    "moe dot": lambda: moe_model(score="dot", encoder_layers=2, decoder_layers=2),
}
OTHERS = {
    "transformer": transformer_model,
    "transformer pre-norm": lambda: transformer_model(norm="pre", bias=False),
    "transformer experts": lambda: transformer_model(experts=EXPERTS),
    "convs2s": convs2s_model,
    "bytenet": bytenet_model,
    "text_classifier cnn": text_classifier_model,
    "text_classifier fully connected": lambda: text_classifier_model(preset="fully_connected", hidden_layers=2),
    "bytenet multiplicative": lambda: bytenet_model(block="multiplicative", join="add"),
}
# These read the bytes of real words.
OF_WORDS = {
    "elmo": (elmo_model, elmo_batch_of),
    "tagger": (tagger_model, tagged),
    "tagger of words alone": (lambda: tagger_model(elmo=None, filters=[]), tagged),
}
# Their first convolution needs no gradient of the picture, and a hard one reads its words out twice.
PICTURES = {
    **{f"captioner {kind}": lambda k=kind: FromTokens(captioner_model(attention=k)) for kind in ("soft", "none")},
    "captioner_transformer": lambda: FromTokens(transformer_captioner()),
    "captioner hard": lambda: FromTokens(captioner_model(attention="hard", encoder=BOTTLENECKS)),
}
MAKERS = RECURRENT | OTHERS | PICTURES
LABELLING_PICTURES = {
    "image_classifier fully connected": classifier_model,
    "image_classifier volume": lambda: classifier_model(convolutions=CONVOLUTIONS),
    "image_classifier attention": lambda: classifier_model(convolutions=CONVOLUTIONS, pooling="attention"),
    "glimpse": glimpse_model,
    "glimpse once": lambda: glimpse_model(num_glimpses=1),
    "glimpse, every answer": lambda: glimpse_model(answers="every"),
    "glimpse, an eye for the location": lambda: glimpse_model(location_size=6),
    "glimpse random": lambda: glimpse_model(policy="random"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_states_exactly_what_torch_counts(name):
    model = MAKERS[name]()
    checks.states_its_operations(model, [checks.suited(model, batch) for batch in checks.sentences()])


@pytest.mark.parametrize("name", LABELLING_PICTURES)
def test_a_model_of_pictures_states_exactly_what_torch_counts(name):
    checks.states_its_operations(LABELLING_PICTURES[name](), [pictures(1), pictures(5)])


@pytest.mark.parametrize("name", OF_WORDS)
def test_a_model_of_words_states_exactly_what_torch_counts(name):
    make, batch_of = OF_WORDS[name]
    checks.states_its_operations(make(), [batch_of(SENTENCES), batch_of(SENTENCES[:1] * 2)])


@pytest.mark.parametrize("name", RECURRENT | OTHERS)
def test_training_costs_three_forward_passes(name):
    checks.training_costs_three_passes(MAKERS[name](), exactly=name in OTHERS)


def test_the_stand_in_for_the_additive_score_is_that_score():
    checks.the_plain_scores_are_the_fused_ones()


@pytest.mark.parametrize("name", ["tagger", "ulmfit"])
def test_what_does_not_learn_costs_one_pass(name):
    if name == "tagger":
        model, batch = tagger_model(), tagged(SENTENCES[:1] * 2)
    else:
        model = ulmfit_model()
        batch = checks.suited(model, checks.sentences()[0])
        freeze(model, FinetuningConfig(unfreeze="last"), epoch=0)
    model.train()
    frozen = model.frozen_flops(batch.source)
    assert 0 < frozen < model.flops(batch)
    found, stated = checks.counted(model, batch, backward=True), training_flops(model, batch)
    assert stated == 3 * (model.flops(batch) - frozen) + frozen
    # What lies next to the frozen part needs no gradient of it, nor recurrent layers of the zeros they begin with.
    assert 0.85 * stated < found <= stated


def test_a_frozen_encoder_of_pictures_costs_one_pass_or_none():
    model = captioner_model()
    regions, seen = torch.zeros(2, 6, 4), torch.zeros(2, 3, 48, 64)
    assert model.frozen_flops(seen) == 0
    model.encoder.frozen = True
    assert model.frozen_flops(regions) == 0
    assert model.frozen_flops(seen) == model.encoder.flops(2, 48, 64)


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_counts_and_is_counted_here(kind):
    module = family(kind)
    with torch.device("meta"):
        dimensions = Dimensions(3, 11, height=8, width=8) if reads_pictures(kind) else Dimensions(13, 11)
        model = module.build(module.Config(), dimensions)
    assert isinstance(model, Counted), f"{kind} has no method `flops`"
    compared = MAKERS | OF_WORDS | LABELLING_PICTURES
    assert any(name.split()[0] == kind for name in compared), f"{kind} is not compared with torch's counter"


def test_a_token_of_the_transformer_by_hand():
    """Base, a vocabulary of 37,000, 27 + 27 tokens: every matrix twice a token, and the products of attention."""
    d, f, vocabulary, n = 512, 2048, 37_000, 27
    encoder = 6 * (2 * (4 * d * d + 2 * d * f) + 4 * n * d)
    decoder = 6 * (2 * (8 * d * d + 2 * d * f) + 8 * n * d) + 2 * d * vocabulary
    dimensions = Dimensions(vocabulary, vocabulary, True)
    with torch.device("meta"):
        model = transformer.build(transformer.Config(preset="base"), dimensions)
    assert flops_per_token(model, dimensions, n) == encoder + decoder


def test_a_model_that_does_not_count_costs_nothing_that_is_known():
    model, dimensions = torch.nn.Linear(2, 2), Dimensions(13, 11)
    assert flops_per_token(model, dimensions) is None
    assert training_flops(model, sentence(dimensions, 5)) == 0


@pytest.mark.parametrize(
    ("flops", "text"), [(0, "0"), (4.31e15, "4.3e15"), (9.97e17, "1.0e18"), (123_456, "1.2e5"), (1, "1.0e0")]
)
def test_large_numbers_are_readable(flops, text):
    assert readable(flops) == text

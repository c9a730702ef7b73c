import numpy as np
import pytest
import torch
from shown_models import save

from regard.attention.record import AttentionRecord
from regard.errors import UsageError
from regard.pipelines.translate import load
from regard.protocol import Batch
from regard.show.sentence import choose, look
from regard.symbols import BOS, EOS

TEXT = "ein mann spielt gitarre"


@pytest.fixture(scope="module")
def seen(translator):
    translation = translator.score([(TEXT, "a man plays guitar")])[0]
    return translation, look(translator, translation)


def test_every_attention_of_the_model_is_there(seen):
    _, sites = seen
    assert [site.name for site in sites] == [
        "encoder.0.self",
        "encoder.1.self",
        "decoder.0.self",
        "decoder.0.cross",
        "decoder.1.self",
        "decoder.1.cross",
    ]


def test_what_is_shown_is_what_the_model_used(translator, seen):
    translation, sites = seen
    record = AttentionRecord()
    source = torch.tensor([translation.source_ids])
    target = torch.tensor([[BOS, *translation.ids, EOS]])
    with torch.inference_mode():
        translator.loaded[0].model(Batch(source, target), record)
    for site in sites:
        assert np.array_equal(site.weights, record.weights(site.name)[0].numpy())


def test_sides_stand_beside_their_weights(seen):
    _, sites = seen
    for site in sites:
        assert site.weights.shape[1:] == (len(site.queries.pieces), len(site.keys.pieces))
    by_name = {site.name: site for site in sites}
    assert by_name["decoder.0.self"].keys.pieces[0] == "<s>"
    assert by_name["decoder.0.self"].keys.pieces[1:] == by_name["decoder.0.self"].queries.pieces[:-1]
    assert by_name["decoder.0.cross"].keys.labels == [*TEXT.split(), "</s>"]


def test_words_keep_all_the_weight_of_their_pieces(seen):
    _, sites = seen
    for site in sites:
        weights, keys, queries = site.map()
        assert weights.shape == (len(queries), len(keys))
        assert weights.sum(1) == pytest.approx(1, abs=1e-5)
    site = choose(sites, "decoder.1.cross")
    assert len(site.keys.pieces) > len(site.keys.labels)
    first_word = [number for number, word in enumerate(site.keys.words) if word == 0]
    first_query = [number for number, word in enumerate(site.queries.words) if word == 0]
    by_hand = site.weights[1][first_query][:, first_word].sum(1).mean()
    assert site.map(head=1)[0][0, 0] == pytest.approx(by_hand)


def test_an_unknown_site_or_head_is_named_with_those_there_are(seen):
    _, sites = seen
    with pytest.raises(UsageError, match=r"no attention `decoder\.7\.cross`.*encoder\.0\.self"):
        choose(sites, "decoder.7.cross")
    with pytest.raises(UsageError, match="no head 3; it has 2"):
        sites[0].map(head=2)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("seq2seq", {"score": "none", "encoder_size": 16, "decoder_size": 16}),
        ("bytenet", {"size": 8, "encoder_sets": 1, "decoder_sets": 1}),
    ],
)
def test_a_model_without_attention_says_so(tmp_path, kind, settings):
    plain = load(save(tmp_path / "plain", kind, **settings))
    with pytest.raises(UsageError, match="this model has no attention, so there is nothing to show"):
        look(plain, plain.translate([TEXT])[0])

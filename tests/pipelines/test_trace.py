import math

import pytest
import torch

import regard
from regard.attention.override import Override
from regard.attention.record import AttentionRecord
from regard.decoding.penalties import LengthPenalty
from regard.errors import DataError, UsageError
from regard.pipelines.caption import Captioner
from regard.pipelines.rescore import rescore
from regard.pipelines.trace import influence, next_token_distributions, trace_picture, trace_sentence
from regard.protocol import Batch
from regard.symbols import BOS, EOS
from tiny_captioner import save_tiny_captioner, write_scenes
from tiny_folder import save_tiny
from tiny_kinds import save_kind

TEXT = "the cat sees the dog"
KINDS = {
    "transformer": {"kind": "transformer"},
    "additive": {"score": "additive"},
    "multiplicative, fed": {"score": "multiplicative", "input_feeding": True},
    "convs2s": {"kind": "convs2s"},
}


@pytest.fixture(scope="module", params=KINDS)
def translator(request, tmp_path_factory):
    return regard.load(save_tiny(tmp_path_factory.mktemp("model") / "tiny", **KINDS[request.param]))


@pytest.fixture(scope="module")
def trace(translator):
    return trace_sentence(translator, TEXT)


def test_tracing_finds_what_translating_finds(translator, trace):
    (plain,) = translator.translate(TEXT)
    assert trace.hypothesis.tokens == plain.ids
    assert trace.hypothesis.score == pytest.approx(plain.score, abs=1e-5)


def test_what_is_shown_are_the_tensors_that_were_used(translator, trace):
    record = AttentionRecord()
    target = torch.tensor([[BOS, *trace.target]])
    with torch.inference_mode():
        translator.loaded[0].model(Batch(torch.tensor([trace.source]), target), record)
    assert list(trace.sites) == record.sites
    for site, seen in trace.sites.items():
        looked = record.looked(site)
        for shown, used in zip((seen.scores, seen.weights, seen.context), looked, strict=False):
            assert torch.equal(shown, used[0])


def test_every_context_adds_up(trace):
    for seen in trace.sites.values():
        size = seen.context.abs().max().item()
        assert seen.difference <= 1e-6 * max(1.0, size)
        again = seen.weights.double() @ seen.values.double()
        assert torch.allclose(again, seen.context.double(), atol=2e-6 * max(1.0, size))


def test_a_record_of_anything_else_is_noticed(translator, monkeypatch):
    """The difference that is shown is not a promise: weights other than those used make it large."""
    keep = AttentionRecord.add

    def add(self, site, scores, weights, *others):
        keep(self, site, scores, weights.flip(-1), *others)

    monkeypatch.setattr(AttentionRecord, "add", add)
    seen = trace_sentence(translator, TEXT).sites
    assert max(each.difference for each in seen.values()) > 1e-2


def test_steps_are_the_models_own_probabilities(trace):
    assert [step.token for step in trace.steps] == trace.target
    assert [step.log_prob for step in trace.steps] == pytest.approx(trace.hypothesis.token_scores, abs=1e-4)
    for step in trace.steps:
        assert step.log_prob == pytest.approx(step.logit - step.log_total, abs=1e-5)
        values = [each.log_prob for each in step.alternatives]
        assert values == sorted(values, reverse=True)
        assert 0 <= step.entropy <= math.log(80)


def test_the_output_is_a_way_through_the_tree(trace):
    kept, place = [0.0], 0
    for step, choices in enumerate(trace.tree[: len(trace.target)]):
        (mine,) = [each for each in choices if (each.parent, each.token) == (place, trace.target[step])]
        total = sum(each.log_prob for each in trace.steps[: step + 1])
        assert mine.score == pytest.approx(total, abs=1e-3)
        kept = [each for each in choices if each.fate == "kept"]
        assert len(kept) <= trace.search.beam_size
        place = kept.index(mine) if mine.fate == "kept" else -1
    assert mine.fate == "finished"


def test_the_beginning_can_be_forced_by_words_and_by_ids(translator, trace):
    others = [each.token for each in trace.steps[0].alternatives if each.token not in (trace.target[0], EOS, BOS)]
    forced = trace_sentence(translator, TEXT, prefix=others[:1])
    assert forced.target[0] == others[0]
    assert forced.prefix == others[:1]
    words = trace_sentence(translator, TEXT, prefix="die Katze")
    assert words.target[: len(words.prefix)] == translator.encode_target("die Katze") == words.prefix


def test_a_given_output_is_looked_at_without_a_search(translator):
    trace = trace_sentence(translator, TEXT, target="die Katze")
    assert trace.tree == []
    assert trace.target == [*translator.encode_target("die Katze"), EOS]


def test_attention_can_be_overridden_in_search_and_replay_alike(translator, trace):
    site = next(site for site in trace.sites if site.endswith("cross"))
    weights = torch.zeros(len(trace.source))
    weights[2] = 1.0
    changed = trace_sentence(translator, TEXT, override=Override(site, 0, 0, weights))
    assert torch.equal(changed.sites[site].weights[0, 0], weights)
    assert changed.hypothesis.score == pytest.approx(sum(step.log_prob for step in changed.steps), abs=1e-4)
    assert changed.steps[0].alternatives != trace.steps[0].alternatives
    assert not torch.equal(trace.sites[site].weights[0, 0], weights)


def test_coverage_is_that_of_the_overridden_attention(translator, trace):
    site = next(site for site in reversed(trace.sites) if site.endswith("cross"))
    length = len(trace.source)
    override = Override(site, 0, 0, torch.ones(length) / length)
    changed = trace_sentence(translator, TEXT, override=override, coverage_penalty=0.7, length_penalty=0.0)
    covered = changed.sites[site].weights.mean(0).sum(0).clamp(max=1)
    expected = changed.hypothesis.score + 0.7 * covered.log().sum().item()
    assert changed.hypothesis.normalised == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (Override("nowhere", 0, 0, torch.ones(1)), "no attention 'nowhere'; it has encoder.0.self"),
        (Override("encoder.0.self", 0, 99, torch.ones(1)), "no query 99 at encoder.0.self"),
        (Override("decoder.0.self", 0, 0, torch.tensor([0.0, 1.0])), "hidden from it"),
        (Override("decoder.0.cross", 9, 0, torch.ones(1)), r"decoder.0.cross has the heads 0 to 1, not 9"),
        (Override("decoder.0.cross", 0, -1, torch.ones(1)), "counted from 0"),
        (Override("decoder.0.cross", 0, 0, torch.tensor([0.4, 0.4])), "sum to 1"),
        (Override("decoder.0.cross", 0, 0, torch.tensor([1.5, -0.5])), "0 or more"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(tmp_path, override, message):
    translator = regard.load(save_tiny(tmp_path / "tiny", "transformer"))
    with pytest.raises(UsageError, match=message):
        trace_sentence(translator, TEXT, override=override)


def test_leaving_a_word_out_is_what_rescoring_without_it_says(translator, trace):
    words = translator.vocabularies.source.words(trace.source)
    model = translator.loaded[0].model
    lost = influence(model, trace.source, words, trace.target[:-1])
    assert lost.shape == (len(trace.target), 5)
    without = [*translator.encode_source("the cat the dog")]

    pairs = [(trace.source, trace.target[:-1]), (without, trace.target[:-1])]
    whole, part = rescore([model], pairs, penalty=LengthPenalty(0.0))
    expected = [a - b for a, b in zip(whole.token_scores, part.token_scores, strict=True)]
    assert lost[:, 2].tolist() == pytest.approx(expected, abs=1e-4)


def test_the_next_tokens_distributions_are_those_of_the_steps(translator, trace):
    distributions = next_token_distributions(translator.loaded[0].model, trace.source, trace.target[:-1])
    assert distributions.sum(-1).tolist() == pytest.approx([1.0] * len(trace.target))
    for row, step in zip(distributions, trace.steps, strict=True):
        assert row[step.token].log().item() == pytest.approx(step.log_prob, abs=1e-4)


def test_without_attention_there_is_one_vector(tmp_path):
    translator = regard.load(save_tiny(tmp_path / "plain", score="none"))
    short, long = (trace_sentence(translator, text) for text in ("the", TEXT))
    assert short.sites == long.sites == {}
    assert short.handed_over.shape == long.handed_over.shape == (32,)  # h and c of 16 each
    assert not torch.equal(short.handed_over, long.handed_over)


def test_where_there_is_attention_nothing_is_handed_over(trace):
    assert trace.handed_over is None
    assert trace.routings == []


def test_a_picture_is_traced_as_it_is_captioned(tmp_path):
    captioner = Captioner.load(save_tiny_captioner(tmp_path / "tiny"))
    write_scenes(tmp_path / "pictures", 1)
    (caption,) = captioner.caption(tmp_path / "pictures" / "0.png")
    trace = trace_picture(captioner, caption.pixels)
    assert trace.hypothesis.tokens == caption.ids
    for site, weights in caption.attention.sites.items():
        assert torch.allclose(trace.sites[site].weights, weights, atol=1e-6)
        size = trace.sites[site].context.abs().max().item()
        assert trace.sites[site].difference <= 1e-6 * max(1.0, size)
    assert len(trace.tree) >= len(trace.target)


def test_nothing_and_too_much_are_refused(translator):
    with pytest.raises(DataError, match="empty sentence"):
        trace_sentence(translator, "  ")
    with pytest.raises(DataError, match="pieces, but the model reads"):
        trace_sentence(translator, "the cat " * 800)


@pytest.mark.parametrize(
    "site", ["encoder.0.self", "encoder.1.self", "decoder.0.self", "decoder.1.self", "decoder.0.cross"]
)
def test_search_and_replay_are_overridden_alike_at_every_site(tmp_path, site):
    """Tokens' scores are those of the search: if it had looked elsewhere than the replay, they would differ."""
    translator = regard.load(save_tiny(tmp_path / "tiny", "transformer"))
    plain = trace_sentence(translator, "the cat sees the dog")
    row = torch.tensor([0.0, 1.0] if plain.sites[site].weights[1, 1, 0] > 0.5 else [1.0, 0.0])  # where it did not look
    trace = trace_sentence(translator, "the cat sees the dog", override=Override(site, 1, 1, row))
    assert trace.sites[site].weights[1, 1, :2].tolist() == row.tolist()
    assert trace.sites[site].weights[1, 1].sum() == 1
    assert [step.log_prob for step in trace.steps] == pytest.approx(trace.hypothesis.token_scores, abs=1e-4)
    assert trace.hypothesis.score != pytest.approx(plain.hypothesis.score, abs=1e-4)


@pytest.mark.parametrize("kind", ["convs2s", "gnmt", "deep_att", "moe"])
def test_other_families_are_overridden_in_search_and_replay(tmp_path, kind):
    translator = regard.load(save_kind(tmp_path / "tiny", kind))
    site = next(iter(trace_sentence(translator, "the cat sees the dog").sites))
    trace = trace_sentence(translator, "the cat sees the dog", override=Override(site, 0, 1, torch.tensor([0.0, 1.0])))
    assert trace.sites[site].weights[0, 1, :2].tolist() == [0.0, 1.0]
    assert [step.log_prob for step in trace.steps] == pytest.approx(trace.hypothesis.token_scores, abs=1e-4)


@pytest.mark.parametrize("kind", ["captioner", "captioner hard", "captioner transformer"])
def test_captioners_are_overridden_in_search_and_replay(tmp_path, kind):
    captioner = Captioner.load(save_kind(tmp_path / "tiny", kind))
    write_scenes(tmp_path / "pictures", 1)
    pixels = captioner.read(tmp_path / "pictures" / "0.png")
    site = next(site for site in trace_picture(captioner, pixels).sites if site.endswith("cross"))
    trace = trace_picture(captioner, pixels, override=Override(site, 0, 1, torch.tensor([0.0, 0.0, 1.0])))
    assert trace.sites[site].weights[0, 1, :3].tolist() == [0.0, 0.0, 1.0]
    assert [step.log_prob for step in trace.steps] == pytest.approx(trace.hypothesis.token_scores, abs=1e-4)

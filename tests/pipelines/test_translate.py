import inspect
import random

import pytest
import torch

import regard
from regard.decoding.search import SearchConfig
from regard.errors import DataError, ModelError, UsageError
from regard.pipelines.generate import MAX_POSITIONS, NOTHING, Request, generate
from regard.pipelines.translate import Translator
from regard.symbols import EOS, UNK
from tiny_folder import TEXTS, save_tiny, vocabularies

LINES = [" ".join(random.Random(seed).sample(" ".join(TEXTS[:6]).split(), 1 + seed % 9)) for seed in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def translator(folder):
    return regard.load(folder)


def test_a_translation_has_all_that_one_may_ask_for(translator):
    (best,) = translator.translate("the cat sees the dog", n_best=3)
    assert best.source == "the cat sees the dog"
    assert "".join(best.source_tokens) == "▁the▁cat▁sees▁the▁dog"
    assert best.text == translator.vocabularies.target.decode(best.ids)
    assert best.tokens == translator.vocabularies.target.pieces(best.ids)
    assert len(best.token_scores) == len(best.tokens) + 1
    assert best.score == pytest.approx(sum(best.token_scores))
    assert len(best.alternatives) == 2
    ranked = [best, *best.alternatives]
    assert [each.normalised_score for each in ranked] == sorted((x.normalised_score for x in ranked), reverse=True)
    assert len({tuple(each.ids) for each in ranked}) == 3


def test_translations_come_in_the_order_of_the_texts_whatever_the_batch_size(translator):
    alone = [translator.translate(line)[0].ids for line in LINES]
    assert len({tuple(ids) for ids in alone}) > 15
    for batch_size in (1, 7, 64):
        assert [each.ids for each in translator.translate(LINES, batch_size=batch_size)] == alone
    shuffled = random.Random(2).sample(range(40), 40)
    assert [each.ids for each in translator.translate([LINES[row] for row in shuffled])] == [alone[r] for r in shuffled]


def test_samples_depend_on_the_row_in_the_whole_input(translator):
    whole = translator.translate(LINES, sampling=True, seed=5)
    later = translator.translate(LINES[30:], sampling=True, seed=5, first_row=30, batch_size=3)
    assert [each.ids for each in later] == [each.ids for each in whole[30:]]
    assert [each.ids for each in translator.translate(LINES, sampling=True, seed=6)] != [each.ids for each in whole]


def test_what_is_no_text_is_refused_by_name(translator):
    translate, score, stream = map(inspect.unwrap, (Translator.translate, Translator.score, Translator.stream))
    with pytest.raises(TypeError, match=r"^a text is a str, not bytes; decode it first: text\.decode\('utf-8'\)$"):
        translate(translator, b"the cat")
    for wrong in (None, 3, ["the cat", None], {1: 2}):
        with pytest.raises(TypeError, match=r"^a text is a str, not (NoneType|int)$"):
            translate(translator, wrong)
    with pytest.raises(TypeError, match="not bytes"):
        translate(translator, "the cat", prefixes=[b"die"])
    with pytest.raises(TypeError, match="a text is a str, not bytes"):
        score(translator, [("the cat", b"die")])
    with pytest.raises(TypeError, match="a pair is"):
        score(translator, ["ab"])
    with pytest.raises(TypeError, match="a text is a str, not list"):
        next(stream(translator, ["the cat"]))
    with pytest.raises(TypeError, match="a text is a str, not bytes"):
        next(inspect.unwrap(regard.Chat.reply)(regard.Chat(translator), b"hello"))


@pytest.mark.parametrize("blank", ["", "   ", "\t", "\u200b", "\x00"])
def test_a_blank_text_gives_an_empty_one(translator, blank):
    before, empty, after = translator.translate(["the cat", blank, "the dog"])
    assert (empty.text, empty.score, empty.tokens, empty.notice) == ("", 0.0, [], None)
    assert before.ids == translator.translate("the cat")[0].ids
    assert after.ids == translator.translate("the dog")[0].ids


def test_no_texts_give_no_translations(translator):
    assert translator.translate([]) == []
    assert translator.score([]) == []


def test_too_long_a_text_is_left_empty_with_a_notice_and_its_neighbours_are_not(translator):
    long, short = translator.translate(["dog " * 1200, "the cat"])
    assert long.text == ""
    assert "1,201 pieces" in long.notice
    assert "1,024" in long.notice
    assert short == translator.translate("the cat")[0]


def test_an_output_that_reaches_its_greatest_length_says_so(translator):
    noticed = [each for each in translator.translate(LINES, min_length=6, max_length=6) if each.notice]
    assert len(noticed) == 40
    assert noticed[0].notice == "the output was ended at its greatest length, 6 pieces"
    assert not any(
        each.notice for each in translator.translate(["the cat"], beam_size=8, max_length=40) if len(each.ids) < 6
    )


def test_learned_positions_bound_sources_and_outputs(tmp_path):
    folder = save_tiny(tmp_path / "learned", "transformer", positions="learned", max_length=12)
    translator = regard.load(folder)
    assert translator.longest == 12
    longest, too_long = translator.translate(["dog " * 11, "dog " * 12])
    assert longest.tokens
    assert too_long.notice.startswith("not translated: its 13 pieces")
    (forced,) = translator.translate("dog dog", min_length=50, max_length_extra=50)
    assert len(forced.ids) == 11


def test_wrong_settings_are_told_together(translator):
    with pytest.raises(UsageError, match="2 mistakes") as told:
        translator.translate("the cat", beam_size=0, beams=3)
    assert "did you mean `beam_size`" in str(told.value)


def test_settings_of_the_model_folder_hold_unless_overridden(tmp_path):
    search = SearchConfig(beam_size=2, length_penalty=1.5, max_length=9)
    translator = regard.load(save_tiny(tmp_path / "own", search=search))
    assert translator.settings() == search
    assert translator.settings(beam_size=7) == search.model_copy(update={"beam_size": 7})


def test_a_prefix_that_cannot_be_said_is_refused(translator):
    with pytest.raises(UsageError, match=r"no output can begin with 'die Žebra': the model's vocabulary lacks Žebra"):
        translator.translate(LINES[:2], prefixes=["die", "die Žebra"])


def test_outputs_begin_with_their_prefixes(translator):
    for each in translator.translate(LINES[:5], prefixes="die Katze"):
        assert each.text.startswith("die Katze")
    texts = [each.text for each in translator.translate(LINES[:2], prefixes=["", "ein"])]
    assert texts[0] == translator.translate(LINES[0])[0].text
    assert texts[1].startswith("ein")


def test_scores_of_given_pairs_are_those_of_the_search(tmp_path):
    # Words have one segmentation, so that the text gives back the ids.
    translator = regard.load(save_tiny(tmp_path / "words", words=vocabularies(shared=False)))
    found = [each for each in translator.translate(LINES, forbid_unknown=True) if each.text]
    scored = translator.score([(each.source, each.text) for each in found], batch_size=7)
    for each, again in zip(found, scored, strict=True):
        assert again.ids == each.ids
        assert again.token_scores == pytest.approx(each.token_scores, abs=1e-4)
        assert again.normalised_score == pytest.approx(each.normalised_score, abs=1e-4)


def test_an_empty_target_can_be_scored_and_too_long_a_one_not(translator):
    (scored,) = translator.score([("the cat", "")])
    assert len(scored.token_scores) == 1
    with pytest.raises(DataError, match="pair 2 has more than the 1,023 pieces"):
        translator.score([("the cat", "x"), ("the cat", "cat " * 1100)])


def test_an_ensemble_averages_and_must_share_its_vocabularies(tmp_path, folder):
    other = save_tiny(tmp_path / "other", "transformer", seed=4)
    ensemble = regard.load(folder, other)
    found = ensemble.translate(LINES[:8])
    expected = ensemble.score([(each.source, each.text) for each in found])
    alone = [regard.load(path).score([(each.source, each.text) for each in found]) for path in (folder, other)]
    for both, one, two in zip(expected, *alone, strict=True):
        mean = (torch.tensor(one.token_scores).exp() + torch.tensor(two.token_scores).exp()) / 2
        assert both.token_scores == pytest.approx(mean.log().tolist(), abs=1e-4)
    assert regard.load(folder, folder).translate(LINES[0])[0].ids == regard.load(folder).translate(LINES[0])[0].ids
    stranger = save_tiny(tmp_path / "stranger", words=vocabularies(size=60))
    with pytest.raises(UsageError, match="different vocabularies"):
        regard.load(folder, stranger)
    with pytest.raises(ModelError):
        regard.load(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["convs2s", "seq2seq", "transformer"])
def test_int8_says_nearly_the_same_and_neighbours_change_nothing(tmp_path, kind):
    folder = save_tiny(tmp_path / kind, kind)
    exact, fast = regard.load(folder), regard.load(folder, precision="int8")
    found = fast.translate(LINES, beam_size=4)
    assert sum(a.ids == b.ids for a, b in zip(exact.translate(LINES, beam_size=4), found, strict=True)) >= 20
    for batch_size in (1, 7):
        assert [each.ids for each in fast.translate(LINES, beam_size=4, batch_size=batch_size)] == [
            x.ids for x in found
        ]
    # Looking and scoring go on in float32.
    again = exact.score([(found[0].source, found[0].text)])[0]
    assert fast.score([(found[0].source, found[0].text)])[0].score == again.score


def test_unknown_words_are_copied_from_where_the_model_looked(tmp_path):
    translator = regard.load(save_tiny(tmp_path / "words", words=vocabularies(shared=False)))
    found = [each for line in LINES for each in translator.translate(line, n_best=3) if UNK in each.ids]
    assert found
    for each in found:
        source, target = each.source.split(), each.text.split()
        copied = translator.replace_unknown(each)
        links = dict((t, s) for s, t in translator.align(each.attention))
        expected = [source[links[place]] if word == "<unk>" else word for place, word in enumerate(target)]
        assert copied.text.split() == expected
        assert copied.score == each.score
        assert all("<unk>" not in other.text for other in copied.alternatives)
    known = next(each for each in translator.translate(LINES) if UNK not in each.ids)
    assert translator.replace_unknown(known) is known


def test_words_are_those_of_the_text_where_the_tokenizer_puts_spaces_into_them(tmp_path, translator):
    text = "the dog\N{ACUTE ACCENT}s small house"  # of which NFKC makes a space and another accent
    for each in translator.translate(text, n_best=3)[0].alternatives:
        assert {source for source, _ in each.alignment} <= set(range(4))
        assert max(translator.vocabularies.source_tokenizer.words(each.source_ids[:-1])) == 4
    unknown = regard.load(save_tiny(tmp_path / "words", words=vocabularies(shared=False)))
    found = unknown.translate([f"{line}\N{ACUTE ACCENT}s" for line in LINES], n_best=3)
    assert any(UNK in each.ids for each in found)
    for each in found:
        assert "<unk>" not in unknown.replace_unknown(each).text


def test_without_a_name_the_shipped_model_is_opened(monkeypatch, tmp_path):
    monkeypatch.setattr("regard.checkpoint.shipped.FOLDER", tmp_path)
    with pytest.raises(UsageError, match="name a model folder with -m"):
        regard.load()
    save_tiny(tmp_path / "en-de")
    assert regard.load().loaded[0].folder == tmp_path / "en-de"


def test_early_stopping_of_the_model_gives_way_to_a_search_that_has_none(tmp_path):
    search = SearchConfig(beam_size=3, early_stopping=True)
    translator = regard.load(save_tiny(tmp_path / "hasty", search=search))
    assert translator.settings().early_stopping
    assert not translator.settings(beam_size=1).early_stopping
    assert not translator.settings(sampling=True).early_stopping
    with pytest.raises(UsageError, match="`early_stopping` has no effect with a beam of 1"):
        translator.settings(beam_size=1, early_stopping=True)


class Backwards:
    """Another engine: says the source backwards."""

    def __init__(self):
        self.batches = []

    def search(self, requests, config):
        self.batches.append([len(request.source) for request in requests])
        return [[NOTHING._replace(tokens=list(request.source[-2::-1]))] for request in requests]

    def stream(self, request, config):
        return iter(request.source[-2::-1])


def test_another_engine_can_do_the_search(translator):
    backwards = Translator(translator.loaded, engine=Backwards())
    assert [each.text for each in backwards.translate(["the dog dog", "", "dog"])] == ["dog dog the", "", "dog"]
    assert "".join(backwards.stream("the dog dog")) == "dog dog the"


def test_batches_hold_sentences_of_like_length_and_fit_into_memory():
    engine = Backwards()
    lengths = [3, 900, 1, 5, 4, 800, 2, 6]
    requests = [Request([*range(10, 9 + length), EOS]) for length in lengths]
    outputs = generate(engine, requests, SearchConfig(beam_size=10), batch_size=3)
    assert [len(best[0].tokens) for best in outputs] == [length - 1 for length in lengths]
    assert engine.batches == [[900], [800, 6], [5, 4, 3], [2]]
    assert all(size * len(batch) * 10 <= MAX_POSITIONS for batch in engine.batches for size in batch[:1])


def test_importing_regard_does_not_wait_for_torch():
    import subprocess
    import sys

    code = "import sys, regard; print('torch' in sys.modules, regard.__version__); regard.load"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        regard.lod  # noqa: B018
    assert set(regard.__all__) == set(dir(regard))

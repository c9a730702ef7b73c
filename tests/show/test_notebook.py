import html
import xml.etree.ElementTree as ElementTree

import pytest

import regard
from regard.pipelines.watch import word_alignment
from tiny_folder import TEXTS, save_tiny


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return regard.load(save_tiny(tmp_path_factory.mktemp("model") / "tiny", "transformer"))


def test_a_notebook_shows_text_and_attention(translator):
    (each,) = translator.translate("the cat <b>sees</b> & the dog", max_length=6)
    shown = each._repr_html_()
    assert "the cat &lt;b&gt;sees&lt;/b&gt; &amp; the dog" in shown
    assert each.text.split()[0] in shown
    picture = ElementTree.fromstring(shown[shown.index("<svg") :])
    words = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert "cat" in words
    assert shown == translator.translate("the cat <b>sees</b> & the dog", max_length=6)[0]._repr_html_()


def test_without_attention_or_words_there_is_only_the_text(translator, tmp_path):
    blind = regard.load(save_tiny(tmp_path / "blind", "seq2seq", score="none"))
    for each in (blind.translate("the cat")[0], translator.translate("")[0]):
        assert "<svg" not in each._repr_html_()
    long = translator.translate("the cat " * 600)[0]
    assert html.escape(long.notice) in long._repr_html_()


def test_the_picture_is_made_of_the_weights_that_were_used(translator, monkeypatch):
    from regard.show import notebook

    seen = []
    monkeypatch.setattr(notebook, "heat_map", lambda weights, *_, **__: seen.append(weights) or notebook.Figure())
    (each,) = translator.score([(TEXTS[0], TEXTS[1])])
    each._repr_html_()
    site = each.attention.cross_sites[max(0, len(each.attention.cross_sites) - 2)]
    source = translator.vocabularies.source_tokenizer.words(each.attention.source)
    target = translator.vocabularies.target.words(each.attention.target)
    expected = word_alignment(each.attention.sites[site].mean(0), source, target)
    assert seen[0] == pytest.approx(expected.numpy(), abs=1e-6)

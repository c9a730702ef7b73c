"""Dictionaries for unknown words: counted from links, written, read, and used."""

import pytest

from regard.cli.main import run
from regard.errors import DataError
from regard.pipelines.dictionary import WordLinks, read_dictionary, replaced, write_dictionary
from tiny_folder import save_tiny, vocabularies


def test_a_word_is_called_what_goes_with_it_most_exclusively():
    links = WordLinks()
    for source, target in (("dog", "Hund"), ("cat", "Katze"), ("emu", "Emu")):
        links.add(f"a {source} , .", f"ein {target} , .", [(0, 0), (1, 1), (1, 2), (2, 2), (3, 3)])
    links.add("emu .", "Emu .", [(0, 0), (0, 1)])
    assert links.dictionary() == {
        "a": "ein", "dog": "Hund", "cat": "Katze", "emu": "Emu", ",": ",", ".": "."
    }  # fmt: skip


def test_links_to_words_that_are_not_there_are_told_not_guessed():
    links = WordLinks()
    links.add("one word", "ein", [(0, 0), (2, 0)])
    assert links.dictionary() == {}
    assert links.num_skipped == 1


def test_what_is_written_is_read(tmp_path):
    words = {"dog": "Hund", "ice": "Eis am Stiel", "«": "„"}
    write_dictionary(tmp_path / "words.tsv.gz", words)
    assert read_dictionary(tmp_path / "words.tsv.gz") == words


@pytest.mark.parametrize(
    ("content", "message"),
    [("dog\tHund\ncat", "words.tsv:2: a line"), ("\tHund", ":1: a line"), ("a\tb\tc", ":1: a line"),
     ("a\tb\na\tc", "'a' stands here for the second time")],
)  # fmt: skip
def test_a_line_that_is_none_is_named(tmp_path, content, message):
    (tmp_path / "words.tsv").write_text(content + "\n")
    with pytest.raises(DataError, match=message):
        read_dictionary(tmp_path / "words.tsv")


def test_each_unknown_word_gets_its_own():
    assert replaced("<unk> sees <unk>.", "<unk>", ["Anna", "dog"], {"dog": "Hund"}) == "Anna sees Hund."


def test_from_pairs_to_a_translation_in_which_nothing_is_unknown(tmp_path, capsys):
    model = str(save_tiny(tmp_path / "words", words=vocabularies(shared=False), unknown=5.0))
    source, target = "a dog house the cat sees Haus the", "ein Hund Haus die Katze sieht Emu"  # "Emu" is unknown
    (tmp_path / "pairs.tsv").write_text(f"{source}\t{target}\n" * 3)
    assert run(["score", "-m", model, str(tmp_path / "pairs.tsv"), "--dictionary", str(tmp_path / "words.tsv")]) == 0
    known = read_dictionary(tmp_path / "words.tsv")
    assert known
    assert set(known) <= set(source.split())
    assert set(known.values()) <= set(target.split())
    (tmp_path / "all.tsv").write_text("".join(f"{word}\tX{word}X\n" for word in sorted(set(source.split()))))
    capsys.readouterr()
    words = ["translate", "-m", model, source, "--n-best", "3", "--replace-unk"]
    assert run(words) == 0
    copied = capsys.readouterr().out
    assert run([*words, "--dictionary", str(tmp_path / "all.tsv")]) == 0
    translated = capsys.readouterr().out
    assert "<unk>" not in copied + translated
    assert "X" not in copied
    assert any(f"X{word}X" in translated for word in source.split())


def test_a_dictionary_without_effect_is_a_mistake(capsys):
    assert run(["translate", "-m", "nowhere", "--dictionary", "words.tsv", "text"]) == 2
    assert "no effect without it" in capsys.readouterr().err

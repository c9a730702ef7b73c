import gzip
import json

import pytest

from regard.data.corpus import open_corpus, read_test_items
from regard.data.corpus_conversation import TURN
from regard.data.doctor_fix import fix
from regard.data.doctor_lines import lines_of
from regard.errors import DataError, UsageError

TABLE = "conversation\tturn\tspeaker\ttext\n" + "".join(
    f"{conversation}\t{turn}\t{'AB'[turn % 2]}\t{text}\n"
    for conversation, texts in (("a", ["one", "two", "three"]), ("b", ["four"]), ("c", ["five", "six"]))
    for turn, text in enumerate(texts)
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "talk.tsv"
    path.write_text(TABLE)
    return path


def pairs(corpus):
    return [tuple(pair) for pair in corpus]


def test_every_turn_but_the_first_is_a_reply_to_the_one_before(table):
    assert pairs(open_corpus(table)) == [("one", "two"), ("two", "three"), ("five", "six")]


def test_a_history_grows_up_to_its_length_and_never_over_the_edge_of_a_conversation(table):
    corpus = open_corpus(table, history=3)
    assert pairs(corpus) == [("one", "two"), (f"one{TURN}two", "three"), ("five", "six")]
    assert pairs(corpus) == pairs(corpus)  # nothing is left over from one reading to the next
    assert [corpus.location(row).rpartition(":")[2] for row in range(3)] == ["3", "4", "7"]
    assert corpus.fingerprint() != open_corpus(table, history=2).fingerprint()


def test_json_is_the_same_with_a_conversation_a_line(tmp_path, table):
    path = tmp_path / "talk.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for turns in (["one", "two", "three"], ["four"], ["five", "six"]):
            file.write(json.dumps({"turns": turns}) + "\n")
    assert pairs(open_corpus(path, history=2)) == pairs(open_corpus(table, history=2))


def test_items_to_be_answered_are_not_merged(table):
    assert [item.references for item in read_test_items(open_corpus(table))] == [("two",), ("three",), ("six",)]


def test_nobody_answers_across_a_turn_that_is_missing(tmp_path):
    path = tmp_path / "gaps.tsv"
    path.write_text("conversation\ttext\na\tone\na\t \na\tthree\na\tfour\nbroken\na\tsix\na\tseven\n")
    assert pairs(open_corpus(path, history=5, on_error="skip")) == [("three", "four"), ("six", "seven")]
    with pytest.raises(DataError, match=r"gaps.tsv:6: there are 1 column\(s\)"):
        pairs(open_corpus(path))


@pytest.mark.parametrize("turn", [b"a\tM\xfcde", b"a\t" + b"x" * 200_000])
def test_nobody_answers_across_a_turn_that_cannot_be_read(tmp_path, turn):
    path = tmp_path / "gap.tsv"
    path.write_bytes(b"conversation\ttext\na\tone\n" + turn + b"\na\tthree\na\tfour\n")
    corpus = open_corpus(path, on_error="skip")
    assert pairs(corpus) == [("three", "four")]
    assert [tuple(pair) for line in lines_of(corpus) for pair in line.pairs] == [("three", "four")]


@pytest.mark.parametrize("line", ['{"turns": "one"}', '{"turns": [1]}', "[", '{"turn": ["a"]}'])
def test_json_of_another_form_is_named_with_its_line(tmp_path, line):
    path = tmp_path / "talk.jsonl"
    path.write_text('{"turns": ["a", "b"]}\n' + line + "\n")
    with pytest.raises(DataError, match=r"talk\.jsonl:2: "):
        pairs(open_corpus(path))


def test_named_columns_still_make_a_table_of_pairs(table):
    assert pairs(open_corpus(table, columns=(1, 4)))[0] == ("conversation", "text")


def test_what_is_no_conversation_is_refused(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\n")
    with pytest.raises(DataError, match="TSV with the columns `conversation` and `text`"):
        open_corpus(path, format="conversation")
    with pytest.raises(UsageError, match="`history` is for conversations"):
        open_corpus(path, history=2)


def test_a_conversation_is_not_mended_by_leaving_turns_out(table, tmp_path):
    with pytest.raises(UsageError, match="cannot be mended by leaving turns out"):
        list(fix([open_corpus(table)], tmp_path / "clean"))


def test_the_real_corpora_are_read(data_root):
    for name in ("chat-self-dialogue", "chat-chitchat"):
        corpus = open_corpus(data_root / name / "dev.tsv.gz", history=3)
        assert len(corpus) > 2000
        assert any(TURN in source for source, _ in corpus)

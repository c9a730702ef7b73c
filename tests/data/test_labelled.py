"""Plain text, labelled sentences and tagged words: how they are read, become ids, and what the doctor says of them."""

import gzip
import json

import pytest

from regard.data.abstract_tokenizer import TokenizerConfig
from regard.data.corpus import open_corpus
from regard.data.corpus_labelled import LONGEST_PIECE, pieces
from regard.data.dataset import DataConfig, prepare
from regard.data.doctor import examine
from regard.data.doctor_fix import fix
from regard.data.simple_tokenizers import read_list
from regard.data.store import cut_between_words
from regard.data.tokenizer import learn
from regard.errors import DataError, ModelError, UsageError
from regard.symbols import BOS, EOS, UNK

CONLL = "-DOCSTART- O\n\nJohn NNP B-PER\nlives VBZ O\n\nin IN O\n\n\nNew\tNNP\tB-LOC\nYork\tNNP\tI-LOC\n"


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def pairs(corpus):
    return [tuple(pair) for pair in corpus]


def test_the_first_word_of_a_line_is_its_label(write):
    path = write("q.txt", "NUM:dist How far is it ?\n\n__label__LOC\tWhere is  it ?\n0 bad film .\n")
    corpus = open_corpus(path, format="labelled")
    assert pairs(corpus) == [("How far is it ?", "NUM:dist"), ("Where is  it ?", "LOC"), ("bad film .", "0")]
    assert corpus.location(1).endswith("q.txt:3")


@pytest.mark.parametrize("line", ["alone", "__label__ text"])
def test_a_line_without_label_or_sentence_is_named(write, line):
    corpus = open_corpus(write("q.txt", f"A b\n{line}\n"), format="labelled")
    with pytest.raises(DataError, match=r"q\.txt:2: a label"):
        pairs(corpus)


def test_tagged_words_become_sentences(write):
    path = write("tags.conll", CONLL)
    corpus = open_corpus(path)
    assert corpus.format == "conll"
    assert pairs(corpus) == [("John lives", "B-PER O"), ("in", "O"), ("New York", "B-LOC I-LOC")]
    assert [corpus.location(row).rpartition(":")[2] for row in range(3)] == ["3", "6", "9"]
    assert pairs(open_corpus(path, columns=(1, 2)))[0] == ("John lives", "NNP VBZ")
    assert corpus.fingerprint() != open_corpus(path, columns=(1, 2)).fingerprint()


def test_a_word_without_tag_is_named_with_its_line_or_its_sentence_is_left_out(write):
    path = write("tags.conll", "a\tO\n\nb\tO\nc\n\nd e\tO\n\nf\tO")
    with pytest.raises(DataError, match=r"tags\.conll:4: there are 1 column\(s\), but column 2 is wanted"):
        pairs(open_corpus(path))
    corpus = open_corpus(path, on_error="skip")
    assert pairs(corpus) == [("a", "O"), ("f", "O")]
    assert corpus.counts["malformed"] == 2


def test_plain_text_has_empty_sources_and_its_long_lines_are_cut_where_sentences_end(write):
    long = "One sentence here. " * 300
    corpus = open_corpus(write("a.txt", f"short\n\n{long}\n"), format="text")
    found = [target for source, target in corpus if source == ""]
    assert found[0] == "short"
    assert len(found) == len(corpus) == 4
    assert all(len(piece) <= LONGEST_PIECE and piece.endswith("here.") for piece in found[1:])
    assert " ".join(found[1:]) == long.strip()
    assert corpus.location(3).endswith("a.txt:3")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("abc", ["abc"]),
        ("ab. cd ef", ["ab.", "cd ef"]),
        ("abcd efgh", ["abcd", "efgh"]),
        ("abcdefgh", ["abcde", "fgh"]),
    ],
)
def test_pieces_end_behind_a_sentence_else_a_word_else_anywhere(text, parts):
    assert list(pieces(text, 5)) == parts


def test_ids_are_cut_where_words_begin():
    assert list(cut_between_words([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 3], 4)) == [[1, 2, 3, 4], [5, 6]]
    assert list(cut_between_words([1, 2, 3, 4], [0, 0, 0, 1], 2)) == [[1, 2, 3], [4]]
    assert list(cut_between_words([1, 2], [0, 1], 2)) == [[1, 2]]


def test_a_label_is_one_id_and_has_no_end():
    labels = learn(TokenizerConfig(kind="labels", until=":"), ["NUM:date", "World news", "NUM:dist", "NUM"])
    assert labels.size == 6
    assert not labels.ends_with_eos
    assert labels.decode(labels.encode("NUM:count")) == "NUM"
    assert labels.decode(labels.encode(" World  news ")) == "World news"
    assert labels.encode("LOC") == [UNK]
    assert read_list(labels.to_bytes(), origin="x") == labels
    with pytest.raises(ModelError, match="until must be a text"):
        read_list(json.dumps({**json.loads(labels.to_bytes()), "until": ""}).encode(), origin="x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"tokenizer": {"kind": "labels"}}, "only `target_tokenizer` can"),
        ({"source_tokenizer": {"kind": "tags"}, "target_tokenizer": {"kind": "tags"}}, "only `target_tokenizer` can"),
        ({"format": "text", **{f"{x}_tokenizer": {"kind": "words"} for x in ("source", "target")}}, "give `tokenizer`"),
        ({"format": "labelled", "columns": [1, 2], "tokenizer": {"kind": "words"}}, "formats tsv and conll"),
        ({"tokenizer": {"kind": "words", "until": ":"}}, "no effect on kind `words`"),
    ],
)
def test_what_cannot_be_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        DataConfig.model_validate({"train": ["a"], **data})


def dataset(tmp_path, **settings):
    values = {"root": str(tmp_path), "cache": str(tmp_path / "cache"), **settings}
    return prepare(DataConfig.model_validate(values))


def test_labels_and_tags_stand_behind_the_first_symbol_alone(tmp_path, write):
    write("q.txt", "A one two\nB three\n")
    labelled = dataset(
        tmp_path, format="labelled", train=["q.txt"],
        source_tokenizer={"kind": "words"}, target_tokenizer={"kind": "labels"},
    )  # fmt: skip
    assert [labelled.train.target(row).tolist() for row in range(2)] == [[BOS, 4], [BOS, 5]]
    assert labelled.train.target_lengths.tolist() == [1, 1]
    write("tags.conll", CONLL)
    tagged = dataset(
        tmp_path, train=["tags.conll"], source_tokenizer={"kind": "words"}, target_tokenizer={"kind": "tags"}
    )
    assert tagged.train.target_lengths.tolist() == [2, 1, 2]
    assert (tagged.train.source_lengths - 1).tolist() == [2, 1, 2]


def test_a_sentence_with_another_number_of_tags_is_left_out(tmp_path, write):
    write("t.tsv", "a b\tO O\na b\tO\na b c\tO O O O\n")
    found = dataset(
        tmp_path, train=["t.tsv"],
        source_tokenizer={"kind": "bpe", "size": 11}, target_tokenizer={"kind": "tags"},
    )  # fmt: skip
    assert len(found.train) == 1
    (left_out,) = found.train.left_out
    assert (left_out.reason, left_out.num_pairs) == ("there is not one tag for each word", 2)


@pytest.mark.parametrize("sampling", [0.0, 0.1])
def test_a_text_longer_than_a_batch_row_is_cut_and_nothing_of_it_is_lost(tmp_path, write, sampling):
    text = "the cat sat on the mat and the dog sat on the cat"
    write("a.txt", f"{text}\nthe mat\n")
    found = dataset(
        tmp_path, format="text", train=["a.txt"], max_length=8,
        tokenizer={"kind": "bpe", "size": 24, "sampling": sampling},
    ).train.resample(1, 0)  # fmt: skip
    assert not found.left_out
    assert all(found.source(row).tolist() == [EOS] for row in range(len(found)))
    assert max(found.target_lengths) <= 8
    tokenizer = learn(TokenizerConfig(kind="bpe", size=24), [text, "the mat"])
    assert " ".join(tokenizer.decode(found.target(row).tolist()) for row in range(len(found))) == f"{text} the mat"


def test_the_doctor_measures_labels_by_their_own_rules(write, tmp_path):
    rows = [f"DESC:reason Why is the sky number {n} so blue and so high up there today ?" for n in range(150)]
    labelled = open_corpus(write("q.txt", "\n".join([*rows, "X:y Why ?", rows[0]])), format="labelled")
    text = open_corpus(write("a.txt", "\n".join(f"line {n}" for n in range(150))), format="text")
    tagged = open_corpus(write("tags.conll", CONLL + "\nc\n"), on_error="skip")
    for corpus, kinds in ((labelled, {"duplicate"}), (text, set()), (tagged, {"malformed"})):
        (diagnosis,) = examine([corpus])
        assert {finding.kind for finding in diagnosis.findings} == kinds
    (treated,) = fix([labelled], tmp_path / "clean")
    assert (treated.num_kept, treated.num_dropped) == (151, 1)
    with pytest.raises(UsageError, match="leaving words out"):
        list(fix([tagged], tmp_path / "clean"))


def test_the_real_corpora_are_read(data_root):
    trec = open_corpus(data_root / "text-classification/trec/train.txt", format="labelled")
    assert len(trec) == 5452
    assert len({label.partition(":")[0] for _, label in trec}) == 6
    assert len(open_corpus(data_root / "text-classification/sst2/dev.txt", format="labelled")) == 872
    assert len(open_corpus(data_root / "ner/wnut17/dev.conll")) == 1009
    assert len(open_corpus(data_root / "chunking-conll2000/test.txt", format="conll")) == 2012
    with gzip.open(data_root / "lm/tinyshakespeare.txt.gz", "rt") as file:
        lines = sum(bool(line.strip()) for line in file)
    assert len(open_corpus(data_root / "lm/tinyshakespeare.txt", format="text")) == lines


def test_of_plain_text_the_text_itself_decides_what_is_held_out(tmp_path, write):
    write("a.txt", "".join(f"{one} {other}\n" for one in "abcdefg" for other in "abcdefg") * 2)
    found = dataset(tmp_path, format="text", train=["a.txt"], hold_out=0.3, tokenizer={"kind": "words"})
    assert found.validation is not None
    sides = [
        {tuple(store.target(row).tolist()) for row in range(len(store))} for store in (found.train, found.validation)
    ]
    assert len(found.train) + len(found.validation) == 98
    assert 5 < len(sides[1]) < 30
    assert not sides[0] & sides[1]

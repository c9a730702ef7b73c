import gzip
import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regard.data.corpus import Pair, TestItem, open_corpus, read_test_items
from regard.data.text import write_lines
from regard.errors import DataError, UsageError, UserError


def moses(folder, source, target, prefix="train"):
    (folder / f"{prefix}.en").write_bytes(source)
    (folder / f"{prefix}.de").write_bytes(target)
    return folder / prefix


def one_file(folder, name, data):
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder / name


def en_de(path, **settings):
    return open_corpus(path, source="en", target="de", **settings)


def test_moses_pairs_are_found_with_and_without_compression(tmp_path):
    write_lines(tmp_path / "train.en.gz", ["one", "two"])
    write_lines(tmp_path / "train.de.zst", ["eins", "zwei"])
    corpus = en_de(tmp_path / "train")

    assert list(corpus) == [Pair("one", "eins"), Pair("two", "zwei")]
    assert len(corpus) == 2
    assert corpus.format == "moses"
    assert corpus.location(1) == f"{tmp_path}/train.en.gz:2"
    assert not corpus.counts


def test_two_files_can_be_named_themselves_or_by_a_pattern(tmp_path):
    for language, text in (("en", "one"), ("de", "eins")):
        write_lines(tmp_path / language / "train.txt", [text])

    files = (tmp_path / "en" / "train.txt", tmp_path / "de" / "train.txt")
    assert list(open_corpus(files)) == [Pair("one", "eins")]
    assert list(en_de(f"{tmp_path}/{{}}/train.txt")) == [Pair("one", "eins")]


@pytest.mark.parametrize(("numbers", "longer"), [((1000, 999), "en"), ((1000, 1001), "de"), ((3, 0), "en")])
def test_i01_files_of_different_length_are_an_error_with_both_counts(tmp_path, numbers, longer):
    prefix = moses(tmp_path, b"a b c\n" * numbers[0], b"d e f\n" * numbers[1])

    with pytest.raises(DataError) as caught:
        list(en_de(prefix))
    message = str(caught.value)
    assert f"{prefix}.en has {numbers[0]:,} lines but {prefix}.de has {numbers[1]:,}" in message
    assert "line i of one must belong to line i of the other" in message
    assert message.endswith("an empty file has none") or f"of {prefix}.{longer}" in message
    assert caught.value.exit_code == 3


def test_i01_pairs_before_the_end_of_the_shorter_file_are_never_the_whole_answer(tmp_path):
    pairs = iter(en_de(moses(tmp_path, b"a\nb\nc\n", b"a\nb\n")))

    assert [next(pairs), next(pairs)] == [Pair("a", "a"), Pair("b", "b")]
    with pytest.raises(DataError, match="has 3 lines but"):
        next(pairs)


@pytest.mark.parametrize("lost", [40, 500, 930])
def test_i01_the_hint_finds_where_real_files_part(tmp_path, data_root, lost):
    lines = {}
    for language in ("en", "de"):
        with gzip.open(data_root / "multi30k" / f"val.{language}.gz", "rt", encoding="utf-8", newline="\n") as file:
            lines[language] = [line.rstrip("\n") for line in file]
    del lines["de"][lost - 1]
    for language, texts in lines.items():
        write_lines(tmp_path / f"val.{language}", texts)

    with pytest.raises(DataError) as caught:
        len(en_de(tmp_path / "val"))
    hint = int(str(caught.value).split("near line ")[1].split()[0].replace(",", ""))
    assert abs(hint - lost) <= 5
    assert str(caught.value).endswith(f"of {tmp_path}/val.en")


@pytest.mark.parametrize(
    "character", ["\u2028", "\u0085", "\x0b", "\x0c", "\x1c", "\r"], ids=lambda c: f"U+{ord(c):04X}"
)
def test_i02_pair_k_is_pair_k_whatever_breaks_stand_in_a_line(tmp_path, character):
    source = [f"{number}{character}x" if number % 3 == 0 else f"{number}" for number in range(20)]
    target = [str(number) for number in range(20)]
    prefix = moses(tmp_path, "\n".join(source).encode(), "\n".join(target).encode())

    pairs = list(en_de(prefix))

    assert len(pairs) == 20
    assert all(pair.source.split()[0] == pair.target for pair in pairs)


def test_i03_crlf_on_one_side_and_a_missing_last_line_feed_keep_pairs_together(tmp_path):
    corpus = en_de(moses(tmp_path, b"\xef\xbb\xbfa\r\nb\r\n", b"c\nd"))

    assert list(corpus) == [Pair("a", "c"), Pair("b", "d")]
    assert corpus.counts.as_dict() == {"byte_order_marks": 1, "carriage_returns": 2}


def test_a_bad_line_takes_its_pair_along_and_locations_stay_true(tmp_path):
    prefix = moses(tmp_path, b"a\nb\xff\nc\nd\ne\n", b"A\nB\nC\xff\nD\nE\n")
    corpus = en_de(prefix, on_error="skip")

    assert list(corpus) == [Pair("a", "A"), Pair("d", "D"), Pair("e", "E")]
    assert [corpus.location(row) for row in range(3)] == [f"{prefix}.en:{line}" for line in (1, 4, 5)]
    assert corpus.counts.as_dict() == {"invalid": 2, "left_out": 2}
    with pytest.raises(IndexError, match="there is no pair 3; the corpus has 3"):
        corpus.location(3)


def test_i06_empty_lines_are_pairs_so_that_test_sets_stay_aligned(tmp_path):
    assert list(en_de(moses(tmp_path, b"\n  \nc\n", b"A\nB\n\n"))) == [Pair("", "A"), Pair("  ", "B"), Pair("c", "")]


@pytest.mark.parametrize("format", ["moses", "tsv", "jsonl", "cmudict"])
def test_i05_a_side_that_is_too_long_is_left_out_and_counted(tmp_path, format):
    if format == "moses":
        path = moses(tmp_path, b"abc\nabcdef\n", b"d\ne\n")
    else:
        lines = {
            "tsv": "abc\td\nabcdef\te\n",
            "jsonl": '{"en": "abc", "de": "d"}\n{"en": "abcdef", "de": "e"}\n',
            "cmudict": "abc  d\nabcdef  e\n",
        }
        path = one_file(tmp_path, f"train.{format}", lines[format])
    corpus = en_de(path, max_length=5)

    assert list(corpus) == [Pair("abc", "d")]
    assert corpus.counts.as_dict() == {"too_long": 1, "left_out": 1}


def test_tsv_takes_two_columns_and_counts_the_others(tmp_path):
    path = one_file(tmp_path, "pairs.tsv", "one\teins\nt\u2028wo\tzwei\tCC-BY\n\nthree\tdrei\n")
    corpus = open_corpus(path)

    assert list(corpus) == [Pair("one", "eins"), Pair("t wo", "zwei"), Pair("three", "drei")]
    assert corpus.counts.as_dict() == {"line_breaks": 1, "blank": 1, "extra_columns": 1}
    assert corpus.location(2) == f"{path}:4"


def test_tsv_columns_can_be_chosen(tmp_path):
    path = one_file(tmp_path, "pairs.tsv", "1\tone\teins\n2\ttwo\tzwei\n")

    assert list(open_corpus(path, columns=(3, 2))) == [Pair("eins", "one"), Pair("zwei", "two")]
    with pytest.raises(UsageError, match="counted from 1"):
        open_corpus(path, columns=(0, 1))
    with pytest.raises(DataError, match=r"pairs.tsv:1: there are 3 column\(s\) between tabs, but column 4 is wanted"):
        list(open_corpus(path, columns=(1, 4)))


def test_tsv_has_a_header_only_if_it_names_both_sides(tmp_path):
    path = one_file(tmp_path, "pairs.tsv", "id\tde\ten\n1\teins\tone\n")
    corpus = en_de(path)

    assert list(corpus) == [Pair("one", "eins")]
    assert corpus.location(0) == f"{path}:2"
    assert list(open_corpus(path)) == [Pair("id", "de"), Pair("1", "eins")]
    with pytest.raises(
        DataError, match=r"pairs\.tsv:1: there is a column `en`, but no column `fr`; there are id, de, en"
    ):
        open_corpus(path, source="en", target="fr")
    plain = one_file(tmp_path, "plain.tsv", "eins\tone\n")
    assert list(open_corpus(plain, source="en", target="fr")) == [Pair("eins", "one")]  # names of the languages alone


def test_a_name_without_its_ending_is_answered_with_it(tmp_path):
    path = one_file(tmp_path, "pairs.tsv", "one\teins\n")
    with pytest.raises(DataError, match=rf"did you mean {path}\?$"):
        open_corpus(tmp_path / "pairs")


def test_tsv_quotes_are_text(tmp_path):
    assert list(open_corpus(one_file(tmp_path, "p.tsv", '"a\tb"\n'))) == [Pair('"a', 'b"')]


@pytest.mark.parametrize(
    "line",
    [
        {"source": "one", "target": "eins"},
        {"en": "one", "de": "eins", "id": 3},
        {"translation": {"de": "eins", "en": "one"}},
        {"id": "7", "translation": {"source": "one", "target": "eins"}},
    ],
)
def test_jsonl_names_its_sides(tmp_path, line):
    assert list(en_de(one_file(tmp_path, "p.jsonl", json.dumps(line) + "\n"))) == [Pair("one", "eins")]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"en": "a"}', "texts under `en` and `de` (or `source` and `target`) are wanted; the keys are `en`"),
        ('{"en": "a", "de": 3}', "the keys are `en`, `de`"),
        ("{}", "the keys are none"),
        ('["a", "b"]', "a JSON object is wanted"),
        ('{"en": "a", ', "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ('{"en": ' + "9" * 5000 + "}", "this is not JSON"),
        ('{"en": "a", "de": "\\ud800"}', "half of a surrogate pair (U+D800)"),
    ],
)
def test_a_line_that_is_not_json_of_two_texts_is_an_error_or_counted(tmp_path, line, sentence):
    path = one_file(tmp_path, "p.jsonl", f'{line}\n{{"en": "a\\nb\\u0000", "de": "c"}}\n')

    with pytest.raises(DataError) as caught:
        list(en_de(path))
    assert str(caught.value).startswith(f"{path}:1: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    corpus = en_de(path, on_error="skip")
    assert list(corpus) == [Pair("a b ", "c")]
    assert corpus.counts.as_dict() == {"nuls": 1, "line_breaks": 1, "malformed": 1, "left_out": 1}


CMUDICT = """;;; # CMUdict
HELLO  HH AH0 L OW1
HELLO(2)  HH EH0 L OW1
hello\tHH AH\u2028L OW
D'ARTAGNAN D AH0 R # foreign|french
TOMATO\tT AH M EY T OW\tT AH M AA T OW
New York\tN UW  Y AO R K
 # a line of comment

(3)\tTH R IY
"""


def test_i15_pronunciations_are_read_as_cmudict_and_its_kin_write_them(tmp_path):
    corpus = open_corpus(one_file(tmp_path, "cmu.dict", CMUDICT))

    assert list(corpus) == [
        Pair("HELLO", "HH AH0 L OW1"),
        Pair("HELLO", "HH EH0 L OW1"),
        Pair("hello", "HH AH L OW"),
        Pair("D'ARTAGNAN", "D AH0 R"),
        Pair("TOMATO", "T AH M EY T OW"),
        Pair("TOMATO", "T AH M AA T OW"),
        Pair("New York", "N UW Y AO R K"),
        Pair("(3)", "TH R IY"),
    ]
    assert corpus.counts.as_dict() == {"line_breaks": 1, "blank": 1, "comments": 3}
    assert [corpus.location(row).rsplit(":")[-1] for row in range(8)] == ["2", "3", "4", "5", "6", "6", "7", "10"]


def test_i15_a_dictionary_groups_all_pronunciations_of_a_word(tmp_path):
    path = one_file(tmp_path, "cmu.dict", "A  AH\nB  B IY\nA(2)  EY\nA(3)  AH\n")

    assert read_test_items(open_corpus(path)) == [TestItem("A", ("AH", "EY")), TestItem("B", ("B IY",))]


def test_other_corpora_have_one_reference_and_keep_repeated_sources(tmp_path):
    path = one_file(tmp_path, "p.tsv", "a\tb\na\tc\n")

    assert read_test_items(open_corpus(path)) == [TestItem("a", ("b",)), TestItem("a", ("c",))]


@pytest.mark.parametrize("line", ["WORD", "WORD\t", "\tA B", "WORD  HH AH\tL OW"])
def test_i15_a_line_without_word_or_phones_is_rejected_and_counted(tmp_path, line):
    path = one_file(tmp_path, "cmu.dict", f"A  AH\n{line}\n")

    with pytest.raises(DataError, match=r"cmu.dict:2: "):
        list(open_corpus(path))
    assert open_corpus(path, on_error="skip").counts["malformed"] == 1


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("p.tsv", "a\tb\n", "tsv"),
        ("p.jsonl", "", "jsonl"),
        ("p.dict", "A  AH\n", "cmudict"),
        ("p.ref", "A\tAH\tEY\n", "cmudict"),
        ("p.txt", "\n{}\n", "jsonl"),
        ("p.train", "AAA\tT R IH\n", "tsv"),
        ("cmudict-0.7b", ";;; # CMUdict\n", "cmudict"),
        ("words", "HELLO  HH AH L OW\n", "cmudict"),
    ],
)
def test_the_format_is_known_by_suffix_then_by_the_first_line(tmp_path, name, text, format):
    assert open_corpus(one_file(tmp_path, name, text)).format == format


def test_a_file_of_no_known_form_asks_for_its_format(tmp_path):
    with pytest.raises(DataError, match="neither its name nor its first line says what it is"):
        open_corpus(one_file(tmp_path, "train.en", "one two\n"))


def test_misuse_is_one_sentence(tmp_path):
    path = one_file(tmp_path, "p.jsonl", "{}")
    with pytest.raises(UsageError, match="there is no corpus format `xml`; it is one of auto, moses, tsv"):
        open_corpus(path, format="xml")
    with pytest.raises(UsageError, match="`columns` are for TSV"):
        open_corpus(path, columns=(1, 2))
    with pytest.raises(UsageError, match="format `tsv` is one file"):
        open_corpus((path, path), format="tsv")


def test_i12_a_missing_corpus_names_what_is_there(tmp_path):
    moses(tmp_path, b"", b"")

    with pytest.raises(DataError) as caught:
        open_corpus(tmp_path / "train", source="en", target="fr")
    assert str(caught.value) == f"{tmp_path}/train.fr: there is no such file"
    with pytest.raises(DataError, match=r"there is train.de, train.en: set the languages "):
        open_corpus(tmp_path / "train", source="cs", target="fr")
    with pytest.raises(DataError, match="nor is there a folder"):
        open_corpus(tmp_path / "none" / "train")
    with pytest.raises(DataError, match="is a folder"):
        open_corpus(tmp_path, format="tsv")


def test_the_fingerprint_knows_content_and_settings_but_not_the_place(tmp_path):
    (tmp_path / "copy").mkdir()
    prefix, copy = moses(tmp_path, b"a\n", b"b\n"), moses(tmp_path / "copy", b"a\n", b"b\n")
    corpora = [
        en_de(prefix),
        en_de(prefix, on_error="skip"),
        en_de(prefix, max_length=5),
        open_corpus(prefix, source="de", target="en"),
        open_corpus(one_file(tmp_path, "p.tsv", "a\tb\n")),
        open_corpus(tmp_path / "p.tsv", columns=(2, 1)),
        open_corpus(tmp_path / "p.tsv", format="cmudict"),
    ]

    assert en_de(copy).fingerprint() == corpora[0].fingerprint()
    assert len({corpus.fingerprint() for corpus in corpora}) == len(corpora)
    moses(tmp_path, b"A\n", b"b\n")
    assert en_de(prefix).fingerprint() != corpora[0].fingerprint()


def test_a_corpus_can_be_read_again_and_counts_do_not_grow(tmp_path):
    corpus = en_de(moses(tmp_path, b"a\r\nb\r\n", b"c\nd\n"))

    assert list(corpus) == list(corpus)
    assert corpus.counts.as_dict() == {"carriage_returns": 2}


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["error", "replace", "skip"]))
@example(b"a\x85\n", b"\xe2\x80\xa8\n", "replace")
@example(b"a\n\n", b"b\n\r", "error")
def test_i14_any_two_files_of_bytes_give_aligned_pairs_or_an_error(tmp_path_factory, source, target, on_error):
    prefix = moses(tmp_path_factory.getbasetemp(), source, target, "any")
    expected = [data.split(b"\n")[: data.count(b"\n") + (not data.endswith(b"\n"))] for data in (source, target)]
    expected = [[] if not data else lines for data, lines in zip((source, target), expected, strict=True)]
    corpus = en_de(prefix, on_error=on_error)
    refusal = None
    try:
        pairs = list(corpus)
    except UserError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        reasons = ("is not UTF-8", "is not text", "is UTF-16", "is UTF-32", "is compressed")
        assert len(expected[0]) != len(expected[1]) or any(reason in refusal for reason in reasons)
        return

    assert len(expected[0]) == len(expected[1]) == len(pairs) + corpus.counts["left_out"]
    for row, pair in enumerate(pairs):
        line = int(corpus.location(row).rsplit(":", 1)[1])
        for text, lines in zip(pair, expected, strict=True):
            raw = lines[line - 1]
            if raw.isascii():  # whatever was cleaned, the letters of exactly this line must be here
                assert [c for c in text if c > " "] == [chr(c) for c in raw if 0x20 < c < 0x7F]


def test_lines_of_many_gaps_are_found(tmp_path):
    generator = random.Random(1)
    lines = [generator.random() < 0.5 for _ in range(2000)]
    corpus = en_de(
        moses(tmp_path, b"".join(b"a\n" if good else b"\xff\n" for good in lines), b"b\n" * 2000), on_error="skip"
    )

    good = [number for number, is_good in enumerate(lines, start=1) if is_good]
    assert [int(corpus.location(row).rsplit(":", 1)[1]) for row in range(len(corpus))] == good


def test_real_corpora_have_their_known_counts(data_root):
    multi30k = en_de(data_root / "multi30k" / "train")
    assert len(multi30k) == 29_000
    assert multi30k.location(28_999).endswith("multi30k/train.en.gz:29000")
    dictionary = open_corpus(data_root / "g2p-cmudict-g014b2b" / "g014b2b.train", format="cmudict")
    words = {word for word, _ in dictionary}
    assert (len(dictionary), len(words)) == (113_438, 106_837)
    items = read_test_items(open_corpus(data_root / "g2p-cmudict-g014b2b" / "g014b2b.ref"))
    assert len(items) == 12_000
    assert sum(len(item.references) > 1 for item in items) == 673
    assert max(len(item.references) for item in items) == 6
    assert not words & {item.source for item in items}
    french = read_test_items(open_corpus(data_root / "g2p-sigmorphon2020" / "fre_test.tsv", format="cmudict"))
    assert len(french) == 450

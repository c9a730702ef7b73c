import gzip
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.corpus import open_corpus
from regard.data.doctor import KINDS, examine
from regard.data.doctor_fix import fix
from regard.data.script import script_of
from regard.data.text import read_lines, write_lines
from regard.errors import DataError, UsageError

WORDS = {
    "the": "der",
    "a": "ein",
    "dog": "hund",
    "cat": "katze",
    "man": "mann",
    "woman": "frau",
    "child": "kind",
    "runs": "rennt",
    "sleeps": "schläft",
    "eats": "isst",
    "on": "auf",
    "under": "unter",
    "near": "bei",
    "house": "haus",
    "street": "straße",
    "tree": "baum",
}


def sentences(number, seed=0):
    """Different pairs, word for word, so that lengths, scripts and words are usual."""
    generator = random.Random(seed)
    pairs = {}
    while len(pairs) < number:
        words = generator.choices(list(WORDS), k=generator.randint(5, 12))
        pairs[" ".join(words)] = " ".join(map(WORDS.__getitem__, words))
    return list(pairs.items())


def corpus(folder, pairs, name="train"):
    for side, language in enumerate(("en", "de")):
        lines = (pair[side] if isinstance(pair[side], bytes) else pair[side].encode() for pair in pairs)
        (folder / f"{name}.{language}").write_bytes(b"".join(line + b"\n" for line in lines))
    return opened(folder / name)


def opened(path, **settings):
    return open_corpus(path, source="en", target="de", on_error="skip", **settings)


def findings(train, test=(), **settings):
    """Findings of the first corpus by kind, and their places as lines."""
    diagnosis = next(iter(examine([train], test, **settings)))
    return {finding.kind: finding for finding in diagnosis.findings}


def lines_of(finding):
    return [int(example.location.rsplit(":", 1)[1]) for example in finding.examples]


def test_a_clean_corpus_has_no_findings(tmp_path):
    assert findings(corpus(tmp_path, sentences(300))) == {}


@pytest.mark.parametrize(
    ("kind", "pair"),
    [
        ("invalid", (b"the dog \xff", "der hund")),
        ("nuls", ("the \0dog", "der hund")),
        ("controls", ("the dog", "der\x01 hund")),
        ("line_breaks", ("the\u2028dog", "der hund")),
        ("line_breaks", ("the dog", "der\x0chund")),
        ("carriage_returns", ("the dog\r", "der hund")),
        ("normalised", ("the dog", "straße ha\u0308lt")),
        ("too_long", ("the dog " * 5000, "der hund")),
        ("empty", ("the dog", "")),
        ("empty", ("  ", "der hund")),
        ("empty", ("\u200b", "\u200d")),
        ("identical", ("the dog", "the dog")),
        ("script", ("собака бежит по улице", "der hund")),
        ("script", ("the dog", "狗在街上跑")),
        ("replacement", ("the dog", "der h\ufffdnd")),
        ("mojibake", ("the dog", "die straÃ¼e")),
        ("ratio", ("the dog", "der hund " * 6)),
        ("length", ("the dog " * 50, "der hund " * 50)),
        ("language", ("the dog runs under the cat", "the child sleeps on the street")),
        ("language", ("der mann isst auf dem baum", "ein kind rennt auf die straße")),
        ("swapped", ("der hund rennt unter die katze", "the dog runs under the cat")),
    ],
)
def test_each_trouble_is_found_in_its_place_and_alone(tmp_path, kind, pair):
    pairs = sentences(300)
    pairs.insert(120, pair)
    found = findings(corpus(tmp_path, pairs))

    assert set(found) == {kind}
    assert found[kind].count == 1
    assert lines_of(found[kind]) == [121]


def test_swapped_pairs_are_found_among_many(tmp_path):
    pairs = sentences(1000)
    swapped = set(random.Random(3).sample(range(1000), 100))
    pairs = [(target, source) if row in swapped else (source, target) for row, (source, target) in enumerate(pairs)]
    found = findings(corpus(tmp_path, pairs), num_examples=1000)["swapped"]

    assert {line - 1 for line in lines_of(found)} <= swapped
    assert found.count >= 95


def test_i01_lines_that_do_not_pair_up_are_an_error_with_both_counts(tmp_path):
    train = corpus(tmp_path, sentences(20))
    write_lines(tmp_path / "train.de", list(read_lines(tmp_path / "train.de"))[:-1])
    found = findings(train)

    assert found["line_count"].severity == "error"
    assert f"{tmp_path}/train.en has 20 lines but {tmp_path}/train.de has 19" in found["line_count"].message


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "no_pairs"), ("Hi there, everyone".encode("utf-16"), "unreadable"), (b"\xff\n", "no_pairs")],
)
def test_a_corpus_without_pairs_is_an_error(tmp_path, data, kind):
    for language in ("en", "de"):
        (tmp_path / f"train.{language}").write_bytes(data)
    found = findings(opened(tmp_path / "train"))

    assert found[kind].severity == "error"
    assert str(tmp_path) in found[kind].message


def test_i10_duplicates_are_counted_beyond_the_first(tmp_path):
    pairs = sentences(50)
    found = findings(corpus(tmp_path, [*pairs, pairs[3], pairs[7], pairs[3], ("the dog", "a"), ("the dog", "b")]))

    assert set(found) == {"duplicate", "ambiguous_source"}
    assert (found["duplicate"].count, lines_of(found["duplicate"])) == (3, [51, 52, 53])
    assert (found["ambiguous_source"].count, lines_of(found["ambiguous_source"])) == (2, [54, 55])
    assert found["duplicate"].severity == "note"


def test_i10_a_corpus_of_one_sentence_is_a_warning(tmp_path):
    found = findings(corpus(tmp_path, [("the dog", "der hund")] * 99 + [("a cat", "eine katze")]))

    assert found["duplicate"].count == 98
    assert found["duplicate"].severity == "warning"


def test_many_identical_pairs_are_a_warning_and_few_are_a_note(tmp_path):
    pairs = sentences(500)

    assert findings(corpus(tmp_path, [*pairs, ("Berlin", "Berlin")]))["identical"].severity == "note"
    assert findings(corpus(tmp_path, [*pairs, *[(f"Nr {n}", f"Nr {n}") for n in range(20)]]))["identical"].severity == (
        "warning"
    )


def test_a_text_that_is_to_be_said_again_has_two_equal_sides_by_design(tmp_path):
    corpus(tmp_path, sentences(100))
    twice = open_corpus(tmp_path / "train", source="en", target="en", on_error="skip")
    assert findings(twice) == {}
    write_lines(tmp_path / "one.tsv", [source for source, _ in sentences(100)])
    assert findings(open_corpus(tmp_path / "one.tsv", format="tsv", columns=(1, 1), on_error="skip")) == {}


def test_i10_test_sentences_in_the_training_data_are_found_whatever_their_case(tmp_path):
    pairs = sentences(60)
    test = corpus(tmp_path, [pairs[50], (pairs[51][0], "etwas anderes"), ("new here", "neu hier")], "test")
    train = [*pairs[:50], (pairs[50][0].upper(), f" {pairs[50][1]} "), pairs[51]]
    found = findings(corpus(tmp_path, train), [test])

    assert set(found) == {"test_pair", "test_source"}
    assert lines_of(found["test_pair"]) == [51]
    assert found["test_pair"].severity == "warning"
    assert found["test_pair"].examples[0].text.startswith(f"is {tmp_path}/test.en:1: ")
    assert lines_of(found["test_source"]) == [52]


def test_characters_that_training_never_saw_are_found_in_the_test_set(tmp_path):
    train = corpus(tmp_path, sentences(200))
    test = corpus(tmp_path, [("the dog", "der hund"), ("the ñandú dog", "der ñandú ☃")], "test")
    diagnosis = list(examine([train], [test]))[1]

    assert [(finding.kind, finding.count) for finding in diagnosis.findings] == [("unknown_characters", 1)]
    assert diagnosis.findings[0].examples[0].text.startswith("ñ (U+00F1) ú (U+00FA) ☃ (U+2603): ")
    assert lines_of(diagnosis.findings[0]) == [2]


def test_characters_of_fewer_than_three_lines_are_rare(tmp_path):
    pairs = sentences(1200)
    pairs[7] = ("the dog %", "der hund %")
    pairs[9:12] = [(f"the {word} &", f"der hund & {word}") for word in ("in", "an", "am")]
    found = findings(corpus(tmp_path, pairs))

    assert lines_of(found["rare_characters"]) == [8]
    assert found["rare_characters"].examples[0].text.startswith("% (U+0025): ")


def test_examples_are_few_and_safe_for_a_terminal(tmp_path):
    found = findings(corpus(tmp_path, [("a\x1b[31m\u202eb", "")] * 10), num_examples=2)

    assert found["empty"].count == 10
    assert len(found["empty"].examples) == 2
    assert "\x1b" not in found["empty"].examples[0].text
    assert "\\u202e" in found["empty"].examples[0].text


def test_a_dictionary_and_a_table_are_examined_too(tmp_path):
    (tmp_path / "p.dict").write_text(";;; words\nA  AH\nA(2)  EY\nnothing\nB  \n")
    (tmp_path / "p.tsv").write_text("a\tb\tc\nlonely\n\nd\te\n")

    dictionary = findings(open_corpus(tmp_path / "p.dict", on_error="skip"))
    assert {kind: (f.count, lines_of(f)) for kind, f in dictionary.items()} == {
        "malformed": (2, [4, 5]),
        "ambiguous_source": (2, [2, 3]),
    }
    table = findings(open_corpus(tmp_path / "p.tsv", on_error="skip"))
    assert {kind: lines_of(f) for kind, f in table.items()} == {"malformed": [2], "extra_columns": [1]}
    assert "column 2 is wanted" in table["malformed"].examples[0].text


def test_what_is_harmless_by_its_number_comes_after_what_is_not(tmp_path):
    pairs = [*sentences(500), ("Ulm", "Ulm"), ("die straße", "die straÃ¼e")]

    assert list(findings(corpus(tmp_path, pairs))) == ["mojibake", "identical"]


def test_findings_come_worst_first_and_are_plain_values(tmp_path):
    train = corpus(tmp_path, [(b"\xff", "a"), ("b\r", "c"), ("d", ""), ("f\r", "e")])
    diagnosis = next(iter(examine([train])))

    assert [finding.severity for finding in diagnosis.findings] == ["error", "warning", "note"]
    assert diagnosis.has("warning")
    assert json.loads(json.dumps(diagnosis.as_dict()))["findings"][0]["kind"] == "invalid"
    assert list(KINDS).index("invalid") < list(KINDS).index("empty") < list(KINDS).index("duplicate")


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Straße 12", "LATIN"),
        ("улица", "CYRILLIC"),
        ("ulica улица", "LATIN"),
        ("東京タワー", "CJK"),
        ("ｱｲｳ", "CJK"),
        ("한국어", "HANGUL"),
        ("12, 13!", None),
        ("", None),
        ("ไทย", "THAI"),
    ],
)
def test_the_script_is_that_of_most_letters(text, script):
    assert script_of(text) == script


DIRTY = [
    (b"\xef\xbb\xbfthe dog", "der hund"),
    ("the\0cat\r", "die\u2028katze"),
    ("a man", ""),
    (b"\xff", "eine frau"),
    ("a child", "ein kind"),
    ("a child", "ein kind"),
    ("x" * 30_000, "y"),
    ("the street", "die strasse"),
]


def test_fix_writes_clean_files_under_the_same_names_and_the_lines_add_up(tmp_path):
    (tmp_path / "in").mkdir()
    train = corpus(tmp_path / "in", DIRTY)
    (treatment,) = fix([train], tmp_path / "out")

    pairs = list(open_corpus(tmp_path / "out" / "train", source="en", target="de"))
    assert pairs == [
        ("the dog", "der hund"),
        ("the cat", "die katze"),
        ("a child", "ein kind"),
        ("the street", "die strasse"),
    ]
    assert (tmp_path / "out" / "train.en").read_bytes() == b"the dog\nthe cat\na child\nthe street\n"
    assert treatment.num_lines == 8 == treatment.num_kept + treatment.num_dropped
    assert treatment.reasons == {"empty": 1, "invalid": 1, "duplicate": 1, "too_long": 1}
    assert treatment.changes == {"byte_order_marks": 1, "carriage_returns": 1, "nuls": 1, "line_breaks": 1}
    assert treatment.num_changed == 2
    report = [json.loads(line) for line in read_lines(tmp_path / "out" / "train.en.report.jsonl")]
    assert [(int(entry["location"].rsplit(":", 1)[1]), entry["action"], entry["reasons"]) for entry in report] == [
        (1, "changed", ["byte_order_marks"]),
        (2, "changed", ["carriage_returns", "nuls", "line_breaks"]),
        (3, "dropped", ["empty"]),
        (4, "dropped", ["invalid"]),
        (6, "dropped", ["duplicate"]),
        (7, "dropped", ["too_long"]),
    ]
    assert report[2]["texts"] == ["a man", ""]


def test_what_fix_wrote_needs_no_fixing(tmp_path):
    (tmp_path / "in").mkdir()
    list(fix([corpus(tmp_path / "in", DIRTY)], tmp_path / "out"))
    (again,) = fix([opened(tmp_path / "out" / "train")], tmp_path / "again")

    assert (again.num_dropped, again.num_changed) == (0, 0)
    assert (tmp_path / "again" / "train.de").read_bytes() == (tmp_path / "out" / "train.de").read_bytes()


def test_fix_leaves_out_test_pairs_and_the_faults_that_are_named(tmp_path):
    (tmp_path / "in").mkdir()
    pairs = sentences(10)
    train = corpus(tmp_path / "in", [*pairs, ("Ulm", "Ulm"), pairs[0]])
    test = corpus(tmp_path / "in", [pairs[2]], "test")

    (treatment,) = fix([train], tmp_path / "out", held_out=[test])
    assert treatment.reasons == {"test_pair": 1, "duplicate": 1}
    (treatment,) = fix([train], tmp_path / "out", held_out=[test], drop=("identical",))
    assert treatment.reasons == {"identical": 1}
    with pytest.raises(UsageError, match="nothing is dropped for `boring`; the reasons are empty, duplicate"):
        list(fix([train], tmp_path / "out", drop=("boring",)))


def test_fix_keeps_the_form_of_each_format(tmp_path):
    files = {
        "p.dict": (
            ";;; words\nA\tAH\tEY\tAH\nB  B IY # bee\nB  B IY\n\nbad\n",
            ";;; words\nA\tAH\tEY\nB  B IY # bee\n",
        ),
        "p.tsv": (
            "id\ten\tde\n1\tone\teins\n2\ttwo\t\n3\tth\x0bree\tdrei\n",
            "id\ten\tde\n1\tone\teins\n3\tth ree\tdrei\n",
        ),
        "p.jsonl": (
            '{"en": "a\\u0000b", "de": "ü", "id": 1}\n{"translation": {"en": "", "de": "c"}}\n[]\n',
            '{"en": "a b", "de": "ü", "id": 1}\n',
        ),
    }
    for name, (dirty, clean) in files.items():
        write_lines(tmp_path / f"{name}.gz", dirty.split("\n")[:-1])
        (treatment,) = fix([opened(tmp_path / f"{name}.gz")], tmp_path / "out")
        with gzip.open(tmp_path / "out" / f"{name}.gz", "rt", encoding="utf-8", newline="\n") as file:
            assert file.read() == clean
        assert treatment.num_lines == dirty.count("\n") == treatment.num_kept + treatment.num_dropped
        assert (tmp_path / "out" / f"{name}.report.jsonl").exists()


def test_fix_never_writes_over_its_input_nor_two_files_into_one(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        corpus(tmp_path / folder, DIRTY)
    before = (tmp_path / "a" / "train.en").read_bytes()

    with pytest.raises(UsageError, match="would replace it; name another folder"):
        list(fix([opened(tmp_path / "a" / "train")], tmp_path / "a"))
    (tmp_path / "one.tsv").write_text("a\tb\n")
    with gzip.open(tmp_path / "a" / "one.tsv.gz", "wt") as file:
        file.write("a\tb\n")
    pair = [open_corpus(tmp_path / name) for name in ("one.tsv", "a/one.tsv.gz")]
    with pytest.raises(UsageError, match=r"two files are called one\.tsv"):  # and so would their reports
        list(fix(pair, tmp_path / "out"))
    with pytest.raises(UsageError, match=r"two files are called train\.en"):
        list(fix([opened(tmp_path / folder / "train") for folder in ("a", "b")], tmp_path / "out"))
    assert (tmp_path / "a" / "train.en").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_fix_writes_nothing_for_files_that_are_not_aligned(tmp_path):
    train = corpus(tmp_path, DIRTY)
    with open(tmp_path / "train.en", "ab") as file:
        file.write(b"one more\n")

    with pytest.raises(DataError, match="has 9 lines but"):
        list(fix([train], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_text_may_begin_as_other_formats_do(tmp_path):
    path = tmp_path / "pairs.tsv"
    for magic in ("BZh", "PAR1", "%PDF-"):
        path.write_text(f"{magic}\tÄpfel\n", encoding="utf-8")
        assert list(open_corpus(path)) == [(magic, "Äpfel")]
    path.write_bytes(b"BZh91AY&SY\xe4\xbe\tx\n")
    with pytest.raises(DataError, match="is not text but compressed with bzip2"):
        open_corpus(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=12), st.booleans())
def test_for_any_bytes_what_is_kept_and_dropped_add_up(tmp_path_factory, pairs, as_table):
    folder = tmp_path_factory.getbasetemp()
    pairs = [tuple(side.replace(b"\n", b"").replace(b"\t", b"") for side in pair) for pair in pairs]
    try:
        if as_table:
            (folder / "any.tsv").write_bytes(b"".join(b"\t".join(pair) + b"\n" for pair in pairs))
            train = opened(folder / "any.tsv", format="tsv")
        else:
            train = corpus(folder, pairs, "any")
        (treatment,) = fix([train], folder / "out")
    except DataError:  # the first bytes of another kind of file
        return

    assert treatment.num_lines == len(pairs) == treatment.num_kept + treatment.num_dropped
    report = [json.loads(line) for line in read_lines(folder / "out" / treatment.report.rsplit("/", 1)[1])]
    assert sum(entry["action"] == "dropped" for entry in report) == treatment.num_dropped
    assert sum(entry["action"] == "changed" for entry in report) == treatment.num_changed
    out = folder / "out" / ("any.tsv" if as_table else "any")
    if treatment.num_kept:
        again = opened(out, format="tsv" if as_table else "moses")
        assert len(again) == treatment.num_kept
        assert not again.counts


@pytest.mark.slow
def test_real_corpora_hold_what_is_known_of_them(data_root):
    multi30k = [opened(data_root / "multi30k" / name) for name in ("train", "val", "test_2016_flickr")]
    train, *test = examine(multi30k[:1], multi30k[1:])
    found = {finding.kind: finding for finding in train.findings}

    assert (train.num_lines, train.num_pairs) == (29_000, 29_000)
    assert not train.has("error")
    assert not train.has("warning")
    assert found["duplicate"].count == 3
    assert lines_of(found["ratio"]) == [16510, 16664]  # the German side is "@@"
    assert [len(diagnosis.findings) for diagnosis in test] == [0, 0]


def test_a_real_corpus_is_clean(data_root):
    validation, test = (opened(data_root / "multi30k" / name) for name in ("val", "test_2016_flickr"))

    assert [(finding.kind, finding.count) for finding in next(iter(examine([validation], [test]))).findings] == [
        ("rare_characters", 12)
    ]

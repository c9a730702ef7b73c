import json

import pytest

from regard.cli.main import run


def corpus(folder, source, target, name="train"):
    (folder / f"{name}.en").write_bytes(source)
    (folder / f"{name}.de").write_bytes(target)
    return str(folder / name)


def check(capsys, *arguments):
    """Exit code, standard output and standard error."""
    code = run(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


LANGUAGES = ("--from", "en", "--to", "de")


def test_a_clean_corpus_exits_0(tmp_path, capsys):
    code, out, err = check(capsys, corpus(tmp_path, b"a\nb\n", b"c\nd\n"), *LANGUAGES)

    assert (code, err) == (0, "")
    assert out == f"{tmp_path}/train.en and {tmp_path}/train.de (train): 2 lines, 2 pairs\n  clean\n"


def test_findings_are_printed_with_places_on_one_line_each(tmp_path, capsys):
    prefix = corpus(tmp_path, b"a\nb\xff\nc [red]\r\n", b"d\ne\n\n")
    code, out, err = check(capsys, prefix, *LANGUAGES)

    assert (code, err) == (3, "")
    assert out.splitlines() == [
        f"{prefix}.en and {prefix}.de (train): 3 lines, 2 pairs",
        "  error    1 line(s) are not UTF-8",
        f"           {prefix}.en:2  (left out) | e",
        "  warning  1 pair(s) have a side that is empty or cannot be seen",
        f"           {prefix}.en:3  target: c [red] | ",
        "  note     1 line(s) end in CRLF",
        f"           {prefix}.en:3  c [red] | ",
    ]


def test_i01_a_line_count_mismatch_exits_3(tmp_path, capsys):
    code, out, _ = check(capsys, corpus(tmp_path, b"a\nb\n", b"c\n"), *LANGUAGES)

    assert code == 3
    assert "train.en has 2 lines but" in out


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 3)])
def test_warnings_fail_when_strict(tmp_path, capsys, arguments, code):
    assert check(capsys, corpus(tmp_path, b"a\n\n", b"c\nd\n"), *LANGUAGES, *arguments)[0] == code


def test_json_has_one_object_a_corpus(tmp_path, capsys):
    train = corpus(tmp_path, b"a\nb\n", b"c\nd\n")
    test = corpus(tmp_path, b"a\n", b"c\n", "test")
    code, out, _ = check(capsys, train, *LANGUAGES, "--test", test, "--json", "--examples", "0")

    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["role"], first["num_pairs"], second["role"]) == ("train", 2, "test")
    assert [(finding["kind"], finding["count"], finding["examples"]) for finding in first["findings"]] == [
        ("test_pair", 1, [])
    ]


def test_fix_mends_what_can_be_mended_and_exits_0(tmp_path, capsys):
    prefix = corpus(tmp_path, b"a\nb\xff\nc\r\n", b"d\ne\nf\n")
    out_folder = tmp_path / "clean"
    code, out, _ = check(capsys, prefix, *LANGUAGES, "--fix", out_folder)

    assert code == 0
    assert out.splitlines()[-3:] == [
        f"wrote {out_folder}/train.en and {out_folder}/train.de: 3 lines in, 2 kept (1 of them changed), 1 dropped; "
        f"see {out_folder}/train.en.report.jsonl",
        "  dropped 1 for invalid",
        "  changed 1 for carriage_returns",
    ]
    assert (out_folder / "train.en").read_bytes() == b"a\nc\n"
    assert check(capsys, out_folder / "train", *LANGUAGES, "--strict")[0] == 0


def test_fix_takes_reasons_and_refuses_others(tmp_path, capsys):
    prefix = corpus(tmp_path, b"a\na\nb\n", b"d\nd\nb\n")

    assert check(capsys, prefix, *LANGUAGES, "--fix", tmp_path / "clean", "--drop", "identical, duplicate")[0] == 0
    assert (tmp_path / "clean" / "train.en").read_bytes() == b"a\n"
    code, _, err = check(capsys, prefix, *LANGUAGES, "--fix", tmp_path / "clean", "--drop", "dull")
    assert code == 2
    assert "nothing is dropped for `dull`; the reasons are empty" in err
    code, _, err = check(capsys, prefix, *LANGUAGES, "--drop", "empty")
    assert code == 2
    assert "name a folder with `--fix`" in err


def test_two_files_that_are_no_corpora_are_the_two_sides_of_one(tmp_path, capsys):
    corpus(tmp_path, b"a b\n", b"c d\n")

    code, out, _ = check(capsys, tmp_path / "train.en", tmp_path / "train.de")
    assert code == 0
    assert "(train): 1 lines, 1 pairs" in out
    for name in ("one.tsv", "two.tsv"):
        (tmp_path / name).write_bytes(b"a\tb\n")
    assert check(capsys, tmp_path / "one.tsv", tmp_path / "two.tsv")[1].count("(train)") == 2


def test_i12_a_missing_corpus_is_one_sentence_and_exits_3(tmp_path, capsys):
    code, out, err = check(capsys, tmp_path / "none", *LANGUAGES)

    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert f"{tmp_path}/none is neither a file nor the prefix of two files" in err


RECIPE = """
data:
  source: en
  target: de
  train: [train]
  validation: val
  tokenizer: {kind: words}
model: {kind: transformer, preset: tiny}
training: {steps: 1}
"""


def test_a_recipe_names_its_corpora_itself(tmp_path, capsys):
    corpus(tmp_path, b"a\nb\n", b"c\nd\n")
    corpus(tmp_path, b"b\n", b"d\n", "val")
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    code, out, _ = check(capsys, tmp_path / "recipe.yaml")
    assert code == 0
    assert out.splitlines()[0] == f"{tmp_path}/train.en and {tmp_path}/train.de (train): 2 lines, 2 pairs"
    assert "1 pair(s) stand in the test or validation set" in out
    code, out, _ = check(capsys, tmp_path / "recipe.yaml", "data.train=[val]", "data.validation=train")
    assert "val.en" in out.splitlines()[0]
    code, _, err = check(capsys, tmp_path / "recipe.yaml", "--from", "en")
    assert code == 2
    assert "a recipe names its languages" in err


def test_help_opens_with_an_example(capsys):
    code, out, _ = check(capsys, "--help")

    assert code == 0
    assert "Example:\n\n    regard check corpus/train --from en --to de --test corpus/test\n" in out

import gzip
import io
import json
import os
import subprocess
import sys

import pytest

import regard
from regard.cli import main
from regard.cli.lines import CHUNK, MAX_BYTES, input_chunks, stream_chunks
from regard.errors import DataError
from tiny_folder import save_tiny, vocabularies

LINES = ["the cat sees the dog", "", "a small house", "the dogs play in the snow"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def expected(folder):
    return [each.text for each in regard.load(folder).translate(LINES)]


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Runs a verb on standard input; its exit code, output lines and messages."""

    def run_verb(verb, *options, stdin=b"", model=folder):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main.run([verb, "-m", str(model), "--threads", "1", *map(str, options)])
        done = capsys.readouterr()
        return code, done.out.split("\n")[:-1], done.err

    return run_verb


def test_a_line_in_is_a_line_out(run, expected):
    text = "\n".join(LINES).encode()
    for stdin in (text, text + b"\n", b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")):
        assert run("translate", stdin=stdin)[:2] == (0, expected)
    assert run("translate", "--batch-size", 1, stdin=text)[1] == expected


def test_texts_files_and_standard_input_give_the_same(run, expected, tmp_path):
    path, output = tmp_path / "input.en.gz", tmp_path / "output.de"
    path.write_bytes(gzip.compress("\n".join(LINES).encode()))
    assert run("translate", *LINES)[1] == expected
    assert run("translate", "-i", path)[1] == expected
    assert run("translate", "-i", path, "-o", output)[1] == []
    assert output.read_text() == "".join(line + "\n" for line in expected)


def test_what_was_done_before_an_error_is_kept_and_told(run, tmp_path):
    output = tmp_path / "output.de"
    code, _, error = run("translate", "-o", output, stdin=b"the dog\n" + b"\n" * (CHUNK - 1) + b"\xff\n")
    part = tmp_path / "output.part.de"
    assert code == 3
    assert f"regard: lines that were done: 1,024; they are in {part}\n" in error
    assert len(part.read_text().splitlines()) == CHUNK
    assert not output.exists()


def test_no_input_gives_no_output(run):
    assert run("translate", stdin=b"")[:2] == (0, [])


def test_fields_follow_the_text_in_moses_order(run, folder):
    (each,) = regard.load(folder).translate(LINES[0])
    links = " ".join(f"{source}-{target}" for source, target in each.alignment)
    pieces = " ".join(f"{score:.4f}" for score in each.token_scores)
    code, lines, _ = run("translate", "--alignment", "--scores", "--word-scores", LINES[0], "")
    assert code == 0
    assert lines[0] == (
        f"{each.text} ||| {links} ||| WordScores= {pieces} ||| "
        f"LogProbability= {each.score:.4f} ||| {each.normalised_score:.4f}"
    )
    assert len(lines[1].split(" |||")) == 5
    assert run("translate", "--alignment", LINES[0])[1] == [f"{each.text} ||| {links}"]


def test_n_best_lists_have_the_number_of_their_line(run, folder):
    translations = regard.load(folder).translate(LINES[:1] + LINES[2:3], n_best=2)
    wanted = [f"{n} ||| {x.text}" for n, each in enumerate(translations) for x in (each, *each.alternatives)]
    assert run("translate", "--n-best", 2, LINES[0], LINES[2])[1] == wanted


def test_json_holds_everything(run, folder):
    code, lines, _ = run("translate", "--json", "--n-best", 2, "--alignment", *LINES)
    assert code == 0
    for number, line in enumerate(lines):
        values = json.loads(line)
        assert (values["id"], values["source"]) == (number, LINES[number])
        (each,) = regard.load(folder).translate(LINES[number], n_best=2)
        assert [h["text"] for h in values["hypotheses"]] == [x.text for x in (each, *each.alternatives)]
        assert values["hypotheses"][0]["alignment"] == [list(link) for link in each.alignment]
        assert values["hypotheses"][0]["token_scores"] == pytest.approx(each.token_scores, abs=1e-5)


def test_options_reach_the_search(run, folder):
    translator = regard.load(folder)
    for options, settings in [
        (["-b", 1], {"beam_size": 1}),
        (["--length-penalty", 2, "--max-length", 5], {"length_penalty": 2.0, "max_length": 5}),
        (["--min-length", 4, "--no-repeat-ngram-size", 1], {"min_length": 4, "no_repeat_ngram_size": 1}),
        (["--coverage-penalty", 5], {"coverage_penalty": 5.0}),
        (["--sampling", "--seed", 3, "--top-k", 5], {"sampling": True, "seed": 3, "top_k": 5}),
        (["--sampling", "--temperature", 2, "--top-p", 0.5], {"sampling": True, "temperature": 2.0, "top_p": 0.5}),
        (["--early-stopping", "-b", 4], {"early_stopping": True, "beam_size": 4}),
        (["--prefix", "die Katze"], {"prefixes": "die Katze"}),
    ]:
        wanted = [each.text for each in translator.translate(LINES, **settings)]
        assert run("translate", *options, *LINES)[:2] == (0, wanted)


def test_options_reach_the_search_of_what_is_measured(run, folder, tmp_path):
    (tmp_path / "test.tsv").write_text("".join(f"{line}\tdie Katze\n" for line in LINES if line))
    test = (tmp_path / "test.tsv", "-o", tmp_path / "said")
    for options, settings in [
        (["-b", 1], {"beam_size": 1}),
        (["--length-penalty", 9], {"length_penalty": 9.0}),
        ([], {}),
    ]:
        assert run("evaluate", *test, *options)[0] == 0
        wanted = [each.text for each in regard.load(folder).translate([line for line in LINES if line], **settings)]
        assert (tmp_path / "said").read_text().splitlines() == wanted
    code, _, error = run("evaluate", *test, "--length-penalty", -1)
    assert (code, error.count("\n")) == (2, 1)
    assert "--length-penalty: input should be greater than or equal to 0" in error


def test_unknown_words_can_be_replaced(run, tmp_path):
    words = save_tiny(tmp_path / "words", words=vocabularies(shared=False), unknown=5.0)
    lines = ["the dogs play", "cat cat cat house", "snow in the dog"]
    assert any("<unk>" in line for line in run("translate", *lines, model=words)[1])
    code, out, _ = run("translate", "--replace-unk", "--alignment", *lines, model=words)
    assert code == 0
    assert not any("<unk>" in line for line in out)


def test_int8_is_offered(run, folder):
    wanted = [each.text for each in regard.load(folder, precision="int8").translate(LINES)]
    assert run("translate", "--precision", "int8", *LINES)[:2] == (0, wanted)


def test_several_models_are_an_ensemble(run, folder, tmp_path):
    other = save_tiny(tmp_path / "other", "transformer", seed=5)
    wanted = [each.text for each in regard.load(folder, other).translate(LINES)]
    assert run("translate", "-m", other, *LINES)[1] == wanted


def test_what_could_not_be_translated_is_counted(run):
    lines = ["dog " * 1200, *LINES[:1], *["dog " * 1100] * 14]
    code, out, err = run("translate", stdin="\n".join(lines).encode())
    assert code == 0
    assert out[0] == ""
    assert out[1] != ""
    assert "line 1: not translated: its 1,201 pieces" in err
    assert err.count("regard: line ") == 10
    assert "and 6 more such lines" in err


@pytest.mark.parametrize(
    ("options", "stdin", "code", "message"),
    [
        (["-b", "0"], b"", 2, "--beam-size: "),
        (["--n-best", "9"], b"", 2, "error: --n-best is 9, but a beam of 3 can find no more"),
        (["--top-k", "9"], b"", 2, "no effect without --sampling"),
        (["--early-stopping", "-b", "1"], b"", 2, "error: --early-stopping has no effect with a beam of 1"),
        (["--early-stopping", "--sampling"], b"", 2, "error: --early-stopping has no effect when sampling"),
        (["-i", "nowhere.txt"], b"", 3, "no such file"),
        (["-i", "nowhere.txt", "text"], b"", 2, "give one of them"),
        ([], b"good\nb\xe4d\n", 3, "standard input:2: byte 0xE4 at place 1"),
        (["--precision", "fp8"], b"", 2, "--precision fp8: it is fp32 or int8"),
        (["--device", "cuda:99"], b"", 2, "--device cuda:99"),
    ],
)
def test_mistakes_are_one_sentence(run, options, stdin, code, message):
    got, _, err = run("translate", *options, stdin=stdin)
    assert (got, err.count("\n")) == (code, 1)
    assert message in err


def test_alignment_needs_attention(run, tmp_path):
    plain = save_tiny(tmp_path / "plain", score="none")
    code, _, err = run("translate", "--alignment", "the cat", model=plain)
    assert code == 2
    assert "does not attend to the source" in err


def test_an_answer_comes_before_the_next_line_is_sent(folder):
    """A program that sends a line and waits for its translation is not kept waiting."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "regard", "translate", "-m", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        for text in ("the cat", "the dog"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == regard.load(folder).translate(text)[0].text + "\n"
        process.stdin.close()
        assert process.wait() == 0


def test_without_a_model_the_shipped_one_works(folder, expected, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("regard.pipelines.translate.default_model", lambda: folder)
    page, pairs = tmp_path / "attention.html", tmp_path / "pairs.tsv"
    pairs.write_text(f"{LINES[0]}\tdie Katze\n")
    assert main.run(["translate", "--threads", "1", *LINES]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == expected
    assert main.run(["show", "--threads", "1", LINES[0], "-o", str(page)]) == 0
    assert expected[0].split()[0] in page.read_text()
    assert main.run(["score", "--threads", "1", str(pairs)]) == 0


def test_an_input_is_not_replaced_by_its_translation(run, tmp_path):
    path, link = tmp_path / "input.en", tmp_path / "link.en"
    path.write_text("the cat\n")
    link.symlink_to(path)
    for output in (path, link):
        code, _, err = run("translate", "-i", path, "-o", output)
        assert (code, path.read_text()) == (2, "the cat\n")
        assert f"--output {output} is the input itself, which would be lost" in err
    assert run("translate", "-i", tmp_path / "nowhere", "-o", path)[0] == 3
    path.write_text("the cat\tdie Katze\n")
    assert run("score", path, "-o", link)[0] == run("classify", "-i", path, "-o", path)[0] == 2
    assert path.read_text() == "the cat\tdie Katze\n"


def test_without_any_model_there_is_advice(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("regard.checkpoint.shipped.FOLDER", tmp_path / "nothing")
    for verb in ("translate", "show"):
        assert main.run([verb, LINES[0]]) == 2
        assert "name a model folder with -m; this installation brings no model of its own" in capsys.readouterr().err


def test_threads_and_device_are_those_that_were_asked_for(run, tmp_path, monkeypatch):
    import torch

    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    (tmp_path / "test.tsv").write_text("the cat\tdie Katze\n")
    for verb, argument in (("show", "the cat"), ("evaluate", tmp_path / "test.tsv"), ("score", tmp_path / "test.tsv")):
        assert run(verb, argument)[0] == 0
        code, _, err = run(verb, argument, "--device", "cuda:99")
        assert (code, err.count("\n")) == (2, 1)
        assert "--device cuda:99 cannot be used here" in err
    assert asked.count(1) >= 3


def coming(*blocks: bytes):
    """A stream that gives what it has in the pieces in which it came."""
    rest = list(blocks)
    return lambda size: rest.pop(0) if rest else b""


@pytest.mark.parametrize(
    ("blocks", "chunks"),
    [
        ([b"a\nb\n", b"c\n"], [["a", "b"], ["c"]]),
        ([b"a\nb", b"c\nd"], [["a"], ["bc"], ["d"]]),
        ([b"\n\n"], [["", ""]]),
        ([b"a\r\n", "\u2028b\n".encode()], [["a"], ["\u2028b"]]),
        ([b"\xc3", b"\xa4\n"], [["ä"]]),
        ([], []),
    ],
)
def test_lines_are_cut_at_line_feeds_alone(blocks, chunks):
    assert list(stream_chunks(coming(*blocks))) == chunks


def test_an_endless_line_does_not_fill_the_memory():
    block = b"x" * 65_536
    (chunk,) = list(stream_chunks(coming(*[block] * 100, b"\nshort\n")))
    assert len(chunk[0]) <= MAX_BYTES
    assert chunk[1] == "short"
    (chunk,) = list(stream_chunks(coming(*[block] * 100)))
    assert len(chunk[0]) <= MAX_BYTES


def test_the_line_that_is_not_utf8_is_named():
    with pytest.raises(DataError, match="standard input:3: byte 0xFF"):
        list(stream_chunks(coming(b"a\nb\n", b"\xff\n")))


def test_pairs_are_scored_from_two_files_one_file_or_standard_input(run, folder, tmp_path):
    targets = ["die Katze", "", "ein Haus", "die Hunde"]
    source, target, both = tmp_path / "s", tmp_path / "t", tmp_path / "b.tsv"
    source.write_text("\n".join(LINES))
    target.write_text("\n".join(targets))
    both.write_text("".join(f"{s}\t{t}\tignored\n" for s, t in zip(LINES, targets, strict=True)))
    scored = regard.load(folder).score(list(zip(LINES, targets, strict=True)))
    wanted = [f"{each.score:.4f}\t{each.normalised_score:.4f}" for each in scored]
    code, lines, err = run("score", source, target)
    assert (code, lines) == (0, wanted)
    assert "4 pairs" in err
    assert run("score", both)[1] == wanted
    assert run("score", stdin=both.read_bytes())[1] == wanted
    words = run("score", both, "--word-scores")[1]
    assert [len(line.split("\t")[2].split()) for line in words] == [len(each.token_scores) for each in scored]
    values = json.loads(run("score", both, "--json")[1][0])
    assert values["score"] == pytest.approx(scored[0].score, abs=1e-4)


def test_mistakes_in_pairs_are_one_sentence(run, tmp_path):
    short, long = tmp_path / "short", tmp_path / "long"
    short.write_text("a\n")
    long.write_text("a\nb\n")
    assert run("score", long, short)[0] == 3
    assert f"{long} has a line 2, but {short} ends before it" in run("score", long, short)[2]
    assert f"{long} has a line 2, but {short} ends before it" in run("score", short, long)[2]
    assert f"{short}:1: no tab" in run("score", short)[2]
    assert run("score", short, short, short)[0] == 2
    short.write_text("the cat\tdie Katze\n" * 1030 + "the cat\t" + "Katze " * 1100 + "\n")
    assert f"{short}: pair 1,031 has more than the 1,023 pieces" in run("score", short)[2]
    short.write_text("a\tb\n" + "x" * 30_000 + "\tb\n")
    assert f"{short}:2: a line of more than 20,000 characters" in run("score", short)[2]


def test_a_file_s_last_line_is_read_before_the_first_is_translated(tmp_path):
    path = tmp_path / "input.en"
    path.write_bytes(b"a dog\n" * (2 * CHUNK) + b"\xff\n")
    with pytest.raises(DataError, match=f"input.en:{2 * CHUNK + 1}: byte 0xFF"):
        next(input_chunks([], path))

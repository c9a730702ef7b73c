"""What people do by mistake: one sentence that says how to mend it, the right exit code, and nothing half-written."""

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from regard.checkpoint.weights import refuse_executable
from regard.cli import main
from regard.data.files import LineWriter
from regard.data.text import read_lines
from regard.errors import ModelError, UserError
from tiny_folder import save_tiny

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and devices are those of POSIX")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny", "transformer")


@pytest.fixture
def told(capsys, monkeypatch):
    """Runs `regard`; its exit code, its output, and what it said, which is never a bug report."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main.run([str(argument) for argument in arguments])
        done = capsys.readouterr()
        assert "Traceback" not in done.err
        assert "a bug" not in done.err
        return code, done.out, done.err

    return run


@pytest.fixture
def corpus(tmp_path):
    """A test set of two pairs, and outputs for it."""
    (tmp_path / "test.tsv").write_text("a b\tc d\ne f\tg h\n")
    (tmp_path / "output.txt").write_text("c d\ng h\n")
    return tmp_path


@POSIX
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with LineWriter(pipe) as file:
        file.write("hello")
    assert os.read(reader, 100) == b"hello\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@POSIX
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("before\n")
    link.symlink_to(target.name)
    with LineWriter(link) as file:
        file.write("after")
        assert target.read_text() == "before\n"
    assert link.is_symlink()
    assert target.read_text() == "after\n"


@POSIX
def test_an_open_stream_keeps_what_went_to_it_before(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        log.write(b"first\n")
        log.flush()
        with LineWriter(Path(f"/proc/self/fd/{log.fileno()}")) as file:
            file.write("second")
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"


def test_a_folder_as_output_is_told_before_the_work(tmp_path):
    with pytest.raises(UserError, match="it cannot be written: Is a directory"), LineWriter(tmp_path):
        raise AssertionError("the work began")


def test_what_fails_leaves_the_file_of_before(tmp_path):
    path = tmp_path / "output.txt"
    path.write_text("before\n")

    def stop_halfway():
        with LineWriter(path) as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert path.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "part"), [("output.de", "output.part.de"), ("output.de.gz", "output.de.part.gz")])
def test_what_was_written_before_it_failed_can_be_kept_whole(tmp_path, name, part):
    def stop_after(*lines):
        with LineWriter(tmp_path / name, keep_part=True) as file:
            for line in lines:
                file.write(line)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        stop_after("one", "two")
    assert [path.name for path in tmp_path.iterdir()] == [part]
    assert list(read_lines(tmp_path / part)) == ["one", "two"]


@POSIX
@pytest.mark.parametrize(
    ("closed", "code", "error"),
    [
        ("<&-", 0, ""),
        (">&-", 1, "regard: error: standard input or output: Bad file descriptor\n"),
        ("> /dev/full", 1, "regard: error: standard input or output: No space left on device\n"),
        ("2>&-", 0, ""),
    ],
)
def test_a_closed_or_full_stream_is_one_sentence(closed, code, error):
    if "full" in closed and not Path("/dev/full").is_char_device():
        pytest.skip("there is no /dev/full here")
    command = f"'{sys.executable}' -m regard --version {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, error)


@POSIX
def test_without_standard_error_the_exit_code_is_still_right():
    command = f"'{sys.executable}' -m regard trian 2>&- <&-"
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode == 2


@POSIX
def test_without_standard_input_there_is_nothing_to_translate(folder):
    command = f"'{sys.executable}' -m regard translate -m '{folder}' --threads 1 <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_dash_is_standard_input_and_output(told, folder):
    code, plain, _ = told("translate", "-m", folder, "--threads", 1, "the cat")
    assert code == 0
    assert told("translate", "-m", folder, "--threads", 1, "-i", "-", "-o", "-", stdin=b"the cat\n")[1] == plain


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (["--at-least", "blue=3"], 2, "the gate on `blue` needs that metric; measured are bleu, chrf"),
        (["--at-least", "bleu=nan"], 2, "a gate is METRIC=NUMBER, such as bleu=38.5, but it is 'bleu=nan'"),
        (
            ["--beam-size", "3"],
            2,
            "--beam-size, --length-penalty, --batch-size, --device and --threads are for --model",
        ),
        (["--length-penalty", "1"], 2, "--beam-size, --length-penalty, --batch-size, --device and"),
        (["--device", "cpu"], 2, "--beam-size, --length-penalty, --batch-size, --device and --threads are for --model"),
        (["--output", "."], 1, ".: it cannot be written: Is a directory"),
        (["--baseline", "nix.txt"], 3, "nix.txt: there is no such file"),
        (
            ["--baseline", "output.txt", "--metric", "bleu,tag_accuracy,f1"],
            2,
            "--baseline: no paired test for the metric tag_accuracy, f1; ",
        ),
        (["--output", "test.tsv/x"], 1, "test.tsv/x: it cannot be written: "),
    ],
)
def test_a_wrong_option_of_evaluate_is_told_before_anything_is_measured(told, corpus, monkeypatch, options, code, what):
    monkeypatch.chdir(corpus)
    monkeypatch.setattr("regard.cli.evaluate._outputs", lambda *_: pytest.fail("the work began"))
    ended, output, error = told("evaluate", "--hypotheses", "output.txt", "test.tsv", *options)
    assert (ended, output) == (code, "")
    assert error.startswith(f"regard: error: {what}")
    assert sorted(path.name for path in corpus.iterdir()) == ["output.txt", "test.tsv"]


@pytest.mark.parametrize(
    ("name", "lines", "first"),
    [
        ("chinese.tsv", ["我們走吧\tlet us go", "他在睡覺\the sleeps"], "bleu"),  # without spaces, yet no dictionary
        ("words.dict", ["CAT  K AE T", "DOG  D AO G"], "wer"),
        ("captions.tsv", ["image\tcaption", "1.png\ta red square", "2.png\ta blue circle"], "bleu-1"),
    ],
)
def test_the_form_of_the_test_set_says_what_is_measured(told, tmp_path, name, lines, first):
    (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "output.txt").write_text("let us go\nK AE T\n")
    form = ("--format", "captions") if name == "captions.tsv" else ()
    code, output, _ = told("evaluate", "--hypotheses", tmp_path / "output.txt", tmp_path / name, "--json", *form)
    assert code == 0
    assert json.loads(output)["metrics"][0]["name"] == first


@POSIX
def test_a_terminated_search_leaves_what_it_had_done_and_no_output(folder, tmp_path):
    part = tmp_path / "out.part.txt"
    command = [sys.executable, "-m", "regard", "translate", "-m", folder, "--threads", "1", "-o", tmp_path / "out.txt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"cat " * 5000 + b"\n")
        process.stdin.flush()
        assert b"split it" in process.stderr.readline()  # it is at work
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        assert process.wait() == 143
        assert process.stderr.read().decode() == f"regard: lines that were done: 1; they are in {part}\n"
    assert list(tmp_path.iterdir()) == [part]
    assert part.read_text() == "\n"


def test_a_model_that_does_not_fit_into_the_memory_is_told_so(told, toy_recipe):
    # So much that the system refuses at once: 10^13 numbers a token.
    code, _, error = told("train", toy_recipe, f"model.size={10**13}", "-o", toy_recipe.parent / "run", "--quiet")
    assert code == 1
    assert error.startswith("regard: error: out of memory; take a smaller model")
    assert not (toy_recipe.parent / "run").exists()


def test_a_number_is_never_cut_off(told, corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    monkeypatch.setenv("COLUMNS", "20")
    code, output, _ = told("evaluate", "--hypotheses", "output.txt", "test.tsv", "--metric", "wer,cer")
    assert code == 0
    assert "0.00" in output
    assert "…" not in output


@pytest.mark.parametrize("name", ["attention.html", "attention.svg"])
def test_a_picture_that_cannot_be_written_leaves_nothing(told, folder, tmp_path, monkeypatch, name):
    def fill_the_disk(*arguments, **_):
        next(argument for argument in arguments if isinstance(argument, Path)).touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", fill_the_disk)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fill_the_disk)
    code, output, error = told("show", "-m", folder, "the cat", "-o", tmp_path / name)
    assert (code, output) == (1, "")
    assert error == f"regard: error: {tmp_path / name}: it cannot be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ["translate", "-o", "", "cat"],
        ["translate", "-m", "", "cat"],
        ["train", "r.yaml", "--output", " "],
        ["translate", "--input="],
    ],
)
def test_a_path_that_is_empty_is_not_this_folder(told, options):
    code, output, error = told(*options)
    option = next(each for each in options if each.startswith("-")).removesuffix("=")
    assert (code, output, error) == (2, "", f"regard: error: {option} is empty; name a file or folder\n")


@pytest.mark.parametrize("options", [["--site", "decoder.0.cross"], ["--head", "1"], ["--pieces"]])
@pytest.mark.parametrize("form", [["-o", "x.html"], ["-o", "x.json"], ["--explain"]])
def test_what_a_page_holds_anyway_is_not_asked_for(told, folder, options, form):
    code, output, error = told("show", "-m", folder, "the cat", *form, *options)
    assert (code, output) == (2, "")
    assert "every site, head and piece" in error


@pytest.mark.parametrize("options", [["--alignment", "--pieces"], ["--target", "die Katze", "-b", "3"]])
def test_what_has_no_effect_on_a_view_is_refused(told, folder, options):
    assert told("show", "-m", folder, "the cat", *options)[:2] == (2, "")


def test_an_alignment_error_has_no_metric_and_no_outputs(told, tmp_path):
    (tmp_path / "links").write_text("0-0\n")
    words = ("evaluate", "--alignments", tmp_path / "links", "--gold", tmp_path / "links")
    assert told(*words)[0] == 0
    for options in (("--metric", "bleu"), ("-o", tmp_path / "never.txt")):
        assert told(*words, *options)[0] == 2


@pytest.mark.parametrize("target", ["", "  "])
def test_an_empty_translation_cannot_be_looked_at(told, folder, target):
    code, output, error = told("show", "-m", folder, "the cat", "--target", target)
    assert (code, output) == (2, "")
    assert error.startswith("regard: error: --target is empty: ")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--beam-size", "0"], "--beam-size: input should be greater than or equal to 1, but it is 0"),
        (["--min-length", "5", "--max-length", "3"], "--min-length is 5, but --max-length is 3"),
        (["--temperature", "0.5"], "--temperature, --top-k and --top-p have no effect without --sampling"),
        (
            ["--top-k", "-4", "--top-p", "2"],
            "the options have 2 mistakes:\n  --top-k: input should be greater than or equal to 0, but it is -4"
            "\n  --top-p: input should be less than or equal to 1, but it is 2.0",
        ),
    ],
)
def test_a_wrong_search_is_told_of_the_options_that_were_typed(told, folder, options, what):
    assert told("translate", "-m", folder, *options, "cat") == (2, "", f"regard: error: {what}\n")


@POSIX
def test_a_place_that_cannot_be_written_has_one_code(told, toy_recipe, folder, corpus):
    if not Path("/proc/self").is_dir():
        pytest.skip("needs /proc, where nobody can write")
    outputs = {
        ("train", toy_recipe, "--quiet"): "/proc/x",
        ("translate", "-m", folder, "cat"): "/proc/x",
        ("evaluate", "--hypotheses", corpus / "output.txt", corpus / "test.tsv"): "/proc/x",
        ("average", folder, folder): "/proc/x",
        ("show", "-m", folder, "cat"): "/proc/x.html",
        ("check", corpus / "test.tsv", "--fix"): "/proc/x",
    }
    for command, place in outputs.items():
        code, _, error = told(*command, *([] if command[-1] == "--fix" else ["-o"]), place)
        assert (code, error.count("\n")) == (1, 1), (command, error)


@POSIX
def test_a_file_of_the_user_is_not_taken_for_a_library(tmp_path):
    for name in ("torch", "yaml", "typer", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is my file')\n")
    command = [sys.executable, "-m", "regard", "models", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_show_reads_lines_as_translate_does(told, folder):
    code, output, error = told("show", "-m", folder, stdin=b"\n\xff\n")
    assert (code, output) == (3, "")
    assert error.startswith("regard: error: standard input:2: byte 0xFF at place 0 of the line is not UTF-8; ")
    assert told("show", "-m", folder, stdin=b"\xef\xbb\xbf\r\n")[:2] == (0, "\n")


def test_a_text_that_is_too_long_cannot_be_shown(told, folder):
    code, output, error = told("show", "-m", folder, "cat " * 2000)
    assert (code, output) == (3, "")
    assert error.endswith("split it\n")


@pytest.mark.parametrize("options", [[], ["-o", "x.html"], ["-o", "x.svg", "--head", "1"]])
def test_all_heads_without_effect_is_refused(told, folder, options):
    code, output, error = told("show", "-m", folder, "the cat", "--all-heads", *options)
    assert (code, output) == (2, "")
    assert error == ("regard: error: --all-heads is for a picture (--output with .png, .svg or .pdf), without --head\n")


def test_bad_lines_are_an_error_even_if_they_are_more_than_the_pairs(told, tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"a\tb\n" + b"c\t\xff\n" * 3)
    code, output, _ = told("check", tmp_path / "x.tsv")
    assert code == 3
    assert "error    3 line(s) are not UTF-8" in output


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("folder", "folder is a folder; name a file in it, or what the names of two aligned files share"),
        ("gone", "gone.source is a link that leads nowhere; mend it"),
        ("circle.tsv", "circle.tsv is a link that leads nowhere; mend it"),
        ("folder/train", "(--from and --to, or `source` and `target`) by these endings"),
    ],
)
@POSIX
def test_what_is_no_corpus_is_told_from_a_typing_error(told, tmp_path, monkeypatch, data, what):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for language in ("en", "de"):
        Path(f"folder/train.{language}").write_text("x\n")
    Path("gone.source").symlink_to("nowhere")
    Path("gone.target").symlink_to("nowhere")
    Path("circle.tsv").symlink_to("circle.tsv")
    code, output, error = told("check", data)
    assert (code, output) == (3, "")
    assert error.endswith(f"{what}\n")


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        (
            "training.learning_rate=1",
            "unknown key `training.learning_rate`; did you mean `training.schedule.learning_rate`?",
        ),
        ("steps=3", "unknown key `steps`; did you mean `training.steps`?"),
        ("training.steps=", "`training.steps=` has no value; write `training.steps=null` if that is meant"),
        ("training.threads=100000", "`training.threads`: input should be less than or equal to 1024, but it is 100000"),
        (
            "training.optimizer={kind:",
            "`training.optimizer={kind:`:1:7: no YAML: expected the node content, but found '<stream end>'; "
            "in a shell, a setting with spaces goes in quotes",
        ),
        ("training.optimizer={beta2: 0.9}", "`training.optimizer.kind` is required beside {'beta2': 0.9}"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_one(told, toy_recipe, setting, what):
    code, output, error = told("train", toy_recipe, setting, "--print-config")
    said = error.replace("command line, ", "command line: ")
    assert (code, output, said) == (2, "", f"regard: error: command line: {what}\n")


def test_more_threads_than_a_process_can_have_are_refused(told, folder):
    code, _, error = told("translate", "-m", folder, "--threads", 100_000, "x")
    assert code == 2
    assert "--threads" in error


def test_a_text_in_the_place_of_a_recipe_is_not_repeated(told, tmp_path):
    (tmp_path / "train.en").write_text("A man plays guitar.\n" * 1000)
    code, _, error = told("train", tmp_path / "train.en")
    assert code == 2
    assert len(error) < 300 + len(str(tmp_path))


def test_blank_files_are_bad_data(told, toy_recipe):
    for side in ("source", "target"):
        (toy_recipe.parent / f"train.{side}").write_text("\n\n\n")
    code, _, error = told("train", toy_recipe, "-o", toy_recipe.parent / "run")
    assert (code, error) == (
        3,
        "regard: error: there is no text to learn a tokenizer from; are the files of `data.train` empty?\n",
    )
    assert not (toy_recipe.parent / "run").exists()


def test_a_device_without_numbers_is_refused(told, toy_recipe):
    run = toy_recipe.parent / "run"
    for options in (["-o", run], ["--dry-run"]):
        code, _, error = told("train", toy_recipe, *options, "--device", "meta")
        assert code == 2
        assert error.startswith("regard: error: --device meta cannot be used here: ")
    assert not run.exists()


def test_a_model_file_that_cannot_be_read_is_a_bad_model(tmp_path):
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        refuse_executable(tmp_path)

"""Translate text: arguments, a file, or standard input, line by line."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from regard.cli.documents import PLAIN, check_format, translate_document
from regard.cli.notices import Notices
from regard.cli.options import Device, Threads, keep_inputs, named_as_typed
from regard.errors import UsageError

if TYPE_CHECKING:
    from regard.pipelines.translate import Translation, Translator

EXAMPLES = """
regard translate "Two dogs play in the snow."
regard translate -m pronounce hello                          # a model that comes with regard, by its name
regard translate -m runs/small/model < input.en > output.de
regard translate -m runs/small/model                         # at a terminal: line by line
regard translate -m runs/small/model --n-best 5 --scores --alignment -i input.en.gz
regard translate -m model-1 -m model-2 -b 8 < input.en > ensemble.de
regard translate -m runs/small/model --format po -i messages.po -o filled.po
regard translate -m runs/words/model --replace-unk --dictionary words.tsv < input.en
"""

Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        "-m",
        help="A model folder, or a name of `regard models --shipped`; several: an ensemble; none: en-de.",
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Sentences that are searched together.")]
LengthPenalty = Annotated[
    float | None, typer.Option("--length-penalty", help="alpha: a score is divided by ((5 + length) / 6) ** alpha.")
]


class Fields(NamedTuple):
    """What is printed beside the text."""

    n_best: bool
    alignment: bool
    scores: bool
    word_scores: bool


def command(
    model: Models = None,
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Instead of an input.")] = None,
    input_file: Annotated[Path | None, typer.Option("--input", "-i", help="A text file, or .gz, .zst.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; .gz, .zst compress.")] = None,
    beam_size: Annotated[int | None, typer.Option("--beam-size", "-b", help="1: greedy.")] = None,
    n_best: Annotated[int | None, typer.Option("--n-best", help="Number of outputs for each line.")] = None,
    length_penalty: LengthPenalty = None,
    coverage_penalty: Annotated[
        float | None, typer.Option("--coverage-penalty", help="beta: the cost of source words never attended to.")
    ] = None,
    early_stopping: Annotated[
        bool, typer.Option("--early-stopping", help="Give up what would not win if it ended now: faster.")
    ] = False,
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option("--no-repeat-ngram-size", help="Never repeat a sequence of this many pieces.")
    ] = None,
    min_length: Annotated[int | None, typer.Option("--min-length", help="In pieces.")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", help="In pieces.")] = None,
    forbid_unknown: Annotated[bool, typer.Option("--forbid-unknown", help="Never say <unk>.")] = False,
    replace_unk: Annotated[
        bool, typer.Option("--replace-unk", help="Copy the source word that <unk> looked at.")
    ] = False,
    dictionary: Annotated[
        Path | None, typer.Option("--dictionary", help="With --replace-unk: say what a source<TAB>target file says.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Words that every output begins with.")] = "",
    sampling: Annotated[bool, typer.Option("--sampling", help="Draw outputs at random.")] = False,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Below 1: safer draws.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw among the k best.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Draw among the best of mass p.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws.")] = None,
    batch_size: BatchSize = 32,
    alignment: Annotated[bool, typer.Option("--alignment", help="Add word links i-j, source-target.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Add log-probability and normalised score.")] = False,
    word_scores: Annotated[bool, typer.Option("--word-scores", help="Add the log-probability of each piece.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    document: Annotated[str, typer.Option("--format", help="text: lines; or a document: html, md, po, srt.")] = PLAIN,
    precision: Annotated[
        str, typer.Option("--precision", help="fp32, or int8: 1.3 to 2 times as fast on a CPU.")
    ] = "fp32",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Translate each line of the input to one line of the output, in order; a blank line to a blank line.

    At a terminal it prompts. What is added to a line follows ` ||| `, in Moses' order and format:
    `[number |||] text [||| alignment] [||| WordScores= ...] [||| LogProbability= sum ||| normalised score]`,
    with the number of the line under --n-best. Scores are natural logarithms. A line that is too long for the model
    gives a blank line and a notice; nothing is cut off. What was done before an interrupt is kept: of `-o output.de` in
    output.part.de.

    With --format a whole document is read: tags, code, addresses and placeholders ({name}, %s) stay as they are
    and keep their places among the words. Of a PO file only what is not translated yet is filled in, and marked fuzzy.
    """
    search = {
        "beam_size": beam_size,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "coverage_penalty": coverage_penalty,
        "early_stopping": early_stopping or None,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "min_length": min_length,
        "max_length": max_length,
        "forbid_unknown": forbid_unknown or None,
        "sampling": sampling or None,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    given = {name: value for name, value in search.items() if value is not None}
    fields = Fields(n_best is not None, alignment, scores, word_scores)
    check_format(document, _for_lines(fields, texts, prefix, as_json=as_json, replace_unk=replace_unk))
    if dictionary is not None and not replace_unk:
        raise UsageError("--dictionary says what --replace-unk puts in the place of <unk>; it has no effect without it")
    if document == PLAIN:
        keep_inputs([input_file], output)
    from regard.cli.lines import input_chunks
    from regard.pipelines.dictionary import read_dictionary

    known = {} if dictionary is None else read_dictionary(dictionary)
    translator = open_models(model, device=device, threads=threads, precision=precision)
    with named_as_typed(search):
        translator.settings(**given)  # a wrong option shall not wait for the first line
    row, notices = 0, Notices()
    with writer(output) as write:
        if document != PLAIN:
            translate_document(translator, document, input_file, write, given)
            return
        for lines in input_chunks(texts or [], input_file):
            done = translator.translate(lines, prefixes=prefix, batch_size=batch_size, first_row=row, **given)
            if fields.alignment or replace_unk:
                translator.look_at_all(done, batch_size=batch_size)
            if replace_unk:
                done = [translator.replace_unknown(translation, known) for translation in done]
            for number, translation in enumerate(done, row):
                for line in (_json(number, translation, fields),) if as_json else _plain(number, translation, fields):
                    write(line)
                if translation.notice is not None:
                    notices.tell(f"line {number + 1}: {translation.notice}")
            row += len(lines)
    notices.finish()


def _for_lines(
    fields: Fields, texts: list[str] | None, prefix: str, *, as_json: bool, replace_unk: bool
) -> dict[str, object]:
    """Options that mean nothing for a document, and whether they were given."""
    return {
        "--n-best": fields.n_best,
        "--alignment": fields.alignment,
        "--scores": fields.scores,
        "--word-scores": fields.word_scores,
        "--json": as_json,
        "--replace-unk": replace_unk,
        "--prefix": prefix,
        "TEXT": texts,
    }


def open_models(
    folders: list[Path] | None, *, device: str, threads: int | None, precision: str = "fp32"
) -> "Translator":
    """The models on the device called `device`.

    Raises:
        UsageError: there is no such device or precision.
    """
    if precision not in ("fp32", "int8"):
        raise UsageError(f"--precision {precision}: it is fp32 or int8")
    from regard.pipelines.translate import load
    from regard.training.numerics import set_up_inference

    place = set_up_inference("cpu" if device == "auto" and precision == "int8" else device, threads=threads)
    return load(*(folders or []), device=place, precision="int8" if precision == "int8" else "fp32")


@contextmanager
def writer(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Writes lines to the file `path`, or to standard output, where each can be read at once.

    What was written before an interrupt or an error is kept under another name, and that is told.
    """
    if path is None or str(path) in ("-", "/dev/stdout"):

        def write(line: str) -> None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

        yield write
        return
    from regard.data.files import LineWriter

    lines = LineWriter(path, keep_part=True)
    try:
        with lines as file:
            yield file.write
    except BaseException:
        if lines.part is not None:
            sys.stderr.write(f"regard: lines that were done: {lines.num_lines:,}; they are in {lines.part}\n")
        raise


def _plain(number: int, translation: "Translation", fields: Fields) -> Iterator[str]:
    from regard.evaluation.alignment import format_links

    outputs = [translation, *translation.alternatives] if fields.n_best else [translation]
    for output in outputs:
        parts = [str(number)] if fields.n_best else []
        parts.append(output.text)
        if fields.alignment:
            parts.append(format_links(output.alignment) if output.ids else "")
        if fields.word_scores:
            parts.append(" ".join(["WordScores=", *(f"{score:.4f}" for score in output.token_scores)]))
        if fields.scores:
            parts += [f"LogProbability= {output.score:.4f}", f"{output.normalised_score:.4f}"]
        yield " ||| ".join(parts)


def _json(number: int, translation: "Translation", fields: Fields) -> str:
    def hypothesis(output: "Translation") -> dict[str, Any]:
        values: dict[str, Any] = {
            "text": output.text,
            "score": output.score,
            "normalised_score": output.normalised_score,
            "tokens": output.tokens,
            "token_scores": output.token_scores,
        }
        if fields.alignment:
            values["alignment"] = output.alignment if output.ids else []
        return values

    values = {
        "id": number,
        "source": translation.source,
        "source_tokens": translation.source_tokens,
        "hypotheses": [hypothesis(output) for output in (translation, *translation.alternatives)],
    }
    if translation.notice:
        values["notice"] = translation.notice
    return json.dumps(values, ensure_ascii=False)

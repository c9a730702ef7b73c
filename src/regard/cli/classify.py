"""Give texts or pictures their labels, or words their tags: arguments, a file, or standard input, line by line."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.notices import Notices
from regard.cli.options import Device, Json, Threads, keep_inputs
from regard.cli.translate import writer
from regard.errors import UsageError

if TYPE_CHECKING:
    from regard.pipelines.classify import Classification

EXAMPLES = """
regard classify -m runs/trec/model "How far is it from Denver to Aspen ?"
regard classify -m runs/trec/model --n-best 3 < questions.txt > labels.tsv
regard classify -m runs/trec/model --attention "Who wrote Hamlet ?"
regard classify -m runs/mnist/model seven.png folder/ t10k-images-idx3-ubyte.gz --json
"""


def command(
    model: Annotated[list[Path], typer.Option("--model", "-m", help="A model folder; several: an ensemble.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Instead of an input; or pictures.")
    ] = None,
    input_file: Annotated[Path | None, typer.Option("--input", "-i", help="A text file, or .gz, .zst.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; .gz, .zst compress.")] = None,
    n_best: Annotated[int, typer.Option("--n-best", min=1, help="Number of labels, most probable first.")] = 1,
    attention: Annotated[bool, typer.Option("--attention", help="Add what was looked at: piece:weight.")] = False,
    as_json: Json = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Print `label<TAB>probability` for each line of the input, in order; for a blank line a blank one.

    With --n-best the line goes on with the next label and its probability. A model that tags words prints the tags of
    all words with spaces between them, and the probability of them all. A line that is too long for the model gives a
    blank line and a notice; nothing is cut off.

    A model that reads pictures takes files, folders and IDX files (or their names, a line each, as input) and prints
    `picture<TAB>label<TAB>probability`; where it looked, `regard show` draws. Exit code 3 if one could not be read.
    """
    keep_inputs([input_file], output)
    from regard.checkpoint.model_folder import load_model
    from regard.cli.classify_pictures import classify_pictures
    from regard.cli.lines import input_chunks, named_files
    from regard.pipelines.classify import Classifier
    from regard.training.numerics import set_up_inference

    place = set_up_inference(device, threads=threads)
    loaded = [load_model(folder, device=place) for folder in model]
    if loaded[0].vocabularies.reads_pictures:
        if attention:
            raise UsageError(
                "--attention is for text; `regard show -m MODEL PICTURE -o FILE` draws it over the picture"
            )
        names = named_files(texts or [], input_file)
        classify_pictures(loaded, names, output, n_best=n_best, as_json=as_json)
        return
    classifier = Classifier(loaded)
    if classifier.gives_tags and n_best > 1 and not as_json:
        raise UsageError("--n-best with a model of tags needs --json, which shows every word's tags")
    row, notices = 0, Notices()
    with writer(output) as write:
        for lines in input_chunks(texts or [], input_file):
            for number, found in enumerate(classifier.classify(lines), row):
                write(_json(number, found, n_best, attention) if as_json else _plain(found, n_best, attention))
                if found.notice is not None:
                    notices.tell(f"line {number + 1}: {found.notice}")
            row += len(lines)
    notices.finish()


def _plain(found: "Classification", n_best: int, attention: bool) -> str:
    if not found.label:
        return ""
    cells = [found.label, f"{found.probability:.4f}"]
    if n_best > 1:
        cells = [
            cell
            for name, probability in islice(found.probabilities[0].items(), n_best)
            for cell in (name, f"{probability:.4f}")
        ]
    if attention:
        cells += [_looked(found, weights) for weights in _weights(found).values()]
    return "\t".join(cells)


def _looked(found: "Classification", weights: list[float]) -> str:
    pieces = [*found.source_tokens, "</s>"]
    return " ".join(f"{piece}:{weight:.2f}" for piece, weight in zip(pieces, weights, strict=False))


def _weights(found: "Classification") -> dict[str, list[float]]:
    """For each site the weights of all pieces, the mean of heads and queries.

    Raises:
        UsageError: the model has no attention.
    """
    if not found.attention:
        raise UsageError("this model has no attention; leave --attention out")
    return {site: weights.mean((0, 1)).tolist() for site, weights in found.attention.items()}


def _json(number: int, found: "Classification", n_best: int, attention: bool) -> str:
    values: dict[str, object] = {
        "id": number,
        "source": found.source,
        "source_tokens": found.source_tokens,
        "label": found.label,
        "probability": found.probability,
        "probabilities": [dict(islice(table.items(), n_best)) for table in found.probabilities],
    }
    if attention:
        values["attention"] = _weights(found) if found.label else {}
    if found.notice:
        values["notice"] = found.notice
    return json.dumps(values, ensure_ascii=False)

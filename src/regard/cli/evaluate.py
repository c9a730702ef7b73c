"""Measure a model, or outputs that are there already: BLEU, chrF, error rates, accuracy, F1, alignment error."""

import json
import sys
from collections.abc import Callable
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from regard.cli.options import FORMATS_HELP, Device, Threads, option
from regard.cli.tested_model import PERPLEXITY, Machine, as_learnt_by, open_reader, outputs_of, perplexity_of
from regard.cli.translate import BatchSize, LengthPenalty
from regard.errors import DataError, QualityError, UsageError

if TYPE_CHECKING:
    from regard.cli.tested_model import Reader
    from regard.data.corpus import Corpus, TestItem
    from regard.evaluation.metrics import Metric
    from regard.evaluation.significance import Comparison

EXAMPLES = """
regard evaluate -m runs/small/model data/multi30k/test_2016_flickr --from en --to de
regard evaluate -m runs/words/model test.dict --metric wer,per --at-most wer=21
regard evaluate -m runs/trec/model trec/test.txt --format labelled --at-least accuracy=90
regard evaluate -m runs/chat/model test.tsv --metric perplexity
regard evaluate -m runs/mnist-convolution/model mnist/t10k-images-idx3-ubyte --at-least accuracy=99.1
regard evaluate --hypotheses output.de test.tsv --baseline other.de
regard evaluate -m runs/scenes-soft "data/scenes/captions.tsv#test" --images data/scenes/images
regard evaluate --hypotheses captions.txt captions.tsv --metric bleu-1,bleu-4,cider-d
regard evaluate --alignments system.txt --gold gold.txt --first-word 1
"""


class Gate(NamedTuple):
    """A bound on a metric; not met, the exit code is 6."""

    metric: str
    bound: float
    is_minimum: bool

    def holds(self, value: float) -> bool:
        """Whether `value` is good enough."""
        return value >= self.bound if self.is_minimum else value <= self.bound


def command(
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="The test set: a file, or what a pair of files shares.")
    ] = None,
    model: Annotated[
        list[Path] | None, typer.Option("--model", "-m", help="A model folder; several: ensemble.")
    ] = None,
    hypotheses: Annotated[Path | None, typer.Option("--hypotheses", help="Outputs, a line an item.")] = None,
    source: Annotated[str, typer.Option("--from", help="Language of the source: ending, column or key.")] = "source",
    target: Annotated[str, typer.Option("--to", help="Language of the references.")] = "target",
    format: Annotated[str, typer.Option("--format", help=FORMATS_HELP)] = "auto",
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder of the pictures; DATA's if not given.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="Of bleu,chrf,gleu,wer,per,cer,accuracy,tag_accuracy,f1,perplexity, bleu:none for tokenised text; "
            "for captions bleu-1 to bleu-4,rouge-l,cider-d,cider,meteor-like; with commas.",
        ),
    ] = None,
    beam_size: Annotated[int | None, typer.Option("--beam-size", "-b", min=1, help="Instead of the model's.")] = None,
    length_penalty: LengthPenalty = None,
    batch_size: BatchSize = 32,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="Outputs to test against (bootstrap).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the model's outputs here.")] = None,
    at_least: Annotated[list[str] | None, typer.Option("--at-least", help="Gate, such as bleu=38.5.")] = None,
    at_most: Annotated[list[str] | None, typer.Option("--at-most", help="Gate, such as wer=21.")] = None,
    alignments: Annotated[Path | None, typer.Option("--alignments", help="Links i-j from 0, for --gold.")] = None,
    gold: Annotated[Path | None, typer.Option("--gold", help="Gold links: i-j sure, ipj possible.")] = None,
    first_word: Annotated[int, typer.Option("--first-word", min=0, max=1, help="What --gold counts from.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Translate or label a test set and measure the outputs, or measure outputs that are there already.

    Without --metric: BLEU and chrF, for captions theirs, for a pronunciation dictionary the shares of wrong words (wer)
    and phones (per), for a model that gives labels their accuracy, for one that tags words F1 and the accuracy of tags.
    `wer` is the share of items that are not exactly right, as in papers on pronunciation; it is no edit distance over
    words. An item may have several references. `perplexity` is that of a piece of the references, of which none is
    searched for. Conversations are read with as many turns as the model learnt from. Exit code 6 if a gate (--at-least,
    --at-most) is not met.
    """
    gates = _gates(at_least, is_minimum=True) + _gates(at_most, is_minimum=False)
    comparisons: list[Comparison] = []
    if alignments is not None or gold is not None:
        if (data, model, hypotheses, baseline, metric, output) != (None,) * 6:
            raise UsageError("--alignments and --gold are measured alone, without a test set, outputs or a metric")
        values = [_alignment_error(alignments, gold, first_word)]
    else:
        from regard.data.corpus import read_test_set

        machine = Machine(device, threads, batch_size)
        settings = {"beam_size": beam_size, "length_penalty": length_penalty}
        search = {name: value for name, value in settings.items() if value is not None}
        if model is None and (search or machine != Machine("auto", None, 32)):
            raise UsageError(
                "--beam-size, --length-penalty, --batch-size, --device and --threads are for --model: "
                "nothing is translated"
            )
        if (model is None) == (hypotheses is None):
            raise UsageError("give either --model or --hypotheses")
        reader = None if model is None else open_reader(model, machine)
        corpus = _corpus(data, format, source, target, reader=reader, images=images)
        items = read_test_set(corpus)
        names = _metric_names(metric, corpus, reader)
        _check_gates(gates, names)
        if baseline is not None:
            _check_tested(names)
        others = None if baseline is None else _read(baseline, len(items))
        searched = [name for name in names if name != PERPLEXITY]
        if search and not searched and output is None:
            raise UsageError(
                f"{option(next(iter(search)))} has no effect on perplexity, which is that of the references"
            )
        last = [perplexity_of(reader, corpus, items, machine)] if reader is not None and PERPLEXITY in names else []
        names, outputs = searched, []
        if names or output is not None:
            outputs = _outputs_saved(output, lambda: _outputs(reader, hypotheses, corpus, items, search, machine))
        items = items if reader is None else as_learnt_by(reader, items)
        values = (_measure(names, outputs, items) if names else []) + last
        if others is not None:
            comparisons = _compare(names, others, outputs, items)
    _print_json(values, comparisons) if as_json else _print_table(values, comparisons)
    _pass(gates, values)


def _gates(bounds: list[str] | None, *, is_minimum: bool) -> list[Gate]:
    gates = []
    for bound in bounds or []:
        name, _, number = bound.partition("=")
        try:
            gates.append(Gate(name, float(number), is_minimum))
        except ValueError:
            gates.append(Gate(name, nan, is_minimum))
        if not isfinite(gates[-1].bound):
            raise UsageError(f"a gate is METRIC=NUMBER, such as bleu=38.5, but it is {bound!r}")
    return gates


def _check_gates(gates: list[Gate], names: list[str]) -> None:
    for gate in gates:
        if gate.metric not in names:
            raise UsageError(f"the gate on `{gate.metric}` needs that metric; measured are {', '.join(names)}")


def _corpus(
    data: str | None, format: str, source: str, target: str, *, reader: "Reader | None", images: Path | None
) -> "Corpus":
    if data is None:
        raise UsageError("name the test set, such as test.tsv, or the two files' common part with --from and --to")
    from regard.data.corpus import open_corpus
    from regard.data.corpus_pictures import PICTURE_FORMATS
    from regard.data.open_pictures import open_picture_corpus

    if (reader is not None and reader.vocabularies.reads_pictures) or format in PICTURE_FORMATS:
        return open_picture_corpus(data, root=images, format=format, source=source, target=target)
    if images is not None:
        raise UsageError("--images is for a model that reads pictures, or with --format captions, coco or karpathy")
    corpus = open_corpus(data, format=format, source=source, target=target)
    if reader is None or corpus.format != "conversation":
        return corpus
    return open_corpus(data, format=corpus.format, history=reader.loaded[0].card.history)


def _metric_names(metric: str | None, corpus: "Corpus", reader: "Reader | None") -> list[str]:
    from regard.evaluation.metrics import METRICS

    if metric is None:
        return _usual_metrics(corpus, None if reader is None else reader.vocabularies.target.kind)
    from regard.pipelines.translate import Translator

    names = [name.strip() for name in metric.split(",")]
    for name in names:
        if name not in (*METRICS, PERPLEXITY):
            raise UsageError(f"no metric `{name}`; there are {', '.join((*METRICS, PERPLEXITY))}")
    if PERPLEXITY in names and not isinstance(reader, Translator):
        raise UsageError("perplexity is of a model that says texts when it has read texts: give such a --model")
    return names


def _usual_metrics(corpus: "Corpus", target_kind: str | None) -> list[str]:
    """Those for such a test set, and outputs of this kind."""
    if target_kind == "tags":
        return ["f1", "tag_accuracy"]
    if target_kind == "labels" or corpus.format in ("folders", "idx"):
        return ["accuracy"]
    if corpus.pictures is not None:
        return ["bleu-1", "bleu-2", "bleu-3", "bleu-4", "rouge-l", "cider-d", "meteor-like"]
    return ["wer", "per"] if corpus.format == "cmudict" or target_kind == "symbols" else ["bleu", "chrf"]


def _check_tested(names: list[str]) -> None:
    """What --baseline cannot be compared by is told before the search, which takes long."""
    from regard.evaluation.significance import check_tested

    try:
        check_tested(names)
    except UsageError as error:
        raise UsageError(f"--baseline: {error}, with --metric") from None


def _outputs_saved(path: Path | None, make: Callable[[], list[str]]) -> list[str]:
    if path is None:
        return make()
    from regard.data.files import LineWriter

    with LineWriter(path) as file:  # opened first: a search takes long, and a wrong path is soon found
        outputs = make()
        for line in outputs:
            file.write(line)
    return outputs


def _outputs(
    reader: "Reader | None",
    hypotheses: Path | None,
    corpus: "Corpus",
    items: list["TestItem"],
    search: dict[str, Any],
    machine: Machine,
) -> list[str]:
    if reader is not None:
        return outputs_of(reader, corpus, items, search, machine)
    assert hypotheses is not None
    return _read(hypotheses, len(items))


def _read(path: Path, num_items: int) -> list[str]:
    from regard.data.text import read_lines

    lines = list(read_lines(path))
    if len(lines) != num_items:
        raise DataError(f"{path} has {len(lines)} lines for the {num_items} items of the test set; give one for each")
    return lines


def _measure(names: list[str], outputs: list[str], items: list["TestItem"]) -> list["Metric"]:
    from regard.evaluation.metrics import evaluate

    return evaluate(names, outputs, [item.references for item in items])


def _compare(names: list[str], others: list[str], outputs: list[str], items: list["TestItem"]) -> list["Comparison"]:
    from regard.evaluation.significance import paired_bootstrap

    references = [item.references for item in items]
    return [paired_bootstrap(name, others, outputs, references) for name in names]


def _alignment_error(alignments: Path | None, gold: Path | None, first_word: int) -> "Metric":
    if alignments is None or gold is None:
        raise UsageError("the alignment error needs both --alignments (the system's links) and --gold")
    from regard.data.text import read_lines
    from regard.evaluation.alignment import alignment_error_rate, parse_gold, parse_links
    from regard.evaluation.metrics import Metric

    golds = [
        parse_gold(line, first=first_word, where=f"{gold}:{number}") for number, line in enumerate(read_lines(gold), 1)
    ]
    systems = [
        parse_links(line, where=f"{alignments}:{number}") for number, line in enumerate(read_lines(alignments), 1)
    ]
    return Metric("aer", alignment_error_rate(systems, golds), "links:sure+possible", higher_is_better=False)


def _print_json(values: list["Metric"], comparisons: list["Comparison"]) -> None:
    document = {
        "metrics": [value._asdict() for value in values],
        "comparisons": [comparison._asdict() for comparison in comparisons],
    }
    sys.stdout.write(json.dumps(document) + "\n")


def _print_table(values: list["Metric"], comparisons: list["Comparison"]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    if comparisons:
        table.add_column("baseline", justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
    table.add_column("signature", overflow="fold")
    by_name = {comparison.metric: comparison for comparison in comparisons}
    for value in values:
        cells = [value.name, f"{value.value:.2f}"]
        if comparisons:
            cells += [f"{by_name[value.name].baseline:.2f}", f"{by_name[value.name].p_value:.4f}"]
        table.add_row(*cells, value.signature)
    Console().print(table)


def _pass(gates: list[Gate], values: list["Metric"]) -> None:
    measured = {value.name: value.value for value in values}
    _check_gates(gates, list(measured))
    for gate in gates:
        if not gate.holds(measured[gate.metric]):
            side = "below" if gate.is_minimum else "above"
            raise QualityError(f"{gate.metric} is {measured[gate.metric]:.2f}, {side} the gate of {gate.bound:g}")

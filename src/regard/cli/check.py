"""Examine corpora: everything that hurts training, with its place; `--fix` writes clean copies."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from regard.cli.options import FORMATS_HELP
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.data.corpus import Corpus
    from regard.data.doctor import Diagnosis
    from regard.data.doctor_fix import Treatment

EXAMPLES = """
regard check corpus/train --from en --to de --test corpus/test
regard check corpus/train --from en --to de --fix clean
regard check recipes/multi30k-ende-small.yaml data.root=data/multi30k --strict
regard check captions.tsv#train --test captions.tsv#test --format captions --images images
"""

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_MENDED = ("invalid", "malformed")


def command(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="A file (TSV, JSONL, dictionary), what two aligned files share before .LANGUAGE, two aligned files, "
            "or a recipe with settings such as data.root=FOLDER.",
            show_default=False,
        ),
    ],
    source: Annotated[
        str, typer.Option("--from", help="Language of the source: ending, column name or key.")
    ] = "source",
    target: Annotated[str, typer.Option("--to", help="Language of the target.")] = "target",
    format: Annotated[str, typer.Option("--format", help=FORMATS_HELP)] = "auto",
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder of the pictures; by default that of DATA.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option("--test", help="A corpus that must not be in the training data; repeatable.")
    ] = None,
    num_examples: Annotated[int, typer.Option("--examples", min=0, help="Examples for each finding.")] = 3,
    fix: Annotated[
        Path | None, typer.Option("--fix", metavar="OUT", help="Write clean copies into this folder.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option("--drop", help="What --fix leaves out: empty,duplicate,test_pair (default), ...")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each corpus.")] = False,
) -> int:
    """Examine corpora for what hurts training.

    It finds files that are not aligned, bytes that are not UTF-8, odd line breaks, empty, swapped and repeated pairs,
    test sentences in the training data, and unusual lengths, scripts and characters; of pictures (--format captions,
    coco, karpathy, folders or idx) those that are missing, damaged, there twice, or in the test set too.

    Exit code 0 if there are at most warnings and notes, 3 with an error (--strict: or a warning). With --fix, what was
    left out is no error any more; OUT/NAME.report.jsonl lists every line that was dropped or changed, and why.
    """
    from regard.data.doctor import examine
    from regard.data.doctor_pictures import examine_pictures

    if drop is not None and fix is None:
        raise UsageError("`--drop` says what `--fix` leaves out; name a folder with `--fix`")
    train, held_out = _corpora(data, test or [], format=format, source=source, target=target, images=images)
    of_pictures = train[0].pictures is not None
    if of_pictures and fix is not None:
        raise UsageError("--fix mends texts; pictures that cannot be read are left out by `data.on_error: skip`")
    treatments = None if fix is None else _treatments(train, fix, held_out, drop)
    diagnoses = []
    for diagnosis in (examine_pictures if of_pictures else examine)(train, held_out, num_examples=num_examples):
        diagnoses.append(diagnosis)
        _print_json(diagnosis.as_dict()) if as_json else _print_diagnosis(diagnosis)
    for treatment in treatments or ():
        _print_json(treatment.as_dict()) if as_json else _print_treatment(treatment)
    return _exit_code(diagnoses, strict=strict, mended=fix is not None)


def _treatments(
    train: list["Corpus"], folder: Path, held_out: list["Corpus"], drop: str | None
) -> Iterator["Treatment"]:
    """What --fix will do; a wrong --drop is told before the examination, which may take long."""
    from regard.data.doctor_fix import DROPPED, fix

    kinds = DROPPED if drop is None else tuple(kind.strip() for kind in drop.split(",") if kind.strip())
    return fix(train, folder, held_out=held_out, drop=kinds)


def _corpora(
    data: list[str], test: list[str], *, format: str, source: str, target: str, images: Path | None
) -> tuple[list["Corpus"], list["Corpus"]]:
    """What to examine, and what is held out from it."""
    from regard.data.corpus import open_corpus
    from regard.data.corpus_base import Reading
    from regard.data.corpus_pictures import PICTURE_FORMATS
    from regard.data.open_pictures import open_picture_corpus

    if data[0].endswith((".yaml", ".yml")):
        if test or images or (format, source, target) != ("auto", "source", "target"):
            raise UsageError(
                "a recipe names its languages, format and test sets itself; leave out the options for them"
            )
        return _corpora_of_recipe(Path(data[0]), data[1:])

    def opened(name: str | tuple[str, str]) -> "Corpus":
        return open_corpus(name, format=format, source=source, target=target, on_error="skip")

    def of_pictures(name: str) -> "Corpus":
        reading = Reading("skip")
        return open_picture_corpus(name, root=images, format=format, source=source, target=target, reading=reading)

    if images is not None or format in PICTURE_FORMATS:
        return [of_pictures(name) for name in data], [of_pictures(name) for name in test]
    train = [opened((data[0], data[1]))] if _are_two_sides(data, format) else [opened(name) for name in data]
    return train, [opened(name) for name in test]


def _are_two_sides(data: list[str], format: str) -> bool:
    """Whether two files are named that are the two sides of one corpus, for neither is a corpus by itself."""
    from regard.data.corpus import recognise

    if len(data) != 2 or format not in ("auto", "moses") or not all(Path(name).is_file() for name in data):
        return False
    return format == "moses" or all(recognise(Path(name)) is None for name in data)


def _corpora_of_recipe(path: Path, settings: list[str]) -> tuple[list["Corpus"], list["Corpus"]]:
    from regard.data.dataset import open_named
    from regard.recipe import Recipe

    data = Recipe.read(path, settings).data.model_copy(update={"on_error": "skip"})
    held_out = [name for name in (data.validation, *data.test) if name is not None]
    train, test = ([open_named(data, name, Path()) for name in names] for names in (data.train, held_out))
    return train, test


def _exit_code(diagnoses: list["Diagnosis"], *, strict: bool, mended: bool) -> int:
    findings = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    if mended:
        findings = [finding for finding in findings if finding.kind not in _MENDED]
    severities = {finding.severity for finding in findings}
    return DataError.exit_code if "error" in severities or (strict and "warning" in severities) else 0


def _print_json(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")


def _print_diagnosis(diagnosis: "Diagnosis") -> None:
    console = Console(soft_wrap=True, highlight=False)
    title = Text(diagnosis.name, style="bold")
    console.print(title + Text(f" ({diagnosis.role}): {diagnosis.num_lines:,} lines, {diagnosis.num_pairs:,} pairs"))
    for finding in diagnosis.findings:
        console.print(Text.assemble("  ", (f"{finding.severity:<7}", _STYLES[finding.severity]), "  ", finding.message))
        for example in finding.examples:
            console.print(Text(f"           {example.location}  {example.text}", style="dim"))
    if not diagnosis.findings:
        console.print(Text("  clean", style="green"))


def _print_treatment(treatment: "Treatment") -> None:
    """Written, in figures that add up, and why."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        Text(
            f"wrote {' and '.join(treatment.files)}: {treatment.num_lines:,} lines in, {treatment.num_kept:,} kept "
            f"({treatment.num_changed:,} of them changed), {treatment.num_dropped:,} dropped; see {treatment.report}"
        )
    )
    for title, counts in (("dropped", treatment.reasons), ("changed", treatment.changes)):
        for kind, number in counts.items():
            console.print(Text(f"  {title} {number:,} for {kind}"))

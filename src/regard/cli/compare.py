"""Train several systems on the same data and put them into one table; or print the published one."""

import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from regard.errors import UsageError

if TYPE_CHECKING:
    from regard.data.corpus import TestItem
    from regard.pipelines.compare import Measured
    from regard.show.cost import Dot

EXAMPLES = """
regard compare recipes/multi30k-ende-small.yaml recipes/multi30k-ende-lstm.yaml data.root=data/multi30k --minutes 25
regard compare runs/small runs/lstm --ensemble small,lstm --plot bleu.svg
regard compare --published
"""

_INTERRUPTED = (129, 130, 143)


class Lines(NamedTuple):
    """A table: its columns, its rows of plain values, and the dots of its picture."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    dots: "list[Dot]"
    cost: str
    note: str = ""


def command(
    systems: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE|RUN|KEY=VALUE]...", help="Recipes, runs, settings for all.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where recipes are trained.")] = Path("runs"),
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.01, help="Train each no longer.")] = None,
    ensemble: Annotated[
        list[str] | None, typer.Option("--ensemble", help="One more row: the ensemble of these, with commas.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="BLEU against cost: a .svg, .png or .pdf.")] = None,
    published: Annotated[bool, typer.Option("--published", help="The table of Vaswani et al. (2017).")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A table for a document.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """Compare systems on the test sets of their recipes: BLEU with its 95 % interval, and what they cost.

    A recipe is trained in OUTPUT/NAME-OF-THE-RECIPE first, or taken from there if it is trained already; an
    interrupted training goes on. All must have the same data and the same tokenizer; recipes, data and test sets are
    looked at before anything is trained. --published prints the table of the lecture instead, with the costs computed
    again: days x devices x sustained operations a second; and beside them the operations that the same models compute
    by our own count.
    """
    forms = [form for form, wanted in zip(_FORMS, (as_markdown, as_csv, as_json), strict=True) if wanted]
    if len(forms) > 1:
        raise UsageError(f"--{forms[0]} and --{forms[1]} are two forms of the same table; take one")
    if plot is not None:
        _check_ending(plot)
    if published:
        if systems or ensemble or minutes:
            raise UsageError("--published prints a table that is there; name no systems beside it")
        lines = _published()
    else:
        plan = _plan(systems or [], output, minutes, ensemble or [])
        for recipe, folder in plan.recipes.items():
            if code := _train(recipe, folder, plan.settings):
                return code
        lines = _measured(plan, ensemble or [])
    _FORMS[forms[0]](lines) if forms else _print(lines)
    if plot is not None:
        _draw(lines, plot)
    return 0


def _check_ending(plot: Path) -> None:
    if plot.suffix not in (".svg", ".png", ".pdf"):
        raise UsageError(f"--plot {plot}: a picture ends in .svg, .png or .pdf")


class _Plan(NamedTuple):
    """What is compared, after a look for all that can be wrong with it before anything is trained."""

    folders: list[Path]  # of all runs, in the order of the command line
    recipes: dict[Path, Path]  # what is to be trained, and where
    settings: list[str]
    tests: "dict[str, list[TestItem]]"


def _plan(systems: list[str], output: Path, minutes: float | None, ensembles: list[str]) -> _Plan:
    from regard.pipelines.compare import candidate_recipe, candidate_run, common_tests

    settings = [word for word in systems if "=" in word and not Path(word).exists()]
    if minutes is not None:
        settings.append(f"training.minutes={minutes:g}")
    named = [Path(word) for word in systems if word not in settings]
    if not named:
        raise UsageError("name what to compare: recipes or run folders; or --published")
    recipes = [path for path in named if path.suffix in (".yaml", ".yml")]
    if settings and not recipes:
        raise UsageError(f"the settings {' '.join(settings)} have no effect on runs that are trained already")
    folders = [output / path.stem if path in recipes else path for path in named]
    names = [folder.name for folder in folders]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two systems are called {min(twice)}; a table needs different names")
    for members in ensembles:
        if unknown := [name for name in members.split(",") if name not in names]:
            raise UsageError(f"--ensemble {members}: there is no system {unknown[0]}; there are {', '.join(names)}")
    candidates = [candidate_recipe(path, settings) if path in recipes else candidate_run(path) for path in named]
    to_train = {path: folder for path, folder in zip(named, folders, strict=True) if path in recipes}
    return _Plan(folders, to_train, settings, common_tests(candidates))


def _train(recipe: Path, folder: Path, settings: Sequence[str]) -> int:
    # A process of its own: the peak of its memory is this system's, and what it leaves behind is nobody's.
    words = ["train", str(recipe), "-o", str(folder), *settings]
    sys.stderr.write(f"regard {shlex.join(words)}\n")
    with subprocess.Popen([sys.executable, "-m", "regard", *words], stdout=sys.stderr) as training:
        try:
            code = training.wait()
        except (KeyboardInterrupt, SystemExit):
            # Asked to leave: so is the training, which saves what it has; left to itself `Popen` would kill it.
            training.terminate()
            training.wait()
            raise
    if code and code not in _INTERRUPTED:
        sys.stderr.write(f"regard: nothing is compared, because {recipe} was not trained\n")
    return code if code >= 0 else 1  # ended by a signal, such as the one that a full memory sends


def _measured(plan: _Plan, ensembles: list[str]) -> Lines:
    from regard.pipelines.compare import check_alike, measure, open_run
    from regard.show.cost import Dot

    runs = [open_run(folder) for folder in plan.folders]
    check_alike(runs)
    by_name = {run.name: run for run in runs}
    groups = {run.name: [run] for run in runs}
    for members in ensembles:
        names = members.split(",")
        groups[f"ensemble of {len(names)}: {', '.join(names)}"] = [by_name[name] for name in names]
    measured = []
    for name, group in groups.items():
        sys.stderr.write(f"measuring {name}\n")
        measured.append(measure(name, group, plan.tests))
    first = next(iter(plan.tests))
    columns = ("system", "parameters", "FLOPs", "minutes", "MB", *plan.tests, "sentences/s")
    signature = measured[0].bleu[first].signature
    note = (
        f"BLEU with 95 % intervals ({signature}); counted FLOPs and minutes are those of training, without validation"
    )
    counted = all(row.flops for row in measured)
    dots = [
        Dot(row.name, row.flops if counted else row.seconds / 60, row.bleu[first].value, row.bleu[first].half_width)
        for row in measured
    ]
    cost = "floating-point operations of training, counted" if counted else "minutes of training"
    return Lines(columns, [_row(row) for row in measured], dots, cost, note)


def _row(row: "Measured") -> tuple[Any, ...]:
    from regard.evaluation.flops import readable

    scores = [f"{interval.value:.2f} ± {interval.half_width:.2f}" for interval in row.bleu.values()]
    return (
        row.name,
        f"{row.num_parameters / 1e6:.1f} M",
        readable(row.flops) if row.flops else "",
        round(row.seconds / 60, 1),
        round(row.peak_bytes / 1e6),
        *scores,
        round(row.sentences_per_second, 1),
    )


def _published() -> Lines:
    from regard.evaluation.flops import readable
    from regard.evaluation.published import TABLE_2
    from regard.show.cost import Dot

    rows, dots = [], []
    for row in TABLE_2:
        for pair, cell in (("EN-DE", row.en_de), ("EN-FR", row.en_fr)):
            if cell is None:
                continue
            printed = "" if cell.printed_cost is None else f"{cell.printed_cost:.1e}"
            computed = "" if cell.training is None else f"{cell.training.capacity:.2e}"
            each, counted = (
                "" if flops is None else readable(flops) for flops in (row.flops_per_token(cell), row.flops(cell))
            )
            rows.append((row.system, pair, cell.bleu, printed, computed, str(cell.training or ""), counted, each))
            if cell.training is not None and pair == "EN-DE":
                dots.append(Dot(row.system, cell.training.capacity, cell.bleu))
    columns = ("system", "pair", "bleu", "printed", "computed", "hardware", "counted", "a token")
    note = (
        "printed and computed: what the hardware could have done in the time; counted: what the model computes, where "
        "the paper says how much was trained; a token: the same for one target token, in pairs of 27 + 27 of 37,000"
    )
    return Lines(columns, rows, dots, "floating-point operations that the hardware could have done, EN-DE", note)


def _print(lines: Lines) -> None:
    table = Table(box=None, pad_edge=False)
    for column, value in zip(lines.columns, lines.rows[0], strict=True):
        is_text = isinstance(value, str) and not value[:1].isdigit() and column != "printed"
        table.add_column(column, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    for row in lines.rows:
        table.add_row(*(f"{value:.2f}" if column == "bleu" else str(value) for column, value in _named(lines, row)))
    console = Console()
    console.print(table)
    if lines.note:
        console.print(f"[dim]{lines.note}[/]", highlight=False)


def _named(lines: Lines, row: tuple[Any, ...]) -> list[tuple[str, Any]]:
    return list(zip(lines.columns, row, strict=True))


def _write_markdown(lines: Lines) -> None:
    ruler = ["---", *["---:"] * (len(lines.columns) - 1)]
    for row in (lines.columns, ruler, *lines.rows):
        sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")
    if lines.note:
        sys.stdout.write(f"\n{lines.note}.\n")


def _write_csv(lines: Lines) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerows([lines.columns, *lines.rows])


def _write_json(lines: Lines) -> None:
    for row in lines.rows:
        sys.stdout.write(json.dumps(dict(_named(lines, row)), ensure_ascii=False) + "\n")


_FORMS = {"markdown": _write_markdown, "csv": _write_csv, "json": _write_json}


def _draw(lines: Lines, path: Path) -> None:
    from regard.data.files import appearing
    from regard.show.cost import cost_plot
    from regard.show.plot import save

    with appearing(path) as place:
        save(cost_plot(lines.dots, cost=lines.cost, score="BLEU"), place)
    sys.stderr.write(f"wrote {path}\n")

"""Train a model by a recipe; go on where an interrupted run stopped."""

import inspect
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.cli.options import Device, Json, Quiet, RecipeFile, Settings, Threads
from regard.errors import UsageError

if TYPE_CHECKING:
    from regard.cli.interrupt import Interrupt
    from regard.cli.live import View
    from regard.pipelines.events import AlreadyFinished, Published
    from regard.recipe import Recipe

EXAMPLES = """
regard train recipes/multi30k-ende-small.yaml data.root=data/multi30k -o runs/small
regard train recipes/multi30k-ende-small.yaml data.root=data/multi30k training.minutes=5 --dry-run
regard train recipes/cmudict.yaml --seeds 3
"""

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder. [default: runs/NAME-OF-THE-RECIPE]")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Stop with an error if the run folder holds a run already.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Number of runs, with seed, seed + 1, ...")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show every setting, and stop.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Prepare the data, show the plan, and stop.")]


def then_train(read: Callable[..., "Recipe"]) -> Callable[..., int]:
    """A verb that trains: the parameters of `read` say by which recipe, and those here where and how.

    `read` gets its RECIPE under the name `recipe`; its docstring is the verb's.
    """

    def command(
        *,
        output: Output = None,
        fresh: Fresh = False,
        seeds: Seeds = 1,
        device: Device = "auto",
        threads: Threads = None,
        print_config: PrintConfig = False,
        dry_run: DryRun = False,
        quiet: Quiet = False,
        as_json: Json = False,
        **which: Any,
    ) -> int:
        recipe = read(**which)
        if threads is not None:
            recipe = recipe.with_training(threads=threads)
        if print_config:
            sys.stdout.write(recipe.text())
            return 0
        if dry_run:
            from regard.pipelines.plan import describe_plan

            sys.stdout.write(describe_plan(recipe, device=device))
            return 0
        folder = output or _default_folder(which["recipe"])
        return _train(_seeded(recipe, folder, seeds), fresh=fresh, device=device, quiet=quiet, as_json=as_json)

    own, shared = (list(inspect.signature(function).parameters.values()) for function in (read, command))
    # What typer reads: the two signatures as one.
    command.__signature__ = inspect.Signature([*own, *shared[:-1]])  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in (*own, *shared[:-1])}
    command.__doc__ = read.__doc__
    return command


@then_train
def command(recipe: RecipeFile, settings: Settings = None) -> "Recipe":
    """Train a model by RECIPE in a run folder, and write the finished model to its folder `model`.

    The same command on an interrupted run goes on where it stopped, bit for bit; on a finished run it says so.
    Ctrl-C and SIGTERM finish the step, save, and end with exit code 130 or 143.
    """
    from regard.recipe import Recipe

    return Recipe.read(recipe, settings or [])


def _default_folder(recipe: Path) -> Path:
    name = recipe.name.removesuffix(".yaml").removesuffix(".yml")
    if (
        not name
        or len(name) > 100
        or not all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)
    ):
        raise UsageError(f"no run folder can be named after {recipe.name!r}; name one with --output")
    return Path("runs") / name


def _seeded(recipe: "Recipe", folder: Path, seeds: int) -> Iterator[tuple["Recipe", Path]]:
    """The recipe and the folder of every run."""
    if seeds == 1:
        yield recipe, folder
        return
    for seed in range(recipe.training.seed, recipe.training.seed + seeds):
        yield recipe.with_training(seed=seed), folder / f"seed-{seed}"


def _train(runs: Iterator[tuple["Recipe", Path]], *, fresh: bool, device: str, quiet: bool, as_json: bool) -> int:
    from regard.cli.interrupt import Interrupt
    from regard.cli.live import make_view

    ends: list[Published | AlreadyFinished] = []
    with Interrupt() as interrupt:
        for recipe, folder in runs:
            view = make_view(quiet=quiet, as_json=as_json)
            try:
                end = _run(recipe, folder, view, interrupt, fresh=fresh, device=device)
            finally:
                view.close()
            if interrupt.is_requested():
                return interrupt.exit_code
            if end is not None:
                ends.append(end)
    if len(ends) > 1:
        scores = [end.score for end in ends]
        mean, spread = statistics.mean(scores), statistics.stdev(scores)
        sys.stderr.write(f"{ends[0].metric} of {len(scores)} seeds: {mean:.2f} ± {spread:.2f}\n")
    return 0


def _run(
    recipe: "Recipe", folder: Path, view: "View", interrupt: "Interrupt", *, fresh: bool, device: str
) -> "Published | AlreadyFinished | None":
    from regard.pipelines import events
    from regard.pipelines.fit import fit

    end = None
    command = shlex.join(["regard", *sys.argv[1:]])
    interrupt.gentle = False
    for event in fit(
        recipe,
        folder,
        fresh=fresh,
        device=device,
        command=command,
        should_stop=interrupt.is_requested,
        tell=view.show,
    ):
        # From here on there is something to save.
        interrupt.gentle = True
        view.show(event)
        if isinstance(event, events.Published | events.AlreadyFinished):
            end = event
    return end

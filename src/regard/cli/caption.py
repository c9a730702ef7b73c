"""Say what pictures show: files, folders, or a list on standard input; with where the model looked for every word."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from regard.cli.options import Device, Threads, keep_inputs, named_as_typed
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.pipelines.caption import Caption, Captioner, Pixels

EXAMPLES = """
regard caption -m scenes                                     # at a terminal: the examples that come with that model
regard caption -m runs/scenes-soft picture.png
regard caption -m runs/scenes-soft pictures/ --attention overlays -o captions.jsonl
ls pictures/*.png | regard caption -m runs/scenes-soft --text
regard caption -m model-1 -m model-2 --n-best 5 picture.png
"""


class Unread(NamedTuple):
    """A picture that could not be read, and why."""

    image: str
    error: str


def command(
    model: Annotated[
        list[Path] | None, typer.Option("--model", "-m", help="A model folder; several: ensemble.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Files and folders; none: a path a line of stdin, at a terminal the model's examples.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; .gz, .zst compress.")] = None,
    attention: Annotated[
        Path | None, typer.Option("--attention", help="A folder for a picture of each, with a panel for every word.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The caption alone instead of JSON.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Report what cannot be read and go on.")] = False,
    beam_size: Annotated[int | None, typer.Option("--beam-size", "-b", help="1: greedy.")] = None,
    n_best: Annotated[int | None, typer.Option("--n-best", help="Number of captions for each picture.")] = None,
    length_penalty: Annotated[float | None, typer.Option("--length-penalty", help="Higher: longer captions.")] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", help="In pieces.")] = None,
    sampling: Annotated[bool, typer.Option("--sampling", help="Draw captions at random.")] = False,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Below 1: safer draws.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures that are searched together.")] = 32,
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Print one line for each picture, in order: JSON with image, caption, scores and tokens; or with --text the text.

    `scenes` is a captioner that comes with regard; of a photograph it says nonsense.

    A folder means every picture in it, by name. A picture that cannot be read ends the run with exit code 3; with
    --skip its line is `{"image": ..., "error": ...}` (blank with --text), and the code is 3 at the end.
    """
    search = {
        "beam_size": beam_size,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "sampling": sampling or None,
        "temperature": temperature,
        "seed": seed,
    }
    given = {name: value for name, value in search.items() if value is not None}
    from regard.cli.lines import readable
    from regard.cli.translate import writer
    from regard.pipelines.caption import Captioner
    from regard.training.numerics import set_up_inference

    keep_inputs(images or [], output)
    captioner = Captioner.load(*(model or []), device=set_up_inference(device, threads=threads))
    with named_as_typed(search):
        captioner.settings(**given)  # a wrong option shall not wait for the first picture
    if attention is not None:
        _require_attention(captioner, attention)
    number = num_unread = 0
    with writer(output) as write:
        paths = _paths(images or _examples(model or []))
        while batch := list(islice(paths, batch_size)):
            for result in _captions(captioner, batch, number, given, skip=skip):
                write(readable(_text(result) if text else _json(result)))
                num_unread += isinstance(result, Unread)
                if attention is not None and not isinstance(result, Unread):
                    _draw(result, attention / f"{number:05}-{Path(result.image).stem[:50]}.png")
                number += 1
    return DataError.exit_code if num_unread else 0


def _examples(models: list[Path]) -> list[Path]:
    """The pictures that the first model brings along, if nobody gives others: standard input is a terminal."""
    from regard.checkpoint.model_folder import find_model
    from regard.checkpoint.shipped import examples

    found = examples(find_model(models[0])) if sys.stdin.isatty() else []
    if found:
        sys.stderr.write(f"regard: no picture is named, so here are the model's examples, from {found[0].parent}\n")
    return found


def _paths(images: list[Path] | None) -> Iterator[Path]:
    """Files as they are named, those of folders by name, or lines of standard input."""
    from regard.cli.lines import named_files
    from regard.pipelines.picture_input import files_in

    if not images:
        if sys.stdin.isatty():
            raise UsageError("name pictures or folders, or give a list of paths on standard input")
        yield from (Path(name) for name in named_files([], None) if name.strip())
        return
    for path in images:
        yield from files_in(path) if path.is_dir() else [path]


def _captions(
    captioner: "Captioner", paths: list[Path], first_row: int, search: dict[str, Any], *, skip: bool
) -> "Iterator[Caption | Unread]":
    """One answer a path, in order; the pictures that can be read are one batch."""
    read: list[tuple[str, Pixels] | Unread] = []
    for path in paths:
        try:
            read.append((str(path), captioner.read(path)))
        except DataError as error:
            if not skip:
                raise
            sys.stderr.write(f"regard: {error}\n")
            read.append(Unread(str(path), str(error)))
    pictures = [each for each in read if not isinstance(each, Unread)]
    found = captioner.captions(pictures, batch_size=max(1, len(pictures)), first_row=first_row, **search)
    for each in read:
        yield each if isinstance(each, Unread) else next(found)


def _text(result: "Caption | Unread") -> str:
    return "" if isinstance(result, Unread) else result.text


def _json(result: "Caption | Unread") -> str:
    if isinstance(result, Unread):
        return json.dumps(result._asdict(), ensure_ascii=False)
    captions = [_fields(each) for each in (result, *result.alternatives)]
    values = {"image": result.image, **captions[0]}
    if result.alternatives:
        values["alternatives"] = captions[1:]
    return json.dumps(values, ensure_ascii=False)


def _fields(caption: "Caption") -> dict[str, Any]:
    return {
        "caption": caption.text,
        "score": caption.score,
        "normalised_score": caption.normalised_score,
        "tokens": caption.tokens,
        "token_scores": caption.token_scores,
    }


def _require_attention(captioner: "Captioner", folder: Path) -> None:
    """Say before the first picture that there is nothing to look at, or nowhere to draw it."""
    import numpy as np

    blank = np.zeros(captioner.reader.shape, np.uint8)
    _ = next(captioner.captions([("", blank)], beam_size=1, n_best=1, max_length=1)).maps
    folder.mkdir(parents=True, exist_ok=True)


def _draw(caption: "Caption", path: Path) -> None:
    from regard.data.files import appearing
    from regard.show.picture import Panel, strip
    from regard.show.plot import save

    panels = [Panel(token, weights.numpy()) for token, weights in zip(caption.tokens, caption.maps, strict=True)]
    with appearing(path) as place:
        save(strip(caption.pixels, [Panel("", None), *panels], title=caption.text), place)

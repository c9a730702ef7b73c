"""Show the attention of a sentence: in the terminal, as a picture, as one HTML page, or as JSON."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from regard.cli.options import Device, Threads
from regard.cli.show_labels import gives_labels, label_and_sites, open_labeller, save_trace, write_trace
from regard.cli.show_picture import PICTURES, TRACES, reads_pictures, show_picture
from regard.cli.translate import open_models
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.pipelines.translate import Translation, Translator
    from regard.show.sentence import Site

EXAMPLES = """
regard show "A man plays the guitar."
regard show -m runs/small/model "A man plays guitar."
regard show -m runs/small/model "A man plays guitar." -o attention.html
regard show -m runs/small/model "A man plays guitar." --explain
regard show -m runs/small/model "A man plays guitar." --site decoder.2.cross --head 1 -o head.svg
regard show -m runs/trec "How far is it to Aspen?"
regard show -m runs/small/model --alignment < input.en > alignment.txt
"""


class View(NamedTuple):
    """What of the attention is wanted."""

    site: str | None
    head: int | None  # from 0; None: the mean of all
    all_heads: bool
    pieces: bool


def command(
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The model folder, or a name of `regard models --shipped`; none: en-de."),
    ] = None,
    text: Annotated[
        str | None, typer.Argument(help="The sentence; without it, one a line on standard input. Or a picture.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png, .svg, .pdf, .html or .json file.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="Look at this translation, not the model's.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="Which attention, such as decoder.2.cross.")] = None,
    head: Annotated[int | None, typer.Option("--head", min=1, help="One head; without it the mean of all.")] = None,
    all_heads: Annotated[bool, typer.Option("--all-heads", help="Every head of the site, side by side.")] = False,
    pieces: Annotated[bool, typer.Option("--pieces", help="Pieces of words, not whole words.")] = False,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Word links i-j, a line a sentence (Pharaoh).")
    ] = False,
    beam_size: Annotated[int | None, typer.Option("--beam-size", "-b", min=1, help="Beam of the search.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="The lecture's equations, worked with this sentence's numbers.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Show what the model looked at, by the very weights that it used.

    Rows are target words, columns source words. A page (.html) holds every layer and head, the search's tree and ten
    lessons, and needs no server; the same as data is a trace (.json). `regard explore` shows the page with a model
    behind it.

    Of a text that gets a label, or its words tags: which words were looked at. Over a picture, with a model that labels
    it, the path of glimpses is drawn, or the weight of every region.
    """
    if model is not None and reads_pictures(model):
        if (target, site, head, beam_size) != (None,) * 4 or all_heads or pieces or alignment or explain:
            raise UsageError(
                "a picture is shown whole; of the options only --output, --device and --threads are for it"
            )
        show_picture(model, text, output, device=device, threads=threads)
        return
    view = View(site, None if head is None else head - 1, all_heads, pieces)
    _check_options(text, output, target, view, beam_size, alignment=alignment, explain=explain)
    if model is not None and gives_labels(model):
        for_text_only = (target, beam_size) != (None, None) or alignment or explain
        _show_labels(model, text, output, view, for_text_only=for_text_only, device=device, threads=threads)
        return
    translator = open_models(None if model is None else [model], device=device, threads=threads)
    search: dict[str, Any] = {} if beam_size is None else {"beam_size": beam_size}
    for line in _lines(text):
        if alignment:
            _print_links(translator, line, target, view, search)
            continue
        if not line.strip() and text is not None:
            raise DataError("there is nothing to look at in an empty sentence; give one with a word in it")
        if not line.strip():
            sys.stdout.write("\n")
            continue
        if explain or (output is not None and output.suffix in TRACES):
            _trace(translator, line, target, output, search)
            continue
        translation = _translate(translator, line, target, search)
        if not translation.ids and translation.notice:
            raise DataError(translation.notice)
        _look(translator, translation, view, output)


def _check_options(
    text: str | None,
    output: Path | None,
    target: str | None,
    view: View,
    beam_size: int | None,
    *,
    alignment: bool,
    explain: bool,
) -> None:
    if explain and (text is None or alignment or output is not None):
        raise UsageError("--explain works on one sentence, given as an argument, without --output and --alignment")
    if target is not None:
        _check_target(text, target, beam_size)
    if alignment and view.pieces:
        raise UsageError("--alignment links words: leave --pieces out")
    if view.all_heads and (view.head is not None or output is None or output.suffix in TRACES):
        raise UsageError("--all-heads is for a picture (--output with .png, .svg or .pdf), without --head")
    if (view.site, view.head, view.pieces) != (None, None, False) and (
        explain or (output is not None and output.suffix in TRACES)
    ):
        raise UsageError(
            "a page, a trace and the lessons hold every site, head and piece: leave the options for one out"
        )
    if output is None:
        return
    if output.suffix not in (*PICTURES, *TRACES):
        raise UsageError(f"--output {output}: the name must end in {', '.join(PICTURES)}, .html or .json")
    if text is None or alignment:
        raise UsageError("--output draws one sentence, given as an argument, and goes without --alignment")


def _check_target(text: str | None, target: str, beam_size: int | None) -> None:
    if text is None:
        raise UsageError("--target is the translation of one sentence: give that sentence as an argument")
    if not target.strip():
        raise UsageError("--target is empty: give the translation to look at, or leave it out for the model's own")
    if beam_size is not None:
        raise UsageError("--beam-size is for a search, and with --target nothing is searched")


def _lines(text: str | None) -> Iterator[str]:
    from regard.cli.lines import input_chunks

    for chunk in input_chunks([] if text is None else [text], None):
        yield from chunk


def _translate(translator: "Translator", line: str, target: str | None, search: dict[str, Any]) -> "Translation":
    if target is not None:
        return translator.score([(line, target)])[0]
    return translator.translate([line], **search)[0]


def _print_links(translator: "Translator", line: str, target: str | None, view: View, search: dict[str, Any]) -> None:
    from regard.evaluation.alignment import format_links

    links = []
    if line.strip():
        watched = translator.watch([_translate(translator, line, target, search)])[0]
        links = translator.align(watched, text=line, site=view.site, heads=None if view.head is None else [view.head])
    sys.stdout.write(format_links(links) + "\n")


def _look(translator: "Translator", translation: "Translation", view: View, output: Path | None) -> None:
    from regard.show.sentence import look

    _show_sites(translation.text, look(translator, translation), view, output)


def _show_labels(
    model: Path,
    text: str | None,
    output: Path | None,
    view: View,
    *,
    for_text_only: bool,
    device: str,
    threads: int | None,
) -> None:
    if for_text_only:
        raise UsageError("--target, --beam-size, --alignment and --explain are for models that generate text")
    viewer = open_labeller(model, device=device, threads=threads)
    for line in _lines(text):
        if not line.strip() and text is None:
            sys.stdout.write("\n")
        elif output is not None and output.suffix in TRACES:
            save_trace(viewer, line, output)
        else:
            _show_sites(*label_and_sites(viewer, line), view, output)


def _show_sites(said: str, sites: list["Site"], view: View, output: Path | None) -> None:
    """One of the maps: printed, or drawn into `output`."""
    from regard.data.files import appearing
    from regard.show.sentence import choose
    from regard.show.terminal import text_map

    site = choose(sites, view.site)
    if output is None:
        weights, keys, queries = site.map(head=view.head, pieces=view.pieces)
        sys.stdout.write(f"{said}\n\n{text_map(weights, keys, queries)}")
        sys.stderr.write(f"{site.title(view.head)}\n")
        return
    with appearing(output) as path:
        _save_picture(site, view, path)
    sys.stderr.write(f"regard: {said}\nregard: wrote {output}\n")


def _trace(
    translator: "Translator", line: str, target: str | None, output: Path | None, search: dict[str, Any]
) -> None:
    """The whole sentence: as a page, as JSON, or without `output` as lessons in the terminal."""
    from regard.pipelines.trace import trace_sentence
    from regard.show.document import document
    from regard.show.terminal import lesson_text

    trace = trace_sentence(translator, line, target=target, **search)
    made = document(translator, trace, text=line)
    if output is None:
        sys.stdout.write(lesson_text(line, made["translation"], made["lessons"]))
        return
    write_trace(made, trace, output)


def _save_picture(site: "Site", view: View, path: Path) -> None:
    from regard.show.plot import head_wall, heat_map, save

    weights, keys, queries = site.map(head=view.head, pieces=view.pieces)
    if view.all_heads:
        heads = [site.map(head=number, pieces=view.pieces)[0] for number in range(site.weights.shape[0])]
        save(head_wall(heads, keys, queries, title=site.name), path)
    else:
        save(heat_map(weights, keys, queries, title=site.title(view.head)), path)

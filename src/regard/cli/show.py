"""Show the attention of a sentence: in the terminal, as a picture, or as one HTML page."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from regard.cli.options import Device, Threads
from regard.cli.translate import open_models
from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from regard.pipelines.translate import Translation, Translator
    from regard.show.sentence import Site

EXAMPLES = """
regard show "A man plays the guitar."
regard show -m runs/small/model "A man plays guitar."
regard show -m runs/small/model "A man plays guitar." -o attention.html
regard show -m runs/small/model "A man plays guitar." --site decoder.2.cross --head 1 -o head.svg
regard show -m runs/small/model --alignment < input.en > alignment.txt
"""
PICTURES = (".png", ".svg", ".pdf")


class View(NamedTuple):
    """What of the attention is wanted."""

    site: str | None
    head: int | None  # from 0; None: the mean of all
    all_heads: bool
    pieces: bool


def command(
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="The model folder; without it the shipped one.")
    ] = None,
    text: Annotated[str | None, typer.Argument(help="The sentence; without it, one a line on standard input.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .png, .svg, .pdf or .html file.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Look at this translation, not the model's.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="Which attention, such as decoder.2.cross.")] = None,
    head: Annotated[int | None, typer.Option("--head", min=1, help="One head; without it the mean of all.")] = None,
    all_heads: Annotated[bool, typer.Option("--all-heads", help="Every head of the site, side by side.")] = False,
    pieces: Annotated[bool, typer.Option("--pieces", help="Pieces of words, not whole words.")] = False,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Word links i-j, a line a sentence (Pharaoh).")
    ] = False,
    beam_size: Annotated[int | None, typer.Option("--beam-size", "-b", min=1, help="Beam of the search.")] = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Show what the model looked at, by the very weights that it used.

    Rows are target words, columns source words. A page (.html) holds every layer and head and needs no server.
    """
    view = View(site, None if head is None else head - 1, all_heads, pieces)
    _check_options(text, output, target, view, alignment=alignment)
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
        translation = _translate(translator, line, target, search)
        if not translation.ids and translation.notice:
            raise DataError(translation.notice)
        if output is None:
            _print_map(translator, translation, view)
        else:
            _draw(translator, translation, view, output, str(model or "the shipped model"))


def _check_options(text: str | None, output: Path | None, target: str | None, view: View, *, alignment: bool) -> None:
    if target is not None and text is None:
        raise UsageError("--target is the translation of one sentence: give that sentence as an argument")
    if view.all_heads and (view.head is not None or output is None or output.suffix == ".html"):
        raise UsageError("--all-heads is for a picture (--output with .png, .svg or .pdf), without --head")
    if output is None:
        return
    if output.suffix not in (*PICTURES, ".html"):
        raise UsageError(f"--output {output}: the name must end in {', '.join(PICTURES)} or .html")
    if text is None or alignment:
        raise UsageError("--output draws one sentence, given as an argument, and goes without --alignment")


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
        links = translator.align(watched, site=view.site, heads=None if view.head is None else [view.head])
    sys.stdout.write(format_links(links) + "\n")


def _print_map(translator: "Translator", translation: "Translation", view: View) -> None:
    from regard.show.sentence import choose, look
    from regard.show.terminal import text_map

    site = choose(look(translator, translation), view.site)
    weights, keys, queries = site.map(head=view.head, pieces=view.pieces)
    sys.stdout.write(f"{translation.text}\n\n{text_map(weights, keys, queries)}")
    sys.stderr.write(f"{site.title(view.head)}\n")


def _draw(translator: "Translator", translation: "Translation", view: View, output: Path, model: str) -> None:
    from regard.data.files import appearing
    from regard.show.sentence import choose, look

    sites = look(translator, translation)
    site = choose(sites, view.site)
    with appearing(output) as path:
        if output.suffix == ".html":
            from regard.show.page import page

            each = translation.score / len(translation.token_scores)
            score = f"log-probability {translation.score:.2f}, {each:.2f} a token"
            text = page(translation.source, translation.text, sites, model=model, score=score)
            path.write_text(text, encoding="utf-8")
        else:
            _save_picture(site, view, path)
    sys.stderr.write(f"regard: {translation.text}\nregard: wrote {output}\n")


def _save_picture(site: "Site", view: View, path: Path) -> None:
    from regard.show.plot import head_wall, heat_map, save

    weights, keys, queries = site.map(head=view.head, pieces=view.pieces)
    if view.all_heads:
        heads = [site.map(head=number, pieces=view.pieces)[0] for number in range(site.weights.shape[0])]
        save(head_wall(heads, keys, queries, title=site.name), path)
    else:
        save(heat_map(weights, keys, queries, title=site.title(view.head)), path)

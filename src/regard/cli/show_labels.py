"""`regard show` with a model that gives texts labels, or their words tags; and the page of whatever labels."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.pipelines.trace import SentenceTrace
    from regard.show.document import Document
    from regard.show.sentence import Site
    from regard.show.viewer import Viewer


def gives_labels(model: Path) -> bool:
    """Whether the model of a folder, or of a run folder, gives labels or tags in the place of a text.

    Raises:
        ModelError: there is no model.
    """
    from regard.checkpoint.model_folder import find_model
    from regard.data.tokenizer import find, load

    folder = find_model(model)
    return find(folder, "target") is not None and not load(folder, "target").ends_with_eos


def open_labeller(model: Path, *, device: str, threads: int | None) -> "Viewer[Any]":
    """The model, ready to be looked at."""
    from regard.checkpoint.model_folder import load_model
    from regard.show.viewer import open_viewer
    from regard.training.numerics import set_up_inference

    return open_viewer(load_model(model, device=set_up_inference(device, threads=threads)))


def label_and_sites(viewer: "Viewer[Any]", text: str) -> tuple[str, list["Site"]]:
    """What is said of `text` and with which probability, in a line, and what the model looked at for it."""
    from regard.show.sentence import look_for_label
    from regard.show.viewer import LabelViewer, Wish

    assert isinstance(viewer, LabelViewer)
    trace = viewer.trace(text, Wish())
    said = viewer.classifier.vocabularies.target.decode(trace.target)
    return f"{said}\t{math.exp(trace.hypothesis.score):.4f}", look_for_label(viewer.classifier, trace)


def save_trace(viewer: "Viewer[Any]", source: Any, output: Path) -> None:
    """The page, or the trace as JSON, of what is said of a text or of the pixels of a picture."""
    from regard.show.viewer import Wish

    trace = viewer.trace(source, Wish())
    made = viewer.document(trace, source)
    if not trace.sites and made["influence"] is None:
        made["influence"] = viewer.influences(trace, source)
    write_trace(made, trace, output)


def write_trace(made: "Document", trace: "SentenceTrace", output: Path) -> None:
    """The document of a trace with all its numbers: as a page, or as JSON."""
    from regard.data.files import appearing
    from regard.show.document import with_details
    from regard.show.page import page

    whole = with_details(made, trace)
    with appearing(output) as path:
        text = page(whole) if output.suffix == ".html" else json.dumps(whole, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
    sys.stderr.write(f"regard: {whole['translation']}\nregard: wrote {output}\n")

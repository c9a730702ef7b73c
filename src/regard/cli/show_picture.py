"""`regard show` with a model that gives pictures their labels: where it looked, over the picture."""

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from regard.errors import DataError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from regard.pipelines.classify_pictures import LookedAt, PictureClassification

PICTURES = (".png", ".svg", ".pdf")
TRACES = (".html", ".json")  # the page, and its data


def reads_pictures(model: Path) -> bool:
    """Whether the model of a folder, or of a run folder, has a picture reader in the place of a tokenizer.

    Raises:
        ModelError: there is no model.
    """
    from regard.checkpoint.model_folder import find_model
    from regard.data.picture_reader import PictureReader

    return (find_model(model) / f"source{PictureReader.suffix}").is_file()


def show_picture(model: Path, picture: str | None, output: Path | None, *, device: str, threads: int | None) -> None:
    """Print the label, and draw the path of glimpses or the weights of regions into `output`, or print them.

    Raises:
        UsageError: no picture is named, the model sees whole pictures, or `output` has another ending.
        DataError: the picture cannot be read.
    """
    from regard.pipelines.classify_pictures import PictureClassifier
    from regard.training.numerics import set_up_inference

    if picture is None:
        raise UsageError("this model reads pictures: name one, such as `regard show -m MODEL seven.png -o path.png`")
    if output is not None and output.suffix in TRACES:
        _trace(model, Path(picture), output, device=device, threads=threads)
        return
    if output is not None and output.suffix not in PICTURES:
        raise _wrong_ending(output)
    classifier = PictureClassifier.load(model, device=set_up_inference(device, threads=threads))
    found = next(classifier.stream(islice(classifier.read([picture]), 1)))
    if found.pixels is None:
        raise DataError(found.notice or f"{picture} cannot be read")
    looked = found.looked
    if looked.glimpses is None and not looked.maps:
        raise UsageError("this model sees the whole picture at once, every part alike: there is nothing to look at")
    sys.stdout.write(f"{found.label}\t{found.probability:.4f}\n")
    if output is None:
        sys.stdout.write(_text(looked))
        return
    from regard.data.files import appearing
    from regard.show.plot import save

    with appearing(output) as path:
        save(_figure(found, looked), path)
    sys.stderr.write(f"regard: wrote {output}\n")


def _trace(model: Path, picture: Path, output: Path, *, device: str, threads: int | None) -> None:
    from regard.cli.show_labels import open_labeller, save_trace
    from regard.pipelines.picture_input import read_inputs

    viewer = open_labeller(model, device=device, threads=threads)
    found = next(read_inputs([picture], viewer.loaded.vocabularies.pictures))
    if found.pixels is None:
        raise DataError(found.notice or f"{picture} cannot be read")
    save_trace(viewer, found.pixels, output)


def _wrong_ending(output: Path) -> UsageError:
    return UsageError(f"--output {output}: the name must end in {', '.join((*PICTURES, *TRACES))}")


def _text(looked: "LookedAt") -> str:
    from regard.show.terminal import text_map

    if looked.glimpses is not None:
        steps = enumerate(looked.glimpses[:, 0].astype(int).tolist(), start=1)  # the finest scale
        return "".join(
            f"glimpse {number}: {height} x {width} from row {top}, column {left}\n"
            for number, (top, left, height, width) in steps
        )
    parts = []
    for site, weights in looked.maps.items():
        rows, columns = ([str(place) for place in range(size)] for size in weights.shape)
        parts.append(f"{site} (largest weight {weights.max():.2f})\n{text_map(weights / weights.max(), columns, rows)}")
    return "\n".join(parts)


def _figure(found: "PictureClassification", looked: "LookedAt") -> "Figure":
    from regard.show.picture import Panel, glimpse_path, strip

    assert found.pixels is not None
    title = f"{found.label} ({found.probability:.2f})"
    if looked.glimpses is not None:
        return glimpse_path(found.pixels, looked.glimpses, title=title)
    panels = [Panel("", None), *(Panel(site, weights) for site, weights in looked.maps.items())]
    return strip(found.pixels, panels, title=title)

"""`regard classify` with a model that reads pictures."""

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from regard.cli.lines import readable
from regard.cli.notices import Notices
from regard.cli.translate import writer
from regard.errors import DataError

if TYPE_CHECKING:
    from regard.checkpoint.model_folder import LoadedModel
    from regard.pipelines.classify_pictures import PictureClassification


def classify_pictures(
    loaded: Sequence["LoadedModel"], names: Iterable[str], output: Path | None, *, n_best: int, as_json: bool
) -> None:
    """Print a line for every picture, in order; a blank label for one that cannot be read.

    Raises:
        DataError: there was such a one; the others were classified.
    """
    from regard.pipelines.classify_pictures import PictureClassifier

    classifier = PictureClassifier(loaded)
    number, unread, notices = 0, 0, Notices()
    with writer(output) as write:
        for found in classifier.stream(classifier.read(name for name in names if name.strip())):
            write(readable(_json(number, found, n_best) if as_json else _plain(found, n_best)))
            number += 1
            unread += found.pixels is None
            if found.notice is not None:
                notices.tell(found.notice)
    notices.finish()
    if unread:
        raise DataError(f"{unread:,} of {number:,} picture(s) could not be read; their labels are blank")


def _plain(found: "PictureClassification", n_best: int) -> str:
    cells = [found.source.replace("\t", " ").replace("\n", " ")]
    for name, probability in islice(found.probabilities.items(), n_best):
        cells += [name, f"{probability:.4f}"]
    return "\t".join(cells)


def _json(number: int, found: "PictureClassification", n_best: int) -> str:
    values: dict[str, object] = {
        "id": number,
        "source": found.source,
        "label": found.label,
        "probability": found.probability,
        "probabilities": dict(islice(found.probabilities.items(), n_best)),
    }
    if found.notice:
        values["notice"] = found.notice
    return json.dumps(values, ensure_ascii=False)

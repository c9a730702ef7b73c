"""Labels over HTTP: of texts, of words, of pictures."""

import base64
import binascii
from typing import Any

from fastapi import APIRouter, Response

from regard.data.picture_file import read_picture
from regard.data.picture_reader import PictureReader
from regard.errors import DataError
from regard.pipelines.classify import Classification
from regard.pipelines.picture_input import SeenPicture
from regard.serve import requests
from regard.serve.answers import respond_json
from regard.serve.bodies import StrictRoute
from regard.serve.models import Models, ServedLabeller, ServedPictureLabeller
from regard.serve.native import bounded
from regard.serve.settings import Settings


def router(models: Models, settings: Settings) -> APIRouter:
    """`/v1/classify` and `/v1/classify/picture`."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["regard"])

    @routes.post("/classify")
    def classify(body: requests.Classify) -> Response:
        """The label of each text and how probable it is; of a model of tags, those of its words."""
        model = models.of_kind(ServedLabeller, body.model)
        texts = bounded([body.text] if isinstance(body.text, str) else body.text, settings)

        def compute() -> list[dict[str, Any]]:
            found = model.classifier.classify(texts)
            return [_label(each, body, is_tagged=model.classifier.gives_tags) for each in found]

        return respond_json({"model": model.name, "classifications": model.call(compute)})

    @routes.post("/classify/picture")
    def classify_picture(body: requests.ClassifyPicture) -> Response:
        """The label of a picture and how probable it is."""
        model = models.of_kind(ServedPictureLabeller, body.model)
        seen = seen_picture(body.picture, model.classifier.reader)
        found = model.classify(seen)
        best = list(found.probabilities.items())[: body.n_best]
        values = {"label": found.label, "probability": found.probability, "probabilities": dict(best)}
        return respond_json({"model": model.name, "classification": values | _notice(found.notice)})

    return routes


def seen_picture(encoded: str, reader: PictureReader) -> SeenPicture:
    """The picture in `encoded` (base64) as a model with this reader sees it.

    Raises:
        DataError: it is not base64, no picture, damaged, or too large.
    """
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("the picture is not in base64") from None
    found = read_picture(content, channels=reader.channels, wanted=(reader.height, reader.width), name="the picture")
    notice = "of more than one picture in the file the first is used" if found.has_more else None
    return SeenPicture("picture", reader.fitted(found.pixels), notice)


def _label(found: Classification, body: requests.Classify, *, is_tagged: bool) -> dict[str, Any]:
    tables = [dict(list(table.items())[: body.n_best]) for table in found.probabilities]
    values: dict[str, Any] = {"text": found.source, "label": found.label, "probability": found.probability}
    values["probabilities"] = tables if is_tagged else dict(*tables)
    if body.attention:
        values["tokens"] = found.source_tokens
        values["attention"] = {site: weights.tolist() for site, weights in found.attention.items()}
    return values | _notice(found.notice)


def _notice(text: str | None) -> dict[str, str]:
    return {} if text is None else {"notice": text}

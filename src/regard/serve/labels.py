"""Labels over HTTP: of texts, of words, of pictures."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from regard.pipelines.classify import Classification
from regard.serve import described, requests
from regard.serve.answers import notice_json, respond_json
from regard.serve.bodies import StrictRoute, description, either_form
from regard.serve.models import Models, ServedLabeller, ServedPictureLabeller
from regard.serve.native import bounded
from regard.serve.pictures import seen_picture
from regard.serve.settings import Settings


def router(models: Models, settings: Settings) -> APIRouter:
    """`/v1/classify` and `/v1/classify/picture`."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["regard"])

    @routes.post("/classify", response_model=described.Classifications)
    def classify(body: requests.Classify) -> Response:
        """The label of each text and how probable it is; of a model of tags, those of its words."""
        model = models.of_kind(ServedLabeller, body.model)
        texts = bounded([body.text] if isinstance(body.text, str) else body.text, settings)
        found = model.classify(texts)

        def describe() -> list[dict[str, Any]]:
            return [_label(each, body, is_tagged=model.classifier.gives_tags) for each in found]

        done = model.call(describe) if body.attention else describe()  # only looking computes once more
        return respond_json({"model": model.name, "classifications": done})

    @routes.post(
        "/classify/picture",
        response_model=described.ClassifiedPicture,
        openapi_extra=description(requests.ClassifyPicture, files=1),
    )
    def classify_picture(
        body: Annotated[requests.ClassifyPicture, Depends(either_form(requests.ClassifyPicture, files=1))],
    ) -> Response:
        """The label of a picture and how probable it is."""
        model = models.of_kind(ServedPictureLabeller, body.model)
        seen = seen_picture(body.picture, model.classifier.reader)
        found = model.classify(seen)
        best = list(found.probabilities.items())[: body.n_best]
        values = {"label": found.label, "probability": found.probability, "probabilities": dict(best)}
        return respond_json({"model": model.name, "classification": values | notice_json(found.notice)})

    return routes


def _label(found: Classification, body: requests.Classify, *, is_tagged: bool) -> dict[str, Any]:
    tables = [dict(list(table.items())[: body.n_best]) for table in found.probabilities]
    values: dict[str, Any] = {"text": found.source, "label": found.label, "probability": found.probability}
    values["probabilities"] = tables if is_tagged else dict(*tables)
    if body.attention:
        values["tokens"] = found.source_tokens
        values["attention"] = {site: weights.tolist() for site, weights in found.attention.items()}
    return values | notice_json(found.notice)

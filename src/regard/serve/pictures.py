"""Pictures over HTTP: how they come in, and what they show."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from regard.data.picture_file import read_picture
from regard.data.picture_reader import PictureReader
from regard.errors import DataError
from regard.pipelines.picture_input import SeenPicture
from regard.serve import described, requests
from regard.serve.answers import notice_json, output_json, respond_json
from regard.serve.bodies import StrictRoute, description, either_form
from regard.serve.models import Models, ServedCaptioner


def router(models: Models) -> APIRouter:
    """`/v1/caption`."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["regard"])

    @routes.post(
        "/caption",
        response_model=described.CaptionedPicture,
        openapi_extra=description(requests.CaptionPicture, files=1),
    )
    def caption(
        body: Annotated[requests.CaptionPicture, Depends(either_form(requests.CaptionPicture, files=1))],
    ) -> Response:
        """What a picture shows, in words, and with `attention` where the model looked for each."""
        model = models.of_kind(ServedCaptioner, body.model)
        seen = seen_picture(body.picture, model.captioner.reader)
        assert seen.pixels is not None, "it could be read"
        (found,) = model.captioner.captions([("", seen.pixels)], **body.search())
        values = output_json(found) | notice_json(seen.notice)
        if found.alternatives:
            values["alternatives"] = [output_json(each) for each in found.alternatives]
        if body.attention:
            values["maps"] = found.maps.tolist()
        return respond_json({"model": model.name, "caption": values})

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

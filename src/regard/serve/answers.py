"""Results as JSON values."""

from typing import Any

import orjson
from fastapi import Response

from regard.pipelines.caption import Caption
from regard.pipelines.translate import Translation
from regard.pipelines.watch import Watched


def respond_json(values: Any) -> Response:
    """An answer with `values`, which may be many numbers."""
    return Response(orjson.dumps(values), media_type="application/json")


def translation_json(translation: Translation, *, alignment: bool = False, attention: bool = False) -> dict[str, Any]:
    """All of one translation; its alternatives have the same fields, but for the source's and the attention."""
    values = {
        "source": translation.source,
        "source_tokens": translation.source_tokens,
        **_output(translation, alignment=alignment),
    }
    if translation.alternatives:
        values["alternatives"] = [_output(each, alignment=alignment) for each in translation.alternatives]
    if attention and translation.ids:
        values["attention"] = attention_json(translation.attention)
    if translation.notice:
        values["notice"] = translation.notice
    return values


def attention_json(watched: Watched) -> dict[str, list[list[list[float]]]]:
    """The weights that were used, `{site: [head][query][key]}`; the last row and column are the sentence's end."""
    return {site: weights.tolist() for site, weights in watched.sites.items()}


def output_json(output: Translation | Caption) -> dict[str, Any]:
    """One output of a search."""
    return {
        "text": output.text,
        "score": output.score,
        "normalised_score": output.normalised_score,
        "tokens": output.tokens,
        "token_scores": output.token_scores,
    }


def _output(translation: Translation, *, alignment: bool) -> dict[str, Any]:
    values = output_json(translation)
    if alignment:
        values["alignment"] = translation.alignment if translation.ids else []
    return values


def notice_json(notice: str | None) -> dict[str, str]:
    """What a user should know, if there is something."""
    return {} if notice is None else {"notice": notice}

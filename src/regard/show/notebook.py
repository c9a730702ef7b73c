"""A translation as a notebook shows it: its text, and under it which source word each of its words looked at."""

import html
from io import StringIO

import matplotlib as mpl
from matplotlib.figure import Figure

from regard.errors import UsageError
from regard.pipelines.translate import Translation, Translator
from regard.show.plot import PAPER, STYLE, heat_map
from regard.show.sentence import choose, look

LONGEST = 40  # words of a side; a map of more is no picture for a notebook


def translation_html(translator: Translator, translation: Translation) -> str:
    """Text and score, and a picture of the attention by the weights that were used, where the model has any."""
    score = f"log-probability {translation.score:.2f}"
    if translation.notice:
        score = translation.notice
    head = (
        f"<p><span style='color:gray'>{html.escape(translation.source)}</span><br>"
        f"<b>{html.escape(translation.text)}</b> <small>({html.escape(score)})</small></p>"
    )
    return head + _attention(translator, translation)


def _attention(translator: Translator, translation: Translation) -> str:
    if not translation.ids:
        return ""
    try:
        site = choose(look(translator, translation), None)
    except UsageError:  # a model without attention: there is nothing to see, and that is no mistake
        return ""
    weights, keys, queries = site.map()
    if max(len(keys), len(queries)) > LONGEST:
        return f"<p><small>{len(queries)} by {len(keys)} words: too many for a picture here.</small></p>"
    return _svg(heat_map(weights, keys, queries, title=site.title()))


def _svg(figure: Figure) -> str:
    file = StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format="svg", facecolor=PAPER, metadata={"Date": None})
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]

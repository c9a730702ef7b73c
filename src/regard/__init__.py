"""Attention models: train, run, serve and see them.

>>> import regard
>>> translator = regard.load("runs/small")
>>> translator.translate("Two dogs play in the snow.")[0].text
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.client import Client as Client
    from regard.pipelines.caption import Caption as Caption
    from regard.pipelines.caption import Captioner as Captioner
    from regard.pipelines.chat import Chat as Chat
    from regard.pipelines.classify import Classification as Classification
    from regard.pipelines.classify import Classifier as Classifier
    from regard.pipelines.classify_pictures import PictureClassifier as PictureClassifier
    from regard.pipelines.translate import Translation as Translation
    from regard.pipelines.translate import Translator as Translator
    from regard.pipelines.translate import load as load
    from regard.recipe import Recipe as Recipe

    __version__: str

# Where each public name lives. Nothing is imported before it is used: `import regard` does not wait for torch.
_PLACES = {
    "Caption": "regard.pipelines.caption",
    "Captioner": "regard.pipelines.caption",
    "Chat": "regard.pipelines.chat",
    "Client": "regard.client",
    "Classification": "regard.pipelines.classify",
    "Classifier": "regard.pipelines.classify",
    "PictureClassifier": "regard.pipelines.classify_pictures",
    "Recipe": "regard.recipe",
    "Translation": "regard.pipelines.translate",
    "Translator": "regard.pipelines.translate",
    "load": "regard.pipelines.translate",
}

# What a layer needs of one above it.
_INSIDE = {"_translation_html": ("regard.show.notebook", "translation_html")}

__all__ = [
    "Caption",
    "Captioner",
    "Chat",
    "Classification",
    "Classifier",
    "Client",
    "PictureClassifier",
    "Recipe",
    "Translation",
    "Translator",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("regard.versions").version_of("regard")
    if name in _INSIDE:
        place, inner = _INSIDE[name]
        return getattr(import_module(place), inner)
    if name not in _PLACES:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Pictures in, captions out: a model folder becomes a `Captioner`, a picture becomes a `Caption`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from regard.checkpoint.model_folder import LoadedModel, first_of, load_model
from regard.config.document import Document
from regard.config.load import parse
from regard.data.picture_file import read_picture
from regard.data.pictures import Pictures
from regard.decoding.ensemble import Ensemble
from regard.decoding.search import Hypothesis, SearchConfig
from regard.errors import UsageError
from regard.pipelines.generate import BATCH_SIZE, Engine, Request, Run, TorchEngine, at_once, generate
from regard.pipelines.picture_input import paths_of
from regard.pipelines.watch import Watched, watch_pictures
from regard.protocol import Decodable, Model

Pixels = NDArray[np.uint8]  # (height, width, channels)


@dataclass(frozen=True)
class Caption:
    """What was said of one picture, and how sure the model is of it.

    `image` is the picture's name, `pixels` (height, width, channels) what the model saw of it. `score` is the natural
    log of the caption's probability; `token_scores` has one number for each of `tokens` and one for the end.
    `alternatives` are the others of the n best.
    """

    image: str
    text: str
    score: float
    normalised_score: float
    tokens: list[str]
    token_scores: list[float]
    ids: list[int]
    pixels: Pixels = field(repr=False, compare=False)
    alternatives: list["Caption"] = field(default_factory=list)
    _captioner: "Captioner | None" = field(default=None, repr=False, compare=False)

    @cached_property
    def attention(self) -> Watched:
        """Every attention by site, from one replay; the keys are regions, row after row."""
        assert self._captioner is not None
        return self._captioner.watch([self])[0]

    @cached_property
    def maps(self) -> Float[Tensor, "tokens rows columns"]:
        """How much of each region every one of `tokens` used: the mean of the heads of the last attention.

        Raises:
            UsageError: the model does not attend to the picture.
        """
        assert self._captioner is not None
        return self._captioner.maps(self.attention)


class Captioner:
    """A model folder, or several that share reader and vocabulary as an ensemble, ready for pictures.

    Attention is that of the first model.

    >>> captioner = regard.Captioner.load("runs/scenes-soft")
    >>> captioner.caption("picture.png")[0].text
    """

    def __init__(self, loaded: Sequence[LoadedModel], *, engine: Engine | None = None, run: Run = at_once) -> None:
        """Use models on the device where they are; another `engine` may do the search, and `run` all else.

        Raises:
            UsageError: a model reads text, or says none; or the models' vocabularies differ.
        """
        first = first_of(loaded)
        self.vocabularies = first.vocabularies
        self.reader = first.vocabularies.pictures
        self.search = first.search
        self.loaded = list(loaded)
        self._models = [model.model.eval() for model in loaded]
        decodable = [model for model in self._models if isinstance(model, Decodable)]
        if len(decodable) < len(loaded):
            raise UsageError(f"{first.folder} says one label of a picture and no text; use `regard classify`")
        device = next(cast(nn.Module, decodable[0]).parameters()).device
        self._run = run
        self._engine = engine or TorchEngine(decodable[0] if len(decodable) == 1 else Ensemble(decodable), device)

    @classmethod
    def load(cls, *folders: str | Path, device: str = "cpu") -> "Captioner":
        """Open a model folder (or the best model of a run folder); several become an ensemble.

        Raises:
            ModelError: a folder is missing, damaged, foreign, or holds what could run code.
            UsageError: no folder is named, or the models are not for captions, or do not fit together.
        """
        if not folders:
            raise UsageError(
                "name a model folder with -m, such as `-m scenes`, which comes with regard and knows scenes only"
            )
        return cls([load_model(folder, device=device) for folder in folders])

    @property
    def model(self) -> Model:
        """The first model: the one whose attention is shown."""
        return self._models[0]

    def settings(self, **overrides: object) -> SearchConfig:
        """The model's own search settings with `overrides`, checked.

        Raises:
            UsageError: every mistake in `overrides`.
        """
        return parse(SearchConfig, Document("search settings", {**self.search.model_dump(mode="json"), **overrides}))

    def read(self, image: str | Path) -> Pixels:
        """A picture as the model sees it.

        Raises:
            DataError: it cannot be read, is no picture, or is damaged.
        """
        shape = self.reader.shape
        return self.reader.fitted(read_picture(Path(image), channels=shape[2], wanted=shape[:2]).pixels)

    def read_from(self, pictures: Pictures, name: str) -> Pixels:
        """The same for a picture of a corpus.

        Raises:
            DataError: it cannot be read, or leads out of the corpus's folder.
        """
        shape = self.reader.shape
        return self.reader.fitted(pictures.read(name, channels=shape[2], wanted=shape[:2]).pixels)

    def caption(
        self, images: str | Path | Sequence[str | Path], *, batch_size: int = BATCH_SIZE, **search: Any
    ) -> list[Caption]:
        """One caption a picture, in their order; `search` overrides the model's own settings (`beam_size=1`, ...).

        Raises:
            TypeError: something is no path.
            UsageError: a setting is wrong.
            DataError: a picture cannot be read.
        """
        pictures = ((str(image), self.read(image)) for image in paths_of(images))
        return list(self.captions(pictures, batch_size=batch_size, **search))

    def captions(
        self,
        pictures: Iterable[tuple[str, Pixels]],
        *,
        batch_size: int = BATCH_SIZE,
        first_row: int = 0,
        **search: Any,
    ) -> Iterator[Caption]:
        """Captions of (name, pixels), a batch at a time, so that any number of pictures takes little memory.

        `first_row` is the number of the first picture in a longer input: sampling draws by it.

        Raises:
            UsageError: a setting is wrong.
        """
        config, pictures, row = self.settings(**search), iter(pictures), first_row
        while batch := list(islice(pictures, batch_size)):
            sources = self.reader.tensor(np.stack([pixels for _, pixels in batch]))
            requests = [Request(source, row=row + place) for place, source in enumerate(sources)]
            for (image, pixels), found in zip(batch, generate(self._engine, requests, config), strict=True):
                best, *others = (self._caption(image, pixels, hypothesis) for hypothesis in found)
                best.alternatives.extend(others)
                yield best
            row += len(batch)

    def watch(self, captions: Sequence[Caption]) -> list[Watched]:
        """Every attention of finished captions, from one replay of them all as one batch."""
        if not captions:
            return []
        pictures = self.reader.tensor(np.stack([caption.pixels for caption in captions]))
        ids = [caption.ids for caption in captions]
        return self._run(lambda: watch_pictures(self._models[0], pictures, ids))

    def look(self, pairs: Sequence[tuple[Pixels, str]]) -> list[Float[Tensor, "tokens rows columns"]]:
        """Where the model looks while it is made to say given captions of given pictures, in one batch.

        Raises:
            UsageError: the model does not attend to the picture.
        """
        pictures = self.reader.tensor(np.stack([pixels for pixels, _ in pairs]))
        ids = [self.vocabularies.target.encode(text) for _, text in pairs]
        return [self.maps(watched) for watched in watch_pictures(self._models[0], pictures, ids)]

    def maps(self, watched: Watched, *, site: str | None = None) -> Float[Tensor, "tokens rows columns"]:
        """The weights at `site` (the last attention to the picture, if not given) laid out as the regions lie.

        Raises:
            UsageError: the model does not attend to the picture, or has no such site.
        """
        sites = watched.cross_sites
        if not sites:
            raise UsageError("this model does not attend to the picture, so that there is nothing to look at")
        site = sites[-1] if site is None else site
        if site not in watched.sites:
            raise UsageError(f"there is no attention {site!r}; there are {', '.join(watched.sites)}")
        weights = watched.sites[site].mean(0)[: len(watched.target) - 1]  # without `EOS`
        return weights.unflatten(1, self.reader.grid(weights.size(1)))

    def _caption(self, image: str, pixels: Pixels, hypothesis: Hypothesis) -> Caption:
        return Caption(
            image=image,
            text=self.vocabularies.target.decode(hypothesis.tokens),
            score=hypothesis.score,
            normalised_score=hypothesis.normalised,
            tokens=self.vocabularies.target.pieces(hypothesis.tokens),
            token_scores=hypothesis.token_scores,
            ids=hypothesis.tokens,
            pixels=pixels,
            _captioner=self,
        )

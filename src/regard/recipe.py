"""The recipe: data, model, training and search in one file, which every verb accepts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import model_validator

from regard.config.base import Config
from regard.config.document import Document, load_yaml
from regard.config.dump import dump_yaml
from regard.config.kind import Kind
from regard.config.load import parse
from regard.data.dataset import DataConfig
from regard.data.files import expanded
from regard.decoding.search import SearchConfig
from regard.models import family
from regard.protocol import Dimensions, Model
from regard.training.config import TrainingConfig
from regard.training.schedule import Noam


def _model_config(kind: str) -> type[Config]:
    chosen: type[Config] = family(kind).Config
    return chosen


class Recipe(Config):
    """All that makes a result: whoever has the recipe, the data and the same machine gets the same model."""

    data: DataConfig
    model: Annotated[Config, Kind(_model_config)]
    training: TrainingConfig
    search: SearchConfig = SearchConfig.model_validate({})

    @classmethod
    def read(cls, path: str | Path, overrides: Iterable[str] = ()) -> "Recipe":
        """Read a file, with settings such as `model.size=256` put in.

        A relative `data.root` means a folder beside the file; one that `overrides` set, a folder here.

        Raises:
            UsageError: every mistake at once, each with its line.
        """
        document, overrides = load_yaml(path), list(overrides)
        recipe = parse(cls, document, overrides)
        base = Path() if any(setting.startswith("data.root=") for setting in overrides) else Path(path).parent
        return recipe.located(base)

    def located(self, folder: Path) -> "Recipe":
        """The same recipe with `data.root` absolute, taken from `folder` where it is relative; `~` is the home."""
        root = (folder / expanded(self.data.root)).resolve()
        return self.model_copy(update={"data": self.data.model_copy(update={"root": type(self.data.root)(root)})})

    @classmethod
    def parse(cls, values: dict[str, Any], *, name: str) -> "Recipe":
        """Check plain values that were stored somewhere called `name`.

        Raises:
            UsageError: every mistake at once.
        """
        return parse(cls, Document(name, values))

    @property
    def kind(self) -> str:
        """The kind of model: the name of its module in `regard.models`."""
        return str(self.values()["model"]["kind"])

    def values(self) -> dict[str, Any]:
        """Every setting, defaults included, as plain values."""
        return self.model_dump(mode="json")

    def text(self) -> str:
        """Every setting, defaults included, as YAML that `read` accepts."""
        return dump_yaml(self.values())

    def with_training(self, **changes: Any) -> "Recipe":
        """The same recipe with other settings in its block `training`."""
        return self.model_copy(update={"training": self.training.model_copy(update=changes)})

    def build(self, dimensions: Dimensions) -> Model:
        """The model with fresh parameters from torch's global generator."""
        model: Model = family(self.kind).build(self.model, dimensions)
        return model

    @model_validator(mode="after")
    def _blocks_agree(self) -> "Recipe":
        schedule = self.training.schedule
        size = getattr(self.model, "size", None)
        if isinstance(schedule, Noam) and size is not None and schedule.size != size:
            raise ValueError(f"training.schedule.size is {schedule.size}, but model.size is {size}; make them equal")
        if not self.data.validation_name:
            raise ValueError(
                "data.validation or data.hold_out is required: what is best on unseen pairs becomes the model"
            )
        if self.training.average > 1 and self.training.average_decay is not None:
            raise ValueError(
                "training.average and training.average_decay both average the weights; leave one of them out"
            )
        positions = getattr(self.model, "max_length", None)
        if positions is not None and positions < self.data.max_length:
            raise ValueError(
                f"data.max_length is {self.data.max_length}, but the model has only {positions} positions "
                "(model.max_length); lower the one or raise the other"
            )
        return self

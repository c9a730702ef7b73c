"""Pictures as numbers: brought to one size, and scaled about a mean. It stands where text has its tokenizer."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from regard.config.base import Config
from regard.data.reader import Reader
from regard.errors import ModelError

FORMAT = 1
_WHITE = 255
Box = tuple[float, float, float, float]  # top, left, bottom, right
Fit = Literal["stretch", "crop", "pad"]
MAX_SIDE = 4096
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class _Form(Config):
    """What decides which numbers a picture becomes.

    `size` is (height, width). A picture of another shape is stretched to it, or it fills it and the rest is cropped on
    both sides, or it fits into it and the rest is padded with white. A channel c of 0..1 becomes (c - mean) / std; one
    number is for all channels.
    """

    size: list[Side] = Field(min_length=2, max_length=2)
    channels: Literal[1, 3] = 3
    fit: Fit = "stretch"
    mean: list[float] = Field([0.5], min_length=1, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] = Field([0.5], min_length=1, max_length=3)

    @model_validator(mode="after")
    def _a_number_for_each_channel(self) -> "_Form":
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(f"`{name}` has {len(getattr(self, name))} numbers for {self.channels} channel(s)")
        return self


class PictureConfig(_Form):
    """Pictures as sources: where they lie, and how they become numbers.

    `root` is the folder that the names in a corpus are relative to, itself relative to `data.root`; by default that of
    the corpus file. Nothing outside it is ever opened.
    In training, every epoch moves a picture by up to `shift` pixels each way (its edge is repeated), and with `flip`
    mirrors every second one.
    """

    root: str | None = None
    shift: int = Field(0, ge=0, le=512)
    flip: bool = False

    @property
    def is_varied(self) -> bool:
        """Whether a picture differs from epoch to epoch."""
        return self.flip or self.shift > 0

    @property
    def form(self) -> dict[str, Any]:
        """The settings that belong to the model, as plain values."""
        return self.model_dump(include=set(_Form.model_fields))


class Place(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.left, self.left + self.width)


class PictureReader(Reader):
    """Pixels to the tensor that a model sees. Its file is `source.picture.json`."""

    suffix = ".picture.json"

    def __init__(self, config: PictureConfig) -> None:
        self._form = config.form
        self.height, self.width = config.size
        self.channels = config.channels
        self.fit: Fit = config.fit
        self._mean, self._std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.mean, config.std))

    @classmethod
    def load(cls, path: Path) -> "PictureReader":
        """Read what `save` wrote.

        Raises:
            ModelError: it is missing or damaged.
        """
        try:
            values = json.loads(path.read_bytes())
            if values.pop("format") != FORMAT:
                raise ModelError(f"{path}: not a picture reader of format {FORMAT}")
            return cls(PictureConfig.model_validate_json(json.dumps(_Form.model_validate(values).model_dump())))
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ModelError(f"{path} is damaged: {reason}") from error

    @property
    def size(self) -> int:
        """The number of channels."""
        return self.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the pixels that `fitted` gives."""
        return self.height, self.width, self.channels

    def to_bytes(self) -> bytes:
        """The contents of the file: JSON."""
        return (json.dumps({"format": FORMAT, **self._form}, indent=1) + "\n").encode()

    def fitted(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels (height, width, channels) of any size, brought to this reader's."""
        height, width = pixels.shape[:2]
        if (height, width) == (self.height, self.width):
            return pixels
        image = Image.fromarray(pixels.squeeze(-1) if self.channels == 1 else pixels)
        place, (top, left, bottom, right) = self.placement(height, width)
        found = image.resize((place.width, place.height), Image.Resampling.BILINEAR, (left, top, right, bottom))
        done = np.full(self.shape, _WHITE, np.uint8)
        done[place.rows, place.columns] = np.asarray(found).reshape(place.height, place.width, self.channels)
        return done

    def placement(self, height: int, width: int) -> tuple["Place", Box]:
        """Where in this reader's pictures one of such sides goes, and which part of it: all that is not cropped."""
        scales, whole = (self.height / height, self.width / width), (0.0, 0.0, float(height), float(width))
        if self.fit == "stretch":
            return Place(0, 0, self.height, self.width), whole
        if self.fit == "crop":
            return Place(0, 0, self.height, self.width), _middle(height, width, max(scales), self)
        inner = max(1, round(height * min(scales))), max(1, round(width * min(scales)))
        return Place((self.height - inner[0]) // 2, (self.width - inner[1]) // 2, *inner), whole

    def grid(self, num_regions: int) -> tuple[int, int]:
        """Rows and columns of so many regions that tile this reader's pictures: those with the squarest regions."""
        divisions = [(rows, num_regions // rows) for rows in range(1, num_regions + 1) if num_regions % rows == 0]
        return min(divisions, key=lambda each: abs(np.log(self.height / each[0]) - np.log(self.width / each[1])))

    def tensor(self, pixels: NDArray[np.uint8]) -> Float[Tensor, "batch channels height width"]:
        """Fitted pixels (batch, height, width, channels) as a model sees them."""
        numbers = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C"))
        return numbers.div_(255).sub_(self._mean).div_(self._std)

    def pixels(self, numbers: Float[Tensor, "batch channels height width"]) -> NDArray[np.uint8]:
        """What `tensor` was made from, to be shown."""
        found = (numbers.cpu() * self._std + self._mean).mul(255).round().clamp(0, 255).byte()
        return found.permute(0, 2, 3, 1).numpy()


def _middle(height: int, width: int, scale: float, reader: PictureReader) -> Box:
    """The box in the middle of the picture that, enlarged by `scale`, is as large as the reader's pictures."""
    inner = reader.height / scale, reader.width / scale
    top, left = (height - inner[0]) / 2, (width - inner[1]) / 2
    return max(0.0, top), max(0.0, left), min(top + inner[0], float(height)), min(left + inner[1], float(width))

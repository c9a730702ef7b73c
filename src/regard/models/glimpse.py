"""Looking at a picture by glimpses: the recurrent attention model, which never sees the whole (Mnih et al. 2014).

At each step a sensor sees a small part of the picture around a location, sharp in the middle and coarse around it. A
recurrent core takes it in, and says where to look next; after the last step it says what the picture shows. The cost is
that of the glimpses, however large the picture is. As looking elsewhere has no gradient, the location network learns
from reward (REINFORCE, Williams 1992): where a random step aside led to the right answer, it is made more probable.
With `answers: every` the answer is learnt after every glimpse, and a location is rewarded for all that is answered
from then on: half as many epochs are needed where every glimpse sees a part of the thing. Where the first ones only
say where to look they must not be asked for the answer, else the model learns to look nowhere.

In the paper the location network reads the core's state and names a place. That state learns from the answer alone and
need not keep where things lie, so with `location_size` the location network sees the glimpse with an eye of its own
and names a step from where it is: in clutter 3,000 updates then do more than 22,000 did before (docs/log.md).
"""

import math
import zlib
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.record import AttentionRecord
from regard.config import base
from regard.config.departs import departs
from regard.errors import UsageError
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, Parts

READS_PICTURES = True

Locations = Float[Tensor, "batch 2"]
Pictures = Float[Tensor, "batch channels rows columns"] | Parts


class Config(base.Config):
    """`num_glimpses` of `patch` x `patch` pixels, each on `scales` scales, of which every one sees twice as wide."""

    kind: Literal["glimpse"] = "glimpse"
    num_glimpses: int = Field(6, ge=1)
    patch: int = Field(8, ge=1)
    scales: int = Field(1, ge=1, le=8)
    glimpse_size: int = Field(128, ge=1)  # of h_g, what is seen, and h_l, where
    size: int = Field(256, ge=1)  # of the core
    # "random" looks anywhere: the control that tells what looking on purpose is worth.
    policy: Literal["learnt", "random"] = "learnt"
    answers: Literal["last", "every"] = "last"  # after which glimpses the answer is learnt
    # Of the layer with which the location network sees for itself; null: it has only the core's state.
    location_size: int | None = Field(None, ge=1)
    location_std: float = Field(0.1, gt=0, le=1)  # of the random step aside, while training; 2 is a whole side
    reinforce_weight: float = Field(1.0, gt=0)  # beside the cross entropy

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "Config":
        if self.answers == "every" and self.num_glimpses == 1:
            raise ValueError("`answers: every` has no effect with one glimpse")
        if self.location_size is not None and (self.num_glimpses == 1 or self.policy == "random"):
            raise ValueError("`location_size` has no effect with one glimpse or `policy: random`; set it to null")
        for name in ("location_std", "reinforce_weight"):
            if departs(self, name) and (self.num_glimpses == 1 or self.policy == "random"):
                raise ValueError(f"`{name}` has no effect with one glimpse or `policy: random`; leave it out")
        return self


class Sensor(nn.Module):
    """rho(x, l): around a location the patches of all scales, each brought to the size of the smallest.

    A location is (down, right): (-1, -1) is the top left corner of the picture, (0, 0) its middle, (1, 1) the bottom
    right corner, whatever its sides. Only the pixels of the patches are touched. Beyond the edges everything is 0.
    """

    def __init__(self, patch: int, scales: int) -> None:
        super().__init__()
        self.patch, self.scales = patch, scales

    def forward(self, pictures: Pictures, location: Locations) -> Float[Tensor, "batch scales channels patch patch"]:
        """What is seen, the finest scale first. A coarse pixel is the mean of those that it stands for."""
        seen = []
        for scale in range(self.scales):
            part = self._part(pictures, location, self.patch << scale)
            seen.append(part if scale == 0 else functional.avg_pool2d(part, 1 << scale))
        return torch.stack(seen, 1)

    def corners(self, sides: tuple[int, int], location: Locations, width: int) -> Float[Tensor, "batch 2"]:
        """Top and left of the squares of `width` around the locations, in whole pixels; they may lie outside."""
        centre = (location + 1) / 2 * location.new_tensor(sides)
        return (centre - width / 2 + 0.5).floor()

    def boxes(self, sides: tuple[int, int], location: Locations) -> Float[Tensor, "batch scales 4"]:
        """(top, left, height, width) of what each scale sees, in pixels."""
        boxes = []
        for scale in range(self.scales):
            width = self.patch << scale
            corners = self.corners(sides, location, width)
            boxes.append(torch.cat([corners, torch.full_like(corners, width)], -1))
        return torch.stack(boxes, 1)

    def _part(self, pictures: Pictures, location: Locations, width: int) -> Tensor:
        rows, columns = pictures.shape[-2:]
        corner = self.corners((rows, columns), location, width).long()
        if not isinstance(pictures, Tensor):
            top, left = corner[0].tolist()
            return pictures.part(top, left, width).to(location).unsqueeze(0)
        steps = torch.arange(width, device=pictures.device)
        down, right = corner[:, :1] + steps, corner[:, 1:] + steps  # (batch, width)
        places = (down.clamp(0, rows - 1) * columns)[:, :, None] + right.clamp(0, columns - 1)[:, None, :]
        index = places.flatten(1)[:, None].expand(-1, pictures.size(1), -1)
        found = pictures.flatten(2).gather(2, index).unflatten(2, (width, width))
        for inside in (
            ((down >= 0) & (down < rows))[:, None, :, None],
            ((right >= 0) & (right < columns))[:, None, None],
        ):
            found = found * inside.to(found)
        return found


class GlimpseNetwork(nn.Module):
    """g = ReLU(W_1 h_g + W_2 h_l) with h_g = ReLU(W_g rho) and h_l = ReLU(W_l l): what is seen, and where."""

    def __init__(self, seen: int, hidden_size: int, size: int) -> None:
        super().__init__()
        self.what, self.where = nn.Linear(seen, hidden_size), nn.Linear(2, hidden_size)
        self.from_what, self.from_where = nn.Linear(hidden_size, size), nn.Linear(hidden_size, size)

    def forward(self, seen: Float[Tensor, "batch seen"], location: Locations) -> Float[Tensor, "batch size"]:
        """The glimpse."""
        what, where = functional.relu(self.what(seen)), functional.relu(self.where(location))
        return functional.relu(self.from_what(what) + self.from_where(where))


class Eye(nn.Module):
    """e = ReLU(W_s rho + W_h h + W_l l): the location network's own view of a glimpse, beside the core's state."""

    def __init__(self, seen: int, state: int, size: int) -> None:
        super().__init__()
        self.from_seen = nn.Linear(seen, size)
        self.from_state, self.from_where = (nn.Linear(width, size, bias=False) for width in (state, 2))

    def forward(
        self, seen: Float[Tensor, "batch seen"], state: Float[Tensor, "batch state"], location: Locations
    ) -> Float[Tensor, "batch size"]:
        """What the next step follows from."""
        return functional.relu(self.from_seen(seen) + self.from_state(state) + self.from_where(location))


class Step(NamedTuple):
    """A location that was drawn: what the location network drew it from, and the log density of drawing it."""

    features: Float[Tensor, "batch size"]
    log_density: Float[Tensor, " batch"]


class GlimpseModel(Model):
    """Sensor, glimpse network, core, location network; a `Labeller`.

    The first glimpse is at the middle. While training every next location is drawn about the mean that the location
    network gives; in use it is that mean, so that the same picture is always seen alike.
    """

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.num_glimpses, self.policy, self.answers = config.num_glimpses, config.policy, config.answers
        self.std, self.reinforce_weight = config.location_std, config.reinforce_weight
        self.sensor = Sensor(config.patch, config.scales)
        seen = config.scales * dimensions.source * config.patch**2
        self.glimpse = GlimpseNetwork(seen, config.glimpse_size, config.size)
        self.from_state, self.from_glimpse = (nn.Linear(config.size, config.size) for _ in range(2))
        self.readout = nn.Linear(config.size, dimensions.target)
        self.eye = None
        if config.policy == "learnt":
            if config.location_size is not None:
                self.eye = Eye(seen, config.size, config.location_size)
            width = config.location_size or config.size
            self.locate, self.baseline = nn.Linear(width, 2), nn.Linear(width, 1)
            # So that the first glances stay inside the picture.
            nn.init.normal_(self.locate.weight, std=0.01)
            nn.init.zeros_(self.locate.bias)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """One place a picture, (batch, 1, size); while training the location network learns from the penalty."""
        states, steps = self._look(batch.source, record)
        penalty = self._learn(states, steps, batch.labels[:, 0]) if self.training else None
        return Output(states[-1].unsqueeze(1), self.readout, penalty)

    def label(
        self, source: Float[Tensor, "batch channels rows columns"], record: AttentionRecord | None = None
    ) -> Float[Tensor, "batch 1 labels"]:
        """Logits of the classes."""
        logits: Tensor = self.readout(self._look(source, record)[0][-1].unsqueeze(1))
        return logits

    def label_parts(self, picture: Parts, record: AttentionRecord | None = None) -> Float[Tensor, "1 1 labels"]:
        """The same for one picture that nobody holds whole: only what the glimpses see is asked for."""
        logits: Tensor = self.readout(self._look(picture, record)[0][-1].unsqueeze(1))
        return logits

    def _look(self, pictures: Pictures, record: AttentionRecord | None) -> tuple[list[Tensor], list[Step]]:
        """The state (batch, size) after every glimpse, and the steps that were drawn."""
        like = pictures if isinstance(pictures, Tensor) else self.readout.weight
        anywhere = self._anywhere(pictures) if self.policy == "random" else None
        location = like.new_zeros(pictures.shape[0], 2) if anywhere is None else anywhere[:, 0]
        state = like.new_zeros(pictures.shape[0], self.from_state.in_features)
        states, steps = list[Tensor](), list[Step]()
        for number in range(1, self.num_glimpses + 1):
            seen = self.sensor(pictures, location).flatten(1)
            state = functional.relu(self.from_state(state) + self.from_glimpse(self.glimpse(seen, location)))
            states.append(state)
            if record is not None:
                sides = pictures.shape[-2], pictures.shape[-1]
                record.add_glimpse(self.sensor.boxes(sides, location), self.readout(state))
            if number == self.num_glimpses:
                break
            if anywhere is None:
                location, step = self._next(seen, state, location)
                steps.append(step)
            else:
                location = anywhere[:, number]
        return states, steps

    def _next(self, seen: Tensor, state: Tensor, location: Locations) -> tuple[Locations, Step]:
        """Where to look next. Nothing that is learnt from it reaches the state, nor through the location the core."""
        features = state.detach()
        if self.eye is not None:
            features = self.eye(seen, features, location)
        mean = torch.tanh(self.locate(features))
        mean = mean.to(torch.promote_types(mean.dtype, torch.float32))  # 16 bits cannot name a pixel of a large picture
        if self.eye is not None:
            mean = location + mean  # the eye sees what lies where beside the place it looks at
        drawn = (mean + self.std * torch.randn_like(mean)).detach() if self.training else mean.detach()
        return drawn.clamp(-1.0, 1.0), Step(features, log_density(drawn, mean, self.std))

    def _learn(
        self, states: list[Tensor], steps: list[Step], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""] | None:
        """The locations' reward, and the mean cross entropy of the answers before the last, which the loss has."""
        logits = [self.readout(state) for state in states[:-1]] if self.answers == "every" else []
        penalties = []
        if logits:
            wrong = [functional.cross_entropy(each, labels, reduction="sum") for each in logits]
            penalties.append(torch.stack(wrong).mean())
        if steps:
            with torch.no_grad():
                probabilities = torch.stack([*logits, self.readout(states[-1])]).softmax(
                    -1
                )  # (answers, batch, classes)
            right = probabilities.gather(-1, labels.expand(len(probabilities), -1).unsqueeze(-1)).squeeze(-1)
            penalties.append(self.reinforce_weight * self._reinforce(steps, right))
        return torch.stack(penalties).sum() if penalties else None

    def _reinforce(self, steps: list[Step], right: Float[Tensor, "answers batch"]) -> Float[Tensor, ""]:
        """What the location network and the baseline, a guess of the reward, minimise; nothing else gets a gradient.

        The reward of a step is the mean probability of the right answer from its glimpse on: what an answer drawn from
        the model's probabilities would get on average.
        """
        total = right.new_zeros(())
        for number, step in enumerate(steps, start=1):
            # Counted from the end: of one answer per glimpse those from this one on, else the only one, the last.
            reward, expected = right[number - self.num_glimpses :].mean(0), self.baseline(step.features).squeeze(-1)
            total = total + reinforce(step.log_density, reward, expected) + (reward - expected).square().sum()
        return total

    def _anywhere(self, pictures: Pictures) -> Float[Tensor, "batch glimpses 2"]:
        """Uniformly random locations; in use those of a picture follow from its pixels alone (its middle, of parts)."""
        whole = pictures if isinstance(pictures, Tensor) else self.sensor(pictures, self.readout.weight.new_zeros(1, 2))
        if self.training:
            return torch.rand(len(whole), self.num_glimpses, 2).to(whole) * 2 - 1
        found = []
        for picture in whole.float().cpu():
            generator = torch.Generator().manual_seed(zlib.crc32(picture.numpy().tobytes()))
            found.append(torch.rand(self.num_glimpses, 2, generator=generator) * 2 - 1)
        return torch.stack(found).to(whole)

    def flops(self, batch: Batch) -> int:
        """Operations on so many pictures, of whatever size."""
        number = batch.source.size(0)
        each = sum(of_matrices(part, number) for part in (self.glimpse, self.from_state, self.from_glimpse))
        total = self.num_glimpses * each + of_matrices(self.readout, number)
        if self.policy == "learnt":
            for part in (self.eye, self.locate):
                total += (self.num_glimpses - 1) * of_matrices(part, number) if part is not None else 0
        if self.training and self.answers == "every":
            total += (self.num_glimpses - 1) * of_matrices(self.readout, number)
        if self.policy == "learnt" and self.training and self.num_glimpses > 1:
            # The baselines, and the last answer once more, for its reward.
            total += (self.num_glimpses - 1) * of_matrices(self.baseline, number) + of_matrices(self.readout, number)
        return total


def log_density(
    drawn: Float[Tensor, "batch axes"], mean: Float[Tensor, "batch axes"], std: float
) -> Float[Tensor, " batch"]:
    """The log of N(drawn; mean, std^2) of each row, its axes independent."""
    deviation = (drawn - mean) / std
    return -(deviation.square() / 2 + math.log(std) + math.log(2 * math.pi) / 2).sum(-1)


def reinforce(
    log_density: Float[Tensor, " batch"], reward: Float[Tensor, " batch"], baseline: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """A sum whose mean gradient is that of minus the expected rewards (Williams 1992; Mnih et al. 2014, eq. 3).

    The baseline must not depend on what was drawn; it makes the estimate steadier and leaves its mean as it is.
    """
    return -((reward - baseline).detach() * log_density).sum()


def build(config: Config, dimensions: Dimensions) -> GlimpseModel:
    """The model with fresh parameters.

    Raises:
        UsageError: the data are no pictures.
    """
    if not dimensions.height:
        raise UsageError("kind glimpse reads pictures; say in `data.picture` what size they shall have")
    return GlimpseModel(config, dimensions)

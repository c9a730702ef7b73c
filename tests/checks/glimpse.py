"""What a glimpse must see, and that learning from reward does what it claims: by loops, closed forms, enumeration."""

import math
from typing import Any

import torch
from torch.nn import functional
from torch.testing import assert_close

from checks.pictures import glimpse_model, pictures
from regard.attention.record import AttentionRecord
from regard.models import glimpse
from regard.models.glimpse import Sensor
from regard.protocol import Batch, Dimensions, Model
from regard.symbols import BOS
from regard.training.loss import sequence_loss


def the_sensor_cuts_out_what_is_there(patch: int, sides: tuple[int, int]) -> None:
    """Pixel by pixel, at the corners, at the edges, inside and beyond; what is outside is 0."""
    generator = torch.Generator().manual_seed(2)
    picture = torch.randn(1, 2, *sides, generator=generator)
    places = [-1.0, -0.97, -0.3, 0.0, 0.41, 0.999, 1.0]
    for location in torch.cartesian_prod(torch.tensor(places), torch.tensor(places)):
        seen = Sensor(patch, 2)(picture, location[None])[0]
        for scale, width in enumerate((patch, 2 * patch)):
            top, left = (
                math.floor((float(axis) + 1) / 2 * side - width / 2 + 0.5)
                for axis, side in zip(location, sides, strict=True)
            )
            expected = torch.zeros(2, width, width)
            for row in range(width):
                for column in range(width):
                    if 0 <= top + row < sides[0] and 0 <= left + column < sides[1]:
                        expected[:, row, column] = picture[0, :, top + row, left + column]
            expected = expected if scale == 0 else functional.avg_pool2d(expected, 2)
            assert_close(seen[scale], expected, rtol=0, atol=1e-6)


def every_edge_can_be_seen() -> None:
    """A point in each corner of a picture twice as wide as high, looked for at that corner's location."""
    for down, right in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        picture = torch.zeros(1, 1, 28, 56)
        picture[0, 0, -(down > 0), -(right > 0)] = 1.0
        assert Sensor(5, 1)(picture, torch.tensor([[down, right]]).float()).sum() == 1.0
        assert Sensor(5, 1)(picture, torch.tensor([[-down, -right]]).float()).sum() == 0.0


def follows_the_equations(**settings: Any) -> None:
    """Step by step, in plain matrix products."""
    model, batch = glimpse_model(**settings), pictures()
    state, location = torch.zeros(3, 8).double(), torch.zeros(3, 2).double()
    seen = torch.zeros(0)
    for number in range(3):
        if number and model.eye is None:
            location = torch.tanh(state @ model.locate.weight.T + model.locate.bias).clamp(-1, 1)
        elif number:
            parts = zip((seen, state, location), ("from_seen", "from_state", "from_where"), strict=True)
            eye = functional.relu(
                sum(part @ getattr(model.eye, name).weight.T for part, name in parts) + model.eye.from_seen.bias
            )
            step = torch.tanh(eye @ model.locate.weight.T + model.locate.bias)
            location = (location + step).clamp(-1, 1)
        seen = model.sensor(batch.source, location).flatten(1)
        net = model.glimpse
        what = functional.relu(seen @ net.what.weight.T + net.what.bias)
        where = functional.relu(location @ net.where.weight.T + net.where.bias)
        taken = functional.relu(
            what @ net.from_what.weight.T + net.from_what.bias + where @ net.from_where.weight.T + net.from_where.bias
        )
        state = functional.relu(
            state @ model.from_state.weight.T + model.from_state.bias
            + taken @ model.from_glimpse.weight.T + model.from_glimpse.bias
        )  # fmt: skip
    expected = state @ model.readout.weight.T + model.readout.bias
    assert_close(model.label(batch.source)[:, 0], expected, rtol=0, atol=1e-10)


def the_reward_reaches_the_location_network_alone(**settings: Any) -> None:
    """And the baseline, which learns to expect it; cross entropy reaches everything but these two."""
    with_reward, without = (_gradients(weight, **settings) for weight in (1.0, 0.0))
    learners = {"locate", "baseline"} | ({"eye"} if "location_size" in settings else set())
    others = {"glimpse", "from_state", "from_glimpse", "readout"}
    assert {name.partition(".")[0] for name in with_reward} == learners | others
    for name, gradient in with_reward.items():
        learns = name.partition(".")[0] in learners
        assert bool(gradient.any()), name
        assert learns == (not without[name].any()), name
        assert learns or torch.equal(gradient, without[name]), name


def _gradients(reinforce_weight: float, **settings: Any) -> dict[str, torch.Tensor]:
    """Of the whole loss, with the same draws."""
    model, batch = glimpse_model(**settings).train(), pictures(8)
    model.reinforce_weight = reinforce_weight
    torch.manual_seed(0)
    sequence_loss(model(batch), batch.labels).total.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def every_answer_is_learnt() -> None:
    """The loss, from each glimpse's own answer: the last one's cross entropy, and the mean of those before."""
    model, batch = glimpse_model(policy="random", answers="every").train(), pictures(8)
    record = AttentionRecord()
    torch.manual_seed(0)
    loss = sequence_loss(model(batch), batch.labels, label_smoothing=0.0).total
    torch.manual_seed(0)
    model(batch, record)
    answers = [functional.cross_entropy(each, batch.labels[:, 0], reduction="sum") for each in record.answers.unbind(1)]
    assert_close(loss, answers[-1] + sum(answers[:-1]) / len(answers[:-1]))


def the_estimate_is_unbiased(*, baseline: float, draws: int = 100_000) -> float:
    """One axis, reward where l > a. The mean of the estimates lies within 3 standard errors of the exact gradient."""
    mean, std, above = torch.zeros(draws, 1, dtype=torch.double, requires_grad=True), 0.3, 0.1
    generator = torch.Generator().manual_seed(11)
    drawn = std * torch.randn(draws, 1, generator=generator, dtype=torch.double)
    reward = (drawn[:, 0] > above).double()
    log_density = glimpse.log_density(drawn, mean, std)
    glimpse.reinforce(log_density, reward, torch.full_like(reward, baseline)).backward()
    assert mean.grad is not None
    estimates = -mean.grad[:, 0]
    exact = math.exp(-((above / std) ** 2) / 2) / math.sqrt(2 * math.pi) / std
    spread = float(estimates.std())
    assert abs(float(estimates.mean()) - exact) < 3 * spread / math.sqrt(draws)
    return spread


def the_model_estimates_the_exact_gradient(**settings: Any) -> None:
    """The gradient that reaches the location network's bias, against the sum over all places of the second glimpse.

    The location's own features are switched off, so that the answer depends on which pixels are seen and on nothing
    else; each place then has a probability in closed form.
    """
    seen = Dimensions(1, 7, height=6, width=5)
    model = glimpse_model(dimensions=seen, num_glimpses=2, patch=2, scales=1, location_std=0.4, **settings).train()
    for parameter in (model.glimpse.where.weight, model.glimpse.from_where.weight):
        parameter.data.zero_()
    model.locate.weight.data.zero_()
    model.locate.bias.data.copy_(torch.tensor([0.2, -0.35]))
    model.baseline.weight.data.zero_()
    batch = pictures(1, dimensions=seen, seed=4)
    label = 4
    exact = _exact_gradient(model, _answers_of_every_place(model, batch.source, seen)[..., label], seen)
    estimates = []
    torch.manual_seed(3)
    many = Batch(batch.source.expand(400, -1, -1, -1), torch.tensor([[BOS, label]]).expand(400, -1))
    for _ in range(60):
        model.zero_grad(set_to_none=True)
        model(many).penalty.backward()
        estimates.append(-model.locate.bias.grad / 400)
    found = torch.stack(estimates)
    assert exact.abs().min() > 1e-3, "an estimate of nothing proves nothing"
    assert bool(((found.mean(0) - exact).abs() < 3 * found.std(0) / math.sqrt(60)).all())


def _edges(side: int, patch: int) -> list[float]:
    """The locations at which the top (or left) of a patch becomes the next pixel, from the far end to the other."""
    tops = range(math.floor(-patch / 2 + 0.5), math.floor(side - patch / 2 + 0.5) + 1)
    # A location beyond the picture counts as its edge: the outer places take all that is left.
    return [-math.inf, *(2 * (top + patch / 2 - 0.5) / side - 1 for top in list(tops)[1:]), math.inf]


def _answers_of_every_place(model: Model, picture: torch.Tensor, seen: Dimensions) -> torch.Tensor:
    """The probabilities of the classes (rows, columns, classes) for every place of the second glimpse."""
    rows, columns = ([*map(_inside, edges, edges[1:])] for edges in (_edges(seen.height, 2), _edges(seen.width, 2)))
    answers = torch.zeros(len(rows), len(columns), seen.target).double()
    for i, down in enumerate(rows):
        for j, right in enumerate(columns):
            state = torch.zeros(1, 8).double()
            for location in (torch.zeros(1, 2).double(), torch.tensor([[down, right]]).double()):
                taken = model.glimpse(model.sensor(picture, location).flatten(1), location)
                state = functional.relu(model.from_state(state) + model.from_glimpse(taken))
            answers[i, j] = model.readout(state)[0].softmax(-1)
    return answers


def _inside(low: float, high: float) -> float:
    return (max(low, -1.0) + min(high, 1.0)) / 2


def _exact_gradient(model: Model, right: torch.Tensor, seen: Dimensions) -> torch.Tensor:
    """d/d bias of the sum over places of P(place) times the probability of the right answer there."""
    bias = model.locate.bias.detach().clone().requires_grad_()
    normal = torch.distributions.Normal(torch.tanh(bias), model.std)
    masses = []
    for axis, side in enumerate((seen.height, seen.width)):
        edges = torch.tensor(_edges(side, 2)).double()
        below = torch.stack([normal.cdf(edge.clamp(-50, 50).expand(2))[axis] for edge in edges])
        masses.append(below[1:] - below[:-1])
    expected = (masses[0][:, None] * masses[1][None, :] * right.detach()).sum()
    return torch.autograd.grad(expected, bias)[0]


QUADRANTS = torch.tensor([[0, 0], [0, 8], [8, 0], [8, 8]])


def _signposts(number: int, generator: torch.Generator) -> Batch:
    """One of four quadrants has one of four colours, the answer; another such colour in the middle says which."""
    which, colour = torch.randint(4, (2, number), generator=generator)
    pictures = 0.02 * torch.randn(number, 4, 16, 16, generator=generator)
    for place, (row, column) in enumerate(QUADRANTS[which].tolist()):
        pictures[place, colour[place], row : row + 8, column : column + 8] += 1.0
    pictures[:, :, 7:9, 7:9] = -functional.one_hot(which, 4).float()[:, :, None, None]
    return Batch(pictures, torch.stack([torch.full((number,), BOS), 4 + colour], 1))


def error_after_training(*, updates: int, **settings: Any) -> float:
    """Share of wrong answers on new pictures, two glimpses each."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = glimpse.Config.model_validate({"num_glimpses": 2, "patch": 2, "glimpse_size": 32, "size": 64, **settings})
    model = glimpse.build(config, Dimensions(4, 8, height=16, width=16))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(updates):
        batch = _signposts(64, generator)
        loss = sequence_loss(model(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    batch = _signposts(500, generator)
    return float((model.eval().label(batch.source).argmax(-1) != batch.labels).double().mean())

"""Plants bugs in the captioner: the checks must be green without each, and red with it."""

from typing import Any

import pytest
import torch

from checks import captioner as checks
from checks import models as model_checks
from checks.captioner import FromTokens, captioner_model, transformer_captioner
from checks.planted import Bug, green_then_red
from regard.attention.hard import HardAttention
from regard.layers import recurrent
from regard.models import captioner
from regard.models.captioner import Captioner, Look
from regard.models.captioner_transformer import DecoderLayer, TransformerCaptioner


def _paper(_: Any = None) -> None:
    checks.follows_the_paper()


def _regulariser(_: Any = None) -> None:
    checks.the_regulariser_is_the_papers()


def _reward(_: Any = None) -> None:
    checks.reinforce_is_unbiased()


def _steps(_: Any = None) -> None:
    model_checks.a_step_says_what_forward_says(lambda **settings: FromTokens(captioner_model(**settings)).eval())


def _without_gate(original):
    def forward(self, hidden, memory, record):
        return self.attention(hidden[:, None, None], memory, record=record)[:, 0, 0]

    return forward


def _relu_output(original):
    def deep(self, embedded, hidden, context):
        return self.dropout(torch.relu(embedded + self.from_hidden(hidden) + self.from_context(context)))

    return deep


def _shallow(original):
    return lambda self, embedded, hidden, context: self.dropout(torch.tanh(self.from_hidden(hidden)))


def _unsquashed_start(original):
    def encode(self, source, record=None):
        state = original(self, source)
        mean = self.encoder(source).mean(1)
        carry = state.carry._replace(hidden=self.first_hidden(mean).unsqueeze(1))
        return state._replace(carry=carry)

    return encode


def _padding_counts(original):
    return lambda scores, real: original(scores, torch.ones_like(real))


def _wrong_axis(original):
    return lambda scores, real: (1 - (scores.softmax(-1) * real.unsqueeze(-1)).sum(2)).square().sum()


def _mean_of_regions(original):
    return lambda scores, real: original(scores, real) / scores.size(-1)


def _swapped(original):
    def follow(layer, inputs, states, look):
        outputs, contexts = [], []
        for vector in inputs.unbind(1):
            context = look(states.hidden[:, -1])
            output, states = layer.step(torch.cat([context, vector], -1), states)
            outputs.append(output)
            contexts.append(context)
        return torch.stack(outputs, 1), torch.stack(contexts, 1), states

    return follow


def _transformer(check):
    return lambda _: check(lambda **settings: FromTokens(transformer_captioner(**settings)).eval())


def _always_first(original):
    return lambda self, tokens, start: original(self, tokens, 0)


def _ignores_past(original):
    def step(self, state, memory, past, record):
        found, _ = original(self, state, memory, past, record)
        return found, past

    return step


BUGS = [
    Bug("every step is the first", TransformerCaptioner, "_embed", _always_first,
        _transformer(model_checks.a_step_says_what_forward_says)),
    Bug("the past is not kept", DecoderLayer, "step", _ignores_past,
        _transformer(model_checks.a_step_says_what_forward_says)),
    Bug("no gate", Look, "forward", _without_gate, _paper),
    Bug("relu in the deep output", Captioner, "_deep_output", _relu_output, _paper),
    Bug("no deep output", Captioner, "_deep_output", _shallow, _paper),
    Bug("the first state is not squashed", Captioner, "encode", _unsquashed_start, _paper),
    Bug("context before embedding", captioner, "follow", _swapped, _steps),
    Bug("the regulariser counts padding", captioner, "uncovered", _padding_counts, _regulariser),
    Bug("the regulariser sums over the wrong axis", captioner, "uncovered", _wrong_axis, _regulariser),
    Bug("the regulariser is a mean", captioner, "uncovered", _mean_of_regions, _regulariser),
    Bug("rewards of the past instead of the future", captioner, "_from_here_on",
        lambda _: lambda values: values.cumsum(1), _reward),
    Bug("the reward is not taken from the sample", captioner, "log_probability",
        lambda _: lambda scores, weights: scores.log_softmax(-1).amax(-1), _reward),
    Bug("no reward", captioner, "log_probability", lambda original: lambda s, w: 0 * original(s, w), _reward),
    Bug("locations are drawn evenly", HardAttention, "_draw",
        lambda _: lambda self, weights: torch.rand_like(weights).argmax(-1, keepdim=True), _reward),
    Bug("gates in another order", recurrent, "_EQUATIONS",
        lambda original: original | {"lstm": lambda i, h, past: original["lstm"](i.flip(-1), h.flip(-1), past)},
        _paper),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_check_is_green_without_the_bug_and_red_with_it(bug, monkeypatch):
    green_then_red(bug, monkeypatch)

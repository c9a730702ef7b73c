"""All mistakes of a recipe are told at once, each with its line and what would be right."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from regard.config.base import Config
from regard.config.document import parse_yaml
from regard.config.dump import dump_yaml
from regard.config.kind import Kind
from regard.config.load import parse
from regard.errors import UsageError


class Net(Config):
    kind: Literal["net"] = "net"
    heads: int = Field(8, gt=0)
    dropout: float = Field(0.1, lt=1)
    score: Literal["dot", "multiplicative", "additive"] = "dot"


class Adam(Config):
    kind: Literal["adam"] = "adam"
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)


class SGD(Config):
    kind: Literal["sgd"] = "sgd"
    momentum: float = 0.0


class Training(Config):
    steps: int
    learning_rate: float = 1e-3
    name: str = "x"
    files: list[str] = Field(default_factory=list)
    optimizer: Annotated[Adam | SGD, Field(discriminator="kind")] = Adam()


def choose(kind):
    if kind != "net":
        raise UsageError(f"there is no model of kind '{kind}'; did you mean 'net'?")
    return Net


class Whole(Config):
    model: Annotated[Config, Kind(choose)]
    training: Training


def message(text, *settings):
    with pytest.raises(UsageError) as caught:
        parse(Whole, parse_yaml(text, "r.yaml"), settings)
    return str(caught.value)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    text = """\
training:
  learning_rate: '3e-4'
  optimizer: {kind: sgd, momnetum: 1, momentum: x}
  name: 1.5
model:
  head: 3
  kind: net
  dropout: 1.3
  score: aditive
extra: 5
"""
    assert message(text, "training.stepz=3", "modle.size=3").splitlines() == [
        "r.yaml has 11 mistakes:",
        "  r.yaml:1: `training.steps` is required",
        "  r.yaml:2: `training.learning_rate`: should be a number, but it is '3e-4'; write it without quotes",
        "  r.yaml:3: `training.optimizer.momentum`: should be a number, but it is 'x'",
        "  r.yaml:3: unknown key `training.optimizer.momnetum`; did you mean `momentum`?",
        "  r.yaml:4: `training.name`: should be text, but it is 1.5; write it in quotes if it is meant as text",
        "  r.yaml:6: unknown key `model.head`; did you mean `heads`?",
        "  r.yaml:8: `model.dropout`: input should be less than 1, but it is 1.3",
        "  r.yaml:9: `model.score` should be 'dot', 'multiplicative' or 'additive', but it is 'aditive'; "
        "did you mean `additive`?",
        "  r.yaml:10: unknown key `extra`; known are model, training",
        "  command line: unknown key `training.stepz`; did you mean `steps`?",
        "  command line: unknown key `modle`; did you mean `model`?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {kind: net}", "r.yaml:1: `training` is required"),
        (
            "model: {kind: nett}\ntraining: {steps: 1}",
            "r.yaml:1: `model.kind`: there is no model of kind 'nett'; did you mean 'net'?",
        ),
        ("model: {}\ntraining: {steps: 1}", "r.yaml:1: `model.kind` is required"),
        ("model: 3\ntraining: {steps: 1}", "r.yaml:1: `model`: should be a block with the key `kind`"),
        (
            "model: {kind: net}\ntraining: 5",
            "r.yaml:2: `training`: should be a block with keys of its own, but it is 5",
        ),
        (
            "model: {kind: net}\ntraining: {steps: 5.5}",
            "r.yaml:2: `training.steps`: should be a whole number, but it is 5.5",
        ),
        (
            "model: {kind: net}\ntraining: {steps: 1, files: x}",
            "r.yaml:2: `training.files`: should be a list, such as [one, two], but it is 'x'",
        ),
        (
            "model: {kind: net}\ntraining: {steps: 1, optimizer: {kind: adan}}",
            "r.yaml:2: `training.optimizer` should be 'adam', 'sgd', but it is 'adan'; did you mean `adam`?",
        ),
        (
            "model: {kind: net}\ntraining: {steps: 1, optimizer: {kind: adam, betas: [1]}}",
            "r.yaml:2: `training.optimizer.betas` needs an item more",
        ),
        (
            "model: {kind: net, Heads: 3}\ntraining: {steps: 1}",
            "r.yaml:1: unknown key `model.Heads`; did you mean `heads`?",
        ),
        (
            "model: {kind: net, dropout: .nan}\ntraining: {steps: 1}",
            "r.yaml:1: `model.dropout`: input should be a finite number, but it is nan",
        ),
    ],
)
def test_one_mistake_is_one_line(text, expected):
    assert message(text) == expected


def test_settings_replace_values_and_are_read_as_yaml():
    document = parse_yaml("model: {kind: net}\ntraining: {steps: 1}", "r.yaml")
    settings = ["training.steps=7", "training.learning_rate=1e-4", "training.files=[a, b]", "training.name='5'"]
    whole = parse(Whole, document, [*settings, "training.optimizer={kind: sgd, momentum: 0.5}"])
    assert whole.training == Training(
        steps=7, learning_rate=1e-4, files=["a", "b"], name="5", optimizer=SGD(momentum=0.5)
    )
    assert document.values["training"] == {"steps": 1}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.steps", "command line: `training.steps` should be a setting such as `model.size=256`"),
        (".=3", "command line: `.=3` should be a setting such as `model.size=256`"),
        (
            "training.steps.x=3",
            "command line: `training.steps.x=3`: `training.steps` is 1, not a block with keys of its own",
        ),
        ("training.steps=[1", "command line, `training.steps=[1`:1:3: no YAML: expected ',' or ']', but got "),
        ("training.steps=many", "command line: `training.steps`: should be a whole number, but it is 'many'"),
    ],
)
def test_a_wrong_setting_names_the_command_line(setting, expected):
    assert message("model: {kind: net}\ntraining: {steps: 1}", setting).startswith(expected)


def test_what_is_written_is_read_back_equal():
    strings = ["no", "1e-4", "010", "a: b", "#x", "", "ä 'q' \"d\"\n", "~", "null", "C:\\x", "- a", "\u2028", "1.10"]
    values = {
        "model": {"kind": "net", "empty": {}, "nothing": None, "on": True},
        "numbers": [1, -2, 0.1, 1e-9, 1e300, 2.0],
        "strings": strings,
        "nested": [{"a": [1, {"b": "yes"}]}],
        **dict.fromkeys(strings[:4], 1),
    }
    assert parse_yaml(dump_yaml(values), "r.yaml").values == values

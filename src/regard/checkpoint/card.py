"""The model card: what a stranger must know of a model, as data in `config.json` and as a page, `README.md`."""

from typing import Annotated

from pydantic import Field

from regard.config.base import Config


class Metric(Config):
    """One measured figure: `name` ("BLEU"), `value`, on which `data`, and the `signature` which makes it comparable."""

    name: str
    value: float
    data: str = ""
    signature: str = ""


class Card(Config):
    """Where a model comes from. `data` maps the names of corpora to fingerprints (SHA-256 of their content).

    Of `metrics` the one that tells most stands first. `source` and `target` are the names of the corpus's sides,
    languages for most; `history` is how many turns of a conversation are read.
    """

    title: str = "A regard model"
    description: str = ""
    data: dict[str, str] = Field(default_factory=dict)
    metrics: list[Metric] = Field(default_factory=list)
    command: str = ""
    licence: str = ""
    source: str = ""
    target: str = ""
    history: Annotated[int, Field(ge=1)] = 1
    notes: list[str] = Field(default_factory=list)

    def page(self, *, kind: str, num_parameters: int, usage: str) -> str:
        """The card in Markdown, for a `kind` of model of `num_parameters` that the command `usage` uses."""
        lines = [f"# {_line(self.title)}", ""]
        if self.description:
            lines += [self.description.strip(), ""]
        lines += [
            f"A model of kind `{kind}` with {num_parameters:,} parameters, written by regard. Opening it runs no code.",
            "",
            "```sh",
            usage,
            "```",
        ]
        if self.metrics:
            lines += ["", "| metric | value | data | signature |", "|---|---|---|---|"]
            lines += [f"| {' | '.join(_cell(cell) for cell in _row(metric))} |" for metric in self.metrics]
        if self.data:
            lines += ["", "Trained on (SHA-256 of the content):", ""]
            lines += [f"- {_line(name)}: `{_line(fingerprint)}`" for name, fingerprint in self.data.items()]
        if self.command:
            lines += ["", "Made by:", "", "```sh", self.command.strip(), "```"]
        lines += ["", *(f"- {_line(note)}" for note in self.notes)] if self.notes else []
        lines += ["", f"Licence: {_line(self.licence)}"] if self.licence else []
        return "\n".join(lines) + "\n"


def _row(metric: Metric) -> tuple[str, str, str, str]:
    return metric.name, f"{metric.value:.6g}", metric.data, metric.signature


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")

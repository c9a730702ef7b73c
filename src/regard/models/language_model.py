"""A language model says what comes next in a text: tanh RNN, or LSTMs with the noise of AWD-LSTM (Merity et al. 2018).

    h_t = tanh(U x_t + W h_(t-1) + b), or an LSTM;  p(next) = softmax(V h_t + c)

The lecture's U is `weight_ih`, its W is `weight_hh`, and V is `readout`, which may be the embedding's matrix. It learns
of plain text (`data.format: text`) and reads no source.
"""

from typing import ClassVar, Literal

from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.attention.record import AttentionRecord
from regard.config.departs import departs
from regard.config.presets import Presets, WithPresets
from regard.layers.awd_lstm import AwdOutput, AwdReader, ReaderConfig
from regard.layers.recurrent import initialise
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import PAD

_NOISES = ("word_dropout", "input_dropout", "hidden_dropout", "weight_dropout", "output_dropout")


class Config(ReaderConfig, WithPresets):
    """`preset` gives what is not said; the sizes and the noise are those of the reader."""

    presets: ClassVar[Presets] = {
        "rnn": {"cell": "rnn", "num_layers": 1, "alpha": 0, "beta": 0, **dict.fromkeys(_NOISES, 0.0)},
        "lstm": {"cell": "lstm", "num_layers": 1, "alpha": 0, "beta": 0, **dict.fromkeys(_NOISES, 0.0)},
        "small": {},
        # The published model (Merity et al. 2018, 4): 24.2 M parameters with a vocabulary of 10,000.
        "awd": {
            "embedding_size": 400, "size": 1150, "num_layers": 3, "word_dropout": 0.1, "input_dropout": 0.4,
            "hidden_dropout": 0.25, "weight_dropout": 0.5, "output_dropout": 0.4,
        },
    }  # fmt: skip

    kind: Literal["language_model"] = "language_model"
    preset: Literal["rnn", "lstm", "small", "awd"] = "small"
    tied: bool = True  # V is the embedding's matrix
    alpha: float = Field(2.0, ge=0)  # weight of AR: large states cost
    beta: float = Field(1.0, ge=0)  # weight of TAR: states that change fast cost

    @model_validator(mode="after")
    def _noise_has_somewhere_to_act(self) -> "Config":
        if self.num_layers == 1 and self.hidden_dropout:
            raise ValueError("hidden_dropout has no effect with one layer: it acts between layers; set it to 0")
        if self.num_layers == 1 and departs(self, "size"):
            raise ValueError("size has no effect with one layer, which is as wide as embedding_size; leave it out")
        return self


class LanguageModel(Model):
    """Reader and readout."""

    reads_source = False
    body = "reader"

    def __init__(self, reader: AwdReader, readout: nn.Linear, *, alpha: float, beta: float) -> None:
        super().__init__()
        self.reader = reader
        self.readout = readout
        self.alpha = alpha
        self.beta = beta

    @property
    def groups(self) -> list[list[nn.Module]]:
        """The parts that may learn at rates of their own: the layers, and on top the words, which V shares if tied."""
        layers: list[list[nn.Module]] = [[layer] for layer in self.reader.layers]
        return [*layers, [self.reader.embedding, self.readout]]

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Every next token from those before it; while training with the penalties AR and TAR."""
        read = self.reader(batch.decoder_input)
        return Output(read.dropped, self.readout, self._penalty(read, batch) if self.training else None)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`, which reads padding too."""
        return self.reader.flops(batch.decoder_input.numel()) + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None) -> State:
        """Nothing is read yet."""
        return State(None, self.reader.start(len(source)))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One token a hypothesis; logits of the next."""
        hidden, states = self.reader.step(tokens, state.carry)
        return self.readout(hidden), State(None, states)

    def _penalty(self, read: AwdOutput, batch: Batch) -> Float[Tensor, ""] | None:
        """Alpha |dropped h_t|^2 + beta |h_t - h_(t-1)|^2, means over the features, summed over the labels (4.4)."""
        if not (self.alpha or self.beta):
            return None
        real = (batch.labels != PAD).unsqueeze(-1)
        size = read.raw.size(-1)
        activation = (read.dropped.square() * real).sum() / size
        change = ((read.raw[:, 1:] - read.raw[:, :-1]).square() * real[:, 1:]).sum() / size
        return self.alpha * activation + self.beta * change


def build(config: Config, dimensions: Dimensions) -> LanguageModel:
    """The model of `config` with fresh parameters from torch's global generator."""
    reader = AwdReader(dimensions.target, config)
    readout = nn.Linear(config.embedding_size, dimensions.target)
    model = LanguageModel(reader, readout, alpha=config.alpha, beta=config.beta)
    model.apply(initialise)
    if config.tied:
        readout.weight = reader.embedding.weight
    return model

"""ULM-FiT: the reader of a language model goes on as the reader of a text classifier (Howard and Ruder 2018).

    h_1 ... h_T = reader(BOS, word_1 ... word_n, EOS);  h = [h_T; max of h_t; mean of h_t]
    label = argmax softmax(V relu(W norm(h) + b) + c), with batch normalisation and dropout before each of the two

It begins with a trained model of kind language_model (`training.start_from`, or `regard finetune`), whose tokenizer it
takes over, and learns as `training.finetuning` says. Without that it is the same network learning from scratch.
"""

from typing import Literal

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.record import AttentionRecord
from regard.layers.awd_lstm import AwdReader, ReaderConfig
from regard.layers.batch_norm import BatchNorm
from regard.layers.dropout import Dropout
from regard.layers.pooling import Read, pool
from regard.layers.recurrent import initialise
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output
from regard.symbols import BOS, PAD


class Config(ReaderConfig):
    """The reader's settings must be those of the language model that it begins with; noise may differ."""

    kind: Literal["ulmfit"] = "ulmfit"
    hidden_size: int = Field(50, ge=1)
    pooled_dropout: float = Field(0.4, ge=0, lt=1)
    classifier_dropout: float = Field(0.1, ge=0, lt=1)


class Normalised(nn.Module):
    """Batch normalisation, then dropout."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.norm = BatchNorm(size)
        self.dropout = Dropout(dropout)

    def forward(self, rows: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """The rows, each feature with mean 0 and variance 1 in the batch, some of them dropped."""
        normalised: Tensor = self.dropout(self.norm(rows))
        return normalised


class ULMFiT(Model):
    """Reader and head."""

    body = "reader"

    def __init__(self, reader: AwdReader, config: Config, num_labels: int) -> None:
        super().__init__()
        self.reader = reader
        self.pooled = Normalised(3 * config.embedding_size, config.pooled_dropout)
        self.hidden = nn.Linear(3 * config.embedding_size, config.hidden_size)
        self.normed = Normalised(config.hidden_size, config.classifier_dropout)
        self.readout = nn.Linear(config.hidden_size, num_labels)

    @property
    def groups(self) -> list[list[nn.Module]]:
        """The parts that may learn at rates of their own, from the words to the labels."""
        layers: list[list[nn.Module]] = [[layer] for layer in self.reader.layers]
        return [[self.reader.embedding], *layers, self._head]

    @property
    def _head(self) -> list[nn.Module]:
        return [self.pooled, self.hidden, self.normed, self.readout]

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """One vector a text, and how it becomes logits."""
        return Output(self._read(batch.source).unsqueeze(1), self.readout)

    def label(
        self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None
    ) -> Float[Tensor, "batch 1 labels"]:
        """Logits of the text's label."""
        logits: Tensor = self.readout(self._read(source))
        return logits.unsqueeze(1)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`, which reads padding too, and `BOS`."""
        rows, length = batch.source.shape
        read = self.reader.flops(rows * (length + 1)) + of_matrices(self.hidden, rows)
        return read + of_matrices(self.readout, batch.num_target_tokens)

    def frozen_flops(self, source: Tensor) -> int:
        """Those of the reader's layers that do not learn yet."""
        rows, length = source.shape
        frozen = [layer for layer in self.reader.layers if not any(each.requires_grad for each in layer.parameters())]
        return sum(layer.flops(rows * (length + 1)) for layer in frozen)

    def _read(self, source: Tensor) -> Float[Tensor, "batch hidden_size"]:
        # A language model begins with BOS. What stands behind a text cannot be seen by what stands before it.
        tokens = functional.pad(source, (1, 0), value=BOS)
        states = self.reader(tokens).dropped
        mask = tokens != PAD
        ends = (mask.sum(1) - 1).view(-1, 1, 1).expand(-1, 1, states.size(2))
        vector = pool("concat", Read(states, states.gather(1, ends).squeeze(1)), mask)
        hidden: Tensor = self.normed(functional.relu(self.hidden(self.pooled(vector))))
        return hidden


def build(config: Config, dimensions: Dimensions) -> ULMFiT:
    """The model of `config` with fresh parameters from torch's global generator."""
    model = ULMFiT(AwdReader(dimensions.source, config), config, dimensions.target)
    model.apply(initialise)
    return model

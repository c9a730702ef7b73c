"""A text gets a label: words are read by convolutions, a tanh RNN or an LSTM, or only averaged, and pooled (Kim 2014).

    x_t = embedding of word t;  h_1 ... h_T = reader(x_1 ... x_T);  h = pool(h_1 ... h_T)
    h = relu(W h + b), as often as there are hidden layers;  label = argmax softmax(V h + c)

Without a reader this is a fully connected network on the mean of the words (Iyyer et al. 2015). The convolutional
network and its maximum over time are those of Kim 2014, the attention is that of Yang et al. 2016.
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.attention_pooling import AttentionPooling
from regard.attention.mask import padding_mask
from regard.attention.record import AttentionRecord
from regard.config.departs import departs
from regard.config.presets import Presets, WithPresets
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.pooling import Read, pool
from regard.layers.recurrent import CellName, Recurrent, initialise
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output


class Config(WithPresets):
    """`preset` gives what is not said. `size` is that of a word's state, of a hidden layer, and of each filter bank."""

    presets: ClassVar[Presets] = {
        "fully_connected": {"reader": "none", "pooling": "mean", "hidden_layers": 1},
        "cnn": {"reader": "cnn", "pooling": "max"},
        "rnn": {"reader": "rnn", "pooling": "last"},
        "lstm": {"reader": "lstm", "pooling": "last"},
        "attention": {"reader": "lstm", "pooling": "attention", "bidirectional": True},
    }

    kind: Literal["text_classifier"] = "text_classifier"
    preset: Literal["fully_connected", "cnn", "rnn", "lstm", "attention"] = "cnn"
    reader: Literal["none", "cnn", "rnn", "lstm"] = "cnn"
    pooling: Literal["last", "max", "mean", "concat", "attention"] = "max"  # concat: [last; max; mean]
    embedding_size: int = Field(128, ge=1)
    size: int = Field(128, ge=1)
    widths: list[int] = Field([3, 4, 5], min_length=1)  # words that a filter of the CNN sees
    num_layers: int = Field(1, ge=1)  # of the RNN or LSTM
    bidirectional: bool = False
    hidden_layers: int = Field(0, ge=0)  # fully connected, behind the pooling
    dropout: float = Field(0.5, ge=0, lt=1)  # of embeddings, between layers, of the pooled vector and hidden layers

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.pooling in ("last", "concat") and self.reader in ("none", "cnn"):
            raise ValueError(f"pooling {self.pooling} needs a reader with a last state (rnn, lstm), not {self.reader}")
        if self.reader != "cnn" and self.widths != [3, 4, 5]:
            raise ValueError(f"widths have no effect with reader {self.reader}; only the CNN has filters")
        if min(self.widths) < 1:
            raise ValueError(f"a filter sees at least one word, but widths are {self.widths}")
        if self.reader in ("none", "cnn") and (self.bidirectional or self.num_layers > 1):
            raise ValueError(f"bidirectional and num_layers have no effect with reader {self.reader}")
        if self.reader == "none" and not self.hidden_layers and departs(self, "size"):
            raise ValueError("size has no effect: there is neither a reader nor a hidden layer; leave it out")
        if self.bidirectional and self.size % 2:
            raise ValueError(f"size {self.size} is odd: two directions share it; make it even")
        return self


class Reader(nn.Module, ABC):
    """Gives every word a state of `size`, which may know of its neighbours."""

    size: int

    @abstractmethod
    def forward(self, words: Float[Tensor, "batch length input_size"], mask: Bool[Tensor, "batch length"]) -> Read:
        """Read embedded words; what stands at padding is 0."""

    @abstractmethod
    def flops(self, mask: Bool[Tensor, "batch length"]) -> int:
        """Operations of reading texts of this shape."""


class BagReader(Reader):
    """Every word by itself, as it is."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, words: Tensor, mask: Tensor) -> Read:
        """Nothing happens."""
        return Read(words)

    def flops(self, mask: Tensor) -> int:
        """Nothing costs nothing."""
        return 0


class ConvolutionReader(Reader):
    """relu(filter * window + b) at every word, for filters of several widths (Kim 2014, eq. 2).

    The window of width k around a word has (k - 1) // 2 words before and k // 2 behind it, zeros beyond the text.
    """

    def __init__(self, input_size: int, size: int, widths: list[int]) -> None:
        super().__init__()
        self.size = size * len(widths)
        self.widths = widths
        self.filters = nn.ModuleList(nn.Conv1d(input_size, size, width) for width in widths)

    def forward(self, words: Tensor, mask: Tensor) -> Read:
        """The feature maps of all widths side by side."""
        columns = words.transpose(1, 2)
        maps = []
        for width, convolution in zip(self.widths, self.filters, strict=True):
            maps.append(convolution(functional.pad(columns, ((width - 1) // 2, width // 2))))
        return Read(torch.cat(maps, 1).relu().transpose(1, 2))

    def flops(self, mask: Tensor) -> int:
        """Every filter at every place, padding too."""
        return 2 * mask.numel() * sum(bank.numel() for bank in self.filters.parameters() if bank.ndim == 3)


class RecurrentReader(Reader):
    """h_t = tanh(U x_t + W h_{t-1} + b), or an LSTM; in both directions [forward; backward]."""

    def __init__(
        self, cell: CellName, input_size: int, *, size: int, num_layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        self.size = size
        self.recurrent = Recurrent(
            cell,
            input_size,
            size=size // 2 if bidirectional else size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
        )

    def forward(self, words: Tensor, mask: Tensor) -> Read:
        """The states of the top layer; the last one of each direction is at its own end of the text."""
        states, final = self.recurrent(words, lengths=mask.sum(1))
        return Read(states, final.hidden[:, -1])

    def flops(self, mask: Tensor) -> int:
        """Real words only."""
        return self.recurrent.flops(int(mask.sum()))


class TextClassifier(Model):
    """Embedding, reader, pooling, hidden layers; the lecture's V is `readout`."""

    def __init__(
        self, config: Config, embedding: Embedding, reader: Reader, hidden: nn.ModuleList, readout: nn.Linear
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.reader = reader
        self.pooling = config.pooling
        self.attend = AttentionPooling(reader.size, site="pool") if config.pooling == "attention" else None
        self.hidden = hidden
        self.readout = readout
        self.dropout = Dropout(config.dropout)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """One vector a text, and how it becomes logits."""
        return Output(self._read(batch.source, record).unsqueeze(1), self.readout)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`."""
        mask = padding_mask(batch.source)
        read = self.reader.flops(mask) + (0 if self.attend is None else self.attend.flops(*mask.shape))
        return read + of_matrices(self.hidden, len(mask)) + of_matrices(self.readout, batch.num_target_tokens)

    def label(
        self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None
    ) -> Float[Tensor, "batch 1 labels"]:
        """Logits of the text's label."""
        logits: Tensor = self.readout(self._read(source, record))
        return logits.unsqueeze(1)

    def _read(self, source: Tensor, record: AttentionRecord | None) -> Float[Tensor, "batch size"]:
        mask = padding_mask(source)
        words = self.dropout(self.embedding(source)) * mask.unsqueeze(-1)
        vector: Tensor = self.dropout(self._pool(self.reader(words, mask), mask, record))
        for layer in self.hidden:
            vector = self.dropout(layer(vector).relu())
        return vector

    def _pool(self, read: Read, mask: Tensor, record: AttentionRecord | None) -> Tensor:
        if self.attend is not None:
            attended: Tensor = self.attend(read.states, mask, record)
            return attended
        assert self.pooling != "attention"
        return pool(self.pooling, read, mask)


def build(config: Config, dimensions: Dimensions) -> TextClassifier:
    """The model of `config` with fresh parameters from torch's global generator."""
    embedding = Embedding(dimensions.source, config.embedding_size)
    reader = _reader(config)
    pooled_size = 3 * reader.size if config.pooling == "concat" else reader.size
    sizes = [pooled_size, *[config.size] * config.hidden_layers]
    hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
    readout = nn.Linear(sizes[-1], dimensions.target)
    model = TextClassifier(config, embedding, reader, hidden, readout)
    model.apply(initialise)
    return model


def _reader(config: Config) -> Reader:
    if config.reader == "none":
        return BagReader(config.embedding_size)
    if config.reader == "cnn":
        return ConvolutionReader(config.embedding_size, config.size, config.widths)
    return RecurrentReader(
        config.reader,
        config.embedding_size,
        size=config.size,
        num_layers=config.num_layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
    )

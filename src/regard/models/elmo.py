"""ELMo: a bidirectional language model over words that are read letter by letter (Peters et al. 2018).

letters -> convolutions, highways -> x_k; forward: LSTMs over x_1 ... x_k predict word k + 1; backward: LSTMs over
x_n ... x_k predict word k - 1; both through one softmax. What the layers hold at word k is its vector in context, of
which another model takes a mixture (`regard.layers.scalar_mix`); see `models/tagger.py`.

A sentence is source and target at once: its bytes are read, its words are predicted (`source_tokenizer: {kind: bytes}`,
`target_tokenizer: {kind: words}`). Each direction ends by predicting `EOS`, the end of what it reads.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.record import AttentionRecord
from regard.errors import UsageError
from regard.layers.bidirectional_lm import BidirectionalConfig, BidirectionalReader, Read
from regard.layers.dropout import Dropout
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output


class Config(BidirectionalConfig):
    """The body's settings (`BidirectionalConfig`), and the name of the kind."""

    kind: Literal["elmo"] = "elmo"


class ELMo(Model):
    """The body, and a softmax over words that both directions share. It predicts and represents; it cannot generate."""

    source_kind, target_kind = "bytes", "words"
    body = "reader"

    def __init__(self, reader: BidirectionalReader, readout: nn.Linear, *, dropout: float) -> None:
        super().__init__()
        self.reader = reader
        self.readout = readout
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Two voices: every word is predicted from what stands before it, and from what stands behind it.

        Raises:
            UsageError: the targets are not the words of the sources.
        """
        read = self.reader(batch.source)
        num_labels = batch.num_labels
        if not torch.equal(num_labels, read.num_words + 1):
            raise UsageError(
                "kind elmo predicts the words that it reads: the source must be the target's own text, with "
                "data.source_tokenizer {kind: bytes} and data.target_tokenizer {kind: words}"
            )
        return Output(self.dropout(_voices(read)), self.readout, voices=2)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`, and of reading out every label twice."""
        return self.reader.flops(batch.source) + of_matrices(self.readout, 2 * batch.num_target_tokens)


def _voices(read: Read) -> Float[Tensor, "voices places_less_one size"]:
    """The states that predict w_1 ... w_n and the end: first those from the left, then those from the right.

    From the left, word k is predicted where word k - 1 was read. From the right, word k is predicted where word k + 1
    was read; the last label, the end, where the first word was.
    """
    there, back = read.forward[-1], read.backward[-1]
    places = there.size(1) - 1
    label = torch.arange(places, device=there.device).expand(len(there), -1)
    behind = torch.where(label < read.num_words.unsqueeze(1), label + 2, 1)
    from_right = back.gather(1, behind.clamp(max=places).unsqueeze(-1).expand(-1, -1, back.size(2)))
    return torch.cat([there[:, :-1], from_right])


def build(config: Config, dimensions: Dimensions) -> ELMo:
    """The model of `config` with fresh parameters from torch's global generator."""
    readout = nn.Linear(config.size, dimensions.target)
    nn.init.zeros_(readout.bias)
    return ELMo(BidirectionalReader(config), readout, dropout=config.dropout)

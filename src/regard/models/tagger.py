"""A tag for every word, by an LSTM over words, letters and perhaps ELMo (Ma and Hovy 2016; Peters et al. 2018).

    w_k = [word k's own vector; convolutions over its letters; gamma * sum_j s_j ELMo_kj]
    h_1 ... h_n = LSTM both ways (w_1 ... w_n);  tag k = argmax softmax(V h_k + c)

Sources are bytes, so no word is unknown: a word's own vector is found by hashing its letters. ELMo's layers come from
a model of kind elmo (`training.start_from`) and stay as they are; without that they are what chance has made of them,
against which its worth is measured. Only their mixture is learnt (`regard.layers.scalar_mix`).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.attention.record import AttentionRecord
from regard.config import base
from regard.config.departs import departs
from regard.errors import UsageError
from regard.layers.bidirectional_lm import BidirectionalConfig, BidirectionalReader
from regard.layers.character_convolution import CharacterConvolution, Filters
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.recurrent import Recurrent, initialise
from regard.layers.scalar_mix import ScalarMix
from regard.layers.spelling import NUM_SYMBOLS, hash_words, spell
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output
from regard.symbols import PAD

LONGEST_WORD = 50


class Config(base.Config):
    """What words are made of, and the LSTM; `elmo` is the block `model` of the ELMo that gives its vectors."""

    kind: Literal["tagger"] = "tagger"
    word_size: int = Field(64, ge=0)  # 0: words have no vectors of their own
    word_buckets: int = Field(20_000, ge=2)  # words that share a bucket share a vector
    filters: list[Filters] = Field([Filters(width=3, number=32)])  # over letters; none: letters are not read
    letter_size: int = Field(16, ge=1)
    elmo: BidirectionalConfig | None = None
    elmo_layers: Literal["mixture", "top"] = "mixture"
    size: int = Field(128, ge=1)  # of one direction
    num_layers: int = Field(1, ge=1)
    dropout: float = Field(0.4, ge=0, lt=1)  # of what a word is made of, between layers, and before the readout

    @model_validator(mode="after")
    def _words_are_made_of_something(self) -> "Config":
        if not (self.word_size or self.filters or self.elmo):
            raise ValueError("a word is made of nothing: set word_size, filters or elmo")
        if self.elmo is None and self.elmo_layers != "mixture":
            raise ValueError("elmo_layers has no effect without elmo")
        if not self.word_size and departs(self, "word_buckets"):
            raise ValueError("word_buckets has no effect with word_size 0; leave it out")
        if not self.filters and departs(self, "letter_size"):
            raise ValueError("letter_size has no effect without filters; leave it out")
        return self


class Words(nn.Module):
    """What the tagger itself knows of a word, before any context: a vector found by hashing, and its letters."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding = Embedding(config.word_buckets, config.word_size) if config.word_size else None
        self.letters = (
            CharacterConvolution(
                NUM_SYMBOLS,
                embedding_size=config.letter_size,
                filters=config.filters,
                num_highways=0,
                size=sum(each.number for each in config.filters),
            )
            if config.filters
            else None
        )

    def forward(self, letters: Int[Tensor, "batch words letters"]) -> list[Float[Tensor, "batch words _"]]:
        """One tensor for each of the two that there is."""
        found: list[Tensor] = []
        if self.embedding is not None:
            found.append(self.embedding(hash_words(letters, buckets=self.embedding.weight.size(0))))
        if self.letters is not None:
            found.append(self.letters(letters))
        return found


class FrozenELMo(nn.Module):
    """Vectors in context that do not learn, and their mixture, which does."""

    def __init__(self, config: BidirectionalConfig, layers: Literal["mixture", "top"]) -> None:
        super().__init__()
        self.mix = ScalarMix(config.num_layers + 1) if layers == "mixture" else None

    def forward(self, reader: BidirectionalReader, source: Tensor) -> Float[Tensor, "batch words both"]:
        """Of the words alone, without the two ends of the sentence."""
        with torch.no_grad():
            layers = [layer[:, 1:-1] for layer in reader(source).layers]
        return layers[-1] if self.mix is None else self.mix(layers)


class Tagger(Model):
    """Words, ELMo, LSTM, readout."""

    source_kind, target_kind = "bytes", "tags"
    body = "reader"

    def __init__(
        self,
        words: Words,
        reader: BidirectionalReader | None,
        elmo: FrozenELMo | None,
        recurrent: Recurrent,
        readout: nn.Linear,
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        self.words = words
        self.reader = None if reader is None else reader.requires_grad_(False)
        self.elmo = elmo
        self.recurrent = recurrent
        self.readout = readout
        self.dropout = Dropout(dropout)

    def train(self, mode: bool = True) -> "Tagger":
        """As ever; but what does not learn does not drop out either."""
        super().train(mode)
        if self.reader is not None:
            self.reader.eval()
        return self

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """One place a word.

        Raises:
            UsageError: there are more labels, or fewer, than words.
        """
        states = self._states(batch.source)
        if states.size(1) != batch.labels.size(1):
            raise UsageError(
                f"kind tagger gives every word a tag, but a batch has {states.size(1)} words in its longest source and "
                f"{batch.labels.size(1)} labels in its longest target; set data.target_tokenizer to {{kind: tags}}"
            )
        return Output(states, self.readout)

    def label(
        self, source: Int[Tensor, "batch length"], record: AttentionRecord | None = None
    ) -> Float[Tensor, "batch words labels"]:
        """Logits of every word's tag; what stands behind a sentence's last word means nothing."""
        logits: Tensor = self.readout(self._states(source))
        return logits

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`, and of reading out the labels that are no padding."""
        letters, num_words = spell(batch.source, longest=LONGEST_WORD)
        convolved = 0 if self.words.letters is None else self.words.letters.flops(int(num_words.sum()), letters.size(2))
        lstm = self.recurrent.flops(int(num_words.clamp(min=1).sum()))
        read = self.frozen_flops(batch.source)
        return convolved + read + lstm + of_matrices(self.readout, batch.num_target_tokens)

    def frozen_flops(self, source: Tensor) -> int:
        """Those of ELMo."""
        return 0 if self.reader is None else self.reader.flops(source)

    def _states(self, source: Tensor) -> Float[Tensor, "batch words both"]:
        letters, num_words = spell(source, longest=LONGEST_WORD)
        place = torch.arange(letters.size(1) - 2, device=source.device)
        is_word = place < num_words.unsqueeze(1)
        parts = self.words(letters[:, 1:-1].masked_fill(~is_word.unsqueeze(2), PAD))
        if self.elmo is not None and self.reader is not None:
            parts.append(self.elmo(self.reader, source))
        states, _ = self.recurrent(self.dropout(torch.cat(parts, -1)), lengths=num_words.clamp(min=1))
        return self.dropout(states)


def build(config: Config, dimensions: Dimensions) -> Tagger:
    """The model of `config` with fresh parameters from torch's global generator."""
    words = Words(config)
    size = config.word_size + sum(each.number for each in config.filters)
    reader = elmo = None
    if config.elmo is not None:
        reader, elmo = BidirectionalReader(config.elmo), FrozenELMo(config.elmo, config.elmo_layers)
        size += 2 * config.elmo.size
    recurrent = Recurrent(
        "lstm", size, size=config.size, num_layers=config.num_layers, bidirectional=True, dropout=config.dropout
    )
    readout = nn.Linear(2 * config.size, dimensions.target)
    recurrent.apply(initialise)
    readout.apply(initialise)
    return Tagger(words, reader, elmo, recurrent, readout, dropout=config.dropout)

"""Show, Attend and Tell: an LSTM says what a picture shows, and looks at a part of it for every word (Xu et al. 2015).

picture -> encoder -> regions a_1 .. a_L, each a vector of what is seen there. Before every word the decoder asks them:
e_ti = w . tanh(W_a a_i + W_h h_{t-1}), alpha_t = softmax(e_t), and sees z_t = beta_t * sum of alpha_ti a_i (soft) or
beta_t * a_s with s drawn from alpha_t (hard). `attention: none` sees the mean of all regions whatever it says.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from regard.attention.additive import Additive
from regard.attention.attention import Attention, Memory
from regard.attention.hard import HardAttention, log_probability
from regard.attention.record import AttentionRecord
from regard.config import base
from regard.layers.dropout import Dropout
from regard.layers.embedding import Embedding
from regard.layers.picture_encoder import PictureEncoder, PictureEncoderConfig, WithPictureEncoder
from regard.layers.recurrent import Recurrent, States, follow, initialise
from regard.layers.residual_network import ResidualNetworkConfig
from regard.operations import of_matrices
from regard.protocol import Batch, Dimensions, Model, Output, State
from regard.symbols import PAD

READS_PICTURES = True
SITE = "decoder.cross"
_BASELINE_DECAY = 0.9


class HardConfig(base.Config):
    """How locations are learnt that are drawn (section 4.1): the values of the paper's own program."""

    sampled: float = Field(
        0.5, gt=0, le=1
    )  # how often a location is drawn; else the mean is seen, as in soft attention
    reinforce_weight: float = Field(0.1, gt=0)  # lambda_r, of (log p(y | s) - b) * log p(s)
    entropy_weight: float = Field(0.002, ge=0)  # lambda_e, of H[s]


_HARD = HardConfig.model_validate({})


class Config(base.Config):
    """Sizes are m of an embedding, n of the decoder; D is what the encoder gives."""

    kind: Literal["captioner"] = "captioner"
    encoder: PictureEncoderConfig = ResidualNetworkConfig.model_validate({})
    attention: Literal["soft", "hard", "none"] = "soft"
    embedding_size: int = Field(256, ge=1)
    decoder_size: int = Field(512, ge=1)
    attention_size: int | None = Field(None, ge=1)  # rows of W_a and W_h; None: decoder_size
    # lambda of sum over regions of (1 - sum over words of alpha)^2, a caption; None: 1 where there is attention.
    # A mean over regions, as some programs have it, is L times smaller.
    doubly_stochastic: float | None = Field(None, ge=0)
    hard: HardConfig | None = None  # None: its defaults, where attention is hard
    dropout: float = Field(0.3, ge=0, lt=1)  # of embeddings, and before the readout

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "Config":
        if self.hard is not None and self.attention != "hard":
            raise ValueError(f"`hard` has no effect with attention {self.attention}")
        if self.attention == "none" and (self.attention_size, self.doubly_stochastic) != (None, None):
            raise ValueError("attention_size and doubly_stochastic have no effect with attention none")
        return self


class Look(nn.Module):
    """z_t = beta_t * (the regions' answer to h_{t-1}), with one number beta_t = sigmoid(f_beta(h_{t-1})) (4.2.1)."""

    def __init__(self, attention: Attention | None, decoder_size: int) -> None:
        """Without attention the answer is always the mean of the regions."""
        super().__init__()
        self.attention = attention
        self.gate = nn.Linear(decoder_size, 1)

    def remember(self, regions: Float[Tensor, "batch regions size"]) -> Memory | Tensor:
        """Prepare the regions once for all words."""
        if self.attention is None:
            return regions.mean(1)
        keys = regions.unsqueeze(1)  # one head
        return self.attention.remember(keys, keys)

    def forward(
        self, hidden: Float[Tensor, "rows decoder_size"], memory: Memory | Tensor, record: AttentionRecord | None
    ) -> Float[Tensor, "rows size"]:
        """What every row sees before its next word."""
        gate: Tensor = self.gate(hidden).sigmoid()
        if self.attention is None or isinstance(memory, Tensor):
            assert isinstance(memory, Tensor)
            return gate * memory.repeat_interleave(hidden.size(0) // memory.size(0), 0)
        context: Tensor = self.attention(hidden[:, None, None], memory, record=record)[:, 0, 0]
        return gate * context

    def flops(self, rows: int, words: int, regions: int, region_size: int) -> int:
        """Operations of `remember` and of all words."""
        gates = of_matrices(self.gate, rows * words)
        if self.attention is None:
            return gates
        looked = self.attention.flops(rows, words, regions, region_size)
        return gates + self.attention.score.key_flops(rows * regions) + looked


class Captioner(WithPictureEncoder, Model):
    """Encoder, two networks for the first state, LSTM, and the deep output layer."""

    baseline: Tensor

    def __init__(self, encoder: PictureEncoder, look: Look, config: Config, num_words: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.look = look
        self.first_hidden = nn.Linear(encoder.size, config.decoder_size)
        self.first_cell = nn.Linear(encoder.size, config.decoder_size)
        self.embedding = Embedding(num_words, config.embedding_size)
        self.recurrent = Recurrent("lstm", config.embedding_size + encoder.size, size=config.decoder_size)
        self.from_hidden = nn.Linear(config.decoder_size, config.embedding_size)  # L_h
        self.from_context = nn.Linear(encoder.size, config.embedding_size, bias=False)  # L_z
        self.readout = nn.Linear(config.embedding_size, num_words)  # L_o
        self.dropout = Dropout(config.dropout)
        self.doubly_stochastic = 1.0 if config.doubly_stochastic is None else config.doubly_stochastic
        self.hard = (config.hard or _HARD) if config.attention == "hard" else None
        # b: the moving mean of log p of a word. It is training's, but a resumed run must go on from it.
        self.register_buffer("baseline", torch.zeros(()))

    def forward(self, batch: Batch, record: AttentionRecord | None = None) -> Output:
        """Teacher forcing."""
        memory, states = self.encode(batch.source)
        embedded = self.dropout(self.embedding(batch.decoder_input))
        steps = AttentionRecord() if record is None else record.for_steps()
        hidden, contexts, _ = follow(self.recurrent, embedded, states, lambda h: self.look(h, memory, steps))
        looked = steps.for_steps()
        looked.add_steps(steps)
        if record is not None:
            record.add_steps(looked)
        said = self._deep_output(embedded, hidden, contexts)
        return Output(said, self.readout, self._penalty(looked, said, batch.labels) if self.training else None)

    def flops(self, batch: Batch) -> int:
        """Operations of `forward`; every caption is as long as the longest. Read before, regions cost nothing."""
        (rows, words), source = batch.labels.shape, batch.source
        total, regions = 0, source.size(1)
        if source.ndim == 4:
            height, width = source.shape[2:]
            total, regions = self.encoder.flops(rows, height, width), math.prod(self.encoder.grid(height, width))
        total += sum(of_matrices(layer, rows) for layer in (self.first_hidden, self.first_cell))
        total += self.look.flops(rows, words, regions, self.encoder.size) + self.recurrent.flops(rows * words)
        total += sum(of_matrices(layer, rows * words) for layer in (self.from_hidden, self.from_context))
        if self.training and self.hard is not None:  # all words are read out once more, for their reward
            total += of_matrices(self.readout, rows * words)
        return total + of_matrices(self.readout, batch.num_target_tokens)

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """Read pictures (batch, channels, height, width), or regions (batch, regions, D) that were read before."""
        regions: Tensor = self.encoder(source) if source.ndim == 4 else source
        mean = regions.mean(1)
        hidden, cell = torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_cell(mean))
        return State(self.look.remember(regions), States(hidden.unsqueeze(1), cell.unsqueeze(1)))

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """One word a hypothesis; logits of the next."""
        embedded = self.embedding(tokens)
        context = self.look(state.carry.hidden[:, -1], state.memory, record)
        hidden, carry = self.recurrent.step(torch.cat([embedded, context], -1), state.carry)
        return self.readout(self._deep_output(embedded, hidden, context)), State(state.memory, carry)

    def _deep_output(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Before L_o: tanh(E y_{t-1} + L_h h_t + L_z z_t), with dropout (equation 7 and the paper's own program)."""
        said: Tensor = self.dropout(torch.tanh(embedded + self.from_hidden(hidden) + self.from_context(context)))
        return said

    def _penalty(self, looked: AttentionRecord, said: Tensor, labels: Tensor) -> Tensor | None:
        if not looked.sites:
            return None
        (call,) = looked.calls(SITE)
        scores, weights = call.scores.squeeze(1).float(), call.weights.squeeze(1)  # (batch, words, regions)
        real = labels != PAD
        penalty = self.doubly_stochastic * uncovered(scores, real)
        return penalty if self.hard is None else penalty + self._reinforce(self.hard, scores, weights, said, labels)

    def _reinforce(self, hard: HardConfig, scores: Tensor, weights: Tensor, said: Tensor, labels: Tensor) -> Tensor:
        """What, minimised, follows lambda_r (log p(y | s) - b) d log p(s) + lambda_e dH[s] (equation 12).

        A location is weighed by the words from its own on: what was said before does not depend on it, so leaving it
        out changes nothing of the gradient's mean, and much of its variance. b of a word is the moving mean of words.
        """
        real = labels != PAD
        with torch.no_grad():
            scored = self.readout(said).float().log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
            scored = scored.masked_fill(~real, 0.0)  # log p of every word
            advantages = _from_here_on((scored - self.baseline) * real)
            if bool(real.any()):
                self.baseline.lerp_((scored.sum() / real.sum()).to(self.baseline.dtype), 1 - _BASELINE_DECAY)
        log_probabilities = scores.log_softmax(-1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
        drawn = log_probability(scores, weights)
        return -(
            hard.reinforce_weight * (advantages * drawn * real).sum() + hard.entropy_weight * (entropy * real).sum()
        )


def uncovered(
    scores: Float[Tensor, "batch words regions"], real: Float[Tensor, "batch words"] | Tensor
) -> Float[Tensor, ""]:
    """Sum over captions and regions of (1 - sum over real words of alpha)^2 (Xu et al. 2015, equation 14)."""
    seen = (scores.softmax(-1) * real.unsqueeze(-1)).sum(1)
    return (1 - seen).square().sum()


def _from_here_on(values: Float[Tensor, "batch words"]) -> Float[Tensor, "batch words"]:
    """The sum of every place and all that follow it."""
    return values.flip(1).cumsum(1).flip(1)


def build(config: Config, dimensions: Dimensions) -> Captioner:
    """The model of `config` with fresh parameters from torch's global generator; `dimensions.source` is channels."""
    encoder = PictureEncoder(config.encoder, dimensions.source)
    look = Look(_attention(config, encoder.size), config.decoder_size)
    model = Captioner(encoder, look, config, dimensions.target)
    for name, part in model.named_children():
        if name != "encoder":
            part.apply(initialise)
    return model


def _attention(config: Config, region_size: int) -> Attention | None:
    if config.attention == "none":
        return None
    score = Additive(config.decoder_size, region_size, config.attention_size or config.decoder_size)
    if config.attention == "soft":
        return Attention(score, site=SITE)
    return HardAttention(score, site=SITE, sampled=(config.hard or _HARD).sampled)

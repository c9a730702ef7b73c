"""What regard's training is measured against: the models and the loop that one writes with torch.nn in an hour.

Nothing is slow on purpose: buckets by length (regard's own batches), bf16 autocast, tied embeddings, the
logits of all positions in one product, torch's cross entropy and Adam.
"""

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.data.batch import Batch
from regard.symbols import PAD

SHAPES = {
    "tiny": {"size": 128, "num_heads": 4, "num_layers": 4, "feed_forward_size": 256},
    "small": {"size": 256, "num_heads": 4, "num_layers": 3, "feed_forward_size": 1024},
    "base": {"size": 512, "num_heads": 8, "num_layers": 6, "feed_forward_size": 2048},
}


class PlainTransformer(nn.Module):
    """`torch.nn.Transformer` with the sine positions of the paper."""

    def __init__(self, vocabulary: int, *, size: int, num_heads: int, num_layers: int, feed_forward_size: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.transformer = nn.Transformer(
            size, num_heads, num_layers, num_layers, feed_forward_size, 0.1, batch_first=True
        )
        self.dropout = nn.Dropout(0.1)
        angles = torch.arange(512)[:, None] * torch.exp(torch.arange(0, size, 2) * (-math.log(10000.0) / size))
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], -1).flatten(1))

    def forward(self, source: Tensor, decoder_input: Tensor) -> Tensor:
        """Logits of all positions."""
        future = nn.Transformer.generate_square_subsequent_mask(decoder_input.size(1))
        padding = source == PAD
        states = self.transformer(
            self._embed(source),
            self._embed(decoder_input),
            tgt_mask=future,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return functional.linear(states, self.embedding.weight)

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens) * math.sqrt(self.size) + self.positions[: tokens.size(1)])


class PlainRecurrent(nn.Module):
    """Bidirectional LSTM, LSTM, multiplicative attention over all decoder states at once."""

    def __init__(self, vocabulary: int, *, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.encoder = nn.LSTM(size, size // 2, bidirectional=True, batch_first=True)
        self.decoder = nn.LSTM(size, size, batch_first=True)
        self.score = nn.Linear(size, size, bias=False)
        self.combine = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(0.1)

    def forward(self, source: Tensor, decoder_input: Tensor) -> Tensor:
        """Logits of all positions."""
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embedding(source)), (source != PAD).sum(1), batch_first=True, enforce_sorted=False
        )
        memory, last = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(memory, batch_first=True)
        start = tuple(state.transpose(0, 1).reshape(1, source.size(0), -1).contiguous() for state in last)
        states, _ = self.decoder(self.dropout(self.embedding(decoder_input)), start)
        scores = (self.score(states) @ memory.transpose(1, 2)).masked_fill((source == PAD)[:, None], -1e9)
        combined = torch.tanh(self.combine(torch.cat([scores.softmax(-1) @ memory, states], -1)))
        return functional.linear(combined, self.embedding.weight)


def build_plain(shape: str, vocabulary: int) -> nn.Module:
    """The plain model of a shape: `rnn`, or one of `SHAPES`."""
    torch.manual_seed(1)
    return PlainRecurrent(vocabulary, size=512) if shape == "rnn" else PlainTransformer(vocabulary, **SHAPES[shape])


def train_plain(model: nn.Module, batches: Sequence[Batch], *, bf16: bool) -> Iterator[tuple[int, float]]:
    """The usual loop; target tokens and seconds of every step."""
    optimizer = torch.optim.Adam(model.parameters(), 5e-4, betas=(0.9, 0.98), eps=1e-9)
    model.train()
    for batch in batches:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(batch.source, batch.decoder_input)
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=PAD, label_smoothing=0.1
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert math.isfinite(loss.item())
        yield batch.num_target_tokens, time.perf_counter() - started

"""What the data gives a model: one batch of padded ids."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.symbols import PAD


class Batch(NamedTuple):
    """Sources with their targets, padded with `PAD`.

    `source` holds ids that end in `EOS`; a picture instead of a sentence is a float tensor.
    `target` holds `BOS` ... `EOS`; it is None where there is nothing to learn from (translation).
    `rows` are the places of the examples in their corpus, for reports.
    """

    source: Int[Tensor, "batch source_length"] | Float[Tensor, "batch ..."]
    target: Int[Tensor, "batch target_length_plus_1"] | None = None
    rows: Int[Tensor, " batch"] | None = None

    @property
    def decoder_input(self) -> Int[Tensor, "batch target_length"]:
        """What the decoder reads: `BOS` and all target tokens but the last (teacher forcing)."""
        assert self.target is not None
        return self.target[:, :-1]

    @property
    def labels(self) -> Int[Tensor, "batch target_length"]:
        """What the decoder shall say at each position: the target tokens, then `EOS`, then `PAD`."""
        assert self.target is not None
        return self.target[:, 1:]

    @property
    def num_labels(self) -> Int[Tensor, " batch"]:
        """Labels of each row that count (not `PAD`)."""
        return (self.labels != PAD).sum(1)

    @property
    def num_target_tokens(self) -> int:
        """Labels that count (not `PAD`)."""
        return int(self.num_labels.sum())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(
            self.source.to(device, non_blocking=True),
            None if self.target is None else self.target.to(device, non_blocking=True),
            None if self.rows is None else self.rows.to(device, non_blocking=True),
        )

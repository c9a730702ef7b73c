"""How hypotheses of different length are compared: length and coverage penalties (Wu et al. 2016, section 7)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

LengthKind = Literal["gnmt", "length"]


@dataclass(frozen=True)
class LengthPenalty:
    """score / penalty(|Y|), |Y| = number of tokens with `EOS`, alpha >= 0 (0: no normalisation).

    `gnmt`: penalty = ((5 + |Y|) / 6) ** alpha (Wu et al. 2016, equation 14).
    `length`: penalty = |Y| ** alpha, as fairseq and Hugging Face have it. The same alpha means different things:
    for |Y| = 20 and alpha = 0.6 the penalty is 2.35 with `gnmt` and 6.03 with `length`.
    """

    alpha: float
    kind: LengthKind = "gnmt"

    def __call__(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """The scores by which finished hypotheses are ranked."""
        if self.alpha == 0:
            return scores
        base = (5.0 + lengths) / 6.0 if self.kind == "gnmt" else lengths.to(scores.dtype)
        return scores / base**self.alpha

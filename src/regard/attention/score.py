"""Scores: how well a query matches a key, before the softmax (Luong et al. 2015, 3.1; Vaswani et al. 2017, 3.2.1).

Here are those that are a dot product in the end; the additive one is in `regard.attention.additive`.
The slide's h_i in R^d1 are the keys, its s in R^d2 is the query.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.operations import of_matrices


class Summands(NamedTuple):
    """A score taken apart, for whoever wants to see it added up: e = sum over j of one number for each component j.

    Without `energy` that number is scale * query_j * key_j, with it energy_j * tanh(query_j + key_j).
    """

    query: Float[Tensor, "batch heads queries size"]
    keys: Float[Tensor, "batch heads keys size"]
    scale: float
    energy: Float[Tensor, " size"] | None = None


class Score(nn.Module, ABC):
    """e = score(query, keys). What does not depend on the query is done once a memory, in `project_keys`.

    `scale` is a number where, after `project_keys`, the score is that number times a dot product, so that
    the fused kernel may be used; None where it is not a dot product.
    """

    scale: float | None

    def project_keys(self, keys: Float[Tensor, "batch heads keys key_size"]) -> Tensor:
        """The part of the score that does not depend on the query; the identity unless a score says otherwise."""
        return keys

    def key_flops(self, num_keys: int) -> int:
        """Operations of `project_keys`."""
        return 0

    @abstractmethod
    def flops(self, num_queries: int, num_pairs: int) -> int:
        """Operations of scoring so many pairs, `num_queries` queries each with all of its keys."""

    @abstractmethod
    def forward(
        self,
        query: Float[Tensor, "batch heads queries query_size"],
        keys: Float[Tensor, "batch heads keys projected"],
        bias: Float[Tensor, "#batch #heads #queries keys"] | None = None,
    ) -> Float[Tensor, "batch heads queries keys"]:
        """Scores of every query against every (projected) key, plus `bias` (a mask's 0 or -inf)."""

    def summands(self, query: Tensor, keys: Tensor) -> Summands:
        """What `forward` adds up, of every query against every (projected) key: a dot product unless a score differs.

        Raises:
            ValueError: the score is no dot product and does not say what it is.
        """
        if self.scale is None:
            raise ValueError(f"{type(self).__name__} is no dot product and does not say what it adds up")
        return Summands(query, keys, self.scale)


class DotProduct(Score):
    """e_i = s . h_i (Luong et al. 2015, eq. 8 "dot"); needs d1 = d2."""

    def __init__(self, query_size: int, key_size: int) -> None:
        """Raises `ValueError` when the sizes differ: a dot product pairs every component with its like."""
        super().__init__()
        if query_size != key_size:
            raise ValueError(
                f"the dot-product score needs queries and keys of one size, but they are {query_size} and {key_size}; "
                "take the multiplicative or the additive score"
            )
        self.scale = 1.0
        self.size = query_size

    def flops(self, num_queries: int, num_pairs: int) -> int:
        """A product for every component of every pair."""
        return 2 * num_pairs * self.size

    def forward(self, query: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        """E = scale * Q K^T + bias."""
        assert self.scale is not None
        return _dot_products(query, keys, bias, scale=self.scale)


class ScaledDotProduct(DotProduct):
    """e_i = s . h_i / sqrt(d): unit-variance vectors get unit-variance scores (Vaswani et al. 2017, 3.2.1)."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.scale = 1 / math.sqrt(key_size)


class Multiplicative(Score):
    """e_i = s . W h_i with W = `key_weight` / sqrt(d2) in R^(d2 x d1) (Luong et al. 2015, eq. 8 "general")."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        self.scale = 1.0
        self.key_weight = nn.Linear(key_size, query_size, bias=False)

    def project_keys(self, keys: Tensor) -> Tensor:
        """W h_i, once a memory. Were W learnt as it is, Adam's steps would make attention sharp before it is right."""
        projected: Tensor = self.key_weight(keys) / math.sqrt(self.key_weight.out_features)
        return projected

    def key_flops(self, num_keys: int) -> int:
        """W h_i of every key."""
        return of_matrices(self.key_weight, num_keys)

    def flops(self, num_queries: int, num_pairs: int) -> int:
        """A product for every component of every pair."""
        return 2 * num_pairs * self.key_weight.out_features

    def forward(self, query: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        """E = S (W H)^T + bias."""
        return _dot_products(query, keys, bias, scale=1.0)


def _dot_products(query: Tensor, keys: Tensor, bias: Tensor | None, *, scale: float) -> Tensor:
    """All of scale * Q K^T + bias in one call: a mask that is added here costs nothing, nor in the backward pass."""
    batch, heads = query.shape[:2]
    if bias is None:
        flat_bias, beta = query.new_zeros(1, 1, 1), 0
    else:
        flat_bias, beta = bias.expand(batch, heads, -1, -1).flatten(0, 1), 1
    flat = torch.baddbmm(
        flat_bias, query.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2), beta=beta, alpha=scale
    )  # (batch * heads, queries, keys)
    return flat.unflatten(0, (batch, heads))

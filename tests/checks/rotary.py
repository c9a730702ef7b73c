"""What rotary positions must keep; called by the tests and by the mutation suite."""

import math

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.making import float64
from regard.layers.positional_encoding import Rotary


def rotary(size: int) -> Rotary:
    """One in float64."""
    with float64():
        return Rotary(size)


def turned(vectors: Tensor, *, start: int = 0) -> Tensor:
    """The paper's formula with real numbers, component by component (its equation 15)."""
    result = torch.empty_like(vectors)
    for place in range(vectors.size(-2)):
        for pair in range(vectors.size(-1) // 2):
            angle = (start + place) / 10000 ** (2 * pair / vectors.size(-1))
            first, second = vectors[..., place, 2 * pair], vectors[..., place, 2 * pair + 1]
            result[..., place, 2 * pair] = first * math.cos(angle) - second * math.sin(angle)
            result[..., place, 2 * pair + 1] = second * math.cos(angle) + first * math.sin(angle)
    return result


def example(*shape: int) -> Tensor:
    """Random vectors."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def vectors_are_turned_as_in_the_paper() -> None:
    """At the beginning, from some position on, and across the end of the table."""
    for start in (0, 5, 508, 700):
        vectors = example(2, 3, 9, 6)
        assert_close(rotary(6)(vectors, start=start), turned(vectors, start=start), rtol=0, atol=1e-12)


def scores_depend_on_the_distance_alone() -> None:
    """(R_p q) . (R_r k) is that of (R_(p+s) q) . (R_(r+s) k); and another one at another distance."""
    query, keys, turn = example(1, 9, 8), example(1, 9, 8).flip(-1), rotary(8)
    here = turn(query) @ turn(keys).mT
    far = turn(query, start=300) @ turn(keys, start=300).mT
    assert_close(far, here, rtol=0, atol=1e-9)
    same = turn(query[:, :1].expand_as(query)) @ turn(keys[:, :1]).mT
    assert same.squeeze().diff().abs().min() > 1e-3, "the distance has no effect"

"""Nested tuples, lists and dictionaries of tensors: how a decoding state is reordered without knowing the model."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

Tree = Any  # Tensor | None | tuple, list or dict of trees


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply `function` to every tensor of `tree`; the structure (named tuples too) and every `None` stay."""
    if tree is None:
        return None
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(function, value) for key, value in tree.items()}
    mapped = [map_tensors(function, value) for value in tree]
    return type(tree)(*mapped) if hasattr(tree, "_fields") else type(tree)(mapped)


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield every tensor of `tree`, depth first."""
    if isinstance(tree, Tensor):
        yield tree
    elif tree is not None:
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from tensors(value)


def select_rows(tree: Any, rows: Tensor) -> Any:
    """Keep `rows` (in that order, repeats allowed) of every tensor: all tensors of a state are batch first."""
    return map_tensors(lambda tensor: tensor.index_select(0, rows), tree)

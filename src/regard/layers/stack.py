"""A list of equal layers that type checkers can see through."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


class Stack(nn.Module, Generic[Layer]):
    """Layers one above the other, numbered from 0 at the bottom; whoever holds the stack applies them."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)

    def __iter__(self) -> Iterator[Layer]:
        return cast(Iterator[Layer], iter(self._modules.values()))

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, number: int) -> Layer:
        return list(self)[number]

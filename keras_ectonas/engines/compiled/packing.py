"""Many small weights as one vector: the optimizer then updates them all with one piece of compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Packing"]

_LARGEST_PACKED: Final = 4096


class Packing:
    """Which weights go together, in order: all small ones, if that is allowed, and each large one by itself.

    Parameters
    ----------
    shapes : sequence of tuple of int
    together : bool
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], together: bool) -> None:
        sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
        small = [k for k, size in enumerate(sizes) if together and size <= _LARGEST_PACKED]
        alone = [[k] for k in range(len(shapes)) if k not in small]
        self._shapes = [tuple(shape) for shape in shapes]
        self._sizes = sizes
        self._groups = [*([small] if small else []), *alone]
        self._packed_flat = bool(small)
        self._unpacked = jax.custom_vjp(self._split)
        self._unpacked.defvjp(lambda packed: (self._split(packed), None), lambda _, given: (self._joined(given, jnp),))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the packed arrays."""
        return [
            (sum(self._sizes[k] for k in group),) if self._is_flat(number) else self._shapes[group[0]]
            for number, group in enumerate(self._groups)
        ]

    def pack(self, arrays: Sequence[Any]) -> list[Any]:
        """NumPy arrays, one for each weight, as packed ones."""
        return self._joined(arrays, np)

    def unpack(self, packed: Sequence[Any]) -> list[Any]:
        """The weights, of any kind of array."""
        return self._split(packed)

    def unpack_in_training(self, packed: Sequence[Any]) -> list[Any]:
        """The same for JAX; gradients are packed again, in one piece."""
        return list(self._unpacked(list(packed)))

    def members(self, number: int) -> list[int]:
        """The weights in packed array `number`."""
        return self._groups[number]

    def split(self, number: int, packed: Any) -> list[Any]:
        """The parts of packed array `number`, one for each of its members."""
        group = self._groups[number]
        if not self._is_flat(number):
            return [packed]
        ends = np.cumsum([self._sizes[k] for k in group])
        return [packed[end - self._sizes[k] : end].reshape(self._shapes[k]) for k, end in zip(group, ends, strict=True)]

    def join(self, number: int, parts: Sequence[Any], library: Any = np) -> Any:
        """The reverse of `split`."""
        if not self._is_flat(number):
            return parts[0]
        return library.concatenate([part.reshape(-1) for part in parts])

    def _is_flat(self, number: int) -> bool:
        return number == 0 and self._packed_flat

    def _joined(self, arrays: Sequence[Any], library: Any) -> list[Any]:
        return [self.join(n, [arrays[k] for k in group], library) for n, group in enumerate(self._groups)]

    def _split(self, packed: Sequence[Any]) -> list[Any]:
        found: dict[int, Any] = {}
        for number, group in enumerate(self._groups):
            found.update(zip(group, self.split(number, packed[number]), strict=True))
        return [found[k] for k in range(len(self._shapes))]

"""The layout of the kernels' arrays, and the windows that slide over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import lax

from ....surgery.patches import Geometry

__all__ = [
    "Array",
    "Window",
    "at",
    "batch_first",
    "batch_last",
    "padded",
    "per_channel",
    "slices_of",
    "windows_of",
    "with_margins",
]

Array: TypeAlias = Any
"""A ``jax.Array``, concrete or traced."""
Window: TypeAlias = Sequence[slice]
"""Where along each axis of positions."""


def batch_last(x: Array) -> Array:
    """(batch, *positions, channels) to (channels, *positions, batch)."""
    return jnp.swapaxes(x, 0, -1)


def batch_last_at_once(x: Array) -> Array:
    """`batch_last` by a product with the unit matrix, where several slices are to be taken of the outcome.

    XLA would fuse a transposition into each of the slices, and move all numbers as many times.
    """
    if x.shape[-1] == 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        return batch_last(x)
    moved = jnp.tensordot(x, jnp.eye(len(x), dtype=x.dtype), axes=(0, 0))
    return jnp.moveaxis(moved, -2, 0)


def batch_first(x: Array) -> Array:
    """(channels, *positions, batch) to (batch, *positions, channels)."""
    return jnp.swapaxes(x, 0, -1)


def per_channel(values: Array, x: Array) -> Array:
    """Numbers of the channels, so that they go with `x`."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def slices_of(x: Array, geometry: Geometry, fill: float) -> list[Array]:
    """For each tap of the windows what it sees, shape (channels, *positions, batch)."""
    around = with_margins(x, geometry, fill)
    return [at(around, window) for window in windows_of(geometry)]


def with_margins(x: Array, geometry: Geometry, fill: float) -> Array:
    return padded(x, list(zip(geometry.before, geometry.after, strict=True)), fill)


def padded(x: Array, widths: Sequence[tuple[int, int]], fill: float) -> Array:
    # Negative widths cut off what no window reaches.
    around = [(0, 0, 0), *((before, after, 0) for before, after in widths), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(fill, x.dtype), around)


def at(x: Array, window: Window) -> Array:
    return x[(slice(None), *window)]


def windows_of(geometry: Geometry) -> list[list[slice]]:
    return [
        [
            slice(offset, offset + (count - 1) * step + 1, step)
            for offset, count, step in zip(tap, geometry.positions, geometry.stride, strict=True)
        ]
        for tap in geometry.taps()
    ]

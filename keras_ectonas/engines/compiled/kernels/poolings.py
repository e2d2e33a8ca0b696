"""Average and max pooling, with the batch last.

Where windows do not overlap, the gradient goes straight back to each window's positions. What differentiation gives
instead, a sum of arrays with zeros in between, takes up to twice as long.
"""

from __future__ import annotations

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ....surgery.patches import Geometry
from .layout import Array, slices_of, windows_of

__all__ = ["average_pooling", "max_pooling"]


def average_pooling(x: Array, geometry: Geometry) -> Array:
    """The mean over each window; what padding adds does not count."""
    if _is_disjoint(geometry):
        return _disjoint_average(_covered(x, geometry), geometry)
    present = np.pad(np.ones(x.shape[1:-1]), list(zip(geometry.before, geometry.after, strict=True)))
    count = np.sum([present[tuple(window)] for window in windows_of(geometry)], axis=0)
    return _total(x, geometry) * jnp.asarray(1.0 / count[..., None], x.dtype)


def max_pooling(x: Array, geometry: Geometry) -> Array:
    """The largest in each window."""
    if _is_disjoint(geometry):
        return _disjoint_max(_covered(x, geometry), geometry)
    first, *others = slices_of(x, geometry, -math.inf)
    for other in others:
        first = jnp.maximum(first, other)
    return first


def _is_disjoint(geometry: Geometry) -> bool:
    """Whether the windows lie side by side, without padding."""
    return geometry.window == geometry.stride and not any((*geometry.before, *geometry.after))


def _covered(x: Array, geometry: Geometry) -> Array:
    """Without what is left over behind the last window."""
    lengths = (count * size for count, size in zip(geometry.positions, geometry.window, strict=True))
    return x[(slice(None), *map(slice, lengths))]


def _total(x: Array, geometry: Geometry) -> Array:
    first, *others = slices_of(x, geometry, 0.0)
    return sum(others, start=first)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _disjoint_average(x: Array, geometry: Geometry) -> Array:
    return _total(x, geometry) / math.prod(geometry.window)


_disjoint_average.defvjp(
    lambda x, geometry: (_disjoint_average(x, geometry), None),
    lambda geometry, _, upstream: (_spread_out(upstream / math.prod(geometry.window), geometry),),
)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _disjoint_max(x: Array, geometry: Geometry) -> Array:
    return _forward_max(x, geometry)[0]


def _forward_max(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """The largest, and which tap of the window saw it first."""
    largest, *others = slices_of(x, geometry, -math.inf)
    kind = np.min_scalar_type(len(others))
    where = jnp.zeros(largest.shape, kind)
    for tap, other in enumerate(others, 1):
        where = jnp.where(other > largest, jnp.asarray(tap, kind), where)
        largest = jnp.maximum(largest, other)
    return largest, where


def _backward_max(geometry: Geometry, where: Array, upstream: Array) -> tuple[Array]:
    taps = np.arange(math.prod(geometry.window), dtype=where.dtype).reshape(geometry.window)
    own = np.tile(taps, geometry.positions)[None, ..., None]
    return (jnp.where(_spread_out(where, geometry) == own, _spread_out(upstream, geometry), 0.0),)


_disjoint_max.defvjp(_forward_max, _backward_max)


def _spread_out(x: Array, geometry: Geometry) -> Array:
    """Each position's number at all positions that its window covers."""
    shape = (len(x), *itertools.chain.from_iterable((count, 1) for count in geometry.positions), x.shape[-1])
    wide = (len(x), *itertools.chain.from_iterable(zip(geometry.positions, geometry.window, strict=True)), x.shape[-1])
    lengths = (count * size for count, size in zip(geometry.positions, geometry.window, strict=True))
    return jnp.broadcast_to(x.reshape(shape), wide).reshape(len(x), *lengths, x.shape[-1])

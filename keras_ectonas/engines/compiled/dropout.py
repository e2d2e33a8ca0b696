"""The masks that Keras' dropout draws on JAX, computed where and in the layout they are needed.

JAX draws numbers with the counter-based generator Threefry-2x32 of 20 rounds (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", 2011). On a CPU its loop over rounds writes all numbers to memory after each few; here one number
goes through all rounds at once, some three times faster, and gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...network import Layer

__all__ = ["can_draw", "dropout_mask", "next_key"]

Array: TypeAlias = Any
"""A ``jax.Array``, concrete or traced."""
_ROTATIONS: Final = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY: Final = 0x1BD11BDA
_MANTISSA_BITS: Final = 23


def can_draw(layer: Layer) -> bool:
    """Whether the masks of a dropout layer are those drawn here, by its configuration and JAX's."""
    is_threefry = jax.config.jax_default_prng_impl == "threefry2x32" and bool(jax.config.jax_threefry_partitionable)
    return is_threefry and 0.0 < float(layer.config["rate"]) < 1.0 and layer.config.get("noise_shape") is None


def next_key(key: Array) -> Array:
    """The state of Keras' seed generator after a draw."""
    return key + jnp.asarray([0, 1], key.dtype)


def dropout_mask(key: Array, shape: Sequence[int], kept: float, is_batch_last: bool) -> Array:
    """Which numbers a dropout keeps.

    Parameters
    ----------
    key : array of uint32, shape (2,)
    shape : sequence of int
        (batch, ..., channels), or (channels, ..., batch).
    kept : float
        Probability.
    is_batch_last : bool

    Returns
    -------
    array of bool
        The same for each number in either layout.
    """
    first, second = _threefry(key, _positions(shape, is_batch_last))
    # A uniform number has 23 random bits; it is below the probability if these are below as large a share of them.
    below = math.ceil(float(np.float32(kept)) * 2**_MANTISSA_BITS)
    return (first ^ second) >> (32 - _MANTISSA_BITS) < jnp.uint32(below)


def _positions(shape: Sequence[int], is_batch_last: bool) -> Array:
    """Where each number stands in an array of shape (batch, ..., channels), counted row by row."""
    axes = list(range(len(shape)))
    if is_batch_last:
        axes[0], axes[-1] = axes[-1], axes[0]
    total, step = jnp.zeros(tuple(shape), jnp.uint32), 1
    for axis in reversed(axes):
        total = total + lax.broadcasted_iota(jnp.uint32, tuple(shape), axis) * jnp.uint32(step)
        step *= shape[axis]
    return total


def _threefry(key: Array, counts: Array) -> tuple[Array, Array]:
    """The two halves of the block with number `counts`, which are below 2**32."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    left, right = jnp.zeros_like(counts) + keys[0], counts + keys[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            left = left + right
            right = (right << distance | right >> (32 - distance)) ^ left
        left = left + keys[(group + 1) % 3]
        right = right + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return left, right

"""Batch normalization, with the batch last."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax import lax

from .layout import Array, per_channel

__all__ = ["batch_normalization"]

_FAR_FROM_ZERO: Final = 1e3
"""Square of a mean over the variance, from which on the variance takes a pass of its own."""


def batch_normalization(
    x: Array,
    gamma: Array,
    beta: Array,
    moving: tuple[Array, Array],
    training: Array,
    momentum: float,
    epsilon: float,
) -> tuple[Array, tuple[Array, Array]]:
    """Normalize each channel by the batch's statistics in training, else by the moving ones.

    Differentiable in training only.

    Parameters
    ----------
    x : array of shape (channels, *positions, batch)
    gamma, beta : array of shape (channels,)
    moving : tuple of two arrays of shape (channels,)
        Mean and variance.
    training : bool scalar
    momentum, epsilon : float

    Returns
    -------
    outputs, moving
    """
    out, mean, variance = _normalized(x, gamma, beta, *moving, training, epsilon)
    rate = jnp.where(training, 1.0 - momentum, 0.0)
    updated = (moving[0] + rate * (mean - moving[0]), moving[1] + rate * (variance - moving[1]))
    return out, updated


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _normalized(
    x: Array, gamma: Array, beta: Array, moving_mean: Array, moving_variance: Array, training: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    return _normalized_forward(x, gamma, beta, moving_mean, moving_variance, training, epsilon)[0]


def _normalized_forward(
    x: Array, gamma: Array, beta: Array, moving_mean: Array, moving_variance: Array, training: Array, epsilon: float
) -> tuple[tuple[Array, Array, Array], Any]:
    mean, square = x.mean(axis=_positions(x)), jnp.square(x).mean(axis=_positions(x))
    in_one_pass = jnp.maximum(square - jnp.square(mean), 0.0)
    # Far from zero the difference of two large numbers keeps too few digits.
    is_far = (jnp.square(mean) > _FAR_FROM_ZERO * in_one_pass).any()
    variance = lax.cond(
        is_far, lambda: jnp.square(x - per_channel(mean, x)).mean(axis=_positions(x)), lambda: in_one_pass
    )
    mean = jnp.where(training, mean, moving_mean)
    variance = jnp.where(training, variance, moving_variance)
    scale = gamma * lax.rsqrt(variance + epsilon)
    shift = beta - mean * scale
    return (x * per_channel(scale, x) + per_channel(shift, x), mean, variance), (x, gamma, mean, variance)


def _normalized_backward(epsilon: float, kept: Any, cotangents: Any) -> tuple[Array | None, ...]:
    """The gradient through the batch's statistics; the moving ones pass none on."""
    x, gamma, mean, variance = kept
    upstream = cotangents[0]
    inverse = lax.rsqrt(variance + epsilon)
    total = upstream.sum(axis=_positions(x))
    # Over the centered input, times its scale: the gradient of gamma.
    along = (upstream * (x - per_channel(mean, x))).sum(axis=_positions(x)) * inverse
    count = x.size // x.shape[0]
    scale = gamma * inverse
    slope = -scale * along * inverse / count
    offset = -scale * total / count - slope * mean
    gradient = upstream * per_channel(scale, x) + x * per_channel(slope, x) + per_channel(offset, x)
    return gradient, along, total, None, None, None


_normalized.defvjp(_normalized_forward, _normalized_backward)


def _positions(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))

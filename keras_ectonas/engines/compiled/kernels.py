"""What convolutions, pooling and batch normalization compute, in a layout that suits small networks on a CPU.

Arrays are (channels, *positions, batch). A convolution is then one matrix product and some slices, a pooling a few
slices, and what belongs to a channel is the first axis. With the batch last, slices, steps and padding along positions
move whole vectors. XLA's own convolution is many times slower on a CPU where channels are few.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...surgery.patches import Geometry

__all__ = [
    "average_pooling",
    "batch_first",
    "batch_last",
    "batch_normalization",
    "can_join",
    "convolution",
    "convolution_and_average_pooling",
    "max_pooling",
]

Array: TypeAlias = Any
"""A ``jax.Array``, concrete or traced."""
Window: TypeAlias = Sequence[slice]
"""Where along each axis of positions."""


_PRODUCTS_FOR_A_MOVE: Final = 25
"""Multiplications and additions in a matrix product that take as long as writing a number and reading it again."""

_FAR_FROM_ZERO: Final = 1e3
"""Square of a mean over the variance, from which on the variance takes a pass of its own."""


def batch_last(x: Array) -> Array:
    """(batch, *positions, channels) to (channels, *positions, batch)."""
    return jnp.swapaxes(x, 0, -1)


def batch_first(x: Array) -> Array:
    """(channels, *positions, batch) to (batch, *positions, channels)."""
    return jnp.swapaxes(x, 0, -1)


def convolution(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """A convolution without bias.

    Parameters
    ----------
    x : array of shape (channels, *lengths, batch)
    kernel : array of shape (*window, channels, filters)
    geometry : Geometry

    Returns
    -------
    array of shape (filters, *positions, batch)
    """
    padded = _with_margins(x, geometry, 0.0)
    return _correlation(padded, kernel.reshape(-1, *kernel.shape[-2:]), _windows(geometry))


def can_join(convolved: Geometry, pooled: Geometry) -> bool:
    """Whether `convolution_and_average_pooling` serves a convolution and the average pooling behind it."""
    halving = all(w == s == 2 for w, s in zip(pooled.window, pooled.stride, strict=True))
    plain = all(s == d == 1 for s, d in zip(convolved.stride, convolved.dilation, strict=True))
    return halving and plain and all(length % 2 == 0 for length in convolved.positions)


def convolution_and_average_pooling(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """A convolution with an average pooling over pairs behind it, as one convolution with stride 2.

    Both are linear, so together they are a convolution whose kernel is the given one spread over the pooling
    window. Its stride of 2 is taken by splitting the input into its even and odd positions along each axis.

    Parameters
    ----------
    x : array of shape (channels, *lengths, batch)
    kernel : array of shape (*window, channels, filters)
    geometry : Geometry
        Of the convolution; it has an even number of positions along each axis.
    """
    axes = len(geometry.window)
    halves = [size // 2 + 1 for size in geometry.window]
    lengths = [count // 2 + half - 1 for count, half in zip(geometry.positions, halves, strict=True)]
    widths = [
        (before, 2 * length - size - before)
        for size, before, length in zip(x.shape[1:-1], geometry.before, lengths, strict=True)
    ]
    padded = _padded(x, widths, 0.0)
    phases = [_at(padded, [slice(i, None, 2) for i in phase]) for phase in itertools.product(range(2), repeat=axes)]
    counts = [count // 2 for count in geometry.positions]
    windows = [
        [slice(i, i + n) for i, n in zip(tap, counts, strict=True)] for tap in itertools.product(*map(range, halves))
    ]
    return _correlation(jnp.concatenate(phases), _spread(kernel, halves), windows)


def _spread(kernel: Array, halves: list[int]) -> Array:
    """The kernel for all phases, shape (taps, phases * channels, filters).

    A product with a constant matrix: that needs no code of its own in the compiled program.
    """
    axes = len(halves)
    parts = [
        np.eye(2 * half, size) * 0.5 + np.eye(2 * half, size, -1) * 0.5
        for half, size in zip(halves, kernel.shape[:axes], strict=True)
    ]
    matrix: Any = parts[0]
    for part in parts[1:]:
        matrix = np.kron(matrix, part)
    by_phase = matrix.reshape(*itertools.chain.from_iterable((half, 2) for half in halves), -1)
    order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2), 2 * axes]
    by_phase = by_phase.transpose(order).reshape(matrix.shape)
    flat = kernel.reshape(matrix.shape[1], -1)
    return (jnp.asarray(by_phase, kernel.dtype) @ flat).reshape(math.prod(halves), -1, kernel.shape[-1])


def average_pooling(x: Array, geometry: Geometry) -> Array:
    """The mean over each window; what padding adds does not count."""
    first, *others = _slices(x, geometry, 0.0)
    total = sum(others, start=first)
    present = np.pad(np.ones(x.shape[1:-1]), list(zip(geometry.before, geometry.after, strict=True)))
    count = np.sum([present[tuple(window)] for window in _windows(geometry)], axis=0)
    return total * jnp.asarray(1.0 / count[..., None], x.dtype)


def max_pooling(x: Array, geometry: Geometry) -> Array:
    """The largest in each window."""
    first, *others = _slices(x, geometry, -math.inf)
    for other in others:
        first = jnp.maximum(first, other)
    return first


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
        is_far, lambda: jnp.square(x - _per_channel(mean, x)).mean(axis=_positions(x)), lambda: in_one_pass
    )
    mean = jnp.where(training, mean, moving_mean)
    variance = jnp.where(training, variance, moving_variance)
    scale = gamma * lax.rsqrt(variance + epsilon)
    shift = beta - mean * scale
    return (x * _per_channel(scale, x) + _per_channel(shift, x), mean, variance), (x, gamma, mean, variance)


def _normalized_backward(epsilon: float, kept: Any, cotangents: Any) -> tuple[Array | None, ...]:
    """The gradient through the batch's statistics; the moving ones pass none on."""
    x, gamma, mean, variance = kept
    upstream = cotangents[0]
    inverse = lax.rsqrt(variance + epsilon)
    total = upstream.sum(axis=_positions(x))
    # Over the centered input, times its scale: the gradient of gamma.
    along = (upstream * (x - _per_channel(mean, x))).sum(axis=_positions(x)) * inverse
    count = x.size // x.shape[0]
    scale = gamma * inverse
    slope = -scale * along * inverse / count
    offset = -scale * total / count - slope * mean
    gradient = upstream * _per_channel(scale, x) + x * _per_channel(slope, x) + _per_channel(offset, x)
    return gradient, along, total, None, None, None


_normalized.defvjp(_normalized_forward, _normalized_backward)


def _positions(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def _correlation(x: Array, kernel: Array, windows: Sequence[Window]) -> Array:
    """The sum over the taps of a kernel: what its window sees times its matrix.

    Parameters
    ----------
    x : array of shape (channels, *lengths, batch)
        With its padding.
    kernel : array of shape (taps, channels, filters)
    windows : sequence of sequence of slice
        Where each tap looks.

    Returns
    -------
    array of shape (filters, *positions, batch)
    """
    n_channels, n_filters = kernel.shape[1:]
    n_inputs, n_outputs = math.prod(x.shape[1:-1]), math.prod(_at(x, windows[0]).shape[1:-1])
    more_products = n_channels * n_filters * (n_inputs - n_outputs)
    fewer_moves = n_channels * n_outputs - n_filters * n_inputs
    is_dense = all(where.step in (None, 1) for window in windows for where in window)
    if is_dense and fewer_moves * _PRODUCTS_FOR_A_MOVE > more_products:
        products = _product(kernel.transpose(0, 2, 1).reshape(-1, n_channels), x)
        return _sum_of_windows(windows, x.shape[1:-1])(products)
    patches = jnp.concatenate([_at(x, window) for window in windows])
    return _product(kernel.reshape(-1, n_filters).T, patches)


def _product(matrix: Array, x: Array) -> Array:
    return (matrix @ x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])


def _sum_of_windows(windows: Sequence[Window], lengths: Sequence[int]) -> Any:
    """From (taps * filters, *lengths, batch) what each tap's window sees of its part, summed over the taps.

    The gradient is one concatenation; the sum of as many padded arrays, which differentiation gives, is slower.
    """

    def summed(x: Array) -> Array:
        first, *others = (_at(part, window) for part, window in zip(jnp.split(x, len(windows)), windows, strict=True))
        return sum(others, start=first)

    def gradient(_: None, upstream: Array) -> tuple[Array]:
        reach = [length - count for length, count in zip(lengths, upstream.shape[1:-1], strict=True)]
        padded = _padded(upstream, [(width, width) for width in reach], 0.0)
        shifted = [
            [slice(r - where.start, r - where.start + n) for r, where, n in zip(reach, window, lengths, strict=True)]
            for window in windows
        ]
        return (jnp.concatenate([_at(padded, window) for window in shifted]),)

    with_gradient: Any = jax.custom_vjp(summed)
    with_gradient.defvjp(lambda x: (summed(x), None), gradient)
    return with_gradient


def _slices(x: Array, geometry: Geometry, fill: float) -> list[Array]:
    """For each tap of the windows what it sees, shape (channels, *positions, batch)."""
    padded = _with_margins(x, geometry, fill)
    return [_at(padded, window) for window in _windows(geometry)]


def _with_margins(x: Array, geometry: Geometry, fill: float) -> Array:
    return _padded(x, list(zip(geometry.before, geometry.after, strict=True)), fill)


def _padded(x: Array, widths: Sequence[tuple[int, int]], fill: float) -> Array:
    # Negative widths cut off what no window reaches.
    around = [(0, 0, 0), *((before, after, 0) for before, after in widths), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(fill, x.dtype), around)


def _at(x: Array, window: Window) -> Array:
    return x[(slice(None), *window)]


def _windows(geometry: Geometry) -> list[list[slice]]:
    return [
        [
            slice(offset, offset + (count - 1) * step + 1, step)
            for offset, count, step in zip(tap, geometry.positions, geometry.stride, strict=True)
        ]
        for tap in geometry.taps()
    ]

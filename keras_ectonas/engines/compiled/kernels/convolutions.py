"""Convolutions, with the batch last: matrix products, slices and sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ....surgery.patches import Geometry
from .layout import Array, Window, at, padded, per_channel, slices_of, windows_of, with_margins

__all__ = ["can_join", "convolution", "convolution_and_average_pooling", "depthwise_convolution"]

_PRODUCTS_FOR_A_MOVE: Final = 25
"""Multiplications and additions in a matrix product that take as long as writing a number and reading it again."""

_MANY_TAPS: Final = 16
"""From so many on, a loop over the taps is faster, and compiled faster, than code for each of them."""


def convolution(x: Array, kernel: Array, geometry: Geometry, groups: int = 1) -> Array:
    """A convolution without bias.

    Parameters
    ----------
    x : array of shape (channels, *lengths, batch)
    kernel : array of shape (*window, channels / groups, filters)
    geometry : Geometry
    groups : int
        Into how many parts channels and filters are divided; each part of the filters sees one of the channels.

    Returns
    -------
    array of shape (filters, *positions, batch)
    """
    if groups > 1 and kernel.shape[-2] == 1:
        return depthwise_convolution(x, kernel.reshape(*kernel.shape[:-2], groups, -1), geometry)
    around = with_margins(x, geometry, 0.0)
    if math.prod(geometry.window) >= _MANY_TAPS and any(step > 1 for step in geometry.stride):
        around, by_tap, windows = _by_phases(around, kernel, geometry)
    else:
        by_tap, windows = kernel.reshape(-1, *kernel.shape[-2:]), windows_of(geometry)
    parts = zip(jnp.split(around, groups), jnp.split(by_tap, groups, axis=-1), strict=True)
    return jnp.concatenate([_correlation(channels, matrices, windows) for channels, matrices in parts])


def depthwise_convolution(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """A convolution of each channel by itself, without bias.

    Parameters
    ----------
    x : array of shape (channels, *lengths, batch)
    kernel : array of shape (*window, channels, multiplier)
    geometry : Geometry

    Returns
    -------
    array of shape (channels * multiplier, *positions, batch)
    """
    multiplier = kernel.shape[-1]
    seen = (jnp.repeat(part, multiplier, axis=0) for part in slices_of(x, geometry, 0.0))
    parts = (
        per_channel(factors, part) * part
        for factors, part in zip(kernel.reshape(-1, x.shape[0] * multiplier), seen, strict=True)
    )
    return sum(parts, start=jnp.zeros((), x.dtype))


def _by_phases(around: Array, kernel: Array, geometry: Geometry) -> tuple[Array, Array, list[list[slice]]]:
    """A convolution with strides as one without: the positions within a stride become channels.

    Parameters
    ----------
    around : array of shape (channels, *lengths, batch)
        With its padding.
    kernel : array of shape (*window, channels / groups, filters)
    geometry : Geometry
        Without dilation.

    Returns
    -------
    around : array of shape (channels * phases, *positions, batch)
    by_tap : array of shape (taps, channels / groups * phases, filters)
    windows : list of list of slice
    """
    axes, stride = len(geometry.window), geometry.stride
    sizes = [-(-size // step) for size, step in zip(geometry.window, stride, strict=True)]
    counts = [count + size - 1 for count, size in zip(geometry.positions, sizes, strict=True)]
    missing = [
        (0, count * step - length) for count, step, length in zip(counts, stride, around.shape[1:-1], strict=True)
    ]
    split = padded(around, missing, 0.0).reshape(
        len(around), *itertools.chain.from_iterable(zip(counts, stride, strict=True)), around.shape[-1]
    )
    steps, phases = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    split = split.transpose(0, *phases, *steps, 2 * axes + 1).reshape(-1, *counts, around.shape[-1])
    missing = [(0, size * step - own) for size, step, own in zip(sizes, stride, geometry.window, strict=True)]
    whole = jnp.pad(kernel, [*missing, (0, 0), (0, 0)]).reshape(
        *itertools.chain.from_iterable(zip(sizes, stride, strict=True)), *kernel.shape[-2:]
    )
    order = [*range(0, 2 * axes, 2), 2 * axes, *range(1, 2 * axes, 2), 2 * axes + 1]
    by_tap = whole.transpose(order).reshape(math.prod(sizes), -1, kernel.shape[-1])
    windows = [
        [slice(i, i + n) for i, n in zip(tap, geometry.positions, strict=True)]
        for tap in itertools.product(*map(range, sizes))
    ]
    return split, by_tap, windows


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
    around = padded(x, widths, 0.0)
    phases = [at(around, [slice(i, None, 2) for i in phase]) for phase in itertools.product(range(2), repeat=axes)]
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
    counts = at(x, windows[0]).shape[1:-1]
    n_inputs, n_outputs = math.prod(x.shape[1:-1]), math.prod(counts)
    more_products = n_channels * n_filters * (n_inputs - n_outputs)
    fewer_moves = n_channels * n_outputs - n_filters * n_inputs
    is_dense = all(where.step in (None, 1) for window in windows for where in window)
    if is_dense and fewer_moves * _PRODUCTS_FOR_A_MOVE > more_products:
        products = _product(kernel.transpose(0, 2, 1).reshape(-1, n_channels), x)
        return _sum_of_windows(windows, x.shape[1:-1])(products)
    if is_dense and len(windows) >= _MANY_TAPS:
        starts = tuple(tuple(where.start for where in window) for window in windows)
        return _correlation_by_loops(x, kernel, starts, counts)
    patches = jnp.concatenate([at(x, window) for window in windows])
    return _product(kernel.reshape(-1, n_filters).T, patches)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _correlation_by_loops(
    x: Array, kernel: Array, starts: tuple[tuple[int, ...], ...], counts: tuple[int, ...]
) -> Array:
    """`_correlation` for windows that begin at `starts` and have `counts` positions along each axis."""
    return _forward_by_loops(x, kernel, starts, counts)[0]


def _forward_by_loops(x: Array, kernel: Array, starts: Any, counts: tuple[int, ...]) -> tuple[Array, Any]:
    n_channels, corners = x.shape[0], _corners(starts)
    shape = (n_channels, *counts, x.shape[-1])

    def with_tap(tap: Any, patches: Array) -> Array:
        seen = lax.dynamic_slice(x, corners[tap], shape)
        return lax.dynamic_update_slice_in_dim(patches, seen, tap * n_channels, 0)

    patches = jnp.zeros((len(starts) * n_channels, *shape[1:]), x.dtype)
    patches = lax.fori_loop(0, len(starts), with_tap, patches)
    return _product(kernel.reshape(-1, kernel.shape[-1]).T, patches), (patches, kernel, x.shape)


def _backward_by_loops(starts: Any, counts: tuple[int, ...], kept: Any, upstream: Array) -> tuple[Array, Array]:
    patches, kernel, shape = kept
    matrix, corners = kernel.reshape(-1, kernel.shape[-1]), _corners(starts)
    of_kernel = patches.reshape(len(patches), -1) @ upstream.reshape(len(upstream), -1).T
    of_patches = _product(matrix, upstream)

    def with_tap(tap: Any, total: Array) -> Array:
        part = lax.dynamic_slice_in_dim(of_patches, tap * shape[0], shape[0])
        before = lax.dynamic_slice(total, corners[tap], part.shape)
        return lax.dynamic_update_slice(total, before + part, corners[tap])

    of_x = lax.fori_loop(0, len(starts), with_tap, jnp.zeros(shape, upstream.dtype))
    return of_x, of_kernel.reshape(kernel.shape)


_correlation_by_loops.defvjp(_forward_by_loops, _backward_by_loops)


def _corners(starts: tuple[tuple[int, ...], ...]) -> Array:
    """Where the windows begin in an array with channels in front and the batch behind."""
    return jnp.asarray([(0, *start, 0) for start in starts], jnp.int32)


def _product(matrix: Array, x: Array) -> Array:
    return (matrix @ x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])


def _sum_of_windows(windows: Sequence[Window], lengths: Sequence[int]) -> Any:
    """From (taps * filters, *lengths, batch) what each tap's window sees of its part, summed over the taps.

    The gradient is one concatenation; the sum of as many padded arrays, which differentiation gives, is slower.
    """

    def summed(x: Array) -> Array:
        first, *others = (at(part, window) for part, window in zip(jnp.split(x, len(windows)), windows, strict=True))
        return sum(others, start=first)

    def gradient(_: None, upstream: Array) -> tuple[Array]:
        reach = [length - count for length, count in zip(lengths, upstream.shape[1:-1], strict=True)]
        around = padded(upstream, [(width, width) for width in reach], 0.0)
        shifted = [
            [slice(r - where.start, r - where.start + n) for r, where, n in zip(reach, window, lengths, strict=True)]
            for window in windows
        ]
        return (jnp.concatenate([at(around, window) for window in shifted]),)

    with_gradient: Any = jax.custom_vjp(summed)
    with_gradient.defvjp(lambda x: (summed(x), None), gradient)
    return with_gradient

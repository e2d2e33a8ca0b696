"""What a dense layer or convolution multiplies its kernel with: rows of inputs, patches of images.

A kernel of shape (*window, inputs, outputs) is a matrix of as many rows as a patch has numbers. Seen so, every
layer with a kernel is a linear map, and one regression serves them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..network import Array, Layer, Shape
from ..rules.spatial import per_axis

__all__ = ["Geometry", "Samples", "geometry_of", "kernel_matrix", "patches_at", "sampled_positions"]


@dataclass(frozen=True)
class Geometry:
    """Where the windows of a layer lie, for each spatial axis of its input."""

    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    positions: tuple[int, ...]

    def starts(self, axis: int, position: Array) -> Array:
        """First index of a window in the padded input."""
        return position * self.stride[axis]

    def taps(self) -> Iterator[tuple[int, ...]]:
        """The offsets within a window, in the order of the kernel's rows."""
        yield from itertools.product(
            *(range(0, size * step, step) for size, step in zip(self.window, self.dilation, strict=True))
        )

    def padded(self, inputs: Array, fill: float = 0.0) -> Array:
        """`inputs` of shape (rows, *lengths, features) with the padding around it."""
        widths = [(0, 0), *zip(self.before, self.after, strict=True), (0, 0)]
        return np.pad(inputs, widths, constant_values=fill) if any(map(any, widths)) else inputs


def geometry_of(layer: Layer, input_shape: Shape) -> Geometry:
    """The windows of a dense layer, convolution or pooling on inputs of a known shape."""
    lengths = [int(length or 0) for length in input_shape[:-1]]
    axes = len(lengths)
    size = layer.config.get("kernel_size", layer.config.get("pool_size", 1))
    window = per_axis(size if layer.kind != "Dense" else 1, axes)
    stride = per_axis(layer.config.get("strides") or (size if "pool_size" in layer.config else 1), axes)
    dilation = per_axis(layer.config.get("dilation_rate", 1), axes)
    padding = layer.config.get("padding", "valid")
    before, after, positions = [], [], []
    for length, extent, step, spread in zip(lengths, window, stride, dilation, strict=True):
        reach = spread * (extent - 1) + 1
        if padding == "valid":
            total, count = 0, (length - reach) // step + 1
        elif padding == "causal":
            total, count = reach - 1, -(-length // step)
        else:
            count = -(-length // step)
            total = max((count - 1) * step + reach - length, 0)
        first = total if padding == "causal" else total // 2
        before.append(first)
        after.append(total - first)
        positions.append(count)
    return Geometry(window, stride, dilation, tuple(before), tuple(after), tuple(positions))


class Samples(NamedTuple):
    """Rows of a batch, and for each a position on a grid.

    Parameters
    ----------
    grid : tuple of int
    row : ndarray of int, shape (samples,)
    position : tuple of ndarray of int, shape (samples,) each
    """

    grid: tuple[int, ...]
    row: Array
    position: tuple[Array, ...]


def sampled_positions(n_rows: int, grid: tuple[int, ...], most: int, rng: np.random.Generator) -> Samples:
    """At most `most` pairs of a row and a position; all of them if they are that few."""
    total = n_rows * int(np.prod(grid, dtype=int))
    chosen = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    row, *position = np.unravel_index(chosen, (n_rows, *grid))
    return Samples(grid, row, tuple(position))


def patches_at(geometry: Geometry, inputs: Array, samples: Samples) -> Array:
    """The patches at sampled positions, shape (samples, numbers in a patch), in double precision.

    Where the layer has more positions than the samples' grid, the patches of a block are averaged: then
    ``patches @ kernel`` is the mean of the layer's pre-activations over the block.
    """
    padded = geometry.padded(inputs)
    widths = [max(1, round(fine / coarse)) for fine, coarse in zip(geometry.positions, samples.grid, strict=True)]
    # One row of numbers for each position, so that a patch is a few numbers of rows.
    lengths = padded.shape[:-1]
    places = padded.reshape(-1, padded.shape[-1])
    taps = np.array([np.ravel_multi_index((0, *tap), lengths) for tap in geometry.taps()])
    total = np.zeros((len(samples.row), len(taps), padded.shape[-1]))
    blocks = list(itertools.product(*(range(width) for width in widths)))
    for block in blocks:
        starts = [
            geometry.starts(axis, np.minimum(position * width + shift, geometry.positions[axis] - 1))
            for axis, (position, width, shift) in enumerate(zip(samples.position, widths, block, strict=True))
        ]
        first = np.ravel_multi_index((samples.row, *starts), lengths)
        total += places.take(first[:, None] + taps, axis=0)
    return total.reshape(len(samples.row), -1) / len(blocks)


def kernel_matrix(layer: Layer) -> Array:
    """The kernel as a matrix of shape (numbers in a patch, outputs), in double precision."""
    kernel = layer.value("kernel").astype(np.float64)
    return kernel.reshape(-1, kernel.shape[-1])

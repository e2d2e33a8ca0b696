"""Carrying a dense layer behind a ``Flatten`` over to another image size (section A.2 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from ..errors import SurgeryError
from ..network import Array, Network, Shape
from ..rules import Role, rule_for
from .walk import shapes_of

__all__ = ["Aggregation", "Pooling", "block_index", "flattened_consumer", "resized_rows"]

Pooling = Literal["average", "max"]
Aggregation = Literal["mean", "largest", "sum"]


def flattened_consumer(network: Network, start: int, before: Network) -> tuple[int, Shape, Shape] | None:
    """The dense layer whose rows must follow when the positions before layer `start` change.

    Parameters
    ----------
    network : Network
        The changed network; its layers from `start` on are the last layers of `before`.
    start : int
    before : Network

    Returns
    -------
    (int, tuple, tuple) or None
        The layer's index, and the positions flattened in front of it in `before` and now. None if the
        positions did not change, or nothing behind depends on them.

    Raises
    ------
    SurgeryError
        If a layer in between is tied to its positions, or would be left without any.
    """
    offset = len(network.layers) - len(before.layers)
    old_shapes, new_shapes = shapes_of(before), shapes_of(network)
    for index in range(start, len(network.layers)):
        old, new = old_shapes[index - offset][:-1], new_shapes[index][:-1]
        if old == new:
            return None
        layer = network.layers[index]
        rule = rule_for(layer)
        if rule.keeps_positions:
            continue
        if rule.role is Role.REINDEX and len(new_shapes[index + 1]) == 1:
            return _consumer_behind(network, index), old, new
        raise SurgeryError(f"layer {layer.name!r} ({layer.kind}) does not allow another number of positions")
    if old_shapes[-1] != new_shapes[-1]:
        raise SurgeryError("the network's output would have another shape")
    return None


def _consumer_behind(network: Network, flatten: int) -> int:
    for index in range(flatten + 1, len(network.layers)):
        layer = network.layers[index]
        role = rule_for(layer).role
        if role is Role.PRODUCER:
            return index
        if role is not Role.PASS_THROUGH:
            raise SurgeryError(f"layer {layer.name!r} ({layer.kind}) holds one weight for each position")
    raise SurgeryError("no dense layer follows the flattened positions")


def resized_rows(network: Network, consumer: int, old: Shape, new: Shape, how: Aggregation) -> Network:
    """Resize the rows of dense layer `consumer`, seen as an image, from `old` to `new` positions.

    Parameters
    ----------
    network : Network
    consumer : int
    old, new : tuple of int
    how : {"mean", "largest", "sum"}
        Fewer positions aggregate blocks of rows: their mean, the one of largest absolute value, or their sum. More
        positions repeat rows; with ``"sum"`` they are shared out among the repetitions.
    """
    layer = network.layers[consumer]
    if None in old or None in new:
        raise SurgeryError(f"layer {layer.name!r} ({layer.kind}) stands behind positions of unknown number")
    old_sizes = [int(size) for size in old if size is not None]
    new_sizes = [int(size) for size in new if size is not None]
    kernel = layer.value("kernel").astype(np.float64)
    channels = kernel.shape[0] // math.prod(old_sizes)
    rows = kernel.reshape(*old_sizes, channels, kernel.shape[-1])
    for axis, (before, after) in enumerate(zip(old_sizes, new_sizes, strict=True)):
        if after < before:
            rows = _aggregated(rows, axis, block_index(before, after), _AGGREGATE[how])
        elif after > before:
            source = block_index(after, before)
            rows = np.take(rows, source, axis=axis)
            if how == "sum":
                shares = 1.0 / np.bincount(source, minlength=before)[source]
                rows = rows * shares.reshape(-1, *(1,) * (rows.ndim - axis - 1))
    value = rows.reshape(-1, kernel.shape[-1])
    return network.with_layer(consumer, layer.with_weights(layer.weight("kernel").with_value(value)))


def block_index(many: int, few: int) -> Array:
    """For each of `many` positions the one of `few` that stands for its block."""
    if few == 1:
        return np.zeros(many, dtype=int)
    width = max(1, min(round(many / few), (many - 1) // (few - 1)))
    return np.minimum(np.arange(many) // width, few - 1)


def _aggregated(rows: Array, axis: int, blocks: Array, aggregate: Callable[[Array, int], Array]) -> Array:
    parts = [aggregate(np.compress(blocks == block, rows, axis=axis), axis) for block in range(int(blocks[-1]) + 1)]
    return np.stack(parts, axis=axis)


def _mean(rows: Array, axis: int) -> Array:
    result: Array = rows.mean(axis=axis)
    return result


def _sum(rows: Array, axis: int) -> Array:
    result: Array = rows.sum(axis=axis)
    return result


def _largest(rows: Array, axis: int) -> Array:
    index = np.expand_dims(np.argmax(np.abs(rows), axis=axis), axis)
    return np.take_along_axis(rows, index, axis=axis).squeeze(axis)


_AGGREGATE: dict[Aggregation, Callable[[Array, int], Array]] = {"mean": _mean, "largest": _largest, "sum": _sum}

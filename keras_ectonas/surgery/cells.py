"""Inserting and removing convolutional cells: convolution, pooling, batch normalization, activation.

A cell is a convolution with everything behind it up to the next layer that mixes features, flattens or
is not understood (section 3.2 of the paper).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import SurgeryError
from ..network import Array, Layer, Network, Shape, somewhere
from ..rules import Role, producer_rule, role_of, rule_for
from . import templates
from .positions import Aggregation, Pooling, flattened_consumer, resized_rows
from .units import absorb_constants, channel_importance, check_may_be_negated, constant_part, required_path
from .walk import Path, is_linear, is_nonnegative_at, rewired, shapes_of

__all__ = [
    "Cell",
    "cell_at",
    "insert_cell",
    "insert_pooling",
    "inserted_cell",
    "insertion_axes",
    "matched_channels",
    "remove_cell",
    "with_channel_axis",
    "without_idle_reshape",
]

KERNEL_SIZE: Final = 3


@dataclass(frozen=True)
class Cell:
    """Layers ``start`` (the convolution) up to, not including, ``stop``."""

    start: int
    stop: int


def cell_at(network: Network, index: int) -> Cell:
    """The cell that begins with the convolution at `index`."""
    layer = network.layers[index]
    if not _is_convolution(layer):
        raise SurgeryError(f"layer {index} {layer.name!r} ({layer.kind}) is not a convolution")
    stop = index + 1
    while stop < len(network.layers) and _belongs_to_cell(network.layers[stop]):
        stop += 1
    return Cell(index, stop)


def _is_convolution(layer: Layer) -> bool:
    return producer_rule(layer) is not None and layer.kind.startswith("Conv")


def _belongs_to_cell(layer: Layer) -> bool:
    return role_of(layer) in (Role.PASS_THROUGH, Role.CHANNELWISE) and not layer.kind.startswith("Global")


def insertion_axes(network: Network, index: int, spatial_axes: int | None) -> int | None:
    """The number of spatial axes of a cell inserted before layer `index`; None if none can stand there.

    A cell can stand before a convolution, a ``Flatten`` or a global pooling.

    Parameters
    ----------
    network : Network
    index : int
    spatial_axes : int or None
        1 for series, 2 for images, 3 for volumes. None: as the convolutions and pooling layers present; without
        any, two-dimensional samples are images without a channel axis.
    """
    layer = network.layers[index]
    if not (_is_convolution(layer) or layer.kind == "Flatten" or layer.kind.startswith("Global")):
        return None
    # A convolution drops the mask, and the padded steps would count.
    if layer.kind.startswith("Global") and _is_masked(network.layers[:index]):
        return None
    shape = shapes_of(network)[index]
    present = {axes for other in network.layers if (axes := _spatial_axes(other)) is not None}
    if len(present) > 1:
        return None
    axes = present.pop() if present else spatial_axes
    if axes is None:
        axes = 2 if len(shape) == 2 else len(shape) - 1
    untouched = all(role_of(other) is Role.PASS_THROUGH for other in network.layers[:index])
    lacks_channels = len(shape) == axes and untouched
    if axes not in (1, 2, 3) or not (len(shape) == axes + 1 or lacks_channels) or None in shape:
        return None
    return axes


def _is_masked(layers: Sequence[Layer]) -> bool:
    """Whether what the last of `layers` gives has a mask, as far as configurations tell."""
    masked = False
    for layer in layers:
        masked = masked and not _is_convolution(layer) and "Pooling" not in layer.kind
        masked = masked or somewhere(layer.config, _makes_mask)
        masked = masked or layer.kind == "Masking"
    return masked


def _makes_mask(config: Mapping[str, Any]) -> bool:
    return bool(config.get("mask_zero")) or config.get("class_name") == "Masking"


def _spatial_axes(layer: Layer) -> int | None:
    """The number in the name of a convolution or pooling layer."""
    if role_of(layer) is Role.WALL or layer.kind[-2:] not in ("1D", "2D", "3D"):
        return None
    return int(layer.kind[-2])


def with_channel_axis(network: Network, index: int, axes: int) -> tuple[Network, int]:
    """The network with a channel axis before layer `index`, added if there is none; and where the layer is now."""
    shape = shapes_of(network)[index]
    if len(shape) == axes + 1:
        return network, index
    config = {"name": network.unused_name("reshape"), "trainable": True, "target_shape": [*shape, 1]}
    dtype = _weighted_layer(network).config.get("dtype")
    if dtype is not None:
        config["dtype"] = dtype
    return network.with_inserted(index, [Layer("Reshape", config)]), index + 1


def inserted_cell(network: Network, index: int, axes: int, pooling: Pooling | None) -> Network:
    """The network with a cell before layer `index` that hands its input on; nothing behind it is adapted yet."""
    channels = shapes_of(network)[index][-1]
    if channels is None:
        raise SurgeryError(f"the number of channels before layer {index} is not known")
    like = network.layers[index] if network.layers[index].weights else _weighted_layer(network)
    new = [templates.convolution(network, like, channels, (KERNEL_SIZE,) * axes)]
    if pooling is not None:
        new.append(templates.pooling(network, like, pooling, axes))
    new.append(templates.batch_normalization(network, like, channels))
    new.append(templates.activation(network, like, "relu"))
    return network.with_inserted(index, new)


def _weighted_layer(network: Network) -> Layer:
    for layer in network.layers:
        if producer_rule(layer) is not None:
            return layer
    raise SurgeryError("the network has no layer with a kernel")


PUBLISHED_ROWS: Final[dict[Pooling, Aggregation]] = {"average": "mean", "max": "largest"}
"""How rows behind a ``Flatten`` are aggregated, by the kind of pooling that was inserted."""


def insert_cell(
    network: Network, index: int, axes: int, pooling: Pooling | None, rows: Aggregation | None = None
) -> Network:
    """Put a cell before layer `index`. Without pooling the function stays exactly the same.

    Parameters
    ----------
    network : Network
    index : int
    axes : int
        Spatial axes.
    pooling : {"average", "max"} or None
    rows : {"mean", "largest", "sum"}, optional
        How the rows behind a ``Flatten`` are aggregated; by default as published.

    Differs from the paper: where something negative arrives, which the cell's ReLU would cut off, each channel
    enters twice, as it is and negated, and the layer behind subtracts the two.
    """
    network, index = with_channel_axis(network, index, axes)
    child = inserted_cell(network, index, axes, pooling)
    stop = index + len(child.layers) - len(network.layers)
    if not is_nonnegative_at(network, index):
        child = _signed_pairs(child, index, stop)
    if pooling is not None:
        child = _resized_behind(child, stop, network, rows or PUBLISHED_ROWS[pooling])
    return child


def insert_pooling(
    network: Network, index: int, axes: int, pooling: Pooling, rows: Aggregation | None = None
) -> Network:
    """Put a pooling layer alone before layer `index` (section A.2.1 of the paper)."""
    new = templates.pooling(network, _weighted_layer(network), pooling, axes)
    child = network.with_inserted(index, [new])
    return _resized_behind(child, index + 1, network, rows or PUBLISHED_ROWS[pooling])


def _resized_behind(child: Network, start: int, before: Network, rows: Aggregation) -> Network:
    behind = flattened_consumer(child, start, before)
    if behind is None:
        return child
    for index in range(start, behind[0]):
        layer = child.layers[index]
        if layer.kind == "Reshape":
            child = child.with_layer(index, rule_for(layer).refitted_to(layer, 1))
    return resized_rows(child, *behind, rows)


def _signed_pairs(network: Network, convolution: int, stop: int) -> Network:
    path = required_path(network, convolution)
    for index, _ in path.between:
        if index >= stop and not is_linear(network.layers[index]):
            other = network.layers[index]
            raise SurgeryError(f"no signed pairs of channels can pass layer {index} {other.name!r} ({other.kind})")
    check_may_be_negated(network.layers[path.consumer])
    layer = network.layers[convolution]
    rule = producer_rule(layer)
    if rule is None:
        raise SurgeryError(f"layer {convolution} {layer.name!r} ({layer.kind}) is not a convolution")
    identity = np.eye(rule.n_outputs(layer))
    network = rewired(network, path, np.concatenate([identity, -identity]))
    return network.with_layer(convolution, rule.mix_outputs(layer, np.concatenate([identity, -identity], axis=1)))


def matched_channels(network: Network, path: Path, n_new: int) -> tuple[Array, Array]:
    """Which features of a path `n_new` others are to stand for, and which are lost.

    Returns
    -------
    matrix : ndarray of shape (new features, old features)
        One entry a row; features that several stand for are shared out.
    lost : ndarray of int
    """
    importance = channel_importance(network, path)
    n_old = len(importance)
    order = np.argsort(-importance, kind="stable")
    kept = np.sort(order[: min(n_new, n_old)])
    source = kept[np.arange(n_new) % len(kept)]
    matrix = np.zeros((n_new, n_old))
    matrix[np.arange(n_new), source] = 1.0 / np.bincount(source, minlength=n_old)[source]
    return matrix, np.sort(order[n_new:])


def without_idle_reshape(network: Network, index: int) -> Network:
    """Drop a ``Reshape`` before layer `index` that only adds a channel axis, if a ``Flatten`` follows at once."""
    if network.layers[index].kind != "Flatten" or index == 0 or not _adds_channel_axis(network, index - 1):
        return network
    return network.without(index - 1, index)


def _adds_channel_axis(network: Network, index: int) -> bool:
    shapes: list[Shape] = shapes_of(network)
    return network.layers[index].kind == "Reshape" and shapes[index + 1] == (*shapes[index], 1)


def remove_cell(network: Network, index: int, rows: Aggregation = "mean") -> Network:
    """Take out the cell of convolution `index`.

    What follows reads the cell's input channels in place of its most important output channels; rows behind
    a ``Flatten`` are repeated for the positions that pooling no longer joins.
    """
    cell = cell_at(network, index)
    path = required_path(network, index)
    channels = shapes_of(network)[index][-1]
    if channels is None:
        raise SurgeryError(f"the number of channels before layer {index} is not known")
    matrix, lost = matched_channels(network, path, channels)
    constants = constant_part(network, path)
    child = network
    if constants is not None and len(lost):
        child = absorb_constants(child, path, lost, constants)
    behind_cell = Path(
        path.producer,
        tuple((position, repeats) for position, repeats in path.between if position >= cell.stop),
        path.consumer,
        path.repeats,
    )
    child = rewired(child, behind_cell, matrix)
    adapted = child.without(cell.start, cell.stop)
    adapted = _resized_behind(adapted, cell.start, child, rows)
    return without_idle_reshape(adapted, cell.start)

"""The rules of layers that only move numbers: Flatten and Reshape."""

from __future__ import annotations

import math

from ..errors import SurgeryError
from ..network import Layer, Shape
from .base import LayerRule, Role

__all__ = ["FlattenRule", "ReshapeRule", "WallRule"]


class FlattenRule(LayerRule):
    """``Flatten``: feature c of position p becomes feature ``p * channels + c``."""

    role = Role.REINDEX
    keeps_positions = False

    def understands(self, layer: Layer) -> bool:
        return layer.config.get("data_format", "channels_last") in (None, "channels_last")

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        return (_size(layer, input_shape),)

    def repeats(self, layer: Layer, input_shape: Shape) -> int:
        return _size(layer, input_shape[:-1])


class ReshapeRule(LayerRule):
    """``Reshape`` that leaves the feature axis alone, flattens everything, or splits off a feature axis of 1."""

    role = Role.REINDEX
    keeps_positions = False

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        target = [int(size) for size in layer.config["target_shape"]]
        if -1 in target:
            known = -math.prod(target)
            target[target.index(-1)] = _size(layer, input_shape) // known
        return tuple(target)

    def refitted_to(self, layer: Layer, n_features: int) -> Layer:
        """A flat target takes whatever comes; in any other the last number is that of the features."""
        target = list(layer.config["target_shape"])
        if len(target) == 1:
            return layer.with_config(target_shape=[-1])
        return layer if target[-1] == -1 else layer.with_config(target_shape=[*target[:-1], int(n_features)])

    def elementwise(self, layer: Layer) -> bool:
        # Whether features can be followed through it depends on the input's shape: see `walk`.
        return True

    def repeats(self, layer: Layer, input_shape: Shape) -> int:
        output_shape = self.output_shape(layer, input_shape)
        if output_shape[-1] == input_shape[-1]:
            return 1
        if len(output_shape) == 1:
            return _size(layer, input_shape[:-1])
        raise SurgeryError(f"features cannot be followed through layer {layer.name!r} (Reshape)")


class WallRule(LayerRule):
    """A layer that no rule explains. Its output shape is what Keras reported for the unchanged input."""

    role = Role.WALL
    keeps_positions = False

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        if layer.output_shape is None:
            raise SurgeryError(f"the output shape of layer {layer.name!r} ({layer.kind}) is not known")
        return layer.output_shape

    def elementwise(self, layer: Layer) -> bool:
        return False


def _size(layer: Layer, shape: Shape) -> int:
    if any(length is None for length in shape):
        raise SurgeryError(f"layer {layer.name!r} ({layer.kind}) has an input of unknown size {shape}")
    return math.prod(length for length in shape if length is not None)

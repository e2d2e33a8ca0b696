"""The rules of layers that treat each feature by itself: normalization, activations, dropout."""

from __future__ import annotations

from ..network import Array, Layer, Shape
from .activations import activation_name, is_elementwise
from .base import LayerRule, Role

__all__ = ["BatchNormalizationRule", "PReLURule", "UnweightedRule"]


class UnweightedRule(LayerRule):
    """Activations, dropout, noise, rescaling: no weights, the shape stays."""

    role = Role.PASS_THROUGH

    def understands(self, layer: Layer) -> bool:
        return not layer.weights

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        return input_shape

    def elementwise(self, layer: Layer) -> bool:
        return is_elementwise(activation_name(layer)) or layer.kind == "ReLU"


class BatchNormalizationRule(LayerRule):
    """``BatchNormalization`` over the feature axis."""

    role = Role.CHANNELWISE

    def understands(self, layer: Layer) -> bool:
        axis = layer.config.get("axis", -1)
        if isinstance(axis, (list, tuple)):
            axis = axis[0] if len(axis) == 1 else None
        # A positive axis is the feature axis only if it is the last one of the layer's input.
        last = len(layer.output_shape) if layer.output_shape is not None else None
        return axis == -1 or (axis is not None and axis == last)

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        return input_shape

    def take(self, layer: Layer, index: Array) -> Layer:
        return layer.with_weights(*(weight.take(index, axis=0) for weight in layer.weights))


class PReLURule(LayerRule):
    """``PReLU`` whose slopes are shared over all positions, or that stands behind a flat vector."""

    role = Role.CHANNELWISE

    def understands(self, layer: Layer) -> bool:
        # A slope for each position would tie the weights to the size of the image, be it a single position now.
        n_axes = layer.value("alpha").ndim if layer.has("alpha") else 0
        shared = set(layer.config.get("shared_axes") or ())
        return n_axes > 0 and set(range(1, n_axes)) <= shared and n_axes not in shared

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        return input_shape

    def take(self, layer: Layer, index: Array) -> Layer:
        return layer.with_weights(layer.weight("alpha").take(index, axis=-1))

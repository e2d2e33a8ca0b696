"""The rules of convolutions and pooling, written once for any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SurgeryError
from ..network import Layer, Shape, somewhere
from .activations import activation_name, is_elementwise
from .base import LayerRule, Producer, Role

__all__ = ["ConvRule", "GlobalPoolRule", "PaddingRule", "PoolRule", "UpSamplingRule", "is_causal", "per_axis"]


def per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """A Keras size option, a number or one for each axis, as one for each axis."""
    if isinstance(value, int):
        return (value,) * axes
    return tuple(int(v) for v in value)


def is_causal(layer: Layer) -> bool:
    """Whether the layer, or one inside it, pads so that no step sees those behind it."""
    return somewhere(layer.config, lambda config: config.get("padding") == "causal")


def _strided(layer: Layer, length: int | None, window: int, stride: int) -> int | None:
    if length is None:
        return None
    if layer.config["padding"] in ("same", "causal"):
        return -(-length // stride)
    result = (length - window) // stride + 1
    if result < 1:
        raise SurgeryError(
            f"layer {layer.name!r} ({layer.kind}) needs at least {window} positions, it would get {length}"
        )
    return result


def _channels_last(layer: Layer) -> bool:
    return layer.config.get("data_format", "channels_last") in (None, "channels_last")


class ConvRule(Producer):
    """``Conv1D``, ``Conv2D``, ``Conv3D``: kernel of shape (*window, input channels, filters)."""

    def understands(self, layer: Layer) -> bool:
        return (
            _channels_last(layer)
            and layer.config.get("groups", 1) == 1
            and {weight.name for weight in layer.weights} <= {"kernel", "bias"}
            and layer.has("kernel")
        )

    def n_outputs(self, layer: Layer) -> int:
        return int(layer.config["filters"])

    def with_n_outputs(self, layer: Layer, n_outputs: int) -> Layer:
        return layer.with_config(filters=int(n_outputs))

    def elementwise(self, layer: Layer) -> bool:
        return is_elementwise(activation_name(layer))

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        axes = len(input_shape) - 1
        windows = per_axis(layer.config["kernel_size"], axes)
        strides = per_axis(layer.config["strides"], axes)
        dilations = per_axis(layer.config.get("dilation_rate", 1), axes)
        lengths = [
            _strided(layer, length, dilation * (window - 1) + 1, stride)
            for length, window, stride, dilation in zip(input_shape[:-1], windows, strides, dilations, strict=True)
        ]
        return (*lengths, self.n_outputs(layer))


class PoolRule(LayerRule):
    """Average and max pooling."""

    role = Role.PASS_THROUGH

    def understands(self, layer: Layer) -> bool:
        return _channels_last(layer)

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        axes = len(input_shape) - 1
        windows = per_axis(layer.config["pool_size"], axes)
        strides = per_axis(layer.config.get("strides") or windows, axes)
        lengths = [
            _strided(layer, length, window, stride)
            for length, window, stride in zip(input_shape[:-1], windows, strides, strict=True)
        ]
        return (*lengths, input_shape[-1])


class GlobalPoolRule(LayerRule):
    """Global average and max pooling: one number for each channel."""

    role = Role.PASS_THROUGH

    def understands(self, layer: Layer) -> bool:
        return _channels_last(layer) and not layer.config.get("keepdims", False)

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        return (input_shape[-1],)


class PaddingRule(LayerRule):
    """``ZeroPadding1D``, ``2D``, ``3D``."""

    role = Role.PASS_THROUGH

    def understands(self, layer: Layer) -> bool:
        return _channels_last(layer)

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        padding = layer.config["padding"]
        axes = len(input_shape) - 1
        if isinstance(padding, int):
            padding = [(padding, padding)] * axes
        elif axes == 1:
            padding = [tuple(padding)]
        lengths = [
            None if length is None else length + sum(per_axis(pad, 2))
            for length, pad in zip(input_shape[:-1], padding, strict=True)
        ]
        return (*lengths, input_shape[-1])


class UpSamplingRule(LayerRule):
    """``UpSampling1D``, ``2D``, ``3D`` without smoothing between positions of different features."""

    role = Role.PASS_THROUGH

    def understands(self, layer: Layer) -> bool:
        return _channels_last(layer)

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        factors = per_axis(layer.config["size"], len(input_shape) - 1)
        lengths = [
            None if length is None else length * factor
            for length, factor in zip(input_shape[:-1], factors, strict=True)
        ]
        return (*lengths, input_shape[-1])

"""The rule of Dense."""

from __future__ import annotations

from ..network import Layer, Shape
from .activations import activation_name, is_elementwise
from .base import Producer

__all__ = ["DenseRule"]


class DenseRule(Producer):
    """``Dense``: kernel of shape (inputs, units), applied along the last axis."""

    def understands(self, layer: Layer) -> bool:
        # Quantized and LoRA layers hold more than a kernel and a bias.
        return {weight.name for weight in layer.weights} <= {"kernel", "bias"} and layer.has("kernel")

    def n_outputs(self, layer: Layer) -> int:
        return int(layer.config["units"])

    def with_n_outputs(self, layer: Layer, n_outputs: int) -> Layer:
        return layer.with_config(units=int(n_outputs))

    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.n_outputs(layer))

    def elementwise(self, layer: Layer) -> bool:
        return is_elementwise(activation_name(layer))

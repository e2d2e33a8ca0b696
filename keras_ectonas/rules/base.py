"""What surgery needs to know of a layer type: its role, its shapes and how its weights are cut.

Rules never decide on an operation and never look at neighbours; they describe one layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

import numpy as np

from ..network import Array, Layer, Shape, Weight

__all__ = ["LayerRule", "Producer", "Role", "mixed", "source_of"]


class Role(Enum):
    """How a layer treats the features, the last axis, of what flows through it."""

    PRODUCER = "makes new features from all of its inputs' features"
    CHANNELWISE = "has weights of its own for each feature"
    PASS_THROUGH = "treats every feature alike, without weights"
    REINDEX = "moves positions into features"
    WALL = "not understood: surgery stops here"


class LayerRule(ABC):
    """What is known of one kind of layer.

    Attributes
    ----------
    role : Role
    keeps_positions : bool
        Whether the layer works on spatial positions of any number, so that the length of the spatial
        axes may change under it without touching its weights.
    """

    role: Role
    keeps_positions: bool = True

    def understands(self, layer: Layer) -> bool:
        """Whether this rule holds for the layer's configuration; otherwise it is a wall."""
        return True

    @abstractmethod
    def output_shape(self, layer: Layer, input_shape: Shape) -> Shape:
        """Shape behind the layer; raises `SurgeryError` where no position would be left."""

    def elementwise(self, layer: Layer) -> bool:
        """Whether each output feature depends on its own input feature alone (a producer's: on its
        own pre-activation alone).
        """
        return True

    def take(self, layer: Layer, index: Array) -> Layer:
        """The layer for features `index` of the present ones: kept, dropped, repeated, reordered."""
        return layer

    def refitted_to(self, layer: Layer, n_features: int) -> Layer:
        """The layer for another number of features where its configuration names it; others stay."""
        return layer

    def repeats(self, layer: Layer, input_shape: Shape) -> int:
        """How many positions the layer folds into the feature axis; 1 for all but re-indexing layers."""
        return 1


class Producer(LayerRule):
    """A layer with a kernel whose last two axes are input features and output features."""

    role = Role.PRODUCER

    @abstractmethod
    def n_outputs(self, layer: Layer) -> int:
        """Units of a dense layer, filters of a convolution."""

    @abstractmethod
    def with_n_outputs(self, layer: Layer, n_outputs: int) -> Layer:
        """The configuration for another number of outputs; the weights are the caller's business."""

    def take(self, layer: Layer, index: Array) -> Layer:
        """Keep or repeat output features: kernel columns and bias entries."""
        weights = [layer.weight("kernel").take(index, axis=-1)]
        if layer.has("bias"):
            weights.append(layer.weight("bias").take(index, axis=0))
        return self.with_n_outputs(layer.with_weights(*weights), len(index))

    def mix_outputs(self, layer: Layer, matrix: Array) -> Layer:
        """New output features as linear combinations of the old ones.

        Parameters
        ----------
        layer : Layer
        matrix : ndarray of shape (old outputs, new outputs)
        """
        weights = [mixed(layer.weight("kernel"), lambda w: w @ matrix)]
        if layer.has("bias"):
            weights.append(mixed(layer.weight("bias"), lambda b: b @ matrix))
        return self.with_n_outputs(layer.with_weights(*weights), matrix.shape[1])

    def mix_inputs(self, layer: Layer, matrix: Array) -> Layer:
        """Feed the layer from other features, of which its present inputs are combinations.

        Parameters
        ----------
        layer : Layer
        matrix : ndarray of shape (new inputs, old inputs)
            ``old = new @ matrix`` is what the layer would like to have received. Where each row has at
            most one entry, inputs are kept, repeated, negated or dropped, and the optimizer's memory moves along.
        """
        kernel = layer.weight("kernel")
        old_inputs = kernel.value.shape[-2]
        positions = old_inputs // matrix.shape[1]

        def by_position(array: Array) -> Array:
            return array.reshape(*array.shape[:-2], positions, matrix.shape[1], array.shape[-1])

        def flat(array: Array) -> Array:
            return array.reshape(*array.shape[:-3], positions * matrix.shape[0], array.shape[-1])

        new = mixed(kernel, lambda w: flat(np.einsum("jc,...co->...jo", matrix, by_position(w))))
        source = source_of(matrix)
        if source is not None:
            signs = np.sign(matrix.sum(axis=1))[:, None]

            def memory(array: Array) -> Array:
                # Squares are never negative, and stay what they are for a negated input.
                factor = signs if (array < 0).any() else np.abs(signs)
                return flat(np.take(by_position(array), source, axis=-2) * factor.astype(array.dtype))

            moved = kernel.rearranged(memory)
            new = Weight(kernel.name, new.value, moved.slots)
        return layer.with_weights(new)

    def add_to_bias(self, layer: Layer, shift: Array) -> Layer:
        """Add `shift` to the bias; a layer without one is left as it is."""
        if not layer.has("bias"):
            return layer
        bias = layer.weight("bias")
        value = (bias.value.astype(np.float64) + shift).astype(bias.value.dtype)
        return layer.with_weights(Weight(bias.name, value, bias.slots))


def mixed(weight: Weight, function: Callable[[Array], Array]) -> Weight:
    """`function` of the weight's value, computed in double precision."""
    return weight.with_value(function(weight.value.astype(np.float64)))


def source_of(matrix: Array) -> Array | None:
    """For a matrix with at most one entry per row, the column of each row's entry, else None."""
    if (np.count_nonzero(matrix, axis=1) > 1).any():
        return None
    source: Array = np.argmax(matrix != 0, axis=1)
    return source

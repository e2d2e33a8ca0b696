"""Any layer, computed by Keras."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import keras
import numpy as np

from ...network import Shape
from .stage import Array, Features, Place, Stage

__all__ = ["KerasStage"]


class KerasStage(Stage):
    """A layer that Keras computes, called without state."""

    def __init__(self, index: int, layer: keras.layers.Layer, shape: Shape) -> None:
        layer.build((None, *shape))
        if _makes_mask(layer, shape):
            raise ValueError(f"layer {layer.name!r} makes masks")
        self._layer = layer
        self._has_modes = "training" in inspect.signature(layer.call).parameters
        positions = {id(variable): Place(index, k) for k, variable in enumerate(layer.weights)}
        self.trainable = tuple(positions[id(variable)] for variable in layer.trainable_variables)
        self.state = tuple(positions.get(id(variable), variable) for variable in layer.non_trainable_variables)
        self.constraints = {
            positions[id(variable)]: variable.constraint
            for variable in layer.trainable_variables
            if variable.constraint
        }

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        results = [self._called(trainable, state, x.batch_first(), mode) for mode in (True, False)]
        # Without randomness or statistics the two are the same computation, and the compiler merges them.
        outputs, new_state, penalty = jax.tree.map(lambda yes, no: jnp.where(training, yes, no), *results)
        return Features(outputs), new_state, penalty

    def _called(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Array, training: bool
    ) -> tuple[Array, list[Array], Array]:
        layer = self._layer
        mapping = zip([*layer.trainable_variables, *layer.non_trainable_variables], [*trainable, *state], strict=True)
        mode = {"training": training} if self._has_modes else {}
        with keras.StatelessScope(state_mapping=list(mapping), collect_losses=True) as scope:
            outputs = layer(x, **mode)
            losses = layer.losses
        updated = [scope.get_current_value(variable) for variable in layer.non_trainable_variables]
        return outputs, updated, jnp.asarray(sum(losses, start=0.0), jnp.float32)


def _makes_mask(layer: keras.layers.Layer, shape: Shape) -> bool:
    sample = np.zeros([1, *(size or 1 for size in shape)], np.float32)
    return layer.supports_masking and layer.compute_mask(sample, None) is not None

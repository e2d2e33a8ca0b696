"""Any layer, computed by Keras."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from ...network import Shape
from .stage import Array, Features, Place, Stage

__all__ = ["KerasStage"]


class KerasStage(Stage):
    """A layer that Keras computes, called without state.

    Parameters
    ----------
    index : int
    layer : keras.layers.Layer
    shape : tuple of int or None
        Of what it is given, without the batch.
    on_cpu : bool

    Raises
    ------
    ValueError
        If it cannot be computed so, or is better left to ``fit``.
    """

    def __init__(self, index: int, layer: keras.layers.Layer, shape: Shape, on_cpu: bool) -> None:
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
        if on_cpu and self.trainable and None not in shape and self._convolves(shape):
            # Only outside of loops does XLA bring the gradient of a kernel into the form that is fast on a CPU.
            raise ValueError(f"XLA's convolutions, as in layer {layer.name!r}, are slow inside a compiled loop")

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        in_training, otherwise = (self._called(trainable, state, x.batch_first(), mode) for mode in (True, False))
        # Without randomness or statistics the two are the same computation, and the compiler merges them; of their
        # gradients, which it does not merge, one alone is ever used.
        otherwise = lax.stop_gradient(otherwise)
        outputs, new_state, penalty = jax.tree.map(partial(jnp.where, training), in_training, otherwise)
        return Features(outputs), new_state, penalty

    def _convolves(self, shape: Shape) -> bool:
        variables = [*self._layer.trainable_variables, *self._layer.non_trainable_variables]
        values = [jax.ShapeDtypeStruct(variable.shape, variable.dtype) for variable in variables]
        n_trainable = len(self._layer.trainable_variables)
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        traced = jax.make_jaxpr(
            lambda values, x: self._called(values[:n_trainable], values[n_trainable:], x, training=False)
        )(values, x)
        return "conv_general_dilated" in str(traced)

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

"""Any layer, computed by Keras."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

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
    dtype : str
        Of what it is given.
    on_cpu : bool

    Raises
    ------
    ValueError
        If it cannot be computed so, or is better left to ``fit``.
    """

    def __init__(self, index: int, layer: keras.layers.Layer, shape: Shape, dtype: str, on_cpu: bool) -> None:
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
        traced = None if None in shape else [self._traced(shape, dtype, mode) for mode in (True, False)]
        if traced is not None and _are_the_same(*traced):
            self._has_modes = False
        if on_cpu and self.trainable and "conv_general_dilated" in str(traced):
            # Only outside of loops does XLA bring the gradient of a kernel into the form that is fast on a CPU.
            raise ValueError(f"XLA's convolutions, as in layer {layer.name!r}, are slow inside a compiled loop")

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        outputs, new_state, penalty = self._called(trainable, state, x.batch_first(), training=True)
        if self._has_modes:
            # What is computed without training is never differentiated.
            otherwise = lax.stop_gradient(self._called(trainable, state, x.batch_first(), training=False))
            outputs, new_state, penalty = jax.tree.map(
                partial(jnp.where, training), (outputs, new_state, penalty), otherwise
            )
        return Features(outputs), new_state, penalty

    def _traced(self, shape: Shape, dtype: str, training: bool) -> Any:
        """What the layer computes, as a jaxpr."""
        variables = [*self._layer.trainable_variables, *self._layer.non_trainable_variables]
        values = [jax.ShapeDtypeStruct(variable.shape, variable.dtype) for variable in variables]
        n_trainable = len(self._layer.trainable_variables)
        x = jax.ShapeDtypeStruct((1, *shape), dtype)
        return jax.make_jaxpr(lambda values, x: self._called(values[:n_trainable], values[n_trainable:], x, training))(
            values, x
        )

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


def _are_the_same(one: Any, other: Any) -> bool:
    """Whether two jaxprs are one computation: neither randomness nor statistics in training, for instance."""
    same_constants = all(np.array_equal(c, d) for c, d in zip(one.consts, other.consts, strict=False))
    return str(one) == str(other) and same_constants


def _makes_mask(layer: keras.layers.Layer, shape: Shape) -> bool:
    sample = np.zeros([1, *(size or 1 for size in shape)], np.float32)
    return layer.supports_masking and layer.compute_mask(sample, None) is not None

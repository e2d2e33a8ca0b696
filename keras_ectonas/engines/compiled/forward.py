"""A network as a pure function of its weights, for JAX to differentiate and compile.

On a CPU the layers that small networks are made of run on kernels of our own; every other layer, and all of them on
an accelerator, is Keras' own, called without state.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import keras

from ...bridge import Blueprint
from ...network import Network
from ...surgery.walk import shapes_of
from .keras_stage import KerasStage
from .own_stages import NEED_FLOATS, joined_pooling, own_stage
from .stage import Array, Features, Stage

__all__ = ["Forward"]


class Forward:
    """A network as a function.

    Parameters
    ----------
    network : Network
        Its architecture alone is looked at.
    blueprint : Blueprint
    own_kernels : bool
        False leaves every layer to Keras.
    may_transpose : bool
        Whether weights may be held the other way round in training, which the optimizer must not notice.

    Attributes
    ----------
    trainable : tuple of Place
    state : tuple of Place or keras.Variable
    transposed : frozenset of Place
        The weights that are held transposed.
    constraints : mapping of Place to keras.constraints.Constraint
        Of the weights that have one.
    """

    def __init__(self, network: Network, blueprint: Blueprint, own_kernels: bool, may_transpose: bool) -> None:
        self._stages = _stages(network, blueprint, own_kernels, may_transpose)
        self.transposed = frozenset().union(*(stage.transposed for stage in self._stages))
        self.constraints = {place: own for stage in self._stages for place, own in stage.constraints.items()}
        self.trainable = tuple(place for stage in self._stages for place in stage.trainable)
        self.state = tuple(place for stage in self._stages for place in stage.state)

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Array, training: Array
    ) -> tuple[Array, list[Array], Array | float]:
        """Outputs, new state, and the penalties of all layers.

        Parameters
        ----------
        trainable, state : sequence of array
            In the order of the attributes.
        x : array of shape (batch, ...)
        training : bool scalar
        """
        # As each of Keras' layers would do.
        features = Features(x.astype("float32") if jnp.issubdtype(x.dtype, jnp.floating) else x)
        new_state: list[Array] = []
        penalty: Array | float = 0.0
        trainable, state = list(trainable), list(state)
        for stage in self._stages:
            own, trainable = trainable[: len(stage.trainable)], trainable[len(stage.trainable) :]
            kept, state = state[: len(stage.state)], state[len(stage.state) :]
            features, updated, added = stage(own, kept, features, training)
            new_state += updated
            penalty = penalty + added
        return features.batch_first(), new_state, penalty


def _stages(network: Network, blueprint: Blueprint, own_kernels: bool, may_transpose: bool) -> list[Stage]:
    shapes = shapes_of(network)
    stages: list[Stage] = []
    # Whole numbers are left to Keras where it treats them otherwise, until a layer with weights has made them floats.
    is_float = bool(keras.backend.is_float_dtype(blueprint.input_dtype))
    index = 0
    while index < len(network.layers):
        layer, shape = network.layers[index], shapes[index]
        behind = network.layers[index + 1] if index + 1 < len(network.layers) else None
        stage: Stage | None = None
        used = 1
        if own_kernels and None not in shape and (is_float or layer.kind not in NEED_FLOATS):
            pooled = joined_pooling(layer, shape, behind, shapes[index + 1])
            stage = own_stage(index, layer, shape, pooled, may_transpose, blueprint)
            used += pooled is not None and stage is not None
        if stage is None:
            dtype = "float32" if is_float else blueprint.input_dtype
            stage = KerasStage(index, blueprint.layer(layer), shape, dtype, own_kernels)
        stages.append(stage)
        index += used
        is_float = is_float or bool(layer.weights)
    return stages

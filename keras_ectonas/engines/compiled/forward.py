"""A network as a pure function of its weights, for JAX to differentiate and compile.

On a CPU the layers that small networks are made of run on kernels of our own; every other layer, and all of them on
an accelerator, is Keras' own, called without state.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from ...bridge import Blueprint
from ...network import Layer, Network, Shape
from ...rules import Role, role_of
from ...rules.activations import activation_name, is_elementwise
from ...surgery.patches import Geometry, geometry_of
from ...surgery.walk import shapes_of
from . import kernels
from .dropout import can_draw, dropout_mask, next_key

__all__ = ["Forward", "Place"]

Array: TypeAlias = Any
"""A ``jax.Array``, concrete or traced."""
_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D"})
_POOLINGS = frozenset({"AveragePooling1D", "AveragePooling2D", "MaxPooling1D", "MaxPooling2D"})
_GLOBAL = frozenset(f"Global{how}Pooling{axes}D" for how in ("Average", "Max") for axes in (1, 2))
_ELEMENTWISE = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU"})


class Place(NamedTuple):
    """Where a weight stands in a network: index of the layer, position among its weights."""

    layer: int
    position: int


class Features(NamedTuple):
    """What flows from layer to layer: (batch, ..., channels), or (channels, ..., batch) with the batch last."""

    values: Array
    is_batch_last: bool = False

    def batch_first(self) -> Array:
        return kernels.batch_first(self.values) if self.is_batch_last else self.values

    def batch_last(self) -> Array:
        return self.values if self.is_batch_last else kernels.batch_last(self.values)


class Stage(ABC):
    """One layer, or two that are computed together.

    Attributes
    ----------
    trainable : tuple of Place
    state : tuple of Place or keras.Variable
        What training changes without a gradient: moving statistics; or variables that are no weights, the seeds of
        random layers.
    transposed : frozenset of Place
        Matrices that are wanted the other way round.
    constraints : mapping of Place to keras.constraints.Constraint
    """

    trainable: tuple[Place, ...] = ()
    state: tuple[Any, ...] = ()
    transposed: frozenset[Place] = frozenset()
    constraints: Mapping[Place, Any] = MappingProxyType({})

    @abstractmethod
    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        """Outputs, new state, and what the layer adds to the loss."""


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
        features = Features(x)
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
    # Whole numbers are pooled as Keras pools them, until a layer with weights has made them floats.
    is_float = bool(keras.backend.is_float_dtype(blueprint.input_dtype))
    index = 0
    while index < len(network.layers):
        layer, shape = network.layers[index], shapes[index]
        behind = network.layers[index + 1] if index + 1 < len(network.layers) else None
        stage: Stage | None = None
        used = 1
        if own_kernels and None not in shape and (is_float or layer.kind not in _POOLINGS):
            pooled = _joined_pooling(layer, shape, behind, shapes[index + 1])
            stage = _own_stage(index, layer, shape, pooled, may_transpose, blueprint)
            used += pooled is not None and stage is not None
        stages.append(stage or _KerasStage(index, blueprint.layer(layer), shape))
        index += used
        is_float = is_float or bool(layer.weights)
    return stages


def _joined_pooling(layer: Layer, shape: Shape, behind: Layer | None, between: Shape) -> Geometry | None:
    """The average pooling behind a convolution, if both can be computed at once."""
    if behind is None or layer.kind not in _CONVOLUTIONS or role_of(layer) is Role.WALL:
        return None
    if not behind.kind.startswith("AveragePooling") or activation_name(layer) != "linear":
        return None
    if role_of(behind) is Role.WALL:
        return None
    pooled = geometry_of(behind, between)
    return pooled if kernels.can_join(geometry_of(layer, shape), pooled) else None


def _own_stage(
    index: int, layer: Layer, shape: Shape, pooled: Geometry | None, may_transpose: bool, blueprint: Blueprint
) -> Stage | None:
    """A stage on kernels of our own; None where Keras' layer serves."""
    if role_of(layer) is Role.WALL:
        return None
    if layer.kind == "Dense":
        return _LinearStage(index, layer, None, transposed=may_transpose and not layer.config.get("kernel_constraint"))
    if layer.kind in _CONVOLUTIONS and layer.config.get("padding") in ("same", "valid"):
        return _LinearStage(index, layer, geometry_of(layer, shape), joined=pooled is not None)
    if layer.kind == "BatchNormalization":
        return _NormalizationStage(index, layer)
    if layer.kind in _POOLINGS:
        return _PoolingStage(layer, shape)
    if layer.kind in _GLOBAL:
        return _GlobalPoolingStage(layer)
    if layer.kind == "Flatten" and layer.config.get("data_format") != "channels_first":
        return _FlattenStage()
    if layer.kind == "Dropout" and can_draw(layer):
        return _DropoutStage(layer, blueprint.layer(layer))
    if layer.kind in _ELEMENTWISE and is_elementwise(activation_name(layer)):
        return _ElementwiseStage(layer)
    return None


def _places(index: int, layer: Layer, names: Sequence[str]) -> tuple[Place, ...]:
    return tuple(Place(index, k) for k, weight in enumerate(layer.weights) if weight.name in names)


def _constraints(layer: Layer, places: Sequence[Place]) -> dict[Place, Any]:
    named = {place: layer.config.get(f"{layer.weights[place.position].name}_constraint") for place in places}
    return {place: keras.constraints.get(config) for place, config in named.items() if config is not None}


class _LinearStage(Stage):
    """Dense layers and convolutions, with their activation and, maybe, the average pooling behind.

    The kernel of a dense layer may be held as (units, inputs): then its gradient comes out of the matrix product in
    the layout that it is stored in, which is up to 5 times faster for few units.
    """

    def __init__(
        self, index: int, layer: Layer, geometry: Geometry | None, joined: bool = False, transposed: bool = False
    ) -> None:
        places = _places(index, layer, ("kernel", "bias"))
        self.trainable, self.state = places, ()
        self.transposed = frozenset(places[:1] if transposed else ())
        self.constraints = _constraints(layer, places)
        self._geometry = geometry
        self._joined = joined
        self._activation = keras.activations.get(layer.config.get("activation"))
        self._is_elementwise = is_elementwise(activation_name(layer))
        self._regularizers = [
            (name, keras.regularizers.get(layer.config[f"{name}_regularizer"]))
            for name in ("kernel", "bias")
            if layer.config.get(f"{name}_regularizer") is not None and layer.has(name)
        ]

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        kernel, *biases = trainable
        if self.transposed:
            kernel = kernel.T
        out = self._linear(kernel, x)
        for bias in biases:
            shape = (-1, *(1,) * (out.values.ndim - 1)) if out.is_batch_last else (-1,)
            out = Features(out.values + bias.reshape(shape), out.is_batch_last)
        if not self._is_elementwise:
            out = Features(out.batch_first())
        named = dict(zip(("kernel", "bias"), (kernel, *biases), strict=False))
        penalty = sum((regularizer(named[name]) for name, regularizer in self._regularizers), start=0.0)
        return Features(self._activation(out.values), out.is_batch_last), state, penalty

    def _linear(self, kernel: Array, x: Features) -> Features:
        if self._geometry is None:
            out = jnp.tensordot(kernel.T, x.values, 1) if x.is_batch_last else x.values @ kernel
            return Features(out, x.is_batch_last)
        compute = kernels.convolution_and_average_pooling if self._joined else kernels.convolution
        return Features(compute(x.batch_last(), kernel, self._geometry), is_batch_last=True)


class _NormalizationStage(Stage):
    """Batch normalization over the last axis."""

    def __init__(self, index: int, layer: Layer) -> None:
        self.trainable = _places(index, layer, ("gamma", "beta"))
        self.state = _places(index, layer, ("moving_mean", "moving_variance"))
        self.constraints = _constraints(layer, self.trainable)
        self._names = [layer.weights[place.position].name for place in self.trainable]
        self._momentum = float(layer.config.get("momentum", 0.99))
        self._epsilon = float(layer.config["epsilon"])
        self._regularizers = [
            (name, keras.regularizers.get(layer.config[f"{name}_regularizer"]))
            for name in self._names
            if layer.config.get(f"{name}_regularizer") is not None
        ]

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        scales = dict(zip(self._names, trainable, strict=True))
        ones = jnp.ones_like(state[0])
        out, moving = kernels.batch_normalization(
            x.batch_last(),
            scales.get("gamma", ones),
            scales.get("beta", 0.0 * ones),
            (state[0], state[1]),
            training,
            self._momentum,
            self._epsilon,
        )
        penalty = sum((regularizer(scales[name]) for name, regularizer in self._regularizers), start=0.0)
        return Features(out, is_batch_last=True), moving, penalty


class _PoolingStage(Stage):
    def __init__(self, layer: Layer, shape: Shape) -> None:
        self._geometry = geometry_of(layer, shape)
        self._compute = kernels.max_pooling if layer.kind.startswith("Max") else kernels.average_pooling

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        return Features(self._compute(x.batch_last(), self._geometry), is_batch_last=True), state, 0.0


class _GlobalPoolingStage(Stage):
    def __init__(self, layer: Layer) -> None:
        self._compute = jnp.max if "Max" in layer.kind else jnp.mean

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        values = x.batch_last()
        pooled = self._compute(values, axis=tuple(range(1, values.ndim - 1)))
        return Features(pooled, is_batch_last=True), state, 0.0


class _FlattenStage(Stage):
    """Positions, and for each its channels."""

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        if not x.is_batch_last:
            return Features(x.values.reshape(len(x.values), -1)), state, 0.0
        by_position = jnp.moveaxis(x.values, 0, -2)
        return Features(by_position.reshape(-1, by_position.shape[-1]), is_batch_last=True), state, 0.0


class _ElementwiseStage(Stage):
    """Activations that treat every number alike, in whatever layout it comes."""

    def __init__(self, layer: Layer) -> None:
        self._layer = getattr(keras.layers, layer.kind).from_config(dict(layer.config))

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        return Features(self._layer.call(x.values), x.is_batch_last), state, 0.0


class _DropoutStage(Stage):
    """Dropout with the masks that Keras would draw, in whatever layout the features come."""

    def __init__(self, layer: Layer, of_keras: keras.layers.Layer) -> None:
        self.state = tuple(of_keras.non_trainable_variables)
        self._kept = 1.0 - float(layer.config["rate"])

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        (key,) = state
        shape = x.values.shape
        # Behind a condition nothing is drawn in validation, and the mask is made once, not by each that uses it.
        mask = lax.cond(
            training, lambda: dropout_mask(key, shape, self._kept, x.is_batch_last), lambda: jnp.ones(shape, bool)
        )
        scaled = x.values / jnp.where(training, self._kept, 1.0).astype(x.values.dtype)
        dropped = jnp.where(mask, scaled, jnp.zeros_like(scaled))
        return Features(dropped, x.is_batch_last), [jnp.where(training, next_key(key), key)], 0.0


class _KerasStage(Stage):
    """Any layer, by Keras."""

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

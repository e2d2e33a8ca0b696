"""The stages that run on kernels of our own, and which layers they serve."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax.numpy as jnp
import keras
from jax import lax

from ...bridge import Blueprint
from ...network import Layer, Shape
from ...rules import Role, role_of
from ...rules.activations import activation_name, is_elementwise
from ...surgery.patches import Geometry, geometry_of
from . import kernels
from .dropout import can_draw, dropout_mask, next_key
from .stage import Array, Features, Place, Stage

__all__ = ["NEED_FLOATS", "joined_pooling", "own_stage"]


def _names(pattern: str, axes: Sequence[int]) -> frozenset[str]:
    return frozenset(pattern.format(n) for n in axes)


_CONVOLUTIONS = _names("Conv{}D", (1, 2, 3))
_BY_CHANNEL = _names("DepthwiseConv{}D", (1, 2)) | _names("SeparableConv{}D", (1, 2))
_POOLINGS = _names("AveragePooling{}D", (1, 2, 3)) | _names("MaxPooling{}D", (1, 2, 3))
NEED_FLOATS = _BY_CHANNEL | _POOLINGS | {"Dropout"}
"""Kinds of layers that Keras computes in whole numbers, or refuses, where it is given such."""

_GLOBAL = _names("GlobalAveragePooling{}D", (1, 2, 3)) | _names("GlobalMaxPooling{}D", (1, 2, 3))
_ELEMENTWISE = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU"})
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_MOST_TAPS: Final = 64
"""Of windows without matrix products, which have code for each tap."""


def joined_pooling(layer: Layer, shape: Shape, behind: Layer | None, between: Shape) -> Geometry | None:
    """The average pooling behind a convolution, if both can be computed at once."""
    if behind is None or layer.kind not in _CONVOLUTIONS or role_of(layer) is Role.WALL:
        return None
    if not behind.kind.startswith("AveragePooling") or activation_name(layer) != "linear":
        return None
    if role_of(behind) is Role.WALL:
        return None
    pooled = geometry_of(behind, between)
    return pooled if kernels.can_join(geometry_of(layer, shape), pooled) else None


def own_stage(
    index: int, layer: Layer, shape: Shape, pooled: Geometry | None, may_transpose: bool, blueprint: Blueprint
) -> Stage | None:
    """A stage on kernels of our own; None where Keras' layer serves."""
    if layer.kind in _CONVOLUTIONS | _BY_CHANNEL | {"Dense"} and _has_layer_as_activation(layer):
        return None
    if layer.kind in _BY_CHANNEL | _POOLINGS and math.prod(geometry_of(layer, shape).window) > _MOST_TAPS:
        return None
    if layer.kind in _CONVOLUTIONS | _BY_CHANNEL:
        return _ConvolutionStage(index, layer, shape, pooled is not None) if _is_plain(layer) else None
    if role_of(layer) is Role.WALL:
        return None
    if layer.kind == "Dense":
        return _DenseStage(index, layer, transposed=may_transpose and not layer.config.get("kernel_constraint"))
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


def _has_layer_as_activation(layer: Layer) -> bool:
    """Whether what is called an activation may draw at random or keep a state."""
    activation = keras.activations.get(layer.config.get("activation"))
    return isinstance(activation, keras.layers.Layer) and type(activation).__name__ not in _ELEMENTWISE


def _is_plain(layer: Layer) -> bool:
    """Whether a convolution has the weights and the layout that its kind has by default, and learns."""
    channels_last = layer.config.get("data_format") in (None, "channels_last")
    learns = layer.config.get("trainable", True)
    return channels_last and learns and all(weight.name in (*_KERNELS, "bias") for weight in layer.weights)


def _places(index: int, layer: Layer, names: Sequence[str]) -> tuple[Place, ...]:
    return tuple(Place(index, k) for k, weight in enumerate(layer.weights) if weight.name in names)


def _constraints(layer: Layer, places: Sequence[Place]) -> dict[Place, Any]:
    named = {place: _option(layer, layer.weights[place.position].name, "constraint") for place in places}
    return {place: keras.constraints.get(config) for place, config in named.items() if config is not None}


def _option(layer: Layer, weight: str, option: str) -> Any:
    """What the configuration says of a weight: that of ``depthwise_kernel`` is called ``depthwise_constraint``."""
    of_depthwise = weight == "kernel" and layer.kind.startswith("Depthwise")
    return layer.config.get(f"{'depthwise' if of_depthwise else weight.removesuffix('_kernel')}_{option}")


class _LinearStage(Stage):
    """Layers with kernels, maybe a bias, and an activation behind."""

    def __init__(self, index: int, layer: Layer) -> None:
        self.trainable, self.state = _places(index, layer, (*_KERNELS, "bias")), ()
        self.constraints = _constraints(layer, self.trainable)
        self._names = [layer.weights[place.position].name for place in self.trainable]
        self._activation = keras.activations.get(layer.config.get("activation"))
        self._is_elementwise = is_elementwise(activation_name(layer))
        options = {name: _option(layer, name, "regularizer") for name in self._names}
        self._regularizers = [
            (name, keras.regularizers.get(config)) for name, config in options.items() if config is not None
        ]

    def __call__(
        self, trainable: Sequence[Array], state: Sequence[Array], x: Features, training: Array
    ) -> tuple[Features, Sequence[Array], Array | float]:
        weights = dict(zip(self._names, self._as_keras_holds(trainable), strict=True))
        bias = weights.get("bias")
        out = self._linear([weights[name] for name in self._names if name != "bias"], x)
        if bias is not None:
            shape = (-1, *(1,) * (out.values.ndim - 1)) if out.is_batch_last else (-1,)
            out = Features(out.values + bias.reshape(shape), out.is_batch_last)
        if not self._is_elementwise:
            out = Features(out.batch_first())
        penalty = sum((regularizer(weights[name]) for name, regularizer in self._regularizers), start=0.0)
        return Features(self._activation(out.values), out.is_batch_last), state, penalty

    def _as_keras_holds(self, trainable: Sequence[Array]) -> Sequence[Array]:
        return trainable

    @abstractmethod
    def _linear(self, given: Sequence[Array], x: Features) -> Features:
        """What the kernels make of `x`."""


class _DenseStage(_LinearStage):
    """Dense layers.

    The kernel may be held as (units, inputs): then its gradient comes out of the matrix product in the layout that it
    is stored in, which is up to 5 times faster for few units.
    """

    def __init__(self, index: int, layer: Layer, transposed: bool) -> None:
        super().__init__(index, layer)
        self.transposed = frozenset(self.trainable[:1] if transposed else ())

    def _as_keras_holds(self, trainable: Sequence[Array]) -> Sequence[Array]:
        return [trainable[0].T, *trainable[1:]] if self.transposed else trainable

    def _linear(self, given: Sequence[Array], x: Features) -> Features:
        (kernel,) = given
        out = jnp.tensordot(kernel.T, x.values, 1) if x.is_batch_last else x.values @ kernel
        return Features(out, x.is_batch_last)


class _ConvolutionStage(_LinearStage):
    """Convolutions of all kinds and, maybe, the average pooling behind."""

    def __init__(self, index: int, layer: Layer, shape: Shape, joined: bool) -> None:
        super().__init__(index, layer)
        geometry = geometry_of(layer, shape)
        self._joined = joined
        self._compute: Callable[..., Array]
        if layer.kind.startswith("Depthwise"):
            self._compute = lambda x, kernel: kernels.depthwise_convolution(x, kernel, geometry)
        elif layer.kind.startswith("Separable"):
            self._compute = lambda x, by_channel, pointwise: jnp.tensordot(
                pointwise.reshape(pointwise.shape[-2:]).T, kernels.depthwise_convolution(x, by_channel, geometry), 1
            )
        elif joined:
            self._compute = lambda x, kernel: kernels.convolution_and_average_pooling(x, kernel, geometry)
        else:
            groups = int(layer.config.get("groups", 1))
            self._compute = lambda x, kernel: kernels.convolution(x, kernel, geometry, groups)

    def _linear(self, given: Sequence[Array], x: Features) -> Features:
        # A joined convolution looks at each number once; others take a slice for each tap.
        values = x.batch_last() if self._joined or x.is_batch_last else kernels.batch_last_at_once(x.values)
        return Features(self._compute(values, *given), is_batch_last=True)


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
            x.batch_last().astype("float32"),
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

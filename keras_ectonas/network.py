"""A trained network as an immutable value: layers with their weights, and nothing of any backend.

A `Network` is what surgery takes and gives, what a search compares and what an engine trains. Layers
that an operation leaves alone are shared between parent and child, so a hundred candidates cost little
more memory than what sets them apart. This module knows nothing of Keras.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Layer", "Network", "Shape", "Weight", "somewhere", "unused_name"]

Array = NDArray[Any]
Shape = tuple[int | None, ...]
"""A tensor's shape without its batch axis; ``None`` where the length varies."""


def _read_only(array: Array) -> Array:
    # In C order, whatever made it: sums over an array then round alike before it is stored and after it is read.
    view = np.asarray(array, order="C").view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Weight:
    """One array of a layer, with what the optimizer remembers of each of its entries.

    Parameters
    ----------
    name : str
        The name within the layer: ``"kernel"``, ``"bias"``, ``"gamma"``, ...
    value : ndarray
        Held read-only.
    slots : mapping of str to ndarray
        Optimizer variables of the same shape as `value`, such as ``"momentum"`` and ``"velocity"``.
    """

    name: str
    value: Array
    slots: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _read_only(self.value))
        slots = {name: _read_only(slot) for name, slot in self.slots.items()}
        object.__setattr__(self, "slots", slots)

    def with_value(self, value: Array) -> Weight:
        """New numbers, of this weight's dtype; the optimizer's memory of the old ones is dropped."""
        return Weight(self.name, np.asarray(value).astype(self.value.dtype))

    def rearranged(self, function: Callable[[Array], Array]) -> Weight:
        """`function` picks entries and adds none: the optimizer's memory moves along."""
        slots = {name: function(slot) for name, slot in self.slots.items()}
        return Weight(self.name, function(self.value), slots)

    def take(self, index: Array, axis: int) -> Weight:
        """Keep or repeat the entries `index` along `axis`."""
        return self.rearranged(lambda array: np.take(array, index, axis=axis))


@dataclass(frozen=True)
class Layer:
    """One layer: its kind, its Keras configuration and its weights.

    Parameters
    ----------
    kind : str
        The Keras class name, such as ``"Dense"``; for a class from elsewhere its registered name.
    config : mapping
        What ``keras.Layer.get_config`` gives. Never changed in place.
    weights : tuple of Weight
        In the order of ``keras.Layer.weights``.
    output_shape : tuple, optional
        Without the batch axis, as Keras reported it. Read only for layers that no rule explains.
    """

    kind: str
    config: Mapping[str, Any]
    weights: tuple[Weight, ...] = ()
    output_shape: Shape | None = None

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def n_params(self) -> int:
        """The number of weights, as ``keras.Layer.count_params`` counts them."""
        return sum(weight.value.size for weight in self.weights)

    def has(self, name: str) -> bool:
        return any(weight.name == name for weight in self.weights)

    def weight(self, name: str) -> Weight:
        """The weight called `name`.

        Raises
        ------
        KeyError
            If the layer has none of that name.
        """
        for weight in self.weights:
            if weight.name == name:
                return weight
        raise KeyError(f"layer {self.name!r} ({self.kind}) has no weight {name!r}")

    def value(self, name: str) -> Array:
        return self.weight(name).value

    def with_weights(self, *changed: Weight) -> Layer:
        """The same layer with the weights of these names exchanged."""
        by_name = {weight.name: weight for weight in changed}
        weights = tuple(by_name.get(weight.name, weight) for weight in self.weights)
        return replace(self, weights=weights)

    def with_config(self, **changes: Any) -> Layer:
        return replace(self, config={**self.config, **changes})


@dataclass(frozen=True)
class Network:
    """A chain of layers.

    Parameters
    ----------
    input_shape : tuple of int or None
        Shape of one sample, without the batch axis.
    layers : tuple of Layer
    optimizer_state : mapping of str to ndarray
        What the optimizer remembers that is no slot of a weight: its iteration count, its learning rate, what has
        another shape than the weight.
    nonnegative_input : bool
        Whether every number the network is fed is known to be zero or above, as pixels are. It decides
        whether an identity layer with a ReLU may stand at the very front.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    optimizer_state: Mapping[str, Array] = field(default_factory=dict)
    nonnegative_input: bool = False

    @property
    def n_params(self) -> int:
        """The number of weights, as ``keras.Model.count_params`` counts them."""
        return sum(layer.n_params for layer in self.layers)

    @property
    def is_penalised(self) -> bool:
        """Whether some layer adds a penalty on weights or activities to the loss, as far as configurations tell."""
        return any(
            layer.kind.endswith("ActivityRegularization") or _has_regularizer(layer.config) for layer in self.layers
        )

    def with_layers(self, layers: Iterable[Layer]) -> Network:
        return replace(self, layers=tuple(layers))

    def with_layer(self, index: int, layer: Layer) -> Network:
        return self.with_layers((*self.layers[:index], layer, *self.layers[index + 1 :]))

    def without(self, start: int, stop: int) -> Network:
        """The network less the layers from `start` up to, not including, `stop`."""
        return self.with_layers((*self.layers[:start], *self.layers[stop:]))

    def with_inserted(self, index: int, layers: Iterable[Layer]) -> Network:
        """The network with `layers` standing before the present layer `index`."""
        return self.with_layers((*self.layers[:index], *layers, *self.layers[index:]))

    def ending_with(self, layer: Layer | None) -> Network:
        """The network with `layer`, if there is one, behind all others."""
        return self if layer is None else self.with_layers((*self.layers, layer))

    def unused_name(self, stem: str) -> str:
        """A layer name that is free: `stem`, or `stem` with the first free number behind it."""
        return unused_name(stem, {layer.name for layer in self.layers})

    def is_finite(self) -> bool:
        """Whether no weight is infinite or not a number."""
        return all(bool(np.isfinite(weight.value).all()) for layer in self.layers for weight in layer.weights)

    def architecture(self) -> str:
        """A text that two networks share if and only if their layers are configured alike.

        Names and initializers are left out: only what is computed counts.
        """
        description = [
            {
                "kind": layer.kind,
                "config": {
                    key: value
                    for key, value in layer.config.items()
                    if key != "name" and not key.endswith("_initializer")
                },
                "shapes": [weight.value.shape for weight in layer.weights],
            }
            for layer in self.layers
        ]
        return json.dumps([self.input_shape, description], sort_keys=True, default=repr)

    def summary(self) -> str:
        """The weighted layers and their widths in a line, such as ``"Conv2D 3, Dense 10"``."""
        parts = []
        for layer in self.layers:
            width = layer.config.get("units", layer.config.get("filters"))
            if width is not None:
                parts.append(f"{layer.kind} {width}")
        return ", ".join(parts)

    def fingerprint(self) -> str:
        """A hash of the architecture and of every weight, to the last bit."""
        digest = hashlib.sha256(self.architecture().encode())
        for layer in self.layers:
            for weight in layer.weights:
                digest.update(weight.name.encode())
                digest.update(np.ascontiguousarray(weight.value).tobytes())
        return digest.hexdigest()


def unused_name(stem: str, taken: Set[str]) -> str:
    """`stem`, or `stem` with the first number behind it that makes a name which is not taken."""
    numbered = (f"{stem}_{number}" for number in itertools.count(1))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)


def _has_regularizer(config: Any) -> bool:
    """Whether a layer's configuration, or that of a layer within it, names a regularizer."""
    if isinstance(config, Mapping):
        return any(
            (str(key).endswith("regularizer") and value is not None) or _has_regularizer(value)
            for key, value in config.items()
        )
    return isinstance(config, (list, tuple)) and any(map(_has_regularizer, config))


def somewhere(config: Any, holds: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Whether `holds` is true of a layer's configuration, or of one within it, as of a model inside the model."""
    if isinstance(config, Mapping):
        return holds(config) or any(somewhere(value, holds) for value in config.values())
    return isinstance(config, (list, tuple)) and any(somewhere(value, holds) for value in config)

"""Dead units: layers widened to one of a few sizes, so that many architectures share one compiled program.

A unit whose incoming and outgoing weights are zero, under activations that give 0 for 0, receives no gradient: under
optimizers that treat every number by itself it stays what it is, and what the network computes stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from ...network import Layer, Network, Weight
from ...rules import producer_rule
from ...rules.activations import activation_name
from ...surgery.units import select_outputs, widen_with
from ...surgery.walk import Path, consumer_path

__all__ = ["ELEMENTWISE_OPTIMIZERS", "Padding", "width_class"]

ELEMENTWISE_OPTIMIZERS: Final = frozenset(
    {"SGD", "Adam", "AdamW", "Nadam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "Lion"}
)
"""Keras optimizers under which a weight with zero gradient and zero memory stays zero."""

_ZERO_AT_ZERO = frozenset(
    {"linear", "relu", "relu6", "leaky_relu", "elu", "selu", "tanh", "softsign", "hard_tanh", "celu", "gelu", "silu"}
    | {"swish", "mish", "hard_silu", "hard_swish", "tanh_shrink", "soft_shrink", "hard_shrink"}
)
_DETERMINISTIC = ("BatchNormalization", "Flatten", "Reshape", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU")
_FINEST: Final = 4
_FINEST_DENSE: Final = 8


def width_class(width: int, finest: int) -> int:
    """The size that `width` is padded to: a multiple of `finest`, and of an eighth of the next power of two."""
    step = max(finest, 1 << max(0, (width - 1).bit_length() - 3))
    return -(-width // step) * step


@dataclass(frozen=True)
class Padding:
    """Which layers are padded, from which width to which.

    Parameters
    ----------
    widths : tuple of (int, int, int)
        Index of the layer, its width, its padded width.
    """

    widths: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, network: Network) -> Padding:
        """Pad whatever may be padded."""
        widths = []
        for index, layer in enumerate(network.layers):
            rule = producer_rule(layer)
            path = consumer_path(network, index) if rule is not None else None
            if rule is None or path is None or not _may_be_padded(network, path):
                continue
            width = rule.n_outputs(layer)
            padded = width_class(width, _FINEST_DENSE if layer.kind == "Dense" else _FINEST)
            if padded > width:
                widths.append((index, width, padded))
        return cls(tuple(widths))

    def apply(self, network: Network) -> Network:
        """The padded network."""
        for index, width, padded in self.widths:
            kernel = network.layers[index].value("kernel")
            dead = np.zeros((*kernel.shape[:-1], padded - width), kernel.dtype)
            network = widen_with(network, index, dead)
            network = _with_silent_features(network, index, width)
        return network

    def undo(self, network: Network) -> Network:
        """The network without its dead units, which are the last of each padded layer."""
        for index, width, _ in self.widths:
            path = consumer_path(network, index)
            if path is None:
                raise ValueError(f"layer {index} was padded and cannot be followed any more")
            network = select_outputs(network, path, np.arange(width))
        return network


def _may_be_padded(network: Network, path: Path) -> bool:
    layers = [network.layers[index] for index in (path.producer, *(index for index, _ in path.between))]
    return all(map(_keeps_zero, layers)) and _has_harmless_options(network.layers[path.consumer])


def _keeps_zero(layer: Layer) -> bool:
    """Whether a feature that is zero everywhere stays so, and nothing is drawn at random."""
    known = layer.kind in _DETERMINISTIC or "Pooling" in layer.kind or producer_rule(layer) is not None
    silent = activation_name(layer) in _ZERO_AT_ZERO or _is_zero_at_zero(layer)
    return known and silent and _has_harmless_options(layer)


def _is_zero_at_zero(layer: Layer) -> bool:
    if layer.kind != "ReLU":
        return False
    return not layer.config.get("threshold")


def _has_harmless_options(layer: Layer) -> bool:
    """No constraint, and no penalty but the sum of squares.

    Others may tie one weight to another; that of absolute values has a slope at zero.
    """
    for key, value in layer.config.items():
        if value is None:
            continue
        if key.endswith("_constraint") or (key.endswith("_regularizer") and not _is_sum_of_squares(value)):
            return False
    return True


def _is_sum_of_squares(penalty: Any) -> bool:
    found = keras.regularizers.get(penalty)
    return type(found) is keras.regularizers.L2 or (type(found) is keras.regularizers.L1L2 and not found.l1)


def _with_silent_features(network: Network, producer: int, width: int) -> Network:
    """Layers with weights for each feature, with those that give zero, without any penalty, from `width` on."""
    path = consumer_path(network, producer)
    if path is None:
        return network
    for index, repeats in path.channelwise(network):
        layer = network.layers[index]
        silent = {"moving_variance": 1.0}
        changed = [_filled(weight, repeats, width, silent.get(weight.name, 0.0)) for weight in layer.weights]
        network = network.with_layer(index, layer.with_weights(*changed))
    return network


def _filled(weight: Weight, repeats: int, width: int, fill: float) -> Weight:
    def filled(array: Any, number: float) -> Any:
        by_position = array.reshape(*array.shape[:-1], repeats, -1).copy()
        by_position[..., width:] = number
        return by_position.reshape(array.shape)

    slots = {name: filled(slot, 0.0) for name, slot in weight.slots.items()}
    return Weight(weight.name, filled(weight.value, fill), slots)

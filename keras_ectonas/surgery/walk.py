"""The one walk that all surgery takes: from a producer over what lies between to its consumer.

Whoever changes the features a layer produces must tell every layer up to the next one that mixes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import SurgeryError
from ..network import Array, Layer, Network, Shape
from ..rules import Role, producer_rule, role_of, rule_for
from ..rules.activations import activation_name, is_nonnegative, keeps_sign

__all__ = ["Path", "consumer_path", "is_linear", "is_nonnegative_at", "multiplications", "rewired", "shapes_of"]


@dataclass(frozen=True)
class Path:
    """The way of a set of features through a network.

    Parameters
    ----------
    producer : int
        The layer that makes the features, -1 for the network's input.
    between : tuple of (int, int)
        Layers that the features pass, each with the number of positions folded into its feature axis.
    consumer : int
        The layer that mixes them.
    repeats : int
        Positions folded into the consumer's input features: more than 1 behind a ``Flatten``.
    """

    producer: int
    between: tuple[tuple[int, int], ...]
    consumer: int
    repeats: int

    def channelwise(self, network: Network) -> tuple[tuple[int, int], ...]:
        """The layers between that hold weights of their own for each feature."""
        return tuple(
            (index, repeats) for index, repeats in self.between if role_of(network.layers[index]) is Role.CHANNELWISE
        )


def shapes_of(network: Network) -> list[Shape]:
    """The shape before each layer, and behind the last one, without the batch axis."""
    shapes = [network.input_shape]
    for layer in network.layers:
        shapes.append(rule_for(layer).output_shape(layer, shapes[-1]))
    return shapes


def multiplications(network: Network) -> int:
    """In all dense layers and convolutions, forward, for one row."""
    return sum(
        layer.value("kernel").size * math.prod(size or 1 for size in shape[:-1])
        for layer, shape in zip(network.layers, shapes_of(network)[1:], strict=True)
        if producer_rule(layer) is not None
    )


def consumer_path(network: Network, producer: int) -> Path | None:
    """Follow the features of layer `producer` (-1: the input) to the layer that mixes them.

    None if there is none before the end, or if a layer on the way, or the producer's own activation,
    does not treat each feature by itself.
    """
    if producer >= 0 and not rule_for(network.layers[producer]).elementwise(network.layers[producer]):
        return None
    shapes = shapes_of(network)
    between: list[tuple[int, int]] = []
    repeats = 1
    for index in range(producer + 1, len(network.layers)):
        layer = network.layers[index]
        rule = rule_for(layer)
        if rule.role is Role.PRODUCER:
            return Path(producer, tuple(between), index, repeats)
        if rule.role is Role.WALL or not rule.elementwise(layer):
            return None
        if rule.role is Role.REINDEX:
            try:
                repeats *= rule.repeats(layer, shapes[index])
            except SurgeryError:
                return None
        between.append((index, repeats))
    return None


def rewired(network: Network, path: Path, matrix: Array) -> Network:
    """Adapt everything behind a producer to new features.

    Parameters
    ----------
    network : Network
        The producer itself is the caller's business.
    path : Path
    matrix : ndarray of shape (new features, old features)
        The old features are ``new @ matrix``. Each row may have one entry only where layers with
        weights of their own for each feature lie between.
    """
    source = np.argmax(matrix != 0, axis=1)
    layers = list(network.layers)
    new, old = matrix.shape
    for index, repeats in path.between:
        if role_of(layers[index]) is Role.REINDEX:
            layers[index] = rule_for(layers[index]).refitted_to(layers[index], repeats * new)
    for index, repeats in path.channelwise(network):
        spread = (np.arange(repeats)[:, None] * old + source).ravel()
        layers[index] = rule_for(layers[index]).take(layers[index], spread)
    consumer = producer_rule(layers[path.consumer])
    if consumer is None:
        raise SurgeryError(f"layer {path.consumer} of the network mixes no features")
    layers[path.consumer] = consumer.mix_inputs(layers[path.consumer], matrix)
    return network.with_layers(layers)


def is_nonnegative_at(network: Network, index: int) -> bool:
    """Whether nothing negative can reach layer `index`."""
    for layer in reversed(network.layers[:index]):
        role = role_of(layer)
        if role in (Role.WALL, Role.CHANNELWISE) or layer.config.get("interpolation") in _OVERSHOOTING:
            return False
        name = activation_name(layer)
        if is_nonnegative(name):
            return True
        if role is Role.PRODUCER or not keeps_sign(name) or layer.kind in _SIGN_MIXING:
            return False
    return network.nonnegative_input


def is_linear(layer: Layer) -> bool:
    """Whether a layer between producer and consumer is linear, without an offset, when not in training."""
    if role_of(layer) not in (Role.PASS_THROUGH, Role.REINDEX):
        return False
    return activation_name(layer) == "linear" and "MaxPooling" not in layer.kind


_OVERSHOOTING = frozenset({"bicubic", "lanczos3", "lanczos5"})
_SIGN_MIXING = frozenset({"GaussianNoise", "GaussianDropout", "AlphaDropout"})

"""Dropout where there was none: the same function in use, and training that learns the rows less by heart."""

from __future__ import annotations

from typing import Final

from ..network import Layer, Network
from ..rules import Role, producer_rule, role_of
from . import templates

__all__ = ["with_dropout"]

_FEWEST_INPUTS: Final = 32
"""Few features that can be missed are too few."""


def with_dropout(network: Network, rate: float) -> tuple[Network, Layer] | None:
    """The network with dropout before the first dense layer that reads many learned features, and that layer.

    None if there is no such layer, or if features are dropped before it already.

    Parameters
    ----------
    network : Network
    rate : float
        Share of the features.
    """
    for index, layer in enumerate(network.layers):
        if layer.kind == "Dense" and producer_rule(layer) is not None:
            if layer.value("kernel").shape[0] >= _FEWEST_INPUTS and _are_learned(network.layers[:index]):
                return network.with_inserted(index, [templates.dropout(network, layer, rate)]), layer
            if any("Dropout" in other.kind for other in network.layers[:index]):
                return None
    return None


def _are_learned(layers: tuple[Layer, ...]) -> bool:
    """Whether a layer with a kernel gives what the last of `layers` hands on, with nothing dropped on the way."""
    for layer in reversed(layers):
        if "Dropout" in layer.kind or role_of(layer) is Role.WALL:
            return False
        if producer_rule(layer) is not None:
            return True
    return False

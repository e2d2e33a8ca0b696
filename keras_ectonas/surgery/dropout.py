"""Dropout where there was none: the same function in use, and training that learns the rows less by heart."""

from __future__ import annotations

from typing import Final

from ..network import Layer, Network
from ..rules import producer_rule
from . import templates
from .walk import consumer_path

__all__ = ["with_dropout"]

_FEWEST_INPUTS: Final = 32
"""Few features that can be missed are too few."""


def with_dropout(network: Network, rate: float) -> tuple[Network, Layer] | None:
    """The network with dropout before the first dense layer that reads many learned features, and that layer.

    None if there is no such layer, or if features are dropped on the way to it already.

    Parameters
    ----------
    network : Network
    rate : float
        Share of the features.
    """
    for index, layer in enumerate(network.layers):
        path = consumer_path(network, index) if producer_rule(layer) is not None else None
        if path is None:
            continue
        reader = network.layers[path.consumer]
        if reader.kind == "Dense" and reader.value("kernel").shape[0] >= _FEWEST_INPUTS:
            if any("Dropout" in network.layers[between].kind for between, _ in path.between):
                return None
            return network.with_inserted(path.consumer, [templates.dropout(network, reader, rate)]), reader
    return None

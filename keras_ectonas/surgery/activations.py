"""What networks compute on some training rows: only as far as anybody asks, and once."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from ..network import Array, Layer, Network
from .inference import Foreign, outputs_along
from .walk import multiplications, shapes_of

__all__ = ["Activations"]

_NETWORKS_KEPT: Final = 3
_NUMBERS_KEPT: Final = 60_000_000
_MULTIPLICATIONS: Final = 3_000_000_000


class _Known(NamedTuple):
    network: Network
    inputs: list[Array]


class Activations:
    """Inputs of layers, kept for the networks that were asked for last.

    Parameters
    ----------
    rows : ndarray of shape (rows, ...)
        Training samples.
    foreign : callable
        Evaluates layers that have no formula.
    """

    def __init__(self, rows: Array, foreign: Foreign) -> None:
        self._rows = rows
        self._foreign = foreign
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def n_rows(self, network: Network, is_parent: bool) -> int:
        """So many that the activations of all layers fit into the memory they may take.

        A parent's are computed once for all its children; those of a network on the way to a child have to be
        computed quickly too.
        """
        shapes = shapes_of(network)
        most = _NUMBERS_KEPT // sum(math.prod(size or 1 for size in shape) for shape in shapes)
        if not is_parent:
            most = min(most, _MULTIPLICATIONS // max(1, multiplications(network)))
        return max(1, min(len(self._rows), most))

    def before(self, network: Network, index: int, is_parent: bool = True) -> Array:
        """The input of layer `index`, shape (rows, ...)."""
        if id(network) not in self._known:
            self._known[id(network)] = _Known(network, self._beginning(network, is_parent))
        self._known.move_to_end(id(network))
        while len(self._known) > _NETWORKS_KEPT:
            self._known.popitem(last=False)
        inputs = self._known[id(network)].inputs
        if index >= len(inputs):
            missing = network.layers[len(inputs) - 1 : index]
            inputs += outputs_along(missing, inputs[-1], self._foreign)[1:]
        return inputs[index]

    def _beginning(self, network: Network, is_parent: bool) -> list[Array]:
        """What a network on the way to a child shares with the one that it was made from, or the rows."""
        n_rows = self.n_rows(network, is_parent)
        for known in () if is_parent else reversed(self._known.values()):
            n_shared = _n_shared(known.network.layers, network.layers)
            # Layers without weights are alike in networks that are not kin.
            if any(layer.weights for layer in network.layers[:n_shared]):
                return [inputs[:n_rows] for inputs in known.inputs[: n_shared + 1]]
        return [np.asarray(self._rows[:n_rows], dtype=np.float32)]


def _n_shared(some: Sequence[Layer], others: Sequence[Layer]) -> int:
    """How many layers both begin with."""
    return next(
        (n for n, (own, other) in enumerate(zip(some, others, strict=False)) if own is not other),
        min(len(some), len(others)),
    )

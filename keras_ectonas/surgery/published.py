"""``surgery="paper"``: the rules as published, which look at weights alone."""

from __future__ import annotations

import numpy as np

from ..network import Network
from . import cells, depth, units
from .base import Operated, Surgery
from .positions import Pooling

__all__ = ["PublishedSurgery"]


class PublishedSurgery(Surgery):
    """Section 3.2 and appendix A of the paper."""

    def add_outputs(self, network: Network, index: int, n_added: int, rng: np.random.Generator) -> Operated:
        return Operated(units.widen_by_copies(network, index, n_added, rng))

    def remove_units(self, network: Network, index: int, n_removed: int, parent: Network | None = None) -> Operated:
        if units.required_path(network, index).channelwise(network):
            return Operated(units.narrow_by_importance(network, index, n_removed))
        return Operated(units.narrow_by_svd(network, index, n_removed))

    def remove_channels(self, network: Network, index: int, n_removed: int, parent: Network | None = None) -> Operated:
        return Operated(units.narrow_by_importance(network, index, n_removed))

    def add_dense(self, network: Network, index: int) -> Operated:
        return Operated(depth.insert_dense(network, index))

    def remove_dense(self, network: Network, index: int) -> Operated:
        return Operated(depth.remove_dense(network, index))

    def add_cell(
        self, network: Network, index: int, axes: int, pooling: Pooling | None, rng: np.random.Generator
    ) -> Operated:
        return Operated(cells.insert_cell(network, index, axes, pooling))

    def add_pooling(self, network: Network, index: int, axes: int, pooling: Pooling) -> Operated:
        return Operated(cells.insert_pooling(network, index, axes, pooling))

    def remove_cell(self, network: Network, index: int) -> Operated:
        return Operated(cells.remove_cell(network, index))

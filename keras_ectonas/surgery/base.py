"""What every kind of surgery offers: the changes that the mutations are made of, and pooling alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from ..network import Network
from .positions import Pooling

__all__ = ["Operated", "Prepared", "Surgery"]


class Operated(NamedTuple):
    """A network after an operation, and a remark if something did not go as it should."""

    network: Network
    remark: str = ""


class Prepared(NamedTuple):
    """A parent as its children are made from it, and how many of its silent units were drawn anew."""

    network: Network
    n_woken: int = 0


class Surgery(ABC):
    """One way of choosing a child's weights from its parent's.

    `index` is always the position of a layer in ``network.layers``. `parent` is the network before other layers were
    narrowed, if some were: with the very same layers otherwise, and `network` itself by default. Each method raises
    `SurgeryError` where the change is not possible.
    """

    def prepared(self, network: Network) -> Prepared:
        """A parent as its children are made from it: it computes the same, on the rows that are known."""
        return Prepared(network)

    @abstractmethod
    def add_outputs(self, network: Network, index: int, n_added: int, rng: np.random.Generator) -> Operated:
        """More units in a dense layer or channels in a convolution, without changing the function."""

    @abstractmethod
    def remove_units(self, network: Network, index: int, n_removed: int, parent: Network | None = None) -> Operated:
        """Fewer units in a dense layer."""

    @abstractmethod
    def remove_channels(self, network: Network, index: int, n_removed: int, parent: Network | None = None) -> Operated:
        """Fewer channels in a convolution."""

    @abstractmethod
    def add_dense(self, network: Network, index: int) -> Operated:
        """A new dense layer before dense layer `index`, without changing the function."""

    @abstractmethod
    def remove_dense(self, network: Network, index: int) -> Operated:
        """The network without dense layer `index`."""

    @abstractmethod
    def add_cell(
        self, network: Network, index: int, axes: int, pooling: Pooling | None, rng: np.random.Generator
    ) -> Operated:
        """A new convolutional cell over `axes` spatial axes before layer `index`."""

    @abstractmethod
    def add_pooling(self, network: Network, index: int, axes: int, pooling: Pooling) -> Operated:
        """A pooling layer alone before layer `index`."""

    @abstractmethod
    def remove_cell(self, network: Network, index: int) -> Operated:
        """The network without the cell that begins with convolution `index`."""

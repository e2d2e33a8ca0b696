"""What a network is computed by: stages, one for each layer or two, and what flows between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from . import kernels
from .kernels.layout import Array

__all__ = ["Array", "Features", "Place", "Stage"]


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

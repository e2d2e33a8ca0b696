"""What every engine offers: it trains candidates and looks into them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..lineage import TrainingJob, TrainingOutcome

__all__ = ["Engine"]


class Engine(ABC):
    """Trains candidates on the data that it holds.

    The same job gives the same outcome, whatever was trained before.
    """

    @abstractmethod
    def train(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        """Carry out `jobs`; a candidate that cannot be trained gives an outcome that says why."""

    @abstractmethod
    def close(self) -> None:
        """Free what is kept between jobs."""

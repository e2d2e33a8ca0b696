"""The budget of a search: a limit in optimizer steps, and an append-only ledger of what was charged.

Epochs are a user's unit; the ledger counts whole optimizer steps, so that fractions of an epoch add up
without rounding and the limit can be kept to the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from .errors import SearchError

__all__ = ["Charge", "Ledger"]


class Charge(NamedTuple):
    """Steps spent on one training of one candidate."""

    candidate: int
    purpose: str
    steps: int


@dataclass
class Ledger:
    """What may be spent and what was.

    Parameters
    ----------
    limit : int
        Optimizer steps that all candidates together may take.
    steps_per_epoch : int
        Minibatches in one pass over the training rows, the last partial one included.
    reserved : int
        Steps that are kept for the end.
    """

    limit: int
    steps_per_epoch: int
    charges: list[Charge] = field(default_factory=list)
    reserved: int = 0

    @classmethod
    def for_epochs(cls, epochs: float, steps_per_epoch: int, reserved_share: float = 0.0) -> Ledger:
        """A ledger for `epochs` passes over the data; a fraction of a step is not granted."""
        limit = math.floor(epochs * steps_per_epoch + 1e-9)
        return cls(limit, steps_per_epoch, reserved=math.floor(reserved_share * limit))

    @property
    def spent(self) -> int:
        """Steps charged so far."""
        return sum(charge.steps for charge in self.charges)

    @property
    def left(self) -> int:
        """Steps that may still be taken."""
        return self.limit - self.spent

    @property
    def free(self) -> int:
        """Steps that may still be taken without touching what is reserved."""
        return max(0, self.left - self.reserved)

    @property
    def epochs_spent(self) -> float:
        return self.spent / self.steps_per_epoch

    def steps_for(self, epochs: float) -> int:
        """`epochs` in whole steps; at least one step for anything above zero."""
        return max(1, round(epochs * self.steps_per_epoch)) if epochs > 0 else 0

    def charge(self, candidate: int, purpose: str, steps: int) -> None:
        """Book `steps`.

        Raises
        ------
        SearchError
            If they exceed what is left: whoever planned this broke the promise.
        """
        if steps < 0 or steps > self.left:
            raise SearchError(
                f"{steps} steps of {purpose} for candidate {candidate} do not fit into the budget: "
                f"{self.left} of {self.limit} steps are left."
            )
        self.charges.append(Charge(candidate, purpose, steps))

"""What the budget and the time leave room for.

Time counts by the pace that a search has had: a step may take longer later, so plans by it are estimates, and the
limit itself is kept by looking at the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..budget import Ledger
from ..settings import SearchSettings

__all__ = ["Outlook"]

_SAFETY: Final = 0.9


@dataclass(frozen=True)
class Outlook:
    """A search at one moment.

    Parameters
    ----------
    settings : SearchSettings
    ledger : Ledger
    elapsed : float
        Seconds since the search began, against ``max_time``.
    worked : float
        Seconds of training and surgery for the steps in the ledger.
    """

    settings: SearchSettings
    ledger: Ledger
    elapsed: float
    worked: float

    @property
    def seconds_left(self) -> float | None:
        """Of ``max_time``; None without a limit."""
        limit = self.settings.max_time
        return None if limit is None else limit - self.elapsed

    @property
    def is_over(self) -> bool:
        """Whether time is up."""
        return self.seconds_left is not None and self.seconds_left <= 0

    @property
    def seconds_to_search(self) -> float | None:
        """Of ``max_time`` without what is kept for training the best; None without a limit."""
        left = self.seconds_left
        return None if left is None else left - self.settings.kept_share * (self.settings.max_time or 0.0)

    @property
    def finish_is_due(self) -> bool:
        """Whether the time that is left is kept for training the best."""
        seconds = self.seconds_to_search
        return seconds is not None and self.settings.kept_share > 0 and seconds <= 0

    @property
    def horizon(self) -> float:
        """Epochs that the whole search may come to: the budget, or what the time has room for."""
        limit, pace = self.settings.max_time, self._pace
        if limit is None or pace is None:
            return self.settings.budget
        return min(self.settings.budget, limit / pace / self.ledger.steps_per_epoch)

    @property
    def free(self) -> int:
        """Steps that children may take, without what is kept for the end."""
        limit, pace = self.settings.max_time, self._pace
        if limit is None or pace is None:
            return self.ledger.free
        seconds = self.seconds_to_search or 0.0
        return max(0, min(self.ledger.free, int(seconds / pace)))

    @property
    def is_short_of_time(self) -> bool:
        """Whether it is the time, and not the budget, that ends the search."""
        return self.is_over or self.finish_is_due or self.free < self.ledger.free

    def last_steps(self, seconds: float, steps: int) -> int:
        """How many steps fit into all that is left, if `steps` of the kind took so many `seconds`.

        Without any, by the pace of the whole search.
        """
        pace = seconds / steps if steps and seconds > 0 else self._pace
        if self.seconds_left is None or pace is None:
            return self.ledger.left
        return max(1, min(self.ledger.left, int(_SAFETY * self.seconds_left / pace)))

    @property
    def _pace(self) -> float | None:
        """Seconds for each step so far; None before the first."""
        steps = self.ledger.spent
        return self.worked / steps if steps and self.worked > 0 else None

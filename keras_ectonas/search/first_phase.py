"""The first phase of a search: its start model is trained, and may meet another before anybody changes."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..errors import SearchError
from ..lineage import Candidate
from .limits import REMOVALS, shrunk
from .warmup import (
    further_part,
    has_room_for_another,
    leaves_room_for_another,
    most_steps,
    next_part,
    next_part_of_another,
)
from .work import Order, SearchWork

__all__ = ["FirstPhase"]

_LOGGER = logging.getLogger(__name__)


class FirstPhase(SearchWork):
    """How a search begins. Parameters and attributes are those of `SearchState`."""

    def _warm_up(self) -> None:
        """One part of the start model's training before its first changes."""
        start, outlook = self.candidates[0], self._outlook()
        n_starts = 1 if self.second_start is None or not leaves_room_for_another(outlook) else 2
        before = replace(start, records=list(start.records))
        steps = next_part(outlook, start, n_starts)
        if steps or start.score is None:
            self._train([Order(0, steps, in_all=most_steps(outlook, n_starts))], "warm-up")
            if start.status == "failed":
                self._go_on_without(start, before, n_starts)
                if self.phase == "second_start":
                    return
            self.parents, self.candidates[0].status = [0], "parent"
        # Fewer steps than asked for: a callback, the time or a failure has ended the warm-up.
        if not steps or self.candidates[0].steps < before.steps + steps:
            self.phase = "shrinking" if self._start_is_too_large else "second_start"

    def _go_on_without(self, start: Candidate, before: Candidate, n_starts: int) -> None:
        """A failed training leaves what the start was before it; if that is nothing, another start is the last hope."""
        if before.score is not None:
            self._restore(start, before)
            return
        if n_starts == 1:
            raise _cannot_be_trained(start)
        _LOGGER.warning("the start model cannot be trained: %s; a start made for the data is tried", start.remark)
        self.parents, self.phase = [0], "second_start"

    def _shrink(self) -> None:
        """A start above ``max_params`` is made smaller, now that it has learned what is worth keeping."""
        start = self.candidates[0]
        operated, description = shrunk(self.candidates.network(0), self.settings.max_params or 0, self.surgery)
        child = self._join(start, "shrink", description, operated.network)
        child.remark = operated.remark
        steps = self.ledger.steps_for(max(self.settings.recovery_epochs.get(name, 0) for name in REMOVALS))
        self._train([Order(child.id, min(steps, self.ledger.left))], "recovery")
        if child.status == "failed":
            raise SearchError(f"The start model, shrunk to max_params, cannot be trained: {child.remark}.")
        self._dismiss([self.parents], [])
        start.status, start.network = "lost", None
        self.parents, self.best, child.status = [child.id], child.id, "parent"
        self.phase = "second_start"

    def _try_second_start(self) -> None:
        """A start that nobody has trained yet is trained like the given one, and the better of both goes on.

        One part of its training; of any length that there is room for if the given one has failed.
        """
        given, outlook = self.candidates[self.parents[0]], self._outlook()
        has_failed = given.status == "failed"
        n_steps = most_steps(outlook, 2) if has_failed else given.last_step - self.start_step
        if not self.pools:
            if self.second_start is None or not (has_failed or has_room_for_another(outlook, n_steps)):
                self.phase = "mutation"
                return
            made = self.candidates.join(None, "start", "a start made for the data", self.second_start, 0, 0)
            self.pools = [[made.id]]
        own = self.candidates[self.pools[0][0]]
        before, steps = replace(own, records=list(own.records)), next_part_of_another(outlook, own, n_steps)
        self._train([Order(own.id, steps, in_all=n_steps)], "second start")
        # Fewer steps than asked for: a callback, the time or a failure has ended it.
        goes_on = own.status != "failed" and own.steps == before.steps + steps
        if own.status == "failed" and before.score is not None:
            self._restore(own, before)
        elif has_failed and own.status == "failed":
            raise _cannot_be_trained(given)
        elif has_failed:
            own.status, self.best = "parent", own.id
        if not goes_on or not next_part_of_another(self._outlook(), own, n_steps):
            self._choose_start(given.id, own.id)

    def _restore(self, failed: Candidate, before: Candidate) -> None:
        """A start goes on from where it could be trained."""
        before.seconds, before.remark = failed.seconds, f"in its warm-up: {failed.remark}"
        self.candidates[failed.id] = before

    def _choose_start(self, given: int, made: int) -> None:
        (winner,) = self._leaders([given, made], 1, self.settings.greediness)
        if winner == made and self._judge.leads_by_luck(self.candidates[made], self.candidates[given]):
            winner = given  # Where no loss decides, the model that somebody chose goes on.
        self._have_met(given, made, winner)
        for loser in {given, made} - {winner}:
            if self.candidates[loser].status != "failed":
                self.candidates[loser].status = "lost"
            self.candidates[loser].network = None
        self.candidates[winner].status = "parent"
        self.parents, self.best, self.pools, self.phase = [winner], winner, [], "settling"

    def _settle(self) -> None:
        """One more part of training for the better of two starts, where there is no room for children."""
        start, outlook = self.candidates[self.parents[0]], self._outlook()
        before, steps = replace(start, records=list(start.records)), further_part(outlook, start)
        if steps:
            self._train([Order(start.id, steps, in_all=start.steps + outlook.free)], "warm-up")
            if start.status == "failed":
                self._restore(start, before)
        # Fewer steps than asked for: a callback, the time or a failure has ended it.
        if not steps or self.candidates[start.id].steps < before.steps + steps:
            self.phase = "mutation"


def _cannot_be_trained(start: Candidate) -> SearchError:
    advice = " A lower learning rate, or scaled inputs, may help." if "loss became" in start.remark else ""
    return SearchError(f"The start model cannot be trained: {start.remark}.{advice}")

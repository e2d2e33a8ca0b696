"""The first phase of a search: its start model is trained, and may meet another before anybody changes."""

from __future__ import annotations

from dataclasses import replace

from .errors import SearchError
from .limits import REMOVALS, shrunk
from .search_work import Order, SearchWork
from .warmup import has_room_for_another, most_steps, next_part, steps_of_another

__all__ = ["FirstPhase"]


class FirstPhase(SearchWork):
    """How a search begins. Parameters and attributes are those of `SearchState`."""

    @property
    def _n_starts(self) -> int:
        return 1 if self.second_start is None else 2

    def _warm_up(self) -> None:
        """One part of the start model's training before its first changes."""
        start, outlook = self.candidates[0], self._outlook()
        before = replace(start, records=list(start.records))
        steps = next_part(outlook, start, self._n_starts)
        if steps or start.score is None:
            self._train([Order(0, steps, in_all=most_steps(outlook, self._n_starts))], "warm-up")
            if start.status == "failed":
                if before.score is None:
                    advice = (
                        " A lower learning rate, or scaled inputs, may help." if "loss became" in start.remark else ""
                    )
                    raise SearchError(f"The start model cannot be trained: {start.remark}.{advice}")
                # It goes on from where it could be trained.
                before.seconds, before.remark = start.seconds, f"in its warm-up: {start.remark}"
                self.candidates[0] = before
            self.parents, self.candidates[0].status = [0], "parent"
        # Fewer steps than asked for: a callback, the time or a failure has ended the warm-up.
        if not steps or self.candidates[0].steps < before.steps + steps:
            self.phase = "shrinking" if self._start_is_too_large else "second_start"

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
        """A start that nobody has trained yet is trained like the given one, and the better of both goes on."""
        given, outlook = self.candidates[self.parents[0]], self._outlook()
        n_steps = given.last_step - self.start_step
        if not self.pools:
            if self.second_start is None or not has_room_for_another(outlook, n_steps):
                self.phase = "mutation"
                return
            made = self.candidates.join(None, "start", "a start made for the data", self.second_start, 0, 0)
            self.pools = [[made.id]]
        own = self.candidates[self.pools[0][0]]
        steps_before, steps = own.steps, steps_of_another(outlook, own, n_steps)
        self._train([Order(own.id, steps, in_all=n_steps)], "second start")
        # Fewer steps than asked for: a callback, the time or a failure has ended it.
        goes_on = own.status != "failed" and own.steps == steps_before + steps
        if not goes_on or not steps_of_another(self._outlook(), own, n_steps):
            self._choose_start(given.id, own.id)

    def _choose_start(self, given: int, made: int) -> None:
        (winner,) = self._leaders([given, made], 1, self.settings.greediness)
        self._have_met(given, made, winner)
        for loser in {given, made} - {winner}:
            if self.candidates[loser].status != "failed":
                self.candidates[loser].status = "lost"
            self.candidates[loser].network = None
        self.candidates[winner].status = "parent"
        self.parents, self.best, self.pools, self.phase = [winner], winner, [], "mutation"

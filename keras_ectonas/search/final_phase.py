"""The last phase of a search: what is left of the budget goes to the best candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..lineage import Candidate, ancestry
from ..network import Layer, Network
from ..surgery import with_dropout
from .final_training import learns_by_heart, n_parts, shorter_trainings, steps_left
from .work import Order, SearchWork

__all__ = ["FinalPhase"]


class FinalPhase(SearchWork):
    """The final trainings, and how a search ends. Parameters and attributes are those of `SearchState`."""

    def _train_the_best(self) -> None:
        """What is left of the budget is too little for a generation: the best so far receives it.

        One training, or part of the long one that takes all that is left. Shorter ones may come before that, and the
        best counts. Where they have learned their rows by heart, the long one is with dropout.
        """
        best = self.candidates[self.best]
        if not self.pools:
            if not self._can_train(best):
                self._end_of_budget()
                return
            self.pools, self.parts, self.rate = [[]], 0, 1.0
            for_a_look = self._dropped(best) is not None
            self.shorter = shorter_trainings(self._outlook(), ancestry(self.candidates, best.id), for_a_look)
        if self.shorter:
            end = self._join_final(best, "trained with some of the rest of the budget")
            self._train([Order(end.id, self.shorter.pop(0))], "final training", rates=(1.0, 0.0))
            return
        if not self.parts:
            self._begin_long_training(best)
        self._train_to_the_end(self.candidates[self.pools[0][-1]])
        if not self.parts:
            self._end_of_budget()

    def _can_train(self, best: Candidate) -> bool:
        return self.ledger.left > 0 and self.settings.final_selection == "archive" and best.network is not None

    def _dropped(self, best: Candidate) -> tuple[Network, Layer] | None:
        """The best with dropout, and the layer behind it; None if there is no place or rate for it."""
        rate = self.settings.final_dropout
        return with_dropout(self.candidates.network(best.id), rate) if rate else None

    def _join_final(self, best: Candidate, text: str, network: Network | None = None) -> Candidate:
        end = self._join(best, "identity", text, network or self.candidates.network(best.id))
        self.pools[0].append(end.id)
        return end

    def _begin_long_training(self, best: Candidate) -> None:
        network, text = None, "trained with the rest of the budget"
        epoch, ends = self.ledger.steps_per_epoch, [self.candidates[number] for number in self.pools[0]]
        dropped = self._dropped(best)
        if dropped is not None and any(learns_by_heart(end, epoch, self.loss_ratio) for end in ends):
            network, text = dropped[0], f"dropout of {self.settings.final_dropout:g} before {dropped[1].name}; {text}"
        self._join_final(best, text, network)
        steps = steps_left(self._outlook(), ancestry(self.candidates, best.id))
        self.parts = n_parts(self._outlook(), steps) if self.in_parts else 1

    def _train_to_the_end(self, last: Candidate) -> None:
        """The next part, of whole epochs but for the last one, in which the learning rate falls to zero."""
        before, line = replace(last, records=list(last.records)), ancestry(self.candidates, last.id)
        left, epoch = steps_left(self._outlook(), line[-1:] if last.steps else line[:-1]), self.ledger.steps_per_epoch
        steps = left if self.parts == 1 else min(left, max(1, round(left / self.parts / epoch)) * epoch)
        falls_to = self.rate * (1 - 1 / self.parts)
        order = Order(last.id, steps, in_all=last.steps + left)
        self._train([order], "final training", rates=(self.rate, falls_to))
        if last.status == "failed" and before.score is not None:
            # What it had come to may still win.
            before.seconds, before.remark = last.seconds, f"in its final training: {last.remark}"
            self.candidates[last.id] = before
        # Fewer steps than asked for: a callback, the time or a failure has ended it.
        is_over = self.candidates[last.id].steps < before.steps + steps or not self.ledger.left
        self.parts, self.rate = 0 if is_over else self.parts - 1, falls_to

    def _end_of_budget(self) -> None:
        is_late = self._is_late or self._outlook().is_short_of_time
        self._end("max_time" if self.ledger.left > 0 and is_late else "budget")

    def _end(self, reason: str) -> None:
        if self.phase == "final" and self.pools:
            self._choose_from(self.pools[0], may_go_on=reason in ("interrupted", "callback"))
        self.ended_by, self.ended_in = reason, self.phase
        self.phase = "done"

    def _choose_from(self, ends: Sequence[int], may_go_on: bool) -> None:
        """The best final training counts, if it keeps up with the network that it began with.

        Parameters
        ----------
        ends : sequence of int
        may_go_on : bool
            Whether they may be continued: then all keep their weights.
        """
        best = self.candidates[self.best]
        winners = self._leaders(ends, 1, greediness=1.0)
        if not winners or not self._judge.holds_its_own(self.candidates[winners[0]], best):
            winners = []
        for winner in winners:
            self.candidates[winner].status, self.best = "parent", winner
        if may_go_on:
            return
        self._dismiss([ends], winners)
        if winners:
            best.network = None

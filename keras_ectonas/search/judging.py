"""Whom matches and the final selection prefer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..fitness import Objective
from ..lineage import Candidate, ancestry
from ..settings import SearchSettings

__all__ = ["Judge"]


class _Preference(NamedTuple):
    """More is better; a later part decides between those who are equal in the parts before."""

    is_good_enough: bool
    fitness: float
    second: float


@dataclass(frozen=True)
class Judge:
    """Compares candidates by equation (2), and knows what may be luck.

    Where an accuracy alone counts, the loss on the validation rows decides between candidates that luck could have set
    apart: it weighs how right or wrong each answer is.

    Parameters
    ----------
    settings : SearchSettings
    objective : Objective
    tolerance : float
        Differences in score, as shares, that may be luck.
    rng : numpy.random.Generator
        For ``selection="random"``.
    is_penalised : bool
        Whether the loss holds penalties on weights or activities. It then says little about the answers, and decides
        nothing.
    """

    settings: SearchSettings
    objective: Objective
    tolerance: float
    rng: np.random.Generator
    is_penalised: bool = False

    def leaders(
        self, candidates: Sequence[Candidate], pool: Sequence[int], n_winners: int, greediness: float
    ) -> list[int]:
        """The best `n_winners` of a pool, or of a match, who have not failed, best first."""
        top = self._best_score(candidates)
        preferences = {
            number: self._in_match(candidates[number], candidates, greediness, top)
            for number in pool
            if candidates[number].status != "failed"
        }
        left = sorted(preferences, key=preferences.__getitem__, reverse=True)
        winners: list[int] = []
        while left and len(winners) < n_winners:
            close = left[:1]
            if greediness == 1 and self._loss_may_decide:
                fitness = preferences[left[0]].fitness
                close = [number for number in left if preferences[number].fitness >= fitness - self.tolerance]
            winners.append(min(close, key=lambda number: candidates[number].val_loss))
            left.remove(winners[-1])
        return winners

    def choice(self, candidates: Sequence[Candidate], best: int, parents: Sequence[int]) -> int:
        """Whom the search would end with: one of the new parents or, unless as published, the best so far.

        Where the loss may decide, it does among those whom luck could have set below the best score ever seen; as long
        as nobody is, the score does.
        """
        if self.settings.selection == "random":
            return parents[0]
        rivals = [best, *parents] if self.settings.final_selection == "archive" else list(parents)
        top = self._best_score(candidates)
        if self.settings.greediness == 1 and self._loss_may_decide:
            close = [number for number in rivals if self._may_be_as_good(candidates[number].score, top)]
            if close:
                return min(close, key=lambda number: candidates[number].val_loss)
        return max(rivals, key=lambda number: self._in_the_end(candidates[number], candidates, best, top))

    def leads_by_luck(self, own: Candidate, other: Candidate) -> bool:
        """Whether luck could have set a score above another, where no loss decides between the two."""
        by_score = self.settings.selection == "fitness" and self.settings.greediness == 1 and not self._loss_may_decide
        return by_score and self._may_be_as_good(other.score, own.score)

    def holds_its_own(self, own: Candidate, best: Candidate) -> bool:
        """Whether the final training keeps up with the network that it began with.

        That was chosen among many, and so its score is partly luck: one that is no better will do if it is not lower by
        more than the tolerance and, where the loss may decide, the loss is no larger.
        """
        if best.score is None or self.objective.gain(own.score, best.score) > 0:
            return True
        if self._loss_may_decide and own.val_loss > best.val_loss:
            return False
        return self._may_be_as_good(own.score, best.score)

    def _may_be_as_good(self, score: float | None, reference: float | None) -> bool:
        """Whether luck could have put the score where it is below the reference."""
        return self.objective.gain(score, reference) >= -self.tolerance

    @property
    def _loss_may_decide(self) -> bool:
        """Any other score may well be asked for because the loss says little about it."""
        is_telling = self.objective.is_accuracy and not self.is_penalised
        return is_telling and self.tolerance > 0 and self.settings.selection == "fitness"

    def _best_score(self, candidates: Sequence[Candidate]) -> float | None:
        """The best score of those who may win, whether they did or not; None if nobody has been scored."""
        scores = [
            own.score
            for own in candidates
            if own.score is not None and own.status != "failed" and not self.settings.is_too_large(own.n_params)
        ]
        return max(scores, key=self.objective.goodness, default=None)

    def _in_match(
        self, own: Candidate, candidates: Sequence[Candidate], greediness: float, top: float | None
    ) -> _Preference:
        """Fitness in relation to the parent, then the smaller size."""
        if self.settings.selection == "random":
            return _Preference(True, float(self.rng.random()), 0.0)
        parent = candidates[own.parent or 0]
        fitness = self.objective.fitness(own.score, own.n_params, parent.score, parent.n_params, greediness)
        return self._if_good_enough(own, greediness, top, fitness - self._handicap(own, parent), -own.n_params)

    def _in_the_end(self, own: Candidate, candidates: Sequence[Candidate], best: int, top: float | None) -> _Preference:
        """Fitness in relation to the start of its lineage, then the score."""
        start, greediness = ancestry(candidates, own.id)[0], self.settings.greediness
        fitness = self.objective.fitness(own.score, own.n_params, start.score, start.n_params, greediness)
        fitness -= self._handicap(own, candidates[best])
        return self._if_good_enough(own, greediness, top, fitness, self.objective.goodness(own.score))

    def _if_good_enough(
        self, own: Candidate, greediness: float, top: float | None, fitness: float, second: float
    ) -> _Preference:
        """The preference; whose score has dropped too far is behind all others, and there the score decides.

        Step by step, equation (2) would exchange the whole score for a small network.
        """
        most = self.settings.max_drop
        if greediness == 1 or most is None or self.objective.gain(own.score, top) >= -most:
            return _Preference(True, fitness, second)
        return _Preference(False, self.objective.goodness(own.score), second)

    def _handicap(self, own: Candidate, reference: Candidate) -> float:
        """By how much a candidate has to be better than one that is larger, where size does not count.

        It cannot learn more than the larger one could, and step by step luck alone would make networks small.
        """
        if self.settings.greediness < 1 or own.n_params >= reference.n_params:
            return 0.0
        return self.tolerance / 2 * (abs(own.score or 0.0) if self.objective.relative else 1.0)

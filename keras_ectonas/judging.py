"""Whom matches and the final selection prefer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .fitness import Objective
from .lineage import Candidate
from .settings import SearchSettings

__all__ = ["Judge"]


@dataclass(frozen=True)
class Judge:
    """Compares candidates by equation (2), and knows what may be luck.

    Parameters
    ----------
    settings : SearchSettings
    objective : Objective
    tolerance : float
        Differences in score, as shares, that may be luck.
    rng : numpy.random.Generator
        For ``selection="random"``.
    """

    settings: SearchSettings
    objective: Objective
    tolerance: float
    rng: np.random.Generator

    def preference(
        self, own: Candidate, parent: Candidate, greediness: float, top: float | None
    ) -> tuple[float, float, float]:
        """What matches are decided by, larger is better: fitness, then the smaller size.

        Parameters
        ----------
        own, parent : Candidate
        greediness : float
        top : float or None
            The best score seen so far.
        """
        if self.settings.selection == "random":
            return 0.0, float(self.rng.random()), 0.0
        fitness = self.objective.fitness(own.score, own.n_params, parent.score, parent.n_params, greediness)
        return self._if_good_enough(own, greediness, top, fitness - self._handicap(own, parent), -own.n_params)

    def final_preference(
        self, own: Candidate, start: Candidate, best: Candidate, top: float | None
    ) -> tuple[float, float, float]:
        """What decides whether a candidate takes the place of the best so far: fitness, then the score."""
        fitness = self._final_fitness(own, start) - self._handicap(own, best)
        return self._if_good_enough(own, self.settings.greediness, top, fitness, self.objective.goodness(own.score))

    def best_score(self, candidates: Iterable[Candidate]) -> float | None:
        """The best among their scores; None if nobody has been scored."""
        scores = [own.score for own in candidates if own.score is not None and own.status != "failed"]
        return max(scores, key=self.objective.goodness, default=None)

    def holds_its_own(self, own: Candidate, best: Candidate) -> bool:
        """Whether the final training, of the same network, keeps up with the best score so far.

        That is the largest of many, and so partly luck: a difference within the tolerance does not count.
        """
        return best.score is None or self.objective.gain(own.score, best.score) >= -self.tolerance

    def _final_fitness(self, own: Candidate, start: Candidate) -> float:
        greediness = self.settings.greediness
        return self.objective.fitness(own.score, own.n_params, start.score, start.n_params, greediness)

    def _if_good_enough(
        self, own: Candidate, greediness: float, top: float | None, fitness: float, second: float
    ) -> tuple[float, float, float]:
        """The preference; whose score has dropped too far is behind all others, and there the score decides.

        Step by step, equation (2) would exchange the whole score for a small network.
        """
        most = self.settings.max_drop
        if greediness == 1 or most is None or self.objective.gain(own.score, top) >= -most:
            return 1.0, fitness, second
        return 0.0, self.objective.goodness(own.score), second

    def _handicap(self, own: Candidate, reference: Candidate) -> float:
        """By how much a candidate has to be better than one that is larger, where size does not count.

        It cannot learn more than the larger one could, and step by step luck alone would make networks small.
        """
        if self.settings.greediness < 1 or own.n_params >= reference.n_params:
            return 0.0
        return self.tolerance / 2 * (abs(own.score or 0.0) if self.objective.relative else 1.0)

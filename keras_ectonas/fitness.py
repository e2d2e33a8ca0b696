"""What makes one candidate better than another: equation (2) of the paper, for scores of either direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """How scores are to be read.

    Parameters
    ----------
    name : str
        Of the score, for people.
    higher_is_better : bool
    relative : bool
        Whether a gain counts in relation to the parent's score. It must for losses and errors, whose unit is
        arbitrary; an accuracy is a share already.
    is_accuracy : bool
        Whether it counts right answers. On few rows that is a matter of luck, and the loss tells more.
    """

    name: str
    higher_is_better: bool = True
    relative: bool = False
    is_accuracy: bool = False

    def goodness(self, score: float | None) -> float:
        """The score, turned so that more is better; what could not be scored is worst."""
        if score is None or math.isnan(score):
            return -math.inf
        return score if self.higher_is_better else -score

    def gain(self, score: float | None, reference: float | None) -> float:
        """How much better `score` is than `reference`, as a share."""
        difference = self.goodness(score) - self.goodness(reference)
        if math.isnan(difference):
            return -math.inf
        if self.relative and reference is not None:
            return difference / max(abs(reference), 1e-12)
        return difference

    def fitness(
        self,
        score: float | None,
        n_params: int,
        reference_score: float | None,
        reference_n_params: int,
        greediness: float,
    ) -> float:
        """Equation (2): the score itself, or score against size, both in relation to a reference.

        Parameters
        ----------
        score, n_params
            Of the candidate.
        reference_score, reference_n_params
            Of its parent; of the start model in the final selection.
        greediness : float
            ``alpha`` in ``alpha * gain - (1 - alpha) * share_of_parameters``.
        """
        if greediness == 1:
            return self.goodness(score)
        if self.goodness(score) == -math.inf:
            return -math.inf
        size = n_params / max(reference_n_params, 1)
        if greediness == 0:
            return -size
        return greediness * self.gain(score, reference_score) - (1 - greediness) * size

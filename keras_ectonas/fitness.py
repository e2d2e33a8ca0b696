"""What makes one candidate better than another: equation (2) of the paper, for scores of either direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Objective", "room_to_learn"]

_OVERFITTED = 0.3


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
    """

    name: str
    higher_is_better: bool = True
    relative: bool = False

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


def room_to_learn(logs: Mapping[str, float]) -> float:
    """Whether more size would help a candidate: 1 where it underfits, 0 in between, -1 where it overfits.

    A few epochs after a change a larger network is hardly better than its parent yet; it has more to gain as long as
    the loss on its training rows is close to that on the validation rows.

    Parameters
    ----------
    logs : mapping of str to float
        What Keras reported last; without ``loss`` and ``val_loss`` nothing is known, which is 0.
    """
    loss, held_out = logs.get("loss"), logs.get("val_loss")
    if loss is None or held_out is None or held_out <= 0:
        return 0.0
    return min(1.0, max(-1.0, 1.0 - (held_out - loss) / held_out / _OVERFITTED))

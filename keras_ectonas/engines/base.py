"""What every engine offers: it trains candidates and looks into them."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..bridge import Blueprint
from ..inputs.data import TrainingData
from ..inputs.task import Task
from ..lineage import EpochRecord, TrainingJob, TrainingOutcome
from ..network import Array
from ..scoring import Scoring

__all__ = [
    "Assignment",
    "Deadline",
    "DivergedError",
    "Engine",
    "left_out",
    "portions",
    "row_order",
]


class DivergedError(Exception):
    """A candidate's loss or score is no number any more."""


@dataclass
class Deadline:
    """When to stop.

    Parameters
    ----------
    at : float or None
        By ``time.time``, which other processes and machines share, in seconds; None is never.
    """

    at: float | None = None

    def is_over(self) -> bool:
        return self.at is not None and time.time() >= self.at

    def seconds_left(self) -> float | None:
        """Not below zero; None if there is no end."""
        return None if self.at is None else max(0.0, self.at - time.time())

    def set_from_now(self, seconds: float | None) -> None:
        self.at = None if seconds is None else time.time() + seconds

    def leaves_out(self, job: TrainingJob) -> bool:
        """Whether a job is not to be begun any more."""
        return self.is_over() and not job.is_needed


@dataclass(frozen=True)
class Assignment:
    """What an engine works on, the same for all candidates of a search.

    Parameters
    ----------
    blueprint : Blueprint
    data : TrainingData
    scoring : Scoring
    task : Task
    callbacks : sequence of keras.callbacks.Callback
        Copied for each training.
    deadline : Deadline
        Looked at after each epoch; when it is over, the training ends there.
    """

    blueprint: Blueprint
    data: TrainingData
    scoring: Scoring
    task: Task
    callbacks: Sequence[Any] = ()
    deadline: Deadline = field(default_factory=lambda: Deadline())

    def record(self, step: int, logs: Mapping[str, float], outputs: Callable[[], Array]) -> EpochRecord:
        """Score a candidate.

        Parameters
        ----------
        step : int
            Optimizer steps along its lineage.
        logs : mapping of str to float
            Losses and metrics, those of the validation rows with the prefix ``val_``.
        outputs : callable
            Gives its outputs for the validation rows.

        Raises
        ------
        DivergedError
        """
        # A metric may have a value for each class.
        plain = {name: float(np.mean(value)) for name, value in logs.items()}
        for name in ("loss", "val_loss"):
            if not math.isfinite(plain.get(name, 0.0)):
                raise DivergedError(f"{name} became {plain[name]}")
        held_out = self.data.validation
        score = self.scoring.score(plain, outputs, self.task, held_out.labels, held_out.weights)
        if not math.isfinite(score):
            raise DivergedError(f"the score is {score}: there may be too few rows of a kind to score on")
        return EpochRecord(step, score, plain)


class Engine(ABC):
    """Trains candidates on the data that it holds.

    The same job gives the same outcome, whatever was trained before.
    """

    @abstractmethod
    def train(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        """Carry out `jobs`; a candidate that cannot be trained gives an outcome that says why.

        When time is up, a job that is under way ends with its epoch. Those that are not needed and have not begun are
        left out: their outcome has no steps and no records.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what is kept between jobs."""


def left_out(job: TrainingJob) -> TrainingOutcome:
    """The outcome of a job for which there was no time."""
    return TrainingOutcome(job.network, (), 0, 0.0)


def portions(steps: int, steps_per_epoch: int) -> list[tuple[int, int]]:
    """Whole epochs, then what is left of one: (steps an epoch, epochs)."""
    whole, rest = divmod(steps, steps_per_epoch)
    found = [(steps_per_epoch, whole)] if whole else []
    return [*found, (rest, 1)] if rest else found


def row_order(n_rows: int, batch_size: int, seed: int, epoch: int) -> Array:
    """The order of the rows in one epoch of a job: the same in every engine.

    All minibatches are of one size, so that backends compile one program: the last one is filled up with rows from
    the epoch's beginning.
    """
    order = np.random.default_rng([seed, epoch]).permutation(n_rows)
    missing = -n_rows % batch_size if n_rows > batch_size else 0
    return np.concatenate([order, order[:missing]])

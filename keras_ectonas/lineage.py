"""Candidates and their records: who descends from whom, by which change, and how each one did.

Plain data. Failure is data too: a candidate that diverged is recorded like one that won.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from .network import Network
from .tables import Table

__all__ = [
    "Candidate",
    "EpochRecord",
    "Lineage",
    "LineageEntry",
    "Match",
    "Refusal",
    "TrainingJob",
    "TrainingOutcome",
    "ancestry",
]

Status = Literal["competing", "lost", "failed", "parent"]


@dataclass(frozen=True)
class EpochRecord:
    """One look at a candidate: after an epoch, or after the part of one that was granted.

    Parameters
    ----------
    step : int
        Optimizer steps along the whole lineage.
    score : float
        On the validation rows, as the scoring gives it.
    logs : mapping of str to float
        What Keras reports: loss and metrics, those of the validation rows with the prefix ``val_``.
    """

    step: int
    score: float
    logs: Mapping[str, float]

    @property
    def val_loss(self) -> float:
        """On the validation rows."""
        return self.logs["val_loss"]


@dataclass(frozen=True)
class TrainingJob:
    """An order to train one candidate.

    Parameters
    ----------
    candidate : int
    network : Network
    first_step : int
        Optimizer steps its lineage has had.
    steps : int
        Steps to take; 0 asks for a score alone.
    seed : int
        For the order of the rows and for dropout.
    rates : (float, float)
        Shares of the optimizer's learning rate, at the first step and behind the last; linear between.
    steps_before : int
        Optimizer steps that the candidate itself has had.
    is_needed : bool
        Whether it is trained for an epoch even if time is up. Others are then left as they are.
    steps_in_all : int
        Of this job and of those that may follow it with the same layers, at most; 0 if none will.
    """

    candidate: int
    network: Network
    first_step: int
    steps: int
    seed: int
    steps_before: int = 0
    rates: tuple[float, float] = (1.0, 1.0)
    is_needed: bool = False
    steps_in_all: int = 0

    @property
    def is_annealed(self) -> bool:
        return self.rates != (1.0, 1.0)

    def rate(self, step: int) -> float:
        """Share of the learning rate at `step` of this job, from 0."""
        first, last = self.rates
        return first + (last - first) * step / max(self.steps, 1)


@dataclass(frozen=True)
class TrainingOutcome:
    """What came of a job.

    Parameters
    ----------
    network : Network
        With its new weights; as it was if the training failed.
    records : tuple of EpochRecord
    steps : int
        Steps really taken, and to be charged.
    seconds : float
    failure : str
        Why the candidate cannot go on; empty if it can.
    """

    network: Network
    records: tuple[EpochRecord, ...]
    steps: int
    seconds: float
    failure: str = ""

    @property
    def is_left_out(self) -> bool:
        """Whether there was no time for the job."""
        return not self.steps and not self.records and not self.failure


@dataclass
class Candidate:
    """One network of the search, from its making to its last match.

    Parameters
    ----------
    id : int
    parent : int or None
        The start model has none.
    generation : int
        0 for the start model.
    mutation : str
    description : str
        The change in plain words.
    n_params : int
    step : int
        Optimizer steps along the lineage when it was made.
    network : Network or None
        Dropped when it has lost.
    records : list of EpochRecord
        Its own; its parent's come before them.
    score : float or None
        Of its last match.
    seconds : float
        Spent on training it.
    remark : str
        What did not go as it should, if anything.
    """

    id: int
    parent: int | None
    generation: int
    mutation: str
    description: str
    n_params: int
    step: int
    network: Network | None
    architecture: str = ""
    records: list[EpochRecord] = field(default_factory=list)
    score: float | None = None
    status: Status = "competing"
    steps: int = 0
    seconds: float = 0.0
    remark: str = ""

    @property
    def last_step(self) -> int:
        """Optimizer steps along the lineage, its own included."""
        return self.step + self.steps

    @property
    def val_loss(self) -> float:
        """On the validation rows when they were last looked at; infinite before."""
        return self.records[-1].val_loss if self.records else math.inf

    def job_seed(self, search_seed: int) -> int:
        """From the search's seed, the candidate and its progress alone: no order of work can change it."""
        sequence = np.random.SeedSequence([search_seed, self.id, self.last_step])
        return int(sequence.generate_state(1)[0])

    def book(self, outcome: TrainingOutcome, rolling_epochs: int) -> None:
        """What a training has made of it; the score is a mean over so many last epochs of that training.

        Where the last one was looked at twice, with other weights put in its place, these alone count.
        """
        self.steps += outcome.steps
        self.seconds += outcome.seconds
        self.records.extend(outcome.records)
        if outcome.failure:
            self.status = "failed"
            self.remark = outcome.failure
            self.network = None
            return
        self.network = outcome.network
        if outcome.records:
            last = outcome.records[-rolling_epochs:]
            if len(last) > 1 and last[-1].step == last[-2].step:
                last = last[-1:]
            self.score = sum(record.score for record in last) / len(last)


@dataclass(frozen=True)
class Refusal:
    """A child that was not even made, or not let in."""

    generation: int
    parent: int
    mutation: str
    description: str
    reason: str


@dataclass(frozen=True)
class Match:
    """Two candidates met.

    Parameters
    ----------
    generation : int
    phase : str
    first, second : int
    winner : int or None
        None if both failed.
    """

    generation: int
    phase: str
    first: int
    second: int
    winner: int | None


@dataclass(frozen=True)
class LineageEntry:
    """One step on the way from the start model to the winner.

    Parameters
    ----------
    generation : int
    candidate : int
    mutation : str
    description : str
    epoch : float
        Epochs the lineage had been trained for when the change was made.
    score : float or None
        Its last score.
    n_params : int
    """

    generation: int
    candidate: int
    mutation: str
    description: str
    epoch: float
    score: float | None
    n_params: int

    def __str__(self) -> str:
        score = "not scored" if self.score is None else f"score {self.score:.4f}"
        return (
            f"generation {self.generation:2d}  epoch {self.epoch:6.1f}  {score}  "
            f"{self.n_params:9,d} parameters  {self.description}"
        )

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


class Lineage(list[LineageEntry]):
    """The changes from the start model to the winner: a list that prints a line for each and makes frames."""

    def table(self) -> Table:
        """As columns."""
        names = [entry_field.name for entry_field in fields(LineageEntry)]
        return Table({name: [getattr(entry, name) for entry in self] for name in names})

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``."""
        return self.table().to_pandas()

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``."""
        return self.table().to_polars()

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "[]"


def ancestry(candidates: Sequence[Candidate], last: int) -> list[Candidate]:
    """The candidates from the start model down to candidate `last`."""
    line = [candidates[last]]
    while line[-1].parent is not None:
        line.append(candidates[line[-1].parent])
    return line[::-1]

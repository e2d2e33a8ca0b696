"""What every phase of a search does: candidates join, are trained, and are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..lineage import Candidate, Match, TrainingJob, TrainingOutcome
from ..network import Network
from .front import FrontMember, extended_front
from .judging import Judge
from .outlook import Outlook
from .state import SearchState

__all__ = ["Order", "SearchWork"]

_SEARCHING: Final = ("warmup", "second_start", "settling", "mutation", "within_mutations", "between_mutations")
"""Phases that the time kept for the end is no part of."""


class Order(NamedTuple):
    """Training of one candidate: first so many steps of recovery from its operation, then others.

    It may be a part of more, of `in_all` steps at most.
    """

    candidate: int
    steps: int
    recovery: int = 0
    in_all: int = 0


class SearchWork(SearchState):
    """A search's tools. Parameters and attributes are those of `SearchState`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._judge = Judge(
            self.settings, self.objective, self.tolerance, self.rng, is_penalised=self.start.is_penalised
        )
        self._is_late = False

    def seconds_to_train(self) -> float | None:
        """How long a training that begins now may take by the time limit; some of that is kept for the last phase."""
        outlook = self._outlook()
        return outlook.seconds_to_search if self._is_searching else outlook.seconds_left

    @property
    def _is_searching(self) -> bool:
        return self.phase in _SEARCHING

    @property
    def _is_beginning(self) -> bool:
        """Whether there is nothing yet that the search could end with."""
        if self.candidates[self.best].score is None:
            return self.phase in ("warmup", "shrinking", "second_start")
        return self.phase in ("warmup", "shrinking") and self._start_is_too_large

    @property
    def _start_is_too_large(self) -> bool:
        return self.settings.is_too_large(self.start.n_params)

    def _outlook(self) -> Outlook:
        worked = self.seconds.get("training", 0.0) + self.seconds.get("surgery", 0.0)
        return Outlook(self.settings, self.ledger, self.elapsed, worked)

    def _join(self, parent: Candidate, mutation: str, description: str, network: Network) -> Candidate:
        return self.candidates.join(parent, mutation, description, network, self.generation, parent.last_step)

    def _leaders(self, pool: Sequence[int], n_winners: int, greediness: float) -> list[int]:
        return self._judge.leaders(self.candidates, pool, n_winners, greediness)

    def _dismiss(self, pools: Sequence[Sequence[int]], kept: Sequence[int]) -> None:
        self.candidates.dismiss(pools, kept, self.best)

    def _have_met(self, first: int, second: int, winner: int | None) -> None:
        """Write a match down, and tell those who follow the search."""
        self.matches.append(Match(self.generation, self.phase, first, second, winner))
        players = self.candidates[first], self.candidates[second]
        for callback in self.callbacks:
            callback.on_match_end(self, players, None if winner is None else self.candidates[winner])

    def _train(self, orders: Sequence[Order], purpose: str, rates: tuple[float, float] = (1.0, 1.0)) -> None:
        """Train candidates, and book it."""
        jobs = [self._job(order, rates) for order in orders]
        began = self.clock()
        outcomes = self.train(jobs)
        self._spend("training", began)
        self._is_late = bool(outcomes) and all(outcome.is_left_out for outcome in outcomes)
        for order, outcome in zip(orders, outcomes, strict=True):
            recovered = min(outcome.steps, order.recovery)
            if recovered:
                self.ledger.charge(order.candidate, "recovery", recovered)
            self.ledger.charge(order.candidate, purpose, outcome.steps - recovered)
            self._book(self.candidates[order.candidate], outcome)

    def _spend(self, purpose: str, began: float) -> None:
        """Book the seconds since `began` by the clock."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + self.clock() - began

    def _job(self, order: Order, rates: tuple[float, float]) -> TrainingJob:
        own, network = self.candidates[order.candidate], self.candidates.network(order.candidate)
        steps, seed, is_needed = order.recovery + order.steps, own.job_seed(self.seed), self._is_beginning
        return TrainingJob(own.id, network, own.last_step, steps, seed, own.steps, rates, is_needed, order.in_all)

    def _book(self, own: Candidate, outcome: TrainingOutcome) -> None:
        own.book(outcome, self.settings.rolling_epochs)
        if outcome.records and own.network is not None and not self.settings.is_too_large(own.n_params):
            scored = FrontMember(own.id, own.last_step, own.n_params, outcome.records[-1].score, own.network)
            self.front = extended_front(self.front, scored, self.objective)

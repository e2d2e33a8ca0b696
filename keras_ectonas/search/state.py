"""Where a search stands: all that decides how it goes on, as data that can be kept and taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from ..budget import Charge, Ledger
from ..errors import InputError
from ..fitness import Objective
from ..lineage import Candidate, LineageEntry, Match, Refusal, TrainingJob, TrainingOutcome, ancestry
from ..network import Network
from ..settings import SearchSettings
from ..surgery import Surgery
from .front import FrontMember
from .hooks import SearchCallback
from .planning import Plan
from .population import Population

__all__ = ["SearchState"]

Train = Callable[[Sequence[TrainingJob]], Sequence[TrainingOutcome]]
Phase = Literal[
    "warmup",
    "shrinking",
    "second_start",
    "settling",
    "mutation",
    "within_mutations",
    "between_mutations",
    "final",
    "done",
]


@dataclass
class SearchState:
    """What a search is given anew each time it is taken up, and what it has come to.

    Parameters
    ----------
    start : Network
    settings : SearchSettings
    objective : Objective
    surgery : Surgery
    ledger : Ledger
    seed : int
    train : callable
        Takes a sequence of `TrainingJob` and gives as many `TrainingOutcome` in the same order.
    start_step : int
        Steps that the start model had been trained for before.
    second_start : Network or None
        It competes with the start model once that has been trained.
    tolerance : float
        Differences in score, as shares, that may be luck.
    loss_ratio : float
        What the loss on the rows to train on would be to that on the validation rows by the weights of the rows alone.
    in_parts : bool
        Whether a training may be done in parts without another result: not where Keras' callbacks see each begin and
        end, or the optimizer averages weights until then.
    clock : callable
        Seconds.
    callbacks : sequence of SearchCallback
        They follow the search.

    Attributes
    ----------
    front : list of FrontMember
        Of everybody who was ever scored, with weights.
    seconds : dict of str to float
        By the clock on the wall, for ``"training"`` and for ``"surgery"``.
    pools : list of list of int
        Who competes with whom; the second start alone while it is trained, and in the final phase the candidates of all
        final trainings.
    shorter : list of int
        Steps of the shorter final trainings that are still to come.
    parts : int
        Parts of the long one that are still to come; 0 before it begins.
    rate : float
        Share of the learning rate that the next part begins with.
    """

    start: Network
    settings: SearchSettings
    objective: Objective
    surgery: Surgery
    ledger: Ledger
    seed: int
    train: Train
    start_step: int = 0
    second_start: Network | None = None
    tolerance: float = 0.0
    loss_ratio: float = 1.0
    in_parts: bool = True
    clock: Callable[[], float] = time.monotonic
    callbacks: Sequence[SearchCallback] = ()

    candidates: Population = field(default_factory=Population, init=False)
    refusals: list[Refusal] = field(default_factory=list, init=False)
    matches: list[Match] = field(default_factory=list, init=False)
    front: list[FrontMember] = field(default_factory=list, init=False)
    seconds: dict[str, float] = field(default_factory=dict, init=False)
    phase: Phase = field(default="warmup", init=False)
    generation: int = field(default=0, init=False)
    parents: list[int] = field(default_factory=list, init=False)
    pools: list[list[int]] = field(default_factory=list, init=False)
    round: int = field(default=0, init=False)
    shorter: list[int] = field(default_factory=list, init=False)
    parts: int = field(default=0, init=False)
    rate: float = field(default=1.0, init=False)
    plan: Plan = field(default_factory=lambda: Plan(0, 0, {}), init=False)
    best: int = field(default=0, init=False)
    ended_by: str = field(default="", init=False)
    ended_in: Phase = field(default="warmup", init=False)
    seconds_before: float = field(default=0.0, init=False)
    granted: int = field(default=0, init=False)
    time_granted: float | None = field(default=None, init=False)
    failed_generations: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.granted, self.time_granted = self.ledger.limit, self.settings.max_time
        self.rng = np.random.default_rng(self.seed)
        self._started = self.clock()
        self.candidates.join(None, "start", "start model", self.start, self.generation, self.start_step)

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def elapsed(self) -> float:
        """Seconds since the search began, as long as it ran."""
        return self.seconds_before + self.clock() - self._started

    def winner(self) -> Candidate:
        """The candidate the search ends with, or would end with now."""
        return self.candidates[self.best]

    def lineage(self) -> list[LineageEntry]:
        """The changes from the start model to the winner."""
        return [
            LineageEntry(
                candidate.generation,
                candidate.id,
                candidate.mutation,
                candidate.description,
                candidate.step / self.ledger.steps_per_epoch,
                candidate.score,
                candidate.n_params,
            )
            for candidate in ancestry(self.candidates, self.best)
        ]

    def state(self) -> dict[str, Any]:
        """All that decides how the search goes on, as plain data that later steps do not change.

        Networks are shared, not copied: they never change.
        """
        found = {name: getattr(self, name) for name in _names()}
        return found | {
            "candidates": [replace(candidate, records=list(candidate.records)) for candidate in self.candidates],
            **{name: list(getattr(self, name)) for name in ("refusals", "matches", "front")},
            "seconds": dict(self.seconds),
            "parents": list(self.parents),
            "shorter": list(self.shorter),
            "pools": [list(pool) for pool in self.pools],
            "seconds_before": self.elapsed,
            "rng": self.rng.bit_generator.state,
            "limit": self.ledger.limit,
            "charges": list(self.ledger.charges),
        }

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Be where a search of the same start, settings and seed was when it gave `state`."""
        copied = {name: state[name] for name in _names()}
        copied["candidates"] = Population(
            replace(candidate, records=list(candidate.records)) for candidate in state["candidates"]
        )
        copied["pools"] = [list(pool) for pool in state["pools"]]
        for name in ("refusals", "matches", "front", "parents", "shorter"):
            copied[name] = list(state[name])
        copied["seconds"] = dict(state["seconds"])
        for name, value in copied.items():
            setattr(self, name, value)
        self.rng.bit_generator.state = state["rng"]
        self.ledger.limit = state["limit"]
        self.ledger.charges = [Charge(*charge) for charge in state["charges"]]
        self._started = self.clock()

    def continue_with(self, state: Mapping[str, Any], additional: bool = False) -> None:
        """Take up a state under the present budget and time limit, and open the search again if it had ended.

        A search that an interrupt or a callback ended goes on where it was. Any other has come to its end, and needs
        more budget or time: one that time ended before its final training goes on where it was, one that had it begins
        a new generation, from the winner and the parents that still have their weights.

        Parameters
        ----------
        state : mapping
            As `state` gave it.
        additional : bool
            Whether the budget comes on top of what was granted before; otherwise it takes its place.

        Raises
        ------
        InputError
            If the budget is smaller than before.
        """
        granted = self.ledger.limit
        more = granted if additional else granted - state["granted"]
        if more < 0:
            raise InputError(
                f"budget={self.settings.budget!r}: the search that is continued has been granted "
                f"{state['granted'] / self.ledger.steps_per_epoch:g} epochs: expected as many or more."
            )
        self.take_up(state)
        time_before, time = self.time_granted, self.settings.max_time
        has_more_time = time_before is not None and (time is None or time > time_before)
        self.granted, self.time_granted = granted, time
        self.ledger.limit += more
        is_broken_off = self.ended_by in ("interrupted", "callback")
        if self.done and (is_broken_off or more or has_more_time):
            self._open_again()

    def _open_again(self) -> None:
        if self.ended_by == "budget" or (self.ended_by == "max_time" and self.ended_in == "final"):
            if self.ledger.left == 0:
                return
            others = [c for c in self.parents if c != self.best and self.candidates[c].network is not None]
            self.parents = [self.best, *others][: self.settings.n_parents]
            self.pools, self.phase = [], "mutation"
        else:
            self.phase = self.ended_in
            if self.ended_by == "max_time":
                self._dismiss_those_left_out()
            elif self.phase == "final":
                self._undecide()
        self.ended_by = ""

    def _undecide(self) -> None:
        """The final trainings go on, and so nobody of those there were has won or lost yet."""
        for own in (self.candidates[number] for pool in self.pools for number in pool):
            if own.status != "failed":
                own.status = "competing"
            # All began with the network that was the best before them.
            self.best = self.best if own.parent is None else own.parent

    def _dismiss_those_left_out(self) -> None:
        """Those for whom there was no time never had a chance to show what they can do."""
        unscored = self.candidates.unscored(c for pool in self.pools for c in pool)
        self.candidates.dismiss([unscored], [], self.best)
        left = [own for pool in self.pools if (own := [c for c in pool if c not in unscored])]
        if self.pools and not left and self.phase in ("second_start", "within_mutations", "between_mutations"):
            self.phase = "mutation"
        self.pools = left


def _names() -> list[str]:
    """Fields that hold what a search has come to: those that it is not given."""
    return [entry.name for entry in fields(SearchState) if not entry.init]

"""Algorithm 1 of the paper, step by step.

The search knows networks, mutations and a budget. Training is a function that it is given, so it knows no
engine, no disk and no screen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..errors import SearchError, SurgeryError
from ..lineage import Candidate, Refusal
from ..surgery import Operated
from ..tournament import pairings
from .final_phase import FinalPhase
from .first_phase import FirstPhase
from .planning import Plan, planned
from .proposals import Proposal, proposals, reason_to_refuse
from .work import Order

__all__ = ["Search"]

_LOGGER = logging.getLogger(__name__)

_FAILED_GENERATIONS: Final = 3
_REASONS_SHOWN: Final = 4


class _Made(NamedTuple):
    """A child that is not a candidate yet."""

    proposal: Proposal
    description: str
    operated: Operated


class Search(FirstPhase, FinalPhase):
    """A search under way: `step` takes it from one phase to the next, or on within it.

    Parameters and attributes are those of `SearchState`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._stopping = False

    def run(self, watch: Callable[[Search], None] = lambda _: None) -> None:
        """Step until done, calling `watch` after each step.

        One `KeyboardInterrupt` ends the search with the best so far; a step that it came in is as if it had not begun.
        """
        for callback in self.callbacks:
            callback.on_search_begin(self)
        while not self.done:
            before = self.state()
            try:
                self.step()
                before = self.state()
                watch(self)
            except KeyboardInterrupt:
                self.take_up(before)
                if self._is_beginning:
                    raise
                if not self.done:
                    self._end("interrupted")
        for callback in self.callbacks:
            callback.on_search_end(self)

    def stop(self) -> None:
        """End with the best so far before the next phase, or part of one, once the start has a score."""
        self._stopping = True

    def step(self) -> None:
        """Go on by one phase, or by one part of a first or final training, or one round of matches."""
        if not self._is_beginning:
            outlook = self._outlook()
            keeps_time = self._is_searching and self.settings.kept_share > 0
            if outlook.is_over or (self._is_late and not keeps_time):
                self._end("max_time")
                return
            if self._stopping:
                self._end("callback")
                return
            if keeps_time and (self._is_late or outlook.finish_is_due):
                self._dismiss(self.pools, self.parents)
                self.pools, self.phase, self._is_late = [], "final", False
        match self.phase:
            case "warmup":
                self._warm_up()
            case "shrinking":
                self._shrink()
            case "second_start":
                self._try_second_start()
            case "settling":
                self._settle()
            case "mutation":
                self._mutate()
            case "within_mutations":
                self._compete_within_mutations()
            case "between_mutations":
                self._compete_between_mutations()
            case "final":
                self._train_the_best()

    # The phases of Algorithm 1.

    def _mutate(self) -> None:
        """Mutation phase: make the children."""
        self.generation += 1
        children = self._make_children()
        if not children:
            self.pools, self.phase = [], "final"
            return
        for callback in self.callbacks:
            callback.on_generation_begin(self)
        kinds = dict.fromkeys(child.mutation for child in children)
        self.pools = [[child.id for child in children if child.mutation == kind] for kind in kinds]
        self.round = 0
        self.phase = "within_mutations"

    def _compete_within_mutations(self) -> None:
        """Phase 1, one round: children of one kind of mutation compete by score alone."""
        if self.round < self.settings.max_rounds and any(len(pool) > 1 for pool in self.pools):
            self.pools = self._round(self.pools, 1, greediness=1.0)
            self.round += 1
            return
        finalists = [candidate for pool in self.pools for candidate in self._leaders(pool, 1, greediness=1.0)]
        self._dismiss(self.pools, finalists)
        self.pools = [finalists]
        self.round = 0
        self.phase = "between_mutations"

    def _compete_between_mutations(self) -> None:
        """Phase 2, one round: the winners of all kinds compete by equation (2)."""
        n_parents, greediness = self.settings.n_parents, self.settings.greediness
        if self.round < self.settings.max_rounds and len(self.pools[0]) > n_parents:
            self.pools = self._round(self.pools, n_parents, greediness)
            self.round += 1
            return
        if untrained := self.candidates.unscored(self.pools[0]):
            self._train([Order(child, self._recovery_steps(child)) for child in untrained], "recovery")
            return
        self._evolve(self._leaders(self.pools[0], n_parents, greediness))

    def _evolve(self, winners: list[int]) -> None:
        """Evolution phase: the winners become the parents of the next generation."""
        if not winners:
            self._count_failed_generation()
            return
        self.failed_generations = 0
        self._dismiss([self.pools[0], self.parents], winners)
        for candidate in winners:
            self.candidates[candidate].status = "parent"
        self.parents, previous = winners, self.best
        self.best = self._judge.choice(self.candidates, previous, winners)
        if previous not in (self.best, *winners):
            self.candidates[previous].network = None
        self.phase = "mutation"
        for callback in self.callbacks:
            callback.on_generation_end(self)

    def _count_failed_generation(self) -> None:
        """All children failed: their parents have others, unless that happens again and again."""
        self.failed_generations += 1
        if self.failed_generations >= _FAILED_GENERATIONS:
            reasons = dict.fromkeys(c.remark for c in self.candidates if c.status == "failed")
            shown = "; ".join(list(reasons)[-_REASONS_SHOWN:])
            raise SearchError(
                f"Every candidate of {self.failed_generations} generations in a row failed, "
                f"{self.generation} the last: {shown}."
            )
        self.phase = "mutation"

    # Children.

    def _make_children(self) -> list[Candidate]:
        """As many children as the budget has room for; none if a generation is not worth beginning."""
        parents = {parent: self.candidates.network(parent) for parent in self.parents}
        drawn = proposals(parents, self.settings, self.rng)
        room = self._plan([proposal.mutation.name for proposal in drawn])
        made: list[_Made] = []
        for proposal in drawn:
            if room is None or len(made) == room.n_children or (made and self._outlook().is_over):
                break
            child = self._operate(proposal)
            if child is not None:
                made.append(child)
        # Some were refused and others took their place, which may need more training.
        plan = self._plan([child.proposal.mutation.name for child in made]) if made else None
        if plan is None:
            return []
        self.plan = plan
        return [self._child(child) for child in made[: plan.n_children]]

    def _operate(self, proposal: Proposal) -> _Made | None:
        parent, mutation, site = proposal
        network = self.candidates.network(parent)
        description = mutation.describe(network, site)
        made, reason, began = None, "", self.clock()
        try:
            network, n_woken = self.surgery.prepared(network)
            operated = mutation.apply(network, site, self.surgery, self.rng)
            words = f"; {n_woken} silent {'unit' if n_woken == 1 else 'units'} drawn anew" if n_woken else ""
            made = _Made(proposal, description + words, operated)
            reason = reason_to_refuse(operated.network, network, self.settings)
        except (SurgeryError, MemoryError) as error:
            reason = str(error) or type(error).__name__
        except Exception as error:  # Whatever a rule of the user's own may raise: the others go on.
            _LOGGER.warning("%s could not be tried on candidate %d", mutation.name, parent, exc_info=True)
            reason = f"{type(error).__name__}: {error}"
        self._spend("surgery", began)
        if reason:
            self.refusals.append(Refusal(self.generation, parent, mutation.name, description, reason))
            return None
        return made

    def _child(self, made: _Made) -> Candidate:
        parent, mutation, _ = made.proposal
        child = self._join(self.candidates[parent], mutation.name, made.description, made.operated.network)
        child.remark = made.operated.remark
        return child

    def _plan(self, kinds: Sequence[str]) -> Plan | None:
        return planned(kinds, self._outlook(), is_first=self.generation == 1)

    # Matches.

    def _round(self, pools: list[list[int]], n_winners: int, greediness: float) -> list[list[int]]:
        """Draw a round in every pool, train all who take part, and keep lucky ones and winners.

        A child recovers from its operation right before its first match, or while others have theirs. Both are one
        training: so the programs of some compile while others train.
        """
        drawn = [pairings(pool, n_winners, self.rng) for pool in pools]
        players = [candidate for pairs, _ in drawn for pair in pairs for candidate in pair]
        unscored = self.candidates.unscored(candidate for pool in pools for candidate in pool)
        orders = [
            Order(
                candidate,
                self.plan.match_steps if candidate in players else 0,
                self._recovery_steps(candidate) if candidate in unscored else 0,
            )
            for candidate in dict.fromkeys(players + unscored)
        ]
        self._train(orders, f"match, generation {self.generation}", rates=(1.0, self.settings.match_rate))
        left = []
        for pairs, lucky in drawn:
            winners = [winner for pair in pairs for winner in self._leaders(pair, 1, greediness)]
            for pair in pairs:
                self._have_met(*pair, _winner_of(pair, winners))
            left.append([own for own in lucky if self.candidates[own].status != "failed"] + winners)
        self._dismiss(pools, [candidate for pool in left for candidate in pool])
        return left

    def _recovery_steps(self, candidate: int) -> int:
        return self.plan.recovery_steps.get(self.candidates[candidate].mutation, 0)


def _winner_of(pair: tuple[int, int], winners: Sequence[int]) -> int | None:
    return next((candidate for candidate in pair if candidate in winners), None)

"""Algorithm 1 of the paper, step by step.

The search knows networks, mutations and a budget. Training is a function that it is given, so it knows no
engine, no disk and no screen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from .errors import SearchError, SurgeryError
from .final_training import learns_by_heart, n_parts, shorter_trainings, steps_left
from .front import FrontMember, extended_front
from .judging import Judge
from .limits import REMOVALS, shrunk
from .lineage import Candidate, Match, Refusal, TrainingJob, TrainingOutcome, ancestry
from .network import Layer, Network
from .outlook import Outlook
from .planning import Plan, planned
from .proposals import Proposal, proposals, reason_to_refuse
from .search_state import SearchState
from .surgery import Operated, with_dropout
from .tournament import pairings
from .warmup import most_steps, next_part

__all__ = ["Search"]

_LOGGER = logging.getLogger(__name__)

_SEARCHING: Final = ("warmup", "mutation", "within_mutations", "between_mutations")
_FAILED_GENERATIONS: Final = 3
_REASONS_SHOWN: Final = 4


class _Order(NamedTuple):
    """Training of one candidate: first so many steps of recovery from its operation, then others.

    It may be a part of more, of `in_all` steps at most.
    """

    candidate: int
    steps: int
    recovery: int = 0
    in_all: int = 0


class _Made(NamedTuple):
    """A child that is not a candidate yet."""

    proposal: Proposal
    description: str
    operated: Operated


class Search(SearchState):
    """A search under way: `step` takes it from one phase to the next, or on within it.

    Parameters and attributes are those of `SearchState`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._judge = Judge(
            self.settings, self.objective, self.tolerance, self.rng, is_penalised=self.start.is_penalised
        )
        self._stopping = False
        self._is_late = False

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
        """Go on by one phase, or by one part of the warm-up, one round of matches or one part of the final training."""
        if not self._is_beginning:
            outlook = self._outlook()
            keeps_time = self.phase in _SEARCHING and self.settings.kept_share > 0
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
            case "mutation":
                self._mutate()
            case "within_mutations":
                self._compete_within_mutations()
            case "between_mutations":
                self._compete_between_mutations()
            case "final":
                self._train_the_best()

    @property
    def _is_beginning(self) -> bool:
        """Whether there is nothing yet that the search could end with."""
        unscored = self.candidates[0].score is None
        return self.phase == "shrinking" or (self.phase == "warmup" and (unscored or self._start_is_too_large))

    @property
    def _start_is_too_large(self) -> bool:
        return self.settings.is_too_large(self.start.n_params)

    # The phases of Algorithm 1.

    def _warm_up(self) -> None:
        """One part of the start model's training before its first changes."""
        start, outlook = self.candidates[0], self._outlook()
        before = replace(start, records=list(start.records))
        steps = next_part(outlook, start)
        if steps or start.score is None:
            self._train([_Order(0, steps, in_all=most_steps(outlook))], "warm-up")
            if start.status == "failed":
                if before.score is None:
                    advice = (
                        " A lower learning rate, or scaled inputs, may help." if "loss became" in start.remark else ""
                    )
                    raise SearchError(f"The start model cannot be trained: {start.remark}.{advice}")
                # It goes on from where it could be trained.
                before.seconds, before.remark = start.seconds, f"in its warm-up: {start.remark}"
                self.candidates[0] = before
            self.parents, self.candidates[0].status = [0], "parent"
        # Fewer steps than asked for: a callback, the time or a failure has ended the warm-up.
        if not steps or self.candidates[0].steps < before.steps + steps:
            self.phase = "shrinking" if self._start_is_too_large else "mutation"

    def _shrink(self) -> None:
        """A start above ``max_params`` is made smaller, now that it has learned what is worth keeping."""
        start = self.candidates[0]
        operated, description = shrunk(self.candidates.network(0), self.settings.max_params or 0, self.surgery)
        child = self._join(start, "shrink", description, operated.network)
        child.remark = operated.remark
        steps = self.ledger.steps_for(max(self.settings.recovery_epochs.get(name, 0) for name in REMOVALS))
        self._train([_Order(child.id, min(steps, self.ledger.left))], "recovery")
        if child.status == "failed":
            raise SearchError(f"The start model, shrunk to max_params, cannot be trained: {child.remark}.")
        self._dismiss([self.parents], [])
        start.status, start.network = "lost", None
        self.parents, self.best, child.status = [child.id], child.id, "parent"
        self.phase = "mutation"

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
            self._train([_Order(child, self._recovery_steps(child)) for child in untrained], "recovery")
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
            self._train([_Order(end.id, self.shorter.pop(0))], "final training", rates=(1.0, 0.0))
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
        self.parts = n_parts(self._outlook(), steps_left(self._outlook(), ancestry(self.candidates, best.id)))

    def _train_to_the_end(self, last: Candidate) -> None:
        """The next part, with a learning rate that falls to zero in the last one."""
        line, before = ancestry(self.candidates, last.id), last.steps
        steps = steps_left(self._outlook(), line[-1:] if before else line[:-1])
        part, falls_to = math.ceil(steps / self.parts), self.rate * (1 - 1 / self.parts)
        order = _Order(last.id, part, in_all=before + steps)
        self._train([order], "final training", rates=(self.rate, falls_to))
        # Fewer steps than asked for: a callback, the time or a failure has ended it.
        is_over = last.steps < before + part or not self.ledger.left
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

    def _spend(self, purpose: str, began: float) -> None:
        """Book the seconds since `began` by the clock."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + self.clock() - began

    def seconds_to_train(self) -> float | None:
        """How long a training that begins now may take by the time limit; some of that is kept for the last phase."""
        outlook = self._outlook()
        return outlook.seconds_to_search if self.phase in _SEARCHING else outlook.seconds_left

    def _outlook(self) -> Outlook:
        worked = self.seconds.get("training", 0.0) + self.seconds.get("surgery", 0.0)
        return Outlook(self.settings, self.ledger, self.elapsed, worked)

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

    def _join(self, parent: Candidate, mutation: str, description: str, network: Network) -> Candidate:
        return self.candidates.join(parent, mutation, description, network, self.generation, parent.last_step)

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
            _Order(
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
            self.matches += [Match(self.generation, self.phase, *pair, _winner_of(pair, winners)) for pair in pairs]
            self._tell_of_matches(pairs, winners)
            left.append([own for own in lucky if self.candidates[own].status != "failed"] + winners)
        self._dismiss(pools, [candidate for pool in left for candidate in pool])
        return left

    def _recovery_steps(self, candidate: int) -> int:
        return self.plan.recovery_steps.get(self.candidates[candidate].mutation, 0)

    def _tell_of_matches(self, pairs: Sequence[tuple[int, int]], winners: Sequence[int]) -> None:
        for first, second in pairs if self.callbacks else ():
            players = (self.candidates[first], self.candidates[second])
            winner = next((player for player in players if player.id in winners), None)
            for callback in self.callbacks:
                callback.on_match_end(self, players, winner)

    def _leaders(self, pool: Sequence[int], n_winners: int, greediness: float) -> list[int]:
        return self._judge.leaders(self.candidates, pool, n_winners, greediness)

    def _dismiss(self, pools: Sequence[Sequence[int]], kept: Sequence[int]) -> None:
        self.candidates.dismiss(pools, kept, self.best)

    # Training.

    def _train(self, orders: Sequence[_Order], purpose: str, rates: tuple[float, float] = (1.0, 1.0)) -> None:
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

    def _job(self, order: _Order, rates: tuple[float, float]) -> TrainingJob:
        own, network = self.candidates[order.candidate], self.candidates.network(order.candidate)
        steps, seed, is_needed = order.recovery + order.steps, own.job_seed(self.seed), self._is_beginning
        return TrainingJob(own.id, network, own.last_step, steps, seed, own.steps, rates, is_needed, order.in_all)

    def _book(self, own: Candidate, outcome: TrainingOutcome) -> None:
        own.book(outcome, self.settings.rolling_epochs)
        if outcome.records and own.network is not None and not self.settings.is_too_large(own.n_params):
            scored = FrontMember(own.id, own.last_step, own.n_params, outcome.records[-1].score, own.network)
            self.front = extended_front(self.front, scored, self.objective)


def _winner_of(pair: tuple[int, int], winners: Sequence[int]) -> int | None:
    return next((candidate for candidate in pair if candidate in winners), None)

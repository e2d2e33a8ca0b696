"""Fitting a search into its budget, which is never overspent because nothing is begun that would not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..budget import Ledger
from ..settings import SearchSettings
from ..tournament import n_trainings
from .outlook import Outlook

__all__ = ["Plan", "has_room", "planned"]

AUTOMATIC_CHILDREN: Final = 6
FEWEST_CHILDREN: Final = 4
SHORTEST_MATCH: Final = 0.5
FEWEST_STEPS: Final = 30


@dataclass(frozen=True)
class Plan:
    """What one generation may cost, in optimizer steps.

    Parameters
    ----------
    n_children : int
    match_steps : int
        Of each candidate in each match.
    recovery_steps : mapping of str to int
        Right after the change, by name of the mutation.
    """

    n_children: int
    match_steps: int
    recovery_steps: Mapping[str, int]


def planned(kinds: Sequence[str], outlook: Outlook, is_first: bool) -> Plan | None:
    """Fit a generation into what is left: fewer children first, then shorter matches.

    Parameters
    ----------
    kinds : sequence of str
        Mutations of the children in the order in which they would be made.
    outlook : Outlook
    is_first : bool
        The first generation is begun even if it is tiny.

    Returns
    -------
    Plan or None
        None if not even a small generation is worth beginning.
    """
    settings, ledger, free = outlook.settings, outlook.ledger, outlook.free
    n_children = _most_children(len(kinds), settings)
    fewest = min(n_children, max(FEWEST_CHILDREN, settings.n_parents))
    match_steps = _match_steps(outlook)
    for scale in (1.0, SHORTEST_MATCH):
        for n in range(n_children, fewest - 1, -1):
            plan = _scaled_plan(n, max(1, math.floor(scale * match_steps)), 1.0, settings, ledger)
            if _cost(kinds[:n], plan, settings) <= free:
                return plan
    if not is_first:
        return None
    for n in range(fewest, 1, -1):
        full = _cost(kinds[:n], _scaled_plan(n, match_steps, 1.0, settings, ledger), settings)
        scale = free / full if full else 0.0
        plan = _scaled_plan(n, math.floor(scale * match_steps), scale, settings, ledger)
        if plan.match_steps > 0 and _cost(kinds[:n], plan, settings) <= free:
            return plan
    return None


def has_room(outlook: Outlook) -> bool:
    """Whether a generation could have all its children and full matches: some two for each of them."""
    return 2 * _most_children(AUTOMATIC_CHILDREN, outlook.settings) * _match_steps(outlook) <= outlook.free


def _scaled_plan(n: int, match_steps: int, scale: float, settings: SearchSettings, ledger: Ledger) -> Plan:
    recovery = {name: math.floor(scale * ledger.steps_for(epochs)) for name, epochs in settings.recovery_epochs.items()}
    return Plan(n, match_steps, recovery)


def _cost(kinds: Sequence[str], plan: Plan, settings: SearchSettings) -> int:
    """Steps that a generation takes if nobody fails; it takes fewer if somebody does."""
    pool_sizes = [list(kinds).count(kind) for kind in dict.fromkeys(kinds)]
    trainings = sum(n_trainings(size, 1, settings.max_rounds) for size in pool_sizes)
    trainings += n_trainings(len(pool_sizes), settings.n_parents, settings.max_rounds)
    recovery = sum(plan.recovery_steps.get(kind, 0) for kind in kinds)
    return recovery + trainings * plan.match_steps


def _most_children(n_possible: int, settings: SearchSettings) -> int:
    if settings.max_children is None:
        return n_possible
    limit = settings.max_children
    return min(n_possible, AUTOMATIC_CHILDREN if isinstance(limit, str) else limit)


def _match_steps(outlook: Outlook) -> int:
    """Training of each candidate in each match. After a few steps, on few rows, it would be a matter of luck."""
    settings, ledger = outlook.settings, outlook.ledger
    if settings.epochs_per_match is not None:
        return ledger.steps_for(settings.epochs_per_match)
    return max(ledger.steps_for(min(max(outlook.horizon / 120, 0.5), 5.0)), FEWEST_STEPS)

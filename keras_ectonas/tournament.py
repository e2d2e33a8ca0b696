"""Brackets: who meets whom, who goes on, and what a competition will cost (figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["n_trainings", "pairings"]


def pairings(pool: Sequence[int], n_winners: int, rng: np.random.Generator) -> tuple[list[tuple[int, int]], list[int]]:
    """Draw one round.

    Parameters
    ----------
    pool : sequence of int
        Candidates still in.
    n_winners : int
        No more matches are drawn than leave so many.
    rng : numpy.random.Generator

    Returns
    -------
    pairs : list of (int, int)
    lucky : list of int
        Those with a lucky ticket: they go on without a match.
    """
    order = [int(candidate) for candidate in rng.permutation(np.asarray(pool, dtype=int))]
    n_pairs = _n_pairs(len(order), n_winners)
    pairs = [(order[2 * k], order[2 * k + 1]) for k in range(n_pairs)]
    return pairs, order[2 * n_pairs :]


def _n_pairs(n_candidates: int, n_winners: int) -> int:
    return max(0, min(n_candidates // 2, n_candidates - n_winners))


def n_trainings(n_candidates: int, n_winners: int, max_rounds: int) -> int:
    """How often a candidate is trained in a competition, if nobody fails."""
    total = 0
    for _ in range(max_rounds):
        n_pairs = _n_pairs(n_candidates, n_winners)
        total += 2 * n_pairs
        n_candidates -= n_pairs
    return total

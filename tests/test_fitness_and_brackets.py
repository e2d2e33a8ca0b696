"""Equation (2) and the brackets, against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_ectonas.fitness import Objective
from keras_ectonas.tournament import n_trainings, pairings

ACCURACY = Objective("accuracy")
LOSS = Objective("loss", higher_is_better=False, relative=True)


@pytest.mark.parametrize(
    ("greediness", "expected"),
    [(1.0, 0.9), (0.5, 0.5 * 0.1 - 0.5 * 0.4), (0.0, -0.4), (0.8, 0.8 * 0.1 - 0.2 * 0.4)],
)
def test_equation_two(greediness, expected):
    assert ACCURACY.fitness(0.9, 40, 0.8, 100, greediness) == pytest.approx(expected)


def test_equation_two_for_a_loss():
    assert LOSS.fitness(0.6, 50, 0.8, 100, 1.0) == -0.6
    assert LOSS.fitness(0.6, 50, 0.8, 100, 0.5) == pytest.approx(0.5 * 0.25 - 0.5 * 0.5)


@pytest.mark.parametrize("score", [None, math.nan])
@pytest.mark.parametrize("greediness", [0.0, 0.5, 1.0])
def test_what_has_no_score_is_worst(score, greediness):
    assert ACCURACY.fitness(score, 1, 0.5, 100, greediness) == -math.inf


@settings(deadline=None, derandomize=True)
@given(n=st.integers(0, 40), n_winners=st.integers(1, 5), seed=st.integers(0, 100))
def test_pairings_keep_everybody_once(n, n_winners, seed):
    pool = list(range(100, 100 + n))
    pairs, lucky = pairings(pool, n_winners, np.random.default_rng(seed))
    assert sorted([c for pair in pairs for c in pair] + lucky) == pool
    assert len(pairs) + len(lucky) >= min(n, n_winners)
    assert len(lucky) <= 1 or len(pairs) + len(lucky) == n_winners or n <= n_winners


@pytest.mark.parametrize(
    ("n", "n_winners", "max_rounds", "expected"),
    [(1, 1, 3, 0), (2, 1, 3, 2), (5, 1, 3, 4 + 2 + 2), (8, 2, 3, 8 + 4), (8, 2, 1, 8), (3, 2, 3, 2), (9, 1, 2, 8 + 4)],
)
def test_cost_of_a_competition(n, n_winners, max_rounds, expected):
    assert n_trainings(n, n_winners, max_rounds) == expected

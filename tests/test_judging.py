"""Who is preferred, and what is left to luck."""

import numpy as np
import pytest
from test_search import dense_start

from keras_ectonas.fitness import Objective
from keras_ectonas.lineage import EpochRecord, TrainingOutcome
from keras_ectonas.search.judging import Judge
from keras_ectonas.search.population import Population
from keras_ectonas.settings import SearchSettings

ACCURACY = Objective("accuracy", is_accuracy=True)
LUCK = 0.02


def judge(objective=ACCURACY, tolerance=LUCK, is_penalised=False, **knobs):
    return Judge(SearchSettings(**knobs), objective, tolerance, np.random.default_rng(0), is_penalised)


def scored(*results):
    """A start that scores 0.5, and children of it with these scores and losses, all of one size."""
    network, candidates = dense_start(), Population()
    for score, loss in ((0.5, 1.0), *results):
        parent = candidates[0] if candidates else None
        own = candidates.join(parent, "identity", "", network, 1, 0)
        own.book(TrainingOutcome(network, (EpochRecord(1, score, {"val_loss": loss}),), 1, 0.0), 3)
    return candidates


@pytest.mark.parametrize(("score", "winner"), [(0.80, 2), (0.79, 2), (0.77, 1)])
def test_the_loss_decides_between_scores_that_luck_could_set_apart(score, winner):
    candidates = scored((0.80, 0.6), (score, 0.5))
    assert judge().leaders(candidates, [1, 2], 1, 1.0) == [winner]
    assert judge().choice(candidates, 1, [2]) == winner


def test_without_luck_the_score_decides():
    candidates = scored((0.801, 0.6), (0.80, 0.5))
    assert judge(tolerance=0.0).leaders(candidates, [1, 2], 1, 1.0) == [1]
    assert judge(tolerance=0.0).choice(candidates, 1, [2]) == 1


@pytest.mark.parametrize(("objective", "winner"), [(Objective("recall"), 2), (Objective("error", False, True), 1)])
def test_any_other_score_decides_alone(objective, winner):
    candidates = scored((0.30, 0.5 + 0.1 * (winner == 1)), (0.301, 0.5 + 0.1 * (winner == 2)))
    assert judge(objective).leaders(candidates, [1, 2], 1, 1.0) == [winner]
    assert judge(objective).choice(candidates, 1, [2]) == winner


def test_where_size_counts_fitness_decides():
    candidates = scored((0.801, 0.6), (0.80, 0.5))
    compressing = judge(greediness=0.5)
    assert compressing.leaders(candidates, [1, 2], 1, 0.5) == [1]
    assert compressing.choice(candidates, 1, [2]) == 1
    assert compressing.leaders(candidates, [1, 2], 1, 1.0) == [2]


def test_winners_come_best_first():
    candidates = scored((0.80, 0.6), (0.79, 0.5), (0.60, 0.1), (0.799, 0.55))
    assert judge().leaders(candidates, [1, 2, 3, 4], 3, 1.0) == [2, 4, 1]


def test_one_small_loss_after_the_other_cannot_lead_far_below_the_best_score():
    candidates = scored(*((0.80 - 0.005 * n, 0.6 - 0.01 * n) for n in range(10)))
    best = 1
    for child in range(2, len(candidates)):
        best = judge().choice(candidates, best, [child])
    assert candidates[best].score >= 0.80 - LUCK


def test_who_failed_wins_nothing():
    candidates = scored((0.80, 0.6), (0.79, 0.5))
    candidates[2].status = "failed"
    assert judge().leaders(candidates, [1, 2], 2, 1.0) == [1]


def test_a_random_choice_looks_at_nothing():
    candidates = scored((0.9, 0.1), (0.1, 3.0))
    random = judge(selection="random")
    assert {random.leaders(candidates, [1, 2], 1, 1.0)[0] for _ in range(50)} == {1, 2}
    assert random.choice(candidates, 1, [2]) == 2


@pytest.mark.parametrize("greediness", [1, 0.5])
def test_a_start_above_the_limit_is_no_measure(greediness):
    candidates = scored((0.80, 0.6), (0.79, 0.5))
    candidates[0].score = 0.95
    for own, n_params in zip(candidates, (1000, 500, 400), strict=True):
        own.n_params = n_params
    limited = judge(max_params=500, greediness=greediness, max_drop=0.02)
    assert limited.choice(candidates, 1, [2]) == 2
    assert limited.leaders(candidates, [1, 2], 1, greediness) == [2]


def test_a_loss_with_penalties_decides_nothing():
    candidates = scored((0.801, 0.6), (0.80, 0.5))
    assert judge(is_penalised=True).leaders(candidates, [1, 2], 1, 1.0) == [1]
    assert judge(is_penalised=True).choice(candidates, 1, [2]) == 1


def test_a_smaller_child_has_half_of_what_may_be_luck_taken_off():
    candidates = scored((0.80, 0.6), (0.785, 0.5))
    candidates[2].n_params -= 1
    assert judge().leaders(candidates, [1, 2], 1, 1.0) == [1]
    candidates[2].score = 0.7901
    assert judge().leaders(candidates, [1, 2], 1, 1.0) == [2]


@pytest.mark.parametrize("n_params_given", [100, 20_000, 1_000_000])
def test_size_is_measured_against_the_start_of_the_lineage(n_params_given):
    """Whatever the size of a start that gave way to another."""
    candidates = scored((0.80, 0.5), (0.90, 0.5), (0.892, 0.5))
    for own, n_params in zip(candidates, (n_params_given, 20_000, 20_100, 19_900), strict=True):
        own.n_params = n_params
    candidates[1].parent, candidates[2].parent, candidates[3].parent = None, 1, 1
    assert judge(greediness=0.9).choice(candidates, 1, [2, 3]) == 2


@pytest.mark.parametrize(
    ("knobs", "by_luck"),
    [({}, False), ({"is_penalised": True}, True), ({"objective": Objective("r2")}, True)],
    ids=["loss decides", "penalties", "no accuracy"],
)
def test_a_lead_is_luck_only_where_no_loss_decides(knobs, by_luck):
    _, given, near, far = scored((0.78, 0.6), (0.79, 0.5), (0.81, 0.5))
    assert judge(**knobs).leads_by_luck(near, given) == by_luck
    assert not judge(**knobs).leads_by_luck(far, given)
    assert not judge(**knobs, greediness=0.5).leads_by_luck(near, given)

"""The front of a search: which networks it keeps, with which scores, and what is selected off it."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from fake_engine import FakeEngine, by_chance
from finished import finished_trainer, larger_is_better
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search import dense, finished

from keras_ectonas.errors import InputError
from keras_ectonas.fitness import Objective
from keras_ectonas.network import Network, Weight
from keras_ectonas.search.account import ParetoFront
from keras_ectonas.search.front import MOST_MEMBERS, FrontMember, extended_front, without_optimizer

ACCURACY = Objective("accuracy")
LOSS = Objective("loss", higher_is_better=False, relative=True)
EMPTY = Network((1,), ())


def front_of(points, objective=ACCURACY, most=MOST_MEMBERS):
    front = []
    for number, (n_params, score) in enumerate(points):
        front = extended_front(front, FrontMember(number, 0, n_params, score, EMPTY), objective, most)
    return front


def sizes_and_scores(front):
    return [(member.n_params, member.score) for member in front]


POINTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20).map(lambda k: k / 20)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(POINTS, st.sampled_from([ACCURACY, LOSS]))
def test_front_is_what_nothing_dominates(points, objective):
    def dominated(own):
        return any(
            other != own and other[0] <= own[0] and objective.goodness(other[1]) >= objective.goodness(own[1])
            for other in points
        )

    expected = sorted({point for point in points if not dominated(point)})
    assert sizes_and_scores(front_of(points, objective, most=100)) == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(POINTS)
def test_thinned_front_keeps_its_ends_and_is_a_front(points):
    whole = sizes_and_scores(front_of(points, most=100))
    thinned = sizes_and_scores(front_of(points, most=3))
    assert len(thinned) == min(3, len(whole))
    assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
    assert set(thinned) <= set(points)
    assert thinned == sizes_and_scores(front_of(thinned))


def test_thinning_drops_what_others_are_close_to():
    points = [(100, 0.1), (200, 0.5), (201, 0.501), (400, 0.8)]
    assert sizes_and_scores(front_of(points, most=3)) == [points[0], points[1], points[3]]


def test_what_has_no_score_stays_out():
    assert front_of([(3, float("nan"))]) == []


def test_optimizer_memory_is_left_behind_and_weights_are_shared():
    layer = dense("hidden", 4, 3)
    slotted = layer.with_weights(Weight("kernel", layer.value("kernel"), {"momentum": np.ones((4, 3))}))
    network = Network((4,), (slotted,), optimizer_state={"other_0": np.zeros(())})
    bare = without_optimizer(network)
    assert bare.optimizer_state == {}
    assert bare.layers[0].weight("kernel").slots == {}
    assert np.shares_memory(bare.layers[0].value("kernel"), layer.value("kernel"))
    assert bare.fingerprint() == network.fingerprint()


def test_search_keeps_the_networks_that_were_scored():
    search = finished(FakeEngine(larger_is_better), budget=200)
    assert len(search.front) > 3
    for member in search.front:
        assert member.score == larger_is_better(member.network, member.step)
        assert member.n_params == member.network.n_params == search.candidates[member.candidate].n_params
    best = max(record.score for candidate in search.candidates for record in candidate.records)
    assert search.front[-1].score == best


def test_front_is_bounded_however_long_the_search():
    front = front_of([(n, n / (n + 50)) for n in range(1, 500)])
    assert len(front) == MOST_MEMBERS
    assert (front[0].n_params, front[-1].n_params) == (1, 499)
    gaps = [
        np.log(after.n_params / before.n_params) / np.log(499) + (after.score - before.score) / 0.889
        for before, after in itertools.pairwise(front)
    ]
    assert max(gaps) < 3 * 2 / (MOST_MEMBERS - 1)


def test_failed_candidates_are_not_on_the_front():
    engine = FakeEngine(by_chance(0), lambda job: "diverged" if job.candidate % 3 == 1 else "")
    search = finished(engine, budget=100)
    failed = {candidate.id for candidate in search.candidates if candidate.status == "failed"}
    assert failed
    assert not failed & {member.candidate for member in search.front}


FRONT = ParetoFront(
    {"n_params": [10, 100, 1000], "score": [0.5, 0.89, 0.9]},
    front_of([(10, 0.5), (100, 0.89), (1000, 0.9)]),
    ACCURACY,
)
LOSSES = ParetoFront(
    {"n_params": [10, 100, 1000], "score": [3.0, 1.01, 1.0]},
    front_of([(10, 3.0), (100, 1.01), (1000, 1.0)], LOSS),
    LOSS,
)


@pytest.mark.parametrize(
    ("front", "asked", "n_params"),
    [
        (FRONT, {}, 1000),
        (FRONT, {"max_params": 999}, 100),
        (FRONT, {"max_params": 10}, 10),
        (FRONT, {"within": 0.01}, 100),
        (FRONT, {"within": 0.0}, 1000),
        (FRONT, {"within": 1}, 10),
        (FRONT, {"min_score": 0.89}, 100),
        (FRONT, {"min_score": 0.1, "within": 0.2}, 100),
        (FRONT, {"min_score": 0.5, "max_params": 100}, 10),
        (LOSSES, {}, 1000),
        (LOSSES, {"within": 0.02}, 100),
        (LOSSES, {"min_score": 3.0}, 10),
        (LOSSES, {"min_score": 2.9}, 100),
    ],
)
def test_selection(front, asked, n_params):
    assert front.select(**asked).n_params == n_params


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"max_params": 9},
            "no network on the front fits max_params=9; it holds 10 parameters with accuracy 0.5 up to",
        ),
        ({"min_score": 0.95}, "no network on the front fits min_score=0.95"),
        ({"min_score": 0.9, "max_params": 100}, "fits max_params=100, min_score=0.9"),
        ({"within": -1}, "within=-1: expected a number of at least 0, or None"),
        ({"within": float("nan")}, "within=nan"),
        ({"max_params": "small"}, "max_params='small': expected a number of at least 0"),
        ({"min_score": True}, "min_score=True: expected a number, or None"),
    ],
)
def test_selection_refused(asked, message):
    with pytest.raises(InputError, match=message):
        FRONT.select(**asked)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda front: pickle.loads(pickle.dumps(front))])
def test_front_travels(copied):
    front = finished_trainer().pareto_front_
    twin = copied(front)
    assert twin == front
    assert [m.network.fingerprint() for m in twin.members] == [m.network.fingerprint() for m in front.members]
    assert twin.select() == twin.members[-1]

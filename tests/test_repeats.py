"""Rows that are there twice, and rows that weigh 2."""

import numpy as np
import pytest

from keras_ectonas.inputs.incoming import incoming
from keras_ectonas.inputs.repeats import alike, copies_for
from keras_ectonas.inputs.task import Task

RNG = np.random.default_rng(0)
PARAMETERS = {"model": None, "batch_size": 32, "validation_fraction": 0.2}
TASK = Task("index", np.arange(3))


def split_of(x, y, weights=None):
    return incoming(PARAMETERS, None, x, y, weights, None).training_data(TASK, 0.2, None, 5)


@pytest.mark.parametrize("n", [4, 15, 60])
def test_whole_weights_stand_for_copies(n):
    x, y = RNG.normal(size=(n, 4)), np.arange(n) % 3
    weights = RNG.integers(1, 4, n)
    weights[-1] = 0
    shuffled = RNG.permutation(n)
    one = split_of(x.repeat(weights, axis=0), y.repeat(weights))
    two = split_of(x[shuffled], y[shuffled], weights[shuffled])
    for name in ("train", "validation"):
        np.testing.assert_array_equal(getattr(one, name).x, getattr(two, name).x)
        np.testing.assert_array_equal(getattr(one, name).y, getattr(two, name).y)
        assert getattr(two, name).weights is None


def test_no_copy_of_a_training_row_is_scored_on():
    x, y = RNG.normal(size=(40, 4)), np.arange(40) % 2
    data = split_of(np.concatenate([x, x]), np.concatenate([y, y]))
    assert not {tuple(row) for row in data.train.x} & {tuple(row) for row in data.validation.x}
    assert (len(data.train), len(data.validation)) == (64, 16)
    np.testing.assert_array_equal(np.unique(data.validation.labels, return_counts=True)[1], [8, 8])


def test_rows_of_which_there_are_few_may_be_on_both_sides():
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    data = split_of(np.tile(x, (50, 1)), np.tile(y, 50))
    assert len({tuple(row) for row in data.train.x}) == 4
    assert len(data.validation) == 40


def test_rows_that_are_all_different_keep_their_order():
    x, y = RNG.normal(size=(40, 4)).astype("float32"), np.arange(40) % 2
    assert alike(x, y) is None
    rows = incoming(PARAMETERS, None, x, y, None, None)
    np.testing.assert_array_equal(rows.x, x)
    assert alike(np.zeros((2, 3)), np.array([0, 1])) is None
    np.testing.assert_array_equal(alike(np.zeros((2, 3)), np.array(["a", "a"])), [0, 0])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0, 2.0, 0.0], [0, 1, 1]),
        ([1.0, 0.5], None),
        ([1.0, 20.0], None),
        ([1.0, 1.0], [0, 1]),
    ],
)
def test_copies(weights, expected):
    found = copies_for(np.array(weights), 8)
    assert (found is None) if expected is None else found.tolist() == expected


def test_copies_that_would_not_fit_into_memory_are_not_made():
    assert copies_for(np.array([2.0, 1.0]), 2**28) is None
    assert copies_for(np.array([1.0, 1.0]), 2**28) is not None

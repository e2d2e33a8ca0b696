"""Which rows are held out."""

import numpy as np
import pytest

from keras_ectonas.inputs.data import Rows, split
from keras_ectonas.inputs.task import Task


def labels_held_out(labels, fraction, seed=0):
    labels = np.asarray(labels)
    rows = Rows(np.zeros((len(labels), 1)), labels, labels, None)
    train, validation = split(rows, fraction, Task("index", np.unique(labels)), seed)
    assert sorted([*train.labels, *validation.labels]) == sorted(labels)
    return train.labels, validation.labels


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_on_both_sides(seed):
    train, validation = labels_held_out([0] * 195 + [1] * 3 + [2] * 2, 0.1, seed)
    assert set(validation) == set(train) == {0, 1, 2}
    assert 20 <= len(validation) <= 22


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_one_row_is_trained_on(seed):
    train, _ = labels_held_out([0] * 5 + [1] * 5 + [2], 0.4, seed)
    assert set(train) == {0, 1, 2}


def test_no_more_than_twice_as_many_are_held_out():
    train, validation = labels_held_out(np.arange(300) // 3, 0.1)
    assert set(train) == set(range(100))
    assert len(validation) == 30


def test_classes_in_proportion_stay_so():
    _, validation = labels_held_out([0] * 80 + [1] * 20, 0.1)
    assert sorted(validation) == [0] * 8 + [1] * 2

"""scikit-learn's callbacks on a search."""

import pytest
from models import dense_model, table
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ectonas import ECToNASClassifier

callback = pytest.importorskip("sklearn.callback", reason="this version of scikit-learn has no callbacks")

QUICK = {"budget": 20, "verbose": 0, "random_state": 0, "max_children": 2, "n_parents": 1, "epochs_per_match": 1}


class Following:
    """Notes tasks and what it can see of them, and stops after `generations`."""

    def __init__(self, generations):
        self.generations = generations
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        assert 0 <= fitted_estimator.score(X, y) <= 1
        return context.task_name == "generation" and context.task_id + 1 == self.generations


def test_generations_are_tasks_that_a_callback_sees_and_ends():
    x, y = table()
    following = Following(generations=2)
    estimator = ECToNASClassifier(dense_model(), **QUICK).set_callbacks(following)
    estimator.fit(x, y)
    generation = ["begin generation", "end generation"]
    assert following.events == ["setup", "begin fit", *generation, *generation, "end fit", "teardown"]
    assert estimator.ended_by_ == "callback"
    assert clone(estimator)._skl_callbacks == [following]


def test_a_score_is_monitored_in_a_pipeline():
    x, y = table()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    steps = make_pipeline(StandardScaler(), ECToNASClassifier(dense_model(), **{**QUICK, "budget": 6}))
    steps[-1].set_callbacks(monitor)
    steps.fit(x, y)
    rows = monitor.get_logs().data
    assert "generation" in [row["task_name"] for row in rows]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)

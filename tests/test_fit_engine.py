"""The ``fit`` engine: jobs give the same outcome whatever came before, and are charged what they took."""

import logging

import keras
import numpy as np
import pytest
from models import dense_model, table

from keras_ectonas.bridge import Blueprint, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.engines import Assignment, Deadline, FitEngine
from keras_ectonas.engines.batches import RowBatches
from keras_ectonas.engines.fit import evaluation_batch
from keras_ectonas.inputs.data import Rows, TrainingData, split
from keras_ectonas.inputs.task import Task
from keras_ectonas.lineage import TrainingJob
from keras_ectonas.scoring import resolve_scoring
from keras_ectonas.surgery import PublishedSurgery

TASK = Task("index", np.arange(3))


def engine_for(optimizer="adam", **options):
    model = dense_model()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    compilation = Compilation.of(model)
    x, y = table(100)
    rows = Rows(x, y.astype("int32"), y)
    data = TrainingData(*split(rows, 0.2, TASK, 0), 32)
    scoring = resolve_scoring(None, compilation, TASK)
    engine = FitEngine(Assignment(Blueprint.of(model, compilation), data, scoring, TASK, **options))
    return engine, network_of(model)


def job(network, steps, candidate=0, first_step=0, seed=5, is_needed=False):
    return TrainingJob(candidate, network, first_step, steps, seed, is_needed=is_needed)


def test_outcomes_do_not_depend_on_what_came_before():
    engine, network = engine_for()
    wider = PublishedSurgery().add_outputs(network, 0, 2, np.random.default_rng(0)).network
    first, other, again = engine.train([job(network, 4), job(wider, 3, seed=9), job(network, 4)])
    assert first.network.fingerprint() == again.network.fingerprint()
    assert [record.score for record in first.records] == [record.score for record in again.records]
    fresh, _ = engine_for()
    alone = fresh.train([job(wider, 3, seed=9)])[0]
    assert alone.network.fingerprint() == other.network.fingerprint()


def test_training_in_parts_carries_the_optimizer_along():
    engine, network = engine_for(keras.optimizers.SGD(0.05, momentum=0.9))
    half = engine.train([job(network, 3)])[0]
    assert half.network.layers[0].weight("kernel").slots["momentum"].any()
    more = engine.train([job(half.network, 3, first_step=3)])[0]
    assert more.network.optimizer_state["other_0"] == 6


@pytest.mark.parametrize(("steps", "records"), [(0, 1), (1, 1), (3, 1), (4, 2), (7, 3)])
def test_steps_and_records(steps, records):
    engine, network = engine_for()
    assert engine._assignment.data.steps_per_epoch == 3
    outcome = engine.train([job(network, steps, first_step=6)])[0]
    assert outcome.steps == steps
    assert outcome.failure == ""
    expected = [6] if steps == 0 else [*range(9, 7 + steps, 3), *([6 + steps] if steps % 3 else [])]
    assert [record.step for record in outcome.records] == expected
    assert len(expected) == records
    assert (outcome.network.fingerprint() == network.fingerprint()) == (steps == 0)


def test_scores_are_those_of_the_trained_network():
    engine, network = engine_for()
    outcome = engine.train([job(network, 5)])[0]
    untrained = engine.train([job(outcome.network, 0)])[0]
    assert untrained.records[0].score == pytest.approx(outcome.records[-1].score)


def test_divergence_is_a_failure_with_its_reason():
    engine, network = engine_for(keras.optimizers.SGD(1e30))
    outcome = engine.train([job(network, 9)])[0]
    assert "became" in outcome.failure
    assert 0 < outcome.steps <= 9
    assert outcome.network is network


def test_exception_in_a_callback_is_a_failure_of_that_candidate_alone(caplog):
    class Touchy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise OSError("disk full")

    engine, network = engine_for(callbacks=[Touchy()])
    bad, good = engine.train([job(network, 9), job(network, 3, candidate=1)])
    assert bad.failure == "OSError: disk full"
    assert bad.steps == 6
    assert good.failure == ""
    assert "candidate 0 failed in training" in caplog.text


def test_time_limit_ends_a_job_after_its_epoch():
    engine, network = engine_for(deadline=Deadline(0.0))
    needed, other = engine.train([job(network, 9, is_needed=True), job(network, 9)])
    assert (needed.steps, needed.failure, len(needed.records)) == (3, "", 1)
    assert (other.steps, other.failure, other.records) == (0, "", ())
    assert other.network is network


def test_epochs_count_along_the_lineage():
    seen = []

    class Watching(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    engine, network = engine_for(callbacks=[Watching()])
    engine.train([job(network, 6, first_step=12)])
    assert seen == [4, 5]


def test_batches_are_of_one_size_and_hold_every_row():
    x = np.arange(70)[:, None]
    batches = RowBatches(Rows(x, x, x), 32, 3, 0)
    epochs = []
    for _ in range(2):
        drawn = [batches[k][0][:, 0] for k in range(len(batches))]
        assert [len(batch) for batch in drawn] == [32, 32, 32]
        assert set(np.concatenate(drawn)) == set(range(70))
        epochs.append(np.concatenate(drawn))
        batches.begin(1)
    assert not np.array_equal(*epochs)
    small = RowBatches(Rows(x[:20], x[:20], x[:20]), 32, 1, 0)
    assert sorted(small[0][0][:, 0]) == list(range(20))


@pytest.mark.parametrize(("n", "expected"), [(100, 100), (2048, 2048), (4096, 2048), (6000, 2000), (2049, 1025)])
def test_evaluation_batches_are_equal_as_far_as_possible(n, expected):
    assert evaluation_batch(n) == expected


@pytest.mark.parametrize("metrics", [(), ("accuracy",)])
@pytest.mark.parametrize(
    ("scoring", "expected"), [(None, True), ("accuracy", True), ("recall_macro", False), ("loss", False)]
)
def test_an_accuracy_is_known_as_one(scoring, metrics, expected):
    compilation = Compilation({}, "sparse_categorical_crossentropy", metrics)
    assert resolve_scoring(scoring, compilation, TASK).objective.is_accuracy == expected
    assert resolve_scoring(scoring, compilation, TASK, weighted=True).objective.is_accuracy == expected


class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.told = []

    def emit(self, record):
        self.told.append(record.getMessage())


def test_that_each_model_is_traced_is_no_news():
    words = "5 out of the last 15 calls to %s triggered tf.function retracing."
    logger, handler = logging.getLogger("tensorflow"), Told()

    def tell(epoch, logs):
        logger.warning(words, "multi_step_on_iterator")
        logger.warning("something else")

    engine, network = engine_for(callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=tell)])
    logger.addHandler(handler)
    try:
        engine.train([job(network, 6)])
        assert handler.told == ["something else"] * 2
        logger.warning(words, "a function of the user's own")
        assert len(handler.told) == 3
    finally:
        logger.removeHandler(handler)

"""Keras' callbacks in a search, each copied for a candidate, and callbacks of the search itself."""

import csv
import threading
from dataclasses import replace

import keras
import numpy as np
import pytest
from fake_engine import FakeEngine, by_chance
from models import dense_model, table
from networks import chain, dense
from test_fit_engine import engine_for, job

from keras_ectonas import ECToNASCallback, ECToNASTrainer, SearchCallback
from keras_ectonas.budget import Ledger
from keras_ectonas.engines.callbacks import copied_for
from keras_ectonas.errors import InputError, InputTypeError
from keras_ectonas.fitness import Objective
from keras_ectonas.search import Search
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import PublishedSurgery

QUICK = {"budget": 4, "verbose": 0, "random_state": 0, "max_children": 2, "n_parents": 1, "epochs_per_match": 1.5}


def learning_rates(epoch, rate):
    return 0.01 / (1 + epoch)


def test_early_stopping_ends_a_job_and_charges_what_was_taken():
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9, restore_best_weights=True)
    engine, network = engine_for(keras.optimizers.SGD(0.1), callbacks=[stopping])
    outcome = engine.train([job(network, 14)])[0]
    assert (outcome.steps, outcome.failure) == (6, "")
    # The weights of the first epoch are back, and it is they that were scored last.
    assert outcome.records[-1].logs["val_loss"] == pytest.approx(outcome.records[0].logs["val_loss"])
    kept = engine.train([job(outcome.network, 0)])[0]
    assert kept.records[0].score == pytest.approx(outcome.records[-1].score)


def test_a_job_of_several_calls_of_fit_begins_and_ends_once():
    events = []
    watching = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: events.append(epoch),
        on_train_begin=lambda logs: events.append("begin"),
        on_train_end=lambda logs: events.append("end"),
    )
    engine, network = engine_for(callbacks=[watching])
    engine.train([job(network, 7, first_step=6)])
    assert events == ["begin", 2, 3, 4, "end"]


def test_schedules_run_on_along_the_lineage():
    engine, network = engine_for(callbacks=[keras.callbacks.LearningRateScheduler(learning_rates)])
    first = engine.train([job(network, 6)])[0]
    second = engine.train([job(first.network, 3, first_step=6)])[0]
    rates = [record.logs["learning_rate"] for outcome in (first, second) for record in outcome.records]
    np.testing.assert_allclose(rates, [0.01, 0.005, 0.01 / 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("hook", "times"), [("epoch_begin", 2), ("epoch_end", 2), ("train_batch_begin", 6), ("train_batch_end", 6)]
)
def test_what_callbacks_make_of_the_learning_rate_is_kept_where_it_is_annealed(hook, times):
    seen = []

    class Halving(keras.callbacks.Callback):
        def halve(self, number, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))
            self.model.optimizer.learning_rate = seen[-1] / 2

    setattr(Halving, f"on_{hook}", Halving.halve)
    engine, network = engine_for(keras.optimizers.SGD(0.1), callbacks=[Halving()])
    first = engine.train([replace(job(network, 6), rates=(1.0, 0.1))])[0]
    np.testing.assert_allclose(seen, 0.1 * 0.5 ** np.arange(times), rtol=1e-5)
    engine.train([replace(job(first.network, 3, first_step=6), rates=(1.0, 0.1))])
    np.testing.assert_allclose(seen[times], 0.1 * 0.5**times, rtol=1e-5)


def test_not_a_number_ends_a_job_at_once():
    engine, network = engine_for(keras.optimizers.SGD(1e30), callbacks=[keras.callbacks.TerminateOnNaN()])
    outcome = engine.train([job(network, 9)])[0]
    assert "became" in outcome.failure
    assert outcome.steps <= 3


def test_logs_of_candidates_do_not_mix(tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    engine, network = engine_for(callbacks=[logger])
    first = engine.train([job(network, 3, candidate=4), job(network, 7, candidate=5)])
    again = job(first[0].network, 3, candidate=4, first_step=3)
    engine.train([type(again)(**{**again.__dict__, "steps_before": 3})])
    rows = {path.name: list(csv.DictReader(path.read_text().splitlines())) for path in tmp_path.iterdir()}
    assert {name: [row["epoch"] for row in found] for name, found in rows.items()} == {
        "log_4.csv": ["0", "1"],
        "log_5.csv": ["0", "1", "2"],
    }


def test_weights_of_candidates_do_not_mix(tmp_path):
    keeping = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.weights.h5"), save_weights_only=True)
    engine, network = engine_for(callbacks=[keeping])
    assert not any(done.failure for done in engine.train([job(network, 3, candidate=4), job(network, 3, candidate=5)]))
    assert {path.name for path in tmp_path.iterdir()} == {"best_4.weights.h5", "best_5.weights.h5"}


@pytest.mark.parametrize(
    ("path", "numbered"),
    [
        ("logs/log.csv", "logs/log_4.csv"),
        ("logs", "logs_4"),
        ("logs/", "logs/4"),
        (".", "./4"),
        ("gs://bucket/best.weights.h5", "gs://bucket/best_4.weights.h5"),
    ],
)
def test_names_bear_the_number_of_the_candidate(path, numbered):
    _, network = engine_for()
    copied = copied_for([keras.callbacks.CSVLogger(path)], job(network, 3, candidate=4))
    assert copied[0].filename == numbered


def test_tensorboard_writes_for_each_candidate(tmp_path):
    pytest.importorskip("tensorboard")
    engine, network = engine_for(callbacks=[keras.callbacks.TensorBoard(str(tmp_path / "logs"))])
    assert engine.train([job(network, 3, candidate=4)])[0].failure == ""
    assert list((tmp_path / "logs_4").rglob("events*"))


def test_a_candidates_number_is_among_the_parameters():
    numbers = []

    class Watching(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            numbers.append(self.params["candidate"])

    engine, network = engine_for(callbacks=[Watching()])
    engine.train([job(network, 3, candidate=4), job(network, 3, candidate=7)])
    assert numbers == [4, 7]


def test_callbacks_that_know_a_model_are_copied_without_it():
    stopping = keras.callbacks.EarlyStopping("loss", patience=3)
    model = dense_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(*table(), callbacks=[stopping], verbose=0)
    engine, network = engine_for(callbacks=[stopping])
    assert engine.train([job(network, 3)])[0].failure == ""
    assert stopping.model is model


@pytest.mark.parametrize("engine", ["auto", "fit"])
def test_several_steps_in_one_execution_change_no_search(engine):
    x, y = table(100)
    records = []
    for steps in (1, 10):
        model = dense_model()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=steps)
        callbacks = [keras.callbacks.TerminateOnNaN()] if engine == "fit" else None
        trainer = ECToNASTrainer(model, callbacks=callbacks, engine=engine, **QUICK).fit(x, y)
        assert trainer.model_.steps_per_execution == steps
        assert not any(trainer.candidates_["remark"])
        records.append(trainer.history_["val_loss"])
    np.testing.assert_array_equal(*records)


class Holding(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("callback", "error", "message"),
    [
        (Holding(), InputError, "callbacks: Holding cannot be copied"),
        (keras.callbacks.BackupAndRestore("backup"), InputError, "checkpoint and resume keep a search"),
        (print, InputTypeError, r"callbacks\[1\] of type builtin_function_or_method: expected a keras"),
    ],
)
def test_callbacks_that_cannot_be_used(callback, error, message):
    x, y = table()
    with pytest.raises(error, match=message):
        ECToNASTrainer(dense_model(), callbacks=[SearchCallback(), callback], **QUICK).fit(x, y)


class Following(SearchCallback):
    def __init__(self):
        self.events = []
        self.matches = []

    def on_search_begin(self, search):
        self.events.append("search")

    def on_generation_begin(self, search):
        self.events.append(f"generation {search.generation}")

    def on_match_end(self, search, players, winner):
        self.matches.append((search.generation, players, winner))

    def on_generation_end(self, search):
        self.events.append(f"end of {search.generation}")

    def on_search_end(self, search):
        self.events.append(f"ended by {search.ended_by}")


def search_with(*callbacks, **options):
    settings = SearchSettings(budget=60, max_children=4, n_parents=1, epochs_per_match=1)
    engine = FakeEngine(by_chance(0), **options)
    network = chain((5,), dense(6), dense(3))
    return Search(
        network, settings, Objective("score"), PublishedSurgery(), Ledger.for_epochs(60, 10), 0, engine.train,
        callbacks=callbacks,
    )  # fmt: skip


def test_a_search_tells_of_generations_and_matches():
    following = Following()
    search = search_with(following)
    search.run()
    n = len(following.events) // 2 - 1
    assert n >= max(generation for generation, _, _ in following.matches) > 0
    expected = [text for k in range(1, n + 1) for text in (f"generation {k}", f"end of {k}")]
    assert following.events == ["search", *expected, "ended by budget"]
    told = [(generation, *(player.id for player in players)) for generation, players, _ in following.matches]
    assert told == [(match.generation, match.first, match.second) for match in search.matches]
    for _, players, winner in following.matches:
        assert winner in players


def test_no_one_wins_a_match_that_both_have_failed():
    following = Following()
    search = search_with(following, fails=lambda job: "ill" if job.candidate in (3, 4) and job.steps >= 10 else "")
    search.run()
    for _, players, winner in following.matches:
        if all(player.status == "failed" for player in players):
            assert winner is None
        else:
            assert winner is not None
            assert winner.status != "failed"


def test_a_callback_may_end_a_search():
    class Enough(Following):
        def on_generation_end(self, search):
            if search.generation == 2:
                search.stop()

    enough = Enough()
    search = search_with(enough)
    search.run()
    assert (search.ended_by, search.generation) == ("callback", 2)
    assert enough.events[-1] == "ended by callback"


def test_both_kinds_in_one_list_of_a_trainer():
    x, y = table()
    following, stopping = Following(), keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9)
    trainer = ECToNASTrainer(dense_model(), callbacks=[following, stopping], **{**QUICK, "budget": 8}).fit(x, y)
    assert following.events[0] == "search"
    assert following.events[-1] == "ended by budget"
    assert following.matches
    assert trainer.n_epochs_ <= 8
    assert sum(trainer.candidates_["epochs"]) == pytest.approx(trainer.n_epochs_)


@pytest.mark.parametrize("steps", [None, 3])
def test_a_lineage_begins_after_the_epochs_of_fit_whatever_an_optimizer_puts_together(steps):
    x, y = table(96)
    model = dense_model()
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=steps)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    search = ECToNASCallback(x, y, validation_data=(x, y), **QUICK)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[search])
    assert search.lineage_[0].epoch == 2.0

"""Promises under fire: budget, time, interrupts, bad candidates, the limit on parameters, threads."""

import dataclasses
import os
import random
import signal
import threading
import time

import keras
import numpy as np
import pytest
from fake_engine import FakeEngine, by_chance
from hypothesis import given, settings
from hypothesis import strategies as st
from models import dense_model, table
from test_search import ACCURACY, dense_start, finished, search_of

from keras_ectonas import ECToNASCallback, ECToNASClassifier, ECToNASTrainer, SearchCallback
from keras_ectonas.bridge import network_of
from keras_ectonas.budget import Ledger
from keras_ectonas.errors import InputError, SearchError
from keras_ectonas.lineage import EpochRecord, TrainingOutcome
from keras_ectonas.search import Search
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import PublishedSurgery

QUICK = {"budget": 6, "verbose": 0, "random_state": 0, "max_children": 4, "epochs_per_match": 0.5}


class TimedEngine(FakeEngine):
    """Each step takes a second, of children maybe more, and training stops as real engines do when time is up."""

    def __init__(self, seed, steps_per_epoch, max_time, seconds_of_children=1):
        super().__init__(by_chance(seed))
        self.now = 0.0
        self.taken = 0
        self._steps_per_epoch = steps_per_epoch
        self._seconds_of_children = seconds_of_children
        self._max_time = float("inf") if max_time is None else max_time

    def _train_one(self, job):
        records, steps = [], 0
        while steps < job.steps or not job.steps:
            if self.now >= self._max_time and (records or not job.is_needed):
                break
            part = min(self._steps_per_epoch, job.steps - steps)
            self.now += part * (self._seconds_of_children if job.candidate else 1)
            steps, self.taken = steps + part, self.taken + part
            records.append(EpochRecord(job.first_step + steps, self.score(job.network, steps), {"val_loss": 1.0}))
            if not job.steps:
                break
        return TrainingOutcome(job.network, tuple(records), steps, float(steps))


# Budget and time.


def test_time_counts_from_the_beginning_of_fit(monkeypatch):
    now = time.monotonic
    late = {"by": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: now() + late["by"])

    def slow_to_make(x, y):
        late["by"] += 1000.0
        return dense_model()

    trainer = ECToNASTrainer(slow_to_make, max_time=900.0, **QUICK).fit(*table())
    assert trainer.ended_by_ == "max_time"
    assert trainer.n_epochs_ <= 1


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    budget=st.floats(0.2, 60),
    more=st.floats(0, 30),
    steps_per_epoch=st.integers(1, 30),
    warmup_epochs=st.one_of(st.none(), st.floats(0, 100)),
    epochs_per_match=st.one_of(st.none(), st.floats(0.01, 8)),
    n_parents=st.integers(1, 5),
    max_params=st.sampled_from([None, None, 700, 300]),
    max_time=st.one_of(st.none(), st.floats(1, 1500)),
    seed=st.integers(0, 10),
)
def test_neither_budget_nor_time_is_overspent(budget, more, steps_per_epoch, max_time, seed, **knobs):
    chosen = SearchSettings(budget=budget, max_time=max_time, **knobs)
    ledger = Ledger.for_epochs(budget, steps_per_epoch)
    if ledger.limit < 1:
        return
    engine = TimedEngine(seed, steps_per_epoch, max_time)
    clock = lambda: engine.now  # noqa: E731
    search = Search(dense_start(), chosen, ACCURACY, PublishedSurgery(), ledger, seed, engine.train, clock=clock)
    search.run()
    assert search.done
    assert engine.taken == search.ledger.spent <= search.ledger.limit <= budget * steps_per_epoch + 1e-6
    assert search.winner().network is not None
    assert search.winner().score is not None
    if max_time is not None:
        # What a fitted estimator cannot do without: a first look at the start, and at what it was shrunk to.
        assert engine.now <= max_time + steps_per_epoch * (2 if knobs["max_params"] else 1)
    if knobs["max_params"]:
        assert search.winner().n_params <= knobs["max_params"]

    state = search.state()
    granted = Ledger.for_epochs(budget + more, steps_per_epoch)
    later = dataclasses.replace(chosen, budget=budget + more, max_time=None)
    engine._max_time = float("inf")
    again = Search(dense_start(), later, ACCURACY, PublishedSurgery(), granted, seed, engine.train, clock=clock)
    again.continue_with(state)
    again.run()
    assert engine.taken == again.ledger.spent <= again.ledger.limit <= (budget + more) * steps_per_epoch + 1e-6
    assert again.ended_by == "budget"
    assert [c.description for c in again.candidates[: len(search.candidates)]] == [
        c.description for c in search.candidates
    ]


@pytest.mark.parametrize(("engine", "n_jobs"), [("fit", 1), ("auto", 1), ("auto", 2)])
def test_time_ends_within_an_epoch(engine, n_jobs):
    x, y = table(4000)
    knobs = {**QUICK, "budget": 100_000, "epochs_per_match": 1000, "warmup_epochs": 1000}
    trainer = ECToNASTrainer(dense_model(), engine=engine, n_jobs=n_jobs, max_time=6.0, **knobs)
    began = time.monotonic()
    trainer.fit(x, y)
    assert trainer.ended_by_ == "max_time"
    assert trainer.best_score_ is not None
    # An epoch takes some tens of milliseconds; the machine may be busy.
    assert time.monotonic() - began < 12.0


def test_a_time_limit_leaves_out_those_that_have_not_begun():
    engine = TimedEngine(0, 10, 530.0, seconds_of_children=100)
    search = finished(
        engine,
        clock=lambda: engine.now,
        budget=1000,
        max_time=530.0,
        warmup_epochs=5,
        epochs_per_match=5,
        final_share=0.0,
    )
    assert search.ended_by == "max_time"
    assert engine.now <= 530 + 10 * 100
    assert {candidate.score is None for candidate in search.candidates} == {True, False}
    assert search.best == 0


def test_a_search_that_time_ended_goes_on_with_new_generations():
    engine = TimedEngine(0, 10, 600.0)

    search = finished(engine, clock=lambda: engine.now, budget=300, max_time=600.0)
    assert (search.ended_by, search.ended_in) == ("max_time", "final")
    engine._max_time = float("inf")
    again = search_of(engine, clock=lambda: engine.now, budget=300)
    again.continue_with(search.state())
    again.run()
    assert again.ended_by == "budget"
    assert again.generation > search.generation + 2


# Interrupts.


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C as in a terminal, also where whoever began this process has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def by_content(network, step):
    """A score by chance that is always the same for the same network."""
    return float(np.random.default_rng([int(network.fingerprint()[:12], 16), step]).random())


class Interrupting(FakeEngine):
    """Is interrupted in the middle of the round in which a candidate is trained for the first time."""

    def __init__(self, candidate):
        super().__init__(by_content)
        self._candidate = candidate

    def _train_one(self, job):
        if job.candidate == self._candidate:
            self._candidate = -1
            raise KeyboardInterrupt
        return super()._train_one(job)


@pytest.mark.parametrize("candidate", [2, 8, 10])
def test_an_interrupted_round_is_as_if_it_had_not_begun(candidate):
    engine = Interrupting(candidate)
    search = search_of(engine, budget=100)
    search.run()
    assert search.ended_by == "interrupted"
    assert candidate not in {charge.candidate for charge in search.ledger.charges}
    assert search.ledger.spent == sum(c.steps for c in search.candidates)
    assert search.winner().network is not None
    plain = search_of(FakeEngine(by_content), budget=100)
    plain.run()
    described = [c.description for c in plain.candidates]
    assert [c.description for c in search.candidates] == described[: len(search.candidates)]
    assert search.ledger.charges == plain.ledger.charges[: len(search.ledger.charges)]
    again = search_of(FakeEngine(by_content), budget=100)
    again.continue_with(search.state())
    again.run()
    assert [c.description for c in again.candidates] == described
    assert again.ledger.charges == plain.ledger.charges
    assert again.best == plain.best


def interrupt_after(seconds, times=1):
    def press():
        for _ in range(times):
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


class Begun(keras.callbacks.Callback):
    """Waits for training to begin, then interrupts it."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3 and self.times:
            times, self.times = self.times, 0
            interrupt_after(0.05, times)


def test_one_interrupt_leaves_a_fitted_estimator():
    x, y = table()
    knobs = {**QUICK, "budget": 5000, "warmup_epochs": 2}
    trainer = ECToNASTrainer(dense_model(), engine="fit", callbacks=[Begun(1)], **knobs).fit(x, y)
    assert trainer.ended_by_ == "interrupted"
    assert trainer.n_epochs_ < 5000
    assert trainer.predict(x).shape == y.shape


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_one_interrupt_stops_the_compiled_engine_soon(n_jobs):
    x, y = table(2000)
    knobs = {**QUICK, "budget": 1_000_000, "warmup_epochs": 1, "epochs_per_match": 5000}
    trainer = ECToNASTrainer(dense_model(), n_jobs=n_jobs, **knobs)
    pressed = []

    def press():
        # The first generation trains for long enough to be hit in it.
        time.sleep(15.0)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    trainer.fit(x, y)
    assert time.monotonic() - pressed[0] < 6.0
    thread.join()
    assert trainer.ended_by_ == "interrupted"
    assert trainer.n_epochs_ >= 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("train", "compile"))]


def test_two_interrupts_abort(monkeypatch):
    from keras_ectonas.engines import FitEngine

    def close(engine):
        raise KeyboardInterrupt

    x, y = table()
    monkeypatch.setattr(FitEngine, "close", close)
    trainer = ECToNASTrainer(dense_model(), engine="fit", callbacks=[Begun(1)], **{**QUICK, "budget": 5000})
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        trainer.fit(x, y)
    assert not hasattr(trainer, "model_")


class Late(SearchCallback):
    """Raises from places where the winner is put together, when the search is over."""

    def __init__(self, monkeypatch, calls, kind=KeyboardInterrupt):
        self.calls, self.kind, self.add, self.seen = calls, kind, keras.Sequential.add, None
        monkeypatch.setattr(keras.Sequential, "add", lambda *args, **kwargs: self.adds(*args, **kwargs))

    def on_search_end(self, search):
        self.seen = 0

    def adds(self, *args, **kwargs):
        if self.seen is not None:
            self.seen += 1
            if self.seen in self.calls:
                raise self.kind
        return self.add(*args, **kwargs)


def compiled_model():
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("call", [1, 2])
def test_an_interrupt_behind_a_search_changes_nothing(call, monkeypatch):
    x, y = table()
    plain = ECToNASTrainer(dense_model(), engine="fit", **QUICK).fit(x, y)
    late = Late(monkeypatch, [call])
    trainer = ECToNASTrainer(dense_model(), engine="fit", callbacks=[late], **QUICK).fit(x, y)
    assert late.seen > call
    np.testing.assert_array_equal(trainer.predict_proba(x), plain.predict_proba(x))
    assert trainer.n_epochs_ == plain.n_epochs_


@pytest.mark.parametrize("call", [1, 2])
def test_an_interrupt_behind_a_search_leaves_the_winner_in_the_model(call, monkeypatch):
    x, y = table()
    knobs = {**QUICK, "budget": 20, "engine": "fit"}
    plain, model = compiled_model(), compiled_model()
    search = ECToNASCallback(x, y, **knobs)
    plain.fit(x, y, epochs=2, verbose=0, shuffle=False, callbacks=[search])
    assert len(search.lineage_) > 1
    late = Late(monkeypatch, [call])
    follower = ECToNASCallback(x, y, callbacks=[late], **knobs)
    model.fit(x, y, epochs=2, verbose=0, shuffle=False, callbacks=[follower])
    assert late.seen > call
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))


@pytest.mark.parametrize(("calls", "kind"), [([2, 5], KeyboardInterrupt), ([2], MemoryError)])
def test_a_model_is_replaced_as_a_whole_or_not_at_all(calls, kind, monkeypatch):
    x, y = table()
    model, seen = compiled_model(), {}
    late = Late(monkeypatch, calls, kind)
    before = keras.callbacks.LambdaCallback(on_train_end=lambda logs: seen.update(outputs=model.predict(x, verbose=0)))
    search = ECToNASCallback(x, y, callbacks=[late], engine="fit", **{**QUICK, "budget": 20})
    with pytest.raises(kind):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[before, search])
    assert late.seen >= calls[-1]
    np.testing.assert_array_equal(model.predict(x, verbose=0), seen["outputs"])
    model.fit(x, y, verbose=0)
    late.seen = None
    assert search.select(within=1.0).predict(x, verbose=0).shape == seen["outputs"].shape
    assert search.lineage_[-1].n_params > 0


def test_a_model_that_cannot_be_replaced_keeps_its_optimizer(monkeypatch):
    from keras_ectonas.bridge import LiveModel

    def assign(live, network):
        raise MemoryError

    x, y = table()
    model, seen = compiled_model(), {}
    before = keras.callbacks.LambdaCallback(on_train_end=lambda logs: seen.update(outputs=model.predict(x, verbose=0)))
    optimizer, search = model.optimizer, ECToNASCallback(x, y, engine="fit", **{**QUICK, "budget": 20})
    build = search._finish
    search._finish = lambda *arguments: (monkeypatch.setattr(LiveModel, "assign", assign), build(*arguments))
    with pytest.raises(MemoryError):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[before, search])
    assert model.optimizer is optimizer
    steps = int(optimizer.iterations)
    np.testing.assert_array_equal(model.predict(x, verbose=0), seen["outputs"])
    model.fit(x, y, verbose=0)
    assert int(optimizer.iterations) == steps + 3


# Bad candidates.


@keras.saving.register_keras_serializable("tests")
class Moody(keras.layers.Layer):
    """Fails in some candidates: whoever is built when `fails` says so."""

    fails = staticmethod(lambda: False)

    def call(self, inputs):
        if type(self).fails():
            raise RuntimeError("a layer of the user's own failed")
        return inputs


class Troubles(keras.callbacks.Callback):
    """One training in three goes wrong, in one of four ways."""

    def __init__(self, seed):
        super().__init__()
        self.chance = random.Random(seed)
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def on_train_begin(self, logs=None):
        trouble = self.chance.randrange(12) if len(self.seen) > 1 else 11
        self.seen.append(trouble)
        if trouble == 0:
            kernel = self.model.layers[-1].kernel
            kernel.assign(np.full(kernel.shape, np.nan, "float32"))
        elif trouble == 1:
            raise MemoryError("cannot allocate 9 GiB")
        elif trouble == 2:
            raise OSError("the user's disk is full")
        elif trouble == 3:
            raise RuntimeError("a layer of the user's own failed")


def test_one_candidate_in_three_fails_in_four_ways(caplog):
    x, y = table(120)
    troubles = Troubles(4)
    knobs = {**QUICK, "budget": 24, "max_children": 8}
    trainer = ECToNASTrainer(dense_model(), engine="fit", callbacks=[troubles], **knobs).fit(x, y)
    assert {0, 1, 2, 3} <= set(troubles.seen)
    assert trainer.n_epochs_ <= 24
    assert trainer.ended_by_ == "budget"
    told = {
        remark
        for remark, status in zip(trainer.candidates_["remark"], trainer.candidates_["status"], strict=True)
        if status == "failed"
    }
    assert told >= {
        "MemoryError: cannot allocate 9 GiB",
        "OSError: the user's disk is full",
        "RuntimeError: a layer of the user's own failed",
    }
    assert any("nan" in remark for remark in told)
    winner = trainer.candidates_["status"].index("winner")
    assert trainer.candidates_["remark"][winner] == ""
    assert np.isfinite(trainer.best_score_)
    assert trainer.predict(x).shape == y.shape


def test_a_layer_that_fails_in_wider_networks_alone():
    class Narrow(Moody):
        def call(self, inputs):
            if inputs.shape[-1] > 6:
                raise RuntimeError("this layer is for six units")
            return inputs

    x, y = table()
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(6, activation="relu"), Narrow(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    trainer = ECToNASTrainer(model, **{**QUICK, "budget": 12}).fit(x, y)
    assert trainer.ended_by_ == "budget"


def test_allocation_that_fails_in_the_compiled_engine(monkeypatch):
    import jax

    from keras_ectonas.engines.compiled.program import Program

    plain = Program.__call__

    def allocate(self, *arguments):
        if self.network.summary().count("Dense") > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.")
        return plain(self, *arguments)

    monkeypatch.setattr(Program, "__call__", allocate)
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), **{**QUICK, "budget": 10}).fit(x, y)
    failed = [c for c, status in enumerate(trainer.candidates_["status"]) if status == "failed"]
    assert failed
    assert all("RESOURCE_EXHAUSTED" in trainer.candidates_["remark"][c] for c in failed)
    assert trainer.ended_by_ == "budget"


def test_surgery_without_memory_is_a_refusal():
    class Greedy(PublishedSurgery):
        def add_outputs(self, network, index, n_added, rng):
            raise MemoryError("cannot allocate")

    search = search_of(FakeEngine(by_chance(0)), budget=60)
    search.surgery = Greedy()
    search.run()
    assert search.ended_by == "budget"
    assert "cannot allocate" in {refusal.reason for refusal in search.refusals}


def test_a_start_that_diverges_is_told_what_may_help():
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), optimizer=keras.optimizers.SGD(1e30), **QUICK)
    with pytest.raises(SearchError, match=r"start model cannot be trained: .*A lower learning rate.*may help"):
        trainer.fit(x, y)


# The limit on parameters.


@pytest.mark.parametrize("surgery", ["calibrated", "paper"])
def test_a_start_above_the_limit_is_shrunk(surgery):
    x, y = table(300)
    model = dense_model(units=(64, 32))
    knobs = {**QUICK, "budget": 20, "warmup_epochs": 8, "optimizer": keras.optimizers.Adam(0.01)}
    trainer = ECToNASTrainer(model, surgery=surgery, max_params=500, **knobs).fit(x, y)
    assert model.count_params() > 2000
    assert trainer.model_.count_params() <= 500
    assert max(trainer.candidates_["n_params"][1:]) <= 500
    shrink = trainer.lineage_[1]
    assert shrink.mutation == "shrink"
    assert 400 < shrink.n_params <= 500
    assert shrink.description.startswith("shrunk to max_params: ")
    if surgery == "calibrated":
        scores = trainer.candidates_["score"]
        assert scores[1] > scores[0] - 0.1


def test_what_cannot_be_shrunk_enough_is_refused():
    x, y = table()
    flat = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(InputError, match=r"model has 27 parameters, max_params=20: .* it would still have 27"):
        ECToNASTrainer(flat, max_params=20, **QUICK).fit(x, y)


# Threads.


def result(trainer):
    return [str(entry) for entry in trainer.lineage_], network_of(trainer.model_).fingerprint()


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_two_searches_in_two_threads(engine):
    x, y = table()
    model = dense_model()
    knobs = [{**QUICK, "random_state": seed, "engine": engine, "n_jobs": 1 + seed % 2} for seed in (1, 2)]
    if engine == "fit":
        knobs = [{**own, "n_jobs": 1} for own in knobs]
    alone = [ECToNASTrainer(model, **own).fit(x, y) for own in knobs]
    python, numpy = random.getstate(), np.random.get_state()[1].copy()
    together = [ECToNASTrainer(model, **own) for own in knobs]
    failures = []

    def fit(trainer):
        try:
            trainer.fit(x, y)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=fit, args=(trainer,), daemon=True) for trainer in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=240)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert [result(trainer) for trainer in together] == [result(trainer) for trainer in alone]
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], numpy)
    assert keras.config.floatx() == "float32"


def test_a_classifier_from_nothing_in_two_threads_draws_its_own_weights():
    x, y = table()
    alone = ECToNASClassifier(**{**QUICK, "budget": 1}).fit(x, y)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ECToNASClassifier(**{**QUICK, "budget": 1}).fit(x, y)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    fingerprints = {network_of(trainer.model_).fingerprint() for trainer in (alone, *found)}
    assert len(found) == 2
    assert len(fingerprints) == 1

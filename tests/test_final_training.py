"""What the rest of the budget makes of the best candidate, and when it does not count."""

import dataclasses

import numpy as np
import pytest
from fake_engine import FakeEngine
from test_search import PARTS, convolutional_start, finished, search_of

from keras_ectonas.budget import Charge, Ledger
from keras_ectonas.fitness import Objective
from keras_ectonas.inputs.data import Rows, TrainingData
from keras_ectonas.lineage import Candidate, EpochRecord, TrainingOutcome
from keras_ectonas.search.final_training import learns_by_heart
from keras_ectonas.search.outlook import Outlook
from keras_ectonas.settings import SearchSettings

ACCURACY = Objective("accuracy", is_accuracy=True)
EPOCH = 10
SETTINGS = {
    "steps_per_epoch": EPOCH, "budget": 200, "final_share": 0.4, "final_dropout": 0.0,
    "objective": ACCURACY, "luck": 0.05,
}  # fmt: skip
DROPPED = {"final_dropout": 0.25, "cell_pooling": "none"}


def final_trainings(search):
    """Candidate and steps of each, as they were charged."""
    found = {}
    for charge in search.ledger.charges:
        if charge.purpose == "final training":
            found[charge.candidate] = found.get(charge.candidate, 0) + charge.steps
    return found


def test_as_long_as_the_loss_falls_there_is_one():
    search = finished(FakeEngine(lambda network, step: 0.5, loss=lambda step: 0.999**step), **SETTINGS)
    ((candidate, steps),) = final_trainings(search).items()
    assert steps >= 0.4 * 200 * EPOCH
    assert search.best == candidate
    assert search.ledger.left == 0


@pytest.mark.parametrize(("gain", "longer_wins"), [(0.0, False), (0.3, True)])
def test_with_far_more_left_than_was_needed_shorter_ones_come_before_the_long_one(gain, longer_wins):
    # The loss is smallest after the first 50 steps, of which half that is left would be far more.
    engine = FakeEngine(lambda network, step: 0.5 + gain * (step > 700), loss=lambda step: 1.0 + step)
    search = finished(engine, **SETTINGS)
    (*shorter, long), steps = final_trainings(search), list(final_trainings(search).values())
    # A sixteenth would be less than an epoch.
    assert steps[:-1] == [2 * 50 // 4, 2 * 50]
    assert steps[-1] >= 0.4 * 200 * EPOCH - 125
    assert len({search.candidates[number].parent for number in (*shorter, long)}) == 1
    assert search.best == (long if longer_wins else search.candidates[long].parent)
    assert all(search.candidates[number].network is None for number in shorter)
    assert search.ledger.left == 0


@pytest.mark.parametrize(
    ("score", "loss", "counts"),
    [
        (0.52, 2.0, True),
        (0.50, 2.0, False),
        (0.50, 1.0 - 1e-2, True),
        (0.48, 2.0, False),
        (0.48, 0.1, True),
        (0.40, 0.1, False),
    ],
)
def test_a_lower_score_counts_if_luck_could_have_made_it_and_the_loss_is_smaller(score, loss, counts):
    def trained_long(step):
        return step > 600

    engine = FakeEngine(
        lambda network, step: score if trained_long(step) else 0.5,
        loss=lambda step: loss if trained_long(step) else 1.0 - 1e-6 * step,
    )
    search = finished(engine, **SETTINGS)
    (last,) = final_trainings(search)
    assert (search.best == last) == counts
    assert search.winner().network is not None


@pytest.mark.parametrize("steps", [25, 100])
def test_a_shorter_one_may_be_the_end(steps):
    def score(network, step):
        job = engine.jobs[-1]
        return 0.6 if (job.steps, job.rates) == (steps, (1.0, 0.0)) else 0.5

    engine = FakeEngine(score, loss=lambda step: 1.0 + step)
    search = finished(engine, **SETTINGS)
    ends = final_trainings(search)
    assert [number for number, taken in ends.items() if taken == steps] == [search.best]
    assert all(search.candidates[number].status == "lost" for number in ends if number != search.best)
    assert search.lineage()[-1].description == "trained with some of the rest of the budget"


LOOKS = {
    "a whole epoch": ([(10, 0.5, 1.0)], 1.0, True),
    "loss no smaller": ([(10, 1.0, 1.0)], 1.0, False),
    "a few good batches at the end": ([(10, 1.0, 1.0), (11, 0.1, 1.0)], 1.0, False),
    "a few bad batches at the end": ([(10, 0.5, 1.0), (11, 9.0, 1.0)], 1.0, True),
    "a few batches alone": ([(1, 0.1, 1.0)], 1.0, False),
    "other weights put back": ([(10, 0.5, 1.0), (10, None, 0.7)], 1.0, True),
    "rows that count ten times": ([(10, 5.0, 1.0)], 10.0, True),
    "rows that count a tenth": ([(10, 0.1, 1.0)], 0.1, False),
    "a loss below zero": ([(10, -2.0, -1.0)], 1.0, True),
    "nothing": ([], 1.0, False),
}


@pytest.mark.parametrize("name", LOOKS)
def test_rows_are_learned_by_heart_by_the_last_whole_epoch(name):
    looks, loss_ratio, expected = LOOKS[name]
    records = []
    for step, loss, val_loss in looks:
        logs = {"val_loss": val_loss} if loss is None else {"val_loss": val_loss, "loss": loss}
        records.append(EpochRecord(100 + step, 0.5, logs))
    own = Candidate(3, 2, 1, "identity", "", 5, 100, None, records=records)
    assert learns_by_heart(own, EPOCH, loss_ratio) == expected


@pytest.mark.parametrize(
    ("weights", "held_out", "ratio"),
    [(None, None, 1.0), (0.1, None, 0.1), (None, 4.0, 0.25), (3.0, 2.0, 1.5), (0.0, None, 1.0)],
)
def test_the_weights_of_rows_set_losses_apart(weights, held_out, ratio):
    def rows(weight, n):
        values = np.zeros((n, 1))
        return Rows(values, values, values, None if weight is None else np.full(n, weight, "float32"))

    assert TrainingData(rows(weights, 8), rows(held_out, 4), 2).loss_ratio == pytest.approx(ratio)


@pytest.mark.parametrize("budget", [200, 203.3])
def test_a_look_takes_whole_epochs(budget):
    engine = FakeEngine(lambda network, step: 0.5, loss=lambda step: 0.999**step)
    search = finished(engine, convolutional_start(), **SETTINGS | DROPPED | {"budget": budget})
    look, long = final_trainings(search).values()
    assert look % EPOCH == 0
    assert 0.2 * (look + long) <= look <= 0.25 * (look + long)


@pytest.mark.parametrize("budget", [8, 20])
def test_there_is_no_look_of_fewer_epochs_than_a_score_is_the_mean_of(budget):
    engine = FakeEngine(lambda network, step: 0.5, loss=lambda step: 0.999**step)
    search = finished(engine, convolutional_start(), **SETTINGS | DROPPED | {"budget": budget})
    assert len(final_trainings(search)) == 1
    assert not any(layer.kind == "Dropout" for job in engine.jobs for layer in job.network.layers)


class Interrupted(FakeEngine):
    """Scores differently in final trainings, and is interrupted once in that part of the long one."""

    def __init__(self, part, gain):
        super().__init__(self._score, loss=lambda step: 0.999**step)
        self._part, self._gain = part, gain

    def _score(self, network, step):
        return 0.5 + self._gain * (self.jobs[-1].rates in (*PARTS, (1.0, 0.0)))

    def _train_one(self, job):
        if self._part is not None and job.rates == PARTS[self._part]:
            self._part = None
            raise KeyboardInterrupt
        return super()._train_one(job)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("gain", [0.3, -0.3])
def test_an_interrupt_keeps_what_final_trainings_have_come_to(part, gain):
    search = finished(Interrupted(part, gain), convolutional_start(), **SETTINGS | DROPPED)
    look, *rest = final_trainings(search)
    assert len(rest) == (part > 0)
    assert search.ended_by == "interrupted"
    assert search.ledger.spent == sum(own.steps for own in search.candidates)
    assert search.best in ([look, *rest] if gain > 0 else [search.candidates[look].parent])
    assert search.winner().status == "parent"
    assert search.winner().network is not None

    again = search_of(Interrupted(None, gain), convolutional_start(), **SETTINGS | DROPPED)
    again.continue_with(search.state())
    again.run()
    whole = finished(Interrupted(None, gain), convolutional_start(), **SETTINGS | DROPPED)
    assert again.ledger.charges == whole.ledger.charges
    assert (again.best, again.ended_by) == (whole.best, "budget")
    assert [own.status for own in again.candidates] == [own.status for own in whole.candidates]
    assert [own.network is None for own in again.candidates] == [own.network is None for own in whole.candidates]


def test_whoever_ends_the_long_training_early_ends_it_for_good():
    class Early(FakeEngine):
        def _train_one(self, job):
            outcome = super()._train_one(job)
            is_cut = job.rates == PARTS[1]
            return dataclasses.replace(outcome, steps=job.steps - 5) if is_cut else outcome

    engine = Early(lambda network, step: 0.5, loss=lambda step: 0.999**step)
    search = finished(engine, **SETTINGS)
    assert [job.rates for job in engine.jobs[-2:]] == PARTS[:2]
    assert search.ended_by == "budget"
    assert search.ledger.left > 0

    def continued(**knobs):
        again = search_of(engine, **SETTINGS | knobs)
        again.continue_with(search.state())
        again.run()
        return len(again.candidates) - len(search.candidates)

    # It has come to its end, whatever it left: a time limit where there was none is no more of anything.
    assert continued() == 0
    assert continued(max_time=1e9) == 0
    assert continued(budget=300) > 0


def test_time_is_granted_once():
    def timed(max_time):
        return search_of(engine, clock=lambda: sum(0.5 * job.steps for job in engine.jobs) - since, **knobs(max_time))

    def knobs(max_time):
        return SETTINGS | {"budget": 1000, "max_time": max_time}

    since = 0.0
    engine = FakeEngine(lambda network, step: 0.5, pace=lambda job: 0.5, loss=lambda step: 0.999**step)
    search = timed(500.0)
    search.run()
    assert (search.ended_by, search.ended_in) == ("max_time", "final")
    for max_time, goes_on in ((500.0, False), (400.0, False), (900.0, True), (None, True)):
        since = sum(0.5 * job.steps for job in engine.jobs)
        again = timed(max_time)
        again.continue_with(search.state())
        again.run()
        assert (len(again.candidates) > len(search.candidates)) == goes_on


def test_what_is_not_to_be_done_in_parts_is_one_training():
    engine = FakeEngine(lambda network, step: 0.5, loss=lambda step: 0.999**step)
    search = search_of(engine, **SETTINGS)
    search.in_parts = False
    search.run()
    assert engine.jobs[-1].rates == (1.0, 0.0)
    assert engine.jobs[-1].steps >= 0.4 * 200 * EPOCH


def test_a_part_that_fails_does_not_take_the_parts_before_with_it():
    engine = FakeEngine(
        lambda network, step: 0.9 if engine.jobs[-1].rates in PARTS else 0.5,
        fails=lambda job: "diverged" if job.rates == PARTS[2] else "",
        loss=lambda step: 0.999**step,
    )
    search = finished(engine, **SETTINGS)
    assert search.best == engine.jobs[-1].candidate
    assert (search.winner().score, search.winner().remark) == (0.9, "in its final training: diverged")
    assert search.winner().network is not None
    assert [job.rates for job in engine.jobs[-3:]] == PARTS[:3]


def test_the_end_of_those_who_took_no_steps_is_planned_by_the_pace_of_all():
    ledger = Ledger(1000, EPOCH, [Charge(0, "warm-up", 100)])
    outlook = Outlook(SearchSettings(max_time=100.0), ledger, elapsed=60.0, worked=20.0)
    assert outlook.last_steps(0.5, 0) == pytest.approx(0.9 * 40 / 0.2)
    assert outlook.last_steps(10.0, 100) == pytest.approx(0.9 * 40 / 0.1)
    assert Outlook(SearchSettings(max_time=100.0), Ledger(1000, EPOCH), 60.0, 0.0).last_steps(0.5, 0) == 1000


def test_weights_that_were_put_in_place_of_others_are_scored_alone():
    def scored(*looks):
        own = Candidate(0, None, 0, "start", "", 5, 0, None)
        records = tuple(EpochRecord(step, score, {"val_loss": 1.0}) for step, score in looks)
        own.book(TrainingOutcome(None, records, 30, 1.0), rolling_epochs=3)
        return own.score

    assert scored((10, 0.2), (20, 0.4), (30, 0.6)) == pytest.approx(0.4)
    assert scored((10, 0.2), (20, 0.4), (30, 0.6), (30, 0.1)) == 0.1


def test_time_kept_for_the_end_is_not_spent_on_waiting():
    class Waiting(FakeEngine):
        """Everybody's first training waits for a program, for as long as it may; then it is left out."""

        now = 0.0
        known = frozenset()

        def train(self, jobs):
            return [self._in_time(job, self.now + search.seconds_to_train()) for job in jobs]

        def _in_time(self, job, until):
            waits = 0.0 if job.network.architecture() in self.known else 60.0
            self.known |= {job.network.architecture()}
            if self.now + waits >= until and not job.is_needed:
                self.now = max(self.now, until)
                return TrainingOutcome(job.network, (), 0, 0.0)
            self.now += waits + 0.1 * job.steps
            return self._train_one(job)

    engine = Waiting(lambda network, step: 0.5 + 1e-6 * step, pace=lambda job: 0.1)
    knobs = SETTINGS | {"budget": 100_000, "max_time": 300.0, "warmup_epochs": 1}
    search = search_of(engine, clock=lambda: engine.now, **knobs)
    search.run()
    assert search.ended_by == "max_time"
    assert any(own.score is None for own in search.candidates)
    taken = sum(final_trainings(search).values())
    assert 0.1 * taken >= 0.85 * 0.4 * 300 - 60
    assert engine.now <= 301.0

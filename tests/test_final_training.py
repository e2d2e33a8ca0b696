"""What the rest of the budget makes of the best candidate, and when it does not count."""

import pytest
from fake_engine import FakeEngine
from test_search import finished

from keras_ectonas.fitness import Objective

ACCURACY = Objective("accuracy", is_accuracy=True)
EPOCH = 10
SETTINGS = {
    "steps_per_epoch": EPOCH, "budget": 200, "final_share": 0.4, "final_dropout": 0.0,
    "objective": ACCURACY, "luck": 0.05,
}  # fmt: skip


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

"""How long the start model is trained before anybody competes with it."""

from dataclasses import replace

import pytest
from fake_engine import FakeEngine, by_chance
from test_search import finished, search_of

from keras_ectonas.errors import SearchError

EPOCH = 10


def warmup(engine):
    """Steps of each training before the first child's."""
    return [job.steps for job in engine.jobs if job.candidate == 0]


def learning(loss, **knobs):
    engine = FakeEngine(by_chance(0), loss=loss)
    finished(engine, steps_per_epoch=EPOCH, **{"budget": 200, "final_share": 0.4, **knobs})
    return warmup(engine)


def test_a_start_that_learns_no_more_has_two_parts():
    assert learning(lambda step: 1.0) == [50, 50]
    assert learning(lambda step: 1.0 + step) == [50, 50]


def test_a_start_that_learns_fast_goes_on_for_half_of_what_is_not_kept_for_the_end():
    assert sum(learning(lambda step: 0.9 ** (step / 50))) == 0.5 * 0.6 * 200 * EPOCH


@pytest.mark.parametrize(("budget", "share"), [(20, 0.48), (40, 0.48), (50, 0.48), (200, 0.3)])
def test_it_goes_on_for_four_fifths_of_what_is_not_kept_where_children_have_no_room(budget, share):
    # In parts of a twentieth the loss falls by a tenth. Twelve full matches take 360 steps, or half an epoch each.
    steps = learning(lambda step: 0.9 ** (step / min(50, budget / 20 * EPOCH)), budget=budget)
    assert sum(steps) == share * budget * EPOCH


@pytest.mark.parametrize("greediness", [0.0, 0.5])
def test_where_size_counts_it_leaves_children_half_in_any_case(greediness):
    steps = learning(lambda step: 0.9 ** (step / EPOCH), budget=20, greediness=greediness)
    assert sum(steps) == 0.3 * 20 * EPOCH


@pytest.mark.parametrize("n_parts", [6, 7, 9])
def test_it_ends_there_too_when_learning_becomes_slow(n_parts):
    # Half of what is not kept are six parts.
    steps = learning(lambda step: 0.9 ** (min(step, 10 * n_parts - 10) / 10), budget=20)
    assert steps == [10] * n_parts


def test_it_ends_in_the_part_in_which_learning_becomes_slow():
    # The loss falls by a tenth in each part, until step 250.
    assert learning(lambda step: 0.9 ** (min(step, 250) / 50)) == [50] * 6


@pytest.mark.parametrize("share", [0.009, 0.011])
@pytest.mark.parametrize(("budget", "epochs"), [(20, 1), (40, 2), (200, 5)])
def test_learning_is_fast_if_a_hundredth_of_the_loss_goes_in_an_epoch(share, budget, epochs):
    # In a part of several epochs, so much for each of them.
    steps = learning(lambda step: (1 - share * epochs) ** (step / (epochs * EPOCH)), budget=budget)
    assert (len(steps) > 2) == (share > 0.01)


def test_a_loss_may_be_negative():
    assert len(learning(lambda step: -1.0 - step)) > 2
    assert len(learning(lambda step: -100.0 - 0.01 * step)) == 2


@pytest.mark.parametrize(("budget", "part"), [(100, 50), (40, 20), (10, 5), (2, 1)])
def test_parts_follow_the_budget(budget, part):
    assert learning(lambda step: 1.0, budget=budget) == [part, part]


@pytest.mark.parametrize("epochs", [0, 0.5, 7, 30])
def test_a_given_length_is_kept(epochs):
    assert learning(lambda step: 1.0 / (1 + step), warmup_epochs=epochs) == [epochs * EPOCH]


def test_with_all_kept_for_the_end_one_step_gives_a_score():
    assert learning(lambda step: 1.0, final_share=1.0)[0] == 1


def test_time_bounds_it_too():
    engine = FakeEngine(by_chance(0), loss=lambda step: 0.9 ** (step / 50), pace=lambda job: 1.0)
    search = finished(
        engine,
        steps_per_epoch=EPOCH,
        clock=lambda: float(sum(job.steps for job in engine.jobs)),
        budget=10_000,
        max_time=2000.0,
        final_share=0.4,
    )
    # There is time for 200 epochs, 80 of them for the end.
    assert warmup(engine)[0] == EPOCH
    assert 600 <= sum(warmup(engine)) <= 650
    assert search.generation > 0


@pytest.mark.parametrize(("part", "max_params", "ends"), [(1, None, False), (2, None, True), (2, 300, False)])
def test_an_interrupt_ends_with_the_start_once_it_is_trained(part, max_params, ends):
    engine = FakeEngine(by_chance(0))

    def interrupted(jobs):
        if len(engine.jobs) == part - 1:
            raise KeyboardInterrupt
        return engine.train(jobs)

    search = search_of(engine, max_params=max_params)
    search.train = interrupted
    if not ends:
        with pytest.raises(KeyboardInterrupt):
            search.run()
        return
    search.run()
    assert (search.ended_by, search.best, len(engine.jobs)) == ("interrupted", 0, 1)
    again = search_of(engine, max_params=max_params)
    again.continue_with(search.state())
    again.run()
    assert again.ended_by == "budget"
    assert again.generation > 0


@pytest.mark.parametrize(("final_share", "budget", "most"), [(0.85, 100, 7.5), (0.9, 100, 5), (0.45, 200, 55)])
def test_it_takes_at_most_half_of_what_is_not_kept_for_the_end(final_share, budget, most):
    steps = learning(lambda step: 0.9 ** (step / 50), final_share=final_share, budget=budget)
    assert sum(steps) == most * EPOCH


def test_jobs_tell_how_long_the_warm_up_may_become():
    engine = FakeEngine(by_chance(0), loss=lambda step: 0.9**step)
    finished(engine, steps_per_epoch=EPOCH, budget=100, final_share=0.4)
    assert {job.steps_in_all for job in engine.jobs if job.candidate == 0} == {300}


@pytest.mark.parametrize("part", [1, 2, 4])
def test_a_training_that_ends_early_ends_it(part):
    engine = FakeEngine(by_chance(0), loss=lambda step: 0.9**step)
    search = search_of(engine, steps_per_epoch=EPOCH, budget=100, final_share=0.4)

    def stopped(jobs):
        is_last = len(engine.jobs) == part - 1
        return engine.train([replace(job, steps=3) if is_last else job for job in jobs])

    search.train = stopped
    search.run()
    assert warmup(engine) == [50] * (part - 1) + [3]
    assert search.generation > 0


@pytest.mark.parametrize("max_params", [None, 300])
@pytest.mark.parametrize("part", [1, 3])
def test_a_start_that_fails_later_goes_on_from_where_it_could_be_trained(part, max_params):
    engine = FakeEngine(
        by_chance(0), fails=lambda job: "NaN" if len(engine.jobs) == part else "", loss=lambda step: 0.9**step
    )
    search = search_of(engine, steps_per_epoch=EPOCH, budget=100, final_share=0.4, max_params=max_params)
    if part == 1:
        with pytest.raises(SearchError, match="cannot be trained: NaN"):
            search.run()
        return
    search.run()
    start = search.candidates[0]
    assert warmup(engine) == [50] * part
    assert (start.steps, start.remark, len(start.records)) == (100, "in its warm-up: NaN", 2)
    assert start.status != "failed"
    assert search.ledger.spent == search.ledger.limit
    assert search.generation > 0


def test_a_search_ends_when_an_engine_finds_no_time_whatever_its_own_clock_says():
    engine = FakeEngine(by_chance(0), loss=lambda step: 0.9**step)
    search = search_of(engine, steps_per_epoch=EPOCH, budget=100, max_time=1e9, final_share=0.4, clock=lambda: 0.0)

    def asleep(jobs):
        found = engine.train(jobs)
        is_late = len(engine.jobs) > 1
        return [replace(own, steps=0, records=()) if is_late else own for own in found]

    search.train = asleep
    search.run()
    assert search.ended_by == "max_time"
    assert len(engine.jobs) < 12
    assert search.winner().network is not None

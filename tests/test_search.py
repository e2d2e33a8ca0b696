"""Algorithm 1 with a fake engine: budget, brackets, failures, determinism, crossing."""

import itertools
import math
import time

import numpy as np
import pytest
from fake_engine import FakeEngine, by_chance, by_kind
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_ectonas.budget import Ledger
from keras_ectonas.errors import SearchError
from keras_ectonas.fitness import Objective
from keras_ectonas.lineage import ancestry
from keras_ectonas.mutations import mutation_named
from keras_ectonas.network import Layer, Network, Weight
from keras_ectonas.search import Search
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import PublishedSurgery
from keras_ectonas.surgery.inference import outputs_along

ACCURACY = Objective("accuracy")
PARTS = [(1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0.0)]
"""Of the learning rate in the final training."""


def weights(**shapes):
    rng = np.random.default_rng(1)
    return tuple(Weight(name, rng.normal(size=shape).astype("float32")) for name, shape in shapes.items())


def dense(name, inputs, units, activation="relu"):
    config = {"name": name, "units": units, "activation": activation, "use_bias": True}
    return Layer("Dense", config, weights(kernel=(inputs, units), bias=(units,)))


def dense_start():
    layers = (
        Layer("Flatten", {"name": "flatten"}),
        dense("hidden", 64, 10),
        dense("output", 10, 3, "softmax"),
    )
    return Network((8, 8), layers, nonnegative_input=True)


def convolutional_start():
    config = {"name": "conv", "filters": 4, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same"}
    config |= {"activation": "relu", "use_bias": True}
    layers = (
        Layer("Conv2D", config, weights(kernel=(3, 3, 1, 4), bias=(4,))),
        Layer("MaxPooling2D", {"name": "pool", "pool_size": [2, 2], "strides": [2, 2], "padding": "same"}),
        Layer("Flatten", {"name": "flatten"}),
        dense("output", 64, 3, "softmax"),
    )
    return Network((8, 8, 1), layers, nonnegative_input=True)


def convolution_behind(channels):
    config = {"name": "conv_behind", "filters": channels, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same"}
    config |= {"activation": "relu", "use_bias": True}
    return Layer("Conv2D", config, weights(kernel=(3, 3, channels, channels), bias=(channels,)))


def search_of(
    engine, start=None, steps_per_epoch=10, seed=0, objective=ACCURACY, luck=0.0, clock=time.monotonic, **knobs
):
    chosen = SearchSettings(**{"budget": 60, "max_params": 20_000, **knobs})
    ledger = Ledger.for_epochs(chosen.budget, steps_per_epoch, chosen.kept_share)
    start = dense_start() if start is None else start
    return Search(start, chosen, objective, PublishedSurgery(), ledger, seed, engine.train, tolerance=luck, clock=clock)


def finished(*args, **kwargs):
    search = search_of(*args, **kwargs)
    search.run()
    return search


@pytest.mark.parametrize(("steps_per_epoch", "steps"), [(4, 30), (40, 40), (400, 400)])
def test_a_match_has_thirty_steps_at_least(steps_per_epoch, steps):
    engine = FakeEngine(by_kind("Conv2D"))
    finished(engine, budget=120, steps_per_epoch=steps_per_epoch, warmup_epochs=1, recovery_epochs={}, max_children=4)
    assert steps in {job.steps for job in engine.jobs if job.rates == (1.0, 0.1)}
    assert min(job.steps for job in engine.jobs if job.rates == (1.0, 0.1)) >= steps // 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    budget=st.floats(0.2, 80),
    steps_per_epoch=st.integers(1, 40),
    n_parents=st.integers(1, 4),
    max_rounds=st.integers(1, 4),
    epochs_per_match=st.one_of(st.none(), st.floats(0.1, 6)),
    max_children=st.sampled_from(["auto", None, 2, 5]),
    failing=st.sampled_from([0, 7, 3]),
    seed=st.integers(0, 10),
)
def test_budget_is_never_overspent(
    budget, steps_per_epoch, n_parents, max_rounds, epochs_per_match, max_children, failing, seed
):
    engine = FakeEngine(by_chance(seed), lambda job: "diverged" if failing and job.candidate % failing == 1 else "")
    search = search_of(
        engine,
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        budget=budget,
        n_parents=n_parents,
        max_rounds=max_rounds,
        epochs_per_match=epochs_per_match,
        max_children=max_children,
    )
    if search.ledger.limit < 1:
        return
    search.run()
    taken = sum(job.steps if not engine.fails(job) else job.steps // 2 for job in engine.jobs)
    assert taken == search.ledger.spent <= search.ledger.limit <= budget * steps_per_epoch + 1e-6
    assert search.done
    assert search.winner().network is not None


@pytest.mark.parametrize("budget", [60, 61.5, 100, 300])
def test_budget_is_used_up(budget):
    search = finished(FakeEngine(by_chance(0)), budget=budget)
    assert search.ledger.left == 0
    assert search.ended_by == "budget"


def test_paper_finishes_without_training_the_rest():
    search = finished(FakeEngine(by_chance(0)), final_selection="parents")
    assert all(c.description != "trained with the rest of the budget" for c in search.candidates)
    assert search.best in search.parents


def test_nothing_is_kept_for_a_final_training_that_there_will_not_be():
    archive, parents = (
        finished(FakeEngine(by_chance(0)), final_selection=how, final_share=0.4, budget=200)
        for how in ("archive", "parents")
    )
    assert parents.generation > archive.generation
    assert parents.ledger.left < 0.1 * parents.ledger.limit

    def clock():
        return sum(0.5 * job.steps for job in engine.jobs)

    engine = FakeEngine(by_chance(0))
    late = finished(engine, clock=clock, budget=1000, max_time=500.0, final_selection="parents", final_share=0.4)
    assert late.ended_by == "max_time"
    assert clock() > 450


def test_same_seed_same_search():
    first, second = (finished(FakeEngine(by_kind("Conv2D")), seed=3) for _ in range(2))
    assert first.lineage() == second.lineage()
    assert first.winner().network.fingerprint() == second.winner().network.fingerprint()


def test_another_seed_another_search():
    descriptions = {
        tuple(c.description for c in finished(FakeEngine(by_chance(1)), seed=seed).candidates) for seed in range(4)
    }
    assert len(descriptions) == 4


def test_dense_start_becomes_convolutional():
    search = finished(FakeEngine(by_kind("Conv2D")), budget=100)
    kinds = [layer.kind for layer in search.winner().network.layers]
    assert "Conv2D" in kinds
    assert "add_cell" in [entry.mutation for entry in search.lineage()]


def test_convolutional_start_becomes_dense():
    engine = FakeEngine(lambda network, step: -sum(layer.kind == "Conv2D" for layer in network.layers))
    search = finished(engine, start=convolutional_start(), budget=100, max_growth=None)
    kinds = [layer.kind for layer in search.winner().network.layers]
    assert "Conv2D" not in kinds
    assert "remove_cell" in [entry.mutation for entry in search.lineage()]


def test_lower_is_better():
    engine = FakeEngine(lambda network, step: 1.0 / network.n_params)
    search = finished(engine, objective=Objective("loss", higher_is_better=False, relative=True), budget=200)
    assert search.winner().n_params > 2 * dense_start().n_params


@pytest.mark.parametrize("greediness", [0.0, 0.5])
def test_less_greed_gives_smaller_networks(greediness):
    engine = FakeEngine(lambda network, step: 0.9 + 1e-9 * step)
    search = finished(engine, budget=300, greediness=greediness)
    assert search.winner().n_params < 0.6 * dense_start().n_params


@pytest.mark.parametrize("greediness", [0.0, 0.5])
@pytest.mark.parametrize("objective", [ACCURACY, Objective("loss", higher_is_better=False, relative=True)])
def test_nobody_is_preferred_for_a_size_that_costs_too_much(greediness, objective):
    def share(search):
        return search.winner().n_params / search.candidates[0].n_params

    def score(network, step):
        """A third of the parameters can be spared, and then each share costs half as much of the score."""
        lost = 1 - min(1.0, network.n_params / (2 / 3 * dense_start().n_params))
        return 0.9 * (1 - lost / 2 if objective.higher_is_better else 1 + lost / 2)

    knobs = {"budget": 300, "greediness": greediness, "objective": objective}
    limited, unlimited = (finished(FakeEngine(score), max_drop=drop, **knobs) for drop in (0.03, None))
    assert 0.6 < share(limited) < 0.95
    assert share(unlimited) < 0.4
    best = limited.candidates[0].score
    assert abs(limited.candidates[limited.best].score - best) <= 0.031 * (best if objective.relative else 1.0)


def test_max_params_is_kept():
    limit = 800
    search = finished(FakeEngine(lambda n, step: n.n_params), budget=200, max_params=limit)
    assert max(candidate.n_params for candidate in search.candidates) <= limit
    assert max(candidate.n_params for candidate in search.candidates) > limit / 2
    assert not any("max_params" in refusal.reason for refusal in search.refusals)


def test_max_growth_is_kept():
    search = finished(FakeEngine(lambda n, step: n.n_params), budget=100, max_growth=1.1)
    for candidate in search.candidates[1:]:
        assert candidate.n_params <= 1.1 * search.candidates[candidate.parent].n_params


def test_a_change_that_goes_wrong_is_refused(monkeypatch, caplog):
    def apply(self, *args):
        raise ValueError("a rule of one's own")

    monkeypatch.setattr(type(mutation_named("add_units")), "apply", apply)
    search = finished(FakeEngine(lambda n, step: n.n_params), budget=60)
    assert search.generation > 1
    assert {r.mutation for r in search.refusals if r.reason == "ValueError: a rule of one's own"} >= {"add_units"}
    assert "could not be tried on candidate" in caplog.text


def test_failing_candidate_loses_and_is_recorded():
    failing = FakeEngine(by_chance(0), lambda job: "loss became nan" if job.candidate == 3 else "")
    search = finished(failing)
    assert search.candidates[3].status == "failed"
    assert search.candidates[3].remark == "loss became nan"
    assert 3 not in {candidate.parent for candidate in search.candidates}


def test_failing_start_is_an_error():
    engine = FakeEngine(by_chance(0), lambda job: "loss became nan")
    with pytest.raises(SearchError, match="start model cannot be trained: loss became nan"):
        finished(engine)


def test_every_child_failing_is_an_error():
    engine = FakeEngine(by_chance(0), lambda job: "out of memory" if job.candidate else "")
    with pytest.raises(SearchError, match="Every candidate of 3 generations in a row failed, 3 the last: out of memo"):
        finished(engine)


def test_one_generation_failing_is_not_the_end():
    engine = FakeEngine(by_chance(0), lambda job: "out of memory" if 1 <= job.candidate <= 8 else "")
    search = finished(engine, budget=100)
    assert search.ended_by == "budget"
    assert {candidate.status for candidate in search.candidates[1:9]} == {"failed"}
    assert search.candidates[9].parent == 0
    assert search.best > 8


def test_time_limit_ends_with_the_best_so_far():
    engine = FakeEngine(by_kind("Conv2D"), pace=lambda job: 0.5)
    search = finished(
        engine, clock=lambda: sum(0.5 * job.steps for job in engine.jobs), budget=1000, max_time=500.0, final_share=0.4
    )
    assert search.ended_by == "max_time"
    assert search.winner().network is not None
    # The last 200 seconds are the final training's, and what was too little for one more generation.
    last = engine.jobs[-4:]
    assert [job.rates for job in last] == PARTS
    assert {job.candidate for job in last} == {search.candidates[-1].id}
    assert 150 <= 0.5 * sum(job.steps for job in last) <= 220
    assert 450 <= search.elapsed <= 500


@pytest.mark.parametrize("seconds", [0.2, 0.8])
def test_the_final_training_is_as_long_as_its_own_pace_allows(seconds):
    def clock():
        return sum((seconds if is_final(job) else 0.5) * job.steps for job in engine.jobs)

    def is_final(job):
        return job.rates in PARTS

    engine = FakeEngine(by_kind("Conv2D"), pace=lambda job: seconds if is_final(job) else 0.5)
    search = finished(engine, clock=clock, budget=1000, max_time=500.0, final_share=0.4)
    # Planned by the pace of the matches it would end after 363 seconds, or 594.
    assert 440 <= search.elapsed <= 500


def test_matches_are_as_long_as_the_time_has_room_for():
    engine = FakeEngine(by_chance(0), pace=lambda job: 0.5)
    search = finished(
        engine,
        clock=lambda: sum(0.5 * job.steps for job in engine.jobs),
        steps_per_epoch=40,
        budget=1000,
        max_time=2400.0,
        recovery_epochs={},
    )
    # An epoch takes 20 seconds, so there is time for 120: a warm-up of 11 in parts of 5, and matches of one.
    assert [job.steps for job in engine.jobs[:3]] == [40, 200, 200]
    assert {job.steps for job in engine.jobs[3:40] if job.steps} == {40}
    # The time of the final training is left to it.
    assert search.generation > 3
    last = engine.jobs[-4:]
    assert [job.rates for job in last] == PARTS
    assert 960 * 0.85 <= 0.5 * sum(job.steps for job in last) <= 960


@pytest.mark.parametrize(("luck", "shrinks"), [(0.0, True), (0.1, False)])
def test_nobody_becomes_smaller_by_luck_in_greedy_mode(luck, shrinks):
    engine = FakeEngine(lambda network, step: 0.5 - 1e-6 * network.n_params)
    search = finished(engine, budget=100, luck=luck, max_growth=1.0001)
    assert (search.winner().n_params < search.candidates[0].n_params) == shrinks


def test_nobody_above_the_limit_is_on_the_front():
    search = finished(FakeEngine(by_chance(1)), max_params=300)
    assert search.candidates[0].n_params > 300
    assert search.front
    assert all(member.n_params <= 300 for member in search.front)


def test_interrupt_ends_with_the_best_so_far():
    engine = FakeEngine(by_kind("Conv2D"))
    plain = engine.train

    def interrupted(jobs):
        if len(engine.jobs) > 60:
            raise KeyboardInterrupt
        return plain(jobs)

    search = search_of(engine, budget=600)
    search.train = interrupted
    search.run()
    assert search.ended_by == "interrupted"
    assert search.winner().network is not None


def test_interrupt_before_anything_was_scored_goes_on_up():
    def interrupted(jobs):
        raise KeyboardInterrupt

    search = search_of(FakeEngine(by_chance(0)))
    search.train = interrupted
    with pytest.raises(KeyboardInterrupt):
        search.run()


def test_random_selection_does_not_look_at_scores():
    picks = [
        finished(FakeEngine(by_kind("Conv2D")), selection="random", seed=5, budget=100),
        finished(FakeEngine(lambda network, step: -network.n_params), selection="random", seed=5, budget=100),
    ]
    lineages = [[entry.description for entry in search.lineage()][:4] for search in picks]
    assert lineages[0] == lineages[1]


def test_archive_keeps_the_best_survivor():
    scores = iter([0.5, *([0.9] * 30), *([0.1] * 10_000)])
    engine = FakeEngine(lambda network, step: next(scores))
    search = finished(engine, budget=100)
    assert search.winner().score == pytest.approx(0.9)


def test_job_seeds_depend_on_candidate_and_progress_alone():
    engine = FakeEngine(by_chance(0))
    search = finished(engine, seed=11)
    for job in engine.jobs:
        expected = np.random.SeedSequence([11, job.candidate, job.first_step]).generate_state(1)[0]
        assert job.seed == int(expected)
    assert len({(job.candidate, job.first_step) for job in engine.jobs if job.steps}) == sum(
        job.steps > 0 for job in engine.jobs
    )
    assert search.done


def test_scores_are_means_of_the_last_epochs_of_a_match():
    engine = FakeEngine(by_chance(0))
    search = finished(engine)
    for candidate in search.candidates:
        if candidate.score is not None:
            assert math.isfinite(candidate.score)
            assert candidate.score == candidate.records[-1].score


def test_losers_drop_their_weights():
    search = finished(FakeEngine(by_kind("Conv2D")), budget=150)
    holding = [candidate.id for candidate in search.candidates if candidate.network is not None]
    assert set(holding) <= {search.best, *search.parents}


def test_lineage_adds_up():
    search = finished(FakeEngine(by_kind("Conv2D")), budget=150)
    line = ancestry(search.candidates, search.best)
    assert line[0].parent is None
    for parent, child in itertools.pairwise(line):
        assert child.parent == parent.id
        assert child.step == parent.last_step
    assert [entry.n_params for entry in search.lineage()] == [candidate.n_params for candidate in line]


def test_the_best_is_trained_at_the_end_with_a_falling_rate():
    engine = FakeEngine(by_chance(0))
    search = finished(engine, final_share=0.4)
    last = engine.jobs[-4:]
    assert [job.rates for job in last] == PARTS
    assert {job.candidate for job in last} == {search.candidates[-1].id}
    assert sum(job.steps for job in last) >= 0.4 * search.ledger.limit - 1
    assert max(job.steps for job in last) - min(job.steps for job in last) < 2 * search.ledger.steps_per_epoch
    assert all(job.steps % search.ledger.steps_per_epoch == 0 for job in last[:-1])
    assert all(job.rates not in PARTS for job in engine.jobs[:-4])


@pytest.mark.parametrize("greediness", [0.0, 0.5, 1.0])
def test_a_final_training_that_goes_wrong_does_not_count(greediness):
    engine = FakeEngine(lambda network, step: 0.1 if engine.jobs[-1].rates in PARTS else 0.9)
    search = finished(engine, greediness=greediness, final_share=0.4, luck=0.02)
    assert search.winner().score == pytest.approx(0.9)
    assert search.candidates[-1].status == "lost"


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_matches_end_at_the_asked_share_of_the_learning_rate(share):
    engine = FakeEngine(by_chance(0))
    finished(engine, match_rate=share, epochs_per_match=1, warmup_epochs=2, final_share=0, recovery_epochs={})
    matches = [job for job in engine.jobs[1:-1] if job.steps]
    assert len(matches) > 10
    assert {job.rates for job in matches} == {(1.0, share)}


def test_what_grew_in_layers_together_is_exact_and_said_in_words():
    network = convolutional_start().with_inserted(1, [convolution_behind(4)])
    sites = [site for site in mutation_named("add_channels").sites(network, SearchSettings()) if site.also]
    assert len(sites) == 1
    child = (
        mutation_named("add_channels").apply(network, sites[0], PublishedSurgery(), np.random.default_rng(0)).network
    )
    x = np.random.default_rng(1).random((5, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(outputs_along(child.layers, x)[-1], outputs_along(network.layers, x)[-1], atol=1e-5)
    words = mutation_named("add_channels").describe(network, sites[0])
    assert words == "+3 channels in conv, 4 to 7; +3 channels in conv_behind, 4 to 7"
    narrower = next(site for site in mutation_named("remove_channels").sites(network, SearchSettings()) if site.also)
    assert [amount for _, amount in narrower.resized] == [1, 1]


@pytest.mark.parametrize(("greediness", "away"), [(1.0, "remove"), (0.5, "add_")])
def test_few_children_lead_away_from_the_goal(greediness, away):
    search = search_of(FakeEngine(by_chance(0)), convolutional_start(), greediness=greediness, max_children=5)
    while search.generation == 0:
        search.step()
    kinds = [candidate.mutation for candidate in search.candidates[1:]]
    assert sum(kind.startswith(away) and kind != "add_cell" for kind in kinds) <= 1

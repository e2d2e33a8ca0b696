"""A search from a user's model also tries the start that would be made for the data; the better one goes on."""

import keras
import numpy as np
import pytest
from fake_engine import FakeEngine
from test_search import ACCURACY, convolutional_start, dense_start

from keras_ectonas import ECToNASCallback, ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.bridge import network_of
from keras_ectonas.budget import Ledger
from keras_ectonas.errors import InputError, SearchError
from keras_ectonas.fitness import Objective
from keras_ectonas.lineage import Match
from keras_ectonas.search import Search
from keras_ectonas.second_start import second_start
from keras_ectonas.settings import PAPER, SearchSettings
from keras_ectonas.start import default_model
from keras_ectonas.surgery import PublishedSurgery

EPOCH = 10
MADE = "a start made for the data"
TOLD_BY_LOSS = Objective("accuracy", is_accuracy=True)


def scores(given, made):
    """Of networks without and with a convolution."""
    return lambda network, step: made if any(layer.kind == "Conv2D" for layer in network.layers) else given


def search_of(engine, clock=lambda: 0.0, start_step=0, objective=ACCURACY, luck=0.0, **knobs):
    chosen = SearchSettings(**{"budget": 100, "max_growth": 1.0, "cell_pooling": ("none",), **knobs})
    ledger = Ledger.for_epochs(chosen.budget, EPOCH, chosen.kept_share)
    return Search(
        dense_start(),
        chosen,
        objective,
        PublishedSurgery(),
        ledger,
        0,
        engine.train,
        start_step=start_step,
        tolerance=luck,
        second_start=convolutional_start(),
        clock=clock,
    )


def until_chosen(search):
    while search.phase in ("warmup", "shrinking", "second_start"):
        search.step()
    return search


# What becomes of the two.


@pytest.mark.parametrize(("given", "made"), [(0.5, 0.6), (0.6, 0.5)])
def test_the_better_one_goes_on(given, made):
    engine = FakeEngine(scores(given, made))
    search = search_of(engine)
    search.run()
    start, other, *children = search.candidates
    winner, loser = (other, start) if made > given else (start, other)
    assert (other.mutation, other.description, other.parent, other.generation) == ("start", MADE, None, 0)
    assert (loser.status, loser.network) == ("lost", None)
    assert search.matches[0] == Match(0, "second_start", start.id, other.id, winner.id)
    assert {child.parent for child in children if child.generation == 1} == {winner.id}
    assert search.lineage()[0].candidate == winner.id
    assert search.ledger.spent == search.ledger.limit


@pytest.mark.parametrize(("made", "winner"), [(0.55, 0), (0.65, 1)])
def test_a_score_that_luck_could_have_set_above_the_given_ones_does_not_count(made, winner):
    search = search_of(FakeEngine(scores(0.5, made)), luck=0.1)
    assert until_chosen(search).parents == [winner]


@pytest.mark.parametrize(("losses", "winner"), [((1.0, 0.9), 1), ((0.9, 1.0), 0)])
@pytest.mark.parametrize("made", [0.45, 0.5, 0.55])
def test_the_loss_decides_between_accuracies_that_luck_could_have_set_apart(made, losses, winner):
    engine = FakeEngine(scores(0.5, made), loss=lambda _: losses[engine.jobs[-1].candidate])
    search = search_of(engine, objective=TOLD_BY_LOSS, luck=0.1)
    assert until_chosen(search).parents == [winner]


def test_both_are_trained_alike_within_half_of_what_is_not_kept():
    engine = FakeEngine(scores(0.5, 0.6), loss=lambda step: 0.9**step)
    search = until_chosen(search_of(engine, budget=200))
    assert [[job.steps for job in engine.jobs if job.candidate == number] for number in (0, 1)] == [[50] * 6] * 2
    start, other = search.candidates
    assert start.steps == other.steps == 0.25 * 0.6 * 200 * EPOCH
    assert [charge.purpose for charge in search.ledger.charges][-1] == "second start"


@pytest.mark.parametrize(("made", "winner"), [(0.4, 0), (0.6, 1)])
@pytest.mark.parametrize(("until", "n_parts"), [(40, 3), (60, 4), (80, 5), (1000, 7)])
def test_the_better_one_goes_on_as_long_as_it_learns_fast_where_children_have_no_room(made, winner, until, n_parts):
    # Of 400 steps 160 are kept for the end, and each has had three parts of 20.
    engine = FakeEngine(scores(0.5, made), loss=lambda step: 0.9 ** (min(step, until) / 20))
    search = search_of(engine, budget=40)
    search.run()
    trained = [[job.steps for job in engine.jobs if job.candidate == number] for number in (0, 1)]
    assert trained[1 - winner] == [20] * 3
    # Of 240 steps that are not kept, 48 are for children.
    assert trained[winner] == ([20] * n_parts if n_parts < 7 else [20] * 6 + [12])
    assert search.candidates[winner].steps == sum(trained[winner])
    assert search.ledger.spent == search.ledger.limit


def test_the_better_one_leaves_room_to_children_where_there_is_some():
    engine = FakeEngine(scores(0.5, 0.6), loss=lambda step: 0.9 ** (step / 50))
    search = search_of(engine, budget=200)
    search.run()
    assert search.candidates[1].steps == 300
    assert search.generation > 0


def test_the_better_one_goes_on_from_where_it_could_be_trained():
    engine = FakeEngine(
        scores(0.5, 0.6), fails=lambda job: "NaN" if len(engine.jobs) == 8 else "", loss=lambda step: 0.9**step
    )
    search = search_of(engine, budget=40)
    search.run()
    winner = search.candidates[1]
    assert (winner.steps, winner.remark, len(winner.records)) == (80, "in its warm-up: NaN", 4)
    assert winner.status != "failed"
    assert search.generation > 0


def test_size_counts_below_greediness_1():
    larger = dense_start().n_params < convolutional_start().n_params
    engine = FakeEngine(scores(0.6, 0.6))
    search = until_chosen(search_of(engine, greediness=0.0))
    assert search.parents == [0 if larger else 1]


@pytest.mark.parametrize(("budget", "is_tried"), [(20, False), (40, True)])
def test_it_is_left_out_where_the_budget_is_short(budget, is_tried):
    search = until_chosen(search_of(FakeEngine(scores(0.5, 0.6)), budget=budget))
    assert (len(search.candidates) == 2) == is_tried
    assert search.parents == [int(is_tried)]


@pytest.mark.parametrize("budget", [19, 20])
def test_the_warm_up_is_halved_only_if_a_second_start_can_follow(budget):
    search = until_chosen(search_of(FakeEngine(scores(0.5, 0.6), loss=lambda step: 0.9**step), budget=budget))
    # Where there is none, the given one may have more than half of what is not kept: children would have no room.
    least, most = {19: (0.4, 0.48), 20: (0.15, 0.15)}[budget]
    assert least * budget * EPOCH <= search.candidates[0].steps <= most * budget * EPOCH
    assert len(search.candidates) == {19: 1, 20: 2}[budget]


@pytest.mark.parametrize(("warmup_epochs", "is_tried"), [(2, False), (3, True), (20, True), (21, False)])
def test_a_given_length_of_the_warm_up_holds_for_both_if_as_much_is_left(warmup_epochs, is_tried):
    search = until_chosen(search_of(FakeEngine(scores(0.5, 0.6)), warmup_epochs=warmup_epochs, start_step=7))
    assert len(search.candidates) == 1 + is_tried
    assert {own.steps for own in search.candidates} == {warmup_epochs * EPOCH}


def test_one_that_fails_later_competes_with_what_it_had_come_to():
    fails = lambda job: "the loss became NaN" if (job.candidate, job.steps_before) == (1, 50) else ""  # noqa: E731
    search = until_chosen(search_of(FakeEngine(scores(0.5, 0.6), fails=fails)))
    other = search.candidates[1]
    assert (search.parents, other.steps, other.status) == ([1], 50, "parent")
    assert other.remark == "in its warm-up: the loss became NaN"


def test_little_budget_would_not_show_whether_it_can_be_trained():
    search = search_of(FakeEngine(scores(0.5, 0.6), fails=lambda job: "" if job.candidate else "NaN"), budget=19)
    with pytest.raises(SearchError, match="The start model cannot be trained: NaN"):
        search.run()


@pytest.mark.parametrize(
    "knobs", [{}, {"budget": 20, "warmup_epochs": 8}, {"max_params": 500}, {"max_time": 1e9}, {"greediness": 0.5}]
)
def test_it_takes_the_place_of_a_start_that_cannot_be_trained(knobs, caplog):
    fails = lambda job: "the loss became NaN" if job.candidate == 0 else ""  # noqa: E731
    search = search_of(FakeEngine(scores(0.5, 0.6), fails=fails), **{"final_share": 0.4, **knobs})
    search.run()
    assert search.candidates[0].status == "failed"
    assert search.lineage()[0].candidate == 1
    assert search.ended_by == "budget"
    assert "the start model cannot be trained: the loss became NaN" in caplog.text


def test_if_it_cannot_be_trained_either_the_first_reason_is_told():
    fails = lambda job: f"reason {job.candidate}"  # noqa: E731
    search = search_of(FakeEngine(scores(0.5, 0.6), fails=fails))
    with pytest.raises(SearchError, match="The start model cannot be trained: reason 0"):
        search.run()


def test_an_interrupt_before_anybody_is_trained_has_no_result():
    def interrupted(jobs):
        if jobs[0].candidate == 1:
            raise KeyboardInterrupt
        return engine.train(jobs)

    engine = FakeEngine(scores(0.5, 0.6), fails=lambda job: "the loss became NaN")
    search = search_of(engine)
    search.train = interrupted
    with pytest.raises(KeyboardInterrupt):
        search.run()


def test_one_that_fails_loses():
    engine = FakeEngine(scores(0.5, 0.6), fails=lambda job: "the loss became NaN" if job.candidate == 1 else "")
    search = search_of(engine)
    search.run()
    assert (search.candidates[1].status, search.candidates[1].remark) == ("failed", "the loss became NaN")
    assert search.lineage()[0].candidate == 0


def test_it_competes_with_a_start_that_was_made_smaller():
    search = until_chosen(search_of(FakeEngine(scores(0.6, 0.5)), max_params=500, warmup_epochs=10))
    start, shrunk, other = search.candidates
    assert (shrunk.mutation, other.description) == ("shrink", MADE)
    assert shrunk.steps + start.steps == other.steps
    assert (search.parents, start.status, other.status) == ([shrunk.id], "lost", "lost")


@pytest.mark.parametrize(("pace", "steps"), [(1.0, 150), (2.0, 75), (40.0, 10)])
def test_a_slow_one_has_a_quarter_of_the_time_that_is_not_kept(pace, steps):
    engine = FakeEngine(scores(0.5, 0.6), pace=lambda job: pace if job.candidate == 1 else 1.0)
    spent = lambda: float(sum(job.steps * engine.pace(job) for job in engine.jobs))  # noqa: E731
    search = search_of(engine, clock=spent, budget=1000, max_time=1000.0, warmup_epochs=15)
    until_chosen(search)
    assert search.candidates[1].steps == steps
    assert next(job.steps for job in engine.jobs if job.candidate == 1) == EPOCH


def test_a_training_that_ends_early_ends_it():
    engine = FakeEngine(scores(0.5, 0.6))
    search = search_of(engine)

    def stopped(jobs):
        outcomes = engine.train(jobs)
        if jobs[0].candidate != 1:
            return outcomes
        return [type(outcome)(outcome.network, outcome.records, 3, 0.0) for outcome in outcomes]

    search.train = stopped
    until_chosen(search)
    assert search.candidates[1].steps == 3
    assert search.parents == [1]


def test_an_interrupt_ends_with_the_start_and_the_search_can_go_on():
    engine = FakeEngine(scores(0.5, 0.6))
    search = search_of(engine)

    def interrupted(jobs):
        if jobs[0].candidate == 1:
            raise KeyboardInterrupt
        return engine.train(jobs)

    search.train = interrupted
    search.run()
    assert (search.ended_by, search.ended_in, search.best) == ("interrupted", "second_start", 0)
    again, whole = search_of(engine), search_of(engine)
    again.continue_with(search.state())
    again.run()
    whole.run()
    assert again.lineage() == whole.lineage()
    assert again.lineage()[0].candidate == 1


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_search_that_time_ended_meanwhile_can_go_on(epochs):
    """Whether it had been trained for an epoch or not at all."""
    engine = FakeEngine(scores(0.5, 0.6))
    search = search_of(engine, max_time=1e9, final_selection="parents", warmup_epochs=15)
    while search.phase != "second_start":
        search.step()
    if epochs == 2:
        search.step()
    search.clock = lambda: 1e10
    search.run()
    assert (search.ended_by, search.ended_in, search.best) == ("max_time", "second_start", 0)
    again = search_of(engine, max_time=1e12, final_selection="parents", warmup_epochs=15)
    again.continue_with(search.state())
    again.run()
    assert again.ended_by == "budget"
    assert again.lineage()[0].candidate == 1


# What it is made of.


def images(n=60, channels=1):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 8, 8, channels)).astype("float32"), np.arange(n) % 3


def model_of(*layers, shape=(8, 8, 1)):
    return keras.Sequential([keras.Input(shape), *layers])


def flat_model(*ending):
    ending = ending or (keras.layers.Dense(3, activation="softmax", name="answer"),)
    return model_of(keras.layers.Flatten(), keras.layers.Dense(5, activation="relu"), *ending)


def made_for(model, x=None, size_counts=False, max_params=None):
    x = images()[0] if x is None else x
    return second_start(model, network_of(model), x, 0, size_counts, max_params)


def test_it_is_the_default_start_with_the_head_of_the_given_one():
    ending = [
        keras.layers.Dense(3, name="answer", kernel_regularizer="l2", use_bias=False),
        keras.layers.Activation("softmax", name="shares"),
    ]
    made = made_for(flat_model(*ending))
    x, y = images()
    default = network_of(default_model(x, y, "classification"))
    assert [layer.kind for layer in made.layers[:-2]] == [layer.kind for layer in default.layers[:-1]]
    answer, shares = made.layers[-2:]
    assert (answer.name, shares.name, shares.kind) == ("answer", "shares", "Activation")
    assert answer.config["kernel_regularizer"] is not None
    assert [weight.name for weight in answer.weights] == ["kernel"]
    names = [layer.name for layer in made.layers]
    assert len(set(names)) == len(names)


def test_names_of_the_head_are_not_taken_twice():
    made = made_for(flat_model(keras.layers.Dense(3, name="conv2d")))
    assert [layer.name for layer in made.layers].count("conv2d") == 1


def test_the_same_seed_draws_the_same_weights_and_the_global_ones_stay():
    model = flat_model()
    np.random.seed(3)
    first, second = made_for(model), made_for(model)
    assert first.fingerprint() == second.fingerprint()
    expected = np.random.RandomState(3).random_sample()
    assert np.random.random_sample() == expected


def test_it_keeps_max_params_or_is_left_out():
    x = np.tile(images()[0], (50, 1, 1, 1))
    wide = made_for(flat_model(), x)
    narrow = made_for(flat_model(), x, max_params=wide.n_params - 1)
    assert narrow.n_params < wide.n_params
    assert narrow.n_params == made_for(flat_model(), x, size_counts=True).n_params
    assert made_for(flat_model(), x, max_params=narrow.n_params - 1) is None


def test_it_takes_no_more_work_than_is_bearable_or_than_the_given_one():
    def made(side, *before):
        x = np.zeros((2100, side, side, 1), np.float32) + np.arange(2100, dtype=np.float32)[:, None, None, None]
        return made_for(model_of(*before, keras.layers.Flatten(), head(), shape=(side, side, 1)), x)

    widths = [layer.config["filters"] for layer in made(32).layers if layer.kind == "Conv2D"]
    narrow = [layer.config["filters"] for layer in made(64).layers if layer.kind == "Conv2D"]
    assert (widths, narrow) == ([16, 32, 64], [8, 16, 32, 64])
    assert made(160) is None
    assert made(160, keras.layers.Conv2D(90, 5)) is not None


FROZEN = keras.layers.Dense(5)
FROZEN.trainable = False
REASONS = {
    "a layer that is not understood": lambda: model_of(keras.layers.Reshape((8, 8)), keras.layers.LSTM(3), head()),
    "a frozen layer": lambda: model_of(keras.layers.Flatten(), FROZEN, head()),
    "a convolution at the end": lambda: model_of(keras.layers.Conv2D(3, 8), keras.layers.Flatten()),
    "an output for each position": lambda: model_of(keras.layers.Dense(4), head()),
    "weights behind the last kernel": lambda: flat_model(keras.layers.Dense(3), keras.layers.PReLU()),
    "half precision": lambda: flat_model(keras.layers.Dense(3, dtype="mixed_float16")),
    "rows of any shape": lambda: model_of(
        keras.layers.Conv2D(3, 3), keras.layers.GlobalAveragePooling2D(), head(), shape=(None, None, 1)
    ),
}


def head():
    return keras.layers.Dense(3, activation="softmax")


@pytest.mark.parametrize("reason", REASONS)
def test_there_is_none_where_the_model_knows_what_the_data_do_not_say(reason):
    assert made_for(REASONS[reason]()) is None


@pytest.mark.parametrize(("padding", "has_one"), [("same", True), ("causal", False)])
def test_there_is_none_that_would_look_ahead(padding, has_one):
    x = np.random.default_rng(0).normal(size=(60, 20, 1)).astype("float32")
    layers = [keras.layers.Conv1D(3, 3, padding=padding), keras.layers.Flatten(), head()]
    assert (made_for(model_of(*layers, shape=(20, 1)), x) is not None) == has_one


@pytest.mark.parametrize(
    ("scale", "before", "has_one"),
    [(1.0, [], False), (100.0, [], True), (100.0, ["Normalization"], False), (100.0, ["BatchNormalization"], False)],
)
def test_a_table_has_one_where_a_column_is_large_and_the_model_does_not_scale_it(scale, before, has_one):
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    x[:, 2] *= scale
    scaling = [getattr(keras.layers, name)() for name in before]
    model = model_of(*scaling, keras.layers.Dense(5), head(), shape=(4,))
    assert (made_for(model, x) is not None) == has_one


def test_scaling_does_not_stand_in_the_way():
    model = model_of(keras.layers.Rescaling(0.5), keras.layers.Flatten(), head())
    assert made_for(model) is not None


@pytest.mark.parametrize("times", [1, 50])
def test_there_is_none_if_the_model_is_that_start_but_for_widths(times):
    x, y = (np.repeat(part, times, axis=0) for part in images())
    assert made_for(default_model(x, y, "classification"), x) is None


# In an estimator.


def blobs(n=400):
    """Where a bright spot is: two hidden units hardly tell, a convolution does not help."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 6, 6, 1)).astype("float32") * 1000.0
    x[:, 2, 2, 0] += 3000.0 * y
    return x, y


def rough_model(units=2):
    """A model for values around 1."""
    model = model_of(
        keras.layers.Flatten(),
        keras.layers.Dense(units, activation="sigmoid"),
        keras.layers.Dense(1, activation="sigmoid", name="answer"),
        shape=(6, 6, 1),
    )
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


def n_starts(trainer):
    return trainer.candidates_["mutation"].count("start")


def test_a_rough_model_gives_way_and_what_it_was_compiled_with_holds(tmp_path):
    x, y = blobs()
    trainer = ECToNASTrainer(rough_model(), budget=40, random_state=0, verbose=0).fit(x, y)
    assert trainer.lineage_[0].description == MADE
    assert trainer.model_.layers[-1].name == "answer"
    assert isinstance(trainer.model_.optimizer, keras.optimizers.SGD)
    assert trainer.score(x, y) > 0.8
    assert trainer.predict_proba(x[:3]).shape == (3, 2)
    assert trainer.history_["epoch"][0] <= 1
    trainer.report(tmp_path / "report.html")
    assert "It gave way to a start made for the data." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "knobs",
    [{"multi_start": False}, {"keep_weights": True}, {"budget": 15}, {**PAPER, "budget": 40}],
    ids=["not wanted", "a trained start", "little budget", "as published"],
)
def test_there_is_one_start_alone(knobs):
    x, y = blobs(100)
    chosen = {"budget": 40, "random_state": 0, "verbose": 0, **knobs}
    assert n_starts(ECToNASTrainer(rough_model(), **chosen).fit(x, y)) == 1


def test_there_is_one_start_alone_where_penalties_in_the_loss_would_decide():
    x, y = blobs(100)
    model = model_of(keras.layers.Flatten(), keras.layers.Dense(3, kernel_regularizer="l2"), head(), shape=(6, 6, 1))
    chosen = {"budget": 40, "random_state": 0, "verbose": 0}
    assert n_starts(ECToNASTrainer(model, **chosen).fit(x, y)) == 2
    assert n_starts(ECToNASTrainer(model, scoring="loss", **chosen).fit(x, y)) == 1


def test_there_is_none_if_the_model_is_that_start_but_for_its_momentum():
    """Which is lowered where an epoch has few steps."""
    x, y = blobs(100)
    model = default_model(x, y, "classification")
    assert n_starts(ECToNASTrainer(model, budget=40, random_state=0, verbose=0).fit(x, y)) == 1


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_a_start_that_diverges_gives_way(engine, caplog):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype("float32") * 1000 + 1000
    y = x[:, 0] / 1000
    model = model_of(keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1), shape=(5,))
    model.compile("sgd", "mse")
    chosen = {"budget": 30, "random_state": 0, "verbose": 0, "engine": engine}
    trainer = ECToNASRegressor(model, **chosen).fit(x, y)
    assert "cannot be trained" in caplog.text
    assert trainer.candidates_["status"][0] == "failed"
    assert trainer.lineage_[0].description == MADE
    assert trainer.score(x, y) > 0.9
    with pytest.raises(SearchError, match="cannot be trained"):
        ECToNASRegressor(model, multi_start=False, **chosen).fit(x, y)


def test_patience_of_callbacks_counts_alike_for_both():
    x, y = blobs(150)
    stop = keras.callbacks.EarlyStopping("val_accuracy", mode="min", patience=3)
    chosen = {"budget": 60, "random_state": 0, "verbose": 0}
    trainer = ECToNASTrainer(rough_model(), callbacks=[stop], **chosen).fit(x, y)
    lengths = [trainer.records_["candidate"].count(number) for number in (0, 1)]
    assert n_starts(trainer) == 2
    assert lengths[0] == lengths[1] == 4 or min(lengths) > 4


def test_the_callback_knows_no_second_start():
    with pytest.raises(InputError, match="multi_start"):
        ECToNASCallback(*blobs(50), multi_start=True)


def test_from_nothing_and_in_the_callback_there_is_one_start_alone():
    x, y = blobs(100)
    chosen = {"budget": 40, "random_state": 0, "verbose": 0}
    assert n_starts(ECToNASClassifier(**chosen).fit(x, y)) == 1
    search = ECToNASCallback(x, y, **chosen)
    rough_model().fit(x, y, epochs=1, verbose=0, callbacks=[search])
    assert n_starts(search) == 1


def test_a_table_and_values_have_a_second_start_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype("float32") * 100 + 1000
    y = x[:, 0] - 1000
    model = model_of(keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1), shape=(4,))
    trainer = ECToNASRegressor(model, budget=60, random_state=0, verbose=0).fit(x, y)
    assert n_starts(trainer) == 2
    assert trainer.lineage_[0].description == MADE


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_a_search_that_was_stopped_behind_it_ends_alike(engine, tmp_path):
    from keras_ectonas import SearchCallback

    class Stop(SearchCallback):
        def on_generation_begin(self, search):
            search.stop()

    x, y = blobs(150)
    chosen = {"budget": 40, "random_state": 0, "verbose": 0, "engine": engine}
    whole = ECToNASTrainer(rough_model(), **chosen).fit(x, y)
    folder = {**chosen, "checkpoint": tmp_path / "search", "resume": True}
    ECToNASTrainer(rough_model(), callbacks=[Stop()], **folder).fit(x, y)
    with pytest.raises(InputError, match="second start"):
        ECToNASTrainer(rough_model(), **{**folder, "multi_start": False}).fit(x, y)
    again = ECToNASTrainer(rough_model(), **folder).fit(x, y)
    assert again.lineage_ == whole.lineage_
    for own, other in zip(again.model_.get_weights(), whole.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_multi_start_is_true_or_false(value):
    with pytest.raises(InputError, match="multi_start"):
        ECToNASTrainer(rough_model(), multi_start=value, verbose=0).fit(*blobs(50))

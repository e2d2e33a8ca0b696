"""Dropout in the final training: where it goes in, and that it counts where it pays."""

import keras
import numpy as np
import pytest
from fake_engine import FakeEngine
from networks import batch_norm, chain, conv, dense, flatten, global_pooling, inputs_for, plain, pooling
from oracle import forward
from test_final_training import EPOCH, SETTINGS, final_trainings
from test_search import convolutional_start, finished

from keras_ectonas import ECToNASTrainer
from keras_ectonas.surgery import with_dropout

OUTPUT = dense(3, "softmax")
DROPOUT = plain("Dropout", rate=0.1)
CHAINS = {
    "behind a convolution": ((6, 6, 2), [conv(4), pooling("max"), flatten(), OUTPUT], 3),
    "behind global pooling": ((6, 6, 2), [conv(32), global_pooling(), dense(4), OUTPUT], 2),
    "not on the inputs": ((40,), [dense(40), dense(5), OUTPUT], 1),
    "where many can be missed": ((6, 6, 2), [conv(4), flatten(), dense(9), dense(64), OUTPUT], 2),
    "behind the first few": ((5,), [dense(31), dense(64), OUTPUT], 2),
    "behind a batch normalization": ((5,), [dense(32), batch_norm(), OUTPUT], 2),
    "few inputs alone": ((5,), [dense(31), dense(31), OUTPUT], None),
    "nothing learned": ((40,), [OUTPUT], None),
    "nothing learned, flattened": ((6, 8), [flatten(), OUTPUT], None),
    "there is some": ((6, 6, 2), [conv(4), flatten(), DROPOUT, dense(40), OUTPUT], None),
    "features that are one another's business": ((5,), [dense(64, "softmax"), OUTPUT], None),
    "there is some in cells": ((6, 6, 2), [conv(4), DROPOUT, conv(4), flatten(), OUTPUT], 4),
}


@pytest.mark.parametrize("name", CHAINS)
def test_it_goes_before_the_first_dense_layer_with_many_learned_inputs(name):
    shape, makers, place = CHAINS[name]
    network = chain(shape, *makers)
    found = with_dropout(network, 0.3)
    if place is None:
        assert found is None
        return
    child, layer = found
    assert layer is network.layers[place]
    assert [own.kind for own in child.layers] == [
        *(own.kind for own in network.layers[:place]), "Dropout", *(own.kind for own in network.layers[place:])
    ]  # fmt: skip
    assert child.layers[place].config["rate"] == 0.3
    rows = inputs_for(network, 5).astype("float32")
    np.testing.assert_array_equal(forward(child, rows), forward(network, rows))
    assert with_dropout(child, 0.3) is None


def is_dropped(network):
    return any(layer.kind == "Dropout" for layer in network.layers)


def with_and_without(gain, greediness=1.0, lead=0.5, **knobs):
    """A search from a start with learned features; those with dropout in their final training gain so much by it."""

    def score(network, step):
        # Whoever becomes smaller than the start is much worse.
        return 0.5 + gain * is_dropped(network) - 0.25 * (network.n_params < convolutional_start().n_params)

    engine = FakeEngine(score, loss=lambda step: 0.999**step, lead=lead)
    chosen = {**SETTINGS, "final_dropout": 0.25, "greediness": greediness, "cell_pooling": "none", **knobs}
    return engine, finished(engine, convolutional_start(), **chosen)


@pytest.mark.parametrize("greediness", [1.0, 0.5])
@pytest.mark.parametrize(("gain", "pays"), [(0.2, True), (-0.2, False)])
def test_it_counts_where_it_pays(gain, pays, greediness):
    engine, search = with_and_without(gain, greediness)
    ends = final_trainings(search)
    *without, with_it = ends
    if greediness == 1:
        assert [ends[candidate] for candidate in without] == [sum(ends.values()) // 4]
    assert sum(ends.values()) >= 0.4 * 200 * EPOCH
    assert search.ledger.left == 0
    assert search.best in ([with_it] if pays else without)
    assert is_dropped(search.winner().network) == pays
    assert ("dropout of 0.25 before" in search.lineage()[-1].description) == pays
    assert {job.candidate for job in engine.jobs if is_dropped(job.network)} == {with_it}
    assert len({search.candidates[candidate].n_params for candidate in ends}) == 1


@pytest.mark.parametrize(
    ("knobs", "n_trainings", "called_for"),
    [({}, 2, True), ({"final_dropout": 0}, 1, False), ({"lead": 0.05}, 2, False), ({"lead": -0.5}, 2, False)],
)
def test_none_without_a_rate_or_where_nothing_is_learned_by_heart(knobs, n_trainings, called_for):
    engine, search = with_and_without(0.2, **knobs)
    assert len(final_trainings(search)) == n_trainings
    assert is_dropped(engine.jobs[-1].network) == called_for
    assert search.ledger.left == 0


def test_with_far_more_left_than_was_needed_the_long_training_has_it():
    engine = FakeEngine(lambda network, step: 0.5, loss=lambda step: 1.0 + step)
    finished(engine, convolutional_start(), cell_pooling="none", **SETTINGS | {"final_dropout": 0.25})
    ends = [job for job in engine.jobs if job.rates[0] == 1.0 and job.rates[1] not in (1.0, 0.1)]
    assert [is_dropped(job.network) for job in ends] == [False, False, True]


@pytest.mark.parametrize("engine", ["auto", "fit"])
def test_the_winner_may_be_a_model_with_dropout(engine, monkeypatch):
    # Whatever the shorter training shows.
    monkeypatch.setattr("keras_ectonas.search.final_training._BY_HEART", -1.0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 10)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    layers = [keras.Input((10,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2, "softmax")]
    trainer = ECToNASTrainer(
        keras.Sequential(layers), budget=12, warmup_epochs=0, final_share=1.0, final_dropout=0.1, engine=engine,
        scoring="neg_log_loss", random_state=0, verbose=0,
    )  # fmt: skip
    trainer.fit(x, y)
    (dropout,) = [layer for layer in trainer.model_.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout.rate == 0.1
    assert "dropout of 0.1 before" in trainer.lineage_[-1].description
    np.testing.assert_allclose(trainer.predict_proba(x), trainer.model_.predict(x, verbose=0), atol=1e-6)

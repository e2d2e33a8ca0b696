"""Units that give zero for every row: drawn anew, and nothing computed is changed."""

import keras
import numpy as np
import pytest
from models import table
from networks import batch_norm, chain, conv, dense, flatten, inputs_for, plain, pooling, prelu
from oracle import forward

from keras_ectonas import ECToNASTrainer
from keras_ectonas.mutations import mutation_named
from keras_ectonas.network import Weight
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery
from keras_ectonas.surgery.inference import nothing_foreign, outputs_along
from keras_ectonas.surgery.silent import woken

OUTPUT = dense(3, "softmax")
CHAINS = {
    "one of several": ((5,), [dense(6, "relu"), OUTPUT], {0: [1, 4]}),
    "a whole layer": ((5,), [dense(6, "relu"), dense(4, "relu"), OUTPUT], {1: [0, 1, 2, 3]}),
    "two layers": ((5,), [dense(6, "relu"), plain("Dropout", rate=0.1), dense(4, "relu"), OUTPUT],
                   {0: range(6), 2: range(4)}),
    "behind an activation layer": ((5,), [dense(6), plain("ReLU"), OUTPUT], {0: [0, 5]}),
    "channels that are flattened": ((6, 6, 2), [conv(4, activation="relu"), pooling("max"), flatten(), OUTPUT],
                                    {0: [0, 3]}),
    "channels of a convolution": ((6, 6, 2), [conv(4, activation="relu"), conv(3, activation="relu"), flatten(),
                                              dense(4, "relu"), OUTPUT], {0: [2], 1: [0, 1, 2], 3: [1]}),
    "a series": ((9, 2), [conv(4, activation="relu"), flatten(), OUTPUT], {0: range(4)}),
    "without biases": ((5,), [dense(6, "relu"), dense(4, "relu", use_bias=False), OUTPUT], {0: range(6)}),
}  # fmt: skip


def silenced(network, units):
    for index, chosen in units.items():
        layer = network.layers[index]
        bias = layer.weight("bias")
        value = bias.value.copy()
        value[list(chosen)] = -1000
        network = network.with_layer(index, layer.with_weights(Weight("bias", value, bias.slots)))
    return network


def inputs_of(rows):
    def before(network, index):
        return outputs_along(network.layers[:index], rows, nothing_foreign)[-1]

    return before


def woken_from(network, n_rows=60):
    rows = inputs_for(network, n_rows).astype("float32")
    return rows, *woken(network, inputs_of(rows), np.random.default_rng(0))


@pytest.mark.parametrize("name", CHAINS)
def test_silent_units_wake_and_the_function_stays(name):
    shape, makers, units = CHAINS[name]
    network = silenced(chain(shape, *makers), units)
    rows, child, n_woken = woken_from(network)
    np.testing.assert_allclose(forward(child, rows), forward(network, rows), rtol=1e-6)
    # Behind layers that are all silent some receive a constant that keeps them silent, too.
    assert n_woken >= sum(map(len, units.values()))
    for index, chosen in units.items():
        received = outputs_along(child.layers[: index + 2], rows, nothing_foreign)
        active = (received[index + 1] > 0) if child.layers[index].config["activation"] == "relu" else received[-1] > 0
        share = active.reshape(-1, active.shape[-1])[:, list(chosen)].mean(axis=0)
        assert (share > 0.2).all()
        assert (share < 0.8).all()
        # They begin without a past.
        for weight in child.layers[index].weights:
            assert not any(slot[..., list(chosen)].any() for slot in weight.slots.values())
            if n_woken > sum(map(len, units.values())):
                continue
            others = [unit for unit in range(weight.value.shape[-1]) if unit not in chosen]
            old = network.layers[index].weight(weight.name)
            np.testing.assert_array_equal(weight.value[..., others], old.value[..., others])
            np.testing.assert_array_equal(weight.slots["momentum"][..., others], old.slots["momentum"][..., others])
    # A second look finds nothing to do.
    again, n_more = woken(child, inputs_of(rows), np.random.default_rng(0))
    assert n_more == 0
    assert again is child


CONSTRAINED = dense(6, "relu")


def constrained(rng, shape, name):
    layer = CONSTRAINED(rng, shape, name)
    return layer.with_config(kernel_constraint={"class_name": "UnitNorm", "config": {}})


@pytest.mark.parametrize(
    "makers",
    [
        [dense(6), batch_norm(), plain("ReLU"), OUTPUT],
        [dense(6, "relu"), prelu(), OUTPUT],
        [constrained, OUTPUT],
        [dense(6, "tanh"), OUTPUT],
        [dense(6, "relu"), plain("Odd", (6,)), OUTPUT],
    ],
    ids=["batch normalization", "slopes", "constraint", "never zero", "a wall"],
)
def test_what_is_left_asleep(makers):
    network = silenced(chain((5,), *makers, foreign={"Odd": lambda values: values}), {0: range(6)})
    assert woken_from(network)[1:] == (network, 0)


def test_units_that_receive_a_constant_cannot_wake():
    network = silenced(chain((5,), dense(6, "relu"), OUTPUT), {0: range(6)})
    assert woken(network, inputs_of(np.ones((40, 5), "float32")), np.random.default_rng(0)) == (network, 0)


def test_children_of_silent_parents_can_learn():
    network = silenced(chain((5,), dense(6, "relu"), dense(4, "relu"), OUTPUT), {1: range(4)})
    rows = inputs_for(network, 60).astype("float32")
    surgery = CalibratedSurgery(rows)
    parent, n_woken = surgery.prepared(network)
    assert n_woken == 4
    assert surgery.prepared(network)[0] is parent
    for name in ("identity", "add_units", "add_dense"):
        mutation = mutation_named(name)
        site = mutation.sites(parent, SearchSettings())[0]
        child = mutation.apply(parent, site, surgery, np.random.default_rng(0)).network
        np.testing.assert_allclose(forward(child, rows), forward(network, rows), rtol=1e-5)


def test_a_layer_that_cannot_be_looked_into_prevents_nothing():
    network = chain((5,), plain("Odd", (5,)), dense(6, "relu"), OUTPUT, foreign={"Odd": lambda values: values})
    assert CalibratedSurgery(np.ones((4, 5), "float32")).prepared(network) == (network, 0)


@pytest.mark.parametrize(("surgery", "learns"), [("calibrated", True), ("paper", False)])
def test_a_search_gets_away_from_a_start_that_is_dead(surgery, learns):
    x, y = table(200)
    dead = keras.initializers.Constant(-1000.0)
    layers = [keras.layers.Dense(8, activation="relu", bias_initializer=dead) for _ in range(3)]
    model = keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(3, activation="softmax")])
    trainer = ECToNASTrainer(model, budget=30, surgery=surgery, verbose=0, random_state=0, max_children=3).fit(x, y)
    assert (trainer.score(x, y) > 0.6) == learns
    assert any("silent units drawn anew" in words for words in trainer.candidates_["description"]) == learns
    assert not any(trainer.candidates_["remark"])

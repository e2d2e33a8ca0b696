"""Values that do not change, rules, walls, the ledger and the settings."""

import dataclasses

import numpy as np
import pytest
from networks import Builder

from keras_ectonas.budget import Ledger
from keras_ectonas.errors import InputError, SearchError, SurgeryError
from keras_ectonas.mutations import MUTATIONS
from keras_ectonas.network import Layer, Weight
from keras_ectonas.rules import _RULES as RULES
from keras_ectonas.rules import LayerRule, Role, register_rule, role_of, rule_for
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery.walk import consumer_path, is_nonnegative_at, shapes_of


def walled():
    builder = Builder((6,)).dense(5).dense(4)
    builder.add("mine>Odd", "odd")
    odd = dataclasses.replace(builder.network.layers[-1], output_shape=(4,))
    builder.network = builder.network.with_layer(2, odd)
    return builder.dense(3).dense(2, "softmax").network


def test_weights_cannot_be_changed():
    source = np.ones(3)
    weight = Weight("bias", source, {"momentum": np.zeros(3)})
    for array in (weight.value, weight.slots["momentum"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        weight.name = "other"


def test_unchanged_layers_are_shared():
    network = Builder((6,)).dense(5).dense(4).network
    changed = network.with_layer(0, network.layers[0].with_config(units=9))
    assert changed.layers[1] is network.layers[1]
    assert network.layers[0].config["units"] == 5


def test_fingerprints_see_a_single_bit():
    network = Builder((6,)).dense(5).network
    value = network.layers[0].value("bias").copy()
    value[2] = np.nextafter(value[2], 1e9)
    other = network.with_layer(0, network.layers[0].with_weights(network.layers[0].weight("bias").with_value(value)))
    assert other.architecture() == network.architecture()
    assert other.fingerprint() != network.fingerprint()


def test_names():
    network = Builder((6,)).dense(5).dense(4).network
    assert [layer.name for layer in network.layers] == ["dense", "dense_1"]
    assert network.unused_name("dense") == "dense_2"
    assert network.unused_name("conv") == "conv"
    with pytest.raises(KeyError, match=r"layer 'dense' .* has no weight 'gamma'"):
        network.layers[0].weight("gamma")


def test_shapes():
    builder = Builder((9, 7, 2)).conv(3, padding="valid", strides=2).pool("Max").norm().flatten().dense(4)
    assert shapes_of(builder.network) == [(9, 7, 2), (4, 3, 3), (2, 2, 3), (2, 2, 3), (12,), (4,)]


def test_paths():
    network = Builder((8, 8, 1)).conv(3).pool().norm().activation().flatten().dropout().dense(4).network
    path = consumer_path(network, 0)
    assert (path.consumer, path.repeats) == (6, 16)
    assert [repeats for _, repeats in path.between] == [1, 1, 1, 16, 16]
    assert [index for index, _ in path.channelwise(network)] == [2]
    assert consumer_path(network, 6) is None


def test_softmax_in_between_cannot_be_passed():
    assert consumer_path(Builder((6,)).dense(5, "softmax").dense(4).network, 0) is None


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda b: b, True),
        (lambda b: b.dense(3), True),
        (lambda b: b.dense(3, "tanh"), False),
        (lambda b: b.dense(3).dropout(), True),
        (lambda b: b.dense(3).norm(), False),
        (lambda b: b.dense(3).norm().activation(), True),
        (lambda b: b.dense(3, "sigmoid").activation("tanh"), True),
    ],
)
def test_where_nothing_negative_arrives(make, expected):
    network = make(Builder((6,))).dense(2).network
    assert is_nonnegative_at(network, len(network.layers) - 1) is expected


def test_walls_are_not_crossed_and_the_rest_evolves():
    network = walled()
    assert role_of(network.layers[2]) is Role.WALL
    touched = {(m.name, s.layer) for m in MUTATIONS for s in m.sites(network, SearchSettings())}
    assert {("add_units", 0), ("remove_dense", 3), ("add_dense", 3)} <= touched
    assert not {(name, 1) for name in ("add_units", "remove_units", "remove_dense")} & touched


def test_rules_can_be_registered():
    class Passing(LayerRule):
        role = Role.PASS_THROUGH

        def output_shape(self, layer, input_shape):
            return input_shape

    try:
        register_rule("mine>Odd", Passing())
        assert consumer_path(walled(), 1).consumer == 3
    finally:
        RULES.pop("mine>Odd")
    assert consumer_path(walled(), 1) is None
    with pytest.raises(InputError, match="kind='Dense' has a built-in rule"):
        register_rule("Dense", Passing())
    with pytest.raises(InputError, match="rule must be a LayerRule, got str"):
        register_rule("mine>Odd", "pass")


def test_layers_in_unknown_configurations_are_walls():
    grouped = Builder((8, 8, 2)).conv(4).network.layers[0].with_config(groups=2)
    assert role_of(grouped) is Role.WALL
    first = Layer("Conv2D", {"name": "conv", "data_format": "channels_first"})
    with pytest.raises(SurgeryError, match="output shape of layer 'conv'"):
        rule_for(first).output_shape(first, (3, 8, 8))


def test_ledger():
    ledger = Ledger.for_epochs(1.5, 7)
    assert ledger.limit == 10
    ledger.charge(0, "warm-up", 4)
    assert (ledger.spent, ledger.left, ledger.epochs_spent) == (4, 6, 4 / 7)
    assert [ledger.steps_for(epochs) for epochs in (0, 0.01, 0.5, 2)] == [0, 1, 4, 14]
    with pytest.raises(SearchError, match="7 steps of match for candidate 1 do not fit"):
        ledger.charge(1, "match", 7)
    assert ledger.spent == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": -1},
        {"budget": "all"},
        {"greediness": -0.1},
        {"n_parents": 1.5},
        {"max_params": 0},
        {"max_growth": 0},
        {"max_time": -1},
        {"selection": None},
        {"final_selection": "best"},
        {"warmup_epochs": -1},
        {"epochs_per_match": 0},
        {"max_rounds": 0},
        {"rolling_epochs": 0},
        {"recovery_epochs": 3},
        {"unit_step": 2},
        {"min_unit_step": 0},
        {"channel_step": True},
        {"cell_pooling": ()},
        {"spatial_axes": 4},
        {"calibration_rows": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_name_what_is_wrong(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SearchSettings(**wrong)

"""Keras models to networks and back, with their optimizer's memory, and nothing else touched."""

import random

import keras
import numpy as np
import pytest
from models import conv_model, dense_model, images

from keras_ectonas.bridge import Blueprint, kind_of, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.errors import InputError, SurgeryError
from keras_ectonas.mutations import MUTATIONS
from keras_ectonas.rules import producer_rule
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import PublishedSurgery


def blueprint_of(model):
    return Blueprint.of(model, Compilation.of(model))


def trained(optimizer="adam", model=None):
    model = conv_model() if model is None else model
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = images()
    model.fit(x, y, epochs=1, verbose=0)
    return model


def assert_same(first, second):
    assert first.fingerprint() == second.fingerprint()
    assert [layer.config for layer in first.layers] == [layer.config for layer in second.layers]
    for one, other in zip(first.layers, second.layers, strict=True):
        for weight, twin in zip(one.weights, other.weights, strict=True):
            assert weight.slots.keys() == twin.slots.keys()
            for name, slot in weight.slots.items():
                np.testing.assert_array_equal(slot, twin.slots[name])
    assert first.optimizer_state.keys() == second.optimizer_state.keys()
    for name, value in first.optimizer_state.items():
        np.testing.assert_array_equal(value, second.optimizer_state[name])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad", "nadam"])
def test_there_and_back(optimizer):
    model = trained(optimizer)
    network = network_of(model)
    rebuilt = blueprint_of(model).build(network).model
    assert_same(network, network_of(rebuilt))
    x, _ = images(8)
    np.testing.assert_allclose(model.predict(x, verbose=0), rebuilt.predict(x, verbose=0), atol=1e-6)


def test_optimizer_goes_on_as_if_nothing_had_happened():
    model = conv_model()
    model.layers[5].rate = 0.0
    model = trained(keras.optimizers.SGD(0.05, momentum=0.9), model)
    rebuilt = blueprint_of(model).build(network_of(model)).model
    x, y = images(32, seed=1)
    for each in (model, rebuilt):
        each.train_on_batch(x, y)
    for weight, twin in zip(model.get_weights(), rebuilt.get_weights(), strict=True):
        np.testing.assert_allclose(weight, twin, atol=1e-5)


def test_parameters_are_counted_as_keras_counts_them():
    model = trained()
    network, blueprint = network_of(model), blueprint_of(model)
    assert network.n_params == model.count_params()
    rng, tried = np.random.default_rng(0), set()
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            child = mutation.apply(network, site, PublishedSurgery(), rng).network
            built = blueprint.uncompiled(child)
            assert child.n_params == built.count_params(), (mutation.name, site)
            assert [w.value.shape for layer in child.layers for w in layer.weights] == [
                tuple(w.shape) for w in built.weights
            ]
            tried.add(mutation.name)
    assert tried == {mutation.name for mutation in MUTATIONS}


def test_growing_keeps_what_keras_computes():
    model = trained()
    x, _ = images(16)
    network = network_of(model, nonnegative_input=True)
    before, rng = model.predict(x, verbose=0), np.random.default_rng(0)
    checked = 0
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            if mutation.is_exact(network, site):
                child = mutation.apply(network, site, PublishedSurgery(), rng).network
                after = blueprint_of(model).uncompiled(child).predict(x, verbose=0)
                np.testing.assert_allclose(before, after, atol=1e-5)
                checked += 1
    assert checked >= 6


def test_slots_follow_copies():
    network = network_of(trained())
    conv = network.layers[0]
    child = PublishedSurgery().add_outputs(network, 0, 3, np.random.default_rng(0)).network
    for name, slot in child.layers[0].weight("kernel").slots.items():
        assert slot.shape == (3, 3, 1, 7)
        np.testing.assert_array_equal(slot[..., :4], conv.weight("kernel").slots[name])


def test_slots_of_negated_inputs_change_their_sign_but_for_squares():
    network = network_of(trained())
    last = len(network.layers) - 1
    consumer = network.layers[last]
    n_inputs = consumer.value("kernel").shape[0]
    pairs = np.concatenate([np.eye(n_inputs), -np.eye(n_inputs)])
    slots = producer_rule(consumer).mix_inputs(consumer, pairs).weight("kernel").slots
    before = consumer.weight("kernel").slots
    np.testing.assert_array_equal(slots["momentum"], np.concatenate([before["momentum"], -before["momentum"]]))
    np.testing.assert_array_equal(slots["velocity"], np.concatenate([before["velocity"]] * 2))
    assert all(slot.dtype == np.float32 for slot in slots.values())


def test_initializers_and_regularizers_are_kept():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.L2(0.1)),
            keras.layers.Dense(2, kernel_constraint=keras.constraints.MaxNorm(2.0)),
        ]
    )
    model.compile("sgd", "mse")
    rebuilt = blueprint_of(model).build(network_of(model)).model
    assert [layer.get_config() for layer in rebuilt.layers] == [layer.get_config() for layer in model.layers]
    assert len(rebuilt.losses) == len(model.losses) == 1


@keras.saving.register_keras_serializable(package="tests")
class Scaled(keras.layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale


class Dense(keras.layers.Dense):
    """A layer of a user's own that happens to have the name of one of Keras'."""


def test_layers_of_ones_own_are_walls_and_come_back():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), Scaled(), Dense(4), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    network = network_of(model)
    assert [layer.kind for layer in network.layers] == ["Dense", "tests>Scaled", f"{__name__}>Dense", "Dense"]
    rebuilt = blueprint_of(model).build(network).model
    assert [type(layer) for layer in rebuilt.layers] == [type(layer) for layer in model.layers]
    with pytest.raises(SurgeryError, match="cannot be followed"):
        PublishedSurgery().remove_units(network, 0, 1)


def test_kinds():
    assert kind_of(keras.layers.Conv2D) == "Conv2D"
    assert kind_of(Scaled) == "tests>Scaled"


def test_adapted_normalization_survives():
    normalization = keras.layers.Normalization()
    data = np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32")
    normalization.adapt(data)
    model = keras.Sequential([keras.Input((4,)), normalization, keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    rebuilt = blueprint_of(model).build(network_of(model)).model
    np.testing.assert_allclose(model.predict(data, verbose=0), rebuilt.predict(data, verbose=0), atol=1e-6)


def test_global_random_state_is_left_alone():
    model = trained()
    states = random.getstate(), np.random.get_state()[1].copy()
    blueprint_of(model).build(network_of(model)).reseed(3)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_dropout_is_seeded():
    live = blueprint_of(trained()).build(network_of(conv_model()))
    x = np.ones((4, 8, 8, 1), dtype="float32")
    outputs = []
    for seed in (1, 1, 2):
        live.reseed(seed)
        outputs.append(np.asarray(keras.ops.convert_to_numpy(live.model(x, training=True))))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


def test_unknown_class_is_named():
    model = dense_model()
    model.compile("sgd", "mse")
    network = network_of(model)
    broken = network.with_layer(0, type(network.layers[0])("lost>Layer", {"name": "gone"}))
    with pytest.raises(InputError, match="layer 'gone': no class is known for 'lost>Layer'"):
        blueprint_of(model).build(broken)


@pytest.mark.parametrize(
    "schedule", [0.05, keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)], ids=["constant", "schedule"]
)
def test_compilation_is_copied(schedule):
    model = dense_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=False)
    metric = keras.metrics.SparseCategoricalAccuracy(name="hits")
    optimizer = keras.optimizers.SGD(schedule, momentum=0.5, clipnorm=1.0)
    model.compile(optimizer, loss, metrics=[metric], weighted_metrics=["accuracy"])
    compilation = Compilation.of(model)
    other = dense_model()
    compilation.compile(other)
    assert other.optimizer is not model.optimizer
    assert other.optimizer.get_config() == model.optimizer.get_config()
    assert other.loss is loss
    assert compilation.loss_name == "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.Dense(3), False),
        (keras.layers.Dense(3, kernel_regularizer="l2"), True),
        (keras.layers.Dense(3, activity_regularizer="l1"), True),
        (keras.layers.ActivityRegularization(l1=0.1), True),
        (keras.layers.Bidirectional(keras.layers.LSTM(2, recurrent_regularizer="l2")), True),
        (keras.layers.Bidirectional(keras.layers.LSTM(2)), False),
    ],
)
def test_a_network_tells_whether_its_loss_holds_penalties(layer, expected):
    model = keras.Sequential([keras.Input((4, 2)), layer])
    assert network_of(model).is_penalised == expected

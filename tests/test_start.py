"""The start of a search: what it is scaled by, and how its weights are drawn."""

import random

import keras
import numpy as np
import pytest

from keras_ectonas import ECToNASRegressor
from keras_ectonas.initial_weights import initialized_by_numpy
from keras_ectonas.start import default_model, own_copy

FAMILY = ("glorot_uniform", "glorot_normal", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")


def kernels(initializer, seed=0):
    """Of a wide layer of each kind, drawn by NumPy, with the layers."""
    random.seed(seed)
    layers = [keras.layers.Dense(300, kernel_initializer=initializer)]
    layers += [keras.layers.Conv2D(60, 3, kernel_initializer=initializer)]
    with initialized_by_numpy(layers):
        layers[0].build((None, 200))
        layers[1].build((None, 8, 8, 40))
    return layers, [np.asarray(layer.kernel) for layer in layers]


@pytest.mark.parametrize("name", FAMILY)
def test_weights_drawn_by_numpy_are_distributed_as_those_of_keras(name):
    for layer, kernel in zip(*kernels(name), strict=True):
        expected = np.asarray(keras.initializers.get(name)(kernel.shape))
        assert kernel.dtype == expected.dtype
        assert not np.array_equal(kernel, expected)
        for share in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
            assert np.quantile(kernel, share) == pytest.approx(
                np.quantile(expected, share), abs=0.05 * float(expected.std())
            )
        assert np.abs(kernel).max() == pytest.approx(np.abs(expected).max(), rel=0.01)
        assert type(layer.kernel_initializer) is type(keras.initializers.get(name))


def test_an_untruncated_normal_distribution_is_not_cut_off():
    given = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")
    for kernel, fan in zip(kernels(given)[1], (200, 360), strict=True):
        assert kernel.std() == pytest.approx(np.sqrt(2 / fan), rel=0.02)
        assert np.abs(kernel).max() > 3 * kernel.std()


def test_the_seed_of_pythons_generator_decides_what_is_drawn():
    first, again, other = (kernels("glorot_uniform", seed)[1] for seed in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        assert np.array_equal(one, same)
        assert not np.array_equal(one, different)


def test_initializers_with_a_seed_of_their_own_and_other_ones_are_left_to_keras():
    for initializer in (
        keras.initializers.GlorotUniform(7),
        keras.initializers.Orthogonal(3),
        keras.initializers.Ones(),
    ):
        layer = keras.layers.Dense(5, kernel_initializer=initializer)
        with initialized_by_numpy([layer]):
            layer.build((None, 4))
        assert np.array_equal(np.asarray(layer.kernel), np.asarray(initializer((4, 5))))


def test_an_error_while_layers_are_built_leaves_them_their_initializers():
    layer = keras.layers.Dense(5)
    before = layer.kernel_initializer
    with pytest.raises(ZeroDivisionError), initialized_by_numpy([layer]):
        raise ZeroDivisionError
    assert layer.kernel_initializer is before


@pytest.mark.parametrize("keep_weights", [False, True])
def test_a_copy_has_the_configuration_and_if_asked_for_the_weights(keep_weights):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, kernel_initializer="he_normal")])
    twin = own_copy(model, np.zeros((3, 6), np.float32), keep_weights)
    assert twin.layers[0].get_config() == model.layers[0].get_config()
    assert np.array_equal(twin.get_weights()[0], model.get_weights()[0]) is keep_weights
    assert np.std(twin.get_weights()[0]) > 0


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((7,), (0,)), ((12, 3), (0, 1)), ((9, 8), None), ((6, 5, 3), (0, 1, 2)), ((40, 40, 40, 3), None)],
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_inputs_are_scaled_by_column_by_channel_or_as_a_whole(shape, axes, dtype):
    rng = np.random.default_rng(0)
    x = (100 + rng.random((33, *shape)) * np.arange(3, shape[-1] + 3)).astype(dtype)
    layer = default_model(x, np.arange(33) % 2, "classification").layers[0]
    mean, variance = np.ravel(layer.mean), np.ravel(layer.variance)
    assert mean == pytest.approx(np.ravel(x.mean(axis=axes, dtype=np.float64)), rel=1e-6)
    assert variance == pytest.approx(np.ravel(x.var(axis=axes, dtype=np.float64)), rel=1e-5)


def test_columns_that_hardly_differ_are_not_blown_up():
    rng = np.random.default_rng(0)
    x = np.c_[np.full(33, 5.1), 7 + 1e-7 * rng.random(33), np.zeros(33), 1e-3 * rng.random(33)].astype("float32")
    layer = default_model(x, np.arange(33) % 2, "classification").layers[0]
    assert np.ravel(layer.variance)[:3] == pytest.approx([1, 1, 1])
    others = x + np.array([0.001, 0.001, 1, 0], dtype="float32")
    assert np.abs(layer(others)).max() < 4


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_columns_of_zeros_and_ones_stay_as_they_are(dtype):
    x = np.random.default_rng(0).integers(0, 2, (40, 5)).astype(dtype)
    x[:, 1], x[:, 3] = np.arange(40), 2 * x[:, 3]
    layer = default_model(x, np.arange(40) % 2, "classification").layers[0]
    assert np.ravel(layer.mean) == pytest.approx([0, 19.5, 0, x[:, 3].mean(), 0])
    assert np.ravel(layer.variance) == pytest.approx([1, np.arange(40).var(), 1, x[:, 3].var(), 1])


def test_a_name_for_each_row_is_not_learned_by_heart():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(400, 4))
    y = numbers @ [3.0, -2.0, 1.0, 0.5] + rng.normal(0, 0.1, 400)
    names = np.eye(150)[rng.integers(0, 150, 400)]
    x = np.c_[numbers, names].astype("float32")
    found = ECToNASRegressor(budget=60, random_state=0, verbose=0).fit(x[:300], y[:300])
    assert found.score(x[300:], y[300:]) > 0.9


@pytest.mark.parametrize("shape", [(3,), (8, 8), (8, 8, 2)])
@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e20, 1e36])
def test_inputs_of_any_scale(shape, scale):
    x = (3 + np.random.default_rng(0).normal(size=(33, *shape))) * scale
    scaled = np.asarray(default_model(x, np.arange(33) % 2, "classification").layers[0](x.astype("float32")))
    assert scaled.mean() == pytest.approx(0, abs=1e-3)
    assert scaled.std() == pytest.approx(1, abs=1e-3)

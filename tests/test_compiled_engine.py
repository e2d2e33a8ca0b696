"""The compiled engine: its kernels are Keras' layers, and it gives the numbers that ``fit`` gives."""

import logging

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from models import conv_model, dense_model, images, table

from keras_ectonas import ECToNASTrainer
from keras_ectonas.bridge import Blueprint, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.engines import Assignment, FitEngine
from keras_ectonas.engines.compiled import CompiledEngine, compiler, kernels, reason_against
from keras_ectonas.engines.compiled.dropout import can_draw, dropout_mask, next_key
from keras_ectonas.engines.compiled.keras_stage import KerasStage
from keras_ectonas.engines.compiled.kernels import convolutions
from keras_ectonas.engines.compiled.packing import Packing
from keras_ectonas.engines.compiled.padding import Padding, width_class
from keras_ectonas.engines.compiled.rows import DeviceRows
from keras_ectonas.engines.compiled.stage import Features
from keras_ectonas.errors import InputError
from keras_ectonas.inputs.data import Rows, TrainingData, split
from keras_ectonas.inputs.task import Task
from keras_ectonas.lineage import TrainingJob
from keras_ectonas.network import Layer
from keras_ectonas.scoring import resolve_scoring
from keras_ectonas.surgery import PublishedSurgery
from keras_ectonas.surgery.patches import geometry_of

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="the compiled engine is JAX's")

TASK = Task("index", np.arange(3))


def assignment(model, x, y, task=TASK, weights=None, **options):
    compilation = Compilation.of(model)
    rows = Rows(x, task.encode(y), y, weights)
    data = TrainingData(*split(rows, 0.2, task, 0), 16)
    scoring = resolve_scoring("loss", compilation, task)
    return Assignment(Blueprint.of(model, compilation), data, scoring, task, **options)


def trained_by_both(model, x, y, steps=11, rates=(1.0, 1.0), **options):
    """The outcomes of ``fit`` and of compiled programs for one job."""
    given_ = assignment(model, x, y, **options)
    job = TrainingJob(0, network_of(model), 0, steps, 5, rates=rates)
    outcomes = []
    for engine in (FitEngine(given_), CompiledEngine(given_)):
        outcomes += engine.train([job])
        if isinstance(engine, CompiledEngine):
            assert engine._fallback is None, "left to fit"
        engine.close()
    assert [outcome.failure for outcome in outcomes] == ["", ""]
    return outcomes


def assert_alike(fitted, compiled, tolerance=2e-4):
    assert [r.step for r in fitted.records] == [r.step for r in compiled.records]
    for one, other in zip(fitted.records, compiled.records, strict=True):
        assert set(one.logs) == set(other.logs)
        for name, value in one.logs.items():
            assert other.logs[name] == pytest.approx(value, abs=tolerance), name
    for one, other in zip(fitted.network.layers, compiled.network.layers, strict=True):
        for weight, twin in zip(one.weights, other.weights, strict=True):
            assert weight.value.shape == twin.value.shape
            assert set(weight.slots) == set(twin.slots)
    assert set(fitted.network.optimizer_state) == set(compiled.network.optimizer_state)


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.3), keras.optimizers.Adam(0.01)], ids=["sgd", "adam"])
def test_a_falling_learning_rate(optimizer):
    x, y = table()
    model = dense_model()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    steady = trained_by_both(model, x, y)
    falling = trained_by_both(model, x, y, rates=(1.0, 0.0))
    assert_alike(*falling)
    for one, other in zip(steady, falling, strict=True):
        # The rate itself is for the next training as it was.
        assert one.network.optimizer_state == other.network.optimizer_state
        kernels_ = [outcome.network.layers[0].value("kernel") for outcome in (one, other)]
        assert np.abs(kernels_[0] - kernels_[1]).max() > 1e-3


def test_a_schedule_of_the_optimizer_stays_as_it_is():
    x, y = table()
    model = dense_model()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.3, 5, 0.5)
    model.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    steady = trained_by_both(model, x, y)
    falling = trained_by_both(model, x, y, rates=(1.0, 0.0))
    for one, other in zip(steady, falling, strict=True):
        np.testing.assert_array_equal(*(outcome.network.layers[0].value("kernel") for outcome in (one, other)))


# Kernels.


def gradients(function, *arguments):
    outputs = function(*arguments)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=outputs.shape), outputs.dtype)
    numbers = tuple(range(len(arguments)))
    return [outputs, *jax.grad(lambda *a: (function(*a) * weights).sum(), numbers)(*arguments)]


@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 9), min_size=1, max_size=3),
    window=st.integers(1, 5),
    stride=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    groups=st.integers(1, 3),
)
def test_convolution_is_that_of_keras(lengths, window, stride, padding, channels, groups):
    axes = len(lengths)
    if padding == "valid":
        window = min(window, *lengths)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *lengths, groups * channels[0])), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*[window] * axes, channels[0], groups * channels[1])), jnp.float32)
    config = {"name": "c", "kernel_size": [window] * axes, "strides": [stride] * axes, "padding": padding}
    geometry = geometry_of(Layer(f"Conv{axes}D", config), x.shape[1:])
    wanted = gradients(lambda x, k: keras.ops.conv(x, k, strides=stride, padding=padding), x, kernel)

    def own(x, kernel):
        return kernels.batch_first(kernels.convolution(kernels.batch_last_at_once(x), kernel, geometry, groups))

    found = gradients(own, x, kernel)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@settings(max_examples=8, deadline=None)
@given(
    halves=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    window=st.integers(1, 5),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 4)),
)
def test_convolution_joined_with_average_pooling(halves, window, padding, channels):
    axes = len(halves)
    lengths = [2 * half + (window - 1 if padding == "valid" else 0) for half in halves]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *lengths, channels[0])), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*[window] * axes, *channels)), jnp.float32)
    config = {"name": "c", "kernel_size": [window] * axes, "strides": [1] * axes, "padding": padding}
    geometry = geometry_of(Layer(f"Conv{axes}D", config), x.shape[1:])
    pooling = {"name": "p", "pool_size": [2] * axes, "strides": [2] * axes, "padding": "same"}
    pooled = geometry_of(Layer(f"AveragePooling{axes}D", pooling), (*geometry.positions, channels[1]))
    assert kernels.can_join(geometry, pooled)

    def by_keras(x, kernel):
        return keras.ops.average_pool(keras.ops.conv(x, kernel, padding=padding), 2, strides=2, padding="same")

    def joined(x, kernel):
        out = kernels.convolution_and_average_pooling(kernels.batch_last(x), kernel, geometry)
        return kernels.batch_first(out)

    for one, other in zip(gradients(by_keras, x, kernel), gradients(joined, x, kernel), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize(
    ("lengths", "window", "stride", "groups"),
    [
        ((40,), (17,), (4,), 1),
        ((17, 20), (5, 4), (3, 4), 2),
        ((21, 18), (4, 7), (1, 2), 1),
        ((12, 12), (4, 4), (6, 6), 1),
    ],
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolution_of_many_taps_with_strides(lengths, window, stride, groups, padding):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, *lengths, 2 * groups)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*window, 2, 3 * groups)), jnp.float32)
    options = {"strides": stride, "padding": padding}
    geometry = geometry_of(Layer(f"Conv{len(lengths)}D", {"name": "c", "kernel_size": window, **options}), x.shape[1:])

    def own(x, kernel):
        return kernels.batch_first(kernels.convolution(kernels.batch_last(x), kernel, geometry, groups))

    wanted = gradients(lambda x, k: keras.ops.conv(x, k, **options), x, kernel)
    for one, other in zip(wanted, gradients(own, x, kernel), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-4)


@settings(max_examples=6, deadline=None)
@given(
    lengths=st.lists(st.integers(5, 9), min_size=1, max_size=2),
    dilation=st.integers(1, 2),
    stride=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 2)),
)
def test_depthwise_convolution_is_that_of_keras(lengths, dilation, stride, padding, channels):
    stride = 1 if dilation > 1 else stride
    axes = len(lengths)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *lengths, channels[0])), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*[2] * axes, *channels)), jnp.float32)
    options = {"strides": stride, "padding": padding, "dilation_rate": dilation}
    geometry = geometry_of(Layer(f"DepthwiseConv{axes}D", {"name": "c", "kernel_size": 2, **options}), x.shape[1:])
    wanted = gradients(lambda x, k: keras.ops.depthwise_conv(x, k, **options), x, kernel)

    def own(x, kernel):
        return kernels.batch_first(kernels.depthwise_convolution(kernels.batch_last(x), kernel, geometry))

    for one, other in zip(wanted, gradients(own, x, kernel), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize(
    ("products_for_a_move", "many_taps"),
    [(0, 1000), (10**9, 1000), (0, 1)],
    ids=["patches", "sum of products", "patches by a loop"],
)
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("lengths", [(8,), (6, 9)])
def test_convolution_in_every_order(lengths, dilation, products_for_a_move, many_taps, monkeypatch):
    monkeypatch.setattr(convolutions, "_MANY_TAPS", many_taps)
    monkeypatch.setattr(convolutions, "_PRODUCTS_FOR_A_MOVE", products_for_a_move)
    axes = len(lengths)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, *lengths, 5)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*[3] * axes, 5, 2)), jnp.float32)
    config = {"name": "c", "kernel_size": [3] * axes, "strides": [1] * axes, "padding": "same"}
    geometry = geometry_of(Layer(f"Conv{axes}D", config | {"dilation_rate": [dilation] * axes}), x.shape[1:])
    own = gradients(
        lambda x, k: kernels.batch_first(kernels.convolution(kernels.batch_last(x), k, geometry)), x, kernel
    )
    of_keras = gradients(lambda x, k: keras.ops.conv(x, k, padding="same", dilation_rate=dilation), x, kernel)
    for one, other in zip(of_keras, own, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_order_of_a_convolution_by_its_widths():
    def n_products(n_channels, n_filters):
        x, kernel = jnp.ones((n_channels, 10, 10, 4)), jnp.ones((3, 3, n_channels, n_filters))
        config = {"name": "c", "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid"}
        geometry = geometry_of(Layer("Conv2D", config), (10, 10, n_channels))
        (product,) = [
            equation
            for equation in jax.make_jaxpr(lambda x, k: kernels.convolution(x, k, geometry))(x, kernel).eqns
            if equation.primitive.name == "dot_general"
        ]
        return product.outvars[0].aval.shape

    assert n_products(8, 3) == (9 * 3, 400)
    assert n_products(3, 8) == (8, 256)
    assert n_products(96, 48) == (48, 256), "more multiplications would cost more than fewer patches gain"


@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=3),
    size=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]),
    how=st.sampled_from(["Average", "Max"]),
    n_values=st.sampled_from([2, 10**6]),
)
def test_pooling_is_that_of_keras(lengths, size, stride, padding, how, n_values):
    axes = len(lengths)
    if padding == "valid":
        size = min(size, *lengths)
    # Of equal numbers, Keras' gradient goes to the first; where windows overlap, ours is shared between them.
    n_values = n_values if size == stride and padding == "valid" else 10**6
    x = jnp.asarray(np.random.default_rng(0).integers(0, n_values, (2, *lengths, 3)) / n_values, jnp.float32)
    config = {"name": "p", "pool_size": [size] * axes, "strides": [stride] * axes, "padding": padding}
    geometry = geometry_of(Layer(f"{how}Pooling{axes}D", config), x.shape[1:])
    compute = kernels.max_pooling if how == "Max" else kernels.average_pooling
    of_keras = keras.ops.max_pool if how == "Max" else keras.ops.average_pool
    wanted = gradients(lambda x: of_keras(x, size, strides=stride, padding=padding), x)
    found = gradients(lambda x: kernels.batch_first(compute(kernels.batch_last(x), geometry)), x)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("shape", [(7,), (6, 5), (4, 5, 2)])
def test_batch_normalization_is_that_of_keras(shape):
    rng = np.random.default_rng(0)
    layer = keras.layers.BatchNormalization(momentum=0.9)
    layer.build((None, *shape, 3))
    values = [rng.uniform(0.5, 2.0, 3).astype("float32") for _ in range(4)]
    layer.set_weights(values)
    x = jnp.asarray(rng.normal(size=(5, *shape, 3)) + 1, jnp.float32)

    def by_keras(x, gamma, beta):
        out, state = layer.stateless_call([gamma, beta], values[2:], x, training=True)
        return out + 0.0 * state[0]

    def own(x, gamma, beta, training=True):
        moving = (jnp.asarray(values[2]), jnp.asarray(values[3]))
        first = kernels.batch_last(x)
        return kernels.batch_normalization(first, gamma, beta, moving, jnp.bool_(training), 0.9, 1e-3)

    gamma, beta = jnp.asarray(values[0]), jnp.asarray(values[1])
    wanted = gradients(by_keras, x, gamma, beta)
    found = gradients(lambda *a: kernels.batch_first(own(*a)[0]), x, gamma, beta)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    _, state = layer.stateless_call(values[:2], values[2:], x, training=True)
    for one, other in zip(state, own(x, gamma, beta)[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    far = own(1000 * x + 1e6, gamma, beta)[1][1] - 0.9 * values[3]
    np.testing.assert_allclose(far, 1e6 * (own(x, gamma, beta)[1][1] - 0.9 * values[3]), rtol=1e-3)
    inference, moving = own(x, gamma, beta, training=False)
    np.testing.assert_allclose(kernels.batch_first(inference), layer(x, training=False), atol=1e-5)
    np.testing.assert_array_equal(moving[0], values[2])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("shape", [(7, 11), (3, 4, 5, 6)])
def test_dropout_keeps_what_keras_keeps(shape, rate):
    generator = keras.random.SeedGenerator(17)
    swapped = (shape[-1], *shape[1:-1], shape[0])
    for _ in range(2):
        key = jnp.asarray(generator.state.value)
        wanted = np.asarray(keras.random.dropout(jnp.ones(shape), rate, seed=generator)) > 0
        assert 0 < wanted.mean() < 1
        np.testing.assert_array_equal(dropout_mask(key, shape, 1 - rate, False), wanted)
        np.testing.assert_array_equal(np.swapaxes(dropout_mask(key, swapped, 1 - rate, True), 0, -1), wanted)
        np.testing.assert_array_equal(next_key(key), generator.state.value)


@pytest.mark.parametrize(
    ("options", "is_own"), [({"rate": 0.3}, True), ({"rate": 0.0}, False), ({"rate": 0.3, "noise_shape": (1,)}, False)]
)
def test_dropout_left_to_keras(options, is_own):
    assert can_draw(Layer("Dropout", {"name": "d", **options})) is is_own
    with jax.threefry_partitionable(False):
        assert not can_draw(Layer("Dropout", {"name": "d", "rate": 0.3}))


# Agreement with Keras' fit.

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(SCHEDULE, momentum=0.9, nesterov=True),
        keras.optimizers.SGD(0.1, clipnorm=0.1),
        keras.optimizers.SGD(0.1, global_clipnorm=0.2),
        keras.optimizers.AdamW(0.01, clipvalue=0.05, weight_decay=0.1),
        keras.optimizers.RMSprop(0.01, momentum=0.5),
        keras.optimizers.Ftrl(0.01),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_optimizers(optimizer):
    x, y = table(100)
    model = dense_model(units=(6, 5))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert_alike(*trained_by_both(model, x, y))


@pytest.mark.parametrize("engine", [FitEngine, CompiledEngine])
def test_what_an_optimizer_factors_is_remembered_from_job_to_job(engine):
    x, y = table(100)
    # Keras' Adafactor gives NaN where a unit is silent for a whole batch.
    hidden = keras.layers.Dense(6, activation="tanh")
    model = keras.Sequential([keras.Input((8,)), hidden, keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.Adafactor(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    trained = engine(assignment(model, x, y))
    half = trained.train([TrainingJob(0, network_of(model), 0, 5, 5)])[0].network
    factors = {name: memory for name, memory in half.optimizer_state.items() if memory.ndim}
    assert len(factors) == 4
    assert all(memory.any() for memory in factors.values())
    kept = trained.train([TrainingJob(0, half, 5, 0, 5)])[0].network.optimizer_state
    for name, memory in factors.items():
        np.testing.assert_array_equal(kept[name], memory)
    wider = PublishedSurgery().add_outputs(half, 0, 2, np.random.default_rng(0)).network
    grown = trained.train([TrainingJob(1, wider, 5, 5, 5)])[0]
    assert grown.failure == ""
    trained.close()


@pytest.mark.parametrize("pooling", [keras.layers.AveragePooling2D, keras.layers.MaxPooling2D])
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3)])
def test_convolutional_models_with_dropout(shape, pooling):
    model = conv_model(shape, pooling=pooling)
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = images(60, shape)
    fitted, compiled = trained_by_both(model, x, y)
    assert_alike(fitted, compiled)
    for one, other in zip(fitted.network.layers, compiled.network.layers, strict=True):
        for weight, twin in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(weight.value, twin.value, atol=1e-4)


LAYERS = {
    "series": [keras.Input((12, 2)), keras.layers.Conv1D(3, 3), keras.layers.MaxPooling1D(), keras.layers.Flatten()],
    "global": [keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 2, strides=2), keras.layers.GlobalAveragePooling2D()],
    "recurrent": [keras.Input((5, 3)), keras.layers.GRU(4)],
    "embedding": [keras.Input((5,)), keras.layers.Embedding(8, 3), keras.layers.Flatten()],
    "layer_norm": [keras.Input((6,)), keras.layers.Dense(5), keras.layers.LayerNormalization(), keras.layers.ReLU()],
    "noise": [keras.Input((6,)), keras.layers.GaussianNoise(0.1), keras.layers.Dense(5, activation="tanh")],
    "frozen": [
        keras.Input((6,)),
        keras.layers.Dense(5, trainable=False),
        keras.layers.BatchNormalization(trainable=False),
    ],
    "regularized": [
        keras.Input((6,)),
        keras.layers.Dense(5, kernel_regularizer="l2"),
        keras.layers.BatchNormalization(gamma_regularizer="l2", scale=True, center=False),
        keras.layers.Dense(4, bias_regularizer="l1", kernel_constraint="max_norm", use_bias=True),
    ],
    "regularized_dead_units": [
        keras.Input((6,)),
        keras.layers.Dense(9),
        keras.layers.BatchNormalization(gamma_regularizer=keras.regularizers.L1L2(0.0, 0.1), beta_regularizer="l2"),
        keras.layers.PReLU(alpha_initializer="ones", alpha_regularizer="l2"),
    ],
    "depthwise": [keras.Input((6, 6, 2)), keras.layers.DepthwiseConv2D(3), keras.layers.Flatten()],
    "causal": [
        keras.Input((8, 3)),
        keras.layers.Conv1D(4, 3, padding="causal"),
        keras.layers.AveragePooling1D(2),
        keras.layers.GlobalMaxPooling1D(),
    ],
    "causal_dilated": [
        keras.Input((8, 3)),
        keras.layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu"),
        keras.layers.Flatten(),
    ],
    "separable": [
        keras.Input((6, 6, 2)),
        keras.layers.SeparableConv2D(
            4,
            3,
            padding="same",
            depth_multiplier=2,
            activation="relu",
            depthwise_regularizer="l2",
            pointwise_constraint=keras.constraints.MaxNorm(0.3),
        ),
        keras.layers.MaxPooling2D(4),
        keras.layers.Flatten(),
    ],
    "separable_series": [
        keras.Input((9, 3)),
        keras.layers.SeparableConv1D(4, 3, strides=2, use_bias=False, pointwise_regularizer="l1"),
        keras.layers.GlobalAveragePooling1D(),
    ],
    "frozen_depthwise": [
        keras.Input((6, 6, 2)),
        keras.layers.DepthwiseConv2D(3, trainable=False),
        keras.layers.Flatten(),
    ],
    "grouped": [
        keras.Input((6, 6, 4)),
        keras.layers.Conv2D(6, 3, groups=2, activation="relu"),
        keras.layers.Conv2D(6, 2, groups=6),
        keras.layers.Flatten(),
    ],
    "volumes": [
        keras.Input((5, 5, 5, 2)),
        keras.layers.Conv3D(3, 2, activation="relu"),
        keras.layers.MaxPooling3D(2),
        keras.layers.GlobalAveragePooling3D(),
    ],
    "activation_that_draws": [
        keras.Input((6,)),
        keras.layers.Dense(16, activation=keras.layers.Dropout(0.9)),
        keras.layers.Dense(5, activation=keras.layers.LeakyReLU(0.3)),
    ],
    "strides": [
        keras.Input((40, 2)),
        keras.layers.Conv1D(4, 18, strides=4, padding="same", activation="relu"),
        keras.layers.MaxPooling1D(10),
        keras.layers.Flatten(),
    ],
    "long_pooling": [keras.Input((90, 2)), keras.layers.AveragePooling1D(70), keras.layers.Flatten()],
    "normalized_whole_numbers": [
        keras.Input((6,), dtype="int16"),
        keras.layers.BatchNormalization(),
    ],
    "whole_numbers": [
        keras.Input((8, 8, 2), dtype="uint8"),
        keras.layers.AveragePooling2D(2),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
    ],
    "constrained_recurrent": [
        keras.Input((5, 3)),
        keras.layers.LSTM(4, recurrent_constraint=keras.constraints.MaxNorm(0.3)),
    ],
    "constrained_inside": [
        keras.Input((6,)),
        keras.Sequential([keras.layers.Dense(4, kernel_constraint=keras.constraints.MaxNorm(0.3))]),
    ],
    "dropout_inside": [
        keras.Input((6,)),
        keras.Sequential([keras.layers.Dense(5), keras.layers.Dropout(0.3), keras.layers.Dropout(0.2)]),
        keras.layers.Dropout(0.1),
    ],
    "constrained_depthwise": [
        keras.Input((6, 6, 2)),
        keras.layers.DepthwiseConv2D(3, depthwise_constraint=keras.constraints.MaxNorm(0.3)),
        keras.layers.Flatten(),
    ],
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([*LAYERS[kind], keras.layers.Dense(3, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    shape = (60, *model.input_shape[1:])
    x = rng.integers(0, 8, shape) if kind in ("embedding", "whole_numbers") else rng.normal(size=shape)
    if kind == "normalized_whole_numbers":
        x = x * 2000
    fitted, compiled = trained_by_both(model, x.astype(model.inputs[0].dtype), rng.integers(0, 3, 60))
    assert_alike(fitted, compiled)


def test_metrics_that_correlate_the_rows_of_a_batch_or_add_them_up():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 6)).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    metrics = [
        keras.metrics.PearsonCorrelation(axis=0),
        keras.metrics.ConcordanceCorrelation(axis=0),
        keras.losses.MeanSquaredError(reduction="sum", name="summed"),
    ]
    model.compile("adam", "mse", metrics=metrics)
    y = x[:, :3] + rng.normal(size=(100, 3))
    fitted, compiled = trained_by_both(model, x, y, task=Task("value", columns=3))
    assert "summed" in fitted.records[0].logs
    assert_alike(fitted, compiled)


def mean_of_outputs(y_true, y_pred):
    return keras.ops.mean(y_pred) ** 2


def test_losses_metrics_and_weights():
    x, y = table(100, n_classes=2)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="gelu"), keras.layers.Dense(1)])
    model.compile(
        "adam",
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=[keras.metrics.AUC(from_logits=True), mean_of_outputs],
        weighted_metrics=["binary_accuracy"],
    )
    weights = np.random.default_rng(0).random(100).astype("float32")
    task = Task("binary", np.arange(2))
    assert_alike(*trained_by_both(model, x, y, task=task, weights=weights))


def test_losses_of_the_first_steps(monkeypatch):
    seen = []
    summary = DeviceRows.summary

    def spy(self, head, result, schedule, n_steps, *rest):
        seen.append((np.asarray(schedule[:n_steps]), np.asarray(result.losses[:n_steps])))
        return summary(self, head, result, schedule, n_steps, *rest)

    monkeypatch.setattr(DeviceRows, "summary", spy)
    model = conv_model()
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    model.layers[5].rate = 0.0
    x, y = images(200)
    given_ = assignment(model, x, y)
    engine = CompiledEngine(given_)
    engine.train([TrainingJob(0, network_of(model), 0, 10, 5)])
    engine.close()
    (schedule, losses), *_ = seen
    live = given_.blueprint.build(network_of(model)).model
    both = np.concatenate([given_.data.train.x, given_.data.validation.x])
    targets = np.concatenate([given_.data.train.y, given_.data.validation.y])
    wanted = [float(live.train_on_batch(both[rows], targets[rows])) for rows in schedule]
    assert len(losses) == 10
    np.testing.assert_allclose(losses, wanted, atol=1e-5)


# Its own machinery.


def test_dead_units_behind_several_positions_stay_dead():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(3, 3),
            keras.layers.PReLU(alpha_initializer="ones", shared_axes=(1, 2)),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ]
    )
    padding = Padding.of(network_of(model))
    padded = padding.apply(network_of(model))
    np.testing.assert_array_equal(padded.layers[1].value("alpha"), [[[1, 1, 1, 0]]])
    np.testing.assert_array_equal(padded.layers[3].value("gamma").reshape(4, 4), [[1, 1, 1, 0]] * 4)
    np.testing.assert_array_equal(padded.layers[3].value("moving_variance"), np.ones(16))
    assert padding.undo(padded).fingerprint() == network_of(model).fingerprint()


def test_dead_units_change_nothing_and_stay_dead():
    model = conv_model()
    network = network_of(model)
    padding = Padding.of(network)
    assert [(layer, width) for layer, width, _ in padding.widths] == [(6, 6)]
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = images(60)
    given_ = assignment(model, x, y)
    network = given_.blueprint.build(network_of(model)).collect(network_of(model))
    padding = Padding.of(network)
    padded = padding.apply(network)
    assert [(width, wide) for _, width, wide in padding.widths] == [(3, 4), (5, 8)]
    outputs = [given_.blueprint.uncompiled(n).predict(x, verbose=0) for n in (network, padded)]
    np.testing.assert_allclose(*outputs, atol=1e-6)
    assert padding.undo(padded).fingerprint() == network.fingerprint()
    outcomes = CompiledEngine(given_).train([TrainingJob(0, padded, 0, 6, 1), TrainingJob(1, network, 0, 6, 1)])
    wide, narrow = (outcome.network for outcome in outcomes)
    assert not wide.layers[0].value("kernel")[..., 3:].any()
    assert not wide.layers[4].value("kernel")[:, 5:].any()
    assert not wide.layers[4].weight("kernel").slots["velocity"][:, 5:].any()
    cut = padding.undo(wide)
    for one, other in zip(cut.layers, narrow.layers, strict=True):
        for weight, twin in zip(one.weights, other.weights, strict=True):
            np.testing.assert_allclose(weight.value, twin.value, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dense(5, activation="sigmoid"),
        keras.layers.Dense(5, kernel_constraint="non_neg"),
        keras.layers.Dense(5, kernel_regularizer=keras.regularizers.OrthogonalRegularizer()),
        keras.layers.Dense(5, kernel_regularizer="l1"),
        keras.layers.Dense(5, bias_regularizer=keras.regularizers.L1L2(0.1)),
    ],
)
def test_what_is_not_padded(layer):
    model = keras.Sequential([keras.Input((6,)), layer, keras.layers.Dense(3)])
    assert Padding.of(network_of(model)).widths == ()


@pytest.mark.parametrize(
    ("width", "finest", "expected"), [(1, 4, 4), (3, 4, 4), (9, 4, 12), (33, 8, 40), (100, 8, 112), (129, 4, 160)]
)
def test_width_classes(width, finest, expected):
    assert width_class(width, finest) == expected


def test_packing_and_back():
    arrays = [np.arange(6.0).reshape(2, 3), np.ones((100, 100)), np.arange(4.0)]
    packing = Packing([array.shape for array in arrays], together=True)
    packed = packing.pack(arrays)
    assert [part.shape for part in packed] == packing.shapes == [(10,), (100, 100)]
    for one, other in zip(arrays, packing.unpack(packed), strict=True):
        np.testing.assert_array_equal(one, other)

    def loss(packed):
        return sum((part**2).sum() for part in packing.unpack_in_training(packed))

    for gradient, part in zip(jax.grad(loss)([jnp.asarray(part) for part in packed]), packed, strict=True):
        np.testing.assert_allclose(gradient, 2 * part)
    assert Packing([(2,), (3,)], together=False).shapes == [(2,), (3,)]


def test_candidates_share_programs_and_order_changes_nothing():
    model = dense_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = table(100)
    given_ = assignment(model, x, y)
    networks = [network_of(dense_model(units=units)) for units in ((5,), (6,), (7,), (6, 6))]
    jobs = [TrainingJob(k, network, 0, 7, k) for k, network in enumerate(networks)]
    fingerprints = []
    for n_threads, order in ((1, jobs), (1, jobs[::-1]), (2, jobs)):
        engine = CompiledEngine(given_, n_threads)
        outcomes = engine.train(order)
        assert len(engine._programs) == 2
        engine.close()
        found = {job.candidate: o.network.fingerprint() for job, o in zip(order, outcomes, strict=True)}
        fingerprints.append(found)
    assert fingerprints[0] == fingerprints[1] == fingerprints[2]


def test_with_many_steps_nothing_is_padded(monkeypatch):
    model = dense_model(units=(5,))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = table(100)
    few = trained_by_both(model, x, y)[1]
    monkeypatch.setattr("keras_ectonas.engines.compiled.engine._FEW_STEPS", 0)
    many = trained_by_both(model, x, y)[1]
    assert_alike(few, many)


def test_outputs_that_do_not_fit_at_once(monkeypatch):
    x, y = table(100)
    model = dense_model()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[keras.metrics.SparseCategoricalAccuracy()])
    whole = trained_by_both(model, x, y)
    monkeypatch.setattr("keras_ectonas.engines.compiled.rows._NUMBERS_AT_ONCE", 100)
    assert_alike(whole[0], trained_by_both(model, x, y)[1])


def test_metrics_of_epochs_of_every_length_come_from_two_programs(monkeypatch):
    seen = []

    def spy(lowered, quickly):
        seen.append(lowered)
        return compiler.compiled(lowered, quickly)

    monkeypatch.setattr("keras_ectonas.engines.compiled.rows.compiled", spy)
    model = dense_and_compiled()
    given_ = assignment(model, *table(100))
    steps = given_.data.steps_per_epoch
    engine, fit = CompiledEngine(given_), FitEngine(given_)
    jobs = [TrainingJob(k, network_of(model), 0, n, 5) for k, n in enumerate((steps, 1, 2, steps + 1, 0))]
    for fitted, ours in zip(fit.train(jobs), engine.train(jobs), strict=True):
        assert_alike(fitted, ours)
    assert len(seen) == 2
    engine.close()
    fit.close()


class Halving(keras.layers.Layer):
    def call(self, inputs, training=False):
        # The two modes are told apart by a constant alone.
        return inputs * np.full(3, 0.5 if training else 1.0, "float32")


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Layer):
    """Cannot be traced: it looks at its input's numbers."""

    def compute_output_spec(self, inputs):
        return inputs

    def call(self, inputs):
        if float(keras.ops.convert_to_numpy(keras.ops.sum(inputs))) > 1e9:
            raise ValueError("too much")
        return inputs


def test_what_cannot_be_traced_is_left_to_fit(caplog):
    model = keras.Sequential([keras.Input((8,)), Counting(), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=False)
    given_ = assignment(dense_and_compiled(), *table(60))
    engine = CompiledEngine(Assignment(Blueprint.of(model, Compilation.of(model)), given_.data, given_.scoring, TASK))
    with caplog.at_level(logging.INFO, logger="keras_ectonas"):
        outcome = engine.train([TrainingJob(3, network_of(model), 0, 2, 0)])[0]
    engine.close()
    assert "candidate 3 is trained by Keras' fit" in caplog.text
    assert not outcome.failure


def dense_and_compiled():
    model = dense_model()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": keras.optimizers.SGD(use_ema=True)}, "use_ema"),
        ({"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=2)}, "gradient_accumulation_steps"),
        ({"run_eagerly": True}, "run_eagerly"),
        ({"optimizer": "muon"}, "names of weights"),
        ({"optimizer": "schedulefreeadamw"}, "copies of the weights"),
    ],
)
def test_reasons_against(changes, reason):
    model = dense_model()
    model.compile(**{"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", **changes})
    assert reason in reason_against(assignment(model, *table(60)))


def test_masks_and_half_precision_are_left_to_fit():
    layers = {
        "activity": [keras.Input((5,)), keras.layers.Dense(3, activity_regularizer="l2")],
        "makes masks": [keras.Input((5,)), keras.layers.Embedding(8, 3, mask_zero=True), keras.layers.GRU(2)],
        "mixed_float16": [keras.Input((5,)), keras.layers.Dense(3, dtype="mixed_float16")],
    }
    for reason, stack in layers.items():
        model = keras.Sequential([*stack, keras.layers.Dense(3, activation="softmax", dtype="float32")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        x = np.random.default_rng(0).integers(0, 8, (60, 5)).astype("float32")
        engine = CompiledEngine(assignment(model, x, np.arange(60) % 3))
        assert reason in engine._compile("key", network_of(model))
        assert not engine.train([TrainingJob(0, network_of(model), 0, 2, 0)])[0].failure
        engine.close()


@pytest.mark.parametrize(
    ("layer", "is_left_to_fit"),
    [
        (lambda: keras.Sequential([keras.layers.Conv2D(3, 3), keras.layers.Flatten()]), True),
        (lambda: keras.layers.Conv2DTranspose(3, 3), True),
        (lambda: keras.layers.TimeDistributed(keras.layers.Conv1D(3, 3)), True),
        (lambda: keras.layers.Conv2DTranspose(3, 3, trainable=False), False),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), False),
        (lambda: keras.layers.TimeDistributed(keras.layers.GRU(3)), False),
    ],
)
def test_convolutions_that_train_slowly_in_a_loop_are_left_to_fit(layer, is_left_to_fit, caplog):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 2)), layer(), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    engine = CompiledEngine(assignment(model, *images(60, (6, 6, 2))))
    with caplog.at_level(logging.INFO, logger="keras_ectonas"):
        outcome = engine.train([TrainingJob(0, network_of(model), 0, 2, 0)])[0]
    engine.close()
    assert ("slow inside a compiled loop" in caplog.text) == is_left_to_fit
    assert ("trained by Keras' fit" in caplog.text) == is_left_to_fit
    assert not outcome.failure


@pytest.mark.parametrize(
    ("layer", "n_passes"), [(keras.layers.GRU(4), 1), (keras.layers.GRU(4, dropout=0.5), 2), (Halving(), 2)]
)
def test_what_training_does_not_change_is_computed_once(layer, n_passes):
    layer.build((None, 5, 3))
    stage = KerasStage(0, layer, (5, 3), "float32", on_cpu=True)
    calls = []
    called = stage._called
    stage._called = lambda *arguments, **options: calls.append(0) or called(*arguments, **options)
    weights = [jnp.asarray(variable) for variable in layer.trainable_variables]
    state = [jnp.asarray(variable) for variable in layer.non_trainable_variables]
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    for training in (True, False):
        calls.clear()
        outputs, _, _ = stage(weights, state, Features(x), jnp.bool_(training))
        assert len(calls) == n_passes
        if not training or n_passes == 1:
            np.testing.assert_allclose(outputs.values, layer(x, training=False), atol=1e-6)
    assert (np.asarray(stage(weights, state, Features(x), jnp.bool_(True))[0].values) == outputs.values).all() == (
        n_passes == 1
    )


@pytest.mark.parametrize("layer", [keras.layers.DepthwiseConv2D(3), keras.layers.SeparableConv2D(2, 3)])
def test_whole_numbers_that_keras_refuses_are_refused(layer):
    model = keras.Sequential([keras.Input((6, 6, 2), dtype="uint8"), layer, keras.layers.Flatten()])
    model.add(keras.layers.Dense(3, activation="softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).integers(0, 255, (60, 6, 6, 2)).astype("uint8")
    engine = CompiledEngine(assignment(model, x, np.arange(60) % 3))
    outcome = engine.train([TrainingJob(0, network_of(model), 0, 2, 0)])[0]
    engine.close()
    assert "dtypes" in outcome.failure


def test_half_precision_inputs_become_single_precision():
    model = keras.Sequential([keras.Input((8,), dtype="float16"), keras.layers.BatchNormalization()])
    model.add(keras.layers.Dense(3, activation="softmax"))
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(0).normal(300, 100, (60, 8)).astype("float16")
    assert_alike(*trained_by_both(model, x, np.arange(60) % 3))


def test_a_diverging_candidate_fails_alone():
    model = dense_model()
    model.compile(keras.optimizers.SGD(1e30), "sparse_categorical_crossentropy")
    engine = CompiledEngine(assignment(model, *table(60)))
    outcome = engine.train([TrainingJob(0, network_of(model), 0, 9, 0)])[0]
    engine.close()
    assert "became" in outcome.failure or "not finite" in outcome.failure
    assert 0 < outcome.steps <= 9


def test_a_search_does_not_depend_on_n_jobs():
    x, y = images()
    knobs = {"budget": 5, "verbose": 0, "random_state": 3, "epochs_per_match": 0.5}
    found = []
    for options in ({}, {"n_jobs": 2}, {"engine": "compiled", "n_jobs": -1}):
        trainer = ECToNASTrainer(conv_model(), **knobs, **options).fit(x, y)
        found.append(([str(entry) for entry in trainer.lineage_], network_of(trainer.model_).fingerprint()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("n_jobs", [0, 1.5, True])
def test_n_jobs_is_checked(n_jobs):
    with pytest.raises(InputError, match="n_jobs="):
        ECToNASTrainer(dense_model(), n_jobs=n_jobs).fit(*table())


def test_programs_are_kept_for_all_who_train_and_dropped_after(monkeypatch):
    monkeypatch.setattr("keras_ectonas.engines.compiled.engine._PROGRAMS_KEPT", 1)
    monkeypatch.setattr("keras_ectonas.engines.compiled.engine._FEW_STEPS", 0)
    model = dense_model()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    engine = CompiledEngine(assignment(model, *table(100)))
    jobs = [TrainingJob(k, network_of(dense_model(units=(k + 4,))), 0, 2, k) for k in range(3)]
    engine.train(jobs)
    assert len(engine._programs) == 3
    engine.train(jobs[2:])
    engine.train([TrainingJob(9, network_of(dense_model(units=(9,))), 0, 2, 9)])
    assert len(engine._programs) == 1
    engine.close()

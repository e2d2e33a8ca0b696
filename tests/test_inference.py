"""What surgery computes in NumPy is what Keras computes."""

import keras
import numpy as np
import pytest

from keras_ectonas.bridge import network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.errors import SurgeryError
from keras_ectonas.network import Layer
from keras_ectonas.surgery.inference import layer_output, outputs_along
from keras_ectonas.surgery.patches import geometry_of, kernel_matrix, patches_at, sampled_positions

IMAGE, SERIES, TABLE = (7, 6, 3), (9, 4), (5,)

LAYERS = [
    (IMAGE, lambda: keras.layers.Conv2D(4, 3, padding="same", activation="relu")),
    (IMAGE, lambda: keras.layers.Conv2D(4, (2, 3), strides=(2, 1), padding="valid", use_bias=False)),
    (IMAGE, lambda: keras.layers.Conv2D(2, 3, strides=2, padding="same", activation="tanh")),
    (IMAGE, lambda: keras.layers.Conv2D(2, 2, dilation_rate=2, padding="same", activation="leaky_relu")),
    (SERIES, lambda: keras.layers.Conv1D(3, 4, padding="same", activation="elu")),
    (SERIES, lambda: keras.layers.Conv1D(3, 3, padding="causal", activation="silu")),
    ((4, 4, 5, 2), lambda: keras.layers.Conv3D(3, 2, padding="same", activation="sigmoid")),
    (IMAGE, lambda: keras.layers.AveragePooling2D(2, padding="same")),
    (IMAGE, lambda: keras.layers.AveragePooling2D((3, 2), strides=2, padding="valid")),
    (IMAGE, lambda: keras.layers.MaxPooling2D(2, padding="same")),
    (SERIES, lambda: keras.layers.MaxPooling1D(3, strides=2, padding="same")),
    (IMAGE, lambda: keras.layers.GlobalAveragePooling2D()),
    (SERIES, lambda: keras.layers.GlobalMaxPooling1D()),
    (IMAGE, lambda: keras.layers.BatchNormalization()),
    (IMAGE, lambda: keras.layers.BatchNormalization(scale=False, center=False)),
    (IMAGE, lambda: keras.layers.Flatten()),
    (IMAGE, lambda: keras.layers.Reshape((6, -1))),
    (IMAGE, lambda: keras.layers.SpatialDropout2D(0.5)),
    (IMAGE, lambda: keras.layers.PReLU(shared_axes=[1, 2])),
    (IMAGE, lambda: keras.layers.ReLU()),
    (IMAGE, lambda: keras.layers.LeakyReLU(0.3)),
    (IMAGE, lambda: keras.layers.Dense(4, activation="softmax")),
    (TABLE, lambda: keras.layers.Dense(4, activation="softplus")),
    (TABLE, lambda: keras.layers.Dropout(0.5)),
    (TABLE, lambda: keras.layers.Activation("relu6")),
]


def random_model(shape, *layers, seed=0):
    model = keras.Sequential([keras.Input(shape), *layers])
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape)
        weight.assign(np.abs(drawn) + 0.1 if "variance" in weight.name else drawn)
    return model


@pytest.mark.parametrize(("shape", "make"), LAYERS)
def test_layers_compute_what_keras_computes(shape, make):
    model = random_model(shape, make())
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(layer_output(network_of(model).layers[0], x), expected, atol=2e-5)


def test_chains():
    layers = [keras.layers.Conv2D(3, 3, padding="same"), keras.layers.MaxPooling2D(2), keras.layers.Flatten()]
    model = random_model(IMAGE, *layers, keras.layers.Dense(2))
    x = np.random.default_rng(1).normal(size=(3, *IMAGE)).astype("float32")
    along = outputs_along(network_of(model).layers, x)
    assert [values.shape[1:] for values in along] == [IMAGE, (7, 6, 3), (3, 3, 3), (27,), (2,)]
    np.testing.assert_allclose(along[-1], model.predict(x, verbose=0), atol=1e-4)


def test_layers_without_a_formula_are_handed_to_the_caller():
    layer = Layer("tests>Odd", {"name": "odd"}, (), (5,))
    x = np.ones((2, 5), dtype="float32")
    with pytest.raises(SurgeryError, match=r"what layer 'odd' \(tests>Odd\) computes is not known"):
        layer_output(layer, x)
    np.testing.assert_array_equal(layer_output(layer, x, lambda layer, inputs: 3 * inputs), 3 * x)


def test_foreign_layers_are_computed_by_keras():
    from keras_ectonas.bridge import Blueprint

    model = random_model(IMAGE, keras.layers.Conv2D(3, 3, activation="gelu"), keras.layers.LayerNormalization())
    model.compile("sgd", "mse")
    blueprint = Blueprint.of(model, Compilation.of(model))
    x = np.random.default_rng(1).normal(size=(5, *IMAGE)).astype("float32")
    along = outputs_along(network_of(model).layers, x, blueprint.layer_output)
    np.testing.assert_allclose(along[-1], model.predict(x, verbose=0), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "make"), [pair for pair in LAYERS if network_of(random_model(pair[0], pair[1]())).layers[0].has("kernel")]
)
def test_patches_times_kernel_are_pre_activations(shape, make):
    model = random_model(shape, make())
    model.layers[0].activation = keras.activations.linear
    layer = network_of(model).layers[0]
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    geometry = geometry_of(layer, shape)
    samples = sampled_positions(3, geometry.positions, 10**6, np.random.default_rng(0))
    values = patches_at(geometry, x, samples) @ kernel_matrix(layer)
    if layer.has("bias"):
        values += layer.value("bias")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(values.reshape(expected.shape), expected, atol=1e-4)


def test_patches_of_blocks_are_means():
    model = random_model((6, 6, 2), keras.layers.Conv2D(3, 3, padding="same"))
    layer = network_of(model).layers[0]
    x = np.random.default_rng(1).normal(size=(4, 6, 6, 2)).astype("float32")
    samples = sampled_positions(4, (3, 3), 10**6, np.random.default_rng(0))
    found = patches_at(geometry_of(layer, (6, 6, 2)), x, samples) @ kernel_matrix(layer) + layer.value("bias")
    expected = model.predict(x, verbose=0).reshape(4, 3, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-4)


def test_samples_are_few_and_distinct():
    samples = sampled_positions(50, (4, 5), 100, np.random.default_rng(0))
    assert len(samples.row) == 100
    assert len(set(zip(samples.row, *samples.position, strict=True))) == 100
    assert max(samples.row) < 50
    assert [max(axis) < size for axis, size in zip(samples.position, (4, 5), strict=True)] == [True, True]

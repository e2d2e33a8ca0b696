"""Small Keras models and data for the tests that need a backend."""

import keras
import numpy as np


def conv_model(shape=(8, 8, 1), n_classes=3, compiled=True, pooling=keras.layers.AveragePooling2D):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 3, padding="same", name="conv"),
            pooling(2, padding="same", name="pool"),
            keras.layers.BatchNormalization(name="normalization"),
            keras.layers.Activation("relu", name="activation"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dropout(0.1, name="dropout"),
            keras.layers.Dense(6, activation="relu", name="hidden"),
            keras.layers.Dense(n_classes, activation="softmax", name="output"),
        ]
    )
    if compiled:
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dense_model(n_features=8, n_outputs=3, activation="softmax", units=(6,)):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(n, activation="relu") for n in units]
    return keras.Sequential([keras.Input((n_features,)), *layers, keras.layers.Dense(n_outputs, activation=activation)])


def images(n=96, shape=(8, 8, 1), n_classes=3, seed=0):
    """Images whose class is the brightest third."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, *shape)).astype("float32")
    y = rng.integers(0, n_classes, n)
    width = shape[0] // n_classes
    for row, label in zip(x, y, strict=True):
        row[label * width : (label + 1) * width] += 0.5
    return x, y


def table(n=96, n_features=8, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    x = rng.normal(size=(n, n_features)).astype("float32")
    x[:, 0] += 2 * y
    return x, y

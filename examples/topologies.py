"""The six starting topologies of the paper (table 6), as Keras models."""

from __future__ import annotations

from typing import Final

import keras
import numpy as np

__all__ = ["TOPOLOGIES", "build", "reinitialize", "two_convolutions"]

TOPOLOGIES: Final[dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "small": ((3, 6, 9), (10,)),
    "small_dense": ((), (10,)),
    "medium": ((3, 6), (10, 10)),
    "medium_dense": ((), (10, 10)),
    "large": ((3,), (100, 50, 10)),
    "large_dense": ((), (100, 50, 10)),
}
"""Channels of the convolutional cells and units of the hidden dense layers, by name.

A dense output layer follows: only so do the paper's mean parameter counts (table 1) come out, 77 K for 10 classes and
78 K for 100.
"""


def build(
    topology: str, input_shape: tuple[int, ...], n_classes: int, seed: int, learning_rate: float = 0.1
) -> keras.Sequential:
    """A compiled start model: cells, then dense layers; plain gradient descent as in the paper.

    Parameters
    ----------
    topology : str
        One of `TOPOLOGIES`.
    input_shape : tuple of int
        (height, width, channels).
    n_classes : int
    seed : int
        For the initial weights.
    learning_rate : float
    """
    channels, units = TOPOLOGIES[topology]
    keras.utils.set_random_seed(seed)
    layers = [keras.Input(input_shape)]
    for n_channels in channels:
        layers += [
            keras.layers.Conv2D(n_channels, 3, padding="same"),
            keras.layers.AveragePooling2D(2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
        ]
    layers.append(keras.layers.Flatten())
    layers += [keras.layers.Dense(n_units, activation="relu") for n_units in units]
    layers.append(keras.layers.Dense(n_classes, activation="softmax"))
    model = keras.Sequential(layers, name=topology)
    optimizer = keras.optimizers.SGD(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def two_convolutions(input_shape: tuple[int, ...], n_classes: int, learning_rate: float = 0.1) -> keras.Sequential:
    """The network of the paper's pooling trials (table 4): two convolutions and two dense layers, no pooling.

    The paper does not give its widths; these are those of its medium topology.
    """
    model = keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(3, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="relu"),
            keras.layers.Dense(n_classes, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def reinitialize(model: keras.Sequential, seed: int) -> None:
    """Draw new initial weights; the model keeps its compiled programs."""
    keras.utils.set_random_seed(seed)
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "kernel":
                variable.assign(keras.initializers.GlorotUniform(seed)(variable.shape))
            else:
                variable.assign(np.full(variable.shape, float(variable.name in ("gamma", "moving_variance"))))

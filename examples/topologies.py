"""The six starting topologies of the paper (table 6), as Keras models."""

from __future__ import annotations

from typing import Final

import keras

__all__ = ["TOPOLOGIES", "build"]

TOPOLOGIES: Final[dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "small": ((3, 6, 9), ()),
    "small_dense": ((), ()),
    "medium": ((3, 6), (10,)),
    "medium_dense": ((), (10,)),
    "large": ((3,), (100, 50)),
    "large_dense": ((), (100, 50)),
}
"""Channels of the convolutional cells and units of the hidden dense layers, by name."""


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

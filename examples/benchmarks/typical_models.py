"""Models as people write them, larger and of more kinds than the paper's starting topologies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import keras
from keras import layers

__all__ = ["TYPICAL_MODELS", "build_typical"]

Layers = list[keras.layers.Layer]


def perceptron() -> Layers:
    return [layers.Dense(128, activation="relu"), layers.Dropout(0.2), layers.Dense(64, activation="relu")]


def lenet() -> Layers:
    return [
        *(layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(2)),
        *(layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()),
        *(layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu")),
    ]


def cnn(filters: tuple[int, ...], per_cell: int) -> Layers:
    """Cells of convolutions and a max pooling, then a dense layer."""
    cells: Layers = []
    for n_filters in filters:
        cells += [layers.Conv2D(n_filters, 3, padding="same", activation="relu") for _ in range(per_cell)]
        cells.append(layers.MaxPooling2D(2))
    return [*cells, layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dropout(0.5)]


def normalized(filters: tuple[int, ...]) -> Layers:
    """Cells with batch normalization."""
    cells: Layers = []
    for n_filters in filters:
        cells += [layers.Conv2D(n_filters, 3, padding="same", use_bias=False), layers.BatchNormalization()]
        cells += [layers.Activation("relu"), layers.MaxPooling2D(2)]
    return [*cells, layers.GlobalAveragePooling2D()]


def separable() -> Layers:
    cells: Layers = [layers.Conv2D(16, 3, padding="same", activation="relu")]
    for n_filters in (32, 64):
        cells += [layers.SeparableConv2D(n_filters, 3, padding="same", activation="relu"), layers.MaxPooling2D(2)]
    return [*cells, layers.GlobalAveragePooling2D()]


def temporal() -> Layers:
    """Causal convolutions that look back further and further."""
    return [
        *(layers.Conv1D(16, 3, padding="causal", dilation_rate=2**k, activation="relu") for k in range(4)),
        layers.GlobalAveragePooling1D(),
    ]


def recurrent() -> Layers:
    return [layers.LSTM(32)]


def volume() -> Layers:
    return [layers.Conv3D(8, 3, activation="relu"), layers.MaxPooling3D(2), layers.Flatten()]


TYPICAL_MODELS: Final[dict[str, tuple[tuple[int, ...], Callable[[], Layers]]]] = {
    "perceptron": ((784,), perceptron),
    "lenet": ((32, 32, 3), lenet),
    "cnn 16-32": ((28, 28, 1), partial(cnn, (16, 32), 1)),
    "cnn 16-16-32-32": ((32, 32, 3), partial(cnn, (16, 32), 2)),
    "normalized 16-32-64": ((32, 32, 3), partial(normalized, (16, 32, 64))),
    "separable 16-32-64": ((32, 32, 3), separable),
    "temporal": ((128, 6), temporal),
    "recurrent": ((28, 28), recurrent),
    "volume": ((12, 12, 12, 1), volume),
}
"""For each its input shape and what makes its hidden layers."""


def build_typical(name: str, n_classes: int, seed: int) -> keras.Sequential:
    """A compiled model, one of `TYPICAL_MODELS`, with Keras' Adam."""
    shape, hidden = TYPICAL_MODELS[name]
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input(shape), *hidden(), layers.Dense(n_classes, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

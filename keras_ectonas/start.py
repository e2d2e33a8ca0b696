"""The model a search starts from: the user's own, copied, or a small one made for the data."""

from __future__ import annotations

import inspect
import math
import random
import warnings
from enum import IntEnum
from typing import Any, Final, Literal

import keras
import numpy as np

from .bridge import config_of, layer_from
from .compilation import Compilation
from .errors import InputError
from .initial_weights import initialized_by_numpy
from .network import Array
from .random_state import untouched_random_state

__all__ = ["Width", "default_model", "inner_layers", "moments", "own_copy", "start_model"]

_OF_SEQUENTIAL: Final = ("call", "compute_loss", "compute_metrics", "train_step", "test_step", "predict_step")
"""What a model of another class may do differently."""

_MANY_TIME_STEPS: Final = 8
_NUMBERS_AT_ONCE: Final = 1_000_000
_FEW_ROWS: Final = 2000
_CONSTANT: Final = 1e-13
"""Share of the squared mean."""

_SMALLEST_VARIANCE: Final = 1e-10
"""Keras' Normalization divides by 1e-7 at least."""

_LARGEST_VARIANCE: Final = 1e37
"""It keeps the variance in single precision."""

_FEW_POSITIONS: Final = 4
_MOST_CHANNELS: Final = 96
_DROPOUT_IN_CELLS: Final = 0.1
_DROPOUT_BEHIND_CELLS: Final = 0.4


class Width(IntEnum):
    """Channels of the first cell."""

    NARROW = 8
    MEDIUM = 16
    WIDE = 24


def start_model(
    model: Any,
    x: Array,
    y: Array,
    kind: Literal["classification", "regression"] | None,
    seed: int,
    keep_weights: bool = False,
    size_counts: bool = False,
) -> tuple[keras.Sequential, Compilation | None]:
    """A built model of the search's own, and what the given one was compiled with, if it was.

    Parameters
    ----------
    model : keras.Sequential, callable or None
        A callable receives `x` and `y` and gives a ``keras.Sequential``.
    x, y : ndarray
        Training data, for its shape and, if the model is made here, its scale.
    kind : {"classification", "regression"} or None
        None if it is to be read off the model.
    seed : int
        For the initial weights.
    keep_weights : bool
        Whether a model's present weights are kept; otherwise only those that training would not change.
    size_counts : bool
        Whether a model that is made here is to be small.

    Raises
    ------
    InputError
        If `model` is not a Sequential model, does not fit the data or has nothing to search over.
    """
    with untouched_random_state():
        random.seed(seed)
        if model is None:
            return default_model(x, y, kind, size_counts), None
        if isinstance(model, keras.Model):
            if not keep_weights:
                _warn_of_lost_training(model)
            return own_copy(model, x, keep_weights), Compilation.of(model)
        if isinstance(model, type) or not callable(model):
            raise InputError(
                f"model of type {type(model).__name__}: expected a keras.Sequential, "
                "a callable (X, y) that gives one, or None."
            )
        try:
            inspect.signature(model).bind(x, y)
        except TypeError as error:
            raise InputError(f"model cannot be called as model(X, y): {error}.") from error
        made = model(x, y)
        if not isinstance(made, keras.Sequential):
            raise InputError(f"model, when called, gave {type(made).__name__}: expected a keras.Sequential.")
        return own_copy(made, x), Compilation.of(made)


def own_copy(model: Any, x: Array | None = None, keep_weights: bool = True) -> keras.Sequential:
    """A copy with its own weights, uncompiled; built for the shape of `x` where the original is not built."""
    if not isinstance(model, keras.Sequential):
        raise InputError(
            f"model of type {type(model).__name__}: expected a keras.Sequential. Models with branches are not searched."
        )
    changed = [name for name in _OF_SEQUENTIAL if getattr(type(model), name) is not getattr(keras.Sequential, name)]
    if changed:
        raise InputError(
            f"model of class {type(model).__name__} has a {changed[0]} of its own, which candidates would not have: "
            "expected a plain keras.Sequential. A loss or a layer of your own may do the same."
        )
    if not model.layers:
        raise InputError("model has no layers: expected at least one dense layer or convolution.")
    if not model.built and x is None:
        raise InputError("model is not built and there are no data to take its input shape from.")
    if not any(hasattr(layer, "kernel_initializer") for layer in model.layers):
        raise InputError(
            f"model has no output layer that a search could keep: its layers are "
            f"{[type(layer).__name__ for layer in model.layers]}. Expected at least one dense layer or convolution."
        )
    for number, layer in enumerate(model.layers):
        if any(layer is other for other in model.layers[:number]):
            raise InputError(
                f"model holds layer {layer.name!r} twice, and one place cannot change without the other: give each "
                "place a layer of its own."
            )
    _check_input_shape(model, x)
    copied = [layer_from(type(layer), config_of(layer), layer.name) for layer in model.layers]
    if model.built:
        inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    else:
        inputs = keras.Input(x.shape[1:]) if x is not None else None
    try:
        with initialized_by_numpy(copied):
            twin = keras.Sequential([inputs, *copied], name=model.name)
    except ValueError as error:
        shape = None if x is None else x.shape[1:]
        raise InputError(f"model cannot be built for rows of shape {shape}: {error}") from error
    if model.built:
        for layer, own in zip(model.layers, twin.layers, strict=True):
            if keep_weights or not layer.trainable_variables:
                own.set_weights(layer.get_weights())
                if own.weights and hasattr(own, "finalize_state"):
                    own.finalize_state()
    return twin


def _warn_of_lost_training(model: keras.Model) -> None:
    steps = int(model.optimizer.iterations) if model.compiled and model.optimizer is not None else 0
    if steps:
        warnings.warn(
            f"model has been trained for {steps} steps; the search draws fresh weights. keep_weights=True starts from "
            "those that it has.",
            stacklevel=5,
        )


def _check_input_shape(model: keras.Sequential, x: Array | None) -> None:
    if not model.built or x is None:
        return
    expected = tuple(model.input_shape[1:])
    fits = len(expected) == x.ndim - 1 and all(e in (None, s) for e, s in zip(expected, x.shape[1:], strict=True))
    if not fits:
        raise InputError(f"X has rows of shape {x.shape[1:]}, the model expects {expected}.")


def default_model(
    x: Array, y: Array, kind: Literal["classification", "regression"] | None, size_counts: bool = False
) -> keras.Sequential:
    """A small start for the shape and the number of rows: scaled inputs, cells or hidden layers, and a head.

    Rows of one axis are taken for tables, of two for images without a channel axis or, with few columns, for
    series, of three for images.
    """
    if kind is None:
        raise InputError(
            "model=None: ECToNASTrainer reads what is to be learned off the model. "
            "Give one, or use ECToNASClassifier or ECToNASRegressor."
        )
    layers = [*inner_layers(x, Width.NARROW if size_counts else Width.WIDE), *_head(y, kind)]
    with initialized_by_numpy(layers):
        return keras.Sequential([keras.Input(x.shape[1:]), *layers], name="start")


def inner_layers(x: Array, width: Width) -> list[keras.layers.Layer]:
    """What stands before the head of `default_model`, not built yet: its outputs have one axis.

    For few rows cells are narrow, whatever `width` is.
    """
    shape = x.shape[1:]
    if len(shape) == 1:
        hidden = [keras.layers.Dense(n_units, activation="relu") for n_units in _hidden_units(len(x))]
    else:
        hidden = _cells(shape, Width.NARROW if len(x) < _FEW_ROWS else width)
    return [_scaling(x), *hidden]


def _scaling(x: Array) -> keras.layers.Layer:
    """Zero mean and unit variance for each column of a table, for each channel of anything else.

    Columns of zeros and ones stay as they are: a category of few rows would become a huge number, and those rows be
    learned by heart.
    """
    by_channel = x.ndim == 2 or _has_channels(x.shape[1:])
    # Of each feature at each position; one row for a table.
    means, variances = (part.reshape(-1, x.shape[-1] if by_channel else 1) for part in moments(x))
    mean, variance = means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)
    if x.ndim == 2:
        says_yes_or_no = _says_yes_or_no(x)
        mean, variance = np.where(says_yes_or_no, 0.0, mean), np.where(says_yes_or_no, 1.0, variance)
    # What hardly differs in single precision may differ more in other rows, which must not become huge.
    variance = np.where(variance <= _CONSTANT * mean**2, 1.0, variance)
    if not by_channel:
        mean, variance = mean[0], variance[0]
    if ((variance < _SMALLEST_VARIANCE) | (variance > _LARGEST_VARIANCE)).any():
        scale = variance**-0.5
        return keras.layers.Rescaling(scale.tolist(), offset=(-mean * scale).tolist())
    return keras.layers.Normalization(axis=-1 if by_channel else None, mean=mean.tolist(), variance=variance.tolist())


def _parts(x: Array) -> list[Array]:
    """Some rows at a time: a copy of all might not fit into memory."""
    step = max(1, _NUMBERS_AT_ONCE // max(1, math.prod(x.shape[1:])))
    return [x[start : start + step] for start in range(0, len(x), step)]


def _says_yes_or_no(table: Array) -> Array:
    """Which columns hold zeros and ones alone."""
    found: Array = np.all([((part == 0) | (part == 1)).all(axis=0) for part in _parts(table)], axis=0)
    return found


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance over the rows, in double precision."""
    parts = _parts(x)
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / len(x)
    return mean, sum(np.square(part - mean).sum(axis=0) for part in parts) / len(x)


def _has_channels(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or _is_series(shape)


def _is_series(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[0] >= _MANY_TIME_STEPS and shape[1] < shape[0] / 2


def _hidden_units(n_rows: int) -> tuple[int, ...]:
    return (32,) if n_rows < _FEW_ROWS else (64, 32)


def _cells(shape: tuple[int, ...], width: Width) -> list[keras.layers.Layer]:
    """Cells that halve the positions until some 4 are left along the longest axis, wider from one to the next.

    Narrow ones need no dropout.
    """
    drops = width > Width.NARROW
    axes = len(shape) - 1 if _has_channels(shape) else len(shape)
    layers: list[keras.layers.Layer] = []
    if not _has_channels(shape):
        layers.append(keras.layers.Reshape((*shape, 1)))
    if axes not in (1, 2):
        return [*layers, keras.layers.Flatten(), keras.layers.Dense(32, activation="relu")]
    convolution = keras.layers.Conv1D if axes == 1 else keras.layers.Conv2D
    pooling = keras.layers.AveragePooling1D if axes == 1 else keras.layers.AveragePooling2D
    length, n_channels = max(shape[:axes]), int(width)
    while length > _FEW_POSITIONS or not any(isinstance(layer, convolution) for layer in layers):
        layers += [
            convolution(n_channels, 3, padding="same"),
            pooling(2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            *([keras.layers.Dropout(_DROPOUT_IN_CELLS)] if drops else []),
        ]
        length, n_channels = -(-length // 2), min(2 * n_channels, _MOST_CHANNELS)
    return [*layers, keras.layers.Flatten(), *([keras.layers.Dropout(_DROPOUT_BEHIND_CELLS)] if drops else [])]


def _head(y: Array, kind: Literal["classification", "regression"]) -> list[keras.layers.Layer]:
    if kind == "classification":
        if y.ndim > 1:
            return [keras.layers.Dense(int(y.shape[1]), activation="sigmoid")]
        n_classes = len(np.unique(y))
        if n_classes == 2:
            return [keras.layers.Dense(1, activation="sigmoid")]
        return [keras.layers.Dense(n_classes, activation="softmax")]
    if y.dtype.kind not in "fiub":
        raise InputError(f"y is of type {y.dtype}: expected numbers.")
    values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
    means, spreads = values.mean(axis=0).tolist(), [spread or 1.0 for spread in values.std(axis=0).tolist()]
    if len(means) == 1:
        return [keras.layers.Dense(1), keras.layers.Rescaling(spreads[0], offset=means[0])]
    return [keras.layers.Dense(len(means)), keras.layers.Rescaling(spreads, offset=means)]

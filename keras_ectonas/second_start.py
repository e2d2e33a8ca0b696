"""A second start for a search from a user's model: the one made for the data, with the head of the user's model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import keras

from .bridge import config_of, kind_of, layer_from, network_of
from .initial_weights import initialized_by_numpy
from .network import Array, Network, unused_name
from .random_state import untouched_random_state
from .rules import Role, role_of
from .rules.spatial import is_causal
from .start import Width, inner_layers, moments
from .surgery.walk import multiplications

__all__ = ["second_start"]

_SCALING: Final = ("Rescaling", "Normalization")
_LARGE: Final = 5.0
"""Root mean square of a column that a dense layer had better see scaled."""

_PRECISION: Final = "float32"
_MOST_PRODUCTS: Final = 8_000_000
"""Multiplications for a row, forward: some ten milliseconds for a step of 32 rows on one core."""


def second_start(
    model: keras.Sequential, start: Network, x: Array, seed: int, size_counts: bool, max_params: int | None
) -> Network | None:
    """The start that would be made for the data, with the output layer of `model` and all that stands behind it.

    Its cells are at most two thirds as wide, as it shares a budget with `start`.

    Parameters
    ----------
    model : keras.Sequential
        Built. It stays as it is.
    start : Network
        The same as a value.
    x : ndarray of shape (rows, ...)
    seed : int
        For the initial weights.
    size_counts : bool
        Whether it is to be small.
    max_params : int or None
        It is made small if it would have more otherwise, or take many times as long as `start`.

    Returns
    -------
    Network or None
        None where whoever made the model may have had reasons of which the data say nothing: layers that are not
        understood, causal convolutions, rows of several shapes, another precision, outputs that no dense layer makes
        for a whole row. None as well if it would have more than `max_params`, take too long, or be `start` but for
        widths; or if the rows are a table whose columns are scaled, where it would be much like any other model.
    """
    head = _head(model, start)
    if head is None or tuple(model.input_shape[1:]) != x.shape[1:] or (x.ndim == 2 and _is_scaled(x, start)):
        return None
    most = max(_MOST_PRODUCTS, multiplications(start))
    for width in (Width.NARROW,) if size_counts else (Width.MEDIUM, Width.NARROW):
        with untouched_random_state():
            random.seed(seed)
            made = network_of(_with_head(inner_layers(x, width), head, model), start.nonnegative_input)
        is_small_enough = max_params is None or made.n_params <= max_params
        if is_small_enough and multiplications(made) <= most:
            return None if _kinds(made) == _kinds(start) else made
    return None


def _kinds(network: Network) -> list[str]:
    return [layer.kind for layer in network.layers]


def _is_scaled(table: Array, start: Network) -> bool:
    """Whether the first layer with a kernel sees numbers of ordinary size."""
    kinds = _kinds(start)
    first = next(index for index, layer in enumerate(start.layers) if role_of(layer) is Role.PRODUCER)
    if {*_SCALING, "BatchNormalization"} & set(kinds[:first]):
        return True
    mean, variance = moments(table)
    return bool((mean**2 + variance).max() <= _LARGE**2)


def _head(model: keras.Sequential, start: Network) -> Sequence[keras.layers.Layer] | None:
    """The last layer with a kernel and those behind it; None if they do not fit behind other layers."""
    if any(role_of(layer) is Role.WALL and layer.kind not in _SCALING for layer in start.layers):
        return None
    if any(layer.compute_dtype != _PRECISION for layer in model.layers):
        return None
    if any(map(is_causal, start.layers)):
        return None
    last = max((i for i, layer in enumerate(start.layers) if role_of(layer) is Role.PRODUCER), default=None)
    if last is None or start.layers[last].kind != "Dense" or len(model.layers[last].input.shape) != 2:
        return None
    head = model.layers[last:]
    return None if any(layer.weights for layer in head[1:]) else head


def _with_head(
    inner: Sequence[keras.layers.Layer], head: Sequence[keras.layers.Layer], model: keras.Sequential
) -> keras.Sequential:
    """All layers as one model; those of the head are copies with fresh weights, under their names."""
    taken = {layer.name for layer in head}
    for layer in inner:
        layer.name = unused_name(kind_of(type(layer)).lower(), taken)
        taken.add(layer.name)
    layers: list[Any] = [*inner, *(layer_from(type(layer), config_of(layer), layer.name) for layer in head)]
    with initialized_by_numpy(layers):
        return keras.Sequential([keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype), *layers])

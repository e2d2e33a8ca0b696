"""Units that have fallen silent: they give zero for every row, so that no gradient reaches them any more.

A large step leaves a unit with a ReLU where nothing that it receives gets through. Whole layers end like that, and with
them all that a network could still learn. What a silent unit sends on is zero, whatever the next layer makes of it, so
it can be drawn anew without changing the function on these rows (as Sokar et al. 2023 do while they train).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ..network import Array, Layer, Network, Weight
from ..rules import producer_rule
from .patches import geometry_of, patches_at, sampled_positions
from .walk import Path, consumer_path, rewired

__all__ = ["woken"]

_PATCHES: Final = 4000
_CONSTANT: Final = 1e-6


def woken(
    network: Network, inputs_of: Callable[[Network, int], Array], rng: np.random.Generator
) -> tuple[Network, int]:
    """The network with silent units drawn anew, and how many they were.

    Their incoming weights are random, so that on the rows looked at a unit's pre-activation has mean 0 and variance 1;
    those of the layer behind are zero.

    Parameters
    ----------
    network : Network
    inputs_of : callable
        The input of a layer of a network on some rows, shape (rows, ...).
    rng : numpy.random.Generator
    """
    n_woken = 0
    for index, layer in enumerate(network.layers):
        path = consumer_path(network, index) if producer_rule(layer) is not None else None
        # A batch normalization wakes what is before it.
        if path is None or path.channelwise(network) or _is_bound(network, path):
            continue
        silent = _silent(inputs_of(network, path.consumer), path.repeats)
        if not len(silent):
            continue
        drawn = _drawn(layer, inputs_of(network, index), len(silent), rng)
        if drawn is not None:
            network = _exchanged(network, path, silent, *drawn)
            n_woken += len(silent)
    return network, n_woken


def _is_bound(network: Network, path: Path) -> bool:
    """Whether a constraint has a say in the weights that would change."""
    ends = (network.layers[path.producer], network.layers[path.consumer])
    return any(value is not None for end in ends for key, value in end.config.items() if key.endswith("_constraint"))


def _silent(features: Array, repeats: int) -> Array:
    """Numbers of the features that are zero wherever they are looked at."""
    by_feature = features.reshape(-1, repeats, features.shape[-1] // repeats)
    return np.flatnonzero((by_feature == 0).all(axis=(0, 1)))


def _drawn(layer: Layer, inputs: Array, n_units: int, rng: np.random.Generator) -> tuple[Array, Array] | None:
    """Kernel columns and biases for `n_units`; None where the inputs are all alike."""
    geometry = geometry_of(layer, inputs.shape[1:])
    patches = patches_at(geometry, inputs, sampled_positions(len(inputs), geometry.positions, _PATCHES, rng))
    mean = patches.mean(axis=0)
    kernel = rng.normal(size=(patches.shape[1], n_units))
    spread = ((patches - mean) @ kernel).std(axis=0)
    if (spread <= _CONSTANT * (1.0 + np.abs(mean @ kernel))).any():
        return None
    kernel /= spread
    return kernel, -mean @ kernel


def _exchanged(network: Network, path: Path, units: Array, kernel: Array, bias: Array) -> Network:
    """The network with these incoming weights of the producer's `units`, and none from there to the consumer."""
    producer = network.layers[path.producer]
    is_kept = np.ones(producer.value("kernel").shape[-1])
    is_kept[units] = 0
    changed = [_anew(producer.weight("kernel"), units, kernel)]
    if producer.has("bias"):
        changed.append(_anew(producer.weight("bias"), units, bias))
    return rewired(network, path, np.diag(is_kept)).with_layer(path.producer, producer.with_weights(*changed))


def _anew(weight: Weight, units: Array, values: Array) -> Weight:
    """`weight` with `values` for `units`, which are along its last axis, and no memory of what was there."""

    def with_units(array: Array, entries: Array | float) -> Array:
        array = array.copy()
        array[..., units] = entries
        return array

    value = with_units(weight.value, values.reshape(*weight.value.shape[:-1], len(units)))
    return Weight(weight.name, value, {name: with_units(slot, 0.0) for name, slot in weight.slots.items()})

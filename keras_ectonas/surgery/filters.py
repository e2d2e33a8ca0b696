"""Filters for a cell where there was none: what varies most in the patches it will see."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..network import Array, Network
from ..rules import producer_rule
from .patches import geometry_of, patches_at, sampled_positions
from .units import widen_with

__all__ = ["is_first_convolution", "with_principal_filters"]

_PATCHES: Final = 8000


def is_first_convolution(network: Network, index: int) -> bool:
    """Whether no convolution stands before layer `index`."""
    return not any(
        layer.kind.startswith("Conv") and producer_rule(layer) is not None for layer in network.layers[:index]
    )


def with_principal_filters(
    network: Network, index: int, inputs: Array, n_filters: int, rng: np.random.Generator
) -> Network:
    """Add filters to the new convolution `index` that the layers behind do not listen to yet.

    They are principal components of the patches in `inputs`, but for the first, which is close to the mean that the
    channels handed on carry anyway; centred, and scaled to the spread of the inputs. Edges, for images.

    Parameters
    ----------
    network : Network
    index : int
    inputs : ndarray of shape (rows, *lengths, channels)
    n_filters : int
    rng : numpy.random.Generator
        For the choice of patches.
    """
    layer = network.layers[index]
    geometry = geometry_of(layer, inputs.shape[1:])
    samples = sampled_positions(len(inputs), geometry.positions, _PATCHES, rng)
    patches = patches_at(geometry, inputs, samples)
    mean = patches.mean(axis=0)
    covariance = np.cov(patches - mean, rowvar=False)
    variances, components = np.linalg.eigh(np.atleast_2d(covariance))
    chosen = np.argsort(-variances, kind="stable")[1 : n_filters + 1]
    # The sign of a component is the algorithm's whim: the largest entry is made positive.
    picked = components[:, chosen]
    picked = picked * np.sign(picked[np.abs(picked).argmax(axis=0), np.arange(len(chosen))])
    spread = float(inputs.std()) / np.sqrt(np.maximum(variances[chosen], 1e-8))
    kernel = picked * np.minimum(spread, 10.0)
    window = layer.value("kernel").shape[:-1]
    return widen_with(network, index, kernel.reshape(*window, -1), -mean @ kernel)

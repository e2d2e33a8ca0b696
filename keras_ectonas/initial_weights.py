"""Initial weights of a start model, drawn by NumPy.

JAX compiles a program for each shape that an initializer draws, which takes longer than many a search.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np
from scipy.special import ndtr, ndtri

__all__ = ["initialized_by_numpy"]

_CUT: Final = 2.0
"""Standard deviations at which Keras cuts a normal distribution off."""

_SPREAD_WHEN_CUT: Final = 0.87962566103423978
"""The standard deviation that is left of 1."""


@contextmanager
def initialized_by_numpy(layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """While dense layers and convolutions are built, NumPy draws their kernels from the same distributions as Keras.

    That holds for initializers of the family ``keras.initializers.VarianceScaling`` that were given no seed of their
    own; the seed is drawn from Python's generator, as Keras does. When it is over, layers have the initializers that
    they came with.

    Parameters
    ----------
    layers : sequence of keras.layers.Layer
        Not built yet.
    """
    given = [(layer, layer.kernel_initializer) for layer in layers if _has_such_kernel(layer)]
    try:
        for layer, initializer in given:
            layer.kernel_initializer = _Drawn(initializer)
        yield
    finally:
        for layer, initializer in given:
            layer.kernel_initializer = initializer


def _has_such_kernel(layer: Any) -> bool:
    understood = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    initializer = getattr(layer, "kernel_initializer", None)
    if not isinstance(layer, understood) or not isinstance(initializer, keras.initializers.VarianceScaling):
        return False
    config = initializer.get_config()
    return all(config.get(name) is None for name in ("seed", "input_axes", "output_axes"))


class _Drawn(keras.initializers.Initializer):  # type: ignore[misc]
    """Draws what `given` describes."""

    def __init__(self, given: keras.initializers.VarianceScaling) -> None:
        self._given = given

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_: Any) -> Any:
        rng = np.random.default_rng(random.getrandbits(64))
        variance = self._given.scale / max(1.0, _fan(shape, self._given.mode))
        match self._given.distribution:
            case "uniform":
                limit = math.sqrt(3.0 * variance)
                values = rng.uniform(-limit, limit, shape)
            case "truncated_normal":
                shares = rng.uniform(ndtr(-_CUT), ndtr(_CUT), shape)
                values = ndtri(shares) * math.sqrt(variance) / _SPREAD_WHEN_CUT
            case _:
                values = rng.normal(0.0, math.sqrt(variance), shape)
        return keras.ops.convert_to_tensor(values.astype(np.float32), dtype)


def _fan(shape: Sequence[int], mode: str) -> float:
    """Inputs of a unit, units of an input, or the mean of both, of a kernel of shape (*window, inputs, units)."""
    *window, inputs, units = shape
    size = math.prod(window)
    return size * {"fan_in": inputs, "fan_out": units}.get(mode, (inputs + units) / 2)

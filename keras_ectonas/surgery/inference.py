"""What layers compute, in NumPy and in inference: surgery looks at activations without a backend.

Layers without a formula here, such as those that nobody taught us, go to a function that the caller hands in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ..errors import SurgeryError
from ..network import Array, Layer
from ..rules import producer_rule, role_of, rule_for
from ..rules.activations import activation_name, evaluate
from ..rules.base import Role
from .patches import Geometry, geometry_of, kernel_matrix

__all__ = ["Foreign", "layer_output", "nothing_foreign", "outputs_along"]

Foreign = Callable[[Layer, Array], Array]
"""Evaluates a layer that has no formula here, in inference."""

_NUMBERS_AT_ONCE: Final = 2**20


def nothing_foreign(layer: Layer, inputs: Array) -> Array:
    """Refuse layers without a formula."""
    raise SurgeryError(f"what layer {layer.name!r} ({layer.kind}) computes is not known")


def outputs_along(layers: Sequence[Layer], inputs: Array, foreign: Foreign = nothing_foreign) -> list[Array]:
    """The input of every layer and, last, the output of them all."""
    along = [inputs]
    for layer in layers:
        along.append(layer_output(layer, along[-1], foreign))
    return along


def layer_output(layer: Layer, inputs: Array, foreign: Foreign = nothing_foreign) -> Array:
    """The output of one layer for `inputs` of shape (rows, ...), in single precision."""
    if producer_rule(layer) is not None:
        return _activated(layer, _linear(layer, inputs), inputs, foreign)
    if role_of(layer) is Role.WALL:
        return foreign(layer, inputs)
    if layer.kind.startswith("Global"):
        axes = tuple(range(1, inputs.ndim - 1))
        return np.asarray(inputs.max(axis=axes) if "Max" in layer.kind else inputs.mean(axis=axes))
    if "Pooling" in layer.kind:
        return _pooled(layer, inputs)
    if layer.kind == "BatchNormalization":
        return _normalized(layer, inputs)
    if layer.kind == "PReLU":
        return np.where(inputs >= 0, inputs, layer.value("alpha") * inputs)
    if role_of(layer) is Role.REINDEX:
        shape = rule_for(layer).output_shape(layer, inputs.shape[1:])
        return inputs.reshape(len(inputs), *(int(size or 0) for size in shape))
    if "Dropout" in layer.kind or layer.kind in ("GaussianNoise", "ActivityRegularization"):
        return inputs
    if "activation" in layer.config or layer.kind in ("ReLU", "LeakyReLU", "ELU"):
        return _activated(layer, inputs, inputs, foreign)
    return foreign(layer, inputs)


def _activated(layer: Layer, values: Array, inputs: Array, foreign: Foreign) -> Array:
    if activation_name(layer) == "softmax":
        raised = np.exp(values - values.max(axis=-1, keepdims=True))
        total: Array = raised / raised.sum(axis=-1, keepdims=True)
        return total
    result = evaluate(layer, values)
    return foreign(layer, inputs) if result is None else result


def _linear(layer: Layer, inputs: Array) -> Array:
    geometry = geometry_of(layer, inputs.shape[1:])
    kernel = kernel_matrix(layer).astype(np.float32)
    outputs = np.empty((len(inputs), *geometry.positions, kernel.shape[1]), np.float32)
    n_positions = max(1, int(np.prod(geometry.positions, dtype=int)))
    at_once = max(1, _NUMBERS_AT_ONCE // (n_positions * kernel.shape[0]))
    for start in range(0, len(inputs), at_once):
        some = inputs[start : start + at_once]
        if geometry.window:
            outputs[start : start + at_once] = _convolved(geometry, some, kernel)
        else:
            outputs[start : start + at_once] = some @ kernel
    if layer.has("bias"):
        outputs += layer.value("bias")
    return outputs


def _convolved(geometry: Geometry, inputs: Array, kernel: Array) -> Array:
    """Patches times the kernel; channels come first meanwhile, because long runs are copied fastest."""
    padded = np.ascontiguousarray(np.moveaxis(geometry.padded(inputs), -1, 0))
    taps = list(geometry.taps())
    patches = np.empty((len(taps), len(padded), len(inputs), *geometry.positions), np.float32)
    for number, tap in enumerate(taps):
        patches[number] = padded[(slice(None), slice(None), *_tap_slices(geometry, tap))]
    outputs = kernel.T @ patches.reshape(len(kernel), -1)
    return np.moveaxis(outputs.reshape(-1, *patches.shape[2:]), 0, -1)


def _tap_slices(geometry: Geometry, tap: tuple[int, ...]) -> tuple[slice, ...]:
    """What one tap of the windows sees of each spatial axis of padded inputs."""
    windows = zip(tap, geometry.positions, geometry.stride, strict=True)
    return tuple(slice(offset, offset + (count - 1) * step + 1, step) for offset, count, step in windows)


def _pooled(layer: Layer, inputs: Array) -> Array:
    geometry = geometry_of(layer, inputs.shape[1:])
    slices = [(slice(None), *_tap_slices(geometry, tap)) for tap in geometry.taps()]
    if "Max" in layer.kind:
        padded = geometry.padded(inputs, -np.inf)
        result = padded[slices[0]].copy()
        for index in slices[1:]:
            np.maximum(result, padded[index], out=result)
        return np.asarray(result)
    padded = geometry.padded(inputs)
    present = geometry.padded(np.ones((1, *inputs.shape[1:-1], 1), np.float32))
    total = sum(padded[index] for index in slices)
    count = sum(present[index] for index in slices)
    return np.asarray(total / count, dtype=np.float32)


def _normalized(layer: Layer, inputs: Array) -> Array:
    scale = 1.0 / np.sqrt(layer.value("moving_variance") + np.float32(layer.config["epsilon"]))
    if layer.has("gamma"):
        scale = scale * layer.value("gamma")
    shift = -layer.value("moving_mean") * scale
    if layer.has("beta"):
        shift = shift + layer.value("beta")
    return np.asarray(inputs * scale + shift, dtype=np.float32)

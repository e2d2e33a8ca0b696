"""What a network computes in inference, written a second time, slowly and simply, in double precision."""

import itertools
import math

import numpy as np

ACTIVATIONS = {
    None: lambda x: x,
    "linear": lambda x: x,
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "softplus": lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0),
    "silu": lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softmax": lambda x: np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1)[..., None],
}


def forward(network, inputs, foreign=None):
    """The network's outputs; `foreign` maps the kinds of layers that are not known here to functions."""
    values = np.asarray(inputs, dtype=np.float64)
    for layer in network.layers:
        values = layer_output(layer, values, foreign)
    return values


def output_shape(layer, input_shape, foreign=None):
    return layer_output(layer, np.zeros((1, *input_shape)), foreign).shape[1:]


def layer_output(layer, values, foreign=None):
    if foreign and layer.kind in foreign:
        return foreign[layer.kind](values)
    if layer.kind in ("Dropout", "SpatialDropout1D", "SpatialDropout2D"):
        return values
    if layer.kind.startswith("Conv"):
        return _convolution(layer, values)
    if layer.kind.startswith("Global"):
        return _global_pooling(layer, values)
    if "Pooling" in layer.kind:
        return _pooling(layer, values)
    return _SIMPLE[layer.kind](layer, values)


def _weights(layer):
    return {weight.name: weight.value.astype(np.float64) for weight in layer.weights}


def _dense(layer, values):
    weights = _weights(layer)
    return ACTIVATIONS[layer.config["activation"]](values @ weights["kernel"] + weights.get("bias", 0.0))


def _batch_normalization(layer, values):
    weights = _weights(layer)
    normalized = (values - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + layer.config["epsilon"])
    return normalized * weights.get("gamma", 1.0) + weights.get("beta", 0.0)


def _reshape(layer, values):
    return values.reshape(len(values), *layer.config["target_shape"])


def _relu(layer, values):
    return np.where(values > 0, values, 0.0)


def _leaky_relu(layer, values):
    return np.where(values > 0, values, layer.config["negative_slope"] * values)


def _prelu(layer, values):
    return np.where(values > 0, values, _weights(layer)["alpha"] * values)


def _convolution(layer, values):
    weights = _weights(layer)
    kernel = weights["kernel"]

    def product(window):
        return np.tensordot(window, kernel, axes=kernel.ndim - 1)

    linear = _slide(layer, values, layer.config["kernel_size"], product, fill=0.0) + weights.get("bias", 0.0)
    return ACTIVATIONS[layer.config["activation"]](linear)


def _pooling(layer, values):
    axes = tuple(range(1, values.ndim - 1))
    aggregate = np.nanmean if layer.kind.startswith("Average") else np.nanmax
    return _slide(layer, values, layer.config["pool_size"], lambda window: aggregate(window, axis=axes), fill=np.nan)


def _global_pooling(layer, values):
    axes = tuple(range(1, values.ndim - 1))
    return values.mean(axis=axes) if "Average" in layer.kind else values.max(axis=axes)


def _slide(layer, values, window, function, fill):
    """`function` of every window of `values`, of shape (rows, *lengths, channels)."""
    strides = layer.config["strides"]
    lengths = values.shape[1:-1]
    if layer.config["padding"] == "same":
        counts = [math.ceil(length / stride) for length, stride in zip(lengths, strides, strict=True)]
        missing = [
            max((count - 1) * stride + size - length, 0)
            for count, stride, size, length in zip(counts, strides, window, lengths, strict=True)
        ]
        around = [(total // 2, total - total // 2) for total in missing]
        values = np.pad(values, [(0, 0), *around, (0, 0)], constant_values=fill)
    else:
        counts = [(length - size) // stride + 1 for length, size, stride in zip(lengths, window, strides, strict=True)]
    results = []
    for position in itertools.product(*map(range, counts)):
        cut = [
            slice(place * stride, place * stride + size)
            for place, stride, size in zip(position, strides, window, strict=True)
        ]
        results.append(function(values[(slice(None), *cut)]))
    return np.stack(results, axis=1).reshape(len(values), *counts, -1)


_SIMPLE = {
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "Flatten": lambda layer, values: values.reshape(len(values), -1),
    "Reshape": _reshape,
    "Activation": lambda layer, values: ACTIVATIONS[layer.config["activation"]](values),
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "PReLU": _prelu,
}

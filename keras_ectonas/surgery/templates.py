"""New layers as surgery inserts them: each the identity, or as near to it as its kind allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ..network import Array, Layer, Network, Weight
from ..rules.spatial import is_causal

__all__ = [
    "BATCH_NORMALIZATION_EPSILON",
    "activation",
    "batch_normalization",
    "convolution",
    "dense",
    "dropout",
    "pooling",
]

BATCH_NORMALIZATION_EPSILON: Final = 1e-3
MOMENTUM: Final = 0.99


def dense(network: Network, like: Layer, kernel: Array, bias: Array | None, activation: str) -> Layer:
    """A dense layer with a free name, of the number type of the layer `like`."""
    weights = [_weight(like, "kernel", kernel)]
    if bias is not None:
        weights.append(_weight(like, "bias", bias))
    config = _config(
        network, "dense", like, units=int(kernel.shape[1]), activation=activation, use_bias=bias is not None
    )
    return Layer("Dense", config, tuple(weights))


def convolution(network: Network, like: Layer, n_channels: int, window: tuple[int, ...]) -> Layer:
    """A convolution with bias that hands each of `n_channels` on unchanged.

    Among causal convolutions it is causal: no step may come to see those behind it.
    """
    looks_back = len(window) == 1 and any(map(is_causal, network.layers))
    kernel = np.zeros((*window, n_channels, n_channels))
    kernel[tuple(size - 1 if looks_back else size // 2 for size in window)] = np.eye(n_channels)
    kind = f"Conv{len(window)}D"
    config = _config(
        network,
        kind.lower(),
        like,
        filters=int(n_channels),
        kernel_size=list(window),
        strides=[1] * len(window),
        padding="causal" if looks_back else "same",
        data_format="channels_last",
        activation="linear",
        use_bias=True,
    )
    weights = (_weight(like, "kernel", kernel), _weight(like, "bias", np.zeros(n_channels)))
    return Layer(kind, config, weights)


def pooling(network: Network, like: Layer, how: str, axes: int) -> Layer:
    """Pooling over windows of 2 with stride 2; `how` is ``"average"`` or ``"max"``."""
    kind = f"{how.capitalize()}Pooling{axes}D"
    stem = f"{how}_pooling{axes}d"
    config = _config(
        network, stem, like, pool_size=[2] * axes, strides=[2] * axes, padding="same", data_format="channels_last"
    )
    return Layer(kind, config)


def batch_normalization(network: Network, like: Layer, n_features: int) -> Layer:
    """A batch normalization that is the identity until its moving statistics move, as fast as others do."""
    ones, zeros = np.ones(n_features), np.zeros(n_features)
    values = {
        "gamma": ones * np.sqrt(1.0 + BATCH_NORMALIZATION_EPSILON),
        "beta": zeros,
        "moving_mean": zeros,
        "moving_variance": ones,
    }
    others = [float(own.config.get("momentum", MOMENTUM)) for own in network.layers if own.kind == "BatchNormalization"]
    config = _config(
        network,
        "batch_normalization",
        like,
        axis=-1,
        momentum=min(others, default=MOMENTUM),
        epsilon=BATCH_NORMALIZATION_EPSILON,
    )
    return Layer("BatchNormalization", config, tuple(_weight(like, name, v) for name, v in values.items()))


def activation(network: Network, like: Layer, function: str) -> Layer:
    return Layer("Activation", _config(network, "activation", like, activation=function))


def dropout(network: Network, like: Layer, rate: float) -> Layer:
    return Layer("Dropout", _config(network, "dropout", like, rate=rate, seed=None, noise_shape=None))


def _config(network: Network, stem: str, like: Layer, **options: Any) -> Mapping[str, Any]:
    config: dict[str, Any] = {"name": network.unused_name(stem), "trainable": True}
    if "dtype" in like.config:
        config["dtype"] = like.config["dtype"]
    return {**config, **options}


def _weight(like: Layer, name: str, value: Array) -> Weight:
    dtype = like.weights[0].value.dtype if like.weights else np.dtype(np.float32)
    return Weight(name, value.astype(dtype))

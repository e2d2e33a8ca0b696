"""What is known of activation functions: which act on each feature alone, which give nothing below zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..network import Array, Layer

__all__ = ["activation_name", "evaluate", "is_elementwise", "is_nonnegative", "keeps_sign"]

_RELU_LIKE = frozenset({"relu", "relu6"})
_NONNEGATIVE = _RELU_LIKE | {
    "sigmoid",
    "hard_sigmoid",
    "softplus",
    "exponential",
    "softmax",
    "squareplus",
    "sparse_plus",
}
_SIGN_KEEPING = frozenset({"linear", "leaky_relu", "elu", "selu", "tanh", "softsign", "hard_tanh", "celu"})
_ELEMENTWISE = (_NONNEGATIVE - {"softmax"}) | _SIGN_KEEPING | {
    "gelu",
    "silu",
    "swish",
    "mish",
    "hard_silu",
    "hard_swish",
    "log_sigmoid",
    "tanh_shrink",
    "soft_shrink",
    "hard_shrink",
}  # fmt: skip

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.2 * x),
    "elu": lambda x: np.where(x >= 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "silu": lambda x: x * 0.5 * (1 + np.tanh(0.5 * x)),
}


def activation_name(layer: Layer) -> str:
    """The built-in activation a layer ends with; ``"linear"`` if none, ``"custom"`` if unknown."""
    by_class = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "Softmax": "softmax"}
    if layer.kind == "ReLU":
        plain = (
            not layer.config.get("negative_slope")
            and not layer.config.get("threshold")
            and layer.config.get("max_value") is None
        )
        return "relu" if plain else "custom"
    if layer.kind in by_class:
        return by_class[layer.kind]
    name = layer.config.get("activation", "linear")
    if name is None:
        return "linear"
    if isinstance(name, str) and (name in _ELEMENTWISE or name == "softmax"):
        return name
    return "custom"


def is_elementwise(name: str) -> bool:
    """Whether the activation acts on each feature by itself."""
    return name in _ELEMENTWISE


def is_nonnegative(name: str) -> bool:
    """Whether the activation never gives a negative number."""
    return name in _NONNEGATIVE


def keeps_sign(name: str) -> bool:
    """Whether the activation gives nothing negative for what is not negative."""
    return name in _SIGN_KEEPING


def evaluate(layer: Layer, value: Array) -> Array | None:
    """What the activation at the end of `layer` makes of `value`, in NumPy.

    None for an activation that has no formula here.
    """
    if layer.kind == "LeakyReLU":
        return np.where(value >= 0, value, layer.config["negative_slope"] * value)
    if layer.kind == "ELU":
        return np.where(value >= 0, value, layer.config["alpha"] * np.expm1(np.minimum(value, 0)))
    function = _FUNCTIONS.get(activation_name(layer))
    return None if function is None else function(value)

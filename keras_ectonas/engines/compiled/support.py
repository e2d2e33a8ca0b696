"""What the compiled engine does not do, and leaves to Keras' own ``fit``: each with a reason for the log."""

from __future__ import annotations

import keras

from ...network import Layer, Network
from ..base import Assignment

__all__ = ["reason_against", "reason_against_layer"]


def reason_against(assignment: Assignment) -> str:
    """Why a search cannot use compiled programs; empty if it can."""
    backend = keras.backend.backend()
    if backend != "jax":
        return f"Keras runs on {backend}, not on JAX"
    if assignment.data.stream is not None:
        return "the data are read batch by batch"
    if assignment.callbacks:
        return "Keras callbacks need model.fit"
    compilation = assignment.blueprint.compilation
    if compilation.options.get("run_eagerly"):
        return "the model is compiled with run_eagerly"
    if compilation.undecayed:
        return "the optimizer's weight decay leaves some weights out"
    options = dict(compilation.optimizer.get("config", {}))
    match compilation.optimizer.get("class_name"):
        case "LossScaleOptimizer":
            return "the optimizer scales the loss"
        case "Muon":
            return "the optimizer goes by the names of weights"
        case "ScheduleFreeAdamW":
            return "the optimizer begins with copies of the weights"
    for option in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
        if options.get(option):
            return f"the optimizer is used with {option}"
    return ""


def reason_against_layer(network: Network) -> str:
    """Which layer cannot be compiled, and why; empty if all can."""
    for layer in network.layers:
        policy = _policy(layer)
        if policy != "float32":
            return f"layer {layer.name!r} computes by the policy {policy!r}"
        if layer.config.get("stateful"):
            return f"layer {layer.name!r} keeps a state from batch to batch"
        if layer.config.get("activity_regularizer") or layer.kind == "ActivityRegularization":
            # The last validation batch is filled up, which would count.
            return f"layer {layer.name!r} has a penalty on its activity"
    return ""


def _policy(layer: Layer) -> str:
    policy = layer.config.get("dtype", "float32")
    if isinstance(policy, dict):
        policy = policy.get("config", {}).get("name")
    return str(policy or keras.config.dtype_policy().name)

"""Changing the width of a layer: more or fewer units of a dense layer, filters of a convolution.

The rules as published: widening by copies whose outgoing weights are shared out (Chen et al. 2016, equations
4 and 5 of the paper); removing units by singular value decomposition (equation 6); removing channels by the
smallest scaling factors of the batch normalization behind them (Liu et al. 2020, section 3.2).
"""

from __future__ import annotations

import numpy as np

from ..errors import SurgeryError
from ..network import Array, Layer, Network, Weight
from ..rules import Producer, Role, producer_rule, role_of
from ..rules.activations import evaluate
from .walk import Path, consumer_path, is_linear, rewired

__all__ = [
    "channel_importance",
    "check_may_be_negated",
    "n_left",
    "narrow_by_importance",
    "narrow_by_svd",
    "normalization",
    "required_path",
    "required_producer",
    "select_outputs",
    "widen_by_copies",
    "widen_with",
]


def required_producer(network: Network, index: int) -> Producer:
    """The rule of layer `index`, which must be a dense layer or convolution."""
    rule = producer_rule(network.layers[index])
    if rule is None:
        layer = network.layers[index]
        raise SurgeryError(f"layer {index} {layer.name!r} ({layer.kind}) has no units or filters to change")
    return rule


def required_path(network: Network, index: int) -> Path:
    """The path from layer `index` to its consumer."""
    path = consumer_path(network, index)
    if path is None:
        layer = network.layers[index]
        raise SurgeryError(f"the outputs of layer {index} {layer.name!r} ({layer.kind}) cannot be followed")
    return path


def check_may_be_negated(layer: Layer) -> None:
    """Raise `SurgeryError` if a constraint could undo signed pairs in the kernel of `layer` in the next step."""
    if layer.config.get("kernel_constraint") is not None:
        raise SurgeryError(f"signed pairs need a kernel without constraint behind them, and {layer.name!r} has one")


def n_left(network: Network, index: int, n_removed: int) -> int:
    """The outputs that layer `index` keeps; raises `SurgeryError` if that is none."""
    layer = network.layers[index]
    left = required_producer(network, index).n_outputs(layer) - n_removed
    if left < 1:
        raise SurgeryError(f"removing {n_removed} outputs of layer {index} {layer.name!r} ({layer.kind}) leaves none")
    return left


def select_outputs(network: Network, path: Path, index: Array, matrix: Array | None = None) -> Network:
    """Keep, drop or repeat the producer's outputs `index`.

    Parameters
    ----------
    network : Network
    path : Path
    index : ndarray of int, shape (new outputs,)
        The old output that each new one is a copy of.
    matrix : ndarray of shape (new outputs, old outputs), optional
        How the old outputs are made of the new ones; by default the copies' own 0-1 matrix.
    """
    rule = required_producer(network, path.producer)
    producer = network.layers[path.producer]
    if matrix is None:
        matrix = np.zeros((len(index), rule.n_outputs(producer)))
        matrix[np.arange(len(index)), index] = 1.0
    return rewired(network, path, matrix).with_layer(path.producer, rule.take(producer, index))


def widen_by_copies(
    network: Network, index: int, n_added: int, rng: np.random.Generator, equal_shares: bool = True
) -> Network:
    """Add `n_added` outputs to layer `index` as copies of present ones, without changing the function.

    Each outgoing weight is shared out over the copies of its unit, which is exact under any activation that
    acts on each unit by itself, batch normalization included.

    Parameters
    ----------
    equal_shares : bool
        True shares equally, equation (5). Copies with equal shares receive equal gradients for ever, so
        only unequal ones ever learn to differ.
    """
    path = required_path(network, index)
    n_old = required_producer(network, index).n_outputs(network.layers[index])
    source = np.concatenate([np.arange(n_old), rng.integers(0, n_old, n_added)])
    weights = np.ones(len(source)) if equal_shares else rng.uniform(0.2, 0.8, len(source))
    totals = np.bincount(source, weights, minlength=n_old)
    matrix = np.zeros((len(source), n_old))
    matrix[np.arange(len(source)), source] = weights / totals[source]
    return select_outputs(network, path, source, matrix)


def widen_with(
    network: Network, index: int, kernel: Array, bias: Array | None = None, fan_out: Array | None = None
) -> Network:
    """Add outputs to layer `index` with given incoming weights.

    Parameters
    ----------
    network : Network
    index : int
    kernel : ndarray of shape (*window, inputs, added)
    bias : ndarray of shape (added,), optional
        Zero by default.
    fan_out : ndarray of shape (*window, added, outputs), optional
        The consumer's weights for the new features, alike at each position that a ``Flatten`` folds in. By default
        zero, which changes nothing whatever the new outputs are.
    """
    path = required_path(network, index)
    rule = required_producer(network, index)
    producer = network.layers[index]
    n_old, n_added = rule.n_outputs(producer), kernel.shape[-1]
    matrix = np.zeros((n_old + n_added, n_old))
    matrix[:n_old] = np.eye(n_old)
    wider = rewired(network, path, matrix)
    weights = [_extended(producer.weight("kernel"), kernel)]
    if producer.has("bias"):
        weights.append(_extended(producer.weight("bias"), np.zeros(n_added) if bias is None else bias))
    grown = rule.with_n_outputs(producer.with_weights(*weights), n_old + n_added)
    wider = wider.with_layer(index, grown)
    return wider if fan_out is None else _with_fan_out(wider, path, n_old, fan_out)


def _extended(weight: Weight, added: Array) -> Weight:
    slots = {
        name: np.concatenate([slot, np.zeros(added.shape, slot.dtype)], axis=-1) for name, slot in weight.slots.items()
    }
    value = np.concatenate([weight.value, added.astype(weight.value.dtype)], axis=-1)
    return Weight(weight.name, value, slots)


def _with_fan_out(network: Network, path: Path, n_old: int, fan_out: Array) -> Network:
    consumer = network.layers[path.consumer]
    kernel = consumer.weight("kernel")
    shape = kernel.value.shape
    features = shape[-2] // path.repeats
    value = kernel.value.copy().reshape(*shape[:-2], path.repeats, features, shape[-1])
    value[..., n_old:, :] = np.expand_dims(fan_out, -3)
    changed = Weight("kernel", value.reshape(shape), kernel.slots)
    return network.with_layer(path.consumer, consumer.with_weights(changed))


def narrow_by_svd(network: Network, index: int, n_removed: int) -> Network:
    """Remove units of a dense layer by truncating the singular value decomposition of its kernel.

    With kernel ``W = U S V'`` the layer keeps the leading columns of ``U S = W V``, and its consumer is
    multiplied from the left by the leading rows of ``V'``. The activation is ignored, as published.

    Raises
    ------
    SurgeryError
        If layers with weights of their own for each unit lie between: they cannot follow a mixture.
    """
    path = required_path(network, index)
    if path.channelwise(network):
        raise SurgeryError(f"layer {index} is followed by a layer with weights for each unit: no mixture of units")
    rule = required_producer(network, index)
    producer = network.layers[index]
    n_kept = n_left(network, index, n_removed)
    kernel = producer.value("kernel").astype(np.float64)
    kernel = kernel.reshape(-1, kernel.shape[-1])
    # The full decomposition is needed only where there are more units than singular values.
    _, _, v_transposed = np.linalg.svd(kernel, full_matrices=kernel.shape[0] < kernel.shape[1])
    leading = v_transposed[:n_kept]
    return rewired(network, path, leading).with_layer(index, rule.mix_outputs(producer, leading.T))


def channel_importance(network: Network, path: Path) -> Array:
    """How much each output of a producer counts: the size of the scaling factor behind it.

    Without a batch normalization behind it, the length of its kernel times that of its outgoing weights.
    """
    for index, repeats in path.channelwise(network):
        layer = network.layers[index]
        if layer.has("gamma"):
            gamma = np.abs(layer.value("gamma")).astype(np.float64)
            importance: Array = gamma.reshape(repeats, -1).mean(axis=0)
            return importance
    kernel = network.layers[path.producer].value("kernel").astype(np.float64)
    incoming = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
    outgoing = network.layers[path.consumer].value("kernel").astype(np.float64)
    by_feature = np.moveaxis(outgoing, -2, 0).reshape(path.repeats, len(incoming), -1)
    product: Array = incoming * np.sqrt((by_feature**2).sum(axis=(0, 2)))
    return product


def narrow_by_importance(network: Network, index: int, n_removed: int) -> Network:
    """Remove the outputs of layer `index` that count least, handing their constant part to the consumer.

    A channel whose scaling factor is near zero carries its batch normalization's offset alone; what the
    activation makes of it is added to the following bias.
    """
    n_left(network, index, n_removed)
    path = required_path(network, index)
    order = np.argsort(channel_importance(network, path), kind="stable")
    kept = np.sort(order[n_removed:])
    removed = order[:n_removed]
    constants = constant_part(network, path)
    if constants is not None:
        network = absorb_constants(network, path, removed, constants)
    return select_outputs(network, path, kept)


def constant_part(network: Network, path: Path) -> Array | None:
    """What each feature would be at the consumer if its scaling factor were zero.

    None without a batch normalization, or with a layer behind it that makes no constant of a constant that could be
    worked out here.
    """
    value: Array | None = None
    for index, repeats in path.between:
        layer = network.layers[index]
        if value is None and layer.kind != "BatchNormalization":
            continue
        if "Padding" in layer.kind or (repeats > 1 and role_of(layer) is Role.CHANNELWISE):
            return None
        value = _constant_through(layer, value)
        if value is None:
            return None
    return value


def _constant_through(layer: Layer, value: Array | None) -> Array | None:
    if layer.kind == "BatchNormalization":
        factor, offset = normalization(layer)
        if value is not None:
            return value * factor + offset
        beta = layer.value("beta") if layer.has("beta") else np.zeros(len(factor))
        return beta.astype(np.float64)
    if value is None or (is_linear(layer) or "Pooling" in layer.kind):
        return value
    if layer.kind == "PReLU":
        return np.where(value >= 0, value, layer.value("alpha").reshape(-1) * value)
    return evaluate(layer, value)


def normalization(layer: Layer) -> tuple[Array, Array]:
    """What a batch normalization makes of a feature in inference: a factor and an offset."""
    values = {weight.name: weight.value.astype(np.float64) for weight in layer.weights}
    factor = 1.0 / np.sqrt(values["moving_variance"] + float(layer.config["epsilon"]))
    factor = factor * values.get("gamma", 1.0)
    return factor, values.get("beta", 0.0) - values["moving_mean"] * factor


def absorb_constants(network: Network, path: Path, features: Array, constants: Array) -> Network:
    """Add what constant `features` send to the consumer to its bias."""
    rule = required_producer(network, path.consumer)
    consumer = network.layers[path.consumer]
    kernel = consumer.value("kernel").astype(np.float64)
    per_feature = np.moveaxis(kernel, -2, 0).reshape(path.repeats, len(constants), -1, kernel.shape[-1])
    sent = per_feature.sum(axis=(0, 2))
    shift = constants[features] @ sent[features]
    return network.with_layer(path.consumer, rule.add_to_bias(consumer, shift))

"""Inserting and removing whole dense layers (section A.1 of the paper)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import SurgeryError
from ..network import Array, Network
from ..rules import Role, producer_rule, role_of
from . import templates
from .units import check_may_be_negated, normalization, required_path, required_producer
from .walk import Path, is_nonnegative_at, rewired, shapes_of

__all__ = ["affine_between", "insert_dense", "insertion_keeps_width", "remove_dense"]


def insertion_keeps_width(network: Network, index: int) -> bool:
    """Whether the layer inserted before dense layer `index` is a plain identity.

    It is where nothing negative arrives, so that a ReLU behind it changes nothing, and where what arrives
    are the features of a hidden layer and not a flattened image, whose identity would be huge.
    """
    for layer in reversed(network.layers[:index]):
        if role_of(layer) is Role.REINDEX or role_of(layer) is Role.WALL:
            return False
        if producer_rule(layer) is not None:
            return is_nonnegative_at(network, index)
    return False


def insert_dense(network: Network, index: int) -> Network:
    """Put a new dense layer with a ReLU before dense layer `index`, without changing the function.

    Where nothing negative arrives from a hidden layer it is the identity, equation (3).

    Differs from the paper: elsewhere the identity would cut off what is negative, and be huge behind a
    flattened image. There layer `index`, ``x W + b``, is split into pairs: the new layer computes
    ``relu([x W + b, -(x W + b)])`` and the old one subtracts the halves, exact for either sign.
    """
    layer = network.layers[index]
    if producer_rule(layer) is None or layer.kind != "Dense":
        raise SurgeryError(f"layer {index} {layer.name!r} ({layer.kind}) is not a dense layer to insert before")
    kernel = layer.value("kernel")
    if insertion_keeps_width(network, index):
        width = kernel.shape[0]
        new = templates.dense(network, layer, np.eye(width), np.zeros(width), "relu")
        return network.with_inserted(index, [new])
    check_may_be_negated(layer)
    pair = np.concatenate([kernel, -kernel], axis=1)
    bias = layer.value("bias") if layer.has("bias") else None
    pair_bias = None if bias is None else np.concatenate([bias, -bias])
    new = templates.dense(network, layer, pair, pair_bias, "relu")
    identity = np.eye(kernel.shape[1])
    joined = [layer.weight("kernel").with_value(np.concatenate([identity, -identity]))]
    if bias is not None:
        joined.append(layer.weight("bias").with_value(np.zeros_like(bias)))
    return network.with_layer(index, layer.with_weights(*joined)).with_inserted(index, [new])


def remove_dense(network: Network, index: int) -> Network:
    """Take dense layer `index` out and multiply its kernel into its consumer's.

    Its activation, and those between, are ignored, as published. Batch normalizations between are folded in,
    being linear; other layers between are dropped but for those that flatten, pool or pad.
    """
    path = required_path(network, index)
    rule = required_producer(network, index)
    layer = network.layers[index]
    if layer.kind != "Dense":
        raise SurgeryError(f"layer {index} {layer.name!r} ({layer.kind}) is not a dense layer")
    scale, shift = affine_between(network, path)
    kernel = layer.value("kernel").astype(np.float64) * scale
    constant = shift
    if layer.has("bias"):
        constant = shift + layer.value("bias").astype(np.float64) * scale
    consumer_rule = required_producer(network, path.consumer)
    consumer = network.layers[path.consumer]
    weights = consumer.value("kernel").astype(np.float64)
    summed = weights.reshape(*weights.shape[:-2], path.repeats, rule.n_outputs(layer), weights.shape[-1])
    bias = constant @ summed.reshape(-1, *summed.shape[-2:]).sum(axis=0)
    network = network.with_layer(path.consumer, consumer_rule.add_to_bias(consumer, bias))
    moving = {position for position, _ in path.between if _moves_positions(network, position)}
    bare = replace(path, between=tuple(pair for pair in path.between if pair[0] in moving))
    network = rewired(network, bare, kernel)
    dropped = set(range(index, path.consumer)) - moving
    return network.with_layers(layer for position, layer in enumerate(network.layers) if position not in dropped)


def _moves_positions(network: Network, index: int) -> bool:
    """Whether a layer does more than to treat each number by itself: it flattens, pools or pads."""
    shapes = shapes_of(network)
    return role_of(network.layers[index]) is Role.REINDEX or shapes[index] != shapes[index + 1]


def affine_between(network: Network, path: Path) -> tuple[Array, Array]:
    """What the batch normalizations on a path make of a feature: a factor and an offset for each."""
    producer = network.layers[path.producer]
    n_features = required_producer(network, path.producer).n_outputs(producer)
    scale, shift = np.ones(n_features), np.zeros(n_features)
    for index, repeats in path.channelwise(network):
        layer = network.layers[index]
        if layer.kind != "BatchNormalization" or repeats > 1:
            continue
        factor, offset = normalization(layer)
        scale, shift = scale * factor, shift * factor + offset
    return scale, shift

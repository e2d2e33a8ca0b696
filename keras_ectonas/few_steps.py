"""What is chosen differently where an epoch has few steps to get anywhere."""

from __future__ import annotations

from typing import Final

from .network import Layer, Network

__all__ = ["learning_rate", "with_prompt_statistics"]

_RATE_TIMES_STEPS: Final = 0.5
_SMALLEST_RATE: Final = 0.001
_LARGEST_RATE: Final = 0.01
_EPOCHS_REMEMBERED: Final = 0.5
_SMALLEST_MOMENTUM: Final = 0.9
_LARGEST_MOMENTUM: Final = 0.99


def learning_rate(steps_per_epoch: int) -> float:
    """Of Adam, where nobody chose an optimizer: Keras' own, or more where an epoch has few steps.

    Adam moves a weight by little more than the rate in a step, so that a hundred epochs on a hundred rows would leave
    it about where it was.
    """
    return min(max(_RATE_TIMES_STEPS / steps_per_epoch, _SMALLEST_RATE), _LARGEST_RATE)


def with_prompt_statistics(network: Network, steps_per_epoch: int) -> Network:
    """The network with batch normalizations whose moving statistics follow the last half epoch.

    Momentum is lowered to 0.9 at least, and only where an epoch has less than 200 steps. With Keras' own 0.99 it takes
    hundreds of steps until a network in use normalizes by the statistics that it has in training; before, its scores
    say nothing, and matches of two epochs would be decided by that. A frozen one stays as it is.
    """
    memory = 1 - 1 / (_EPOCHS_REMEMBERED * steps_per_epoch)
    momentum = min(max(memory, _SMALLEST_MOMENTUM), _LARGEST_MOMENTUM)
    if momentum == _LARGEST_MOMENTUM:
        return network
    return network.with_layers(_with_momentum(layer, momentum) for layer in network.layers)


def _with_momentum(layer: Layer, momentum: float) -> Layer:
    is_frozen = not layer.config.get("trainable", True)
    if layer.kind != "BatchNormalization" or is_frozen or layer.config["momentum"] <= momentum:
        return layer
    return layer.with_config(momentum=momentum)

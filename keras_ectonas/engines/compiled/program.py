"""One compiled program: some training steps and a validation of any network of one architecture, in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from ...bridge import Blueprint, Slot, memory_name, optimizer_places, random_seeds, remembered
from ...network import Array, Network, Weight
from .forward import Forward
from .head import Head
from .packing import Packing
from .stage import Place

__all__ = ["Program", "Result", "Rows"]


class Rows(NamedTuple):
    """Training rows and validation rows, one behind the other, on the device.

    Parameters
    ----------
    x, y : array of shape (rows, ...)
    weights : array of shape (rows,) or None
    """

    x: Any
    y: Any
    weights: Any


class Carry(NamedTuple):
    """What training changes: weights, state and the optimizer's variables."""

    trainable: Any
    state: Any
    optimizer: Any


class Seen(NamedTuple):
    """What one batch gave: loss, outputs and the penalty in the loss."""

    loss: Any
    outputs: Any
    penalty: Any


class Result(NamedTuple):
    """What a call gives back.

    Parameters
    ----------
    carry : Carry
    losses : array of shape (batches,)
        Of each batch, penalties included.
    outputs : array of shape (batches, rows, ...)
        Of every batch of the schedule, before the step that it was used for.
    penalties : array of shape (batches,)
        What regularizers added to the loss of each batch.
    """

    carry: Carry | None
    losses: Any
    outputs: Any
    penalties: Any


@dataclass
class Program:
    """Compiled training of networks of one architecture.

    Parameters
    ----------
    network : Network
        One of them.
    blueprint : Blueprint
    head : Head
    own_kernels : bool
    elementwise : bool
        Whether the optimizer treats every number by itself.
    """

    network: Network
    blueprint: Blueprint
    head: Head
    own_kernels: bool
    elementwise: bool

    def __post_init__(self) -> None:
        self._forward = Forward(self.network, self.blueprint, self.own_kernels, self.elementwise)
        places = self._forward.trainable
        shapes = [self._held(place, self._value(self.network, place)).shape for place in places]
        constraints = [self._forward.constraints.get(place) for place in places]
        self._optimizer = self.blueprint.compilation.new_optimizer()
        together = self.elementwise and not any(constraints) and self._optimizer.clipnorm is None
        self._packing = Packing(shapes, together)
        # NumPy arrays would each be converted by a small program of their own, which waits for its turn to be compiled.
        variables = [
            keras.Variable(jax.device_put(np.zeros(shape, np.float32)), name=f"part_{number}")
            for number, shape in enumerate(self._packing.shapes)
        ]
        for number, variable in enumerate(variables):
            if not together:
                variable.constraint = constraints[self._packing.members(number)[0]]
        self._optimizer.build(variables)
        prefixes = {f"part_{n}_": (n, 0, shape) for n, shape in enumerate(self._packing.shapes)}
        self._places = optimizer_places(self._optimizer, prefixes)
        self._initial = [np.asarray(variable) for variable in self._optimizer.variables]
        names = [variable.name for variable in self._optimizer.variables]
        self._rate = names.index("learning_rate") if "learning_rate" in names else None
        self._executable: Any = None

    @property
    def n_outputs(self) -> int:
        """Numbers that the network gives for one row."""
        return math.prod(int(size or 0) for size in self.head.output_shape)

    def lowered(self, rows: Rows, schedule: Array) -> Any:
        """The program, traced and not yet compiled."""
        carry = self.carry(self.network, 0)
        rates = np.ones(len(schedule), np.float32)
        return jax.jit(self._run).lower(carry, rows, schedule, rates, np.int32(0), np.int32(0))

    def take(self, executable: Any) -> None:
        """Use what `lowered` was compiled to."""
        self._executable = executable

    def __call__(self, carry: Carry, rows: Rows, schedule: Array, rates: Array, n_steps: int, n_batches: int) -> Result:
        """Train on the first `n_steps` batches of the schedule, then only look at those up to `n_batches`.

        Parameters
        ----------
        carry : Carry
        rows : Rows
        schedule : ndarray of int32, shape (batches, rows)
            Numbers of rows.
        rates : ndarray of float32, shape (batches,)
            Shares of the learning rate; a schedule of the optimizer's own is left as it is.
        n_steps, n_batches : int
        """
        result: Result = self._executable(carry, rows, schedule, rates, np.int32(n_steps), np.int32(n_batches))
        return result

    def carry(self, network: Network, seed: int) -> Carry:
        """Weights and optimizer state of `network`; random layers start from `seed`."""
        random = [place for place in self._forward.state if not isinstance(place, Place)]
        seeds = iter(random_seeds(len(random), seed))
        state = [
            self._held(place, self._value(network, place))
            if isinstance(place, Place)
            else next(seeds).astype(np.asarray(place).dtype)
            for place in self._forward.state
        ]
        optimizer = []
        for place, initial in zip(self._places, self._initial, strict=True):
            if isinstance(place, Slot):
                optimizer.append(self._slot_of(network, place, initial))
            else:
                optimizer.append(remembered(network, place, np.asarray(initial)))
        trainable = [self._held(place, self._value(network, place)) for place in self._forward.trainable]
        return Carry(self._packing.pack(trainable), state, optimizer)

    def _slot_of(self, network: Network, slot: Slot, initial: Array) -> Array:
        """What the optimizer remembers of a packed array; what it has no memory of starts anew."""
        parts = self._packing.split(slot.layer, initial)
        for position, member in enumerate(self._packing.members(slot.layer)):
            place = self._forward.trainable[member]
            known = self._weight(network, place).slots.get(slot.name)
            if known is not None:
                parts[position] = self._held(place, known)
        packed: Array = self._packing.join(slot.layer, parts)
        return packed

    def network_with(self, network: Network, carry: Carry) -> Network:
        """`network` with the weights and the optimizer state of `carry`."""
        carry = jax.tree.map(np.asarray, carry)
        held = [
            *zip(self._forward.trainable, self._packing.unpack(carry.trainable), strict=True),
            *zip(self._forward.state, carry.state, strict=True),
        ]
        values = {place: self._held(place, value) for place, value in held if isinstance(place, Place)}
        slots: dict[Place, dict[str, Array]] = {}
        others: dict[str, Array] = {}
        for place, value in zip(self._places, carry.optimizer, strict=True):
            if isinstance(place, Slot):
                parts = self._packing.split(place.layer, value)
                for member, part in zip(self._packing.members(place.layer), parts, strict=True):
                    where = self._forward.trainable[member]
                    slots.setdefault(where, {})[place.name] = self._held(where, part)
            else:
                others[memory_name(network, place, value.shape)] = value
        layers = []
        for index, layer in enumerate(network.layers):
            weights = tuple(
                Weight(weight.name, values.get(Place(index, k), weight.value), slots.get(Place(index, k), {}))
                for k, weight in enumerate(layer.weights)
            )
            layers.append(replace(layer, weights=weights))
        return replace(network, layers=tuple(layers), optimizer_state=others)

    def _run(self, carry: Carry, rows: Rows, schedule: Any, rates: Any, n_steps: Any, n_batches: Any) -> Result:
        nothing = jnp.zeros(len(schedule))
        outputs = jnp.zeros((*schedule.shape, *self.head.output_shape))
        seen = Seen(nothing, outputs, nothing)

        def body(i: Any, loop: tuple[Carry, Seen]) -> tuple[Carry, Seen]:
            carry, seen = loop
            carry, new = self._step(carry, rows, schedule[i], rates[i], i < n_steps)
            return carry, jax.tree.map(lambda all_, one: all_.at[i].set(one), seen, new)

        carry, seen = lax.fori_loop(0, n_batches, body, (carry, seen))
        return Result(carry, *seen)

    def _step(self, carry: Carry, rows: Rows, index: Any, rate: Any, training: Any) -> tuple[Carry, Seen]:
        """One minibatch; without `training` it is only looked at."""
        x, y, weights = (None if part is None else part.at[index].get(mode="promise_in_bounds") for part in rows)

        def loss_of(packed: Sequence[Any]) -> tuple[Any, Any]:
            trainable = self._packing.unpack_in_training(packed)
            outputs, state, penalty = self._forward(trainable, carry.state, x, training)
            penalty = jnp.asarray(penalty, jnp.float32)
            return jax.checkpoint(self.head.loss)(y, outputs, weights) + penalty, (state, outputs, penalty)

        loss, backward, (state, outputs, penalty) = jax.vjp(loss_of, carry.trainable, has_aux=True)

        def updated() -> Carry:
            (gradients,) = backward(jnp.ones_like(loss))
            before = self._with_rate(carry.optimizer, lambda given: given * rate)
            trainable, after = self._optimizer.stateless_apply(before, gradients, carry.trainable)
            return Carry(trainable, state, self._with_rate(after, lambda _: carry.optimizer[self._rate or 0]))

        return lax.cond(training, updated, lambda: carry), Seen(loss, outputs, penalty)

    def _with_rate(self, optimizer: Sequence[Any], change: Callable[[Any], Any]) -> list[Any]:
        """The optimizer's variables with another learning rate, if that is among them."""
        return [change(value) if number == self._rate else value for number, value in enumerate(optimizer)]

    def _held(self, place: Place, value: Array) -> Array:
        """A weight as the program holds it, or back."""
        return value.T if place in self._forward.transposed else value

    def _value(self, network: Network, place: Place) -> Array:
        return self._weight(network, place).value

    @staticmethod
    def _weight(network: Network, place: Place) -> Weight:
        return network.layers[place.layer].weights[place.position]

"""The rows of a search on the device, how batches are drawn from them, and what their losses and metrics add up to."""

from __future__ import annotations

import math
import threading
from functools import cached_property, partial
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...inputs.data import TrainingData
from ...network import Array
from ..base import row_order
from .compiler import compiled
from .head import Head
from .program import Result, Rows

__all__ = ["DeviceRows", "Summary"]

_NUMBERS_AT_ONCE: Final = 16_000_000


class Summary(NamedTuple):
    """Losses and metrics of some batches.

    Parameters
    ----------
    values : list of array
        The metrics' variables after the training batches.
    total : scalar
        Sum of the training batches' losses.
    trained, held_out : mapping of str to scalar
        Metrics of the training batches; loss and metrics of the validation rows.
    outputs : array of shape (validation rows, ...)
    """

    values: Any
    total: Any
    trained: Any
    held_out: Any
    outputs: Any


class DeviceRows:
    """Training rows and, behind them, validation rows.

    Parameters
    ----------
    data : TrainingData
    """

    def __init__(self, data: TrainingData) -> None:
        self._n_train, self._n_held_out = len(data.train), len(data.validation)
        self.batch_size = min(data.batch_size, self._n_train)
        self._steps_per_epoch = data.steps_per_epoch
        self.is_weighted = data.train.weights is not None or data.validation.weights is not None
        self.rows = Rows(
            jnp.asarray(np.concatenate([data.train.x, data.validation.x])),
            jnp.asarray(np.concatenate([data.train.y, data.validation.y])),
            jnp.asarray(np.concatenate([_weights(data.train), _weights(data.validation)]))
            if self.is_weighted
            else None,
        )
        self._summaries: dict[tuple[bool, bool], Any] = {}
        self._compiling = threading.Lock()

    @cached_property
    def _held_out(self) -> Array:
        """Batches of validation rows; the last one is filled up with its last row."""
        n_batches = math.ceil(self._n_held_out / self.batch_size)
        index = np.minimum(np.arange(n_batches * self.batch_size), self._n_held_out - 1)
        return (self._n_train + index).reshape(n_batches, self.batch_size).astype(np.int32)

    def batches(self, n_steps: int, seed: int, epoch: int) -> Array:
        """The rows of the first batches of an epoch, shape (steps, batch)."""
        order = row_order(self._n_train, self.batch_size, seed, epoch)
        return order[: n_steps * self.batch_size].reshape(n_steps, self.batch_size).astype(np.int32)

    def steps_at_once(self, n_outputs: int) -> int:
        """Steps of one call: an epoch, or fewer where the outputs would not fit into memory."""
        return min(self._steps_per_epoch, max(1, _NUMBERS_AT_ONCE // (self.batch_size * n_outputs)))

    def schedule(self, n_outputs: int, batches: Array | None = None, is_last: bool = True) -> tuple[Array, int]:
        """Training batches, validation batches behind them if they are the last ones, and how many there are.

        The array is of one shape whatever it holds.
        """
        held_out = self._held_out
        schedule = np.zeros((self.steps_at_once(n_outputs) + len(held_out), self.batch_size), np.int32)
        n_steps = 0 if batches is None else len(batches)
        if batches is not None:
            schedule[:n_steps] = batches
        if not is_last:
            return schedule, n_steps
        schedule[n_steps : n_steps + len(held_out)] = held_out
        return schedule, n_steps + len(held_out)

    def summary(
        self, head: Head, result: Result, schedule: Array, n_steps: int, is_last: bool, before: Summary | None
    ) -> Summary:
        """Losses and metrics of a call.

        Parameters
        ----------
        head : Head
        result : Result
        schedule : ndarray
            That the call was made with.
        n_steps : int
            Its training batches.
        is_last : bool
            Whether validation batches came behind them.
        before : Summary or None
            Of the calls before, in the same epoch.
        """
        values, total = (head.initial, np.float32(0.0)) if before is None else (before.values, before.total)
        is_whole = n_steps == len(schedule) - len(self._held_out)
        given = (result._replace(carry=None), self.rows, schedule, values, total, np.int32(n_steps))
        with self._compiling:
            if (is_whole, is_last) not in self._summaries:
                summarized = partial(self._summarized, head, is_whole, is_last)
                self._summaries[is_whole, is_last] = compiled(jax.jit(summarized).lower(*given), quickly=True)
        found: Summary = self._summaries[is_whole, is_last](*given)
        return found

    def _summarized(
        self,
        head: Head,
        is_whole: bool,
        is_last: bool,
        result: Result,
        rows: Rows,
        schedule: Any,
        values: list[Any],
        total: Any,
        n_steps: Any,
    ) -> Summary:
        """One program for all calls that are filled with training batches, one for those that are not."""
        n_held_out = len(self._held_out)
        most = len(schedule) - n_held_out
        y, weights = (None if part is None else part[schedule[:most]] for part in rows[1:])
        values = head.update(values, y, result.outputs[:most], weights, None if is_whole else n_steps)
        total = total + jnp.where(np.arange(most) < n_steps, result.losses[:most], 0.0).sum()
        held_out, outputs = {}, None
        if is_last:
            outputs, penalties = (
                lax.dynamic_slice_in_dim(part, n_steps, n_held_out) for part in (result.outputs, result.penalties)
            )
            outputs = outputs.reshape(-1, *outputs.shape[2:])[: self._n_held_out]
            y, weights = (None if part is None else part[self._n_train :] for part in rows[1:])
            loss = head.loss(y, outputs, weights) + penalties.mean()
            one_batch = (None if part is None else part[None] for part in (y, outputs, weights))
            held_out = {"loss": loss, **head.results(head.update(head.initial, *one_batch))}
        return Summary(values, total, head.results(values), held_out, outputs)


def _weights(rows: Any) -> Array:
    return np.ones(len(rows), np.float32) if rows.weights is None else rows.weights

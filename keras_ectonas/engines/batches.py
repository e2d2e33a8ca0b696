"""Minibatches for Keras' ``fit``: of rows in memory, or read from a data set when they are needed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import keras

from ..inputs.data import BatchSource, Rows, TrainingData
from ..network import Array
from .base import row_order

__all__ = ["Batches", "RowBatches", "StreamBatches", "batches_for"]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Minibatches of one job, the same number in each epoch.

    Parameters
    ----------
    n_batches : int
    """

    def __init__(self, n_batches: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=1)
        self._n_batches = n_batches

    def __len__(self) -> int:
        return self._n_batches

    @abstractmethod
    def begin(self, epoch: int) -> None:
        """Be told, because Keras also asks for batches, and ends epochs, before training begins."""


def batches_for(data: TrainingData, n_batches: int, seed: int, first_step: int) -> Batches:
    """What a job trains on.

    Parameters
    ----------
    data : TrainingData
    n_batches : int
        In each of its epochs.
    seed : int
    first_step : int
        Steps its lineage has had: a data set is read on from there.
    """
    if data.stream is not None:
        return StreamBatches(data.stream, n_batches, first_step)
    return RowBatches(data.train, data.batch_size, n_batches, seed)


class RowBatches(Batches):
    """Rows in an order that the seed and the epoch decide."""

    def __init__(self, rows: Rows, batch_size: int, n_batches: int, seed: int) -> None:
        super().__init__(n_batches)
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self.begin(0)

    def begin(self, epoch: int) -> None:
        self._order = row_order(len(self._rows), self._batch_size, self._seed, epoch)

    def __getitem__(self, index: int) -> tuple[Array, ...]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x, y = self._rows.x[chosen], self._rows.y[chosen]
        return (x, y) if self._rows.weights is None else (x, y, self._rows.weights[chosen])


class StreamBatches(Batches):
    """Batches as a data set gives them, one after the other.

    What Keras looks at before training begins is kept, so that training begins with it.
    """

    def __init__(self, source: BatchSource, n_batches: int, first_step: int) -> None:
        super().__init__(n_batches)
        self._incoming: Iterator[tuple[Array, ...]] = source.batches(first_step)
        self._looked_at: dict[int, tuple[Array, ...]] = {}
        self._base = self._n_read = 0
        self._first_epoch: int | None = None

    def begin(self, epoch: int) -> None:
        if self._first_epoch is None:
            self._first_epoch = epoch
        self._base = (epoch - self._first_epoch) * self._n_batches
        self._looked_at = {number: batch for number, batch in self._looked_at.items() if number >= self._base}

    def __getitem__(self, index: int) -> tuple[Array, ...]:
        number = self._base + index
        if self._first_epoch is not None and number in self._looked_at:
            return self._looked_at.pop(number)
        while self._n_read <= number:
            self._looked_at[self._n_read] = next(self._incoming)
            self._n_read += 1
        if self._first_epoch is None:
            return self._looked_at[number]
        return self._looked_at.pop(number)

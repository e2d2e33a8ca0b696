"""Data sets of TensorFlow, Keras and PyTorch and generators, all as passes over batches of arrays."""

from __future__ import annotations

import itertools
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import keras
import numpy as np

from ..errors import InputError
from ..network import Array
from ..random_state import random_state, set_random_state, untouched_random_state
from .data import checked_array, checked_targets, checked_weights

__all__ = ["Batch", "Source", "checked", "has_no_end", "is_stream", "joined", "source_of", "unlabelled", "unpacked"]

_END: Final = object()


class Batch(NamedTuple):
    """Rows of a data set: samples, targets as the user gave them, and weights or None."""

    x: Array
    y: Array
    weights: Array | None

    @property
    def n_bytes(self) -> int:
        return int(self.x.nbytes + self.y.nbytes)


def is_stream(data: Any) -> bool:
    """Whether `data` are batches rather than rows."""
    return isinstance(data, (Generator, keras.utils.PyDataset)) or _is_library_data_set(data)


def _is_library_data_set(data: Any) -> bool:
    # Whoever made such a data set has imported its library.
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
    return (tensorflow is not None and isinstance(data, tensorflow.data.Dataset)) or (
        torch is not None and isinstance(data, torch.utils.data.DataLoader)
    )


class Source(ABC):
    """One kind of data set: passes over its batches.

    What it draws from the global generators goes on from one batch to the next, whatever else draws in between, and
    leaves the global state as it is: else each part of a search would meet the same draws.
    """

    rewinds = True
    """Whether each pass begins with the first batch."""

    def __init__(self) -> None:
        self._random_state = random_state()

    def passing(self, start: int) -> Iterator[Any]:
        """One pass, from batch `start` on."""
        with self._drawing():
            batches = self._pass(start)
        try:
            while True:
                with self._drawing():
                    batch = next(batches, _END)
                if batch is _END:
                    return
                yield batch
        finally:
            if isinstance(batches, Generator):
                with self._drawing():
                    batches.close()

    @abstractmethod
    def _pass(self, start: int) -> Iterator[Any]:
        """As `passing`, but that it draws from the global generators. One that can be closed is, when the pass ends."""

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        with untouched_random_state():
            set_random_state(self._random_state)
            try:
                yield
            finally:
                self._random_state = random_state()


class _Iterable(Source):
    """A ``tf.data.Dataset`` or a ``DataLoader``."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self._data = _without_autotuning(data) if hasattr(data, "as_numpy_iterator") else data

    def _pass(self, start: int) -> Iterator[Any]:
        if hasattr(self._data, "as_numpy_iterator"):
            return iter(self._data.skip(start).as_numpy_iterator())
        return itertools.islice(iter(self._data), start, None)


class _Indexed(Source):
    """A ``keras.utils.PyDataset``, which is told when its epochs begin and end."""

    def __init__(self, data: keras.utils.PyDataset) -> None:
        super().__init__()
        self._data = data

    def _pass(self, start: int) -> Iterator[Any]:
        n_batches = self._data.num_batches
        self._data.on_epoch_begin()
        try:
            for number in itertools.count(start) if n_batches is None else range(start, n_batches):
                yield self._data[number]
        finally:
            self._data.on_epoch_end()


class _Once(Source):
    """A generator: each pass goes on where the last one stopped."""

    rewinds = False

    def __init__(self, data: Iterator[Any]) -> None:
        super().__init__()
        self._data = data

    def _pass(self, start: int) -> Iterator[Any]:
        return itertools.islice(self._data, None)


def _without_autotuning(data: Any) -> Any:
    """A ``tf.data.Dataset`` whose passes end at once: TensorFlow's tuning has a thread that takes a second to end."""
    options = sys.modules["tensorflow"].data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def source_of(data: Any) -> Source:
    """Passes over the batches of `data`."""
    if isinstance(data, Generator):
        return _Once(data)
    return _Indexed(data) if isinstance(data, keras.utils.PyDataset) else _Iterable(data)


def has_no_end(data: Any) -> bool:
    """Whether `data`, as far as they tell, go on for ever."""
    if isinstance(data, Generator):
        return True
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    # TensorFlow has -1 for a data set without end.
    return hasattr(data, "cardinality") and int(data.cardinality()) == -1


def checked(argument: str, raw: Any, dtype: str) -> Batch:
    """What a data set gave as finite arrays, samples of the number type `dtype`."""
    batch = unpacked(argument, raw)
    if batch.x.ndim < 2:
        raise InputError(f"{argument} gives samples of shape {batch.x.shape}: expected batches, rows along axis 0.")
    x = checked_array(argument, batch.x, dtype)
    y = checked_targets(f"{argument}, targets", batch.y, len(x))
    return Batch(x, y, checked_weights(f"{argument}, sample_weight", batch.weights, len(x)))


def unpacked(argument: str, raw: Any) -> Batch:
    """What a data set gave as arrays of NumPy, whatever library it came from."""
    if not isinstance(raw, (tuple, list)) or len(raw) not in (2, 3) or any(isinstance(part, dict) for part in raw):
        raise InputError(
            f"{argument} gives batches of type {type(raw).__name__}: expected tuples (x, y) or (x, y, sample_weight) "
            "of one array each."
        )
    x, y, *weights = (None if part is None else _array(part) for part in raw)
    if x is None or y is None:
        raise InputError(f"{argument} gives batches without samples or targets: expected tuples (x, y).")
    return Batch(x, y, weights[0] if weights else None)


def unlabelled(argument: str, raw: Any, dtype: str) -> Batch:
    """The finite samples of what a data set gave, which may be samples alone, without targets."""
    x = checked_array(argument, _array(raw[0] if isinstance(raw, (tuple, list)) else raw), dtype)
    return Batch(x, np.empty((len(x), 0)), None)


def _array(values: Any) -> Array:
    """An array of any library as NumPy's."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array = np.asarray(values)
    # TensorFlow's texts are bytes.
    return np.char.decode(array.astype("S")) if array.dtype.kind == "O" and _holds_bytes(array) else array


def _holds_bytes(array: Array) -> bool:
    return array.size > 0 and all(isinstance(value, bytes) for value in array.ravel()[:1])


def joined(argument: str, batches: Iterable[Batch]) -> Batch:
    """The rows of all batches; weights only if each of them has some."""
    parts = list(batches)
    if any(part.x.shape[1:] != parts[0].x.shape[1:] for part in parts):
        raise InputError(f"{argument} gives batches of rows of several shapes: expected rows of one shape.")
    weights = [part.weights for part in parts if part.weights is not None]
    return Batch(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(weights) if len(weights) == len(parts) else None,
    )

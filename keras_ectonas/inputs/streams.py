"""Data that come in batches: read once before the search, and again wherever a candidate is trained.

The first reading finds how many batches there are, which labels, and rows to calibrate on. A small data set that gives
the same batches each time becomes arrays; any other is never held. Nothing here knows of a search or an engine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import InputError
from ..network import Array
from .sources import Batch, Source, checked, has_no_end, joined, source_of, unlabelled, unpacked

__all__ = ["IN_MEMORY", "Reading", "Stream", "in_parts", "read_into_memory", "read_stream"]

IN_MEMORY: Final = 2**28
"""Bytes up to which a data set becomes arrays, and rows are held out of one that does not."""

_SAMPLE_ROWS: Final = 8192
_ROWS_AT_ONCE: Final = 1000
_MOST_CLASSES: Final = 10_000


@dataclass(frozen=True)
class Stream:
    """Training batches that are read when they are needed.

    Parameters
    ----------
    source : Source
    dtype : str
        Number type of the model's input.
    encode : callable
        Targets as the user gave them to what the loss expects.
    weigh : callable
        ``(targets, weights)`` to the weights that count.
    n_batches : int
        Training batches in an epoch.
    held_out : frozenset of int
        Numbers of the batches, among all of a pass, that are not trained on.
    repeats : bool
        Whether each pass gives the same batches.
    """

    source: Source
    dtype: str
    encode: Callable[[Array], Array]
    weigh: Callable[[Array, Array | None], Array | None]
    n_batches: int
    held_out: frozenset[int] = frozenset()
    repeats: bool = False

    def batches(self, first: int) -> Iterator[tuple[Array, ...]]:
        """Batches for training, without end, from number `first` of a lineage's on.

        Raises
        ------
        InputError
            If the data end before there was a batch.
        """
        in_pass = self.n_batches + len(self.held_out)
        numbers = [number for number in range(in_pass) if number not in self.held_out]
        start = numbers[first % self.n_batches]
        while True:
            found = False
            for number, raw in enumerate(itertools.islice(self.source.passing(start), in_pass - start), start):
                found = True
                if number not in self.held_out:
                    yield self._prepared(raw)
            if not found and (start == 0 or not self.source.rewinds):
                raise InputError("X ended in the middle of the search: expected a generator without an end.")
            start = 0

    def _prepared(self, raw: Any) -> tuple[Array, ...]:
        batch = unpacked("X", raw)
        x = np.ascontiguousarray(batch.x, dtype=self.dtype)
        labels = batch.y.reshape(len(x)) if batch.y.ndim == 2 and batch.y.shape[1] == 1 else batch.y
        weights = self.weigh(labels, batch.weights)
        return (x, self.encode(labels)) if weights is None else (x, self.encode(labels), weights)


@dataclass(frozen=True)
class Reading:
    """What one pass over a data set has found.

    Parameters
    ----------
    source : Source
    rows : Batch
        All rows if `is_complete`, else some from all over the data set.
    is_complete : bool
    batch_size : int
        Rows of the first batch.
    n_batches : int
        In a pass, those held out included.
    classes : ndarray or None
        Every label that there is, if they are few.
    counts : ndarray or None
        Rows of each of them.
    nonnegative : bool
        Whether no number among the samples is below zero.
    held_out : mapping of int to Batch
        By number, what is scored on.
    repeats : bool
        Whether another pass began with the same batch.
    """

    source: Source
    rows: Batch
    is_complete: bool
    batch_size: int
    n_batches: int
    classes: Array | None
    counts: Array | None
    nonnegative: bool
    held_out: dict[int, Batch]
    repeats: bool

    @property
    def labels_to_judge(self) -> Array:
        """Targets that hold every label that there is: for what asks how many there are."""
        if self.classes is None or self.rows.y.ndim > 1:
            return self.rows.y
        of_text = self.rows.y.dtype.kind in "SU"  # of which a label may be longer than any in these rows
        return np.concatenate([self.rows.y, self.classes if of_text else self.classes.astype(self.rows.y.dtype)])


def read_stream(data: Any, dtype: str, steps: int | None, fraction: float | None) -> Reading:
    """Read a data set once.

    Parameters
    ----------
    data : tf.data.Dataset, keras.utils.PyDataset, torch.utils.data.DataLoader or generator
        Of batches ``(x, y)`` or ``(x, y, sample_weight)``.
    dtype : str
        Number type of the model's input.
    steps : int or None
        Batches in an epoch; needed where the data have no end.
    fraction : float or None
        Share of the batches to hold out; None if there are other rows to score on.

    Raises
    ------
    InputError
        If the batches cannot be used, or a part cannot be held out because they come in another order each time.
    """
    source = source_of(data)
    _check_steps("steps_per_epoch", steps, has_no_end(data))
    repeats = source.rewinds and _repeats(source)
    if fraction is not None and not source.rewinds:
        raise InputError("validation_data=None: a generator's batches cannot be held out. Give validation_data.")
    may_complete = repeats and steps is None
    whole = _Kept(IN_MEMORY if may_complete else 0, spread=False)
    sample = _Kept(_SAMPLE_ROWS, spread=True, in_rows=True)
    held_out = _Kept(IN_MEMORY, spread=True)
    labels: dict[Any, int] | None = {}
    n_batches, batch_size, nonnegative = 0, 0, True
    for raw in itertools.islice(source.passing(0), steps):
        batch = checked("X", raw, dtype)
        batch_size = batch_size or len(batch.x)
        nonnegative = nonnegative and bool(batch.x.min() >= 0)
        labels = _counted(labels, batch.y)
        whole.add(n_batches, batch)
        is_held_out = fraction is not None and math.ceil((n_batches + 1) * fraction) > math.ceil(n_batches * fraction)
        (held_out if is_held_out else sample).add(n_batches, batch)
        n_batches += 1
    if n_batches == 0:
        raise InputError("X holds no batch: expected at least one.")
    is_complete = may_complete and whole.is_whole
    if fraction is not None and not is_complete:
        _check_held_out(repeats, held_out.batches, n_batches)
    if steps is not None and n_batches < steps:
        raise InputError(f"steps_per_epoch={steps}: X ended after {n_batches} batches.")
    known = sorted(labels) if labels else None
    return Reading(
        source,
        joined("X", (whole if is_complete else sample).batches.values()),
        is_complete,
        batch_size,
        n_batches,
        None if known is None else np.asarray(known),
        None if known is None or labels is None else np.asarray([labels[label] for label in known]),
        nonnegative,
        {} if is_complete else held_out.batches,
        repeats,
    )


def read_into_memory(argument: str, data: Any, dtype: str, steps: int | None) -> Batch:
    """All rows of a data set, or those of its first `steps` batches."""
    _check_steps("validation_steps", steps, has_no_end(data))
    found = [checked(argument, raw, dtype) for raw in itertools.islice(source_of(data).passing(0), steps)]
    if not found:
        raise InputError(f"{argument} holds no batch: expected at least one.")
    return joined(argument, found)


def in_parts(argument: str, data: Any, dtype: str, labelled: bool) -> Iterator[Batch]:
    """One pass over a data set that ends, a thousand rows or more at a time.

    Parameters
    ----------
    argument : str
        The name to use in errors.
    data : a data set of batches
    dtype : str
        Number type of the samples.
    labelled : bool
        Whether targets are wanted. Otherwise batches may be samples alone, and there are none.
    """
    if has_no_end(data):
        raise InputError(f"{argument} is a generator or has no end: expected rows, or a data set that ends.")
    waiting: list[Batch] = []
    is_empty = True
    for raw in source_of(data).passing(0):
        is_empty = False
        waiting.append((checked if labelled else unlabelled)(argument, raw, dtype))
        if sum(len(batch.x) for batch in waiting) >= _ROWS_AT_ONCE:
            yield joined(argument, waiting)
            waiting = []
    if is_empty:
        raise InputError(f"{argument} holds no batch: expected at least one.")
    if waiting:
        yield joined(argument, waiting)


class _Kept:
    """Batches kept up to a limit in bytes or rows: some from all over a pass, or all or none."""

    def __init__(self, limit: int, spread: bool, in_rows: bool = False) -> None:
        self.batches: dict[int, Batch] = {}
        self.is_whole = True
        self._limit, self._spread, self._in_rows = limit, spread, in_rows
        self._size = self._seen = 0
        self._stride = 1

    def add(self, number: int, batch: Batch) -> None:
        self._seen += 1
        if (self._seen - 1) % self._stride or not (self._spread or self.is_whole):
            return
        self.batches[number] = batch
        self._size += self._size_of(batch)
        while self._size > self._limit and self.batches:
            self.is_whole = False
            if not self._spread:
                self.batches = {}
            elif len(self.batches) == 1:
                break
            self._stride *= 2
            self.batches = dict(list(self.batches.items())[::2])
            self._size = sum(self._size_of(kept) for kept in self.batches.values())

    def _size_of(self, batch: Batch) -> int:
        return len(batch.x) if self._in_rows else batch.n_bytes


def _check_steps(argument: str, steps: Any, needed: bool) -> None:
    if steps is None and needed:
        raise InputError(f"{argument}=None: data without an end need the number of batches that make an epoch.")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1):
        raise InputError(f"{argument}={steps!r}: expected a whole number of at least 1, or None.")


def _repeats(source: Source) -> bool:
    """Whether two passes begin with the same batch: then nothing is shuffled or drawn anew."""
    first, again = (next(iter(source.passing(0)), None) for _ in range(2))
    if first is None or again is None:
        return False
    one, two = unpacked("X", first), unpacked("X", again)
    return bool(np.array_equal(one.x, two.x) and np.array_equal(one.y, two.y))


def _check_held_out(repeats: bool, held_out: dict[int, Batch], n_batches: int) -> None:
    if not repeats:
        raise InputError(
            "validation_data=None: X gives other batches each time that it is read, so that what is held out would be "
            "trained on as well. Give validation_data, or a data set that is not shuffled."
        )
    if not held_out or len(held_out) == n_batches:
        raise InputError(
            f"validation_data=None: of {n_batches} batches, validation_fraction leaves none to train on or none to "
            "score on. Give validation_data, or smaller batches."
        )


def _counted(labels: dict[Any, int] | None, y: Array) -> dict[Any, int] | None:
    """Labels and how often they came, as long as they may be labels and are few."""
    if labels is None or y.ndim > 1 or (y.dtype.kind == "f" and bool((y != np.floor(y)).any())):
        return None
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        labels[label.item()] = labels.get(label.item(), 0) + int(count)
    return labels if len(labels) <= _MOST_CLASSES else None

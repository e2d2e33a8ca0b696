"""The rows to train on and the rows to score on: checked, split and ready for an engine."""

from __future__ import annotations

import hashlib
import math
import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_array

from ..errors import InputError, InputTypeError
from ..network import Array
from .task import Task

__all__ = [
    "BatchSource",
    "Rows",
    "TrainingData",
    "checked_array",
    "checked_fraction",
    "checked_targets",
    "checked_weights",
    "split",
]

_FEWEST_GROUPS: Final = 10
_MISSING: Final = ("NoneType", "NAType", "NaTType")
"""Types of what stands for a missing value, those of pandas too."""


@dataclass(frozen=True)
class Rows:
    """Samples with their targets.

    Parameters
    ----------
    x : ndarray of shape (rows, ...)
    y : ndarray of shape (rows,) or (rows, ...)
        In the form that the loss expects.
    labels : ndarray of shape (rows,) or (rows, ...)
        The targets as the user gave them.
    weights : ndarray of shape (rows,) or None
    """

    x: Array
    y: Array
    labels: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def mean_weight(self) -> float:
        return 1.0 if self.weights is None else float(self.weights.mean())

    def take(self, index: Array) -> Rows:
        weights = None if self.weights is None else self.weights[index]
        return Rows(self.x[index], self.y[index], self.labels[index], weights)


class BatchSource(Protocol):
    """Training batches that are read when they are needed."""

    @property
    def n_batches(self) -> int:
        """In one pass."""

    @property
    def repeats(self) -> bool:
        """Whether each pass gives the same batches."""

    def batches(self, first: int) -> Iterator[tuple[Array, ...]]:
        """Without end, from batch `first` of a lineage on: samples, encoded targets and perhaps weights."""


@dataclass(frozen=True)
class TrainingData:
    """What an engine works with.

    Parameters
    ----------
    train : Rows
        To train on; where there is a stream, some of its rows, to look at.
    validation : Rows
    batch_size : int
    stream : BatchSource or None
        What is trained on if the rows are not held in memory.
    """

    train: Rows
    validation: Rows
    batch_size: int
    stream: BatchSource | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches in one pass, the last partial one included."""
        if self.stream is not None:
            return self.stream.n_batches
        return math.ceil(len(self.train) / self.batch_size)

    @property
    def loss_ratio(self) -> float:
        """What the loss on the rows to train on would be to that on the validation rows by their weights alone."""
        weights = self.train.mean_weight, self.validation.mean_weight
        return weights[0] / weights[1] if min(weights) > 0 else 1.0

    def fingerprint(self) -> str:
        """A hash of all rows, targets and weights, to train on and to score on.

        Of batches that differ from pass to pass only how many there are counts, and what is scored on.
        """
        digest = hashlib.sha256()
        known = [self.train, self.validation]
        if self.stream is not None and not self.stream.repeats:
            digest.update(f"{self.stream.n_batches}{self.train.x.shape[1:]}".encode())
            known = [self.validation]
        for rows in known:
            for array in (rows.x, rows.y, rows.weights):
                if array is not None:
                    digest.update(f"{array.dtype.str}{array.shape}".encode())
                    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


def checked_array(argument: str, values: Any, dtype: str) -> Array:
    """Samples as a finite numeric array.

    Parameters
    ----------
    argument : str
        The name to use in errors.
    values : array-like or frame of shape (rows, ...)
    dtype : str
        Number type of the model's input.

    Raises
    ------
    InputError
    """
    own = np.dtype(dtype)
    # NumPy, and with it scikit-learn, does not know a bfloat16 for a number.
    known = np.dtype(np.float32) if own.kind == "V" else own
    with _as_input_error(argument):
        checked = check_array(values, dtype=known, allow_nd=True, order="C", input_name=argument)
    if 0 in checked.shape:
        raise InputError(f"{argument} has rows of shape {checked.shape[1:]}: expected at least one number in each.")
    return np.asarray(checked, dtype=own)


def checked_targets(argument: str, y: Any, n_rows: int) -> Array:
    """Targets as an array of `n_rows`; a column vector becomes one-dimensional."""
    if y is None:
        raise InputError(f"{argument}=None: fit requires {argument} to be passed, but the target {argument} is None.")
    with _as_input_error(argument):
        array = np.asarray(y)
        if array.dtype.kind == "O":
            _check_objects(argument, array)
            array = np.array(array.tolist())
    if array.ndim == 0:
        raise InputError(f"{argument}={y!r}: expected one target for each row of X.")
    if array.dtype.kind == "O":
        raise InputError(f"{argument} holds objects of several types: expected labels of one type, or numbers.")
    if len(array) != n_rows:
        raise InputError(f"{argument} has {len(array)} rows, X has {n_rows}: expected as many.")
    if array.dtype.kind == "c":
        raise InputError(f"{argument} is of type {array.dtype}: expected numbers. Complex data not supported.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{argument} holds values that are NaN or infinite: expected finite numbers.")
    if array.dtype.kind == "f" and array.size and np.abs(array).max() > np.finfo(np.float32).max:
        raise InputError(
            f"{argument} holds values up to {np.abs(array).max():.3g}: expected what single precision can hold."
        )
    return array.reshape(n_rows) if array.ndim == 2 and array.shape[1] == 1 else array


def _check_objects(argument: str, array: Array) -> None:
    """Refuse what NumPy would turn into text."""
    values = array.ravel().tolist()
    missing = [
        value for value in values if type(value).__name__ in _MISSING or (isinstance(value, float) and value != value)
    ]
    if missing:
        raise InputError(f"{argument} holds {missing[0]!r}: expected a target for each row. Input contains NaN.")
    if len({isinstance(value, (str, bytes)) for value in values}) > 1:
        raise InputError(f"{argument} holds objects of several types: expected labels of one type, or numbers.")


def checked_weights(argument: str, weights: Any, n_rows: int) -> Array | None:
    """Sample weights as an array of shape (rows,), or None."""
    if weights is None:
        return None
    try:
        array = np.asarray(weights, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{argument}={weights!r}: expected numbers, one for each row.") from error
    if array.shape != (n_rows,):
        raise InputError(f"{argument} has shape {array.shape}: expected {(n_rows,)}, one for each row.")
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{argument} holds values that are negative or not finite.")
    return array


@contextmanager
def _as_input_error(argument: str) -> Iterator[None]:
    """What scikit-learn's checks find, as an error of this library that names the argument."""
    try:
        yield
    except TypeError as error:
        raise InputTypeError(f"{argument}: {error}") from error
    except ValueError as error:
        raise InputError(f"{argument}: {error}") from error


def checked_fraction(fraction: Any) -> float:
    """A share of validation rows; raises `InputError` if it is none."""
    if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real) or not 0 < float(fraction) < 1:
        raise InputError(f"validation_fraction={fraction!r}: expected a number above 0 and below 1.")
    return float(fraction)


def split(rows: Rows, fraction: float, task: Task, seed: int, groups: Array | None = None) -> tuple[Rows, Rows]:
    """Shuffle and split into training and validation rows, each class in proportion where possible.

    Parameters
    ----------
    rows : Rows
    fraction : float
        Share of the validation rows.
    task : Task
    seed : int
    groups : ndarray of int, optional
        Rows of one group stay together, unless there are fewer than ten groups.

    Raises
    ------
    InputError
        If `fraction` is not between 0 and 1, or one of the parts would be empty.
    """
    fraction = checked_fraction(fraction)
    first, members = np.arange(len(rows)), np.arange(len(rows))
    if groups is not None and groups.max() + 1 >= _FEWEST_GROUPS:
        _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    n_validation = math.ceil(fraction * len(first))
    if n_validation >= len(first):
        raise InputError(f"validation_fraction={fraction!r} of {len(rows)} rows leaves none to train on.")
    _, validation = train_test_split(
        np.arange(len(first)),
        test_size=n_validation,
        random_state=seed % 2**32,
        stratify=_strata(rows.take(first), task, n_validation),
    )
    if task.target in ("index", "binary") and rows.labels.ndim == 1:
        validation = _with_all_classes(validation, rows.labels[first])
    is_validation = np.isin(members, validation)
    return rows.take(np.flatnonzero(~is_validation)), rows.take(np.flatnonzero(is_validation))


def _with_all_classes(validation: Array, labels: Array) -> Array:
    """With a row of each class that has several, where that no more than doubles them, and never all of them."""
    _, first, index, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    held_out = np.bincount(index[validation], minlength=len(counts))
    returned, missing = first[held_out == counts], first[(held_out == 0) & (counts > 1)]
    if len(returned) < len(validation):
        validation = np.setdiff1d(validation, returned)
    return np.concatenate([validation, missing]) if len(missing) <= len(validation) else validation


def _strata(rows: Rows, task: Task, n_validation: int) -> Array | None:
    if task.target not in ("index", "binary") or rows.labels.ndim != 1:
        return None
    _, counts = np.unique(rows.labels, return_counts=True)
    possible = counts.min() >= 2 and min(n_validation, len(rows) - n_validation) >= len(counts)
    return rows.labels if possible else None

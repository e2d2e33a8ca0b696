"""What ``fit`` received, rows or batches, as checked rows to train on and to score on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import keras
import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.class_weight import compute_class_weight

from ..errors import InputError
from ..network import Array
from .data import Rows, TrainingData, checked_array, checked_fraction, checked_targets, checked_weights, split
from .repeats import alike, copies_for
from .sources import Batch, is_stream, joined
from .streams import Reading, Stream, read_into_memory, read_stream
from .task import Task

__all__ = ["Incoming", "incoming"]

Kind = Literal["classification", "regression"]

_NAME_OF_HELD_OUT: Final = "validation_data, y"

_COLUMN_VECTOR: Final = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), for "
    "example using ravel()."
)


@dataclass(frozen=True)
class Incoming:
    """Rows, and where they came from.

    Parameters
    ----------
    x, labels, weights : ndarray
        All rows or, of data that are read batch by batch, some.
    reading : Reading or None
        Of data that are read batch by batch.
    batch_size : int
    held_out : Batch or None
        The rows to score on, if they were given.
    groups : ndarray or None
        Numbers of the groups of rows that are alike, if any are.
    """

    x: Array
    labels: Array
    weights: Array | None
    reading: Reading | None
    batch_size: int
    held_out: Batch | None
    groups: Array | None

    @property
    def labels_to_judge(self) -> Array:
        """Targets among which every label is."""
        return self.labels if self.reading is None else self.reading.labels_to_judge

    @property
    def is_nonnegative(self) -> bool:
        return bool(self.x.min() >= 0) if self.reading is None else self.reading.nonnegative

    def training_data(self, task: Task, fraction: float, class_weight: Any, seed: int) -> TrainingData:
        """The rows to train on and those to score on, in the form that the loss expects.

        Raises
        ------
        InputError
            If there are none of one kind, or too few classes among them.
        """
        weigh = _Weigher.of(class_weight, task, self)
        rows = _rows(Batch(self.x, self.labels, self.weights), task, weigh)
        stream = None
        if self.reading is not None:
            held_out = self.held_out or joined("X", self.reading.held_out.values())
            numbers = frozenset(self.reading.held_out)
            n_batches = self.reading.n_batches - len(numbers)
            reading = self.reading
            stream = Stream(reading.source, str(self.x.dtype), task.encode, weigh, n_batches, numbers, reading.repeats)
            train, validation = rows, _rows(held_out, task, weigh, _NAME_OF_HELD_OUT)
        elif self.held_out is not None:
            train, validation = rows, _rows(self.held_out, task, weigh, _NAME_OF_HELD_OUT)
        else:
            train, validation = split(rows, fraction, task, seed, self.groups)
        if validation.weights is not None and not validation.weights.any():
            raise InputError("sample_weight is zero for every row that is validated on: expected some weight there.")
        if task.is_classification and len(np.unique(train.labels)) < 2:
            raise InputError("y holds a single class among the training rows: expected at least 2.")
        return TrainingData(train, validation, self.batch_size, stream)


def incoming(
    parameters: Mapping[str, Any],
    kind: Kind | None,
    X: Any,
    y: Any,
    sample_weight: Any,
    validation_data: Any,
    steps_per_epoch: Any = None,
    validation_steps: Any = None,
) -> Incoming:
    """What ``fit`` received, checked; rows of zero weight are left out.

    Raises
    ------
    InputError
    """
    dtype = _input_dtype(parameters["model"])
    held_out = None if validation_data is None else _held_out(validation_data, dtype, validation_steps)
    batch_size = int(parameters["batch_size"])
    if is_stream(X):
        if y is not None or sample_weight is not None:
            raise InputError("y and sample_weight come with the batches of X: expected None for both.")
        fraction = None if held_out is not None else checked_fraction(parameters["validation_fraction"])
        reading = read_stream(X, dtype, steps_per_epoch, fraction)
        batch_size = reading.batch_size
        (x, labels, weights), left_to_read = reading.rows, None if reading.is_complete else reading
    else:
        if steps_per_epoch is not None:
            raise InputError("steps_per_epoch is for data that come in batches: expected None.")
        x, labels, weights = _checked_rows(kind, dtype, X, y, sample_weight)
        left_to_read = None
    if held_out is not None and held_out.x.shape[1:] != x.shape[1:]:
        raise InputError(f"validation_data has rows of shape {held_out.x.shape[1:]}, X has {x.shape[1:]}.")
    if len(x) < 2:
        raise InputError(f"X has {len(x)} sample: expected at least 2, to train on one and score on another.")
    if weights is not None and not weights.any():
        raise InputError("sample_weight is zero for every row: expected some weight.")
    if weights is not None and not weights.all():
        x, labels, weights = x[weights > 0], labels[weights > 0], weights[weights > 0]
    if left_to_read is not None:
        return Incoming(x, labels, weights, left_to_read, batch_size, held_out, None)
    (x, labels, weights), groups = _with_copies(Batch(x, labels, weights))
    return Incoming(x, labels, weights, None, batch_size, held_out, groups)


def _with_copies(rows: Batch) -> tuple[Batch, Array | None]:
    """Copies of a row in place of its weight; where rows are alike, an order that their content alone decides.

    So a row that is there twice and a row that weighs 2 make the same search.
    """
    index = None if rows.weights is None else copies_for(rows.weights, rows.n_bytes // len(rows.x))
    if index is not None:
        rows = Batch(rows.x[index], rows.y[index], None)
    groups = alike(rows.x, rows.y)
    if groups is None:
        return rows, None
    order = np.argsort(groups, kind="stable")
    weights = None if rows.weights is None else rows.weights[order]
    return Batch(rows.x[order], rows.y[order], weights), groups[order]


def _checked_rows(kind: Kind | None, dtype: str, X: Any, y: Any, sample_weight: Any) -> Batch:
    x = checked_array("X", X, dtype)
    labels = checked_targets("y", y, len(x))
    if kind is not None and np.asarray(y).ndim > labels.ndim:
        warnings.warn(_COLUMN_VECTOR, DataConversionWarning, stacklevel=7)
    return Batch(x, labels, checked_weights("sample_weight", sample_weight, len(x)))


def _held_out(validation_data: Any, dtype: str, steps: Any) -> Batch:
    if is_stream(validation_data):
        return read_into_memory("validation_data", validation_data, dtype, steps)
    if steps is not None:
        raise InputError("validation_steps is for validation_data that come in batches: expected None.")
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise InputError(
            f"validation_data of type {type(validation_data).__name__}: expected a tuple (X, y) or "
            "(X, y, sample_weight), or batches."
        )
    x = checked_array("validation_data, X", validation_data[0], dtype)
    labels = checked_targets(_NAME_OF_HELD_OUT, validation_data[1], len(x))
    given = validation_data[2] if len(validation_data) == 3 else None
    return Batch(x, labels, checked_weights("validation_data, sample_weight", given, len(x)))


def _rows(batch: Batch, task: Task, weigh: _Weigher, argument: str = "y") -> Rows:
    return Rows(batch.x, task.encode(batch.y, argument), batch.y, weigh(batch.y, batch.weights))


def _input_dtype(model: Any) -> str:
    """The number type that a model wants its samples in."""
    if not (isinstance(model, keras.Sequential) and model.built and model.inputs):
        return "float32"
    dtype = str(model.inputs[0].dtype)
    if dtype == "string":
        raise InputError(
            "model takes inputs of type string: expected numbers. Turn texts into numbers in front of the search, for "
            "example with keras.layers.TextVectorization or a step of a pipeline."
        )
    return dtype


@dataclass(frozen=True)
class _Weigher:
    """Weights of rows from their own and those of their classes.

    Parameters
    ----------
    classes : ndarray or None
        None if classes have no weights.
    class_weights : ndarray or None
    """

    classes: Array | None = None
    class_weights: Array | None = None

    @classmethod
    def of(cls, class_weight: Any, task: Task, rows: Incoming) -> _Weigher:
        if class_weight is None:
            return cls()
        if task.classes is None or task.columns is not None:
            raise InputError(f"class_weight={class_weight!r} is for one label a row: expected None.")
        labels = rows.labels
        if rows.reading is not None and rows.reading.classes is not None and rows.reading.counts is not None:
            labels = np.repeat(rows.reading.classes, rows.reading.counts)
        present = np.unique(labels)
        try:
            weights = compute_class_weight(class_weight, classes=present, y=labels)
        except ValueError as error:
            raise InputError(f"class_weight={class_weight!r}: {error}") from error
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise InputError(f"class_weight={class_weight!r} holds values that are negative or not finite.")
        return cls(present, weights.astype(np.float32))

    def __call__(self, labels: Array, weights: Array | None) -> Array | None:
        if self.classes is None or self.class_weights is None:
            return weights
        index = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        # A label that only rows to score on have counts as it is.
        own: Array = np.where(self.classes[index] == labels, self.class_weights[index], np.float32(1))
        return own if weights is None else own * weights

"""What is to be learned: labels or values, read off the loss, the last layer and the targets.

It turns targets into what the loss expects, and outputs into what a user expects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from sklearn.utils.multiclass import type_of_target

from ..errors import InputError, InputTypeError
from ..network import Array, Shape

__all__ = ["Task", "Units", "from_logits", "is_made_for_labels", "read_task"]

Target = Literal["index", "one_hot", "binary", "multilabel", "value"]

_TARGET_OF_LOSS: dict[str, Target] = {
    "sparse_categorical_crossentropy": "index",
    "categorical_crossentropy": "one_hot",
    "categorical_focal_crossentropy": "one_hot",
    "categorical_hinge": "one_hot",
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
}
_LOSS_OF_TARGET: dict[Target, str] = {
    "index": "sparse_categorical_crossentropy",
    "one_hot": "categorical_crossentropy",
    "binary": "binary_crossentropy",
    "multilabel": "binary_crossentropy",
    "value": "mean_squared_error",
}


class Units(NamedTuple):
    """Values are learned less `offset`, in units of `scale`; shape (columns,) each."""

    scale: Array
    offset: Array


@dataclass(frozen=True)
class Task:
    """How targets look and what outputs mean.

    Parameters
    ----------
    target : {"index", "one_hot", "binary", "multilabel", "value"}
        The form of the targets in training: class numbers, one column a class, one column of 0 and 1, several
        columns of 0 and 1, or numbers.
    classes : ndarray or None
        The labels, in the order of the outputs; None for values.
    logits : bool
        Whether a softmax or sigmoid is still to be applied to the outputs.
    columns : int or None
        Columns of the targets as the user gave them; None if they were one-dimensional.
    units : Units or None
        Of values, those that they are learned in where it is not their own.
    """

    target: Target
    classes: Array | None = None
    logits: bool = False
    columns: int | None = None
    units: Units | None = None

    @property
    def is_classification(self) -> bool:
        return self.target != "value"

    @property
    def default_loss(self) -> str:
        """The name of the loss to compile with where the user chose none."""
        return _LOSS_OF_TARGET[self.target]

    def encode(self, y: Array, argument: str = "y") -> Array:
        """Targets in the form that the loss expects.

        Parameters
        ----------
        y : ndarray
        argument : str
            The name to use in errors.

        Raises
        ------
        InputError
            If `y` holds a label that is not among `classes`.
        """
        if self.target == "value":
            if y.dtype.kind not in "fiub":
                raise InputError(f"{argument} is of type {y.dtype}: expected numbers.")
            if self.units is not None:
                y = (np.asarray(y, dtype=np.float64) - self.units.offset) / self.units.scale
            values = np.asarray(y, dtype=np.float32)
            return values[:, None] if values.ndim == 1 else values
        if self.columns is not None and not (self.target == "index" and self.columns == 1):
            return np.asarray(y, dtype=np.float32)
        index = self._index(np.asarray(y).reshape(len(y)), argument)
        if self.target == "index":
            return index.astype(np.int32)
        if self.target == "binary":
            return index.astype(np.float32)[:, None]
        return np.eye(len(self._labels()), dtype=np.float32)[index]

    def probabilities(self, outputs: Array) -> Array:
        """Shape (rows, classes), each row summing to 1; for several labels at once, each for itself."""
        outputs = np.asarray(outputs, dtype=np.float64)
        if self.target == "binary":
            positive = _sigmoid(outputs) if self.logits else outputs
            positive = positive.reshape(len(outputs))
            return np.stack([1 - positive, positive], axis=1)
        if self.target == "multilabel":
            return _sigmoid(outputs) if self.logits else outputs
        if self.logits:
            outputs = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        total: Array = outputs / outputs.sum(axis=-1, keepdims=True)
        return total

    def decode(self, outputs: Array) -> Array:
        """Predictions in the form of the user's targets."""
        if self.target == "value":
            values = np.asarray(outputs, dtype=np.float64)
            if self.units is not None:
                values = values * self.units.scale + self.units.offset
            return values.reshape(len(values)) if self.columns is None else values
        probabilities = self.probabilities(outputs)
        if self.target == "multilabel":
            return (probabilities > 0.5).astype(int)
        winners = probabilities.argmax(axis=-1)
        if self.target == "one_hot" and self.columns is not None:
            chosen: Array = np.eye(self.columns, dtype=int)[winners]
            return chosen
        labels: Array = self._labels()[winners]
        return labels

    def _labels(self) -> Array:
        if self.classes is None:
            raise InputError("The targets are values, not labels.")
        return self.classes

    def _index(self, labels: Array, argument: str) -> Array:
        known = self._labels()
        index = np.searchsorted(known, labels)
        index = np.minimum(index, len(known) - 1)
        unknown = np.unique(labels[known[index] != labels])
        if len(unknown):
            raise InputError(f"{argument} holds labels that are not known: {unknown[:5]}. Known are {known}.")
        return index


def read_task(
    y: Array,
    output_shape: Shape,
    activation: str,
    loss_name: str | None,
    from_logits: bool = False,
    kind: Literal["classification", "regression"] | None = None,
) -> Task:
    """Find out what is to be learned.

    Parameters
    ----------
    y : ndarray of shape (rows,) or (rows, ...)
    output_shape : tuple
        Of the model, without the batch axis.
    activation : str
        That the model ends with.
    loss_name : str or None
        In snake case; None if the model is not compiled and no loss was given.
    from_logits : bool
        What the loss was told.
    kind : {"classification", "regression"} or None
        What the user said; None to find out.

    Raises
    ------
    InputError
        If targets, outputs and loss do not fit together.
    """
    columns = None if y.ndim == 1 else int(y.shape[1])
    target = _target(y, output_shape, activation, loss_name, kind)
    if target == "value":
        if from_logits and loss_name in _TARGET_OF_LOSS:
            raise InputError(
                f"y holds numbers from 0 to 1 that are no labels, and with from_logits=True in loss={loss_name!r} "
                "predictions would be logits: expected a model that ends with a sigmoid or a softmax."
            )
        return _values(y, output_shape, columns)
    if kind == "regression":
        raise InputError(f"loss={loss_name!r} is made for classes: a regressor needs a loss for values.")
    logits = from_logits or (loss_name not in _TARGET_OF_LOSS and activation not in ("softmax", "sigmoid"))
    n_outputs = output_shape[-1]
    if len(output_shape) != 1 or n_outputs is None:
        raise InputError(
            f"model gives outputs of shape {output_shape}: expected one number for each class. A label for each "
            "position of a row is not supported."
        )
    if target in ("one_hot", "multilabel") and columns is not None:
        if columns != n_outputs:
            raise InputError(f"y has {columns} columns, the model {n_outputs} outputs: expected as many.")
        if y.dtype.kind not in "fiub" or not _holds_zeros_and_ones(y):
            raise InputError(
                "y has several columns of labels that are not 0 and 1. Multioutput target data is not supported: "
                "expected a column of 0 and 1 for each label, or one column."
            )
        return Task(target, np.arange(columns), logits, columns)
    if columns is not None and columns > 1:
        instead = "'categorical_crossentropy' compares a column for each class" if target == "index" else "expected one"
        raise InputError(f"y has {columns} columns, loss={loss_name!r} compares one label a row: {instead}.")
    return Task(target, _classes(y, target, n_outputs), logits, columns)


def _target(y: Array, output_shape: Shape, activation: str, loss_name: str | None, kind: str | None) -> Target:
    many_columns = y.ndim > 1 and y.shape[1] > 1
    target: Target | None = _TARGET_OF_LOSS.get(loss_name or "")
    if kind != "classification" and target != "index" and _holds_shares(y):
        # Brightness for an autoencoder, or probabilities of classes.
        return "value"
    if loss_name is not None:
        if target == "binary" and (many_columns or output_shape[-1] != 1):
            # Outputs that sum to one, or a single label a row, are alternatives.
            target = "multilabel" if many_columns and activation != "softmax" else "one_hot"
        if target is not None:
            return target
        if kind == "classification" and hasattr(keras.losses, loss_name):
            raise InputError(
                f"loss={loss_name!r} compares no labels of the forms that a classifier has: expected a loss of your "
                f"own, or one of {sorted(_TARGET_OF_LOSS)}."
            )
        is_open = kind is None and not hasattr(keras.losses, loss_name)
        if kind != "classification" and not (is_open and _must_be_labels(y, output_shape, activation)):
            return "value"
        kind = "classification"
    looks_like_labels = activation in ("softmax", "sigmoid") or y.dtype.kind in "OUSb"
    if kind == "regression" or (kind is None and not looks_like_labels):
        return "value"
    if many_columns:
        return "multilabel" if activation == "sigmoid" else "one_hot"
    return "binary" if output_shape[-1] == 1 else "index"


def _must_be_labels(y: Array, output_shape: Shape, activation: str) -> bool:
    """Whether targets cannot be values: one label for each row, of a model that gives several probabilities."""
    if len(output_shape) != 1 or output_shape[0] == 1 or activation != "softmax":
        return False
    return y.ndim == 1 or (y.ndim == 2 and y.dtype.kind in "fiub" and _holds_zeros_and_ones(y) and _sums_to_one(y))


def _holds_zeros_and_ones(y: Array) -> bool:
    return bool(((y == 0) | (y == 1)).all())


def _sums_to_one(y: Array) -> bool:
    return bool((y.sum(axis=1) == 1).all())


def _holds_shares(y: Array) -> bool:
    """Whether targets are numbers from 0 to 1 that name no class."""
    return y.dtype.kind == "f" and bool(((y >= 0) & (y <= 1)).all()) and not _holds_zeros_and_ones(y)


def _classes(y: Array, target: Target, n_outputs: int) -> Array:
    labels: Array = np.unique(y)
    if y.dtype.kind == "S":
        raise InputTypeError(f"y holds bytes, such as {labels.tolist()[0]!r}: expected text or numbers.")
    kind = type_of_target(y)
    if kind.startswith("continuous"):
        raise InputError(
            f"y holds values, such as {labels.tolist()[0]!r}, where labels are expected. Unknown label type: {kind}."
        )
    if len(labels) < 2:
        raise InputError(f"y holds a single class, {labels.tolist()[0]!r}: expected at least 2.")
    expected = 2 if target == "binary" else n_outputs
    if len(labels) == expected:
        return labels
    integers = np.issubdtype(labels.dtype, np.integer)
    if target != "binary" and integers and labels[0] >= 0 and labels[-1] < n_outputs:
        return np.arange(n_outputs)
    raise InputError(f"y holds {len(labels)} classes, the model's last layer is made for {expected}.")


def _values(y: Array, output_shape: Shape, columns: int | None) -> Task:
    if y.dtype.kind not in "fiub":
        raise InputError(f"y is of type {y.dtype}: expected numbers.")
    shape = tuple(y.shape[1:]) or (1,)
    if len(shape) != len(output_shape) or any(b not in (a, None) for a, b in zip(shape, output_shape, strict=True)):
        hint = (
            " For labels, give the model a softmax or a loss for labels, or use ECToNASClassifier."
            if y.ndim == 1 and y.dtype.kind in "iub"
            else ""
        )
        raise InputError(f"y holds targets of shape {shape}, the model gives outputs of shape {output_shape}.{hint}")
    return Task("value", columns=columns)


def _sigmoid(values: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * values))


def is_made_for_labels(loss_name: str) -> bool:
    """Whether the loss of this name, in snake case, compares labels."""
    return loss_name in _TARGET_OF_LOSS


def from_logits(loss: Any) -> bool:
    """Whether a loss object was told to expect logits."""
    told = getattr(loss, "_fn_kwargs", None) or {}
    return bool(told.get("from_logits", getattr(loss, "from_logits", False)))

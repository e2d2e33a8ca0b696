"""From an estimator's parameters and data to a search that is ready to run: everything checked, nothing trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import keras
import numpy as np
from sklearn.exceptions import DataConversionWarning

from .bridge import Blueprint, network_of
from .checkpoint import Folder
from .compilation import Compilation
from .data import Rows, TrainingData, checked_array, checked_targets, checked_weights, split
from .errors import InputError
from .network import Array, Network, Shape
from .rules.activations import activation_name
from .scoring import resolve_scoring
from .session import Session, check_choices, n_workers, settings_from
from .settings import CALIBRATED_RECOVERY_EPOCHS, RECOVERY_EPOCHS, SearchSettings
from .start import start_model
from .task import Task, from_logits, read_task

__all__ = ["Ended", "prepared_session", "seed_of"]

Kind = Literal["classification", "regression"]

COLUMN_VECTOR: Final = (
    "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), for "
    "example using ravel()."
)


def prepared_session(
    parameters: Mapping[str, Any],
    kind: Kind | None,
    X: Any,
    y: Any,
    sample_weight: Any,
    validation_data: Any,
    before: Ended | None = None,
) -> Session:
    """A session for the parameters of an estimator and its data.

    Parameters
    ----------
    parameters : mapping of str to object
        Those of `ECToNASTrainer`.
    kind : {"classification", "regression"} or None
        None reads it off the model.
    X, y, sample_weight, validation_data
        As for ``fit``.
    before : Ended or None
        A search that this one continues.

    Raises
    ------
    InputError
        Naming what cannot be used.
    """
    settings = _settings(parameters)
    check_choices(parameters["surgery"], parameters["engine"], parameters["verbose"], parameters["batch_size"])
    for name in ("keep_weights", "resume", "warm_start"):
        if not isinstance(parameters[name], (bool, np.bool_)):
            raise InputError(f"{name}={parameters[name]!r}: expected True or False.")
    callbacks = _checked_callbacks(parameters["callbacks"])
    rows = _checked_rows(parameters["model"], kind, X, y, sample_weight)
    x, labels, weights = rows
    checkpoint, kept = _checkpoint(parameters, before)
    seed = _seed(parameters["random_state"], kept)
    model, compilation = start_model(parameters["model"], x, labels, kind, seed, parameters["keep_weights"])
    start = network_of(model, nonnegative_input=bool(x.min() >= 0))
    task, compilation = _task_and_compilation(parameters, kind, compilation, model, start, labels)
    train, validation = _parts(Rows(x, task.encode(labels), labels, weights), parameters, task, validation_data, seed)
    if validation.weights is not None and not validation.weights.any():
        raise InputError("sample_weight is zero for every row that is validated on: expected some weight there.")
    if task.is_classification and len(np.unique(train.labels)) < 2:
        raise InputError("y holds a single class among the training rows: expected at least 2.")
    session = Session(
        start,
        Blueprint.of(model, compilation),
        TrainingData(train, validation, int(parameters["batch_size"])),
        task,
        resolve_scoring(parameters["scoring"], compilation, task, weighted=validation.weights is not None),
        settings,
        parameters["surgery"],
        parameters["engine"],
        callbacks,
        seed,
        parameters["verbose"],
        n_workers(parameters["n_jobs"]),
        checkpoint=checkpoint,
        before=None if before is None else before.state,
    )
    if before is not None:
        _check_same(before.identity, session.identity())
    return session


class Ended(NamedTuple):
    """A search that has ended and may be continued: which one it was, and the state it was in."""

    identity: Mapping[str, str]
    state: Mapping[str, Any]


def _checkpoint(parameters: Mapping[str, Any], before: Ended | None) -> tuple[Folder | None, Mapping[str, str]]:
    """The folder, and which search is to be continued, if any."""
    if parameters["checkpoint"] is None:
        if parameters["resume"]:
            raise InputError("resume=True without a checkpoint: expected the folder that the search is kept in.")
        return None, before.identity if before is not None else {}
    folder = Folder(parameters["checkpoint"], bool(parameters["resume"]) or before is not None)
    return folder, before.identity if before is not None else folder.identity()


def _seed(random_state: Any, kept: Mapping[str, str]) -> int:
    """A new seed; that of the search which is continued, unless a number is given."""
    seed = seed_of(random_state)
    return int(kept["random_state"]) if kept and not isinstance(random_state, (int, np.integer)) else seed


def _check_same(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        raise InputError(
            f"warm_start=True continues the search before, which had other values of: {', '.join(differing)}. Only "
            "budget, max_time, engine, n_jobs and verbose may change; warm_start=False begins a new search."
        )


def seed_of(random_state: Any) -> int:
    """A seed for the search; with None a fresh one that leaves NumPy's global generator alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise InputError(f"random_state={random_state!r}: expected a whole number of at least 0, a generator or None.")


def _checked_callbacks(callbacks: Any) -> tuple[Any, ...]:
    if callbacks is None:
        return ()
    if not isinstance(callbacks, (list, tuple)):
        raise InputError(f"callbacks={callbacks!r}: expected a list of keras.callbacks.Callback, or None.")
    for number, callback in enumerate(callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(
                f"callbacks[{number}] of type {type(callback).__name__}: expected a keras.callbacks.Callback, made and "
                "not its class."
            )
    return tuple(callbacks)


def _settings(parameters: Mapping[str, Any]) -> SearchSettings:
    calibrated = parameters["surgery"] == "calibrated"
    chosen = dict(parameters)
    if chosen["unit_step"] is None:
        chosen["unit_step"] = 0.25 if calibrated else 0.1
    if chosen["recovery_epochs"] is None:
        chosen["recovery_epochs"] = dict(CALIBRATED_RECOVERY_EPOCHS if calibrated else RECOVERY_EPOCHS)
    return settings_from(chosen)


def _checked_rows(
    model: Any, kind: Kind | None, X: Any, y: Any, sample_weight: Any
) -> tuple[Array, Array, Array | None]:
    """Samples, labels and weights as arrays; rows of zero weight are left out."""
    x = checked_array("X", X, input_dtype(model))
    if len(x) < 2:
        raise InputError(f"X has {len(x)} sample: expected at least 2, to train on one and score on another.")
    labels = checked_targets("y", y, len(x))
    if kind is not None and np.asarray(y).ndim > labels.ndim:
        warnings.warn(COLUMN_VECTOR, DataConversionWarning, stacklevel=6)
    weights = checked_weights("sample_weight", sample_weight, len(x))
    if weights is not None and not weights.any():
        raise InputError("sample_weight is zero for every row: expected some weight.")
    if weights is not None and not weights.all():
        return x[weights > 0], labels[weights > 0], weights[weights > 0]
    return x, labels, weights


def _task_and_compilation(
    parameters: Mapping[str, Any],
    kind: Kind | None,
    compiled: Compilation | None,
    model: keras.Sequential,
    start: Network,
    labels: Array,
) -> tuple[Task, Compilation]:
    base = compiled or Compilation(keras.optimizers.serialize(keras.optimizers.Adam()), None)
    base = base.changed(parameters["optimizer"], parameters["loss"], parameters["metrics"])
    loss_name = None if base.loss is None else base.loss_name
    shape: Shape = tuple(model.output_shape[1:])
    task = read_task(labels, shape, _last_activation(start), loss_name, from_logits(base.loss), kind)
    if base.loss is None:
        base = base.changed(loss=_default_loss(task))
    if parameters["metrics"] is None and compiled is None and task.is_classification:
        base = base.changed(metrics=["accuracy"])
    return task, base


def _parts(rows: Rows, parameters: Mapping[str, Any], task: Task, validation_data: Any, seed: int) -> tuple[Rows, Rows]:
    if validation_data is None:
        return split(rows, parameters["validation_fraction"], task, seed)
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise InputError(
            f"validation_data of type {type(validation_data).__name__}: expected a tuple (X, y) or "
            "(X, y, sample_weight)."
        )
    x = checked_array("validation_data, X", validation_data[0], str(rows.x.dtype))
    labels = checked_targets("validation_data, y", validation_data[1], len(x))
    given = validation_data[2] if len(validation_data) == 3 else None
    weights = checked_weights("validation_data, sample_weight", given, len(x))
    if x.shape[1:] != rows.x.shape[1:]:
        raise InputError(f"validation_data has rows of shape {x.shape[1:]}, X has {rows.x.shape[1:]}.")
    return rows, Rows(x, task.encode(labels), labels, weights)


def input_dtype(model: Any) -> str:
    """The number type that a model wants its samples in."""
    if isinstance(model, keras.Sequential) and model.built and model.inputs:
        return str(model.inputs[0].dtype)
    return "float32"


def _last_activation(network: Network) -> str:
    return activation_name(network.layers[-1]) if network.layers else "linear"


def _default_loss(task: Task) -> Any:
    if not task.logits:
        return task.default_loss
    losses = {
        "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
        "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
        "binary_crossentropy": keras.losses.BinaryCrossentropy,
    }
    return losses[task.default_loss](from_logits=True)

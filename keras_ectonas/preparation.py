"""From an estimator's parameters and data to a search that is ready to run: everything checked, nothing trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import keras
import numpy as np

from .bridge import Blueprint, network_of
from .checkpoint import Folder
from .compilation import Compilation, fits_the_labels
from .errors import InputError
from .few_steps import learning_rate, with_prompt_statistics
from .inputs.incoming import Kind, incoming
from .inputs.task import Task, Units, from_logits, read_task
from .network import Array, Layer, Network, Shape
from .rules.activations import activation_name
from .scoring import resolve_scoring
from .second_start import second_start
from .session import Session, check_choices, n_workers, settings_from
from .settings import CALIBRATED_RECOVERY_EPOCHS, RECOVERY_EPOCHS, SearchSettings
from .start import start_model

__all__ = ["Ended", "prepared_session", "seed_of"]

_SMALLEST_SPREAD: Final = 1e-3
_LARGEST_SPREAD: Final = 1e8
_SMALLEST_SQUARED: Final = 1e-18


def prepared_session(
    parameters: Mapping[str, Any],
    kind: Kind | None,
    X: Any,
    y: Any,
    sample_weight: Any,
    validation_data: Any,
    steps_per_epoch: Any = None,
    validation_steps: Any = None,
    before: Ended | None = None,
) -> Session:
    """A session for the parameters of an estimator and its data.

    Parameters
    ----------
    parameters : mapping of str to object
        Those of `ECToNASTrainer`.
    kind : {"classification", "regression"} or None
        None reads it off the model.
    X, y, sample_weight, validation_data, steps_per_epoch, validation_steps
        As for ``fit``.
    before : Ended or None
        A search that this one continues.

    Raises
    ------
    InputError
        Naming what cannot be used.
    """
    began = time.monotonic()
    settings = _settings(parameters)
    check_choices(parameters["surgery"], parameters["engine"], parameters["verbose"], parameters["batch_size"])
    for name in ("keep_weights", "multi_start", "resume", "warm_start"):
        if not isinstance(parameters[name], (bool, np.bool_)):
            raise InputError(f"{name}={parameters[name]!r}: expected True or False.")
    callbacks = _checked_callbacks(parameters["callbacks"])
    rows = incoming(parameters, kind, X, y, sample_weight, validation_data, steps_per_epoch, validation_steps)
    labels = rows.labels if kind == "regression" else rows.labels_to_judge
    checkpoint, kept = _checkpoint(parameters, before)
    seed = _seed(parameters["random_state"], kept)
    size_counts = settings.greediness < 1
    model, given = start_model(parameters["model"], rows.x, labels, kind, seed, parameters["keep_weights"], size_counts)
    start = network_of(model, nonnegative_input=rows.is_nonnegative)
    # Nobody may have chosen an optimizer; that depends on the data, and those on the task.
    task, compilation = _task_and_compilation(parameters, kind, given, model, start, labels)
    ending = None
    if _is_learned_in_units(parameters, task):
        task, start, ending = _in_units(task, start)
    data = rows.training_data(task, parameters["validation_fraction"], parameters["class_weight"], seed)
    if given is None and parameters["optimizer"] is None:
        compilation = compilation.changed(optimizer=keras.optimizers.Adam(learning_rate(data.steps_per_epoch)))
    scoring = resolve_scoring(parameters["scoring"], compilation, task, weighted=data.validation.weights is not None)
    scoring.check(task, data.validation.labels, data.validation.weights)
    other = None
    if _may_have_another_start(parameters) and (scoring.objective.is_accuracy or not start.is_penalised):
        other = second_start(model, start, rows.x, seed, size_counts, settings.max_params)
    if not parameters["keep_weights"]:
        start = with_prompt_statistics(start, data.steps_per_epoch)
    session = Session(
        start,
        Blueprint.of(model, compilation),
        data,
        task,
        scoring,
        settings,
        parameters["surgery"],
        parameters["engine"],
        callbacks,
        seed,
        parameters["verbose"],
        n_workers(parameters["n_jobs"]),
        second_start=None if other is None else with_prompt_statistics(other, data.steps_per_epoch),
        checkpoint=checkpoint,
        before=None if before is None else before.state,
        ending=ending,
    )
    if before is not None:
        _check_same(before.identity, session.identity())
    session.seconds_to_prepare = time.monotonic() - began
    return session


def _may_have_another_start(parameters: Mapping[str, Any]) -> bool:
    return parameters["multi_start"] and parameters["model"] is not None and not parameters["keep_weights"]


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
            "budget, max_time, engine, n_jobs, verbose and callbacks may change; warm_start=False begins a new search."
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
    return tuple(callbacks)


def _settings(parameters: Mapping[str, Any]) -> SearchSettings:
    calibrated = parameters["surgery"] == "calibrated"
    chosen = dict(parameters)
    if chosen["unit_step"] is None:
        chosen["unit_step"] = 0.25 if calibrated else 0.1
    if chosen["recovery_epochs"] is None:
        chosen["recovery_epochs"] = dict(CALIBRATED_RECOVERY_EPOCHS if calibrated else RECOVERY_EPOCHS)
    return settings_from(chosen)


def _task_and_compilation(
    parameters: Mapping[str, Any],
    kind: Kind | None,
    compiled: Compilation | None,
    model: keras.Sequential,
    start: Network,
    labels: Array,
) -> tuple[Task, Compilation]:
    base = compiled or Compilation({}, None)
    base = base.changed(parameters["optimizer"], parameters["loss"], parameters["metrics"])
    if fits_the_labels(base.loss):
        # Keras finds out which one fits when it sees targets and outputs.
        base, kind = replace(base, loss=None), kind or "classification"
    loss_name = None if base.loss is None else base.loss_name
    shape: Shape = tuple(model.output_shape[1:])
    task = read_task(labels, shape, _last_activation(start), loss_name, from_logits(base.loss), kind)
    if base.loss is None:
        base = base.changed(loss=_default_loss(task))
        if parameters["model"] is None and not task.is_classification and not _is_learned_in_units(parameters, task):
            base = replace(base, options={**base.options, **_loss_weights(labels)})
    if parameters["metrics"] is None and compiled is None and task.is_classification:
        base = base.changed(metrics=[_default_metric(task)])
    return task, base


def _default_metric(task: Task) -> Any:
    """An accuracy that takes for right what predictions do; Keras' choice compares the largest of several labels."""
    if task.target == "multilabel" or (task.target == "binary" and task.logits):
        return keras.metrics.BinaryAccuracy(threshold=0.0 if task.logits else 0.5)
    return "accuracy"


def _is_learned_in_units(parameters: Mapping[str, Any], task: Task) -> bool:
    """Whether several values, for a model and a loss that nobody chose, count alike whatever their spreads."""
    return parameters["model"] is None and parameters["loss"] is None and task.target == "value" and bool(task.columns)


def _in_units(task: Task, start: Network) -> tuple[Task, Network, Layer]:
    """The task in units of the values' spreads, and a start from nothing less its last layer, which knows them."""
    *inner, ending = start.layers
    units = Units(*(np.asarray(ending.config[name], dtype=np.float64) for name in ("scale", "offset")))
    return replace(task, units=units), start.with_layers(inner), ending


def _loss_weights(values: Array) -> dict[str, list[float]]:
    """What brings the squared errors of values that are far from 1 to where Adam can work with them.

    Raises
    ------
    InputError
        If single precision cannot hold such squares.
    """
    spread = float(np.std(values, dtype=np.float64)) or 1.0
    if not _SMALLEST_SQUARED <= spread <= 1 / _SMALLEST_SQUARED:
        raise InputError(
            f"y has a standard deviation of {spread:.3g}, whose square single precision cannot hold: expected values "
            "in other units, as sklearn.compose.TransformedTargetRegressor would give."
        )
    return {} if _SMALLEST_SPREAD <= spread <= _LARGEST_SPREAD else {"loss_weights": [spread**-2]}


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

"""How a candidate is scored on the validation rows: by a metric that Keras reports, or by a scikit-learn scorer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names, log_loss, make_scorer

from .compilation import Compilation
from .errors import InputError
from .fitness import Objective
from .network import Array
from .task import Task

__all__ = ["Scoring", "resolve_scoring"]

_ACCURACIES = frozenset({"accuracy", "acc", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"})

_ACCURACY = Objective("accuracy", is_accuracy=True)


@dataclass(frozen=True)
class Scoring:
    """The objective and where its score comes from.

    Parameters
    ----------
    objective : Objective
    log_name : str or None
        The metric among what Keras reports, without ``val_``.
    scorer : callable or None
        Otherwise: a scikit-learn scorer ``(estimator, X, y)``.
    weighted : bool
        Whether the scorer receives the sample weights.
    """

    objective: Objective
    log_name: str | None = None
    scorer: Callable[..., Any] | None = None
    weighted: bool = False

    def in_words(self) -> str:
        """The same text for what scores alike, in this process or another."""
        return repr(replace(self, scorer=None, log_name="" if self.log_name is None else self.objective.name))

    def score(
        self,
        logs: Mapping[str, float],
        outputs: Callable[[], Array],
        task: Task,
        y: Array,
        weights: Array | None = None,
    ) -> float:
        """The score of a candidate.

        Parameters
        ----------
        logs : mapping of str to float
            What Keras reported for the validation rows, with the prefix ``val_``.
        outputs : callable
            Gives the model's outputs for the validation rows; called only if needed.
        task : Task
        y : ndarray
            The validation targets, as the user gave them.
        weights : ndarray or None
            Sample weights of the validation rows.
        """
        if self.log_name is not None:
            return float(logs[f"val_{self.log_name}"])
        if self.scorer is None:
            raise InputError("a scoring needs the name of a metric or a scorer")
        shown = _Predicted(task, outputs())
        options = {"sample_weight": weights} if self.weighted else {}
        return float(self.scorer(shown, np.arange(len(y))[:, None], y, **options))


def resolve_scoring(scoring: Any, compilation: Compilation, task: Task, weighted: bool = False) -> Scoring:
    """Find out what ``scoring`` means.

    Parameters
    ----------
    scoring : str, callable or None
        A metric that the model is compiled with, ``"loss"``, the name of a scikit-learn scorer, or a scorer.
        None: accuracy for labels, the loss for values, weighted where the samples are.
    compilation : Compilation
    task : Task
    weighted : bool
        Whether the samples have weights. A scoring that is asked for by name is used as Keras or scikit-learn
        define it.

    Raises
    ------
    InputError
        If it means nothing, or if it is not known whether more of it is better.
    """
    metrics = {_log_name(metric): metric for metric in compilation.metrics}
    for metric in compilation.weighted_metrics:
        name = _log_name(metric)
        metrics[f"weighted_{name}" if name in metrics else name] = metric
    if scoring is None:
        return _default_scoring(metrics, task, weighted)
    if callable(scoring):
        # The same in every process: without where something lies in memory.
        name = getattr(scoring, "__name__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(scoring))
        return Scoring(Objective(name), scorer=scoring)
    if not isinstance(scoring, str):
        raise InputError(f"scoring={scoring!r}: expected a name or a scorer.")
    name = scoring.removeprefix("val_")
    if name == "loss":
        return Scoring(Objective("loss", higher_is_better=False, relative=True), log_name="loss")
    if (log_name := _reported_as(name, metrics)) is not None:
        higher = _higher_is_better(name, metrics[log_name])
        objective = Objective(
            name, higher, relative=not higher, is_accuracy=name.removeprefix("weighted_") in _ACCURACIES
        )
        return Scoring(objective, log_name=log_name)
    try:
        scorer = get_scorer(scoring)
    except ValueError as error:
        raise InputError(
            f"scoring={scoring!r}: expected 'loss', a metric of the compiled model ({sorted(metrics)}) "
            f"or a scikit-learn scorer such as {get_scorer_names()[:3]}."
        ) from error
    if scoring == "neg_log_loss" and task.classes is not None and task.columns is None:
        # The rows to score on may lack a class.
        options: dict[str, Any] = {"response_method": "predict_proba", "labels": task.classes}
        scorer = make_scorer(log_loss, greater_is_better=False, **options)
    objective = Objective(scoring, relative=scoring.startswith("neg_"), is_accuracy=scoring in _ACCURACIES)
    return Scoring(objective, scorer=scorer)


def _default_scoring(metrics: Mapping[str, Any], task: Task, weighted: bool) -> Scoring:
    if not task.is_classification:
        return Scoring(Objective("loss", higher_is_better=False, relative=True), log_name="loss")
    if weighted:
        # Keras leaves the weights out of its plain metrics.
        return Scoring(_ACCURACY, scorer=get_scorer("accuracy"), weighted=True)
    for name in metrics:
        if name in _ACCURACIES:
            return Scoring(Objective(name, is_accuracy=True), log_name=name)
    return Scoring(_ACCURACY, scorer=get_scorer("accuracy"))


def _reported_as(name: str, metrics: Mapping[str, Any]) -> str | None:
    """The metric called `name`; else the only one of that name with the number that Keras gave it, or written out."""
    if name in metrics:
        return name
    alike = [found for found in metrics if re.fullmatch(rf"{re.escape(name)}_\d+", found)]
    alike = alike or [found for found, metric in metrics.items() if _written_out(metric) == name]
    return alike[0] if len(alike) == 1 else None


def _written_out(metric: Any) -> str:
    """The name that a metric has by itself, where it was asked for by another, such as ``"mae"``."""
    found = keras.metrics.get(metric) if isinstance(metric, str) and metric not in _ACCURACIES else None
    return str(getattr(found, "name", ""))


def _log_name(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", repr(metric)))


def _higher_is_better(name: str, metric: Any) -> bool:
    if isinstance(metric, str):
        metric = keras.metrics.Accuracy() if metric in _ACCURACIES else keras.metrics.get(metric)
    direction = getattr(metric, "_direction", None)
    if direction in ("up", "down"):
        return bool(direction == "up")
    words = name.lower()
    if any(word in words for word in ("error", "loss", "mse", "mae", "crossentropy", "divergence")):
        return False
    if any(word in words for word in ("accuracy", "precision", "recall", "auc", "r2", "f1", "iou", "score")):
        return True
    raise InputError(
        f"scoring={name!r}: it is not known whether more of this metric is better. "
        "Give a scorer made with sklearn.metrics.make_scorer."
    )


class _Predicted(ClassifierMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted estimator as scorers want to see one, whose answers are there already.

    Its ``X`` are the numbers of the rows.
    """

    def __init__(self, task: Task, outputs: Array) -> None:
        self.task = task
        self.outputs = outputs
        if task.is_classification:
            self.classes_ = task.classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier" if self.task.is_classification else "regressor"
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, rows: Array) -> Array:
        return self.task.decode(self.outputs[np.asarray(rows)[:, 0]])

    def predict_proba(self, rows: Array) -> Array:
        return self.task.probabilities(self.outputs[np.asarray(rows)[:, 0]])

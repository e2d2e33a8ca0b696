"""How a candidate is scored on the validation rows: by a metric that Keras reports, or by a scikit-learn scorer."""

from __future__ import annotations

import re
import warnings
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
from .inputs.task import Task
from .network import Array

__all__ = ["Scoring", "resolve_scoring"]

_ACCURACIES = frozenset({"accuracy", "acc", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"})

_SCORER = type(make_scorer(log_loss))

_RESOLVED_BY_KERAS = ("accuracy", "acc")
"""Names that stand for one of the others, which Keras finds by the shapes of targets and outputs."""

_ACCURACY = Objective("accuracy", is_accuracy=True)
_ACCURACY_OF_LABELS = Objective("binary_accuracy", is_accuracy=True)


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

    def check(self, task: Task, y: Array, weights: Array | None = None) -> None:
        """Try a scorer of scikit-learn's, before any training, on predictions that are mostly right.

        Others may keep a record of what they are shown.

        Raises
        ------
        InputError
            If it cannot score these rows, or gives no number for them.
        """
        if not isinstance(self.scorer, _SCORER):
            return
        outputs = _mostly_right(task, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                score = self.score({}, lambda: outputs, task, y, weights)
            except Exception as error:  # Whatever a measure of the user's own may raise.
                raise InputError(
                    f"scoring={self.objective.name!r} cannot score the {len(y)} rows that candidates are scored on: "
                    f"{str(error) or type(error).__name__}"
                ) from error
        if np.isnan(score):
            raise InputError(
                f"scoring={self.objective.name!r} gives NaN for the {len(y)} rows that candidates are scored on: they "
                "may hold too few rows of a class, or too few in all."
            )


def _mostly_right(task: Task, y: Array) -> Array:
    """Outputs such as a model might give for targets `y`, from a generator of their own."""
    rng = np.random.default_rng(0)
    if task.target == "value":
        return task.encode(y * rng.uniform(0.5, 1.5, y.shape))
    targets = np.asarray(task.encode(y), dtype=np.float64)
    if task.target == "index" and task.classes is not None:
        targets = np.eye(len(task.classes))[targets.astype(int).reshape(len(y))]
    # One answer in ten is of another row.
    noise = rng.uniform(0.2, 0.4, targets.shape)
    likely = 0.5 * np.where(rng.random((len(y), 1)) < 0.1, targets[rng.permutation(len(y))], targets) + noise
    if task.logits:
        return np.log(likely / (1 - likely))
    return likely if task.target in ("binary", "multilabel") else likely / likely.sum(axis=1, keepdims=True)


def resolve_scoring(scoring: Any, compilation: Compilation, task: Task, weighted: bool = False) -> Scoring:
    """Find out what ``scoring`` means.

    Parameters
    ----------
    scoring : str, callable or None
        A metric that the model is compiled with, ``"loss"``, the name of a scikit-learn scorer, or a scorer.
        None: accuracy for labels, the share of right ones for several labels at once, the loss for values; weighted
        where the samples are.
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
    log_name = _reported_as(name, metrics)
    if log_name in _RESOLVED_BY_KERAS and task.is_classification and not _agrees(metrics[log_name], task):
        log_name, scoring = None, "accuracy"
    if log_name is not None:
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
    alike = [name for name, metric in metrics.items() if name in _ACCURACIES and _agrees(metric, task)]
    # Keras leaves the weights out of its plain metrics.
    if alike and not weighted:
        return Scoring(Objective(alike[0], is_accuracy=True), log_name=alike[0])
    if task.target == "multilabel":
        return Scoring(_ACCURACY_OF_LABELS, scorer=_share_of_right_labels, weighted=weighted)
    return Scoring(_ACCURACY, scorer=get_scorer("accuracy"), weighted=weighted)


def _agrees(metric: Any, task: Task) -> bool:
    """Whether an accuracy of Keras' takes for right what `Task.decode` does.

    Keras compares the largest of several independent outputs, and does not know of logits.
    """
    is_binary = metric == "binary_accuracy" or isinstance(metric, keras.metrics.BinaryAccuracy)
    if task.target not in ("binary", "multilabel"):
        return not is_binary
    if task.logits:
        return isinstance(metric, keras.metrics.BinaryAccuracy) and metric.get_config()["threshold"] == 0
    return is_binary or task.target == "binary"


def _share_of_right_labels(estimator: Any, x: Array, y: Array, sample_weight: Array | None = None) -> float:
    is_right = estimator.predict(x) == y
    return float(np.average(is_right.mean(axis=1), weights=sample_weight))


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

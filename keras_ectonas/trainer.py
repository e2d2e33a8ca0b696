"""The estimators: a search behind ``fit``, ``predict`` and ``score``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from .compilation import Compilation, check_loadable, fits_the_labels
from .engines.fit import outputs_of
from .errors import InputError
from .estimator_callbacks import CallbackSupport, FitTask, with_callbacks
from .fitted import FittedSearch
from .inputs.data import checked_array, checked_targets
from .inputs.sources import is_stream, joined
from .inputs.streams import in_parts
from .inputs.task import Task, is_made_for_labels
from .interrupts import carried_out
from .network import Array
from .preparation import Ended, prepared_session
from .search import Search
from .session import Session

__all__ = ["ECToNASClassifier", "ECToNASRegressor", "ECToNASTrainer"]


def _learns_labels(estimator: ECToNASTrainer) -> bool:
    """Whether there are probabilities; before ``fit``, whether there may be."""
    if not hasattr(estimator, "task_"):
        if estimator._kind is not None:
            return estimator._kind == "classification"
        return _has_loss_for_labels(estimator) is not False
    if not estimator.task_.is_classification:
        raise AttributeError("predict_proba: the model was trained on values, not on labels.")
    return True


def _has_loss_for_labels(estimator: ECToNASTrainer) -> bool | None:
    """What the chosen loss says of the task; None if none is chosen, or none that can be told."""
    is_model = isinstance(estimator.model, keras.Model)
    compiled = (Compilation.of(estimator.model) if is_model else None) or Compilation({}, None)
    compiled = compiled.changed(loss=estimator.loss)
    if compiled.loss is None:
        return None
    if fits_the_labels(compiled.loss):
        return True
    try:
        return is_made_for_labels(compiled.loss_name)
    except InputError:  # ``fit`` says what is wrong with it.
        return None


def _check_same_columns(X: Any, held_out: Any) -> None:
    """Refuse rows to score on whose columns have other names, or another order, than those to train on."""
    if hasattr(X, "columns") and hasattr(held_out, "columns"):
        columns = BaseEstimator()
        validate_data(columns, X, skip_check_array=True)
        try:
            validate_data(columns, held_out, reset=False, skip_check_array=True)
        except ValueError as error:
            raise InputError(f"validation_data, X: {' '.join(str(error).split())}") from error


def _able_to_predict(session: Session, search: Search) -> dict[str, Any]:
    """The fitted attributes that predictions need."""
    classes = {"classes_": session.task.classes} if session.task.is_classification else {}
    return {"task_": session.task_of_models, "model_": session.model(search), **classes}


class ECToNASTrainer(FittedSearch, CallbackSupport, BaseEstimator):  # type: ignore[misc]
    """Train a Keras model while searching for a better architecture.

    The model is trained, and while it trains small changes to its architecture are tried: wider, narrower, deeper,
    shallower, with or without convolutional cells. Changed models inherit the trained weights and compete; the
    winner is a plain trained Keras model.

    Parameters
    ----------
    model : keras.Sequential or callable or None
        Where to start: a model, or a function ``(X, y)`` that gives one. It is copied, never changed. If it is
        compiled, its optimizer, loss and metrics hold. None: a small one made for the data, for
        `ECToNASClassifier` and `ECToNASRegressor`.
    keep_weights : bool
        Whether a model's present weights are the start. False draws new ones from its initializers, so that no fold
        of a cross-validation begins with what was learned from its test rows; layers that are not trainable, and
        those without trainable weights, keep theirs. A function's model always keeps its weights.
    multi_start : bool
        Whether the start that would be made for the data without a model, two thirds as wide at most, with the output
        layer of `model` and all that stands behind it, is trained as long as `model` before the first changes; the
        better one goes on, or this one if `model` cannot be trained; in greedy mode, where luck could have set the two
        apart, the one with the smaller loss if the score is an accuracy, else `model`. Not with `keep_weights`, where
        less than three epochs or less than as much again would be left, for models with layers that are not understood,
        with causal convolutions or with the same layers but for their widths, rows of several shapes, other than single
        precision, tables whose columns are scaled, or where penalties in the loss would decide.
    budget : float
        Epochs over all candidates together; never overspent.
    greediness : float
        Alpha of equation (2) in the paper: 1 looks for the best score, smaller values trade it for size.
    n_parents : int
        Candidates that survive a generation.
    max_params : int or None
        The most parameters a model may have. Changes that would exceed it are not proposed; a start above it loses
        units and channels after the warm-up.
    max_time : float or None
        Seconds, from the beginning of ``fit``, after which the search ends with the best so far.
    surgery : {"calibrated", "paper"}
        How the weights of changed models are chosen: so that the next layer still receives what it received
        before on some training rows, after units that give zero on all of them have been drawn anew, or by the rules of
        the paper.
    selection : {"fitness", "random"}
        ``"random"`` lets chance decide matches, as the paper does for comparison.
    optimizer, loss, metrics
        As for ``keras.Model.compile``; None takes what the model was compiled with, else what fits the task, and Adam,
        whose learning rate is 0.001 or, with fewer than 500 steps in an epoch, half of one over their number, at most
        0.01. Without a model, values of a standard deviation below 1e-3 or above 1e8 are learned with ``loss_weights``
        of one over their variance, and the loss is in units of that; several values a row are learned each in units of
        its own standard deviation, which the loss and the metrics are in, and ``model_`` ends with their scale.
    scoring : str, callable or None
        What decides on validation rows: a metric of the compiled model, ``"loss"``, or a scikit-learn scorer. None:
        accuracy for labels, the loss for values; for several labels at once the share of them that are right, where
        `score` counts rows of which all are.
    class_weight : mapping of label to float, "balanced" or None
        How much rows of each class count, in training and in scoring, on top of their own weights. ``"balanced"``
        gives all classes the same weight in total.
    batch_size : int
        Rows in a training step.
    validation_fraction : float
        Share of the rows that are held out for scoring, if ``fit`` receives no ``validation_data``.
    engine : {"auto", "fit", "compiled"}
        ``"fit"`` trains with ``keras.Model.fit``, on any backend. ``"compiled"``, for Keras on JAX, trains an epoch in
        one compiled call, many times faster for small networks on a CPU; what it does not support it leaves to
        ``fit``, with a reason in the log. ``"auto"`` is ``"compiled"`` on JAX.
    n_jobs : int or None
        Candidates trained side by side, as joblib counts them: None is 1, -1 one for each core. It changes no result.
    callbacks : list of keras.callbacks.Callback and SearchCallback, or None
        Keras' are copied for each training of a candidate, see epochs counted along its lineage, and find its number in
        ``params["candidate"]``; files that Keras' own write bear it in their name. One that stops the training ends a
        candidate's part of a match, the warm-up, or the final training. Those of the search are used as they are.
    checkpoint : str, path or None
        A folder that the search is kept in, so that it can go on after whatever ends it: its state is written after
        each part of the warm-up, each round of matches and each part of the final training. One search has one folder;
        a folder that holds a search is refused unless `resume` is set.
    resume : bool
        Whether the search in the folder is continued, if there is one. It ends as if it had never stopped; a larger
        `budget`, or more time, lets a search go on that had ended.
    warm_start : bool
        Whether another ``fit`` continues the search before, with the present budget on top. Only ``budget``,
        ``max_time``, ``engine``, ``n_jobs``, ``verbose`` and ``callbacks`` may have changed. It must have been set for
        that search, too: others do not keep what is needed to go on.
    random_state : int, RandomState or None
        The same seed gives the same search and the same weights.
    verbose : {0, 1, 2}
        0 says nothing, 1 keeps one line up to date, 2 adds a line for each match.
    warmup_epochs : float or None
        Training of the start model before the first changes. None: a tenth of the budget, at most 10, and then on as
        long as the loss on the validation rows falls by a hundredth with each epoch, up to half of what is not kept for
        the end; in greedy mode up to four fifths where the rest has no room for a generation. It also ends where a
        callback stops the training.
    epochs_per_match : float or None
        None: a 120th of the budget, between 0.5 and 5, and 30 steps at least.
    max_rounds : int
        Rounds of a competition at most.
    rolling_epochs : int
        A score is the mean over so many last epochs of a match.
    recovery_epochs : mapping of str to float or None
        Training of a child before its first match, by name of the mutation. None: a tenth of an epoch,
        a quarter for changes that are not exact, and with ``surgery="paper"`` a whole one for removals.
    max_children : int, "auto" or None
        Changes tried in a generation at most; None: one at every place where one is possible.
    max_growth : float or None
        A change may multiply the parameters by this at most.
    unit_step, min_unit_step, channel_step
        How much wider or narrower: a share of a dense layer's units, the least number of units, the number of
        channels. ``unit_step=None`` is a quarter, and a tenth with ``surgery="paper"``.
    joint_step : float
        Share of their widths by which all hidden dense layers, or all convolutions, become wider at once; the share
        that undoes it when they become narrower. 0: only ever one layer.
    cell_pooling : tuple of {"average", "max", "none"}
        The pooling that new convolutional cells may have.
    spatial_axes : {1, 2, 3} or None
        Axes of a convolution for models that have none yet. None: samples of two axes are images.
    final_selection : {"archive", "parents"}
        Whether the winner is the best survivor of any generation or of the last one.
    final_share : float
        Share of the budget that is kept for training the best candidate at the end, with a learning rate that falls
        to zero; an optimizer with a schedule of its own keeps that. Where it is far more than the best needed to reach
        its smallest loss, shorter trainings come before the long one, and the best counts. Nothing is kept with
        ``final_selection="parents"``.
    final_dropout : float
        Rate of dropout before the first dense layer that reads 32 features or more which layers with kernels have made,
        in the long one of these trainings. A shorter one, with a quarter of the rest if none is called for, shows
        whether the loss on the rows to train on falls far below that on the validation rows; only then is it added.
        Never where the network drops features on the way there already. 0: never.
    match_rate : float
        Share of the learning rate that is left at the end of a match: a score is less a matter of luck after small
        steps.
    tolerance : float
        Scores that differ by no more than this over the square root of the number of validation rows may differ by
        luck. Where an accuracy alone counts, and no layer adds a penalty to the loss, the loss on these rows then
        decides. In greedy mode half of that is taken off the score of a child smaller than its parent. The final
        training may end that much below the score of the network that it began with, if the loss does not decide
        otherwise. An accuracy's standard error is at most 0.5.
    max_drop : float or None
        A candidate that scores worse by more than this than the best one that the search has seen is never preferred
        for its size: a share for an accuracy, in relation to the best for a loss or an error. None: equation (2) alone.
    calibration_rows : int
        Training rows, at most, that calibrated surgery looks at.

    Attributes
    ----------
    model_ : keras.Sequential
        The winner, trained and compiled.
    lineage_ : list of LineageEntry
        The changes from the start to the winner; prints a line for each, and has ``to_pandas`` and ``to_polars``.
    candidates_ : dict of str to list
        Every candidate ever trained, as columns; prints as a table, and has ``to_pandas`` and ``to_polars``.
    pareto_front_ : dict of str to list
        The networks than which no other was both smaller and better, as columns; at most 32. `select` gives their
        models.
    records_ : dict of str to list
        Every look at every candidate, as columns: epoch and score.
    refusals_ : list of Refusal
        Changes that were not tried, and why.
    history_ : dict of str to list
        What Keras reported along the winner's lineage.
    n_epochs_ : float
        Epochs spent.
    best_score_ : float
        The winner's score on the validation rows: a mean over up to `rolling_epochs` epochs, from which that of
        ``model_`` as it is may differ a little.
    objective_ : Objective
        The name of the score, and whether more of it is better.
    seconds_ : float
        That the search took.
    ended_by_ : {"budget", "max_time", "interrupted", "callback"}
    classes_ : ndarray
        For labels: in the order of the columns of ``predict_proba``.
    n_features_in_ : int
        Size of the first axis of a sample.
    feature_names_in_ : ndarray of str
        The columns of a frame, if they all have names.

    References
    ----------
    Schiessler, Aydin, Cyron: ECToNAS: Evolutionary Cross-Topology Neural Architecture Search, 2024.
    """

    _kind: Literal["classification", "regression"] | None = None
    task_: Task
    model_: Any

    def __init__(
        self,
        model: Any = None,
        *,
        keep_weights: bool = False,
        multi_start: bool = True,
        budget: float = 100,
        greediness: float = 1.0,
        n_parents: int = 2,
        max_params: int | None = None,
        max_time: float | None = None,
        surgery: str = "calibrated",
        selection: str = "fitness",
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        scoring: Any = None,
        class_weight: Any = None,
        batch_size: int = 32,
        validation_fraction: float = 0.1,
        engine: str = "auto",
        n_jobs: int | None = None,
        callbacks: Sequence[Any] | None = None,
        checkpoint: Any = None,
        resume: bool = False,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 1,
        warmup_epochs: float | None = None,
        epochs_per_match: float | None = None,
        max_rounds: int = 3,
        rolling_epochs: int = 3,
        recovery_epochs: Mapping[str, float] | None = None,
        max_children: int | str | None = "auto",
        max_growth: float | None = 3.0,
        unit_step: float | None = None,
        min_unit_step: int = 2,
        channel_step: int = 3,
        joint_step: float = 0.5,
        cell_pooling: tuple[str, ...] = ("average", "max", "none"),
        spatial_axes: int | None = None,
        final_selection: str = "archive",
        final_share: float = 0.4,
        final_dropout: float = 0.25,
        match_rate: float = 0.1,
        tolerance: float = 0.5,
        max_drop: float | None = 0.01,
        calibration_rows: int = 2000,
    ) -> None:
        self.model = model
        self.keep_weights = keep_weights
        self.multi_start = multi_start
        self.budget = budget
        self.greediness = greediness
        self.n_parents = n_parents
        self.max_params = max_params
        self.max_time = max_time
        self.surgery = surgery
        self.selection = selection
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.scoring = scoring
        self.class_weight = class_weight
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.engine = engine
        self.n_jobs = n_jobs
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.resume = resume
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.warmup_epochs = warmup_epochs
        self.epochs_per_match = epochs_per_match
        self.max_rounds = max_rounds
        self.rolling_epochs = rolling_epochs
        self.recovery_epochs = recovery_epochs
        self.max_children = max_children
        self.max_growth = max_growth
        self.unit_step = unit_step
        self.min_unit_step = min_unit_step
        self.channel_step = channel_step
        self.joint_step = joint_step
        self.cell_pooling = cell_pooling
        self.spatial_axes = spatial_axes
        self.final_selection = final_selection
        self.final_share = final_share
        self.final_dropout = final_dropout
        self.match_rate = match_rate
        self.tolerance = tolerance
        self.max_drop = max_drop
        self.calibration_rows = calibration_rows

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        validation_data: Any = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
    ) -> ECToNASTrainer:
        """Search and train.

        Parameters
        ----------
        X : array-like or frame of shape (rows, ...), or batches
            Batches are a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a torch ``DataLoader`` or a generator of
            ``(x, y)`` or ``(x, y, sample_weight)``. They keep their size and are read once before the search. A finite
            data set of up to 256 MiB that gives the same batches each time becomes arrays; any other is read where it
            is needed and trained on by Keras' ``fit``, each candidate going on where its lineage stopped.
        y : array-like of shape (rows,) or (rows, outputs)
            None for batches, which hold it.
        sample_weight : array-like of shape (rows,), optional
            Rows of weight 0 are left out. Whole numbers stand for copies of a row, as long as those make at most ten
            times as many rows and 256 MiB. Of ten and more different rows, copies of one are never on both sides of
            the split into rows to train on and to score on.
        validation_data : tuple (X, y) or (X, y, sample_weight), or batches, optional
            Rows to score on, held in memory. Without them ``validation_fraction`` of the rows, or of batches that come
            in the same order each time, is held out.
        steps_per_epoch : int, optional
            Batches that make an epoch, for a generator or a data set without end. Of all but a generator no more than
            the first so many of a pass are trained on, and passes differ only if the data set shuffles.
        validation_steps : int, optional
            Batches of ``validation_data`` to take.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Before any training, if an argument cannot be used. It is a ``ValueError``.
        SearchError
            If the start model cannot be trained.
        """
        session = self._session(X, y, sample_weight, validation_data, steps_per_epoch, validation_steps)
        data = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        search = session.run(FitTask.of(self, data, lambda search: _able_to_predict(session, search)))
        self._ended = Ended(session.identity(), search.state()) if self.warm_start else None
        carried_out(lambda: self._finish(session, search))
        return self

    def _finish(self, session: Session, search: Search) -> None:
        self.model_ = session.model(search)
        self._keep(session, search, self.get_params(deep=False), type(self))

    def predict(self, X: Any) -> Array:
        """Labels or values, in the form of the targets that ``fit`` received; shape (rows,) or (rows, outputs).

        Parameters
        ----------
        X : array-like or frame of shape (rows, ...), or a data set that ends
            Of a data set's batches, which may hold targets, in the order in which they come.
        """
        check_is_fitted(self, "model_")
        return self.task_.decode(self._outputs(X))

    @available_if(_learns_labels)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes in the order of ``classes_``, shape (rows, classes); `X` as for `predict`."""
        check_is_fitted(self, "model_")
        return self.task_.probabilities(self._outputs(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy for labels, the coefficient of determination for values; more is better.

        Parameters
        ----------
        X : array-like or frame of shape (rows, ...), or a data set that ends
        y : array-like of shape (rows,) or (rows, outputs)
            None for a data set, which holds it.
        sample_weight : array-like of shape (rows,), optional
        """
        check_is_fitted(self, "model_")
        if is_stream(X):
            if y is not None or sample_weight is not None:
                raise InputError("y and sample_weight come with the batches of X: expected None for both.")
            parts = in_parts("X", X, self._dtype, labelled=True)
            outputs, y, sample_weight = joined("X", [part._replace(x=self._outputs(part.x)) for part in parts])
        else:
            outputs = self._outputs(X)
        predicted = self.task_.decode(outputs)
        measure = accuracy_score if self.task_.is_classification else r2_score
        expected = checked_targets("y", y, len(predicted))
        if expected.ndim > 2:
            expected, predicted = expected.reshape(len(expected), -1), predicted.reshape(len(predicted), -1)
        return float(measure(expected, predicted, sample_weight=sample_weight))

    @property
    def _dtype(self) -> str:
        return str(self.model_.inputs[0].dtype)

    def _outputs(self, X: Any) -> Array:
        if is_stream(X):
            parts = in_parts("X", X, self._dtype, labelled=False)
            return np.concatenate([self._outputs(part.x) for part in parts])
        x = checked_array("X", X, self._dtype)
        self._check_features(X, reset=False)
        expected = tuple(self.model_.input_shape[1:])
        if x.ndim - 1 != len(expected) or any(e not in (None, s) for e, s in zip(expected, x.shape[1:], strict=True)):
            raise InputError(f"X has rows of shape {x.shape[1:]}, the model expects {expected}.")
        return outputs_of(self.model_, x)

    def _check_features(self, X: Any, reset: bool) -> None:
        """Keep, or compare, the number of features and the names of a frame's columns."""
        try:
            validate_data(self, X, reset=reset, skip_check_array=True)
        except ValueError as error:
            raise InputError(str(error)) from error

    def _session(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
    ) -> Session:
        """Everything checked and ready, nothing trained yet."""
        session = prepared_session(
            self.get_params(deep=False),
            self._kind,
            X,
            y,
            sample_weight,
            validation_data,
            steps_per_epoch,
            validation_steps,
            getattr(self, "_ended", None) if self.warm_start else None,
        )
        if isinstance(validation_data, (tuple, list)):
            _check_same_columns(X, validation_data[0])
        self._check_features(session.data.train.x if is_stream(X) else X, reset=True)
        return session

    def __getstate__(self) -> Any:
        if hasattr(self, "model_"):
            check_loadable(self.model_)
        return super().__getstate__()

    def __sklearn_clone__(self) -> Any:
        with warnings.catch_warnings():
            # Keras says so of each copy of a compiled model that has not been trained.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer", UserWarning)
            return super().__sklearn_clone__()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Of the classes below, scikit-learn's mixins say what they are.
        is_fitted = hasattr(self, "task_")
        if self._kind is None and (self.task_.is_classification if is_fitted else _has_loss_for_labels(self)):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(multi_label=True)
        elif self._kind is None and is_fitted:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        return tags


class ECToNASClassifier(ClassifierMixin, ECToNASTrainer):  # type: ignore[misc]
    """`ECToNASTrainer` for labels; it can start without a model.

    Parameters and attributes are those of `ECToNASTrainer`.
    """

    _kind = "classification"
    score = ECToNASTrainer.score

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class ECToNASRegressor(RegressorMixin, ECToNASTrainer):  # type: ignore[misc]
    """`ECToNASTrainer` for values; it can start without a model.

    Parameters and attributes are those of `ECToNASTrainer`.
    """

    _kind = "regression"
    score = ECToNASTrainer.score

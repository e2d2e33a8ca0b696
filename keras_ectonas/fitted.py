"""What a trainer and a callback offer when their search is over: models off the front, and a report."""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import reprlib
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import keras
from sklearn.exceptions import NotFittedError

from .bridge import Blueprint
from .compilation import Compilation
from .errors import InputError
from .network import Layer
from .search import Search
from .search.account import Account, ParetoFront, epochs_by_purpose, layer_rows
from .session import Session
from .tables import Table

__all__ = ["FittedSearch"]

_PACKAGES = ("keras-ectonas", "keras", "numpy", "scikit-learn")


class FittedSearch:
    """Holds the results of a search; what derives from it has a ``model_``."""

    model_: keras.Sequential
    pareto_front_: ParetoFront
    _account: Account
    _ending: Layer | None
    _layer_classes: Mapping[str, type]

    def select(
        self, max_params: int | None = None, min_score: float | None = None, within: float | None = None
    ) -> keras.Sequential:
        """Another model off the front, trained already: nothing is trained now.

        Parameters
        ----------
        max_params : int, optional
            The most parameters it may have.
        min_score : float, optional
            A score that it must reach; of a loss or an error, that it must not exceed.
        within : float, optional
            How much worse than the best score on the front it may be, in units of the score.

        Returns
        -------
        keras.Sequential
            With `min_score` or `within` the smallest that scores so well, else the best. Compiled as ``model_`` is,
            with a fresh optimizer. The attribute ``pareto_front_`` tells its score on the validation rows.

        Raises
        ------
        InputError
            If no network on the front fits.
        """
        self._check_fitted("select")
        member = self.pareto_front_.select(max_params, min_score, within)
        compilation = Compilation.of(self.model_)
        if compilation is None:
            raise InputError("model_ is not compiled any more: compile it, and the selected model is compiled alike.")
        blueprint = Blueprint.of(self.model_, compilation)
        classes = {**getattr(self, "_layer_classes", {}), **blueprint.classes}
        return replace(blueprint, classes=classes).build(member.network.ending_with(self._ending)).model

    def report(self, path: str | os.PathLike[str], title: str = "Architecture search") -> None:
        """Write a report of the search: one HTML file that needs nothing else.

        Parameters
        ----------
        path : str or path
            Where to write; a file that is there is replaced.
        title : str
        """
        self._check_fitted("report")
        from .report import write_report

        write_report(self, path, title)

    def _keep(self, session: Session, search: Search, parameters: Mapping[str, Any], defaults: Any) -> None:
        """Set the attributes of a search that is over."""
        for name, value in session.results(search).items():
            setattr(self, name, value)
        self._layer_classes = dict(session.blueprint.classes)
        self.task_, self._ending = session.task_of_models, session.ending
        vars(self).pop("classes_", None)
        if session.task.is_classification:
            self.classes_ = session.task.classes
        self._account = Account(
            _data_in_words(session),
            _as_table(parameters, defaults),
            layer_rows(session.start.ending_with(session.ending)),
            layer_rows(session.network(search)),
            epochs_by_purpose(search),
            dict(search.seconds),
            _versions(),
        )

    def __getstate__(self) -> dict[str, Any]:
        # Classes may be such as pickle does not find; Keras knows those that are registered.
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_layer_classes"}

    def _check_fitted(self, method: str) -> None:
        if not hasattr(self, "pareto_front_"):
            raise NotFittedError(f"{type(self).__name__} has not searched yet: fit before {method}.")


def _data_in_words(session: Session) -> dict[str, str]:
    train, validation, task = session.data.train, session.data.validation, session.task
    shape = "x".join(map(str, train.x.shape[1:]))
    of_stream = f"{session.data.steps_per_epoch:,} minibatches, of which {len(train):,} rows were looked at"
    words = {
        "Training rows": f"{len(train):,}" if session.data.stream is None else of_stream,
        "Validation rows": f"{len(validation):,}",
        "Shape of a sample": f"{shape}, {train.x.dtype}",
        "Minibatch": f"{session.data.batch_size:,} rows, {session.data.steps_per_epoch:,} steps an epoch",
        "Sample weights": "no" if train.weights is None else "yes",
    }
    if task.classes is None:
        words["Targets"] = f"values, {train.y.shape[-1]} a sample"
    else:
        names = [str(label) for label in task.classes]
        words["Targets"] = f"{len(names)} classes: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
    words["Seed"] = str(session.seed)
    return words


def _as_table(parameters: Mapping[str, Any], estimator: Any) -> Table:
    defaults = {name: parameter.default for name, parameter in inspect.signature(estimator).parameters.items()}
    # What is of the user's own and cannot be written does no harm here.
    writer = reprlib.Repr()
    writer.maxother = writer.maxstring = 200
    writer.maxdict = writer.maxlist = writer.maxtuple = 20
    return Table(
        name=list(parameters),
        value=[writer.repr(value) for value in parameters.values()],
        is_default=[_is_default(value, defaults.get(name)) for name, value in parameters.items()],
    )


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (int, float, str, tuple)) and value == default)


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    versions = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # It runs from a folder.
            versions[package] = "not installed"
    # A backend can be installed under several names.
    return versions | {f"{backend}, the backend": str(importlib.import_module(backend).__version__)}

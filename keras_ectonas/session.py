"""One search from settings, a start and data to its results: what the trainer and the callback share."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
import numpy as np
from joblib import effective_n_jobs

from .bridge import Blueprint
from .budget import Ledger
from .checkpoint import Folder, Opened, open_folder
from .engines import Assignment, Deadline, Engine, FitEngine
from .engines.callbacks import copies_of
from .errors import InputError, InputTypeError
from .inputs.data import TrainingData
from .inputs.task import Task
from .lineage import Lineage, TrainingJob, TrainingOutcome
from .network import Layer, Network
from .parallel import ParallelEngine, is_spread_out
from .progress import Progress
from .scoring import Scoring
from .search import Search
from .search.account import ParetoFront, candidate_columns, record_columns, winner_history
from .search.hooks import SearchCallback
from .search.limits import check_can_shrink
from .settings import SearchSettings, choice
from .surgery import CalibratedSurgery, PublishedSurgery, Surgery

_LOGGER = logging.getLogger(__name__)

__all__ = ["Session", "check_choices", "n_workers", "settings_from"]


def settings_from(parameters: Mapping[str, Any]) -> SearchSettings:
    """The knobs of the search among the parameters of an estimator, checked."""
    names = {field.name for field in fields(SearchSettings)}
    return SearchSettings(**{name: value for name, value in parameters.items() if name in names})


@dataclass
class Session:
    """A search, ready to run.

    Parameters
    ----------
    start : Network
    blueprint : Blueprint
    data : TrainingData
    task : Task
    scoring : Scoring
    settings : SearchSettings
    surgery : str
    engine : str
    callbacks : sequence of keras.callbacks.Callback and SearchCallback
    seed : int
    verbose : int
    n_jobs : int
        Candidates trained side by side.
    start_step : int
        Optimizer steps the start has had.
    second_start : Network or None
        It competes with the start.
    checkpoint : Folder or None
        Where the search is kept.
    before : mapping or None
        The state that a search was in when it ended, for this one to continue with this budget on top.
    ending : Layer or None
        What stands behind every network in the models that users see: candidates are trained in the units of `task`.
    seconds_to_prepare : float
        That reading and checking the data took; ``max_time`` counts them.
    """

    start: Network
    blueprint: Blueprint
    data: TrainingData
    task: Task
    scoring: Scoring
    settings: SearchSettings
    surgery: str
    engine: str
    callbacks: Sequence[Any]
    seed: int
    verbose: int = 0
    n_jobs: int = 1
    start_step: int = 0
    second_start: Network | None = None
    checkpoint: Folder | None = None
    before: Mapping[str, Any] | None = None
    ending: Layer | None = None
    seconds_to_prepare: float = 0.0

    def __post_init__(self) -> None:
        _check_start(self.start, self.settings)
        settings = self.settings
        self._ledger = Ledger.for_epochs(settings.budget, self.data.steps_per_epoch, settings.kept_share)
        self._keras_callbacks, self._search_callbacks = _sorted_callbacks(self.callbacks)
        self._deadline = Deadline()
        if self._ledger.limit < 1:
            raise InputError(
                f"budget={self.settings.budget!r} epochs is less than one minibatch of "
                f"{self.data.batch_size} rows out of {len(self.data.train)}."
            )

    def run(self, followers: Sequence[SearchCallback] = ()) -> Search:
        """Search until the budget is spent, time is up, or somebody interrupts."""
        began = time.perf_counter() - self.seconds_to_prepare
        engine = self._engine()
        search = Search(
            self.start,
            self.settings,
            self.scoring.objective,
            self._surgery(),
            self._ledger,
            self.seed,
            lambda jobs: self._trained_in_time(engine, search, jobs),
            start_step=self.start_step,
            second_start=self.second_start,
            tolerance=self.settings.tolerance / math.sqrt(len(self.data.validation)),
            loss_ratio=self.data.loss_ratio,
            in_parts=not self._keras_callbacks and not self.blueprint.compilation.averages_weights,
            callbacks=(*self._search_callbacks, *followers),
        )
        try:
            with self._opened() as folder, Progress(self.verbose) as progress:
                self._take_up(search, folder)
                began -= search.seconds.get("total", 0.0)
                search.run(lambda search: _after_step(search, began, folder, progress))
                _keep(search, began, folder)
                progress.finish(search)
        finally:
            engine.close()
        return search

    def identity(self) -> dict[str, str]:
        """What makes this search the same as another, in words: all but the budget, the time and how it is trained."""
        free = ("budget", "max_time")
        settings = {name: repr(value) for name, value in vars(self.settings).items() if name not in free}
        return {
            **settings,
            "surgery": self.surgery,
            "scoring": self.scoring.in_words(),
            "task": repr(self.task.target),
            **self.blueprint.compilation.in_words(),
            "backend": keras.backend.backend(),
            "random_state": str(self.seed),
            "batch_size": str(self.data.batch_size),
            "model": f"{self.start.fingerprint()}, after {self.start_step} steps",
            "data": self.data.fingerprint(),
            "second start": "none" if self.second_start is None else self.second_start.fingerprint(),
        }

    def _opened(self) -> AbstractContextManager[Opened | None]:
        return nullcontext() if self.checkpoint is None else open_folder(self.checkpoint, self.identity())

    def _take_up(self, search: Search, folder: Opened | None) -> None:
        """Go on from what was before, in memory or in the folder; otherwise begin."""
        if self.before is not None:
            search.continue_with({**self.before, "seconds_before": 0.0}, additional=True)
        elif folder is not None and folder.state is not None:
            search.continue_with(folder.state)
            _LOGGER.info("%s: the search goes on in generation %d", folder.path, search.generation)
        search.seconds_before += self.seconds_to_prepare
        if folder is not None:
            folder.begin(search.state())

    def _trained_in_time(
        self, engine: Engine, search: Search, jobs: Sequence[TrainingJob]
    ) -> Sequence[TrainingOutcome]:
        self._deadline.set_from_now(search.seconds_to_train())
        return engine.train(jobs)

    def network(self, search: Search) -> Network:
        """The winner with its weights, as users see it."""
        network = search.winner().network
        if network is None:
            raise InputError("the winner's weights are gone")
        return network.ending_with(self.ending)

    def model(self, search: Search) -> keras.Sequential:
        """The winner as a plain Keras model, trained and compiled."""
        return self.blueprint.build(self.network(search)).model

    @property
    def task_of_models(self) -> Task:
        """What the outputs of the models that users see mean."""
        return replace(self.task, units=None)

    def results(self, search: Search) -> dict[str, Any]:
        """The fitted attributes that a trainer and a callback have in common."""
        return {
            "lineage_": Lineage(search.lineage()),
            "candidates_": candidate_columns(search),
            "records_": record_columns(search),
            "pareto_front_": ParetoFront.of(search),
            "refusals_": list(search.refusals),
            "history_": winner_history(search),
            "n_epochs_": search.ledger.epochs_spent,
            "ended_by_": search.ended_by,
            "best_score_": search.winner().score,
            "objective_": search.objective,
            "seconds_": search.seconds["total"],
        }

    def _surgery(self) -> Surgery:
        if self.surgery == "paper":
            return PublishedSurgery()
        rng = np.random.default_rng([self.seed, 2])
        chosen = rng.permutation(len(self.data.train))[: self.settings.calibration_rows]
        rows = self.data.train.x[np.sort(chosen)]
        # Where size counts, a first cell should make the network smaller.
        n_filters = None if self.settings.greediness == 1 else 1
        return CalibratedSurgery(rows, self.seed, self.blueprint.layer_output, n_filters=n_filters)

    def _engine(self) -> Engine:
        assignment = Assignment(
            self.blueprint,
            self.data,
            self.scoring,
            self.task,
            self._keras_callbacks,
            self._deadline,
        )
        maker = self._engine_maker(assignment)
        if self.data.stream is not None:
            if self.n_jobs > 1 or is_spread_out():
                _LOGGER.info("candidates are trained one after the other: they read from one data set")
            return maker(assignment)
        if is_spread_out() or (self.n_jobs > 1 and maker is FitEngine):
            return ParallelEngine(assignment, maker, self.n_jobs)
        return maker(assignment) if self.n_jobs == 1 else maker(assignment, self.n_jobs)

    def _engine_maker(self, assignment: Assignment) -> Callable[..., Engine]:
        if self.engine == "fit" or keras.backend.backend() != "jax":
            return FitEngine
        from .engines.compiled import CompiledEngine, reason_against

        reason = reason_against(assignment)
        if reason:
            _LOGGER.info("all candidates are trained by Keras' fit: %s", reason)
        return FitEngine if reason else CompiledEngine


def _after_step(search: Search, began: float, folder: Opened | None, progress: Progress) -> None:
    _keep(search, began, folder)
    progress.update(search)


def _keep(search: Search, began: float, folder: Opened | None) -> None:
    """Write the search down, with the time that it took."""
    search.seconds["total"] = time.perf_counter() - began
    if folder is not None:
        folder.write(search.state())


def n_workers(n_jobs: Any) -> int:
    """How many candidates ``n_jobs`` trains side by side."""
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0):
        raise InputError(f"n_jobs={n_jobs!r}: expected a whole number other than 0, or None.")
    return int(effective_n_jobs(n_jobs))


def check_choices(surgery: Any, engine: Any, verbose: Any, batch_size: Any) -> None:
    """Refuse what no setting explains, before any work."""
    choice("surgery", surgery, ("calibrated", "paper"))
    choice("engine", engine, ("auto", "fit", "compiled"))
    if engine == "compiled" and keras.backend.backend() != "jax":
        raise InputError(
            f"engine='compiled' needs Keras on JAX, it runs on {keras.backend.backend()}: set KERAS_BACKEND=jax before "
            "Keras is imported, or use engine='auto'."
        )
    if isinstance(verbose, bool) or not isinstance(verbose, (int, np.integer)) or verbose not in (0, 1, 2):
        raise InputError(f"verbose={verbose!r}: expected 0, 1 or 2.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}: expected a whole number of at least 1.")


def _sorted_callbacks(callbacks: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[SearchCallback, ...]]:
    """Keras' callbacks, which follow the training of a candidate, and those that follow the search."""
    for number, callback in enumerate(callbacks):
        if not isinstance(callback, (keras.callbacks.Callback, SearchCallback)):
            raise InputTypeError(
                f"callbacks[{number}] of type {type(callback).__name__}: expected a keras.callbacks.Callback, made and "
                "not its class, or a keras_ectonas.SearchCallback."
            )
    own = tuple(callback for callback in callbacks if isinstance(callback, keras.callbacks.Callback))
    copies_of(own)
    return own, tuple(callback for callback in callbacks if isinstance(callback, SearchCallback))


def _check_start(network: Network, settings: SearchSettings) -> None:
    if settings.max_params is not None and settings.is_too_large(network.n_params):
        check_can_shrink(network, settings.max_params)
    if not network.is_finite():
        raise InputError("model has weights that are NaN or infinite.")

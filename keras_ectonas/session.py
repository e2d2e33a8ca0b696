"""One search from settings, a start and data to its results: what the trainer and the callback share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import keras
import numpy as np
from joblib import effective_n_jobs

from .bridge import Blueprint
from .budget import Ledger
from .checkpoint import Folder, Opened
from .data import TrainingData
from .engines import Assignment, Deadline, Engine, FitEngine
from .errors import InputError
from .limits import check_can_shrink
from .lineage import ancestry
from .network import Network
from .parallel import ParallelEngine, is_spread_out
from .planning import epochs_per_match
from .progress import Progress
from .scoring import Scoring
from .search import Search
from .settings import SearchSettings, choice
from .surgery import CalibratedSurgery, PublishedSurgery, Surgery
from .task import Task

_LOGGER = logging.getLogger(__name__)

__all__ = ["Session", "candidate_columns", "check_choices", "n_workers", "settings_from", "winner_history"]


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
    callbacks : sequence of keras.callbacks.Callback
    seed : int
    verbose : int
    n_jobs : int
        Candidates trained side by side.
    start_step : int
        Optimizer steps the start has had.
    checkpoint : Folder or None
        Where the search is kept.
    before : mapping or None
        The state that a search was in when it ended, for this one to continue with this budget on top.
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
    checkpoint: Folder | None = None
    before: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_start(self.start, self.settings)
        self._deadline = Deadline()
        self._ledger = Ledger.for_epochs(self.settings.budget, self.data.steps_per_epoch)
        if self._ledger.limit < 1:
            raise InputError(
                f"budget={self.settings.budget!r} epochs is less than one minibatch of "
                f"{self.data.batch_size} rows out of {len(self.data.train)}."
            )

    def run(self) -> Search:
        """Search until the budget is spent, time is up, or somebody interrupts."""
        engine = self._engine()
        search = Search(
            self.start,
            self.settings,
            self.scoring.objective,
            self._surgery(),
            self._ledger,
            self.seed,
            engine.train,
            start_step=self.start_step,
        )
        progress = Progress(self.verbose)
        try:
            with self._opened() as folder:
                self._take_up(search, folder)
                search.run(lambda search: _after_step(search, folder, progress))
                if folder is not None:
                    folder.write(search.state())
        finally:
            engine.close()
        progress.finish(search)
        return search

    def identity(self) -> dict[str, str]:
        """What makes this search the same as another, in words: all but the budget, the time and how it is trained."""
        free = ("budget", "max_time")
        settings = {name: repr(value) for name, value in vars(self.settings).items() if name not in free}
        return {
            **settings,
            "surgery": self.surgery,
            "scoring": repr(replace(self.scoring, scorer=None)),
            "task": repr(self.task.target),
            **self.blueprint.compilation.in_words(),
            "backend": keras.backend.backend(),
            "random_state": str(self.seed),
            "batch_size": str(self.data.batch_size),
            "model": f"{self.start.fingerprint()}, after {self.start_step} steps",
            "data": self.data.fingerprint(),
        }

    def _opened(self) -> AbstractContextManager[Opened | None]:
        return nullcontext() if self.checkpoint is None else self.checkpoint.opened(self.identity())

    def _take_up(self, search: Search, folder: Opened | None) -> None:
        """Go on from what was before, in memory or in the folder; otherwise begin."""
        if self.before is not None:
            search.continue_with({**self.before, "seconds_before": 0.0}, additional=True)
        elif folder is not None and folder.state is not None:
            search.continue_with(folder.state)
            _LOGGER.info("%s: the search goes on in generation %d", folder.path, search.generation)
        if folder is not None:
            folder.begin(search.state())
        limit = self.settings.max_time
        self._deadline.set_from_now(None if limit is None else limit - search.seconds)

    def model(self, search: Search) -> keras.Sequential:
        """The winner as a plain Keras model, trained and compiled."""
        network = search.winner().network
        if network is None:
            raise InputError("the winner's weights are gone")
        return self.blueprint.build(network).model

    def results(self, search: Search) -> dict[str, Any]:
        """The fitted attributes that a trainer and a callback have in common."""
        return {
            "lineage_": search.lineage(),
            "candidates_": candidate_columns(search),
            "refusals_": list(search.refusals),
            "history_": winner_history(search),
            "n_epochs_": search.ledger.epochs_spent,
            "ended_by_": search.ended_by,
            "best_score_": search.winner().score,
        }

    def _surgery(self) -> Surgery:
        if self.surgery == "paper":
            return PublishedSurgery()
        rng = np.random.default_rng([self.seed, 2])
        chosen = rng.permutation(len(self.data.train))[: self.settings.calibration_rows]
        rows = self.data.train.x[np.sort(chosen)]
        # Where size counts, a first cell should make the network smaller.
        n_filters = 3 if self.settings.greediness == 1 else 1
        return CalibratedSurgery(rows, self.seed, self.blueprint.layer_output, n_filters=n_filters)

    def _engine(self) -> Engine:
        assignment = Assignment(
            self.blueprint,
            self.data,
            self.scoring,
            self.task,
            self.callbacks,
            2 * epochs_per_match(self.settings) * self.data.steps_per_epoch,
            self._deadline,
        )
        maker = self._engine_maker(assignment)
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


def _after_step(search: Search, folder: Opened | None, progress: Progress) -> None:
    if folder is not None:
        folder.write(search.state())
    progress.update(search)


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


def _check_start(network: Network, settings: SearchSettings) -> None:
    if settings.max_params is not None and network.n_params > settings.max_params:
        check_can_shrink(network, settings.max_params)
    if not network.is_finite():
        raise InputError("model has weights that are NaN or infinite.")


def candidate_columns(search: Search) -> dict[str, list[Any]]:
    """Every candidate ever made, as columns for a data frame."""
    per_epoch = search.ledger.steps_per_epoch
    candidates = search.candidates
    return {
        "id": [c.id for c in candidates],
        "parent": [c.parent for c in candidates],
        "generation": [c.generation for c in candidates],
        "mutation": [c.mutation for c in candidates],
        "description": [c.description for c in candidates],
        "architecture": [c.architecture for c in candidates],
        "n_params": [c.n_params for c in candidates],
        "score": [c.score for c in candidates],
        "status": ["winner" if c.id == search.best else c.status for c in candidates],
        "first_epoch": [c.step / per_epoch for c in candidates],
        "epochs": [c.steps / per_epoch for c in candidates],
        "seconds": [c.seconds for c in candidates],
        "remark": [c.remark for c in candidates],
    }


def winner_history(search: Search) -> dict[str, list[float]]:
    """What Keras reported along the winner's lineage, inherited epochs included.

    ``"epoch"`` tells how many epochs the lineage had been trained for at each entry, parts of one included. A
    metric that was not reported at an entry is NaN there.
    """
    records = [r for c in ancestry(search.candidates, search.best) for r in c.records]
    names = dict.fromkeys(name for record in records for name in record.logs)
    history = {"epoch": [record.step / search.ledger.steps_per_epoch for record in records]}
    for name in names:
        history[name] = [record.logs.get(name, float("nan")) for record in records]
    history["score"] = [record.score for record in records]
    return history

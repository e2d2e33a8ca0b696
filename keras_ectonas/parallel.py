"""Candidates trained in other processes, here or on a cluster, through joblib.

Each process keeps an engine, so the rows of a search travel to it once.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import joblib
import keras
from joblib.parallel import get_active_backend

from .engines import Assignment, Deadline, Engine, left_out
from .errors import ECToNASError, InputError
from .inputs.data import Rows, TrainingData
from .lineage import TrainingJob, TrainingOutcome

__all__ = ["ParallelEngine", "is_spread_out"]

EngineMaker = Callable[[Assignment], Engine]
_LOCAL = ("LokyBackend", "ThreadingBackend", "MultiprocessingBackend", "SequentialBackend")
_ATTEMPTS: Final = 3
_LOGGER = logging.getLogger(__name__)
_LOCK = threading.RLock()
_ENGINES: dict[str, tuple[Engine, Deadline]] = {}


def is_spread_out() -> bool:
    """Whether joblib is configured for workers beyond this machine's own, such as those of Dask or Ray."""
    backend, _ = get_active_backend()
    return type(backend).__name__ not in _LOCAL


class ParallelEngine(Engine):
    """Sends each job to a worker of joblib.

    Parameters
    ----------
    assignment : Assignment
    maker : callable
        Makes the engine of a worker; a function of a module, because it travels.
    n_jobs : int
    """

    def __init__(self, assignment: Assignment, maker: EngineMaker, n_jobs: int) -> None:
        train, held_out = assignment.data.train, assignment.data.validation
        # Arrays travel by themselves: joblib maps large ones into memory, Dask sends them to each worker once.
        self._arrays = [array for rows in (train, held_out) for array in (rows.x, rows.y, rows.labels, rows.weights)]
        empty = Rows(train.x[:0], train.y[:0], train.labels[:0])
        data = TrainingData(empty, empty, assignment.data.batch_size)
        self._spec = replace(assignment, data=data, deadline=Deadline())
        self._deadline = assignment.deadline
        self._maker = maker
        self._n_jobs = n_jobs
        self._token = uuid.uuid4().hex

    def train(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        if all(self._deadline.leaves_out(job) for job in jobs):
            return [left_out(job) for job in jobs]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._spread(jobs)
            except ECToNASError:
                raise
            except Exception:  # What goes wrong in training is an outcome: this is a worker that was lost.
                if attempt == _ATTEMPTS:
                    raise
                _LOGGER.warning("workers were lost; their candidates are trained again", exc_info=True)
        raise RuntimeError("no attempt was made")

    def _spread(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        task = (self._token, keras.backend.backend(), self._maker, self._spec, self._deadline.at)
        send = joblib.delayed(_train_in_worker)
        outcomes: list[TrainingOutcome] = joblib.Parallel(n_jobs=self._n_jobs, batch_size=1)(
            send(*task, job, *self._arrays) for job in jobs
        )
        return outcomes

    def close(self) -> None:
        """The workers let go of a search's engine when the next one begins."""
        with _LOCK:
            kept = _ENGINES.pop(self._token, None)
        if kept is not None:
            kept[0].close()


def _train_in_worker(
    token: str,
    backend: str,
    maker: EngineMaker,
    spec: Assignment,
    ends_at: float | None,
    job: TrainingJob,
    *arrays: Any,
) -> TrainingOutcome:
    """One job, by the engine that this process keeps for the search `token`."""
    if keras.backend.backend() != backend:
        raise InputError(
            f"a worker runs Keras on {keras.backend.backend()}, the search on {backend}: set KERAS_BACKEND alike "
            "where the workers are started."
        )
    with _LOCK:
        if token not in _ENGINES:
            while _ENGINES:
                _ENGINES.popitem()[1][0].close()
            data = TrainingData(Rows(*arrays[:4]), Rows(*arrays[4:]), spec.data.batch_size)
            assignment = replace(spec, data=data, deadline=Deadline())
            _ENGINES[token] = maker(assignment), assignment.deadline
        engine, deadline = _ENGINES[token]
        deadline.at = ends_at
        return engine.train([job])[0]

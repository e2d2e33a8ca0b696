"""The ``fit`` engine: Keras' own ``model.fit``, right on every backend."""

from __future__ import annotations

import copy
import gc
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np

from ..bridge import LiveModel
from ..data import Rows
from ..lineage import EpochRecord, TrainingJob, TrainingOutcome
from ..network import Array
from .base import Assignment, DivergedError, Engine, left_out, portions, row_order
from .sharing import clear_compiled_programs, training

__all__ = ["FitEngine", "evaluation_batch", "outputs_of"]

_LOGGER = logging.getLogger(__name__)
_MODELS_KEPT: Final = 32
_EVALUATION_BATCH: Final = 2048
_SMALLEST_BATCH: Final = 64
_DROPPED_BEFORE_CLEARING: Final = 24


class FitEngine(Engine):
    """Trains with ``keras.Model.fit``, one candidate after the other.

    Parameters
    ----------
    assignment : Assignment
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._models: OrderedDict[str, LiveModel] = OrderedDict()
        self._n_kept = _MODELS_KEPT
        self._n_dropped = 0

    def train(self, jobs: Sequence[TrainingJob]) -> list[TrainingOutcome]:
        # Whoever trains now may train again in the next round.
        self._n_kept = max(_MODELS_KEPT, len(jobs))
        with training():
            outcomes = [self._train_one(job) for job in jobs]
        if self._n_dropped >= _DROPPED_BEFORE_CLEARING:
            self._n_dropped = 0
            clear_compiled_programs()
        return outcomes

    def close(self) -> None:
        self._models.clear()
        gc.collect()

    def _train_one(self, job: TrainingJob) -> TrainingOutcome:
        if self._assignment.deadline.leaves_out(job):
            return left_out(job)
        began = time.perf_counter()
        watch = _Watch(self._assignment, job)
        try:
            live = self._model_for(job)
            watch.live = live
            if job.steps == 0:
                watch.record({})
            for steps, n_epochs in portions(job.steps, self._assignment.data.steps_per_epoch):
                if watch.failure or watch.stopped:
                    break
                watch.fit(steps, n_epochs)
            failure = watch.failure
        except Exception as error:  # A candidate's failure is the record's business, not the search's end.
            _LOGGER.warning("candidate %d failed in training", job.candidate, exc_info=True)
            failure = f"{type(error).__name__}: {error}"
            self._models.pop(job.network.architecture(), None)
        seconds = time.perf_counter() - began
        network = job.network
        if not failure:
            network = live.collect(job.network)
            failure = "" if network.is_finite() else "a weight is not finite"
        if failure:
            network = job.network
        return TrainingOutcome(network, tuple(watch.records), watch.steps_taken, seconds, failure)

    def _model_for(self, job: TrainingJob) -> LiveModel:
        key = job.network.architecture()
        if key in self._models:
            self._models.move_to_end(key)
            self._models[key].assign(job.network)
        else:
            self._models[key] = self._assignment.blueprint.build(job.network)
            while len(self._models) > self._n_kept:
                self._models.popitem(last=False)
                self._n_dropped += 1
        self._models[key].reseed(job.seed)
        return self._models[key]


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """One training: keeps its records, and stops it when it diverges or time is up."""

    def __init__(self, assignment: Assignment, job: TrainingJob) -> None:
        super().__init__()
        self.assignment = assignment
        self.job = job
        self.live: LiveModel | None = None
        self.records: list[EpochRecord] = []
        self.steps_taken = 0
        self.failure = ""
        self.stopped = False
        self._steps_in_epoch = 0
        self._epoch = 0
        self._batches: _Batches | None = None

    def fit(self, steps: int, n_epochs: int) -> None:
        """Train `n_epochs` times `steps` minibatches."""
        if self.live is None:
            raise RuntimeError("no model to train")
        data = self.assignment.data
        batches = self._batches = _Batches(data.train, data.batch_size, steps, self.job.seed)
        validation = data.validation
        held_out = (validation.x, validation.y, validation.weights)
        self._steps_in_epoch = steps
        first_epoch = self._epochs_before()
        before = int(self.live.model.optimizer.iterations)
        try:
            self.live.model.fit(
                batches,
                epochs=first_epoch + n_epochs,
                initial_epoch=first_epoch,
                shuffle=False,
                verbose=0,
                validation_data=held_out if validation.weights is not None else held_out[:2],
                validation_batch_size=evaluation_batch(len(validation)),
                callbacks=[*(copy.deepcopy(callback) for callback in self.assignment.callbacks), self],
            )
        finally:
            self.steps_taken += int(self.live.model.optimizer.iterations) - before
        self._epoch += n_epochs

    def _epochs_before(self) -> int:
        """Epochs along the lineage, which is what a callback with a schedule must see."""
        return (self.job.first_step + self.steps_taken) // self.assignment.data.steps_per_epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._batches is not None:
            self._batches.begin(self._epoch + epoch - self._epochs_before())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        steps = self._steps_in_epoch * (epoch - self._epochs_before() + 1)
        self.record(dict(logs or {}), self.steps_taken + steps)
        if self.failure:
            self.model.stop_training = True
        elif self.assignment.deadline.is_over():
            self.stopped = self.model.stop_training = True

    def record(self, logs: dict[str, float], steps: int = 0) -> None:
        """Score the model as it is now."""
        if self.live is None:
            raise RuntimeError("no model to score")
        validation = self.assignment.data.validation
        model = self.live.model
        if not logs:
            found = model.evaluate(
                validation.x,
                validation.y,
                sample_weight=validation.weights,
                batch_size=evaluation_batch(len(validation)),
                verbose=0,
                return_dict=True,
            )
            logs = {f"val_{name}": value for name, value in found.items()}
        try:
            self.records.append(self.assignment.record(self.job.first_step + steps, logs, self._outputs))
        except DivergedError as error:
            self.failure = str(error)

    def _outputs(self) -> Array:
        if self.live is None:
            raise RuntimeError("no model to ask")
        return outputs_of(self.live.model, self.assignment.data.validation.x)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Minibatches in an order that the seed and the epoch decide."""

    def __init__(self, rows: Rows, batch_size: int, n_batches: int, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=1)
        self._rows = rows
        self._batch_size = batch_size
        self._n_batches = n_batches
        self._seed = seed
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Be told, because Keras also asks for batches, and ends epochs, before training begins."""
        self._order = row_order(len(self._rows), self._batch_size, self._seed, epoch)

    def __len__(self) -> int:
        return self._n_batches

    def __getitem__(self, index: int) -> tuple[Array, ...]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x, y = self._rows.x[chosen], self._rows.y[chosen]
        return (x, y) if self._rows.weights is None else (x, y, self._rows.weights[chosen])


def evaluation_batch(n_rows: int) -> int:
    """A large batch size that divides the rows into equal parts, as far as it can."""
    return math.ceil(n_rows / math.ceil(n_rows / _EVALUATION_BATCH))


def outputs_of(model: keras.Model, x: Array) -> Array:
    """What `model` gives for `x`, in float.

    The rows are filled up to a few sizes, so that no new size means new compilation, and what a row gives does not
    hang on where it stands among how many.
    """
    batch = min(_EVALUATION_BATCH, max(_SMALLEST_BATCH, 1 << (len(x) - 1).bit_length()))
    missing = -len(x) % batch
    filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
    return np.asarray(model.predict(filled, batch_size=batch, verbose=0))[: len(x)]

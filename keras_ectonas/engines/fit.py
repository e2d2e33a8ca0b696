"""The ``fit`` engine: Keras' own ``model.fit``, right on every backend."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import keras
import numpy as np

from ..bridge import LiveModel
from ..lineage import EpochRecord, TrainingJob, TrainingOutcome
from ..network import Array
from .base import Assignment, DivergedError, Engine, left_out, portions
from .batches import Batches, batches_for
from .callbacks import JobCallbacks, copied_for
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
        with training(), _many_models():
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
            watch.train(live)
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
            # Several steps at once would have one learning rate.
            self._models[key].model.steps_per_execution = 1
            while len(self._models) > self._n_kept:
                self._models.popitem(last=False)
                self._n_dropped += 1
        return self._models[key]


@contextmanager
def _many_models() -> Iterator[None]:
    """Keep TensorFlow from warning of programs that are traced again and again: each model has its own."""

    def is_about_another(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_about_another)
    try:
        yield
    finally:
        logger.removeFilter(is_about_another)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """One training: keeps its records, and stops it when it diverges or time is up."""

    def __init__(self, assignment: Assignment, job: TrainingJob) -> None:
        super().__init__()
        self.assignment = assignment
        self.job = job
        self.live: LiveModel | None = None
        self.records: list[EpochRecord] = []
        self.failure = ""
        self._callbacks: JobCallbacks | None = None
        self._epoch = self._first_epoch = 0
        self._batches: Batches | None = None

    @property
    def steps_taken(self) -> int:
        return 0 if self._callbacks is None else self._callbacks.steps_taken

    def train(self, live: LiveModel) -> None:
        """Carry out the job; without any steps it is a score alone."""
        self.live = live
        if self.job.steps == 0:
            self.record({})
            return
        own = copied_for(self.assignment.callbacks, self.job)
        self._callbacks = JobCallbacks([*own, self], live.model, self.job)
        try:
            for steps, n_epochs in portions(self.job.steps, self.assignment.data.steps_per_epoch):
                self._fit(live, self._callbacks, steps, n_epochs)
                if live.model.stop_training:
                    break
        finally:
            self._callbacks.finish()
        replaced = any(getattr(callback, "restore_best_weights", False) for callback in own)
        if not self.failure and (replaced or live.has_averages):
            # The weights are no longer those that were scored last.
            self.record({})

    def _fit(self, live: LiveModel, callbacks: JobCallbacks, steps: int, n_epochs: int) -> None:
        """Train `n_epochs` times `steps` minibatches."""
        data = self.assignment.data
        first_step = self.job.first_step + self.steps_taken
        batches = self._batches = batches_for(data, steps, self.job.seed, first_step)
        validation = data.validation
        held_out = (validation.x, validation.y, validation.weights)
        # Epochs along the lineage, which is what a callback with a schedule must see.
        self._first_epoch = first_step // data.steps_per_epoch
        callbacks.expect(self._first_epoch + n_epochs, steps)
        live.model.fit(
            batches,
            epochs=self._first_epoch + n_epochs,
            initial_epoch=self._first_epoch,
            shuffle=False,
            verbose=0,
            validation_data=held_out if validation.weights is not None else held_out[:2],
            validation_batch_size=evaluation_batch(len(validation)),
            callbacks=callbacks,
        )
        live.separate_averages()
        self._epoch += n_epochs

    def on_train_begin(self, logs: Any = None) -> None:
        # Keras may have drawn random numbers while it built the model's programs, which another model has already.
        if self.live is not None:
            self.live.reseed(self.job.seed)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._batches is not None:
            self._batches.begin(self._epoch + epoch - self._first_epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.record(dict(logs or {}))
        if self.failure or self.assignment.deadline.is_over():
            self.model.stop_training = True

    def record(self, logs: dict[str, float]) -> None:
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
            step = self.job.first_step + self.steps_taken
            self.records.append(self.assignment.record(step, logs, self._outputs))
        except DivergedError as error:
            self.failure = str(error)

    def _outputs(self) -> Array:
        if self.live is None:
            raise RuntimeError("no model to ask")
        return outputs_of(self.live.model, self.assignment.data.validation.x)


def evaluation_batch(n_rows: int) -> int:
    """A large batch size that divides the rows into equal parts, as far as it can."""
    return math.ceil(n_rows / math.ceil(n_rows / _EVALUATION_BATCH))


@_many_models()
def outputs_of(model: keras.Model, x: Array) -> Array:
    """What `model` gives for `x`, in float.

    The rows are filled up to a few sizes, so that no new size means new compilation, and what a row gives does not
    hang on where it stands among how many.
    """
    batch = min(_EVALUATION_BATCH, max(_SMALLEST_BATCH, 1 << (len(x) - 1).bit_length()))
    missing = -len(x) % batch
    filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
    return np.asarray(model.predict(filled, batch_size=batch, verbose=0))[: len(x)]

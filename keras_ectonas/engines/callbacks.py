"""A user's Keras callbacks: copied for each training of a candidate, which begins and ends once for them."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, Final

import keras

from ..errors import InputError
from ..lineage import TrainingJob

__all__ = ["JobCallbacks", "copied_for", "copies_of"]

_PATHS = {
    keras.callbacks.CSVLogger: "filename",
    keras.callbacks.ModelCheckpoint: "filepath",
    keras.callbacks.TensorBoard: "log_dir",
}
"""Where Keras' own callbacks say what they write to."""

_WEIGHTS: Final = ".weights.h5"
"""How the name of a file of weights must end."""


def copies_of(callbacks: Sequence[Any]) -> list[Any]:
    """Copies that share nothing with the originals, and know no model yet.

    Raises
    ------
    InputError
        If one cannot be copied, or would carry weights from one candidate into another.
    """
    if any(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks):
        raise InputError(
            "callbacks: BackupAndRestore would restore one candidate's weights into another. The parameters checkpoint "
            "and resume keep a search."
        )
    models = [model for callback in callbacks if (model := getattr(callback, "_model", None)) is not None]
    memo: dict[int, Any] = {id(model): None for model in models}
    copies = []
    for callback in callbacks:
        try:
            copies.append(copy.deepcopy(callback, memo))
        except Exception as error:  # Whatever a callback of the user's own may raise.
            raise InputError(
                f"callbacks: {type(callback).__name__} cannot be copied, and each candidate needs a copy: "
                f"{type(error).__name__}: {error}. Open files and locks in on_train_begin, or give it a __deepcopy__."
            ) from error
    return copies


def copied_for(callbacks: Sequence[Any], job: TrainingJob) -> list[Any]:
    """Copies for one training; what Keras' own write bears the candidate's number."""
    copies = copies_of(callbacks)
    for callback in copies:
        for kind, attribute in _PATHS.items():
            if isinstance(callback, kind):
                setattr(callback, attribute, _numbered(str(getattr(callback, attribute)), job.candidate))
        if isinstance(callback, keras.callbacks.CSVLogger) and job.steps_before:
            callback.append = True
    return copies


def _numbered(path: str, candidate: int) -> str:
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.join(path, str(candidate))
    stem, suffix = (name.removesuffix(_WEIGHTS), _WEIGHTS) if name.endswith(_WEIGHTS) else os.path.splitext(name)
    return os.path.join(folder, f"{stem}_{candidate}{suffix}")


class JobCallbacks(keras.callbacks.CallbackList):  # type: ignore[misc]
    """The callbacks of one job, which may take several calls of ``fit``; it counts the steps that were taken.

    Between the steps of an annealed job the learning rate is what the optimizer or the user's callbacks made it, so
    that theirs may read and change it. A schedule of the optimizer's own is left as it is.

    Parameters
    ----------
    callbacks : list of keras.callbacks.Callback
    model : keras.Model
    job : TrainingJob
        Callbacks find its number among their ``params``, as ``"candidate"``.
    """

    def __init__(self, callbacks: list[Any], model: keras.Model, job: TrainingJob) -> None:
        super().__init__(callbacks, add_history=True, model=model)
        self._job = job
        self._has_begun = False
        self._done = self._in_epoch = 0
        self._is_annealed = job.is_annealed and any(
            variable.name == "learning_rate" for variable in model.optimizer.variables
        )
        self._base_rate = 0.0

    @property
    def steps_taken(self) -> int:
        return self._done + self._in_epoch

    def expect(self, epochs: int, steps: int) -> None:
        """Be told of the next call of ``fit``."""
        self.set_params({"verbose": 0, "epochs": epochs, "steps": steps, "candidate": self._job.candidate})

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._done, self._in_epoch = self.steps_taken, 0
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        if self._is_annealed:
            optimizer = self.model.optimizer
            self._base_rate = float(optimizer.learning_rate)
            optimizer.learning_rate = self._base_rate * self._job.rate(self._done + batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._is_annealed:
            self.model.optimizer.learning_rate = self._base_rate
        self._in_epoch = batch + 1
        super().on_train_batch_end(batch, logs)

    def on_train_begin(self, logs: Any = None) -> None:
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: Any = None) -> None:
        """The end of one call of ``fit`` is not yet that of the job."""

    def finish(self) -> None:
        """The job is over."""
        if self._has_begun:
            self._has_begun = False
            super().on_train_end()

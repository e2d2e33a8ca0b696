"""KerasTuner as an estimator that searches for a given time, to compare with."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import keras
import keras_tuner
import numpy as np

__all__ = ["KerasTunerRival"]

MOST_TRIALS = 10_000


class KerasTunerRival:
    """A network whose widths, depth, dropout and learning rate are searched for; convolutional for images.

    Parameters
    ----------
    kind : {"random", "hyperband"}
    seconds : float
        For the whole search. The best network of all trials is taken as it was then.
    seed : int
    epochs : int
        Of a trial at most; trials stop when the validation loss has not improved for three.
    """

    def __init__(self, kind: str, seconds: float, seed: int, epochs: int = 20) -> None:
        self.kind = kind
        self.seconds = seconds
        self.seed = seed
        self.epochs = epochs

    def fit(self, x: Any, y: Any) -> KerasTunerRival:
        """Search on `x` of shape (rows, height, width, channels) or (rows, columns) and labels `y`."""
        deadline = _Deadline(time.monotonic() + self.seconds)
        order = np.random.default_rng(self.seed).permutation(len(x))
        held_out, rest = np.split(order, [len(x) // 10])
        shape, n_classes = x.shape[1:], int(y.max()) + 1

        def build(choices: Any) -> keras.Model:
            return built(choices, shape, n_classes)

        with tempfile.TemporaryDirectory() as folder:
            shared = {"objective": "val_accuracy", "seed": self.seed, "directory": folder, "overwrite": True}
            if self.kind == "random":
                tuner = _timed(keras_tuner.RandomSearch, deadline)(build, max_trials=MOST_TRIALS, **shared)
            else:
                endless = {"max_epochs": self.epochs, "hyperband_iterations": MOST_TRIALS}
                tuner = _timed(keras_tuner.Hyperband, deadline)(build, **endless, **shared)
            stopping = keras.callbacks.EarlyStopping("val_loss", patience=3)
            tuner.search(
                x[rest],
                y[rest],
                epochs=self.epochs,
                validation_data=(x[held_out], y[held_out]),
                callbacks=[stopping, deadline],
                verbose=0,
            )
            self.model_ = tuner.get_best_models(1)[0]
        self.n_epochs_ = deadline.n_epochs
        return self

    def score(self, x: Any, y: Any) -> float:
        """Accuracy."""
        return float((self.model_.predict(x, batch_size=1000, verbose=0).argmax(axis=1) == y).mean())


class _Deadline(keras.callbacks.Callback):
    """Stops a trial when time is up; counts epochs of all trials."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self._moment = moment
        self.n_epochs = 0

    def __deepcopy__(self, memo: Any) -> _Deadline:
        return self  # KerasTuner copies callbacks for each trial, and this one counts over all of them.

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._moment

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.n_epochs += 1
        if self.is_over:
            self.model.stop_training = True


def _timed(tuner: type, deadline: _Deadline) -> type:
    """The tuner, which begins no trial after the deadline."""

    class Timed(tuner):  # type: ignore[misc]
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            if deadline.is_over:
                self.oracle.max_trials = len(self.oracle.trials)

    return Timed


def built(choices: Any, shape: tuple[int, ...], n_classes: int) -> keras.Model:
    model = keras.Sequential([keras.Input(shape)])
    is_image = len(shape) > 1
    for cell in range(choices.Int("cells", 1, 4) if is_image else 0):
        model.add(keras.layers.Conv2D(choices.Int(f"channels_{cell}", 8, 96, sampling="log"), 3, padding="same"))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.Activation("relu"))
        model.add(keras.layers.MaxPooling2D(2, padding="same"))
    if is_image:
        model.add(keras.layers.Flatten())
    model.add(keras.layers.Dropout(choices.Float("dropout", 0.0, 0.5, step=0.1)))
    for layer in range(choices.Int("dense_layers", 0, 2)):
        model.add(keras.layers.Dense(choices.Int(f"units_{layer}", 16, 256, sampling="log"), activation="relu"))
    model.add(keras.layers.Dense(n_classes, activation="softmax"))
    rate = choices.Float("learning_rate", 3e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

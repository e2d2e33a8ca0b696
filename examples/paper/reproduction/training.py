"""Carries one run out and says what came of it. The only module of these that trains."""

from __future__ import annotations

import gc
import time
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
from sklearn.model_selection import train_test_split

from keras_ectonas import PAPER, ECToNASTrainer
from keras_ectonas.errors import SearchError

from .experiments import Run
from .provenance import versions

import keras  # isort: skip  (after keras_ectonas, which chooses a backend)
import topologies  # isort: skip

__all__ = ["carried_out"]

VALIDATION_SHARE = 0.1
DIGITS_KEPT = 5


class Rows(NamedTuple):
    """Rows to train on, to choose by, and to measure on at the end."""

    x: np.ndarray
    y: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def carried_out(run: Run, folder: Path | None, download: bool, epochs: int) -> dict[str, Any]:
    """The run's row of results: what it was, what came of it, and everything needed to repeat it.

    Parameters
    ----------
    run : Run
    folder, download
        Where its data are from.
    epochs : int
        Of plain training.
    """
    rows = _rows(run, folder, download)
    start = _start(run, rows)
    began = time.perf_counter()
    try:
        found = _plainly_trained(run, start, rows, epochs) if run.kind == "plain" else _searched(run, start, rows)
    except SearchError as error:
        found = {"failure": str(error)}
    seconds = time.perf_counter() - began
    known = {
        "start_params": start.count_params(),
        "start_type": _network_type(start),
        "seconds": round(seconds, 1),
        "data": {
            "train": len(rows.x),
            "validation": len(rows.x_validation),
            "test": len(rows.x_test),
            "crc32": _crc(rows),
        },
        "versions": versions() | {"backend": keras.backend.backend()},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    keras.utils.clear_session()
    gc.collect()
    return run.as_dict() | found | known


@lru_cache(maxsize=1)
def _images(name: str, folder: Path | None, download: bool, samples: int | None) -> datasets.Images:
    return datasets.find(name, folder, download, samples)


def _rows(run: Run, folder: Path | None, download: bool) -> Rows:
    images = _images(run.dataset, folder, download, run.samples)
    x, x_validation, y, y_validation = train_test_split(
        images.x_train,
        images.y_train,
        test_size=VALIDATION_SHARE,
        random_state=_random_state(run),
        stratify=images.y_train,
    )
    return Rows(x, y, x_validation, y_validation, images.x_test, images.y_test)


def _random_state(run: Run) -> int:
    if run.repeat == 0:
        return run.seed
    return int(np.random.SeedSequence([run.seed, run.repeat]).generate_state(1)[0])


def _start(run: Run, rows: Rows) -> keras.Sequential:
    n_classes = int(max(rows.y.max(), rows.y_test.max())) + 1
    return topologies.build(run.topology, rows.x.shape[1:], n_classes, _random_state(run))


def _searched(run: Run, start: keras.Sequential, rows: Rows) -> dict[str, Any]:
    trainer = ECToNASTrainer(start, **_settings(run), random_state=_random_state(run), verbose=0)
    trainer.fit(rows.x, rows.y, validation_data=(rows.x_validation, rows.y_validation))
    history = trainer.history_
    return {
        "accuracy": trainer.score(rows.x_test, rows.y_test),
        "validation_accuracy": trainer.best_score_,
        "params": trainer.model_.count_params(),
        "type": _network_type(trainer.model_),
        "epochs": history["epoch"][-1],
        "spent": trainer.n_epochs_,
        "ended_by": trainer.ended_by_,
        "candidates": len(trainer.candidates_["id"]),
        "lineage": [entry.as_dict() for entry in trainer.lineage_],
        "curve": {"epoch": _short(history["epoch"]), "validation": _short(history["val_accuracy"])},
        "settings": _settings(run),
    }


def _settings(run: Run) -> dict[str, Any]:
    chosen: dict[str, Any] = dict(PAPER) if run.rules == "paper" else {}
    chosen["budget"] = run.budget
    if run.surgery is not None:
        chosen["surgery"] = run.surgery
    if run.kind == "random":
        return chosen | {"selection": "random"}
    return chosen | {"greediness": run.greediness}


def _plainly_trained(run: Run, start: keras.Sequential, rows: Rows, epochs: int) -> dict[str, Any]:
    """Train the start model as the searches do before their first changes, and measure after each epoch.

    With the same seed the weights at the beginning, the order of the rows and with them the first epochs are those of
    the searches.
    """
    watched = _WatchedOnTheWay(len(rows.x_validation))
    x, y = np.concatenate([rows.x_validation, rows.x_test]), np.concatenate([rows.y_validation, rows.y_test])
    trainer = ECToNASTrainer(
        start,
        budget=epochs,
        warmup_epochs=epochs,
        final_share=0.0,
        surgery="paper",
        scoring=watched,
        random_state=_random_state(run),
        verbose=0,
    ).fit(rows.x, rows.y, validation_data=(x, y))
    return {
        "accuracy": watched.test[-1],
        "validation_accuracy": watched.validation[-1],
        "params": start.count_params(),
        "type": _network_type(start),
        "epochs": trainer.n_epochs_,
        "curve": {
            "epoch": _short(trainer.history_["epoch"]),
            "validation": _short(watched.validation),
            "test": _short(watched.test),
        },
    }


class _WatchedOnTheWay:
    """A scorer that sees validation rows with the test rows behind them, and keeps the accuracy on each."""

    def __init__(self, n_validation: int) -> None:
        self._n_validation = n_validation
        self.validation: list[float] = []
        self.test: list[float] = []

    def __call__(self, estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
        right = estimator.predict(X) == y
        self.validation.append(float(right[: self._n_validation].mean()))
        self.test.append(float(right[self._n_validation :].mean()))
        return self.validation[-1]


def _network_type(model: keras.Sequential) -> str:
    return "CNN" if any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) else "FFNN"


def _short(values: Any) -> list[float]:
    return [round(float(value), DIGITS_KEPT) for value in values]


def _crc(rows: Rows) -> str:
    return f"{zlib.crc32(rows.x.tobytes(), zlib.crc32(rows.y.tobytes())):08x}"

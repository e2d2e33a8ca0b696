"""Data for the examples: scikit-learn's digits, the public image sets and the census data, from a folder or downloaded.

Readers for each format, what each data set is called in a folder, and the census data as images are in modules of
their own; this one makes of all the same four arrays.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .catalogue import DATASETS, MissingDataError, read
from .census import images_of_census

__all__ = ["DATASETS", "Images", "MissingDataError", "add_options", "few_rows_of_digits", "find", "load", "read"]

TEST_SHARE: Final = 0.1
"""Of a data set that has no test rows of its own, as in the paper."""


class Images(NamedTuple):
    """Images of shape (rows, height, width, channels) with values from 0 to 1, labels from 0."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def add_options(parser: argparse.ArgumentParser, dataset: str, samples: int, validation: int) -> None:
    """Options for a data set with rows to train on and rows to measure on."""
    parser.add_argument("--data", type=Path, help="folder with data sets; without it scikit-learn's digits")
    parser.add_argument("--dataset", default=dataset, help="name of the data set in that folder")
    parser.add_argument("--samples", type=int, default=samples, help="training rows")
    parser.add_argument("--validation", type=int, default=validation, help="rows to measure accuracy on")


def few_rows_of_digits(options: argparse.Namespace) -> argparse.Namespace:
    """The digits are fewer than the defaults of `add_options` for larger sets."""
    if options.data is None:
        options.samples, options.validation = 1000, 347
    return options


def load(folder: Path | None, name: str, samples: int | None = None, seed: int = 42) -> Images:
    """As `find`, with scikit-learn's digits where there is no folder."""
    return find("digits" if folder is None else name, folder, samples=samples, seed=seed)


def find(
    name: str, folder: Path | None = None, download: bool = False, samples: int | None = None, seed: int = 42
) -> Images:
    """A data set by its name.

    Parameters
    ----------
    name : str
        ``"digits"``, one of `DATASETS`, or whatever lies in `folder` as ``<name>.npz`` with x_train, y_train, x_test
        and y_test, or as a folder of one folder of images for each class.
    folder : Path, optional
    download : bool
        Fetch what is not in `folder`.
    samples : int, optional
        Draw so many training rows.
    seed : int
        For the draw, for the test rows of sets that have none, and for the order of the census columns.

    Raises
    ------
    MissingDataError
        If the data set is not there; it says what was looked for.
    """
    if name == "digits":
        return _chosen(_digits(seed), samples, seed)
    found = read(name, folder, download)
    if name == "adult":
        return _chosen(Images(*images_of_census(found.train, found.test, seed)), samples, seed)
    (x_train, y_train), test = found.train, found.test
    if test is None:
        x_train, x_test, y_train, y_test = train_test_split(
            x_train, y_train, test_size=TEST_SHARE, random_state=seed, stratify=y_train
        )
    else:
        x_test, y_test = test
    return _chosen(Images(x_train, y_train, x_test, y_test), samples, seed)


def _digits(seed: int) -> Images:
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1) / 16
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.25, random_state=seed, stratify=labels
    )
    return Images(x_train, y_train, x_test, y_test)


def _chosen(images: Images, samples: int | None, seed: int) -> Images:
    """So many training rows, and values from 0 to 1 where they are bytes."""
    x_train, y_train, x_test, y_test = images
    scale = 255.0 if x_train.max() > 1 else 1.0
    if samples is not None and samples < len(x_train):
        chosen = np.random.default_rng(seed).permutation(len(x_train))[:samples]
        x_train, y_train = x_train[chosen], y_train[chosen]
    return Images(_scaled(x_train, scale), _labels(y_train), _scaled(x_test, scale), _labels(y_test))


def _scaled(images: np.ndarray, scale: float) -> np.ndarray:
    return (images.reshape(*images.shape[:3], -1) / np.float32(scale)).astype("float32")


def _labels(labels: Any) -> np.ndarray:
    return np.asarray(labels).ravel().astype("int64")

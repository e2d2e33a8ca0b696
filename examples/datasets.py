"""Data for the examples: scikit-learn's digits, or image sets from a folder of ``<name>.npz`` files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

__all__ = ["Images", "add_options", "few_rows_of_digits", "load"]


class Images(NamedTuple):
    """Images of shape (rows, height, width, channels) with values from 0 to 1, labels from 0."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def add_options(parser: argparse.ArgumentParser, dataset: str, samples: int, validation: int) -> None:
    """Options for a data set with rows to train on and rows to measure on."""
    parser.add_argument("--data", type=Path, help="folder with <name>.npz files; without it scikit-learn's digits")
    parser.add_argument("--dataset", default=dataset, help="name of the file in that folder")
    parser.add_argument("--samples", type=int, default=samples, help="training rows")
    parser.add_argument("--validation", type=int, default=validation, help="rows to measure accuracy on")


def few_rows_of_digits(options: argparse.Namespace) -> argparse.Namespace:
    """The digits are fewer than the defaults of `add_options` for larger sets."""
    if options.data is None:
        options.samples, options.validation = 1000, 347
    return options


def load(folder: Path | None, name: str, samples: int | None = None, seed: int = 42) -> Images:
    """Read a data set.

    Parameters
    ----------
    folder : Path or None
        Where ``<name>.npz`` with x_train, y_train, x_test and y_test lies; None: scikit-learn's digits.
    name : str
    samples : int, optional
        Draw so many training rows.
    seed : int
        For the draw, and for the split of the digits.
    """
    if folder is None:
        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8, 1) * (255 / 16)
        x_train, x_test, y_train, y_test = train_test_split(
            images, labels, test_size=0.25, random_state=seed, stratify=labels
        )
    else:
        with np.load(folder / f"{name}.npz") as arrays:
            x_train, y_train, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    if samples is not None and samples < len(x_train):
        chosen = np.random.default_rng(seed).permutation(len(x_train))[:samples]
        x_train, y_train = x_train[chosen], y_train[chosen]
    return Images(_scaled(x_train), y_train.ravel(), _scaled(x_test), y_test.ravel())


def _scaled(images: np.ndarray) -> np.ndarray:
    return (images.reshape(*images.shape[:3], -1) / 255.0).astype("float32")

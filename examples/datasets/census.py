"""The census data, known as Adult: read from a folder or fetched, and laid out as images of 10 by 10 pixels.

The images follow section 4.1 of the paper: values are one-hot encoded or scaled to 0 to 1, some columns are left out
so that 100 remain, and these are scrambled, so that what is beside what means nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder

__all__ = ["SIDE", "as_images", "fetched_census", "images_of_census", "read_census"]

SIDE: Final = 10
"""Pixels along each side of an image."""

COLUMNS: Final = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
)
NUMERIC: Final = ("age", "fnlwgt", "capital-gain", "capital-loss", "hours-per-week")
CATEGORICAL: Final = tuple(name for name in COLUMNS if name not in (*NUMERIC, "education-num"))
"""Differs from the paper: its recipe leaves 101 columns, so ``education-num`` goes too, which says what ``education``
does."""

N_RARE_COUNTRIES: Final = 3
N_TRAINING_ROWS: Final = 32561
FIRST_TRAINING_ROW: Final = (39, 77516)
"""Its age and ``fnlwgt``."""

Part = tuple[Any, np.ndarray]


def read_census(home: Path) -> tuple[Part, Part] | None:
    """Training rows and test rows, each a frame of 14 columns with labels 1 for above 50,000 dollars.

    Parameters
    ----------
    home : Path
        With ``adult.data`` and ``adult.test`` as published, without a header, or with ``adult_train.csv`` and
        ``adult_test.csv``, with one; each may be packed by gzip. None if they are not there.
    """
    for names, has_header in ((("adult.data", "adult.test"), False), (("adult_train.csv", "adult_test.csv"), True)):
        paths = [_plain_or_packed(home / name) for name in names]
        if all(path.exists() for path in paths):
            train, test = (_read(path, has_header) for path in paths)
            return train, test
    return None


def _plain_or_packed(path: Path) -> Path:
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def _read(path: Path, has_header: bool) -> Part:
    import pandas as pd

    frame = pd.read_csv(
        path,
        header=0 if has_header else None,
        names=None if has_header else [*COLUMNS, "income"],
        comment="|",  # A remark is the first line of the published test rows.
        skipinitialspace=True,
    )
    return frame[list(COLUMNS)], frame["income"].str.startswith(">").to_numpy().astype("int64")


def fetched_census() -> tuple[Part, Part]:
    """The same from OpenML, which holds training rows and test rows in one table, one part behind the other."""
    from sklearn.datasets import fetch_openml

    bunch = fetch_openml("adult", version=2, as_frame=True)
    frame = bunch.data[list(COLUMNS)].astype(dict.fromkeys(CATEGORICAL, "object")).fillna("?").reset_index(drop=True)
    labels = bunch.target.astype(str).str.startswith(">").to_numpy().astype("int64")
    begins_with_training_rows = (frame["age"][0], frame["fnlwgt"][0]) == FIRST_TRAINING_ROW
    cut = N_TRAINING_ROWS if begins_with_training_rows else len(frame) - N_TRAINING_ROWS
    parts = (frame[:cut], labels[:cut]), (frame[cut:], labels[cut:])
    return parts if begins_with_training_rows else parts[::-1]


def as_images(frame: Any, seed: int = 42) -> Pipeline:
    """What makes images of shape (rows, 10, 10, 1) of census rows; it still has to be fitted.

    Parameters
    ----------
    frame : pandas.DataFrame
        For the categories there are and how often the countries occur; nothing else is learned from it.
    seed : int
        For the order of the columns.

    Raises
    ------
    ValueError
        If the frame's categories do not give 100 columns.
    """
    categories = [_kept_categories(frame, name) for name in CATEGORICAL]
    n_columns = len(NUMERIC) + sum(map(len, categories))
    if n_columns != SIDE**2:
        raise ValueError(f"the frame gives {n_columns} columns, expected {SIDE**2}: are some of the rows missing?")
    # What is not among the categories gives zeros in all of them, as if its column had been dropped.
    encoder = OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    columns = ColumnTransformer(
        [("numbers", MinMaxScaler(), list(NUMERIC)), ("categories", encoder, list(CATEGORICAL))]
    )
    order = np.random.default_rng(seed).permutation(n_columns)
    return Pipeline(
        [
            ("columns", columns),
            ("scrambled", FunctionTransformer(_scrambled, kw_args={"order": order})),
            ("pixels", FunctionTransformer(_pixels)),
        ]
    )


def _kept_categories(frame: Any, name: str) -> list[str]:
    counts = frame[name].value_counts().drop("?", errors="ignore")
    left_out: set[str] = set()
    if name == "sex":
        left_out.add("Male")
    if name == "native-country":
        left_out.update(sorted(counts.index, key=lambda country: (counts[country], country))[:N_RARE_COUNTRIES])
    return sorted(set(counts.index) - left_out)


def _scrambled(columns: np.ndarray, order: np.ndarray) -> np.ndarray:
    return columns[:, order]


def _pixels(columns: np.ndarray) -> np.ndarray:
    return columns.reshape(-1, SIDE, SIDE, 1).astype("float32")


def images_of_census(train: Part, test: Part, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, then test images and labels; scaled by the training rows."""
    import pandas as pd

    pipeline = as_images(pd.concat([train[0], test[0]]), seed)
    return pipeline.fit_transform(train[0]), train[1], pipeline.transform(test[0]), test[1]

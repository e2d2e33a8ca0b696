"""Which data sets there are, under which names their files lie in a folder, and where they can be downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from .census import fetched_census, read_census
from .formats import (
    class_folders,
    read_class_folders,
    read_idx,
    read_jpeg_archive,
    read_matlab,
    read_npz,
    read_pickled_batch,
)

__all__ = ["DATASETS", "Found", "MissingDataError", "read"]


class MissingDataError(LookupError):
    """A data set is not where it was looked for."""


class Found(NamedTuple):
    """A data set as it was read.

    Parameters
    ----------
    train : tuple
        Samples and labels.
    test : tuple or None
        The same; None if the data set has no test rows of its own.
    """

    train: Any
    test: Any


class DataSet(NamedTuple):
    """How to get a data set.

    Parameters
    ----------
    homes : tuple of str
        What its own folder may be called; its files may lie in there or, if `shared` is true, beside those of others.
    reader : callable
        Takes a folder and gives a `Found`, or None if the files are not there.
    files : str
        What the reader looks for, for people.
    source : str
        Where it is published.
    shared : bool
    """

    homes: tuple[str, ...]
    reader: Callable[[Path], Found | None]
    files: str
    source: str
    shared: bool = True


def read(name: str, folder: Path | None, download: bool = False) -> Found:
    """A data set from a folder, or else, if `download` is true, from the network.

    Raises
    ------
    MissingDataError
    """
    if folder is not None:
        for reader, home in _places(name, folder):
            found = reader(home)
            if found is not None:
                return found
    if download:
        fetched = _fetched(name)
        if fetched is not None:
            return fetched
    raise MissingDataError(_advice(name, folder, download))


def _places(name: str, folder: Path) -> Iterator[tuple[Callable[[Path], Found | None], Path]]:
    yield lambda home: _packed(home, name), folder
    dataset = DATASETS.get(name)
    names = (name, *(dataset.homes if dataset else ()))
    own = [folder / home for home in dict.fromkeys(names) if (folder / home).is_dir()]
    if folder.name in names:
        own.append(folder)
    own += [home / inner for home in own for inner in ("raw", *(dataset.homes if dataset else ()))]
    for home in (path for path in own if path.is_dir()):
        if dataset:
            yield dataset.reader, home
        yield _sorted_into_classes, home
    if dataset and dataset.shared:
        yield dataset.reader, folder


def _advice(name: str, folder: Path | None, download: bool) -> str:
    dataset = DATASETS.get(name)
    if folder is None:
        looked = "no folder was given (--data FOLDER)"
    else:
        files = f"{name}.npz or a folder {name!r}"
        looked = f"neither in {folder} as {files}" + (f" with {dataset.files}" if dataset else " of images by class")
    if dataset is None:
        return f"{name}: {looked}."
    fetch = ", and --download fetches it" if name in _DOWNLOADS and not download else ""
    return f"{name}: {looked}. It is published at {dataset.source}{fetch}."


def _packed(home: Path, name: str) -> Found | None:
    for path, reader in ((home / f"{name}.npz", read_npz), (home / f"{name}_jpeg.npz", read_jpeg_archive)):
        if path.exists():
            return Found(*reader(path))
    return None


def _idx_files(home: Path) -> Found | None:
    parts = []
    for part in ("train", "t10k"):
        paths = [_first(home, f"{part}-{kind}") for kind in ("images", "labels")]
        if None in paths:
            return None
        parts.append(tuple(read_idx(path) for path in paths if path is not None))
    return Found(*parts)


def _first(home: Path, stem: str) -> Path | None:
    found = sorted(path for path in home.glob(f"{stem}*idx*ubyte*") if path.suffix != ".zip")
    return found[0] if found else None


def _pickled(train: tuple[str, ...], test: str, label_key: bytes) -> Callable[[Path], Found | None]:
    def reader(home: Path) -> Found | None:
        if not all((home / name).is_file() for name in (*train, test)):
            return None
        return Found(_joined(home, train, label_key), _joined(home, (test,), label_key))

    return reader


def _joined(home: Path, names: tuple[str, ...], label_key: bytes) -> tuple[np.ndarray, np.ndarray]:
    batches = [read_pickled_batch(home / name) for name in names]
    rows = np.concatenate([batch[b"data"] for batch in batches])
    labels = np.concatenate([np.asarray(batch[label_key]) for batch in batches])
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _matlab_files(home: Path) -> Found | None:
    paths = [home / f"{part}_32x32.mat" for part in ("train", "test")]
    return Found(*map(read_matlab, paths)) if all(path.exists() for path in paths) else None


def _sorted_into_classes(home: Path) -> Found | None:
    names = [path.name for path in class_folders(home)]
    if names and not {"train", "test"} <= set(names):
        return Found(read_class_folders(home, names), None)
    names = [path.name for path in class_folders(home / "train")]
    if names and class_folders(home / "test"):
        return Found(read_class_folders(home / "train", names), read_class_folders(home / "test", names))
    return None


def _census_files(home: Path) -> Found | None:
    parts = read_census(home)
    return None if parts is None else Found(*parts)


def _fetched(name: str) -> Found | None:
    if name == "adult":
        return Found(*fetched_census())
    if name not in _DOWNLOADS:
        return None
    import keras

    return Found(*getattr(keras.datasets, name).load_data())


_DOWNLOADS: Final = frozenset({"mnist", "fashion_mnist", "cifar10", "cifar100", "adult"})

_IDX: Final = "train-images-idx3-ubyte and its three companions, packed by gzip or not"

DATASETS: Final[dict[str, DataSet]] = {
    "mnist": DataSet(("MNIST",), _idx_files, _IDX, "yann.lecun.org/exdb/mnist", shared=False),
    "fashion_mnist": DataSet(
        ("FashionMNIST", "fashion-mnist"), _idx_files, _IDX, "github.com/zalandoresearch/fashion-mnist", shared=False
    ),
    "cifar10": DataSet(
        ("cifar-10-batches-py",),
        _pickled(tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch", b"labels"),
        "data_batch_1 to data_batch_5 and test_batch",
        "www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "cifar100": DataSet(
        ("cifar-100-python",),
        _pickled(("train",), "test", b"fine_labels"),
        "train and test",
        "www.cs.toronto.edu/~kriz/cifar.html",
        shared=False,
    ),
    "eurosat": DataSet(
        ("EuroSAT", "EuroSAT_RGB", "2750"),
        _sorted_into_classes,
        "a folder of images for each class",
        "github.com/phelber/EuroSAT",
        shared=False,
    ),
    "svhn": DataSet(("SVHN",), _matlab_files, "train_32x32.mat and test_32x32.mat", "ufldl.stanford.edu/housenumbers"),
    "adult": DataSet(
        ("Adult", "census"),
        _census_files,
        "adult.data and adult.test, or adult_train.csv and adult_test.csv, packed by gzip or not",
        "archive.ics.uci.edu/dataset/2/adult",
    ),
}

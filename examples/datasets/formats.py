"""Readers of the public file formats. They know files and arrays, and no data set by name.

Each gives images of shape (rows, height, width[, channels]) as bytes, and labels as whole numbers from 0.
"""

from __future__ import annotations

import gzip
import io
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np

__all__ = [
    "FormatError",
    "class_folders",
    "read_class_folders",
    "read_idx",
    "read_jpeg_archive",
    "read_matlab",
    "read_npz",
    "read_pickled_batch",
]

Labelled = tuple[np.ndarray, np.ndarray]

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})


class FormatError(ValueError):
    """A file is not what its name promises."""


def read_npz(path: Path) -> tuple[Labelled, Labelled]:
    """Arrays x_train, y_train, x_test and y_test of one file."""
    with np.load(path) as arrays:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(arrays)
        if missing:
            raise FormatError(f"{path} has no {', '.join(sorted(missing))}: it holds {', '.join(arrays)}.")
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def read_jpeg_archive(path: Path) -> tuple[Labelled, Labelled]:
    """Arrays jpeg_train, end_train, y_train and the same of the test rows.

    The files of all images stand one behind the other, and ``end`` tells where each one ends.
    """
    with np.load(path) as arrays:
        train, test = (
            (_jpeg_images(arrays[f"jpeg_{part}"].tobytes(), arrays[f"end_{part}"]), arrays[f"y_{part}"])
            for part in ("train", "test")
        )
    return train, test


def _jpeg_images(data: bytes, ends: np.ndarray) -> np.ndarray:
    starts = [0, *ends[:-1].tolist()]
    return np.stack([_pixels(io.BytesIO(data[start:end])) for start, end in zip(starts, ends.tolist(), strict=True)])


def _pixels(file: Any) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def read_idx(path: Path) -> np.ndarray:
    """An array in the format of the original MNIST release, packed by gzip or not.

    Two zero bytes, the number type, the number of axes, the length of each, then the numbers.
    """
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise FormatError(f"{path} is no idx file of bytes: it begins with {data[:4].hex(' ')}, expected 00 00 08.")
    n_axes = data[3]
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", n_axes, 4))
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * n_axes)
    if values.size != np.prod(shape):
        raise FormatError(f"{path} promises an array of shape {shape} and holds {values.size} bytes.")
    return values.reshape(shape)


def read_pickled_batch(path: Path) -> dict[bytes, Any]:
    """A batch of CIFAR's Python version: a pickled dictionary of arrays, lists and byte strings, and of nothing else.

    A pickle can call whatever it names; this reader lets it name arrays alone.
    """
    with path.open("rb") as file:
        batch = _ArraysOnly(file, encoding="bytes").load()
    if not isinstance(batch, dict):
        raise FormatError(f"{path} holds a {type(batch).__name__}, expected a dictionary.")
    return batch


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.empty(0).__reduce__()[0]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin_bytes
        raise FormatError(f"the pickle asks for {module}.{name}: expected nothing but arrays.")


def _latin_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes byte strings into pickles that Python 2 can read."""
    if encoding != "latin1":
        raise FormatError(f"the pickle holds bytes encoded as {encoding!r}, expected 'latin1'.")
    return text.encode("latin1")


def read_matlab(path: Path) -> Labelled:
    """X of shape (height, width, channels, rows) and y, where the class 10 stands for the digit 0."""
    from scipy.io import loadmat

    content = loadmat(path, variable_names=["X", "y"])
    if not {"X", "y"} <= set(content):
        raise FormatError(f"{path} has no arrays X and y.")
    return np.moveaxis(content["X"], -1, 0), content["y"].ravel().astype("int64") % 10


def class_folders(folder: Path) -> list[Path]:
    """The folders in `folder` that hold images, in the order of their names; each is a class."""
    if not folder.is_dir():
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in inner if any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir())]


def read_class_folders(folder: Path, names: list[str] | None = None) -> Labelled:
    """Images of one size in a folder for each class; classes are numbered in the order of their names."""
    names = names if names is not None else [path.name for path in class_folders(folder)]
    images: list[np.ndarray] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        for file in sorted((folder / name).iterdir()):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                images.append(_pixels(file))
                labels.append(label)
    shapes = {image.shape for image in images}
    if len(shapes) != 1:
        raise FormatError(f"the images in {folder} are of the shapes {sorted(shapes)}: expected a single one.")
    return np.stack(images), np.array(labels)

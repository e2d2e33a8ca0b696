"""A network as one file: its structure as JSON and its arrays, read with pickle disabled."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from ..network import Array, Layer, Network, Weight
from .values import decoded, encoded

__all__ = ["DamagedFileError", "ForeignFileError", "NetworkContent", "read_network", "write_network"]

_STRUCTURE: Final = "structure"


class DamagedFileError(Exception):
    """A file that was not written to its end, or that the disk lost part of."""


class ForeignFileError(Exception):
    """A whole file that is not what was written."""


class NetworkContent:
    """What a file holds of a network, optimizer slots included, and the fingerprint that is its name.

    Parameters
    ----------
    network : Network

    Raises
    ------
    TypeError
        If a layer's configuration holds something else than plain data.
    """

    def __init__(self, network: Network) -> None:
        structure, self.arrays = _taken_apart(network)
        self.structure = json.dumps(structure, sort_keys=True)
        self.fingerprint = _fingerprint(self.structure, self.arrays)


def write_network(content: NetworkContent, file: BinaryIO) -> None:
    arrays = {str(number): array for number, array in enumerate(content.arrays)}
    text = np.frombuffer(content.structure.encode(), np.uint8)
    np.savez(file, allow_pickle=False, **{_STRUCTURE: text}, **arrays)


def read_network(path: Path) -> Network:
    """The network in the file `path`, whose name is its fingerprint.

    Raises
    ------
    DamagedFileError
        If it is missing or cannot be read.
    ForeignFileError
        If it holds something else than what its name says.
    """
    try:
        # Given a path, NumPy leaves the file of a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            text = stored[_STRUCTURE].tobytes().decode()
            arrays = [stored[str(number)] for number in range(len(stored.files) - 1)]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedFileError(f"{path.name} cannot be read: {error}") from error
    if _fingerprint(text, arrays) != path.stem:
        raise ForeignFileError(f"{path.name} does not hold what its name says")
    return _put_together(json.loads(text), arrays)


def _fingerprint(structure: str, arrays: list[Array]) -> str:
    digest = hashlib.sha256(structure.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _taken_apart(network: Network) -> tuple[dict[str, Any], list[Array]]:
    arrays: list[Array] = []
    layers = []
    for layer in network.layers:
        weights = []
        for weight in layer.weights:
            weights.append({"name": weight.name, "slots": list(weight.slots)})
            arrays += [weight.value, *weight.slots.values()]
        layers.append(
            {
                "kind": layer.kind,
                "config": encoded(layer.config, f"the configuration of layer {layer.name!r} ({layer.kind})"),
                "output_shape": encoded(layer.output_shape, "output_shape"),
                "weights": weights,
            }
        )
    structure = {
        "input_shape": encoded(network.input_shape, "input_shape"),
        "nonnegative_input": network.nonnegative_input,
        "optimizer_state": list(network.optimizer_state),
        "layers": layers,
    }
    arrays += [np.asarray(array) for array in network.optimizer_state.values()]
    structure["types"] = {str(number): array.dtype.name for number, array in enumerate(arrays) if _is_foreign(array)}
    return structure, [array.view(f"u{array.itemsize}") if _is_foreign(array) else array for array in arrays]


def _is_foreign(array: Array) -> bool:
    """Whether NumPy would keep the bytes and forget the number type, as of a bfloat16."""
    return array.dtype.kind == "V"


def _put_together(structure: dict[str, Any], stored: list[Array]) -> Network:
    types = structure["types"]
    arrays = iter([array.view(types.get(str(number), array.dtype)) for number, array in enumerate(stored)])
    layers = []
    for layer in structure["layers"]:
        weights = tuple(
            Weight(weight["name"], next(arrays), {slot: next(arrays) for slot in weight["slots"]})
            for weight in layer["weights"]
        )
        layers.append(Layer(layer["kind"], decoded(layer["config"]), weights, decoded(layer["output_shape"])))
    return Network(
        decoded(structure["input_shape"]),
        tuple(layers),
        {name: next(arrays) for name in structure["optimizer_state"]},
        structure["nonnegative_input"],
    )

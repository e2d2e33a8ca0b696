"""Files that are there as a whole or not at all, and the names and checksums of those in a search's folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

__all__ = [
    "FORMAT",
    "NETWORK_NAME",
    "STATE_NAME",
    "TEMPORARY_NAME",
    "VERSION",
    "Identity",
    "StateFile",
    "checksum",
    "sync",
    "write_whole",
]

FORMAT: Final = "keras_ectonas search"
VERSION: Final = 2

# Nothing of another name is ever deleted.
STATE_NAME: Final = re.compile(r"state-(\d{8})\.json")
NETWORK_NAME: Final = re.compile(r"[0-9a-f]{64}\.npz")
TEMPORARY_NAME: Final = re.compile(r"(state-\d{8}|[0-9a-f]{64})-[0-9a-f]{32}\.tmp")

Identity = Mapping[str, str]
"""What makes a search the same search: settings, start, data, each in words."""


class StateFile(NamedTuple):
    """A state: its number, what search it is of, its parts in JSON, and the networks that it needs."""

    number: int
    identity: Identity
    search: Mapping[str, Any]

    @property
    def networks(self) -> set[str]:
        held = (*self.search["candidates"], *self.search["front"])
        return {one["network"] for one in held if one["network"] is not None}


def checksum(identity: Any, search: Any) -> str:
    return hashlib.sha256(json.dumps([identity, search], sort_keys=True).encode()).hexdigest()


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """A file that is there as a whole or not at all, whenever the power goes."""
    temporary = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too must not leave half a file behind.
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Force a folder's entries onto the disk, where the system has folders that can be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

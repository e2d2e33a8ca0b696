"""The folder of a search: one process writes into it, and the last two complete states are always there.

Each state is a JSON file with a version and a checksum. It names the networks that it needs by their fingerprints;
a network that has not changed is not written again, and what no state needs is deleted. Every file is written
under another name, forced onto the disk and renamed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from ..errors import InputError, InputTypeError
from .files import FORMAT, STATE_NAME, VERSION, Identity, StateFile, checksum
from .networks import DamagedFileError, ForeignFileError, read_network
from .records import state_from

__all__ = ["Folder"]

_LOGGER = logging.getLogger(__name__)
Found = TypeVar("Found")


class Folder:
    """Where a search is kept.

    Parameters
    ----------
    path : str or path
    resume : bool
        Whether a search in the folder is to be continued; otherwise a folder that holds one is refused.

    Raises
    ------
    InputError
        If `path` cannot be a folder, holds a search that is not to be continued, or one that cannot be read.
    """

    def __init__(self, path: Any, resume: bool) -> None:
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise InputTypeError(f"checkpoint={path!r}: expected the path of a folder, or None.")
        self.path = Path(path).expanduser().absolute()
        try:
            obstacle = _obstacle(self.path)
        except (OSError, ValueError) as error:
            raise InputError(f"checkpoint={str(path)!r} cannot be a path: {error}.") from error
        if obstacle:
            raise InputError(f"checkpoint={str(path)!r} {obstacle}")
        if self.numbers() and not resume:
            raise InputError(
                f"checkpoint={str(path)!r} holds a search already: resume=True continues it; another folder, or this "
                "one emptied, begins a new one."
            )

    def identity(self) -> Identity:
        """Of which search the folder holds a state; empty if it holds none."""
        if not self.numbers():
            return {}
        with self._locked():
            return self._newest(self._state).identity

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Make the folder if need be, and close it to all others. One made here that holds no state then is removed.

        Raises
        ------
        InputError
            If another process or thread has it open, or it cannot be written.
        """
        created = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.unusable(error) from error
        with self._locked():
            try:
                yield
            finally:
                if created and not self.numbers():
                    self._remove_if_unused()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep all others out; the lock ends with its process, however that ends."""
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"checkpoint={str(self.path)!r} is in use by a search that is running: wait for it, or take another "
                "folder."
            ) from error
        except OSError as error:
            raise self.unusable(error) from error
        try:
            yield
        finally:
            lock.release()

    def _remove_if_unused(self) -> None:
        try:
            (self.path / "lock").unlink(missing_ok=True)
            if self.path.is_dir() and not any(self.path.iterdir()):
                self.path.rmdir()
        except OSError as error:
            _LOGGER.warning("%s holds no search, and could not be removed: %s", self.path, error)

    def unusable(self, error: OSError) -> InputError:
        return InputError(f"checkpoint={str(self.path)!r} cannot be used as a folder to write into: {error}.")

    def numbers(self) -> list[int]:
        """Of the state files there are, the newest last."""
        found = [STATE_NAME.fullmatch(path.name) for path in self.path.glob("state-*.json")]
        return sorted(int(match[1]) for match in found if match)

    def state_path(self, number: int) -> Path:
        return self.path / f"state-{number:08d}.json"

    def network_path(self, fingerprint: str) -> Path:
        return self.networks / f"{fingerprint}.npz"

    @property
    def networks(self) -> Path:
        return self.path / "networks"

    def newest(self) -> tuple[StateFile, dict[str, Any]]:
        """The newest state that is whole, and the same in the form that a search takes up."""
        return self._newest(self._state_with_networks)

    def _newest(self, read: Callable[[int], Found]) -> Found:
        damages: list[str] = []
        for number in reversed(self.numbers()):
            try:
                found = read(number)
            except DamagedFileError as error:
                damages.append(str(error))
                continue
            except ForeignFileError as error:
                raise InputError(f"checkpoint={str(self.path)!r}: {error}. Nothing was overwritten.") from error
            if damages:
                _LOGGER.warning("%s: %s; the state before is whole and is taken.", self.path, "; ".join(damages))
            return found
        raise InputError(
            f"checkpoint={str(self.path)!r} holds no complete state: {'; '.join(damages)}. Nothing was overwritten."
        )

    def _state(self, number: int) -> StateFile:
        path = self.state_path(number)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedFileError(f"{path.name} cannot be read to its end: {error}") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ForeignFileError(f"{path.name} is not a state of a search")
        if document.get("version") != VERSION:
            raise ForeignFileError(
                f"{path.name} has version {document.get('version')!r} of the format, this release reads version "
                f"{VERSION}: another release of keras_ectonas wrote it, and can read it"
            )
        if document.get("checksum") != checksum(document.get("identity"), document.get("search")):
            raise ForeignFileError(f"{path.name} has been changed since it was written: its checksum does not match")
        return StateFile(number, document["identity"], document["search"])

    def _state_with_networks(self, number: int) -> tuple[StateFile, dict[str, Any]]:
        state = self._state(number)
        networks = {fingerprint: read_network(self.network_path(fingerprint)) for fingerprint in state.networks}
        return state, state_from(state.search, networks.__getitem__)


def _obstacle(path: Path) -> str:
    """Why there cannot be a folder to write into at `path`, as far as can be seen; empty if nothing speaks against it.

    Raises
    ------
    OSError, ValueError
        If no file system could have such a path.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        # Unlike `exists`, it tells of what no path can hold.
        path.stat()
    if path.exists() and not path.is_dir():
        return "is a file: expected a folder, or a path that is free."
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        return ""
    kind = "closed to writing" if nearest.is_dir() else "a file"
    return f"cannot be used as a folder to write into: {str(nearest)!r} is {kind}."

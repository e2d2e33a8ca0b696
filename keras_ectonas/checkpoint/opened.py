"""An open folder: states are added, and what they do not need any more is deleted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ..errors import InputError
from ..network import Network
from .files import (
    FORMAT,
    NETWORK_NAME,
    TEMPORARY_NAME,
    VERSION,
    Identity,
    StateFile,
    checksum,
    sync,
    write_whole,
)
from .folder import Folder
from .networks import NetworkContent, write_network
from .records import state_to

__all__ = ["Opened", "open_folder"]

_LOGGER = logging.getLogger(__name__)
_STATES_KEPT: Final = 2


@contextmanager
def open_folder(folder: Folder, identity: Identity) -> Iterator[Opened]:
    """A folder for reading and writing, closed to all others.

    Parameters
    ----------
    folder : Folder
    identity : mapping of str to str
        What makes the search the same search: settings, start, data.

    Raises
    ------
    InputError
        If another process or thread has it open, it holds another search, or it cannot be written.
    """
    with folder.occupied():
        yield Opened(folder, identity)


class Opened:
    """An open folder: gives the state to go on from, if any, and takes new ones.

    Parameters
    ----------
    folder : Folder
    identity : mapping of str to str

    Raises
    ------
    InputError
        If the folder holds another search.
    """

    def __init__(self, folder: Folder, identity: Identity) -> None:
        self._folder = folder
        self._identity = identity
        self._kept: list[StateFile] = []
        self._whole: set[str] = set()
        self._number = max(folder.numbers(), default=0)
        self._contents: dict[int, tuple[Network, str]] = {}
        self._failed = False
        self.state: dict[str, Any] | None = None
        if folder.numbers():
            found, self.state = folder.newest()
            _check_identity(folder.path, found.identity, identity)
            self._kept, self._whole = [found], found.networks

    @property
    def path(self) -> Path:
        return self._folder.path

    def write(self, state: Mapping[str, Any]) -> None:
        """Add a state, and delete what no longer counts.

        If the disk is full or gone, the log says so and the search goes on; the states before stay.
        """
        try:
            self._write(state)
        except OSError as error:
            if not self._failed:
                _LOGGER.warning(
                    "%s: the state of the search could not be written: %s. The search goes on, the folder keeps the "
                    "state before.",
                    self._folder.path,
                    error,
                )
            self._failed = True
        else:
            self._failed = False

    def begin(self, state: Mapping[str, Any]) -> None:
        """Write the first state of a search; raises `InputError` if that is not possible."""
        try:
            self._write(state)
        except OSError as error:
            raise self._folder.unusable(error) from error
        except TypeError as error:
            raise InputError(f"checkpoint: {error}.") from error

    def _write(self, state: Mapping[str, Any]) -> None:
        self._folder.networks.mkdir(exist_ok=True)
        contents: dict[int, tuple[Network, str]] = {}

        def stored(network: Network) -> str:
            known = self._contents.get(id(network)) or contents.get(id(network))
            is_there = known is not None and self._folder.network_path(known[1]).exists()
            fingerprint = known[1] if known is not None and is_there else self._store(network)
            contents[id(network)] = network, fingerprint
            return fingerprint

        search = state_to(state, stored)
        sync(self._folder.networks)
        new = StateFile(self._number + 1, self._identity, search)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "checksum": checksum(self._identity, search),
            "identity": self._identity,
            "search": search,
        }
        text = json.dumps(document).encode()
        write_whole(self._folder.state_path(new.number), lambda file: file.write(text))
        self._number, self._contents = new.number, contents
        self._kept = [*self._kept, new][-_STATES_KEPT:]
        self._prune()

    def _store(self, network: Network) -> str:
        content = NetworkContent(network)
        path = self._folder.network_path(content.fingerprint)
        # A file that was not read may be damaged.
        if content.fingerprint not in self._whole or not path.exists():
            write_whole(path, lambda file: write_network(content, file))
            self._whole.add(content.fingerprint)
        return content.fingerprint

    def _prune(self) -> None:
        """Delete what the kept states do not need, and what a process left that was killed."""
        numbers = {state.number for state in self._kept}
        for number in self._folder.numbers():
            if number not in numbers:
                self._folder.state_path(number).unlink()
        for path in self._folder.path.glob("state-*.tmp"):
            if TEMPORARY_NAME.fullmatch(path.name):
                path.unlink()
        self._prune_networks()

    def _prune_networks(self) -> None:
        needed = set().union(*(state.networks for state in self._kept))
        for path in self._folder.networks.glob("*"):
            unneeded = NETWORK_NAME.fullmatch(path.name) and path.stem not in needed
            if unneeded or TEMPORARY_NAME.fullmatch(path.name):
                path.unlink()


def _check_identity(path: Path, found: Identity, wanted: Identity) -> None:
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        parts = [
            f"{name}: {_shown(found.get(name))} in the folder, {_shown(wanted.get(name))} now" for name in differing
        ]
        raise InputError(
            f"checkpoint={str(path)!r} holds another search, it differs in {'; '.join(parts)}. Nothing was "
            "overwritten. Only budget, max_time, engine, n_jobs, verbose and callbacks may change."
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

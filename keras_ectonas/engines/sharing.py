"""What the searches of one process share: the global random state, memory and JAX's caches of compiled programs."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from ..random_state import RANDOM_STATE, random_state, set_random_state

__all__ = ["clear_compiled_programs", "training"]

_LOCK = threading.Lock()


class _Shared:
    """How many engines train now, and what is to be done when none does."""

    n_training = 0
    clearing_is_due = False
    before: tuple[Any, ...] = ()


@contextmanager
def training() -> Iterator[None]:
    """Around all that an engine does for a round of jobs.

    When the last of those that overlap has left, the global random state is what it was when the first one came, and
    caches are cleared if anybody asked for it meanwhile: not sooner, because others may be tracing or compiling.
    """
    with RANDOM_STATE, _LOCK:
        if _Shared.n_training == 0:
            _Shared.before = random_state()
        _Shared.n_training += 1
    try:
        yield
    finally:
        with RANDOM_STATE, _LOCK:
            _Shared.n_training -= 1
            if _Shared.n_training == 0:
                set_random_state(_Shared.before)
                _clear_if_due()


def clear_compiled_programs() -> None:
    """Compiled programs and traces of models that are gone stay in JAX's caches until told to go.

    They go as soon as no engine of this process trains.
    """
    with _LOCK:
        _Shared.clearing_is_due = True
        if _Shared.n_training == 0:
            _clear_if_due()


def _clear_if_due() -> None:
    if not _Shared.clearing_is_due:
        return
    _Shared.clearing_is_due = False
    gc.collect()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    _give_memory_back()


def _give_memory_back() -> None:
    """The GNU C library keeps what is freed, in pieces too small for what comes next; others have no such function."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)

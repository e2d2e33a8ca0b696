"""What the searches of one process share: the global random state, memory and JAX's caches of compiled programs."""

from __future__ import annotations

import ctypes
import gc
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ..random_state import RANDOM_STATE

__all__ = ["clear_compiled_programs", "training"]

_LOCK = threading.Lock()


class _Shared:
    """How many engines train now, and what is to be done when none does."""

    n_training = 0
    clearing_is_due = False
    random_states: Any = None


@contextmanager
def training() -> Iterator[None]:
    """Around all that an engine does for a round of jobs.

    When the last of those that overlap has left, the global random state is what it was when the first one came, and
    caches are cleared if anybody asked for it meanwhile: not sooner, because others may be tracing or compiling.
    """
    with RANDOM_STATE, _LOCK:
        if _Shared.n_training == 0:
            _Shared.random_states = random.getstate(), np.random.get_state(), _state_of_torch()
        _Shared.n_training += 1
    try:
        yield
    finally:
        with RANDOM_STATE, _LOCK:
            _Shared.n_training -= 1
            if _Shared.n_training == 0:
                python, numpy, torch = _Shared.random_states
                random.setstate(python)
                np.random.set_state(numpy)
                _set_state_of_torch(torch)
                _clear_if_due()


def _state_of_torch() -> Any:
    """None with another backend."""
    if keras.backend.backend() != "torch":
        return None
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_state_of_torch(states: Any) -> None:
    if states is None:
        return
    import torch

    torch.set_rng_state(states[0])
    if states[1]:
        torch.cuda.set_rng_state_all(states[1])


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

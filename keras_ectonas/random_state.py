"""The global random generators of Python, NumPy and PyTorch, which belong to the user."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

__all__ = ["RANDOM_STATE", "random_state", "set_random_state", "untouched_random_state"]

RANDOM_STATE: Final = threading.RLock()
"""Held by whoever draws from the global random generators. Nobody waits, while holding it, for one who may want it."""


def random_state() -> tuple[Any, ...]:
    """Where the global generators are; PyTorch's too, if anybody has imported it."""
    torch: Any = sys.modules.get("torch")
    if not hasattr(torch, "get_rng_state"):  # as while another thread imports it
        return random.getstate(), np.random.get_state()
    on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_devices


def set_random_state(state: tuple[Any, ...]) -> None:
    """Put the global generators where they were when `random_state` gave `state`."""
    python, numpy, *of_torch = state
    random.setstate(python)
    np.random.set_state(numpy)
    if of_torch:
        torch, (own, on_devices) = sys.modules["torch"], of_torch
        torch.set_rng_state(own)
        if on_devices:
            torch.cuda.set_rng_state_all(on_devices)


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Leave the global random state as it was, Keras' too.

    Keras draws the seeds of layers and initializers that have none from Python's generator. One thread at a time may,
    so that no other search draws in between.
    """
    with RANDOM_STATE:
        before = random_state()
        try:
            yield
        finally:
            set_random_state(before)

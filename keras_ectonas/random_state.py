"""The global random generators of Python and NumPy, which belong to the user."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

__all__ = ["RANDOM_STATE", "untouched_random_state"]

RANDOM_STATE: Final = threading.RLock()
"""Held by whoever draws from the global random generators. Nobody waits, while holding it, for one who may want it."""


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Leave Python's, NumPy's and Keras' global random state as it was.

    Keras draws the seeds of layers and initializers that have none from Python's generator. One thread at a time may,
    so that no other search draws in between.
    """
    with RANDOM_STATE:
        python, numpy = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)

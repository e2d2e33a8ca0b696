"""Rows that are alike: weights that stand for copies, and copies that must not be on both sides of a split."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from ..network import Array

__all__ = ["alike", "copies_for"]

_MOST_COPIES: Final = 10
_MOST_BYTES: Final = 2**28


def copies_for(weights: Array, bytes_per_row: int) -> Array | None:
    """Numbers of the rows, each as often as its weight says.

    None if weights are no whole numbers, or would make more than ten times as many rows or more than 256 MiB.
    """
    if (weights != np.floor(weights)).any():
        return None
    total = float(weights.sum())
    if total > _MOST_COPIES * len(weights) or (total > len(weights) and total * bytes_per_row > _MOST_BYTES):
        return None
    return np.repeat(np.arange(len(weights)), weights.astype(int))


def alike(x: Array, y: Array) -> Array | None:
    """For each row the number of the group of those like it, numbers following from the rows' content alone.

    None if no two rows are alike.

    Parameters
    ----------
    x, y : ndarray of shape (rows, ...)
    """
    samples, targets = np.ascontiguousarray(x), np.ascontiguousarray(y)
    digests = b"".join(
        hashlib.blake2b(sample.tobytes() + target.tobytes(), digest_size=8).digest()
        for sample, target in zip(samples.reshape(len(x), -1), targets.reshape(len(y), -1), strict=True)
    )
    distinct, groups = np.unique(np.frombuffer(digests, dtype=np.uint64), return_inverse=True)
    return None if len(distinct) == len(x) else groups

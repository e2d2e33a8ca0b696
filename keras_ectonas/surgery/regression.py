"""The least-squares problems of calibrated surgery: well conditioned, in double precision, by SciPy's LAPACK."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import linalg

from ..errors import SurgeryError
from ..network import Array

__all__ = ["Fit", "SolveError", "ridge_correction", "survivors"]


_NOISE: Final = 0.5
_MOST_ROUNDS: Final = 48


class SolveError(SurgeryError):
    """A regression that gave no usable numbers."""


class Fit(NamedTuple):
    """``inputs @ matrix + offset``.

    Parameters
    ----------
    matrix : ndarray of shape (inputs, outputs)
    offset : ndarray of shape (outputs,)
    """

    matrix: Array
    offset: Array


def ridge_correction(inputs: Array, residual: Array, ridge: float, with_offset: bool) -> Fit:
    """What to add to a linear map so that it also explains `residual`.

    Minimises ``|residual - inputs M - offset|^2 + penalty |M|^2``. The penalty is a share of the mean square length of
    an input column: `ridge`, and half the inputs that there are for each sample, because what many inputs explain of
    few samples is noise, in weights so large that training goes wrong with them. With more inputs than samples the
    dual form is solved.

    Parameters
    ----------
    inputs : ndarray of shape (samples, inputs)
    residual : ndarray of shape (samples, outputs)
    ridge : float
    with_offset : bool
        Without it the offset is zero.

    Raises
    ------
    SolveError
    """
    n_samples, n_inputs = inputs.shape
    center = inputs.mean(axis=0) if with_offset else np.zeros(n_inputs)
    level = residual.mean(axis=0) if with_offset else np.zeros(residual.shape[1])
    centered, wanted = inputs - center, residual - level
    share = ridge + _NOISE * n_inputs / n_samples
    penalty = share * max(float(np.vdot(centered, centered)) / n_inputs, np.finfo(float).tiny)
    if n_inputs <= n_samples:
        gram = centered.T @ centered
        matrix = _solved(gram, centered.T @ wanted, penalty)
    else:
        matrix = centered.T @ _solved(centered @ centered.T, wanted, penalty)
    if not np.isfinite(matrix).all():
        raise SolveError("a regression gave numbers that are not finite")
    return Fit(matrix, level - center @ matrix)


def _solved(gram: Array, right: Array, penalty: float) -> Array:
    gram[np.diag_indices_from(gram)] += penalty
    try:
        factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=True)
        solution: Array = linalg.cho_solve(factor, right, check_finite=True)
    except (linalg.LinAlgError, ValueError) as error:
        raise SolveError(f"a regression could not be solved: {error}") from error
    return solution


def survivors(gram: Array, matrix: Array, groups: Sequence[Array], n_kept: int, ridge: float) -> Array:
    """Which groups of inputs to keep, so that a linear map loses little: backward elimination.

    The cost of losing group j, when all others are refitted, is ``tr(B_j' P_jj^-1 B_j)`` with the inverse Gram
    matrix ``P`` and the refitted map ``B``; after each loss both are downdated. Where many are to go, the cheapest few
    go at once.

    Parameters
    ----------
    gram : ndarray of shape (inputs, inputs)
    matrix : ndarray of shape (inputs, outputs)
    groups : sequence of ndarray of int
        All of one size.
    n_kept : int
    ridge : float
        Relative to the mean of the Gram matrix's diagonal.

    Returns
    -------
    ndarray of int, shape (n_kept,)
        Numbers of groups, ascending.
    """
    penalty = ridge * max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
    inverse = _solved(gram.copy(), np.eye(len(gram)), penalty)
    matrix = matrix.copy()
    index = np.stack(list(groups))
    alive = np.ones(len(groups), dtype=bool)
    at_once = math.ceil((len(groups) - n_kept) / _MOST_ROUNDS)
    while alive.sum() > n_kept:
        left = np.flatnonzero(alive)
        rows = index[left]
        own = matrix[rows]
        blocks = inverse[rows[:, :, None], rows[:, None, :]]
        precision = 1.0 / blocks if blocks.shape[-1] == 1 else np.linalg.inv(blocks)
        costs = (own * (precision @ own)).sum(axis=(1, 2))
        cheapest = left[np.argsort(costs, kind="stable")[: min(at_once, len(left) - n_kept)]]
        alive[cheapest] = False
        lost = index[cheapest].ravel()
        gain = np.linalg.solve(inverse[np.ix_(lost, lost)], inverse[lost]).T
        # Both become zero for what is lost, and right for what is left.
        matrix -= gain @ matrix[lost]
        inverse -= gain @ inverse[lost]
    return np.flatnonzero(alive)

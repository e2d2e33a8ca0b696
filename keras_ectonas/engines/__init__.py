"""Engines train candidates: a candidate in, a trained candidate with its scores out.

The ``compiled`` engine lives in a package of its own, which is imported where it is used because it imports JAX.
"""

from .base import Assignment, Deadline, Engine, left_out
from .fit import FitEngine

__all__ = ["Assignment", "Deadline", "Engine", "FitEngine", "left_out"]

"""Engines train candidates: a candidate in, a trained candidate with its scores out."""

from .base import Engine
from .fit import FitEngine

__all__ = ["Engine", "FitEngine"]

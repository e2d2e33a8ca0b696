"""Changes to a network's architecture that keep as much as possible of what it has learned.

Pure functions from `Network` to `Network`, in NumPy alone, so that they give the same bits on every backend.
"""

from .base import Operated, Surgery
from .calibrated import CalibratedSurgery
from .dropout import with_dropout
from .published import PublishedSurgery

__all__ = ["CalibratedSurgery", "Operated", "PublishedSurgery", "Surgery", "with_dropout"]

"""What an interrupt may not undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["carried_out"]

_T = TypeVar("_T")


def carried_out(work: Callable[[], _T]) -> _T:
    """What `work` gives, begun anew if one `KeyboardInterrupt` comes; another ends it.

    For what follows a search: it is over, an interrupt cannot end it any more, and what it came to would be lost.
    """
    try:
        return work()
    except KeyboardInterrupt:
        return work()

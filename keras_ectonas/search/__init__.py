"""The search: Algorithm 1 of the paper as a state and its steps.

It receives `train` as an argument, and knows no engine, no disk and no screen.
"""

from .search import Search

__all__ = ["Search"]

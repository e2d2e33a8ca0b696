"""The search: Algorithm 1 of the paper, its phases, and what they decide by."""

from .search import Search

__all__ = ["Search"]

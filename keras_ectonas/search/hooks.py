"""What a search tells those who want to follow or end it."""

from __future__ import annotations

from typing import Any

from ..lineage import Candidate

__all__ = ["SearchCallback"]


class SearchCallback:
    """Follows a search; derive from it and give it among ``callbacks``.

    It is used as it is, never copied. `search` is the `Search` under way: ``search.candidates``, ``search.ledger``,
    ``search.winner()`` and its other attributes are there to be read. ``search.stop()`` ends it with the best so far.
    """

    def on_search_begin(self, search: Any) -> None:
        """Before the start model is trained."""

    def on_generation_begin(self, search: Any) -> None:
        """The children are made and not yet trained: ``search.generation`` counts from 1."""

    def on_match_end(self, search: Any, players: tuple[Candidate, Candidate], winner: Candidate | None) -> None:
        """Two candidates have met; there is no winner if both have failed."""

    def on_generation_end(self, search: Any) -> None:
        """The parents of the next generation are chosen: ``search.parents``."""

    def on_search_end(self, search: Any) -> None:
        """The search is over, whatever ended it but an error: ``search.ended_by``."""

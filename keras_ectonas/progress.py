"""What a search says while it runs. The only place of the library that prints."""

from __future__ import annotations

import sys
from typing import TextIO

from .search import Search

__all__ = ["Progress"]


class Progress:
    """Follows a search and writes lines.

    Parameters
    ----------
    verbose : int
        0: nothing; 1: a line for each generation; 2: a line for each round of matches as well.
    stream : text file, optional
        Standard output by default.
    """

    def __init__(self, verbose: int, stream: TextIO | None = None) -> None:
        self._verbose = verbose
        self._stream = stream
        self._generation = -1
        self._described = 0

    def update(self, search: Search) -> None:
        """Look at the search after a step."""
        if self._verbose >= 2:
            self._describe_new(search)
        if self._verbose >= 1 and search.generation != self._generation and search.phase != "final":
            self._generation = search.generation
            self._line(self._state_of(search))

    def finish(self, search: Search) -> None:
        if self._verbose >= 1:
            winner = search.winner()
            self._line(f"{self._state_of(search)}; winner: {winner.architecture}")

    def _state_of(self, search: Search) -> str:
        best, ledger = search.winner(), search.ledger
        score = "not scored" if best.score is None else f"{best.score:.4f}"
        total = ledger.limit / ledger.steps_per_epoch
        return (
            f"generation {search.generation}: {ledger.epochs_spent:.1f} of {total:.1f} epochs, "
            f"{len(search.candidates)} candidates, best {search.objective.name} {score} "
            f"with {best.n_params:,} parameters"
        )

    def _describe_new(self, search: Search) -> None:
        for candidate in search.candidates[self._described :]:
            score = candidate.remark or ("" if candidate.score is None else f"{candidate.score:.4f}")
            self._line(
                f"  candidate {candidate.id} of {candidate.parent}: {candidate.description}, "
                f"{candidate.n_params:,} parameters, {score}"
            )
        self._described = len(search.candidates)

    def _line(self, text: str) -> None:
        print(text, file=self._stream or sys.stdout, flush=True)

"""What a search says while it runs. The only place of the library that prints.

On a terminal, by Rich, one line that is kept up to date; in a notebook one output that is replaced; anywhere else, such
as in a file, plain lines. Rich comes with Keras and is imported only where something is to be shown.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO, final

from .lineage import Match
from .search import Search

__all__ = ["Progress"]


class Progress:
    """Follows a search and writes lines; a context manager.

    Parameters
    ----------
    verbose : int
        0: nothing; 1: one line on what was spent and reached; 2: a line for each match as well.
    stream : text file, optional
        Standard output by default.
    clock : callable
        Seconds.
    """

    def __init__(self, verbose: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._verbose = verbose
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._screen: _Screen | None = None
        self._told = 0

    def __enter__(self) -> Progress:
        if self._verbose:
            self._screen = _screen_for(self._stream or sys.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self._screen.close()

    def update(self, search: Search) -> None:
        """Look at the search after a step."""
        if self._screen is None:
            return
        self._screen.show(self._state_of(search), search.ledger.spent / search.ledger.limit, search.generation)
        if self._verbose >= 2:
            for match in search.matches[self._told :]:
                self._screen.say(_match_in_words(match, search))
            self._told = len(search.matches)

    def finish(self, search: Search) -> None:
        """The search is over."""
        self.update(search)
        if self._screen is not None:
            winner = search.winner()
            self._screen.say(
                f"winner: candidate {winner.id}, {_scored(winner.score, search)}, {winner.n_params:,} parameters: "
                f"{winner.architecture}"
            )

    def _state_of(self, search: Search) -> str:
        best, ledger = search.winner(), search.ledger
        total = ledger.limit / ledger.steps_per_epoch
        return (
            f"{ledger.epochs_spent:.1f} of {total:.1f} epochs, {ledger.left / ledger.steps_per_epoch:.1f} left"
            f"{self._time_left(search)}, generation {search.generation}, best {_scored(best.score, search)} with "
            f"{best.n_params:,} parameters"
        )

    def _time_left(self, search: Search) -> str:
        """As long as the rest takes at the pace so far; at most what ``max_time`` leaves."""
        spent, left = search.ledger.spent, search.ledger.left
        passed = self._clock() - self._began
        if search.done or not spent:
            return f" ({_duration(passed)})"
        seconds = passed * left / spent
        if search.settings.max_time is not None:
            seconds = min(seconds, max(0.0, search.settings.max_time - passed))
        return f" (about {_duration(seconds)})"


def _scored(score: float | None, search: Search) -> str:
    return f"{search.objective.name} " + ("unknown" if score is None else f"{score:.4f}")


def _match_in_words(match: Match, search: Search) -> str:
    def player(number: int) -> str:
        own = search.candidates[number]
        how = own.remark if own.status == "failed" else _scored(own.score, search)
        if search.objective.is_accuracy and own.status != "failed" and own.records:
            how += f", loss {own.val_loss:.4f}"
        return f"candidate {number} ({own.description}; {own.n_params:,} parameters; {how})"

    where = f"generation {match.generation}, {match.phase.replace('_', ' ')}"
    if match.winner is None:
        return f"  {where}: {player(match.first)} and {player(match.second)} both failed"
    loser = match.second if match.winner == match.first else match.first
    return f"  {where}: {player(match.winner)} beats {player(loser)}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _screen_for(stream: TextIO) -> _Screen:
    from rich.console import Console

    console = Console(file=stream)
    if console.is_jupyter and stream is sys.stdout:
        return _Notebook(stream)
    # Rich can be told by the environment to color a file; lines that rewrite themselves do not belong there.
    if console.is_terminal and not console.is_dumb_terminal and stream.isatty():
        return _Terminal(console)
    return _Plain(stream)


class _Screen(ABC):
    """Where progress is shown."""

    @abstractmethod
    def show(self, state: str, share: float, generation: int) -> None:
        """The state of the search in a line, and the share of the budget that is spent."""

    @abstractmethod
    def say(self, text: str) -> None:
        """A line that stays."""

    def close(self) -> None:  # noqa: B027, only a terminal needs it
        """Nothing more will come."""


@final
class _Terminal(_Screen):
    """One line with a bar at the bottom; what stays is written above it."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._bar = Bar(BarColumn(bar_width=12), text, console=console, refresh_per_second=4)
        self._task = self._bar.add_task("warm-up", total=1.0)
        self._bar.start()

    def show(self, state: str, share: float, generation: int) -> None:
        self._bar.update(self._task, description=state, completed=share)

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


@final
class _Notebook(_Screen):
    """One output that is replaced, so that a saved notebook holds its last state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._handle: Any = None

    def show(self, state: str, share: float, generation: int) -> None:
        from IPython.display import display

        content = {"text/plain": state}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


@final
class _Plain(_Screen):
    """A line for each generation."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: tuple[int, bool] | None = None

    def show(self, state: str, share: float, generation: int) -> None:
        now = (generation, share >= 1.0)
        if now != self._shown:
            self._shown = now
            self.say(state)

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

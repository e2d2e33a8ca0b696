"""Carries many runs out, side by side in processes, and goes on where it was interrupted. Trains nothing itself."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import datasets

from .experiments import Run
from .results import Results, Row

__all__ = ["Schedule"]

RUNS_OF_A_PROCESS: Final = 6
"""Then another takes its place: what compiled programs leave behind would add up."""


@dataclass
class Schedule:
    """Runs to do.

    Parameters
    ----------
    results : Results
    folder, download
        Where the data are from.
    baseline_epochs : mapping of Run to int
        The least epochs of plain training. It goes on for as long as the longest lineage of a winner from the same
        start, so that every winner can be compared with as much plain training.
    n_processes : int
    say : callable
        Receives a line after each run.

    Attributes
    ----------
    failures : list of str
        What went wrong, other than data sets that are not there.
    """

    results: Results
    folder: Path | None
    download: bool
    baseline_epochs: dict[Run, int]
    n_processes: int = 1
    say: Callable[[str], None] = print
    failures: list[str] = field(default_factory=list)

    def carry_out(self, runs: Sequence[Run]) -> None:
        """Do what is not done yet; searches from a start before its plain training."""
        self._waiting = [run for run in dict.fromkeys(runs) if run.kind == "plain" or not self._is_done(run)]
        self._under_way: dict[Future[Row], Run] = {}
        self._n_finished = 0
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(
            self.n_processes,
            context,
            initializer=_follow_the_parent,
            max_tasks_per_child=RUNS_OF_A_PROCESS,
        )
        try:
            self._begin(pool)
            while self._under_way:
                for future in wait(self._under_way, return_when=FIRST_COMPLETED).done:
                    self._finish(self._under_way.pop(future), future)
                self._begin(pool)
        except BaseException:  # Ctrl-C too: searches under way would run on for hours, with nobody to take their rows.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        pool.shutdown()

    def time_left(self) -> float | None:
        """Seconds until all is done, by what runs like those that are left took; None if there were none."""
        rates = self._seconds_an_epoch()
        ahead = [run for run in (*self._waiting, *self._under_way.values()) if not self._is_done(run)]
        seconds = []
        for run in ahead:
            rate = next((rates[likeness] for likeness in _likenesses(run) if likeness in rates), None)
            if rate is not None:
                seconds.append(rate * (self._epochs_of(run) if run.kind == "plain" else run.budget or 0))
        return len(ahead) * sum(seconds) / len(seconds) / self.n_processes if seconds else None

    def _begin(self, pool: ProcessPoolExecutor) -> None:
        while len(self._under_way) < self.n_processes:
            run = self._next()
            if run is None:
                return
            self._waiting.remove(run)
            if not self._is_done(run):
                arguments = (run, self.folder, self.download, self._epochs_of(run))
                self._under_way[pool.submit(_work, *arguments)] = run

    def _next(self) -> Run | None:
        unfinished = {run.baseline for run in (*self._waiting, *self._under_way.values()) if run.kind != "plain"}
        return next((run for run in self._waiting if run.kind != "plain" or run not in unfinished), None)

    def _finish(self, run: Run, future: Future[Row]) -> None:
        self._n_finished += 1
        try:
            row = future.result()
        except datasets.MissingDataError as error:
            self._waiting = [other for other in self._waiting if other.dataset != run.dataset]
            self.say(f"skipped {run.dataset}: {error}")
        except Exception as error:  # Other runs may go well.
            self.failures.append(f"{run.name}: {type(error).__name__}: {error}")
            self.say(f"failed: {self.failures[-1]}")
        else:
            self.results.add(row)
            self.say(f"{self._progress()}  {run.name}: {_outcome(row)}")

    def _progress(self) -> str:
        left = sum(not self._is_done(run) for run in (*self._waiting, *self._under_way.values()))
        seconds = self.time_left()
        estimate = "" if not left or seconds is None else f", {_duration(seconds)} left"
        return f"[{self._n_finished} of {self._n_finished + left}{estimate}]"

    def _is_done(self, run: Run) -> bool:
        row = self.results.rows.get(run)
        if row is None or run.kind != "plain" or "failure" in row:
            return row is not None
        return bool(row["epochs"] >= self._epochs_of(run))

    def _epochs_of(self, run: Run) -> int:
        """Of plain training."""
        longest = math.ceil(self.results.longest_lineage(run) - 1e-6)
        return max(self.baseline_epochs.get(run, 1), longest)

    def _seconds_an_epoch(self) -> dict[tuple[object, ...], float]:
        """By what runs have in common: an epoch takes about as long on the same rows from the same start."""
        sums: dict[tuple[object, ...], tuple[float, float]] = {}
        for run, row in self.results.rows.items():
            if "failure" not in row:
                for likeness in _likenesses(run):
                    seconds, epochs = sums.get(likeness, (0.0, 0.0))
                    sums[likeness] = (
                        seconds + row["seconds"],
                        epochs + row["epochs" if run.kind == "plain" else "spent"],
                    )
        return {likeness: seconds / epochs for likeness, (seconds, epochs) in sums.items()}


def _likenesses(run: Run) -> list[tuple[object, ...]]:
    """What a run has in common with others, most first."""
    return [
        (run.samples, run.rules, run.dataset, run.topology),
        (run.samples, run.rules, run.dataset),
        (run.samples, run.rules),
        (run.samples,),
    ]


def _follow_the_parent() -> None:
    """Leave interrupts to it, since a search that is interrupted would be kept as if it were complete; end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(run: Run, folder: Path | None, download: bool, epochs: int) -> Row:
    from .training import carried_out

    return carried_out(run, folder, download, epochs)


def _outcome(row: Row) -> str:
    if "failure" in row:
        return f"failed after {row['seconds']:.0f} s: {row['failure']}"
    size = f"{row['params']:,} parameters ({row['type']})"
    return f"test accuracy {row['accuracy']:.4f}, {size}, {row['epochs']:.0f} epochs, {row['seconds']:.0f} s"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{max(minutes, 1)} min"

"""Rows of results in the groups that a table or a figure compares: same rows, same budget, same starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .experiments import PAPER_BUDGET, Experiment, Run, baseline_epochs
from .results import Results, Row

__all__ = ["Cell", "Group", "Protocol", "groups_of", "mode_of"]


class Protocol(NamedTuple):
    """What must be alike for runs to be compared."""

    samples: int | None
    budget: float

    def __str__(self) -> str:
        rows = "all training rows" if self.samples is None else f"{self.samples:,} training rows"
        as_published = " (the paper's)" if self.budget == PAPER_BUDGET else ""
        return f"{rows}, budget {self.budget:g}{as_published}"


class Cell(NamedTuple):
    """Mean and standard deviation over some runs."""

    mean: float
    spread: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Cell:
        listed = np.array(list(values), dtype=float)
        return cls(float(listed.mean()), float(listed.std(ddof=1)) if len(listed) > 1 else float("nan"))


@dataclass(frozen=True)
class Group:
    """Runs on one data set by one protocol and one set of rules: in each mode from the same starts.

    Parameters
    ----------
    dataset : str
    protocol : Protocol
    rules : str
    surgery : str or None
    rows : dict of str to list of dict
        By mode; runs at the same place in their lists have the same start.
    n_left_out : int
        Starts for which a mode is missing or failed.
    """

    dataset: str
    protocol: Protocol
    rules: str
    surgery: str | None
    rows: dict[str, list[Row]]
    n_left_out: int

    def accuracy(self, mode: str) -> Cell:
        """In percent of the test rows; of plain training after as many epochs as the paper's, for its budget."""
        if mode == "plain":
            epochs = baseline_epochs(self.protocol.budget)
            return Cell.of(100 * value_after(row, "test", epochs) for row in self.rows[mode])
        return Cell.of(100 * row["accuracy"] for row in self.rows[mode])

    def accuracy_of_plain_training_as_long_as(self, mode: str) -> Cell:
        """In percent of the test rows, after as many epochs as each winner's lineage had."""
        pairs = zip(self.rows["plain"], self.rows[mode], strict=True)
        return Cell.of(100 * value_after(plain, "test", row["epochs"]) for plain, row in pairs)

    def params(self, mode: str) -> Cell:
        return Cell.of(row["params"] for row in self.rows[mode])

    @property
    def search(self) -> str:
        """How it was searched, in words."""
        return self.rules if self.surgery is None else f"{self.rules}, with {self.surgery} surgery"

    @property
    def n_starts(self) -> int:
        return len(next(iter(self.rows.values())))


def mode_of(run: Run) -> str:
    """The name by which the paper's figures are kept."""
    return f"search {run.greediness:g}" if run.kind == "search" else run.kind


def groups_of(experiment: Experiment, results: Results, modes: Sequence[str]) -> list[Group]:
    """All groups for which there are results in each of the modes, in the order of the experiment's data sets."""
    found: dict[tuple[Protocol, str, str, str | None], dict[str, dict[tuple[str, int, int], Row]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    plain: dict[tuple[str, int | None], dict[tuple[str, int, int], Row]] = defaultdict(dict)
    for run, row in results.rows.items():
        if run.dataset in experiment.datasets and run.topology in experiment.topologies:
            start = (run.topology, run.seed, run.repeat)
            if run.kind == "plain":
                plain[run.dataset, run.samples][start] = row
            elif run.surgery in experiment.surgery:
                place = (Protocol(run.samples, run.budget or 0.0), run.dataset, run.rules or "", run.surgery)
                found[place][mode_of(run)][start] = row
    groups = []
    for (protocol, dataset, rules, surgery), by_mode in found.items():
        by_mode["plain"] = plain[dataset, protocol.samples]
        group = _group(dataset, protocol, rules, surgery, {mode: by_mode[mode] for mode in modes})
        if group.n_starts:
            groups.append(group)
    return sorted(
        groups,
        key=lambda g: (
            g.protocol.samples is not None,
            -g.protocol.budget,
            -(g.protocol.samples or 0),
            experiment.datasets.index(g.dataset),
            g.rules == "default",
            g.surgery or "",
        ),
    )


def _group(
    dataset: str,
    protocol: Protocol,
    rules: str,
    surgery: str | None,
    by_mode: dict[str, dict[tuple[str, int, int], Row]],
) -> Group:
    # Plain training alone may belong to another experiment on the same rows.
    starts = list(dict.fromkeys(start for mode, rows in by_mode.items() if mode != "plain" for start in rows))
    complete = [s for s in starts if all(s in rows and "failure" not in rows[s] for rows in by_mode.values())]
    rows = {mode: [of_mode[start] for start in complete] for mode, of_mode in by_mode.items()}
    return Group(dataset, protocol, rules, surgery, rows, len(starts) - len(complete))


def value_after(row: Row, name: str, epochs: float) -> float:
    """Of a curve with one value for each epoch; the last one if it ended before."""
    curve = row["curve"][name]
    return float(curve[min(max(round(epochs), 1), len(curve)) - 1])

"""What the pictures of a search show, as numbers and words: read off a fitted estimator's attributes, nothing drawn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.exceptions import NotFittedError

from ..fitness import Objective
from ..lineage import Lineage

__all__ = ["MutationSummary", "Node", "Story", "family_tree", "mutation_summaries", "staircase", "ticks"]


@dataclass(frozen=True)
class Story:
    """The results of a search, as rows.

    Parameters
    ----------
    candidates : list of dict
    records : list of dict
        Every look at every candidate.
    front : list of dict
    lineage : Lineage
    objective : Objective
    """

    candidates: list[dict[str, Any]]
    records: list[dict[str, Any]]
    front: list[dict[str, Any]]
    lineage: Lineage
    objective: Objective

    @classmethod
    def of(cls, estimator: Any) -> Story:
        """The story of a fitted trainer, or of a callback whose ``fit`` is over."""
        if not hasattr(estimator, "pareto_front_"):
            raise NotFittedError(f"{type(estimator).__name__} has not searched yet: fit before drawing.")
        return cls(
            estimator.candidates_.rows(),
            estimator.records_.rows(),
            estimator.pareto_front_.rows(),
            estimator.lineage_,
            estimator.objective_,
        )

    @property
    def winner(self) -> dict[str, Any]:
        return self.candidates[self.lineage[-1].candidate]

    def winning_curve(self) -> tuple[list[float], list[float]]:
        """Epochs and scores along the winner's lineage."""
        line = {entry.candidate for entry in self.lineage}
        looks = [record for record in self.records if record["candidate"] in line]
        looks.sort(key=lambda record: record["epoch"])
        return [look["epoch"] for look in looks], [look["score"] for look in looks]

    def size_steps(self) -> tuple[list[float], list[int]]:
        """Parameters along the winner's lineage, as the corners of steps."""
        epochs, _ = self.winning_curve()
        end = max([*epochs, self.lineage[-1].epoch])
        starts = [entry.epoch for entry in self.lineage]
        sizes = [entry.n_params for entry in self.lineage]
        return [*starts, end], [*sizes, sizes[-1]]

    def changes(self) -> list[tuple[float, str]]:
        """The winning changes: epoch and words; where nothing changed there is nothing to tell."""
        return [(e.epoch, e.description) for e in self.lineage if e.mutation not in ("start", "identity")]


def staircase(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the best score that each size can have, for points of growing size."""
    corners: list[tuple[float, float]] = []
    for x, y in points:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


@dataclass(frozen=True)
class Node:
    """A candidate's place in the family tree: generations to the right, candidates of one below each other."""

    candidate: int
    parent: int | None
    column: int
    row: float


def family_tree(candidates: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Places for all candidates; children stand in the order of their parents, and around their height."""
    nodes: dict[int, Node] = {}
    columns: dict[int, list[Mapping[str, Any]]] = {}
    for candidate in candidates:
        parent = candidate["parent"]
        column = 0 if parent is None else nodes[parent].column + 1
        nodes[candidate["id"]] = Node(candidate["id"], parent, column, 0.0)
        columns.setdefault(column, []).append(candidate)
    for column in sorted(columns):
        members = columns[column]
        order = sorted(members, key=lambda own: (nodes[own["parent"]].row if column else 0.0, own["id"]))
        top = -(len(order) - 1) / 2
        for place, own in enumerate(order):
            nodes[own["id"]] = Node(own["id"], own["parent"], column, top + place)
    return list(nodes.values())


@dataclass(frozen=True)
class MutationSummary:
    """What one kind of mutation brought.

    Parameters
    ----------
    mutation : str
    tried : int
    went_on : int
        That became parents or the winner.
    failed : int
    gain : float or None
        Median of how much better a child scored at the end than its parent; negative where it scored worse.
    growth : float or None
        Median of the child's parameters as a share of its parent's.
    epochs, seconds : float
        Spent on training them.
    """

    mutation: str
    tried: int
    went_on: int
    failed: int
    gain: float | None
    growth: float | None
    epochs: float
    seconds: float


def mutation_summaries(story: Story) -> list[MutationSummary]:
    """One for each kind, in the order of their first use; the start model is none."""
    kinds = dict.fromkeys(own["mutation"] for own in story.candidates if own["parent"] is not None)
    return [_summary(kind, story) for kind in kinds]


def _summary(kind: str, story: Story) -> MutationSummary:
    own = [c for c in story.candidates if c["mutation"] == kind and c["parent"] is not None]
    scored = [(c, story.candidates[c["parent"]]) for c in own if c["status"] != "failed" and c["score"] is not None]
    good = story.objective.goodness
    gains = [good(child["score"]) - good(parent["score"]) for child, parent in scored]
    gains = [gain for gain in gains if math.isfinite(gain)]
    growths = [child["n_params"] / max(parent["n_params"], 1) for child, parent in scored]
    return MutationSummary(
        kind,
        len(own),
        sum(c["status"] in ("parent", "winner") for c in own),
        sum(c["status"] == "failed" for c in own),
        statistics.median(gains) if gains else None,
        statistics.median(growths) if growths else None,
        sum(c["epochs"] for c in own),
        sum(c["seconds"] for c in own),
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]

"""What is known of a search when it is over, as plain tables: what the fitted attributes and the report show.

It reads a search and changes nothing.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..fitness import Objective
from ..lineage import ancestry
from ..network import Layer, Network
from ..surgery.walk import shapes_of
from ..tables import Table
from .front import FrontMember
from .search import Search

__all__ = [
    "Account",
    "ParetoFront",
    "candidate_columns",
    "epochs_by_purpose",
    "layer_rows",
    "record_columns",
    "winner_history",
]


@dataclass(frozen=True)
class Account:
    """What a report needs beyond the tables.

    Parameters
    ----------
    data : mapping of str to str
        What went in, in words.
    parameters : Table
        The knobs as text: ``name``, ``value``, ``is_default``.
    start, winner : Table
        Their layers.
    epochs : Table
        Epochs by purpose.
    seconds : mapping of str to float
        By the clock on the wall: ``"total"``, ``"training"`` and ``"surgery"``.
    versions : mapping of str to str
        Of the packages that the search ran on.
    """

    data: Mapping[str, str]
    parameters: Table
    start: Table
    winner: Table
    epochs: Table
    seconds: Mapping[str, float]
    versions: Mapping[str, str]


class ParetoFront(Table):
    """The networks than which no other is both smaller and better, the smallest first, as a dict of columns.

    ``score`` is that of exactly the weights that are kept, on the validation rows; the scores of ``candidates_`` are
    means over a match. A candidate that was trained further can stand here more than once.

    Parameters
    ----------
    columns : mapping of str to list
    members : sequence of FrontMember
    objective : Objective
    """

    def __init__(self, columns: Mapping[str, list[Any]], members: Sequence[FrontMember], objective: Objective) -> None:
        super().__init__(columns)
        self.members = tuple(members)
        self.objective = objective

    @classmethod
    def of(cls, search: Search) -> ParetoFront:
        members = search.front
        candidates = [search.candidates[member.candidate] for member in members]
        columns: dict[str, list[Any]] = {
            "candidate": [member.candidate for member in members],
            "n_params": [member.n_params for member in members],
            "score": [member.score for member in members],
            "epoch": [member.step / search.ledger.steps_per_epoch for member in members],
            "architecture": [candidate.architecture for candidate in candidates],
            "description": [candidate.description for candidate in candidates],
        }
        return cls(columns, members, search.objective)

    def select(
        self, max_params: float | None = None, min_score: float | None = None, within: float | None = None
    ) -> FrontMember:
        """The member asked for: the smallest that scores well enough, or the best that is small enough.

        Raises
        ------
        InputError
            If an argument is no number, or no member is like that.
        """
        asked = {"max_params": max_params, "min_score": min_score, "within": within}
        for name, value in asked.items():
            _check_number(name, value, may_be_negative=name == "min_score")
        least = [-float("inf")] if min_score is None else [self.objective.goodness(min_score)]
        if within is not None:
            least.append(self.objective.goodness(self.members[-1].score) - within - 1e-12)
        fitting = [
            member
            for member in self.members
            if self.objective.goodness(member.score) >= max(least)
            and (max_params is None or member.n_params <= max_params)
        ]
        if not fitting:
            raise InputError(f"no network on the front fits {_arguments(asked)}; it holds {self._extremes()}.")
        return fitting[-1] if min_score is None and within is None else fitting[0]

    def _extremes(self) -> str:
        first, last = self.members[0], self.members[-1]
        name = self.objective.name
        smallest = f"{first.n_params:,} parameters with {name} {first.score:.4g}"
        return smallest if first is last else f"{smallest} up to {last.n_params:,} with {last.score:.4g}"


def _check_number(argument: str, value: Any, may_be_negative: bool) -> None:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)
    if value is not None and not (is_number and (may_be_negative or value >= 0)):
        raise InputError(
            f"{argument}={value!r}: expected a number{'' if may_be_negative else ' of at least 0'}, or None."
        )


def _arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)


def candidate_columns(search: Search) -> Table:
    """Every candidate ever made."""
    per_epoch = search.ledger.steps_per_epoch
    candidates = search.candidates
    return Table(
        id=[c.id for c in candidates],
        parent=[c.parent for c in candidates],
        generation=[c.generation for c in candidates],
        n_params=[c.n_params for c in candidates],
        score=[c.score for c in candidates],
        val_loss=[c.val_loss if c.records else None for c in candidates],
        status=["winner" if c.id == search.best else c.status for c in candidates],
        description=[c.description for c in candidates],
        mutation=[c.mutation for c in candidates],
        architecture=[c.architecture for c in candidates],
        first_epoch=[c.step / per_epoch for c in candidates],
        epochs=[c.steps / per_epoch for c in candidates],
        seconds=[c.seconds for c in candidates],
        remark=[c.remark for c in candidates],
    )


def record_columns(search: Search) -> Table:
    """Every look at every candidate: epochs of its lineage by then, and its score."""
    looks = [(c.id, record) for c in search.candidates for record in c.records]
    return Table(
        candidate=[candidate for candidate, _ in looks],
        epoch=[record.step / search.ledger.steps_per_epoch for _, record in looks],
        score=[record.score for _, record in looks],
    )


def winner_history(search: Search) -> Table:
    """What Keras reported along the winner's lineage, inherited epochs included.

    ``"epoch"`` tells how many epochs the lineage had been trained for at each entry, parts of one included. A
    metric that was not reported at an entry is NaN there.
    """
    records = [r for c in ancestry(search.candidates, search.best) for r in c.records]
    names = dict.fromkeys(name for record in records for name in record.logs)
    history = Table(epoch=[record.step / search.ledger.steps_per_epoch for record in records])
    for name in names:
        history[name] = [record.logs.get(name, float("nan")) for record in records]
    history["score"] = [record.score for record in records]
    return history


def epochs_by_purpose(search: Search) -> Table:
    """What the budget was spent on."""
    spent: dict[str, int] = {}
    for charge in search.ledger.charges:
        purpose = charge.purpose.split(",")[0]
        spent[purpose] = spent.get(purpose, 0) + charge.steps
    per_epoch = search.ledger.steps_per_epoch
    return Table(purpose=list(spent), epochs=[steps / per_epoch for steps in spent.values()])


def layer_rows(network: Network) -> Table:
    """The layers of a network: name, kind, what is set, shape of the outputs, number of weights."""
    shapes = shapes_of(network)[1:]
    return Table(
        name=[layer.name for layer in network.layers],
        kind=[layer.kind.rsplit(">", 1)[-1] for layer in network.layers],
        options=[_options(layer) for layer in network.layers],
        output=["x".join("?" if size is None else str(size) for size in shape) for shape in shapes],
        n_params=[layer.n_params for layer in network.layers],
    )


def _options(layer: Layer) -> str:
    """What people look for first in a layer's configuration."""
    found = []
    for key, word in (("units", "units"), ("filters", "channels")):
        if key in layer.config:
            found.append(f"{layer.config[key]} {word}")
    for key in ("kernel_size", "pool_size"):
        if key in layer.config:
            found.append(_times(layer.config[key]))
    if layer.config.get("rate") is not None and layer.kind.endswith("Dropout"):
        found.append(f"rate {layer.config['rate']}")
    activation = layer.config.get("activation")
    if isinstance(activation, str) and activation != "linear":
        found.append(activation)
    return ", ".join(found)


def _times(sizes: Any) -> str:
    return "x".join(map(str, sizes)) if isinstance(sizes, Iterable) and not isinstance(sizes, str) else str(sizes)

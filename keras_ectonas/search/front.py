"""The front of a search: the networks than which no other is both smaller and better, with their weights.

A bounded set of plain values. It knows no search, no engine and no disk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..fitness import Objective
from ..network import Network, Weight

__all__ = ["MOST_MEMBERS", "FrontMember", "extended_front", "without_optimizer"]

MOST_MEMBERS: Final = 32


@dataclass(frozen=True)
class FrontMember:
    """A candidate as it was when it was scored; trained further it may enter the front again.

    Parameters
    ----------
    candidate : int
    step : int
        Optimizer steps along its lineage.
    n_params : int
    score : float
        Of exactly these weights, on the validation rows.
    network : Network
        Without the optimizer's memory, which would triple what the front holds.
    """

    candidate: int
    step: int
    n_params: int
    score: float
    network: Network


def extended_front(
    front: Sequence[FrontMember], member: FrontMember, objective: Objective, most: int = MOST_MEMBERS
) -> list[FrontMember]:
    """The front with one more network taken into account.

    Parameters
    ----------
    front : sequence of FrontMember
        The smallest first.
    member : FrontMember
    objective : Objective
        Which of two scores is better.
    most : int
        Of more members the one goes that has others close to it.

    Returns
    -------
    list of FrontMember
        The smallest first, each better than those before it.
    """
    good = objective.goodness(member.score)
    if good == -math.inf:
        return list(front)
    if any(other.n_params <= member.n_params and objective.goodness(other.score) >= good for other in front):
        return list(front)
    kept = [o for o in front if o.n_params < member.n_params or objective.goodness(o.score) > good]
    kept.append(replace(member, network=without_optimizer(member.network)))
    kept.sort(key=lambda other: other.n_params)
    return _thinned(kept, objective) if len(kept) > most else kept


def _thinned(front: list[FrontMember], objective: Objective) -> list[FrontMember]:
    """Without the inner member whose neighbours are closest to each other, so that the rest stays evenly spread.

    Sizes are compared as ratios, scores as differences, both as shares of what the front spans.
    """

    def distance(smaller: FrontMember, larger: FrontMember) -> tuple[float, float]:
        return (
            math.log(larger.n_params / max(smaller.n_params, 1)),
            objective.goodness(larger.score) - objective.goodness(smaller.score),
        )

    def gap(index: int) -> float:
        ratio, gain = distance(front[index - 1], front[index + 1])
        return ratio / whole_ratio + gain / whole_gain

    whole_ratio, whole_gain = distance(front[0], front[-1])
    least = min(range(1, len(front) - 1), key=gap)
    return front[:least] + front[least + 1 :]


def without_optimizer(network: Network) -> Network:
    """The weights alone; the arrays are shared."""
    layers = (
        replace(layer, weights=tuple(Weight(weight.name, weight.value) for weight in layer.weights))
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers), optimizer_state={})

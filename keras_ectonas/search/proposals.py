"""Which children a generation may have, in the order in which they are made as far as the budget reaches.

It knows networks and mutations, and no candidates: a parent is a number with a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..mutations import MUTATIONS, Mutation, Site
from ..network import Network
from ..settings import SearchSettings
from .limits import proposed

__all__ = ["Proposal", "proposals", "reason_to_refuse"]


class Proposal(NamedTuple):
    """A change to one of the parents."""

    parent: int
    mutation: Mutation
    site: Site


def proposals(parents: Mapping[int, Network], settings: SearchSettings, rng: np.random.Generator) -> list[Proposal]:
    """One child for every place where a mutation can act on a parent, kinds and places mixed.

    The first parent comes first as it is, then a round of all kinds of change, then the other parents as they are.
    """
    by_kind: dict[str, list[Proposal]] = {}
    for parent, network in parents.items():
        for mutation in MUTATIONS:
            places: dict[tuple[int, bool], list[Site]] = {}
            for site in proposed(mutation, network, settings):
                places.setdefault((site.layer, bool(site.also)), []).append(site)
            for variants in places.values():
                site = variants[int(rng.integers(len(variants)))]
                by_kind.setdefault(mutation.name, []).append(Proposal(parent, mutation, site))
    identities = by_kind.pop("identity")
    first, *later = _rounds_of_kinds(by_kind, settings.greediness, rng)
    return identities[:1] + first + identities[1:] + [child for children in later for child in children]


def _rounds_of_kinds(
    by_kind: Mapping[str, list[Proposal]], greediness: float, rng: np.random.Generator
) -> list[list[Proposal]]:
    """Rounds in which each kind brings a child; of the kinds that lead away from the goal only one does.

    The goal is more accuracy in greedy mode, else less size. A kind that changes several layers together begins with
    that.
    """
    queues: dict[str, list[Proposal]] = {}
    for kind, children in by_kind.items():
        mixed = [children[int(number)] for number in rng.permutation(len(children))]
        queues[kind] = sorted(mixed, key=lambda child: bool(child.site.also))
    rounds = []
    while any(queues.values()):
        kinds = [str(kind) for kind in rng.permutation([kind for kind, queue in queues.items() if queue])]
        away = [kind for kind in kinds if _leads_away(kind, greediness)]
        rounds.append([queues[kind].pop() for kind in kinds if kind not in away[1:]])
    return rounds or [[]]


def _leads_away(kind: str, greediness: float) -> bool:
    if greediness == 1:
        return kind.startswith("remove")
    return kind in ("add_dense", "add_units", "add_channels")


def reason_to_refuse(child: Network, parent: Network, settings: SearchSettings) -> str:
    """Why a child is degenerate and not let in; empty if it is not."""
    if settings.is_too_large(child.n_params):
        return f"{child.n_params} parameters are more than max_params={settings.max_params}"
    growth = settings.max_growth
    if growth is not None and child.n_params > growth * parent.n_params:
        return f"{child.n_params} parameters are more than {growth:g} times the parent's {parent.n_params}"
    return "" if child.is_finite() else "a weight is not finite"

"""The limit on parameters: changes that would exceed it are not proposed, and a start above it is made smaller."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..errors import InputError
from ..mutations import Mutation, Site
from ..network import Network
from ..rules import producer_rule
from ..settings import SearchSettings
from ..surgery import Operated, PublishedSurgery, Surgery
from ..surgery.units import required_path, select_outputs
from ..surgery.walk import consumer_path

__all__ = ["REMOVALS", "check_can_shrink", "proposed", "shrunk"]

REMOVALS: Final = ("remove_units", "remove_channels")
_GROWING: Final = ("add_dense", "add_units", "add_cell", "add_channels", "remove_dense", "remove_cell")
"""Mutations whose children may have more parameters: taking a layer away can, where it narrowed what follows."""


def proposed(mutation: Mutation, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
    """Where the mutation may act without exceeding ``max_params``, as far as that is known beforehand."""
    sites = mutation.sites(network, settings)
    limit = settings.max_params
    if limit is None or mutation.name not in _GROWING:
        return sites
    return tuple(site for site in sites if _size_after(mutation, network, site) <= limit)


def _size_after(mutation: Mutation, network: Network, site: Site) -> int:
    """The child's parameters by the published rules, which need no data; where they fail, nothing is known."""
    try:
        return mutation.apply(network, site, PublishedSurgery(), np.random.default_rng(0)).network.n_params
    except Exception:  # The attempt itself will tell of it.
        return 0


def check_can_shrink(network: Network, max_params: int) -> None:
    """Raise `InputError` if fewer units and channels cannot bring `network` down to `max_params`."""
    smallest = _narrowed(network, 0.0).n_params
    if smallest > max_params:
        raise InputError(
            f"model has {network.n_params} parameters, max_params={max_params}: with a single unit or channel in every "
            f"hidden layer it would still have {smallest}. Start from a model that sees less at once, with pooling "
            "before its first dense layer for example, or raise the limit."
        )


def shrunk(network: Network, max_params: int, surgery: Surgery) -> tuple[Operated, str]:
    """`network` with a share of the units and channels of each hidden layer, so many that it keeps the limit.

    Parameters
    ----------
    network : Network
        Trained, so that it shows which units and channels matter.
    max_params : int
    surgery : Surgery

    Returns
    -------
    operated : Operated
    description : str

    Raises
    ------
    InputError
        If it cannot be made small enough.
    SurgeryError
        If the units or channels of a layer cannot be removed.
    """
    check_can_shrink(network, max_params)
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _narrowed(network, middle).n_params <= max_params else (low, middle)
    parent, changes, remarks = network, [], []
    for index, width in _hidden_widths(parent):
        kept = _kept(width, low)
        if kept == width:
            continue
        layer = network.layers[index]
        remove = surgery.remove_units if layer.kind == "Dense" else surgery.remove_channels
        network, remark = remove(network, index, width - kept, parent)
        changes.append(f"{layer.name} {width} to {kept}")
        remarks.append(remark)
    return Operated(network, "; ".join(filter(None, remarks))), f"shrunk to max_params: {', '.join(changes)}"


def _narrowed(network: Network, share: float) -> Network:
    """Of the size that `share` of all hidden units and channels gives, whatever the weights."""
    for index, width in _hidden_widths(network):
        network = select_outputs(network, required_path(network, index), np.arange(_kept(width, share)))
    return network


def _kept(width: int, share: float) -> int:
    return max(1, int(share * width))


def _hidden_widths(network: Network) -> list[tuple[int, int]]:
    """Index and width of each layer whose outputs can be followed to the layer that mixes them."""
    found = []
    for index, layer in enumerate(network.layers):
        rule = producer_rule(layer)
        if rule is not None and consumer_path(network, index) is not None:
            found.append((index, rule.n_outputs(layer)))
    return found

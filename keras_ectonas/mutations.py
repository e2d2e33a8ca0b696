"""The nine mutations of section 3.2: where each is possible, what it makes, and how to say it in words.

A mutation proposes sites and carries a change out with the surgery it is given; it trains nothing and
decides nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import numpy as np

from .errors import SurgeryError
from .network import Layer, Network
from .rules import Role, producer_rule, role_of
from .settings import SearchSettings
from .surgery import Operated, Surgery
from .surgery.cells import cell_at, insertion_axes
from .surgery.depth import insertion_keeps_width
from .surgery.walk import consumer_path, shapes_of

__all__ = ["MUTATIONS", "Mutation", "Site", "mutation_named"]


@dataclass(frozen=True)
class Site:
    """Where a mutation acts, and how strongly.

    Parameters
    ----------
    layer : int
        Position in ``network.layers``; for insertions, of the layer that will stand behind.
    amount : int
        Units or channels.
    axes : int
        Spatial axes of a new cell.
    pooling : {"average", "max"} or None
        Of a new cell.
    also : tuple of (int, int)
        Further layers, with their amounts, that change together with `layer`.
    """

    layer: int
    amount: int = 0
    axes: int = 0
    pooling: Literal["average", "max"] | None = None
    also: tuple[tuple[int, int], ...] = ()

    @property
    def resized(self) -> tuple[tuple[int, int], ...]:
        """Every layer that becomes wider or narrower, with its amount."""
        return ((self.layer, self.amount), *self.also)


class Mutation(ABC):
    """One kind of change to an architecture."""

    name: ClassVar[str]

    @abstractmethod
    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        """Every way in which the mutation may act on `network`; variants at one place share its `layer`."""

    @abstractmethod
    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        """The mutated network.

        Raises
        ------
        SurgeryError
            If the change is not possible after all.
        """

    @abstractmethod
    def describe(self, network: Network, site: Site) -> str:
        """The change in plain words; `network` is the parent."""

    def is_exact(self, network: Network, site: Site) -> bool:
        """Whether the mutated network computes the same function, in inference, up to rounding."""
        return False


@final
class Identity(Mutation):
    """The parent itself goes on."""

    name = "identity"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        return (Site(0),)

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return Operated(network)

    def describe(self, network: Network, site: Site) -> str:
        return "no change"

    def is_exact(self, network: Network, site: Site) -> bool:
        return True


@final
class AddDense(Mutation):
    """A new dense layer before a dense layer."""

    name = "add_dense"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        return tuple(Site(index) for index, layer in enumerate(network.layers) if _is_dense(layer))

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return surgery.add_dense(network, site.layer)

    def describe(self, network: Network, site: Site) -> str:
        layer = network.layers[site.layer]
        inputs, outputs = layer.value("kernel").shape
        n_units = inputs if insertion_keeps_width(network, site.layer) else 2 * outputs
        return f"+ a dense layer of {_counted(n_units, 'unit')} before {layer.name}"

    def is_exact(self, network: Network, site: Site) -> bool:
        return True


@final
class RemoveDense(Mutation):
    """A hidden dense layer goes."""

    name = "remove_dense"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        return tuple(Site(index) for index in _hidden(network, _is_dense))

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return surgery.remove_dense(network, site.layer)

    def describe(self, network: Network, site: Site) -> str:
        layer = network.layers[site.layer]
        return f"- the dense layer {layer.name} of {_counted(_width(layer), 'unit')}"


@final
class AddUnits(Mutation):
    """More units in a hidden dense layer."""

    name = "add_units"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        hidden = _hidden(network, _is_dense)
        singles = tuple(Site(index, _unit_step(network.layers[index], settings)) for index in hidden)
        return singles + _joint_growth(network, hidden, settings, settings.min_unit_step)

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return _one_by_one(network, site, lambda now, layer, n, _: surgery.add_outputs(now, layer, n, rng))

    def describe(self, network: Network, site: Site) -> str:
        return _resized_in_words(network, site, +1)

    def is_exact(self, network: Network, site: Site) -> bool:
        return True


@final
class RemoveUnits(Mutation):
    """Fewer units in a hidden dense layer."""

    name = "remove_units"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        hidden = _hidden(network, _is_dense)
        singles = tuple(
            Site(index, min(_unit_step(network.layers[index], settings), _width(network.layers[index]) - 1))
            for index in hidden
            if _width(network.layers[index]) > 1
        )
        return singles + _joint_shrinking(network, hidden, settings)

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return _one_by_one(network, site, surgery.remove_units)

    def describe(self, network: Network, site: Site) -> str:
        return _resized_in_words(network, site, -1)


@final
class AddCell(Mutation):
    """A new convolutional cell before a convolution, a ``Flatten`` or a global pooling."""

    name = "add_cell"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        shapes = shapes_of(network)
        found = []
        for index in range(len(network.layers)):
            axes = insertion_axes(network, index, settings.spatial_axes)
            if axes is None:
                continue
            can_pool = max(size or 0 for size in shapes[index][:axes]) > 1
            if "none" in settings.cell_pooling or not can_pool:
                found.append(Site(index, axes=axes))
            if can_pool and "average" in settings.cell_pooling:
                found.append(Site(index, axes=axes, pooling="average"))
            if can_pool and "max" in settings.cell_pooling:
                found.append(Site(index, axes=axes, pooling="max"))
        return tuple(found)

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return surgery.add_cell(network, site.layer, site.axes, site.pooling, rng)

    def describe(self, network: Network, site: Site) -> str:
        pooling = "without pooling" if site.pooling is None else f"with {site.pooling} pooling"
        return f"+ a convolutional cell {pooling} before {network.layers[site.layer].name}"

    def is_exact(self, network: Network, site: Site) -> bool:
        return site.pooling is None


@final
class RemoveCell(Mutation):
    """A convolutional cell goes."""

    name = "remove_cell"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        return tuple(Site(index) for index in _hidden(network, _is_convolution))

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return surgery.remove_cell(network, site.layer)

    def describe(self, network: Network, site: Site) -> str:
        layer = network.layers[site.layer]
        n_layers = cell_at(network, site.layer).stop - site.layer
        of = f"{_counted(_width(layer), 'channel')} ({_counted(n_layers, 'layer')})"
        return f"- the convolutional cell {layer.name} of {of}"


@final
class AddChannels(Mutation):
    """More channels in a convolution."""

    name = "add_channels"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        hidden = _hidden(network, _is_convolution)
        singles = tuple(Site(index, settings.channel_step) for index in hidden)
        if not hidden:
            return ()
        return singles + _joint_growth(network, hidden + _hidden(network, _is_dense), settings, settings.channel_step)

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return _one_by_one(network, site, lambda now, layer, n, _: surgery.add_outputs(now, layer, n, rng))

    def describe(self, network: Network, site: Site) -> str:
        return _resized_in_words(network, site, +1)

    def is_exact(self, network: Network, site: Site) -> bool:
        return True


@final
class RemoveChannels(Mutation):
    """Fewer channels in a convolution."""

    name = "remove_channels"

    def sites(self, network: Network, settings: SearchSettings) -> tuple[Site, ...]:
        hidden = _hidden(network, _is_convolution)
        singles = tuple(
            Site(index, min(settings.channel_step, _width(network.layers[index]) - 1))
            for index in hidden
            if _width(network.layers[index]) > 1
        )
        return singles + _joint_shrinking(network, hidden, settings)

    def apply(self, network: Network, site: Site, surgery: Surgery, rng: np.random.Generator) -> Operated:
        return _one_by_one(network, site, surgery.remove_channels)

    def describe(self, network: Network, site: Site) -> str:
        return _resized_in_words(network, site, -1)


MUTATIONS: Final[tuple[Mutation, ...]] = (
    Identity(),
    AddDense(),
    RemoveDense(),
    AddUnits(),
    RemoveUnits(),
    AddCell(),
    RemoveCell(),
    AddChannels(),
    RemoveChannels(),
)


def mutation_named(name: str) -> Mutation:
    """The mutation of that name; raises `SurgeryError` if there is none."""
    for mutation in MUTATIONS:
        if mutation.name == name:
            return mutation
    raise SurgeryError(f"no mutation is called {name!r}; there are {', '.join(m.name for m in MUTATIONS)}")


def _is_dense(layer: Layer) -> bool:
    return layer.kind == "Dense" and role_of(layer) is Role.PRODUCER


def _is_convolution(layer: Layer) -> bool:
    return layer.kind.startswith("Conv") and role_of(layer) is Role.PRODUCER


def _hidden(network: Network, wanted: Callable[[Layer], bool]) -> tuple[int, ...]:
    """Layers of a kind whose outputs can be followed to the layer that mixes them."""
    return tuple(
        index
        for index, layer in enumerate(network.layers)
        if wanted(layer) and consumer_path(network, index) is not None
    )


def _width(layer: Layer) -> int:
    rule = producer_rule(layer)
    if rule is None:
        raise SurgeryError(f"layer {layer.name!r} ({layer.kind}) has no units or channels")
    return rule.n_outputs(layer)


def _unit_step(layer: Layer, settings: SearchSettings) -> int:
    return max(settings.min_unit_step, int(settings.unit_step * _width(layer)))


def _joint_growth(
    network: Network, hidden: tuple[int, ...], settings: SearchSettings, at_least: int
) -> tuple[Site, ...]:
    """All layers of a kind at once: one that stays narrow would be in the way of the others."""
    if len(hidden) < 2 or not settings.joint_step:
        return ()
    widths = [_width(network.layers[index]) for index in hidden]
    first, *others = [max(at_least, round(settings.joint_step * width)) for width in widths]
    return (Site(hidden[0], first, also=tuple(zip(hidden[1:], others, strict=True))),)


def _joint_shrinking(network: Network, hidden: tuple[int, ...], settings: SearchSettings) -> tuple[Site, ...]:
    """The reverse of `_joint_growth`."""
    share = settings.joint_step / (1 + settings.joint_step)
    amounts = [(index, round(share * _width(network.layers[index]))) for index in hidden]
    (first, amount), *others = [(index, n) for index, n in amounts if n > 0] or [(0, 0)]
    return (Site(first, amount, also=tuple(others)),) if others else ()


def _one_by_one(parent: Network, site: Site, resize: Callable[[Network, int, int, Network], Operated]) -> Operated:
    """The parent with all layers of a site resized, which moves no layer."""
    network, remarks = parent, []
    for layer, amount in site.resized:
        network, remark = resize(network, layer, amount, parent)
        remarks += [remark] if remark else []
    return Operated(network, "; ".join(remarks))


def _resized_in_words(network: Network, site: Site, sign: int) -> str:
    parts = []
    for index, amount in site.resized:
        layer = network.layers[index]
        old, change = _width(layer), sign * amount
        what = "unit" if _is_dense(layer) else "channel"
        parts.append(f"{_counted(change, what, '+d')} in {layer.name}, {old} to {old + change}")
    return "; ".join(parts)


def _counted(number: int, what: str, form: str = "d") -> str:
    return f"{number:{form}} {what}{'s' if abs(number) != 1 else ''}"

"""``surgery="calibrated"``: a child's weights are chosen by what its parent computes on some training rows.

After every change the next layer with a kernel is refitted by ridge regression, so that it still receives what it
received before. What is exact anyway, growing, stays exact.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from ..network import Array, Layer, Network, Weight
from ..rules import Role, producer_rule, role_of
from . import cells, depth, silent, units
from .activations import Activations
from .base import Operated, Prepared, Surgery
from .filters import is_first_convolution, with_principal_filters
from .inference import Foreign, layer_output, nothing_foreign
from .patches import geometry_of, kernel_matrix, patches_at, sampled_positions
from .positions import Pooling
from .published import PublishedSurgery
from .regression import Fit, SolveError, ridge_correction, survivors

__all__ = ["CalibratedSurgery", "most_samples"]

_LOGGER = logging.getLogger(__name__)

RIDGE: Final = 1e-2
_MULTIPLICATIONS: Final = 4e9
_EXACT_ELIMINATION: Final = 1000
_NUMBERS_AT_ONCE: Final = 16_000_000
_FILTERS_WITHOUT_POOLING: Final = 1
_FEWEST_FILTERS: Final = 3
_MOST_FILTERS: Final = 24
_PARENTS_KEPT: Final = 4


class CalibratedSurgery(Surgery):
    """Surgery that looks at activations.

    Parameters
    ----------
    rows : ndarray of shape (rows, ...)
        Training samples.
    seed : int
        For the choice of positions in images.
    foreign : callable, optional
        Evaluates layers that have no formula here.
    ridge : float
        Penalty on corrections, relative to the mean square of a layer's inputs.
    n_filters : int or None
        Filters of a first cell with pooling beyond the channels that it hands on; then no later cell has any. None: as
        many as pooling makes room for without more parameters behind a ``Flatten``, three for each channel of an image,
        between 3 and 24; and in later cells with pooling as many as the channels they hand on, 24 at most.
    """

    def __init__(
        self,
        rows: Array,
        seed: int = 0,
        foreign: Foreign = nothing_foreign,
        ridge: float = RIDGE,
        n_filters: int | None = None,
    ) -> None:
        self._activations = Activations(rows, foreign)
        self._seed = seed
        self._foreign = foreign
        self._ridge = ridge
        self._n_filters = n_filters
        self._published = PublishedSurgery()
        self._prepared: deque[tuple[Network, Prepared]] = deque(maxlen=_PARENTS_KEPT)

    def prepared(self, network: Network) -> Prepared:
        """The parent with silent units drawn anew: a child of a network that cannot learn could not, either."""
        for known, prepared in self._prepared:
            if known is network:
                return prepared
        try:
            prepared = Prepared(*silent.woken(network, self._activations.before, self._rng()))
        except Exception:  # Some layer cannot be looked into: what needs no look is possible all the same.
            _LOGGER.debug("nobody was looked at for silent units", exc_info=True)
            prepared = Prepared(network)
        self._prepared.append((network, prepared))
        return prepared

    def add_outputs(self, network: Network, index: int, n_added: int, rng: np.random.Generator) -> Operated:
        return Operated(units.widen_by_copies(network, index, n_added, rng, equal_shares=False))

    def remove_units(self, network: Network, index: int, n_removed: int, parent: Network | None = None) -> Operated:
        return self._or_published(
            lambda: self._narrowed(network, index, n_removed, parent or network),
            lambda: self._published.remove_units(network, index, n_removed),
        )

    def remove_channels(self, network: Network, index: int, n_removed: int, parent: Network | None = None) -> Operated:
        return self._or_published(
            lambda: self._narrowed(network, index, n_removed, parent or network),
            lambda: self._published.remove_channels(network, index, n_removed),
        )

    def add_dense(self, network: Network, index: int) -> Operated:
        return Operated(depth.insert_dense(network, index))

    def remove_dense(self, network: Network, index: int) -> Operated:
        return self._or_published(
            lambda: self._refitted(network, depth.remove_dense(network, index)),
            lambda: self._published.remove_dense(network, index),
        )

    def add_cell(
        self, network: Network, index: int, axes: int, pooling: Pooling | None, rng: np.random.Generator
    ) -> Operated:
        return self._or_published(
            lambda: self._with_cell(network, index, axes, pooling),
            lambda: self._published.add_cell(network, index, axes, pooling, rng),
        )

    def add_pooling(self, network: Network, index: int, axes: int, pooling: Pooling) -> Operated:
        return self._or_published(
            lambda: self._refitted(network, cells.insert_pooling(network, index, axes, pooling, "sum")),
            lambda: self._published.add_pooling(network, index, axes, pooling),
        )

    def remove_cell(self, network: Network, index: int) -> Operated:
        return self._or_published(
            lambda: self._refitted(network, cells.remove_cell(network, index, "sum")),
            lambda: self._published.remove_cell(network, index),
        )

    def _or_published(self, calibrated: Callable[[], Network], published: Callable[[], Operated]) -> Operated:
        try:
            return Operated(calibrated())
        except SolveError as error:
            return Operated(published().network, f"the paper's rule in place of calibration: {error}")

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)

    # Fewer units or channels.

    def _narrowed(self, network: Network, index: int, n_removed: int, parent: Network) -> Network:
        """The layer behind is refitted to what it would receive in the parent."""
        path = units.required_path(network, index)
        n_kept = units.n_left(network, index, n_removed)
        n_outputs = n_kept + n_removed
        consumer = network.layers[path.consumer]
        inputs = self._activations.before(network, path.consumer, is_parent=network is parent)
        wanted = self._activations.before(parent, path.consumer)
        n_rows = min(len(inputs), len(wanted))
        inputs, wanted = inputs[:n_rows], wanted[:n_rows]
        geometry = geometry_of(consumer, inputs.shape[1:])
        kernel = kernel_matrix(consumer)
        most = most_samples(len(kernel))
        samples = sampled_positions(len(inputs), geometry.positions, most, self._rng())
        patches = patches_at(geometry, inputs, samples)
        groups = [np.arange(feature, len(kernel), n_outputs) for feature in range(n_outputs)]
        kept = self._survivors(patches, kernel, groups, n_kept, consumer.has("bias"))
        kept_inputs = np.sort(np.concatenate([groups[feature] for feature in kept]))
        lost = np.setdiff1d(np.arange(len(kernel)), kept_inputs)
        residual = patches[:, lost] @ kernel[lost]
        if network is not parent:
            residual += (patches_at(geometry, wanted, samples) - patches) @ kernel
        fit = ridge_correction(patches[:, kept_inputs], residual, self._ridge, consumer.has("bias"))
        child = units.select_outputs(network, path, kept)
        return child.with_layer(path.consumer, _corrected(child.layers[path.consumer], fit))

    def _survivors(self, patches: Array, kernel: Array, groups: list[Array], n_kept: int, with_offset: bool) -> Array:
        """Which features to keep; of many inputs, by what each feature as a whole sends on."""
        if with_offset:
            patches = patches - patches.mean(axis=0)
        if len(kernel) <= _EXACT_ELIMINATION:
            return survivors(patches.T @ patches, kernel, groups, n_kept, self._ridge)
        # The Gram matrix of the inputs themselves might not fit into memory.
        gram = np.zeros((len(groups), len(groups)))
        at_once = max(1, _NUMBERS_AT_ONCE // (len(groups) * kernel.shape[1]))
        for start in range(0, len(patches), at_once):
            some = patches[start : start + at_once]
            sent = np.stack([some[:, own] @ kernel[own] for own in groups]).reshape(len(groups), -1)
            gram += sent @ sent.T
        singles = list(np.arange(len(groups))[:, None])
        return survivors(gram, np.ones((len(groups), 1)), singles, n_kept, self._ridge)

    # Layers inserted or removed.

    def _with_cell(self, network: Network, index: int, axes: int, pooling: Pooling | None) -> Network:
        child = cells.insert_cell(network, index, axes, pooling, "sum")
        inputs = self._activations.before(network, index)
        if inputs.ndim == axes + 1:
            inputs = inputs[..., None]
        n_filters = self._n_filters_of(is_first_convolution(network, index), pooling, axes, inputs.shape[-1])
        if n_filters:
            convolution = index + int(child.layers[index].kind == "Reshape")
            child = with_principal_filters(child, convolution, inputs, n_filters, self._rng())
        return self._refitted(network, child, is_exact=pooling is None)

    def _n_filters_of(self, is_first: bool, pooling: Pooling | None, axes: int, n_channels: int) -> int:
        if pooling is None:
            return _FILTERS_WITHOUT_POOLING if is_first else 0
        if self._n_filters is not None:
            return self._n_filters if is_first else 0
        if not is_first:
            return min(n_channels, _MOST_FILTERS)
        room: int = (2**axes - 1) * n_channels
        return min(max(_FEWEST_FILTERS, room), _MOST_FILTERS)

    def _refitted(self, parent: Network, child: Network, is_exact: bool = False) -> Network:
        """Walk from the change to the next layer that can be made to receive what it received before.

        New batch normalizations become the identity for what arrives there, old ones are estimated anew. A
        convolution whose positions have changed is refitted to the means over blocks of positions, and the walk
        goes on.
        """
        start, resume = _changed_span(parent, child)
        n_rows = self._activations.n_rows(child, is_parent=False)
        values = self._activations.before(parent, start)[:n_rows]
        for index in range(start, len(child.layers)):
            layer = child.layers[index]
            if index < resume:
                layer = _identity_normalization(layer, values)
            elif is_exact:
                return child
            else:
                origin = index + len(parent.layers) - len(child.layers)
                layer = _normalization_anew(layer, values)
                if producer_rule(layer) is not None:
                    received = self._activations.before(parent, origin)[: len(values)]
                    layer, settled = self._fitted(parent.layers[origin], received, layer, values)
                    if settled:
                        return child.with_layer(index, layer)
            child = child.with_layer(index, layer)
            values = layer_output(layer, values, self._foreign)
        return child

    def _fitted(self, old: Layer, old_inputs: Array, new: Layer, new_inputs: Array) -> tuple[Layer, bool]:
        """`new` with the kernel that gives `old`'s pre-activations; whether the positions are the same."""
        old_geometry = geometry_of(old, old_inputs.shape[1:])
        new_geometry = geometry_of(new, new_inputs.shape[1:])
        grid = tuple(min(pair) for pair in zip(old_geometry.positions, new_geometry.positions, strict=True))
        kernel = kernel_matrix(new)
        samples = sampled_positions(len(new_inputs), grid, most_samples(len(kernel)), self._rng())
        patches = patches_at(new_geometry, new_inputs, samples)
        wanted = patches_at(old_geometry, old_inputs, samples) @ kernel_matrix(old) + _bias(old)
        residual = wanted - patches @ kernel - _bias(new)
        fit = ridge_correction(patches, residual, self._ridge, new.has("bias"))
        return _corrected(new, fit), old_geometry.positions == new_geometry.positions


def most_samples(n_inputs: int) -> int:
    """So many that a regression on `n_inputs` stays within some billion multiplications."""
    primal = _MULTIPLICATIONS / n_inputs**2
    if primal >= n_inputs:
        return int(min(primal, 8000))
    return int(np.sqrt(_MULTIPLICATIONS / n_inputs))


def _bias(layer: Layer) -> Array | float:
    return layer.value("bias").astype(np.float64) if layer.has("bias") else 0.0


def _corrected(layer: Layer, fit: Fit) -> Layer:
    """The layer with the correction added. The optimizer's memory stays: the weights are meant to do the same."""
    kernel = layer.weight("kernel")
    value = (kernel_matrix(layer) + fit.matrix).reshape(kernel.value.shape).astype(kernel.value.dtype)
    changed = [Weight("kernel", value, kernel.slots)]
    if layer.has("bias"):
        bias = layer.weight("bias")
        value = (bias.value.astype(np.float64) + fit.offset).astype(bias.value.dtype)
        changed.append(Weight("bias", value, bias.slots))
    return layer.with_weights(*changed)


def _changed_span(parent: Network, child: Network) -> tuple[int, int]:
    """Where the child's layers begin to differ, and where the parent's layers, by name, go on."""
    start = 0
    while start < min(len(parent.layers), len(child.layers)) and child.layers[start] is parent.layers[start]:
        start += 1
    resume = len(child.layers)
    shift = len(parent.layers) - len(child.layers)
    while resume > start and resume + shift > start and _same_name(parent, resume + shift - 1, child, resume - 1):
        resume -= 1
    return start, resume


def _same_name(parent: Network, origin: int, child: Network, index: int) -> bool:
    return parent.layers[origin].name == child.layers[index].name


def _moments(values: Array) -> tuple[Array, Array]:
    wide = values.reshape(-1, values.shape[-1]).astype(np.float64)
    return wide.mean(axis=0), wide.var(axis=0)


def _identity_normalization(layer: Layer, values: Array) -> Layer:
    """A batch normalization that gives back what arrives, in training too up to the noise of minibatches."""
    if layer.kind != "BatchNormalization":
        return layer
    mean, variance = _moments(values)
    scale = np.sqrt(variance + float(layer.config["epsilon"]))
    new = {"gamma": scale, "beta": mean, "moving_mean": mean, "moving_variance": variance}
    return layer.with_weights(*(layer.weight(name).with_value(value) for name, value in new.items()))


def _normalization_anew(layer: Layer, values: Array) -> Layer:
    """An old batch normalization with the statistics of what arrives now; a frozen one keeps its own."""
    if layer.kind != "BatchNormalization" or role_of(layer) is Role.WALL or values.ndim < 2:
        return layer
    mean, variance = _moments(values)
    return layer.with_weights(
        layer.weight("moving_mean").with_value(mean), layer.weight("moving_variance").with_value(variance)
    )

"""Growing a network changes nothing of what it computes, whatever its activations and the sign of its inputs."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from networks import (
    ANY_ACTIVATION,
    RELU,
    SMOOTH,
    activation,
    any_network,
    bare_images,
    batch_norm,
    chain,
    conv,
    conv_stacks,
    dense,
    dense_stacks,
    flatten,
    global_pooling,
    inputs_for,
    plain,
    pooling,
    prelu,
)
from oracle import forward

from keras_ectonas.errors import SurgeryError
from keras_ectonas.mutations import MUTATIONS, Site, mutation_named
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery, units
from keras_ectonas.surgery.walk import is_nonnegative_at

TOLERANCE = 1e-5
SETTINGS = SearchSettings()
FAMILIES = {
    "dense": dense_stacks,
    "series": lambda activations: conv_stacks(1, activations),
    "images": lambda activations: conv_stacks(2, activations),
    "bare_images": bare_images,
}
GROWTH = {
    "identity": ("dense", "images"),
    "add_dense": tuple(FAMILIES),
    "add_units": ("dense",),
    "add_cell": ("series", "images", "bare_images"),
    "add_channels": ("series", "images"),
}
EXAMPLES = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def assert_same_function(parent, child, tolerance=TOLERANCE, foreign=None):
    inputs = inputs_for(parent)
    expected, found = forward(parent, inputs, foreign), forward(child, inputs, foreign)
    assert found.shape == expected.shape
    error = float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
    assert error < tolerance, f"the child differs from its parent by {error:.2e}"


def assert_slots_fit(network):
    for layer in network.layers:
        for weight in layer.weights:
            assert all(slot.shape == weight.value.shape for slot in weight.slots.values())
            assert all(slot.dtype == np.float32 for slot in weight.slots.values())
            assert weight.value.dtype == np.float32


def exact_children(mutation, network, surgery, rng):
    """The children at all exact sites where the mutation is possible; and how many sites there are."""
    children = []
    sites = [site for site in mutation.sites(network, SETTINGS) if mutation.is_exact(network, site)]
    for site in sites:
        try:
            children.append(mutation.apply(network, site, surgery, rng).network)
        except SurgeryError as error:
            if "no signed pairs of channels can pass" not in str(error) or is_nonnegative_at(network, site.layer):
                raise
    return children, len(sites)


def check_growth(mutation, network, surgery, seed=0):
    mark = network.fingerprint()
    children, n_sites = exact_children(mutation, network, surgery, np.random.default_rng(seed))
    assert n_sites > 0
    for child in children:
        assert_same_function(network, child)
        assert_slots_fit(child)
        assert len({layer.name for layer in child.layers}) == len(child.layers)
        assert (child.fingerprint() == mark) == (mutation.name == "identity")
    assert network.fingerprint() == mark


GROWTH_CASES = [(name, family) for name, families in GROWTH.items() for family in families]


@pytest.mark.parametrize("activations", [RELU, ANY_ACTIVATION], ids=["relu", "any_activation"])
@pytest.mark.parametrize(("name", "family"), GROWTH_CASES)
def test_every_exact_site_leaves_the_function_as_it_is(name, family, activations):
    @EXAMPLES
    @given(FAMILIES[family](activations), st.integers(0, 99))
    def check(network, seed):
        check_growth(mutation_named(name), network, PublishedSurgery(), seed)

    check()


@pytest.mark.parametrize(("name", "family"), GROWTH_CASES)
def test_calibrated_growth_is_exact_as_well(name, family):
    @settings(EXAMPLES, max_examples=8)
    @given(FAMILIES[family](("relu", *SMOOTH)), st.integers(0, 99))
    def check(network, seed):
        surgery = CalibratedSurgery(inputs_for(network, n_rows=20, seed=5))
        check_growth(mutation_named(name), network, surgery, seed)

    check()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
@EXAMPLES
@given(any_network())
def test_only_growth_without_pooling_is_called_exact(mutation, network):
    for site in mutation.sites(network, SETTINGS):
        expected = mutation.name in GROWTH and site.pooling is None
        assert mutation.is_exact(network, site) is expected


@EXAMPLES
@given(any_network(), st.integers(0, 10**6))
def test_chains_of_growth_leave_the_function_as_it_is(network, seed):
    rng = np.random.default_rng(seed)
    child, n_changes = network, 0
    for _ in range(4):
        mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
        children, _ = exact_children(mutation, child, PublishedSurgery(), rng)
        if children:
            child = children[rng.integers(len(children))]
            n_changes += mutation.name != "identity"
            assert_slots_fit(child)
    assert_same_function(network, child, tolerance=4 * TOLERANCE)
    assert (child.n_params > network.n_params) == (n_changes > 0)


CELL = (conv(3), pooling("average"), batch_norm(), activation("tanh"))
PLACES = {
    "max_pooling": (conv(3), pooling("max"), batch_norm(), activation("elu"), flatten(), dense(2)),
    "normalization_behind_flatten": (conv(3), flatten(), batch_norm(), activation("relu"), dense(2)),
    "slopes_for_each_channel": (conv(3), prelu(), conv(2), flatten(), dense(2)),
    "slopes_behind_flatten": (conv(3), flatten(), prelu(), dense(2)),
    "two_normalizations": (conv(3), batch_norm(), activation("silu"), batch_norm(), conv(2), flatten(), dense(2)),
    "leaky_layers": (conv(3), plain("LeakyReLU", negative_slope=0.4), conv(2), plain("ReLU"), flatten(), dense(2)),
    "global_maximum": (conv(3, activation="relu"), global_pooling("max"), dense(4, "tanh"), dense(2)),
    "pointwise_dense": (dense(3, "tanh"), pooling("average"), conv(2), flatten(), dense(2)),
    "reshape_to_a_vector": (conv(3), plain("Reshape", target_shape=[-1]), dense(4), dense(2)),
    "dropout": (*CELL, plain("SpatialDropout2D", rate=0.2), flatten(), plain("Dropout", rate=0.5), dense(4), dense(2)),
}


@pytest.mark.parametrize("nonnegative", [False, True], ids=["signed", "nonnegative"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", GROWTH)
def test_growth_is_exact_with_all_kinds_of_layers_between(name, place, nonnegative):
    network = chain((5, 4, 2), *PLACES[place], nonnegative_input=nonnegative)
    if not mutation_named(name).sites(network, SETTINGS):
        assert name == "add_units"
        assert sum(layer.kind == "Dense" for layer in network.layers) == 1
        return
    check_growth(mutation_named(name), network, PublishedSurgery())


def test_identity_layer_with_relu_stands_in_front_only_where_nothing_negative_arrives():
    """The cell is one channel wide on pixels and a pair of signed channels elsewhere."""
    add_cell, surgery = mutation_named("add_cell"), PublishedSurgery()
    for nonnegative, filters in ((True, 2), (False, 4)):
        network = chain((4, 4, 2), flatten(), dense(3), nonnegative_input=nonnegative)
        child = add_cell.apply(network, Site(0, axes=2), surgery, np.random.default_rng(0)).network
        assert child.layers[0].config["filters"] == filters
        assert_same_function(network, child)


@pytest.mark.parametrize("function", ["relu", "tanh"])
def test_dense_layers_are_inserted_as_identity_or_as_signed_pairs(function):
    network = chain((4,), dense(6, function), dense(3, "linear"))
    child = PublishedSurgery().add_dense(network, 1).network
    new = child.layers[1]
    if function == "relu":
        np.testing.assert_array_equal(new.value("kernel"), np.eye(6))
        np.testing.assert_array_equal(new.value("bias"), np.zeros(6))
        assert child.layers[2] is network.layers[1]
    else:
        kernel, bias = network.layers[1].value("kernel"), network.layers[1].value("bias")
        np.testing.assert_array_equal(new.value("kernel"), np.hstack([kernel, -kernel]))
        np.testing.assert_array_equal(new.value("bias"), np.hstack([bias, -bias]))
    assert new.config["activation"] == "relu"
    assert child.layers[0] is network.layers[0]
    assert_same_function(network, child)


def test_slots_of_copied_units_are_copied():
    network = chain((4,), dense(3, "tanh"), batch_norm(), dense(2))
    child = PublishedSurgery().add_outputs(network, 0, 2, np.random.default_rng(0)).network
    old, new = network.layers, child.layers
    for number in (3, 4):
        source = int(np.argmin(np.abs(old[0].value("kernel") - new[0].value("kernel")[:, [number]]).sum(axis=0)))
        for slot in ("momentum", "velocity"):
            for layer, name, axis in ((0, "kernel", 1), (0, "bias", 0), (1, "gamma", 0), (2, "kernel", 0)):
                before = np.take(old[layer].weight(name).slots[slot], source, axis)
                after = np.take(new[layer].weight(name).slots[slot], number, axis)
                np.testing.assert_array_equal(after, before)


def test_published_copies_share_equally_and_calibrated_ones_do_not():
    network = chain((4,), dense(3, "tanh"), dense(2))
    rows = inputs_for(network)
    kernel = network.layers[1].value("kernel")
    for surgery, alike in ((PublishedSurgery(), True), (CalibratedSurgery(rows), False)):
        child = surgery.add_outputs(network, 0, 1, np.random.default_rng(0)).network
        grown = child.layers[1].value("kernel")
        split = int(np.argmax(np.abs(grown[:3] - kernel).sum(axis=1)))
        np.testing.assert_allclose(grown[split] + grown[3], kernel[split], rtol=1e-5)
        assert np.allclose(grown[split], grown[3]) is alike


def dense_params(*widths):
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))


def image_params(in_channels, filters):
    """A 3 by 3 convolution, its normalization, and a dense layer of 4 units behind 5 by 5 positions."""
    return 9 * in_channels * filters + filters + 4 * filters + 25 * filters * 4 + 4


TABLE = chain((4,), dense(6), dense(3, "softmax"))
IMAGE = chain((5, 5, 2), conv(3), batch_norm(), activation("relu"), flatten(), dense(4))
PIXELS = chain((5, 5), flatten(), dense(4), nonnegative_input=True)
COUNTS = [
    (TABLE, "identity", Site(0), dense_params(4, 6, 3)),
    (TABLE, "add_units", Site(0, 2), dense_params(4, 8, 3)),
    (TABLE, "add_dense", Site(1), dense_params(4, 6, 6, 3)),
    (TABLE, "add_dense", Site(0), dense_params(4, 12, 6, 3)),
    (TABLE, "remove_units", Site(0, 2), dense_params(4, 4, 3)),
    (TABLE, "remove_dense", Site(0), dense_params(4, 3)),
    (IMAGE, "identity", Site(0), image_params(2, 3)),
    (IMAGE, "add_channels", Site(0, 3), image_params(2, 6)),
    (IMAGE, "remove_channels", Site(0, 2), image_params(2, 1)),
    (IMAGE, "add_cell", Site(3, axes=2), image_params(2, 3) + 9 * 3 * 3 + 3 + 4 * 3),
    (IMAGE, "add_cell", Site(0, axes=2), image_params(4, 3) + 9 * 2 * 4 + 4 + 4 * 4),
    (
        IMAGE,
        "add_cell",
        Site(3, axes=2, pooling="max"),
        image_params(2, 3) + 9 * 3 * 3 + 3 + 4 * 3 - (25 - 9) * 3 * 4,
    ),
    (IMAGE, "remove_cell", Site(0), 25 * 2 * 4 + 4),
    (PIXELS, "add_cell", Site(0, axes=2), 25 * 4 + 4 + 9 + 1 + 4),
    (PIXELS, "add_cell", Site(0, axes=2, pooling="average"), 9 * 4 + 4 + 9 + 1 + 4),
]


@pytest.mark.parametrize(("network", "name", "site", "expected"), COUNTS)
def test_numbers_of_parameters_are_those_counted_by_hand(network, name, site, expected):
    child = mutation_named(name).apply(network, site, PublishedSurgery(), np.random.default_rng(0)).network
    assert child.n_params == expected


def test_every_mutation_is_counted_by_hand():
    assert {name for _, name, _, _ in COUNTS} == {mutation.name for mutation in MUTATIONS}


def unshared(matrix):
    """Copies that each send on all that their source sent."""
    return (matrix != 0).astype(float)


def swapped(matrix):
    """The right shares of the wrong units."""
    return np.roll(matrix, 1, axis=1)


def sloppy(matrix):
    """Shares that add up to a little more than one."""
    return matrix * 1.001


@pytest.mark.parametrize("wrong", [unshared, swapped, sloppy])
@pytest.mark.parametrize(
    ("network", "index"),
    [(TABLE, 0), (IMAGE, 0), (chain((4,), dense(6, "tanh"), batch_norm(), dense(3, "linear")), 0)],
)
def test_planted_wrong_split_is_noticed(monkeypatch, network, index, wrong):
    right = units.select_outputs
    assert_same_function(network, units.widen_by_copies(network, index, 2, np.random.default_rng(0)))

    def plant(network, path, source, matrix=None):
        return right(network, path, source, wrong(matrix))

    monkeypatch.setattr(units, "select_outputs", plant)
    child = units.widen_by_copies(network, index, 2, np.random.default_rng(0))
    with pytest.raises(AssertionError, match="the child differs from its parent"):
        assert_same_function(network, child)


def test_planted_split_of_incoming_weights_is_noticed_under_tanh():
    """Halving incoming in place of outgoing weights holds for ReLU alone."""
    for function, survives in (("relu", True), ("tanh", False)):
        network = chain((4,), dense(1, function), dense(3, "linear"))
        first, last = network.layers
        halves = [
            first.weight(name).with_value(np.repeat(first.value(name), 2, axis=-1) / 2) for name in ("kernel", "bias")
        ]
        twice = last.weight("kernel").with_value(np.repeat(last.value("kernel"), 2, axis=0))
        wide = first.with_weights(*halves).with_config(units=2)
        child = network.with_layers([wide, last.with_weights(twice)])
        if survives:
            assert_same_function(network, child)
        else:
            with pytest.raises(AssertionError, match="the child differs from its parent"):
                assert_same_function(network, child)


def test_wall_is_left_alone_and_the_rest_grows_exactly():
    foreign = {"tests>Mirror": lambda values: values[..., ::-1]}
    wall = plain("tests>Mirror", output_shape=(4, 4, 3))
    makers = (conv(2, activation="relu"), conv(3), wall, conv(2, activation="tanh"), flatten(), dense(5), dense(2))
    network = chain((4, 4, 1), *makers, foreign=foreign)
    n_children = 0
    for name in GROWTH:
        children, _ = exact_children(mutation_named(name), network, PublishedSurgery(), np.random.default_rng(0))
        for child in children:
            assert_same_function(network, child, foreign=foreign)
            assert sum(layer is network.layers[2] for layer in child.layers) == 1
        n_children += len(children)
    assert n_children == 11

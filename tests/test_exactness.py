"""Growing keeps the function; every mutation at every site gives a sound network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Builder, networks

from keras_ectonas.errors import SurgeryError
from keras_ectonas.mutations import MUTATIONS, mutation_named
from keras_ectonas.rules import producer_rule
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery
from keras_ectonas.surgery import units as units_module
from keras_ectonas.surgery.inference import outputs_along
from keras_ectonas.surgery.walk import shapes_of

SETTINGS = SearchSettings()
OFTEN = settings(max_examples=200, deadline=None, derandomize=True)


def assert_same_function(parent, child, inputs):
    before, after = outputs_along(parent, inputs)[-1], outputs_along(child, inputs)[-1]
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


def assert_sound(network, inputs):
    """Widths, kernels and optimizer slots fit together, and the network computes."""
    for layer, shape in zip(network.layers, shapes_of(network)[:-1], strict=True):
        rule = producer_rule(layer)
        if rule is not None:
            assert layer.value("kernel").shape[-2:] == (shape[-1], rule.n_outputs(layer))
        for weight in layer.weights:
            assert all(slot.shape == weight.value.shape for slot in weight.slots.values())
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == len(names)
    outputs = outputs_along(network, inputs)[-1]
    assert outputs.shape == (len(inputs), 3)
    assert np.isfinite(outputs).all()


def children(network, surgery, seed=0):
    rng = np.random.default_rng(seed)
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SETTINGS):
            try:
                yield mutation, site, mutation.apply(network, site, surgery, rng).network
            except SurgeryError as error:
                assert str(error)  # noqa: PT017


@OFTEN
@given(built=networks())
def test_every_mutation_at_every_site(built):
    network, inputs = built.network, built.inputs()
    mark = network.fingerprint()
    for mutation, site, child in children(network, PublishedSurgery()):
        assert_sound(child, inputs)
        if mutation.is_exact(network, site):
            assert_same_function(network, child, inputs)
    assert network.fingerprint() == mark


@settings(max_examples=25, deadline=None, derandomize=True)
@given(built=networks())
def test_calibrated_growth_is_exact_as_well(built):
    network, inputs = built.network, built.inputs(20)
    for mutation, site, child in children(network, CalibratedSurgery(inputs)):
        assert_sound(child, inputs)
        if mutation.is_exact(network, site):
            before, after = outputs_along(network, inputs)[-1], outputs_along(child, inputs)[-1]
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(built=networks(), choices=st.lists(st.integers(0, 10**6), min_size=3, max_size=5))
def test_growing_again_and_again(built, choices):
    network, inputs = built.network, built.inputs()
    first, rng = network, np.random.default_rng(0)
    for choice in choices:
        sites = [(m, s) for m in MUTATIONS for s in m.sites(network, SETTINGS) if m.is_exact(network, s)]
        mutation, site = sites[choice % len(sites)]
        try:
            network = mutation.apply(network, site, PublishedSurgery(), rng).network
        except SurgeryError:
            continue
    assert_sound(network, inputs)
    np.testing.assert_allclose(outputs_along(network, inputs)[-1], outputs_along(first, inputs)[-1], atol=5e-5)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_has_sites_on_the_papers_topology(mutation):
    network = medium().network
    sites = mutation.sites(network, SETTINGS)
    assert sites
    assert all(mutation.describe(network, site) for site in sites)


def medium():
    builder = Builder((8, 8, 1))
    for filters in (3, 6):
        builder.conv(filters).pool().norm().activation()
    return builder.flatten().dense(10).dense(3, "softmax")


def test_planted_wrong_share_is_noticed(monkeypatch):
    network, inputs = medium().network, medium().inputs()
    plain = units_module.select_outputs

    def wrong(network, path, index, matrix=None):
        return plain(network, path, index, None if matrix is None else np.where(matrix > 0, 1.0, 0.0))

    monkeypatch.setattr(units_module, "select_outputs", wrong)
    child = PublishedSurgery().add_outputs(network, 9, 3, np.random.default_rng(0)).network
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_function(network, child, inputs)


@pytest.mark.parametrize(
    ("name", "layer", "added"),
    [
        ("add_units", 9, 2 * (24 + 1) + 2 * 3),  # 24 inputs and a bias in, 3 outputs out
        ("add_channels", 4, 3 * (27 + 1) + 3 * 4 + 4 * 3 * 10),  # kernel, bias, statistics, rows behind Flatten
        ("add_dense", 10, 10 * 10 + 10),
        ("remove_units", 9, -(2 * (24 + 1) + 2 * 3)),
        ("remove_dense", 9, -(24 * 10 + 10 + 10 * 3) + 24 * 3),
    ],
)
def test_parameters_change_as_worked_out_by_hand(name, layer, added):
    network, mutation = medium().network, mutation_named(name)
    site = next(site for site in mutation.sites(network, SETTINGS) if site.layer == layer)
    child = mutation.apply(network, site, PublishedSurgery(), np.random.default_rng(0)).network
    assert child.n_params - network.n_params == added


def test_words():
    network = medium().network
    said = {
        (mutation.name, site.layer): mutation.describe(network, site)
        for mutation in MUTATIONS
        for site in mutation.sites(network, SETTINGS)
    }
    assert said["add_units", 9] == "+2 units in dense, 10 to 12"
    assert said["remove_channels", 4] == "-3 channels in conv_1, 6 to 3"
    assert said["remove_dense", 9] == "- the dense layer dense of 10 units"
    assert said["add_dense", 9] == "+ a dense layer of 20 units before dense"
    assert said["remove_cell", 0] == "- the convolutional cell conv of 3 channels (4 layers)"
    assert said["identity", 0] == "no change"

"""What surgery knows of layers, the walk through a network, and the small values that everything else is made of."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from networks import (
    activation,
    any_network,
    batch_norm,
    chain,
    conv,
    dense,
    flatten,
    global_pooling,
    plain,
    pooling,
    prelu,
)
from oracle import output_shape

from keras_ectonas import rules
from keras_ectonas.budget import Charge, Ledger
from keras_ectonas.errors import InputError, SearchError, SurgeryError
from keras_ectonas.mutations import MUTATIONS, Site, mutation_named
from keras_ectonas.network import Layer, Network, Weight
from keras_ectonas.rules import LayerRule, Role, producer_rule, register_rule, role_of, rule_for
from keras_ectonas.settings import MUTATION_NAMES, PAPER, SearchSettings
from keras_ectonas.surgery import PublishedSurgery
from keras_ectonas.surgery.walk import Path, consumer_path, is_nonnegative_at, shapes_of

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def made(maker, shape=(4, 4, 2)):
    return maker(np.random.default_rng(0), shape, "made")


# Rules.

ROLES = [
    (made(dense(3)), Role.PRODUCER),
    (made(conv(3)), Role.PRODUCER),
    (made(conv(3), (5, 2)), Role.PRODUCER),
    (made(batch_norm()), Role.CHANNELWISE),
    (made(prelu()), Role.CHANNELWISE),
    (made(pooling()), Role.PASS_THROUGH),
    (made(global_pooling()), Role.PASS_THROUGH),
    (made(activation("tanh")), Role.PASS_THROUGH),
    (made(plain("Dropout", rate=0.5)), Role.PASS_THROUGH),
    (made(flatten()), Role.REINDEX),
    (made(plain("Reshape", target_shape=[-1])), Role.REINDEX),
    (made(plain("LayerNormalization")), Role.WALL),
    (made(plain("tests>Dense")), Role.WALL),
    (made(conv(3)).with_config(groups=2), Role.WALL),
    (made(conv(3)).with_config(data_format="channels_first"), Role.WALL),
    (made(pooling()).with_config(data_format="channels_first"), Role.WALL),
    (made(flatten()).with_config(data_format="channels_first"), Role.WALL),
    (made(global_pooling()).with_config(keepdims=True), Role.WALL),
    (made(batch_norm()).with_config(axis=1), Role.WALL),
    (Layer("PReLU", {"name": "each"}, (Weight("alpha", np.ones((4, 4, 2))),)), Role.WALL),
    (Layer("PReLU", {"name": "single"}, (Weight("alpha", np.ones((1, 2))),)), Role.WALL),
    (Layer("PReLU", {"name": "shared", "shared_axes": [1]}, (Weight("alpha", np.ones((1, 2))),)), Role.CHANNELWISE),
    (Layer("PReLU", {"name": "flat", "shared_axes": None}, (Weight("alpha", np.ones(2)),)), Role.CHANNELWISE),
    (Layer("PReLU", {"name": "narrow", "shared_axes": [1]}, (Weight("alpha", np.ones((1, 1))),)), Role.CHANNELWISE),
    (Layer("PReLU", {"name": "all", "shared_axes": [1, 2]}, (Weight("alpha", np.ones((1, 1))),)), Role.WALL),
    (
        Layer("Dense", {"name": "more", "units": 1}, (Weight("kernel", np.ones((1, 1))), Weight("lora_a", np.ones(1)))),
        Role.WALL,
    ),
]


@pytest.mark.parametrize(("layer", "role"), ROLES)
def test_roles(layer, role):
    assert role_of(layer) is role
    assert (producer_rule(layer) is not None) is (role is Role.PRODUCER)


def test_positive_axis_is_the_feature_axis_only_if_it_is_the_last():
    layer = dataclasses.replace(made(batch_norm()), output_shape=(4, 4, 2))
    assert role_of(layer.with_config(axis=3)) is Role.CHANNELWISE
    assert role_of(layer.with_config(axis=[3])) is Role.CHANNELWISE
    assert role_of(layer.with_config(axis=2)) is Role.WALL
    assert role_of(layer.with_config(axis=[1, 3])) is Role.WALL


SHAPES = [
    ((4,), (dense(7), dense(3)), [(4,), (7,), (3,)]),
    ((5, 4), (dense(7), flatten(), dense(3)), [(5, 4), (5, 7), (35,), (3,)]),
    (
        (7, 5, 2),
        (conv(3), pooling(), conv(4, padding="valid", size=2), flatten()),
        [(7, 5, 2), (7, 5, 3), (4, 3, 3), (3, 2, 4), (24,)],
    ),
    ((7, 5, 2), (pooling(padding="valid"), global_pooling("max")), [(7, 5, 2), (3, 2, 2), (2,)]),
    ((11, 2), (conv(3, strides=2), pooling("max", 3, 2, "valid")), [(11, 2), (6, 3), (2, 3)]),
    ((11, 2), (conv(3, strides=2, padding="valid"), prelu(), batch_norm()), [(11, 2), (5, 3), (5, 3), (5, 3)]),
    (
        (28, 28),
        (plain("Reshape", target_shape=[28, 28, 1]), plain("Reshape", target_shape=[-1])),
        [(28, 28), (28, 28, 1), (784,)],
    ),
]


@pytest.mark.parametrize(("input_shape", "makers", "expected"), SHAPES)
def test_shapes_known_by_hand(input_shape, makers, expected):
    assert shapes_of(chain(input_shape, *makers)) == expected


@EXAMPLES
@given(any_network())
def test_shapes_are_those_of_what_is_computed(network):
    shapes = shapes_of(network)
    for before, layer, after in zip(shapes[:-1], network.layers, shapes[1:], strict=True):
        assert output_shape(layer, before) == after


def test_shapes_without_a_known_size():
    network = Network((None, 2), (made(conv(3), (9, 2)), made(pooling(), (9, 3))))
    assert shapes_of(network) == [(None, 2), (None, 3), (None, 3)]
    with pytest.raises(SurgeryError, match=r"layer 'made' .Flatten. has an input of unknown size \(None, 3\)"):
        shapes_of(network.with_inserted(2, [made(flatten())]))


@pytest.mark.parametrize(
    ("layer", "input_shape", "expected"),
    [
        (plain("ZeroPadding2D", padding=2), (4, 5, 3), (8, 9, 3)),
        (plain("ZeroPadding2D", padding=[[1, 0], [2, 3]]), (4, 5, 3), (5, 10, 3)),
        (plain("ZeroPadding1D", padding=[1, 2]), (4, 3), (7, 3)),
        (plain("UpSampling2D", size=[2, 3]), (4, 5, 3), (8, 15, 3)),
        (plain("UpSampling1D", size=2), (4, 3), (8, 3)),
    ],
)
def test_shapes_behind_padding_and_upsampling(layer, input_shape, expected):
    layer = made(layer)
    assert rule_for(layer).output_shape(layer, input_shape) == expected


def test_window_that_does_not_fit_is_refused():
    layer = made(conv(3, padding="valid"))
    with pytest.raises(SurgeryError, match=r"layer 'made' .Conv2D. needs at least 3 positions, it would get 2"):
        rule_for(layer).output_shape(layer, (2, 5, 2))


class DoublingRule(LayerRule):
    role = Role.PASS_THROUGH

    def output_shape(self, layer, input_shape):
        return input_shape


@pytest.fixture
def forgotten_rules(monkeypatch):
    """Rules that a test registers are forgotten behind it."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))


@pytest.mark.usefixtures("forgotten_rules")
def test_registered_rule_opens_the_wall():
    foreign = {"tests>Double": lambda values: 2 * values}
    network = chain((4,), dense(6), plain("tests>Double", output_shape=(6,)), dense(3), foreign=foreign)
    add_units = mutation_named("add_units")
    assert add_units.sites(network, SearchSettings()) == ()
    register_rule("tests>Double", DoublingRule())
    assert role_of(network.layers[1]) is Role.PASS_THROUGH
    assert add_units.sites(network, SearchSettings()) == (Site(0, 2),)


def test_rules_of_other_tests_are_forgotten():
    assert role_of(made(plain("tests>Double"))) is Role.WALL


@pytest.mark.usefixtures("forgotten_rules")
@pytest.mark.parametrize(
    ("kind", "rule", "message"),
    [
        ("tests>Double", DoublingRule, "rule must be a LayerRule, got ABCMeta"),
        ("tests>Double", None, "rule must be a LayerRule, got NoneType"),
        ("Dense", DoublingRule(), "kind='Dense' has a built-in rule, which cannot be exchanged"),
    ],
)
def test_unfit_rules_are_refused(kind, rule, message):
    with pytest.raises(InputError, match=message):
        register_rule(kind, rule)


# The walk.

PATHS = [
    ("next layer", (4,), (dense(5), dense(3)), 0, Path(0, (), 1, 1)),
    ("end", (4,), (dense(5), dense(3)), 1, None),
    ("input", (4,), (activation("relu"), dense(3)), -1, Path(-1, ((0, 1),), 1, 1)),
    (
        "flatten",
        (4, 5, 2),
        (conv(3), pooling(), batch_norm(), flatten(), plain("Dropout", rate=0.5), dense(3)),
        0,
        Path(0, ((1, 1), (2, 1), (3, 6), (4, 6)), 5, 6),
    ),
    ("global pooling", (4, 5, 2), (conv(3), global_pooling(), dense(3)), 0, Path(0, ((1, 1),), 2, 1)),
    ("vector", (4, 2), (conv(3), plain("Reshape", target_shape=[-1]), dense(3)), 0, Path(0, ((1, 4),), 2, 4)),
    ("mixed up", (4, 6), (conv(6), plain("Reshape", target_shape=[8, 3]), conv(2)), 0, None),
    ("softmax inside", (4,), (dense(5, "softmax"), dense(3)), 0, None),
    ("softmax between", (4,), (dense(5), activation("softmax"), dense(3)), 0, None),
]


@pytest.mark.parametrize(
    ("shape", "makers", "start", "expected"), [case[1:] for case in PATHS], ids=[c[0] for c in PATHS]
)
def test_paths_to_the_layer_that_mixes_features(shape, makers, start, expected):
    assert consumer_path(chain(shape, *makers), start) == expected


def test_channelwise_layers_of_a_path():
    network = chain((4, 4, 1), conv(3), batch_norm(), activation("relu"), flatten(), prelu(), dense(2))
    assert consumer_path(network, 0).channelwise(network) == ((1, 1), (4, 16))


def test_unknown_activation_ends_the_walk():
    network = chain((4,), dense(5), dense(3))
    odd = network.layers[0].with_config(activation={"class_name": "function", "config": "mine"})
    assert consumer_path(network.with_layer(0, odd), 0) is None


SIGNS = [
    ((), True, True),
    ((), False, False),
    ((dense(3, "relu"),), False, True),
    ((dense(3, "softplus"),), False, True),
    ((dense(3, "linear"),), True, False),
    ((dense(3, "tanh"),), True, False),
    ((dense(3, "linear"), activation("sigmoid")), False, True),
    ((dense(3, "relu"), activation("tanh")), False, True),
    ((dense(3, "relu"), activation("silu")), False, False),
    ((dense(3, "relu"), plain("Dropout", rate=0.5), flatten()), False, True),
    ((dense(3, "relu"), plain("GaussianNoise", stddev=1.0)), False, False),
    ((dense(3, "relu"), plain("GaussianDropout", rate=0.5)), False, False),
    ((dense(3, "relu"), batch_norm()), False, False),
    ((dense(3, "relu"), prelu()), False, False),
    ((flatten(), plain("Dropout", rate=0.5)), True, True),
    ((plain("LeakyReLU", negative_slope=0.1),), True, True),
    ((plain("ReLU"),), False, True),
    ((dense(3, "relu"), plain("tests>Odd", output_shape=(3,))), True, False),
]


@pytest.mark.parametrize(("makers", "nonnegative_input", "expected"), SIGNS)
def test_where_nothing_negative_arrives(makers, nonnegative_input, expected):
    foreign = {"tests>Odd": lambda values: -values, "GaussianNoise": lambda values: values}
    foreign["GaussianDropout"] = foreign["GaussianNoise"]
    network = chain((4,), *makers, nonnegative_input=nonnegative_input, foreign=foreign)
    assert is_nonnegative_at(network, len(makers)) is expected


# Walls.

WALL = plain("tests>Odd", output_shape=(4, 4, 3))
AS_IT_IS = {"tests>Odd": lambda values: values}


def walled():
    cell = (conv(3), batch_norm(), activation("relu"))
    return chain((4, 4, 1), *cell, conv(3), WALL, *cell, flatten(), dense(6), dense(2), foreign=AS_IT_IS)


SITES_AROUND_A_WALL = {
    "identity": {0},
    "add_dense": {9, 10},
    "remove_dense": {9},
    "add_units": {9},
    "remove_units": {9},
    "add_cell": {0, 3, 5, 8},
    "remove_cell": {0, 5},
    "add_channels": {0, 5},
    "remove_channels": {0, 5},
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_no_mutation_crosses_a_wall_and_the_rest_has_sites(mutation):
    network = walled()
    sites = mutation.sites(network, SearchSettings())
    assert {site.layer for site in sites} == SITES_AROUND_A_WALL[mutation.name]
    for site in sites:
        if site.pooling is not None and site.layer < 4:
            with pytest.raises(SurgeryError, match=r"layer 'layer_4' .tests>Odd. does not allow another number of pos"):
                mutation.apply(network, site, PublishedSurgery(), np.random.default_rng(0))
            continue
        child = mutation.apply(network, site, PublishedSurgery(), np.random.default_rng(0)).network
        position = next(index for index, layer in enumerate(child.layers) if layer is network.layers[4])
        assert shapes_of(child)[position] == (4, 4, 3)
        before = [layer is old for layer, old in zip(child.layers[:4], network.layers[:4], strict=True)]
        behind = [layer is old for layer, old in zip(child.layers[-6:], network.layers[-6:], strict=True)]
        assert all(before) or all(behind) or site.also


def test_wall_of_unknown_shape_is_refused():
    network = Network((4,), (made(plain("tests>Odd")),))
    with pytest.raises(SurgeryError, match=r"the output shape of layer 'made' .tests>Odd. is not known"):
        shapes_of(network)


# Values.


def test_weights_are_read_only():
    weight = Weight("kernel", np.ones((2, 3)), {"momentum": np.zeros((2, 3))})
    with pytest.raises(ValueError, match="read-only"):
        weight.value[0, 0] = 2
    with pytest.raises(ValueError, match="read-only"):
        weight.slots["momentum"][0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'value'"):
        weight.value = np.zeros((2, 3))


def test_array_that_a_weight_was_made_of_stays_writeable():
    array = np.ones(3)
    Weight("bias", array)
    array[0] = 5
    assert array.tolist() == [5, 1, 1]


@pytest.mark.parametrize(("which", "name"), [(0, "kind"), (1, "layers")])
def test_layers_and_networks_are_frozen(which, name):
    network = chain((4,), dense(3))
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr((network.layers[0], network)[which], name, ())


def test_new_numbers_keep_the_dtype_and_drop_the_slots():
    weight = Weight("bias", np.ones(2, np.float32), {"momentum": np.ones(2, np.float32)})
    changed = weight.with_value(np.array([1.0, 2.0]))
    assert changed.value.dtype == np.float32
    assert changed.slots == {}
    taken = weight.take(np.array([1, 1, 0]), axis=0)
    assert taken.value.shape == taken.slots["momentum"].shape == (3,)


def test_weights_of_a_layer_by_name():
    layer = made(dense(3), (4,))
    assert layer.has("bias")
    assert not layer.has("gamma")
    assert layer.n_params == 15
    changed = layer.with_weights(layer.weight("bias").with_value([7, 8, 9]))
    assert changed.value("bias").tolist() == [7, 8, 9]
    assert changed.weight("kernel") is layer.weight("kernel")
    with pytest.raises(KeyError, match=r"layer 'made' .Dense. has no weight 'gamma'"):
        layer.weight("gamma")


def test_configurations_are_not_changed_in_place():
    layer = made(dense(3), (4,))
    changed = layer.with_config(units=5)
    assert (layer.config["units"], changed.config["units"]) == (3, 5)


def test_networks_are_edited_into_new_ones():
    network = chain((4,), dense(3), dense(2))
    first, last = network.layers
    new = made(activation("relu"), (3,))
    assert network.with_inserted(1, [new]).layers == (first, new, last)
    assert network.without(0, 1).layers == (last,)
    assert network.with_layer(0, new).layers == (new, last)
    assert network.layers == (first, last)
    assert network.n_params == 15 + 8


def test_unused_names():
    names = ["dense", "dense_1", "dense_3", "conv"]
    network = Network((4,), tuple(Layer("Activation", {"name": name}) for name in names))
    assert [network.unused_name(stem) for stem in ("dense", "conv", "flatten")] == ["dense_2", "conv_1", "flatten"]


def test_fingerprints_of_equal_networks_are_equal():
    network, twin = chain((4,), dense(3), dense(2)), chain((4,), dense(3), dense(2))
    assert network.fingerprint() == twin.fingerprint()
    renamed = network.with_layer(0, network.layers[0].with_config(name="other"))
    assert renamed.fingerprint() == network.fingerprint()


def _last_bit_changed(network):
    bias = network.layers[0].weight("bias")
    value = bias.value.copy()
    value[1] = np.nextafter(value[1], np.float32(9))
    return network.with_layer(0, network.layers[0].with_weights(bias.with_value(value)))


@pytest.mark.parametrize(
    "change",
    [
        _last_bit_changed,
        lambda network: network.with_layer(0, network.layers[0].with_config(activation="tanh")),
        lambda network: network.without(1, 2),
        lambda network: network.with_layers(network.layers[::-1]),
        lambda network: dataclasses.replace(network, input_shape=(1, 4)),
    ],
)
def test_fingerprints_of_different_networks_differ(change):
    network = chain((4,), dense(4), dense(4))
    assert change(network).fingerprint() != network.fingerprint()


def test_architecture_leaves_numbers_out():
    network = chain((4,), dense(4), dense(4))
    assert _last_bit_changed(network).architecture() == network.architecture()
    assert chain((4,), dense(4), dense(5)).architecture() != network.architecture()


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_found(number, dtype):
    network = chain((4,), dense(3), dense(2))
    spoilt = Weight("bias", np.array([0, number]).astype(dtype))
    assert network.is_finite()
    assert not network.with_layer(1, network.layers[1].with_weights(spoilt)).is_finite()


def test_summary():
    network = chain((4, 4, 1), conv(3), batch_norm(), flatten(), dense(10))
    assert network.summary() == "Conv2D 3, Dense 10"


# Mutations in words.

IMAGE = chain((8, 8, 1), conv(4), batch_norm(), activation("relu"), flatten(), dense(20), dense(3))
WORDS = [
    ("identity", Site(0), "no change"),
    ("add_dense", Site(5), "+ a dense layer of 20 units before layer_5"),
    ("add_dense", Site(4), "+ a dense layer of 40 units before layer_4"),
    ("remove_dense", Site(4), "- the dense layer layer_4 of 20 units"),
    ("add_units", Site(4, 2), "+2 units in layer_4, 20 to 22"),
    ("remove_units", Site(4, 1), "-1 unit in layer_4, 20 to 19"),
    ("add_cell", Site(3, axes=2), "+ a convolutional cell without pooling before layer_3"),
    ("add_cell", Site(0, axes=2, pooling="max"), "+ a convolutional cell with max pooling before layer_0"),
    ("remove_cell", Site(0), "- the convolutional cell layer_0 of 4 channels (3 layers)"),
    ("add_channels", Site(0, 1), "+1 channel in layer_0, 4 to 5"),
    ("remove_channels", Site(0, 3), "-3 channels in layer_0, 4 to 1"),
]


@pytest.mark.parametrize(("name", "site", "words"), WORDS)
def test_mutations_in_plain_words(name, site, words):
    mutation = mutation_named(name)
    assert mutation.describe(IMAGE, site) == words
    assert site.layer in {found.layer for found in mutation.sites(IMAGE, SearchSettings())}


def test_mutations_are_the_nine_of_the_paper():
    assert tuple(mutation.name for mutation in MUTATIONS) == MUTATION_NAMES
    assert {name for name, _, _ in WORDS} == set(MUTATION_NAMES)
    with pytest.raises(SurgeryError, match="no mutation is called 'grow'; there are identity, add_dense"):
        mutation_named("grow")


def test_steps_follow_the_settings():
    chosen = SearchSettings(unit_step=0.25, min_unit_step=1, channel_step=9, cell_pooling="max")
    assert mutation_named("add_units").sites(IMAGE, chosen) == (Site(4, 5),)
    assert mutation_named("remove_channels").sites(IMAGE, chosen) == (Site(0, 3),)
    assert {site.pooling for site in mutation_named("add_cell").sites(IMAGE, chosen)} == {"max"}
    assert mutation_named("remove_units").sites(chain((4,), dense(2), dense(1), dense(1)), SearchSettings()) == (
        Site(0, 1),
    )


# Settings and budget.

WRONG = [
    ("budget", 0, "budget=0: expected a number above 0"),
    ("budget", float("nan"), "budget=nan: expected a number above 0"),
    ("budget", "100", "budget='100': expected a number"),
    ("greediness", 1.5, "greediness=1.5: expected a number of at least 0 and at most 1"),
    ("greediness", True, "greediness=True: expected a number"),
    ("n_parents", 0, "n_parents=0: expected a whole number of at least 1"),
    ("n_parents", 2.0, "n_parents=2.0: expected a whole number"),
    ("max_params", 0, "max_params=0: expected a whole number of at least 1"),
    ("max_growth", -1, "max_growth=-1: expected a number above 0"),
    ("max_time", 0, "max_time=0: expected a number above 0"),
    ("selection", "greedy", "selection='greedy': expected one of 'fitness', 'random'"),
    ("final_selection", None, "final_selection=None: expected one of 'archive', 'parents'"),
    ("warmup_epochs", -1, "warmup_epochs=-1: expected a number of at least 0"),
    ("epochs_per_match", 0, "epochs_per_match=0: expected a number above 0"),
    ("max_rounds", 0, "max_rounds=0: expected a whole number of at least 1"),
    ("rolling_epochs", 1.5, "rolling_epochs=1.5: expected a whole number of at least 1"),
    ("recovery_epochs", 1.0, "recovery_epochs=1.0: expected a mapping from mutation names"),
    ("recovery_epochs", {"grow": 1}, "recovery_epochs, a key='grow': expected one of 'identity'"),
    ("recovery_epochs", {"identity": -1}, "recovery_epochs.'identity'.=-1: expected a number of at least 0"),
    ("max_children", "few", "max_children='few': expected a whole number of at least 1, 'auto' or None"),
    ("unit_step", 0, "unit_step=0: expected a number above 0 and at most 1"),
    ("unit_step", 1.1, "unit_step=1.1: expected a number above 0 and at most 1"),
    ("min_unit_step", 0, "min_unit_step=0: expected a whole number of at least 1"),
    ("channel_step", 0, "channel_step=0: expected a whole number of at least 1"),
    ("joint_step", -0.5, "joint_step=-0.5: expected a number of at least 0"),
    ("final_share", 1.5, "final_share=1.5: expected a number of at least 0 and at most 1"),
    ("final_dropout", 1, "final_dropout=1: expected a number of at least 0 and below 1"),
    ("match_rate", -1, "match_rate=-1: expected a number of at least 0 and at most 1"),
    ("tolerance", -1, "tolerance=-1: expected a number of at least 0"),
    ("max_drop", -0.1, "max_drop=-0.1: expected a number of at least 0"),
    ("calibration_rows", 0, "calibration_rows=0: expected a whole number of at least 1"),
    ("cell_pooling", (), r"cell_pooling=\(\): expected some of 'average', 'max', 'none'"),
    ("cell_pooling", ("max", "sum"), "cell_pooling='sum': expected one of 'average', 'max', 'none'"),
    ("spatial_axes", 4, "spatial_axes=4: expected 1, 2, 3 or None"),
]


@pytest.mark.parametrize(("argument", "value", "message"), WRONG)
def test_wrong_settings_are_refused(argument, value, message):
    with pytest.raises(InputError, match=message):
        SearchSettings(**{argument: value})


def test_every_setting_is_checked():
    assert {argument for argument, _, _ in WRONG} == {field.name for field in dataclasses.fields(SearchSettings)}


def test_good_settings_are_taken():
    optional = ("max_params", "max_growth", "max_time", "warmup_epochs", "epochs_per_match", "max_children")
    assert all(getattr(SearchSettings(**{name: None}), name) is None for name in optional)
    assert SearchSettings(cell_pooling="max").cell_pooling == ("max",)
    assert SearchSettings(cell_pooling=["max", "none"]).cell_pooling == ("max", "none")
    assert SearchSettings(cell_pooling={"none", "max", "average"}).cell_pooling == ("average", "max", "none")
    assert SearchSettings(budget=0.5, greediness=0, max_children=4).max_children == 4
    names = {field.name for field in dataclasses.fields(SearchSettings)} & set(PAPER)
    paper = SearchSettings(**{name: PAPER[name] for name in names})
    assert (paper.budget, paper.epochs_per_match, paper.channel_step) == (1000, 5, 3)
    assert set(paper.recovery_epochs) == set(MUTATION_NAMES)


@pytest.mark.parametrize(("epochs", "steps", "limit"), [(3, 7, 21), (0.5, 7, 3), (0.1 * 3, 10, 3), (1, 1, 1)])
def test_budget_in_whole_steps(epochs, steps, limit):
    assert Ledger.for_epochs(epochs, steps).limit == limit


def test_ledger_counts_and_refuses_to_overspend():
    ledger = Ledger.for_epochs(2, 10)
    ledger.charge(0, "warm-up", 5)
    ledger.charge(1, "recovery", 0)
    ledger.charge(1, "match", 10)
    assert (ledger.spent, ledger.left, ledger.epochs_spent) == (15, 5, 1.5)
    for steps in (6, -1):
        with pytest.raises(SearchError, match=f"{steps} steps of match for candidate 2 do not fit .*: 5 of 20 steps"):
            ledger.charge(2, "match", steps)
    assert ledger.charges == [Charge(0, "warm-up", 5), Charge(1, "recovery", 0), Charge(1, "match", 10)]
    ledger.charge(2, "match", 5)
    assert ledger.left == 0


def test_epochs_in_steps():
    ledger = Ledger.for_epochs(2, 10)
    assert [ledger.steps_for(epochs) for epochs in (0, 0.01, 0.26, 1, 2.5)] == [0, 1, 3, 10, 25]

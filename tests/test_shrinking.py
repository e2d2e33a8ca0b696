"""The published rules of shrinking, against calculations written out by hand, and sound networks everywhere."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from networks import (
    activation,
    any_network,
    batch_norm,
    chain,
    conv,
    conv_stacks,
    dense,
    flatten,
    global_pooling,
    inputs_for,
    plain,
    pooling,
    prelu,
)
from oracle import ACTIVATIONS, forward, output_shape

from keras_ectonas.errors import SurgeryError
from keras_ectonas.mutations import mutation_named
from keras_ectonas.network import Network, Weight
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import PublishedSurgery
from keras_ectonas.surgery.positions import block_index

SETTINGS = SearchSettings()
SURGERY = PublishedSurgery()
RNG = np.random.default_rng(0)
SHRINKING = ("remove_dense", "remove_units", "add_cell", "remove_cell", "remove_channels")
EXAMPLES = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def with_values(network, index, **values):
    """The network with weights of layer `index` set to given numbers."""
    layer = network.layers[index]
    changed = [Weight(name, np.asarray(value, np.float32)) for name, value in values.items()]
    return network.with_layer(index, layer.with_weights(*changed))


def values_of(network, index, *names):
    return [network.layers[index].value(name).astype(np.float64) for name in names]


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def same_function(parent, child):
    inputs = inputs_for(parent)
    same(forward(child, inputs), forward(parent, inputs))


def kinds(network):
    return [layer.kind for layer in network.layers]


# Removing units.


def leading_directions(kernel, n_kept):
    """The directions among the units that the kernel stretches most, as columns."""
    _, vectors = np.linalg.eigh(kernel.T @ kernel)
    return vectors[:, ::-1][:, :n_kept]


@pytest.mark.parametrize("n_removed", [1, 2, 4])
def test_units_are_removed_by_singular_value_decomposition(n_removed):
    network = chain((7,), dense(5, "relu"), dense(3, "softmax"))
    child = SURGERY.remove_units(network, 0, n_removed).network
    kernel, bias = values_of(network, 0, "kernel", "bias")
    (following,) = values_of(network, 1, "kernel")
    leading = leading_directions(kernel, 5 - n_removed)
    projection = leading @ leading.T
    new_kernel, new_bias = values_of(child, 0, "kernel", "bias")
    (new_following,) = values_of(child, 1, "kernel")
    assert new_kernel.shape == (7, 5 - n_removed)
    assert child.layers[0].config["units"] == 5 - n_removed
    same(np.linalg.norm(new_kernel, axis=0), np.linalg.svd(kernel)[1][: 5 - n_removed])
    same(new_kernel @ new_following, kernel @ projection @ following)
    same(new_bias @ new_following, bias @ projection @ following)
    same(child.layers[1].value("bias"), network.layers[1].value("bias"))


def test_units_that_a_linear_layer_does_not_need_are_removed_without_loss():
    network = chain((6,), dense(5, "linear", use_bias=False), dense(3, "tanh"))
    low_rank = RNG.normal(size=(6, 2)) @ RNG.normal(size=(2, 5))
    network = with_values(network, 0, kernel=low_rank)
    same_function(network, SURGERY.remove_units(network, 0, 3).network)
    worse = SURGERY.remove_units(network, 0, 4).network
    assert np.abs(forward(worse, inputs_for(network)) - forward(network, inputs_for(network))).max() > 1e-2


def test_units_with_a_normalization_behind_them_are_removed_by_its_scaling_factors():
    network = chain((4,), dense(4, "linear"), batch_norm(), activation("tanh"), dense(2, "linear"))
    network = with_values(network, 1, gamma=[0.5, -0.1, 2.0, 0.2])
    child = SURGERY.remove_units(network, 0, 2).network
    kept, removed = [0, 2], [1, 3]
    same(child.layers[0].value("kernel"), network.layers[0].value("kernel")[:, kept])
    same(child.layers[0].value("bias"), network.layers[0].value("bias")[kept])
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        same(child.layers[1].value(name), network.layers[1].value(name)[kept])
    (beta,) = values_of(network, 1, "beta")
    kernel, bias = values_of(network, 3, "kernel", "bias")
    same(child.layers[3].value("kernel"), kernel[kept])
    for output in range(2):
        expected = bias[output] + sum(np.tanh(beta[unit]) * kernel[unit, output] for unit in removed)
        same(child.layers[3].value("bias")[output], expected)


def test_units_with_slopes_behind_them_are_removed_by_the_length_of_their_weights():
    network = chain((2,), dense(3, "linear"), prelu(), dense(1, "linear"))
    network = with_values(network, 0, kernel=[[3, 0, 1], [4, 1, 0]])
    network = with_values(network, 2, kernel=[[0.1], [2.0], [-3.0]])
    child = SURGERY.remove_units(network, 0, 1).network
    same(child.layers[0].value("kernel"), [[0, 1], [1, 0]])
    same(child.layers[1].value("alpha"), network.layers[1].value("alpha")[1:])
    same(child.layers[2].value("kernel"), [[2], [-3]])


def test_slots_of_kept_units_are_kept_and_those_of_mixtures_dropped():
    network = chain((4,), dense(4, "linear"), batch_norm(), dense(2, "linear"))
    network = network.with_layer(1, network.layers[1].with_weights(Weight("gamma", np.float32([9, 1, 5, 7]))))
    child = SURGERY.remove_units(network, 0, 1).network
    slot = network.layers[0].weight("kernel").slots["momentum"]
    np.testing.assert_array_equal(child.layers[0].weight("kernel").slots["momentum"], slot[:, [0, 2, 3]])
    slot = network.layers[2].weight("kernel").slots["velocity"]
    np.testing.assert_array_equal(child.layers[2].weight("kernel").slots["velocity"], slot[[0, 2, 3]])
    mixed = SURGERY.remove_units(chain((4,), dense(4), dense(2)), 0, 1).network
    assert [weight.slots for weight in (*mixed.layers[0].weights, mixed.layers[1].weight("kernel"))] == [{}, {}, {}]


# Removing channels.


@pytest.mark.parametrize("function", ["relu", "tanh", "sigmoid", "leaky_relu"])
def test_channels_with_the_smallest_scaling_factors_go_and_their_constant_part_moves_on(function):
    network = chain((5, 4, 2), conv(4), batch_norm(), activation(function), conv(3, 2), flatten(), dense(2))
    network = with_values(network, 1, gamma=[-0.9, 0.05, 0.7, -0.1])
    child = SURGERY.remove_channels(network, 0, 2).network
    kept, removed = [0, 2], [1, 3]
    assert child.layers[0].config["filters"] == 2
    same(child.layers[0].value("kernel"), network.layers[0].value("kernel")[..., kept])
    same(child.layers[0].value("bias"), network.layers[0].value("bias")[kept])
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        same(child.layers[1].value(name), network.layers[1].value(name)[kept])
    (beta,) = values_of(network, 1, "beta")
    kernel, bias = values_of(network, 3, "kernel", "bias")
    same(child.layers[3].value("kernel"), kernel[:, :, kept])
    for output in range(3):
        expected = bias[output]
        for channel in removed:
            for row in range(2):
                for column in range(2):
                    expected += ACTIVATIONS[function](beta[channel]) * kernel[row, column, channel, output]
        same(child.layers[3].value("bias")[output], expected)
    assert child.layers[4:] == network.layers[4:]


def test_channels_behind_a_flatten_take_their_rows_of_every_position_along():
    network = chain((4, 3, 1), conv(3), pooling(), batch_norm(), activation("relu"), flatten(), dense(2, "linear"))
    network = with_values(network, 2, gamma=[1.0, 0.01, -2.0])
    child = SURGERY.remove_channels(network, 0, 1).network
    (beta,) = values_of(network, 2, "beta")
    kernel, bias = values_of(network, 5, "kernel", "bias")
    n_positions = 2 * 2
    rows, expected = [], bias.copy()
    for position in range(n_positions):
        rows.extend([kernel[3 * position], kernel[3 * position + 2]])
        expected += max(beta[1], 0) * kernel[3 * position + 1]
    same(child.layers[5].value("kernel"), rows)
    same(child.layers[5].value("bias"), expected)


@pytest.mark.parametrize("function", ["relu", "tanh", "elu", "softplus"])
@pytest.mark.parametrize("behind", [(conv(2, 2, padding="valid"), flatten()), (flatten(),), (global_pooling("max"),)])
def test_channels_whose_scaling_factor_is_zero_are_removed_without_loss(function, behind):
    makers = (conv(4), pooling("max"), batch_norm(), activation(function), *behind, dense(3, "linear"))
    network = with_values(chain((6, 7, 2), *makers), 2, gamma=[0.0, 0.8, 0.0, -1.2])
    same_function(network, SURGERY.remove_channels(network, 0, 2).network)


def test_without_an_offset_or_a_following_bias_nothing_moves_on():
    without_offset = chain((5, 2), conv(3), batch_norm(center=False), activation("relu"), flatten(), dense(2))
    child = SURGERY.remove_channels(without_offset, 0, 1).network
    same(child.layers[-1].value("bias"), without_offset.layers[-1].value("bias"))
    without_bias = chain((5, 2), conv(3), batch_norm(), activation("relu"), flatten(), dense(2, use_bias=False))
    child = SURGERY.remove_channels(without_bias, 0, 1).network
    assert [weight.name for weight in child.layers[-1].weights] == ["kernel"]
    assert child.layers[-1].value("kernel").shape == (10, 2)


def test_channels_without_a_normalization_are_removed_by_the_length_of_their_weights():
    network = chain((4, 1), conv(3, 1, activation="relu"), flatten(), dense(1, "linear"))
    outgoing = np.zeros((4, 3, 1))
    outgoing[:, 0], outgoing[:, 1], outgoing[:, 2] = 0.5, 0.1, -0.3
    network = with_values(network, 0, kernel=[[[1.0, 4.0, -3.0]]])
    network = with_values(network, 2, kernel=outgoing.reshape(12, 1))
    child = SURGERY.remove_channels(network, 0, 1).network
    same(child.layers[0].value("kernel"), [[[1.0, -3.0]]])
    same(child.layers[2].value("kernel"), outgoing[:, [0, 2]].reshape(8, 1))
    same(child.layers[2].value("bias"), network.layers[2].value("bias"))


# Removing dense layers.


def test_dense_layer_is_multiplied_into_the_next():
    network = chain((4,), dense(5, "relu"), plain("Dropout", rate=0.5), dense(3, "softmax"))
    child = SURGERY.remove_dense(network, 0).network
    first, first_bias = values_of(network, 0, "kernel", "bias")
    second, second_bias = values_of(network, 2, "kernel", "bias")
    expected = [[sum(first[i, j] * second[j, k] for j in range(5)) for k in range(3)] for i in range(4)]
    assert kinds(child) == ["Dense"]
    assert child.layers[0].config == network.layers[2].config
    same(child.layers[0].value("kernel"), expected)
    same(child.layers[0].value("bias"), second_bias + first_bias @ second)


def test_normalization_behind_a_removed_dense_layer_is_folded_in():
    network = chain((3,), dense(4, "linear"), batch_norm(), activation("relu"), dense(2, "linear"))
    child = SURGERY.remove_dense(network, 0).network
    first, first_bias = values_of(network, 0, "kernel", "bias")
    gamma, beta, mean, variance = values_of(network, 1, "gamma", "beta", "moving_mean", "moving_variance")
    second, second_bias = values_of(network, 3, "kernel", "bias")
    kernel, bias = np.zeros((3, 2)), second_bias.copy()
    for unit in range(4):
        factor = gamma[unit] / np.sqrt(variance[unit] + 1e-3)
        kernel += np.outer(first[:, unit] * factor, second[unit])
        bias += ((first_bias[unit] - mean[unit]) * factor + beta[unit]) * second[unit]
    assert kinds(child) == ["Dense"]
    same(child.layers[0].value("kernel"), kernel)
    same(child.layers[0].value("bias"), bias)


LINEAR = {
    "plain": ((4,), (dense(5, "linear"), dense(3, "softmax"))),
    "without_bias": ((4,), (dense(5, "linear", use_bias=False), dense(3, "tanh", use_bias=False))),
    "normalizations": ((4,), (dense(5, "linear"), batch_norm(), batch_norm(scale=False), dense(3, "tanh"))),
    "behind_flatten": ((3, 4), (flatten(), dense(5, "linear"), batch_norm(center=False), dense(3, "tanh"))),
    "before_flatten": ((3, 4), (dense(5, "linear"), batch_norm(), flatten(), dense(3, "tanh"))),
    "before_convolution": ((6, 4), (dense(5, "linear", use_bias=False), conv(2), flatten(), dense(3, "tanh"))),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_dense_layers_are_removed_without_loss(name):
    shape, makers = LINEAR[name]
    network = chain(shape, *makers)
    index = kinds(network).index("Dense")
    child = SURGERY.remove_dense(network, index).network
    assert kinds(child).count("Dense") == kinds(network).count("Dense") - 1
    same_function(network, child)


# Removing cells.


def block_of(position, n_positions, n_blocks):
    """The pooled position that a window of 2 with stride 2 gathers `position` into."""
    assert n_blocks == (n_positions + 1) // 2
    return position // 2


@pytest.mark.parametrize("shape", [(4, 4), (5, 4), (5, 7), (3, 3)])
def test_rows_behind_a_flatten_are_repeated_when_a_pooling_cell_goes(shape):
    network = chain((*shape, 1), conv(1), pooling(), batch_norm(), activation("relu"), flatten(), dense(2, "linear"))
    child = SURGERY.remove_cell(network, 0).network
    height, width = (shape[0] + 1) // 2, (shape[1] + 1) // 2
    (kernel,) = values_of(network, 5, "kernel")
    expected = [
        kernel[block_of(row, shape[0], height) * width + block_of(column, shape[1], width)]
        for row in range(shape[0])
        for column in range(shape[1])
    ]
    assert kinds(child) == ["Flatten", "Dense"]
    same(child.layers[1].value("kernel"), expected)
    same(child.layers[1].value("bias"), network.layers[5].value("bias"))


def test_single_input_channel_stands_for_the_most_important_channel_of_a_removed_cell():
    network = chain((3, 1), conv(3), batch_norm(), activation("tanh"), flatten(), dense(2, "linear"))
    network = with_values(network, 1, gamma=[0.3, -1.1, 0.6])
    child = SURGERY.remove_cell(network, 0).network
    (beta,) = values_of(network, 1, "beta")
    kernel, bias = values_of(network, 4, "kernel", "bias")
    rows = [kernel[3 * position + 1] for position in range(3)]
    expected = bias.copy()
    for position in range(3):
        for lost in (0, 2):
            expected += np.tanh(beta[lost]) * kernel[3 * position + lost]
    same(child.layers[1].value("kernel"), rows)
    same(child.layers[1].value("bias"), expected)


def test_several_input_channels_share_a_channel_of_a_removed_cell():
    network = chain((4, 4, 3), conv(2), batch_norm(), activation("relu"), conv(2), flatten(), dense(2))
    child = SURGERY.remove_cell(network, 0).network
    (kernel,) = values_of(network, 3, "kernel")
    first, second = kernel[:, :, 0], kernel[:, :, 1]
    assert kinds(child) == ["Conv2D", "Flatten", "Dense"]
    same(child.layers[0].value("kernel"), np.stack([first / 2, second, first / 2], axis=2))
    same(child.layers[0].value("bias"), network.layers[3].value("bias"))
    assert child.layers[1:] == network.layers[4:]


def test_removed_cell_in_the_middle_leaves_the_others_alone():
    cell = (conv(2), pooling("max"), batch_norm(), activation("relu"))
    network = chain((8, 8, 1), *cell, *cell, flatten(), dense(3, "linear"))
    child = SURGERY.remove_cell(network, 4).network
    assert child.layers[:4] == network.layers[:4]
    (kernel,) = values_of(network, 9, "kernel")
    expected = [
        kernel[((row // 2) * 2 + column // 2) * 2 + channel]
        for row in range(4)
        for column in range(4)
        for channel in range(2)
    ]
    same(child.layers[5].value("kernel"), expected)


def test_channel_axis_that_nobody_needs_any_more_goes_with_the_cell():
    reshape = plain("Reshape", target_shape=[4, 4, 1])
    network = chain((4, 4), reshape, conv(1), batch_norm(), activation("relu"), flatten(), dense(2))
    child = SURGERY.remove_cell(network, 1).network
    assert kinds(child) == ["Flatten", "Dense"]
    same(child.layers[1].value("kernel"), network.layers[5].value("kernel"))


def test_added_cell_without_pooling_is_removed_without_loss():
    network = chain((5, 5, 2), conv(3, activation="relu"), flatten(), dense(2, "linear"))
    grown = SURGERY.add_cell(network, 1, 2, None, RNG).network
    assert len(grown.layers) == len(network.layers) + 3
    same_function(network, SURGERY.remove_cell(grown, 1).network)


# Adding cells and pooling.


def aggregated(rows, how):
    """One weight for a block of rows, for each output."""
    results = []
    for output in range(rows.shape[1]):
        column = [rows[row, output] for row in range(len(rows))]
        results.append(sum(column) / len(column) if how == "average" else max(column, key=abs))
    return results


def aggregated_rows(kernel, shape, channels, how):
    """The rows behind a flatten, blocks of two by two positions in one; smaller at the edge of odd sizes."""
    height, width = shape
    results = []
    for top in range(0, height, 2):
        for left in range(0, width, 2):
            for channel in range(channels):
                block = [
                    kernel[(row * width + column) * channels + channel]
                    for row in range(top, min(top + 2, height))
                    for column in range(left, min(left + 2, width))
                ]
                results.append(aggregated(np.array(block), how))
    return results


@pytest.mark.parametrize("how", ["average", "max"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 4), (3, 7), (9, 5), (2, 3)])
def test_rows_behind_a_flatten_are_aggregated_as_the_new_pooling_does(shape, how):
    network = chain((*shape, 1), conv(2, activation="relu"), flatten(), dense(3, "linear"))
    (kernel,) = values_of(network, 2, "kernel")
    expected = aggregated_rows(kernel, shape, 2, how)
    with_cell = SURGERY.add_cell(network, 1, 2, how, RNG).network
    pooled = f"{how.capitalize()}Pooling2D"
    assert kinds(with_cell) == ["Conv2D", "Conv2D", pooled, "BatchNormalization", "Activation", "Flatten", "Dense"]
    same(with_cell.layers[-1].value("kernel"), expected)
    with_pooling = SURGERY.add_pooling(network, 1, 2, how).network
    assert kinds(with_pooling) == ["Conv2D", pooled, "Flatten", "Dense"]
    same(with_pooling.layers[-1].value("kernel"), expected)
    for child in (with_cell, with_pooling):
        same(child.layers[-1].value("bias"), network.layers[-1].value("bias"))
        assert_consistent(child, (3,))


@pytest.mark.parametrize("how", ["average", "max"])
def test_rows_of_signed_channels_are_aggregated_and_subtracted(how):
    network = chain((5, 3), flatten(), dense(2, "linear"))
    child = SURGERY.add_cell(network, 0, 2, how, RNG).network
    assert kinds(child)[:2] == ["Reshape", "Conv2D"]
    expected = np.array(aggregated_rows(network.layers[1].value("kernel").astype(float), (5, 3), 1, how))
    found = child.layers[-1].value("kernel").reshape(6, 2, 2)
    same(found[:, 0], expected)
    same(found[:, 1], -expected)


def test_pooled_cell_computes_what_average_pooling_computes():
    network = chain((4, 4, 2), conv(3, activation="relu"), flatten(), dense(2, "linear"))
    child = SURGERY.add_cell(network, 1, 2, "average", RNG).network
    inputs = inputs_for(network)
    bare = Network((4, 4, 2), network.layers[:1])
    means = forward(bare, inputs).reshape(4, 2, 2, 2, 2, 3).mean(axis=(2, 4)).reshape(4, -1)
    same(forward(child, inputs), means @ child.layers[-1].value("kernel") + child.layers[-1].value("bias"))


@pytest.mark.parametrize("many", range(2, 16))
def test_blocks_of_halved_positions_are_pooling_windows(many):
    few = (many + 1) // 2
    assert block_index(many, few).tolist() == [position // 2 for position in range(many)]


@given(st.integers(1, 40), st.integers(1, 40))
@EXAMPLES
def test_blocks_are_in_order_and_none_is_empty(one, other):
    many, few = max(one, other), min(one, other)
    blocks = block_index(many, few)
    assert len(blocks) == many
    assert sorted(set(blocks.tolist())) == list(range(few))
    assert (np.diff(blocks) >= 0).all()


# Any network.


def assert_consistent(network, outputs):
    """Weights have the shapes that the configuration and the incoming features call for."""
    shape = network.input_shape
    for layer in network.layers:
        found = {weight.name: weight.value.shape for weight in layer.weights}
        width = layer.config.get("units", layer.config.get("filters"))
        if width is not None:
            assert found["kernel"] == (*layer.config.get("kernel_size", ()), shape[-1], width)
            assert found.get("bias", (width,)) == (width,)
            assert ("bias" in found) is layer.config["use_bias"]
        elif found:
            assert {sizes[-1] for sizes in found.values()} == {shape[-1]}
        shape = output_shape(layer, shape)
    assert shape == outputs
    assert len({layer.name for layer in network.layers}) == len(network.layers)


def shrunk(name, network):
    """The children at all sites where the mutation is possible, and how many refused."""
    mutation = mutation_named(name)
    children, n_refused = [], 0
    for site in mutation.sites(network, SETTINGS):
        try:
            children.append((site, mutation.apply(network, site, SURGERY, np.random.default_rng(0)).network))
        except SurgeryError:
            n_refused += 1
    return children, n_refused


@pytest.mark.parametrize("name", SHRINKING)
@EXAMPLES
@given(any_network())
def test_every_site_gives_a_sound_network_or_is_refused(name, network):
    mark = network.fingerprint()
    children, n_refused = shrunk(name, network)
    outputs = forward(network, inputs_for(network)).shape[1:]
    for _, child in children:
        assert_consistent(child, outputs)
        assert child.is_finite()
        assert np.isfinite(forward(child, inputs_for(child))).all()
        for layer in child.layers:
            for weight in layer.weights:
                assert all(slot.shape == weight.value.shape for slot in weight.slots.values())
    assert network.fingerprint() == mark
    if name in ("remove_dense", "remove_units", "remove_channels"):
        assert n_refused == 0


@EXAMPLES
@given(conv_stacks(2), st.sampled_from(["remove_units", "remove_channels"]))
def test_as_much_is_removed_as_the_site_says(network, name):
    for site, child in shrunk(name, network)[0]:
        key = "units" if name == "remove_units" else "filters"
        before, after = network.layers[site.layer].config[key], child.layers[site.layer].config[key]
        assert before - after == site.amount > 0
        assert after >= 1
        assert kinds(child) == kinds(network)


@EXAMPLES
@given(any_network(), st.integers(0, 10**6))
def test_networks_stay_sound_under_chains_of_shrinking(network, seed):
    rng = np.random.default_rng(seed)
    outputs = forward(network, inputs_for(network)).shape[1:]
    for _ in range(4):
        children, _ = shrunk(SHRINKING[rng.integers(len(SHRINKING))], network)
        if children:
            network = children[rng.integers(len(children))][1]
    assert_consistent(network, outputs)
    assert forward(network, inputs_for(network)).shape[1:] == outputs


# Refusals.

TABLE = chain((4,), dense(3), dense(2))
IMAGE = chain((4, 4, 1), conv(2), flatten(), dense(3), dense(2))
REFUSALS = [
    (lambda: SURGERY.remove_units(TABLE, 1, 1), "outputs of layer 1 'layer_1' .Dense. cannot be followed"),
    (lambda: SURGERY.remove_units(IMAGE, 1, 1), "layer 1 'layer_1' .Flatten. has no units or filters"),
    (lambda: SURGERY.remove_dense(IMAGE, 0), "layer 0 'layer_0' .Conv2D. is not a dense layer"),
    (lambda: SURGERY.remove_dense(TABLE, 1), "outputs of layer 1 'layer_1' .Dense. cannot be followed"),
    (lambda: SURGERY.remove_cell(IMAGE, 2), "layer 2 'layer_2' .Dense. is not a convolution"),
    (lambda: SURGERY.add_dense(IMAGE, 0), "layer 0 'layer_0' .Conv2D. is not a dense layer to insert before"),
    (
        lambda: SURGERY.add_cell(chain((4, 4, 1), conv(2), global_pooling("max"), dense(2)), 1, 2, None, RNG),
        "no signed pairs of channels can pass layer 4 'layer_1' .GlobalMaxPooling2D.",
    ),
    (
        lambda: SURGERY.add_pooling(chain((4, 4, 1), conv(2), flatten(), batch_norm(), dense(2)), 1, 2, "max"),
        "layer 'layer_2' .BatchNormalization. holds one weight for each position",
    ),
    (
        lambda: SURGERY.add_pooling(chain((4, 4, 1), conv(2), conv(2)), 1, 2, "max"),
        "the network's output would have another shape",
    ),
    (
        lambda: SURGERY.add_pooling(
            chain((4, 4, 1), conv(2), conv(2, 3, padding="valid"), flatten(), dense(2)), 1, 2, "max"
        ),
        "layer 'layer_1' .Conv2D. needs at least 3 positions, it would get 2",
    ),
]


@pytest.mark.parametrize(("operation", "message"), REFUSALS)
def test_impossible_changes_are_refused(operation, message):
    with pytest.raises(SurgeryError, match=message):
        operation()

"""The paper's shrinking rules against small calculations written out here."""

import numpy as np
import pytest
from networks import Builder

from keras_ectonas.errors import SurgeryError
from keras_ectonas.surgery import PublishedSurgery
from keras_ectonas.surgery.inference import outputs_along
from keras_ectonas.surgery.positions import block_index

SURGERY = PublishedSurgery()


def relu(x):
    return np.maximum(x, 0)


def test_units_by_singular_value_decomposition():
    network = Builder((5,)).dense(4).dense(3, "linear").network
    first, second = network.layers
    child = SURGERY.remove_units(network, 0, 1).network
    _, _, vt = np.linalg.svd(first.value("kernel").astype(float))
    v = vt[:3].T
    np.testing.assert_allclose(child.layers[0].value("kernel"), first.value("kernel") @ v, atol=1e-5)
    np.testing.assert_allclose(child.layers[0].value("bias"), first.value("bias") @ v, atol=1e-5)
    np.testing.assert_allclose(child.layers[1].value("kernel"), v.T @ second.value("kernel"), atol=1e-5)
    np.testing.assert_array_equal(child.layers[1].value("bias"), second.value("bias"))
    assert child.layers[0].config["units"] == 3


def test_removing_units_beyond_the_rank_of_a_linear_layer_is_exact():
    builder = Builder((2,)).dense(6, "linear").dense(3, "linear")
    child = SURGERY.remove_units(builder.network, 0, 3).network
    x = builder.inputs()
    bias = builder.network.layers[0].value("bias")
    assert np.abs(bias).min() > 0
    without = builder.network.with_layer(
        0, builder.network.layers[0].with_weights(builder.network.layers[0].weight("bias").with_value(0 * bias))
    )
    child = SURGERY.remove_units(without, 0, 3).network
    np.testing.assert_allclose(outputs_along(child, x)[-1], outputs_along(without, x)[-1], atol=1e-5)


def test_channels_of_least_scale_go_and_leave_their_constant():
    builder = Builder((4, 4, 2)).conv(3).norm().activation().flatten().dense(2, "linear")
    network = builder.network
    norm = network.layers[1]
    gamma, beta = np.array([0.9, -0.1, 0.5], "float32"), np.array([0.3, 0.7, -0.2], "float32")
    norm = norm.with_weights(norm.weight("gamma").with_value(gamma), norm.weight("beta").with_value(beta))
    network = network.with_layer(1, norm)
    child = SURGERY.remove_channels(network, 0, 1).network
    kept = [0, 2]
    np.testing.assert_array_equal(child.layers[0].value("kernel"), network.layers[0].value("kernel")[..., kept])
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        np.testing.assert_array_equal(child.layers[1].value(name), norm.value(name)[kept])
    rows = network.layers[4].value("kernel").reshape(16, 3, 2)
    np.testing.assert_array_equal(child.layers[4].value("kernel").reshape(16, 2, 2), rows[:, kept])
    constant = relu(0.7) * rows[:, 1].sum(axis=0)
    np.testing.assert_allclose(child.layers[4].value("bias"), network.layers[4].value("bias") + constant, atol=1e-5)


def test_dense_layer_goes_by_multiplying_kernels():
    network = Builder((5,)).dense(4).dense(3, "linear").network
    first, second = network.layers
    child = SURGERY.remove_dense(network, 0).network
    assert len(child.layers) == 1
    np.testing.assert_allclose(
        child.layers[0].value("kernel"), first.value("kernel") @ second.value("kernel"), atol=1e-5
    )
    np.testing.assert_allclose(
        child.layers[0].value("bias"), first.value("bias") @ second.value("kernel") + second.value("bias"), atol=1e-5
    )


def test_linear_dense_layer_with_normalization_goes_exactly():
    builder = Builder((5,)).dense(4, "linear").norm().dropout().dense(3, "linear")
    child = SURGERY.remove_dense(builder.network, 0).network
    x = builder.inputs()
    assert [layer.kind for layer in child.layers] == ["Dense"]
    np.testing.assert_allclose(outputs_along(child, x)[-1], outputs_along(builder.network, x)[-1], atol=1e-4)


@pytest.mark.parametrize(("how", "aggregate"), [("average", np.mean), ("max", None)])
@pytest.mark.parametrize("size", [4, 5])
def test_rows_behind_new_pooling(how, aggregate, size):
    builder = Builder((size, size, 1)).conv(2, activation="relu").flatten().dense(2, "linear")
    network = builder.network
    child = SURGERY.add_pooling(network, 1, 2, how).network
    rows = network.layers[2].value("kernel").reshape(size, size, 2, 2)
    new = -(-size // 2)
    expected = np.zeros((new, new, 2, 2))
    for i in range(new):
        for j in range(new):
            last_i, last_j = (size if k == new - 1 else 2 * k + 2 for k in (i, j))
            block = rows[2 * i : last_i, 2 * j : last_j].reshape(-1, 2, 2)
            if aggregate is not None:
                expected[i, j] = aggregate(block, axis=0)
            else:
                for c in range(2):
                    for o in range(2):
                        expected[i, j, c, o] = max(block[:, c, o], key=abs)
    found = child.layers[3].value("kernel").reshape(new, new, 2, 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("many", "few", "expected"),
    [
        (4, 2, [0, 0, 1, 1]),
        (5, 3, [0, 0, 1, 1, 2]),
        (7, 4, [0, 0, 1, 1, 2, 2, 3]),
        (3, 1, [0, 0, 0]),
        (5, 2, [0, 0, 1, 1, 1]),
    ],
)
def test_blocks(many, few, expected):
    assert block_index(many, few).tolist() == expected


def test_cell_goes_and_rows_are_repeated():
    builder = Builder((4, 4, 2)).conv(3, activation="relu").pool().flatten().dense(2, "linear")
    network = builder.network
    child = SURGERY.remove_cell(network, 0).network
    assert [layer.kind for layer in child.layers] == ["Flatten", "Dense"]
    kernel, out = (network.layers[k].value("kernel").astype(float) for k in (0, 3))
    rows = out.reshape(2, 2, 3, 2)
    strength = [np.linalg.norm(kernel[..., c]) * np.linalg.norm(rows[:, :, c]) for c in range(3)]
    kept = sorted(np.argsort(strength)[1:])
    expected = np.zeros((4, 4, 2, 2))
    for i in range(4):
        for j in range(4):
            for new, old in enumerate(kept):
                expected[i, j, new] = rows[i // 2, j // 2, old]
    np.testing.assert_allclose(child.layers[1].value("kernel").reshape(4, 4, 2, 2), expected, atol=1e-6)


def test_cell_goes_and_few_channels_stand_for_many():
    network = Builder((4, 4, 3)).conv(2, activation="relu").flatten().dense(2, "linear").network
    child = SURGERY.remove_cell(network, 0).network
    old = network.layers[2].value("kernel").reshape(16, 2, 2)
    new = child.layers[1].value("kernel").reshape(16, 3, 2)
    np.testing.assert_allclose(new[:, 0] + new[:, 2], old[:, 0], atol=1e-6)
    np.testing.assert_allclose(new[:, 0], new[:, 2], atol=1e-6)
    np.testing.assert_allclose(new[:, 1], old[:, 1], atol=1e-6)


def test_cell_on_an_image_without_channels_comes_and_goes():
    builder = Builder((5, 6)).flatten().dense(3, "linear")
    child = SURGERY.add_cell(builder.network, 0, 2, None, np.random.default_rng(0)).network
    assert [layer.kind for layer in child.layers][:3] == ["Reshape", "Conv2D", "BatchNormalization"]
    back = SURGERY.remove_cell(child, 1).network
    assert [layer.kind for layer in back.layers] == ["Flatten", "Dense"]
    x = builder.inputs()
    np.testing.assert_allclose(outputs_along(back, x)[-1], outputs_along(builder.network, x)[-1], atol=1e-5)


def test_pooling_that_leaves_no_position_is_refused():
    network = Builder((3, 3, 1)).conv(2, padding="valid", activation="relu").flatten().dense(2).network
    with pytest.raises(SurgeryError, match="needs at least 3 positions, it would get 2"):
        SURGERY.add_pooling(network, 0, 2, "max")


def test_positions_with_weights_of_their_own_are_refused():
    network = Builder((4, 4, 1)).conv(2, activation="relu").flatten().norm().dense(2).network
    with pytest.raises(SurgeryError, match="holds one weight for each position"):
        SURGERY.add_pooling(network, 1, 2, "average")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda s, n: s.remove_units(n, 1, 1), "cannot be followed"),
        (lambda s, n: s.remove_dense(n, 1), "cannot be followed"),
        (lambda s, n: s.remove_cell(n, 0), "is not a convolution"),
    ],
)
def test_what_is_not_possible_is_refused(operation, message):
    with pytest.raises(SurgeryError, match=message):
        operation(SURGERY, Builder((5,)).dense(4).dense(3).network)

"""Calibrated surgery: its regressions against plain least squares, its networks against their parents."""

import itertools
import tracemalloc
from dataclasses import replace

import keras
import numpy as np
import pytest
from models import conv_model
from numpy.linalg import lstsq

from keras_ectonas.bridge import Blueprint, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.mutations import MUTATIONS
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery
from keras_ectonas.surgery.inference import outputs_along
from keras_ectonas.surgery.regression import SolveError, ridge_correction, survivors

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(60, 5), (20, 50)])
@pytest.mark.parametrize("with_offset", [True, False])
def test_regression_is_least_squares_with_a_penalty(shape, with_offset):
    inputs, residual = RNG.normal(1, 1, shape), RNG.normal(2, 1, (shape[0], 3))
    fit = ridge_correction(inputs, residual, 1e-2, with_offset)
    center = inputs.mean(0) if with_offset else 0
    level = residual.mean(0) if with_offset else 0
    share = 1e-2 + 0.5 * shape[1] / shape[0]
    penalty = np.sqrt(share * ((inputs - center) ** 2).sum() / shape[1])
    stacked = np.concatenate([inputs - center, penalty * np.eye(shape[1])])
    wanted = np.concatenate([residual - level, np.zeros((shape[1], 3))])
    np.testing.assert_allclose(fit.matrix, lstsq(stacked, wanted, rcond=None)[0], atol=1e-8)
    np.testing.assert_allclose(fit.offset, level - center @ fit.matrix if with_offset else 0, atol=1e-8)


def test_regression_on_constant_inputs_changes_nothing_but_the_offset():
    fit = ridge_correction(np.ones((10, 3)), np.full((10, 2), 4.0), 1e-3, True)
    np.testing.assert_allclose(fit.matrix, 0, atol=1e-12)
    np.testing.assert_allclose(fit.offset, 4.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_regression_refuses_what_is_not_finite(bad):
    inputs = RNG.normal(size=(10, 3))
    inputs[2, 1] = bad
    with np.errstate(all="ignore"), pytest.raises(SolveError, match="regression"):
        ridge_correction(inputs, np.ones((10, 1)), 1e-3, True)


@pytest.mark.parametrize("seed", range(20))
def test_one_loss_is_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    inputs, matrix = rng.normal(size=(200, 6)), rng.normal(size=(6, 2))
    # Without noise any of three could go, and rounding would decide which.
    inputs[:, 4] = inputs[:, 1] + 0.1 * inputs[:, 2] + 0.05 * rng.normal(size=200)
    groups = [np.array([j]) for j in range(6)]
    kept = survivors(inputs.T @ inputs, matrix, groups, 5, 1e-9)

    def loss(columns):
        wanted = inputs @ matrix
        return ((wanted - inputs[:, columns] @ lstsq(inputs[:, columns], wanted, rcond=None)[0]) ** 2).sum()

    best = min(itertools.combinations(range(6), 5), key=lambda columns: loss(list(columns)))
    assert kept.tolist() == list(best)


def test_groups_go_together_and_useless_ones_first():
    inputs, matrix = RNG.normal(size=(300, 8)), RNG.normal(size=(8, 2))
    groups = [np.array([j, j + 4]) for j in range(4)]
    matrix[groups[2]] = 0
    inputs[:, groups[0]] = inputs[:, groups[3]]
    kept = survivors(inputs.T @ inputs, matrix, groups, 2, 1e-6)
    assert 1 in kept
    assert 2 not in kept


def random_network(model, nonnegative=True, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape) * 0.5
        weight.assign(np.abs(drawn) + 0.5 if weight.name in ("moving_variance", "gamma") else drawn)
    return network_of(model, nonnegative_input=nonnegative)


def image_network(activation="relu", use_bias=True, flat=True, shape=(8, 8, 1)):
    two = len(shape) == 3
    conv = keras.layers.Conv2D if two else keras.layers.Conv1D
    pool = keras.layers.AveragePooling2D if two else keras.layers.AveragePooling1D
    pooled = keras.layers.GlobalAveragePooling2D if two else keras.layers.GlobalAveragePooling1D
    return random_network(
        keras.Sequential(
            [
                keras.Input(shape),
                conv(5, 3, padding="same", use_bias=use_bias),
                pool(2, padding="same"),
                keras.layers.BatchNormalization(),
                keras.layers.Activation(activation),
                conv(6, 3, padding="same", activation=activation, use_bias=use_bias),
                keras.layers.Flatten() if flat else pooled(),
                keras.layers.Dense(7, activation=activation, use_bias=use_bias),
                keras.layers.Dense(4, use_bias=use_bias),
            ]
        )
    )


NETWORKS = {
    "relu": lambda: image_network(),
    "tanh": lambda: image_network("tanh"),
    "without_bias": lambda: image_network(use_bias=False),
    "global_pooling": lambda: image_network(flat=False),
    "series": lambda: image_network(shape=(16, 2)),
    "odd": lambda: image_network(shape=(7, 9, 2)),
}


def error(parent, child, x):
    before, after = outputs_along(parent.layers, x)[-1], outputs_along(child.layers, x)[-1]
    return float(((after - before) ** 2).mean() / before.var())


def changes(network, surgery, seed=0):
    rng = np.random.default_rng(seed)
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            yield mutation, site, mutation.apply(network, site, surgery, rng)


@pytest.mark.parametrize("name", NETWORKS)
def test_calibrated_loses_less_than_published(name):
    network = NETWORKS[name]()
    x = np.random.default_rng(1).random((800, *network.input_shape)).astype("float32")
    calibrated = list(changes(network, CalibratedSurgery(x[:600])))
    published = list(changes(network, PublishedSurgery()))
    ours, theirs = [], []
    for (mutation, site, (child, remark)), (_, _, (rival, _)) in zip(calibrated, published, strict=True):
        assert remark == ""
        assert child.is_finite()
        if mutation.is_exact(network, site):
            assert error(network, child, x[600:]) < 1e-9, mutation.name
            np.testing.assert_allclose(
                outputs_along(network.layers, x[600:])[-1],
                outputs_along(child.layers, x[600:])[-1],
                rtol=1e-4,
                atol=1e-4,
            )
        else:
            ours.append(error(network, child, x[600:]))
            theirs.append(error(network, rival, x[600:]))
    assert len(ours) >= 6
    assert np.mean(np.minimum(ours, 10)) < 0.5 * np.mean(np.minimum(theirs, 10))
    assert sum(a <= b * 1.05 for a, b in zip(ours, theirs, strict=True)) >= 0.75 * len(ours)


def test_parents_are_not_changed_and_results_repeat():
    network = image_network()
    x = np.random.default_rng(1).random((300, 8, 8, 1)).astype("float32")
    mark = network.fingerprint()
    first = [operated.network.fingerprint() for _, _, operated in changes(network, CalibratedSurgery(x, 3))]
    second = [operated.network.fingerprint() for _, _, operated in changes(network, CalibratedSurgery(x, 3))]
    assert first == second
    assert network.fingerprint() == mark


def test_useless_unit_is_removed_without_loss():
    network = image_network()
    dense = network.layers[6]
    kernel = dense.value("kernel").copy()
    kernel[:, 3] = kernel[:, 5]
    bias = dense.value("bias").copy()
    bias[3] = bias[5]
    twin = dense.with_weights(dense.weight("kernel").with_value(kernel), dense.weight("bias").with_value(bias))
    network = network.with_layer(6, twin)
    x = np.random.default_rng(1).random((400, 8, 8, 1)).astype("float32")
    child = CalibratedSurgery(x).remove_units(network, 6, 1).network
    assert error(network, child, x) < 1e-4


def test_channels_before_many_inputs_go_by_what_they_send_on():
    """A Gram matrix of these 8,192 inputs alone would take half a gigabyte."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(32, 3, padding="same", activation="relu"), keras.layers.Flatten()]
    network = network_of(keras.Sequential([keras.Input((16, 16, 1)), *layers, keras.layers.Dense(4)]))
    head = network.layers[2]
    kernel = head.value("kernel").reshape(256, 32, 4).copy()
    kernel[:, [3, 20]] *= 1e-3
    quiet = head.with_weights(head.weight("kernel").with_value(kernel.reshape(-1, 4)))
    x = np.random.default_rng(1).random((400, 16, 16, 1)).astype("float32")
    tracemalloc.start()
    child = CalibratedSurgery(x).remove_channels(network.with_layer(2, quiet), 0, 2).network
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e8
    kept = np.delete(network.layers[0].value("kernel"), [3, 20], axis=-1)
    np.testing.assert_array_equal(child.layers[0].value("kernel"), kept)


def test_new_batch_normalization_is_the_identity_in_training_too():
    model = conv_model()
    network = random_network(model)
    x = np.random.default_rng(1).random((400, 8, 8, 1)).astype("float32")
    child = CalibratedSurgery(x).add_cell(network, 0, 2, None, np.random.default_rng(0)).network
    built = Blueprint.of(model, Compilation.of(model)).uncompiled(child)
    normalization = next(layer for layer in built.layers if isinstance(layer, keras.layers.BatchNormalization))
    inputs = built.layers[0](x)
    training = keras.ops.convert_to_numpy(normalization(inputs, training=True))
    np.testing.assert_allclose(training, keras.ops.convert_to_numpy(inputs), atol=1e-2)


def test_failed_solve_falls_back_to_the_papers_rule(monkeypatch):
    def fail(*args, **kwargs):
        raise SolveError("a regression could not be solved: singular")

    monkeypatch.setattr("keras_ectonas.surgery.calibrated.ridge_correction", fail)
    network = image_network()
    x = np.random.default_rng(1).random((100, 8, 8, 1)).astype("float32")
    child, remark = CalibratedSurgery(x).remove_units(network, 6, 2)
    assert remark == "the paper's rule in place of calibration: a regression could not be solved: singular"
    assert child.fingerprint() == PublishedSurgery().remove_units(network, 6, 2).network.fingerprint()


def test_few_and_constant_rows_do_no_harm():
    network = image_network()
    for x in (np.zeros((1, 8, 8, 1), "float32"), np.ones((3, 8, 8, 1), "float32")):
        for _, _, (child, _) in changes(network, CalibratedSurgery(x)):
            assert child.is_finite()


def test_activations_are_computed_once_and_only_where_they_are_needed(monkeypatch):
    from keras_ectonas.surgery import activations

    evaluated = []
    plain = activations.outputs_along
    monkeypatch.setattr(
        activations, "outputs_along", lambda layers, *rest: evaluated.extend(layers) or plain(layers, *rest)
    )
    network = image_network()
    x = np.random.default_rng(1).random((50, 8, 8, 1)).astype("float32")
    surgery = CalibratedSurgery(x)
    assert len(list(changes(network, surgery))) > 10
    weighted = [layer for layer in evaluated if layer.weights]
    of_parent = [id(layer) for layer in weighted if any(layer is own for own in network.layers)]
    assert len(of_parent) == len(set(of_parent)) == sum(bool(layer.weights) for layer in network.layers[:-1])
    # The others are those of a change of several layers, which goes on from its first step.
    others = {layer.kind for layer in weighted if id(layer) not in of_parent}
    assert others == {"Conv2D", "BatchNormalization"}


@pytest.mark.parametrize(("most_numbers", "most_multiplications"), [(20_000, 10**9), (10**9, 300_000)])
def test_networks_on_the_way_to_a_child_may_see_more_or_fewer_rows(monkeypatch, most_numbers, most_multiplications):
    from keras_ectonas.surgery import activations

    monkeypatch.setattr(activations, "_NUMBERS_KEPT", most_numbers)
    monkeypatch.setattr(activations, "_MULTIPLICATIONS", most_multiplications)
    network = image_network()
    surgery = CalibratedSurgery(np.random.default_rng(1).random((300, 8, 8, 1)).astype("float32"))
    narrower = [child for mutation, _, child in changes(network, surgery) if mutation.name == "remove_channels"]
    assert len(narrower) == 3
    assert all(child.network.is_finite() for child in narrower)
    n_rows = {len(known.inputs[0]) for known in surgery._activations._known.values()}
    assert len(n_rows) > 1


def test_several_layers_are_narrowed_towards_what_the_parent_computes():
    network = image_network()
    x = np.random.default_rng(1).random((300, 8, 8, 1)).astype("float32")
    convolutions = [index for index, layer in enumerate(network.layers) if layer.kind == "Conv2D"]
    consumer = next(index for index, layer in enumerate(network.layers) if layer.kind == "Dense")

    def error(aims_at_parent: bool) -> float:
        surgery, child = CalibratedSurgery(x), network
        for index in convolutions:
            child = surgery.remove_channels(child, index, 1, network if aims_at_parent else None).network
        wanted = outputs_along(network.layers[: consumer + 1], x)[-1]
        return float(((outputs_along(child.layers[: consumer + 1], x)[-1] - wanted) ** 2).mean())

    assert error(True) < 0.9 * error(False)


@pytest.mark.parametrize(
    ("shape", "n_filters", "expected"),
    [((8, 8, 3), None, 12), ((8, 8, 3), 1, 4), ((8, 8, 10), None, 34), ((20, 2), None, 5), ((20, 6), None, 12)],
)
def test_a_first_cell_with_pooling_fills_the_room_that_it_makes(shape, n_filters, expected):
    x = np.random.default_rng(1).random((50, *shape)).astype("float32")
    layers = [keras.layers.Flatten(), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)]
    network = random_network(keras.Sequential([keras.Input(shape), *layers]), seed=0)
    network = replace(network, nonnegative_input=True)
    surgery = CalibratedSurgery(x, n_filters=n_filters)
    child = surgery.add_cell(network, 0, len(shape) - 1, "average", np.random.default_rng(0)).network
    assert child.layers[0].config["filters"] == expected


@pytest.mark.parametrize(
    ("channels", "pooling", "n_filters", "expected"),
    [(5, "average", None, 10), (5, "max", None, 10), (30, "max", None, 54), (5, None, None, 5), (5, "max", 1, 5)],
)
@pytest.mark.parametrize("behind", ["convolution", "flatten"])
def test_a_later_cell_with_pooling_has_as_many_filters_again(behind, channels, pooling, n_filters, expected):
    x = np.random.default_rng(1).random((60, 8, 8, 3)).astype("float32")
    layers = [keras.layers.Conv2D(channels, 3, padding="same", activation="relu")]
    layers += [keras.layers.Conv2D(4, 3, padding="same", activation="relu")] if behind == "convolution" else []
    network = random_network(
        keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)]), seed=0
    )
    child = CalibratedSurgery(x, n_filters=n_filters).add_cell(network, 1, 2, pooling, np.random.default_rng(0)).network
    kernel = child.layers[1].value("kernel")
    assert child.layers[1].config["filters"] == kernel.shape[-1] == expected
    assert np.abs(kernel[..., channels:]).sum(axis=(0, 1, 2)).all()
    if pooling is None:
        np.testing.assert_allclose(outputs_along(child.layers, x)[-1], outputs_along(network.layers, x)[-1], atol=1e-5)
    elif n_filters is None:
        fewer = CalibratedSurgery(x, n_filters=1).add_cell(network, 1, 2, pooling, np.random.default_rng(0)).network
        assert error(network, child, x) <= 1.1 * error(network, fewer, x)


@pytest.mark.parametrize(("pooling", "most"), [(None, 0.0), ("average", 0.35), ("max", 0.3)])
def test_first_cell_starts_with_several_filters(pooling, most):
    x = np.random.default_rng(1).random((400, 8, 8)).astype("float32")
    rng = np.random.default_rng(0)
    errors = []
    for seed in range(4):
        layers = [keras.layers.Flatten(), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)]
        network = random_network(keras.Sequential([keras.Input((8, 8)), *layers]), seed=seed)
        child = CalibratedSurgery(x).add_cell(network, 0, 2, pooling, rng).network
        filters = child.layers[1].value("kernel")
        assert child.layers[1].config["filters"] == filters.shape[-1] == (2 if pooling is None else 4)
        assert np.abs(filters[..., 1:]).sum() > 0
        published = PublishedSurgery().add_cell(network, 0, 2, pooling, rng).network
        errors.append((error(network, child, x), error(network, published, x)))
    calibrated, paper = np.mean(errors, axis=0)
    assert calibrated < max(1e-9, most * paper)

"""Chains of layers that once went wrong: every change at every site gives a network that computes and fits."""

from dataclasses import replace

import numpy as np
import pytest
from networks import (
    activation,
    batch_norm,
    chain,
    conv,
    dense,
    flatten,
    global_pooling,
    inputs_for,
    plain,
    pooling,
    prelu,
)
from oracle import forward

from keras_ectonas.errors import SurgeryError
from keras_ectonas.mutations import MUTATIONS
from keras_ectonas.rules import producer_rule
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery
from keras_ectonas.surgery.walk import is_nonnegative_at, shapes_of

SURGERY = PublishedSurgery()

CHAINS = {
    "flat_reshape": chain((4, 4, 1), conv(3, activation="relu"), plain("Reshape", target_shape=[48]), dense(2)),
    "reshape_of_units": chain((4,), dense(6), plain("Reshape", target_shape=[1, 6]), conv(2), flatten(), dense(2)),
    "reshape_to_rows": chain((4, 4, 1), conv(4), plain("Reshape", target_shape=[-1, 4]), dense(3), flatten(), dense(2)),
    "reshape_behind_flatten": chain(
        (4, 4, 1), conv(3), flatten(), plain("Reshape", target_shape=[1, 48]), dense(4), flatten(), dense(2)
    ),
    "pointwise_dense": chain((4, 4, 3), dense(4), global_pooling(), dense(2)),
    "pointwise_dense_pooled": chain((4, 4, 3), dense(4), pooling(), flatten(), dense(2)),
    "series_without_convolution": chain((6, 3), global_pooling(), dense(4), dense(2)),
    "series_pooled": chain((6, 3), pooling(), flatten(), dense(2)),
    "image_with_channels": chain((6, 5, 3), flatten(), dense(4), dense(2)),
}


def test_signed_pairs_need_a_kernel_without_constraint():
    def constrained(network, index):
        layer = network.layers[index]
        return network.with_layer(index, layer.with_config(kernel_constraint={"class_name": "NonNeg"}))

    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    flat = constrained(chain((4,), dense(5, "tanh"), dense(2, "linear")), 1)
    with pytest.raises(SurgeryError, match="kernel without constraint"):
        SURGERY.add_dense(flat, 1)
    # Where nothing negative arrives, no pairs are needed.
    above = constrained(chain((4,), dense(5, "relu"), dense(2, "linear")), 1)
    np.testing.assert_allclose(forward(SURGERY.add_dense(above, 1).network, x), forward(above, x), atol=1e-6)
    image = constrained(chain((4, 4, 1), conv(3, activation="tanh"), flatten(), dense(2)), 2)
    with pytest.raises(SurgeryError, match="kernel without constraint"):
        SURGERY.add_cell(image, 1, 2, None, np.random.default_rng(0))


def test_a_frozen_batch_normalization_keeps_its_statistics():
    network = chain((8, 8, 1), conv(3), conv(4), global_pooling(), batch_norm(), activation("relu"), dense(2))
    frozen = replace(network.layers[3].with_config(trainable=False), output_shape=(4,))
    network = network.with_layer(3, frozen)
    x = inputs_for(network, 60).astype(np.float32)
    surgery = CalibratedSurgery(x, foreign=lambda layer, values: values)
    child = surgery.add_cell(network, 1, 2, "average", np.random.default_rng(0)).network
    kept = next(layer for layer in child.layers if layer.name == frozen.name)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_array_equal(kept.value(name), frozen.value(name))


@pytest.mark.parametrize("surgery", ["paper", "calibrated"])
@pytest.mark.parametrize("name", CHAINS)
def test_children_fit_together(name, surgery):
    network = CHAINS[name]
    x = inputs_for(network, 30).astype(np.float32)
    surgeon = SURGERY if surgery == "paper" else CalibratedSurgery(x)
    rng, done = np.random.default_rng(0), set()
    before = forward(network, x)
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            try:
                child = mutation.apply(network, site, surgeon, rng).network
            except SurgeryError:
                continue
            shapes = shapes_of(child)
            for layer, shape in zip(child.layers, shapes[:-1], strict=True):
                if producer_rule(layer) is not None:
                    assert layer.value("kernel").shape[-2] == shape[-1]
            after = forward(child, x)
            assert after.shape == before.shape
            assert shapes[-1] == before.shape[1:]
            if mutation.is_exact(network, site):
                np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
            done.add(mutation.name)
    assert len(done) >= 3


def with_weights(network, index, **values):
    layer = network.layers[index]
    changed = [layer.weight(name).with_value(np.array(value)) for name, value in values.items()]
    return network.with_layer(index, layer.with_weights(*changed))


SILENT_CHANNELS = {
    "prelu": chain((4, 1), conv(2), batch_norm(), prelu(), flatten(), dense(1, "linear")),
    "two_normalizations": chain(
        (4, 1), conv(2), batch_norm(), activation("relu"), batch_norm(), flatten(), dense(1, "linear")
    ),
    "pooled": chain((4, 1), conv(2), batch_norm(), activation("tanh"), pooling("max"), flatten(), dense(1, "linear")),
}


@pytest.mark.parametrize("beta", [-1.0, 0.7])
@pytest.mark.parametrize("name", SILENT_CHANNELS)
def test_channel_without_scale_goes_without_loss(name, beta):
    network = with_weights(SILENT_CHANNELS[name], 1, gamma=[0.0, 1.0], beta=[beta, 1.0])
    x = inputs_for(network)
    child = SURGERY.remove_channels(network, 0, 1).network
    np.testing.assert_allclose(forward(child, x), forward(network, x), atol=1e-5)


@pytest.mark.parametrize("function", ["sigmoid", "softplus"])
def test_channel_without_scale_and_offset_leaves_what_the_activation_makes_of_zero(function):
    network = chain((4, 1), conv(2), batch_norm(center=False), activation(function), flatten(), dense(1, "linear"))
    network = with_weights(network, 1, gamma=[0.0, 1.0])
    x = inputs_for(network)
    child = SURGERY.remove_channels(network, 0, 1).network
    np.testing.assert_allclose(forward(child, x), forward(network, x), atol=1e-5)


@pytest.mark.parametrize(("how", "expected"), [("nearest", True), ("bilinear", True), ("bicubic", False)])
def test_upsampling_may_overshoot(how, expected):
    upsampling = plain("UpSampling2D", size=[2, 2], interpolation=how)
    network = chain((5, 5, 1), conv(3, activation="relu"), upsampling, foreign={"UpSampling2D": lambda values: values})
    assert is_nonnegative_at(network, 2) is expected


@pytest.mark.parametrize(
    "operation",
    [
        lambda surgery, network: surgery.remove_units(network, 0, 6),
        lambda surgery, network: surgery.remove_channels(network, 2, 2),
        lambda surgery, network: surgery.remove_channels(network, 1, 1),
    ],
)
@pytest.mark.parametrize("surgery", [SURGERY, CalibratedSurgery(np.ones((3, 4), np.float32))])
def test_what_would_leave_nothing_is_refused(operation, surgery):
    with pytest.raises(SurgeryError, match=r"leaves none|has no units or filters"):
        operation(surgery, CHAINS["reshape_of_units"])

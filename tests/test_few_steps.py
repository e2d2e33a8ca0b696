"""Data so few that an epoch has no more than a handful of steps."""

import keras
import numpy as np
import pytest

from keras_ectonas import ECToNASClassifier, ECToNASTrainer
from keras_ectonas.bridge import network_of
from keras_ectonas.surgery import PublishedSurgery

PLAIN = {"budget": 1, "warmup_epochs": 1, "final_share": 0.0, "random_state": 0, "verbose": 0}


def series(n):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 64, 1)).astype("float32"), np.arange(n) % 2


def normalized_model(*momenta, frozen=()):
    layers = [keras.Input((64, 1))]
    for number, momentum in enumerate(momenta):
        layers.append(keras.layers.Conv1D(2, 3, padding="same"))
        layers.append(keras.layers.BatchNormalization(momentum=momentum, trainable=number not in frozen))
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])


def momenta(model):
    return [layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"), [(40, 32, 0.9), (200, 20, 0.9), (200, 2, 1 - 1 / 45), (240, 1, 0.99)]
)
def test_moving_statistics_follow_the_last_half_epoch(n, batch_size, expected):
    x, y = series(n)
    trainer = ECToNASTrainer(normalized_model(0.99), batch_size=batch_size, **PLAIN)
    assert momenta(trainer.fit(x, y).model_) == pytest.approx([expected])


def test_moving_statistics_that_are_prompt_or_frozen_stay_so():
    x, y = series(40)
    trainer = ECToNASTrainer(normalized_model(0.5, 0.999, 0.999, frozen=[1]), **PLAIN)
    assert momenta(trainer.fit(x, y).model_) == pytest.approx([0.5, 0.999, 0.9])


def test_moving_statistics_of_weights_that_are_kept():
    x, y = series(40)
    trainer = ECToNASTrainer(normalized_model(0.99), keep_weights=True, **PLAIN)
    assert momenta(trainer.fit(x, y).model_) == pytest.approx([0.99])


@pytest.mark.parametrize(("others", "expected"), [([], 0.99), ([0.99], 0.99), ([0.95, 0.9], 0.9)])
def test_a_new_cell_is_as_prompt_as_the_others(others, expected):
    network = network_of(normalized_model(*others))
    flatten = next(i for i, layer in enumerate(network.layers) if layer.kind == "Flatten")
    child = PublishedSurgery().add_cell(network, flatten, 1, None, np.random.default_rng(0)).network
    momentum = {layer.name: layer.config["momentum"] for layer in child.layers if layer.kind == "BatchNormalization"}
    new = set(momentum) - {layer.name for layer in network.layers}
    assert [momentum[name] for name in new] == [expected]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_few_rows_taught_holds_in_use(seed):
    x = np.random.default_rng(seed).normal(size=(40, 256, 1)).cumsum(axis=1).astype("float32")
    y = np.arange(40) % 2
    plain = {"budget": 40, "warmup_epochs": 40, "final_share": 0.0}
    found = ECToNASClassifier(**plain, random_state=seed, verbose=0).fit(x, y)
    assert found.score(x, y) > 0.85

"""scikit-learn's own checks of estimators."""

import keras
import numpy as np
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from keras_ectonas import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

KNOBS = {
    "budget": 10,
    "verbose": 0,
    "random_state": 0,
    "max_children": 1,
    "epochs_per_match": 0.5,
    "optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.03}},
}


class NetworkFor:
    """Makes a start model for whatever data a check brings; its text is the same in all of pytest's workers."""

    def __call__(self, X, y):
        layers = [keras.Input(X.shape[1:]), keras.layers.Dense(8, activation="relu")]
        return keras.Sequential([*layers, keras.layers.Dense(1 if y.ndim == 1 else y.shape[1])])

    def __repr__(self):
        return "NetworkFor()"


@parametrize_with_checks(
    [
        ECToNASClassifier(**KNOBS),
        ECToNASRegressor(**KNOBS),
        ECToNASTrainer(NetworkFor(), loss="mean_squared_error", **KNOBS),
    ]
)
def test_estimator(estimator, check):
    check(estimator)


def test_a_trainer_is_a_classifier_as_soon_as_that_is_known():
    x = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
    y = np.where(x[:, 0] > 0, "up", "down")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="softmax")])
    knobs = {"budget": 2, "verbose": 0, "max_children": 1, "random_state": 0}
    assert not is_classifier(ECToNASTrainer(model, **knobs))
    assert is_classifier(ECToNASTrainer(model, **knobs).fit(x, y))
    model.compile("sgd", "sparse_categorical_crossentropy")
    trainer = ECToNASTrainer(model, **knobs)
    assert is_classifier(trainer)
    assert np.isfinite(cross_val_score(trainer, x, y, cv=2, scoring="roc_auc")).all()
    assert CalibratedClassifierCV(trainer, cv=2).fit(x, y).predict_proba(x).shape == (60, 2)
    assert is_classifier(ECToNASTrainer(model, loss="crossentropy", **knobs))
    assert not is_classifier(ECToNASTrainer(model, loss="no such loss", **knobs))
    model.compile("sgd", "mean_squared_error")
    assert not is_classifier(ECToNASTrainer(model, **knobs))
    fitted = ECToNASTrainer(model, **knobs).fit(x, x[:, :2])
    assert is_regressor(fitted)
    assert not is_classifier(fitted)


def test_fresh_weights_are_the_default():
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 2
    scaling = keras.layers.Normalization(axis=-1)
    scaling.adapt(x)
    model = keras.Sequential([keras.Input((3,)), scaling, keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.layers[1].set_weights([np.full((3, 2), 7.0), np.full(2, 7.0)])
    knobs = {"budget": 1, "verbose": 0, "max_children": 1, "greediness": 0.0}
    kept = ECToNASTrainer(model, keep_weights=True, random_state=0, **knobs).fit(x, y)
    np.testing.assert_array_equal(kept.model_.get_weights()[-1], 7.0)
    fresh = [ECToNASTrainer(model, random_state=seed, **knobs).fit(x, y).model_.get_weights() for seed in (0, 0, 1)]
    assert np.abs(fresh[0][-2]).max() < 3
    np.testing.assert_array_equal(fresh[0][-2], fresh[1][-2])
    assert not np.array_equal(fresh[0][-2], fresh[2][-2])
    for weights in (kept.model_.get_weights(), *fresh):
        np.testing.assert_array_equal(weights[0], model.get_weights()[0])


def test_a_trained_model_that_starts_afresh_is_worth_a_warning():
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40.0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="trained for 2 steps"):
        ECToNASTrainer(model, budget=1, verbose=0).fit(x, y)


@pytest.mark.parametrize("y", [[1, "a", None] * 8, [[1], [2, 3]] * 12])
def test_targets_of_several_types(y):
    with pytest.raises(InputError, match=r"^y"):
        ECToNASTrainer(NetworkFor(), **KNOBS).fit(np.zeros((24, 2)), y)


@pytest.mark.parametrize("targets", ["column", "flat"])
def test_columns_of_one(targets):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40.0)
    y = y[:, None] if targets == "column" else y
    trainer = ECToNASTrainer(NetworkFor(), **{**KNOBS, "budget": 2}).fit(x, y)
    assert trainer.predict(x).shape == (40,)

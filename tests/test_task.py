"""What is read off losses, last layers and targets: labels, shares between 0 and 1, values."""

import keras
import numpy as np
import pytest
from models import dense_model

from keras_ectonas import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

QUICK = {"budget": 3, "random_state": 0, "verbose": 0}


def table(n=120):
    rng = np.random.default_rng(0)
    return rng.random((n, 8)).astype("float32"), rng.dirichlet([1, 1, 1], n).astype("float32")


def compiled(loss, activation, n_outputs=3, **arguments):
    model = dense_model(n_outputs=n_outputs, activation=activation)
    model.compile(keras.optimizers.Adam(0.01), loss, **arguments)
    return model


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ("binary_crossentropy", "sigmoid"),
        ("categorical_crossentropy", "softmax"),
        ("categorical_focal_crossentropy", "softmax"),
        ("kl_divergence", "softmax"),
    ],
)
@pytest.mark.parametrize("estimator", [ECToNASTrainer, ECToNASRegressor])
def test_shares_are_learned_as_values(estimator, loss, activation):
    x, shares = table()
    trainer = estimator(compiled(loss, activation), **QUICK).fit(x, shares)
    assert (trainer.task_.target, trainer.objective_.name) == ("value", "loss")
    predicted = trainer.predict(x)
    assert predicted.shape == shares.shape
    np.testing.assert_allclose(predicted, trainer.model_.predict(x, verbose=0), atol=1e-6)
    assert trainer.score(x, shares) < 1
    assert trainer.model_.loss == loss


def test_an_autoencoder_of_images_learns_brightness():
    x = np.random.default_rng(0).random((60, 8, 8, 1)).astype("float32")
    layers = [keras.layers.Conv2D(3, 3, padding="same", activation="relu"), keras.layers.Conv2D(1, 3, padding="same")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Activation("sigmoid")])
    model.compile("adam", "binary_crossentropy")
    trainer = ECToNASTrainer(model, **QUICK).fit(x, x)
    assert trainer.predict(x).shape == x.shape


@pytest.mark.parametrize("targets", [lambda shares: shares, lambda shares: shares[:, 0]])
def test_shares_without_a_loss(targets):
    x, shares = table()
    y = targets(shares)
    trainer = ECToNASTrainer(dense_model(n_outputs=1 if y.ndim == 1 else 3, activation="sigmoid"), **QUICK).fit(x, y)
    assert (trainer.task_.target, trainer.model_.loss) == ("value", "mean_squared_error")
    assert trainer.predict(x).shape == y.shape


@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
def test_shares_may_be_scored_by_a_compiled_accuracy(metrics):
    x, shares = table()
    model = compiled("categorical_crossentropy", "softmax", metrics=metrics)
    trainer = ECToNASTrainer(model, **QUICK, scoring="accuracy" if metrics else None).fit(x, shares)
    assert trainer.objective_.name == ("accuracy" if metrics else "loss")


def test_shares_are_no_labels_for_a_classifier():
    x, shares = table()
    for loss, activation in (("binary_crossentropy", "sigmoid"), ("categorical_crossentropy", "softmax")):
        with pytest.raises(InputError, match="several columns of labels that are not 0 and 1"):
            ECToNASClassifier(compiled(loss, activation), **QUICK).fit(x, shares)


def test_shares_need_outputs_that_are_shares():
    x, shares = table()
    model = compiled(keras.losses.CategoricalCrossentropy(from_logits=True), "linear")
    with pytest.raises(InputError, match="predictions would be logits"):
        ECToNASTrainer(model, **QUICK).fit(x, shares)


def focal(y_true, y_pred):
    likely = keras.ops.clip(y_pred, 1e-7, 1.0)
    return -keras.ops.sum(y_true * (1 - likely) ** 2 * keras.ops.log(likely), axis=-1)


@pytest.mark.parametrize("dtype", ["int32", "float32", "bool"])
def test_a_loss_of_the_users_own_on_a_column_for_each_class(dtype):
    x, shares = table()
    y = np.eye(3, dtype=dtype)[shares.argmax(axis=1)]
    trainer = ECToNASTrainer(compiled(focal, "softmax"), **QUICK).fit(x, y)
    assert (trainer.task_.target, trainer.objective_.name) == ("one_hot", "accuracy")
    predicted = trainer.predict(x)
    assert set(np.unique(predicted)) <= {0, 1}
    assert trainer.score(x, y) == np.mean((predicted == y).all(axis=1))


def test_a_loss_of_the_users_own_on_other_columns_compares_values():
    x, shares = table()
    several = (shares > 0.2).astype("float32")
    assert ECToNASTrainer(compiled(focal, "softmax"), **QUICK).fit(x, several).task_.target == "value"
    one_each = np.eye(3)[shares.argmax(axis=1)]
    assert ECToNASTrainer(compiled(focal, "linear"), **QUICK).fit(x, one_each).task_.target == "value"


def test_a_label_for_each_position_is_refused():
    x = np.random.default_rng(0).random((40, 10, 2)).astype("float32")
    model = keras.Sequential([keras.Input((10, 2)), keras.layers.Conv1D(3, 1, activation="softmax")])
    with pytest.raises(InputError, match="label for each position"):
        ECToNASTrainer(model, **QUICK).fit(x, np.zeros((40, 10), int))

"""What decides: accuracies that agree with predictions, and scorers that are tried before any training."""

import keras
import numpy as np
import pytest
from models import dense_model, table
from sklearn.metrics import make_scorer

from keras_ectonas import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

QUICK = {"budget": 4, "verbose": 0, "random_state": 0, "max_children": 4, "epochs_per_match": 0.5, "rolling_epochs": 1}


def several_labels(n=120):
    """Each label says whether a feature is positive; rows without any are common."""
    x, _ = table(n)
    return x, (x[:, 1:5] > 0.8).astype(int)


def labels_model(metrics=None, logits=False):
    model = dense_model(n_outputs=4, activation="linear" if logits else "sigmoid", units=(8,))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=logits), metrics=metrics)
    return model


@pytest.mark.parametrize(
    "model", [None, labels_model(), labels_model(["accuracy"]), labels_model(["acc"], logits=True)], ids=repr
)
@pytest.mark.parametrize("weighted", [False, True])
def test_several_labels_are_counted_each(model, weighted):
    x, y = several_labels()
    weights = np.linspace(0.1, 3, len(x)) if weighted else None
    classifier = ECToNASClassifier(model, **QUICK).fit(x, y, weights, validation_data=(x, y, weights))
    is_right = (classifier.predict(x) == y).mean(axis=1)
    assert classifier.best_score_ == pytest.approx(np.average(is_right, weights=weights))
    assert classifier.objective_.is_accuracy
    assert classifier.score(x, y) <= classifier.best_score_


def test_accuracy_of_several_labels_by_name_is_that_of_score():
    x, y = several_labels()
    trainer = ECToNASTrainer(labels_model(["accuracy"]), scoring="accuracy", **QUICK)
    assert trainer.fit(x, y, validation_data=(x, y)).best_score_ == pytest.approx(trainer.score(x, y))


@pytest.mark.parametrize(
    ("activation", "one_hot", "metrics"), [("sigmoid", False, ["binary_accuracy"]), ("softmax", True, ["accuracy"])]
)
def test_binary_cross_entropy_of_alternatives(activation, one_hot, metrics):
    x, y = table()
    model = dense_model(activation=activation)
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    targets = np.eye(3, dtype=int)[y] if one_hot else y
    trainer = ECToNASTrainer(model, **QUICK).fit(x, targets, validation_data=(x, targets))
    assert trainer.best_score_ == pytest.approx(trainer.score(x, targets))
    assert trainer.predict(x).shape == targets.shape
    assert trainer.predict_proba(x).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_binary_logits_are_cut_where_predictions_are(compiled, scoring):
    x, y = table(n_classes=2)
    model = dense_model(n_outputs=1, activation="linear")
    if compiled:
        model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    trainer = ECToNASClassifier(model, scoring=scoring, **QUICK).fit(x, y, validation_data=(x, y))
    logits = trainer.model_.predict(x, verbose=0)
    # Keras' own cut would count otherwise.
    assert ((logits > 0) & (logits < 0.5)).any()
    assert trainer.best_score_ == pytest.approx(trainer.score(x, y))


def fails_on_purpose(y, predicted):
    raise RuntimeError("no ruler at hand")


X, Y = table(120)
RARE = np.where(np.arange(120) == 7, 3, Y)


@pytest.mark.parametrize(
    ("scoring", "y", "message"),
    [
        ("roc_auc_ovr", RARE, "Number of classes in y_true not equal"),
        ("precision", np.array(["no", "yes"])[(Y > 0).astype(int)], "pos_label"),
        ("precision", Y, "average='binary'"),
        (make_scorer(fails_on_purpose), Y, "cannot score the 12 rows .* no ruler at hand"),
    ],
)
def test_scorers_that_cannot_work_are_named_before_any_training(scoring, y, message):
    with pytest.raises(InputError, match=f"(?s)scoring=.*{message}"):
        ECToNASClassifier(scoring=scoring, **QUICK).fit(X, y)


def test_a_scorer_of_ones_own_sees_candidates_alone():
    seen = []

    def scorer(estimator, x, y):
        seen.append(estimator.predict(x))
        return np.mean(seen[-1] == y)

    classifier = ECToNASClassifier(scoring=scorer, **QUICK).fit(X, Y)
    assert len(seen) == len(classifier.records_["score"])


def test_a_scorer_that_gives_no_number_is_named():
    with pytest.raises(InputError, match="scoring='roc_auc' gives NaN for the 5 rows"):
        ECToNASClassifier(scoring="roc_auc", **QUICK).fit(X, Y > 0, validation_data=(X[:5], np.ones(5, bool)))
    with pytest.raises(InputError, match="scoring='neg_mean_squared_log_error' cannot score"):
        ECToNASRegressor(scoring="neg_mean_squared_log_error", **QUICK).fit(X, X[:, 0] - 10)


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_squared_log_error", "neg_mean_absolute_percentage_error"])
def test_scorers_of_values_are_tried_with_values_like_them(scoring):
    ECToNASRegressor(scoring=scoring, **QUICK).fit(X, 100 + X[:, 0])

"""What scikit-learn's users expect beyond its checks: weights by class, routing, targets of several columns."""

import keras
import numpy as np
import pytest
from models import dense_model, table
from sklearn import config_context
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_validate
from sklearn.utils import get_tags

from keras_ectonas import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

QUICK = {"budget": 3, "verbose": 0, "random_state": 0, "max_children": 1, "n_parents": 1, "epochs_per_match": 0.5}
FAST = {"class_name": "Adam", "config": {"learning_rate": 0.05}}


def rare(n=120):
    """Two classes that overlap, one of them rare."""
    rng = np.random.default_rng(0)
    y = (np.arange(n) % 8 == 0).astype(int)
    x = rng.normal(size=(n, 4)).astype("float32")
    x[:, 0] += y
    return x, np.array(["often", "rare"])[y]


@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 8}])
def test_classes_may_weigh_more(class_weight):
    x, y = rare()
    knobs = {**QUICK, "budget": 12, "optimizer": FAST}
    plain = ECToNASClassifier(**knobs).fit(x, y)
    weighted = ECToNASClassifier(class_weight=class_weight, **knobs).fit(x, y, sample_weight=np.full(len(x), 1.5))
    found = [f1_score(y == "rare", model.predict(x) == "rare") for model in (weighted, plain)]
    assert found[0] > found[1]
    assert (weighted.predict(x) == "rare").mean() > 0.125


@pytest.mark.parametrize(
    ("estimator", "y", "message"),
    [
        (ECToNASRegressor(class_weight="balanced"), np.arange(24.0), "class_weight='balanced' is for one label a row"),
        (ECToNASClassifier(class_weight="heavy"), np.arange(24) % 2, "class_weight='heavy'"),
        (ECToNASClassifier(class_weight={7: 2}), np.arange(24) % 2, "class_weight={7: 2}"),
        (ECToNASClassifier(class_weight={0: -1}), np.arange(24) % 2, "class_weight={0: -1} holds values that are neg"),
        (ECToNASClassifier(class_weight={0: np.inf}), np.arange(24) % 2, "class_weight={0: inf} holds values that"),
        (ECToNASClassifier(class_weight="balanced"), np.eye(2, dtype=int)[np.arange(24) % 2], "is for one label a row"),
    ],
)
def test_class_weights_that_cannot_be_used(estimator, y, message):
    with pytest.raises(InputError, match=message):
        estimator.fit(np.random.default_rng(0).normal(size=(24, 3)), y)


def test_weights_are_routed():
    x, y = table(60, n_classes=2)
    seen = []

    class Scored(ECToNASClassifier):
        def score(self, X, y, sample_weight=None):
            seen.append(sample_weight)
            return super().score(X, y, sample_weight)

    with config_context(enable_metadata_routing=True):
        estimator = Scored(**QUICK).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        found = cross_validate(estimator, x, y, cv=2, params={"sample_weight": np.arange(60.0)})
    assert len(found["test_score"]) == 2
    assert sorted(np.concatenate(seen)) == list(range(60))


def test_several_labels_at_once():
    x, y = table(60)
    several = np.stack([y == 0, y > 0, x[:, 1] > 0], axis=1).astype(int)
    classifier = ECToNASClassifier(**{**QUICK, "budget": 20}, optimizer=FAST).fit(x, several)
    predicted = classifier.predict(x)
    assert predicted.shape == several.shape
    assert set(np.unique(predicted)) == {0, 1}
    assert classifier.predict_proba(x).shape == several.shape
    assert (predicted == several).mean() > 0.8
    assert classifier.score(x, several) == pytest.approx((predicted == several).all(axis=1).mean())


def test_several_values_at_once_start_from_nothing():
    x, _ = table(60)
    regressor = ECToNASRegressor(**QUICK).fit(x, x[:, :2])
    assert regressor.predict(x).shape == (60, 2)


def test_what_is_offered_and_told():
    for estimator, kind in ((ECToNASClassifier(), "classifier"), (ECToNASRegressor(), "regressor")):
        tags = get_tags(estimator)
        assert tags.estimator_type == kind
        assert tags.target_tags.multi_output
        assert tags.target_tags.required
        assert not hasattr(estimator, "decision_function")
        assert not hasattr(estimator, "partial_fit")
    assert get_tags(ECToNASClassifier()).classifier_tags.multi_label
    assert not hasattr(ECToNASTrainer(dense_model(), loss="mse"), "predict_proba")
    assert hasattr(ECToNASTrainer(dense_model(), loss="binary_crossentropy"), "predict_proba")


def test_pictures_of_an_estimator_with_a_model():
    estimator = ECToNASTrainer(
        dense_model(), callbacks=[keras.callbacks.TerminateOnNaN()], optimizer=keras.optimizers.SGD()
    )
    assert "Sequential" in repr(estimator)
    assert "Sequential" in estimator._repr_html_()

"""The estimators where scikit-learn's users put them, on real data."""

import copy
import pickle

import joblib
import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from keras_ectonas import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

KNOBS = {
    "budget": 10,
    "verbose": 0,
    "random_state": 0,
    "max_children": 1,
    "optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.02}},
}


def cancer():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return x, y.map({0: "malignant", 1: "benign"})


def test_pipeline_and_scorers():
    x, y = cancer()
    model = make_pipeline(StandardScaler(), ECToNASClassifier(**KNOBS))
    found = cross_validate(model, x, y == "benign", cv=2, scoring=["roc_auc", "accuracy"])
    assert found["test_roc_auc"].min() > 0.95
    assert found["test_accuracy"].min() > 0.88


def test_columns_by_name_and_labels_of_text():
    x, y = load_iris(return_X_y=True, as_frame=True)
    x["kind"] = np.where(x.iloc[:, 0] > 5.5, "long", "short")
    names = np.asarray(["setosa", "versicolor", "virginica"])[y]
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), (MinMaxScaler(), list(x.columns[:4])))
    model = make_pipeline(columns, ECToNASClassifier(**{**KNOBS, "budget": 30})).fit(x, names)
    assert set(model.predict(x)) <= set(names)
    assert model.score(x, names) > 0.8
    assert list(model[-1].classes_) == ["setosa", "versicolor", "virginica"]


def test_frames_are_remembered_by_their_columns():
    x, y = cancer()
    model = ECToNASClassifier(**{**KNOBS, "budget": 2}).fit(x, y)
    assert list(model.feature_names_in_) == list(x.columns)
    with pytest.raises(InputError, match="feature names should match"):
        model.predict(x[x.columns[::-1]])


def test_grid_search_in_processes():
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    grid = GridSearchCV(ECToNASClassifier(**KNOBS), {"greediness": [0.0, 1.0], "budget": [2, 4]}, cv=2, n_jobs=2)
    grid.fit(x, y)
    assert set(grid.best_params_) == {"greediness", "budget"}
    assert grid.best_score_ > 0.8
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_calibration_and_importance():
    x, y = cancer()
    x = pd.DataFrame(StandardScaler().fit_transform(x), columns=x.columns)
    calibrated = CalibratedClassifierCV(ECToNASClassifier(**KNOBS), cv=2).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(axis=1), 1)
    importance = permutation_importance(calibrated, x, y, n_repeats=1, random_state=0)
    assert importance.importances_mean.max() > 0


def test_regression_and_its_scores():
    x, y = load_diabetes(return_X_y=True)
    scores = cross_val_score(ECToNASRegressor(**{**KNOBS, "budget": 40}), x, y, cv=2)
    assert scores.min() > 0.3


@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy"])
def test_fitted_estimators_travel(how, tmp_path):
    x, y = load_iris(return_X_y=True)
    start = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    fitted = ECToNASTrainer(start, **{**KNOBS, "budget": 3}).fit(x, y)
    if how == "pickle":
        twin = pickle.loads(pickle.dumps(fitted))
    elif how == "joblib":
        joblib.dump(fitted, tmp_path / "fitted.joblib")
        twin = joblib.load(tmp_path / "fitted.joblib")
    else:
        twin = copy.deepcopy(fitted)
    np.testing.assert_array_equal(twin.predict_proba(x), fitted.predict_proba(x))
    assert [str(entry) for entry in twin.lineage_] == [str(entry) for entry in fitted.lineage_]
    assert "ECToNASTrainer" in repr(twin)
    assert "ECToNASTrainer" in twin._repr_html_()

"""The trainer, the classifier, the regressor and the callback, with a backend."""

import random
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from models import conv_model, dense_model, images, table
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import make_scorer, r2_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ectonas import PAPER, ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError, SearchError
from keras_ectonas.start import default_model

QUICK = {"budget": 4, "verbose": 0, "random_state": 0, "max_children": 4, "epochs_per_match": 0.5}


@pytest.fixture(scope="module")
def fitted():
    x, y = images()
    return ECToNASTrainer(conv_model(), **QUICK).fit(x, y)


def test_fitted_attributes(fitted):
    assert isinstance(fitted.model_, keras.Sequential)
    assert fitted.model_.compiled
    assert 0 < fitted.n_epochs_ <= 4
    assert fitted.lineage_[0].mutation == "start"
    assert fitted.lineage_[-1].n_params == fitted.model_.count_params()
    columns = {len(column) for column in fitted.candidates_.values()}
    assert len(columns) == 1
    assert len(pd.DataFrame(fitted.candidates_)) == columns.pop() > 4
    assert fitted.candidates_["status"].count("winner") == 1
    assert sum(fitted.candidates_["epochs"]) == pytest.approx(fitted.n_epochs_)
    np.testing.assert_array_equal(fitted.classes_, [0, 1, 2])


def test_history_runs_along_the_lineage(fitted):
    epochs = fitted.history_["epoch"]
    assert epochs == sorted(epochs)
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "score"} <= set(fitted.history_)
    assert {len(column) for column in fitted.history_.values()} == {len(epochs)}


def test_predictions(fitted):
    x, y = images(30, seed=1)
    probabilities = fitted.predict_proba(x)
    assert probabilities.shape == (30, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.predict(x), probabilities.argmax(axis=1))
    assert fitted.score(x, y) == pytest.approx((fitted.predict(x) == y).mean())
    assert fitted.score(x, y, sample_weight=(y == 0).astype(float)) == pytest.approx(
        (fitted.predict(x) == y)[y == 0].mean()
    )


def test_winner_is_plain_keras(fitted, tmp_path):
    x, y = images(30, seed=1)
    fitted.model_.save(tmp_path / "winner.keras")
    loaded = keras.models.load_model(tmp_path / "winner.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), fitted.model_.predict(x, verbose=0), atol=1e-6)
    loaded.fit(x, y, epochs=1, verbose=0)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}


def test_same_seed_same_everything(fitted):
    x, y = images()
    again = ECToNASTrainer(conv_model(), **QUICK).fit(x, y)
    assert again.lineage_ == fitted.lineage_
    for weight, twin in zip(again.model_.get_weights(), fitted.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, twin)


def test_nothing_of_the_users_is_changed():
    x, y = images()
    model = conv_model()
    before = [weight.copy() for weight in model.get_weights()]
    config, x_before, y_before = model.get_config(), x.copy(), y.copy()
    python, numpy = random.getstate(), np.random.get_state()[1].copy()
    ECToNASTrainer(model, **QUICK).fit(x, y)
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], numpy)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(y, y_before)
    assert model.get_config() == config
    assert model.optimizer.iterations == 0
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_paper_runs():
    x, y = images()
    trainer = ECToNASTrainer(conv_model(), **{**PAPER, "budget": 6}, random_state=0, verbose=0).fit(x, y)
    assert trainer.n_epochs_ <= 6
    assert isinstance(trainer.model_.optimizer, keras.optimizers.SGD)


def test_text_labels_and_frames_in_a_pipeline():
    x, y = table()
    labels = np.array(["low", "mid", "high"])[y]
    frame = pd.DataFrame(x, columns=[f"column_{k}" for k in range(x.shape[1])])
    pipeline = make_pipeline(StandardScaler(), ECToNASClassifier(dense_model(), **QUICK))
    pipeline.fit(frame, labels)
    assert set(pipeline.predict(frame)) <= {"low", "mid", "high"}
    assert pipeline[-1].classes_.tolist() == ["high", "low", "mid"]
    assert 0 <= pipeline.score(frame, labels) <= 1


def test_classifier_starts_from_nothing():
    x, y = table(n_classes=2)
    classifier = ECToNASClassifier(**QUICK).fit(x, y == 1)
    assert classifier.predict(x).dtype == bool
    assert classifier.predict_proba(x).shape == (len(x), 2)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (20, 2)])
def test_classifier_starts_from_nothing_on_images_and_series(shape):
    x, y = images(60, shape)
    classifier = ECToNASClassifier(**QUICK).fit(x, y)
    assert any(layer.name.startswith("conv") for layer in classifier.model_.layers) or classifier.lineage_[1:]
    assert classifier.predict(x).shape == (60,)


@pytest.mark.parametrize(
    ("n_rows", "size_counts", "is_narrow"), [(2000, False, False), (2000, True, True), (60, False, True)]
)
def test_starts_from_nothing_are_narrow_for_few_rows_and_where_size_counts(n_rows, size_counts, is_narrow):
    start = default_model(*images(n_rows, (8, 8)), "classification", size_counts)
    first = next(layer for layer in start.layers if isinstance(layer, keras.layers.Conv2D))
    assert first.filters == (8 if is_narrow else 24)
    assert any(isinstance(layer, keras.layers.Dropout) for layer in start.layers) != is_narrow


def test_a_search_where_size_counts_starts_narrow():
    x, y = images(2000, (8, 8))
    sizes = [
        ECToNASClassifier(greediness=greediness, **{**QUICK, "budget": 0.5}).fit(x, y).candidates_["n_params"][0]
        for greediness in (1, 0.5)
    ]
    assert sizes[1] < sizes[0] / 2


def test_regressor_starts_from_nothing():
    x, _ = table(200)
    y = 1000 + 100 * x[:, 0]
    regressor = ECToNASRegressor(**{**QUICK, "budget": 40}, optimizer=keras.optimizers.Adam(0.01)).fit(x, y)
    assert regressor.predict(x).shape == (200,)
    assert regressor.score(x, y) > 0.5
    assert regressor.best_score_ < 100**2
    assert not hasattr(regressor, "predict_proba")


def test_multi_output_regression():
    x, _ = table()
    y = np.stack([x[:, 0], -x[:, 1]], axis=1)
    regressor = ECToNASRegressor(dense_model(n_outputs=2, activation="linear"), **QUICK).fit(x, y)
    assert regressor.predict(x).shape == y.shape


@pytest.mark.parametrize(
    ("activation", "n_outputs", "loss"),
    [
        ("linear", 3, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ("softmax", 3, "categorical_crossentropy"),
        ("softmax", 3, None),
    ],
)
def test_losses_for_labels(activation, n_outputs, loss):
    x, y = table()
    trainer = ECToNASTrainer(dense_model(n_outputs=n_outputs, activation=activation), loss=loss, **QUICK).fit(x, y)
    np.testing.assert_allclose(trainer.predict_proba(x).sum(axis=1), 1)
    assert trainer.predict(x).shape == y.shape


def test_one_hot_targets():
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), loss="categorical_crossentropy", **QUICK).fit(x, np.eye(3)[y])
    assert trainer.predict(x).shape == (len(x), 3)


def test_one_output_for_two_classes():
    x, y = table(n_classes=2)
    trainer = ECToNASTrainer(dense_model(n_outputs=1, activation="sigmoid"), **QUICK).fit(x, y)
    assert trainer.predict_proba(x).shape == (len(x), 2)


@pytest.mark.parametrize(
    ("scoring", "higher_is_better"),
    [
        ("loss", False),
        ("val_accuracy", True),
        ("balanced_accuracy", True),
        ("neg_log_loss", True),
        (make_scorer(recall_score, average="macro"), True),
    ],
)
def test_scoring(scoring, higher_is_better):
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), scoring=scoring, **QUICK).fit(x, y)
    scores = [score for score in trainer.candidates_["score"] if score is not None]
    assert trainer.best_score_ in scores
    assert (max(scores) <= 0) == (scoring == "neg_log_loss")
    if not higher_is_better:
        assert trainer.history_["val_loss"][-1] == trainer.history_["score"][-1]


@pytest.mark.parametrize("metric", ["AUC", "numbered"])
def test_scoring_by_a_metric_that_keras_numbers(metric):
    x, y = table(n_classes=2)
    for _ in range(2):
        keras.metrics.AUC()
    model = dense_model(n_outputs=1, activation="sigmoid")
    metrics = [keras.metrics.AUC() if metric == "numbered" else metric]
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    trainer = ECToNASTrainer(model, scoring="auc", warm_start=True, **QUICK).fit(x, y)
    assert trainer.objective_.name == "auc"
    assert 0 <= trainer.best_score_ <= 1
    assert not any(trainer.candidates_["remark"])
    before = trainer.n_epochs_
    # The same, numbered anew: it goes on.
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC() if metric == "numbered" else metric])
    assert trainer.fit(x, y).n_epochs_ > before


def scaled_accuracy(estimator, x, y, factor):
    return factor * np.mean(estimator.predict(x) == y)


class Scorer:
    def __call__(self, estimator, x, y):
        return scaled_accuracy(estimator, x, y, 0.5)


@pytest.mark.parametrize("kind", ["partial", "object"])
def test_a_scorer_without_a_name_is_the_same_in_another_process(kind):
    def scorer():
        return partial(scaled_accuracy, factor=0.5) if kind == "partial" else Scorer()

    x, y = table()
    kept = [scorer(), scorer()]
    names = [ECToNASTrainer(dense_model(), scoring=one, **QUICK).fit(x, y).objective_.name for one in kept]
    assert names[0] == names[1]
    assert "0x" not in names[0]


def test_sample_weight_decides():
    x, y = table(n_classes=2)
    weights = np.where(y == 0, 1.0, 0.01)
    knobs = {**QUICK, "budget": 12}
    trainer = ECToNASTrainer(dense_model(n_outputs=2), optimizer=keras.optimizers.Adam(0.05), **knobs)
    trainer.fit(x, y, sample_weight=weights)
    assert trainer.best_score_ > 0.97
    assert (trainer.predict(x)[y == 0] == 0).mean() > 0.9


def test_validation_rows_without_weight_are_refused():
    x, y = table(n_classes=2)
    held_out = (x[:20], y[:20], np.zeros(20))
    with pytest.raises(InputError, match="sample_weight is zero for every row"):
        ECToNASTrainer(dense_model(n_outputs=2), **QUICK).fit(x, y, validation_data=held_out)


def test_validation_data_are_used():
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), **QUICK)
    trainer.fit(x, y, validation_data=(x[:10], np.full(10, 1)))
    assert {round(10 * score, 6) % 1 for score in trainer.history_["val_accuracy"]} <= {0.0}


def test_callbacks_are_copied_and_used():
    class Counting(keras.callbacks.Callback):
        seen = 0

        def on_epoch_end(self, epoch, logs=None):
            Counting.seen += 1

    x, y = table()
    mine = Counting()
    ECToNASTrainer(dense_model(), callbacks=[mine], **QUICK).fit(x, y)
    assert Counting.seen > 4
    assert getattr(mine, "_model", None) is None


def test_clone_keeps_parameters_and_forgets_the_fit(fitted):
    twin = clone(fitted)
    assert not hasattr(twin, "model_")
    assert twin.get_params()["budget"] == fitted.budget


def test_callable_and_unbuilt_models():
    x, y = table()
    unbuilt = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(3, "softmax")])
    first = ECToNASTrainer(unbuilt, **QUICK).fit(x, y)
    second = ECToNASTrainer(lambda X, y: dense_model(X.shape[1]), **QUICK).fit(x, y)
    assert first.predict(x).shape == second.predict(x).shape == y.shape
    assert not unbuilt.built
    again = ECToNASTrainer(unbuilt, **QUICK).fit(x, y)
    for weight, twin in zip(again.model_.get_weights(), first.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, twin)


RNG = np.random.default_rng(0)
ODD_MODELS = {
    "recurrent": (RNG.random((60, 6, 3)), [keras.layers.LSTM(4), keras.layers.Dense(5, activation="relu")]),
    "nested": (
        RNG.random((60, 8, 8, 3)),
        [keras.Sequential([keras.layers.Rescaling(0.5), keras.layers.Conv2D(3, 3)]), keras.layers.Flatten()],
    ),
    "separable": (
        RNG.random((60, 8, 8, 2)),
        [keras.layers.SeparableConv2D(4, 3), keras.layers.LayerNormalization(), keras.layers.Flatten()],
    ),
    "noisy": (
        RNG.random((60, 8, 8, 1)),
        [keras.layers.GaussianNoise(0.1), keras.layers.Conv2D(3, 3), keras.layers.PReLU(shared_axes=[1, 2]),
         keras.layers.SpatialDropout2D(0.2), keras.layers.Flatten()],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_MODELS)
def test_odd_models(name):
    x, layers = ODD_MODELS[name]
    y = np.arange(60) % 3
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers, keras.layers.Dense(3, activation="softmax")])
    trainer = ECToNASTrainer(model, **QUICK).fit(x, y)
    assert trainer.predict(x).shape == (60,)
    assert not any(trainer.candidates_["remark"])


def test_diverging_start_is_an_error():
    x, y = table()
    x = 1e20 * x
    model = dense_model(n_outputs=1, activation="linear")
    with pytest.raises(SearchError, match=r"start model cannot be trained: .*loss became"):
        ECToNASTrainer(model, optimizer=keras.optimizers.SGD(1e6), **QUICK).fit(x, y.astype(float))


def test_verbose(capsys):
    x, y = table()
    ECToNASTrainer(dense_model(), **QUICK).fit(x, y)
    assert capsys.readouterr().out == ""
    ECToNASTrainer(dense_model(), **{**QUICK, "verbose": 2}).fit(x, y)
    shown = capsys.readouterr().out
    assert "of 4.0 epochs" in shown
    assert "generation 1, between mutations: candidate" in shown


X, Y = table()
FUNCTIONAL_INPUT = keras.Input((8,))
FUNCTIONAL = keras.Model(FUNCTIONAL_INPUT, keras.layers.Dense(3)(FUNCTIONAL_INPUT))
NOT_FINITE = np.where(np.arange(X.size).reshape(X.shape) == 5, np.nan, X)


@pytest.mark.parametrize(
    ("knobs", "data", "message"),
    [
        ({"model": FUNCTIONAL}, (X, Y), "model of type Functional: expected a keras.Sequential"),
        ({"model": "resnet"}, (X, Y), "model of type str: expected a keras.Sequential"),
        ({"model": lambda X, y: 3}, (X, Y), "model, when called, gave int"),
        ({"model": None}, (X, Y), "model=None: ECToNASTrainer reads"),
        ({"model": keras.Sequential()}, (X, Y), "model has no layers"),
        ({"model": keras.Sequential([keras.layers.Flatten()])}, (X, Y), "no output layer"),
        ({"model": dense_model(7)}, (X, Y), r"X has rows of shape \(8,\), the model expects \(7,\)"),
        ({"model": dense_model(n_outputs=2)}, (X, Y), "y holds 3 classes, the model's last layer is made for 2"),
        ({"greediness": 1.5}, (X, Y), "greediness=1.5: expected a number of at least 0 and at most 1"),
        ({"greediness": "much"}, (X, Y), "greediness='much'"),
        ({"budget": 0}, (X, Y), "budget=0: expected a number above 0"),
        ({"budget": float("nan")}, (X, Y), "budget=nan"),
        ({"budget": 0.01}, (X, Y), "budget=0.01 epochs is less than one minibatch"),
        ({"n_parents": 0}, (X, Y), "n_parents=0: expected a whole number of at least 1"),
        ({"surgery": "bold"}, (X, Y), "surgery='bold': expected one of"),
        ({"selection": "best"}, (X, Y), "selection='best'"),
        ({"engine": "warp"}, (X, Y), "engine='warp'"),
        ({"batch_size": 0}, (X, Y), "batch_size=0"),
        ({"validation_fraction": 1.0}, (X, Y), "validation_fraction=1.0"),
        ({"scoring": "fame"}, (X, Y), "scoring='fame': expected 'loss', a metric"),
        ({"optimizer": "fastest"}, (X, Y), "optimizer='fastest'"),
        ({"loss": "pain"}, (X, Y), "loss='pain'"),
        ({"max_params": 10}, (X, Y), "model has 75 parameters, max_params=10"),
        ({"random_state": -1}, (X, Y), "random_state=-1"),
        ({"verbose": 7}, (X, Y), "verbose=7"),
        ({"max_children": "few"}, (X, Y), "max_children='few'"),
        ({"recovery_epochs": {"growth": 1}}, (X, Y), "recovery_epochs, a key='growth'"),
        ({"cell_pooling": "median"}, (X, Y), "cell_pooling='median'"),
        ({}, (X, None), "y=None"),
        ({}, (X, Y[:-1]), "y has 95 rows, X has 96"),
        ({}, (NOT_FINITE, Y), "Input X contains NaN"),
        ({}, (X, np.where(Y == 1, np.nan, Y)), "y holds values that are NaN"),
        ({}, (X, np.zeros(len(X), dtype=int)), "y holds a single class"),
        ({}, (X[:, 0], Y), r"Expected 2D array, got 1D array"),
        ({}, (X[:0], Y[:0]), "Found array with 0 sample"),
        ({}, (np.array([["a"] * 8] * 96), Y), "could not convert string to float"),
        ({}, (X, Y, np.ones(3)), r"sample_weight has shape \(3,\)"),
        ({}, (X, Y, None, (X,)), "validation_data of type tuple"),
        ({}, (X, Y, None, (X[:, :7], Y)), "validation_data has rows of shape"),
        ({}, (X, Y, None, (X, Y + 5)), "validation_data, y holds labels that are not known"),
    ],
)
def test_wrong_input_is_refused_before_any_training(knobs, data, message, monkeypatch):
    def train(*args):
        raise AssertionError("training began")

    monkeypatch.setattr("keras_ectonas.engines.fit.FitEngine.train", train)
    arguments = {"model": dense_model(), "verbose": 0, **knobs}
    with pytest.raises(InputError, match=message):
        ECToNASTrainer(**arguments).fit(*data)


def test_a_fit_on_values_forgets_the_labels():
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), **QUICK, validation_fraction=np.float32(0.1)).fit(x, y)
    assert trainer.classes_.tolist() == [0, 1, 2]
    trainer.set_params(model=dense_model(n_outputs=1, activation="linear")).fit(x, x[:, 0])
    assert not hasattr(trainer, "classes_")


def test_prediction_of_wrong_shape(fitted):
    with pytest.raises(InputError, match="expecting 8 features"):
        fitted.predict(np.zeros((2, 5, 5, 1)))


def test_least_accuracy_from_nothing_on_few_rows():
    x, y = load_iris(return_X_y=True)
    rows, test_rows, labels, test_labels = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    classifier = ECToNASClassifier(verbose=0, random_state=0).fit(rows, labels)
    assert classifier.score(test_rows, test_labels) > 0.93


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_values_of_any_scale(scale):
    x, _ = table(200)
    y = x @ np.arange(1.0, 9.0) + 100
    regressor = ECToNASRegressor(budget=30, verbose=0, random_state=0).fit(x, scale * y)
    assert regressor.score(x, scale * y) > 0.95


@pytest.mark.parametrize(
    ("scale", "n_columns", "message"),
    [
        (1e20, 1, "standard deviation of 1e\\+20, whose square single precision cannot hold"),
        (1e-20, 1, "standard deviation of 1e-20, whose square"),
        (1e300, 2, "y holds values up to .*e\\+300: expected what single precision can hold"),
    ],
)
def test_values_beyond_single_precision_are_refused(scale, n_columns, message):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, n_columns))
    y = np.squeeze(scale * y / y.std())
    with pytest.raises(InputError, match=message):
        ECToNASRegressor(budget=4, verbose=0).fit(rng.normal(size=(60, 5)), y)


@pytest.mark.parametrize("scoring", [None, "r2"])
def test_values_of_several_scales(scoring, tmp_path):
    x, _ = table(300)
    y = np.stack([x[:, 0] * x[:, 1], 1e4 * x[:, 2] + 1e5, 1e-5 * np.abs(x[:, 3])], axis=1)
    regressor = ECToNASRegressor(budget=60, verbose=0, random_state=0, scoring=scoring, rolling_epochs=1)
    regressor.fit(x, y, validation_data=(x, y))
    assert r2_score(y, regressor.predict(x), multioutput="raw_values").min() > 0.7
    # The model, and any off the front, gives the values themselves.
    spread = y.std(axis=0)
    ours, its_own = regressor.predict(x), regressor.model_.predict(x, verbose=0)
    np.testing.assert_allclose(its_own / spread, ours / spread, rtol=1e-5, atol=1e-6)
    smallest = regressor.select(max_params=min(regressor.pareto_front_["n_params"]))
    front = regressor.pareto_front_
    score = front["score"][front["n_params"].index(min(front["n_params"]))]
    r2 = r2_score(y, smallest.predict(x, verbose=0))
    assert r2 == pytest.approx(score if scoring else 1 - score, rel=0.02)
    assert regressor.model_.count_params() == regressor.lineage_[-1].n_params
    share = 1 - regressor.score(x, y)
    assert regressor.best_score_ == pytest.approx(1 - share if scoring else share, rel=0.02)
    regressor.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("escaling") >= 2


def test_a_loss_of_ones_own_is_in_the_units_of_the_values():
    x, _ = table()
    y = np.stack([x[:, 0], 1e3 * x[:, 1] + 1e5], axis=1)
    regressor = ECToNASRegressor(loss="mae", **{**QUICK, "rolling_epochs": 1}).fit(x, y, validation_data=(x, y))
    assert regressor.best_score_ == pytest.approx(np.abs(regressor.predict(x) - y).mean(), rel=1e-3)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", "f1"])
def test_scoring_of_a_rare_class(scoring):
    x, _ = table(120)
    y = np.arange(120) % 24 == 0
    classifier = ECToNASClassifier(budget=2, verbose=0, random_state=0, scoring=scoring).fit(x, y.astype(int))
    assert not any(classifier.candidates_["remark"])


def test_scoring_where_validation_rows_lack_classes():
    x, _ = table(300)
    y = np.arange(300) // 3
    classifier = ECToNASClassifier(budget=2, verbose=0, random_state=0, scoring="neg_log_loss").fit(x, y)
    assert classifier.best_score_ == pytest.approx(-classifier.history_["val_loss"][-1], rel=0.2)
    with pytest.raises(InputError, match="scoring='roc_auc_ovr' cannot score"):
        ECToNASClassifier(budget=2, verbose=0, random_state=0, scoring="roc_auc_ovr").fit(x, y)


def test_score_of_images_for_targets():
    x, _ = images(40)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    trainer = ECToNASTrainer(model, **QUICK).fit(x, x)
    assert trainer.score(x, x) == pytest.approx(r2_score(x.reshape(40, -1), trainer.predict(x).reshape(40, -1)))

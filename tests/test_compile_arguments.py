"""Whatever a model was compiled with holds for all candidates and for the winner."""

import keras
import numpy as np
import pytest
from models import dense_model, table

from keras_ectonas import ECToNASClassifier, ECToNASTrainer
from keras_ectonas.errors import InputError

QUICK = {"budget": 3, "verbose": 0, "random_state": 0, "max_children": 2, "n_parents": 1, "engine": "fit"}

OPTIONS = {
    "loss_weights": {"loss_weights": [0.5]},
    "jit_compile": {"jit_compile": True},
    "weighted_metrics": {"weighted_metrics": ["accuracy"]},
    "run_eagerly": {"run_eagerly": True},
    "steps_per_execution": {"steps_per_execution": 2},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_kept(name):
    x, y = table()
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", **OPTIONS[name])
    trainer = ECToNASTrainer(model, **{**QUICK, "budget": 1}).fit(x, y, sample_weight=np.linspace(0.5, 1.5, len(x)))
    kept = trainer.model_.get_compile_config()
    assert kept[name] == OPTIONS[name][name]
    assert not any(trainer.candidates_["remark"])
    if name == "loss_weights":
        halved = trainer.model_.evaluate(x, y, verbose=0, return_dict=True)["loss"]
        loss = keras.losses.SparseCategoricalCrossentropy()(y, trainer.model_.predict(x, verbose=0))
        assert halved == pytest.approx(0.5 * float(loss), rel=1e-4)
    if name == "weighted_metrics":
        assert any("accuracy" in key for key in trainer.history_)


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_schedules_and_iterations_go_on_along_the_lineage(engine):
    x, y = table()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, decay_steps=10, decay_rate=0.5)
    model = dense_model()
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer = ECToNASTrainer(model, **{**QUICK, "engine": engine}).fit(x, y)
    winner = trainer.model_.optimizer
    assert winner.get_config() == optimizer.get_config()
    steps = round(trainer.history_["epoch"][-1] * 3)
    assert int(winner.iterations) == steps > 3
    assert float(winner.learning_rate) == pytest.approx(0.05 * 0.5 ** (steps / 10), rel=1e-5)
    assert any(np.any(np.asarray(slot)) for slot in winner.variables if "momentum" in slot.name)


@pytest.mark.parametrize("given_to", ["model", "trainer"])
def test_what_weight_decay_leaves_out(given_to):
    x, y = table()
    optimizer = keras.optimizers.SGD(0.5, weight_decay=1.0)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    # Nothing is learned: what changes has decayed.
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(3, kernel_initializer="ones", bias_initializer="ones")]
    )
    model.compile(optimizer if given_to == "model" else "sgd", mean_of_nothing)
    given = {"optimizer": optimizer} if given_to == "trainer" else {}
    trainer = ECToNASTrainer(model, **{**QUICK, "budget": 1, "engine": "auto"}, **given).fit(x, np.eye(3)[y])
    *_, kernel, bias = trainer.model_.get_weights()
    np.testing.assert_allclose(kernel, 1)
    assert (bias < 0.5).all()


def mean_of_nothing(y_true, y_pred):
    return 0.0 * keras.ops.mean(y_pred, axis=-1)


def test_weight_decay_that_leaves_out_variables_of_one_model_is_refused():
    x, y = table()
    model = dense_model()
    optimizer = keras.optimizers.AdamW(0.01)
    optimizer.exclude_from_weight_decay(var_list=[model.layers[0].bias])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    with pytest.raises(InputError, match="expected var_names"):
        ECToNASTrainer(model, **QUICK).fit(x, y)


def test_averaged_weights_are_those_that_are_scored():
    x, y = table(300)
    model = dense_model(units=(6, 5))
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer = ECToNASTrainer(model, scoring="loss", **{**QUICK, "budget": 12})
    trainer.fit(x[:200], y[:200], validation_data=(x[200:], y[200:]))
    assert not any(trainer.candidates_["remark"])
    loss = trainer.model_.evaluate(x[200:], y[200:], verbose=0)[0]
    assert loss == pytest.approx(trainer.history_["score"][-1], rel=1e-5)


def test_arguments_of_the_trainer_win():
    x, y = table()
    model = dense_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    trainer = ECToNASTrainer(model, optimizer="rmsprop", metrics=["sparse_top_k_categorical_accuracy"], **QUICK)
    trainer.fit(x, y)
    assert isinstance(trainer.model_.optimizer, keras.optimizers.RMSprop)
    assert "val_sparse_top_k_categorical_accuracy" in trainer.history_
    assert not trainer.model_.jit_compile


@pytest.mark.parametrize("scaled", [True, False])
def test_loss_that_is_scaled_for_half_precision(scaled):
    x, y = table()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = dense_model()
        adam = keras.optimizers.Adam(0.01)
        model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"], auto_scale_loss=scaled)
        trainer = ECToNASTrainer(model, **QUICK).fit(x, y)
        assert not any(trainer.candidates_["remark"])
        assert 2 <= trainer.n_epochs_ <= 3
        assert isinstance(trainer.model_.optimizer, keras.optimizers.LossScaleOptimizer) == scaled
        again = ECToNASTrainer(model, **QUICK).fit(x, y)
        np.testing.assert_array_equal(again.model_.get_weights()[0], trainer.model_.get_weights()[0])
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(("n", "batch_size", "rate"), [(96, 32, 0.01), (1000, 10, 0.5 / 90), (1000, 1, 0.001)])
def test_learning_rate_where_nobody_chose_an_optimizer(n, batch_size, rate):
    x, y = table(n)
    trainer = ECToNASTrainer(dense_model(), **{**QUICK, "budget": 1}, batch_size=batch_size).fit(x, y)
    assert float(trainer.model_.optimizer.learning_rate) == pytest.approx(rate)


OPTIMIZERS = [name for name in ("Lamb", "Lion", "Muon", "ScheduleFreeAdamW") if hasattr(keras.optimizers, name)]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("engine", ["auto", "fit"])
def test_optimizers_out_of_the_ordinary(name, engine):
    x, y = table()
    model = dense_model()
    model.compile(getattr(keras.optimizers, name)(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer = ECToNASTrainer(model, **{**QUICK, "engine": engine}).fit(x, y)
    assert type(trainer.model_.optimizer).__name__ == name
    assert not any(trainer.candidates_["remark"])
    assert trainer.history_["val_loss"][-1] < trainer.history_["val_loss"][0]


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="of a later Keras")
def test_an_optimizer_for_each_layer_is_refused():
    x, y = table()
    several = keras.optimizers.OptimizerMap(keras.optimizers.Adam(), {"dense/.*": keras.optimizers.SGD()})
    with pytest.raises(InputError, match="Expected a single Keras optimizer"):
        ECToNASTrainer(dense_model(), **QUICK, optimizer=keras.optimizers.MultiOptimizer(several)).fit(x, y)


def test_learning_rate_of_an_optimizer_that_was_chosen():
    x, y = table()
    compiled = dense_model()
    compiled.compile("adam", "sparse_categorical_crossentropy")
    for trainer in (ECToNASTrainer(compiled, **QUICK), ECToNASTrainer(dense_model(), **QUICK, optimizer="adam")):
        assert float(trainer.fit(x, y).model_.optimizer.learning_rate) == pytest.approx(0.001)


def own_loss(y_true, y_pred):
    """Labels as numbers, as Keras' own fit would hand them over."""
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)


class OwnLoss(keras.losses.SparseCategoricalCrossentropy):
    pass


@pytest.mark.parametrize(
    "loss", [own_loss, OwnLoss(name="own"), keras.losses.SparseCategoricalCrossentropy(name="of_another_name")]
)
@pytest.mark.parametrize("estimator", [ECToNASTrainer, ECToNASClassifier])
def test_losses_for_labels_by_any_name(loss, estimator):
    x, y = table()
    model = dense_model()
    model.compile("adam", loss)
    trainer = estimator(model, **{**QUICK, "budget": 1}).fit(x, y)
    assert trainer.task_.target == "index"
    assert trainer.predict_proba(x).shape == (len(x), 3)


@pytest.mark.parametrize("loss", ["mean_squared_error", keras.losses.KLDivergence(), keras.losses.Huber(name="own")])
def test_losses_for_values_are_none_for_a_classifier(loss):
    model = dense_model()
    model.compile("adam", loss)
    with pytest.raises(InputError, match="compares no labels of the forms that a classifier has"):
        ECToNASClassifier(model, **QUICK).fit(*table())


@pytest.mark.parametrize("engine", ["fit", "auto"])
@pytest.mark.parametrize("scoring", ["mae", "val_mae", "mean_absolute_error"])
def test_metrics_by_short_names(engine, scoring):
    x, _ = table()
    model = dense_model(n_outputs=1, activation="linear")
    model.compile("adam", "mse", metrics=["mae", "mape"])
    trainer = ECToNASTrainer(model, **{**QUICK, "engine": engine}, scoring=scoring).fit(x, x[:, 0])
    assert trainer.history_["val_mae"][-1] == pytest.approx(trainer.best_score_, rel=0.5)
    assert not trainer.objective_.higher_is_better


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_a_metric_that_is_weighted_too(engine):
    x, y = table()
    model = dense_model()
    model.compile("adam", "crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    options = {**QUICK, "engine": engine, "scoring": "weighted_accuracy"}
    trainer = ECToNASTrainer(model, **options).fit(x, y, sample_weight=np.linspace(0.1, 3, len(x)))
    assert trainer.history_["val_weighted_accuracy"][-1] != trainer.history_["val_accuracy"][-1]
    assert trainer.objective_.is_accuracy
    assert not any(trainer.candidates_["remark"])


@pytest.mark.parametrize("loss", ["crossentropy", "ce"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_cross_entropy_that_fits(loss, n_classes):
    x, y = table(n_classes=n_classes)
    trainer = ECToNASTrainer(dense_model(n_outputs=n_classes), **QUICK, loss=loss).fit(x, y)
    assert trainer.model_.loss == "sparse_categorical_crossentropy"
    assert set(trainer.predict(x)) <= set(y)


def test_a_cross_entropy_is_no_metric():
    with pytest.raises(InputError, match="expected a Keras metric"):
        ECToNASTrainer(dense_model(), **QUICK, metrics=["crossentropy"]).fit(*table())


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_a_metric_with_a_value_for_each_class(engine):
    x, y = table()
    model = dense_model()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy", keras.metrics.F1Score()])
    trainer = ECToNASTrainer(model, **{**QUICK, "engine": engine}).fit(x, np.eye(3, dtype="float32")[y])
    assert 0 <= trainer.history_["val_f1_score"][-1] <= 1


def test_a_model_with_a_training_of_its_own_is_refused():
    class Own(keras.Sequential):
        def compute_loss(self, *args, **kwargs):
            return 2 * super().compute_loss(*args, **kwargs)

    with pytest.raises(InputError, match="class Own has a compute_loss of its own"):
        ECToNASTrainer(Own(dense_model().layers), **QUICK).fit(*table())

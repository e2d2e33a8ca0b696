"""What cannot be used is refused at once: by name, with what came and what was expected, and nothing is changed."""

import random
import time

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse  # noqa: F401 - the cases below are evaluated
from models import conv_model, dense_model, table  # noqa: F401

from keras_ectonas import ECToNASCallback, ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

MOST_SECONDS = 2.0


def branched():
    inputs = keras.Input((8,))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(inputs))


def spoilt():
    model = dense_model()
    model.layers[0].set_weights([np.full(w.shape, np.nan) for w in model.layers[0].get_weights()])
    return model


def compiled(**options):
    model = dense_model()
    model.compile("adam", **options)
    return model


def unknown_metric(y_true, y_pred):
    return keras.ops.mean(y_pred)


KNOBS = {
    "budget=0": r"budget=0: expected a number above 0",
    "budget=-3.5": r"budget=-3.5: expected a number above 0",
    "budget=float('nan')": r"budget=nan: expected a number above 0",
    "budget=float('inf')": r"budget=inf: expected a number above 0",
    "budget='10'": r"budget='10': expected a number above 0",
    "budget=None": r"budget=None: expected a number above 0",
    "budget=True": r"budget=True: expected a number above 0",
    "budget=0.001": r"budget=0.001 epochs is less than one minibatch of 32 rows out of \d+",
    "greediness=-0.1": r"greediness=-0.1: expected a number of at least 0 and at most 1",
    "greediness=1.1": r"greediness=1.1: expected a number of at least 0 and at most 1",
    "n_parents=0": r"n_parents=0: expected a whole number of at least 1",
    "n_parents=1.5": r"n_parents=1.5: expected a whole number",
    "max_params=0": r"max_params=0: expected a whole number of at least 1",
    "max_params=1e6": r"max_params=1000000.0: expected a whole number",
    "max_params=12": r"model has 75 parameters, max_params=12: with a single unit .* it would still have 15",
    "max_growth=0": r"max_growth=0: expected a number above 0",
    "max_time=0": r"max_time=0: expected a number above 0",
    "max_time='1 h'": r"max_time='1 h': expected a number above 0",
    "surgery='gentle'": r"surgery='gentle': expected one of 'calibrated', 'paper'",
    "surgery=['paper']": r"surgery=\['paper'\]: expected one of",
    "selection='best'": r"selection='best': expected one of 'fitness', 'random'",
    "final_selection=None": r"final_selection=None: expected one of 'archive', 'parents'",
    "engine='fast'": r"engine='fast': expected one of 'auto', 'fit', 'compiled'",
    "batch_size=0": r"batch_size=0: expected a whole number of at least 1",
    "batch_size=2.5": r"batch_size=2.5: expected a whole number",
    "validation_fraction=0": r"validation_fraction=0: expected a number above 0 and below 1",
    "validation_fraction=1.0": r"validation_fraction=1.0: expected a number above 0 and below 1",
    "validation_fraction='a tenth'": r"validation_fraction='a tenth': expected a number",
    "validation_fraction=0.999": r"validation_fraction=0.999 of 96 rows leaves none to train on",
    "n_jobs=0": r"n_jobs=0: expected a whole number other than 0, or None",
    "n_jobs=1.5": r"n_jobs=1.5: expected a whole number other than 0, or None",
    "verbose=3": r"verbose=3: expected 0, 1 or 2",
    "verbose=True": r"verbose=True: expected 0, 1 or 2",
    "verbose=[1]": r"verbose=\[1\]: expected 0, 1 or 2",
    "random_state=-1": r"random_state=-1: expected a whole number of at least 0, a generator or None",
    "random_state='seed'": r"random_state='seed': expected a whole number",
    "warmup_epochs=-1": r"warmup_epochs=-1: expected a number of at least 0",
    "epochs_per_match=0": r"epochs_per_match=0: expected a number above 0",
    "max_rounds=0": r"max_rounds=0: expected a whole number of at least 1",
    "rolling_epochs=0": r"rolling_epochs=0: expected a whole number of at least 1",
    "recovery_epochs=1": r"recovery_epochs=1: expected a mapping from mutation names to epochs",
    "recovery_epochs={'grow': 1}": r"recovery_epochs, a key='grow': expected one of 'identity', 'add_dense'",
    "recovery_epochs={'identity': -1}": r"recovery_epochs\['identity'\]=-1: expected a number of at least 0",
    "max_children=0": r"max_children=0: expected a whole number of at least 1, 'auto' or None",
    "max_children='all'": r"max_children='all': expected a whole number of at least 1, 'auto' or None",
    "unit_step=1.5": r"unit_step=1.5: expected a number above 0 and at most 1",
    "min_unit_step=0": r"min_unit_step=0: expected a whole number of at least 1",
    "channel_step=0": r"channel_step=0: expected a whole number of at least 1",
    "cell_pooling=()": r"cell_pooling=\(\): expected some of 'average', 'max', 'none'",
    "cell_pooling='min'": r"cell_pooling='min': expected one of 'average', 'max', 'none'",
    "spatial_axes=4": r"spatial_axes=4: expected 1, 2, 3 or None",
    "calibration_rows=0": r"calibration_rows=0: expected a whole number of at least 1",
    "keep_weights='yes'": r"keep_weights='yes': expected True or False",
    "callbacks='EarlyStopping'": r"callbacks='EarlyStopping': expected a list of keras.callbacks.Callback",
    "callbacks=[print]": r"callbacks\[0\] of type builtin_function_or_method: expected a keras.callbacks.Callback",
    "callbacks=[keras.callbacks.Callback]": r"callbacks\[0\] of type type: expected a keras.callbacks.Callback",
    "checkpoint=7": r"checkpoint=7: expected the path of a folder, or None",
    "checkpoint=''": r"checkpoint='': expected the path of a folder, or None",
    "checkpoint=__file__": r"checkpoint='.*test_bad_input.py' is a file: expected a folder",
    "checkpoint='a\\0b'": r"checkpoint='a.*b' cannot be a path: embedded null",
    "checkpoint='a' * 4000": r"checkpoint='a+' cannot be a path: .*too long",
    "checkpoint=__file__ + '/folder'": r"checkpoint='.*folder' cannot be used as a folder to write into",
    "resume=True": r"resume=True without a checkpoint: expected the folder that the search is kept in",
    "resume='yes'": r"resume='yes': expected True or False",
    "warm_start=1": r"warm_start=1: expected True or False",
    "optimizer='adamant'": r"optimizer='adamant': expected a Keras optimizer, its name or its configuration",
    "optimizer=0.01": r"optimizer=0.01: expected a Keras optimizer",
    "loss='guess'": r"loss='guess': expected a Keras loss, its name, or a function",
    "loss=['mse', 'mae']": r"loss=\['mse', 'mae'\]: expected a single loss",
    "loss=3": r"loss=3: expected a Keras loss",
    "metrics='accuracy'": r"metrics='accuracy': expected a list",
    "metrics=['guess']": r"metrics\[0\]='guess': expected a Keras metric, its name, or a function",
    "metrics=[3]": r"metrics\[0\]=3: expected a Keras metric",
    "scoring='guess'": r"scoring='guess': expected 'loss', a metric of the compiled model \(\['accuracy'\]\)",
    "scoring=3": r"scoring=3: expected a name or a scorer",
    "metrics=[unknown_metric], scoring='unknown_metric'": r"it is not known whether more of this metric is better",
}


@pytest.mark.parametrize("knob", KNOBS)
def test_knobs(knob, tmp_path):
    knobs = eval(f"dict({knob})")
    model = knobs.pop("model", None) or dense_model()
    refused(ECToNASTrainer(model, **{"verbose": 0, **knobs}), KNOBS[knob])


MODELS = {
    "None": r"model=None: ECToNASTrainer reads what is to be learned off the model",
    "'dense'": r"model of type str: expected a keras.Sequential, a callable \(X, y\) that gives one, or None",
    "keras.Sequential": r"model of type type: expected a keras.Sequential, a callable",
    "branched()": r"model of type Functional: expected a keras.Sequential. Models with branches are not searched",
    "keras.Sequential()": r"model has no layers: expected at least one dense layer or convolution",
    "keras.Sequential([keras.layers.Flatten()])": r"model has no output layer that a search could keep",
    "lambda X, y: 'model'": r"model, when called, gave str: expected a keras.Sequential",
    "lambda: dense_model()": r"model cannot be called as model\(X, y\): too many positional arguments",
    "dense_model(n_features=9)": r"X has rows of shape \(8,\), the model expects \(9,\)",
    "conv_model()": r"X has rows of shape \(8,\), the model expects \(8, 8, 1\)",
    "keras.Sequential([keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(3)])": (
        r"model cannot be built for rows of shape \(8,\)"
    ),
    "dense_model(n_outputs=2)": r"y holds 3 classes, the model's last layer is made for 2",
    "compiled(loss=['mse', 'mae'])": r"loss=\['mse', 'mae'\]: expected a single loss",
}


@pytest.mark.parametrize("model", MODELS)
def test_models(model):
    refused(ECToNASTrainer(eval(model), verbose=0), MODELS[model])


def test_weights_that_are_no_numbers():
    refused(ECToNASTrainer(spoilt(), keep_weights=True, verbose=0), r"model has weights that are NaN or infinite")


X, Y = table()
FRAME = pd.DataFrame(X, columns=list("abcdefgh"))
WRONG_ROWS = {
    "X=X[:, 0]": r"Expected 2D array, got 1D array instead",
    "X=X[:1], y=Y[:1]": r"X has 1 sample: expected at least 2",
    "X=X[:0], y=Y[:0]": r"Found array with 0 sample",
    "X=None": r"X: Expected 2D array, got scalar array|X: .*None",
    "X='rows'": r"X: .*(Expected 2D array|could not convert string)",
    "X=np.where(X > 2, np.nan, X)": r"X: Input X contains NaN",
    "X=np.where(X > 2, np.inf, X)": r"X: Input X contains infinity",
    "X=X.astype(str).astype(object) + 'a'": r"X: could not convert string to float",
    "X=X + 1j": r"X: Complex data not supported",
    "X=scipy.sparse.csr_array(X)": r"X: Sparse data was passed",
    "X=[[1.0, 2.0], [3.0]], y=[0, 1]": r"X: ",
    "X=X[:, :7]": r"X has rows of shape \(7,\), the model expects \(8,\)",
    "y=None": r"y=None: fit requires y to be passed",
    "y=Y[:-1]": r"y has 95 rows, X has 96: expected as many",
    "y=3": r"y=3: expected one target for each row of X",
    "y=Y * 0": r"y holds a single class, 0: expected at least 2",
    "y=np.where(Y == 0, np.nan, Y)": r"y holds values that are NaN or infinite",
    "y=Y + 1j": r"y is of type complex128: expected numbers",
    "y=[0, 'a', None] * 32": r"y holds None: expected a target for each row",
    "y=np.array(['a', np.nan, 'b'] * 32, dtype=object)": r"y holds nan: expected a target for each row",
    "y=pd.array(['a', pd.NA, 'b'] * 32)": r"y holds <NA>: expected a target for each row",
    "y=np.array([1, 'a', 2.5] * 32, dtype=object)": r"y holds objects of several types",
    "y=np.array([b'a', b'bb', b'c'])[Y]": r"y holds bytes, such as b'a': expected text or numbers",
    "y=np.arange(96)": r"y holds \d+ classes, the model's last layer is made for 3",
    "sample_weight=np.ones(95)": r"sample_weight has shape \(95,\): expected \(96,\), one for each row",
    "sample_weight=-np.ones(96)": r"sample_weight holds values that are negative or not finite",
    "sample_weight=np.full(96, np.nan)": r"sample_weight holds values that are negative or not finite",
    "sample_weight=np.zeros(96)": r"sample_weight is zero for every row: expected some weight",
    "sample_weight='heavy'": r"sample_weight='heavy': expected numbers",
    "X=X[:, :, None][:, :, :0]": r"X has rows of shape \(8, 0\): expected at least one number in each",
    "X=FRAME, validation_data=(FRAME[list('bacdefgh')], Y)": r"validation_data, X: .*must be in the same order",
    "X=FRAME, validation_data=(FRAME.rename(columns={'a': 'z'}), Y)": r"validation_data, X: .*feature names should",
    "validation_data=X": r"validation_data of type ndarray: expected a tuple \(X, y\) or",
    "validation_data=(X,)": r"validation_data of type tuple: expected a tuple \(X, y\) or",
    "validation_data=(X[:, :7], Y)": r"validation_data has rows of shape \(7,\), X has \(8,\)",
    "validation_data=(X, Y[:-1])": r"validation_data, y has 95 rows, X has 96: expected as many",
    "validation_data=(X * np.nan, Y)": r"validation_data, X: Input validation_data, X contains NaN",
    "validation_data=(X, Y + 1)": r"validation_data, y holds labels that are not known: \[3\]. Known are \[0 1 2\]",
    "validation_data=(X, Y, np.zeros(96))": r"sample_weight is zero for every row that is validated on",
    "validation_data=(X, Y), validation_steps=2": r"validation_steps is for validation_data that come in batches",
    "validation_data=(X[:0], Y[:0])": r"Found array with 0 sample",
}


@pytest.mark.parametrize("rows", WRONG_ROWS)
def test_rows(rows):
    refused(ECToNASTrainer(dense_model(), verbose=0), WRONG_ROWS[rows], **eval(f"dict({rows})"))


@pytest.mark.parametrize("y", [np.stack([Y, Y], axis=1), np.stack([Y, Y], axis=1).astype(str)])
def test_several_labels_of_several_classes(y):
    refused(ECToNASClassifier(verbose=0), "Multioutput target data is not supported", y=y)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (
            ECToNASRegressor(dense_model(n_outputs=1, activation="linear"), verbose=0),
            "y is of type <U1: expected numbers",
        ),
        (ECToNASRegressor(verbose=0), "y is of type <U1: expected numbers"),
        (
            ECToNASClassifier(dense_model(n_outputs=1, activation="sigmoid"), verbose=0),
            "y holds 3 classes, the model's",
        ),
    ],
)
def test_targets_of_another_kind(estimator, message):
    y = np.asarray(["a", "b", "c"])[Y]
    refused(estimator, message, y=y)


def test_columns_for_a_loss_that_compares_labels():
    columns = np.eye(3)[Y]
    sparse = ECToNASTrainer(compiled(loss="sparse_categorical_crossentropy"), verbose=0)
    refused(sparse, r"y has 3 columns, loss='sparse_.*a row: 'categorical_crossentropy' compares a column", y=columns)


def test_labels_for_a_model_that_gives_values():
    trainer = ECToNASTrainer(dense_model(activation="linear"), verbose=0)
    refused(trainer, r"targets of shape \(1,\), the model gives outputs of shape \(3,\)\. For labels, give the model")


def test_models_that_take_texts():
    texts = keras.Sequential([keras.Input((1,), dtype="string"), keras.layers.Dense(3, activation="softmax")])
    refused(ECToNASTrainer(texts, verbose=0), "model takes inputs of type string: expected numbers")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"model": 3}, "model: the callback takes it from the model that is being fitted"),
        ({"loss": "mse"}, "loss: the callback takes it from the model"),
        ({"warm_start": True}, "warm_start: the callback takes it from the model"),
        ({"bugdet": 3}, "bugdet: ECToNASCallback has no such argument, nor has ECToNASTrainer"),
    ],
)
def test_arguments_of_the_callback(knobs, message):
    with pytest.raises(InputError, match=message):
        ECToNASCallback(X, Y, **knobs)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"budget": 0}, "budget=0: expected a number above 0"),
        ({"y": Y[:-1]}, "y has 95 rows, X has 96"),
        ({"sample_weight": Y[:-1]}, r"sample_weight has shape \(95,\): expected \(96,\)"),
        ({"x": X[:, :3]}, r"X has rows of shape \(3,\), the model expects \(8,\)"),
        ({"checkpoint": __file__}, "is a file: expected a folder"),
    ],
)
def test_the_callback_checks_before_fit_spends_time(knobs, message):
    model = compiled(loss="sparse_categorical_crossentropy")
    before = model.get_weights()
    callback = ECToNASCallback(**{"x": X, "y": Y, **knobs})
    with pytest.raises(InputError, match=message):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[callback])
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def refused(estimator, message, **rows):
    """Fit raises an `InputError` soon, and leaves all as it was."""
    rows = {"X": X, "y": Y, **rows}
    model = estimator.model
    weights = model.get_weights() if isinstance(model, keras.Model) and model.built else []
    x, y, parameters = X.copy(), Y.copy(), estimator.get_params(deep=False)
    python, numpy = random.getstate(), np.random.get_state()[1].copy()
    began = time.thread_time()
    with pytest.raises(InputError, match=message):
        estimator.fit(**rows)
    assert time.thread_time() - began < MOST_SECONDS
    assert not [name for name in vars(estimator) if name.endswith("_")]
    assert estimator.get_params(deep=False) == parameters
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], numpy)
    np.testing.assert_array_equal(X, x)
    np.testing.assert_array_equal(Y, y)
    for weight, old in zip(weights and model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, old)

"""Fitted estimators in other processes and under other backends, and winners without this package."""

import pickle

import keras
import numpy as np
import pytest
from models import dense_model, table
from test_backends import BACKENDS, needs, run

from keras_ectonas import ECToNASRegressor, ECToNASTrainer
from keras_ectonas.errors import InputError

QUICK = {"budget": 1, "verbose": 0, "random_state": 0, "max_children": 1, "n_parents": 1}

LOADED = """
    import json
    import pickle
    import keras
    import numpy as np

    fitted = pickle.load(open("fitted.pickle", "rb"))
    x = np.load("x.npy")
    fitted.model_.fit(x, np.arange(len(x)) % 3, verbose=0)
    again = pickle.load(open("fitted.pickle", "rb"))
    print(json.dumps([keras.backend.backend(), again.predict_proba(x).tolist(), [str(e) for e in again.lineage_]]))
"""

WITHOUT_US = """
    import json
    import sys
    import keras
    import numpy as np

    model = keras.models.load_model("winner.keras")
    assert "keras_ectonas" not in sys.modules
    outputs = model.predict(np.load("x.npy"), verbose=0)
    model.fit(np.load("x.npy"), np.arange(len(outputs)) % 3, verbose=0)
    print(json.dumps(outputs.tolist()))
"""

EXPORTED = """
    import json
    import keras
    import numpy as np

    model = keras.models.load_model("winner.keras")
    x = np.load("x.npy")
    model(x)  # Keras exports to ONNX only what was called.
    model.export("exported_{format}", format="{format}", verbose=False)
    if "{format}" == "tf_saved_model":
        import tensorflow
        loaded = tensorflow.saved_model.load("exported_{format}")
        outputs = loaded.serve(x)
    else:
        import onnxruntime
        session = onnxruntime.InferenceSession("exported_{format}")
        outputs = session.run(None, {{session.get_inputs()[0].name: x}})[0]
    print(json.dumps(np.asarray(outputs).tolist()))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a fitted estimator, its winner, rows, and what it says of them."""
    place = tmp_path_factory.mktemp("travel")
    x, y = table()
    fitted = ECToNASTrainer(dense_model(), **{**QUICK, "budget": 4, "max_children": 3}).fit(x, y)
    (place / "fitted.pickle").write_bytes(pickle.dumps(fitted))
    fitted.model_.save(place / "winner.keras")
    np.save(place / "x.npy", x)
    np.save(place / "outputs.npy", fitted.model_.predict(x, verbose=0))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("backend", [needs(name) for name in BACKENDS[1:]])
def test_a_fitted_estimator_loads_under_every_backend(backend, folder):
    found, outputs, lineage = run(LOADED, folder, KERAS_BACKEND=backend)
    assert found == backend
    np.testing.assert_allclose(outputs, np.load(folder / "outputs.npy"), atol=1e-5)
    assert lineage == [str(entry) for entry in pickle.loads((folder / "fitted.pickle").read_bytes()).lineage_]


def test_a_winner_loads_without_this_package(folder):
    outputs = run(WITHOUT_US, folder, KERAS_BACKEND="jax")
    np.testing.assert_allclose(outputs, np.load(folder / "outputs.npy"), atol=1e-6)


@pytest.mark.parametrize("backend", [needs("tensorflow"), pytest.param("jax", marks=pytest.mark.slow)])
def test_a_winner_runs_as_a_saved_model(backend, folder):
    pytest.importorskip("tensorflow")
    outputs = run(EXPORTED.format(format="tf_saved_model"), folder, KERAS_BACKEND=backend)
    np.testing.assert_allclose(outputs, np.load(folder / "outputs.npy"), atol=1e-5)


def test_a_winner_runs_as_onnx(folder):
    for package in ("tensorflow", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    outputs = run(EXPORTED.format(format="onnx"), folder, KERAS_BACKEND="tensorflow")
    np.testing.assert_allclose(outputs, np.load(folder / "outputs.npy"), atol=1e-5)


def squared(expected, given):
    return keras.ops.mean(keras.ops.square(expected - given), axis=-1)


@keras.saving.register_keras_serializable("travel")
def registered(expected, given):
    return squared(expected, given)


def test_what_is_not_registered_is_named_when_it_is_pickled():
    x, _ = table(24)
    fitted = ECToNASRegressor(loss=squared, **QUICK).fit(x, x[:, 0])
    with pytest.raises(InputError, match=r"loss \(squared\) could not be found again .*register_keras_serializable"):
        pickle.dumps(fitted)
    fitted = ECToNASRegressor(loss="mse", metrics=[squared], **QUICK).fit(x, x[:, 0])
    with pytest.raises(InputError, match=r"metric \(squared\) could not be found again"):
        pickle.dumps(fitted)
    fitted = ECToNASRegressor(loss=registered, **QUICK).fit(x, x[:, 0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(x), fitted.predict(x))

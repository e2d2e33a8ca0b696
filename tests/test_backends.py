"""The same search on every backend that is installed, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BACKENDS = ("jax", "tensorflow", "torch")

SURGERY = """
    import json
    import numpy as np
    from models import conv_model
    from keras_ectonas.bridge import network_of
    from keras_ectonas.mutations import MUTATIONS
    from keras_ectonas.settings import SearchSettings
    from keras_ectonas.surgery import PublishedSurgery

    model = conv_model()
    drawn = np.random.default_rng(0)
    model.set_weights([drawn.normal(size=w.shape).astype("float32") ** 2 for w in model.get_weights()])
    network = network_of(model, nonnegative_input=True)
    rng = np.random.default_rng(1)
    marks = []
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            child = mutation.apply(network, site, PublishedSurgery(), rng).network
            marks.append([w.value.tobytes().hex()[:400] for layer in child.layers for w in layer.weights])
    print(json.dumps(marks))
"""

CALLBACK = """
    import json
    import keras
    import numpy as np
    from models import images, conv_model
    from keras_ectonas import ECToNASCallback

    x, y = images()
    model = conv_model()
    search = ECToNASCallback(x, y, budget=6, random_state=0, verbose=0, max_children=3, n_parents=1)
    model.fit(x, y, epochs=3, callbacks=[search], verbose=0)
    outputs = model.predict(x, verbose=0)
    evaluated = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save("model.keras")
    loaded = keras.models.load_model("model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), outputs, atol=1e-5)
    model.fit(x, y, epochs=1, verbose=0)
    print(json.dumps({
        "backend": keras.backend.backend(),
        "params": model.count_params(),
        "lineage": search.lineage_[-1].n_params,
        "spent": search.n_epochs_,
        "accuracy": evaluated["accuracy"],
    }))
"""

SEED = """
    import json
    import random
    import keras
    import numpy as np
    from models import table
    from keras_ectonas import ECToNASTrainer

    def drawn():
        states = [random.random(), float(np.random.random())]
        if keras.backend.backend() == "torch":
            import torch
            states.append(float(torch.rand(1)))
        return states

    x, y = table()
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        trainer = ECToNASTrainer(model, budget=4, random_state=0, verbose=0, max_children=3, n_parents=1).fit(x, y)
        after = drawn()
        weights = [weight.tobytes().hex() for weight in trainer.model_.get_weights()]
        found.append([[str(entry) for entry in trainer.lineage_], weights])
    keras.utils.set_random_seed(7)
    print(json.dumps([*found, after, drawn()]))
"""

SAME_JOB = """
    import json
    from test_fit_engine import engine_for, job
    from keras_ectonas.surgery import templates

    engine, network = engine_for()
    network = network.with_inserted(1, [templates.dropout(network, network.layers[1], 0.3)])
    outcomes = engine.train([job(network, 7), job(network, 7)])
    print(json.dumps([outcome.network.fingerprint() for outcome in outcomes]))
"""

CHOICE = """
    import json, os
    import keras_ectonas
    import keras
    print(json.dumps([keras.backend.backend(), os.environ.get("KERAS_BACKEND")]))
"""


def run(program, folder, **environment):
    variables = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KERAS_HOME")}
    variables |= {"PYTHONPATH": str(Path(__file__).parent), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def needs(backend):
    missing = importlib.util.find_spec(backend) is None
    return pytest.param(backend, marks=pytest.mark.skipif(missing, reason=f"{backend} is not installed"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", [needs(name) for name in BACKENDS])
def test_callback_on_every_backend(backend, tmp_path):
    found = run(CALLBACK, tmp_path, KERAS_BACKEND=backend)
    assert found["backend"] == backend
    assert found["params"] == found["lineage"]
    assert 0 < found["spent"] <= 6
    assert 0 <= found["accuracy"] <= 1


@pytest.mark.parametrize("backend", [needs(name) for name in BACKENDS])
def test_a_seed_decides_and_the_users_generators_are_left_alone(backend, tmp_path):
    first, second, after, before = run(SEED, tmp_path, KERAS_BACKEND=backend)
    assert first == second
    assert after == before


@pytest.mark.parametrize("backend", [needs(name) for name in BACKENDS])
def test_dropout_is_the_same_in_a_model_that_has_been_trained_before(backend, tmp_path):
    first, second = run(SAME_JOB, tmp_path, KERAS_BACKEND=backend)
    assert first == second


@pytest.mark.parametrize("backend", [needs(name) for name in BACKENDS[1:]])
def test_surgery_is_the_same_to_the_last_bit(backend, tmp_path):
    assert run(SURGERY, tmp_path, KERAS_BACKEND=backend) == run(SURGERY, tmp_path, KERAS_BACKEND="jax")


def test_a_backend_is_chosen(tmp_path):
    assert run(CHOICE, tmp_path, KERAS_HOME=str(tmp_path)) == ["jax", "jax"]
    assert (tmp_path / "keras.json").exists()  # by Keras, which names TensorFlow in it
    assert run(CHOICE, tmp_path, KERAS_HOME=str(tmp_path)) == ["jax", "jax"]


@pytest.mark.parametrize("backend", [needs("torch")])
def test_a_choice_is_respected(backend, tmp_path):
    assert run(CHOICE, tmp_path, KERAS_HOME=str(tmp_path), KERAS_BACKEND=backend)[0] == backend
    (tmp_path / "keras.json").write_text(json.dumps({"backend": backend}))
    assert run(CHOICE, tmp_path, KERAS_HOME=str(tmp_path)) == [backend, None]
    already_imported = "import os\nos.environ['KERAS_BACKEND'] = 'torch'\nimport keras\n" + textwrap.dedent(CHOICE)
    assert run(already_imported, tmp_path)[0] == backend

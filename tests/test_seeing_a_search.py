"""Models off the front, displays and reports of real searches, and that they cost nothing where they are not used."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
from finished import finished_trainer
from models import conv_model, dense_model, images, table
from sklearn.exceptions import NotFittedError
from sklearn.metrics import make_scorer, recall_score

from keras_ectonas import ECToNASCallback, ECToNASClassifier, ECToNASTrainer
from keras_ectonas.errors import InputError, MissingExtraError
from keras_ectonas.report import FamilyTreeDisplay, LineageDisplay, MutationDisplay, ParetoFrontDisplay

KNOBS = {"budget": 5, "verbose": 0, "random_state": 0, "max_children": 3, "epochs_per_match": 0.5}
WIDER = {**KNOBS, "budget": 8, "max_children": 6, "random_state": 1}
HELD_OUT = images(80, seed=5)


def every_member(fitted):
    for n_params, score in zip(fitted.pareto_front_["n_params"], fitted.pareto_front_["score"], strict=True):
        yield fitted.select(max_params=n_params), n_params, score


@pytest.fixture(scope="module")
def fitted():
    return ECToNASTrainer(conv_model(), **WIDER).fit(*images(), validation_data=HELD_OUT)


@pytest.mark.parametrize("engine", ["compiled", pytest.param("fit", marks=pytest.mark.slow)])
def test_selected_models_score_what_is_recorded(engine, fitted):
    trainer = fitted
    if engine == "fit":
        trainer = ECToNASTrainer(conv_model(), engine="fit", **WIDER).fit(*images(), validation_data=HELD_OUT)
    members = list(every_member(trainer))
    assert len(members) > 1
    for model, n_params, score in members:
        assert isinstance(model, keras.Sequential)
        assert model.count_params() == n_params
        measured = model.evaluate(*HELD_OUT, verbose=0, return_dict=True)["accuracy"]
        assert measured == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("scoring", ["loss", make_scorer(recall_score, average="macro")])
def test_selected_models_score_what_is_recorded_by_any_scoring(scoring):
    x, y = table(seed=1)
    trainer = ECToNASTrainer(dense_model(), scoring=scoring, **KNOBS).fit(*table(), validation_data=(x, y))
    for model, _, score in every_member(trainer):
        if scoring == "loss":
            measured = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
        else:
            measured = recall_score(y, model.predict(x, verbose=0).argmax(axis=1), average="macro")
        assert measured == pytest.approx(score, rel=1e-5)


def test_selected_model_is_plain_compiled_and_one_s_own(fitted, tmp_path):
    model = fitted.select(max_params=fitted.pareto_front_["n_params"][0])
    before = fitted.model_.get_weights()
    model.fit(*images(), epochs=1, verbose=0)
    for weight, old in zip(fitted.model_.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(HELD_OUT[0], verbose=0), model.predict(HELD_OUT[0], verbose=0), atol=1e-6)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}


def test_no_candidate_ended_with_a_better_score_than_the_front_has(fitted):
    ends = dict(zip(fitted.records_["candidate"], fitted.records_["score"], strict=True))
    assert len(ends) > 1
    assert fitted.pareto_front_["score"][-1] >= max(ends.values())
    assert fitted.pareto_front_["n_params"] == sorted(fitted.pareto_front_["n_params"])


def test_nothing_on_the_front_is_so_good(fitted):
    with pytest.raises(InputError, match=r"no network on the front fits min_score=1\.5"):
        fitted.select(min_score=1.5)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # Keras' copy of an unused optimizer
@pytest.mark.parametrize("travelled", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
def test_estimators_travel_with_their_front(fitted, travelled, tmp_path):
    twin = travelled(fitted)
    for (model, _, _), (other, _, _) in zip(every_member(fitted), every_member(twin), strict=True):
        for weight, same in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, same)
    twin.report(tmp_path / "report.html")
    assert repr(twin.pareto_front_) == repr(fitted.pareto_front_)


def test_callback_offers_the_same(tmp_path):
    x, y = table()
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    search = ECToNASCallback(x, y, validation_data=table(seed=1), **KNOBS)
    model.fit(x, y, epochs=1, callbacks=[search], verbose=0)
    for selected, _, score in every_member(search):
        measured = selected.evaluate(*table(seed=1), verbose=0, return_dict=True)["accuracy"]
        assert measured == pytest.approx(score, abs=1e-6)
    search.report(tmp_path / "report.html", title="From a callback")
    assert "From a callback" in (tmp_path / "report.html").read_text()
    trainer = ECToNASTrainer(dense_model(), **KNOBS).fit(x, y)
    fitted_attributes = {name for name in vars(trainer) if name.endswith("_")} - {"n_features_in_"}
    assert fitted_attributes <= set(vars(search))


def test_callback_that_has_not_searched():
    with pytest.raises(NotFittedError, match="ECToNASCallback has not searched yet"):
        ECToNASCallback(*table()).select()


def test_report_of_a_real_search(fitted, tmp_path):
    fitted.report(tmp_path / "report.html", title="Brightest third")
    text = (tmp_path / "report.html").read_text()
    assert "8x8x1, float32" in text
    assert "3 classes: 0, 1, 2" in text
    assert f"{fitted.model_.count_params():,}" in text
    for layer in fitted.model_.layers:
        assert layer.name in text
    seconds = fitted._account.seconds
    assert 0 < seconds["training"] + seconds["surgery"] <= seconds["total"] == fitted.seconds_


def test_parameter_that_cannot_be_written_does_no_harm(tmp_path):
    class Secretive(keras.callbacks.Callback):
        def __repr__(self):
            raise RuntimeError("not telling")

    trainer = ECToNASTrainer(dense_model(), **{**KNOBS, "budget": 1}, callbacks=[Secretive()]).fit(*table())
    trainer.report(tmp_path / "report.html")
    assert "Secretive instance" in (tmp_path / "report.html").read_text()


def test_records_are_every_look_at_every_candidate(fitted):
    assert set(fitted.records_["candidate"]) == set(fitted.candidates_["id"])
    assert set(fitted.pareto_front_["score"]) <= set(fitted.records_["score"])


DISPLAYS = [LineageDisplay, ParetoFrontDisplay, FamilyTreeDisplay, MutationDisplay]


@pytest.fixture
def pyplot():
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("display_class", DISPLAYS)
def test_displays_draw_on_axes_or_make_their_own(display_class, fitted, pyplot):
    _, ax = pyplot.subplots()
    given = display_class.from_estimator(fitted, ax=ax)
    assert given.ax_ is ax
    own = display_class.from_estimator(fitted)
    assert own.figure_ is own.ax_.figure
    assert own.ax_ is not ax
    own.figure_.canvas.draw()
    assert own.ax_.get_xlabel()


def test_lineage_display_shows_scores_sizes_and_changes(pyplot):
    trainer = finished_trainer(budget=200)
    display = LineageDisplay.from_estimator(trainer, color="red")
    line = display.ax_.lines[0]
    assert line.get_color() == "red"
    assert line.get_ydata()[-1] == trainer.search.winner().records[-1].score
    assert display.params_ax_.lines[0].get_ydata()[-1] == trainer.lineage_[-1].n_params
    changes = [entry.description for entry in trainer.lineage_[1:] if entry.mutation != "identity"]
    assert changes
    assert [text.get_text() for text in display.ax_.texts] == [str(number) for number in range(1, len(changes) + 1)]
    assert [" ".join(text.get_text().split()) for text in display.ax_.get_legend().get_texts()] == changes


def test_front_display_shows_everybody(pyplot):
    trainer = finished_trainer()
    display = ParetoFrontDisplay.from_estimator(trainer)
    drawn = sum(len(collection.get_offsets()) for collection in display.ax_.collections)
    scored = sum(score is not None for score in trainer.candidates_["score"])
    assert drawn == scored + len(trainer.pareto_front_.members)
    assert display.ax_.get_xscale() == "log"


def test_names_are_no_formulas(pyplot):
    from keras_ectonas.fitness import Objective

    trainer = finished_trainer(objective=Objective("$\\frac{"))
    for display_class in DISPLAYS:
        display_class.from_estimator(trainer).figure_.canvas.draw()


def test_displays_of_the_unfitted():
    with pytest.raises(NotFittedError, match="ECToNASClassifier has not searched yet"):
        LineageDisplay.from_estimator(ECToNASClassifier())


def test_displays_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r'matplotlib is needed .*pip install "keras-ectonas\[plot\]"'):
        LineageDisplay.from_estimator(finished_trainer())


UNUSED = """
import sys
import keras, sklearn.base, sklearn.metrics, sklearn.model_selection, joblib
before = set(sys.modules)
sys.path.insert(0, {tests!r})
from models import dense_model, table
import keras_ectonas
keras_ectonas.ECToNASTrainer(dense_model(), budget=2, random_state=0, verbose=0, max_children=2).fit(*table())
new = set(sys.modules) - before
optional = ("rich", "matplotlib", "pandas", "polars", "IPython", "tqdm", "keras_ectonas.report")
found = sorted(name for name in new if any(name == room or name.startswith(room + ".") for room in optional))
sys.stdout.write(", ".join(found))
"""


def test_it_costs_nothing_where_it_is_not_used(tmp_path):
    program = UNUSED.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tmp_path.iterdir()) == []

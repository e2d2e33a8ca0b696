"""Data that come in batches: what is read, held out, trained on and refused."""

import itertools

import keras
import numpy as np
import pytest
from models import dense_model, table
from test_backends import needs, run

from keras_ectonas import ECToNASCallback, ECToNASClassifier, ECToNASRegressor, ECToNASTrainer
from keras_ectonas.engines.batches import batches_for
from keras_ectonas.errors import InputError
from keras_ectonas.inputs import streams
from keras_ectonas.inputs.data import TrainingData
from keras_ectonas.inputs.incoming import incoming
from keras_ectonas.inputs.sources import source_of
from keras_ectonas.inputs.task import Task

QUICK = {"budget": 2, "verbose": 0, "random_state": 0, "max_children": 2, "n_parents": 1, "epochs_per_match": 0.5}
PARAMETERS = {"model": None, "batch_size": 32, "validation_fraction": 0.25}
VALUES = Task("value")


class DataSet(keras.utils.PyDataset):
    """Batches of a table; `shuffles` draws another order at each epoch's end."""

    def __init__(self, x, y, weights=None, batch=8, shuffles=False):
        super().__init__()
        self.x, self.y, self.weights, self.batch, self.shuffles = x, y, weights, batch, shuffles
        self.order, self.n_ends = np.arange(len(x)), 0

    def __len__(self):
        return -(-len(self.x) // self.batch)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        batch = self.x[chosen], self.y[chosen]
        return batch if self.weights is None else (*batch, self.weights[chosen])

    def on_epoch_end(self):
        self.n_ends += 1
        if self.shuffles:
            self.order = np.random.default_rng(self.n_ends).permutation(len(self.x))


def numbered(n=80, **options):
    x = np.arange(n, dtype="float32")[:, None]
    return DataSet(x, x[:, 0], **options)


def endless(x, y, batch=8):
    for start in itertools.cycle(range(0, len(x) - batch + 1, batch)):
        yield x[start : start + batch], y[start : start + batch]


def received(data, **options):
    return incoming(PARAMETERS, None, data, None, None, options.pop("validation_data", None), **options)


def test_small_data_sets_become_arrays():
    rows = received(numbered())
    assert rows.reading is None
    assert rows.batch_size == 8
    np.testing.assert_array_equal(rows.x[:, 0], np.arange(80))
    data = rows.training_data(VALUES, 0.25, None, 0)
    assert (len(data.train), len(data.validation), data.stream, data.steps_per_epoch) == (60, 20, None, 8)


def test_a_data_set_that_is_too_large_is_read_again_and_again(monkeypatch):
    monkeypatch.setattr(streams, "IN_MEMORY", 200)
    source = numbered()
    data = received(source).training_data(VALUES, 0.25, None, 0)
    held_out = set(data.validation.x[:, 0])
    # A quarter of ten batches, of which as many are kept as the limit allows.
    assert 0 < len(held_out) * 8 <= 200
    assert len(data.train) == 80 - len(held_out)
    assert data.steps_per_epoch == data.stream.n_batches == 10 - len(held_out) / 8
    one_pass = [x[:, 0] for x, _ in itertools.islice(data.stream.batches(0), data.stream.n_batches)]
    assert set(np.concatenate(one_pass)) == set(range(80)) - held_out
    later = [x[:, 0] for x, _ in itertools.islice(data.stream.batches(3), data.stream.n_batches)]
    np.testing.assert_array_equal(later[0], one_pass[3])
    np.testing.assert_array_equal(later[-1], one_pass[2])


def test_a_job_goes_on_where_its_lineage_stopped(monkeypatch):
    monkeypatch.setattr(streams, "IN_MEMORY", 0)
    rows = received(numbered(), validation_data=(np.ones((4, 1)), np.ones(4)))
    data = rows.training_data(VALUES, 0.25, None, 0)
    assert isinstance(data, TrainingData)
    batches = batches_for(data, 4, seed=0, first_step=18)
    # Keras looks at batches, twice, before training begins.
    looked_at = [float(batches[index][0][0, 0]) for index in (0, 0, 1)]
    drawn = []
    for epoch in (5, 6):
        batches.begin(epoch)
        drawn.append([float(batches[index][0][0, 0]) for index in range(len(batches))])
    assert drawn == [[64, 72, 0, 8], [16, 24, 32, 40]]
    assert looked_at == [64, 64, 72]


def test_the_rows_to_look_at_come_from_everywhere(monkeypatch):
    monkeypatch.setattr(streams, "IN_MEMORY", 0)
    monkeypatch.setattr(streams, "_SAMPLE_ROWS", 32)
    rows = received(numbered(800), validation_data=(np.ones((4, 1)), np.ones(4)))
    assert len(rows.x) <= 32
    assert rows.x.max() > 500
    assert rows.x.min() < 100


def test_weights_come_with_the_batches():
    x, y = table(64, n_classes=2)
    weights = np.where(y == 0, 1.0, 0.5).astype("float32")
    rows = received(DataSet(x, y, weights))
    np.testing.assert_array_equal(rows.weights, weights)
    counted = rows.training_data(Task("index", np.arange(2)), 0.25, {0: 2.0, 1: 4.0}, 0).train
    np.testing.assert_array_equal(counted.weights, 2.0)


@pytest.mark.parametrize("how", ["arrays", "batches", "shuffled", "generator"])
def test_fit_takes_batches(how, monkeypatch):
    x, y = table()
    held_out = (x[:20], y[:20])
    arguments = {
        "arrays": {},
        "batches": {},
        "shuffled": {"validation_data": DataSet(*held_out)},
        "generator": {"steps_per_epoch": 6, "validation_data": endless(*held_out), "validation_steps": 2},
    }[how]
    monkeypatch.setattr(streams, "IN_MEMORY", 1500 if how == "batches" else 100_000)
    trainer = ECToNASTrainer(dense_model(), engine="fit", **QUICK)
    trainer.fit(endless(x, y) if how == "generator" else DataSet(x, y, shuffles=how == "shuffled"), **arguments)
    assert 0 < trainer.n_epochs_ <= 2
    assert trainer.n_features_in_ == 8
    assert trainer.predict(x).shape == y.shape
    assert not any(trainer.candidates_["remark"])
    if how == "batches":
        again = ECToNASTrainer(dense_model(), **QUICK).fit(DataSet(x, y))
        for weight, twin in zip(again.model_.get_weights(), trainer.model_.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, twin)


def test_labels_are_found_wherever_they_are(monkeypatch):
    monkeypatch.setattr(streams, "IN_MEMORY", 0)
    monkeypatch.setattr(streams, "_SAMPLE_ROWS", 16)
    x, y = table(96)
    order = np.argsort(y, kind="stable")
    names = np.array(["a", "b", "c"])[y[order]]
    classifier = ECToNASClassifier(class_weight="balanced", **QUICK)
    classifier.fit(DataSet(x[order], names), validation_data=(x[:20], np.array(["a", "b", "c"])[y[:20]]))
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    assert set(classifier.predict(x)) <= {"a", "b", "c"}


def test_values_in_batches(monkeypatch):
    monkeypatch.setattr(streams, "IN_MEMORY", 0)
    x, _ = table(64)
    regressor = ECToNASRegressor(**QUICK)
    regressor.fit(DataSet(x, x[:, :1]), validation_data=(x[:16], x[:16, 0]))
    assert regressor.predict(x).shape == (64,)


def test_tensorflow_and_torch_data_sets_without_their_backend():
    torch = pytest.importorskip("torch")
    tensorflow = pytest.importorskip("tensorflow")
    x, y = table(40)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=8)
    data_set = tensorflow.data.Dataset.from_tensor_slices((x, y)).batch(8)
    for data in (loader, data_set):
        rows = received(data)
        np.testing.assert_array_equal(rows.x, x)
        np.testing.assert_array_equal(rows.labels, y)
    names = tensorflow.data.Dataset.from_tensor_slices((x, np.array(["é", "b"])[y % 2])).batch(8)
    assert set(received(names).labels) == {"é", "b"}
    shuffled = data_set.shuffle(5)
    with pytest.raises(InputError, match="gives other batches each time that it is read"):
        received(shuffled)
    rows = received(shuffled, validation_data=shuffled)
    assert rows.reading.n_batches == 5
    with pytest.raises(InputError, match="steps_per_epoch=None"):
        received(data_set.repeat())
    rows = received(data_set.repeat(), steps_per_epoch=3)
    assert rows.reading.n_batches == 3


def test_tensorflow_tunes_no_pass_and_the_data_set_stays_as_it_is():
    """The thread that tunes takes a second to end, with every pass."""
    tensorflow = pytest.importorskip("tensorflow")
    data_set = tensorflow.data.Dataset.range(6).batch(2)
    source = source_of(data_set)
    assert [batch.tolist() for batch in source.passing(1)] == [[2, 3], [4, 5]]
    assert source._data.options().autotune.enabled is False
    assert data_set.options().autotune.enabled is not False


def test_callback_takes_a_data_set():
    x, y = table()
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = DataSet(x, y)
    search = ECToNASCallback(data, **QUICK)
    model.fit(data, epochs=1, callbacks=[search], verbose=0)
    assert search.lineage_[0].epoch > 0
    assert model.count_params() == search.lineage_[-1].n_params


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [ECToNASTrainer, ECToNASClassifier])
def test_predictions_and_scores_of_data_sets(kind, weighted, monkeypatch):
    monkeypatch.setattr(streams, "_ROWS_AT_ONCE", 30)
    x, y = table()
    weights = np.linspace(0, 3, len(x)) if weighted else None
    estimator = kind(dense_model(), **QUICK).fit(x, y)
    data = DataSet(x, y, weights)
    np.testing.assert_array_equal(estimator.predict(data), estimator.predict(x))
    np.testing.assert_allclose(estimator.predict_proba(data), estimator.predict_proba(x), atol=1e-6)
    # Another order with each pass.
    assert estimator.score(DataSet(x, y, weights, shuffles=True)) == pytest.approx(estimator.score(x, y, weights))


class Samples(DataSet):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


def test_predictions_of_samples_without_targets():
    x, y = table()
    regressor = ECToNASRegressor(**QUICK).fit(x, x[:, 0])
    np.testing.assert_allclose(regressor.predict(Samples(x, y)), regressor.predict(x), rtol=1e-6)
    assert regressor.score(DataSet(x, x[:, 0])) == pytest.approx(regressor.score(x, x[:, 0]))
    for data, message in [
        (endless(x, y), "X is a generator or has no end"),
        (DataSet(x[:0], y[:0]), "X holds no batch"),
        (DataSet(x[:, :7], y), "expecting 8 features"),
    ]:
        for method in (regressor.predict, regressor.score):
            with pytest.raises(InputError, match=message):
                method(data)
    with pytest.raises(InputError, match="expected tuples"):
        regressor.score(Samples(x, y))
    with pytest.raises(InputError, match="come with the batches of X"):
        regressor.score(DataSet(x, y), y)


NATIVE = """
    import json
    import keras
    import numpy as np
    from models import dense_model, table
    from keras_ectonas import ECToNASTrainer

    x, y = table(64)
    if keras.backend.backend() == "tensorflow":
        import tensorflow
        data = tensorflow.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(16)
    else:
        import torch
        rows = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
        data = torch.utils.data.DataLoader(rows, batch_size=16, shuffle=True)
    trainer = ECToNASTrainer(
        dense_model(), budget=2, verbose=0, max_children=2, n_parents=1, random_state=0,
        callbacks=[keras.callbacks.EarlyStopping("val_loss"), keras.callbacks.CSVLogger("log.csv")],
    ).fit(data, validation_data=data)
    score = [trainer.score(data), trainer.score(x, y), len(trainer.predict(data))]
    print(json.dumps([trainer.n_epochs_, [r for r in trainer.candidates_["remark"] if r], score]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", [needs("tensorflow"), needs("torch")])
def test_data_sets_of_the_backend(backend, tmp_path):
    spent, remarks, (score, of_rows, n_rows) = run(NATIVE, tmp_path, KERAS_BACKEND=backend)
    assert score == pytest.approx(of_rows)
    assert n_rows == 64
    assert 0 < spent <= 2
    assert not remarks
    assert (tmp_path / "log_0.csv").exists()


X, Y = table(40)


def several_inputs():
    while True:
        yield {"a": X[:8], "b": X[:8]}, Y[:8]


def of_several_shapes():
    for width in itertools.cycle((3, 5)):
        yield np.ones((4, width, 2)), np.ones(4)


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (lambda: DataSet(X, Y), {"y": Y}, "y and sample_weight come with the batches"),
        (lambda: endless(X, Y), {}, "steps_per_epoch=None: data without an end"),
        (lambda: endless(X, Y), {"steps_per_epoch": 3}, "a generator's batches cannot be held out"),
        (lambda: endless(X, Y), {"steps_per_epoch": 0, "validation_data": (X, Y)}, "steps_per_epoch=0: expected"),
        (lambda: iter_once(2), {"steps_per_epoch": 3, "validation_data": (X, Y)}, "X ended after 2 batches"),
        (lambda: X, {"y": Y, "steps_per_epoch": 3}, "steps_per_epoch is for data that come in batches"),
        (lambda: DataSet(X, Y, shuffles=True), {}, "gives other batches each time"),
        (lambda: DataSet(X[:0], Y[:0]), {}, "X holds no batch"),
        (lambda: DataSet(X[:, 0], Y), {}, r"X gives samples of shape \(8,\)"),
        (lambda: DataSet(X[:, :7], Y), {}, r"X has rows of shape \(7,\), the model expects"),
        (lambda: DataSet(np.where(X > 1, np.nan, X), Y), {}, "Input X contains NaN"),
        (several_inputs, {"steps_per_epoch": 2, "validation_data": (X, Y)}, "expected tuples"),
        (of_several_shapes, {"steps_per_epoch": 2, "validation_data": (X, Y)}, "rows of several shapes"),
        (lambda: X, {"y": Y, "validation_data": endless(X, Y)}, "validation_steps=None"),
    ],
)
def test_wrong_batches_are_refused(data, arguments, message):
    with pytest.raises(InputError, match=message):
        ECToNASTrainer(dense_model(), **QUICK).fit(data(), **arguments)


def iter_once(n):
    yield from ((X[:8], Y[:8]) for _ in range(n))


def test_a_generator_that_ends_is_told(caplog):
    data = iter_once(5)
    with pytest.raises(Exception, match="generator without an end"):
        ECToNASTrainer(dense_model(), **QUICK).fit(data, steps_per_epoch=5, validation_data=(X, Y))


def test_few_batches_cannot_be_held_out(monkeypatch):
    monkeypatch.setattr(streams, "IN_MEMORY", 1)
    with pytest.raises(InputError, match="of 1 batches, validation_fraction leaves none"):
        ECToNASTrainer(dense_model(), **QUICK).fit(DataSet(X, Y, batch=40))


class Drawn(DataSet):
    """Batches at random, from NumPy's global generator."""

    drawn = None

    def __getitem__(self, index):
        rows = np.random.randint(0, len(self.x), 16)
        self.drawn.append(tuple(rows))
        return self.x[rows], self.y[rows]


@pytest.mark.parametrize("kind", ["data set", "generator"])
def test_what_is_drawn_from_the_global_generator_never_comes_again(kind):
    x, y = table(200)

    model = dense_model()

    def fitted(drawn):
        data = Drawn(x, y)
        data.drawn = drawn
        batches = data if kind == "data set" else (data[0] for _ in itertools.count())
        np.random.seed(3)
        before = np.random.get_state()[1].copy()
        knobs = {**QUICK, "budget": 6}
        trainer = ECToNASTrainer(model, **knobs).fit(
            batches, steps_per_epoch=None if kind == "data set" else 10, validation_data=(x, y)
        )
        np.testing.assert_array_equal(np.random.get_state()[1], before)
        return trainer

    first, second = [], []
    one, two = fitted(first), fitted(second)
    assert len(first) > 60
    assert len(set(first)) == len(first)
    assert first == second
    assert one.lineage_ == two.lineage_


def test_a_shuffled_data_set_is_known_again(tmp_path):
    x, y = table(200)

    class Shuffled(DataSet):
        def on_epoch_end(self):
            order = np.random.default_rng().permutation(len(self.x))
            self.x, self.y = self.x[order], self.y[order]

    knobs = {**QUICK, "warm_start": True, "checkpoint": tmp_path / "search"}
    data = Shuffled(x, y)
    trainer = ECToNASTrainer(dense_model(), **knobs).fit(data, validation_data=(x[:40], y[:40]))
    spent = trainer.n_epochs_
    assert trainer.fit(data, validation_data=(x[:40], y[:40])).n_epochs_ > spent
    with pytest.raises(InputError, match="data"):
        trainer.fit(data, validation_data=(x[:39], y[:39]))
    again = ECToNASTrainer(dense_model(), **{**knobs, "budget": 20, "warm_start": False}, resume=True)
    assert again.fit(Shuffled(x, y), validation_data=(x[:40], y[:40])).n_epochs_ > trainer.n_epochs_


def test_a_loader_that_shuffles_leaves_the_users_generator_alone():
    torch = pytest.importorskip("torch")
    x, y = table(200)
    rows = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = torch.utils.data.DataLoader(rows, batch_size=16, shuffle=True)
    model = dense_model()

    def fitted():
        torch.manual_seed(3)
        before = torch.get_rng_state()
        trainer = ECToNASTrainer(model, **QUICK).fit(loader, validation_data=(x, y))
        assert torch.equal(torch.get_rng_state(), before)
        return trainer

    for weight, twin in zip(fitted().model_.get_weights(), fitted().model_.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, twin)

"""The search inside ``model.fit``."""

import keras
import numpy as np
import pytest
from models import dense_model, table

from keras_ectonas import ECToNASCallback
from keras_ectonas.errors import InputError


def callback_model():
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_callback_leaves_the_winner_in_the_model(tmp_path):
    x, y = table()
    model = callback_model()
    search = ECToNASCallback(x, y, budget=30, verbose=0, random_state=0, max_children=4)
    history = model.fit(x, y, epochs=3, callbacks=[search], verbose=0)
    assert len(history.epoch) == 3
    assert model.count_params() == search.lineage_[-1].n_params
    assert search.n_epochs_ <= 30
    assert search.lineage_[0].epoch > 2
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.5
    first = keras.Model(model.inputs, model.layers[0].output)
    kernel, bias = model.layers[0].get_weights()
    np.testing.assert_allclose(first.predict(x, verbose=0), np.maximum(x @ kernel + bias, 0), atol=1e-5)
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize(("place", "own_history"), [(0, False), (1, False), (2, True)])
def test_callback_searches_when_the_others_have_ended(place, own_history):
    x, y = table()
    model = callback_model()
    search = ECToNASCallback(x, y, budget=8, verbose=0, random_state=0, max_children=4, validation_data=(x, y))
    # It puts the weights of its best epoch into the model when it ends.
    stopping = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    callbacks = [keras.callbacks.History()] * own_history + [stopping]
    callbacks.insert(place, search)
    history = model.fit(x, y, epochs=3, callbacks=callbacks, verbose=0)
    assert len(history.epoch) == 3
    assert "on_train_end" not in vars(history)
    assert model.count_params() == search.lineage_[-1].n_params
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == pytest.approx(search.best_score_, abs=0.02)


def test_callback_counts_the_epochs_of_fit_whatever_its_batches():
    x, y = table()
    model = callback_model()
    search = ECToNASCallback(x, y, budget=4, verbose=0, random_state=0, max_children=4, validation_data=(x, y))
    model.fit(x, y, epochs=3, batch_size=8, callbacks=[search], verbose=0)
    assert search.lineage_[0].epoch == 3


def test_callback_of_a_list_without_a_history():
    x, y = table()
    model = callback_model()
    model.fit(x, y, verbose=0)
    search = ECToNASCallback(x, y, budget=4, verbose=0, random_state=0, max_children=4)
    model.fit(x, y, verbose=0, callbacks=keras.callbacks.CallbackList([search], model=model, epochs=1))
    assert model.count_params() == search.lineage_[-1].n_params


def test_callback_takes_weights_of_rows():
    x, y = table(n_classes=2)
    # Of the rows of one class nobody knows the label.
    labels, weights = np.where(y == 0, 0, np.arange(len(y)) % 2), np.where(y == 0, 1.0, 0.01)
    model = callback_model()
    search = ECToNASCallback(x, labels, (x, labels, weights), weights, budget=8, verbose=0, random_state=0)
    model.fit(x, labels, epochs=3, callbacks=[search], verbose=0, sample_weight=weights)
    assert search.best_score_ > 0.95


class Endless(keras.utils.PyDataset):
    """Batches of 16 rows, again and again."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        rows = np.arange(16 * index, 16 * (index + 1)) % len(self.x)
        return self.x[rows], self.y[rows]


def test_data_without_an_end_have_epochs_as_long_as_those_of_fit():
    x, y = table(96)
    model = callback_model()
    search = ECToNASCallback(Endless(x, y), validation_data=(x, y), budget=5, verbose=0, random_state=0, max_children=2)
    model.fit(Endless(x, y), epochs=2, steps_per_epoch=4, shuffle=False, callbacks=[search], verbose=0)
    assert search.lineage_[0].epoch == 2
    assert search.n_epochs_ == 5
    assert sum(search.candidates_["epochs"]) == pytest.approx(5)


def test_a_generator_is_refused_before_fit_takes_from_it():
    x, y = table(96)
    batches, model = ((x[:16], y[:16]) for _ in iter(int, 1)), callback_model()
    before = model.get_weights()
    with pytest.raises(InputError, match="x is a generator, whose batches go to fit"):
        model.fit(batches, steps_per_epoch=4, shuffle=False, callbacks=[ECToNASCallback(batches, budget=5)], verbose=0)
    for weight, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)

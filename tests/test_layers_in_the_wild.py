"""Every row of the README's table of layers: what a search may do to them, and what it leaves as it is."""

import pickle
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl

from keras_ectonas import ECToNASTrainer
from keras_ectonas.bridge import Blueprint, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.errors import InputError, SurgeryError
from keras_ectonas.mutations import MUTATIONS
from keras_ectonas.rules import Role, role_of
from keras_ectonas.settings import SearchSettings
from keras_ectonas.start import own_copy
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery
from keras_ectonas.surgery.cells import insertion_axes
from keras_ectonas.surgery.walk import consumer_path

RNG = np.random.default_rng(0)
SHAPES = {"table": (6,), "series": (8, 3), "image": (6, 6, 2), "volume": (4, 4, 4, 1), "words": (5,), "vectors": (6,)}


@keras.saving.register_keras_serializable("wild")
class Attention(kl.Layer):
    """A layer of one's own, whose configuration holds no name."""

    def __init__(self):
        super().__init__()
        self.attention = kl.MultiHeadAttention(2, 3)

    def build(self, shape):
        self.attention.build(shape, shape)
        super().build(shape)

    def call(self, x):
        return self.attention(x, x)

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable("wild")
def wave(x):
    return keras.ops.sin(x)


def convolved(layer, **options):
    return "image", [kl.Conv2D(4, 3, padding="same", activation="relu", name="before", **options), layer, kl.Flatten()]


def tabled(*layers):
    return "table", [kl.Dense(5, activation="relu", name="before"), *layers]


def series(*layers):
    return "series", [kl.Conv1D(4, 3, padding="same", name="before"), *layers, kl.Flatten()]


def volume(*layers):
    return "volume", [kl.Conv3D(3, 2, padding="same", activation="relu", name="before"), *layers, kl.Flatten()]


CHANGED = {
    "Dense": lambda: tabled(kl.Dense(4, activation="gelu", kernel_regularizer="l2", kernel_constraint="non_neg")),
    "Conv1D": lambda: series(kl.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="tanh")),
    "Conv2D": lambda: convolved(kl.Conv2D(3, 3, strides=2, padding="same", activation="relu")),
    "Conv3D": lambda: volume(kl.Conv3D(2, 2, use_bias=False)),
}
CARRIED = {
    "BatchNormalization": lambda: convolved(kl.BatchNormalization()),
    "PReLU": lambda: convolved(kl.PReLU(shared_axes=[1, 2])),
    "Activation": lambda: tabled(kl.Activation("silu")),
    "ReLU": lambda: tabled(kl.ReLU(max_value=4, negative_slope=0.1)),
    "LeakyReLU": lambda: tabled(kl.LeakyReLU(negative_slope=0.1)),
    "ELU": lambda: tabled(kl.ELU(alpha=0.7)),
    "ActivityRegularization": lambda: tabled(kl.ActivityRegularization(l2=0.1)),
    "Flatten": lambda: ("image", [kl.Conv2D(4, 3, name="before"), kl.Flatten()]),
    "Reshape": lambda: ("image", [kl.Conv2D(4, 3, name="before"), kl.Reshape((16, 4)), kl.Flatten()]),
    "ZeroPadding1D": lambda: series(kl.ZeroPadding1D(1)),
    "ZeroPadding2D": lambda: convolved(kl.ZeroPadding2D(1)),
    "UpSampling1D": lambda: series(kl.UpSampling1D(2)),
    "UpSampling2D": lambda: convolved(kl.UpSampling2D(2)),
    "SpatialDropout1D": lambda: series(kl.SpatialDropout1D(0.2)),
    "SpatialDropout2D": lambda: convolved(kl.SpatialDropout2D(0.2)),
    "SpatialDropout3D": lambda: volume(kl.SpatialDropout3D(0.2)),
    **{name: lambda name=name: tabled(getattr(kl, name)(0.2)) for name in
       ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")},
    **{f"{how}Pooling{axes}D": lambda how=how, axes=axes, make=make: make(getattr(kl, f"{how}Pooling{axes}D")(2))
       for how in ("Average", "Max") for axes, make in ((1, series), (2, convolved), (3, volume))},
    **{f"Global{how}Pooling{axes}D": lambda how=how, axes=axes, make=make:
       make(getattr(kl, f"Global{how}Pooling{axes}D")())
       for how in ("Average", "Max") for axes, make in ((1, series), (2, convolved))},
}  # fmt: skip
WALLS = {
    "Rescaling": lambda: convolved(kl.Rescaling(0.5, offset=0.1)),
    "Normalization": lambda: tabled(kl.Normalization(mean=[0.1] * 5, variance=[2.0] * 5)),
    "Embedding": lambda: ("words", [kl.Embedding(20, 4), kl.Conv1D(4, 3, activation="relu"), kl.Flatten()]),
    "LayerNormalization": lambda: tabled(kl.LayerNormalization()),
    "GroupNormalization": lambda: convolved(kl.GroupNormalization(2)),
    "UnitNormalization": lambda: tabled(kl.UnitNormalization()),
    "DepthwiseConv2D": lambda: convolved(kl.DepthwiseConv2D(3)),
    "SeparableConv2D": lambda: convolved(kl.SeparableConv2D(3, 3)),
    "Conv2DTranspose": lambda: convolved(kl.Conv2DTranspose(3, 3)),
    "Cropping2D": lambda: convolved(kl.Cropping2D(1)),
    "LSTM": lambda: ("series", [kl.Conv1D(4, 3, name="before"), kl.LSTM(4), kl.Dense(4, activation="relu")]),
    "GRU": lambda: ("series", [kl.Conv1D(4, 3, name="before"), kl.GRU(4), kl.Dense(4, activation="relu")]),
    "Bidirectional": lambda: ("series", [kl.Conv1D(4, 3, name="before"), kl.Bidirectional(kl.GRU(3))]),
    "TimeDistributed": lambda: series(kl.TimeDistributed(kl.Dense(3))),
    "EinsumDense": lambda: tabled(kl.EinsumDense("bi,ij->bj", output_shape=4, bias_axes="j")),
    "SpectralNormalization": lambda: tabled(kl.SpectralNormalization(kl.Dense(4))),
    "Lambda": lambda: tabled(kl.Lambda(lambda values: 2 * values)),
    "Softmax": lambda: tabled(kl.Softmax()),
    "RandomFlip": lambda: convolved(kl.RandomFlip(seed=0)),
    "Masking": lambda: ("series", [kl.Conv1D(4, 3, name="before"), kl.Masking(), kl.LSTM(4)]),
    "RepeatVector": lambda: tabled(kl.RepeatVector(3), kl.Flatten()),
    "models inside the model": lambda: convolved(keras.Sequential([kl.Conv2D(3, 3, activation="relu")])),
    "layers of your own": lambda: series(Attention()),
    "`trainable=False` with weights": lambda: tabled(kl.Dense(4, activation="relu", trainable=False)),
    "`groups` above 1": lambda: convolved(kl.Conv2D(4, 3, groups=2)),
    '`data_format="channels_first"`': lambda: convolved(kl.MaxPooling2D(2, data_format="channels_first")),
    "activations of your own": lambda: tabled(kl.Dense(4, activation=wave)),
}
ROWS = {**CHANGED, **CARRIED, **WALLS}
IN_SEARCHES = (
    "Conv2D",
    "BatchNormalization",
    "Embedding",
    "LSTM",
    "layers of your own",
    "`trainable=False` with weights",
)


@pytest.fixture(autouse=True)
def drawn_in_numpy(monkeypatch):
    """JAX compiles a program for each shape that weights are drawn in."""

    def drawn(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.random.default_rng(1).normal(size=shape) / 2, dtype=dtype)

    for initializer in (keras.initializers.GlorotUniform, keras.initializers.Orthogonal):
        monkeypatch.setattr(initializer, "__call__", drawn)


def built(name):
    """The row's model, with rows for it."""
    keras.utils.set_random_seed(1)
    shape, layers = ROWS[name]()
    dtype = "int32" if shape == "words" else "float32"
    model = keras.Sequential(
        [keras.Input(SHAPES[shape], dtype=dtype), *layers, kl.Dense(3, activation="softmax", name="output")]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = RNG.integers(0, 20, (24, *SHAPES[shape])) if shape == "words" else RNG.normal(size=(24, *SHAPES[shape]))
    return model, x.astype(dtype)


def children_of(network, surgeon):
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            try:
                yield mutation, site, mutation.apply(network, site, surgeon, np.random.default_rng(0)).network
            except SurgeryError:
                continue


def test_the_table_names_every_row():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = [line.split("|")[1:3] for line in readme.splitlines() if line.startswith("| ")]
    cells = {what.strip(): names for names, what in table if what.strip() != "In a search"}
    for rows, start in ((CHANGED, "added, removed"), (CARRIED, "one weight|what stands"), (WALLS, "walls")):
        named = ", ".join(names for what, names in cells.items() if re.match(start, what))
        for name in rows:
            assert f"`{name}`" in named or name in named, name
        classes = {name for name in re.findall(r"`(\w+)`", named) if hasattr(kl, name)}
        assert classes == {name for name in rows if hasattr(kl, name)}


@pytest.mark.parametrize("name", ROWS)
def test_a_search_may_do_what_the_table_says(name):
    model, x = built(name)
    twin = own_copy(model, x)
    network, blueprint = network_of(twin), Blueprint.of(twin, Compilation.of(model))
    row = next(k for k, layer in enumerate(network.layers) if layer.name != "before" or name == "Embedding")
    path = consumer_path(network, row - 1) if row else None
    if name in WALLS:
        wall = "activations" not in name
        assert role_of(network.layers[row]) is (Role.WALL if wall else Role.PRODUCER)
        assert path is None if wall else consumer_path(network, row) is None
    else:
        assert path is not None
    kinds, left_alone = set(), {layer.name: layer for layer in network.layers if role_of(layer) is Role.WALL}
    child = network
    looks = name in CHANGED or name in IN_SEARCHES
    surgeon = CalibratedSurgery(x, 0, blueprint.layer_output) if looks else PublishedSurgery()
    for mutation, site, changed in children_of(network, surgeon):
        kinds.add((mutation.name, site.layer))
        kept = {layer.name: layer for layer in changed.layers}
        assert all(kept[wall] is layer for wall, layer in left_alone.items())
        child = changed if changed.n_params != network.n_params else child
    grown = {layer for kind, layer in kinds if kind in ("add_units", "add_channels")}
    assert len({kind for kind, _ in kinds}) >= 2
    assert (row in grown) == (name in CHANGED)
    assert (row - 1 in grown) == (name not in WALLS or name == "activations of your own")
    assert child is not network
    made = blueprint.uncompiled(child)
    assert made.output_shape == (None, 3)
    assert child.is_finite()
    if looks:
        assert np.isfinite(np.asarray(made(x, training=False))).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_SEARCHES)
def test_winners_of_searches_are_what_is_saved(name, tmp_path):
    model, x = built(name)
    knobs = {
        "budget": 6,
        "final_share": 0,
        "verbose": 0,
        "max_children": 5,
        "n_parents": 1,
        "random_state": 0,
        "keep_weights": True,
    }
    trainer = ECToNASTrainer(model, selection="random", **knobs).fit(x, np.arange(24) % 3)
    assert not any(trainer.candidates_["remark"])
    assert len(trainer.lineage_) > 1
    trainer.model_.save(tmp_path / "winner.keras")
    twin = keras.models.load_model(tmp_path / "winner.keras")
    np.testing.assert_allclose(twin.predict(x, verbose=0), trainer.model_.predict(x, verbose=0), atol=1e-6)
    frozen = {layer.name: layer.get_weights() for layer in model.layers if not layer.trainable}
    for layer in trainer.model_.layers:
        for weight, old in zip(layer.get_weights(), frozen.get(layer.name, layer.get_weights()), strict=True):
            np.testing.assert_array_equal(weight, old)


ODD = {
    "mixed precision": lambda: ((6,), "float32", [kl.Dense(5, activation="relu", dtype="mixed_float16")], None),
    "half precision": lambda: ((6,), "float16", [kl.Dense(5, activation="relu", dtype="float16")], None),
    "bfloat16": lambda: ((6,), "bfloat16", [kl.Dense(5, activation="relu", dtype="bfloat16")], None),
    "bytes": lambda: ((4, 4, 1), "uint8", [kl.Rescaling(1 / 255), kl.Conv2D(3, 3, activation="relu"), kl.Flatten()],
                      None),
    "unknown size": lambda: ((4, 4, 2), "float32", [kl.Conv2D(3, 3, activation="relu"), kl.GlobalMaxPooling2D()],
                             keras.Input((None, None, 2))),
    "batch size": lambda: ((6,), "float32", [kl.Dense(5, activation="relu")], keras.Input(batch_shape=(8, 6))),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_inputs_and_precisions(name):
    shape, dtype, layers, given = ODD[name]()
    inputs = keras.Input(shape, dtype=dtype) if given is None else given
    model = keras.Sequential([inputs, *layers, kl.Dense(3, activation="softmax", dtype="float32")])
    x = RNG.integers(0, 20, (24, *shape)).astype(dtype)
    trainer = ECToNASTrainer(model, budget=2, verbose=0, random_state=0, max_children=2, n_parents=1)
    trainer.fit(x, np.arange(24) % 3)
    assert not any(trainer.candidates_["remark"])
    np.testing.assert_allclose(trainer.predict_proba(x).sum(axis=1), 1, atol=1e-3)


def test_a_search_in_bfloat16_goes_on(tmp_path):
    x = RNG.normal(size=(24, 6)).astype("float32")
    layers = [kl.Dense(5, activation="relu", dtype="bfloat16"), kl.Dense(3, activation="softmax", dtype="float32")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    knobs = {"verbose": 0, "random_state": 0, "max_children": 2, "n_parents": 1, "checkpoint": tmp_path / "search"}
    ECToNASTrainer(model, budget=2, **knobs).fit(x, np.arange(24) % 3)
    trainer = ECToNASTrainer(model, budget=6, resume=True, **knobs).fit(x, np.arange(24) % 3)
    assert trainer.n_epochs_ > 5
    assert trainer.model_.layers[0].kernel.dtype == "bfloat16"


class OwnActivation(kl.Layer):
    def call(self, inputs):
        return keras.ops.tanh(inputs)


def test_selected_models_have_layers_that_the_winner_has_lost():
    x = RNG.normal(size=(24, 6)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), kl.Dense(8), OwnActivation(), kl.Dense(3, activation="softmax")])
    trainer = ECToNASTrainer(model, budget=1, verbose=0, random_state=0).fit(x, np.arange(24) % 3)
    trainer.model_ = keras.Sequential([keras.Input((6,)), kl.Dense(3, activation="softmax")])
    trainer.model_.compile("adam", "sparse_categorical_crossentropy")
    assert any(isinstance(layer, OwnActivation) for layer in trainer.select(within=1.0).layers)


def test_a_registered_class_that_pickle_does_not_find():
    @keras.saving.register_keras_serializable("tests")
    class Local(kl.Layer):
        def call(self, inputs):
            return keras.ops.tanh(inputs)

    x = RNG.normal(size=(24, 6)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), kl.Dense(8), Local(), kl.Dense(3, activation="softmax")])
    trainer = ECToNASTrainer(model, budget=1, verbose=0, random_state=0).fit(x, np.arange(24) % 3)
    twin = pickle.loads(pickle.dumps(trainer))
    assert any(isinstance(layer, Local) for layer in twin.select(within=1.0).layers)


@pytest.mark.parametrize("head", ["activation", "softmax", "logits", "one", "two"])
def test_heads(head):
    x = RNG.normal(size=(24, 6)).astype("float32")
    y = np.array(["no", "yes"])[np.arange(24) % 2]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if head == "logits" else None
    layers = {
        "activation": [kl.Dense(2), kl.Activation("softmax")],
        "softmax": [kl.Dense(2), kl.Softmax()],
        "logits": [kl.Dense(2)],
        "one": [kl.Dense(1, activation="sigmoid")],
        "two": [kl.Dense(2, activation="softmax")],
    }[head]
    model = keras.Sequential([keras.Input((6,)), kl.Dense(4, activation="relu"), *layers])
    trainer = ECToNASTrainer(model, loss=loss, budget=1, verbose=0, max_children=1, n_parents=1).fit(x, y)
    assert trainer.predict_proba(x).shape == (24, 2)
    np.testing.assert_allclose(trainer.predict_proba(x).sum(axis=1), 1, atol=1e-6)
    assert trainer.task_.logits == (head == "logits")
    assert set(trainer.predict(x)) <= {"no", "yes"}


@pytest.mark.filterwarnings("ignore:Layer 'conv1d.*destroy the mask")
@pytest.mark.parametrize(
    "layers",
    [
        lambda: [kl.Embedding(20, 4, mask_zero=True)],
        lambda: [kl.Embedding(20, 4), kl.Masking(), kl.Dense(4, activation="relu")],
        lambda: [keras.Sequential([kl.Embedding(20, 4, mask_zero=True)])],
    ],
)
def test_no_cell_stands_where_a_mask_is_used(layers):
    """Sequences of some words, padded with zeros."""
    model = keras.Sequential([keras.Input((9,)), *layers(), kl.GlobalAveragePooling1D(), kl.Dense(3)])
    network = network_of(model)
    index = next(i for i, layer in enumerate(network.layers) if layer.kind.startswith("Global"))
    assert insertion_axes(network, index, None) is None
    behind = [*layers(), kl.Conv1D(4, 3), kl.GlobalAveragePooling1D(), kl.Dense(3)]
    network = network_of(keras.Sequential([keras.Input((9,)), *behind]))
    assert insertion_axes(network, len(behind) - 2, None) == 1


def twice():
    shared = kl.Dense(6, name="shared")
    return [shared, kl.Dropout(0.1), shared]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (twice, "model holds layer 'shared' twice"),
        (lambda: [kl.Dense(6, activation=keras.ops.sin, name="waves")], "layer 'waves' .*register_keras_serializable"),
    ],
)
def test_what_cannot_be_copied_is_named(layers, message):
    x = RNG.normal(size=(24, 6)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), *layers(), kl.Dense(3, activation="softmax")])
    with pytest.raises(InputError, match=message):
        ECToNASTrainer(model, budget=1, verbose=0).fit(x, np.arange(24) % 3)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("surgeon", ["calibrated", "paper"])
def test_causal_networks_stay_causal(surgeon, nested):
    """What is predicted for a step depends on no later step, whatever weights training may find."""
    causal = {"padding": "causal", "activation": "relu"}
    keras.utils.set_random_seed(1)
    first = kl.Conv1D(4, 3, **causal)
    second = kl.Conv1D(4, 2, dilation_rate=2, **causal)
    middle = [keras.Sequential([first, second])] if nested else [first, second]
    model = keras.Sequential([keras.Input((8, 2)), *middle, kl.Conv1D(1, 1)])
    model.compile("sgd", "mean_squared_error")
    x = RNG.normal(size=(24, 8, 2)).astype("float32")
    later = x.copy()
    later[:, 5:] += 1.0
    blueprint = Blueprint.of(model, Compilation.of(model))
    surgery = PublishedSurgery() if surgeon == "paper" else CalibratedSurgery(x, 0, blueprint.layer_output)
    expected = model.predict(x, verbose=0)
    added = 0
    for mutation, _, child in children_of(network_of(model), surgery):
        changed = blueprint.uncompiled(child)
        added += mutation.name == "add_cell"
        if mutation.name == "add_cell":
            np.testing.assert_allclose(changed.predict(x, verbose=0), expected, atol=1e-4)
        changed.set_weights([RNG.uniform(0.1, 1.0, weight.shape) for weight in changed.get_weights()])
        before, after = (np.asarray(changed(rows)) for rows in (x, later))
        np.testing.assert_allclose(before[:, :5], after[:, :5], atol=1e-4)
        assert not np.allclose(before[:, 5:], after[:, 5:], atol=1e-4)
    assert added >= 1

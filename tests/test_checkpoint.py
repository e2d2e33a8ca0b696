"""A search on disk: whatever ends a process, the search goes on to the very end that it would have had."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from fake_engine import FakeEngine, by_chance, by_kind
from models import dense_model, table
from test_search import dense_start, search_of

from keras_ectonas import ECToNASCallback, ECToNASTrainer, SearchCallback
from keras_ectonas.bridge import network_of
from keras_ectonas.checkpoint import Folder, open_folder
from keras_ectonas.checkpoint import files as files_module
from keras_ectonas.checkpoint.networks import NetworkContent, read_network, write_network
from keras_ectonas.checkpoint.records import CANDIDATE, PLAIN_STATE
from keras_ectonas.checkpoint.values import decoded, encoded
from keras_ectonas.errors import InputError, InputTypeError
from keras_ectonas.lineage import Candidate, EpochRecord, Refusal
from keras_ectonas.network import Layer, Network, Weight
from keras_ectonas.search import Search
from keras_ectonas.search.front import MOST_MEMBERS
from keras_ectonas.search.planning import Plan

IDENTITY = {"random_state": "0", "data": "some"}
QUICK = {"budget": 4, "verbose": 0, "random_state": 0, "max_children": 4, "epochs_per_match": 0.5}


class Learner(FakeEngine):
    """Weights change by chance, and they decide the score: nothing counts but the job."""

    def __init__(self):
        super().__init__(lambda network, step: float(np.abs(network.layers[-1].value("kernel")).sum() % 1))

    def _train_one(self, job):
        layer = job.network.layers[-1]
        change = np.random.default_rng(job.seed).normal(size=layer.value("kernel").shape)
        weight = Weight("kernel", (layer.value("kernel") + change).astype("float32"), {"momentum": change})
        network = job.network.with_layer(len(job.network.layers) - 1, layer.with_weights(weight))
        return super()._train_one(dataclasses.replace(job, network=network))


def everything(search):
    """All that a search came to, to the last bit, but for the time that it took."""
    state = search.state()
    del state["seconds_before"], state["seconds"]
    for name in ("candidates", "front"):
        state[name] = [
            {**vars(one), "network": None if one.network is None else NetworkContent(one.network).fingerprint}
            for one in state[name]
        ]
    return state


def stepped(folder, n_steps, identity=IDENTITY, **knobs):
    """A search in `folder` that stops after `n_steps`, as if its process had been killed."""
    search = search_of(Learner(), **knobs)
    with open_folder(Folder(folder, resume=True), identity) as opened:
        if opened.state is not None:
            search.continue_with(opened.state)
        opened.begin(search.state())
        for _ in range(n_steps):
            if search.done:
                break
            search.step()
            opened.write(search.state())
    return search


# Nothing is left out.


def names(cls):
    return {field.name for field in dataclasses.fields(cls)}


GIVEN = {
    "start",
    "settings",
    "objective",
    "surgery",
    "ledger",
    "seed",
    "train",
    "start_step",
    "second_start",
    "tolerance",
    "loss_ratio",
    "in_parts",
    "clock",
    "callbacks",
}
"""Fields of a search that are not stored."""


def test_every_field_of_a_search_is_stored_or_given():
    state = search_of(FakeEngine(by_chance(0))).state()
    assert set(state) == {*names(Search) - GIVEN, "rng", "limit", "charges"}
    assert set(state) == {*PLAIN_STATE, "candidates", "front", "matches", "refusals", "plan"}


def test_every_field_of_a_record_is_stored():
    assert names(Candidate) == {*CANDIDATE, "network", "records"}
    assert names(EpochRecord) == {"step", "score", "logs"}
    assert names(Refusal) == {"generation", "parent", "mutation", "description", "reason"}
    assert names(Plan) == {"n_children", "match_steps", "recovery_steps"}


def test_every_field_of_a_network_is_stored():
    assert names(Network) == {"input_shape", "layers", "optimizer_state", "nonnegative_input"}
    assert names(Layer) == {"kind", "config", "weights", "output_shape"}
    assert names(Weight) == {"name", "value", "slots"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**130,
        0.1,
        float("inf"),
        "text",
        (1, (2.5, None)),
        [1, [2]],
        {"a": (1,), "b": {"c": []}},
        {1: "number", ("a", 2): "tuple"},
        {"$tuple": "a name like a mark"},
        np.float32(0.1),
        np.int64(7),
        np.bool_(True),
    ],
)
def test_values_come_back_as_they_were(value):
    back = decoded(json.loads(json.dumps(encoded(value, "value"))))
    assert back == value
    assert type(back) is type(value)


def test_arrays_come_back_as_they_were():
    for array in (np.arange(6.0).reshape(2, 3), np.array([np.nan, 1], np.float16), np.zeros((0, 2), bool)):
        back = decoded(json.loads(json.dumps(encoded(array, "value"))))
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", lambda: 1, np.array(["a"]), 1j])
def test_what_is_not_plain_data_is_not_written(value):
    with pytest.raises(TypeError, match=r"^layer 3\['key'\] is of type \w+, which cannot be written as plain data$"):
        encoded({"key": value}, "layer 3")


def test_networks_come_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    slots = {"momentum": rng.normal(size=(3, 4)).astype("float32")}
    kernel = Weight("kernel", np.asfortranarray(rng.normal(size=(3, 4)).astype("float32")), slots)
    half = Weight("scale", np.array(1.5, np.float16))
    layer = Layer("Dense", {"name": "x", "units": 4, "axes": (1, 2), "mean": [0.1]}, (kernel, half), (None, 4))
    network = Network((3,), (layer,), {"iterations": np.array(7, np.int64)}, nonnegative_input=True)
    content = NetworkContent(network)
    path = tmp_path / f"{content.fingerprint}.npz"
    with path.open("wb") as file:
        write_network(content, file)
    back = read_network(path)
    assert NetworkContent(back).fingerprint == content.fingerprint
    assert back.layers[0].config == layer.config
    assert back.layers[0].output_shape == (None, 4)
    assert (back.input_shape, back.nonnegative_input) == ((3,), True)
    assert back.optimizer_state["iterations"].dtype == np.int64
    np.testing.assert_array_equal(back.layers[0].weight("kernel").slots["momentum"], slots["momentum"])
    assert back.layers[0].value("kernel").strides == network.layers[0].value("kernel").strides


# Going on.


@pytest.mark.parametrize("knobs", [{"budget": 60}, {"budget": 40, "seed": 3, "greediness": 0.5, "n_parents": 3}])
def test_a_search_stopped_after_any_step_ends_as_if_it_had_not(tmp_path, knobs):
    whole = search_of(Learner(), **knobs)
    n_steps = 0
    while not whole.done:
        whole.step()
        n_steps += 1
    assert n_steps > 8
    for stop in range(0, n_steps, 5):
        folder = tmp_path / str(stop)
        stepped(folder, stop, **knobs)
        assert everything(stepped(folder, 10_000, **knobs)) == everything(whole)
    often = tmp_path / "often"
    while not (search := stepped(often, 1, **knobs)).done:
        pass
    assert everything(search) == everything(whole)


def test_the_folder_stays_small(tmp_path):
    sizes = []
    while not (search := stepped(tmp_path, 5, budget=600)).done:
        states = sorted(tmp_path.glob("state-*"))
        assert len(states) <= 2
        kept = [json.loads(path.read_text())["search"] for path in states]
        needed = {one["network"] for state in kept for one in (*state["candidates"], *state["front"])}
        assert {path.stem for path in (tmp_path / "networks").iterdir()} == needed - {None}
        sizes.append(len(needed))
    assert search.generation > 8
    assert max(sizes) <= 2 * (MOST_MEMBERS + 16)


def test_networks_that_have_not_changed_are_not_written_again(tmp_path):
    search = search_of(Learner())
    with open_folder(Folder(tmp_path, resume=False), IDENTITY) as opened:
        for _ in range(2):
            search.step()
        opened.write(search.state())
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "networks").iterdir()}
        opened.write(search.state())
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "networks").iterdir()} == before


def test_files_that_have_gone_are_written_again(tmp_path):
    search = search_of(Learner())
    with open_folder(Folder(tmp_path, resume=False), IDENTITY) as opened:
        for _ in range(2):
            search.step()
            opened.write(search.state())
            shutil.rmtree(tmp_path / "networks")
        opened.write(search.state())
    assert everything(stepped(tmp_path, 0)) == everything(search)


@pytest.mark.parametrize("then", ["it stays away", "a file is in its place", "it is there again"])
def test_a_folder_that_goes_away_costs_no_search(tmp_path, then, caplog):
    folder = tmp_path / "kept"
    search = search_of(Learner())
    with open_folder(Folder(folder, resume=False), IDENTITY) as opened:
        search.step()
        opened.write(search.state())
        shutil.rmtree(folder)
        if then == "a file is in its place":
            folder.write_text("mine")
        if then == "it is there again":
            folder.mkdir()
        opened.write(search.state())
    assert ("could not be written" in caplog.text) == (then != "it is there again")
    assert folder.is_dir() == (then == "it is there again")


def test_more_budget_later(tmp_path):
    first = stepped(tmp_path, 10_000, budget=30)
    assert first.ledger.left == 0
    more = stepped(tmp_path, 10_000, budget=70)
    assert more.ledger.spent == more.ledger.limit == 700
    assert [vars(c)["description"] for c in more.candidates[: len(first.candidates)]] == [
        c.description for c in first.candidates
    ]
    assert len(more.candidates) > len(first.candidates)
    with pytest.raises(InputError, match=r"budget=50: the search that is continued has been granted 70 epochs"):
        stepped(tmp_path, 1, budget=50)
    assert everything(stepped(tmp_path, 10_000, budget=70)) == everything(more)


# What is refused.


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_a_search_is_not_overwritten(tmp_path):
    stepped(tmp_path, 3)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="holds a search already: resume=True continues it"):
        Folder(tmp_path, resume=False)
    assert snapshot(tmp_path) == before


def test_a_folder_in_use_is_refused(tmp_path):
    with (
        open_folder(Folder(tmp_path, resume=False), IDENTITY) as opened,
        pytest.raises(InputError, match="is in use by a search that is running"),
        open_folder(Folder(tmp_path, resume=True), IDENTITY),
    ):
        raise AssertionError(opened)


def test_a_lock_ends_with_its_process(tmp_path):
    program = (
        "import os, sys; from keras_ectonas.checkpoint import Folder, open_folder\n"
        "with open_folder(Folder(sys.argv[1], resume=True), {}):\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="is in use"), open_folder(Folder(tmp_path, resume=True), {}):
            raise AssertionError
        other.kill()
    stepped(tmp_path, 1)


@pytest.mark.parametrize("name", ["data", "random_state"])
def test_another_search_is_refused_and_the_difference_named(tmp_path, name):
    stepped(tmp_path, 3)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=f"it differs in {name}: '{IDENTITY[name]}' in the folder, 'other' now"):
        stepped(tmp_path, 1, identity={**IDENTITY, name: "other"})
    assert snapshot(tmp_path) == before


def newest(folder):
    return sorted(folder.glob("state-*.json"))[-1]


def change(folder, **parts):
    path = newest(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))


def add_an_epoch(folder):
    document = json.loads(newest(folder).read_text())
    document["search"]["limit"] += 10
    newest(folder).write_text(json.dumps(document))


def exchange_networks(folder):
    needed = [c["network"] for c in json.loads(newest(folder).read_text())["search"]["candidates"] if c["network"]]
    first, second, *_ = dict.fromkeys(needed)
    shutil.copy(*(folder / "networks" / f"{name}.npz" for name in (first, second)))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda folder: change(folder, version=1), "has version 1 of the format, this release reads version 2"),
        (lambda folder: change(folder, format="other"), "is not a state of a search"),
        (add_an_epoch, "has been changed since it was written: its checksum does not match"),
        (exchange_networks, "does not hold what its name says"),
    ],
)
def test_what_was_not_written_here_is_refused(tmp_path, tamper, message):
    stepped(tmp_path, 5)
    tamper(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=message):
        stepped(tmp_path, 1)
    assert snapshot(tmp_path) == before


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_a_new_network(folder):
    while not last_networks(folder):
        stepped(folder, 1)
    cut(folder / "networks" / f"{last_networks(folder).pop()}.npz")


def last_networks(folder):
    """Those that only the newest state needs."""
    last, before = (
        {c["network"] for c in json.loads(path.read_text())["search"]["candidates"]} for path in states(folder)
    )
    return last - before


def states(folder):
    return sorted(folder.glob("state-*.json"), reverse=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(newest(folder)),
        lambda folder: newest(folder).write_bytes(b""),
        cut_a_new_network,
        lambda folder: newest(folder).write_bytes(b"\x00" * 500),
    ],
)
def test_the_state_before_is_taken_if_the_newest_is_damaged(tmp_path, caplog, damage):
    whole = stepped(tmp_path / "whole", 10_000)
    stepped(tmp_path / "damaged", 5)
    damage(tmp_path / "damaged")
    assert everything(stepped(tmp_path / "damaged", 10_000)) == everything(whole)
    assert "the state before is whole and is taken" in caplog.text


def test_without_a_whole_state_there_is_an_error(tmp_path):
    stepped(tmp_path, 3)
    for path in states(tmp_path):
        cut(path)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"holds no complete state: .*cannot be read to its end"):
        stepped(tmp_path, 1)
    assert snapshot(tmp_path) == before


def test_arrays_are_read_without_pickle(tmp_path):
    stepped(tmp_path, 3)
    for path in (tmp_path / "networks").iterdir():
        np.savez(path, structure=np.array([os.system], dtype=object))
    with pytest.raises(InputError, match="cannot be read: Object arrays cannot be loaded when allow_pickle=False"):
        stepped(tmp_path, 1)


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "networks").mkdir()
    theirs = [tmp_path / "state-7.json", tmp_path / "notes.tmp", tmp_path / "networks" / "mine.npz"]
    for path in theirs:
        path.write_text("theirs")
    stepped(tmp_path, 10_000)
    assert {path.read_text() for path in theirs} == {"theirs"}


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: expected a folder"):
        Folder(tmp_path / "file", resume=False)
    with (
        pytest.raises(InputError, match="cannot be used as a folder to write into"),
        open_folder(Folder(tmp_path / "file" / "below", resume=False), IDENTITY),
    ):
        raise AssertionError
    with pytest.raises(InputTypeError, match="checkpoint=7: expected the path of a folder, or None"):
        Folder(7, resume=False)


def test_a_full_disk_stops_no_search_and_breaks_no_state(tmp_path, caplog, monkeypatch):
    whole = stepped(tmp_path / "whole", 10_000)
    folder = tmp_path / "full"
    stepped(folder, 3)
    before = snapshot(folder)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files_module.os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot be used as a folder to write into: .*No space left"):
            stepped(folder, 1)
        assert snapshot(folder) == before

    search = search_of(Learner())
    with open_folder(Folder(folder, resume=True), IDENTITY) as opened:
        search.continue_with(opened.state)
        with monkeypatch.context() as patched:
            patched.setattr(files_module.os, "fsync", full)
            for _ in range(3):
                search.step()
                opened.write(search.state())
        assert caplog.text.count("No space left on device. The search goes on") == 1
        assert not list(folder.rglob("*.tmp"))
    assert everything(stepped(folder, 10_000)) == everything(whole)


# The estimators.


def result(trainer):
    return (
        [str(entry) for entry in trainer.lineage_],
        network_of(trainer.model_).fingerprint(),
        {name: column for name, column in trainer.candidates_.items() if name != "seconds"},
        # As text, because a metric that was not reported is NaN.
        str(trainer.history_.items()),
    )


class KilledError(BaseException):
    """What a test raises in place of a process's end."""


def killed_after(trainer, n_states, x, y, monkeypatch):
    from keras_ectonas.checkpoint import Opened

    written = []
    plain = Opened.write

    def write(self, state):
        plain(self, state)
        written.append(state)
        if len(written) == n_states:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Opened, "write", write)
        with pytest.raises(KilledError, match=r"^$"):
            trainer.fit(x, y)


@pytest.mark.parametrize("engine", ["fit", "auto"])
def test_a_trainer_resumes_to_the_same_result(tmp_path, monkeypatch, engine):
    x, y = table()
    model = dense_model()
    knobs = {**QUICK, "engine": engine}
    whole = ECToNASTrainer(model, **knobs).fit(x, y)
    kept = {**knobs, "checkpoint": tmp_path, "resume": True}
    killed_after(ECToNASTrainer(model, **kept), 2, x, y, monkeypatch)
    resumed = ECToNASTrainer(model, **kept).fit(x, y)
    assert result(resumed) == result(whole)
    assert result(ECToNASTrainer(model, **kept).fit(x, y)) == result(whole)


class Slow(SearchCallback):
    def on_search_begin(self, search):
        time.sleep(3.0)


def test_the_time_of_all_processes_counts(tmp_path, monkeypatch):
    x, y = table()
    kept = {**QUICK, "checkpoint": tmp_path, "resume": True}
    # More than the second one takes to put the winner together, which counts as no part of the search.
    killed_after(ECToNASTrainer(dense_model(), callbacks=[Slow()], **kept), 4, x, y, monkeypatch)
    began = time.perf_counter()
    resumed = ECToNASTrainer(dense_model(), **kept).fit(x, y)
    second = time.perf_counter() - began
    parts = resumed._account.seconds
    assert parts["training"] + parts["surgery"] <= parts["total"]
    assert resumed.seconds_ > second
    assert ECToNASTrainer(dense_model(), **kept).fit(x, y).seconds_ >= resumed.seconds_


def test_a_seed_that_nobody_chose_is_resumed_too(tmp_path):
    x, y = table()
    knobs = {**QUICK, "random_state": None, "checkpoint": str(tmp_path), "resume": True}
    first = ECToNASTrainer(dense_model(), **knobs).fit(x, y)
    assert result(ECToNASTrainer(dense_model(), **knobs).fit(x, y)) == result(first)
    more = ECToNASTrainer(dense_model(), **{**knobs, "budget": 7}).fit(x, y)
    assert more.n_epochs_ == pytest.approx(7)


def with_loss_weights():
    model = dense_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], loss_weights=[2.0])
    return model


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"greediness": 0.5}, "greediness"),
        ({"surgery": "paper"}, "surgery"),
        ({"random_state": 1}, "random_state"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"scoring": "loss"}, "scoring"),
        ({"batch_size": 16}, "batch_size"),
        ({"validation_fraction": 0.2}, "data"),
        ({"model": dense_model(units=(7,))}, "model"),
        ({"model": with_loss_weights()}, "loss_weights"),
    ],
)
def test_another_search_of_a_trainer_is_refused(tmp_path_factory, changed, name):
    folder = tmp_path_factory.getbasetemp() / "one_search"
    x, y = table()
    knobs = {**QUICK, "budget": 1, "checkpoint": folder, "resume": True, "model": dense_model()}
    if not folder.exists():
        ECToNASTrainer(**knobs).fit(x, y)
    before = snapshot(folder)
    with pytest.raises(InputError, match=f"holds another search, it differs in .*{name}: "):
        ECToNASTrainer(**{**knobs, **changed}).fit(x, y)
    assert snapshot(folder) == before


def test_warm_start_goes_on():
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), **QUICK, warm_start=True).fit(x, y)
    first = trainer.candidates_["description"]
    trainer.set_params(budget=3).fit(x, y)
    assert trainer.n_epochs_ == pytest.approx(7)
    assert trainer.candidates_["description"][: len(first)] == first
    assert len(trainer.candidates_["id"]) > len(first)
    with pytest.raises(
        InputError, match="warm_start=True continues the search before, which had other values of: data"
    ):
        trainer.fit(x[:-1], y[:-1])
    trainer.set_params(warm_start=False).fit(x[:-1], y[:-1])
    assert trainer.n_epochs_ == pytest.approx(3)


def test_warm_start_and_checkpoint(tmp_path):
    x, y = table()
    knobs = {**QUICK, "checkpoint": tmp_path, "warm_start": True}
    trainer = ECToNASTrainer(dense_model(), **knobs).fit(x, y).fit(x, y)
    assert trainer.n_epochs_ == pytest.approx(8)
    resumed = ECToNASTrainer(dense_model(), **knobs, resume=True).fit(x, y)
    assert result(resumed) == result(trainer)


def test_a_callback_is_resumed_where_fit_gives_the_same_model(tmp_path):
    x, y = table()
    found = []
    for _ in range(2):
        model = dense_model()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        search = ECToNASCallback(x, y, **QUICK, checkpoint=tmp_path, resume=True)
        model.fit(x, y, epochs=1, shuffle=False, verbose=0, callbacks=[search])
        found.append(result(search))
    assert found[0] == found[1]


def test_a_configuration_that_is_no_plain_data_is_refused(tmp_path):
    start = dense_start()
    odd = start.with_layer(1, start.layers[1].with_config(thing=object()))
    search = search_of(FakeEngine(by_kind("Dense")), start=odd)
    with (
        open_folder(Folder(tmp_path / "new", resume=False), IDENTITY) as opened,
        pytest.raises(InputError, match=r"configuration of layer 'hidden' \(Dense\)\['thing'\] is of type object"),
    ):
        opened.begin(search.state())

"""Candidates in other processes: the same search, wherever they are trained."""

import os
import signal
import threading
import time

import joblib
import keras
import pytest
from models import conv_model, dense_model, images, table

from keras_ectonas import ECToNASTrainer
from keras_ectonas.bridge import network_of

KNOBS = {"budget": 6, "verbose": 0, "random_state": 3, "epochs_per_match": 0.5, "max_children": 4}


def result(trainer):
    lineage = [str(entry) for entry in trainer.lineage_]
    return lineage, network_of(trainer.model_).fingerprint(), trainer.candidates_["score"]


def test_fit_in_processes_gives_the_same_search():
    x, y = table()
    model = dense_model()
    alone = ECToNASTrainer(model, engine="fit", **KNOBS).fit(x, y)
    spread = ECToNASTrainer(model, engine="fit", n_jobs=2, **KNOBS).fit(x, y)
    assert result(alone) == result(spread)


def test_time_runs_out_in_workers_too():
    x, y = table()
    trainer = ECToNASTrainer(dense_model(), engine="fit", n_jobs=2, max_time=0.001, **{**KNOBS, "budget": 500})
    trainer.fit(x, y)
    assert trainer.ended_by_ == "max_time"
    assert trainer.n_epochs_ < 20


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_a_dask_cluster_gives_the_same_search(kill):
    distributed = pytest.importorskip("distributed")
    x, y = images()
    alone = ECToNASTrainer(conv_model(), **KNOBS).fit(x, y)
    os.environ["KERAS_BACKEND"] = keras.backend.backend()
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        killer = threading.Thread(target=_kill_one_when_busy, args=(client,))
        if kill:
            killer.start()
        spread = ECToNASTrainer(conv_model(), n_jobs=2, **KNOBS).fit(x, y)
        if kill:
            killer.join()
            assert _kill_one_when_busy.killed
    assert result(alone) == result(spread)


def _kill_one_when_busy(client):
    _kill_one_when_busy.killed = False
    for _ in range(600):
        busy = [address for address, tasks in client.processing().items() if tasks]
        if busy:
            time.sleep(1.0)
            pid = client.run(os.getpid, workers=busy[:1])[busy[0]]
            os.kill(pid, signal.SIGKILL)
            _kill_one_when_busy.killed = True
            return
        time.sleep(0.05)

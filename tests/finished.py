"""Searches with the fake engine, and what stands in for the trainer whose search they were."""

from types import SimpleNamespace

import numpy as np
from fake_engine import FakeEngine
from test_search import dense, dense_start, search_of

from keras_ectonas.fitness import Objective
from keras_ectonas.lineage import Lineage
from keras_ectonas.network import Layer, Network
from keras_ectonas.search.account import (
    Account,
    ParetoFront,
    candidate_columns,
    epochs_by_purpose,
    layer_rows,
    record_columns,
)
from keras_ectonas.tables import Table


def larger_is_better(network, step):
    """Saturating in size, with a little noise that hangs on nothing but the network and the step."""
    noise = np.random.default_rng([network.n_params, step]).normal(scale=0.01)
    return float(1 - 1 / np.log(network.n_params) + noise)


def start_with_names(*names):
    flatten, hidden, output = names
    layers = (
        Layer("Flatten", {"name": flatten}),
        dense(hidden, 64, 10),
        dense(output, 10, 3, "softmax"),
    )
    return Network((8, 8), layers, nonnegative_input=True)


def finished_trainer(start=None, objective=None, fails=lambda job: "", columns=(), **knobs):
    """The fitted attributes of a trainer, from a search without any training."""
    engine = FakeEngine(larger_is_better, fails)
    start = dense_start() if start is None else start
    chosen = {"objective": objective or Objective("accuracy"), "epochs_per_match": 0.5, **knobs}
    search = search_of(engine, start=start, **chosen)
    search.run()
    account = Account(
        {"Training rows": "100", "Seed": "0"},
        Table(name=["budget", "verbose"], value=["60", "1"], is_default=[False, True]),
        layer_rows(search.start),
        layer_rows(search.winner().network),
        epochs_by_purpose(search),
        {**search.seconds, "total": 10.0},
        {"Python": "3"},
    )
    return SimpleNamespace(
        candidates_=candidate_columns(search),
        records_=record_columns(search),
        pareto_front_=ParetoFront.of(search),
        lineage_=Lineage(search.lineage()),
        objective_=search.objective,
        refusals_=search.refusals,
        ended_by_=search.ended_by,
        feature_names_in_=np.asarray(columns, dtype=object),
        _account=account,
        search=search,
    )

"""The runner of the paper's experiments: what it runs, that it goes on, and what it shows."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "paper"))

from reproduction import published, render, schedule, tables
from reproduction.experiments import EXPERIMENTS, Run, experiment
from reproduction.groups import groups_of
from reproduction.results import Results

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY = ["--datasets", "digits", "--topologies", "small_dense", "--seeds", "42", "--repeats", "1", "--samples", "200"]


def run_program(folder, *arguments):
    command = [sys.executable, str(EXAMPLES / "paper" / "run.py"), *arguments, "--results", str(folder / "rows.jsonl")]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "KERAS_BACKEND": "jax"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def test_the_papers_protocol():
    table1 = experiment("table1")
    runs = list(table1.runs())
    assert len(runs) == len(set(runs)) == 6 * 6 * 3 * 10 * 3
    assert {run.seed for run in runs} == {42, 13, 28}
    assert {run.budget for run in runs if run.kind != "plain"} == {1000}
    assert {run.rules for run in runs if run.kind != "plain"} == {"paper"}
    adult = [run for run in experiment("adult").runs() if run.kind == "search" and run.greediness == 1]
    assert len(adult) == 2 * 75
    # Greedy searches and baselines serve all that needs them.
    assert set(experiment("figure5").runs()) == set(runs)
    assert {run for run in experiment("table2").runs() if run.greediness == 1} < set(runs)


def test_options_make_it_smaller():
    small = experiment("table2").changed(datasets=("mnist",), seeds=(1,), repeats=1, budget=50.0, samples=None)
    assert {(run.dataset, run.seed, run.budget) for run in small.runs()} == {("mnist", 1, 50.0)}
    assert small.topologies == experiment("table2").topologies
    assert experiment("adult").changed(datasets=("mnist", "adult", "digits")).datasets == ("adult", "digits")


def test_runs_are_done_once_and_skipped_without_data(tmp_path):
    first = run_program(tmp_path, "table1", *TINY, "--budget", "3", "--datasets", "digits", "svhn")
    assert first.returncode == 0, first.stderr
    assert "skipped svhn: svhn: no folder was given (--data FOLDER)" in first.stdout
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    search, chance, plain = sorted(rows, key=lambda row: ["search", "random", "plain"].index(row["kind"]))
    assert search["spent"] <= 3
    assert chance["settings"]["selection"] == "random"
    assert search["settings"]["surgery"] == "paper"
    assert search["data"] == plain["data"]
    assert plain["data"]["validation"] == 20
    assert plain["epochs"] >= max(search["epochs"], chance["epochs"])
    assert plain["epochs"] == len(plain["curve"]["test"]) == len(plain["curve"]["validation"])
    assert plain["params"] == search["start_params"] == 760
    assert search["lineage"][-1]["n_params"] == search["params"]
    assert {"keras", "jax", "numpy", "commit", "backend"} <= set(search["versions"])
    # What a search did before its first change is what plain training did.
    assert search["curve"]["validation"][:2] == plain["curve"]["validation"][:2]
    assert "| digits | paper | 1 |" in first.stdout

    again = run_program(tmp_path, "table1", *TINY, "--budget", "3")
    assert again.returncode == 0
    assert again.stdout == first.stdout[first.stdout.index("\n## Table 1") :]


def row(run, accuracy=0.9, params=1000, epochs=5.0, **others):
    curve = {"epoch": [1, 2, 3, 4, 5], "validation": [0.5, 0.6, 0.7, 0.8, accuracy]}
    if run.kind == "plain":
        curve["test"] = [0.1, 0.2, 0.3, 0.4, 0.5]
    start = {"start_type": "CNN", "start_params": 2000, "type": "CNN", "seconds": 10.0}
    entries = [("start", "start model", 2000, 0.0), ("add_units", "+2 units", params, 2.0)]
    lineage = [
        {"mutation": mutation, "description": words, "n_params": n, "epoch": epoch}
        for mutation, words, n, epoch in entries
    ]
    versions = {"keras": "3", "backend": "jax", "commit": "abc"}
    found = {"accuracy": accuracy, "params": params, "epochs": epochs, "curve": curve, "lineage": lineage, "spent": 9.0}
    return run.as_dict() | start | found | {"versions": versions} | others


def results_of(path, *rows):
    results = Results(path)
    for each in rows:
        results.add(each)
    return results


PLAIN = Run("mnist", 1000, "medium", 42, 0, "plain")
SEARCH = replace(PLAIN, kind="search", rules="paper", greediness=1.0, budget=10.0)


def test_only_starts_with_all_modes_are_compared(tmp_path):
    chance = replace(SEARCH, kind="random", greediness=None)
    other = {name: replace(run, seed=13) for name, run in (("p", PLAIN), ("s", SEARCH), ("r", chance))}
    failed = row(other["r"]) | {"failure": "the loss became nan"}
    results = results_of(
        tmp_path / "rows.jsonl",
        row(PLAIN),
        row(SEARCH, epochs=4.2),
        row(chance),
        row(other["p"]),
        row(other["s"]),
        failed,
        row(replace(SEARCH, seed=28)),
    )
    (group,) = groups_of(experiment("table1"), results, ("search 1", "plain", "random"))
    assert group.n_starts == 1
    assert group.n_left_out == 2
    # A fifth of the budget, and as long as the winner.
    assert group.accuracy("plain").mean == pytest.approx(20)
    assert group.accuracy_of_plain_training_as_long_as("search 1").mean == pytest.approx(40)
    text = "\n".join(tables.table1(experiment("table1"), results))
    assert "**1,000 training rows, budget 10**" in text
    assert "| MNIST | paper | 1 | 90.0 | 98.3 ± 1.6 | 20.0 | 97.6 ± 2.2 | 40.0 | 90.0 | 96.0 ± 3.4 |" in text
    assert "2 starts are left out" in text


def test_tables_3_and_5(tmp_path):
    rows = []
    for repeat, (start, end) in enumerate([("CNN", "FFNN"), ("CNN", "CNN"), ("FFNN", "CNN")]):
        plain = replace(PLAIN, dataset="adult", repeat=repeat)
        rows.append(row(plain))
        searches = [replace(plain, kind="search", rules="paper", greediness=g, budget=10.0) for g in (1.0, 0.5, 0.0)]
        chance = replace(searches[0], kind="random", greediness=None)
        rows += [row(run, start_type=start, type=end) for run in (*searches, chance)]
    text = "\n".join(tables.adult(experiment("adult"), results_of(tmp_path / "rows.jsonl", *rows)))
    assert "| paper | greedy | CNN | 1 | 1 | 50.0 % | 70 | 5 | 6.7 % |" in text
    assert "| paper | greediness 0 | FFNN | 1 | 0 | 100.0 % | 74 | 1 | 98.7 % |" in text
    assert "| paper | greediness 0.5 | 3 | 90.0 ± 0.0 | 83.6 ± 1.2 | 1.0 K | 1.5 K |" in text


def test_table_of_starts(tmp_path):
    run = replace(SEARCH, dataset="fashion_mnist", surgery="calibrated", rules="default")
    results = results_of(tmp_path / "rows.jsonl", row(run, epochs=3.0), row(run.baseline))
    text = "\n".join(tables.starts(experiment("starts"), results))
    assert "| Fashion-MNIST | medium | 1 | default | calibrated | 30.00 | 90.00 | 2,000 to 1,000 | 3 | 10 |" in text


def test_start_models_are_of_the_papers_size():
    text = "\n".join(tables.table6(experiment("table6").changed(datasets=("mnist",)), Results(Path("nowhere.jsonl"))))
    cells = text.splitlines()[-1].split("|")
    assert float(cells[-3].replace(",", "")) / 1000 == pytest.approx(
        published.IMAGE_SETS["mnist"]["plain"][2], rel=0.02
    )


def test_a_line_that_was_cut_off_is_done_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    results_of(path, row(PLAIN), row(SEARCH))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    results = Results(path)
    assert list(results.rows) == [PLAIN]
    results.add(row(SEARCH))
    assert path.read_bytes() == whole
    path.write_bytes(b"{broken\n" + whole)
    with pytest.raises(ValueError, match="line 1 is no JSON"):
        Results(path)


def test_plain_training_waits_for_the_searches_and_is_long_enough(tmp_path):
    results = results_of(tmp_path / "rows.jsonl", row(PLAIN, epochs=5.0), row(SEARCH, epochs=7.3))
    plan = schedule.Schedule(results, None, False, {PLAIN: 4})
    assert plan._epochs_of(PLAIN) == 8
    assert not plan._is_done(PLAIN)
    results.add(row(PLAIN, epochs=8.0))
    assert plan._is_done(PLAIN)
    later = replace(SEARCH, greediness=0.5)
    plan._waiting, plan._under_way = [PLAIN, later], {}
    assert plan._next() == later
    assert plan.time_left() == pytest.approx(10 * 10 / 9)


def test_markers(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- table1 -->\nold\n<!-- /table1 -->\nafter\n")
    render.write_between_markers(path, {"table1": "new"})
    assert path.read_text() == "before\n<!-- table1 -->\n\nnew\n\n<!-- /table1 -->\nafter\n"
    with pytest.raises(ValueError, match="has no place for table2"):
        render.write_between_markers(path, {"table1": "newer", "table2": "x"})
    assert "newer" not in path.read_text()


def test_the_readme_has_a_place_for_each_experiment(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text((EXAMPLES / "paper" / "README.md").read_text())
    render.write_between_markers(copy, {name: f"text of {name}" for name in EXPERIMENTS})
    assert all(f"text of {name}" in copy.read_text() for name in EXPERIMENTS)


def test_figures(tmp_path):
    pytest.importorskip("matplotlib")
    chance = replace(SEARCH, kind="random", greediness=None)
    single = replace(SEARCH, dataset="cifar10", topology="large_dense", greediness=0.5)
    rows = [row(run) for run in (PLAIN, SEARCH, chance, single, single.baseline)]
    results = results_of(tmp_path / "rows.jsonl", *rows)
    shown = render.rendered([experiment("figure5"), experiment("figure6")], results, tmp_path / "figures")
    for name in ("figure5", "figure6"):
        assert f"figures/{name}_paper_1000_10.png" in shown[name]
        assert (tmp_path / "figures" / f"{name}_paper_1000_10.png").stat().st_size > 10_000

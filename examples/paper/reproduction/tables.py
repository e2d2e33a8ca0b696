"""Results as Markdown tables, the paper's figures beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from . import published
from .experiments import Experiment
from .groups import Cell, Group, groups_of
from .results import Results

__all__ = ["TABLES", "set_name"]

SEARCHES: Final = ("search 1", "search 0.5", "search 0")
NAMES: Final = {
    "search 1": "greedy",
    "search 0.5": "greediness 0.5",
    "search 0": "greediness 0",
    "random": "random",
    "plain": "baseline",
}


def table1(experiment: Experiment, results: Results) -> list[str]:
    """Greedy search, baseline and random mode: accuracy and size."""
    return _accuracies_and_sizes(groups_of(experiment, results, ("search 1", "plain", "random")), "search 1")


def table2(experiment: Experiment, results: Results) -> list[str]:
    """Levels of greediness: accuracy and size."""
    return _accuracies_and_sizes(groups_of(experiment, results, SEARCHES))


def _accuracies_and_sizes(groups: Sequence[Group], as_long_as: str | None = None) -> list[str]:
    lines: list[str] = []
    for protocol, several in groupby(groups, lambda group: group.protocol):
        of_protocol = list(several)
        modes = list(of_protocol[0].rows)
        lines += ["", f"**{protocol}**", "", "Accuracy on the test rows, in percent:", ""]
        header = ["data set", "rules", "starts"]
        for mode in modes:
            header += [NAMES[mode], "paper"]
            if mode == "plain" and as_long_as:
                header.append("baseline, as long as greedy")
        lines += _table(header, (_accuracy_line(group, modes, as_long_as) for group in of_protocol))
        lines += ["", "Parameters:", ""]
        header = ["data set", "rules", *(name for mode in modes for name in (NAMES[mode], "paper"))]
        lines += _table(header, (_size_line(group, modes) for group in of_protocol))
        lines += ["", _remarks(of_protocol)]
    return lines


def _accuracy_line(group: Group, modes: Sequence[str], as_long_as: str | None) -> list[str]:
    cells = [set_name(group.dataset), group.search, str(group.n_starts)]
    for mode in modes:
        cells += [_percent(group.accuracy(mode)), _published_accuracy(group.dataset, mode)]
        if mode == "plain" and as_long_as:
            cells.append(_percent(group.accuracy_of_plain_training_as_long_as(as_long_as)))
    return cells


def _size_line(group: Group, modes: Sequence[str]) -> list[str]:
    cells = [set_name(group.dataset), group.search]
    for mode in modes:
        cells += [_thousands(group.params(mode)), _published_size(group.dataset, mode)]
    return cells


def adult(experiment: Experiment, results: Results) -> list[str]:
    """Tables 3 and 5: accuracy, size and type of the winners on tables that pretend to be images."""
    modes = ("plain", *SEARCHES, "random")
    lines: list[str] = []
    for protocol, several in groupby(groups_of(experiment, results, modes), lambda group: group.protocol):
        groups = list(several)
        lines += ["", f"**{protocol}**", "", "Table 5, accuracy on the test rows in percent, and parameters:", ""]
        header = ["rules", "mode", "runs", "accuracy", "paper", "parameters", "paper"]
        lines += _table(header, (_adult_line(group, mode) for group in groups for mode in modes))
        lines += ["", "Table 3, winners with convolutions (CNN) and without (FFNN):", ""]
        header = ["rules", "mode", "start", "CNN", "FFNN", "crossing", "paper: CNN", "FFNN", "crossing"]
        lines += _table(
            header,
            (
                _crossing_line(group, mode, start)
                for group in groups
                for mode in SEARCHES
                for start in ("CNN", "FFNN")
                if any(row["start_type"] == start for row in group.rows[mode])
            ),
        )
        lines += ["", _remarks(groups)]
    return lines


def _adult_line(group: Group, mode: str) -> list[str]:
    return [
        group.search,
        NAMES[mode],
        str(group.n_starts),
        _percent(group.accuracy(mode)),
        _published_accuracy(group.dataset, mode),
        _thousands(group.params(mode)),
        _published_size(group.dataset, mode),
    ]


def _crossing_line(group: Group, mode: str, start: str) -> list[str]:
    winners = [row["type"] for row in group.rows[mode] if row["start_type"] == start]
    measured = (winners.count("CNN"), winners.count("FFNN"))
    cells = [group.search, NAMES[mode], start]
    for cnn, ffnn in (measured, published.CROSSINGS[mode, start]):
        crossed = ffnn if start == "CNN" else cnn
        cells += [str(cnn), str(ffnn), f"{100 * crossed / (cnn + ffnn):.1f} %"]
    return cells


def table6(experiment: Experiment, results: Results) -> list[str]:
    """Parameters of the start models on each data set; their mean is the size of the paper's baseline."""
    import topologies

    lines = []
    for dataset in experiment.datasets:
        name, shape, n_classes = published.SETS[dataset]
        sizes = [topologies.build(start, shape, n_classes, 0).count_params() for start in experiment.topologies]
        lines.append([name, *(f"{n:,}" for n in sizes), f"{np.mean(sizes):,.0f}", _published_size(dataset, "plain")])
    return ["", *_table(["data set", *experiment.topologies, "mean", "paper"], lines)]


def starts(experiment: Experiment, results: Results) -> list[str]:
    """Each search against plain training of its start model for as many epochs as the winner's lineage had."""
    lines: list[str] = []
    groups = [group for mode in SEARCHES for group in groups_of(experiment, results, ("plain", mode))]
    groups.sort(key=lambda group: repr(group.protocol))
    for protocol, several in groupby(groups, lambda group: group.protocol):
        header = ["data set", "start", "greediness", "rules", "surgery", "plain", "winner", "parameters", "epochs", "s"]
        lines += ["", f"**{protocol}**", ""]
        lines += _table(header, (cells for group in several for cells in _start_lines(group, experiment.topologies)))
    return lines


def _start_lines(group: Group, order: Sequence[str]) -> Iterable[list[str]]:
    mode = next(name for name in group.rows if name != "plain")
    for topology in (*order, "all"):
        places = [n for n, row in enumerate(group.rows[mode]) if topology in (row["topology"], "all")]
        if not places:
            continue
        chosen = Group(
            group.dataset,
            group.protocol,
            group.rules,
            group.surgery,
            {name: [rows[n] for n in places] for name, rows in group.rows.items()},
            0,
        )
        mean = {
            name: np.mean([row[name] for row in chosen.rows[mode]]) for name in ("epochs", "seconds", "start_params")
        }
        yield [
            set_name(group.dataset),
            topology,
            mode.removeprefix("search "),
            group.rules,
            group.surgery or "",
            _percent(chosen.accuracy_of_plain_training_as_long_as(mode), 2),
            _percent(chosen.accuracy(mode), 2),
            f"{mean['start_params']:,.0f} to {chosen.params(mode).mean:,.0f}",
            f"{mean['epochs']:.0f}",
            f"{mean['seconds']:.0f}",
        ]


TABLES: Final[dict[str, Callable[[Experiment, Results], list[str]]]] = {
    "table1": table1,
    "table2": table2,
    "adult": adult,
    "table6": table6,
    "starts": starts,
}


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)]


def _remarks(groups: Sequence[Group]) -> str:
    """What the reader must know of the runs: how many, how long, of which program."""
    searches = [row for group in groups for mode, rows in group.rows.items() if mode != "plain" for row in rows]
    seconds = np.median([row["seconds"] for row in searches])
    versions = {f"Keras {r['versions']['keras']} on {r['versions']['backend']}" for r in searches}
    commits = sorted({row["versions"]["commit"] for row in searches} - {""})
    seeds = sorted({row["seed"] for row in searches})
    left_out = sum(group.n_left_out for group in groups)
    parts = [
        f"Seeds {', '.join(map(str, seeds))}",
        f"a search took {seconds:.0f} s in the median, on one thread",
        ", ".join(sorted(versions)),
    ]
    if commits:
        parts.append(f"commit {', '.join(commits)}")
    if left_out:
        parts.append(f"{left_out} starts are left out because a mode is missing or failed")
    return "; ".join(parts) + "."


def set_name(dataset: str) -> str:
    return published.SETS[dataset][0] if dataset in published.SETS else dataset


def _percent(cell: Cell, digits: int = 1) -> str:
    spread = "" if math.isnan(cell.spread) else f" ± {cell.spread:.{digits}f}"
    return f"{cell.mean:.{digits}f}{spread}"


def _thousands(cell: Cell) -> str:
    return f"{cell.mean / 1000:.1f} K"


def _published_accuracy(dataset: str, mode: str) -> str:
    figure = published.accuracy_and_params(dataset, mode)
    return "" if figure is None else f"{figure[0]:.1f} ± {figure[1]:.1f}"


def _published_size(dataset: str, mode: str) -> str:
    figure = published.accuracy_and_params(dataset, mode)
    return "" if figure is None else f"{figure[2]:g} K"

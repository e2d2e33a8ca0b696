"""Figures 5 and 6 of the paper, from results. Draws with matplotlib and knows nothing of training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from .experiments import Experiment
from .groups import Group, Protocol, groups_of
from .results import Results, Row
from .tables import set_name

__all__ = ["FIGURES"]

COLOURS: Final = {"search 1": "#0072b2", "random": "#e69f00", "plain": "#555555"}
LABELS: Final = {"plain": "baseline", "random": "random mode", "search 1": "greedy search"}
PARAMS_COLOUR: Final = "#d55e00"


def figure5(experiment: Experiment, results: Results, folder: Path) -> list[str]:
    """Accuracy on the validation rows over epochs, one panel for each data set; gives Markdown that shows them."""
    groups = groups_of(experiment, results, ("search 1", "plain", "random"))
    groups.sort(key=lambda group: (repr(group.protocol), group.search != "paper", group.search))
    lines: list[str] = []
    for (protocol, rules), several in groupby(groups, lambda group: (group.protocol, group.search)):
        name = f"figure5_{_file_part(rules, protocol)}.png"
        _draw_accuracies(list(several), f"{protocol}, rules: {rules}", folder / name)
        lines += ["", f"![Accuracy over epochs, {protocol}, rules: {rules}]({folder.name}/{name})"]
    return lines


def _draw_accuracies(groups: Sequence[Group], title: str, path: Path) -> None:
    plt = _pyplot()
    n_columns = min(2, len(groups))
    n_rows = -(-len(groups) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(5.2 * n_columns, 3.2 * n_rows + 0.7), squeeze=False)
    for axis, group in zip(axes.flat, groups, strict=False):
        for mode, label in LABELS.items():
            epochs, mean, spread = _mean_curve(group, mode)
            axis.plot(epochs, mean, color=COLOURS[mode], label=label, linewidth=1.6)
            low, high = np.maximum(mean - spread, 0), np.minimum(mean + spread, 100)
            axis.fill_between(epochs, low, high, color=COLOURS[mode], alpha=0.12, linewidth=0)
        axis.set_title(f"{set_name(group.dataset)}, {group.n_starts} runs in each mode", fontsize=10)
        axis.set_xlabel("epochs of training, inherited ones included")
        axis.set_ylabel("accuracy on validation rows (%)")
        axis.grid(alpha=0.25)
        axis.legend(loc="lower right", fontsize=8)
    for axis in list(axes.flat)[len(groups) :]:
        axis.set_visible(False)
    figure.suptitle(f"{title}\nmean and standard deviation; where runs end, those that go on remain", fontsize=10)
    _save(figure, path)


def _mean_curve(group: Group, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epochs, mean and spread over runs in percent; other modes end where greedy search does, by topology."""
    lengths = defaultdict(list)
    for row in group.rows["search 1"]:
        lengths[row["topology"]].append(row["epochs"])
    curves = []
    for row in group.rows[mode]:
        last = row["epochs"] if mode == "search 1" else min(row["epochs"], np.mean(lengths[row["topology"]]))
        curves.append(100 * _at_whole_epochs(row, last))
    longest = max(map(len, curves))
    table = np.full((len(curves), longest), np.nan)
    for line, curve in zip(table, curves, strict=True):
        line[: len(curve)] = curve
    return np.arange(1, longest + 1), np.nanmean(table, axis=0), np.nanstd(table, axis=0)


def _at_whole_epochs(row: Row, last: float) -> np.ndarray:
    whole = np.arange(1, max(1, int(last + 1e-6)) + 1)
    return np.interp(whole, row["curve"]["epoch"], row["curve"]["validation"])


def figure6(experiment: Experiment, results: Results, folder: Path) -> list[str]:
    """One search step by step: accuracy against the baseline, parameters, and the changes; gives Markdown."""
    lines: list[str] = []
    for group in groups_of(experiment, results, ("search 0.5", "plain")):
        name = f"figure6_{_file_part(group.search, group.protocol)}.png"
        search, plain = group.rows["search 0.5"][0], group.rows["plain"][0]
        title = f"{set_name(group.dataset)}, start {search['topology']}, {group.protocol}, rules: {group.search}"
        _draw_search(search, plain, title, folder / name)
        lines += ["", f"![One search, {title}]({folder.name}/{name})"]
    return lines


def _draw_search(search: Row, plain: Row, title: str, path: Path) -> None:
    plt = _pyplot()
    figure, (accuracy, params, legend) = plt.subplots(
        1, 3, figsize=(15, 4.8), gridspec_kw={"width_ratios": [1, 1, 0.9]}, layout="constrained"
    )
    curve, baseline = search["curve"], plain["curve"]
    length = sum(epoch <= search["epochs"] + 1e-6 for epoch in baseline["epoch"])
    accuracy.plot(curve["epoch"], 100 * np.array(curve["validation"]), color=COLOURS["search 1"], label="search")
    accuracy.plot(
        baseline["epoch"][:length],
        100 * np.array(baseline["validation"][:length]),
        color=COLOURS["plain"],
        label="baseline",
    )
    accuracy.set_ylabel("accuracy on validation rows (%)")
    entries = search["lineage"]
    epochs = [entry["epoch"] for entry in entries]
    sizes = [entry["n_params"] for entry in entries]
    params.step([*epochs, search["epochs"]], [*sizes, sizes[-1]], where="post", color=PARAMS_COLOUR, label="parameters")
    params.set_yscale("log")
    params.set_ylabel("parameters (logarithmic)")
    changes = [(n, entry) for n, entry in enumerate(entries[1:], start=1) if entry["mutation"] != "identity"]
    for n, entry in changes:
        for axis, height in ((accuracy, accuracy.get_ylim()[0]), (params, entry["n_params"])):
            axis.axvline(entry["epoch"], color="#999999", linewidth=0.6, linestyle=":")
            axis.annotate(str(n), (entry["epoch"], height), xytext=(3, 4), textcoords="offset points", fontsize=8)
    for axis in (accuracy, params):
        axis.set_xlabel("epochs of training, inherited ones included")
        axis.grid(alpha=0.25)
        axis.legend(loc="upper left" if axis is accuracy else "upper right", fontsize=8)
    legend.axis("off")
    words = [f"{n:2d}  {entry['description']}  ({entry['n_params']:,})" for n, entry in changes]
    legend.text(0, 1, "\n".join(["changes (parameters after each)", "", *words]), va="top", fontsize=8)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


FIGURES: Final = {"figure5": figure5, "figure6": figure6}


def _file_part(rules: str, protocol: Protocol) -> str:
    words = "_".join(rules.replace(",", "").split())
    return f"{words}_{protocol.samples or 'all'}_{protocol.budget:g}"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit("The figures need matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if figure.get_layout_engine() is None:
        figure.tight_layout()
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)

"""Displays in scikit-learn's manner, drawn by Matplotlib: the extra ``plot``."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self, final

from ..tables import optional_module
from .figures import Story, family_tree, mutation_summaries, staircase

__all__ = ["FamilyTreeDisplay", "LineageDisplay", "MutationDisplay", "ParetoFrontDisplay"]

_COLORS = {"winner": "#b5179e", "parent": "#0077b6", "lost": "#9aa5b1", "failed": "#c0392b", "competing": "#9aa5b1"}
_MARKERS = {"winner": "*", "parent": "o", "lost": ".", "failed": "x", "competing": "."}


_LETTERS_A_LINE = 130


class _Display(ABC):
    """A picture of a search.

    Parameters
    ----------
    story : Story
        The results of a search; `from_estimator` reads them.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    """

    _size = (7.0, 4.5)

    def __init__(self, story: Story) -> None:
        self.story = story

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw a fitted trainer, or a callback whose ``fit`` is over.

        Parameters
        ----------
        estimator : ECToNASTrainer or ECToNASCallback
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            For `plot`.

        Raises
        ------
        MissingExtraError
            If Matplotlib is not installed.
        """
        return cls(Story.of(estimator)).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw on `ax`, or in a new figure; the other arguments go to what draws the main line or points."""
        if ax is None:
            _, ax = optional_module("matplotlib.pyplot", "plot").subplots(figsize=self._size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self._draw(ax, kwargs)
        return self

    @abstractmethod
    def _draw(self, ax: Any, options: dict[str, Any]) -> None:
        """Draw on axes."""

    def _draw_candidates(self, ax: Any, rows: Sequence[tuple[dict[str, Any], float, float]]) -> None:
        """Candidates as points, by what became of them."""
        for status in ("lost", "competing", "failed", "parent", "winner"):
            chosen = [(x, y) for own, x, y in rows if own["status"] == status]
            if chosen:
                size = 140 if status == "winner" else 28
                ax.scatter(
                    *zip(*chosen, strict=True),
                    s=size, marker=_MARKERS[status], color=_COLORS[status], label=status, zorder=3,
                )  # fmt: skip


@final
class LineageDisplay(_Display):
    """Score and parameters along the winner's lineage, with the winning mutations (figures 5 and 6 of the paper).

    The axes of the parameters are ``params_ax_``.
    """

    _size = (9.0, 5.0)

    def _draw(self, ax: Any, options: dict[str, Any]) -> None:
        name = self.story.objective.name
        ax.plot(*self.story.winning_curve(), **{"color": _COLORS["parent"], "marker": ".", "label": name, **options})
        ax.set(xlabel="epochs along the lineage", ylabel=f"{name}, validation rows")
        self.params_ax_ = ax.twinx()
        self.params_ax_.step(*self.story.size_steps(), where="post", color=_COLORS["winner"], linestyle="--")
        self.params_ax_.set(ylabel="parameters")
        self.params_ax_.set_ylim(bottom=0)
        self.params_ax_.yaxis.label.set_color(_COLORS["winner"])
        lines = optional_module("matplotlib.lines", "plot")
        marks = []
        for number, (epoch, words) in enumerate(self.story.changes(), 1):
            ax.axvline(epoch, color="0.8", linewidth=0.8, zorder=0)
            # In three heights, because changes can be close to each other.
            ax.annotate(
                str(number), (epoch, 0.96 - 0.06 * (number % 3)), xycoords=("data", "axes fraction"), fontsize=7,
                ha="center", va="center", bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": "0.5"},
            )  # fmt: skip
            label = textwrap.fill(words, _LETTERS_A_LINE)
            marks.append(lines.Line2D([], [], color="0.3", linestyle="", marker=f"${number}$", label=label))
        if marks:
            below = {"loc": "upper left", "bbox_to_anchor": (0, -0.12), "borderaxespad": 0}
            for text in ax.legend(handles=marks, fontsize=8, frameon=False, **below).get_texts():
                text.set_parse_math(False)


@final
class ParetoFrontDisplay(_Display):
    """Score against parameters for every candidate, and the front."""

    def _draw(self, ax: Any, options: dict[str, Any]) -> None:
        story = self.story
        rows = [(c, c["n_params"], c["score"]) for c in story.candidates if c["score"] is not None]
        self._draw_candidates(ax, rows)
        corners = staircase([(member["n_params"], member["score"]) for member in story.front])
        ax.plot(*zip(*corners, strict=True), **{"color": "black", "linewidth": 1, "label": "front", **options})
        members = [(member["n_params"], member["score"]) for member in story.front]
        ax.scatter(*zip(*members, strict=True), s=36, facecolors="none", edgecolors="black", zorder=4)
        ticker = optional_module("matplotlib.ticker", "plot")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        ax.set(xlabel="parameters", ylabel=f"{story.objective.name}, validation rows")
        ax.legend()


@final
class FamilyTreeDisplay(_Display):
    """Who descends from whom: generations to the right, the winner's lineage bold."""

    _size = (9.0, 5.0)

    def _draw(self, ax: Any, options: dict[str, Any]) -> None:
        nodes = {node.candidate: node for node in family_tree(self.story.candidates)}
        line = {entry.candidate for entry in self.story.lineage}
        for node in nodes.values():
            if node.parent is not None:
                parent = nodes[node.parent]
                won = node.candidate in line
                style = {"color": _COLORS["winner"] if won else "0.85", "linewidth": 2 if won else 0.7, **options}
                ax.plot([parent.column, node.column], [parent.row, node.row], zorder=2 if won else 1, **style)
        places = [(c, nodes[c["id"]].column, nodes[c["id"]].row) for c in self.story.candidates]
        self._draw_candidates(ax, places)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="generations from the start model", yticks=[])
        ax.invert_yaxis()
        ax.legend()


@final
class MutationDisplay(_Display):
    """What each kind of mutation brought: the median improvement over the parent, and how many went on."""

    def _draw(self, ax: Any, options: dict[str, Any]) -> None:
        found = mutation_summaries(self.story)
        gains = [summary.gain or 0.0 for summary in found]
        names = [summary.mutation.replace("_", " ") for summary in found]
        bars = ax.barh(names, gains, **{"color": _COLORS["parent"], **options})
        ax.bar_label(bars, [f"{own.went_on} of {own.tried} went on" for own in found], padding=3, fontsize=8)
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.margins(x=0.25)
        ax.invert_yaxis()
        ax.set(xlabel=f"median improvement in {self.story.objective.name} over the parent")

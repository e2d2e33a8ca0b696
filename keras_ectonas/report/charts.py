"""The pictures of the report as SVG, drawn by hand so that each point can be a link and tell what it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..tables import in_words
from .figures import Story, family_tree, mutation_summaries, staircase, ticks
from .markup import Content, Markup, element

__all__ = ["family_tree_chart", "front_chart", "lineage_chart", "mutation_chart", "tip_of"]

_WIDTH: Final = 860
_HEIGHT: Final = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 70, 20, 50
_RADIUS: Final = {"winner": 8, "parent": 5, "failed": 4}
_ROW, _COLUMN = 16, 90


@dataclass(frozen=True)
class _Axis:
    """Numbers to places on the page."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[float]:
        if not self.logarithmic:
            return ticks(self.low, self.high)
        if self.high < 8 * self.low:
            return ticks(self.low, self.high)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1,) if last - first > 4 else (1, 2, 5)
        found = [factor * 10.0**power for power in range(first, last + 1) for factor in steps]
        return [value for value in found if self.low <= value <= self.high]


def _padded(values: Sequence[float], share: float = 0.05) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = share * (high - low) or max(abs(low) * share, 1e-3)
    return low - room, high + room


def _size_axis(sizes: Sequence[int]) -> _Axis:
    return _Axis(max(min(sizes), 1) / 1.2, max(*sizes, 1) * 1.2, _LEFT, _WIDTH - _RIGHT, logarithmic=True)


def _path(points: Sequence[tuple[float, float]], **attributes: Any) -> Markup:
    steps = " L".join(f"{x:g},{y:g}" for x, y in points)
    return element("path", d=f"M{steps}", fill="none", **attributes)


def _text(words: str, x: float, y: float, anchor: str = "middle", **attributes: Any) -> Markup:
    return element("text", words, x=x, y=y, text_anchor=anchor, **attributes)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:g}"


def _axes(x: _Axis, y: _Axis, x_name: str, y_name: str) -> list[Content]:
    """Lines of a grid with numbers, and the names of the axes."""
    grid: list[Content] = []
    for value in x.ticks():
        grid += [
            element("line", x1=x(value), x2=x(value), y1=y.start, y2=y.end, class_="grid"),
            _text(_number(value), x(value), y.start + 18),
        ]
    for value in y.ticks():
        grid += [
            element("line", x1=x.start, x2=x.end, y1=y(value), y2=y(value), class_="grid"),
            _text(_number(value), x.start - 8, y(value) + 4, "end"),
        ]
    middle = (y.start + y.end) / 2
    return [
        *grid,
        _text(x_name, (x.start + x.end) / 2, y.start + 40, class_="axis"),
        _text(y_name, 16, middle, transform=f"rotate(-90 16 {middle:g})", class_="axis"),
    ]


def _figure(name: str, caption: str, width: float, height: float, *content: Content, scroll: bool = False) -> Markup:
    """A picture with its caption. A picture that scrolls keeps its size."""
    picture = element(
        "svg",
        *content,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width if scroll else None,
        height=height if scroll else None,
        role="group",
        aria_labelledby=f"{name}-caption",
    )
    inside = {"class_": "wide", "tabindex": "0", "role": "region", "aria_labelledby": f"{name}-caption"}
    frame = element("div", picture, **(inside if scroll else {"class_": "picture"}))
    return element("figure", frame, element("figcaption", caption, id=f"{name}-caption"))


def tip_of(candidate: dict[str, Any], score_name: str) -> str:
    """What a point says of its candidate."""
    score = in_words(candidate["score"]) or "none"
    return (
        f"Candidate {candidate['id']}, {candidate['status']}: {candidate['description']}; "
        f"{score_name} {score}; {candidate['n_params']:,} parameters"
    )


def _mark(status: str, x: float, y: float) -> Markup:
    """A shape for what became of a candidate: not told by color alone."""
    radius = _RADIUS.get(status, 3)
    if status == "winner":
        corners = [(radius * (1 if k % 2 == 0 else 0.45), math.pi * k / 5) for k in range(10)]
        points = " ".join(f"{x + r * math.sin(a):.2f},{y - r * math.cos(a):.2f}" for r, a in corners)
        return element("polygon", points=points, class_="mark winner")
    if status == "failed":
        d = f"M{x - 4:g},{y - 4:g} l8,8 m0,-8 l-8,8"
        return element("path", d=d, class_="mark failed")
    return element("circle", cx=x, cy=y, r=radius, class_=f"mark {status}")


def _linked(candidate: int, tip: str, *content: Content) -> Markup:
    return element("a", *content, href=f"#candidate-{candidate}", aria_label=tip, class_="point")


def lineage_chart(story: Story) -> Markup:
    """Score and parameters over the epochs of the winner's lineage, with the winning changes."""
    epochs, scores = story.winning_curve()
    step_epochs, sizes = story.size_steps()
    x = _Axis(min(0.0, *epochs), max(*epochs, step_epochs[-1]), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(*_padded(scores), _HEIGHT - _BOTTOM, _TOP)
    size = _Axis(0, max(*sizes, 1) * 1.05, _HEIGHT - _BOTTOM, _TOP)
    corners = [(x(e), size(s)) for e, s in zip(step_epochs, sizes, strict=True)]
    marks = [
        _linked(
            entry.candidate,
            f"Epoch {entry.epoch:.1f}, generation {entry.generation}: {entry.description}; {story.objective.name} "
            f"{in_words(entry.score)}; {entry.n_params:,} parameters",
            element("line", x1=x(entry.epoch), x2=x(entry.epoch), y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="change"),
            # In three heights, because changes can be close to each other.
            element("circle", cx=x(entry.epoch), cy=_TOP + 8 + 17 * (number % 3), r=8, class_="badge"),
            _text(str(number), x(entry.epoch), _TOP + 12 + 17 * (number % 3), class_="badge-number"),
        )
        for number, entry in enumerate((e for e in story.lineage if e.mutation not in ("start", "identity")), 1)
    ]
    right = [_text(_number(value), x.end + 8, size(value) + 4, "start", class_="size") for value in size.ticks()]
    middle = (y.start + y.end) / 2
    return _figure(
        "lineage-chart",
        f"Solid: {story.objective.name} on the validation rows; dashed: parameters; both along the winner's lineage. "
        "The numbered lines are the changes that won, told in the table below.",
        _WIDTH,
        _HEIGHT,
        _axes(x, y, "epochs along the lineage", story.objective.name),
        right,
        _text("parameters", _WIDTH - 8, middle, transform=f"rotate(90 {_WIDTH - 8} {middle:g})", class_="axis size"),
        _path(staircase(corners), class_="size-line"),
        _path([(x(e), y(s)) for e, s in zip(epochs, scores, strict=True)], class_="score-line"),
        marks,
    )


def front_chart(story: Story) -> Markup:
    """Score against parameters for every candidate, and the front."""
    scored = [c for c in story.candidates if c["score"] is not None]
    sizes = [c["n_params"] for c in scored] + [m["n_params"] for m in story.front]
    x = _size_axis(sizes)
    y = _Axis(*_padded([c["score"] for c in scored] + [m["score"] for m in story.front]), _HEIGHT - _BOTTOM, _TOP)
    corners = staircase([(x(max(m["n_params"], 1)), y(m["score"])) for m in story.front])
    name = story.objective.name
    # Painted last lies on top.
    scored.sort(key=lambda c: _RADIUS.get(c["status"], 0))
    points = [
        _linked(c["id"], tip_of(c, name), _mark(c["status"], x(max(c["n_params"], 1)), y(c["score"]))) for c in scored
    ]
    members = [
        _linked(
            m["candidate"],
            f"On the front: candidate {m['candidate']} after {m['epoch']:.1f} epochs; {name} {in_words(m['score'])}; "
            f"{m['n_params']:,} parameters; {m['architecture']}",
            element("circle", cx=x(max(m["n_params"], 1)), cy=y(m["score"]), r=6, class_="mark member"),
        )
        for m in story.front
    ]
    return _figure(
        "front-chart",
        f"Upwards: {name} on the validation rows; to the right: parameters, on a logarithmic scale. The line is the "
        "front; its rings are networks whose weights were kept. Star: the winner; large dots: parents; small dots: "
        "those who lost; crosses: those who failed; each with the mean score of its last match.",
        _WIDTH,
        _HEIGHT,
        _axes(x, y, "parameters", name),
        _path(corners, class_="front-line"),
        points,
        members,
    )


def family_tree_chart(story: Story) -> Markup:
    """Who descends from whom."""
    nodes = {node.candidate: node for node in family_tree(story.candidates)}
    top = min(node.row for node in nodes.values())
    n_rows = max(node.row for node in nodes.values()) - top + 1
    n_columns = max(node.column for node in nodes.values()) + 1
    place: Callable[[int], tuple[float, float]] = lambda c: (  # noqa: E731
        30 + _COLUMN * nodes[c].column,
        30 + _ROW * (nodes[c].row - top),
    )
    line = {entry.candidate for entry in story.lineage}
    edges = []
    # The winner's lineage is painted last.
    for node in sorted(nodes.values(), key=lambda node: node.candidate in line):
        if node.parent is not None:
            (x1, y1), (x2, y2) = place(node.parent), place(node.candidate)
            middle = (x1 + x2) / 2
            d = f"M{x1:g},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}"
            edges.append(element("path", d=d, fill="none", class_="won edge" if node.candidate in line else "edge"))
    marks = [
        _linked(c["id"], tip_of(c, story.objective.name), _mark(c["status"], *place(c["id"]))) for c in story.candidates
    ]
    height = 60 + _ROW * n_rows
    return _figure(
        "tree-chart",
        "Generations from left to right; lines lead from parents to children, the thick one from the start model to "
        "the winner. Star: the winner; large dots: parents; small dots: those who lost; crosses: those who failed.",
        60 + _COLUMN * (n_columns - 1),
        height,
        edges,
        marks,
        scroll=True,
    )


def mutation_chart(story: Story) -> Markup:
    """The median gain of each kind of mutation, as bars."""
    found = [summary for summary in mutation_summaries(story) if summary.gain is not None]
    gains = [summary.gain or 0.0 for summary in found]
    height = 30 * len(found) + 60
    x = _Axis(*_padded([0.0, *gains], 0.1), 150, _WIDTH - 120)
    bars = []
    for place, (summary, gain) in enumerate(zip(found, gains, strict=True)):
        y = 10 + 30 * place
        left, right = sorted((x(0.0), x(gain)))
        bars += [
            _text(summary.mutation.replace("_", " "), 140, y + 15, "end"),
            element("rect", x=left, y=y, width=max(right - left, 1), height=20, class_="loss" if gain < 0 else "gain"),
            _text(f"{gain:+.4f}", right + 6, y + 15, "start"),
        ]
    bars.append(element("line", x1=x(0.0), x2=x(0.0), y1=0, y2=height - 50, class_="zero"))
    return _figure(
        "mutation-chart",
        f"How much better than its parent a child ended, the median of each kind of change, in {story.objective.name}; "
        "to the left of the line it ended worse.",
        _WIDTH,
        height,
        bars,
        [_text(_number(value), x(value), height - 32) for value in x.ticks()],
        _text(f"improvement in {story.objective.name}", (x.start + x.end) / 2, height - 10, class_="axis"),
    )

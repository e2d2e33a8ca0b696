"""The sections of the report, each from the story of a search and the account of it to HTML."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..lineage import Refusal
from ..search.account import Account
from ..tables import in_words
from .charts import family_tree_chart, front_chart, lineage_chart, mutation_chart
from .figures import Story, mutation_summaries
from .markup import Content, Markup, element, table

__all__ = ["SECTIONS", "layers_side_by_side"]


def _summary(story: Story, account: Account, *, ended_by: str, **_: Any) -> Content:
    start, winner, name = story.candidates[0], story.winner, story.objective.name
    ends = {
        "budget": "the budget was spent",
        "max_time": "time was up",
        "interrupted": "somebody interrupted it",
        "callback": "a callback stopped it",
    }
    n_spent = sum(account.epochs["epochs"])
    tiles = [
        (f"Start, {name}", in_words(start["score"])),
        (f"Winner, {name}", in_words(winner["score"])),
        ("Start, parameters", f"{start['n_params']:,}"),
        ("Winner, parameters", f"{winner['n_params']:,}"),
        ("Candidates", f"{len(story.candidates):,}"),
        ("Epochs, all", f"{n_spent:,.1f}"),
        ("Time", _duration(account.seconds["total"])),
    ]
    better = "higher" if story.objective.higher_is_better else "lower"
    return [
        element(
            "dl", [element("div", element("dt", what), element("dd", value)) for what, value in tiles], class_="tiles"
        ),
        element(
            "p",
            f"The search went through {winner['generation']:,} generations to the winner, "
            f"{_candidate_words(winner)}, and ended because {ends.get(ended_by, ended_by)}. Scores are {name} on the "
            f"validation rows; {better} is better. The score of the start is that after its warm-up."
            + (" It gave way to a start made for the data." if story.lineage[0].candidate != start["id"] else ""),
        ),
    ]


def _went_in(story: Story, account: Account, *, columns: list[str], **_: Any) -> Content:
    facts = list(account.data.items())
    if columns:
        facts.append((f"Columns ({len(columns):,})", ", ".join(columns[:50]) + (", ..." if len(columns) > 50 else "")))
    knobs = account.parameters.rows()
    changed = [(_code(k["name"]), _code(k["value"])) for k in knobs if not k["is_default"]]
    plain = [(_code(k["name"]), _code(k["value"])) for k in knobs if k["is_default"]]
    return [
        table("Data", ["What", "Value"], facts),
        table("Parameters that were chosen", ["Parameter", "Value"], changed) if changed else None,
        element("details", element("summary", "Parameters left at their defaults"),
                table("Parameters left at their defaults", ["Parameter", "Value"], plain)),
        table("Software", ["Package", "Version"], list(account.versions.items())),
    ]  # fmt: skip


def _layers(story: Story, account: Account, **_: Any) -> Content:
    rows: list[Sequence[Content]] = []
    for before, after in layers_side_by_side(account.start.rows(), account.winner.rows()):
        change = "same"
        if before is None or after is None:
            change = "new" if before is None else "gone"
        elif (before["options"], before["output"], before["n_params"]) != (
            after["options"], after["output"], after["n_params"]
        ):  # fmt: skip
            change = "changed"
        rows.append((_code((after or before or {})["name"]), change, *_layer_cells(before), *_layer_cells(after)))
    columns = ["Layer", "Change", "Before", "Outputs", "Parameters", "After", "Outputs", "Parameters"]
    totals = [sum(layers["n_params"]) for layers in (account.start, account.winner)]
    rows.append(("All layers", f"{totals[1] - totals[0]:+,}", "", "", f"{totals[0]:,}", "", "", f"{totals[1]:,}"))
    return table("The start model and the winner, layer by layer", columns, rows, numeric=(4, 7))


def _layer_cells(layer: dict[str, Any] | None) -> tuple[str, str, str]:
    if layer is None:
        return "", "", ""
    options = f" {layer['options']}" if layer["options"] else ""
    return f"{layer['kind']}{options}", layer["output"], f"{layer['n_params']:,}"


def layers_side_by_side(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> list[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Layers of two networks in pairs of one name, in their order; None where one network has none."""
    old, new = ([str(layer["name"]) for layer in layers] for layers in (before, after))
    pairs: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            pairs += zip(before[a:b], after[c:d], strict=True)
        else:
            pairs += [(layer, None) for layer in before[a:b]] + [(None, layer) for layer in after[c:d]]
    return pairs


def _lineage(story: Story, account: Account, **_: Any) -> Content:
    number, rows = 0, []
    for entry in story.lineage:
        is_change = entry.mutation not in ("start", "identity")
        number += is_change
        rows.append(
            (
                str(number) if is_change else "-",
                entry.description,
                _candidate_link(entry.candidate),
                str(entry.generation),
                f"{entry.epoch:.1f}",
                in_words(entry.score),
                f"{entry.n_params:,}",
            )
        )
    columns = ["Change", "What changed", "Candidate", "Generation", "Epoch", "Score", "Parameters"]
    return [
        lineage_chart(story),
        table("From the start model to the winner", columns, rows, numeric=(0, 2, 3, 4, 5, 6)),
    ]


def _front(story: Story, account: Account, **_: Any) -> Content:
    rows = [
        (
            f"{m['n_params']:,}",
            in_words(m["score"]),
            _candidate_link(m["candidate"]),
            f"{m['epoch']:.1f}",
            m["architecture"],
        )
        for m in story.front
    ]
    name = story.objective.name
    return [
        _skip("front-table", "Skip the picture"),
        front_chart(story),
        table(
            f"The front: no other network is both smaller and better; {name} of exactly these weights",
            ["Parameters", "Score", "Candidate", "Epoch", "Weighted layers"],
            rows,
            numeric=(0, 1, 2, 3),
            id="front-table",
        ),
    ]


def _tree(story: Story, account: Account, **_: Any) -> Content:
    return [_skip("mutations", "Skip the family tree"), family_tree_chart(story)]


def _mutations(story: Story, account: Account, **_: Any) -> Content:
    rows = [
        (
            own.mutation.replace("_", " "),
            str(own.tried),
            str(own.went_on),
            str(own.failed),
            "" if own.gain is None else f"{own.gain:+.4f}",
            "" if own.growth is None else f"{100 * (own.growth - 1):+.1f} %",
            f"{own.epochs:.1f}",
            f"{own.seconds:.1f}",
        )
        for own in mutation_summaries(story)
    ]
    columns = ["Kind", "Tried", "Went on", "Failed", "Median improvement", "Median change in size", "Epochs", "Seconds"]
    if not rows:
        return element("p", "No changes were tried.")
    return [mutation_chart(story), table("What each kind of change brought", columns, rows, numeric=range(1, 8))]


def _cost(story: Story, account: Account, **_: Any) -> Content:
    seconds = account.seconds
    training, surgery = seconds.get("training", 0.0), seconds.get("surgery", 0.0)
    clock = [
        ("Training and scoring candidates, compilation included", training),
        ("Surgery on their networks", surgery),
        ("Everything else", max(0.0, seconds["total"] - training - surgery)),
        ("All", seconds["total"]),
    ]
    line = {entry.candidate for entry in story.lineage}
    kept = sum(c["epochs"] for c in story.candidates if c["id"] in line)
    spent = sum(account.epochs["epochs"])
    epochs = [*zip(account.epochs["purpose"], account.epochs["epochs"], strict=True), ("all", spent)]
    return [
        table("Epochs", ["Purpose", "Epochs"], [(what.capitalize(), f"{n:.1f}") for what, n in epochs], numeric=(1,)),
        element("p", f"{kept:.1f} of them were on the winner's own lineage."),
        table("Time on the clock", ["For", "Seconds"], [(what, f"{n:.1f}") for what, n in clock], numeric=(1,)),
    ]


def _failures(story: Story, account: Account, *, refusals: list[Refusal], **_: Any) -> Content:
    remarked = [
        (_candidate_link(c["id"]), c["status"], c["description"], c["remark"]) for c in story.candidates if c["remark"]
    ]
    counted = Counter((refusal.mutation.replace("_", " "), refusal.reason) for refusal in refusals)
    refused = [(kind, str(n), reason) for (kind, reason), n in counted.most_common()]
    if not remarked and not refused:
        return element("p", "None: every change could be made, and no training failed.")
    return [
        table("Candidates with remarks", ["Candidate", "Status", "Change", "Remark"], remarked) if remarked else None,
        table("Changes that were refused", ["Kind", "Times", "Reason"], refused, numeric=(1,)) if refused else None,
    ]


def _candidates(story: Story, account: Account, **_: Any) -> Content:
    rows = [
        (
            element("span", str(c["id"]), id=f"candidate-{c['id']}", tabindex="-1"),
            c["description"],
            in_words(c["score"]),
            f"{c['n_params']:,}",
            c["status"],
            f"{c['epochs']:.1f}",
            f"{c['seconds']:.1f}",
            "" if c["parent"] is None else _candidate_link(c["parent"]),
            str(c["generation"]),
            c["architecture"],
        )
        for c in story.candidates
    ]
    columns = ["Candidate", "Change", "Score", "Parameters", "Status", "Epochs", "Seconds", "Parent", "Generation",
               "Weighted layers"]  # fmt: skip
    listed = table("Every candidate that was trained", columns, rows, numeric=(0, 2, 3, 5, 6, 7, 8))
    return element("div", listed, class_="long")


def _use(story: Story, account: Account, **_: Any) -> Content:
    program = (
        'trainer.model_.save("winner.keras")\n'
        "smaller = trainer.select(within=0.01)  # the smallest within 0.01 of the best score\n"
        'smaller.save("smaller.keras")\n'
        "\n"
        "import keras  # wherever the models are used\n"
        'model = keras.models.load_model("winner.keras")\n'
        "model.predict(x)"
    )
    return [
        element("p", "The winner is a plain Keras model, trained and compiled; so is every network on the front."),
        element("pre", element("code", program), tabindex="0", role="region", aria_label="Program"),
    ]


def _candidate_link(candidate: int) -> Markup:
    return element("a", str(candidate), href=f"#candidate-{candidate}")


def _candidate_words(candidate: dict[str, Any]) -> str:
    return f"candidate {candidate['id']} with {candidate['n_params']:,} parameters ({candidate['architecture']})"


def _code(text: str) -> Markup:
    return element("code", text)


def _skip(target: str, words: str) -> Markup:
    return element("a", words, href=f"#{target}", class_="skip")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


SECTIONS: Final[tuple[tuple[str, str, Callable[..., Content]], ...]] = (
    ("summary", "Summary", _summary),
    ("lineage", "How it came about", _lineage),
    ("front", "Score against size", _front),
    ("winner", "The winner, layer by layer", _layers),
    ("tree", "Family tree", _tree),
    ("mutations", "What changes brought", _mutations),
    ("cost", "Cost", _cost),
    ("failures", "Failures and refusals", _failures),
    ("data", "What went in", _went_in),
    ("use", "Using the models", _use),
    ("candidates", "All candidates", _candidates),
)
"""Name, heading and maker of each section, in the order of the page."""

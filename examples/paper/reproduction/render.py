"""Shows results: as text, or between the markers of a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .experiments import Experiment
from .figures import FIGURES
from .results import Results
from .tables import TABLES

__all__ = ["rendered", "write_between_markers"]

NOTHING = "No results yet."


def rendered(experiments: Sequence[Experiment], results: Results, folder: Path) -> dict[str, str]:
    """Markdown by name of the experiment.

    Parameters
    ----------
    experiments : sequence of Experiment
    results : Results
    folder : Path
        For the pictures; Markdown refers to it by its name alone.
    """
    found = {}
    for experiment in experiments:
        if experiment.name in TABLES:
            lines = TABLES[experiment.name](experiment, results)
        else:
            lines = FIGURES[experiment.name](experiment, results, folder)
        found[experiment.name] = "\n".join(lines).strip() or NOTHING
    return found


def write_between_markers(path: Path, texts: dict[str, str]) -> None:
    """Put each text between ``<!-- name -->`` and ``<!-- /name -->`` of a file.

    Raises
    ------
    ValueError
        If markers are missing; nothing is written then.
    """
    content = path.read_text()
    for name, text in texts.items():
        before, opened, rest = content.partition(f"<!-- {name} -->")
        _, closed, after = rest.partition(f"<!-- /{name} -->")
        if not opened or not closed:
            raise ValueError(f"{path} has no place for {name}: expected <!-- {name} --> and <!-- /{name} -->.")
        content = f"{before}{opened}\n\n{text}\n\n{closed}{after}"
    path.write_text(content)

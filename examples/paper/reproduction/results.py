"""What came of runs: one line of JSON for each in a file that only grows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .experiments import Run

__all__ = ["Results", "Row"]

Row = dict[str, Any]


class Results:
    """The rows of a file, by the run they came of.

    Parameters
    ----------
    path : Path
        It need not exist.

    Raises
    ------
    ValueError
        If a line other than the last one cannot be read. The last one may be cut off, where a process was killed while
        it wrote; that run counts as not done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Run, Row] = {}
        self._longest: dict[Run, float] = {}
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                if number < len(lines):
                    raise ValueError(f"{path}, line {number} is no JSON: {error}") from error
                os.truncate(path, path.stat().st_size - len(line))
            else:
                self._keep(row)

    def longest_lineage(self, baseline: Run) -> float:
        """The most epochs that a winner from the same start has had, inherited ones included; 0 without a search."""
        return self._longest.get(baseline, 0.0)

    def add(self, row: Row) -> None:
        """Keep a row, on disk before anything else; it replaces an earlier one of the same run."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._keep(row)

    def _keep(self, row: Row) -> None:
        run = Run.of(row)
        self.rows[run] = row
        if run.kind != "plain" and "failure" not in row:
            self._longest[run.baseline] = max(self.longest_lineage(run.baseline), row["epochs"])

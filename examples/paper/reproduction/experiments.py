"""What is run: experiments as they are configured, and the runs that they consist of. Knows no Keras."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from .published import SETS

__all__ = ["EXPERIMENTS", "Experiment", "Run", "baseline_epochs", "experiment"]

FOLDER: Final = Path(__file__).parent.parent / "experiments"
EXPERIMENTS: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))

PAPER_BUDGET: Final = 1000
PAPER_BASELINE_EPOCHS: Final = 200
"""Of plain training, for that budget of a search."""


@dataclass(frozen=True)
class Run:
    """One training of one start model.

    Parameters
    ----------
    dataset : str
    samples : int or None
        Training rows, those held out for validation included; None: all.
    topology : str
    seed, repeat : int
        The random state; a repeat other than 0 derives one from the seed.
    kind : {"search", "random", "plain"}
        A search, a search whose matches chance decides, or training without a search.
    rules : {"paper", "default"} or None
        The published settings of the search, or those of the library; None for plain training.
    surgery : {"paper", "calibrated"} or None
        None: as the rules say.
    greediness : float or None
        For ``"search"``.
    budget : float or None
        Epochs over all candidates together; None for plain training.
    """

    dataset: str
    samples: int | None
    topology: str
    seed: int
    repeat: int
    kind: str
    rules: str | None = None
    surgery: str | None = None
    greediness: float | None = None
    budget: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Run:
        """The run that a row of results came of."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def baseline(self) -> Run:
        """Plain training of the same start model on the same rows."""
        return replace(self, kind="plain", rules=None, surgery=None, greediness=None, budget=None)

    @property
    def name(self) -> str:
        parts = [self.dataset, self.topology, f"seed {self.seed}"]
        if self.repeat:
            parts.append(f"repeat {self.repeat}")
        parts.append(self.kind)
        if self.rules:
            parts.append(f"{self.rules} rules")
        if self.surgery:
            parts.append(f"{self.surgery} surgery")
        if self.greediness is not None:
            parts.append(f"greediness {self.greediness:g}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Experiment:
    """Every combination of these is a run.

    Parameters
    ----------
    name, title : str
    datasets, topologies : tuple of str
    modes : tuple of dict
        ``kind`` of a run and, for searches, its ``greediness``.
    seeds : tuple of int
    repeats : int
        Runs with each seed.
    rules : tuple of str
    surgery : tuple of str or None
        None in it: as the rules say.
    samples : int or None
    budget : float
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    topologies: tuple[str, ...]
    modes: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...] = (42, 13, 28)
    repeats: int = 1
    rules: tuple[str, ...] = ("paper",)
    surgery: tuple[str | None, ...] = (None,)
    samples: int | None = None
    budget: float = PAPER_BUDGET

    def changed(self, **options: Any) -> Experiment:
        """With other values for all options that are not None.

        Of ``datasets`` those are taken that the experiment is about, and those that no experiment is about.
        """
        chosen = {name: value for name, value in options.items() if value is not None}
        if "datasets" in chosen:
            chosen["datasets"] = tuple(n for n in chosen["datasets"] if n in self.datasets or n not in SETS)
        return replace(self, **chosen)

    def runs(self) -> Iterator[Run]:
        """All runs; what belongs in one mean is close together, so that an interrupted experiment shows something."""
        for repeat in range(self.repeats):
            for seed in self.seeds:
                for dataset in self.datasets:
                    for topology in self.topologies:
                        start = Run(dataset, self.samples, topology, seed, repeat, "plain")
                        yield from self._runs_from(start)

    def _runs_from(self, start: Run) -> Iterator[Run]:
        for mode in self.modes:
            if mode["kind"] == "plain":
                yield start
                continue
            for rules in self.rules:
                for surgery in self.surgery:
                    yield replace(start, **mode, rules=rules, surgery=surgery, budget=self.budget)


def baseline_epochs(budget: float) -> int:
    """Plain training that stands beside a search: the same share of its budget as in the paper."""
    return max(1, round(PAPER_BASELINE_EPOCHS * budget / PAPER_BUDGET))


def experiment(name: str) -> Experiment:
    """An experiment as it is configured."""
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    fixed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Experiment(name, **fixed)

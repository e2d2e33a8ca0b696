"""Run the paper's experiments, and show what came of them beside what was published.

    python examples/paper/run.py table1 --data FOLDER --jobs 2
    python examples/paper/run.py --render

Each finished run is a line of JSON in the file of results. What is there is not done again, so an interrupted
experiment goes on when the same command is given. Without options an experiment is the paper's in full, which takes
weeks of one core; the options make it smaller. Tables and figures show all results there are.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from reproduction.experiments import EXPERIMENTS, Experiment, Run, baseline_epochs, experiment
from reproduction.render import rendered, write_between_markers
from reproduction.results import Results
from reproduction.schedule import Schedule

HERE = Path(__file__).resolve().parent


def main() -> int:
    options = parse()
    prepare_environment()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = Results(options.results)
    experiments = [experiment(name).changed(**chosen(options)) for name in options.experiments]
    if options.dry_run:
        return list_runs(experiments, results)
    try:
        failures = carry_out(experiments, results, options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    if options.render is not None:
        everything = [experiment(name) for name in EXPERIMENTS]
        write_between_markers(options.render, rendered(everything, results, options.render.parent / "figures"))
        print(f"tables and figures are in {options.render}")
    else:
        texts = rendered(experiments, results, options.results.parent / "figures")
        for shown in experiments:
            print(f"\n## {shown.title}\n\n{texts[shown.name]}")
    return 1 if failures else 0


def carry_out(experiments: Sequence[Experiment], results: Results, options: argparse.Namespace) -> list[str]:
    """Do all runs that are not done; what failed."""
    runs = [run for one in experiments for run in one.runs()]
    epochs: dict[Run, int] = {}
    for one in experiments:
        for run in one.runs():
            epochs[run.baseline] = max(epochs.get(run.baseline, 1), baseline_epochs(one.budget))
    schedule = Schedule(results, options.data, options.download, epochs, options.jobs, say)
    if runs:
        schedule.carry_out(runs)
    return schedule.failures


def list_runs(experiments: Sequence[Experiment], results: Results) -> int:
    for run in dict.fromkeys(run for one in experiments for run in one.runs()):
        print(f"{'done' if run in results.rows else 'to do'}: {run.name}")
    return 0


def prepare_environment() -> None:
    """One thread for each process, and JAX, unless somebody chose otherwise; the processes inherit it."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def say(line: str) -> None:
    print(line, flush=True)


def chosen(options: argparse.Namespace) -> dict[str, object]:
    """What the options change of an experiment."""
    lists = {name: getattr(options, name) for name in ("datasets", "topologies", "seeds", "rules", "surgery")}
    several = {name: None if value is None else tuple(value) for name, value in lists.items()}
    return {"samples": options.samples, "budget": options.budget, "repeats": options.repeats, **several}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"some of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--data", type=Path, help="folder with the data sets, in their public formats or as <name>.npz")
    parser.add_argument("--download", action="store_true", help="fetch data sets that are not in the folder")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl", help="file of JSON lines to append to")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, each a process with one thread")
    parser.add_argument("--datasets", nargs="+", help="'digits', which need no folder, among others")
    parser.add_argument("--topologies", nargs="+", help="starting topologies of table 6")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, help="runs with each seed")
    parser.add_argument("--samples", type=int, help="training rows, those for validation included")
    parser.add_argument("--budget", type=float, help="epochs of a search over all candidates together")
    parser.add_argument("--rules", nargs="+", choices=["paper", "default"])
    parser.add_argument("--surgery", nargs="+", choices=["paper", "calibrated"], help="other than the rules say")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and do none")
    parser.add_argument(
        "--render",
        nargs="?",
        type=Path,
        const=HERE / "README.md",
        metavar="FILE",
        help="write tables and figures of all results into a Markdown file, by default the README beside this program",
    )
    options = parser.parse_args()
    unknown = sorted(set(options.experiments) - set(EXPERIMENTS))
    if unknown:
        parser.error(f"no experiment {', '.join(unknown)}: there are {', '.join(EXPERIMENTS)}")
    if not options.experiments and options.render is None:
        parser.error(f"nothing to do: name some of {', '.join(EXPERIMENTS)}, or give --render")
    return options


if __name__ == "__main__":
    sys.exit(main())

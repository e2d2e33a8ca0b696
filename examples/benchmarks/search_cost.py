"""What does a whole search cost beyond its training steps? Wall time, and its share in steps, compilation and the rest.

The budget and the rows may be given as several numbers each, to see how the cost grows. The last line is JSON:
``overhead`` is the wall time over the time of all training and validation steps, of the first run.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import keras

from keras_ectonas import ECToNASTrainer

import datasets  # isort: skip
import topologies  # isort: skip


def main() -> None:
    options = parse()
    spent = watched_compilation()
    print("| rows | budget | jobs | seconds | steps | compiling and tracing | rest | overhead | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    first: dict[str, Any] = {}
    for samples in options.samples:
        images = datasets.load(options.data, options.dataset, samples)
        for budget in options.budget:
            n_classes = int(images.y_train.max()) + 1
            model = topologies.build(options.topology, images.x_train.shape[1:], n_classes, options.seed)
            spent.clear()
            began = time.perf_counter()
            trainer = ECToNASTrainer(
                model,
                budget=budget,
                multi_start=not options.one_start,
                engine=options.engine,
                n_jobs=options.jobs,
                random_state=options.seed,
                verbose=0,
            ).fit(images.x_train, images.y_train)
            wall = time.perf_counter() - began
            steps, compiling = sum(trainer.candidates_["seconds"]), sum(spent.values())
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"| {len(images.x_train)} | {budget:g} | {options.jobs} | {wall:.1f} | {steps:.1f} | {compiling:.1f} "
                f"| {wall - steps - compiling:.1f} | {wall / steps:.2f} | {peak:.0f} |",
                flush=True,
            )
            first = first or {
                "overhead": wall / steps,
                "wall_seconds": wall,
                "step_seconds": steps,
                "compile_seconds": compiling,
                "epochs": trainer.n_epochs_,
                "candidates": len(trainer.candidates_["id"]),
                "score": trainer.best_score_,
            }
    print(json.dumps(first))


def watched_compilation() -> dict[str, float]:
    """Seconds that JAX spends on tracing and compiling, by event; filled as they pass."""
    spent: dict[str, float] = defaultdict(float)
    if keras.backend.backend() == "jax":
        import jax

        def add(event: str, seconds: float, **_: Any) -> None:
            if "compile" in event or "trace" in event:
                spent[event] += seconds

        jax.monitoring.register_event_duration_secs_listener(add)
    return spent


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with <name>.npz files; without it scikit-learn's digits")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--samples", type=int, nargs="+", default=[10000], help="training rows")
    parser.add_argument("--budget", type=float, nargs="+", default=[300])
    parser.add_argument("--topology", default="medium", choices=topologies.TOPOLOGIES)
    parser.add_argument("--one-start", action="store_true", help="search from the topology alone")
    parser.add_argument("--engine", default="auto", choices=["auto", "fit", "compiled"])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    if options.data is None:
        options.dataset, options.samples = "digits", [1000]
    return options


if __name__ == "__main__":
    main()

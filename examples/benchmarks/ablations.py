"""What is each idea of the default rules worth? The same searches without it, one idea at a time.

Searches start from topologies of the paper with its optimizer, on the same rows, with the same seeds and the same
budget in epochs. The second table shows means over starts and seeds and, for each idea left out, the mean difference to
all of them together with its standard error: differences are taken start by start and seed by seed. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas import ECToNASTrainer

import datasets  # isort: skip
import topologies  # isort: skip

NOTHING: Final = "nothing"
SIZE: Final = "limit on what size may cost"
LEFT_OUT: Final[dict[str, dict[str, Any]]] = {
    "warm-up that follows the loss": {"warmup_epochs": 10.0},
    "calibrated surgery": {"surgery": "paper"},
    "final training": {"final_share": 0.0},
    "dropout in the final training": {"final_dropout": 0.0},
    "a second start": {"multi_start": False},
    "small rates at the end of a match": {"match_rate": 1.0},
    "several layers at once": {"joint_step": 0.0},
    "few children": {"max_children": None},
    "tolerance": {"tolerance": 0.0},
    SIZE: {"max_drop": None},
    "archive and final training": {"final_selection": "parents", "final_share": 0.0},
}
"""Settings that leave an idea out, by its name."""


def main() -> None:
    options = parse()
    images = datasets.load(options.data, options.dataset, options.samples)
    print("| without | start | seed | test accuracy | parameters | seconds |\n|---|---|---|---|---|---|")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (NOTHING, *options.without)}
    for start in options.starts:
        for seed in options.seeds:
            for name, rows in found.items():
                row = searched(images, start, seed, options, LEFT_OUT.get(name, {}))
                rows.append({"start": start, "seed": seed, **row})
                print(
                    f"| {name} | {start} | {seed} | {100 * row['accuracy']:.2f} "
                    f"| {row['params']:,} | {row['seconds']:.0f} |",
                    flush=True,
                )
    print("\n| without | test accuracy | difference | standard error | parameters | seconds |")
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        pairs = zip(rows, found[NOTHING], strict=True)
        differences = [100 * (row["accuracy"] - other["accuracy"]) for row, other in pairs]
        error = np.std(differences, ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.nan
        accuracy, params, seconds = (np.mean([row[key] for row in rows]) for key in ("accuracy", "params", "seconds"))
        print(
            f"| {name} | {100 * accuracy:.2f} | {np.mean(differences):+.2f} "
            f"| {error:.2f} | {params:,.0f} | {seconds:.0f} |"
        )
    print(json.dumps(found))


def searched(
    images: Any, start: str, seed: int, options: argparse.Namespace, settings: dict[str, Any]
) -> dict[str, Any]:
    """Test accuracy, size and time of one search."""
    n_classes = int(images.y_train.max()) + 1
    if "warmup_epochs" in settings:  # The longest that the rule's two parts come to.
        settings = {**settings, "warmup_epochs": min(settings["warmup_epochs"], 0.1 * options.budget)}
    model = topologies.build(start, images.x_train.shape[1:], n_classes, seed, options.learning_rate)
    began = time.perf_counter()
    trainer = ECToNASTrainer(
        model, budget=options.budget, greediness=options.greediness, random_state=seed, verbose=0, **settings
    ).fit(images.x_train, images.y_train)
    return {
        "seconds": time.perf_counter() - began,
        "accuracy": float(trainer.score(images.x_test, images.y_test)),
        "params": trainer.model_.count_params(),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with data sets; without it scikit-learn's digits")
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--samples", type=int, default=10000, help="training rows")
    parser.add_argument("--budget", type=float, default=120)
    parser.add_argument("--greediness", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 13])
    parser.add_argument("--starts", nargs="+", default=list(topologies.TOPOLOGIES), choices=topologies.TOPOLOGIES)
    parser.add_argument("--without", nargs="+", choices=LEFT_OUT, help="all that can matter")
    options = parser.parse_args()
    if options.without is None:  # In greedy mode nobody is preferred for its size.
        options.without = [name for name in LEFT_OUT if name != SIZE or options.greediness < 1]
    if options.data is None:
        options.samples = 1000
    return options


if __name__ == "__main__":
    main()

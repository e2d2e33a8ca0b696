"""How good is what a search finds, for the seconds that it takes? Default rules, the paper's, and others at equal time.

Each method gets the same rows and the same wall time on one core, and is measured on the test rows:

* ``default``: `ECToNASClassifier` from nothing.
* ``default_medium``, ``paper_medium``: from the paper's medium convolutional topology, by the library's rules and by
  ``**PAPER``.
* ``plain``: the start that ``default`` makes, trained without any change.
* ``same_size``: the architecture that ``default`` found, trained from fresh weights.
* ``mlp``: scikit-learn's `MLPClassifier` with early stopping, which ends by itself.
* ``tuner_random``, ``tuner_hyperband``: KerasTuner's searches, where it is installed; only when they are asked for.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sklearn.neural_network import MLPClassifier

from keras_ectonas import PAPER, ECToNASClassifier, ECToNASTrainer

import datasets  # isort: skip
import topologies  # isort: skip  (after keras_ectonas, which chooses a backend)

ENDLESS = 100_000.0
"""Epochs that no method spends in its time."""


def main() -> None:
    options = parse()
    print("| data | method | seed | test accuracy | parameters | seconds | epochs | winner |")
    print("|---|---|---|---|---|---|---|---|")
    found: list[dict[str, Any]] = []
    for name in options.datasets:
        images = datasets.load(options.data, name, options.samples or None)
        if options.flat:
            images = images._replace(x_train=flat(images.x_train), x_test=flat(images.x_test))
        for seed in options.seeds:
            found += compared(images, name, seed, options)
    print(json.dumps(found))


def compared(images: Any, name: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each method."""
    rows: list[dict[str, Any]] = []
    models: dict[str, Any] = {}
    for method in options.methods:
        began = time.perf_counter()
        estimator = METHODS[method](images, seed, options, models).fit(images.x_train, images.y_train)
        row = {
            "dataset": name,
            "samples": len(images.x_train),
            "method": method,
            "seed": seed,
            "seconds": time.perf_counter() - began,
            "accuracy": float(estimator.score(images.x_test, images.y_test)),
            "epochs": getattr(estimator, "n_epochs_", None) or estimator.n_iter_,
        }
        models[method] = getattr(estimator, "model_", None)
        row["params"] = n_params(estimator)
        row["winner"] = estimator.lineage_[-1].description if hasattr(estimator, "lineage_") else ""
        rows.append(row)
        print(
            f"| {name} | {method} | {seed} | {100 * row['accuracy']:.2f} | {row['params']:,} "
            f"| {row['seconds']:.0f} | {row['epochs']:.0f} | {row['winner']} |",
            flush=True,
        )
    return rows


def n_params(estimator: Any) -> int:
    if hasattr(estimator, "model_"):
        return int(estimator.model_.count_params())
    return sum(part.size for part in (*estimator.coefs_, *estimator.intercepts_))


def shared(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    return {"budget": ENDLESS, "max_time": options.seconds, "random_state": seed, "verbose": 0}


def knobs(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """With a budget in epochs, the time is not limited."""
    if options.budget is None:
        return shared(seed, options)
    return {"budget": options.budget, "random_state": seed, "verbose": 0}


def default(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    return ECToNASClassifier(greediness=options.greediness, max_params=options.max_params, **knobs(seed, options))


def default_medium(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    return ECToNASTrainer(
        start(images, seed), greediness=options.greediness, max_params=options.max_params, **knobs(seed, options)
    )


def paper_medium(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    return ECToNASTrainer(start(images, seed), **{**PAPER, "greediness": options.greediness, **knobs(seed, options)})


def plain(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    given = knobs(seed, options)
    return ECToNASClassifier(
        **given,
        greediness=options.greediness,
        max_params=options.max_params,
        warmup_epochs=given["budget"],
        final_share=0.0,
    )


def same_size(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    given = knobs(seed, options)
    return ECToNASTrainer(models["default"], **given, warmup_epochs=given["budget"], final_share=0.0)


def mlp(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    return Flat(early_stopping=True, random_state=seed)


def tuner_random(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    from keras_tuner_rival import KerasTunerRival

    return KerasTunerRival("random", options.seconds, seed)


def tuner_hyperband(images: Any, seed: int, options: argparse.Namespace, models: dict[str, Any]) -> Any:
    from keras_tuner_rival import KerasTunerRival

    return KerasTunerRival("hyperband", options.seconds, seed)


class Flat(MLPClassifier):
    """Takes images row by row."""

    def fit(self, X: Any, y: Any) -> Any:
        return super().fit(flat(X), y)

    def score(self, X: Any, y: Any) -> float:
        return float(super().score(flat(X), y))


def flat(rows: Any) -> Any:
    return rows.reshape(len(rows), -1)


def start(images: Any, seed: int) -> Any:
    return topologies.build("medium", images.x_train.shape[1:], int(images.y_train.max()) + 1, seed)


METHODS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (default, default_medium, paper_medium, plain, same_size, mlp, tuner_random, tuner_hyperband)
}
AT_HAND = [name for name in METHODS if not name.startswith("tuner")]
OF_IMAGES = ("default_medium", "paper_medium")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with data sets; without it scikit-learn's digits")
    parser.add_argument("--datasets", nargs="+", default=["fashion_mnist", "cifar10"])
    parser.add_argument("--samples", type=int, default=10000, help="training rows; 0: all")
    parser.add_argument("--flat", action="store_true", help="rows of numbers, as the census data are, and no images")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--budget", type=float, help="epochs for each method in place of seconds")
    parser.add_argument("--greediness", type=float, default=1.0)
    parser.add_argument("--max-params", type=int, help="for searches by default rules")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="all but KerasTuner's, where they can be")
    options = parser.parse_args()
    if options.methods is None:
        options.methods = [name for name in AT_HAND if not (options.flat and name in OF_IMAGES)]
    if options.flat and set(options.methods) & set(OF_IMAGES):
        parser.error(f"{' and '.join(OF_IMAGES)} start from convolutions: leave out --flat")
    if options.data is None:
        options.datasets = ["digits"]
    return options


if __name__ == "__main__":
    main()

"""Table 4 of the paper: a pooling layer is inserted between two trained convolutions.

The dense layer behind must do with a quarter of its inputs. Three ways to choose its weights are compared, without
retraining and after one epoch: structured (the paper's rule), random (inputs cut at random, the paper's comparison) and
calibrated (ours). Every seed has its own split of the data and its own network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas.bridge import Blueprint, LiveModel, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.network import Network
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery
from keras_ectonas.surgery.cells import insert_pooling

import datasets  # isort: skip
import keras  # isort: skip
import topologies  # isort: skip

PUBLISHED = {
    ("average", "structured"): (89.1, 96.0),
    ("average", "random"): (53.8, 95.6),
    ("max", "structured"): (13.4, 29.7),
    ("max", "random"): (49.3, 95.0),
}
"""Validation accuracy in the paper without retraining and after one epoch, in percent; its baseline had 98.6."""

SECOND_CONVOLUTION, DENSE = 1, 4


def main() -> None:
    options = parse()
    images = datasets.load(options.data, options.dataset)
    x, y = images.x_train, images.y_train
    model = topologies.two_convolutions(x.shape[1:], int(y.max()) + 1)
    blueprint = Blueprint.of(model, Compilation.of(model))
    live: dict[str, LiveModel] = {}
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    baseline = []
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(x))
        rows, held_out = order[: options.samples], order[options.samples :][: options.validation]
        topologies.reinitialize(model, seed)
        model.fit(x[rows], y[rows], batch_size=32, epochs=options.epochs, verbose=0)
        parent = network_of(model, nonnegative_input=True)
        baseline.append(accuracy(model, x[held_out], y[held_out]))
        for pooling in ("average", "max"):
            for name, way in ways(x[rows[: options.calibration_rows]], seed).items():
                child = way(parent, pooling)
                trained = live.setdefault(pooling, blueprint.build(child))
                trained.assign(child)
                before = accuracy(trained.model, x[held_out], y[held_out])
                keras.utils.set_random_seed(seed)
                trained.model.fit(x[rows], y[rows], batch_size=32, epochs=1, verbose=0)
                found[pooling, name].append((before, accuracy(trained.model, x[held_out], y[held_out])))
    show(found, baseline)


def ways(calibration: np.ndarray, seed: int) -> dict[str, Callable[[Network, str], Network]]:
    published, calibrated = PublishedSurgery(), CalibratedSurgery(calibration, seed)
    return {
        "structured": lambda parent, how: published.add_pooling(parent, SECOND_CONVOLUTION, 2, how).network,
        "random": lambda parent, how: randomly_cut(parent, how, seed),
        "calibrated": lambda parent, how: calibrated.add_pooling(parent, SECOND_CONVOLUTION, 2, how).network,
    }


def randomly_cut(parent: Network, how: str, seed: int) -> Network:
    """As many rows of the dense kernel as are needed, drawn at random, in their order."""
    child = insert_pooling(parent, SECOND_CONVOLUTION, 2, how)
    kernel = parent.layers[DENSE - 1].weight("kernel")
    needed = len(child.layers[DENSE].value("kernel"))
    kept = np.sort(np.random.default_rng(seed).permutation(len(kernel.value))[:needed])
    return child.with_layer(DENSE, child.layers[DENSE].with_weights(kernel.take(kept, axis=0)))


def accuracy(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> float:
    return 100 * float(model.evaluate(x, y, batch_size=1000, verbose=0, return_dict=True)["accuracy"])


def show(found: dict[tuple[str, str], list[tuple[float, float]]], baseline: list[float]) -> None:
    print(f"baseline: {np.mean(baseline):.2f} +- {np.std(baseline):.2f} over {len(baseline)} seeds (paper: 98.6)\n")
    print("| pooling | weights | no retraining | paper | one epoch | paper |")
    print("|---|---|---|---|---|---|")
    summary = {"baseline": float(np.mean(baseline))}
    for key, pairs in found.items():
        (before, after), (spread, spread_after) = np.mean(pairs, axis=0), np.std(pairs, axis=0)
        paper, paper_after = (f"{value}" for value in PUBLISHED.get(key, ("", "")))
        print(
            f"| {key[0]} | {key[1]} | {before:.2f} +- {spread:.2f} | {paper} "
            f"| {after:.2f} +- {spread_after:.2f} | {paper_after} |"
        )
        summary[f"{key[0]}_{key[1]}"] = float(before)
        summary[f"{key[0]}_{key[1]}_one_epoch"] = float(after)
    print(json.dumps(summary))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    datasets.add_options(parser, "mnist", 10000, 5000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--calibration-rows", type=int, default=2000)
    return datasets.few_rows_of_digits(parser.parse_args())


if __name__ == "__main__":
    main()

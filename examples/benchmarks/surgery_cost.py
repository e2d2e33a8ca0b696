"""How long does one change of architecture take, and how much memory, on networks of up to a million parameters?

Every mutation acts at each place where it can, with the default settings and number of calibration rows, on a dense
network for 28x28 images and a convolutional one for 32x32 images in color. What the parent computes on the rows is
shared by its children, as in a search, and is not in the time of a change; memory counts it. Rows and weights are
random: neither time nor memory depends on them. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tracemalloc
from collections import defaultdict

import numpy as np

from keras_ectonas.bridge import network_of
from keras_ectonas.mutations import MUTATIONS, Mutation, Site
from keras_ectonas.network import Array, Network
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery

import keras  # isort: skip  (after keras_ectonas, which chooses a backend)

MB = 1e6
SEVERAL = " of several layers"


def main() -> None:
    options = parse()
    rng = np.random.default_rng(options.seed)
    most: dict[str, float] = defaultdict(float)
    print("| network | parameters | change | places | seconds, most | more MB, most |")
    print("|---|---|---|---|---|---|")
    for name, model in (("dense", dense()), ("convolutional", convolutional())):
        network = network_of(model, nonnegative_input=True)
        rows = rng.random((options.calibration_rows, *model.input_shape[1:]), dtype=np.float32)
        for change, found in costs(network, rows, options.repeats).items():
            seconds, megabytes = (max(values) for values in zip(*found, strict=True))
            print(
                f"| {name} | {network.n_params:,} | {change} | {len(found)} | {seconds:.2f} | {megabytes:.0f} |",
                flush=True,
            )
            for key, value in (("seconds", seconds), ("megabytes", megabytes)):
                key += "_several_layers" if change.endswith(SEVERAL) else ""
                most[key] = max(most[key], round(value, 3))
    print(json.dumps(most))


def costs(network: Network, rows: Array, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds and MB of every change at every place, by the change's name."""
    surgery, found = CalibratedSurgery(rows), defaultdict(list)
    for mutation in MUTATIONS:
        for site in mutation.sites(network, SearchSettings()):
            if mutation.name != "identity":
                name = mutation.name + (SEVERAL if site.also else "")
                found[name].append(cost(mutation, site, network, surgery, rows, repeats))
    return found


def cost(
    mutation: Mutation, site: Site, network: Network, surgery: CalibratedSurgery, rows: Array, repeats: int
) -> tuple[float, float]:
    """Seconds, the median of some repeats, and the most memory in MB that was in use on top of what was before."""
    seconds = []
    for _ in range(1 + repeats):
        began = time.perf_counter()
        mutation.apply(network, site, surgery, np.random.default_rng(0))
        seconds.append(time.perf_counter() - began)
    tracemalloc.start()  # Slows what it watches, so not while the time is taken.
    mutation.apply(network, site, CalibratedSurgery(rows), np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return statistics.median(seconds[1:]), peak / MB


def dense() -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(1000, activation="relu"),
            keras.layers.Dense(200, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def convolutional() -> keras.Sequential:
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for channels in (32, 64, 128):
        model.add(keras.layers.Conv2D(channels, 3, padding="same"))
        model.add(keras.layers.AveragePooling2D(2, padding="same"))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.Activation("relu"))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(400, activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    return model


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration-rows", type=int, default=SearchSettings().calibration_rows)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()

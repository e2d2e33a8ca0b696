"""How much of what a network has learned does surgery lose? Paper's rules and calibrated rules side by side.

Networks are trained for some epochs, each operation is applied once without any retraining, and the validation
accuracy before and after is compared. The last line is JSON with the points lost, means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas.bridge import network_of
from keras_ectonas.mutations import mutation_named
from keras_ectonas.network import Network
from keras_ectonas.settings import SearchSettings
from keras_ectonas.surgery import CalibratedSurgery, PublishedSurgery, Surgery
from keras_ectonas.surgery.inference import outputs_along

import datasets  # isort: skip
import keras  # isort: skip
import topologies  # isort: skip


class Case(NamedTuple):
    """One operation at one strength on one network."""

    network: str
    name: str
    operation: Callable[[Surgery, Network], Network]


def layer_called(network: Network, kind: str, number: int) -> int:
    """Index of the layer that is `number` among those of its kind."""
    return [index for index, layer in enumerate(network.layers) if layer.kind == kind][number]


def units(share: float) -> Callable[[Surgery, Network], Network]:
    def operation(surgery: Surgery, network: Network) -> Network:
        index = layer_called(network, "Dense", 0)
        n_units = network.layers[index].config["units"]
        return surgery.remove_units(network, index, round(share * n_units)).network

    return operation


def channels(share: float, cell: int) -> Callable[[Surgery, Network], Network]:
    def operation(surgery: Surgery, network: Network) -> Network:
        index = layer_called(network, "Conv2D", cell)
        filters = network.layers[index].config["filters"]
        return surgery.remove_channels(network, index, round(share * filters)).network

    return operation


def pooling(how: str) -> Callable[[Surgery, Network], Network]:
    return lambda surgery, network: surgery.add_pooling(network, layer_called(network, "Conv2D", 1), 2, how).network


def cell(how: str | None, kind: str, number: int) -> Callable[[Surgery, Network], Network]:
    def operation(surgery: Surgery, network: Network) -> Network:
        rng = np.random.default_rng(0)
        return surgery.add_cell(network, layer_called(network, kind, number), 2, how, rng).network

    return operation


def added(kind: str, n_added: int) -> Callable[[Surgery, Network], Network]:
    def operation(surgery: Surgery, network: Network) -> Network:
        rng = np.random.default_rng(0)
        return surgery.add_outputs(network, layer_called(network, kind, 0), n_added, rng).network

    return operation


def dense_layer(surgery: Surgery, network: Network) -> Network:
    return surgery.remove_dense(network, layer_called(network, "Dense", 1)).network


def new_dense_layer(surgery: Surgery, network: Network) -> Network:
    return surgery.add_dense(network, layer_called(network, "Dense", 1)).network


def removed_cell(number: int) -> Callable[[Surgery, Network], Network]:
    return lambda surgery, network: surgery.remove_cell(network, layer_called(network, "Conv2D", number)).network


def narrower_everywhere(name: str) -> Callable[[Surgery, Network], Network]:
    """The search's own change of all dense layers or all convolutions at once: a third less."""

    def operation(surgery: Surgery, network: Network) -> Network:
        mutation = mutation_named(name)
        site = next(site for site in mutation.sites(network, SearchSettings()) if site.also)
        return mutation.apply(network, site, surgery, np.random.default_rng(0)).network

    return operation


CASES = (
    Case("two_convolutions", "average_pooling", pooling("average")),
    Case("two_convolutions", "max_pooling", pooling("max")),
    Case("large_dense", "units_10", units(0.1)),
    Case("large_dense", "units_50", units(0.5)),
    Case("large_dense", "units_90", units(0.9)),
    Case("large_dense", "dense_layer", dense_layer),
    *(Case("small", "channels_third", channels(1 / 3, number)) for number in range(3)),
    *(Case("medium", "channels_third", channels(1 / 3, number)) for number in range(2)),
    Case("small", "channels_of_all", narrower_everywhere("remove_channels")),
    Case("large_dense", "units_of_all", narrower_everywhere("remove_units")),
    *(Case("small", "cell", removed_cell(number)) for number in range(3)),
    *(Case("medium", "cell", removed_cell(number)) for number in range(2)),
    Case("large_dense", "add_cell_average", cell("average", "Flatten", 0)),
    Case("large_dense", "add_cell_max", cell("max", "Flatten", 0)),
    Case("medium", "add_cell_average_between", cell("average", "Conv2D", 1)),
    Case("medium", "add_cell_without_pooling", cell(None, "Conv2D", 1)),
    Case("large_dense", "add_units", added("Dense", 10)),
    Case("medium", "add_channels", added("Conv2D", 3)),
    Case("large_dense", "add_dense_layer", new_dense_layer),
)
REPORTED = (
    "average_pooling",
    "max_pooling",
    "units_10",
    "units_50",
    "dense_layer",
    "channels_third",
    "cell",
)


class Result(NamedTuple):
    """What one operation did."""

    loss: float
    change: float
    seconds: float


def main() -> None:
    options = parse()
    results: dict[tuple[str, str, str, str], list[Result]] = defaultdict(list)
    wanted = [case for case in CASES if not options.cases or case.name in options.cases]
    for name in options.datasets:
        images = datasets.load(options.data, name, options.samples + options.validation)
        rows, labels = images.x_train[: -options.validation], images.y_train[: -options.validation]
        held_out = images.x_train[-options.validation :], images.y_train[-options.validation :]
        for kind in dict.fromkeys(case.network for case in wanted):
            model = untrained(kind, rows.shape[1:], int(labels.max()) + 1)
            for seed in range(options.seeds):
                parent = trained(model, rows, labels, seed, options.epochs)
                drawn = np.random.default_rng(seed).permutation(len(rows))[: options.calibration_rows]
                calibrated = CalibratedSurgery(rows[drawn], seed=seed, ridge=options.ridge)
                surgeries: dict[str, Surgery] = {"paper": PublishedSurgery(), "calibrated": calibrated}
                for case in wanted:
                    if case.network == kind:
                        for method, result in compare(case, parent, surgeries, held_out).items():
                            results[name, kind, case.name, method].append(result)
    show(results)


def untrained(kind: str, shape: tuple[int, ...], n_classes: int) -> keras.Sequential:
    """The topologies of table 6, or the network of table 4."""
    if kind == "two_convolutions":
        return topologies.two_convolutions(shape, n_classes)
    return topologies.build(kind, shape, n_classes, 0)


def trained(model: keras.Sequential, x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> Network:
    """The model trained from new initial weights, which `seed` decides, as is the order of rows."""
    topologies.reinitialize(model, seed)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return network_of(model, nonnegative_input=True)


def compare(
    case: Case, parent: Network, surgeries: dict[str, Surgery], held_out: tuple[np.ndarray, np.ndarray]
) -> dict[str, Result]:
    x, y = held_out
    before = outputs_along(parent.layers, x)[-1]
    found = {}
    for name, surgery in surgeries.items():
        began = time.perf_counter()
        child = case.operation(surgery, parent)
        seconds = time.perf_counter() - began
        after = outputs_along(child.layers, x)[-1]
        lost = 100 * float((before.argmax(-1) == y).mean() - (after.argmax(-1) == y).mean())
        found[name] = Result(lost, float(np.abs(after - before).max()), seconds)
    return found


def show(results: dict[tuple[str, str, str, str], list[Result]]) -> None:
    print("| data | network | operation | rules | points lost | spread | largest change | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for (data, kind, name, method), found in results.items():
        losses = [result.loss for result in found]
        change = max(result.change for result in found)
        seconds = float(np.median([result.seconds for result in found]))
        print(
            f"| {data} | {kind} | {name} | {method} | {np.mean(losses):.2f} | {np.std(losses):.2f} "
            f"| {change:.1e} | {seconds:.2f} |"
        )
    summary: dict[str, Any] = {}
    for name in REPORTED:
        for method, prefix in (("paper", "paper_"), ("calibrated", "")):
            losses = [r.loss for key, found in results.items() if key[2:] == (name, method) for r in found]
            if losses:
                summary[f"{prefix}{name}_loss"] = float(np.mean(losses))
    print(json.dumps(summary))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with <name>.npz files; without it scikit-learn's digits")
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion_mnist"])
    parser.add_argument("--samples", type=int, default=10000, help="training rows")
    parser.add_argument("--validation", type=int, default=5000, help="rows to measure accuracy on")
    parser.add_argument("--seeds", type=int, default=10, help="how many networks of each kind are trained")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--calibration-rows", type=int, default=2000)
    parser.add_argument("--ridge", type=float, default=1e-2)
    parser.add_argument("--cases", nargs="+", help="only these operations")
    options = parser.parse_args()
    if options.data is None:
        options.datasets, options.samples, options.validation = ["digits"], 1000, 347
    return options


if __name__ == "__main__":
    main()

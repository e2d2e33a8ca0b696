"""How long does a training step take? The compiled engine against Keras' own fit, on the backend that Keras runs on.

For each of the six topologies of the paper and each shape of images, or for each of some larger models of other kinds
(``--typical``), both engines train the same candidate for some epochs, taking turns; the median over the repeats
counts, compilation does not. The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas.bridge import Blueprint, network_of
from keras_ectonas.compilation import Compilation
from keras_ectonas.engines import Assignment, Engine, FitEngine
from keras_ectonas.engines.compiled import CompiledEngine
from keras_ectonas.inputs.data import Rows, TrainingData, split
from keras_ectonas.inputs.task import Task
from keras_ectonas.lineage import TrainingJob
from keras_ectonas.network import Network
from keras_ectonas.rules import producer_rule
from keras_ectonas.scoring import resolve_scoring
from keras_ectonas.surgery.walk import shapes_of

import topologies  # isort: skip
from typical_models import TYPICAL_MODELS, build_typical  # isort: skip


def main() -> None:
    options = parse()
    rate = matrix_product_rate()
    print(f"matrix products in single precision: {rate:.1f} GFLOP/s")
    print("| shape | topology | fit, ms | compiled, ms | times faster | GFLOP/s | share of the matrix-product rate |")
    print("|---|---|---|---|---|---|---|")
    speedups, shares = [], []
    for shape, name, model in models(options):
        given, network = candidate(model, options.rows, options.batch_size)
        fit, compiled = step_times(given, network, options.epochs, options.repeats)
        work = 2 * options.batch_size * multiplications(network) / 1e6
        speedups.append(fit / compiled)
        shares.append(work / compiled / rate)
        print(
            f"| {'x'.join(map(str, shape))} | {name} | {fit:.3f} | {compiled:.3f} | {speedups[-1]:.1f} "
            f"| {work / compiled:.1f} | {shares[-1]:.2f} |",
            flush=True,
        )
    result = {
        "geometric_mean_speedup": float(np.exp(np.mean(np.log(speedups)))),
        "smallest_speedup": min(speedups),
        "matrix_product_gflops": rate,
        "mean_share_of_matrix_product_rate": float(np.mean(shares)),
    }
    print(json.dumps(result))


def models(options: argparse.Namespace) -> Iterator[tuple[tuple[int, ...], str, keras.Sequential]]:
    """Input shape, name and model of each case, made when it is its turn."""
    if options.typical:
        for name, (shape, _) in TYPICAL_MODELS.items():
            yield shape, name, build_typical(name, 10, seed=0)
        return
    for shape, name in itertools.product(options.shapes, options.topologies):
        yield shape, name, topologies.build(name, shape, 10, seed=0)


def case(name: str, shape: tuple[int, ...], n_rows: int, batch_size: int) -> tuple[Assignment, Network]:
    """A candidate of one of the paper's topologies, and random rows to train it on."""
    return candidate(topologies.build(name, shape, 10, seed=0), n_rows, batch_size)


def candidate(model: keras.Sequential, n_rows: int, batch_size: int) -> tuple[Assignment, Network]:
    """The model as a candidate, and random rows to train it on."""
    rng = np.random.default_rng(0)
    x, y = rng.random((n_rows, *model.input_shape[1:])).astype("float32"), rng.integers(0, 10, n_rows)
    compilation = Compilation.of(model)
    task = Task("index", np.arange(10))
    data = TrainingData(*split(Rows(x, task.encode(y), y), 0.02, task, 0), batch_size)
    scoring = resolve_scoring(None, compilation, task)
    return Assignment(Blueprint.of(model, compilation), data, scoring, task), network_of(model)


def step_times(given: Assignment, network: Network, epochs: int, repeats: int) -> tuple[float, float]:
    """Milliseconds a step: median over the repeats of fit, and of the compiled engine."""
    steps = epochs * given.data.steps_per_epoch
    engines: list[Engine] = [FitEngine(given), CompiledEngine(given)]
    job = TrainingJob(0, network, 0, steps, 0)
    fit, compiled = taking_turns([partial(engine.train, [job]) for engine in engines], repeats)
    for engine in engines:
        engine.close()
    return 1000 * fit / steps, 1000 * compiled / steps


def taking_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of each; the first round of all does not count."""
    times: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, seconds in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            if repeat:
                seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in times]


def multiplications(network: Network) -> int:
    """Of kernels with activations in a training step, for one row.

    Forward, for the kernel's gradient and, but for the first layer, for the inputs' gradient.
    """
    shapes = shapes_of(network)
    total, times = 0, 2
    for index, layer in enumerate(network.layers):
        if producer_rule(layer) is not None:
            positions = int(np.prod([int(size or 1) for size in shapes[index + 1][:-1]], dtype=int))
            total += times * layer.value("kernel").size * positions
            times = 3
    return total


def matrix_product_rate(size: int = 1024, repeats: int = 7) -> float:
    """GFLOP/s of NumPy's product of two square matrices."""
    matrix = np.random.default_rng(0).random((size, size)).astype("float32")
    (seconds,) = taking_turns([lambda: matrix @ matrix], repeats)
    return 2 * size**3 / seconds / 1e9


def image_shape(text: str) -> tuple[int, ...]:
    """``28x28x1`` as numbers."""
    return tuple(int(size) for size in text.split("x"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--shapes", nargs="+", type=image_shape, default=[(28, 28, 1), (32, 32, 3)], help="28x28x1, ..."
    )
    parser.add_argument("--topologies", nargs="+", default=list(topologies.TOPOLOGIES), choices=topologies.TOPOLOGIES)
    parser.add_argument("--typical", action="store_true", help="models as people write them, in place of these")
    parser.add_argument("--rows", type=int, default=10000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=7, help="few are compiled quickly, to slower code")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""How much more do several threads get done? Candidates trained side by side against one after the other.

For each of the six topologies of the paper, the compiled engine trains the same candidates with one thread and with
several, taking turns; the median over the repeats counts, compilation does not. What the machine has to give shows in
matrix products, computed side by side in the same way. One thread may gain from other cores too, as XLA cuts kernels
into pieces for all of them. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import threadpoolctl

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas.engines.compiled import CompiledEngine
from keras_ectonas.lineage import TrainingJob

import topologies  # isort: skip
from engine import case, image_shape, taking_turns  # isort: skip


def main() -> None:
    options = parse()
    machine = of_the_machine(options.threads, options.repeats)
    print(f"matrix products with {options.threads} threads: {machine:.2f} times the throughput of one")
    print(f"| topology | one thread, s | {options.threads} threads, s | times the throughput |")
    print("|---|---|---|---|")
    gains = []
    for name in options.topologies:
        one, several = candidates_side_by_side(name, options)
        gains.append(one / several)
        print(f"| {name} | {one:.2f} | {several:.2f} | {gains[-1]:.2f} |", flush=True)
    print(
        json.dumps(
            {
                "threads": options.threads,
                "throughput": float(np.exp(np.mean(np.log(gains)))),
                "smallest": min(gains),
                "matrix_products": machine,
            }
        )
    )


def candidates_side_by_side(name: str, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds for the same jobs with one thread and with several."""
    given, network = case(name, options.shape, options.rows, 32)
    steps = options.epochs * given.data.steps_per_epoch
    jobs = [TrainingJob(number, network, 0, steps, number) for number in range(2 * options.threads)]
    engines = [CompiledEngine(given, n_threads) for n_threads in (1, options.threads)]
    one, several = taking_turns([partial(engine.train, jobs) for engine in engines], options.repeats)
    for engine in engines:
        engine.close()
    return one, several


def of_the_machine(n_threads: int, repeats: int) -> float:
    """What matrix products gain; each thread's BLAS is to have one thread of its own."""
    matrix = np.random.default_rng(0).random((1024, 1024)).astype("float32")

    def products(_: int) -> None:
        for _ in range(30):
            matrix @ matrix

    with threadpoolctl.threadpool_limits(1), ThreadPoolExecutor(n_threads) as pool:
        one, several = taking_turns(
            [
                lambda: [products(number) for number in range(n_threads)],
                lambda: list(pool.map(products, range(n_threads))),
            ],
            repeats,
        )
    return one / several


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", type=image_shape, default=(28, 28, 1), help="28x28x1")
    parser.add_argument("--topologies", nargs="+", default=list(topologies.TOPOLOGIES), choices=topologies.TOPOLOGIES)
    parser.add_argument("--rows", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=7, help="few are compiled quickly, to slower code")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()

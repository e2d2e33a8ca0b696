"""Does a search's memory stay flat over many generations, and its folder on disk too?

Each engine searches in a process of its own. The table has one line for each generation: resident memory of the
process, and the size of the checkpoint folder, its table of candidates apart from the networks' weights. "Growth"
compares the median of the last quarter of the generations with that of the second quarter, when caches have filled.
``--plot FILE`` draws it, with matplotlib. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas import ECToNASTrainer, SearchCallback

import keras  # isort: skip  (after keras_ectonas, which chooses a backend)

import datasets  # isort: skip

MB = 1e6


def main() -> None:
    options = parse()
    if options.worker:
        search(options, options.worker)
        return
    measured = {engine: measure(engine) for engine in options.engine}
    for engine, lines in measured.items():
        print(f"\n| {engine}: generation | resident MB | networks kB | newest state kB |")
        print("|---|---|---|---|")
        for generation, resident, networks, state in lines:
            print(f"| {generation:.0f} | {resident / MB:.0f} | {networks / 1000:.0f} | {state / 1000:.0f} |")
    if options.plot:
        plot(options.plot, measured)
    print(json.dumps({engine: summary(lines) for engine, lines in measured.items()}))


def measure(engine: str) -> list[list[float]]:
    """Lines of generation, resident memory, size of the networks and of the newest state, in bytes."""
    command = [sys.executable, __file__, "--worker", engine, *sys.argv[1:]]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return list(json.loads(output.splitlines()[-1]))


def summary(lines: list[list[float]]) -> dict[str, float]:
    quarter = len(lines) // 4
    first, last = lines[quarter : 2 * quarter], lines[-quarter:]

    def growth(column: int) -> float:
        old, new = (statistics.median(line[column] for line in part) for part in (first, last))
        return round(new / old - 1, 3)

    return {
        "generations": len(lines),
        "resident_mb": round(statistics.median(line[1] for line in lines[-quarter:]) / MB),
        "resident_growth": growth(1),
        "most_networks_kb": round(max(line[2] for line in lines) / 1000),
        "networks_growth": growth(2),
        "state_kb": round(lines[-1][3] / 1000),
    }


class Recorder(SearchCallback):
    """Measures after each generation, and ends the search after `most`."""

    def __init__(self, folder: Path, most: int) -> None:
        self.lines: list[list[float]] = []
        self._folder = folder
        self._most = most

    def on_generation_end(self, search: Any) -> None:
        self.lines.append([search.generation, psutil.Process().memory_info().rss, *self._sizes()])
        if search.generation >= self._most:
            search.stop()

    def _sizes(self) -> tuple[int, int]:
        networks = sum(path.stat().st_size for path in (self._folder / "networks").iterdir())
        return networks, max(self._folder.glob("state-*.json")).stat().st_size


def search(options: argparse.Namespace, engine: str) -> None:
    """Search for so many generations, and print what was measured."""
    images = datasets.load(options.data, options.dataset, options.samples)

    keras.utils.set_random_seed(options.seed)
    n_classes = int(images.y_train.max()) + 1
    model = keras.Sequential(
        [
            keras.Input(images.x_train.shape[1:]),
            keras.layers.Conv2D(3, 3, padding="same", activation="relu"),
            keras.layers.AveragePooling2D(2, padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(n_classes, activation="softmax"),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), options.generations)
        ECToNASTrainer(
            model,
            budget=1_000_000,
            warmup_epochs=1,
            epochs_per_match=0.5,
            max_children=options.children,
            max_rounds=1,
            max_params=options.max_params,
            engine=engine,
            checkpoint=folder,
            random_state=options.seed,
            callbacks=[recorder],
            verbose=0,
        ).fit(images.x_train, images.y_train)
    print(json.dumps(recorder.lines))


def plot(path: Path, measured: dict[str, list[list[float]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for engine, lines in measured.items():
        axes.plot([line[0] for line in lines], [line[1] / MB for line in lines], label=engine)
    axes.set(xlabel="generation", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    datasets.add_options(parser, "fashion_mnist", samples=1000, validation=1000)
    parser.add_argument("--engine", nargs="+", default=["fit", "compiled"], choices=["fit", "compiled"])
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--children", type=int, default=6)
    parser.add_argument("--max-params", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="an image file to draw into")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return datasets.few_rows_of_digits(parser.parse_args())


if __name__ == "__main__":
    main()

"""Searches from the paper's six starting topologies, each against its start model trained plainly.

The plain training takes as many epochs as the winner's lineage received. One row a run is appended to a file of
JSON lines, so that an interrupted benchmark goes on where it stopped; the table shows the means.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from keras_ectonas import ECToNASTrainer

import datasets  # isort: skip
import topologies  # isort: skip  (after keras_ectonas, which chooses a backend)


def main() -> None:
    options = parse()
    rows = finished(options.results)
    for seed in options.seeds:
        for topology in options.topologies:
            for greediness in options.greediness:
                for surgery in options.surgery:
                    key = {
                        "dataset": options.dataset,
                        "samples": options.samples,
                        "budget": options.budget,
                        "seed": seed,
                        "topology": topology,
                        "greediness": greediness,
                        "surgery": surgery,
                    }
                    if not any(key.items() <= row.items() for row in rows):
                        rows.append(key | one_run(options, key))
                        append(options.results, rows[-1])
    wanted = [row for row in rows if row["budget"] == options.budget and row["dataset"] == options.dataset]
    show(wanted, options)


def one_run(options: argparse.Namespace, key: dict[str, Any]) -> dict[str, Any]:
    images = datasets.load(options.data, options.dataset, options.samples)
    shape, n_classes = images.x_train.shape[1:], int(images.y_train.max()) + 1
    start = topologies.build(key["topology"], shape, n_classes, key["seed"])
    trainer = ECToNASTrainer(
        start,
        budget=options.budget,
        greediness=key["greediness"],
        surgery=key["surgery"],
        random_state=key["seed"],
        verbose=0,
    )
    began = time.perf_counter()
    trainer.fit(images.x_train, images.y_train)
    seconds = time.perf_counter() - began
    epochs = round(trainer.history_["epoch"][-1])
    start.fit(images.x_train, images.y_train, epochs=epochs, batch_size=32, verbose=0)
    plain, winner = (
        model.evaluate(images.x_test, images.y_test, verbose=0, return_dict=True)["accuracy"]
        for model in (start, trainer.model_)
    )
    return {
        "plain_accuracy": plain,
        "accuracy": winner,
        "start_params": start.count_params(),
        "params": trainer.model_.count_params(),
        "epochs": epochs,
        "spent": trainer.n_epochs_,
        "seconds": seconds,
        "lineage": [entry.description for entry in trainer.lineage_],
    }


def finished(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    print("| start | greediness | surgery | plain | winner | parameters | epochs | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    means: dict[str, Any] = {}
    for greediness in options.greediness:
        for surgery in options.surgery:
            group = [r for r in rows if r["greediness"] == greediness and r["surgery"] == surgery]
            for topology in options.topologies:
                chosen = [row for row in group if row["topology"] == topology]
                if chosen:
                    print(line(topology, greediness, surgery, chosen))
            if group:
                print(line("all", greediness, surgery, group))
                means[f"{surgery}_{greediness:g}"] = {
                    "plain_accuracy": mean(group, "plain_accuracy"),
                    "accuracy": mean(group, "accuracy"),
                    "params": mean(group, "params"),
                }
    print(json.dumps(means))


def line(topology: str, greediness: float, surgery: str, rows: list[dict[str, Any]]) -> str:
    return (
        f"| {topology} | {greediness:g} | {surgery} | {100 * mean(rows, 'plain_accuracy'):.2f} "
        f"| {100 * mean(rows, 'accuracy'):.2f} | {mean(rows, 'start_params'):,.0f} to {mean(rows, 'params'):,.0f} "
        f"| {mean(rows, 'epochs'):.0f} | {mean(rows, 'seconds'):.0f} |"
    )


def mean(rows: list[dict[str, Any]], key: str) -> float:
    return float(sum(row[key] for row in rows) / len(rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with <name>.npz files; without it scikit-learn's digits")
    parser.add_argument("--dataset", default="fashion_mnist", help="name of the file in that folder")
    parser.add_argument("--samples", type=int, default=10000, help="use only so many training rows")
    parser.add_argument("--budget", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--topologies", nargs="+", default=list(topologies.TOPOLOGIES))
    parser.add_argument("--greediness", type=float, nargs="+", default=[1.0, 0.5, 0.0])
    parser.add_argument("--surgery", nargs="+", default=["paper"])
    parser.add_argument("--results", type=Path, default=Path("starts.jsonl"), help="file of JSON lines to append to")
    return parser.parse_args()


if __name__ == "__main__":
    main()

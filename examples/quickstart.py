"""Search from the paper's medium convolutional topology and show what was gained.

Without arguments: scikit-learn's handwritten digits, 8x8 images. With ``--data``: a set from a folder of
``<name>.npz`` files with x_train, y_train, x_test and y_test.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from keras_ectonas import ECToNASTrainer

import datasets  # isort: skip
import topologies  # isort: skip  (after keras_ectonas, which chooses a backend)


def main() -> None:
    options = parse()
    x_train, y_train, x_test, y_test = datasets.load(options.data, options.dataset, options.samples)
    model = topologies.build("medium", x_train.shape[1:], int(y_train.max()) + 1, options.seed)
    print(f"{len(x_train)} training rows of shape {x_train.shape[1:]}, start model: {model.count_params()} parameters")

    trainer = ECToNASTrainer(model, budget=options.budget, greediness=options.greediness, random_state=options.seed)
    began = time.perf_counter()
    trainer.fit(x_train, y_train)
    seconds = time.perf_counter() - began

    epochs = round(trainer.history_["epoch"][-1])
    model.fit(x_train, y_train, epochs=epochs, verbose=0)
    print(f"\nsearch: {trainer.n_epochs_:.1f} epochs over all candidates in {seconds:.0f} s")
    print(f"{'':30s} test accuracy  parameters  epochs")
    for name, network in (("start, trained plainly", model), ("winner", trainer.model_)):
        accuracy = network.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]
        print(f"{name:30s} {accuracy:13.4f}  {network.count_params():10d}  {epochs:6d}")

    print("\nlineage:")
    for entry in trainer.lineage_:
        print(f"  {entry}")
    trainer.model_.save(options.output)
    print(f"\nwinner saved to {options.output}: load it with keras.models.load_model")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with <name>.npz files")
    parser.add_argument("--dataset", default="fashion_mnist", help="name of the file in that folder")
    parser.add_argument("--samples", type=int, help="use only so many training rows")
    parser.add_argument("--budget", type=float, default=60, help="epochs over all candidates together")
    parser.add_argument("--greediness", type=float, default=1.0, help="1: best score; 0: smallest model")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, default=Path("winner.keras"))
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Search from the paper's medium convolutional topology and show what was gained.

Without arguments: scikit-learn's handwritten digits, 8x8 images. With a folder of data sets in NumPy's format
(``<name>.npz`` with x_train, y_train, x_test, y_test): any of them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_ectonas import ECToNASTrainer

import keras  # isort: skip  (after keras_ectonas, which chooses a backend)


def main() -> None:
    options = parse()
    x_train, y_train, x_test, y_test = load(options)
    model = start(x_train.shape[1:], int(y_train.max()) + 1)
    print(f"{len(x_train)} training rows of shape {x_train.shape[1:]}, start model: {model.count_params()} parameters")

    trainer = ECToNASTrainer(
        model, budget=options.budget, greediness=options.greediness, random_state=options.seed
    )
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


def load(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if options.data is None:
        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8, 1) / 16.0
        x_train, x_test, y_train, y_test = train_test_split(
            images, labels, test_size=0.25, random_state=options.seed, stratify=labels
        )
    else:
        with np.load(options.data / f"{options.dataset}.npz") as arrays:
            x_train, y_train, x_test, y_test = (
                arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")
            )
        x_train, x_test = (x.reshape(*x.shape[:3], -1) / 255.0 for x in (x_train, x_test))
    x_train, y_train = x_train[: options.samples], y_train[: options.samples]
    return x_train.astype("float32"), y_train.ravel(), x_test.astype("float32"), y_test.ravel()


def start(shape: tuple[int, ...], n_classes: int) -> keras.Sequential:
    """Two convolutional cells of 3 and 6 channels, a hidden layer of 10 units."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input(shape)]
    for channels in (3, 6):
        layers += [
            keras.layers.Conv2D(channels, 3, padding="same"),
            keras.layers.AveragePooling2D(2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="relu"),
        keras.layers.Dense(n_classes, activation="softmax"),
    ]
    model = keras.Sequential(layers, name="medium_with_cells")
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    main()

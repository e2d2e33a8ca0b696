"""How should new units and channels begin? Ways that keep the function exactly, by what they learn afterwards.

A trained network grows by some units and some channels in different ways, then trains on for some epochs. The table
shows the gain in validation accuracy and loss against the same training without growth.
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
from keras_ectonas.surgery import CalibratedSurgery
from keras_ectonas.surgery.units import widen_by_copies, widen_with

import datasets  # isort: skip
import keras  # isort: skip
import topologies  # isort: skip

Way = Callable[[Network, int, int, np.random.Generator], Network]
N_CANDIDATES = 48


def main() -> None:
    options = parse()
    images = datasets.load(options.data, options.dataset, options.samples + options.validation)
    x, y = images.x_train[: -options.validation], images.y_train[: -options.validation]
    held_out = images.x_train[-options.validation :], images.y_train[-options.validation :]
    cases = {"large_dense": ("Dense", 0, 20), "medium_dense": ("Dense", 0, 10), "medium": ("Conv2D", 0, 3)}
    gains: dict[tuple[str, str], list[float]] = defaultdict(list)
    losses: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kind, (layer_kind, number, n_added) in cases.items():
        for seed in range(options.seeds):
            model = topologies.build(kind, x.shape[1:], int(y.max()) + 1, seed, options.learning_rate)
            model.fit(x, y, epochs=options.epochs, verbose=0)
            parent = network_of(model, nonnegative_input=True)
            blueprint = Blueprint.of(model, Compilation.of(model))
            index = [k for k, layer in enumerate(parent.layers) if layer.kind == layer_kind][number]
            trainer = Trainer(blueprint, x, y, held_out, options.more_epochs, seed)
            reference = trainer.after(parent, "parent")
            for name, way in ways(trainer, x).items():
                child = way(parent, index, n_added, np.random.default_rng(seed))
                loss, accuracy = trainer.after(child, "child")
                gains[kind, name].append(100 * (accuracy - reference[1]))
                losses[kind, name].append(loss - reference[0])
    print("| network | new units | accuracy gained | standard error | loss gained |")
    print("|---|---|---|---|---|")
    for key, found in gains.items():
        spread = np.std(found) / np.sqrt(max(len(found) - 1, 1))
        print(f"| {key[0]} | {key[1]} | {np.mean(found):+.2f} | {spread:.2f} | {np.mean(losses[key]):+.4f} |")
    names = dict.fromkeys(name for _, name in gains)
    print(json.dumps({name: float(np.mean([np.mean(gains[k, name]) for k in cases])) for name in names}))


class Trainer:
    """Trains networks of one start on; models of one architecture share their compiled program."""

    def __init__(self, blueprint, x, y, held_out, epochs, seed) -> None:
        self.blueprint, self.x, self.y, self.held_out = blueprint, x, y, held_out
        self.epochs, self.seed = epochs, seed
        self.live: dict[str, LiveModel] = {}

    def model(self, network: Network) -> LiveModel:
        key = network.architecture()
        if key not in self.live:
            self.live[key] = self.blueprint.build(network)
        self.live[key].assign(network)
        return self.live[key]

    def after(self, network: Network, name: str) -> tuple[float, float]:
        """Validation loss and accuracy after training on, the same order of rows for all."""
        live = self.model(network)
        keras.utils.set_random_seed(self.seed)
        live.model.fit(self.x, self.y, epochs=self.epochs, verbose=0)
        loss, accuracy = live.model.evaluate(*self.held_out, batch_size=1000, verbose=0)
        return float(loss), float(accuracy)

    def gradient(self, network: Network, consumer: int) -> np.ndarray:
        """The gradient of the loss by the kernel of layer `consumer`, on some rows: one step of descent shows it."""
        model = self.blueprint.uncompiled(network)
        model.compile(keras.optimizers.SGD(1.0), self.blueprint.compilation.loss)
        model.train_on_batch(self.x[:2000], self.y[:2000])
        after = keras.ops.convert_to_numpy(model.layers[consumer].kernel)
        return network.layers[consumer].value("kernel") - after


def ways(trainer: Trainer, x: np.ndarray) -> dict[str, Way]:
    surgery = CalibratedSurgery(x[:2000])

    def random_kernel(network: Network, index: int, n: int, rng: np.random.Generator) -> np.ndarray:
        kernel = network.layers[index].value("kernel")
        scale = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        return rng.normal(0, scale, (*kernel.shape[:-1], n))

    def pairs(network: Network, index: int, n: int, rng: np.random.Generator) -> Network:
        kernel = random_kernel(network, index, n, rng)
        kernel[..., 1::2] = kernel[..., : 2 * (n // 2) : 2]
        consumer = next(k for k in range(index + 1, len(network.layers)) if network.layers[k].has("kernel"))
        shape = network.layers[consumer].value("kernel").shape
        fan_out = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), (*shape[:-2], n, shape[-1]))
        fan_out[..., 1::2, :] = -fan_out[..., : 2 * (n // 2) : 2, :]
        if n % 2:
            fan_out[..., -1, :] = 0
        return widen_with(network, index, kernel, fan_out=fan_out)

    def steepest(network: Network, index: int, n: int, rng: np.random.Generator) -> Network:
        kernel = random_kernel(network, index, N_CANDIDATES, rng)
        wide = widen_with(network, index, kernel)
        consumer = next(k for k in range(index + 1, len(wide.layers)) if wide.layers[k].has("kernel"))
        gradient = trainer.gradient(wide, consumer)
        features = network.layers[index].value("kernel").shape[-1] + N_CANDIDATES
        by_feature = np.moveaxis(gradient, -2, 0).reshape(-1, features, *gradient.shape[:-2], gradient.shape[-1])
        strength = np.sqrt((by_feature**2).sum(axis=(0, *range(2, by_feature.ndim))))[-N_CANDIDATES:]
        chosen = np.argsort(-strength)[:n]
        return widen_with(network, index, kernel[..., chosen])

    return {
        "copies, equal shares": lambda network, index, n, rng: widen_by_copies(network, index, n, rng),
        "copies, unequal shares": lambda network, index, n, rng: widen_by_copies(network, index, n, rng, False),
        "cancelling pairs": pairs,
        "silent, random": lambda network, index, n, rng: widen_with(
            network, index, random_kernel(network, index, n, rng)
        ),
        "silent, steepest of many": steepest,
        "default": lambda network, index, n, rng: surgery.add_outputs(network, index, n, rng).network,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    datasets.add_options(parser, "fashion_mnist", 5000, 5000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--more-epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    return datasets.few_rows_of_digits(parser.parse_args())


if __name__ == "__main__":
    main()

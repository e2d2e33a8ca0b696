"""The paper's own figures, to be shown beside what was measured. Accuracies are in percent of the test rows."""

from __future__ import annotations

from typing import Final

__all__ = ["ADULT", "CROSSINGS", "IMAGE_SETS", "SETS", "accuracy_and_params"]

Mode = str
"""``"search 1"``, ``"search 0.5"``, ``"search 0"``, ``"random"`` or ``"plain"``."""

Figure = tuple[float, float, float]
"""Accuracy, its spread, and thousands of parameters."""

IMAGE_SETS: Final[dict[str, dict[Mode, Figure]]] = {
    "cifar10": {
        "search 1": (54.2, 3.4, 100),
        "plain": (46.3, 4.7, 77),
        "random": (47.1, 3.5, 74),
        "search 0.5": (49.8, 5.1, 8),
        "search 0": (50.0, 5.1, 8),
    },
    "cifar100": {
        "search 1": (20.6, 3.1, 97),
        "plain": (16.0, 1.9, 78),
        "random": (14.8, 3.8, 80),
        "search 0.5": (18.2, 3.3, 7),
        "search 0": (15.0, 2.6, 8),
    },
    "eurosat": {
        "search 1": (78.1, 10.5, 301),
        "plain": (70.8, 20.0, 303),
        "random": (67.6, 15.2, 283),
        "search 0.5": (71.3, 7.1, 36),
        "search 0": (70.7, 8.7, 17),
    },
    "fashion_mnist": {
        "search 1": (87.2, 1.5, 43),
        "plain": (86.8, 1.4, 28),
        "random": (85.3, 2.7, 29),
        "search 0.5": (83.7, 2.3, 6),
        "search 0": (83.9, 2.6, 6),
    },
    "mnist": {
        "search 1": (98.3, 1.6, 43),
        "plain": (97.6, 2.2, 28),
        "random": (96.0, 3.4, 29),
        "search 0.5": (94.7, 3.2, 6),
        "search 0": (94.8, 3.2, 6),
    },
    "svhn": {
        "search 1": (77.2, 5.1, 68),
        "plain": (66.4, 13.0, 77),
        "random": (66.6, 10.2, 77),
        "search 0.5": (69.7, 9.2, 14),
        "search 0": (70.5, 11.7, 9),
    },
}
"""Tables 1 and 2."""

ADULT: Final[dict[Mode, Figure]] = {
    "plain": (84.4, 0.4, 5.5),
    "search 1": (84.8, 0.7, 7.6),
    "search 0.5": (83.6, 1.2, 1.5),
    "search 0": (83.5, 1.3, 1.4),
    "random": (83.7, 1.2, 6.5),
}
"""Table 5."""

CROSSINGS: Final[dict[tuple[Mode, str], tuple[int, int]]] = {
    ("search 1", "CNN"): (70, 5),
    ("search 1", "FFNN"): (0, 75),
    ("search 0.5", "CNN"): (75, 0),
    ("search 0.5", "FFNN"): (67, 8),
    ("search 0", "CNN"): (75, 0),
    ("search 0", "FFNN"): (74, 1),
}
"""Table 3: winners with and without convolutions, by mode and type of the start."""

SETS: Final[dict[str, tuple[str, tuple[int, int, int], int]]] = {
    "mnist": ("MNIST", (28, 28, 1), 10),
    "fashion_mnist": ("Fashion-MNIST", (28, 28, 1), 10),
    "cifar10": ("CIFAR-10", (32, 32, 3), 10),
    "cifar100": ("CIFAR-100", (32, 32, 3), 100),
    "eurosat": ("EuroSAT", (64, 64, 3), 10),
    "svhn": ("SVHN", (32, 32, 3), 10),
    "adult": ("Adult", (10, 10, 1), 2),
}
"""Name, shape of an image, and number of classes."""


def accuracy_and_params(dataset: str, mode: Mode) -> Figure | None:
    """What the paper has for a data set and a mode, if it has."""
    return (ADULT if dataset == "adult" else IMAGE_SETS.get(dataset, {})).get(mode)

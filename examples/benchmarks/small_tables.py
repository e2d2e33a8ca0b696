"""Is a search ever worse than training its start for as many epochs? On small tables, where luck decides much.

Each table comes with scikit-learn or is made by it. A rough model, one hidden layer of 16 units, is trained plainly for
the whole budget, and searched from with the same budget; both are scored on test rows, by accuracy or by R2. With
`--nothing` searches have no model, and scikit-learn's perceptron with its own settings takes the place of plain
training. Differences are taken table by table and seed by seed. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from keras_ectonas import ECToNASClassifier, ECToNASRegressor, ECToNASTrainer

import keras  # isort: skip  (after keras_ectonas, which chooses a backend)


class Table(NamedTuple):
    """Training and test rows, scaled; targets that are values are scaled too."""

    x: Any
    y: Any
    x_test: Any
    y_test: Any
    has_classes: bool


def many_clusters(seed: int) -> Any:
    shape: dict[str, Any] = {"n_samples": 3000, "n_features": 30, "n_informative": 10, "n_redundant": 5}
    return datasets.make_classification(
        **shape, n_classes=4, n_clusters_per_class=3, flip_y=0.05, class_sep=0.8, random_state=seed
    )


def noisy_labels(seed: int) -> Any:
    shape: dict[str, Any] = {"n_samples": 1500, "n_features": 40, "n_informative": 5, "n_redundant": 5}
    return datasets.make_classification(**shape, flip_y=0.15, random_state=seed)


TABLES: Final[dict[str, Callable[[int], Any]]] = {
    "iris": lambda seed: datasets.load_iris(return_X_y=True),
    "breast_cancer": lambda seed: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda seed: datasets.load_wine(return_X_y=True),
    "digits": lambda seed: datasets.load_digits(return_X_y=True),
    "diabetes": lambda seed: datasets.load_diabetes(return_X_y=True),
    "many_clusters": many_clusters,
    "noisy_labels": noisy_labels,
    "friedman": lambda seed: datasets.make_friedman1(2000, 12, noise=1.0, random_state=seed),
    "quantiles": lambda seed: datasets.make_gaussian_quantiles(
        n_samples=2000, n_features=5, n_classes=4, random_state=seed
    ),
    "moons": lambda seed: datasets.make_moons(1000, noise=0.25, random_state=seed),
}


def main() -> None:
    options = parse()
    print("| table | seed | plain | search | parameters, plain | search |")
    print("|---|---|---|---|---|---|")
    rows = []
    for seed in options.seeds:
        for name in options.tables:
            rows.append(compared(name, seed, options))
            row = rows[-1]
            print(
                f"| {name} | {seed} | {100 * row['plain']:.2f} | {100 * row['search']:.2f} "
                f"| {row['plain_params']:,} | {row['search_params']:,} |",
                flush=True,
            )
            keras.backend.clear_session()
    gains = np.array([100 * (row["search"] - row["plain"]) for row in rows])
    found = {
        "mean_gain": gains.mean(),
        "standard_error": gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else None,
        "median_gain": float(np.median(gains)),
        "worse": int((gains < 0).sum()),
        "cases": len(gains),
    }
    print(json.dumps(found))


def compared(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    table = made(name, seed)
    score = accuracy_score if table.has_classes else r2_score
    ways = against_perceptron(table, seed, options) if options.nothing else against_plain(table, seed, options)
    row: dict[str, Any] = {"table": name, "seed": seed}
    for way, estimator in ways.items():
        estimator.fit(table.x, table.y)
        row[way] = float(score(table.y_test, estimator.predict(table.x_test)))
        row[f"{way}_params"] = n_params(estimator)
    return row


def against_plain(table: Table, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "budget": options.budget,
        "optimizer": options.optimizer,
        "random_state": seed,
        "verbose": 0,
    }
    plain = ECToNASTrainer(rough(table, seed), warmup_epochs=options.budget, final_share=0.0, **shared)
    return {"plain": plain, "search": ECToNASTrainer(rough(table, seed), **shared)}


def against_perceptron(table: Table, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    perceptron, search = (MLPClassifier, ECToNASClassifier) if table.has_classes else (MLPRegressor, ECToNASRegressor)
    shared: dict[str, Any] = {"budget": options.budget, "optimizer": options.optimizer, "verbose": 0}
    return {"plain": perceptron(max_iter=500, random_state=seed), "search": search(random_state=seed, **shared)}


def n_params(estimator: Any) -> int:
    if hasattr(estimator, "model_"):
        return int(estimator.model_.count_params())
    return sum(part.size for part in (*estimator.coefs_, *estimator.intercepts_))


def made(name: str, seed: int) -> Table:
    x, y = TABLES[name](seed)
    has_classes = np.issubdtype(y.dtype, np.integer)
    if not has_classes:
        y = (y - y.mean()) / y.std()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(x_train)
    rows, test_rows = (scaler.transform(part).astype(np.float32) for part in (x_train, x_test))
    return Table(rows, y_train, test_rows, y_test, has_classes)


def rough(table: Table, seed: int) -> keras.Sequential:
    keras.utils.set_random_seed(seed)
    n_classes = len(np.unique(table.y)) if table.has_classes else 0
    if n_classes > 2:
        head = keras.layers.Dense(n_classes, activation="softmax")
    else:
        head = keras.layers.Dense(1, activation="sigmoid" if n_classes else "linear")
    return keras.Sequential([keras.Input(table.x.shape[1:]), keras.layers.Dense(16, activation="relu"), head])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--budget", type=float, default=100, help="epochs for each")
    parser.add_argument("--optimizer", help="Keras' name of one, with its own settings; else the library's choice")
    parser.add_argument("--nothing", action="store_true", help="search without a model, against scikit-learn")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Draw the pictures of the README: the front, a lineage and the report of one search.

Without arguments: scikit-learn's handwritten digits, a minute on a laptop's CPU. The picture of the report needs
Chromium; without it the report is written and not photographed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib

from keras_ectonas import ECToNASTrainer
from keras_ectonas.report import LineageDisplay, ParetoFrontDisplay

import datasets  # isort: skip
import topologies  # isort: skip  (after keras_ectonas, which chooses a backend)

QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--hide-scrollbars")  # fmt: skip


def main() -> None:
    options = parse()
    x_train, y_train, _, _ = datasets.load(options.data, options.dataset, options.samples)
    model = topologies.build("medium", x_train.shape[1:], int(y_train.max()) + 1, options.seed)
    trainer = ECToNASTrainer(model, budget=options.budget, greediness=options.greediness, random_state=options.seed)
    trainer.fit(x_train, y_train)
    options.output.mkdir(exist_ok=True)

    matplotlib.use("agg")
    for name, display_class in (("front", ParetoFrontDisplay), ("lineage", LineageDisplay)):
        display_class.from_estimator(trainer).figure_.savefig(options.output / f"{name}.png", dpi=90)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        trainer.report(report, title="Search on handwritten digits" if options.data is None else options.dataset)
        photograph(report, options.output / "report.png", Path(folder) / "browser")
    for picture in sorted(options.output.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


def photograph(page: Path, picture: Path, profile: Path) -> None:
    """The top of a page, as a wide window shows it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium: the report is not photographed")
        return
    options = (*QUIET, f"--user-data-dir={profile}", "--window-size=1000,1150", f"--screenshot={picture.resolve()}")
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=60)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with <name>.npz files")
    parser.add_argument("--dataset", default="fashion_mnist", help="name of the file in that folder")
    parser.add_argument("--samples", type=int, help="use only so many training rows")
    parser.add_argument("--budget", type=float, default=100, help="epochs over all candidates together")
    parser.add_argument("--greediness", type=float, default=0.9, help="1: best score; 0: smallest model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder for the pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()

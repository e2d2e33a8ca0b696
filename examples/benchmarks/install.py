"""Build a wheel, install it into an empty environment for each backend, and run the quickstart there.

Needs a package index. ``--first`` names packages to install before, such as a build of PyTorch for the CPU alone:
``python examples/benchmarks/install.py torch --first torch==2.13.0``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("jax", "tensorflow", "torch")
PROOF = "import keras_ectonas, keras; print(keras.backend.backend(), keras_ectonas.__file__)"


def main() -> None:
    options = parse()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)], environment
        )
        (wheel,) = folder.glob("*.whl")
        rows = [measured(backend, wheel, folder, options, environment) for backend in options.backends]
    print(f"{'backend':12s} {'install [s]':>12s} {'quickstart [s]':>15s}")
    for row in rows:
        print(f"{row['backend']:12s} {row['install']:12.1f} {row['quickstart']:15.1f}")
    print(json.dumps({"wheel": wheel.name, "budget": options.budget, "rows": rows}))


def measured(
    backend: str, wheel: Path, folder: Path, options: argparse.Namespace, environment: dict[str, str]
) -> dict[str, object]:
    """Install for one backend and run the quickstart away from the sources."""
    place = folder / backend
    venv.create(place, with_pip=True)
    python = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    environment = {**environment, "KERAS_HOME": str(place / "keras")}
    began = time.perf_counter()
    for package in (*options.first, f"{wheel}[{backend}]"):
        command([python, "-m", "pip", "install", "--quiet", package], environment)
    installed = time.perf_counter()
    shutil.copytree(ROOT / "examples", place / "examples")
    found, where = command([python, "-c", PROOF], environment, place).split(maxsplit=1)
    if found != backend or not Path(where).is_relative_to(place):
        raise SystemExit(f"expected {backend} and the wheel's package, found {found} and {where}")
    shown = command([python, "examples/quickstart.py", "--budget", str(options.budget)], environment, place)
    return {
        "backend": backend,
        "install": round(installed - began, 1),
        "quickstart": round(time.perf_counter() - installed, 1),
        "shown": shown.splitlines()[-3:],
    }


def command(arguments: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    """What a program prints; its errors, if it fails, and the end."""
    done = subprocess.run(arguments, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout.strip()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="*", default=["jax"], choices=BACKENDS, help="default: jax")
    parser.add_argument("--first", nargs="*", default=[], help="packages to install before the wheel")
    parser.add_argument("--budget", type=int, default=10, help="epochs of the quickstart's search")
    return parser.parse_args()


if __name__ == "__main__":
    main()

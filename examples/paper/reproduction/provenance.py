"""Which program, on what, a result came of."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

__all__ = ["versions"]

PACKAGES: Final = ("keras-ectonas", "keras", "jax", "tensorflow", "torch", "numpy", "scikit-learn")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of all that takes part; of packages, those that are installed."""
    found = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "commit": _commit(),
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Of these sources, with a mark if they were changed since; empty if they are not under version control."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

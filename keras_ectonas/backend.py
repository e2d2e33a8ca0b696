"""The choice of a Keras backend on import, for people who made none."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from .errors import MissingExtraError

__all__ = ["choose_backend"]

_IN_ORDER = ("jax", "tensorflow", "torch")


def choose_backend() -> str | None:
    """Set ``KERAS_BACKEND`` to an installed backend, JAX first.

    Nothing happens if Keras is imported already, if the variable is set or if a ``keras.json`` names one.

    Returns
    -------
    str or None
        The choice, None if it was made elsewhere.

    Raises
    ------
    MissingExtraError
        If no backend is installed.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _configuration_file().exists():
        return None
    for name in _IN_ORDER:
        if importlib.util.find_spec(name) is not None:
            os.environ["KERAS_BACKEND"] = name
            return name
    raise MissingExtraError(
        "Keras needs a backend and none is installed. Install one with the extra of its name, "
        'for example: pip install "keras-ectonas[jax]"'
    )


def _configuration_file() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "keras.json"

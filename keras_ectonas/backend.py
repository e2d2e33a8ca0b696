"""The choice of a Keras backend on import, for people who made none."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from .errors import MissingExtraError

__all__ = ["choose_backend"]

_IN_ORDER = ("jax", "tensorflow", "torch")
_WRITTEN_BY_KERAS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def choose_backend() -> str | None:
    """Set ``KERAS_BACKEND`` to an installed backend, JAX first.

    Nothing happens if Keras is imported already, if the variable is set or if somebody chose in a ``keras.json``.
    Keras writes that file by itself when it is first imported, naming TensorFlow whether it is there or not: a file
    of exactly that content is nobody's choice.

    Returns
    -------
    str or None
        The choice, None if it was made elsewhere.

    Raises
    ------
    MissingExtraError
        If no backend is installed.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _chosen_in_file():
        return None
    for name in _IN_ORDER:
        if importlib.util.find_spec(name) is not None:
            os.environ["KERAS_BACKEND"] = name
            return name
    raise MissingExtraError(
        "Keras needs a backend and none is installed. Install one with the extra of its name, "
        'for example: pip install "keras-ectonas[jax]"'
    )


def _chosen_in_file() -> bool:
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        # Keras, too, goes on without a file that cannot be read.
        return False
    return bool(content != _WRITTEN_BY_KERAS)

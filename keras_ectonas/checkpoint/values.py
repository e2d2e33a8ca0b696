"""Plain values as JSON and back, to the last bit and the very type: tuples and NumPy values are marked as such.

There is no way to write anything else: no pickles, no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

__all__ = ["decoded", "encoded"]

_TUPLE: Final = "$tuple"
_ARRAY: Final = "$array"
_ITEMS: Final = "$items"
_MARKS: Final = (_TUPLE, _ARRAY, _ITEMS)


def encoded(value: Any, where: str) -> Any:
    """`value` in what JSON has.

    Parameters
    ----------
    value : object
        Made of mappings, lists, tuples, texts, numbers, truth values, None and numeric NumPy values.
    where : str
        For the error.

    Raises
    ------
    TypeError
        If something else is in it.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        is_scalar = isinstance(value, np.generic)
        flat = np.ravel(value).tolist()
        return {_ARRAY: flat, "shape": list(value.shape), "dtype": str(value.dtype), "scalar": is_scalar}
    if isinstance(value, tuple):
        return {_TUPLE: [encoded(item, where) for item in value]}
    if isinstance(value, list):
        return [encoded(item, where) for item in value]
    if isinstance(value, Mapping):
        if all(type(key) is str and key not in _MARKS for key in value):
            return {key: encoded(item, f"{where}[{key!r}]") for key, item in value.items()}
        return {_ITEMS: [[encoded(key, where), encoded(item, where)] for key, item in value.items()]}
    raise TypeError(f"{where} is of type {type(value).__name__}, which cannot be written as plain data")


def decoded(value: Any) -> Any:
    """The reverse of `encoded`."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TUPLE in value:
        return tuple(decoded(item) for item in value[_TUPLE])
    if _ARRAY in value:
        array = np.asarray(value[_ARRAY], dtype=value["dtype"]).reshape(value["shape"])
        return array[()] if value["scalar"] else array
    if _ITEMS in value:
        return {decoded(key): decoded(item) for key, item in value[_ITEMS]}
    return {key: decoded(item) for key, item in value.items()}

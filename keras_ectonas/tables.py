"""Columns and lists that print well in a terminal and in a notebook, and become data frames.

A `Table` is a dict of columns, so whatever takes such a dict takes it. Nothing here knows what the columns mean.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from .errors import MissingExtraError

__all__ = ["Table", "in_words", "optional_module"]

_MOST_ROWS: Final = 20
_WIDEST: Final = 48


class Table(dict[str, list[Any]]):
    """A dict of columns of one length.

    ``print`` shows the first and last rows; `to_pandas` and `to_polars` make frames.
    """

    @property
    def n_rows(self) -> int:
        return len(next(iter(self.values()), []))

    def rows(self) -> list[dict[str, Any]]:
        """Each row as a dict."""
        return [dict(zip(self, values, strict=True)) for values in zip(*self.values(), strict=True)]

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``."""
        return optional_module("pandas", "frames").DataFrame(dict(self))

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``."""
        return optional_module("polars", "frames").DataFrame(dict(self))

    def __repr__(self) -> str:
        cells = [list(self), *self._shown()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [all(value is None or _is_number(value) for value in column) for column in self.values()]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, f"[{self.n_rows} rows]"])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in self._shown())
        return f"<table><thead>{row(list(self), 'th')}</thead><tbody>{body}</tbody></table><p>{self.n_rows:,} rows</p>"

    def _shown(self) -> list[list[str]]:
        """Cells of the first and last rows."""
        indices: list[int | None] = list(range(self.n_rows))
        if self.n_rows > _MOST_ROWS:
            half = _MOST_ROWS // 2
            indices = [*range(half), None, *range(self.n_rows - half, self.n_rows)]
        return [["..." if k is None else _cell(column[k]) for column in self.values()] for k in indices]


def in_words(value: Any) -> str:
    """A value as people write it: few digits, nothing for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.4g}"
    return str(value)


def _cell(value: Any) -> str:
    text = " ".join(in_words(value).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def optional_module(name: str, extra: str) -> Any:
    """Import a package that only some need.

    Raises
    ------
    MissingExtraError
        Naming the extra to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise MissingExtraError(
            f'{package} is needed for this and not installed: pip install "keras-ectonas[{extra}]" or {package} itself.'
        ) from error

"""Columns and lists that print well in a terminal and in a notebook, and become data frames.

A `Table` is a dict of columns, so whatever takes such a dict takes it. Nothing here knows what the columns mean.
"""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from .errors import MissingExtraError

__all__ = ["Table", "in_words", "optional_module"]

_MOST_ROWS: Final = 20
_WIDEST: Final = (48, 32, 24)


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
        names, cells = self._fitting(shutil.get_terminal_size((120, 24)).columns)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [all(value is None or _is_number(value) for value in self[name]) for name in names]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        ]
        hidden = [name for name in self if name not in names]
        rest = f", and the columns {', '.join(hidden)}" if hidden else ""
        return "\n".join([*lines, f"[{self.n_rows:,} rows{rest}]"])

    def _fitting(self, width: int) -> tuple[list[str], list[list[str]]]:
        """As many columns as fit, the first ones, with long words cut where that helps; names and cells."""
        names = list(self)
        for n_columns in range(len(names), 0, -1):
            for widest in _WIDEST:
                cells = [names[:n_columns], *self._shown(n_columns, widest)]
                if sum(max(map(len, column)) + 2 for column in zip(*cells, strict=True)) - 2 <= width:
                    return names[:n_columns], cells
        return names[:1], [names[:1], *self._shown(1, _WIDEST[-1])]

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in self._shown(len(self), _WIDEST[0]))
        return f"<table><thead>{row(list(self), 'th')}</thead><tbody>{body}</tbody></table><p>{self.n_rows:,} rows</p>"

    def _shown(self, n_columns: int, widest: int) -> list[list[str]]:
        """Cells of the first and last rows."""
        indices: list[int | None] = list(range(self.n_rows))
        if self.n_rows > _MOST_ROWS:
            half = _MOST_ROWS // 2
            indices = [*range(half), None, *range(self.n_rows - half, self.n_rows)]
        columns = list(self.values())[:n_columns]
        return [["..." if k is None else _cell(column[k], widest) for column in columns] for k in indices]


def in_words(value: Any) -> str:
    """A value as people write it: few digits, nothing for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.4g}"
    return str(value)


def _cell(value: Any, widest: int) -> str:
    text = " ".join(in_words(value).split())
    return text if len(text) <= widest else text[: widest - 3] + "..."


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

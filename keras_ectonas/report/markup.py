"""HTML and SVG elements as text in which nothing but elements is markup: all words and values are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

__all__ = ["Content", "Markup", "element", "joined", "table"]

_WITHOUT_END: Final = frozenset({"meta", "br", "wbr"})


class Markup(str):
    """Text that is markup already. Only `element` and `joined` make it."""

    __slots__ = ()


Content = str | Iterable["Content"] | None
"""Text, which will be escaped; elements; or several of them."""


def joined(content: Content) -> Markup:
    """Content as markup, one piece after the other."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        # Control characters are no text in any document.
        return Markup(escape("".join(c if c.isprintable() or c in "\n\t" else "�" for c in content)))
    return Markup("".join(joined(part) for part in content))


def element(tag: str, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """One element.

    Parameters
    ----------
    tag : str
    *content
    **attributes
        An underscore at the end is left out, others become hyphens. None and False: no such attribute; True: one
        without a value.
    """
    written = []
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            text = f"{value:.6g}" if isinstance(value, float) else joined(str(value))
            written.append(f' {name}="{text}"')
    opening = f"<{tag}{''.join(written)}>"
    return Markup(opening if tag in _WITHOUT_END else f"{opening}{joined(content)}</{tag}>")


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Content]],
    numeric: Sequence[int] = (),
    **attributes: str,
) -> Markup:
    """A table with a caption and headers for its columns; the first cell of a row is its header.

    Parameters
    ----------
    caption : str
    columns : sequence of str
    rows : iterable of sequences of Content
    numeric : sequence of int
        Columns to align to the right.
    **attributes
        Of the table.
    """

    def cell(tag: str, place: int, content: Content, scope: str | None = None) -> Markup:
        return element(tag, content, class_="number" if place in numeric else None, scope=scope)

    head = element("tr", [cell("th", place, name, "col") for place, name in enumerate(columns)])
    body = [
        element(
            "tr", [cell("td" if place else "th", place, c, None if place else "row") for place, c in enumerate(row)]
        )
        for row in rows
    ]
    parts = element("caption", element("span", caption)), element("thead", head), element("tbody", body)
    # What is wider than the window scrolls by itself, and by keyboard.
    return element(
        "div", element("table", *parts, **attributes), class_="wide", tabindex="0", role="region", aria_label=caption
    )

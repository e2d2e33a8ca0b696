"""The report: one HTML file that needs nothing else, made of the sections of a search's story."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import Any

from ..search.account import Account
from .figures import Story
from .markup import Content, Markup, element, joined
from .sections import SECTIONS

__all__ = ["page_of", "write_report"]


def write_report(estimator: Any, path: str | os.PathLike[str], title: str) -> None:
    """Write the report of a fitted trainer or callback to `path`."""
    story = Story.of(estimator)
    columns = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    text = page_of(story, estimator._account, estimator.refusals_, estimator.ended_by_, columns, title)
    Path(path).write_text(text, encoding="utf-8")


def page_of(story: Story, account: Account, refusals: list[Any], ended_by: str, columns: list[str], title: str) -> str:
    """The whole document.

    Parameters
    ----------
    story : Story
    account : Account
    refusals : list of Refusal
    ended_by : str
    columns : list of str
        Names of the data's columns, if they have any.
    title : str
    """
    style, script = _packaged("page.css"), _packaged("page.js")
    sections = [
        (name, heading, make(story, account, refusals=refusals, ended_by=ended_by, columns=columns))
        for name, heading, make in SECTIONS
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(style)),
    )
    links = [element("li", element("a", heading, href=f"#{name}")) for name, heading, _ in sections]
    body = element(
        "body",
        element("a", "Skip to the report", href="#report", class_="skip"),
        element("header", element("h1", title), element("nav", element("ul", links), aria_label="Contents")),
        element("main", [_section(*section) for section in sections], id="report"),
        element("div", id="tip", hidden=True, aria_hidden="true"),
        element("script", Markup(script)),
    )
    return joined([Markup("<!DOCTYPE html>\n"), element("html", head, body, lang="en"), Markup("\n")])


def _section(name: str, heading: str, content: Content) -> Markup:
    return element(
        "section", element("h2", heading, id=f"{name}-heading"), content, id=name, aria_labelledby=f"{name}-heading"
    )


def _packaged(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and only the report's own style and script count, which are known by their hashes."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""Tables and lineages in a terminal, in a notebook and as frames."""

import copy
import pickle
import sys

import pandas as pd
import pytest
from finished import finished_trainer

from keras_ectonas.errors import MissingExtraError
from keras_ectonas.tables import Table, in_words

TABLE = Table(name=["a", "long " * 20], score=[0.5, None], count=[1, 20])


def test_prints_as_aligned_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    lines = repr(TABLE).splitlines()
    assert lines[0].split() == ["name", "score", "count"]
    assert lines[1].startswith("a  ")
    assert lines[1].endswith("0.5000      1")
    assert lines[2].startswith("long long")
    assert "..." in lines[2]
    assert lines[-1] == "[2 rows]"


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_fits_the_terminal_and_names_what_is_left_out(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    table = finished_trainer().candidates_
    *lines, last = repr(table).splitlines()
    assert max(map(len, lines)) <= width
    shown = lines[0].split()
    assert shown == list(table)[: len(shown)]
    assert all(name in last for name in list(table)[len(shown) :])
    assert len(lines) <= 22


def test_notebook_shows_text_as_text():
    table = Table({"<b>": ["<script>alert(1)</script>"]})
    assert "<script>" not in table._repr_html_()
    assert "&lt;script&gt;" in table._repr_html_()
    assert "&lt;b&gt;" in table._repr_html_()


def test_stays_a_dict_of_columns():
    assert isinstance(TABLE, dict)
    assert pd.DataFrame(TABLE).shape == (2, 3)
    assert TABLE.to_pandas().equals(pd.DataFrame(dict(TABLE)))
    assert TABLE.rows()[0] == {"name": "a", "score": 0.5, "count": 1}
    assert Table().rows() == []
    assert repr(Table()) == "\n[0 rows]"


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda table: pickle.loads(pickle.dumps(table))])
def test_travels(copied):
    assert copied(TABLE) == TABLE
    assert type(copied(TABLE)) is Table


def test_polars():
    polars = pytest.importorskip("polars")
    trainer = finished_trainer()
    assert trainer.candidates_.to_polars().columns == list(trainer.candidates_)
    assert trainer.lineage_.to_polars().height == len(trainer.lineage_)
    assert polars.DataFrame(trainer.pareto_front_).height == len(trainer.pareto_front_.members)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_missing_library_names_the_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf'{library} is needed .*pip install "keras-ectonas\[frames\]"'):
        getattr(TABLE, f"to_{library}")()


def test_lineage_prints_its_entries_and_stays_a_list():
    lineage = finished_trainer().lineage_
    assert isinstance(lineage, list)
    assert repr(lineage).splitlines() == [str(entry) for entry in lineage]
    assert list(lineage.to_pandas()["description"]) == [entry.description for entry in lineage]
    assert pickle.loads(pickle.dumps(lineage)) == lineage


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ""),
        (float("nan"), ""),
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (1e-7, "1e-07"),
        (123456.7, "1.235e+05"),
        (3, "3"),
    ],
)
def test_numbers_in_words(value, words):
    assert in_words(value) == words

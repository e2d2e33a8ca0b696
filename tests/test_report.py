"""The report: what it says, that its HTML is sound, and that nothing from data or names becomes markup."""

import re
import time
import tomllib
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from finished import finished_trainer, start_with_names
from sklearn.exceptions import NotFittedError

from keras_ectonas import ECToNASClassifier
from keras_ectonas.fitness import Objective
from keras_ectonas.report.figures import Story, family_tree, mutation_summaries, staircase, ticks
from keras_ectonas.report.markup import element, joined, table
from keras_ectonas.report.page import write_report
from keras_ectonas.report.sections import layers_side_by_side

HOSTILE = (
    "<script>document.body.dataset.hacked = 1</script>",
    "\"'><img src=x onerror='document.body.dataset.hacked = 1'>",
    "</title></style></svg>&lt;b onmouseover=alert(1)&gt;\x00\ud800\u202e",
)
WITHOUT_END = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """Elements with attributes and text; fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        self.elements.append((tag, dict(attributes)))
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def report_of(trainer, tmp_path, title="A search"):
    write_report(trainer, tmp_path / "report.html", title)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def hostile_trainer(**knobs):
    fails = lambda job: HOSTILE[1] if job.candidate % 5 == 3 else ""  # noqa: E731
    return finished_trainer(
        start_with_names(*HOSTILE), Objective(HOSTILE[0]), fails, columns=HOSTILE, max_growth=1.05, **knobs
    )


@pytest.fixture(scope="module", params=["plain", "hostile", "loss"])
def page(request, tmp_path_factory):
    makers = {
        "plain": finished_trainer,
        "hostile": hostile_trainer,
        "loss": lambda: finished_trainer(objective=Objective("loss", higher_is_better=False, relative=True)),
    }
    title = HOSTILE[2] if request.param == "hostile" else "A search"
    return Page(report_of(makers[request.param](), tmp_path_factory.mktemp("report"), title))


def test_every_link_leads_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"] for attributes in page.all("a")}
    assert len(targets) > 30
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert all(target.startswith("#") for target in targets)


def test_labels_refer_to_what_is_there(page):
    ids = {attributes.get("id") for _, attributes in page.elements}
    labelled = [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]
    assert len(labelled) > 10
    assert set(labelled) <= ids
    assert all(attributes.get("aria-label") for attributes in page.all("a") if attributes.get("class") == "point")
    assert all("aria-labelledby" in attributes for attributes in page.all("svg"))


def test_structure_for_readers_by_ear(page):
    tags = [tag for tag, _ in page.elements]
    assert [tags.count(tag) for tag in ("h1", "main", "header", "nav", "title")] == [1] * 5
    assert page.all("html")[0]["lang"] == "en"
    assert tags.count("table") == tags.count("caption") > 6
    assert all("scope" in attributes for attributes in page.all("th"))
    assert tags.count("section") == tags.count("h2") == 11


def test_nothing_is_loaded_and_nothing_runs_but_the_report_s_own_script(page):
    policy = page.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert [tag for tag, _ in page.elements].count("style") == 1
    assert not {"img", "iframe", "link", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    attributes = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "action")]


def test_hostile_names_are_shown_as_text(tmp_path):
    text = report_of(hostile_trainer(), tmp_path, HOSTILE[0])
    page = Page(text)
    for name in HOSTILE[:2]:
        assert name in page.text
    assert "\x00" not in text
    assert "img src=x onerror" not in text.replace("&lt;img src=x onerror", "")


def test_control_characters_are_replaced():
    assert joined("a\x00b\ud800c\u202ed\te") == "a\ufffdb\ufffdc\ufffdd\te"


def test_it_tells_the_search(tmp_path):
    trainer = finished_trainer(
        fails=lambda job: "loss became nan" if job.candidate == 3 else "", columns=["age", "sex"]
    )
    text = Page(report_of(trainer, tmp_path)).text
    winner = trainer.lineage_[-1]
    assert f"candidate {winner.candidate} with {winner.n_params:,} parameters" in text
    for entry in trainer.lineage_:
        assert entry.description in text
    for words in ("loss became nan", "age, sex", "Warm-up", "Recovery", "Match", 'trainer.model_.save("winner.keras")'):
        assert words in text
    assert "60.0" in text


def test_refusals_are_counted(tmp_path):
    trainer = finished_trainer(max_growth=1.01)
    assert trainer.refusals_
    reason = trainer.refusals_[0].reason
    assert reason in Page(report_of(trainer, tmp_path)).text


def test_search_that_changed_nothing(tmp_path):
    trainer = finished_trainer(budget=0.5)
    text = Page(report_of(trainer, tmp_path)).text
    assert "The search went through" in text


def test_thousand_candidates(tmp_path):
    trainer = finished_trainer(budget=1200, max_children=30, n_parents=4, epochs_per_match=0.2, max_params=3000)
    assert len(trainer.candidates_["id"]) >= 1000
    began = time.perf_counter()
    text = report_of(trainer, tmp_path)
    assert time.perf_counter() - began < 10
    assert len(text) < 2_500_000
    Page(text)


def test_file_is_replaced(tmp_path):
    (tmp_path / "report.html").write_text("old " * 1_000_000)
    assert "old old" not in report_of(finished_trainer(), tmp_path)


def test_unfitted_is_an_error(tmp_path):
    with pytest.raises(NotFittedError, match="ECToNASClassifier has not searched yet: fit before report"):
        ECToNASClassifier().report(tmp_path / "report.html")
    with pytest.raises(NotFittedError, match="ECToNASClassifier has not searched yet: fit before select"):
        ECToNASClassifier().select()
    with pytest.raises(NotFittedError, match="fit before drawing"):
        Story.of(ECToNASClassifier())


def test_elements():
    assert element("a", "<b>", ["x", element("i", "y")], href='"', class_="c", hidden=True, id=None) == (
        '<a href="&quot;" class="c" hidden>&lt;b&gt;x<i>y</i></a>'
    )
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert '<th scope="row">1</th><td class="number">2</td>' in table("T", ["a", "b"], [("1", "2")], numeric=(1,))


def test_layers_stand_beside_those_of_their_name():
    def layers(*names):
        return [{"name": name} for name in names]

    pairs = layers_side_by_side(layers("a", "b", "c"), layers("a", "x", "c", "d"))
    found = [tuple(layer and layer["name"] for layer in pair) for pair in pairs]
    assert found == [("a", "a"), ("b", None), (None, "x"), ("c", "c"), (None, "d")]


def test_family_tree_has_everybody_beside_nobody():
    trainer = finished_trainer()
    nodes = family_tree(trainer.candidates_.rows())
    assert [node.candidate for node in sorted(nodes, key=lambda node: node.candidate)] == trainer.candidates_["id"]
    assert len({(node.column, node.row) for node in nodes}) == len(nodes)
    columns = {node.candidate: node.column for node in nodes}
    assert all(node.column == columns[node.parent] + 1 for node in nodes if node.parent is not None)


def test_mutation_summaries_add_up():
    trainer = finished_trainer(fails=lambda job: "no" if job.candidate == 3 else "")
    summaries = mutation_summaries(Story.of(trainer))
    assert sum(summary.tried for summary in summaries) == len(trainer.candidates_["id"]) - 1
    assert sum(summary.failed for summary in summaries) == 1
    assert sum(summary.epochs for summary in summaries) == pytest.approx(sum(trainer.candidates_["epochs"][1:]))
    rows = trainer.candidates_.rows()
    gains = [own["score"] - rows[own["parent"]]["score"] for own in rows[1:] if own["mutation"] == "add_units"]
    [units] = [summary for summary in summaries if summary.mutation == "add_units"]
    assert units.gain == pytest.approx(np.median(gains))


def test_gains_are_improvements_where_less_is_better():
    loss = Objective("loss", higher_is_better=False, relative=True)
    trainer = finished_trainer(objective=loss)
    [identity] = [own for own in mutation_summaries(Story.of(trainer)) if own.mutation == "identity"]
    rows = trainer.candidates_.rows()
    gains = [rows[own["parent"]]["score"] - own["score"] for own in rows[1:] if own["mutation"] == "identity"]
    assert identity.gain == pytest.approx(np.median(gains))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.83, 0.87, [0.83, 0.84, 0.85, 0.86, 0.87]),
        (0, 823, [0, 200, 400, 600, 800]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_staircase_turns_at_right_angles():
    corners = staircase([(1, 0.1), (3, 0.5), (4, 0.6)])
    assert corners == [(1, 0.1), (3, 0.1), (3, 0.5), (4, 0.5), (4, 0.6)]


def test_css_and_script_are_packaged():
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert {"report/*.css", "report/*.js"} <= set(settings["tool"]["setuptools"]["package-data"]["keras_ectonas"])


def test_script_sets_text_and_never_markup():
    script = resources.files("keras_ectonas.report").joinpath("page.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|http", script)

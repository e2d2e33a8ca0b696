"""What a search says while it runs: in a file, on a terminal, in a notebook, and not at all."""

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from finished import larger_is_better
from test_search import search_of

from keras_ectonas.fitness import Objective
from keras_ectonas.progress import Progress

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\x9b]")
STATE = re.compile(
    r"^\d+\.\d of 60\.0 epochs, \d+\.\d left \((about )?\d+:\d\d\), generation \d+, "
    r"best accuracy 0\.\d{4} with [\d,]+ parameters$"
)
MATCH = re.compile(r"^  generation \d+, (within|between) mutations: candidate \d+ \(.*\) beats candidate \d+ \(.*\)$")
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fake_engine import FakeEngine
from finished import larger_is_better
from test_search import search_of
from keras_ectonas.progress import Progress

search = search_of(FakeEngine(larger_is_better), epochs_per_match=0.5)
with Progress({verbose}) as progress:
    search.run(progress.update)
    progress.finish(search)
"""


def show(verbose, stream, search=None):
    search = search or search_of(FakeEngine(larger_is_better), epochs_per_match=0.5)
    with Progress(verbose, stream) as progress:
        search.run(progress.update)
        progress.finish(search)
    return search


def shown(verbose, search=None):
    stream = io.StringIO()
    search = show(verbose, stream, search)
    return search, stream.getvalue()


def program(verbose):
    return PROGRAM.format(tests=str(Path(__file__).parent), verbose=verbose)


def test_silence():
    assert shown(0)[1] == ""


def test_file_gets_a_line_for_each_generation():
    search, text = shown(1)
    *states, winner = text.splitlines()
    assert not CONTROL.search(text)
    assert all(STATE.match(line) for line in states)
    assert len(states) == search.generation + 2
    assert states[-1].startswith("60.0 of 60.0 epochs, 0.0 left (0:00)")
    assert winner.startswith(f"winner: candidate {search.best}, accuracy 0.")


def test_each_match_has_a_line():
    search, text = shown(2)
    assert len(search.matches) > 10
    assert sum(bool(MATCH.match(line)) for line in text.splitlines()) == len(search.matches)
    assert "candidate" in text
    assert "+2 units in hidden, 10 to 12" in text


def test_match_that_both_lost_is_told():
    fails = {4, 5, 6, 7, 8}
    engine = FakeEngine(larger_is_better, lambda job: "loss became nan" if job.candidate in fails else "")
    search, text = shown(2, search_of(engine, seed=1, epochs_per_match=0.5))
    told = [line for line in text.splitlines() if "both failed" in line]
    assert len(told) == sum(match.winner is None for match in search.matches)


def test_time_left_follows_the_pace_and_the_limit():
    now = iter([0.0, *[30.0] * 100])
    search = search_of(FakeEngine(larger_is_better), max_time=40.0, epochs_per_match=0.5)
    stream = io.StringIO()
    with Progress(1, stream, clock=lambda: next(now)) as progress:
        search.step()
        progress.update(search)
    assert "1.0 of 60.0 epochs, 59.0 left (about 0:10)" in stream.getvalue()


def test_file_gets_no_control_characters_whatever_the_environment_says(tmp_path, monkeypatch):
    # FORCE_COLOR makes Rich take a file for a terminal.
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (tmp_path / "log").open("w") as log:
        show(2, log)
    text = (tmp_path / "log").read_text()
    assert not CONTROL.search(text)
    assert STATE.match(text.splitlines()[0])


@pytest.fixture
def terminal(monkeypatch):
    """Runs a search in front of a pseudo-terminal and gives what was written to it."""
    pty = pytest.importorskip("pty")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "140")

    def run(verbose, term="xterm-256color"):
        monkeypatch.setenv("TERM", term)
        parent, child = pty.openpty()
        with ThreadPoolExecutor(1) as reader, os.fdopen(child, "w") as stream:
            text = reader.submit(written_to, parent)
            show(verbose, stream)
            stream.close()
            return text.result(60)

    return run


def written_to(descriptor):
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux' way to say that the other end is closed.
            part = b""
        if not part:
            os.close(descriptor)
            return b"".join(parts).decode()
        parts.append(part)


def test_terminal_keeps_one_line_up_to_date(terminal):
    text = terminal(1)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "60.0 of 60.0 epochs, 0.0 left" in plain
    assert plain.count("\n") == 2
    assert "\x1b[2K" in text
    assert text.rstrip().endswith("\x1b[?25h")


def test_terminal_gets_a_line_for_each_match(terminal):
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal(2))
    assert plain.count("beats") > 10
    assert plain.count("\n") == plain.count("beats") + 2


@pytest.mark.parametrize("is_accuracy", [True, False])
def test_a_match_that_the_loss_may_decide_shows_it(is_accuracy):
    stream = io.StringIO()
    objective = Objective("accuracy", is_accuracy=is_accuracy)
    show(2, stream, search_of(FakeEngine(larger_is_better), objective=objective, epochs_per_match=0.5))
    lines = [line for line in stream.getvalue().splitlines() if "beats" in line]
    assert len(lines) > 10
    assert all(line.count("loss 1.0000)") == 2 * is_accuracy for line in lines)


def test_terminal_gets_nothing(terminal):
    assert terminal(0) == ""


def test_terminal_that_can_do_nothing_gets_plain_lines(terminal):
    text = terminal(1, term="dumb").replace("\r\n", "\n")
    assert not CONTROL.search(text)
    assert STATE.match(text.splitlines()[0])


@pytest.mark.slow
def test_notebook_replaces_one_output():
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(program(verbose)) for verbose in (1, 2, 0)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    one, two, none = (cell["outputs"] for cell in notebook.cells)
    assert none == []
    for outputs in (one, two):
        states = [output for output in outputs if output["output_type"] == "display_data"]
        assert len(states) == 1
        assert STATE.match(states[0]["data"]["text/plain"])
        assert states[0]["data"]["text/plain"].startswith("60.0 of 60.0 epochs")
    said = "".join(output["text"] for output in two if output["output_type"] == "stream")
    assert said.count("beats") > 10
    assert not CONTROL.search(said)
    assert not [output for output in one + two if output.get("name") == "stderr"]

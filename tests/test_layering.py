"""Imports run downward only: the floors of the house, as data."""

import ast
from pathlib import Path

import pytest

import keras_ectonas

PACKAGE = Path(keras_ectonas.__file__).parent

FLOORS = {
    "errors": 0,
    "interrupts": 0,
    "settings": 0,
    "budget": 0,
    "network": 0,
    "tables": 0,
    "random_state": 0,
    "rules": 1,
    "surgery": 2,
    "mutations": 3,
    "lineage": 4,
    "fitness": 4,
    "tournament": 4,
    "few_steps": 3,
    "search": 4,
    "backend": 5,
    "compilation": 5,
    "bridge": 5,
    "inputs": 5,
    "initial_weights": 5,
    "scoring": 5,
    "start": 5,
    "second_start": 5,
    "engines": 5,
    "parallel": 5,
    "progress": 5,
    "checkpoint": 5,
    "session": 5,
    "preparation": 5,
    "report": 6,
    "fitted": 6,
    "estimator_callbacks": 5,
    "trainer": 6,
    "callback": 6,
    "__init__": 7,
}

WITHIN_FLOOR = [
    ("settings", "errors"),
    ("budget", "errors"),
    ("tables", "errors"),
    ("search", "tournament"),
    ("search", "fitness"),
    ("search", "lineage"),
    ("bridge", "compilation"),
    ("scoring", "compilation"),
    ("scoring", "inputs"),
    ("start", "bridge"),
    ("start", "compilation"),
    ("start", "initial_weights"),
    ("engines", "bridge"),
    ("engines", "compilation"),
    ("engines", "inputs"),
    ("engines", "scoring"),
    ("parallel", "inputs"),
    ("parallel", "engines"),
    ("session", "bridge"),
    ("session", "checkpoint"),
    ("session", "inputs"),
    ("session", "engines"),
    ("session", "parallel"),
    ("session", "progress"),
    ("session", "scoring"),
    ("preparation", "bridge"),
    ("preparation", "checkpoint"),
    ("preparation", "compilation"),
    ("preparation", "inputs"),
    ("preparation", "scoring"),
    ("preparation", "session"),
    ("preparation", "start"),
    ("preparation", "second_start"),
    ("second_start", "bridge"),
    ("second_start", "initial_weights"),
    ("second_start", "start"),
    ("fitted", "report"),
    ("trainer", "fitted"),
    ("callback", "fitted"),
    ("callback", "trainer"),
]
"""Imports between rooms of one floor: importer, imported."""

BACKENDS = ("keras", "jax", "tensorflow", "torch", "sklearn")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def packages_imported(path: Path) -> set[str]:
    """Packages from outside."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def modules_imported(path: Path) -> set[Path]:
    """Files of the package that this one imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            places = [*([base] if node.module else []), *(base / alias.name for alias in node.names)]
            found |= {file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")}
    return found & set(FILES)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    room = room_of(path)
    for name in {room_of(imported) for imported in modules_imported(path)} - {room}:
        assert FLOORS[name] < FLOORS[room] or (room, name) in WITHIN_FLOOR, f"{room} imports {name}"


def test_rooms_of_a_floor_have_no_cycle():
    order = list(FLOORS)
    for importer, imported in WITHIN_FLOOR:
        assert FLOORS[importer] == FLOORS[imported]
        assert order.index(imported) < order.index(importer)


def test_no_module_imports_itself_by_way_of_others():
    left = {path: modules_imported(path) for path in FILES}
    while left:
        free = {path for path, imported in left.items() if not imported & left.keys()}
        assert free, f"a cycle among {sorted(str(path.relative_to(PACKAGE)) for path in left)}"
        left = {path: imported for path, imported in left.items() if path not in free}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lower_floors_know_no_backend(path):
    if FLOORS[room_of(path)] <= 4:
        assert not packages_imported(path) & set(BACKENDS)


def test_only_progress_prints():
    printing = [
        path.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert set(printing) == {"progress.py"}

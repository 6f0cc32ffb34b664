"""The tree's promises, read from the sources with ast: who may import whom, and what nobody may do.

Nothing of the package is imported here, so a missing dependency cannot hide a broken rule.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FILES = sorted((SOURCE / "cadwright").rglob("*.py"))

# A stage may import itself and the stages before it. Two in one row are siblings: only the
# directions in SIBLINGS are open between them.
STAGES: tuple[tuple[str, ...], ...] = (
    ("types", "errors", "optional", "assets"),
    ("geometry",),
    ("program",),
    ("synth", "data"),
    ("models",),
    ("inference",),
    ("training", "evaluation"),
    ("apps", "__init__", "__main__"),
)
SIBLINGS = {("data", "synth"), ("optional", "errors"), ("__main__", "apps"), ("__init__", "apps")}
RANK = {name: rank for rank, row in enumerate(STAGES) for name in row}

KERNEL = {"cadquery", "OCP", "vtk", "vtkmodules"}
KERNEL_FILE = "cadwright/program/_worker.py"
TORCH_FREE = {"types", "errors", "optional", "geometry", "program", "synth"}
TORCH = {"torch", "transformers", "safetensors", "tokenizers"}
EXECUTORS = {"exec", "eval", "compile", "__import__"}
FORBIDDEN = {"builtins", "pickle", "dill", "marshal", "shelve"}
PICKLE_ERRORS = {"PickleError", "PicklingError", "UnpicklingError"}
PLAIN_READER = "cadwright/data/plain_pickle.py"  # an unpickler to which every name is an error
MAX_LINES = 400


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def stage_of(module: str) -> str:
    """cadwright.geometry.frames -> geometry; cadwright itself -> __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Every module imported anywhere, in functions and under TYPE_CHECKING too.

    A constant first argument of import_module or require counts as well. The bare package is
    loaded before any of its modules, so ``import cadwright`` counts only by what is taken from it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name != "cadwright")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            if node.module == "cadwright":
                yield from taken_from_package(*(alias.name for alias in node.names))
            else:
                yield node.module or ""
        elif isinstance(node, ast.Attribute) and name_read(node.value) == "cadwright":
            yield from taken_from_package(node.attr)
        elif isinstance(node, ast.Call) and called_name(node) in {"import_module", "require"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def taken_from_package(*names: str) -> Iterator[str]:
    """A stage is itself, __version__ and __file__ are nobody's, the rest is what apps offer."""
    for name in names:
        if not name.startswith("__"):
            yield f"cadwright.{name}" if name in RANK else "cadwright"


def without_imports_of(tree: ast.Module, harmless: set[str]) -> ast.Module:
    """The tree less ``from pickle import UnpicklingError``: to catch it is not to unpickle."""

    def is_harmless(node: ast.stmt) -> bool:
        names = {a.name for a in node.names} if isinstance(node, ast.ImportFrom) else {""}
        return names <= harmless

    return ast.Module([node for node in tree.body if not is_harmless(node)], tree.type_ignores)


def name_read(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def called_name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else name_read(node.func)


def may_import(importer: str, imported: str) -> bool:
    if importer == imported or (importer, imported) in SIBLINGS:
        return True
    return RANK[imported] < RANK[importer]


def test_there_are_files_to_check() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(SOURCE / "cadwright").with_suffix("").parts
    importer = parts[0]
    assert importer in RANK, f"{name_of(path)} belongs to no stage: add it to STAGES and DESIGN"
    for module in imported_modules(tree_of(path)):
        if module.split(".")[0] == "cadwright":
            imported = stage_of(module)
            assert may_import(importer, imported), f"{importer} must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_worker_imports_the_exact_kernel(path: Path) -> None:
    found = {m for m in imported_modules(tree_of(path)) if m.split(".")[0] in KERNEL}
    assert not found or name_of(path) == KERNEL_FILE


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_geometry_program_and_synth_do_without_torch(path: Path) -> None:
    stage = path.relative_to(SOURCE / "cadwright").with_suffix("").parts[0]
    found = {m for m in imported_modules(tree_of(path)) if m.split(".")[0] in TORCH}
    assert not found or stage not in TORCH_FREE


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_executed_or_unpickled(path: Path) -> None:
    tree = tree_of(path)
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not named & EXECUTORS
    harmless = PICKLE_ERRORS | ({"Unpickler"} if name_of(path) == PLAIN_READER else set())
    rest = without_imports_of(tree, harmless)
    assert not {m.split(".")[0] for m in imported_modules(rest)} & FORBIDDEN
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "weights_only"}:
            safe = node.arg == "weights_only"
            assert isinstance(node.value, ast.Constant) and node.value.value is safe


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_readable_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("geometry", "types", True),
        ("program", "geometry", True),
        ("training", "inference", True),
        ("inference", "training", False),
        ("geometry", "program", False),
        ("synth", "data", False),
        ("data", "synth", True),
        ("evaluation", "training", False),
        ("program", "__init__", False),
    ],
)
def test_the_rule_itself_knows_both_directions(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    import torch.nn", ["torch.nn"]),
        ("from cadwright import types, reconstruct", ["cadwright.types", "cadwright"]),
        ("from cadwright import __version__", []),
        ("import cadwright\ncadwright.__file__", []),
        ("import cadwright\ncadwright.reconstruct", ["cadwright"]),
        ("require('cadquery', extra='cad')", ["cadquery"]),
        ("importlib.import_module('OCP.gp')", ["OCP.gp"]),
    ],
)
def test_the_reader_sees_hidden_imports(source: str, expected: list[str]) -> None:
    assert list(imported_modules(ast.parse(source))) == expected

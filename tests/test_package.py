"""The package from outside: one version, every module importable, light where it must be light.

Imports are tried in fresh interpreters: what this process has loaded already proves nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cadwright

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in (SOURCE / "cadwright").rglob("*.py")
    if path.name != "__main__.py"
)
KERNEL = ("cadquery", "OCP", "vtk", "vtkmodules")
HEAVY = ("torch", "transformers", "trimesh", "scipy", "numba", "manifold3d", "pyarrow", *KERNEL)


def run_python(program: str, *arguments: str) -> str:
    """Standard output of a fresh interpreter; its traceback in the failure where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_match(pattern: str, file_name: str) -> str:
    found = re.search(pattern, (ROOT / file_name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{file_name} has no line like {pattern}"
    return found.group(1)


def test_one_version_everywhere() -> None:
    version = first_match(r'^version = "(.+)"$', "pyproject.toml")
    assert cadwright.__version__ == version
    assert first_match(r"^version: (.+)$", "CITATION.cff") == version
    assert version in re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)


def test_every_module_imports_without_the_exact_kernel() -> None:
    """Machines that only train have no OpenCASCADE; even the worker asks for it when it runs."""
    block = f"import importlib, sys\nsys.modules.update(dict.fromkeys({KERNEL!r}))\n"
    run_python(block + "for m in sys.argv[1:]: importlib.import_module(m)", *MODULES)


@pytest.mark.parametrize("arguments", [["--help"], ["reconstruct", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom cadwright.apps.cli import main\n"
        "try:\n    status = main()\nexcept SystemExit as stop:\n    status = stop.code\n"
        "assert not status, status\n"
        f"print('\\nheavy:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    printed, _, loaded = run_python(program, *arguments).rpartition("heavy:")
    assert printed.strip()
    assert loaded.split() == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = f"import cadwright, sys\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert run_python(program).split() == []


def built_files(kind: str) -> set[str]:
    """Names in the distribution as hatchling would build it, without building it."""
    builders = pytest.importorskip(f"hatchling.builders.{kind}")
    builder = getattr(builders, f"{kind.capitalize()}Builder")(str(ROOT))
    return {entry.distribution_path for entry in builder.recurse_included_files()}


def test_the_wheel_holds_the_package_with_its_assets_and_nothing_else() -> None:
    names = built_files("wheel")
    assets = (SOURCE / "cadwright").rglob("*")
    wanted = {
        path.relative_to(SOURCE).as_posix()
        for path in assets
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == wanted
    assert {"cadwright/py.typed", "cadwright/assets/embedded/model.safetensors"} <= names


def test_the_sdist_holds_what_its_tests_and_documents_read() -> None:
    names = built_files("sdist")
    for name in ("src/cadwright/__init__.py", "tests/test_package.py", "recipes/embedded.yaml",
                 "examples/bracket.stl", "docs/index.md", "notebooks/first_part.ipynb",
                 "constraints.txt", "Makefile", "mkdocs.yml", "CITATION.cff"):  # fmt: skip
        assert name in names
    assert not any("__pycache__" in name or name.startswith(("runs/", ".venv")) for name in names)


def test_the_citation_names_the_papers_this_stands_on() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    yaml = pytest.importorskip("yaml")
    papers = [one["identifiers"][0]["value"] for one in yaml.safe_load(text)["references"]]
    assert {"arXiv:2412.14042", "arXiv:2505.22914"} <= set(papers)

"""The import direction of the house: a module imports only what lies to its left."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "envfix"
# What each part may import, besides itself. `errors` imports nothing.
ALLOWED = {
    "errors": set(),
    "_version": set(),
    "model": {"errors"},
    "host": {"errors", "model"},
    "tables": {"errors", "model", "_version"},
    "probes": {"errors", "model", "host"},
    "logs": {"errors", "model"},
    "rules": {"errors", "model", "tables", "logs"},
    "resolver": {"errors", "model", "tables", "rules"},
    "lockers": {"errors", "model", "tables"},
    "installer": {"errors", "model", "host", "probes", "lockers"},
    "verifier": {"errors", "model", "host"},
    "snapshots": {"errors", "model", "_version"},
    "report_reader": {"errors", "model", "tables", "probes"},
    "explaining": {"errors", "model", "tables", "logs", "rules", "report_reader"},
    "fleet": {"errors", "model", "host", "snapshots"},
    "render": {"errors", "model", "_version"},
    "target": set(),
}
ALLOWED["app"] = set(ALLOWED) - {"render", "target"}
ALLOWED["commands"] = {"app", "render", "errors", "model"}
ALLOWED["cli"] = {"commands", "errors", "model", "_version", "host"}
ALLOWED["__main__"] = {"cli"}
ALLOWED["api"] = {"errors", "model", "tables", "resolver", "snapshots", "explaining"}
ALLOWED["__init__"] = {"_version", "api", "model"}


def imported_parts(path: Path) -> set[str]:
    """The parts of envfix that a module imports, anywhere in it."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "envfix" else [f"envfix.{alias.name}" for alias in node.names]
        parts |= {name.split(".")[1] for name in names if name.startswith("envfix.")}
    return parts


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_its_left(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert imported_parts(path) <= ALLOWED[part] | {part}


def test_every_part_of_the_package_has_a_place_in_the_direction() -> None:
    found = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found - {"py.typed", "locale"} == set(ALLOWED)

"""The wheel of envfix carries compiled tables, an editable one none."""

from __future__ import annotations

import ast
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from envfix.tables.sources import NAMES, parse_table
from tests.test_packaging import SAFELY

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("hatchling", reason="building needs hatchling")

PROJECT = """
[build-system]
requires = ["hatchling", "pyyaml"]
build-backend = "hatchling.build"
[project]
name = "envfix"
version = "0"
[tool.hatch.build]
dev-mode-dirs = ["."]
[tool.hatch.build.targets.sdist]
include = ["envfix", "compat_tables", "scripts/hatch_build.py"]
[tool.hatch.build.targets.wheel]
packages = ["envfix"]
[tool.hatch.build.targets.wheel.hooks.custom]
path = "scripts/hatch_build.py"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project around the real tables and the real hook."""
    root = tmp_path / "project"
    (root / "envfix" / "tables").mkdir(parents=True)
    (root / "envfix" / "__init__.py").write_text("raise ImportError('not importable while it is built')\n")
    shutil.copy(ROOT / "envfix" / "tables" / "sources.py", root / "envfix" / "tables")
    shutil.copytree(ROOT / "compat_tables", root / "compat_tables")
    (root / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "hatch_build.py", root / "scripts")
    (root / "pyproject.toml").write_text(PROJECT)
    return root


def _build(root: Path, version: str) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    (artifact,) = WheelBuilder(str(root)).build(directory=str(root / "dist"), versions=[version])
    return zipfile.ZipFile(artifact)


def test_a_wheel_carries_every_table_compiled(project: Path) -> None:
    with _build(project, "standard") as wheel:
        for name in NAMES:
            compiled = json.loads(wheel.read(f"envfix/_compat_tables/{name}.json"))
            assert compiled == parse_table((ROOT / "compat_tables" / f"{name}.yaml").read_bytes())
        assert not any(name.endswith(".yaml") for name in wheel.namelist())


def test_an_editable_wheel_carries_no_copy(project: Path) -> None:
    with _build(project, "editable") as wheel:
        assert not any("_compat_tables" in name for name in wheel.namelist())


def test_a_source_distribution_builds_the_same_wheel(project: Path, tmp_path: Path) -> None:
    from hatchling.builders.sdist import SdistBuilder

    (archive,) = SdistBuilder(str(project)).build(directory=str(tmp_path / "sdist"))
    shutil.unpack_archive(archive, tmp_path / "unpacked", **SAFELY)
    (root,) = (tmp_path / "unpacked").iterdir()
    with _build(root, "standard") as wheel:
        assert f"envfix/_compat_tables/{NAMES[0]}.json" in wheel.namelist()


def test_a_broken_table_stops_the_build(project: Path) -> None:
    (project / "compat_tables" / "drivers.yaml").write_text("a: [\n")
    with pytest.raises(ValueError, match="broken YAML"):
        _build(project, "standard")


def test_what_compiles_tables_needs_nothing_of_envfix() -> None:
    """The build runs it before there is an envfix that could be imported."""
    tree = ast.parse((ROOT / "envfix" / "tables" / "sources.py").read_text("utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert not [name for name in imported if name.partition(".")[0] == "envfix"]

"""What users get: the built wheel, an editable install, a checkout; each with the tables that belong to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.fakes.running import cleaned_environment
from tests.fakes.targets import make_venv

ASK = (
    "import json, sys, envfix; from envfix.tables.loader import load; from envfix.model.versions import CudaVersion;"
    "floor = load().drivers.floor(CudaVersion.parse('11.1'), 'linux');"
    "print(json.dumps({'place': envfix.__file__, 'floor': str(floor.family), 'yaml': 'yaml' in sys.modules}))"
)

# Debian 12's Python 3.11.2 knows no filters yet; later ones insist on one.
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The site-packages of an environment that holds what envfix needs, but not envfix."""
    site = make_venv(tmp_path / "env")
    (site / "needs.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return site


def run(site: Path, *arguments: str, cwd: Path) -> str:
    """Python of that environment, away from the checkout, with a cache of its own."""
    env = cleaned_environment(ENVFIX_CACHE_DIR=str(cwd / "cache"))
    argv = [str(site.parent.parent.parent / "bin" / "python"), "-I", *arguments]
    result = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode in (0, 1), result
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive as an index would: sdist first, then the wheel from what it holds."""
    pytest.importorskip("hatchling", reason="building needs hatchling")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    (archive,) = SdistBuilder(str(CHECKOUT)).build(directory=str(folder))
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "source", **SAFELY)  # noqa: S202 - our own archive
    (source,) = (folder / "source").iterdir()
    (built,) = WheelBuilder(str(source)).build(directory=str(folder), versions=["standard"])
    return Path(built)


def test_wheel_holds_code_and_tables_and_nothing_of_the_workshop(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        folders = {name.split("/")[0] for name in names}
        (metadata,) = {folder for folder in folders if folder.endswith(".dist-info")}
        entry = packed.read(f"{metadata}/entry_points.txt").decode()
        head = packed.read(f"{metadata}/METADATA").decode()
    assert folders == {"envfix", metadata}
    assert "envfix = envfix.__main__:run" in entry
    assert "License-Expression: Apache-2.0" in head
    assert "envfix/py.typed" in names
    for script in (CHECKOUT / "envfix" / "target").glob("envfix_*.py"):
        assert f"envfix/target/{script.name}" in names
    assert not [name for name in names if name.endswith((".yaml", ".pyc")) or "/tests/" in name]


def test_installed_wheel_works_with_the_tables_inside(wheel: Path, plain: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(plain)  # noqa: S202 - our own archive
    said = json.loads(run(plain, "-c", ASK, cwd=tmp_path))
    assert said == {"place": str(plain / "envfix" / "__init__.py"), "floor": "450.80.02", "yaml": False}
    document = json.loads(
        run(plain, "-m", "envfix", "diagnose", "--json", "--no-import", "--python", str(tmp_path / "env"), cwd=tmp_path)
    )
    assert document["schema"] == "envfix.diagnose/1"
    assert "ultralytics" in run(
        plain, "-m", "envfix", "plan", "--offline", "--driver", "550.54.14", "--gpu", "RTX 4090", "--json", cwd=tmp_path
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout, to be edited."""
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "_compat_tables")
    for name in ("envfix", "compat_tables"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=ignored)
    shutil.copy(CHECKOUT / "pyproject.toml", copy)
    return copy


def test_editable_install_sees_an_edited_table(checkout: Path, plain: Path, tmp_path: Path) -> None:
    (plain / "_envfix.pth").write_text(f"{checkout}\n")
    assert json.loads(run(plain, "-c", ASK, cwd=tmp_path))["floor"] == "450.80.02"
    edit_floor(checkout)
    said = json.loads(run(plain, "-c", ASK, cwd=tmp_path))
    assert said["place"] == str(checkout / "envfix" / "__init__.py")
    assert said["floor"] == "449.1.1"


def test_checkout_is_used_as_it_stands(checkout: Path, plain: Path, tmp_path: Path) -> None:
    edit_floor(checkout)
    code = f"import sys; sys.path.insert(0, {str(checkout)!r}); {ASK}"
    assert json.loads(run(plain, "-c", code, cwd=tmp_path))["floor"] == "449.1.1"
    assert not list(checkout.rglob("*.json")), "what is compiled is kept in the cache, not in the checkout"


def edit_floor(checkout: Path) -> None:
    table = checkout / "compat_tables" / "drivers.yaml"
    text = table.read_text(encoding="utf-8")
    assert "450.80.02" in text
    table.write_text(text.replace("450.80.02", "449.1.1"), encoding="utf-8")

"""The story's four faults of conda, in prefixes that a real installation from a real channel has made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.conda_channel import add_package, install
from tests.fakes.prefixes import make_prefix
from tests.fakes.targets import write_script, write_torch
from tests.test_reproductions_interpreters import Desk, first, is_mended, plain_python

SITE = "lib/python3.8/site-packages"
BUILD = "py3.8_cuda11.1_cudnn8.0.5_0"
TORCH = {
    f"{SITE}/torch/__init__.py": "from .version import __version__\n",
    f"{SITE}/torch/version.py": "__version__ = '1.8.0'\ndebug = False\ncuda = '11.1'\nhip = None\n",
    f"{SITE}/torch/lib/libtorch_python.so": "sm_37 sm_86",
    f"{SITE}/torch-1.8.0-py3.8.egg-info/PKG-INFO": "Metadata-Version: 1.1\nName: torch\nVersion: 1.8.0\n\n",
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty desk."""
    return Desk(tmp_path)


@pytest.fixture
def prefix(desk: Desk, python: str) -> Path:
    """`conda install pytorch==1.8.0` in an environment of its own, really solved and installed."""
    channel = desk.root / "channel"
    add_package(channel, "pytorch", "1.8.0", BUILD, TORCH)
    place = desk.home / ".conda" / "envs" / "yolov8_env"
    make_prefix(place, python)
    install(channel, place, "pytorch=1.8.0")
    return place


@pytest.fixture(scope="module")
def python() -> str:
    """A real CPython 3.8, as the story's."""
    from tests.conftest import interpreter

    return interpreter("3.8")


def records(document: dict[str, Any]) -> list[tuple[str, str, int]]:
    value = document["facts"]["environment"]["conda_records"]["value"]
    return [(row["name"], row["build"], row.get("missing_files", 0)) for row in value]


def test_what_conda_has_installed_is_whole(desk: Desk, prefix: Path) -> None:
    document = desk.diagnose(prefix / "bin")
    assert records(document) == [("pytorch", BUILD, 0)]
    assert document["facts"]["environment"]["torch"]["value"]["build"] == "1.8.0"
    assert document["facts"]["environment"]["interpreter"]["value"]["kind"] == "conda"
    assert not [one["code"] for one in document["findings"] if one["severity"] == "error"]


def test_files_that_are_gone_while_the_record_stays(desk: Desk, prefix: Path) -> None:
    """`conda list` shows pytorch, `importlib.metadata` still says 1.8.0, and the module does not exist."""
    shutil.rmtree(prefix / SITE / "torch")
    document = desk.diagnose(prefix / "bin")
    assert first(document)[:2] == ("FAM106", "mixed_installs")
    assert records(document) == [("pytorch", BUILD, 3)]
    said = "\n".join(piece["value"] for piece in document["findings"][0]["because"])
    assert f"pytorch 1.8.0 {BUILD}" in said
    follows = {one["code"]: one.get("follows_from") for one in document["findings"]}
    assert follows["TOR102"] == "FAM106"


def test_python_of_the_environment_is_a_wrapper(desk: Desk, prefix: Path, python: str) -> None:
    plain = plain_python(desk, python)
    (prefix / "bin" / "python").unlink()
    write_script(prefix / "bin" / "python", f'exec "{plain}/python" "$@"')
    document = desk.diagnose(prefix / "bin")
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    assert f"pytorch-1.8.0-{BUILD}" in repr(document["findings"][0]["because"]) or "pytorch 1.8.0" in repr(
        document["findings"][0]["because"]
    )


def test_another_python_is_first_on_path(desk: Desk, prefix: Path, python: str) -> None:
    desk.variables = {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": "yolov8_env", "CONDA_SHLVL": "1"}
    path = (plain_python(desk, python), prefix / "bin")
    document = desk.diagnose(*path)
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    assert f"The environment {prefix} is active and has torch 1.8.0" in document["findings"][0]["message"]
    assert is_mended(desk.follow(document, *path, remedy=1))


def test_torch_of_the_user_comes_before_the_one_of_conda(desk: Desk, prefix: Path) -> None:
    write_torch(desk.home / ".local" / "lib" / "python3.8" / "site-packages", "2.1.2+cpu", None)
    document = desk.diagnose(prefix / "bin")
    assert first(document) == ("INT104", "user_site_shadowing", "error")
    assert is_mended(desk.follow(document, prefix / "bin"))

"""`envfix lock` of conda packages, as a user types it: a plan solved from a local channel, and what conda has installed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from envfix.lockers import formats
from envfix.model.lock import LockedFile, LockedPackage
from tests.fakes.running import Finished, envfix
from tests.test_install_conda import Conda
from tests.trees import differences, tree

FILES = {
    "conda-lock": "conda-lock.yml",
    "pixi": "pixi.lock",
    "conda-explicit": "conda-explicit.txt",
    "environment.yml": "environment.yml",
}


@pytest.fixture
def conda(tmp_path: Path) -> Conda:
    return Conda(tmp_path)


def lock(conda: Conda, *arguments: str) -> Finished:
    return conda.run("lock", *arguments)


def all_formats(conda: Conda, folder: Path, *arguments: str) -> Finished:
    options = [part for name in FILES for part in ("--format", name)]
    return lock(conda, *options, *arguments, "-o", str(folder) + os.sep)


def test_a_solved_plan_is_written_in_every_format_and_each_reads_back(conda: Conda, tmp_path: Path) -> None:
    before = tree(conda.prefix)
    for folder in ("one", "two"):
        finished = all_formats(conda, tmp_path / folder, "--backend", "conda")
        assert finished.code == 0, finished
        assert "5 packages from a plan" in finished.stdout
    for name, filename in FILES.items():
        assert (tmp_path / "one" / filename).read_bytes() == (tmp_path / "two" / filename).read_bytes()
        checked = lock(conda, "--check", str(tmp_path / "one" / filename), "--json").document
        assert (checked["format"], checked["status"]) == (name, "differs")
        missing = {row["name"] for row in checked["differences"] if row["kind"] == "missing"}
        assert missing == {"cudatoolkit", "pytorch", "torchvision", "ultralytics"}
    assert differences(before, tree(conda.prefix)) == []


def test_formats_of_conda_alone_need_no_backend_option(conda: Conda, tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    finished = lock(conda, "--cuda", "auto", "--format", "pixi", "-o", str(path))
    assert finished.code == 0, finished
    assert "pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0" in path.read_text()


@pytest.mark.online
def test_what_conda_has_installed_is_locked_and_is_what_is_installed(conda: Conda, tmp_path: Path) -> None:
    assert conda.install("--keep").code == 4
    plan, there = tmp_path / "plan", tmp_path / "there"
    assert all_formats(conda, plan, "--backend", "conda").code == 0
    finished = lock(conda, "--format", "environment.yml", "-o", str(there) + os.sep)
    assert finished.code == 0, finished
    for path in (*plan.iterdir(), *there.iterdir()):
        checked = lock(conda, "--check", str(path), "--json").document
        kinds = {row["kind"] for row in checked["differences"]}
        assert kinds <= {"extra"}, (path, checked)
    rows = [line.split("#")[0].strip() for line in (there / "environment.yml").read_text().splitlines()]
    assert "- pytorch=1.8.0=py3.8_cuda11.1_cudnn8.0.5_0" in rows


@pytest.mark.online
def test_a_channel_with_a_login_is_named_without_it(conda: Conda) -> None:
    assert conda.install("--keep").code == 4
    records = list((conda.prefix / "conda-meta").glob("*.json"))
    for path in records:
        path.write_text(path.read_text().replace("file:///", "https://me:hunter2@host/t/tk-123/"))
    for name in FILES:
        finished = lock(conda, "--format", name, "--json")
        assert "hunter2" not in finished.stdout
        assert "tk-123" not in finished.stdout
    assert "https://host/" in lock(conda, "--format", "environment.yml").stdout


def add_newer_packages(conda: Conda) -> None:
    """What comes out after the lock was written."""
    channel = conda.channel
    python, cuda = "python >=3.8,<3.9.0a0", "cudatoolkit >=11.1,<11.2"
    channel.add("python", "3.8.21", "h0_0")
    channel.add("pytorch", "1.9.0", "py3.8_cuda11.1_cudnn8.0.5_0", depends=[python, cuda])
    channel.add("torchvision", "0.10.0", "py38_cu111", depends=[python, cuda, "pytorch 1.9.0"])
    needs = ["python >=3.7", "pytorch >=1.7", "torchvision"]
    channel.add("ultralytics", "8.1.0", "pyh0_0", noarch="python", depends=needs)
    channel.write()


@pytest.mark.parametrize("name", FILES)
def test_an_update_of_conda_packages_changes_only_what_must_change(conda: Conda, tmp_path: Path, name: str) -> None:
    path = tmp_path / FILES[name]
    assert lock(conda, "--backend", "conda", "--format", name, "-o", str(path)).code == 0
    before = path.read_text()
    add_newer_packages(conda)
    no_card = {key: value for key, value in conda.variables.items() if not key.startswith("ENVFIX_")}

    def update(package: str) -> dict[str, tuple[str, str]]:
        finished = envfix("lock", "--update", package, "-o", str(path), "--json", env=no_card, timeout=60)
        assert finished.code == 0, finished
        return {row["name"]: (row["old"], row["new"]) for row in finished.document["changed"]}

    assert update("torch") == {"pytorch": ("1.8.0", "1.9.0"), "torchvision": ("0.9.0", "0.10.0")}
    assert path.read_text() != before
    assert update("ultralytics") == {"ultralytics": ("8.0.0", "8.1.0")}
    assert update("python") == {"python": ("3.8.20", "3.8.21")}
    assert update("cudatoolkit") == {}
    fresh = tmp_path / "fresh" / FILES[name]
    assert lock(conda, "--backend", "conda", "--format", name, "-o", str(fresh)).code == 0
    assert path.read_bytes() == fresh.read_bytes(), "updated in steps or written anew, it is the same"


def test_only_conda_packages_of_the_lock_are_updated(conda: Conda, tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    assert lock(conda, "--backend", "conda", "--format", "pixi", "-o", str(path)).code == 0
    before = path.read_text()
    finished = lock(conda, "--update", "pandas", "-o", str(path))
    assert (finished.code, finished.stderr) == (
        2,
        f"error: pandas is not in {path}\nhint: lock anew with --with to add a package\n",
    )
    assert path.read_text() == before


def test_what_pip_brought_beside_conda_packages_is_kept_and_that_is_said(conda: Conda, tmp_path: Path) -> None:
    path = tmp_path / "environment.yml"
    assert lock(conda, "--backend", "conda", "-o", str(path)).code == 0
    locker = formats.locker("environment.yml")
    made = locker.read(path.read_text())
    file = LockedFile(filename="thop-0.1.1-py3-none-any.whl", sha256="ab" * 32)
    wheel = LockedPackage(name="thop", version="0.1.1", file=file)
    path.write_text(locker.lock(msgspec.structs.replace(made, packages=(*made.packages, wheel))))
    add_newer_packages(conda)
    finished = lock(conda, "--update", "ultralytics", "-o", str(path))
    assert finished.code == 0, finished
    note = "thop: of pip, kept as before; nobody has checked that they fit the new conda packages"
    assert note in finished.stderr.splitlines()
    assert "- thop==0.1.1" in path.read_text()
    refused = lock(conda, "--update", "thop", "-o", str(path))
    assert refused.code == 3
    assert refused.stderr == (
        "error: thop is a package of pip beside conda's, and --update changes conda's alone\n"
        "hint: install the newer one into the environment, then lock that: envfix lock --python ENVIRONMENT\n"
    )


def test_a_plan_for_another_machine_needs_no_environment(conda: Conda, tmp_path: Path) -> None:
    here = {name: value for name, value in conda.variables.items() if not name.startswith("ENVFIX_")}
    path = tmp_path / "pixi.lock"
    machine = ("--gpu", "RTX 3090", "--python", "3.8")
    finished = envfix(
        "lock", "--driver", "470.57.02", *machine, "-o", str(path), "--format", "pixi", env=here, timeout=60
    )
    assert finished.code == 0, finished
    checked = envfix("lock", "--check", str(path), "--driver", "440.33", *machine, "--json", env=here, timeout=60)
    assert (checked.code, checked.document["status"]) == (1, "unfit")
    none = envfix("lock", "--driver", "440.33", *machine, "--format", "pixi", "--json", env=here, timeout=60)
    assert (none.code, none.document["blocked_by"]) == (1, "driver")

"""The project for uv: the real uv locks the same versions from the right indexes, and builds the same files."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import structs

from envfix.lockers.interface import LockFileError
from envfix.lockers.pip_family import read_toml
from envfix.lockers.requirements import RequirementsLocker
from envfix.lockers.uv_project import UvProjectLocker
from envfix.model.lock import Lock, LockedPackage, Needs
from tests.conftest import interpreter
from tests.fakes.running import envfix
from tests.loopback_index import Wheel, make_wheel
from tests.test_lock_requirements import (
    NUMPY,
    OPENCV,
    PLAIN_TORCH,
    TORCH,
    TORCHVISION,
    UV,
    World,
    edited,
    made_elsewhere,
    must_have,
    needs,
    world,
)

__all__ = ["world"]  # a fixture
LOCKER = UvProjectLocker()
CHANGED_TORCH = make_wheel("torch", "2.7.1+cu118", requires=("numpy",), padding=3)


def uv_lock(world: World, text: str, python: str = "3.11") -> dict[str, dict[str, Any]]:
    """What the real uv writes into its lock, by package."""
    (world.folder / LOCKER.filename).write_text(text)
    world.run(UV, "lock", "--python", interpreter(python))
    packages = read_toml((world.folder / "uv.lock").read_text())["package"]
    return {package["name"]: package for package in packages if package["name"] != "locked-environment"}


def must_be_locked(world: World, found: dict[str, dict[str, Any]], lock: Lock) -> None:
    """Uv has locked the same versions, each from its address or the user's own index, with the same hashes."""
    assert list(found) == [package.name for package in lock.packages]
    for package in lock.packages:
        told = found[package.name]
        assert package.file
        assert told["version"] == package.version
        index = package.index_url or world.own.url("simple", "main")
        source = {"url": package.file.url} if package.file.url else {"registry": index}
        assert told["source"] == source
        assert [wheel["hash"] for wheel in told["wheels"]] == [f"sha256:{package.file.sha256}"]


@pytest.mark.parametrize("python", ["3.6", "3.8", "3.11", "3.13"])
def test_uv_locks_the_same_versions_from_the_right_indexes_with_the_same_hashes(world: World, python: str) -> None:
    lock = world.lock(python)
    must_be_locked(world, uv_lock(world, LOCKER.lock(lock), python), lock)
    assert not world.torch.asked("/numpy")


def test_uv_builds_the_same_files(world: World) -> None:
    text = LOCKER.lock(world.lock())
    assert world.own.base not in text
    (world.folder / LOCKER.filename).write_text(text)
    world.run(UV, "sync", "--python", interpreter("3.11"))
    must_have(world.folder / ".venv", NUMPY, OPENCV, TORCH, TORCHVISION)


@pytest.mark.parametrize("changed", ["own", "torch"])
def test_a_wheel_that_was_changed_after_uv_has_locked_is_refused(world: World, changed: str) -> None:
    uv_lock(world, LOCKER.lock(world.lock()))
    if changed == "own":
        world.own.add("main", make_wheel("numpy", "1.19.5", padding=3))
    else:
        world.torch.add("cu118", CHANGED_TORCH)
    done = world.run(UV, "sync", "--locked", "--no-cache", "--python", interpreter("3.11"), check=False)
    assert done.returncode != 0
    assert re.search(r"Hash mismatch for `(numpy==|torch @ )", done.stderr)


def test_a_wheel_with_an_address_that_was_changed_before_uv_has_locked_is_refused(world: World) -> None:
    world.torch.add("cu118", CHANGED_TORCH)
    (world.folder / LOCKER.filename).write_text(LOCKER.lock(world.lock()))
    done = world.run(UV, "sync", "--python", interpreter("3.11"), check=False)
    assert done.returncode != 0
    assert "Hash mismatch for `torch @ " in done.stderr
    assert not list((world.folder / ".venv").glob("lib/python*/site-packages/torch"))


@pytest.mark.parametrize("changed", [False, True])
def test_a_wheel_of_the_own_index_that_was_changed_before_is_found_by_the_command_in_the_file(
    world: World, *, changed: bool
) -> None:
    if changed:
        world.own.add("main", make_wheel("numpy", "1.19.5", padding=3))
    text = LOCKER.lock(world.lock())
    uv_lock(world, text)
    [command] = re.findall(r"  envfix (lock --check .*)$", text, re.MULTILINE)
    finished = envfix(*command.split(), "--driver", "535.54.03", "--gpu", "A100", "--json", cwd=world.folder)
    rows = finished.document["differences"] or ()
    assert [(row["name"], row["there"]) for row in rows] == ([("numpy", "another file in uv.lock")] if changed else [])


def test_uv_reads_no_whole_file_to_lock_what_has_an_address(world: World) -> None:
    uv_lock(world, LOCKER.lock(world.lock()))
    asked = [one for one in world.torch.requests if one.method == "GET" and one.path.endswith(".whl")]
    assert asked
    assert all(one.range for one in asked)


def test_a_private_index_is_called_by_its_host(world: World) -> None:
    place = f"{world.torch.base}/simple"
    mine = structs.replace(world.torch_package(TORCH, "2.7.1+cu118"), index="pypi", index_url=place)
    for package in (mine, structs.replace(mine, index=place)):
        lock = Lock(needs=needs("3.11"), packages=(package,))
        text = LOCKER.lock(lock)
        assert f'\nname = "127.0.0.1"\nurl = "{place}"\nexplicit = true\n' in text
        assert 'index = "pypi"' not in text
        assert LOCKER.lock(LOCKER.read(text)) == text


def test_an_unlabelled_torch_of_the_own_index_stays_what_it_is(world: World) -> None:
    world.own.add("main", TORCH)
    lock = world.unlabelled()
    text = LOCKER.lock(lock)
    assert "tool.uv.index" not in text
    assert '\n    "torch===2.7.1",\n' in text
    must_be_locked(world, uv_lock(world, text), lock)


def test_an_unlabelled_torch_of_the_torch_index_stays_what_it_is(world: World) -> None:
    # The torch index of this world has 2.7.1+cu118 beside it.
    unlabelled: Wheel = make_wheel("torch", "2.7.1", padding=9)
    package = world.torch_package(unlabelled, "2.7.1")
    lock = Lock(needs=needs("3.11"), packages=(package,))
    must_be_locked(world, uv_lock(world, LOCKER.lock(lock)), lock)


def test_an_index_that_is_a_plain_page_is_one_for_uv(world: World) -> None:
    place = world.torch.url("flat", "cu118")
    torch = structs.replace(world.torch_package(TORCH, "2.7.1+cu118"), index_url=place, find_links=True)
    lock = Lock(needs=needs("3.11"), packages=(world.own_package(NUMPY, "1.19.5"), torch))
    text = LOCKER.lock(lock)
    assert f'\nname = "official-cu118"\nurl = "{place}"\nformat = "flat"\nexplicit = true\n' in text
    assert LOCKER.read(text) == lock
    must_be_locked(world, uv_lock(world, text), lock)


def test_two_indexes_of_one_name_are_told_apart(world: World) -> None:
    first, second = world.torch_package(TORCH, "2.7.1+cu118"), world.torch_package(TORCHVISION, "0.22.1+cu118")
    world.own.add("cu118", TORCHVISION)
    second = structs.replace(second, index_url=world.own.url("simple", "cu118"))
    assert first.file
    assert second.file
    # Without an address only the index leads there.
    first = structs.replace(first, file=structs.replace(first.file, url=None))
    second = structs.replace(second, file=structs.replace(second.file, url=None))
    lock = Lock(needs=needs("3.11"), packages=(world.own_package(NUMPY, "1.19.5"), first, second))
    text = LOCKER.lock(lock)
    assert 'torch = { index = "official-cu118" }\ntorchvision = { index = "official-cu118-2" }\n' in text
    found = uv_lock(world, text)
    assert found["torchvision"]["source"] == {"registry": second.index_url}
    must_be_locked(world, found, lock)


def test_what_was_written_is_read_back_and_the_same_lock_gives_the_same_bytes(world: World) -> None:
    for lock in (world.lock(), world.unlabelled()):
        text = LOCKER.lock(lock)
        assert LOCKER.read(text) == lock
        assert LOCKER.lock(LOCKER.read(text)) == text
        assert LOCKER.is_this(text, "anything")
    assert LOCKER.is_this("", "pyproject.toml")
    assert not LOCKER.is_this("", "pylock.toml")


def test_what_no_index_holds_is_named_honestly(world: World) -> None:
    lock = Lock(
        needs=needs("3.11"), packages=(*made_elsewhere()[:2], world.own_package(NUMPY, "1.19.5"), made_elsewhere()[2])
    )
    text = LOCKER.lock(lock)
    archive, _, of_git = made_elsewhere()
    assert LOCKER.read(text) == lock
    assert "\n# Not here: mine 0.1: an editable folder\n" in text
    assert f'\n    "archive @ {archive.direct_url}#sha256={"a" * 64}",\n    "numpy==1.19.5",\n' in text
    assert f'\n    "of-git @ {of_git.direct_url}",\n' in text


def test_the_users_own_index_is_never_named_and_no_login_is_written(world: World) -> None:
    lock = world.lock()
    numpy, opencv, torch, torchvision = lock.packages
    assert numpy.file
    assert torch.index_url
    numpy = structs.replace(numpy, file=structs.replace(numpy.file, url=f"{world.own.base}/files/numpy.whl"))
    torch = structs.replace(torch, index_url=torch.index_url.replace("://", "://user:secret@"))
    text = LOCKER.lock(structs.replace(lock, packages=(numpy, opencv, torch, torchvision)))
    assert world.own.base not in text
    assert "secret" not in text
    assert LOCKER.read(text) == lock


DAMAGES = {
    "pin": (
        {'"numpy==1.19.5"': '"numpy==1.19.6"'},
        "line 15: numpy==1.19.6 stands here, but numpy==1.19.5 was locked: edited by hand",
    ),
    "more": (
        {'"numpy==1.19.5",': '"numpy==1.19.5", "six==1.0",'},
        "line 15: six==1.0 stands here, but it was not locked: edited by hand",
    ),
    "less": (
        {'    "numpy==1.19.5",\n': ""},
        "line 14: numpy was locked and is not among the dependencies: edited by hand",
    ),
    "twice": (
        {'"numpy==1.19.5"': '"opencv-python==4.5.1"'},
        "line 15: opencv-python stands twice (first in line 15): envfix reads locks for one machine",
    ),
    "requirement": ({'"numpy==1.19.5"': '"num py"'}, "line 15: 'num py' is not a requirement"),
    "toml": ({"package = false": "package = no"}, "line 22: this is not readable as TOML (Invalid value)"),
    "newer": (
        {"schema = 1": "schema = 2"},
        "line 32: a newer envfix wrote this lock (schema 2; this one reads up to 1)",
    ),
    "count": (
        {"packages = 4": "packages = 3"},
        "line 31: this lock says that it has 3 packages, and 4 are there: it was cut off, or edited by hand",
    ),
    "project": ({"[project]": "[projekt]"}, "the list project.dependencies is not there"),
    "list": ({"dependencies = [": "dependencis = ["}, "line 10: the list project.dependencies is not there"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_project_is_refused_with_its_line(world: World, damage: str) -> None:
    changes, message = DAMAGES[damage]
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(edited(LOCKER.lock(world.lock()), changes))
    assert caught.value.message == message


def test_wherever_a_project_is_cut_off_it_is_refused(world: World) -> None:
    text = LOCKER.lock(world.lock())
    for end in range(0, len(text) - 2, 5):
        with pytest.raises(LockFileError):
            LOCKER.read(text[:end])
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(text[: text.index("[tool.envfix]")])
    assert caught.value.message == (
        "line 30: envfix wrote this lock, and its table [tool.envfix] is not there: it was cut off"
    )


def test_a_project_of_somebody_else_is_read(world: World) -> None:
    text = f"""\
[project]
name = "mine"
requires-python = "==3.8.*"
dependencies = ["Torch==1.9.0+cu111", "numpy==1.19.5", "x @ https://user:secret@example.org/x.zip"]

[tool.uv.sources]
torch = {{ index = "t" }}

[[tool.uv.index]]
name = "t"
url = "{world.torch.base.replace("://", "://user:secret@")}/cu111"
"""
    assert LOCKER.read(text) == Lock(
        needs=Needs(python="3.8", tag="", platform="", variant="cu111"),
        packages=(
            LockedPackage(name="numpy", version="1.19.5"),
            LockedPackage(name="torch", version="1.9.0+cu111", index="t", index_url=f"{world.torch.base}/cu111"),
            LockedPackage(name="x", version="", origin="direct", direct_url="https://example.org/x.zip"),
        ),
        source="a pyproject.toml",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[project]\ndependencies = ["torch>=2"]\n', "line 2: torch>=2 is not locked: a lock says torch==VERSION"),
        ("[project]\ndependencies = []\n", "line 2: no package is locked here"),
        ("[project]\ndependencies = [1]\n", "line 1: the list project.dependencies is not there"),
        ('project = "x"\n', "the list project.dependencies is not there"),
    ],
)
def test_a_project_that_is_no_lock_is_refused(text: str, message: str) -> None:
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(text)
    assert caught.value.message == message


def test_tables_that_are_none_do_no_harm() -> None:
    for more in (
        "tool = 1",
        "[tool]\nuv = 1",
        "[tool.uv]\nsources = 1\nindex = 1",
        "[tool.uv]\nindex = [1]\nsources = {a = 1}",
    ):
        text = f'project = {{ dependencies = ["a==1"] }}\n{more}\n'
        assert LOCKER.read(text).packages == (LockedPackage(name="a", version="1"),)


def test_a_lock_goes_through_requirements_and_back(world: World) -> None:
    text = LOCKER.lock(world.lock())
    there = RequirementsLocker().read(RequirementsLocker().lock(LOCKER.read(text)))
    assert LOCKER.lock(there) == text
    assert PLAIN_TORCH.sha256 not in text

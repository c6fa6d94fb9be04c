"""The standard's lockfile: written, read back with packaging, and installed by uv and by the newest pip."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from msgspec import structs
from packaging.pylock import Pylock

from envfix.lockers.interface import LockError, LockFileError
from envfix.lockers.pip_family import read_toml
from envfix.lockers.pylock import PylockLocker
from envfix.lockers.requirements import RequirementsLocker
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs
from tests.conftest import interpreter
from tests.loopback_index import Wheel, make_wheel
from tests.test_lock_requirements import (
    HASH,
    NEWER_NUMPY,
    NUMPY,
    OPENCV,
    PLAIN_TORCH,
    TORCH,
    TORCHVISION,
    UV,
    World,
    edited,
    environment_of,
    made_elsewhere,
    must_have,
    needs,
    other_pip,
    uv_environment,
    world,
)

__all__ = ["world"]  # a fixture
LOCKER = PylockLocker()


def with_addresses(world: World, lock: Lock) -> Lock:
    """The same lock with the addresses of the files in the user's own index."""

    def told(package: LockedPackage) -> LockedPackage:
        if package.index_url or package.file is None:
            return package
        url = f"{world.own.base}/files/main/{package.file.filename}"
        return structs.replace(package, file=structs.replace(package.file, url=url))

    return structs.replace(lock, packages=tuple(map(told, lock.packages)))


def fill(world: World, text: str, prefix: Path) -> None:
    """Do what the header says: bring the files of the user's own index into the folder beside the lock."""
    commands = re.findall(r"^#   pip (download .*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        world.run(prefix / "bin" / "python", "-m", "pip", *shlex.split(command))


def install_with_uv(world: World, prefix: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What the header says first."""
    return world.run(UV, "pip", "install", "--python", prefix, "-r", LOCKER.filename, check=check)


@pytest.mark.parametrize("command", ["install", "sync"])
def test_uv_rebuilds_the_same_files_by_their_addresses(world: World, command: str) -> None:
    prefix = uv_environment(world)
    (world.folder / LOCKER.filename).write_text(LOCKER.lock(with_addresses(world, world.lock())))
    option = ["-r"] if command == "install" else []
    world.run(UV, "pip", command, "--python", prefix, *option, LOCKER.filename)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)
    assert not world.torch.asked("/numpy")


def test_files_of_an_index_that_is_not_named_come_from_the_folder_beside_the_lock(world: World) -> None:
    prefix = environment_of(world, "3.13")
    text = LOCKER.lock(world.lock("3.13"))
    assert world.own.base not in text
    (world.folder / LOCKER.filename).write_text(text)
    assert install_with_uv(world, prefix, check=False).returncode != 0
    fill(world, text, prefix)
    assert sorted(path.name for path in (world.folder / "wheels").iterdir()) == [NUMPY.filename, OPENCV.filename]
    install_with_uv(world, prefix)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)


def test_a_torch_without_address_is_brought_from_its_own_index(world: World) -> None:
    prefix = environment_of(world, "3.13")
    torch = structs.replace(world.torch_package(TORCH, "2.7.1+cu118"), file=world.file(TORCH))
    flat = structs.replace(torch, index_url=world.torch.url("flat", "cu118"), find_links=True)
    for package in (torch, flat):
        lock = Lock(needs=needs("3.13"), packages=(package,))
        text = LOCKER.lock(lock)
        assert LOCKER.read(text) == lock
        fill(world, text, prefix)
        [brought] = (world.folder / "wheels").iterdir()
        assert brought.read_bytes() == TORCH.data
        brought.unlink()


@pytest.mark.online
@pytest.mark.parametrize("addresses", [True, False])
def test_the_other_pip_rebuilds_the_same_files(world: World, *, addresses: bool) -> None:
    prefix = environment_of(world, "3.13")
    other_pip(prefix)
    lock = world.lock("3.13")
    text = LOCKER.lock(with_addresses(world, lock) if addresses else lock)
    (world.folder / LOCKER.filename).write_text(text)
    if not addresses:
        fill(world, text, prefix)
    world.run(prefix / "bin" / "python", "-m", "pip", "install", "-r", LOCKER.filename)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)
    changed = make_wheel("torch", "2.7.1+cu118", padding=3)
    world.torch.add("cu118", changed)
    again = ("install", "--force-reinstall", "--no-cache-dir", "-r", LOCKER.filename)
    done = world.run(prefix / "bin" / "python", "-m", "pip", *again, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)


@pytest.mark.parametrize("changed", ["own", "torch"])
def test_a_wheel_that_was_changed_on_its_index_is_refused(world: World, changed: str) -> None:
    prefix = uv_environment(world)
    (world.folder / LOCKER.filename).write_text(LOCKER.lock(with_addresses(world, world.lock())))
    if changed == "own":
        world.own.add("main", make_wheel("numpy", "1.19.5", padding=3))
    else:
        world.torch.add("cu118", make_wheel("torch", "2.7.1+cu118", padding=3))
    done = install_with_uv(world, prefix, check=False)
    assert done.returncode != 0
    assert re.search(r"(Hash|Size) mismatch for `(numpy|torch)==", done.stderr)
    must_have(prefix)


def test_an_unlabelled_torch_stays_what_it_is(world: World) -> None:
    world.own.add("main", TORCH)
    prefix = uv_environment(world)
    text = LOCKER.lock(with_addresses(world, world.unlabelled()))
    assert world.torch.base not in text
    (world.folder / LOCKER.filename).write_text(text)
    install_with_uv(world, prefix)
    must_have(prefix, NUMPY, PLAIN_TORCH)


@pytest.mark.parametrize("changes", [{"python": "3.8", "tag": "cp38"}, {"platform": "linux_aarch64"}])
def test_a_lock_for_another_python_or_platform_is_refused_by_uv(world: World, changes: dict[str, str]) -> None:
    prefix = uv_environment(world)
    lock = with_addresses(world, world.lock())
    (world.folder / LOCKER.filename).write_text(
        LOCKER.lock(structs.replace(lock, needs=structs.replace(lock.needs, **changes)))
    )
    assert install_with_uv(world, prefix, check=False).returncode != 0
    must_have(prefix)


def test_what_was_written_is_read_back_and_is_what_the_standard_says(world: World) -> None:
    for lock in (world.lock(), with_addresses(world, world.lock()), world.unlabelled()):
        text = LOCKER.lock(lock)
        assert LOCKER.read(text) == lock
        assert LOCKER.lock(LOCKER.read(text)) == text
        assert LOCKER.read(text.replace("\n", "\r\n")) == lock
        standard = Pylock.from_dict(read_toml(text))
        assert [str(one.name) for one in standard.packages] == [one.name for one in lock.packages]
        assert LOCKER.is_this(text, "anything")
    assert LOCKER.is_this("", "pylock.lab.toml")
    assert not LOCKER.is_this("", "pyproject.toml")


def test_the_text(world: World) -> None:
    text = LOCKER.lock(structs.replace(world.lock("3.8"), packages=world.lock().packages[::2]))
    assert (
        text.replace(world.torch.base, "http://torch")
        == f"""\
# Locked by envfix from a plan: torch 2.7.1+cu118 and what belongs to it.
# Needs Python 3.8 (cp38) on linux_x86_64 with glibc 2.17 or newer.
# Needs NVIDIA driver 450.80.02 or newer for the CUDA inside, cu118; cards newer than its code need 520.61.05.
# Holds code for these cards: sm_50 sm_90.
# Install it with:  uv pip install -r THIS_FILE  (called pylock.toml or pylock.NAME.toml)
#              or:  pip install -r THIS_FILE  (pip 26 or newer)
# Files of your own package index have no address here: they are read from the folder wheels.
# Fill it first, with the pip of the environment that is to get them:
#   pip download --no-deps -d wheels numpy==1.19.5

lock-version = "1.0"
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64'"]
requires-python = "==3.8.*"
created-by = "envfix"

[tool.envfix]
schema = 1
packages = 2
needs = {{ python = "3.8", tag = "cp38", platform = "linux_x86_64", libc = "glibc", glibc = "2.17", variant = "cu118", \
driver = "450.80.02", driver_direct = "520.61.05", sm = ["sm_50", "sm_90"] }}
source = "a plan"
asked = [
    "torch>=2,<3",
    "opencv-python",
]
indexes = {{ official = ["torch"] }}

[[packages]]
name = "numpy"
version = "1.19.5"
wheels = [
    {{ name = "numpy-1.19.5-py3-none-any.whl", path = "wheels/numpy-1.19.5-py3-none-any.whl", size = {len(NUMPY.data)}, \
hashes = {{ sha256 = "{NUMPY.sha256}" }} }},
]

[[packages]]
name = "torch"
version = "2.7.1+cu118"
index = "http://torch/simple/cu118"
dependencies = [{{ name = "numpy" }}]
wheels = [
    {{ name = "torch-2.7.1+cu118-py3-none-any.whl", url = "http://torch/files/cu118/torch-2.7.1%2Bcu118-py3-none-any.whl", \
size = {len(TORCH.data)}, hashes = {{ sha256 = "{TORCH.sha256}" }} }},
]
"""
    )


def test_what_no_index_holds_is_named_honestly(world: World) -> None:
    lock = Lock(needs=needs("3.11"), packages=(*made_elsewhere(), world.own_package(NUMPY, "1.19.5")))
    lock = structs.replace(lock, packages=tuple(sorted(lock.packages, key=lambda package: package.name)))
    text = LOCKER.lock(lock)
    assert LOCKER.read(text) == lock
    assert "\n# Not here: mine 0.1: an editable folder\n" in text
    standard = Pylock.from_dict(read_toml(text))
    assert [str(one.name) for one in standard.packages] == ["archive", "numpy", "of-git"]


def test_other_things_that_a_lock_can_name_are_read() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    text = f"""\
lock-version = "1.0"
created-by = "somebody"
packages = [
    {{ name = "a", version = "1", directory = {{ path = "./a", editable = true }} }},
    {{ name = "b", version = "1", directory = {{ path = "./b" }} }},
    {{ name = "c", version = "1", archive = {{ path = "c.zip", hashes = {{ sha256 = "{HASH}" }} }} }},
    {{ name = "d", vcs = {{ type = "git", url = "https://me:secret@example.org/d", commit-id = "{commit}", subdirectory = "x" }} }},
    {{ name = "e", version = "1", sdist = {{ url = "https://example.org/e-1.tar.gz", hashes = {{ md5 = "00" }} }} }},
]
"""
    lock = LOCKER.read(text)
    assert lock.packages == (
        LockedPackage(name="a", version="1", origin="editable", direct_url="./a"),
        LockedPackage(name="b", version="1", origin="local", direct_url="./b"),
        LockedPackage(name="c", version="1", origin="local", direct_url="c.zip"),
        LockedPackage(
            name="d", version="", origin="direct", direct_url=f"git+https://example.org/d@{commit}#subdirectory=x"
        ),
        LockedPackage(
            name="e",
            version="1",
            origin="sdist",
            file=LockedFile(filename="e-1.tar.gz", url="https://example.org/e-1.tar.gz", md5="00"),
        ),
    )
    assert (lock.source, lock.needs) == ("a pylock.toml of somebody", Needs(python="", tag="", platform=""))


def test_a_pylock_of_uv_is_read(world: World) -> None:
    two = (make_wheel("many", "1.0", tag) for tag in ("cp311-cp311-linux_x86_64", "py3-none-any"))
    world.own.add("main", *two)
    (world.folder / "pyproject.toml").write_text(f"""\
[project]
name = "stand-in"
version = "0"
requires-python = ">=3.11"
dependencies = ["torch==2.7.1+cu118", "many"]
[tool.uv.sources]
torch = {{ index = "t" }}
[[tool.uv.index]]
name = "t"
url = "{world.torch.url("simple", "cu118")}"
explicit = true
""")
    argv = ("pip", "compile", "-q", "pyproject.toml", "--format", "pylock.toml", "-o", "pylock.toml")
    world.run(UV, *argv, "--python", interpreter("3.11"))
    text = (world.folder / "pylock.toml").read_text()
    lock = LOCKER.read(text)
    many, numpy, torch = lock.packages
    # Which of its two wheels is meant is not said.
    assert (many.version, many.file) == ("1.0", None)
    assert numpy.file
    assert (numpy.version, numpy.file.sha256, numpy.origin) == ("1.19.6", NEWER_NUMPY.sha256, "wheel")
    # uv does not say that it is of another index: only its address leads there.
    assert (torch.origin, torch.direct_url) == ("direct", world.file(TORCH, of_torch=True).url)
    assert lock.needs.variant == "cu118"
    text = RequirementsLocker().lock(structs.replace(lock, packages=(torch,)))
    assert f"\ntorch @ {torch.direct_url}#sha256={TORCH.sha256}\n" in text


def test_a_package_without_a_hash_is_refused(world: World) -> None:
    bare = LockedPackage(name="numpy", version="1.19.5")
    with pytest.raises(LockError) as caught:
        LOCKER.lock(Lock(needs=needs("3.8"), packages=(bare,)))
    assert caught.value.message == "no hash is known for numpy 1.19.5, and a pylock.toml must have one"
    assert caught.value.hint == "take --format requirements, which can say so"
    archive, _, of_git = made_elsewhere()
    with pytest.raises(LockError) as caught:
        LOCKER.lock(Lock(needs=needs("3.8"), packages=(structs.replace(archive, file=None),)))
    assert caught.value.message == (
        "no hash is known for archive from https://example.org/archive-3.1.zip, and a pylock.toml must have one"
    )
    with pytest.raises(LockError) as caught:
        LOCKER.lock(
            Lock(needs=needs("3.8"), packages=(structs.replace(of_git, direct_url="git+https://example.org/x@main"),))
        )
    assert caught.value.message == (
        "of-git comes from git+https://example.org/x@main, which names no commit: it can be another one tomorrow"
    )
    named = structs.replace(world.own_package(NUMPY, "1.19.5"), name="Not_Canonical")
    with pytest.raises(LockError, match=r"^this lock does not fit into a pylock\.toml: Name 'Not_Canonical'"):
        LOCKER.lock(Lock(needs=needs("3.8"), packages=(named,)))


DAMAGES = {
    "newer standard": (
        {'lock-version = "1.0"': 'lock-version = "2.0"'},
        "line 11: this lock is of version 2.0 of the standard, and this envfix reads 1",
    ),
    "newer envfix": (
        {"schema = 1": "schema = 2"},
        "line 17: a newer envfix wrote this lock (schema 2; this one reads up to 1)",
    ),
    "no schema": ({"schema = 1\n": ""}, "line 16: the schema of this lock is None, not a number"),
    "toml": ({'name = "numpy"': "name = numpy"}, "line 28: this is not readable as TOML (Invalid value)"),
    "short hash": (
        {NUMPY.sha256: NUMPY.sha256[:40]},
        f"line 27: {NUMPY.sha256[:40]!r} is not a SHA-256: 64 hexadecimal digits are needed",
    ),
    "count": (
        {"packages = 4": "packages = 5"},
        "line 16: this lock says that it has 5 packages, and 4 are there: it was cut off, or edited by hand",
    ),
    "twice": (
        {'name = "opencv-python"': 'name = "numpy"', OPENCV.filename: NUMPY.filename, '"4.5.1"': '"1.19.5"'},
        "line 34: numpy stands twice (first in line 27): envfix reads locks for one machine",
    ),
    "needs": (
        {'python = "3.11"': "python = 3.11"},
        "line 19: the table [tool.envfix] is not readable: Expected `str`, got `float` - at `$.needs.python`",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lock_is_refused_with_its_line(world: World, damage: str) -> None:
    changes, message = DAMAGES[damage]
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(edited(LOCKER.lock(world.lock()), changes))
    assert caught.value.message == message
    newer = damage.startswith("newer")
    single = None if damage == "twice" else "write it anew: envfix lock"
    assert caught.value.hint == ("update envfix: pip install -U envfix" if newer else single)


@pytest.mark.parametrize(
    ("changes", "line", "place"),
    [
        pytest.param({f'sha256 = "{NUMPY.sha256}"': ""}, 30, "packages[0].wheels[0].hashes", id="no hash"),
        pytest.param({"wheels = [": "wheel = ["}, 27, "packages[0]", id="no wheel"),
        pytest.param({'created-by = "envfix"\n': ""}, None, "created-by", id="no maker"),
        pytest.param({'requires-python = "==3': 'requires-python = "!3'}, 13, "requires-python", id="no specifier"),
        pytest.param({'version = "4.5.1"': "version = 4"}, 36, "packages[1].version", id="no version"),
    ],
)
def test_what_the_standard_does_not_allow_is_refused_with_its_place(
    world: World, changes: dict[str, str], line: int | None, place: str
) -> None:
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(edited(LOCKER.lock(world.lock()), changes))
    # The reason is packaging's.
    where = f"line {line}: " if line else ""
    assert caught.value.message.startswith(f"{where}this is not a pylock.toml as PEP 751 says: ")
    assert caught.value.message.endswith(f" in {place!r}")


def test_a_version_edited_by_hand_is_refused(world: World) -> None:
    # The line of the file where packaging looks at it (from 26.3 or so on), else that of the package.
    with pytest.raises(LockFileError, match=r"^line (27|30): .*numpy"):
        LOCKER.read(edited(LOCKER.lock(world.lock()), {'version = "1.19.5"': 'version = "1.19.6"'}))


def test_wherever_a_lock_is_cut_off_it_is_refused(world: World) -> None:
    text = LOCKER.lock(world.lock())
    for end in range(0, len(text) - 2, 5):
        with pytest.raises(LockFileError):
            LOCKER.read(text[:end])
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(text[: text.rindex("]")])
    assert caught.value.message.startswith("line 57: this is not readable as TOML")


@pytest.mark.parametrize("text", ["", "\x00", "torch==1.0\n", "[project]\nname = 'x'\n", "<html>"])
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(LockFileError):
        LOCKER.read(text)


def test_a_lock_goes_through_requirements_and_back(world: World) -> None:
    text = LOCKER.lock(world.lock())
    there = RequirementsLocker().read(RequirementsLocker().lock(LOCKER.read(text)))
    assert LOCKER.lock(there) == text


def test_the_wheels_of_the_tests_differ() -> None:
    wheels: tuple[Wheel, ...] = (NUMPY, NEWER_NUMPY, OPENCV, PLAIN_TORCH, TORCH, TORCHVISION)
    assert len({wheel.sha256 for wheel in wheels}) == len(wheels)

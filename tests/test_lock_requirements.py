"""Requirements with hashes: written, read back, and installed by the pips that Pythons from 3.6 on bring, and by uv."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings
from msgspec import structs

from envfix.app.lock_environment import There, directly, rows_saved
from envfix.lockers.dockerfile import DockerfileLocker
from envfix.lockers.interface import Locker, LockError, LockFileError
from envfix.lockers.pylock import PylockLocker
from envfix.lockers.requirements import RequirementsLocker
from envfix.lockers.uv_project import UvProjectLocker
from envfix.model.facts import Distribution, Environment, Observed, found, unknown
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs
from tests.conftest import interpreter
from tests.fakes.running import Finished, cleaned_environment, envfix
from tests.loopback_index import Index, Wheel, make_wheel, serve

UV = str(Path(sys.executable).parent / "uv")
NUMPY, NEWER_NUMPY = make_wheel("numpy", "1.19.5"), make_wheel("numpy", "1.19.6")
OPENCV = make_wheel("opencv-python", "4.5.1")
PLAIN_TORCH = make_wheel("torch", "2.7.1", requires=("numpy",))
TORCH = make_wheel("torch", "2.7.1+cu118", requires=("numpy",))
TORCHVISION = make_wheel("torchvision", "0.22.1+cu118", requires=("torch==2.7.1",))
LOCKER = RequirementsLocker()
LOCKERS = (LOCKER, PylockLocker(), UvProjectLocker(), DockerfileLocker())
HASH = "a" * 64
A_FILE = LockedFile(
    filename="torch-1.9.0+cu111-cp38-cp38-linux_x86_64.whl",
    url="https://x/y/torch-1.9.0%2Bcu111-cp38-cp38-linux_x86_64.whl",
    sha256=HASH,
)


class World:
    """The user's own index, and a torch index that would like to supply other packages as well."""

    def __init__(self, own: Index, torch: Index, folder: Path) -> None:
        self.own, self.torch, self.folder = own, torch, folder
        own.add("main", NUMPY, NEWER_NUMPY, OPENCV, PLAIN_TORCH)
        # The same names with other content: what another index must not slip in.
        foreign = (make_wheel(name, version, padding=9) for name, version in (("numpy", "1.19.5"), ("torch", "2.7.1")))
        torch.add("cu118", TORCH, TORCHVISION, make_wheel("numpy", "99.0"), *foreign)

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables of a user who has configured an index, for pip and for uv."""
        index = self.own.url("simple", "main")
        cache = str(self.folder / "uv-cache")
        own = {
            "PIP_INDEX_URL": index,
            "PIP_CACHE_DIR": str(self.folder / "pip-cache"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        return cleaned_environment(**own, UV_DEFAULT_INDEX=index, UV_CACHE_DIR=cache, UV_NO_CONFIG="1", **changes)

    def run(self, *argv: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program as that user."""
        done = subprocess.run(
            [str(one) for one in argv],
            env=self.environment(),
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, done
        return done

    def file(self, wheel: Wheel, *, of_torch: bool = False) -> LockedFile:
        """The wheel as a lock has it; without its address where the user's own index says it."""
        address = f"{self.torch.base}/files/cu118/{wheel.filename.replace('+', '%2B')}"
        return LockedFile(
            filename=wheel.filename, url=address if of_torch else None, size=len(wheel.data), sha256=wheel.sha256
        )

    def own_package(self, wheel: Wheel, version: str, *requires: str) -> LockedPackage:
        """A package of the user's own index."""
        return LockedPackage(name=wheel.name, version=version, file=self.file(wheel), requires=requires)

    def torch_package(self, wheel: Wheel, version: str, *requires: str) -> LockedPackage:
        """A package of the torch index."""
        return LockedPackage(
            name=wheel.name,
            version=version,
            file=self.file(wheel, of_torch=True),
            index="official",
            index_url=self.torch.url("simple", "cu118").rstrip("/"),
            requires=requires,
        )

    def lock(self, python: str = "3.11") -> Lock:
        """A torch of the torch index, its torchvision, and what comes with them."""
        return Lock(
            needs=needs(python),
            packages=(
                self.own_package(NUMPY, "1.19.5"),
                self.own_package(OPENCV, "4.5.1", "numpy"),
                self.torch_package(TORCH, "2.7.1+cu118", "numpy"),
                self.torch_package(TORCHVISION, "0.22.1+cu118", "torch"),
            ),
            asked=("torch>=2,<3", "opencv-python"),
        )

    def unlabelled(self, python: str = "3.11") -> Lock:
        """The torch that the user's own index has, which says no CUDA in its version."""
        packages = (self.own_package(NUMPY, "1.19.5"), self.own_package(PLAIN_TORCH, "2.7.1", "numpy"))
        return Lock(needs=structs.replace(needs(python), variant="cu126"), packages=packages)


def needs(python: str) -> Needs:
    """What a stack with CUDA 11.8 needs."""
    return Needs(
        python=python,
        tag=f"cp{python.replace('.', '')}",
        platform="linux_x86_64",
        libc="glibc",
        glibc="2.17",
        variant="cu118",
        driver="450.80.02",
        driver_direct="520.61.05",
        sm=("sm_50", "sm_90"),
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as running:
        yield World(running.enter_context(serve()), running.enter_context(serve()), tmp_path)


def must_have(prefix: Path, *wheels: Wheel) -> None:
    """Exactly the files of these wheels are in an environment, by their RECORD, beside what every environment has."""
    [site] = prefix.glob("lib/python3.*/site-packages")
    brought = {"pip", "setuptools", "wheel"}
    names = {path.name.partition("-")[0] for path in site.glob("*.dist-info")} - brought
    assert names == {wheel.name.replace("-", "_") for wheel in wheels}
    for wheel in wheels:
        with zipfile.ZipFile(BytesIO(wheel.data)) as archive:
            [record] = [name for name in archive.namelist() if name.endswith("/RECORD")]
            paths = [row[0] for row in csv.reader(archive.read(record).decode().splitlines()) if row[0] != record]
            assert paths
            for path in paths:
                assert (site / path).read_bytes() == archive.read(path)


def environment_of(world: World, version: str) -> Path:
    """A new environment with the pip that this Python brings."""
    world.run(interpreter(version), "-m", "venv", world.folder / "env")
    return world.folder / "env"


def pip_version(world: World, prefix: Path) -> int:
    """The first number of the version of an environment's pip."""
    found = re.match(r"pip (\d+)", world.run(prefix / "bin" / "python", "-m", "pip", "--version").stdout)
    assert found
    return int(found[1])


@pytest.mark.parametrize(("version", "oldest", "newest"), [("3.6", 18, 21), ("3.8", 19, 25), ("3.13", 24, 99)])
def test_the_pip_that_a_python_brings_rebuilds_the_same_files(
    world: World, version: str, oldest: int, newest: int
) -> None:
    prefix = environment_of(world, version)
    assert oldest <= pip_version(world, prefix) <= newest
    (world.folder / LOCKER.filename).write_text(LOCKER.lock(world.lock(version)))
    world.run(prefix / "bin" / "python", "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", LOCKER.filename)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)
    assert not world.torch.asked("/numpy")


@pytest.mark.online
@pytest.mark.parametrize(("version", "pip"), [("3.6", "pip==21.3.1"), ("3.13", "pip>=26")])
def test_the_newest_pip_for_a_python_rebuilds_the_same_files(world: World, version: str, pip: str) -> None:
    prefix = environment_of(world, version)
    other_pip(prefix, pip)
    (world.folder / LOCKER.filename).write_text(LOCKER.lock(world.lock(version)))
    world.run(prefix / "bin" / "python", "-m", "pip", "install", "--require-hashes", "-r", LOCKER.filename)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)


def other_pip(prefix: Path, wanted: str = "pip>=26") -> None:
    """Bring an environment another pip of the machine's own registry."""
    argv = [str(prefix / "bin" / "python"), "-m", "pip", "install", "-q", "-U", wanted]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)


def uv_environment(world: World, version: str = "3.11") -> Path:
    """A new environment without pip."""
    world.run(UV, "venv", "-q", "--no-project", "--python", interpreter(version), world.folder / "env")
    return world.folder / "env"


def test_uv_rebuilds_the_same_files(world: World) -> None:
    prefix = uv_environment(world)
    (world.folder / LOCKER.filename).write_text(LOCKER.lock(world.lock()))
    world.run(UV, "pip", "install", "--python", prefix, "--require-hashes", "-r", LOCKER.filename)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)


PIPS = ("3.6", "3.8", "3.13")


def install(world: World, installer: str, text: str) -> subprocess.CompletedProcess[str]:
    """Install a lock into the folder ``target`` with uv or with the pip of a Python."""
    (world.folder / "lock.txt").write_text(text)
    options = ("install", "--require-hashes", "--target", world.folder / "target", "-r", "lock.txt")
    if installer == "uv":
        return world.run(UV, "pip", *options, "--python", interpreter("3.11"), check=False)
    return world.run(interpreter(installer), "-m", "pip", *options, check=False)


@pytest.mark.parametrize("installer", [*PIPS, "uv"])
@pytest.mark.parametrize("changed", ["own", "torch"])
def test_a_wheel_that_was_changed_on_its_index_is_refused(world: World, installer: str, changed: str) -> None:
    text = LOCKER.lock(world.lock())
    other = (
        make_wheel("numpy", "1.19.5", padding=3) if changed == "own" else make_wheel("torch", "2.7.1+cu118", padding=3)
    )
    server, repository = (world.own, "main") if changed == "own" else (world.torch, "cu118")
    server.add(repository, other)
    done = install(world, installer, text)
    assert done.returncode != 0
    assert re.search("hash mismatch|do not match the hashes|computed", done.stdout + done.stderr, re.IGNORECASE)
    assert not list((world.folder / "target").glob("*.dist-info"))


@pytest.mark.parametrize("installer", [*PIPS, "uv"])
def test_an_unlabelled_torch_stays_what_it_is_beside_a_labelled_one_of_the_same_version(
    world: World, installer: str
) -> None:
    # `==2.7.1` matches 2.7.1+cu118 too: here even the user's own index offers it.
    world.own.add("main", TORCH)
    text = LOCKER.lock(world.unlabelled())
    assert "\ntorch===2.7.1 \\\n" in text
    assert world.torch.base not in text
    done = install(world, installer, text)
    assert done.returncode == 0, done
    assert (world.folder / "target" / "torch-2.7.1.dist-info").is_dir()


@pytest.mark.parametrize("installer", [*PIPS, "uv"])
@pytest.mark.parametrize("find_links", [False, True])
def test_a_file_whose_address_is_not_known_comes_from_the_page_of_its_package(
    world: World, installer: str, *, find_links: bool
) -> None:
    place = world.torch.url("flat", "cu118") if find_links else world.torch.url("simple", "cu118")
    torch = structs.replace(
        world.torch_package(TORCH, "2.7.1+cu118", "numpy"),
        file=world.file(TORCH),
        index_url=place,
        find_links=find_links,
    )
    lock = Lock(needs=needs("3.11"), packages=(world.own_package(NUMPY, "1.19.5"), torch))
    text = LOCKER.lock(lock)
    assert f"\n--find-links {place if find_links else place + 'torch/'}\n" in text
    assert LOCKER.read(text) == lock
    done = install(world, installer, text)
    assert done.returncode == 0, done
    assert {path.name for path in (world.folder / "target").glob("*.dist-info")} == {
        "numpy-1.19.5.dist-info",
        "torch-2.7.1+cu118.dist-info",
    }


def test_what_was_written_is_read_back_and_the_same_lock_gives_the_same_bytes(world: World) -> None:
    lock = world.lock()
    text = LOCKER.lock(lock)
    assert LOCKER.read(text) == lock
    assert LOCKER.lock(msgspec.json.decode(msgspec.json.encode(lock), type=Lock)) == text
    assert LOCKER.read(text.replace("\n", "\r\n")) == lock
    assert LOCKER.is_this(text, LOCKER.filename)
    assert LOCKER.is_this(text, "anything")
    assert not LOCKER.is_this(text, "pylock.toml")


def test_the_text(world: World) -> None:
    text = LOCKER.lock(structs.replace(world.lock("3.8"), packages=world.lock().packages[::2]))
    assert (
        text.replace(world.torch.base, "http://torch")
        == f"""\
# Locked by envfix from a plan: torch 2.7.1+cu118 and what belongs to it.
# Needs Python 3.8 (cp38) on linux_x86_64 with glibc 2.17 or newer.
# Needs NVIDIA driver 450.80.02 or newer for the CUDA inside, cu118; cards newer than its code need 520.61.05.
# Holds code for these cards: sm_50 sm_90.
# envfix-needs: {msgspec.json.encode(needs("3.8")).decode()}
# envfix-lock: {{"schema":1,"packages":2,"source":"a plan","asked":["torch>=2,<3","opencv-python"]}}
# Install it with:  pip install --no-deps --require-hashes -r THIS_FILE
numpy==1.19.5 \\
    --hash=sha256:{NUMPY.sha256}
    # file: numpy-1.19.5-py3-none-any.whl
    # bytes: {len(NUMPY.data)}
torch @ http://torch/files/cu118/torch-2.7.1%2Bcu118-py3-none-any.whl#sha256={TORCH.sha256}
    # file: torch-2.7.1+cu118-py3-none-any.whl
    # bytes: {len(TORCH.data)}
    # from: official http://torch/simple/cu118
    # needs: numpy
# end of the lock
"""
    )


def test_the_users_own_index_is_never_named_and_no_login_is_written(world: World) -> None:
    lock = world.lock()
    numpy, opencv, torch, torchvision = lock.packages
    assert numpy.file
    assert torch.file
    assert torch.file.url
    assert torch.index_url
    numpy = structs.replace(numpy, file=structs.replace(numpy.file, url=f"{world.own.base}/files/numpy.whl"))
    torch = structs.replace(
        torch,
        index_url=torch.index_url.replace("://", "://user:secret@"),
        file=structs.replace(torch.file, url=torch.file.url.replace("://", "://user:secret@")),
    )
    text = LOCKER.lock(structs.replace(lock, packages=(numpy, opencv, torch, torchvision)))
    assert world.own.base not in text
    assert "secret" not in text
    assert "index-url" not in text
    assert LOCKER.read(text) == lock


def made_elsewhere() -> tuple[LockedPackage, ...]:
    """Packages that no index holds."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    return (
        LockedPackage(
            name="archive",
            version="3.1",
            origin="direct",
            direct_url="https://example.org/archive-3.1.zip",
            file=LockedFile(filename="archive-3.1.zip", url="https://example.org/archive-3.1.zip", sha256=HASH),
        ),
        LockedPackage(
            name="mine", version="0.1", origin="editable", direct_url="file:///home/me/mine", note="an editable folder"
        ),
        LockedPackage(
            name="of-git",
            version="2.0",
            origin="direct",
            direct_url=f"git+https://example.org/of-git.git@{commit}",
        ),
    )


def test_what_no_index_holds_is_named_honestly(world: World) -> None:
    archive, mine, of_git = made_elsewhere()
    lock = Lock(needs=needs("3.11"), packages=(archive, mine, world.own_package(NUMPY, "1.19.5"), of_git))
    text = LOCKER.lock(lock)
    assert LOCKER.read(text) == lock
    assert f"\narchive @ https://example.org/archive-3.1.zip#sha256={HASH}\n" in text
    assert "\n# not here: mine==0.1\n" in text
    assert "\n    # note: an editable folder\n    # came from: file:///home/me/mine\n" in text
    assert (
        "\n# No hash is known for some packages, and pip refuses them beside others. Install them afterwards:\n"
        f"#   pip install --no-deps 'of-git @ {of_git.direct_url}'\n"
    ) in text
    assert not re.search(r"^of-git", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("file:///home/Jo Doe/my code", "file:///home/Jo%20Doe/my%20code"),
        ("file:///home/o'brien/proj", "file:///home/o%27brien/proj"),
        ("file:///a\nrequests==1\n", "file:///a%0Arequests==1%0A"),
        ("file:///a/\x1b[31m\u202ered", "file:///a/%1B[31m%E2%80%AEred"),
        ("file:///home/Jo%20Doe/项目", "file:///home/Jo%20Doe/项目"),
    ],
)
@pytest.mark.parametrize("format_name", ["requirements", "pylock", "uv", "dockerfile"])
def test_what_is_only_named_is_no_reason_to_refuse_the_rest(
    world: World, format_name: str, address: str, written: str
) -> None:
    locker = {one.name: one for one in LOCKERS}[format_name]
    note = "its version '2004d'\nis \x1b[31mnone"
    mine = LockedPackage(name="mine", version="2004d", origin="editable", direct_url=address, note=note)
    odd = LockedPackage(name="odd", version="1.0'; touch pwn; '\n", origin="unknown", note="it is an egg")
    file = LockedPackage(name="torch", version="1.9.0+cu111", file=A_FILE, index="official", index_url="https://x/y")
    lock = Lock(needs=needs("3.11"), packages=(mine, world.own_package(NUMPY, "1.19.5"), odd, file))
    text = locker.lock(lock)
    mine = structs.replace(mine, direct_url=written, note="its version '2004d' is \\x1b[31mnone")
    odd = structs.replace(odd, version="1.0%27;%20touch%20pwn;%20%27%0A")
    assert locker.read(text) == structs.replace(lock, packages=(mine, lock.packages[1], odd, file))
    assert locker.lock(locker.read(text)) == text
    assert text.replace("\n", "").isprintable()


def test_a_private_index_is_called_by_its_host(world: World) -> None:
    place = f"{world.torch.base}/simple"
    package = structs.replace(world.torch_package(TORCH, "2.7.1+cu118"), index="pypi", index_url=place)
    text = LOCKER.lock(Lock(needs=needs("3.11"), packages=(package,)))
    assert f"\n    # from: 127.0.0.1 {place}\n" in text
    assert "pypi" not in text
    assert LOCKER.lock(LOCKER.read(text)) == text


HOSTILE = {
    "spaces": "a==1" + " " * 200_000 + "x",
    "spaces before a comment": "a==1" + " " * 200_000 + "x # y",
    "spaces between options": "a==1" + " " * 100_000 + "--x" + " " * 100_000 + "y",
    "open quote": "a==1 ; python_version >= '" + "x" * 200_000,
    "long name": "# not here: " + "a." * 100_000 + "==1",
    "long line": "a==1 \\\n" + "\\\n" * 200_000 + "x",
    "blank lines": "# envfix-needs:\n" + "\n" * 200_000 + "a==1",
    "open line": "a==1 \\\n" * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_a_small_file_is_read_or_refused_at_once_whatever_is_in_it(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(LockFileError):
        LOCKER.read(text)
    # Patterns that try every space with all that follow it take minutes.
    assert time.process_time() - begin < 3


@pytest.mark.parametrize("installer", PIPS)
def test_a_lock_without_any_hash_says_so_and_installs(world: World, installer: str) -> None:
    lock = Lock(needs=needs("3.11"), packages=(LockedPackage(name="numpy", version="1.19.5"),))
    text = LOCKER.lock(lock)
    assert LOCKER.read(text) == lock
    assert "\n# No hash is known for any of these packages: nothing checks that the files are the same.\n" in text
    (world.folder / "lock.txt").write_text(text)
    world.run(interpreter(installer), "-m", "pip", "install", "--target", world.folder / "target", "-r", "lock.txt")
    assert (world.folder / "target" / "numpy-1.19.5.dist-info").is_dir()


def test_a_package_without_a_hash_does_not_stop_the_others(world: World) -> None:
    bare = LockedPackage(name="opencv-python", version="4.5.1")
    lock = Lock(needs=needs("3.11"), packages=(world.own_package(NUMPY, "1.19.5"), bare))
    text = LOCKER.lock(lock)
    assert LOCKER.read(text) == lock
    assert "\n#   pip install --no-deps opencv-python==4.5.1\n" in text
    assert install(world, "3.8", text).returncode == 0
    assert [path.name for path in (world.folder / "target").glob("*.dist-info")] == ["numpy-1.19.5.dist-info"]


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        pytest.param(
            Lock(
                needs=needs("3.8"),
                packages=tuple(LockedPackage(name=f"c{n}", version="1", origin="conda") for n in range(4)),
            ),
            "the format requirements holds no conda packages, and this lock has 4 of them (c0, c1, c2, ...)",
            id="conda",
        ),
        pytest.param(
            Lock(needs=needs("3.8"), packages=()), "there is nothing to lock: no package is there", id="empty"
        ),
        pytest.param(
            Lock(needs=needs("3.8"), packages=(LockedPackage(name="a", version="1\n-e ."),)),
            "'a' cannot be written: '1\\n-e .' has a character that no lock can hold",
            id="line break",
        ),
        pytest.param(
            Lock(
                needs=needs("3.8"),
                packages=(LockedPackage(name="a", version="1", origin="direct", direct_url="https://x/a';rm'.whl"),),
            ),
            "'a' cannot be written: \"https://x/a';rm'.whl\" has a character that no lock can hold",
            id="quote",
        ),
        pytest.param(
            Lock(
                needs=needs("3.8"),
                packages=(LockedPackage(name="a", version="1", file=LockedFile(filename="../a.whl")),),
            ),
            "'a' cannot be written: '../a.whl' is not the name of a file",
            id="folder",
        ),
        pytest.param(
            Lock(
                needs=needs("3.8"),
                packages=(LockedPackage(name="a", version="1", origin="direct", direct_url="git+ssh://-oProxy/x@1"),),
            ),
            "'a' cannot be written: 'git+ssh://-oProxy/x@1' would be read as an option by the program that fetches it",
            id="option",
        ),
        pytest.param(
            Lock(needs=needs("3.8"), packages=(LockedPackage(name="a", version="1"),), source="a\nb"),
            "what was locked cannot be said in two lines: 'a\\nb'",
            id="source",
        ),
    ],
)
def test_a_lock_that_does_not_fit_is_refused(lock: Lock, message: str) -> None:
    with pytest.raises(LockError) as caught:
        LOCKER.lock(lock)
    assert caught.value.message == message


def edited(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these replaced once; each must be there."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


DAMAGES = {
    "short hash": (
        {NUMPY.sha256: NUMPY.sha256[:40]},
        f"line 8: {NUMPY.sha256[:40]!r} is not a SHA-256: 64 hexadecimal digits are needed",
    ),
    "short hash of an address": (
        {f"#sha256={TORCH.sha256}": "#sha256=00"},
        "line 17: '00' is not a SHA-256: 64 hexadecimal digits are needed",
    ),
    "another version": (
        {"numpy==1.19.5 \\": "numpy==1.19.6 \\"},
        "line 8: the file numpy-1.19.5-py3-none-any.whl is not numpy 1.19.6",
    ),
    "twice": (
        {"numpy==1.19.5 \\": "opencv-python==4.5.1 \\"},
        "line 12: opencv-python stands twice (first in line 8): envfix reads locks for one machine",
    ),
    "no requirement": (
        {"numpy==1.19.5 \\": "num py==1.19.5 \\"},
        "line 8: 'num py==1.19.5' is not a requirement",
    ),
    "open": ({"numpy==1.19.5 \\": "numpy>=1.19 \\"}, "line 8: numpy>=1.19 is not locked: a lock says numpy==VERSION"),
    "star": ({"numpy==1.19.5 \\": "numpy==1.* \\"}, "line 8: numpy==1.* is not locked: a lock says numpy==VERSION"),
    "include": (
        {"numpy==": "-r other.txt\nnumpy=="},
        "line 8: this file goes on in another one (other.txt): envfix reads one",
    ),
    "editable": ({"numpy==": "-e ./mine\nnumpy=="}, "line 8: an editable folder is not locked: ./mine"),
    "option": ({"numpy==": "--frobnicate\nnumpy=="}, "line 8: --frobnicate is not an option that a lock can have"),
    "own option": (
        {"--hash=sha256:": "--install-option=x --hash=sha256:"},
        "line 8: --install-option is not an option that a lock can have",
    ),
    "newer": (
        {'"schema":1': '"schema":2'},
        "line 6: a newer envfix wrote this lock (schema 2; this one reads up to 1)",
    ),
    "number": (
        {'"packages":4': '"packages":"4"'},
        "line 6: the number of packages in this lock is written as '4', not as a plain number: it was edited by hand",
    ),
    "schema": ({'"schema":1': '"schema":"x"'}, "line 6: the schema of this lock is 'x', not a number"),
    "own line": ({'"schema":1,': '"schema":1'}, "line 6: envfix's own line is not readable"),
    "own line without": ({'"asked":[': '"told":['}, "line 6: envfix's own line is not readable"),
    "needs": ({"envfix-needs: {": "envfix-needs: "}, "line 5: what this lock needs is not readable"),
    "bytes": ({f"# bytes: {len(NUMPY.data)}": "# bytes: many"}, "line 8: 'many' is not a number of bytes"),
    "kind": ({"    # needs: torch": "    # is: magic"}, "line 22: 'magic' is nothing that a package can be"),
    "address": (
        {"torch @ http": "http", f"torch-2.7.1%2Bcu118-py3-none-any.whl#sha256={TORCH.sha256}": "x"},
        "line 17: which package is at this address is not said",
    ),
}
HINTS = {
    **dict.fromkeys(DAMAGES, "write it anew: envfix lock"),
    **dict.fromkeys(("twice", "open", "star", "include", "editable", "option", "own option"), None),
    "newer": "update envfix: pip install -U envfix",
    "address": "write it as NAME @ ADDRESS",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lock_is_refused_with_its_line(world: World, damage: str) -> None:
    changes, message = DAMAGES[damage]
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(edited(LOCKER.lock(world.lock()), changes))
    assert (caught.value.message, caught.value.hint) == (message, HINTS[damage])


def test_wherever_a_lock_is_cut_off_it_is_refused(world: World) -> None:
    text = LOCKER.lock(world.lock())
    for end in range(text.index("envfix-lock:") + 20, len(text) - 1, 5):
        with pytest.raises(LockFileError):
            LOCKER.read(text[:end])
    lines = text.splitlines(keepends=True)
    with pytest.raises(LockFileError) as caught:
        LOCKER.read("".join(lines[:8]))
    assert caught.value.message == "line 8: this line goes on, and the file ends: it was cut off"
    with pytest.raises(LockFileError) as caught:
        LOCKER.read("".join(lines[:16]))
    assert caught.value.message == "line 16: the end of this lock is not there: it was cut off"
    with pytest.raises(LockFileError) as caught:
        LOCKER.read("".join([*lines[:7], *lines[11:]]))
    assert caught.value.message == (
        "line 6: this lock says that it has 4 packages, and 3 are there: it was cut off, or edited by hand"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but words\n", "\x00\x01", "<html>", "--require-hashes\n"])
def test_a_file_without_packages_is_refused(text: str) -> None:
    with pytest.raises(LockFileError):
        LOCKER.read(text)


def test_a_lock_of_pip_compile_is_read(world: World) -> None:
    (world.folder / "in.txt").write_text("torch==2.7.1\nopencv-python\n")
    argv: Sequence[str] = ("pip", "compile", "-q", "--generate-hashes", "--emit-index-url", "in.txt", "-o", "out.txt")
    world.run(UV, *argv, "--python", interpreter("3.11"))
    text = (world.folder / "out.txt").read_text()
    assert LOCKER.is_this(text, "out.txt")
    lock = LOCKER.read(text)
    assert [(one.name, one.version, one.file and one.file.sha256) for one in lock.packages] == [
        ("numpy", "1.19.6", NEWER_NUMPY.sha256),
        ("opencv-python", "4.5.1", OPENCV.sha256),
        ("torch", "2.7.1", PLAIN_TORCH.sha256),
    ]
    assert {one.index_url for one in lock.packages} == {world.own.url("simple", "main")}
    assert (lock.source, lock.asked) == ("a requirements file", ())


@pytest.mark.parametrize("locker", LOCKERS, ids=lambda locker: locker.name)
@given(data=st.data())
@settings(max_examples=100, deadline=None, database=None)
def test_whatever_is_changed_in_a_lock_it_is_read_or_refused(locker: Locker, data: st.DataObject) -> None:
    packages = (
        *made_elsewhere(),
        LockedPackage(name="torch", version="1.9.0+cu111", file=A_FILE, index_url="https://x/y"),
    )
    text = locker.lock(Lock(needs=needs("3.8"), packages=packages, asked=("torch",)))
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(begin + 80, len(text))))
    new = data.draw(st.text(alphabet=st.sampled_from("ax0[]{}=\"'\\\n# @:/,.-é\x00\u2028"), max_size=6))
    with contextlib.suppress(LockFileError, LockError):
        assert locker.lock(locker.read(text[:begin] + new + text[end:]))


def test_other_spellings_are_read() -> None:
    text = f"""\ufeff--extra-index-url https://user:secret@example.org/simple
Torch==1.9.0+cu111 --hash=sha256:{HASH} --hash=sha256:{"b" * 64}
https://user:secret@example.org/torchvision-0.10.0%2Bcu111-cp38-cp38-linux_x86_64.whl --hash=sha256:{HASH}
ultralytics[export]==8.0.0 ; python_version >= "3.8"  # the newest
"""
    lock = LOCKER.read(text)
    torch, torchvision, ultralytics = lock.packages
    # Two hashes are two files: which of them is meant is not said.
    assert torch == LockedPackage(name="torch", version="1.9.0+cu111")
    url = "https://example.org/torchvision-0.10.0%2Bcu111-cp38-cp38-linux_x86_64.whl"
    assert torchvision == LockedPackage(
        name="torchvision",
        version="0.10.0+cu111",
        origin="direct",
        direct_url=url,
        file=LockedFile(filename="torchvision-0.10.0+cu111-cp38-cp38-linux_x86_64.whl", url=url, sha256=HASH),
    )
    assert ultralytics == LockedPackage(name="ultralytics", version="8.0.0")
    assert lock.needs == Needs(python="3.8", tag="cp38", platform="linux_x86_64", variant="cu111")


def test_a_lock_goes_through_pylock_and_back(world: World) -> None:
    text = LOCKER.lock(world.lock())
    there = PylockLocker().read(PylockLocker().lock(LOCKER.read(text)))
    assert there == world.lock()
    assert LOCKER.lock(there) == text


def envfix_lock(world: World, *arguments: str | Path) -> Finished:
    """`envfix lock` as the user of this world runs it."""
    return envfix("lock", *map(str, arguments), env=world.environment(), timeout=120)


def test_a_version_that_nobody_reads_today_is_named_and_left_out_in_every_format(world: World) -> None:
    prefix = environment_of(world, "3.6")
    python = prefix / "bin" / "python"
    world.run(python, "-m", "pip", "install", "-q", "numpy==1.19.5")
    (world.folder / "setup.py").write_text("from setuptools import setup\nsetup(name='leg-ver', version='2004d')\n")
    world.run(python, "setup.py", "-q", "install")
    why = "its version '2004d' is none that pip and uv read today, so no index can be asked for it"
    for locker in LOCKERS:
        path = world.folder / locker.filename
        finished = envfix_lock(world, "--python", python, "--format", locker.name)
        assert finished.code == 0, finished
        assert f"leg-ver 2004d: {why}\n" in finished.stderr
        [legacy] = [one for one in locker.read(finished.stdout).packages if one.name == "leg-ver"]
        assert (legacy.version, legacy.origin, legacy.note) == ("2004d", "unknown", why)
        assert envfix_lock(world, "--python", python, "--format", locker.name, "-o", path).code == 0
        checked = envfix_lock(world, "--check", path, "--python", python)
        assert checked.code == 0, checked


def test_a_version_that_nobody_reads_today_in_a_saved_machine_is_asked_of_no_index() -> None:
    old = Distribution(name="Old", version="2004d", location="/x", tags=("py3-none-any",))
    fine = Distribution(name="fine", version="1.0", location="/x", tags=("py3-none-any",))
    rows = rows_saved(environment_with(found((fine, old), "metadata"))).rows
    assert [(row.name, row.version, row.note is None) for row in rows] == [
        ("fine", "1.0", True),
        ("Old", "2004d", False),
    ]


def environment_with(distributions: Observed[tuple[Distribution, ...]]) -> Environment:
    """An environment of which only the packages are known."""
    nothing: Observed[Any] = unknown("nowhere", "not told")
    return Environment(
        interpreter=nothing,
        distributions=distributions,
        torch=nothing,
        torchvision=nothing,
        torch_import=nothing,
        package_sources=nothing,
        elsewhere=nothing,
    )


def test_metadata_that_says_neither_name_nor_version_is_named(world: World) -> None:
    prefix = environment_of(world, "3.8")
    python = prefix / "bin" / "python"
    world.run(python, "-m", "pip", "install", "-q", "numpy==1.19.5")
    [site] = prefix.glob("lib/python3.*/site-packages")
    for folder in ("-1.0.dist-info", "broken-1.0 --hash=x-y.dist-info", "silent.dist-info"):
        (site / folder).mkdir()
        (site / folder / "RECORD").write_text("")
        (site / folder / "WHEEL").write_text("Tag: py3-none-any\n")
    finished = envfix_lock(world, "--python", python)
    assert finished.code == 0, finished
    for folder in ("-1.0.dist-info", "broken-1.0 --hash=x-y.dist-info"):
        told = f"{folder!r} is unreadable: which package and version it is cannot be told: left out\n"
        assert told in finished.stderr
    assert "silent 0: it does not say its version\n" in finished.stderr


REPORT = """Collecting environment information...
PyTorch version: 2.0.1+cu117
CUDA used to build PyTorch: 11.7
OS: Ubuntu 20.04.6 LTS (x86_64)
Libc version: glibc-2.31
Python version: 3.11.7 (64-bit runtime)
Is CUDA available: True
GPU models and configuration: GPU 0: NVIDIA GeForce RTX 3090
Nvidia driver version: 470.57.02
Versions of relevant libraries:
[pip3] numpy==1.26.4
[pip3] torch==2.0.1
"""


def test_a_pasted_report_is_no_whole_environment(world: World) -> None:
    (world.folder / "report.txt").write_text(REPORT)
    finished = envfix_lock(world, "--from", world.folder / "report.txt")
    assert (finished.code, finished.stdout) == (3, "")
    assert finished.stderr.endswith(
        "error: a collect_env report names only the packages that torch thinks relevant: what is locked from it would miss"
        " the others\nhint: lock a plan for that machine: envfix lock --from REPORT --torch ==2.0.1 --cuda cu117 (or a file"
        " of `envfix snapshot -o`)\n"
    )


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("url", "vcs", "subdirectory", "note"),
    [
        ("https://h/x.git", ("git", "main"), None, "'main' of a repository, which is no commit: it can be another one tomorrow"),
        ("https://h/x.git", ("git", "abc"), None, "'abc' of a repository, which is no commit: it can be another one tomorrow"),
        (
            "https://h/x.git",
            ("git", "--upload-pack=touch"),
            None,
            "'--upload-pack=touch' of a repository, which is no commit: it can be another one tomorrow",
        ),
        (
            "ssh://-oProxyCommand=touch/x.git",
            ("git", COMMIT),
            None,
            "'ssh://-oProxyCommand=touch/x.git', which would be read as an option by the program that fetches it",
        ),
        ("ext::sh -c id", ("git", COMMIT), None, "'ext::sh -c id', which is no address that every installer can fetch from"),
        ("https://h/x.git", ("git\nx", COMMIT), None, "a repository of 'git\\nx', which no installer knows"),
        ("https://h/x.git", ("git", COMMIT), "../..", "'../..' of its sources, which is no plain folder"),
        ("https://h/x.git", ("git", COMMIT), "a\nb", "'a\\nb' of its sources, which is no plain folder"),
        ("https://h/\u202ex.whl", None, None, "'https://h/\\u202ex.whl', which has a character that no lock can hold"),
        ("https://h/%0Ax.whl", None, None, "'https://h/%0Ax.whl', which has a character that no lock can hold"),
        ("https://h/x'y.whl", None, None, "\"https://h/x'y.whl\", which has a character that no lock can hold"),
        ("https:///x.whl", None, None, "'https:///x.whl', which names no host"),
    ],
)  # fmt: skip
def test_an_address_that_is_no_pin_or_a_command_is_named_and_left_out(
    url: str, vcs: tuple[str, str] | None, subdirectory: str | None, note: str
) -> None:
    told: dict[str, object] = {"url": url}
    told |= {"vcs_info": {"vcs": vcs[0], "commit_id": vcs[1]}} if vcs else {"archive_info": {}}
    told |= {"subdirectory": subdirectory} if subdirectory else {}
    one = directly(There(name="evil", version="1.0", direct_url=json.dumps(told)))
    assert one
    assert (one.origin, one.note) == ("unknown", f"it came from {note}")
    beside = LockedPackage(name="x", version="1", file=LockedFile(filename="x-1-py3-none-any.whl", sha256=HASH))
    for locker in LOCKERS:
        text = locker.lock(Lock(needs=needs("3.11"), packages=(one, beside)))
        assert locker.read(text).packages[0] == one


def test_a_repository_with_its_commit_is_locked() -> None:
    told = {
        "url": "https://me:pw@h/x.git#egg=x",
        "vcs_info": {"vcs": "git", "commit_id": COMMIT},
        "subdirectory": "py/x",
    }
    one = directly(There(name="x", version="1.0", direct_url=json.dumps(told)))
    assert one
    assert (one.origin, one.direct_url) == ("direct", f"git+https://h/x.git@{COMMIT}#subdirectory=py/x")

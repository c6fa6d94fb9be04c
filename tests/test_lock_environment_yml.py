"""Conda's environment file: written, read back, and installed from by rattler and by pip."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envfix.lockers.environment_yml import EnvironmentYmlLocker, quoted
from envfix.lockers.interface import LockError
from envfix.lockers.yaml_parts import read_yaml
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs
from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment
from tests.loopback_index import Index, Wheel, make_wheel, serve
from tests.test_lock_conda_explicit import (
    HEADER,
    MD5,
    NEEDS,
    PYTHON,
    PYTORCH,
    SHA,
    VIRTUAL,
    YOLO,
    ZLIB,
    Stack,
    every_cut,
    made,
    pip,
    read_error,
    refiled,
    stack,
    without,
)

__all__ = ["stack"]  # fixtures

LOCKER = EnvironmentYmlLocker()
LAB = "https://conda.example/lab"
GIT = LockedPackage(name="tool", version="1.0", origin="direct", direct_url="git+https://git.example/tool@0123abc")
MINE = LockedPackage(name="mine", version="0.1", origin="editable", note="it is an editable folder: /home/me/mine")


def plain(text: str) -> Any:
    """What another tool reads."""
    import yaml

    return yaml.safe_load(text)


def test_conda_packages_have_their_builds_and_wheels_their_checksums() -> None:
    lock = made(ZLIB, PYTHON, pip("numpy", "1.19.5", index="pypi", index_url=None), pip("torch", "1.8.0+cu111"))
    assert LOCKER.lock(lock) == HEADER.replace("torch 1.8.0 (cu111)", "torch 1.8.0+cu111") + (
        '# envfix-also: {"count":4,"source":"a plan","specs":["pytorch 1.8.0 *cuda11.1*"],"channels":[["lab",'
        '"https://conda.example/lab"]],"indexes":[{"index":"team","url":"https://pip.example/simple","packages":["torch"]}]}\n'
        "name: torch-1.8.0-cu111\n"
        "channels:\n"
        "  - https://conda.example/lab\n"
        "  - nodefaults\n"
        "dependencies:\n"
        f"  - zlib=1.3=0  # {LAB}/linux-64/zlib-1.3-0.conda sha256:{SHA} md5:{MD5}\n"
        f"  - python=3.8.20=h0_0  # {LAB}/linux-64/python-3.8.20-h0_0.conda sha256:{SHA} md5:{MD5}\n"
        "  - pip\n"
        "  - pip:\n"
        f"      - numpy==1.19.5 --hash=sha256:{SHA}  # https://pip.example/files/numpy-1.19.5-py3-none-any.whl\n"
        f"      - torch @ https://pip.example/files/torch-1.8.0+cu111-py3-none-any.whl#sha256={SHA}  # version 1.8.0+cu111\n"
        "# envfix-end\n"
    )


def test_a_lock_of_wheels_only_asks_conda_for_python_and_pip() -> None:
    file = LockedFile(filename="numpy-1.19.5-cp38-cp38-manylinux2010_x86_64.whl", sha256=SHA)
    lock = made(pip("numpy", "1.19.5", file=file, index="pypi", index_url=None), channels=(), specs=())
    text = LOCKER.lock(lock)
    assert text.splitlines()[-7:-1] == [
        "name: locked",
        "dependencies:",
        "  - python=3.8",
        "  - pip",
        "  - pip:",
        f"      - numpy==1.19.5 --hash=sha256:{SHA}  # numpy-1.19.5-cp38-cp38-manylinux2010_x86_64.whl",
    ]
    assert LOCKER.read(text) == lock
    unknown = msgspec.structs.replace(lock, needs=Needs(python="", tag="", platform=""))
    assert "  - python\n" in LOCKER.lock(unknown)


def test_other_tools_see_plain_names_and_lines_for_pip() -> None:
    text = LOCKER.lock(made(ZLIB, pip("six", "1.16.0"), GIT, MINE))
    assert plain(text) == {
        "name": "locked",
        "channels": [LAB, "nodefaults"],
        "dependencies": [
            "zlib=1.3=0",
            "python=3.8",
            "pip",
            {
                "pip": [
                    f"six @ https://pip.example/files/six-1.16.0-py3-none-any.whl#sha256={SHA}",
                    "tool @ git+https://git.example/tool@0123abc",
                ]
            },
        ],
    }
    assert "# Not in this lock: mine 0.1: it is an editable folder: /home/me/mine\n" in text
    assert "      # pip checks no checksums here, because none is known for: tool\n" in text


def test_no_package_is_looked_for_in_the_index_of_another() -> None:
    own = pip("six", "1.16.0", index="pypi", index_url="https://pip.example/private")
    page = pip("torch", "1.8.0+cu111", index="official", index_url="https://pip.example/stable.html", find_links=True)
    hidden = [refiled(one, url=None) for one in (pip("a", "1"), msgspec.structs.replace(page, name="b"))]
    lock = made(*hidden, pip("c", "2", file=None), own, page, channels=())
    text = LOCKER.lock(lock)
    lines = [line.split("  #")[0] for line in text.splitlines() if line.startswith("      - ")]
    assert lines == [
        "      - --find-links https://pip.example/simple/a/",
        "      - --find-links https://pip.example/stable.html",
        "      - --find-links https://pip.example/simple/c/",
        "      - a==1",
        "      - b==1.8.0+cu111",
        "      - c==2",
        f"      - six @ https://pip.example/files/six-1.16.0-py3-none-any.whl#sha256={SHA}",
        f"      - torch @ https://pip.example/files/torch-1.8.0+cu111-py3-none-any.whl#sha256={SHA}",
    ]
    assert "index-url" not in "".join(lines)
    assert LOCKER.read(text) == lock


def test_what_is_written_is_read_back_and_written_the_same() -> None:
    archive = pip("old", "2.0", origin="sdist", file=LockedFile(filename="old-2.0.tar.gz", sha256=SHA))
    direct = LockedPackage(
        name="fork",
        version="3.0",
        origin="direct",
        direct_url="https://pip.example/fork-3.0-py3-none-any.whl",
        file=LockedFile(
            filename="fork-3.0-py3-none-any.whl", url="https://pip.example/fork-3.0-py3-none-any.whl", sha256=SHA
        ),
    )
    for more in ((), (GIT,)):
        packages = (direct, MINE, archive, PYTHON, PYTORCH, *more, YOLO, ZLIB)
        lock = made(*packages, asked=("fork",), source="an environment")
        text = LOCKER.lock(lock)
        back = LOCKER.read(text)
        kept = without(packages, "size", "depends", "constrains")
        assert back == msgspec.structs.replace(lock, packages=tuple(sorted(kept, key=lambda one: one.name)))
        assert LOCKER.lock(lock) == text
        assert LOCKER.lock(LOCKER.read(LOCKER.lock(back))) == LOCKER.lock(back)


def test_a_conda_package_without_its_build_is_not_exact() -> None:
    with pytest.raises(LockError) as refused:
        LOCKER.lock(made(msgspec.structs.replace(ZLIB, build=None)))
    assert refused.value.message == (
        "environment.yml needs the exact build of every conda package, and there is none for zlib"
    )


def test_rattler_solves_the_file_to_the_same_environment(stack: Stack) -> None:
    import rattler
    from rattler.package import BuildString

    document = plain(LOCKER.lock(stack.lock))
    virtual = [
        rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), BuildString(build))
        for name, (version, build) in VIRTUAL.items()
    ]

    async def solve() -> list[Any]:
        return await rattler.solve(
            [rattler.Channel(url) for url in document["channels"] if url != "nodefaults"],
            [rattler.MatchSpec(spec) for spec in document["dependencies"]],
            platforms=["linux-64", "noarch"],
            virtual_packages=virtual,
        )

    assert stack.installed(asyncio.run(solve())) == stack.files()


def wheels_of(index: Index, *wheels: Wheel) -> Lock:
    """A lock of wheels of a running index, which is pip's own here."""
    index.add("main", *wheels)
    packages = tuple(
        LockedPackage(
            name=one.name,
            version=one.filename.split("-")[1],
            file=LockedFile(filename=one.filename, sha256=one.sha256, size=len(one.data)),
        )
        for one in wheels
    )
    return made(*packages, channels=(), specs=())


def pip_section(
    text: str, folder: Path, index: Index, pip_version: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What conda does with the section: its lines in a file, and ``pip install -U -r`` of that."""
    python = folder / "venv/bin/python"
    if not python.exists():
        subprocess.run([interpreter("3.8"), "-m", "venv", str(folder / "venv")], check=True)
        if pip_version is not None:
            wanted = [str(python), "-m", "pip", "install", "-q", f"pip=={pip_version}"]
            subprocess.run(wanted, check=True, capture_output=True, timeout=120)
    lines = plain(text)["dependencies"][-1]["pip"]
    (folder / "condaenv.requirements.txt").write_text("\n".join(lines))
    more = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": index.url("simple", "main"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "NO_PROXY": "127.0.0.1",
    }
    environment = {name: value for name, value in cleaned_environment().items() if not name.startswith("PIP_")} | more
    command = [str(python), "-m", "pip", "install", "-U", "-r", str(folder / "condaenv.requirements.txt")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_pip_installs_the_section_and_refuses_a_wheel_that_has_changed(tmp_path: Path) -> None:
    tail = "cp38-cp38-linux_x86_64"
    with serve() as index:
        lock = wheels_of(
            index, make_wheel("numpy", "1.19.5", tail), make_wheel("torch", "1.8.0+cu111", tail, requires=("numpy",))
        )
        text = LOCKER.lock(lock)
        done = pip_section(text, tmp_path, index)
        assert done.returncode == 0, done.stderr
        assert "Successfully installed numpy-1.19.5 torch-1.8.0+cu111" in done.stdout
        assert LOCKER.read(text).packages == without(lock.packages, "size", "requires")

        index.add("main", make_wheel("torch", "1.8.0+cu111", tail, requires=("numpy",), padding=64))
        subprocess.run([str(tmp_path / "venv/bin/python"), "-m", "pip", "uninstall", "-qy", "torch"], check=True)
        refused = pip_section(text, tmp_path, index)
        assert refused.returncode != 0
        assert "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE" in refused.stderr


@pytest.mark.parametrize("pip_version", ["21.3.1", "25.0.1"])
def test_pip_installs_wheels_of_a_private_index_beside_those_of_its_own(tmp_path: Path, pip_version: str) -> None:
    own, private = make_wheel("numpy", "1.19.5"), make_wheel("secret", "1.0", requires=("numpy",))
    with serve() as index:
        lock = wheels_of(index, own, private)
        # Somebody else's package of that name, which must not be taken.
        index.add("main", make_wheel("secret", "9.0"))
        index.add("team", private)
        place = index.url("simple", "team")
        url = f"{place}{private.filename}".replace("/simple/team/", "/files/team/")
        secret = refiled(lock.packages[1], url=url)
        secret = msgspec.structs.replace(secret, index="team", index_url=place, requires=())
        del index.repositories["main"][private.filename]
        text = LOCKER.lock(msgspec.structs.replace(lock, packages=(lock.packages[0], secret)))
        assert [line.split("==")[0].split(" @ ")[0] for line in plain(text)["dependencies"][-1]["pip"]] == [
            "numpy",
            "secret",
        ]
        done = pip_section(text, tmp_path, index, pip_version)
        assert done.returncode == 0, done.stderr
        assert "Successfully installed numpy-1.19.5 secret-1.0" in done.stdout
        assert LOCKER.read(text).packages == without((lock.packages[0], secret), "size", "requires")

        index.add("team", make_wheel("secret", "1.0", padding=64))
        subprocess.run([str(tmp_path / "venv/bin/python"), "-m", "pip", "uninstall", "-qy", "secret"], check=True)
        refused = pip_section(text, tmp_path, index, pip_version)
        assert refused.returncode != 0
        assert "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE" in refused.stderr


def test_pip_installs_a_section_without_checksums_where_one_is_missing(tmp_path: Path) -> None:
    with serve() as index:
        lock = wheels_of(index, make_wheel("numpy", "1.19.5"), make_wheel("six", "1.16.0"))
        six = msgspec.structs.replace(lock.packages[1], file=None)
        text = LOCKER.lock(msgspec.structs.replace(lock, packages=(lock.packages[0], six)))
        done = pip_section(text, tmp_path, index)
        assert done.returncode == 0, done.stderr
        assert "Successfully installed numpy-1.19.5 six-1.16.0" in done.stdout
        assert LOCKER.read(text).packages == (*without(lock.packages[:1], "size"), six)


def test_what_conda_env_export_writes_is_read() -> None:
    lock = LOCKER.read(
        "name: yolo\n"
        "channels:\n"
        "  - pytorch\n"
        "  - https://me:secret@conda.example/t/tk-9/conda-forge\n"
        "dependencies:\n"
        "  - _libgcc_mutex=0.1=main\n"
        "  - pytorch::pytorch=1.8.0=py3.8_cuda11.1_cudnn8.0.5_0\n"
        "  - python=3.8.20=he870216_0\n"
        "  - numpy==1.19.5\n"
        "  - pillow\n"
        "  - pip:\n"
        "    - --extra-index-url https://pip.example/simple\n"
        "    - Foo.Bar==1.0\n"
        "    - ultralytics[export] >= 8.0 ; python_version > '3.7'\n"
        "    - -e ./mine\n"
        "    - git+https://me:secret@git.example/tool\n"
        f"    - two==2.0 --hash=sha256:{SHA} --hash=sha256:{SHA[::-1]}\n"
        f"    - one==1.0 --hash=sha256:{SHA}\n"
        "prefix: /home/me/miniconda3/envs/yolo\n"
    )
    assert [(one.name, one.version, one.origin, one.build, one.index) for one in lock.packages] == [
        ("_libgcc_mutex", "0.1", "conda", "main", ""),
        ("foo-bar", "1.0", "wheel", None, "pypi"),
        ("numpy", "1.19.5", "conda", None, ""),
        ("one", "1.0", "wheel", None, "pypi"),
        ("python", "3.8.20", "conda", "he870216_0", ""),
        ("pytorch", "1.8.0", "conda", "py3.8_cuda11.1_cudnn8.0.5_0", "pytorch"),
        ("two", "2.0", "wheel", None, "pypi"),
    ]
    assert [one.file.sha256 for one in lock.packages if one.file is not None] == [SHA]
    assert lock.specs == ("pillow",)
    assert lock.asked == (
        "ultralytics[export] >= 8.0 ; python_version > '3.7'",
        "-e ./mine",
        "git+https://git.example/tool",
    )
    assert lock.channels == (("pytorch", "pytorch"), ("conda-forge", "https://conda.example/conda-forge"))
    assert lock.needs == Needs(python="3.8", tag="cp38", platform="", variant="cu111")
    assert lock.source == "an environment.yml"
    assert "secret" not in repr(lock)


def test_the_python_that_is_only_asked_for_counts_where_none_is_exact() -> None:
    lock = LOCKER.read("dependencies:\n  - python=3.10\n  - pip:\n    - torch==2.1.2+cu118\n")
    assert lock.needs == Needs(python="3.10", tag="cp310", platform="", variant="cu118")


GOOD = "dependencies:\n  - zlib=1.3=0\n  - pip:\n    - numpy==1.19.5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: there is nothing in it"),
        ("- a\n", "line 1: the file must be names with values"),
        ("name: x\n", "line 1: there is no list of dependencies in it"),
        ("name: x\ndependencies: yes\n", "line 2: dependencies must be a list"),
        (
            "name: x\ndependencies:\n  - numpy\n  - pip:\n    - torch>=2\n",
            (
                "line 3: no package in it is exact (name=version=build, for pip name==version): it says what is wanted,"
                " not what is locked"
            ),
        ),
        (
            GOOD.replace("- numpy==1.19.5", "- numpy==1.19.5 --hash=sha256:abc"),
            "line 4: a sha256 checksum has 64 digits, and this is 'abc'; is the file cut off?",
        ),
        (
            GOOD.replace("numpy==1.19.5", "-r requirements.txt"),
            "line 4: -r sends pip to another file, and a lock must hold everything itself",
        ),
        (GOOD.replace("pip:", "npm:"), "line 3: 'npm' is no kind of dependency; pip is the only one"),
        (
            GOOD + "name: 'torch\n",
            "line 6: it is not readable as YAML: found unexpected end of stream; is the file cut off?",
        ),
        (
            GOOD + "\tx: 1\n",
            "line 5: it is not readable as YAML: found a tab character that violates indentation; is the file cut off?",
        ),
        (GOOD + "name: a\nname: b\n", "line 6: 'name' is said twice"),
        (GOOD + "name: &x a\n", "line 5: it uses anchors (& and *), which envfix does not follow"),
        (GOOD + "---\nname: b\n", "line 5: a second document begins here, and a lock is a single one"),
        (
            GOOD.replace("numpy==1.19.5", "numpy==1.19.5 and more"),
            "line 4: pip cannot read 'numpy==1.19.5 and more'",
        ),
        (
            GOOD.replace("zlib=1.3=0", f"zlib=1.4=0  # {LAB}/linux-64/zlib-1.3-0.conda"),
            "line 2: zlib=1.4=0 is not the file named beside it, zlib-1.3-0.conda: was it changed by hand?",
        ),
        (
            GOOD.replace(
                "- zlib=1.3=0",
                f"- zlib=1.3=0  # {LAB}/linux-64/zlib-1.3-0.conda\n  - xz=1=0  # {LAB}/win-64/xz-1-0.conda",
            ),
            "line 3: xz-1-0.conda is for win-64, and this lock is for linux-64",
        ),
        (GOOD + "name: \ud800\n", "line 5: it is no text in UTF-8"),
        (
            "# envfix-needs: {damaged\n" + GOOD,
            "line 1: what this lock needs is not readable",
        ),
    ],
)
def test_a_damaged_file_is_told_with_its_line(text: str, message: str) -> None:
    error = read_error(LOCKER, text)
    assert error.message == message
    assert error.line is not None


def test_a_file_that_lost_a_line_is_noticed() -> None:
    lines = LOCKER.lock(made(ZLIB, pip("a", "1"), pip("b", "2"))).splitlines(keepends=True)
    assert read_error(LOCKER, "".join(lines[:-2] + lines[-1:])).message == (
        "line 17: it holds 2 packages and was written with 3: it was changed by hand"
    )


def test_wherever_the_file_is_cut_off_it_is_refused_with_the_line() -> None:
    assert all(message.startswith("line ") for message in every_cut(LOCKER, made(PYTHON, pip("a", "1"))))


def test_a_file_made_to_exhaust_its_reader_is_refused_at_once() -> None:
    assert read_error(LOCKER, "a: " + "[" * 500 + "]" * 500).message == "line 1: it is nested too deeply for a lock"
    assert read_error(LOCKER, "a: " + "[" * 200_000).message == (
        "line 1: it is not readable as YAML: exceeded maximum nesting depth; is the file cut off?"
    )
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\n"
    assert read_error(LOCKER, bomb).message == "line 1: it uses anchors (& and *), which envfix does not follow"
    assert read_error(LOCKER, "a: \x00").message == (
        "line 1: it is not readable as YAML: control characters are not allowed; is the file cut off?"
    )


@pytest.mark.parametrize(
    "text",
    [
        "numpy==1.0 --hash=sha256:ab",
        "--extra-index-url https://pip.example/simple",
        "a @ https://pip.example/a-1%2Bcpu.whl#sha256=ab",
        "1.10",
        "1e5",
        "yes",
        "- x",
        "a: b",
        "a #b",
        "ends:",
        "",
        "~",
        "null",
        "0x1F",
        "[a]",
        "é\u2028",
        "'single'",
        '"double"',
        "@at",
        "%percent",
        "1:30",
        "...",
        "---",
    ],
)
def test_text_comes_back_from_yaml_as_it_was(text: str) -> None:
    assert plain(f"- {quoted(text)}\n") == [text]
    assert read_yaml(f"- {quoted(text)}\n").rows("it")[0].text("it") == text


def test_it_is_recognised_by_its_dependencies_or_its_name() -> None:
    assert LOCKER.is_this(GOOD, "conda.yml")
    assert LOCKER.is_this("", "/home/me/environment.yaml")
    assert not LOCKER.is_this("version: 1\npackage:\n- name: a\n  dependencies: {}\nmetadata:\n", "conda-lock.yml")
    assert not LOCKER.is_this("[project]\ndependencies = []\n", "pyproject.toml")


def test_needs_of_another_file_are_kept() -> None:
    assert LOCKER.read(HEADER + GOOD).needs == NEEDS

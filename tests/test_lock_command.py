"""`envfix lock` as a user types it, against indexes on loopback: from a plan, an environment, a snapshot; checked; updated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envfix.app.lock_sources import fits
from envfix.host.real import RealHost
from envfix.installer.uv import find_uv
from tests.conftest import interpreter
from tests.fakes.running import Finished, envfix
from tests.loopback_index import make_wheel, serve
from tests.loopback_world import CU118, OLDER, TAIL, World, world_in
from tests.trees import differences, tree

CARD = {"ENVFIX_DRIVER": "470.57.02", "ENVFIX_GPU": "NVIDIA GeForce RTX 3090:8.6:24576"}
NAMES = ("requirements", "pylock", "environment.yml", "uv", "dockerfile")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        for name in ("official", "nju"):
            made[name].add("cu118", *CU118, *OLDER)
        made["pypi"].add("main", make_wheel("extra", "1.0"), make_wheel("numpy", "1.25.0"))
        yield made


def run(world: World, *arguments: str, **changes: str) -> Finished:
    return envfix(
        *arguments, "--python", str(world.folder / "env"), env=world.environment(**CARD, **changes), timeout=120
    )


def lock(world: World, *arguments: str, **changes: str) -> Finished:
    return run(world, "lock", *arguments, **changes)


def pip(world: World, *arguments: str | Path, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Uv's pip in the environment of the world (or of another Python), as a user without envfix runs it."""
    target = python or world.folder / "env" / "bin" / "python"
    command = [find_uv(RealHost()), "pip", arguments[0], "-q", "--python", str(target), *map(str, arguments[1:])]
    return subprocess.run(
        command, env=world.environment(), capture_output=True, text=True, timeout=120, check=False, cwd=world.folder
    )


def site(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def test_a_plan_is_locked_without_installing_anything(world: World) -> None:
    before = tree(world.folder / "env")
    finished = lock(world, "--cuda", "auto")
    assert finished.code == 0, finished
    assert finished.stdout.startswith("# Locked by envfix from a plan: torch 2.7.1+cu118 and what belongs to it.\n")
    torch = f"{world['official'].base}/files/cu118/torch-2.7.1%2Bcu118-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert f"torch @ {torch}#sha256={CU118[0].sha256}\n" in finished.stdout
    assert differences(before, tree(world.folder / "env")) == []
    assert not (world.folder / "requirements-lock.txt").exists()


def test_json_holds_needs_packages_and_the_text(world: World) -> None:
    document = lock(world, "--cuda", "auto", "--json").document
    assert document["schema"] == "envfix.lock/1"
    assert document["needs"]["driver"] == "450.80.02"
    assert [one["name"] for one in document["packages"]] == ["numpy", "torch", "torchvision", "ultralytics"]
    assert [(one["format"], one["path"]) for one in document["files"]] == [("requirements", None)]
    assert document["files"][0]["text"].endswith("# end of the lock\n")


def test_several_formats_go_into_a_folder_and_two_runs_give_identical_bytes(world: World) -> None:
    options = [part for name in NAMES for part in ("--format", name)]
    for folder in ("one", "two"):
        finished = lock(world, "--cuda", "auto", *options, "-o", str(world.folder / folder) + os.sep)
        assert finished.code == 0, finished
    one, two = (sorted((world.folder / folder).iterdir()) for folder in ("one", "two"))
    assert [path.name for path in one] == [
        "Dockerfile",
        "environment.yml",
        "pylock.toml",
        "pyproject.toml",
        "requirements-lock.txt",
    ]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    for path in one:
        checked = lock(world, "--check", str(path), "--json").document
        assert (checked["status"], checked["format"]) == ("differs", {
            "Dockerfile": "dockerfile",
            "environment.yml": "environment.yml",
            "pylock.toml": "pylock",
            "pyproject.toml": "uv",
            "requirements-lock.txt": "requirements",
        }[path.name])  # fmt: skip
        assert {row["kind"] for row in checked["differences"]} == {"missing"}


def test_locks_are_the_same_in_every_language(world: World) -> None:
    options = [part for name in NAMES for part in ("--format", name)]
    assert run(world, "install", "--yes", "--keep").code == 4
    for language in ("en", "zh"):
        for what in (("--cuda", "auto"), ()):
            folder = world.folder / f"{language}{len(what)}"
            finished = lock(world, *what, *options, "--lang", language, "-o", str(folder) + os.sep)
            assert finished.code == 0, finished
            assert ("锁" in finished.stdout) is (language == "zh")
            told = [line for line in finished.stdout.splitlines() if "driver" in line or "驱动" in line]
            assert ["需要 NVIDIA 驱动" in line for line in told] == [language == "zh"]
    for number in (0, 2):
        english, chinese = (sorted((world.folder / f"{name}{number}").iterdir()) for name in ("en", "zh"))
        assert len(english) == len(NAMES)
        assert [path.read_bytes() for path in english] == [path.read_bytes() for path in chinese]


def test_the_name_of_the_file_says_the_format(world: World) -> None:
    path = world.folder / "pylock.lab.toml"
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    assert 'lock-version = "1.0"' in path.read_text()
    finished = lock(world, "--cuda", "auto", "-o", str(world.folder / "lab.lock"))
    assert finished.code == 2
    assert "error: lab.lock does not say which format is wanted\n" in finished.stderr


@pytest.mark.parametrize("name", ["requirements", "pylock"])
def test_an_environment_comes_back_from_its_lock_with_the_same_files(world: World, name: str) -> None:
    assert run(world, "install", "--yes", "--keep").code == 4
    assert pip(world, "install", "extra==1.0").returncode == 0
    path = world.folder / {"requirements": "requirements-lock.txt", "pylock": "pylock.toml"}[name]
    finished = lock(world, "-o", str(path))
    assert finished.code == 0, finished
    assert "5 packages from an environment" in finished.stdout
    other = world.folder / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    done = pip(world, "install", "--no-deps", "-r", path, python=other / "bin" / "python")
    assert done.returncode == 0, done.stderr
    ours = ("direct_url.json", "uv_cache.json", "REQUESTED", "RECORD")
    old, new = (
        {name: what for name, what in tree(site(environment)).items() if not name.endswith(ours)}
        for environment in (world.folder / "env", other)
    )
    assert [path for path in differences(old, new) if "_virtualenv" not in path] == []
    checked = envfix("lock", "--check", str(path), "--python", str(other), env=world.environment(**CARD), timeout=60)
    assert checked.code == 0, checked
    again = envfix("lock", "--format", name, "--python", str(other), env=world.environment(**CARD), timeout=60)
    assert again.stdout == path.read_text(), "the same lock, wherever the files were taken from"


def test_a_wheel_that_has_changed_on_the_index_is_refused(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    path.write_text(path.read_text().replace(CU118[0].sha256, "0" * 64))
    done = pip(world, "install", "--no-deps", "-r", path)
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert not list(site(world.folder / "env").glob("torch-*"))


def test_a_private_index_is_named_without_its_login(world: World) -> None:
    url = world["pypi"].url("simple", "main").replace("://", "://me:hunter2@")
    env = {**world.environment(**CARD), "UV_DEFAULT_INDEX": url}
    for options in (*(("--format", name) for name in NAMES), ("--json",)):
        target = ("--python", str(world.folder / "env"))
        finished = envfix("lock", "--cuda", "auto", *options, *target, env=env, timeout=60)
        assert finished.code == 0, finished
        assert "hunter2" not in finished.stdout
        assert "127.0.0.1" in finished.stdout


@pytest.mark.parametrize("kind", ["page of files", "index"])
def test_where_no_index_tells_a_hash_that_is_said_and_only_download_works_it_out(world: World, kind: str) -> None:
    torch = make_wheel("torch", "2.7.1+cu118", TAIL, requires=("numpy",), padding=3_000_000)
    vision = make_wheel("torchvision", "0.22.1+cu118", TAIL, requires=("torch==2.7.1",), padding=3_000_000)
    world["aliyun"].add("cu118", torch, vision)
    world["aliyun"].no_hashes = True
    path = world.folder / "requirements-lock.txt"
    index = "aliyun" if kind == "page of files" else f"{world['aliyun'].base}/simple/cu118"
    options = ("--cuda", "auto", "--index", index, "-o", str(path))
    finished = lock(world, *options)
    assert finished.code == 0, finished
    assert finished.stderr.endswith(
        "no index tells the hash of torch, torchvision: nothing checks these files later; --download fetches them and"
        " works it out\n"
    )
    assert f"# afterwards: torch @ {world['aliyun'].base}" in path.read_text()
    asked = world["aliyun"].requests
    whole = [one.path for one in asked if one.method == "GET" and one.path.endswith(".whl") and not one.range]
    assert whole == [], "only parts of the files were asked for"
    assert lock(world, *options, "--download").code == 0
    assert f"{torch.filename.replace('+', '%2B')}#sha256={torch.sha256}\n" in path.read_text()
    assert run(world, "install", "--yes", "--keep", "--index", index).code == 4
    assert lock(world, "--check", str(path)).code == 0


@pytest.mark.online
def test_the_default_index_is_not_named(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    command = [find_uv(RealHost()), "pip", "install", "-q", "--python", str(environment), "six==1.16.0"]
    subprocess.run(command, check=True, timeout=120)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    for name in ("requirements", "pylock", "uv", "dockerfile"):
        finished = envfix("lock", "--python", str(environment), "--format", name, env=plain, timeout=60)
        assert finished.code == 0, finished
        assert "://" not in finished.stdout.replace("https://download.pytorch.org", ""), finished
    folder = tmp_path / "locks"
    finished = envfix(
        "lock", "--python", str(environment), "--format", "pylock", "--download", "-o", str(folder) + os.sep, env=plain
    )
    assert finished.code == 0, finished
    assert [path.name for path in (folder / "wheels").iterdir()] == ["six-1.16.0-py2.py3-none-any.whl"]
    shutil_target = tmp_path / "again"
    command = [find_uv(RealHost()), "pip", "install", "-q", "--offline", "--target", str(shutil_target)]
    subprocess.run([*command, "-r", "pylock.toml"], check=True, cwd=folder, timeout=60)
    assert (shutil_target / "six.py").exists()


def test_what_no_index_holds_is_named(world: World, tmp_path: Path) -> None:
    for name, flags in (("mine", ("-e",)), ("there", ())):
        project = tmp_path / name
        project.mkdir()
        text = f'[project]\nname = "{name}"\nversion = "1.0"\n'
        text += '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
        (project / "pyproject.toml").write_text(text)
        (project / "b.py").write_text(BACKEND.format(name=name))
        done = pip(world, "install", *flags, project)
        assert done.returncode == 0, done.stderr
    (site(world.folder / "env") / "gone-3.0.dist-info").mkdir()
    (site(world.folder / "env") / "gone-3.0.dist-info" / "METADATA").write_text("Name: gone\nVersion: 3.0\n")
    (site(world.folder / "env") / "gone-3.0.dist-info" / "RECORD").write_text("")
    assert pip(world, "install", "extra==1.0").returncode == 0
    finished = lock(world)
    assert finished.code == 0, finished
    assert "# not here: gone==3.0\n    # is: unknown\n" in finished.stdout
    assert "# not here: mine==1.0\n    # is: editable\n" in finished.stdout
    assert "# not here: there==1.0\n    # is: local\n" in finished.stdout
    assert "\nextra @ http" in finished.stdout
    assert (
        "gone 3.0: it was not installed from a wheel, so nothing says where it came from\n"
        "mine 1.0: it is a folder that is worked on: build a wheel of it, or lock its repository\n"
        "there 1.0: it came from a folder of this machine's disk\n"
    ) in finished.stderr


# The smallest backend: it makes a wheel without files, or with a link to the folder.
BACKEND = """import zipfile
def build_wheel(folder, *_, **__):
    with zipfile.ZipFile(folder + "/{name}-1.0-py3-none-any.whl", "w") as archive:
        info = "{name}-1.0.dist-info/"
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "RECORD", info + "METADATA,,\\n" + info + "WHEEL,,\\n" + info + "RECORD,,\\n")
    return "{name}-1.0-py3-none-any.whl"
build_editable = build_wheel
"""


def test_another_build_than_the_locked_one_is_told(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    assert run(world, "install", "--yes", "--keep", "--torch", "==2.6.0").code == 4
    finished = lock(world, "--check", str(path))
    assert finished.code == 1
    assert "but is not what is installed." in " ".join(finished.stdout.split())
    assert "- torch 2.7.1+cu118 is 2.6.0+cu118\n" in finished.stdout


def test_a_lock_is_compared_with_a_machine_elsewhere(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    machine = world.folder / "machine.json"
    other = {"ENVFIX_DRIVER": "580.65.06", "ENVFIX_GPU": "NVIDIA GeForce RTX 5090:12.0:32000"}
    saved = envfix(
        "snapshot",
        "-o",
        str(machine),
        "--python",
        str(world.folder / "env"),
        env=world.environment(**other),
        timeout=60,
    )
    assert saved.code == 0, saved
    env = world.environment()
    checked = envfix("lock", "--check", str(path), "--from", str(machine), "--json", env=env, timeout=60)
    assert checked.code == 1
    assert checked.document["schema"] == "envfix.lock-check/1"
    assert checked.document["status"] == "unfit"
    assert checked.document["differences"] is None
    no = [row["text"] for row in checked.document["suitability"] if row["answer"] == "no"]
    code = "sm_37 sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
    assert no == [f"NVIDIA GeForce RTX 5090 has compute capability 12.0; it was compiled for {code}"]
    fits = envfix("lock", "--check", str(path), "--driver", "535.54.03", "--gpu", "A100", env=env, timeout=60)
    assert fits.code == 0, fits


def test_a_saved_machine_is_locked(world: World) -> None:
    assert run(world, "install", "--yes", "--keep").code == 4
    machine = world.folder / "machine.json"
    assert run(world, "snapshot", "-o", str(machine)).code == 0
    finished = envfix("lock", "--from", str(machine), env=world.environment(), timeout=60)
    assert finished.code == 0, finished
    assert "# Locked by envfix from a saved machine: torch 2.7.1+cu118" in finished.stdout
    assert f"#sha256={CU118[0].sha256}\n" in finished.stdout


def test_an_update_changes_only_what_must_change(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    assert (
        lock(
            world,
            "--cuda",
            "auto",
            "--torch",
            "==2.6.0",
            "--with",
            "ultralytics",
            "--with",
            "numpy==1.25.0",
            "-o",
            str(path),
        ).code
        == 0
    )
    before = path.read_text()
    finished = lock(world, "--update", "torch", "-o", str(path))
    assert finished.code == 0, finished
    assert "torch: 2.6.0+cu118 -> 2.7.1+cu118\n" in finished.stdout
    assert "torchvision: 0.21.0+cu118 -> 0.22.1+cu118\n" in finished.stdout
    assert "numpy" not in finished.stdout
    world["pypi"].add("main", make_wheel("ultralytics", "8.4.81", requires=("torch>=1.8.0", "numpy>=1.23.0")))
    kept = lock(world, "--update", "numpy", "-o", str(path))
    assert "ultralytics" not in kept.stdout, "there is a newer one, and nobody asked for it"
    assert before != path.read_text()


def test_an_update_without_a_lock_or_of_a_stranger_is_refused(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    finished = lock(world, "--update", "torch", "-o", str(path))
    assert (finished.code, finished.stderr) == (
        2,
        "error: --update changes a lock that is there\nhint: name it with -o FILE\n",
    )
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    finished = lock(world, "--update", "pandas", "-o", str(path))
    assert finished.code == 2
    assert finished.stderr.startswith(f"error: pandas is not in {path}\n")


def test_what_somebody_else_has_written_is_left_alone(world: World) -> None:
    path = world.folder / "pyproject.toml"
    path.write_text('[project]\nname = "thesis"\n')
    finished = lock(world, "--cuda", "auto", "-o", str(path))
    assert finished.code == 2
    assert finished.stderr == (
        f"error: {path} is there, and envfix has not written it like this: it is left alone\n"
        "hint: move it away, or name another file with -o\n"
    )
    assert path.read_text() == '[project]\nname = "thesis"\n'


def test_an_index_that_does_not_answer_is_no_reason_to_leave_torch_out(world: World) -> None:
    assert run(world, "install", "--yes", "--keep").code == 4
    before = world.base("official")
    world.dead |= {"official", "nju", "sjtu", "aliyun"}
    finished = lock(world, UV_HTTP_RETRIES="0")
    assert finished.code == 3, finished
    assert (
        "error: which file torch 2.7.1+cu118 and torchvision 0.22.1+cu118 came from cannot be told" in finished.stderr
    )
    assert before not in finished.stdout
    world.dead -= {"nju"}
    finished = lock(world, UV_HTTP_RETRIES="0")
    assert finished.code == 0, finished
    assert f"# from: nju {world['nju'].base}/simple/cu118" in finished.stdout


def test_a_stack_that_does_not_exist_is_a_conflict_and_no_file(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    finished = lock(world, "--torch", "==99.0", "-o", str(path), "--json")
    assert finished.code == 1
    assert finished.document["status"] == "conflict"
    assert not path.exists()


def test_formats_that_cannot_hold_it_write_nothing_at_all(world: World) -> None:
    folder = world.folder / "locks"
    finished = lock(
        world, "--cuda", "auto", "--format", "requirements", "--format", "conda-explicit", "-o", str(folder)
    )
    assert finished.code == 3
    assert "conda-explicit holds conda packages, and there is none in this lock" in finished.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no lockfile that envfix can read"),
        ("torch==2.7.1 --hash=sha256:abc\n", "line 1: 'abc' is not a SHA-256: 64 hexadecimal digits are needed"),
        ("torch>=2.0\n", "line 1: torch>=2.0 is not locked: a lock says torch==VERSION"),
    ],
)
def test_a_file_that_is_no_lock_is_a_clear_error(world: World, text: str, words: str) -> None:
    path = world.folder / ("requirements.txt" if text else "nothing")
    path.write_text(text)
    finished = lock(world, "--check", str(path))
    assert finished.code == 3
    assert words in finished.stderr
    assert str(path) in finished.stderr or path.name in finished.stderr


def test_nothing_installed_is_told(world: World) -> None:
    finished = lock(world)
    assert finished.code == 3
    assert finished.stderr.endswith(
        f"error: nothing is installed in {world.folder / 'env'}\nhint: say what to plan, such as --cuda auto\n"
    )


def test_a_system_python_for_which_pip_has_installed_nothing_is_told_apart(tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists() or any(Path("/usr/local/lib").glob("python3*/dist-packages/*.dist-info")):
        pytest.skip("there is no system Python without packages of pip")
    finished = envfix("lock", "--python", str(python), "-o", str(tmp_path / "lock.txt"))
    assert finished.code == 3
    assert "packages of the system itself are not locked" in " ".join(finished.stderr.split())


def test_a_lock_of_a_newer_envfix_is_refused_with_its_line(world: World) -> None:
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    path.write_text(path.read_text().replace('"schema":1', '"schema":7'))
    finished = lock(world, "--check", str(path), "--json")
    assert finished.code == 3
    assert finished.document["error"]["message"] == (
        f"{path}: line 6: a newer envfix wrote this lock (schema 7; this one reads up to 1)"
    )


def test_json_of_a_check_is_one_document(world: World) -> None:
    path = world.folder / "pylock.toml"
    assert lock(world, "--cuda", "auto", "-o", str(path)).code == 0
    finished = lock(world, "--check", str(path), "--json")
    assert json.loads(finished.stdout)["checked"] == str(world.folder / "env")


@pytest.mark.parametrize(
    ("filename", "tags", "is_it"),
    [
        ("a-1-cp38-cp38-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", ("cp38-cp38-manylinux2014_x86_64",), True),
        ("a-1-cp38-cp38-manylinux_2_28_x86_64.whl", ("cp38-cp38-manylinux_2_17_x86_64",), False),
        ("torch-1.9.0-cp38-cp38-manylinux1_x86_64.whl", ("cp38-cp38-linux_x86_64",), True),
        ("a-1-cp38-cp38-manylinux2014_aarch64.whl", ("cp38-cp38-linux_x86_64",), False),
        ("a-1-cp39-cp39-manylinux1_x86_64.whl", ("cp38-cp38-linux_x86_64",), False),
        ("a-1-py2.py3-none-any.whl", ("py3-none-any",), True),
        ("a-1.tar.gz", ("py3-none-any",), True),
    ],
)
def test_a_wheel_is_known_by_its_tags(filename: str, tags: tuple[str, ...], *, is_it: bool) -> None:
    assert fits(filename, tags) is is_it


def put(world: World, folder: str, **files: str) -> Path:
    """A metadata folder in the environment, as something odd has left it there."""
    place = site(world.folder / "env") / folder
    place.mkdir()
    for name, text in files.items():
        (place / name.replace("_json", ".json")).write_text(text)
    return place


def test_what_is_left_out_is_named_in_the_answer_itself(world: World) -> None:
    mine = {"METADATA": "Name: mine\nVersion: 1.0\n", "RECORD": "", "WHEEL": "Tag: py3-none-any\n"}
    editable = '{"url": "file:///src/mine", "dir_info": {"editable": true}}'
    put(world, "mine-1.0.dist-info", **mine, direct_url_json=editable)
    path = world.folder / "requirements-lock.txt"
    alone = lock(world, "-o", str(path))
    assert alone.code == 3
    assert alone.stderr.splitlines()[-2].startswith(
        "error: nothing that is installed comes back on another machine: mine 1.0: it is a folder that is worked on: "
    )
    assert not path.exists()
    assert pip(world, "install", "extra==1.0").returncode == 0
    quiet = lock(world, "-q", "-o", str(path))
    assert quiet.code == 0, quiet
    assert "  1 of 2 packages from an environment\n  left out: mine\n" in quiet.stdout
    assert lock(world, "--json").document["left_out"] == ["mine"]


@pytest.mark.parametrize(("version", "forgets"), [("3.6", True), ("3.11", False)])
def test_an_old_pip_that_does_not_say_where_packages_came_from_is_told(
    world: World, version: str, *, forgets: bool
) -> None:
    target = world.folder / "other"
    subprocess.run([interpreter(version), "-m", "venv", str(target)], check=True, timeout=120)
    assert pip(world, "install", "extra==1.0", python=target / "bin" / "python").returncode == 0
    finished = envfix("lock", "--python", str(target), env=world.environment(**CARD), timeout=60)
    assert finished.code == 0, finished
    told = (
        " does not write down what it installed from a folder or a file: anything of that kind is locked as the package"
    )
    assert (told in finished.stderr) is forgets


def test_bytecode_that_was_written_anew_is_no_damage(world: World) -> None:
    """Some wheels hold bytecode; pip compiles it anew, and their RECORD still tells the old sum."""
    assert pip(world, "install", "extra==1.0").returncode == 0
    place = site(world.folder / "env")
    (place / "extra" / "__pycache__").mkdir()
    (place / "extra" / "__pycache__" / "old.pyc").write_bytes(b"compiled anew")
    record = next(place.glob("extra-*.dist-info")) / "RECORD"
    record.write_text(record.read_text() + f"extra/__pycache__/old.pyc,sha256={'A' * 43},5\n")
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "-o", str(path)).code == 0
    assert lock(world, "--check", str(path)).code == 0


def test_an_update_that_changes_nothing_writes_the_same_lock_again(world: World) -> None:
    assert run(world, "install", "--yes", "--keep").code == 4
    path = world.folder / "pylock.toml"
    assert lock(world, "-o", str(path)).code == 0
    path.chmod(0o600)
    before = path.read_text()
    finished = lock(world, "--update", "numpy", "-o", str(path))
    assert (finished.code, "nothing has changed" in finished.stdout) == (0, True), finished
    assert path.read_text().splitlines() == before.splitlines()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_named_by_its_address_with_a_hash_is_not_fetched_to_work_it_out(world: World) -> None:
    other = make_wheel("other", "1.0")
    world["pypi"].add("elsewhere", other)
    url = f"{world['pypi'].url('simple', 'elsewhere')}/../../files/elsewhere/{other.filename}"
    put(world, "other-1.0.dist-info", METADATA="Name: other\nVersion: 1.0\n", RECORD="", WHEEL="Tag: py3-none-any\n",
        direct_url_json=json.dumps({"url": url, "archive_info": {"hashes": {"sha256": other.sha256}}}))  # fmt: skip
    finished = lock(world, "--download")
    assert finished.code == 0, finished
    assert f"other @ {url}#sha256={other.sha256}" in finished.stdout
    assert world["pypi"].asked(other.filename) == []


COMMIT = "b30aa7a" + "0" * 33
ELSEWHERE = "http://127.0.0.1:9/b/other-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("locked", "there", "said"),
    [
        (
            {"url": "http://127.0.0.1:9/a/other-1.0-py3-none-any.whl", "archive_info": {"hash": f"sha256={'e' * 64}"}},
            {"url": ELSEWHERE, "archive_info": {}},
            f"from another address, and no hash tells whether it is the same file: {ELSEWHERE}",
        ),
        (
            {"url": "http://127.0.0.1:9/r.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            {"url": "http://127.0.0.1:9/r.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT[::-1]}},
            f"another one: git+http://127.0.0.1:9/r.git@{COMMIT[::-1]}",
        ),
        (
            {"url": "http://127.0.0.1:9/r.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            None,
            f"installed, and nothing says that it came from git+http://127.0.0.1:9/r.git@{COMMIT}",
        ),
    ],
    ids=["address", "commit", "no word"],
)
def test_what_came_from_elsewhere_is_not_what_was_locked(
    world: World, locked: dict[str, Any], there: dict[str, Any] | None, said: str
) -> None:
    mine = {"METADATA": "Name: other\nVersion: 1.0\n", "RECORD": "", "WHEEL": "Tag: py3-none-any\n"}
    place = put(world, "other-1.0.dist-info", **mine, direct_url_json=json.dumps(locked))
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "-o", str(path)).code == 0
    same = lock(world, "--check", str(path), "--json").document
    assert same["differences"] == []
    (place / "direct_url.json").unlink()
    if there is not None:
        (place / "direct_url.json").write_text(json.dumps(there))
    rows = lock(world, "--check", str(path), "--json").document["differences"]
    assert [(row["name"], row["there"]) for row in rows] == [("other", said)]


def test_several_formats_are_one_document_or_a_folder(world: World) -> None:
    wanted = ("--cuda", "auto", "--format", "requirements", "--format", "pylock")
    refused = lock(world, *wanted)
    assert (refused.code, refused.stderr) == (
        2,
        "error: several formats do not fit on one screen\nhint: name a folder for them with -o FOLDER\n",
    )
    files = lock(world, *wanted, "--json").document["files"]
    assert [(row["format"], row["path"]) for row in files] == [("requirements", None), ("pylock", None)]
    assert all(row["text"].startswith("# Locked by envfix from a plan") for row in files)
    nowhere = lock(world, "--cuda", "auto", "--format", "requirements", "-o", os.devnull)
    assert nowhere.code == 0, nowhere
    nameless = lock(world, "--cuda", "auto", "-o", "")
    assert (nameless.code, nameless.stderr) == (2, "error: -o needs the name of a file or a folder\n")


def test_an_update_keeps_what_no_index_holds_and_the_cuda_of_the_lock(world: World) -> None:
    assert run(world, "install", "--yes", "--keep", "--torch", "==2.6.0").code == 4
    put(world, "mine-1.0.dist-info", METADATA="Name: mine\nVersion: 1.0\n", RECORD="", WHEEL="Tag: py3-none-any\n",
        direct_url_json='{"url": "file:///src/mine", "dir_info": {"editable": true}}')  # fmt: skip
    world["pypi"].add("main", make_wheel("mine", "1.0"))
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "-o", str(path)).code == 0
    assert "# not here: mine==1.0\n" in path.read_text()
    no_card = world.environment()
    target = ("--python", str(world.folder / "env"))
    finished = envfix("lock", "--update", "torch", "-o", str(path), *target, env=no_card, timeout=60)
    assert finished.code == 0, finished
    assert "torch: 2.6.0+cu118 -> 2.7.1+cu118\n" in finished.stdout
    assert "# not here: mine==1.0\n" in path.read_text()
    assert "\nmine" not in path.read_text()
    other = lock(world, "--update", "torch", "--with", "extra", "-o", str(path))
    assert other.code == 2
    assert "--update keeps what the lock was asked for: leave out --with" in other.stderr


def test_a_lock_of_another_tool_that_says_nothing_of_cuda_is_no_yes(world: World) -> None:
    path = world.folder / "requirements.txt"
    path.write_text("torch==2.7.1\nnumpy==1.26.4\n")
    finished = lock(world, "--check", str(path), "--driver", "440.33", "--gpu", "GTX 1080 Ti", "--json")
    assert (finished.code, finished.document["status"]) == (1, "unknown")


def test_odd_folders_are_named_and_take_nothing_along(world: World) -> None:
    assert pip(world, "install", "extra==1.0").returncode == 0
    wheel = "Wheel-Version: 1.0\nTag: py3-none-any\n"
    put(world, "~umpy-1.24.0.dist-info")
    put(world, "lonely[extra]-1.0.dist-info", RECORD="", WHEEL=wheel)
    put(world, f"long-{'9' * 60}.dist-info", RECORD="", WHEEL=wheel)
    put(world, "odd-2004d.dist-info", RECORD="", WHEEL=wheel)
    put(world, "source-1.0.egg-info", **{"PKG-INFO": "Name: source\nVersion: 1.0\n"})
    put(world, "utils-1.0.1-py3.6.egg")
    for number, text in enumerate(
        ('{"url": "file:///x", "dir_info": null}', '{"url": 5}', "[" * 5000, '{"url": "http://[::1/y.whl"}')
    ):
        put(world, f"rubbish{number}-1.0.dist-info", RECORD="", WHEEL=wheel, direct_url_json=text)
    finished = lock(world)
    assert finished.code == 0, finished
    assert "\nextra @ http" in finished.stdout
    absent = {
        line.split()[3].partition("==")[0] for line in finished.stdout.splitlines() if line.startswith("# not here: ")
    }
    assert absent == {"long", "odd", "source", "utils", *(f"rubbish{number}" for number in range(4))}
    assert "is no package (what an installer that broke off has left?): left out" in finished.stderr
    assert "source 1.0: it was not installed from a wheel, so nothing says where it came from\n" in finished.stderr


def test_what_the_environment_sees_beside_itself_is_named(world: World) -> None:
    assert pip(world, "install", "extra==1.0").returncode == 0
    settings = world.folder / "env" / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("site-packages = false", "site-packages = true"))
    beside = world.folder / "beside"
    (beside / "seen-1.0.dist-info").mkdir(parents=True)
    (site(world.folder / "env") / "beside.pth").write_text(f"{beside}\n")
    finished = lock(world)
    assert (
        "the environment also sees the packages of the Python below it: these are not in the lock\n" in finished.stderr
    )
    assert f"{beside} (named in beside.pth) holds packages that are not in the lock\n" in finished.stderr


def test_a_file_that_was_edited_or_is_gone_is_not_what_was_locked(world: World) -> None:
    assert run(world, "install", "--yes", "--keep").code == 4
    path = world.folder / "requirements-lock.txt"
    assert lock(world, "-o", str(path)).code == 0
    assert lock(world, "--check", str(path)).code == 0
    (site(world.folder / "env") / "numpy" / "__init__.py").write_text("__version__ = '1.26.5'\n")
    (site(world.folder / "env") / "ultralytics" / "__init__.py").unlink()
    finished = lock(world, "--check", str(path), "--json")
    assert (finished.code, finished.document["status"]) == (1, "differs")
    assert [(row["name"], row["there"]) for row in finished.document["differences"]] == [
        ("numpy", "installed, with 1 of its files changed"),
        ("ultralytics", "installed, with 1 of its files gone"),
    ]


def test_secrets_in_addresses_are_not_written(world: World) -> None:
    text = json.dumps({"url": "https://host/x-1.0-py3-none-any.whl?token=S3CRET&sig=abc", "archive_info": {}})
    git = json.dumps(
        {
            "url": "ssh://git@host/y?private_token=S3CRET",
            "vcs_info": {"vcs": "git", "commit_id": "c" * 40},
            "subdirectory": "py",
        }
    )
    for name, origin in (("x", text), ("y", git)):
        put(world, f"{name}-1.0.dist-info", RECORD="", WHEEL="Tag: py3-none-any\n", direct_url_json=origin)
    for options in (
        *(("--format", name) for name in ("requirements", "environment.yml", "uv", "dockerfile")),
        ("--json",),
    ):
        finished = lock(world, *options)
        assert finished.code == 0, finished
        assert "S3CRET" not in finished.stdout
    assert "\ny @ git+ssh://git@host/y@" + "c" * 40 + "#subdirectory=py\n" in lock(world).stdout


def test_nothing_beside_a_lock_is_written_over(world: World) -> None:
    assert lock(world, "--cuda", "auto", "-o", str(world.folder / "pyproject.toml")).code == 0
    path = world.folder / "pyproject.toml"
    path.write_text(path.read_text().replace("dependencies = [", 'dependencies = [\n    "mine",'))
    finished = lock(world, "--cuda", "auto", "-o", str(path))
    assert finished.code == 2
    assert "envfix has not written it like this" in finished.stderr
    folder = world.folder / "is-a-folder" / "requirements-lock.txt"
    folder.mkdir(parents=True)
    finished = lock(world, "--cuda", "auto", "--format", "pylock", "--format", "requirements", "-o", str(folder.parent))
    assert (finished.code, finished.stderr.splitlines()[0]) == (2, f"error: {folder} is a folder")
    assert list(folder.parent.iterdir()) == [folder]


def test_an_index_that_is_named_is_asked_for_private_packages(world: World) -> None:
    with serve() as private:
        private.add("mine", make_wheel("priv", "1.0"))
        url = private.url("simple", "mine")
        assert pip(world, "install", "--index", url, "priv==1.0", "extra==1.0").returncode == 0
        finished = lock(world, "--index", url)
        assert finished.code == 0, finished
        assert f"priv @ {private.base}/files/mine/priv-1.0-py3-none-any.whl#sha256=" in finished.stdout
        assert f"extra @ {world['pypi'].base}" in finished.stdout
        again = envfix(
            "lock",
            "--python",
            str(world.folder / "env"),
            env={**world.environment(), "PIP_EXTRA_INDEX_URL": url},
            timeout=60,
        )
        assert f"priv @ {private.base}" in again.stdout
        assert (
            "you have configured extra indexes: a package that is in your default index as well is locked from there\n"
            in again.stderr
        )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pylock.toml", 'lock-version = "1.0"\ncreated-by = "x"\nx = ' + "[" * 6000, "nested too deep"),
        ("requirements.txt", "# envfix-lock: " + "[" * 100_000 + "\n", "nested too deep"),
        ("pyproject.toml", '[tool.uv.sources]\ntorch = { index = ["x"] }\n', "project.dependencies is not there"),
        ("requirements.txt", "a==1\n" * 5_000_000, "is larger than 20 MB: that is no lock"),
        ("requirements.txt", "torch @ https://me:hunter2@host/ x.whl ~\n", "is not a requirement"),
    ],
)
def test_hostile_locks_are_refused_at_once(world: World, name: str, text: str, words: str) -> None:
    path = world.folder / name
    path.write_text(text)
    finished = lock(world, "--check", str(path))
    assert finished.code == 3, finished
    assert words in finished.stderr
    assert "fault in envfix" not in finished.stderr
    assert "hunter2" not in finished.stderr

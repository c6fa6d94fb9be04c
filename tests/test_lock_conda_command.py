"""`envfix lock` of conda packages, as a user types it: a plan solved from a local channel, and what conda has installed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from envfix.lockers import formats
from envfix.model.lock import LockedFile, LockedPackage
from tests.conda_channel import Channels
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
        others = [row for row in checked["differences"] if row["kind"] != "extra"]
        # The real Python was put in place of the made-up files of that package.
        replaced = "installed, with 2 of its files changed"
        assert [(row["name"], row["there"]) for row in others] == [("python", replaced)], path
    rows = [line.split("#")[0].strip() for line in (there / "environment.yml").read_text().splitlines()]
    assert "- pytorch=1.8.0=py3.8_cuda11.1_cudnn8.0.5_0" in rows


def rewritten(conda: Conda, **values: str) -> None:
    """Change what conda has written down of pytorch."""
    (record,) = (conda.prefix / "conda-meta").glob("pytorch-*.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | values))


@pytest.mark.online
def test_another_file_or_a_changed_one_is_not_what_was_locked(conda: Conda, tmp_path: Path) -> None:
    assert conda.install("--keep").code == 4
    path = tmp_path / "conda-lock.yml"
    assert lock(conda, "-q", "-o", str(path)).code == 0
    before = path.read_bytes()
    again = lock(conda, "-q", "--update", "cudatoolkit", "-o", str(path))
    assert (again.code, "nothing has changed" in again.stdout) == (0, True), again
    assert path.read_bytes() == before

    def difference() -> str | None:
        rows = lock(conda, "--check", str(path), "--json").document["differences"]
        return next((row["there"] for row in rows if row["name"] == "pytorch"), None)

    assert difference() is None
    code = conda.prefix / "lib/python3.8/site-packages/torch/__init__.py"
    code.write_text(code.read_text() + "# changed\n")
    assert difference() == "installed, with 1 of its files changed"
    code.unlink()
    assert difference() == "installed, with 1 of its files gone"
    rewritten(conda, sha256="0" * 64)
    assert difference() == "of another file"


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


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_token_of_a_channel_is_in_no_format(conda: Conda, channels: Channels, tmp_path: Path, ending: str) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tk-hunter2-abc").symlink_to(conda.channel.folder)
    channels.folders["t"] = tmp_path / "tokens"
    (conda.home / ".condarc").write_text(f"channels: [{channels.base}/t/tk-hunter2-abc{ending}]\n")
    finished = all_formats(conda, tmp_path / "out", "--backend", "conda")
    assert finished.code == 0, finished
    assert "hunter2" not in finished.stdout + finished.stderr
    for path in (tmp_path / "out").iterdir():
        text = path.read_text()
        assert "hunter2" not in text
        assert f"{channels.base}/linux-64/pytorch-1.8.0-" in text


@pytest.fixture
def alone(conda: Conda) -> Conda:
    """An environment that holds a Python of conda's, and nothing of pip's."""
    for path in (conda.prefix / "lib/python3.8/site-packages").glob("setuptools-*"):
        shutil.rmtree(path)
    return conda


def record_of_python(conda: Conda) -> Path:
    """Conda's record of the only package that is there."""
    (path,) = (conda.prefix / "conda-meta").glob("*.json")
    return path


@pytest.mark.parametrize(
    ("channel", "behind"),
    [("https://me:hunter2@h/t/tk-hunter2-abc", ""), ("https://h/t/tk-hunter2-abc/linux-64", "?x=tk-hunter2")],
)
def test_the_token_in_a_record_is_not_the_name_of_a_channel(alone: Conda, channel: str, behind: str) -> None:
    path = record_of_python(alone)
    row = json.loads(path.read_text())
    url = f"{channel.removesuffix('/linux-64')}/linux-64/{row['fn']}{behind}"
    path.write_text(json.dumps({**row, "channel": channel, "url": url}))
    for name in FILES:
        finished = lock(alone, "--format", name, "--json")
        assert finished.code == 0, finished
        assert "hunter2" not in finished.stdout + finished.stderr
        (file,) = finished.document["files"]
        made = formats.locker(name).read(file["text"])
        (package,) = made.packages
        assert (package.index, package.index_url, made.channels) == ("h", "https://h", (("h", "https://h"),))
        assert package.file is not None
        assert package.file.url == f"https://h/linux-64/{row['fn']}"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"sha256": "y'"}, r"""its sha256 is "y'", and such a checksum has 64 digits"""),
        ({"md5": "x\n- evil"}, r"its md5 is 'x\n- evil', and such a checksum has 32 digits"),
        ({"depends": 5}, "Expected `array | null`, got `int` - at `$.depends`"),
        ({"depends": ["a\n  evil: x"]}, r"it depends on 'a\n  evil: x'"),
        ({"version": 1.8}, "Expected `str`, got `float` - at `$.version`"),
        ({"fn": "../../evil"}, "its file is called '../../evil'"),
        ({"name": "python\n  - evil=1=2"}, r"its name is 'python\n  - evil=1=2'"),
        ({"build": 'x"\nchannels: [https://evil]\n#'}, r"""its build is 'x"\nchannels: [https://evil]\n#'"""),
        ({"subdir": "linux-64\n- x"}, r"its subdir is 'linux-64\n- x'"),
        (
            {"url": "https://h/linux-64/a-1-0.conda\nhttps://evil/linux-64/a-1-0.conda"},
            r"its url is 'https://h/linux-64/a-1-0.conda\nhttps://evil/linux-64/a-1-0.conda'",
        ),
    ],
)
def test_a_damaged_record_is_named_with_what_is_wrong_in_it(
    alone: Conda, damage: dict[str, object], problem: str
) -> None:
    path = record_of_python(alone)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    finished = lock(alone, "--format", "conda-explicit")
    assert (finished.code, finished.stdout) == (3, "")
    assert finished.stderr.endswith(
        f"\nerror: {path} is damaged, so what conda installed there cannot be told: {problem}\n"
        "hint: make a fresh environment with --new-env PATH, and lock that\n"
    )


def test_a_record_that_was_cut_off_is_named(alone: Conda) -> None:
    path = record_of_python(alone)
    path.write_text(path.read_text()[:100])
    finished = lock(alone, "--format", "pixi")
    assert finished.code == 3
    assert f"error: {path} is damaged, so what conda installed there cannot be told: Input data was truncated\n" in (
        finished.stderr
    )


def test_what_old_condas_have_written_is_locked(alone: Conda) -> None:
    path = record_of_python(alone)
    row = json.loads(path.read_text())
    url = f"https://conda.example/pkgs/free/linux-64/{row['fn']}"
    old = {"name": "python", "version": "3.8.20", "build_string": "h0_0", "build": "h0_0", "channel": "defaults"}
    path.write_text(json.dumps({**old, "url": url, "md5": "CD" * 16, "files": None}))
    (package,) = formats.locker("conda-lock").read(lock(alone, "--format", "conda-lock").stdout).packages
    assert (package.index, package.index_url, package.subdir) == ("free", "https://conda.example/pkgs/free", "linux-64")
    assert package.file is not None
    assert package.file.md5 == "cd" * 16


def test_a_channel_on_this_disk_is_said_to_be_one(alone: Conda) -> None:
    finished = lock(alone, "--format", "conda-explicit")
    note = f"python: from the folder {alone.channel.url} of this machine's disk, and nowhere else without that folder"
    assert f"# {note}\n" in finished.stdout
    assert note in finished.stderr.splitlines()


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

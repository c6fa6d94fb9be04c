"""`envfix install --backend conda` as a user types it: made-up packages from a real channel into a conda environment."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from envfix.host import journal
from envfix.host.real import RealHost
from envfix.installer.conda import CondaInstaller, Solution, Source, Wish
from tests.conda_channel import CondaChannel, yolo_channel
from tests.conftest import interpreter
from tests.fakes.running import ENVFIX, Finished, cleaned_environment, envfix
from tests.trees import Tree, differences, tree

pytest.importorskip("rattler", reason="py-rattler is not installed")

KILLS = 25
CARD = {"ENVFIX_DRIVER": "470.57.02", "ENVFIX_GPU": "NVIDIA GeForce RTX 3090:8.6:24576"}


class Conda:
    """A channel, a home folder, and a conda environment with a Python that runs."""

    def __init__(self, folder: Path) -> None:
        self.channel: CondaChannel = yolo_channel(folder / "channel")
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / ".condarc").write_text(f"channels: [{self.channel.url}]\n")
        self.prefix = folder / "env"
        self.variables = cleaned_environment(
            HOME=str(self.home), XDG_CACHE_HOME=str(self.home / ".cache"), NO_PROXY="127.0.0.1", **CARD
        )
        self._with_python()

    def _with_python(self) -> None:
        """Conda's record of Python, and a real one in place of the made-up files."""
        source = Source(name="here", url=self.channel.url)
        installer = CondaInstaller(RealHost(), cache_dir=str(self.home / "rattler"))
        solution = installer.solve(Wish(specs=("python 3.8.20",), sources=(source,), subdir="linux-64", virtual={}))
        assert isinstance(solution, Solution), solution
        installer.install(solution, str(self.prefix))
        real = Path(os.path.realpath(interpreter("3.8"))).parent.parent
        (self.prefix / "bin" / "python").unlink()
        for name in ("bin", "lib"):
            shutil.copytree(real / name, self.prefix / name, symlinks=True, dirs_exist_ok=True, copy_function=_linked)

    def run(self, *arguments: str) -> Finished:
        """Run envfix for the environment."""
        return envfix(*arguments, "--python", str(self.prefix), env=self.variables, timeout=120)

    def install(self, *arguments: str) -> Finished:
        """Install conda packages into it."""
        return self.run("install", "--backend", "conda", "--yes", *arguments)


def _linked(source: str, target: str) -> str:
    Path(target).unlink(missing_ok=True)
    os.link(source, target)
    return target


@pytest.fixture
def conda(tmp_path: Path) -> Conda:
    return Conda(tmp_path)


def whole(conda: Conda) -> Tree:
    return tree(conda.prefix)


def records(conda: Conda) -> list[str]:
    return sorted(path.name for path in (conda.prefix / "conda-meta").glob("*.json"))


def test_the_plan_of_conda_packages_is_shown_and_changes_nothing(conda: Conda) -> None:
    before = whole(conda)
    finished = conda.run("plan", "--backend", "conda", "--json")
    plan = finished.document
    assert (finished.code, plan["status"]) == (0, "ok"), plan["reasons"]
    assert (plan["choice"]["torch"], plan["choice"]["variant"]) == ("1.8.0", "cu111")
    pins = {row["name"]: row["specifier"] for row in plan["packages"]}
    assert pins["pytorch"] == "==1.8.0=py3.8_cuda11.1_cudnn8.0.5_0"
    assert differences(before, whole(conda)) == []


def test_conda_packages_that_fail_their_proof_are_taken_back(conda: Conda) -> None:
    before = whole(conda)
    finished = conda.install()
    assert finished.code == 4, finished
    assert "Taken back: the environment is as it was before." in finished.stdout
    assert differences(before, whole(conda)) == []


def test_undo_takes_conda_packages_back_with_their_records(conda: Conda) -> None:
    before = whole(conda)
    finished = conda.install("--keep", "--json")
    assert finished.code == 4, finished
    assert finished.document["backend"] == "conda"
    assert "pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0.json" in records(conda)
    assert (conda.prefix / "lib/python3.8/site-packages/torch/__init__.py").exists()
    undone = conda.run("undo", "--json")
    assert (undone.code, undone.document["differing"]) == (0, [])
    assert differences(before, whole(conda)) == []


def test_undo_leaves_a_later_conda_package_and_names_it(conda: Conda) -> None:
    conda.install("--keep")
    (conda.prefix / "conda-meta" / "later-1.0-0.json").write_text("{}")
    undone = conda.run("undo", "--json")
    assert undone.code == 0, undone
    assert undone.document["stays"] == ["later (conda) 1.0-0"]
    assert (conda.prefix / "conda-meta" / "later-1.0-0.json").exists()


def test_a_new_conda_environment_is_made_and_removed_when_it_cannot_be_proven(conda: Conda, tmp_path: Path) -> None:
    new = tmp_path / "fresh"
    finished = envfix(
        *("install", "--backend", "conda", "--yes", "--new-env", str(new), "--python", "3.8"),
        env=conda.variables,
        timeout=120,
    )
    # The channel's Python is made up, and cannot be asked.
    assert finished.code in (3, 4), finished
    assert not new.exists()


def test_killed_at_any_moment_the_environment_is_the_old_or_the_new_one(conda: Conda) -> None:
    old = whole(conda)
    started = time.monotonic()
    conda.install("--keep")
    seconds = time.monotonic() - started
    new = whole(conda)
    conda.run("undo")
    assert differences(old, new) != []
    chance = random.Random()  # noqa: S311 - when to kill is no secret
    states = set()
    for _ in range(KILLS):
        running = subprocess.Popen(
            [*ENVFIX, "install", "--backend", "conda", "--yes", "--keep", "--python", str(conda.prefix)],
            env=conda.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not journal.has_pending(str(conda.prefix)) and running.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.06 * seconds))
        running.kill()
        running.wait()
        conda.run("diagnose", "--no-import", "-q")
        now = whole(conda)
        if not differences(now, new):
            states.add("new")
            conda.run("undo", "-q")
            now = whole(conda)
        else:
            states.add("old")
        assert differences(now, old) == []
    assert "old" in states


def test_an_environment_of_another_kind_is_not_changed_by_conda(conda: Conda, tmp_path: Path) -> None:
    env = tmp_path / "venv"
    subprocess.run([interpreter("3.11"), "-m", "venv", "--without-pip", str(env)], check=True, timeout=60)
    finished = envfix("install", "--backend", "conda", "--yes", "--python", str(env), env=conda.variables, timeout=60)
    assert finished.code == 2
    assert f"error: {env} is not a conda environment, so --backend conda cannot change it\n" in finished.stderr


def test_a_channel_that_is_dead_is_named_with_a_condarc_that_works(conda: Conda) -> None:
    (conda.home / ".condarc").write_text(f"channels: [{conda.channel.url}, http://127.0.0.1:9/conda-forge]\n")
    plan = conda.run("plan", "--backend", "conda", "--json").document
    assert plan["status"] == "ok", plan["reasons"]
    told = "\n".join(plan["reasons"])
    assert "http://127.0.0.1:9/conda-forge) is left out: " in told
    assert "a .condarc with channels that answer (envfix does not write it):\nchannels:" in told

"""`envfix install` as a user types it: refusals that change nothing, and the seed's own stack for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import interpreter

MINUTES = 60


def envfix(*arguments: str, folder: Path, timeout: float = 10 * MINUTES) -> subprocess.CompletedProcess[str]:
    """Run envfix as a program in ``folder``, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "envfix", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_a_python_that_is_no_environment_is_refused_before_anything_else(tmp_path: Path) -> None:
    result = envfix("install", "--python", interpreter("3.11"), folder=tmp_path)
    assert result.returncode == 3
    assert "make an environment of your own with --new-env PATH" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_install_into_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "precious" / "thesis.tex"
    kept.parent.mkdir()
    kept.write_text("years of work", encoding="utf-8")
    result = envfix("install", "--new-env", "precious", "--yes", folder=tmp_path)
    assert result.returncode == 3
    assert "not empty" in result.stderr
    assert kept.read_text(encoding="utf-8") == "years of work"


def test_install_with_an_interpreter_that_is_not_here_names_it(tmp_path: Path) -> None:
    result = envfix("install", "--new-env", "env", "--python", "/nonexistent/python", "--yes", folder=tmp_path)
    assert result.returncode == 2
    assert "/nonexistent/python" in result.stderr
    assert not (tmp_path / "env").exists()


def test_install_of_a_torch_that_does_not_exist_is_a_conflict(tmp_path: Path) -> None:
    result = envfix("install", "--new-env", "env", "--torch", "==99.0", "--yes", "--json", folder=tmp_path)
    document = json.loads(result.stdout)
    assert (result.returncode, document["schema"], document["status"]) == (1, "envfix.plan/1", "conflict")
    assert document["blocked_by"] == "request"
    assert not (tmp_path / "env").exists()


@pytest.mark.online
def test_install_without_consent_changes_nothing(tmp_path: Path) -> None:
    python = interpreter("3.8")
    result = envfix("install", "--new-env", "env", "--python", python, "--torch", "==1.9.0", folder=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "--yes" in result.stderr
    assert "files, " in result.stdout
    assert not (tmp_path / "env").exists()


@pytest.fixture(scope="module")
def old_stack(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The seed's own stack, really installed: torch 1.9.0 with CUDA 10.2 inside, on Python 3.8."""
    folder = tmp_path_factory.mktemp("seed")
    python = interpreter("3.8")
    result = envfix(
        "install", "--new-env", "old-env", "--python", python, "--torch", "==1.9.0", "--yes", "--json", folder=folder
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    document: dict[str, Any] = json.loads(result.stdout)
    return folder / "old-env", document


@pytest.mark.online
@pytest.mark.slow
def test_the_seeds_stack_is_installed_and_predicts(old_stack: tuple[Path, dict[str, Any]]) -> None:
    environment, document = old_stack
    assert document["installed"]["torch"] == "1.9.0"
    assert document["installed"]["torchvision"] == "0.10.0"
    assert document["verification"]["status"] == "passed"
    rungs = {rung["name"]: rung for rung in document["verification"]["rungs"]}
    assert rungs["yolo_predict"]["status"] == "passed"
    assert rungs["yolo_predict"]["detail"]
    assert (environment / "envfix-constraints.txt").read_text(encoding="utf-8").count("torch==1.9.0") == 1


@pytest.mark.online
@pytest.mark.slow
def test_pip_agrees_that_the_installed_stack_is_whole(old_stack: tuple[Path, dict[str, Any]]) -> None:
    environment, _ = old_stack
    check = subprocess.run(
        [environment / "bin" / "python", "-m", "pip", "check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=MINUTES,
    )
    assert "No broken requirements found" in check.stdout, check.stdout + check.stderr


@pytest.mark.online
@pytest.mark.slow
def test_diagnose_and_verify_hold_in_the_new_environment(old_stack: tuple[Path, dict[str, Any]]) -> None:
    environment, _ = old_stack
    diagnosis = envfix("diagnose", "--python", str(environment), "--json", folder=environment.parent)
    facts = json.loads(diagnosis.stdout)["facts"]["environment"]
    assert facts["torch"]["value"]["build"] == "1.9.0+cu102"
    assert facts["torch_import"]["value"]["ok"] is True
    verification = envfix(
        "verify", "--python", "old-env", "--level", "cuda", "--device", "cpu", folder=environment.parent
    )
    assert verification.returncode == 0, verification.stdout + verification.stderr


@pytest.mark.online
@pytest.mark.slow
def test_interrupting_the_proof_takes_the_installation_back(
    old_stack: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    del old_stack  # the files are in the cache now, so the installation itself takes a moment
    command = [sys.executable, "-m", "envfix", "install", "--new-env", "env", "--torch", "==1.9.0", "--yes"]
    with subprocess.Popen(
        [*command, "--python", interpreter("3.8")],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "importing torch" in line:
                break
        assert (tmp_path / "env").exists()
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(MINUTES) == 130
    assert "removed again" in rest
    assert not (tmp_path / "env").exists()

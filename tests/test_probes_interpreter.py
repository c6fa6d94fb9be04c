"""Which interpreter is meant: what `python` is in the user's shell, and everything that --python can name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.probes import torch_install
from envfix.probes.interpreter import Target, probe, resolve
from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment, envfix
from tests.fakes.targets import base_python, make_venv, write_script, write_torch


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's home with nothing on PATH; the answer is a folder that is on PATH."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_EXE", "CONDA_DEFAULT_ENV", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "bin"


def python_in(folder: Path, name: str = "python") -> str:
    (folder).mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(base_python())
    return str(folder / name)


def test_python_of_the_shell_is_the_first_on_path(shell: Path) -> None:
    python_in(shell, "python3")
    expected = python_in(shell)
    assert resolve(RealHost(), None) == Target(expected, "python on PATH")


def test_python3_is_meant_where_there_is_no_python(shell: Path) -> None:
    expected = python_in(shell, "python3")
    assert resolve(RealHost(), None) == Target(expected, "python3 on PATH")


def test_shell_without_any_python_says_where_was_looked(shell: Path) -> None:
    assert shell.exists()
    assert resolve(RealHost(), None) == Target(None, "python and python3 on PATH")


def test_own_interpreter_of_envfix_is_passed_over(shell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.path.join(sys.prefix, "bin")
    monkeypatch.setenv("PATH", f"{own}:{shell}")
    expected = python_in(shell)
    assert resolve(RealHost(), None).path == expected
    os.unlink(expected)
    target = resolve(RealHost(), None)
    assert target.path is None
    assert "is envfix's own" in target.how


def test_own_interpreter_is_passed_over_behind_a_link_to_its_folder(
    shell: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tools").symlink_to(os.path.join(sys.prefix, "bin"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{shell}")
    expected = python_in(shell)
    assert resolve(RealHost(), None).path == expected


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_own_environment_is_meant_when_the_user_has_activated_it(
    shell: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    own = os.path.join(sys.prefix, "bin")
    monkeypatch.setenv("PATH", f"{own}:{shell}")
    monkeypatch.setenv(variable, sys.prefix)
    assert resolve(RealHost(), None).path == os.path.join(own, "python")


@pytest.mark.parametrize("form", ["env", "env/", "./env", "{tmp}/env", "~/link", "env/bin/python"])
def test_environment_is_named_by_its_folder_in_every_spelling(shell: Path, tmp_path: Path, form: str) -> None:
    assert shell.exists()
    make_venv(tmp_path / "env")
    (tmp_path / "home" / "link").symlink_to(tmp_path / "env")
    path = resolve(RealHost(), form.format(tmp=tmp_path)).path
    assert path is not None
    assert os.path.isabs(path)
    assert os.path.samefile(os.path.dirname(path), tmp_path / "env" / "bin")


def test_folder_with_pattern_characters_in_its_name_is_only_itself(shell: Path, tmp_path: Path) -> None:
    assert shell.exists()
    make_venv(tmp_path / "runs [v8]*")
    make_venv(tmp_path / "runs v")
    assert resolve(RealHost(), "./runs [v8]*").path == str(tmp_path / "runs [v8]*" / "bin" / "python")
    assert resolve(RealHost(), "./runs ?").path is None


@pytest.mark.parametrize("known_by", ["environments.txt", "conda program", "folder in the home"])
def test_conda_environment_is_found_by_its_name(
    shell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    assert shell.exists()
    home = tmp_path / "home"
    prefix = {
        "environments.txt": tmp_path / "data" / "envs" / "yolov8_env",
        "conda program": tmp_path / "opt" / "conda" / "envs" / "yolov8_env",
        "folder in the home": home / "miniconda3" / "envs" / "yolov8_env",
    }[known_by]
    make_venv(prefix)
    if known_by == "environments.txt":
        (home / ".conda").mkdir()
        (home / ".conda" / "environments.txt").write_text(f"/gone/envs/yolov8_env\n{prefix}\n")
    if known_by == "conda program":
        monkeypatch.setenv("CONDA_EXE", str(tmp_path / "opt" / "conda" / "bin" / "conda"))
    assert resolve(RealHost(), "yolov8_env") == Target(f"{prefix}/bin/python", "conda environment yolov8_env")


def test_name_on_path_is_the_last_guess(shell: Path) -> None:
    how = "pypy3 on PATH, as a path and as a conda environment"
    assert resolve(RealHost(), "pypy3") == Target(None, how)
    expected = python_in(shell, "pypy3")
    assert resolve(RealHost(), "pypy3") == Target(expected, how)


def test_version_is_looked_for_in_pyenv_and_shims_that_refuse_are_not_taken(
    shell: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A pyenv puts a `python3.9` on PATH that answers 127 unless 3.9 is chosen."""
    real = interpreter("3.9")
    write_script(shell / "python3.9", "echo 'pyenv: python3.9: command not found' >&2; exit 127")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    for version, python in (("3.9.2", tmp_path / "gone"), ("3.9.10", Path(real))):
        (tmp_path / "pyenv" / "versions" / version / "bin").mkdir(parents=True)
        (tmp_path / "pyenv" / "versions" / version / "bin" / "python").symlink_to(python)
    path = resolve(RealHost(), "3.9").path
    assert path is not None
    assert os.path.samefile(path, real)


def test_version_that_is_nowhere_is_absent(shell: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_script(shell / "python3.4", "exit 127")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    assert resolve(RealHost(), "3.4") == Target(None, "Python 3.4 on this machine")


def test_environment_whose_python_is_a_wrapper_to_another_is_seen_through(tmp_path: Path) -> None:
    """`conda list` reads the records of one prefix, `python` runs in another: the first case of the story."""
    other = make_venv(tmp_path / "other")
    write_torch(tmp_path / "conda" / "envs" / "yolov8_env" / "lib" / "python3.8" / "site-packages", "2.0.1", "11.7")
    wrapper = write_script(
        tmp_path / "conda" / "envs" / "yolov8_env" / "bin" / "python",
        f'exec "{tmp_path / "other" / "bin" / "python"}" "$@"',
    )
    identity, answer = probe(RealHost(), Target(str(wrapper), "a test"), timeout=20)
    assert identity.value is not None
    assert (identity.value.prefix, identity.value.site_packages) == (str(tmp_path / "other"), (str(other),))
    assert torch_install.torch_build(answer, torch_install.distributions(answer, "files")).is_absent


def near_by(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    places = document["facts"]["environment"]["elsewhere"]["value"]
    return [(place["prefix"], place["torch"], place["kind"]) for place in places]


def test_torch_in_another_environment_is_found_and_named(shell: Path, tmp_path: Path) -> None:
    """The whole way: the shell's python has no torch, a conda environment and one beside the work have."""
    make_venv(tmp_path / "plain")
    write_torch(
        make_venv(tmp_path / "home" / ".conda" / "envs" / "yolov8_env"), "2.0.1", "11.7", metadata_version="2.0.1"
    )
    (tmp_path / "here").mkdir()
    write_torch(make_venv(tmp_path / "here" / ".venv"), "1.9.0+cu111", "11.1")
    env = cleaned_environment(HOME=str(tmp_path / "home"), PATH=f"{tmp_path}/plain/bin:{shell}")
    env.pop("PYENV_ROOT", None)
    finished = envfix("diagnose", "--json", "--no-import", env=env, cwd=tmp_path / "here")
    document = finished.document
    assert finished.code == 1
    assert near_by(document)[:2] == [
        (f"{tmp_path}/here/.venv", "1.9.0+cu111", "folder"),
        (f"{tmp_path}/home/.conda/envs/yolov8_env", "2.0.1", "conda"),
    ]
    codes = [(finding["code"], finding.get("follows_from")) for finding in document["findings"]]
    assert codes[0] == ("INT101", None)
    assert ("TOR102", "INT101") in codes


def test_folder_of_work_with_pattern_characters_is_searched_as_it_is(shell: Path, tmp_path: Path) -> None:
    make_venv(tmp_path / "plain")
    (tmp_path / "work [1]").mkdir()
    write_torch(make_venv(tmp_path / "work [1]" / "env"), "1.9.0+cu111", "11.1")
    env = cleaned_environment(HOME=str(tmp_path / "home"), PATH=f"{tmp_path}/plain/bin:{shell}")
    env.pop("PYENV_ROOT", None)
    document = envfix("diagnose", "--json", "--no-import", env=env, cwd=tmp_path / "work [1]").document
    assert near_by(document)[0] == (f"{tmp_path}/work [1]/env", "1.9.0+cu111", "folder")


def test_link_whose_python_is_gone_is_named_with_what_it_pointed_to(shell: Path, tmp_path: Path) -> None:
    assert shell.exists()
    python = tmp_path / "old" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python3.9")
    fact, _ = probe(RealHost(), resolve(RealHost(), str(tmp_path / "old")), timeout=10)
    assert fact.is_unknown
    assert fact.problem == "it is a link to /nowhere/python3.9, which does not exist (any more)"


def test_dead_link_of_the_active_environment_is_named_where_no_python_is_left(
    shell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "old" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python3.9")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", f"{python.parent}:{shell}")
    fact, _ = probe(RealHost(), resolve(RealHost(), None), timeout=10)
    assert fact.is_absent
    assert f"{python} is there, but it is a link to /nowhere/python3.9" in (fact.problem or "")


@pytest.mark.parametrize("name", ["typing_extensions", "yaml", "sympy"])
def test_file_named_as_a_module_of_others_is_told(shell: Path, tmp_path: Path, name: str) -> None:
    assert shell.exists()
    (tmp_path / f"{name}.py").write_text("")
    fact, _ = probe(RealHost(), Target(base_python(), "a test"), timeout=20)
    assert fact.value is not None
    assert fact.value.shadows == (f"{name}.py",)

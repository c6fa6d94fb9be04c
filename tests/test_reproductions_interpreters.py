"""The wrong Python, made real: build it, let envfix name it, do what envfix prints, and look again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envfix.render.words import command_line
from tests.conftest import interpreter
from tests.fakes.prefixes import make_conda, make_conda_base, make_prefix
from tests.fakes.running import START, Finished, cleaned_environment, envfix
from tests.fakes.targets import make_venv, write_distribution, write_script, write_torch

PYTORCH = "pytorch-2.0.1-py3.8_cuda11.7_cudnn8.5.0_0"
TOOLS = ("bash", "sh", "cat", "ln", "mv", "sed", "env", "dirname", "basename")
LOOK = ("diagnose", "--json", "--no-import")


class Desk:
    """A user's shell on a machine of its own: home, working folder, PATH and variables."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.work, tools = root / "home", root / "work", root / "tools"
        for folder in (self.home, self.work, tools):
            folder.mkdir()
        for name in TOOLS:
            place = shutil.which(name)
            if place is None:
                pytest.skip(f"no {name} on this machine")
            (tools / name).symlink_to(place)
        self.tools = str(tools)
        self.variables: dict[str, str] = {}

    def environment(self, *path: Path | str) -> dict[str, str]:
        """The variables of the shell; ``path`` comes first on its PATH."""
        kept = cleaned_environment(HOME=str(self.home), SHELL="/bin/bash", PYENV_ROOT=str(self.root / "no-pyenv"))
        kept["PATH"] = ":".join([*map(str, path), self.tools])
        return {**kept, **self.variables}

    def diagnose(self, *path: Path | str, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
        """What envfix says in that shell."""
        return envfix(*LOOK, *arguments, env=self.environment(*path), cwd=self.work).document

    def follow(self, document: Mapping[str, Any], *path: Path | str, remedy: int = 0) -> dict[str, Any]:
        """Paste the commands of the first finding's remedy into a shell, then diagnose in that same shell."""
        commands = document["findings"][0]["remedies"][remedy]["commands"]
        assert commands, document["findings"][0]
        looks = [argv for argv in commands if argv[:2] == ["envfix", "diagnose"]]
        lines = [command_line(argv) + " >&2" for argv in commands if argv not in looks]
        arguments = looks[0][2:] if looks else []
        lines.append(command_line([sys.executable, "-I", "-c", START, *LOOK, *arguments]))
        answer = subprocess.run(
            [f"{self.tools}/bash", "-c", "set -e\n" + "\n".join(lines)],
            env=self.environment(*path),
            cwd=self.work,
            capture_output=True,
            timeout=60,
            check=False,
        )
        finished = Finished(answer.returncode, answer.stdout, answer.stderr)
        assert finished.stdout.startswith("{"), (lines, finished)
        after: dict[str, Any] = json.loads(finished.stdout)
        return after


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty desk."""
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def python() -> str:
    """A real CPython 3.8, as the story's."""
    return interpreter("3.8")


def codes(document: Mapping[str, Any], *, serious: bool = False) -> list[str]:
    return [one["code"] for one in document["findings"] if not serious or one["severity"] != "info"]


def first(document: Mapping[str, Any]) -> tuple[str, str, str]:
    finding = document["findings"][0]
    return finding["code"], finding["cause"], finding["severity"]


def is_mended(document: Mapping[str, Any]) -> bool:
    """No trace of the wrong Python, and torch is found."""
    ours = {code for code in codes(document) if code.startswith(("INT", "VAR", "CND101"))} | {"TOR102"} & set(
        codes(document)
    )
    return not ours and document["facts"]["environment"]["torch"].get("value") is not None


def plain_python(desk: Desk, python: str) -> Path:
    """Another Python without torch; the answer is its folder of commands."""
    make_venv(desk.root / "plain", python, "3.8")
    return desk.root / "plain" / "bin"


# --- the four of the story ---


def test_python_of_the_environment_is_a_wrapper_to_another(desk: Desk, python: str) -> None:
    prefix = desk.home / ".conda" / "envs" / "yolov8_env"
    write_torch(make_conda(prefix, python, PYTORCH), "2.0.1", "11.7")
    other = plain_python(desk, python)
    (prefix / "bin" / "python").unlink()
    write_script(prefix / "bin" / "python", f'exec "{other}/python" "$@"')
    desk.variables = {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": "yolov8_env"}
    document = desk.diagnose(prefix / "bin")
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    finding = document["findings"][0]
    assert f"{prefix}/bin/python starts another Python" in finding["message"]
    said = "\n".join(evidence["value"] for evidence in finding["because"])
    assert "`conda list` of that environment shows pytorch 2.0.1 py3.8_cuda11.7_cudnn8.5.0_0" in said
    assert f"packages are in {desk.root}/plain" in said
    assert is_mended(desk.follow(document, prefix / "bin"))


def test_link_to_another_python_is_as_good_as_a_wrapper(desk: Desk, python: str) -> None:
    prefix = desk.root / "data" / "yolov8_env"
    write_torch(make_conda(prefix, python, PYTORCH), "2.0.1", "11.7")
    (prefix / "bin" / "python").unlink()
    make_prefix(desk.root / "other", python)
    (prefix / "bin" / "python").symlink_to(desk.root / "other" / "bin" / "python")
    document = desk.diagnose(arguments=("--python", str(prefix)))
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    assert is_mended(desk.follow(document, prefix / "bin"))


def test_another_python_comes_first_on_path_while_conda_prefix_is_set(desk: Desk, python: str) -> None:
    prefix = desk.root / "data" / "yolov8_env"
    write_torch(make_conda(prefix, python, PYTORCH), "2.0.1", "11.7")
    path = (plain_python(desk, python), prefix / "bin")
    desk.variables = {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": "yolov8_env", "CONDA_SHLVL": "1"}
    document = desk.diagnose(*path)
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    finding = document["findings"][0]
    assert f"The environment {prefix} is active and has torch 2.0.1, but `python` is" in finding["message"]
    said = [evidence["value"] for evidence in finding["because"]]
    assert f"CONDA_PREFIX={prefix}" in said
    assert f"{prefix}/bin/python comes only later on PATH" in said
    assert finding["remedies"][0]["commands"] == [["conda", "deactivate"], ["conda", "activate", str(prefix)]]
    assert is_mended(desk.follow(document, *path, remedy=1))
    write_script(Path(desk.tools) / "yolo", "exit 0")
    text = envfix("diagnose", "--no-import", env=desk.environment(*path), cwd=desk.work).stdout
    assert all(len(line) <= 80 or "/" in line for line in text.splitlines())


def test_virtual_environment_is_active_but_passed_by_and_activating_it_mends_that(desk: Desk, python: str) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", str(desk.work / "yolo env")], check=True)
    prefix = desk.work / "yolo env"
    write_torch(prefix / "lib" / "python3.8" / "site-packages", "1.9.0+cu111", "11.1")
    path = (plain_python(desk, python), prefix / "bin")
    desk.variables = {"VIRTUAL_ENV": str(prefix)}
    document = desk.diagnose(*path)
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    assert document["findings"][0]["remedies"][0]["commands"] == [["source", f"{prefix}/bin/activate"]]
    assert is_mended(desk.follow(document, *path))


def test_torch_of_the_user_hides_the_one_of_conda(desk: Desk, python: str) -> None:
    prefix = desk.home / "miniconda3" / "envs" / "yolov8_env"
    write_torch(make_conda(prefix, python, "pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0"), "1.8.0", "11.1")
    write_torch(desk.home / ".local" / "lib" / "python3.8" / "site-packages", "2.1.2+cpu", None)
    document = desk.diagnose(prefix / "bin")
    assert first(document) == ("INT104", "user_site_shadowing", "error")
    assert "torch 2.1.2+cpu instead of 1.8.0" in document["findings"][0]["message"]
    after = desk.follow(document, prefix / "bin")
    assert is_mended(after)
    assert after["facts"]["environment"]["torch"]["value"]["build"] == "1.8.0"


def test_torch_of_the_user_is_not_seen_by_a_virtual_environment_and_that_is_no_fault(desk: Desk, python: str) -> None:
    write_torch(make_venv(desk.work / "env", python, "3.8"), "1.9.0+cu111", "11.1")
    write_torch(desk.home / ".local" / "lib" / "python3.8" / "site-packages", "2.1.2+cpu", None)
    assert codes(desk.diagnose(desk.work / "env" / "bin"), serious=True) == []


# --- files of one's own ---


@pytest.mark.parametrize("shadow", ["torch.py", "torch/__init__.py", "random.py"])
def test_file_in_the_working_folder_hides_a_module(desk: Desk, python: str, shadow: str) -> None:
    write_torch(make_venv(desk.root / "env", python, "3.8"), "1.9.0+cu111", "11.1")
    assert codes(desk.diagnose(desk.root / "env" / "bin"), serious=True) == []
    (desk.work / shadow).parent.mkdir(exist_ok=True)
    (desk.work / shadow).write_text("")
    document = desk.diagnose(desk.root / "env" / "bin")
    assert first(document)[:2] == ("INT105", "local_name_shadowing")
    assert first(document)[2] == ("warning" if shadow == "random.py" else "error")
    assert is_mended(desk.follow(document, desk.root / "env" / "bin"))


def test_sources_in_which_torch_was_installed_for_developing_hide_nothing(desk: Desk, python: str) -> None:
    site = make_venv(desk.root / "env", python, "3.8")
    write_torch(desk.work, "2.0.1", "11.7", record=False)
    (site / "easy-install.pth").write_text(f"{desk.work}\n")
    assert codes(desk.diagnose(desk.root / "env" / "bin"), serious=True) == []


def test_torch_of_pythonpath_hides_the_environments(desk: Desk, python: str) -> None:
    write_torch(make_venv(desk.root / "env", python, "3.8"), "1.9.0+cu111", "11.1")
    write_torch(desk.root / "old", "1.4.0", "10.1")
    desk.variables = {"PYTHONPATH": f"{desk.root}/more:{desk.root}/old/"}
    document = desk.diagnose(desk.root / "env" / "bin")
    assert first(document) == ("INT105", "local_name_shadowing", "error")
    after = desk.follow(document, desk.root / "env" / "bin")
    assert is_mended(after)
    assert after["facts"]["environment"]["startup"]["value"]["variables"]["PYTHONPATH"] == f"{desk.root}/more"


def test_pythonpath_that_names_the_environments_own_folder_hides_nothing(desk: Desk, python: str) -> None:
    site = make_venv(desk.root / "env", python, "3.8")
    write_torch(site, "1.9.0+cu111", "11.1")
    desk.variables = {"PYTHONPATH": str(site)}
    assert codes(desk.diagnose(desk.root / "env" / "bin"), serious=True) == []


def test_pythonhome_of_another_python_keeps_it_from_starting(desk: Desk, python: str) -> None:
    site = make_prefix(desk.root / "python", python)
    write_torch(site, "1.9.0+cu111", "11.1")
    desk.variables = {"PYTHONHOME": str(desk.root / "gone")}
    document = desk.diagnose(desk.root / "python" / "bin")
    assert first(document) == ("VAR101", "pythonhome_misleads", "error")
    assert document["findings"][1]["follows_from"] == "VAR101"
    assert is_mended(desk.follow(document, desk.root / "python" / "bin"))


# --- commands ---


def with_pip(folder: Path, python: str) -> Path:
    """A virtual environment with a real pip; the answer is its site-packages."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return folder / "lib" / "python3.8" / "site-packages"


def test_pip_on_path_belongs_to_another_python(desk: Desk, python: str) -> None:
    site = with_pip(desk.work / "env", python)
    write_torch(site, "1.9.0+cu111", "11.1")
    other = plain_python(desk, python)
    (desk.root / "first").mkdir()
    (desk.root / "first" / "pip").write_text(f"#!{other}/python\nprint('pip of another')\n")
    (desk.root / "first" / "pip").chmod(0o755)
    path = (desk.root / "first", desk.work / "env" / "bin")
    document = desk.diagnose(*path)
    assert first(document) == ("INT101", "wrong_interpreter", "warning")
    assert f"`pip` ({desk.root}/first/pip) belongs to the Python in " in document["findings"][0]["message"]
    assert is_mended(desk.follow(document, *path))


def ultralytics_wheel(folder: Path) -> Path:
    """A wheel that is called ultralytics and brings a command, as small as can be."""
    folder.mkdir()
    info = "ultralytics-8.0.0.dist-info"
    files = {
        "ultralytics/__init__.py": "__version__ = '8.0.0'\n",
        "ultralytics/cfg/__init__.py": "def entrypoint(debug=''):\n    print('Ultralytics 8.0.0')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: ultralytics\nVersion: 8.0.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nyolo = ultralytics.cfg:entrypoint\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "ultralytics-8.0.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return folder


def test_own_yolo_names_a_python_that_is_gone_and_pip_writes_it_anew(desk: Desk, python: str) -> None:
    site = with_pip(desk.work / "env", python)
    write_torch(site, "1.9.0+cu111", "11.1")
    wheels = ultralytics_wheel(desk.root / "wheels")
    desk.variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    binaries = desk.work / "env" / "bin"
    pip = [str(binaries / "python"), "-m", "pip", "install", "-q", "ultralytics"]
    subprocess.run(pip, env=desk.environment(binaries), check=True)
    assert codes(desk.diagnose(binaries), serious=True) == []
    yolo = binaries / "yolo"
    yolo.write_text(yolo.read_text().replace(str(binaries), str(desk.root / "moved" / "bin")))
    document = desk.diagnose(binaries)
    assert first(document) == ("INT107", "cli_not_on_path", "error")
    assert f"{desk.root}/moved/bin/python" in document["findings"][0]["message"]
    assert is_mended(desk.follow(document, binaries))
    ran = subprocess.run([str(yolo)], env=desk.environment(binaries), capture_output=True, check=True)
    assert ran.stdout == b"Ultralytics 8.0.0\n"


def test_dead_yolo_before_the_own_one_is_put_out_of_the_way(desk: Desk, python: str) -> None:
    site = make_venv(desk.work / "env", python, "3.8")
    write_torch(site, "1.9.0+cu111", "11.1")
    write_distribution(site, "ultralytics", "8.0.0")
    for folder, target in (
        (desk.work / "env" / "bin", desk.work / "env"),
        (desk.home / "bin", desk.root / "deleted env"),
    ):
        folder.mkdir(exist_ok=True)
        (folder / "yolo").write_text(
            f"#!/bin/sh\n'''exec' \"{target}/bin/python\" \"$0\" \"$@\"\n' '''\nprint('yolo')\n"
        )
        (folder / "yolo").chmod(0o755)
    path = (desk.home / "bin", desk.work / "env" / "bin")
    document = desk.diagnose(*path)
    assert first(document) == ("INT107", "cli_not_on_path", "error")
    assert document["findings"][0]["remedies"][0]["commands"] == [[f"{desk.work}/env/bin/yolo", "checks"]]
    assert is_mended(desk.follow(document, *path, remedy=1))


# --- Pythons of their own kind ---


def test_torch_in_an_environment_of_the_base_that_is_used(desk: Desk, python: str) -> None:
    base = desk.home / "miniconda3"
    make_conda_base(base, python)
    write_torch(make_conda(base / "envs" / "yolov8_env", python, PYTORCH), "2.0.1", "11.7")
    document = desk.diagnose(base / "bin")
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    assert "the Python here is conda's base" in document["findings"][0]["message"]
    hook = str(base / "etc" / "profile.d" / "conda.sh")
    assert document["findings"][0]["remedies"][0]["commands"] == [["source", hook], ["conda", "activate", "yolov8_env"]]
    assert is_mended(desk.follow(document, base / "bin"))


def test_shell_that_never_loaded_conda(desk: Desk, python: str) -> None:
    base = desk.home / "miniconda3"
    make_conda_base(base, python)
    write_torch(make_conda(base / "envs" / "yolov8_env", python, PYTORCH), "2.0.1", "11.7")
    make_prefix(desk.root / "system", python)
    document = desk.diagnose(desk.root / "system" / "bin")
    assert first(document) == ("INT101", "wrong_interpreter", "error")
    assert ("CND101", "warning") in [(one["code"], one["severity"]) for one in document["findings"]]
    assert is_mended(desk.follow(document, desk.root / "system" / "bin"))


def test_base_environment_that_has_all_is_healthy(desk: Desk, python: str) -> None:
    base = desk.home / "miniconda3"
    write_torch(make_conda_base(base, python), "2.0.1", "11.7")
    desk.variables = {"CONDA_PREFIX": str(base), "CONDA_DEFAULT_ENV": "base", "CONDA_SHLVL": "1"}
    document = desk.diagnose(base / "bin")
    assert document["facts"]["environment"]["interpreter"]["value"]["kind"] == "base"
    assert codes(document, serious=True) == []


def test_python_of_the_operating_system_is_not_installed_into(desk: Desk) -> None:
    python = Path("/usr/bin/python3")
    if not list(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED")) or not python.exists():
        pytest.skip("the operating system does not keep its Python for itself")
    document = desk.diagnose(arguments=("--python", str(python)))
    finding = next(one for one in document["findings"] if one["code"] == "INT106")
    has_torch = document["facts"]["environment"]["torch"].get("value") is not None
    assert finding["severity"] == ("info" if has_torch else "warning")
    assert finding["remedies"][0]["commands"] == [["envfix", "install", "--new-env", "yolo-env"]]
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(desk.work / "yolo-env")], check=True)
    assert "INT106" not in codes(desk.diagnose(arguments=("--python", str(desk.work / "yolo-env"))))


def test_pypy_lists_the_torch_of_the_system_and_cannot_load_it(desk: Desk) -> None:
    pypy = shutil.which("pypy3")
    if pypy is None or not list(Path("/usr/lib/python3/dist-packages").glob("torch/_C.cpython-*.so")):
        pytest.skip("no pypy3 beside the system's torch")
    document = desk.diagnose(arguments=("--python", pypy))
    assert first(document) == ("INT109", "wheel_python_mismatch", "error")
    ran = subprocess.run([pypy, "-c", "import torch"], capture_output=True, check=False, cwd=desk.work)
    assert ran.returncode != 0, "and indeed"

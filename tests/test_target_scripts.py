"""The scripts that a target runs: on every Python since 3.6, beside strange files, with packages that are only files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envfix.host.interface import CommandResult
from envfix.host.real import RealHost
from envfix.host.target import COOKIE, Answer, ask, read_answer
from envfix.probes import torch_install
from envfix.probes.interpreter import SCRIPT, Target, parse, probe
from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment
from tests.fakes.targets import (
    SM_OF_CU111,
    SM_OF_CU118,
    base_python,
    make_venv,
    write_distribution,
    write_script,
    write_torch,
    write_torchvision,
)

PYTHONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def facts(python: Path | str, script: str = SCRIPT, *, cwd: Path | None = None, **variables: str) -> dict[str, Any]:
    """What the script says when this interpreter runs it in a clean environment."""
    environment = cleaned_environment(PYTHONDONTWRITEBYTECODE="1", **variables)
    result = subprocess.run(
        [str(python), RealHost().script_path(script), COOKIE],
        capture_output=True,
        env=environment,
        cwd=cwd,
        timeout=30,
        check=False,
    )
    answer = read_answer(
        CommandResult(outcome="exited", returncode=result.returncode, stdout=result.stdout.decode(errors="replace")), 30
    )
    assert answer.facts is not None, result
    return answer.facts


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_describes_itself_and_a_torch_beside_it(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    site = make_venv(tmp_path / "env", python, version)
    write_torch(site, "1.9.0+cu111", "11.1", SM_OF_CU111)
    write_torchvision(site, "0.10.0+cu111", "11.1", torch_pin="1.9.0")
    host = RealHost()
    target = Target(str(tmp_path / "env" / "bin" / "python"), "a test")
    identity, answer = probe(host, target, timeout=20)
    found = identity.value
    assert found is not None, identity
    assert found.version.startswith(version + ".")
    assert found.tag == f"cp{version.replace('.', '')}"
    assert found.abi_tag == found.tag + ("m" if version in ("3.6", "3.7") else "")
    assert (found.kind, found.prefix, found.site_packages) == ("venv", str(tmp_path / "env"), (str(site),))
    assert (found.implementation, found.bits, found.writable, found.user_site_enabled) == ("cpython", 64, True, False)
    installed = torch_install.distributions(answer, "files")
    assert {item.name: item.version for item in installed.value or ()} == {
        "torch": "1.9.0+cu111",
        "torchvision": "0.10.0+cu111",
    }
    torch = torch_install.torch_build(answer, installed).value
    assert torch is not None
    assert (torch.build, torch.variant, [sm.sm for sm in torch.sm or ()]) == (
        "1.9.0+cu111",
        "cu111",
        SM_OF_CU111.split(),
    )
    vision = torch_install.vision_build(answer, installed).value
    assert vision is not None
    assert (vision.build, vision.variant if hasattr(vision, "variant") else str(vision.cuda), vision.torch_pin) == (
        "0.10.0+cu111",
        "11.1",
        "1.9.0",
    )


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.13"])
def test_each_script_says_too_old_or_answers(version: str) -> None:
    python = interpreter(version)
    for script in (SCRIPT, torch_install.IMPORT_SCRIPT):
        answer = ask(RealHost(), python, script, timeout=20)
        if version == "2.7":
            assert (answer.facts, (answer.too_old or "").startswith("2.7.")) == (None, True)
        else:
            assert answer.facts is not None, answer.problem


def test_asking_leaves_no_bytecode_behind(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    write_torch(site, "2.7.1+cu118", "11.8")
    (site / "helper.py").write_text("")
    (site / "sitecustomize.py").write_text("import helper\n")
    assert ask(RealHost(), str(tmp_path / "env" / "bin" / "python"), SCRIPT, timeout=20).facts is not None
    assert (
        ask(RealHost(), str(tmp_path / "env" / "bin" / "python"), torch_install.IMPORT_SCRIPT, timeout=20).facts
        is not None
    )
    assert list(tmp_path.rglob("*.pyc")) == []


def test_modules_beside_the_script_or_in_the_folder_do_not_get_in_its_way(tmp_path: Path) -> None:
    """A student's folder often holds a json.py or a platform.py of their own."""
    for name in ("json", "ast", "re", "platform", "struct", "site", "types"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    assert facts(base_python(), cwd=tmp_path)["interpreter"]["version"]
    assert facts(base_python(), torch_install.IMPORT_SCRIPT, cwd=tmp_path)["ok"] is False


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"torch.py": ""}, ["torch.py"]),
        ({"torch/__init__.py": "", "ultralytics/__init__.py": ""}, ["torch/", "ultralytics/"]),
        ({"torch/notes.txt": ""}, []),
        ({"numpy.py": "", "mytorch.py": ""}, ["numpy.py"]),
        ({}, []),
    ],
)
def test_files_that_would_hide_torch_from_a_script_are_told(
    tmp_path: Path, files: Mapping[str, str], expected: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = facts(base_python(), cwd=tmp_path)
    assert said["shadows"] == expected
    identity = parse(said, Target("python", "a test"), {"system": "linux"})
    assert identity.shadows == tuple(expected)


def test_torch_of_the_user_site_is_seen_where_the_user_site_counts(tmp_path: Path) -> None:
    """Pip's torch in ~/.local hides the one of a conda environment, but not the one of a virtual environment."""
    python = base_python()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    write_torch(tmp_path / ".local" / "lib" / f"python{version}" / "site-packages", "2.1.2+cpu", None)
    seen = facts(python, HOME=str(tmp_path))
    assert seen["interpreter"]["user_site_enabled"] is True
    assert seen["torch"]["location"].startswith(str(tmp_path / ".local"))
    assert facts(python, HOME=str(tmp_path), PYTHONNOUSERSITE="1")["torch"] is None
    make_venv(tmp_path / "env")
    assert facts(tmp_path / "env" / "bin" / "python", HOME=str(tmp_path))["torch"] is None


def test_pythonpath_counts_as_it_does_for_the_user(tmp_path: Path) -> None:
    write_torch(tmp_path / "extra", "1.13.1+cu117", "11.7")
    make_venv(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    assert facts(python, PYTHONPATH=str(tmp_path / "extra"))["torch"]["location"] == str(tmp_path / "extra" / "torch")
    # With a safe path Python does not put the script's folder first: the first entry must not be lost.
    safe = facts(python, PYTHONPATH=str(tmp_path / "extra"), PYTHONSAFEPATH="1")
    assert (safe["torch"] or {}).get("location") == str(tmp_path / "extra" / "torch")
    imported = facts(python, torch_install.IMPORT_SCRIPT, PYTHONPATH=str(tmp_path / "extra"), PYTHONSAFEPATH="1")
    assert imported["version"] == "1.13.1+cu117"


def test_conda_prefix_is_told_from_base_and_venv() -> None:
    """A conda environment is a Python of its own: here a made-up one, by what it would say."""
    said = facts(base_python())
    system = {"system": "linux"}
    target = Target("python", "a test")
    alone = {**said["interpreter"], "conda_meta": True, "conda_base": False}
    assert parse({"interpreter": alone}, target, system).kind == "conda"
    assert parse({"interpreter": {**alone, "conda_base": True}}, target, system).kind == "base"
    assert parse({"interpreter": {**alone, "prefix": "/elsewhere"}}, target, system).kind == "venv"
    assert parse(said, target, system).kind == "system"


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"implementation": "pypy", "version": "3.9.16"}, "tag", "pp39"),
        ({"free_threaded": True, "version": "3.13.0"}, "tag", "cp313t"),
        ({"free_threaded": True, "version": "3.13.0"}, "abi_tag", "cp313t"),
        ({"version": "3.7.16"}, "abi_tag", "cp37m"),
        ({"releaselevel": "beta", "version": "3.14.0"}, "version", "3.14.0 (beta)"),
        ({"platform": "linux-aarch64"}, "platform_tag", "linux_aarch64"),
        ({"platform": "macosx-11.0-arm64"}, "platform_tag", "macosx_arm64"),
        ({"platform": "macosx-10.9-x86_64"}, "platform_tag", "macosx_x86_64"),
        ({"platform": "win-amd64"}, "platform_tag", "win_amd64"),
    ],
)
def test_interpreter_is_named_in_the_words_of_wheels(changes: dict[str, Any], field: str, expected: str) -> None:
    said = {**facts(base_python())["interpreter"], **changes}
    assert getattr(parse({"interpreter": said}, Target("python", "a test"), {"system": "linux"}), field) == expected


# --- packages as files ---


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site-packages of an empty virtual environment."""
    return make_venv(tmp_path / "env")


def in_env(site: Path) -> dict[str, Any]:
    return facts(site.parent.parent.parent / "bin" / "python")


def answer(site: Path) -> Answer:
    return Answer(in_env(site))


def test_label_that_pip_loses_is_read_from_the_version_file(site: Path) -> None:
    """Wheels of the default registry say 2.15.0 in METADATA and 2.15.0+cu132 in version.py."""
    write_torch(site, "2.15.0+cu132", "13.2", "sm_75 sm_80 sm_120", metadata_version="2.15.0")
    said = answer(site)
    torch = torch_install.torch_build(said, torch_install.distributions(said, "files")).value
    assert torch is not None
    assert (torch.version, torch.build, torch.variant) == ("2.15.0", "2.15.0+cu132", "cu132")


@pytest.mark.parametrize(
    ("cuda", "hip", "variant"),
    [("11.1", None, "cu111"), (None, None, "cpu"), (None, "6.4.43482", "rocm"), ("not a number", None, "cpu")],
)
def test_variant_follows_from_cuda_and_hip(site: Path, cuda: str | None, hip: str | None, variant: str) -> None:
    write_torch(site, "2.4.1", cuda, hip=hip)
    said = answer(site)
    torch = torch_install.torch_build(said, torch_install.distributions(said, "files")).value
    assert torch is not None
    assert (torch.variant, torch.sm) == (variant, None)


@pytest.mark.parametrize(
    ("words", "sm", "ptx"),
    [
        ("sm_37 sm_50 sm_86", ["3.7", "5.0", "8.6"], []),
        ("sm_80 sm_90a compute_90", ["8.0", "9.0"], ["9.0"]),
        ("sm_100 sm_120 compute_120", ["10.0", "12.0"], ["12.0"]),
        ("compute_70 compute_80 sm_86", ["8.6"], ["7.0", "8.0"]),
        ("sm_90", ["9.0"], []),
    ],
)
def test_architectures_are_found_between_other_strings(site: Path, words: str, sm: list[str], ptx: list[str]) -> None:
    write_torch(site, "2.4.1+cu121", "12.1", words)
    said = answer(site)
    torch = torch_install.torch_build(said, torch_install.distributions(said, "files")).value
    assert torch is not None
    assert [str(one) for one in torch.sm or ()] == sm
    assert [str(one) for one in torch.ptx] == ptx


def test_architectures_are_found_at_once_in_a_large_library(site: Path) -> None:
    """An ordinary one has 30 MB; the facts must come much sooner than an import would."""
    write_torch(site, "2.4.1+cu121", "12.1", "sm_50 sm_80 sm_86 sm_90")
    library = site / "torch" / "lib" / "libtorch_python.so"
    library.write_bytes(bytes(range(256)) * 100_000 + b"_sm_smart compute" * 10_000 + b"\0" + library.read_bytes())
    started = time.monotonic()
    said = in_env(site)
    assert time.monotonic() - started < 0.4
    assert said["torch"]["architectures"] == ["sm_50", "sm_80", "sm_86", "sm_90"]


@pytest.mark.parametrize("content", [b"", b"no list at all", b"sm_70 sm_75"])
def test_library_without_a_list_leaves_the_architectures_unknown(site: Path, content: bytes) -> None:
    write_torch(site, "2.4.1+cu121", "12.1", "sm_80 sm_86")
    (site / "torch" / "lib" / "libtorch_python.so").write_bytes(content)
    said = answer(site)
    torch = torch_install.torch_build(said, torch_install.distributions(said, "files"))
    assert torch.value is not None
    assert torch.value.sm is None


@pytest.mark.parametrize(
    "text",
    ["", "__version__ = ", "def f(:", "__version__ = f()", "version = '1'", "\0", "__version__ = 1.9"],
    ids=["empty", "half", "no Python", "computed", "another name", "zero byte", "a number"],
)
def test_version_file_that_tells_nothing_makes_torch_unknown_not_absent(site: Path, text: str) -> None:
    write_torch(site, "1.9.0", None)
    (site / "torch" / "version.py").write_text(text)
    said = answer(site)
    torch = torch_install.torch_build(said, torch_install.distributions(said, "files"))
    assert torch.is_unknown
    assert "version.py" in (torch.problem or "")


def test_record_without_files_is_no_torch_but_its_metadata_is_told(site: Path) -> None:
    """`conda list` shows torch, `import torch` finds none: the files were deleted, the record was kept."""
    write_torch(site, "1.8.0", "11.1")
    for path in sorted((site / "torch").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (site / "torch").rmdir()
    said = answer(site)
    installed = torch_install.distributions(said, "files")
    assert torch_install.torch_build(said, installed).is_absent
    (torch,) = installed.value or ()
    assert (torch.version, torch.listed_files, torch.missing_files, torch.installer) == ("1.8.0", 4, 2, "pip")


def test_leftovers_of_a_broken_removal_are_told(site: Path) -> None:
    (site / "~orch").mkdir()
    (site / "~orch-1.9.0.dist-info").mkdir()
    names = [item.name for item in torch_install.distributions(answer(site), "files").value or ()]
    assert names == ["~orch", "~orch-1.9.0.dist-info"]


def test_folder_left_over_earlier_on_the_path_does_not_hide_the_real_torch(site: Path, tmp_path: Path) -> None:
    """Python prefers a package with __init__.py to a bare folder, wherever they lie."""
    (tmp_path / "extra" / "torch" / "lib").mkdir(parents=True)
    write_torch(site, "2.7.1+cu118", "11.8")
    said = facts(site.parent.parent.parent / "bin" / "python", PYTHONPATH=str(tmp_path / "extra"))
    assert said["torch"]["location"] == str(site / "torch")


def test_metadata_of_every_kind_is_read(site: Path) -> None:
    write_distribution(site, "numpy", "1.26.4", record=False)
    write_distribution(site, "nvidia_cudnn_cu12", "8.9.2.26")
    (site / "PyYAML-6.0.1-py3.11.egg-info").mkdir()
    (site / "scipy-1.10.0.egg-info").write_text("Metadata-Version: 1.1\nName: scipy\n")
    (site / "not-a-version.dist-info").mkdir()
    (site / "half-1.0.dist-info").write_text("a file where a folder should be")
    items = {item.name: item for item in torch_install.distributions(answer(site), "files").value or ()}
    assert {name: item.version for name, item in items.items()} == {
        "PyYAML": "6.0.1",
        "half": "1.0",
        "numpy": "1.26.4",
        "nvidia_cudnn_cu12": "8.9.2.26",
        "scipy": "1.10.0",
    }
    assert (items["numpy"].requires, items["numpy"].listed_files) == ((), 0)


def test_torchvision_names_the_torch_it_was_built_for(site: Path) -> None:
    write_torchvision(site, "0.19.1", None, torch_pin="2.4.1")
    said = answer(site)
    vision = torch_install.vision_build(said, torch_install.distributions(said, "files")).value
    assert vision is not None
    assert (vision.build, vision.cuda, vision.torch_pin) == ("0.19.1", None, "2.4.1")


# --- one real import ---


def imported(site: Path) -> dict[str, Any]:
    return facts(site.parent.parent.parent / "bin" / "python", torch_install.IMPORT_SCRIPT)


def test_import_that_works_tells_version_and_cuda(site: Path) -> None:
    init = (
        "from .version import __version__\nclass cuda:\n    @staticmethod\n    def is_available(): return False\n"
        "    @staticmethod\n    def init(): raise RuntimeError('No CUDA GPUs are available')\n"
        "from . import version\nprint('a banner on standard output')\n"
    )
    write_torch(site, "1.9.0+cu111", "11.1", init=init)
    said = imported(site)
    assert (said["ok"], said["version"], said["cuda_available"]) == (True, "1.9.0+cu111", False)
    assert said["cuda_problem"] == "No CUDA GPUs are available"
    assert said["seconds"] < 5


@pytest.mark.parametrize(
    ("init", "error"),
    [
        (
            "raise ImportError('libcudnn.so.9: cannot open shared object file')",
            "ImportError: libcudnn.so.9: cannot open shared object file",
        ),
        ("import numpy_that_is_not_there", "ModuleNotFoundError: No module named 'numpy_that_is_not_there'"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    ],
)
def test_import_that_fails_tells_its_error(site: Path, init: str, error: str) -> None:
    write_torch(site, "1.9.0", None, init=init)
    said = imported(site)
    assert (said["ok"], said["error"]) == (False, error)


@pytest.mark.parametrize(
    ("init", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "no answer within 0.5 seconds"),
    ],
    ids=["crashes", "exits", "hangs"],
)
def test_import_that_ends_or_stops_the_interpreter_is_a_fact(site: Path, init: str, problem: str) -> None:
    write_torch(site, "1.9.0", None, init=init)
    said = torch_install.torch_import(RealHost(), str(site.parent.parent.parent / "bin" / "python"), timeout=0.5).value
    assert said is not None
    assert (said.ok, said.error) == (False, problem)


def test_shadow_in_the_folder_does_not_spoil_the_import_of_the_environment(site: Path, tmp_path: Path) -> None:
    write_torch(site, "1.9.0", None)
    (tmp_path / "torch.py").write_text("raise RuntimeError('shadow')\n")
    said = facts(site.parent.parent.parent / "bin" / "python", torch_install.IMPORT_SCRIPT, cwd=tmp_path)
    assert (said["ok"], said["version"]) == (True, "1.9.0")


# --- reading an answer ---


@pytest.mark.parametrize(
    ("stdout", "facts_or_problem"),
    [
        (f'noise{COOKIE}{{"a": 1}}{COOKIE}more noise', {"a": 1}),
        (f'{COOKIE} printed by somebody {COOKIE}{{"a": 1}}{COOKIE}\n', {"a": 1}),
        (f"{COOKIE}{{", "it ran but did not answer as a Python would"),
        (f"{COOKIE}[]{COOKIE}", "its answer is damaged"),
        (f"{COOKIE}{{{COOKIE}", "its answer is damaged"),
    ],
)
def test_answer_lies_between_the_last_two_cookies(stdout: str, facts_or_problem: object) -> None:
    answer = read_answer(CommandResult(outcome="exited", returncode=0, stdout=stdout), 1)
    assert (answer.facts if answer.facts is not None else answer.problem) == facts_or_problem


def test_answer_of_an_interpreter_that_died_afterwards_still_counts() -> None:
    text = COOKIE + json.dumps({"a": 1}) + COOKIE
    assert read_answer(CommandResult(outcome="exited", returncode=-11, stdout=text), 1).facts == {"a": 1}


def test_wrapper_is_asked_as_the_user_runs_it(tmp_path: Path) -> None:
    """Some environments start Python by a script that sets variables: they belong to what is asked."""
    write_torch(tmp_path / "hidden", "1.9.0+cu111", "11.1", SM_OF_CU118)
    python = write_script(
        tmp_path / "env" / "bin" / "python", f'PYTHONPATH="{tmp_path}/hidden" exec "{base_python()}" "$@"'
    )
    identity, answer = probe(RealHost(), Target(str(python), "a test"), timeout=20)
    assert identity.value is not None
    assert identity.value.prefix != str(tmp_path / "env"), "it says itself where it lives"
    assert torch_install.torch_build(answer, torch_install.distributions(answer, "files")).value is not None

"""A real torch 1.9.0 on pretended drivers: what it really says, and whether the diagnosis names the cause."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfix import explain
from tests.fakes.running import cleaned_environment, envfix

MakeMachine = Callable[..., dict[str, str]]
pytestmark = [pytest.mark.slow, pytest.mark.online]


def diagnose(env: dict[str, str], target: str) -> dict[str, Any]:
    return envfix("diagnose", "--json", "--python", target, env=env, timeout=180).document


def problem(document: dict[str, Any]) -> str:
    """What torch really said."""
    imported = document["facts"]["environment"]["torch_import"]["value"]
    assert imported["ok"] is True
    assert imported["cuda_available"] is False
    said: str = imported["cuda_problem"]
    return said


def first(document: dict[str, Any]) -> tuple[str, str]:
    return document["findings"][0]["code"], document["findings"][0]["cause"]


@pytest.mark.parametrize(
    ("cuinit", "words", "code", "cause"),
    [
        (802, "Error 802: system not yet initialized", "DRV107", "fabric_manager_not_running"),
        (803, "Error 803: system has unsupported display driver", "DRV102", "driver_library_version_mismatch"),
        (804, "Error 804: forward compatibility was attempted", "DRV106", "cuda_compat_unsupported_hw"),
        (999, "CUDA unknown error", "DRV104", "cuda_unknown_error_uvm"),
        (304, "Error 304: OS call failed", "DRV109", "cuda_does_not_start"),
        (100, "No CUDA GPUs are available", "DRV109", "cuda_does_not_start"),
    ],
)
def test_what_torch_says_of_a_driver_that_answers(
    fake_machine: MakeMachine, torch_190: str, cuinit: int, words: str, code: str, cause: str
) -> None:
    document = diagnose(fake_machine("volta-580-v100", cuinit=cuinit), torch_190)
    assert words in problem(document)
    assert first(document) == (code, cause)
    assert [one["code"] for one in document["findings"]] == [code]
    assert words in document["findings"][0]["because"][0]["value"]


@pytest.mark.parametrize(
    ("cuinit", "variables", "causes"),
    [
        (802, {}, {"fabric_manager_not_running"}),
        (803, {}, {"driver_library_version_mismatch"}),
        (804, {}, {"cuda_compat_unsupported_hw"}),
        (999, {}, {"cuda_unknown_error_uvm"}),
        (100, {"CUDA_VISIBLE_DEVICES": "3"}, {"cuda_visible_devices_hides_gpu", "no_nvidia_gpu"}),
    ],
)
def test_traceback_of_torch_is_explained(
    fake_machine: MakeMachine, torch_190: str, cuinit: int, variables: dict[str, str], causes: set[str]
) -> None:
    """What the real torch prints when a program of somebody moves a tensor to the card."""
    env = {**fake_machine("volta-580-v100", cuinit=cuinit), **variables}
    program = [f"{torch_190}/bin/python", "-c", "import torch; torch.zeros(1).cuda()"]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 1
    answer = explain(done.stderr)
    assert answer.causes[0].cause in causes, done.stderr
    if variables:
        joined = subprocess.run(
            [sys.executable, "-m", "envfix", "explain", "--json", "--python", torch_190, "-"],
            env=env,
            input=done.stderr,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert json.loads(joined.stdout)["causes"][0]["cause"] == "cuda_visible_devices_hides_gpu"


def test_driver_that_is_too_old(fake_machine: MakeMachine, torch_190: str) -> None:
    document = diagnose(fake_machine("volta-580-v100", driver="384.81", cuda=9000), torch_190)
    assert "driver on your system is too old (found version 9000)" in problem(document)
    assert first(document) == ("DRV101", "driver_too_old_for_wheel")


def test_hidden_cards(fake_machine: MakeMachine, torch_190: str) -> None:
    env = {**fake_machine("volta-580-v100", cuinit=100), "CUDA_VISIBLE_DEVICES": "3"}
    document = diagnose(env, torch_190)
    assert "No CUDA GPUs are available" in problem(document)
    assert first(document) == ("VAR110", "cuda_visible_devices_hides_gpu")


def test_job_without_a_card(fake_machine: MakeMachine, torch_190: str) -> None:
    env = {**fake_machine("volta-580-v100", cuinit=100), "CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_ID": "77"}
    document = diagnose(env, torch_190)
    assert "No CUDA GPUs are available" in problem(document)
    assert first(document) == ("VAR112", "job_without_gpu")


def test_no_driver_and_no_card(fake_machine: MakeMachine, torch_190: str) -> None:
    document = diagnose(fake_machine("no-driver"), torch_190)
    assert "Found no NVIDIA driver" in problem(document)
    assert (first(document), document["verdict"]) == (("GPU101", "no_nvidia_gpu"), "healthy")


def test_card_without_a_driver(fake_machine: MakeMachine, torch_190: str) -> None:
    document = diagnose(fake_machine("nouveau-rtx3090"), torch_190)
    assert "Found no NVIDIA driver" in problem(document)
    assert first(document)[0] in ("CTR101", "DRV103"), "whether these tests run in a container or not"


def test_files_and_module_that_differ(fake_machine: MakeMachine, torch_190: str) -> None:
    document = diagnose(fake_machine("driver-mismatch"), torch_190)
    assert "Error 803" in problem(document)
    assert first(document) == ("DRV102", "driver_library_version_mismatch")


def test_module_that_is_not_loaded(fake_machine: MakeMachine, torch_190: str) -> None:
    document = diagnose(fake_machine("module-not-loaded"), torch_190)
    assert "No CUDA GPUs are available" in problem(document)
    assert first(document) == ("DRV103", "nvidia_kernel_module_not_loaded")


def test_driver_library_is_missing(fake_machine: MakeMachine, torch_190: str) -> None:
    document = diagnose(fake_machine("volta-580-v100", libraries=("nvml",)), torch_190)
    assert "Found no NVIDIA driver" in problem(document)
    assert first(document) == ("DRV108", "cuda_driver_library_missing")


def test_what_is_recorded_is_what_the_interpreter_itself_says(fake_machine: MakeMachine, torch_190: str) -> None:
    """The words come from torch, not from envfix: asked by hand it says the same."""
    env = fake_machine("volta-580-v100", cuinit=804)
    code = "import torch\ntry:\n    torch.cuda.init()\nexcept Exception as error:\n    print(error)"
    asked = subprocess.run(
        [str(Path(torch_190) / "bin" / "python"), "-W", "ignore", "-c", code],
        env={**cleaned_environment(), **env},
        capture_output=True,
        check=True,
    )
    assert "forward compatibility was attempted on non supported HW" in asked.stdout.decode()

"""``envfix verify`` with a real torch on pretended drivers: every refusal is named by its cause, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.running import envfix

MakeMachine = Callable[..., dict[str, str]]
pytestmark = [pytest.mark.slow, pytest.mark.online]
VOLTA = "volta-580-v100"
REFUSED = "torch cannot use this machine's NVIDIA GPU: "


def verify(env: dict[str, str], python: str, *options: str) -> dict[str, Any]:
    arguments = ("verify", "--json", "--level", "cuda", "--python", python, *options)
    return envfix(*arguments, env=env, timeout=180).document


def failed(document: dict[str, Any]) -> tuple[str, str | None, str]:
    rung = next(rung for rung in document["rungs"] if rung["status"] == "failed")
    return rung["name"], rung["cause"], rung["message"]


HIDES = " and hides every card from CUDA: torch finds no GPU."


@pytest.mark.parametrize(
    ("machine", "changes", "variables", "cause", "message"),
    [
        (VOLTA, {"cuinit": 100}, {}, "cuda_does_not_start", "No CUDA GPUs are available"),
        (
            VOLTA,
            {"cuinit": 304},
            {},
            "cuda_does_not_start",
            "Error 304: OS call failed or operation not supported on this OS",
        ),
        (VOLTA, {"cuinit": 802}, {}, "fabric_manager_not_running", "Error 802: system not yet initialized"),
        (
            "driver-mismatch",
            {},
            {},
            "driver_library_version_mismatch",
            "Error 803: system has unsupported display driver / cuda driver combination",
        ),
        (
            VOLTA,
            {"cuinit": 804},
            {},
            "cuda_compat_unsupported_hw",
            "Error 804: forward compatibility was attempted on non supported HW",
        ),
        (VOLTA, {"cuinit": 999}, {}, "cuda_unknown_error_uvm", "CUDA unknown error"),
        (
            VOLTA,
            {"driver": "384.81", "cuda": 9000},
            {},
            "driver_too_old_for_wheel",
            "The NVIDIA driver on your system is too old (found version 9000).",
        ),
        ("module-not-loaded", {}, {}, "nvidia_kernel_module_not_loaded", "No CUDA GPUs are available"),
        (VOLTA, {"libraries": ("nvml",)}, {}, "cuda_driver_library_missing", "Found no NVIDIA driver on your system."),
        (
            VOLTA,
            {"cuinit": 100},
            {"CUDA_VISIBLE_DEVICES": ""},
            "cuda_visible_devices_hides_gpu",
            f"No CUDA GPUs are available. CUDA_VISIBLE_DEVICES is ''{HIDES}",
        ),
        (
            VOLTA,
            {"cuinit": 304},
            {"CUDA_VISIBLE_DEVICES": ""},
            "cuda_visible_devices_hides_gpu",
            "Error 304: OS call failed or operation not supported on this OS. CUDA_VISIBLE_DEVICES is ''" + HIDES,
        ),
        (
            VOLTA,
            {"cuinit": 100},
            {"CUDA_VISIBLE_DEVICES": "3"},
            "cuda_visible_devices_hides_gpu",
            f"No CUDA GPUs are available. CUDA_VISIBLE_DEVICES is '3'{HIDES}",
        ),
        (
            VOLTA,
            {"cuinit": 100},
            {"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_ID": "77"},
            "job_without_gpu",
            "No CUDA GPUs are available. This Slurm job was given no GPU: torch runs on the processor in it.",
        ),
    ],
)
def test_each_refusal_has_its_cause(
    fake_machine: MakeMachine,
    torch_190: str,
    machine: str,
    changes: dict[str, Any],
    variables: dict[str, str],
    cause: str,
    message: str,
) -> None:
    document = verify({**fake_machine(machine, **changes), **variables}, torch_190)
    assert document["status"] == "failed"
    assert failed(document) == ("driver", cause, REFUSED + message)
    assert len(document["remedies"]) >= 1


def test_a_card_that_torch_has_no_code_for_is_foretold(fake_machine: MakeMachine, torch_190: str) -> None:
    """No kernel runs on the fake; that none could is told by the list of codes in torch and by the card."""
    document = verify(fake_machine("blackwell-580-rtx5090"), torch_190)
    assert failed(document)[:2] == ("driver", "sm_too_new_for_wheel")
    assert document["remedies"][0]["commands"][0][:3] == ["envfix", "install", "--new-env"]


def test_a_card_without_a_driver_is_no_pass(fake_machine: MakeMachine, torch_190: str) -> None:
    name, cause, message = failed(verify(fake_machine("nouveau-rtx3090"), torch_190))
    assert (name, message) == ("driver", f"{REFUSED}Found no NVIDIA driver on your system.")
    # Whether these tests run in a container or not.
    assert cause in ("container_without_gpu", "nvidia_kernel_module_not_loaded")


@pytest.mark.parametrize("machine", ["no-driver", "amd-card"])
def test_a_machine_without_a_card_passes_on_the_processor(
    fake_machine: MakeMachine, torch_190: str, machine: str
) -> None:
    document = verify(fake_machine(machine), torch_190)
    assert (document["status"], document["device"]) == ("passed", "cpu")
    driver = next(rung for rung in document["rungs"] if rung["name"] == "driver")
    assert (driver["status"], driver["message"]) == (
        "skipped",
        "no usable GPU: Found no NVIDIA driver on your system.",
    )


def test_a_card_that_was_asked_for_where_there_is_none(fake_machine: MakeMachine, torch_190: str) -> None:
    document = verify(fake_machine("no-driver"), torch_190, "--device", "0")
    assert failed(document) == (
        "driver",
        "no_nvidia_gpu",
        "torch cannot use GPU 0: Found no NVIDIA driver on your system.",
    )
    assert document["remedies"][0]["commands"] == [["envfix", "verify", "--device", "cpu"]]


def test_who_asks_for_the_processor_gets_it_on_a_broken_driver(fake_machine: MakeMachine, torch_190: str) -> None:
    document = verify(fake_machine("driver-mismatch"), torch_190, "--device", "cpu")
    assert (document["status"], document["device"]) == ("passed", "cpu")

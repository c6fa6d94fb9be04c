"""The NVIDIA driver as a process meets it: real `envfix diagnose` runs on pretended machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfix.model.facts import Gpu, GpuProcess
from envfix.model.versions import ComputeCapability, DriverVersion
from envfix.probes import nvidia_driver
from tests.fakes.machines import BEFORE_510, FIRST_LISTS, FOREIGN_PID, HARDLY_ANY, Card, Holder
from tests.fakes.running import ENVFIX, Finished, envfix
from tests.fakes.targets import SM_OF_CU111, SM_OF_CU128, make_venv, write_torch

MakeMachine = Callable[..., dict[str, str]]
MIB = 1024**2
# A broken driver is asked three times, one after the other, each within the time limit, and may need a kill.
LONGEST = 20.0

no_real_driver = pytest.mark.skipif(
    os.path.exists("/proc/driver/nvidia") or shutil.which("nvidia-smi") is not None,
    reason="this machine has a real NVIDIA driver, so none can be pretended away",
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with a torch that fits nearly every pretended machine."""
    folder = tmp_path_factory.mktemp("target") / "yolov8_env"
    write_torch(make_venv(folder), "1.9.0+cu111", "11.1", SM_OF_CU111)
    return str(folder)


def diagnose(env: dict[str, str], target: str) -> Finished:
    started = time.monotonic()
    finished = envfix("diagnose", "--json", "--no-import", "--python", target, env=env, timeout=LONGEST)
    assert time.monotonic() - started < LONGEST
    assert finished.document["schema"] == "envfix.diagnose/1"
    assert finished.code == (1 if finished.document["verdict"] == "broken" else 0), finished
    return finished


def machine_facts(finished: Finished) -> dict[str, Any]:
    facts: dict[str, Any] = finished.document["facts"]["machine"]
    return facts


def codes(finished: Finished) -> list[str]:
    return [finding["code"] for finding in finished.document["findings"]]


def test_seed_server_is_described_as_its_driver_tells(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("seed-server"), target)
    facts = machine_facts(finished)
    assert facts["driver"] == {"source": "NVML", "value": {"version": "455.23.05", "cuda": "11.1"}}
    assert facts["gpus"]["source"] == "NVML"
    full, free = facts["gpus"]["value"]
    assert full == {
        "index": 0,
        "name": "GeForce RTX 3090",
        "uuid": "GPU-5eed0000-0000-4bad-9caf-0123456789ab",
        "capability": "8.6",
        "memory_total": 24268 * MIB,
        "memory_free": (24268 - 22950) * MIB,
        "pci_bus": "00000000:01:00.0",
        "pci_id": "10de:2204",
        "processes": [{"pid": FOREIGN_PID, "memory": 22630 * MIB, "command": "python train.py"}],
    }
    assert (free["index"], free["memory_free"], free.get("processes")) == (1, (24268 - 310) * MIB, None)
    assert facts["driver_layers"]["value"]["nvml"] == "works"
    assert facts["driver_layers"]["value"]["library"] == "455.23.05"
    assert facts["toolkits"]["value"][0] == {
        "nvcc": facts["toolkits"]["value"][0]["nvcc"],
        "version": "11.1",
        "release": "11.1.74",
        "found_by": "PATH",
    }
    assert {(one["name"], one["version"]) for one in facts["host_compilers"]["value"]} == {
        ("gcc", "9.4.0"),
        ("g++", "9.4.0"),
    }
    assert {"0000:01:00.0", "0000:02:00.0"} <= {one["bus"] for one in facts["displays"]["value"]}


def test_seed_server_is_healthy_but_for_the_full_card(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("seed-server"), target)
    assert (finished.document["verdict"], codes(finished), finished.code) == ("degraded", ["MEM102"], 0)
    (finding,) = finished.document["findings"]
    assert finding["cause"] == "oom_other_process"
    assert "python train.py" in finding["because"][0]["value"]
    assert "22.1 GiB" in finding["because"][0]["value"]
    # What the user pastes names the free card, not the one that CUDA takes by default.
    paste = str(finding["remedies"])
    assert "CUDA_VISIBLE_DEVICES=GPU-5eed0001" in paste
    assert "GPU-5eed0000" not in paste


@pytest.mark.parametrize(
    ("name", "driver", "cuda", "capability"),
    [
        ("lab-470-rtx3090", "470.57.02", "11.4", "8.6"),
        ("workstation-550-rtx4090", "550.54.14", "12.4", "8.9"),
        ("blackwell-580-rtx5090", "580.95.05", "13.0", "12.0"),
        ("pascal-535-gtx1080ti", "535.183.01", "12.2", "6.1"),
        ("volta-580-v100", "580.95.05", "13.0", "7.0"),
    ],
)
def test_machine_with_a_working_driver_is_read_from_nvml(
    fake_machine: MakeMachine, target: str, name: str, driver: str, cuda: str, capability: str
) -> None:
    facts = machine_facts(diagnose(fake_machine(name), target))
    assert facts["driver"] == {"source": "NVML", "value": {"version": driver, "cuda": cuda}}
    assert [gpu["capability"] for gpu in facts["gpus"]["value"]] == [capability]
    assert "smi" not in facts["driver_layers"]["value"], "nvidia-smi need not be asked when NVML answers"


def test_card_newer_than_the_wheel_is_found(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("blackwell-580-rtx5090"), target)
    assert (codes(finished), finished.code) == (["GPU102"], 1)


def test_card_older_than_the_wheel_is_found(fake_machine: MakeMachine, tmp_path: Path) -> None:
    write_torch(make_venv(tmp_path / "env"), "2.8.0+cu128", "12.8", SM_OF_CU128)
    finished = diagnose(fake_machine("pascal-535-gtx1080ti"), str(tmp_path / "env"))
    assert (codes(finished), finished.code) == (["GPU103"], 1)


def test_driver_below_the_floor_of_the_wheel_is_found(fake_machine: MakeMachine, tmp_path: Path) -> None:
    write_torch(make_venv(tmp_path / "env"), "2.4.1+cu121", "12.1", "sm_80 sm_86")
    finished = diagnose(fake_machine("lab-470-rtx3090"), str(tmp_path / "env"))
    assert (codes(finished), finished.code) == (["DRV101"], 1)
    assert "525.60.13" in finished.document["findings"][0]["message"]


def test_driver_of_the_same_family_is_old_enough(fake_machine: MakeMachine, tmp_path: Path) -> None:
    """CUDA 11.8 on the driver of CUDA 11.1: minor-version compatibility, no finding."""
    write_torch(make_venv(tmp_path / "env"), "2.7.1+cu118", "11.8", "sm_50 sm_80 sm_86 sm_90")
    finished = diagnose(fake_machine("lab-470-rtx3090"), str(tmp_path / "env"))
    assert (codes(finished), finished.document["verdict"]) == ([], "healthy")


def test_cpu_build_on_a_gpu_machine_is_found(fake_machine: MakeMachine, tmp_path: Path) -> None:
    write_torch(make_venv(tmp_path / "env"), "2.1.2+cpu", None)
    assert codes(diagnose(fake_machine("lab-470-rtx3090"), str(tmp_path / "env"))) == ["TOR101"]


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        pytest.param(BEFORE_510, 22630 * MIB, id="second layout"),
        pytest.param(FIRST_LISTS, 22630 * MIB, id="first layout"),
    ],
)
def test_holders_are_named_on_drivers_that_list_them_in_an_older_layout(
    fake_machine: MakeMachine, target: str, age: int, expected: int
) -> None:
    two = (
        Holder(card=0, memory=22630, name="python train.py"),
        Holder(card=0, memory=100, name="jupyter", pid=FOREIGN_PID + 1),
    )
    facts = machine_facts(diagnose(fake_machine("seed-server", age=age, holders=two), target))
    assert facts["gpus"]["value"][0]["processes"] == [
        {"pid": FOREIGN_PID, "memory": expected, "command": "python train.py"},
        {"pid": FOREIGN_PID + 1, "memory": 100 * MIB, "command": "jupyter"},
    ]


def test_memory_of_a_holder_is_unknown_where_the_driver_does_not_tell(fake_machine: MakeMachine, target: str) -> None:
    untold = (Holder(card=0, memory=0, name="python train.py"),)
    finished = diagnose(fake_machine("seed-server", holders=untold), target)
    (process,) = machine_facts(finished)["gpus"]["value"][0]["processes"]
    assert process == {"pid": FOREIGN_PID, "command": "python train.py"}
    assert "an unknown amount" in finished.document["findings"][0]["because"][0]["value"]


def test_owner_and_start_of_a_holder_come_from_this_machine(fake_machine: MakeMachine, target: str) -> None:
    own = (Holder(card=0, memory=100, name="as the driver calls it", pid=os.getpid()),)
    facts = machine_facts(diagnose(fake_machine("lab-470-rtx3090", holders=own), target))
    (process,) = facts["gpus"]["value"][0]["processes"]
    assert process["pid"] == os.getpid()
    assert "pytest" in process["command"]
    assert process["user"]
    assert process["since"].startswith("20")


def test_driver_that_knows_hardly_any_question_still_gives_version_and_names(
    fake_machine: MakeMachine, target: str
) -> None:
    facts = machine_facts(diagnose(fake_machine("lab-470-rtx3090", age=HARDLY_ANY), target))
    assert facts["driver"]["value"] == {"version": "470.57.02"}
    assert facts["gpus"]["value"] == [{"index": 0, "name": "NVIDIA GeForce RTX 3090"}]


def test_capability_is_taken_from_the_name_where_the_driver_does_not_tell_it(
    fake_machine: MakeMachine, target: str
) -> None:
    finished = diagnose(fake_machine("blackwell-580-rtx5090", age=HARDLY_ANY), target)
    assert codes(finished) == ["GPU102"]


def test_capability_beyond_every_known_one_does_not_stop_the_diagnosis(fake_machine: MakeMachine, target: str) -> None:
    odd = (Card(name="NVIDIA Experimental", capability="123.45", memory=1000),)
    facts = machine_facts(diagnose(fake_machine("lab-470-rtx3090", cards=odd), target))
    assert facts["gpus"]["value"][0]["name"] == "NVIDIA Experimental"


def test_card_that_cannot_be_opened_makes_the_cards_unknown_not_absent(fake_machine: MakeMachine, target: str) -> None:
    lost = (
        Card(name="NVIDIA GeForce RTX 3090", capability="8.6", memory=24268),
        Card(name="NVIDIA GeForce RTX 3090 (will not open)", capability="8.6", memory=24268),
    )
    finished = diagnose(fake_machine("lab-470-rtx3090", cards=lost), target)
    assert machine_facts(finished)["gpus"]["problem"] == "1 of 2 cards cannot be opened"
    assert finished.document["verdict"] != "healthy"


def test_working_driver_without_a_card_is_told(fake_machine: MakeMachine, target: str) -> None:
    facts = machine_facts(diagnose(fake_machine("lab-470-rtx3090", cards=(), lspci=()), target))
    assert facts["driver"]["value"]["version"] == "470.57.02"
    assert facts["gpus"]["missing"] == "absent"


@no_real_driver
def test_machine_without_driver_and_card_is_told_apart_from_a_broken_one(
    fake_machine: MakeMachine, target: str
) -> None:
    finished = diagnose(fake_machine("no-driver"), target)
    facts = machine_facts(finished)
    assert (facts["driver"]["missing"], facts["gpus"]["missing"]) == ("absent", "absent")
    assert facts["driver_layers"]["value"]["nvml"] == "absent"
    assert (codes(finished), finished.document["verdict"]) == (["GPU101"], "healthy")


@no_real_driver
def test_card_without_any_driver_is_an_error(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("nouveau-rtx3090"), target)
    in_container = machine_facts(finished)["platform"]["value"].get("container")
    assert (codes(finished), finished.code) == (["CTR101" if in_container else "DRV103"], 1)


@no_real_driver
def test_card_of_another_maker_is_named(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("amd-card"), target)
    assert codes(finished) == ["GPU101"]
    assert "AMD" in finished.document["findings"][0]["message"]


@no_real_driver
def test_mismatch_of_driver_files_and_module_is_the_root(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("driver-mismatch"), target)
    facts = machine_facts(finished)
    assert facts["driver"]["missing"] == "unknown"
    assert facts["driver"]["problem"] == "Failed to initialize NVML: Driver/library version mismatch"
    layers = facts["driver_layers"]["value"]
    assert (layers["nvml"], layers["nvml_code"], layers["smi_exit"], layers["library"]) == (
        "error",
        18,
        18,
        "550.163.01",
    )
    assert (codes(finished), finished.code) == (["DRV102"], 1)
    assert "Reboot" in finished.document["findings"][0]["remedies"][0]["text"]


@no_real_driver
def test_module_that_is_not_loaded_is_the_root(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("module-not-loaded"), target)
    layers = machine_facts(finished)["driver_layers"]["value"]
    assert (layers["nvml_code"], layers["smi_exit"]) == (9, 9)
    assert "couldn't communicate with the NVIDIA driver" in layers["smi"]
    assert (codes(finished), finished.code) == (["DRV103"], 1)


@no_real_driver
def test_nvidia_smi_left_behind_without_libraries_is_not_a_driver(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("module-not-loaded", libraries=()), target)
    assert machine_facts(finished)["driver"]["missing"] == "unknown"
    assert codes(finished) == ["DRV103"]


@no_real_driver
def test_nvidia_smi_alone_gives_driver_and_cards(fake_machine: MakeMachine, target: str) -> None:
    facts = machine_facts(diagnose(fake_machine("seed-server", libraries=()), target))
    assert facts["driver"] == {"source": "nvidia-smi", "value": {"version": "455.23.05"}}
    assert facts["gpus"]["source"] == "nvidia-smi"
    assert [gpu["memory_free"] for gpu in facts["gpus"]["value"]] == [(24268 - 22950) * MIB, (24268 - 310) * MIB]
    assert facts["driver_layers"]["value"]["nvml"] == "absent"


@no_real_driver
def test_driver_library_alone_is_half_a_driver(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("lab-470-rtx3090", libraries=("cuda",), smi_installed=False), target)
    facts = machine_facts(finished)
    assert (facts["driver"]["missing"], facts["driver"]["source"]) == ("unknown", "libcuda")
    assert facts["gpus"]["value"] == [
        {"index": 0, "name": "NVIDIA GeForce RTX 3090", "capability": "8.6", "memory_total": 24268 * MIB}
    ]
    assert finished.document["verdict"] == "degraded"


@no_real_driver
@pytest.mark.parametrize("smi", ["garbage", "silent", "crash", "flood"])
def test_nvidia_smi_that_makes_no_sense_leaves_the_driver_unknown(
    fake_machine: MakeMachine, target: str, smi: str
) -> None:
    finished = diagnose(fake_machine("lab-470-rtx3090", libraries=(), smi=smi), target)
    facts = machine_facts(finished)
    assert facts["driver"]["missing"] == facts["gpus"]["missing"] == "unknown"
    assert facts["gpus"]["problem"] != "NVML and nvidia-smi are missing here", "nvidia-smi is there, it makes no sense"
    assert finished.document["verdict"] != "healthy"


@no_real_driver
def test_nvidia_smi_that_hangs_costs_one_time_limit(fake_machine: MakeMachine, target: str) -> None:
    env = {**fake_machine("lab-470-rtx3090", libraries=(), smi="hang"), "ENVFIX_TIMEOUT": "0.5"}
    started = time.monotonic()
    facts = machine_facts(diagnose(env, target))
    assert time.monotonic() - started < 5
    assert facts["driver"]["problem"] == "no answer within the time limit"


def test_nvidia_smi_that_lies_is_not_believed_when_nvml_answers(fake_machine: MakeMachine, target: str) -> None:
    facts = machine_facts(diagnose(fake_machine("lab-470-rtx3090", smi="lies"), target))
    assert facts["driver"]["value"]["version"] == "470.57.02"
    assert [gpu["name"] for gpu in facts["gpus"]["value"]] == ["NVIDIA GeForce RTX 3090"]


@no_real_driver
def test_nvidia_smi_that_lies_does_not_hide_a_broken_driver(fake_machine: MakeMachine, target: str) -> None:
    finished = diagnose(fake_machine("driver-mismatch", smi="lies"), target)
    assert (codes(finished), machine_facts(finished)["driver"]["missing"]) == (["DRV102"], "unknown")


@no_real_driver
@pytest.mark.parametrize(
    ("nvml", "problem"),
    [("crash", "killed by signal 11"), ("hang", "no answer within 1 seconds")],
    ids=["crash", "hang"],
)
def test_nvml_that_crashes_or_hangs_is_broken_not_absent(
    fake_machine: MakeMachine, target: str, nvml: str, problem: str
) -> None:
    env = {**fake_machine("lab-470-rtx3090", nvml=nvml), "ENVFIX_TIMEOUT": "1"}
    started = time.monotonic()
    finished = diagnose(env, target)
    assert time.monotonic() - started < 8
    facts = machine_facts(finished)
    assert facts["driver_layers"]["value"]["nvml"] == "no-answer"
    assert problem in facts["driver_layers"]["value"]["nvml_problem"]
    assert facts["driver"]["missing"] == facts["gpus"]["missing"] == "unknown"
    assert finished.document["verdict"] != "healthy"


@no_real_driver
def test_library_that_cannot_be_loaded_leaves_nvidia_smi_as_the_witness(fake_machine: MakeMachine, target: str) -> None:
    env = fake_machine("lab-470-rtx3090")
    library = Path(env["LD_LIBRARY_PATH"]) / "libnvidia-ml.so.1"
    library.unlink()
    library.write_text("not a library at all")
    facts = machine_facts(diagnose(env, target))
    assert facts["driver_layers"]["value"]["nvml"] == "error"
    assert facts["driver"] == {"source": "nvidia-smi", "value": {"version": "470.57.02"}}
    assert [gpu["name"] for gpu in facts["gpus"]["value"]] == ["NVIDIA GeForce RTX 3090"]


@pytest.mark.parametrize("module", ["proprietary", "open"])
def test_kernel_files_alone_give_the_driver(
    fake_machine: MakeMachine, target: str, tmp_path: Path, module: str
) -> None:
    """In a mount namespace of its own, so that nothing outside sees the files."""
    first = {
        "proprietary": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021",
        "open": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (dvs-builder@U16)",
    }[module]
    (tmp_path / "version").write_text(first + "\nGCC version:  gcc version 9.3.0\n")
    env = fake_machine("lab-470-rtx3090", libraries=(), smi_installed=False)
    finished = envfix(
        "diagnose",
        "--json",
        "--no-import",
        "--python",
        target,
        env=env,
        start=[*with_kernel_files(tmp_path / "version"), *ENVFIX],
    )
    facts = machine_facts(finished)
    assert facts["driver"]["value"]["version"] in first
    assert facts["driver"]["value"]["module"] == module
    assert facts["driver"]["source"] == "/proc/driver/nvidia/version"
    assert facts["gpus"]["missing"] == "unknown"


def test_versions_of_files_and_module_are_compared(fake_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 2024\n")
    env = fake_machine("driver-mismatch")
    finished = envfix(
        "diagnose",
        "--json",
        "--no-import",
        "--python",
        target,
        env=env,
        start=[*with_kernel_files(tmp_path / "version"), *ENVFIX],
    )
    layers = machine_facts(finished)["driver_layers"]["value"]
    assert (layers["kernel"], layers["library"]) == ("550.54.14", "550.163.01")
    assert "files 550.163.01, loaded module 550.54.14" in finished.document["findings"][0]["message"]


def with_kernel_files(version: Path) -> list[str]:
    """The start of a command line that sees this file as /proc/driver/nvidia/version; skips where that is not allowed."""
    script = (
        "set -e; machine_path=$PATH; PATH=/usr/sbin:/usr/bin:/sbin:/bin; mount --make-rprivate /;"
        ' mount -t tmpfs none /proc/driver; mkdir -p /proc/driver/nvidia; cp "$0" /proc/driver/nvidia/version;'
        ' PATH=$machine_path; exec "$@"'
    )
    start = [shutil.which("unshare") or "unshare", "-m", "/bin/sh", "-c", script, str(version)]
    try:
        allowed = subprocess.run([*start, "/bin/true"], check=False, capture_output=True, timeout=10).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("mount namespaces need root")
    return start


def test_overrides_are_the_source_of_the_fact(fake_machine: MakeMachine, target: str) -> None:
    env = {
        **fake_machine("driver-mismatch"),
        "ENVFIX_DRIVER": "535.54.03",
        "ENVFIX_GPU": "NVIDIA A100:8.0:40960; Tesla T4:7.5",
    }
    facts = machine_facts(diagnose(env, target))
    assert facts["driver"] == {"source": "ENVFIX_DRIVER", "value": {"version": "535.54.03"}}
    assert facts["gpus"] == {
        "source": "ENVFIX_GPU",
        "value": [
            {"index": 0, "name": "NVIDIA A100", "capability": "8.0", "memory_total": 40960 * MIB},
            {"index": 1, "name": "Tesla T4", "capability": "7.5"},
        ],
    }


@pytest.mark.parametrize(
    ("variable", "value", "fact", "missing"),
    [
        ("ENVFIX_DRIVER", "none", "driver", "absent"),
        ("ENVFIX_GPU", "none", "gpus", "absent"),
    ],
)
def test_override_that_says_none_is_absent(
    fake_machine: MakeMachine, target: str, variable: str, value: str, fact: str, missing: str
) -> None:
    facts = machine_facts(diagnose({**fake_machine("lab-470-rtx3090"), variable: value}, target))
    assert (facts[fact]["source"], facts[fact]["missing"]) == (variable, missing)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ENVFIX_DRIVER", "new"),
        ("ENVFIX_GPU", "RTX 3090:8.6:lots"),
        ("ENVFIX_GPU", "RTX 3090:eight"),
        ("ENVFIX_GPU", ";;"),
    ],
)
def test_override_without_sense_is_wrong_usage(
    fake_machine: MakeMachine, target: str, variable: str, value: str
) -> None:
    env = {**fake_machine("lab-470-rtx3090"), variable: value}
    finished = envfix("diagnose", "--json", "--no-import", "--python", target, env=env)
    assert finished.code == 2
    assert variable in finished.document["error"]["message"]


def test_card_that_is_named_without_its_driver_leaves_a_doubt(fake_machine: MakeMachine, target: str) -> None:
    facts = machine_facts(diagnose({**fake_machine("no-driver"), "ENVFIX_GPU": "RTX 3090:8.6:24576"}, target))
    assert facts["driver"]["missing"] == "unknown"
    assert "set ENVFIX_DRIVER as well" in facts["driver"]["problem"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13\nGCC 1.2.3",
            ("470.57.02", "proprietary"),
            id="closed",
        ),
        pytest.param(
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (dvs-builder@U16)",
            ("550.54.14", "open"),
            id="open",
        ),
        pytest.param("550.54.14\n", ("550.54.14", None), id="bare number in /sys"),
        pytest.param(
            "NVRM version: NVIDIA UNIX aarch64 Kernel Module  535.104 Tue", ("535.104", "proprietary"), id="two numbers"
        ),
        pytest.param("", None, id="empty"),
        pytest.param("NVRM version: unknown\n470.57.02", None, id="only the first line counts"),
    ],
)
def test_kernel_module_file_is_read_in_each_layout(text: str, expected: tuple[str, str | None] | None) -> None:
    module = nvidia_driver.parse_kernel_module(text)
    assert (tuple(module) if module else None) == expected


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.163.01", "550.163.01"),
        ("/usr/lib/libnvidia-ml.so.535.104", "535.104"),
        ("/usr/lib/wsl/lib/libnvidia-ml.so.1", None),
        ("", None),
    ],
)
def test_library_version_is_in_its_file_name(path: str, version: str | None) -> None:
    assert nvidia_driver.parse_library_version(path) == version


def test_smi_cards_survive_warnings_mixed_gpus_and_missing_numbers() -> None:
    text = (
        "WARNING: infoROM is corrupted at gpu 0000:02:00.0\n"
        "0, GPU-aa, NVIDIA GeForce RTX 3090, 470.57.02, 24268, 23856, 00000000:01:00.0\n"
        "1, GPU-bb, Tesla T4, 470.57.02, [N/A], [Unknown Error], 00000000:02:00.0\n"
        "2, GPU-cc\n"
    )
    assert nvidia_driver.parse_smi_cards(text) == (
        Gpu(
            index=0,
            uuid="GPU-aa",
            name="NVIDIA GeForce RTX 3090",
            memory_total=24268 * MIB,
            memory_free=23856 * MIB,
            pci_bus="00000000:01:00.0",
        ),
        Gpu(index=1, uuid="GPU-bb", name="Tesla T4", pci_bus="00000000:02:00.0"),
    )
    assert nvidia_driver.parse_smi_driver(text) == DriverVersion.parse("470.57.02")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 1_000_000, id="one endless line"),
        pytest.param("\0\0\0", id="zero bytes"),
        pytest.param("\u00b2, a, b, c, \u00b2, \u00b2, g", id="digits that are no numbers"),
        pytest.param('"0, a, b', id="open quote"),
    ],
)
def test_smi_answer_that_is_no_table_holds_no_cards(text: str) -> None:
    assert nvidia_driver.parse_smi_cards(text) == ()
    assert nvidia_driver.parse_smi_driver(text) is None


def test_cards_of_the_script_become_records() -> None:
    rows = [
        {"index": 0, "name": "A", "capability": "8.6", "mig": True, "processes": [{"pid": 7, "user": "li"}]},
        {"index": 1, "name": "", "problem": "no handle"},
    ]
    assert nvidia_driver.parse_cards(rows) == (
        Gpu(
            index=0,
            name="A",
            capability=ComputeCapability.parse("8.6"),
            mig=True,
            processes=(GpuProcess(pid=7, user="li"),),
        ),
    )


def test_python_of_the_tests_is_not_touched_by_the_fakes() -> None:
    """The pretended driver must never leak into this process: it would poison every other test."""
    assert "FAKE_DRIVER" not in os.environ
    assert sys.executable

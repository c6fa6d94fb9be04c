"""gpus --explain: each field of nvidia-smi on each card, in plain words, and nothing that is not known."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from envfix.app.card_fields import explained
from envfix.app.holding import judge
from envfix.model.facts import Gpu, GpuActivity, Machine, MigInstance, Observed, Platform, found
from envfix.model.gpu_use import CardField
from envfix.probes.nvidia_driver import parse_cards
from tests.test_gpus import GIB, card, held, machine

NAMES = [
    "Bus-Id",
    "Persistence-M",
    "Fan",
    "Perf",
    "Temp",
    "Pwr:Usage/Cap",
    "Slowed by",
    "Disp.A",
    "Memory-Usage",
    "Memory free",
    "Memory reserved",
    "GPU-Util",
    "Volatile Uncorr. ECC",
    "Compute M.",
    "MIG M.",
]
SLICES = (
    MigInstance(uuid="MIG-1", name="MIG 3g.20gb", memory_total=20 * GIB, memory_free=2 * GIB),
    MigInstance(uuid="MIG-2", name="MIG 3g.20gb", memory_total=20 * GIB, memory_free=19 * GIB),
)
LINUX = Platform(system="linux", machine="x86_64", tag="linux_x86_64")


def fields(
    gpu: Gpu, *, source: str = "NVML", origin: str | None = None, platform: Platform = LINUX
) -> dict[str, CardField]:
    """The fields of one card by their names."""
    gpus: Observed[tuple[Gpu, ...]] = found((gpu,), source)
    seen: Machine = machine(gpus=gpus, platform=found(platform, "the kernel"))
    (use,) = explained(judge(seen, origin=origin), seen).cards
    return {field.name: field for field in use.fields}


def busy(**more: Any) -> Gpu:
    """A card on which somebody trains."""
    now = GpuActivity(
        performance_state=2,
        utilization=97,
        temperature=71,
        fan=64,
        power=340.4,
        power_limit=350.0,
        slowed_by=("power limit",),
    )
    facts: dict[str, Any] = {
        "activity": now,
        "persistence": False,
        "display_active": False,
        "ecc": False,
        "compute_mode": "default",
        "mig": False,
        "memory_reserved": GIB // 2,
        "pci_bus": "00000000:01:00.0",
    }
    return card(0, 4.0, held(19.5, own=True), **{**facts, **more})


def test_every_field_has_a_value_a_meaning_and_what_training_makes_of_it() -> None:
    told = fields(busy())
    assert list(told) == NAMES
    assert {name: field.value for name, field in told.items()} == {
        "Bus-Id": "00000000:01:00.0",
        "Persistence-M": "Off",
        "Fan": "64%",
        "Perf": "P2",
        "Temp": "71 C",
        "Pwr:Usage/Cap": "340 W / 350 W",
        "Slowed by": "power limit",
        "Disp.A": "Off",
        "Memory-Usage": "19.5 GiB / 24.0 GiB",  # as nvidia-smi: without what the driver keeps
        "Memory free": "4.0 GiB",
        "Memory reserved": "0.5 GiB",
        "GPU-Util": "97%",
        "Volatile Uncorr. ECC": "Off",
        "Compute M.": "Default",
        "MIG M.": "Disabled",
    }
    assert all(field.meaning and field.training and not field.unknown for field in told.values())
    assert not any(field.matters for field in told.values())


def test_a_setting_comes_with_the_one_command_that_changes_it() -> None:
    told = fields(busy(compute_mode="exclusive-process"))
    assert {name: (field.commands, field.by) for name, field in told.items() if field.commands} == {
        "Persistence-M": ((("sudo", "nvidia-smi", "-i", "0", "-pm", "1"),), "admin"),
        "Volatile Uncorr. ECC": ((("sudo", "nvidia-smi", "-i", "0", "-e", "1"),), "admin"),
        "Compute M.": ((("sudo", "nvidia-smi", "-i", "0", "-c", "0"),), "admin"),
    }


def test_the_slices_of_a_card_are_listed_and_have_memory_of_their_own() -> None:
    field = fields(busy(mig=True, mig_instances=SLICES))["MIG M."]
    assert field.meaning == (
        "the card is cut into slices: MIG 3g.20gb (MIG-1, 2.0 GiB of 20.0 GiB free); MIG 3g.20gb (MIG-2, 19.0 GiB of 20.0 GiB free)"
    )
    assert (field.commands, field.by) == ((("nvidia-smi", "-L"),), "user")
    whole = fields(busy(mig=True, mig_instances=SLICES))["Memory free"]
    assert (whole.value, whole.unknown) == (None, "in MIG mode each slice has memory of its own")


def test_of_a_card_in_slices_the_emptiest_slice_is_the_one_to_take() -> None:
    use = judge(machine(busy(mig=True, mig_instances=SLICES), card(1, 10)))
    assert use.best is not None
    assert use.best.card.index == 0
    assert use.export == ("CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=MIG-2")


def test_in_a_container_the_admin_of_the_host_may() -> None:
    inside = msgspec.structs.replace(LINUX, container="docker")
    assert fields(busy(), platform=inside)["Persistence-M"].by == "admin of the host"


def test_windows_has_no_persistence_mode() -> None:
    windows = Platform(system="windows", machine="AMD64", tag="win_amd64")
    field = fields(busy(), platform=windows)["Persistence-M"]
    assert (field.value, field.unknown, field.commands) == (None, "Windows has no such mode", ())


@pytest.mark.parametrize(
    ("name", "more", "value", "words"),
    [
        ("Volatile Uncorr. ECC", {"ecc": True, "ecc_errors": 3}, "3", "reset the card"),
        ("Volatile Uncorr. ECC", {"repair": "pending"}, "damaged memory waits for a reset", "end with an error"),
        ("Volatile Uncorr. ECC", {"repair": "failed"}, "damaged memory cannot be replaced", "needs a replacement"),
        ("Compute M.", {"compute_mode": "prohibited"}, "Prohibited", "cannot start here"),
        ("Compute M.", {"compute_mode": "exclusive-process"}, "E. Process", "if the one program is yours"),
        (
            "Compute M.",
            {"compute_mode": "exclusive-process", "processes": (held(3),)},
            "E. Process",
            "until the program",
        ),
        ("MIG M.", {"mig": True}, "Enabled", "unless the admin makes a slice"),
        ("MIG M.", {"mig": True, "mig_instances": SLICES}, "Enabled", "cannot use the whole card, only one slice"),
        ("GPU-Util", {"processes": (held(3),)}, "97%", "somebody computes here now"),
        ("Memory free", {"memory_free": GIB}, "1.0 GiB", "too little"),
        ("Slowed by", {"activity": GpuActivity(slowed_by=("idle", "heat"))}, "idle, heat", "until it cools"),
        ("Slowed by", {"activity": GpuActivity(slowed_by=("power brake",))}, "power brake", "check cables"),
        ("Temp", {"activity": GpuActivity(temperature=90, slowed_by=("heat",))}, "90 C", "fans, dust and air"),
    ],
)
def test_what_slows_or_stops_training_is_marked(name: str, more: dict[str, Any], value: str, words: str) -> None:
    field = fields(msgspec.structs.replace(busy(), **more))[name]
    assert (field.value, field.matters) == (value, True)
    assert words in field.training


@pytest.mark.parametrize(
    ("name", "more", "value"),
    [
        ("Slowed by", {"activity": GpuActivity(slowed_by=())}, "nothing"),
        ("Slowed by", {"activity": GpuActivity(slowed_by=("idle",))}, "idle"),
        ("Slowed by", {"activity": GpuActivity(slowed_by=("clocks set by hand",))}, "clocks set by hand"),
        ("Perf", {"activity": GpuActivity(performance_state=5)}, "P5"),
        ("Temp", {"activity": GpuActivity(temperature=90)}, "90 C"),
        ("Pwr:Usage/Cap", {"activity": GpuActivity(power=20.0)}, "20 W / not told"),
        ("Disp.A", {"display_active": True}, "On"),
        ("Persistence-M", {"persistence": True}, "On"),
        ("Volatile Uncorr. ECC", {"ecc": True, "ecc_errors": 0}, "0"),
        ("Volatile Uncorr. ECC", {"ecc": True}, "On, number of errors not told"),
    ],
)
def test_what_does_not_hinder_is_not_marked(name: str, more: dict[str, Any], value: str) -> None:
    field = fields(msgspec.structs.replace(busy(), **more))[name]
    assert (field.value, field.matters) == (value, False)


@pytest.mark.parametrize(
    ("source", "origin", "reason"),
    [
        ("NVML", None, "the driver does not tell it for this card"),
        ("nvidia-smi", None, "only nvidia-smi answers here, and does not tell it"),
        ("ENVFIX_GPU", None, "the card is only named by ENVFIX_GPU"),
        ("NVML", "saved.json", "the snapshot does not hold it"),
        ("the report", "saved.txt", "the saved report does not say it"),
    ],
)
def test_what_is_not_known_says_why_and_guesses_nothing(source: str, origin: str | None, reason: str) -> None:
    told = fields(Gpu(index=0, name="NVIDIA GeForce RTX 3090"), source=source, origin=origin)
    assert list(told) == NAMES
    assert {field.value for field in told.values()} == {None}
    assert {field.unknown for field in told.values()} == {reason}
    assert not any(field.commands or field.matters for field in told.values())


# ---------------------------------------------------------------------------------------------------------------------
# the probe

script: Any = importlib.import_module("envfix.target.envfix_gpu_facts")


class Refused(Exception):  # noqa: N818 - stands for NVML's own
    """What NVML raises for a question it does not know."""


def nvml(**answers: Any) -> Any:
    """As much of pynvml as is asked; what is not named here is refused."""

    def refuse(*_arguments: Any) -> None:
        raise Refused

    names = (
        "PerformanceState",
        "UtilizationRates",
        "PowerUsage",
        "EnforcedPowerLimit",
        "CurrentClocksThrottleReasons",
        "Temperature",
        "FanSpeed",
        "MemoryInfo",
    )
    functions: dict[str, Any] = {
        f"nvmlDeviceGet{name}": (lambda *_a, value=answers[name]: value) if name in answers else refuse
        for name in names
    }
    return SimpleNamespace(**functions, NVML_TEMPERATURE_GPU=0, nvmlMemory_v2=2)


@pytest.fixture
def _refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"NVMLError": Refused, "NVMLLibraryMismatchError": Refused}
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(**known))


@pytest.mark.usefixtures("_refusals")
def test_what_a_card_does_now_is_asked_in_plain_units() -> None:
    told = script.activity(
        nvml(
            PerformanceState=2,
            UtilizationRates=SimpleNamespace(gpu=97),
            PowerUsage=340_400,
            EnforcedPowerLimit=350_000,
            CurrentClocksThrottleReasons=0x4 | 0x20 | 0x1000,
            Temperature=71,
            FanSpeed=64,
        ),
        None,
    )
    (gpu,) = parse_cards(
        [{"index": 0, "name": "A card", "activity": json.loads(json.dumps(told)), "memory_reserved": 5}]
    )
    assert gpu.activity == GpuActivity(
        performance_state=2,
        utilization=97,
        temperature=71,
        fan=64,
        power=340.4,
        power_limit=350.0,
        slowed_by=("power limit", "heat"),
    )
    assert gpu.memory_reserved == 5


@pytest.mark.usefixtures("_refusals")
def test_what_the_driver_refuses_is_left_out() -> None:
    assert script.activity(nvml(), None) == {}
    assert script.activity(nvml(PerformanceState=32), None) == {}  # NVML's "unknown"
    assert script.memory_reserved(nvml(), None) is None
    assert script.memory_reserved(nvml(MemoryInfo=SimpleNamespace(reserved=7)), None) == 7
    assert script.memory_reserved(SimpleNamespace(), None) is None
    assert parse_cards([{"index": 0, "name": "A card"}])[0].activity is None


# ---------------------------------------------------------------------------------------------------------------------
# the command


def envfix(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envfix", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_story_s_server_is_explained(fake_machine: Callable[..., dict[str, str]]) -> None:
    env = fake_machine("seed-server")
    document = json.loads(envfix("gpus", "--explain", "--json", env=env).stdout)
    for told in document["gpus"]:
        assert [field["name"] for field in told["fields"]] == NAMES
        for field in told["fields"]:
            assert set(field) == {"name", "value", "meaning", "training", "matters", "unknown", "commands", "by"}
            assert (field["value"] is None) != (field["unknown"] is None)
    full = next(field for field in document["gpus"][0]["fields"] if field["name"] == "Memory free")
    assert full["matters"]
    text = envfix("gpus", "--explain", env=env).stdout
    assert all(f"  {name}: " in text for name in NAMES)
    assert "export CUDA_DEVICE_ORDER" in text


def test_without_the_option_nothing_is_explained(fake_machine: Callable[..., dict[str, str]]) -> None:
    env = fake_machine("seed-server")
    assert "fields" not in json.loads(envfix("gpus", "--json", env=env).stdout)["gpus"][0]
    assert "Persistence-M" not in envfix("gpus", env=env).stdout


def test_a_saved_machine_is_explained() -> None:
    saved = Path(__file__).parent / "machines" / "gtx1080ti-torch-cu128" / "snapshot.json"
    answer = envfix("gpus", "--explain", "--from", str(saved))
    assert answer.returncode == 0
    words = " ".join(answer.stdout.split())
    assert "Temp: not known How hot the chip is. Not known: the snapshot does not hold it." in words
    assert "Memory free: 10.8 GiB Memory that a new program can take." in words


def test_a_broken_driver_still_ends_with_three(fake_machine: Callable[..., dict[str, str]]) -> None:
    answer = envfix("gpus", "--explain", env=fake_machine("driver-mismatch"))
    assert answer.returncode == 3
    assert "Driver/library version mismatch" in answer.stdout


def test_watching_does_not_explain() -> None:
    answer = envfix("gpus", "--watch", "--explain")
    assert answer.returncode == 2
    assert answer.stderr == ("error: --watch has no room for explanations\nhint: leave out --watch or --explain\n")

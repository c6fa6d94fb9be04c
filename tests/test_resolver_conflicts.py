"""When nothing fits: which constraint is named, what is nearest, and what a user can do or send to the administrator."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest

from envfix.model.facts import IndexState
from envfix.model.plan import Goal, PlanTarget, TargetGpu
from envfix.model.versions import DriverVersion
from envfix.resolver.choose import choose
from envfix.tables.loader import Tables
from tests.resolver_fixtures import (
    BOTH,
    GT_710,
    GTX_1080_TI,
    K40,
    REGISTRY_ONLY,
    RTX_3090,
    RTX_4090,
    RTX_5090,
    Card,
    capability,
    machine,
    target,
)


def test_no_machine_with_a_card_gets_a_cpu_build_unasked(tables: Tables) -> None:
    for card in (K40, RTX_5090, RTX_3090):
        for indexes in (BOTH, REGISTRY_ONLY):
            plan = choose(target("418.87.00", card), Goal(), indexes, tables)
            assert plan.status == "conflict"
            assert plan.choice is None
            assert plan.nearest is None or plan.nearest.variant != "cpu"
            assert plan.ways_out[-1] == "to run on the CPU all the same, say so: --cuda cpu"


def test_mismatch_asks_for_a_reboot_and_tells_what_comes_then(tables: Tables) -> None:
    plan = choose(machine("H"), Goal(), BOTH, tables)
    assert (plan.status, plan.blocked_by) == ("conflict", "driver")
    assert plan.nearest is not None
    assert plan.nearest.variant == "cu126"
    assert plan.ways_out[0].startswith("reboot the machine")
    assert "afterwards torch 2.13.0+cu126 would be installed" in plan.ways_out


@pytest.mark.parametrize(
    ("rest", "first"),
    [
        pytest.param(
            {"gpu_problem_cause": "nvidia_kernel_module_not_loaded", "gpu_problem": "not loaded"},
            "load the kernel module: `sudo modprobe nvidia`",
            id="module-not-loaded",
        ),
        pytest.param({"gpu_problem": "no answer"}, "reboot the machine; if that does not help", id="other"),
        pytest.param({"wsl": True}, "run `wsl --shutdown`", id="wsl"),
    ],
)
def test_every_broken_driver_has_a_first_step(rest: dict[str, Any], first: str, tables: Tables) -> None:
    plan = choose(target("550.54.14", RTX_3090, driver_state="broken", **rest), Goal(), BOTH, tables)
    assert plan.blocked_by == "driver"
    assert plan.ways_out[0].startswith(first)


def test_broken_driver_of_unknown_version_has_no_nearest_answer(tables: Tables) -> None:
    plan = choose(target(None, RTX_3090, driver_state="broken"), Goal(), BOTH, tables)
    assert (plan.blocked_by, plan.nearest) == ("driver", None)


def test_missing_driver_is_asked_for_in_a_sentence_to_send(tables: Tables) -> None:
    plan = choose(target(None, GTX_1080_TI), Goal(), BOTH, tables)
    assert plan.blocked_by == "driver"
    assert plan.nearest is not None
    assert plan.nearest.variant == "cu126"
    assert plan.ways_out[0] == (
        'ask the administrator: "Please install the NVIDIA driver, version 525.60.13 or newer, but not newer than branch'
        " 580 (560.28.03 or newer serves CUDA 12.6 fully); torch 2.13.0+cu126 needs it on NVIDIA GeForce GTX 1080 Ti"
        ' (compute capability 6.1)."'
    )


def test_unreadable_driver_asks_to_name_it(tables: Tables) -> None:
    for gpus in ((RTX_3090,), ()):
        facts = target(None, *gpus, driver_state="unknown", gpu_problem="nvidia-smi did not answer in 10 s")
        plan = choose(facts, Goal(), BOTH, tables)
        assert plan.blocked_by == "driver"
        assert "nvidia-smi did not answer in 10 s" in plan.reasons[0]
        assert any("ENVFIX_DRIVER" in way for way in plan.ways_out)
    assert any("--gpu none" in way for way in plan.ways_out)


def test_driver_that_shows_no_card_is_a_conflict(tables: Tables) -> None:
    facts = target("580.95.05", gpu_problem="No devices were found")
    plan = choose(facts, Goal(), BOTH, tables)
    assert plan.blocked_by == "driver"
    assert "No devices were found" in plan.reasons[0]


def test_unknown_capability_is_asked_for_never_guessed(tables: Tables) -> None:
    plan = choose(target("550.54.14", ("Mystery 1", None)), Goal(), BOTH, tables)
    assert (plan.blocked_by, plan.nearest) == ("sm", None)
    assert '--gpu "Mystery 1:CAPABILITY"' in plan.ways_out[0]


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(target(None, RTX_3090, driver_state="broken"), id="broken"),
        pytest.param(target(None, RTX_3090), id="no-driver"),
        pytest.param(target("550.54.14", ("Mystery", None)), id="unknown-card"),
    ],
)
def test_asking_for_the_cpu_needs_no_card(facts: PlanTarget, tables: Tables) -> None:
    plan = choose(facts, Goal(cuda="cpu"), BOTH, tables)
    assert plan.choice is not None
    assert (plan.choice.variant, plan.choice.compatibility) == ("cpu", "cpu")


def test_the_constraint_with_the_best_answer_is_named_the_easiest_is_nearest(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090, python="3.13"), Goal(), REGISTRY_ONLY, tables)
    assert plan.blocked_by == "driver"
    assert plan.nearest is not None
    assert (plan.nearest.torch, plan.nearest.variant) == ("2.0.1", "cu117")
    assert plan.ways_out[0] == "with Python 3.11 instead of Python 3.13: torch 2.0.1 (CUDA 11.7 inside)"
    assert plan.ways_out[1].endswith("torch 2.7.1+cu118")
    assert "update the NVIDIA driver from 470.57.02 to 525.60.13 or newer" in plan.ways_out[2]
    assert plan.ways_out[3] == (
        "if it is updated anyway: from driver 580.65.06 on it would be torch 2.15.0 (CUDA 13.2 inside)"
    )


def test_a_wish_that_no_card_can_serve_tells_why(tables: Tables) -> None:
    plan = choose(target("580.95.05", RTX_5090), Goal(cuda="11.1"), BOTH, tables)
    assert plan.blocked_by == "sm"
    assert any("no code for NVIDIA GeForce RTX 5090" in reason for reason in plan.reasons)
    assert plan.nearest is not None
    assert plan.nearest.variant in {"cu130", "cu132"}


def test_card_without_any_build_is_told_so(tables: Tables) -> None:
    plan = choose(target("470.57.02", K40), Goal(), BOTH, tables)
    assert (plan.blocked_by, plan.nearest) == ("sm", None)
    assert plan.ways_out[0].startswith("no official torch for linux_x86_64 since 1.7.0 has code for the Tesla K40m")


def test_card_that_its_driver_was_seen_to_serve_is_believed(tables: Tables) -> None:
    # The tables say that branch 450 does not know capability 8.6; a serial id proves that this one does.
    seen = TargetGpu(name="NVIDIA A10", capability=capability("8.6"), uuid="GPU-1")
    told = TargetGpu(name="NVIDIA A10", capability=capability("8.6"))
    facts = target("450.80.02")
    for gpu, status in ((seen, "ok"), (told, "conflict")):
        plan = choose(
            PlanTarget(
                python="3.11",
                tag="cp311",
                platform=facts.platform,
                glibc="2.31",
                driver=DriverVersion.parse("450.80.02"),
                gpus=(gpu,),
            ),
            Goal(),
            BOTH,
            tables,
        )
        assert plan.status == status


def test_mixed_cards_are_served_together_where_one_build_can(tables: Tables) -> None:
    plan = choose(target("550.54.14", GTX_1080_TI, RTX_4090), Goal(), BOTH, tables)
    assert plan.choice is not None
    assert plan.choice.variant == "cu126"
    assert plan.gpu is None


def test_card_that_no_build_serves_is_left_out_and_hidden(tables: Tables) -> None:
    plan = choose(target("470.57.02", GT_710, RTX_3090, RTX_3090), Goal(), BOTH, tables)
    assert plan.choice is not None
    assert plan.choice.variant == "cu118"
    assert plan.reasons[0].startswith("no build runs on all cards: the NVIDIA GeForce GT 710")
    assert plan.gpu is not None
    assert plan.gpu.export == "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1,2"


def test_cards_are_named_by_serial_id_where_known(tables: Tables) -> None:
    gpus = (
        TargetGpu(name="GT 710", capability=capability("3.5"), uuid="GPU-a", index=0),
        TargetGpu(name="RTX 3090", capability=capability("8.6"), uuid="GPU-b", index=1),
    )
    plan = choose(target("470.57.02", gpus=gpus), Goal(), BOTH, tables)
    assert plan.gpu is not None
    assert plan.gpu.uuid == "GPU-b"
    assert plan.gpu.export == "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-b"


def test_jetson_boards_are_sent_to_their_own_wheels(tables: Tables) -> None:
    orin: Card = ("Orin (nvgpu)", "8.7")
    facts = target("540.4.0", orin, platform="linux_aarch64", jetson="R36.4.0")
    plan = choose(facts, Goal(), BOTH, tables)
    assert plan.status == "conflict"
    assert any("NVIDIA publishes torch wheels of its own" in way for way in plan.ways_out)


@pytest.mark.parametrize(
    ("packages", "torch"),
    [
        pytest.param(("ultralytics",), "2.13.0", id="newest"),
        pytest.param(("ultralytics==8.1.0",), "2.5.1", id="cannot-load-weights-with-2.6"),
        pytest.param(("ultralytics", "torchvision==0.19.1"), "2.4.1", id="torchvision-decides"),
        pytest.param(("ultralytics", "numpy<2"), "2.13.0", id="numpy-1-is-fine"),
    ],
)
def test_packages_bound_torch(packages: tuple[str, ...], torch: str, tables: Tables) -> None:
    plan = choose(target("550.54.14", RTX_4090), Goal(packages=packages), BOTH, tables)
    assert plan.choice is not None
    assert plan.choice.torch == torch


def test_package_that_cannot_be_met_blocks_as_companion(tables: Tables) -> None:
    goal = Goal(torch="==2.1.2", packages=("ultralytics", "numpy>=2"))
    plan = choose(target("550.54.14", RTX_4090), goal, BOTH, tables)
    assert plan.blocked_by == "companion"
    assert "built against NumPy 1" in plan.reasons[0]


def test_python_too_old_for_ultralytics_blocks_as_interpreter(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090, python="3.6"), Goal(), BOTH, tables)
    assert plan.blocked_by == "interpreter"
    alone = choose(target("470.57.02", RTX_3090, python="3.6"), Goal(packages=()), BOTH, tables)
    assert alone.choice is not None
    assert alone.choice.torch == "1.10.2"


def test_python_3_7_gets_the_last_ultralytics_for_it(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090, python="3.7"), Goal(), BOTH, tables)
    pins = {pin.name: pin.specifier for pin in plan.packages}
    assert pins["torch"].startswith("==1.13.1")
    assert pins["ultralytics"] == ">=8.0,<8.0.152"


def test_extras_are_kept_on_the_package_they_belong_to(tables: Tables) -> None:
    goal = Goal(packages=("ultralytics[export]<9", "pandas[excel]"))
    plan = choose(target("550.54.14", RTX_4090), goal, BOTH, tables)
    pins = {pin.name: pin.specifier for pin in plan.packages}
    assert pins["ultralytics[export]"] == "<9,>=8.2.64"
    assert pins["pandas[excel]"] == ""


@pytest.mark.parametrize("wish", ["opencv-python>=4.12", "opencv-python-headless==4.12.0.88", "numpy~=2.1"])
def test_what_needs_numpy_2_cannot_stand_beside_numpy_1(wish: str, tables: Tables) -> None:
    goal = Goal(torch="==2.1.2", packages=("ultralytics", wish))
    assert choose(target("550.54.14", RTX_4090), goal, BOTH, tables).blocked_by == "companion"


def test_driver_that_is_known_but_does_not_tell_its_cards(tables: Tables) -> None:
    facts = target("550.54.14", RTX_3090, driver_state="unknown", gpu_problem="NVML timed out")
    plan = choose(facts, Goal(), BOTH, tables)
    assert plan.blocked_by == "driver"
    assert plan.reasons == ("what the NVIDIA driver 550.54.14 serves could not be read: NVML timed out",)
    assert plan.nearest is not None
    assert plan.nearest.variant == "cu126"


DRIVERS = ("390.157", "418.87.00", "450.51.05", "470.57.02", "525.60.11", "550.54.14", "580.95.05", "590.44.01")
CARDS = (K40, GTX_1080_TI, RTX_3090, RTX_4090, RTX_5090)


@pytest.mark.parametrize("python", ["3.6", "3.8", "3.11", "3.13", "3.15", "3.16"])
@pytest.mark.parametrize("indexes", [BOTH, REGISTRY_ONLY], ids=["both", "registry"])
def test_every_way_out_is_what_planning_gives_then(
    python: str, indexes: tuple[IndexState, ...], tables: Tables
) -> None:
    """Followed to the letter, together where they are joined by "and"."""
    followed = 0
    for driver, card in product(DRIVERS, CARDS):
        plan = choose(target(driver, card, python=python), Goal(), indexes, tables)
        if plan.status == "ok" or plan.nearest is None:
            continue
        joined = any(way.startswith("and ") for way in plan.ways_out)
        ways = [changed_by(way) for way in plan.ways_out]
        known = [way for way in ways if way is not None]
        for changes in [{key: value for way in known for key, value in way.items()}] if joined else known:
            if "index" in changes:
                continue
            facts = target(changes.get("driver", driver), card, python=changes.get("python", python))
            then = choose(facts, Goal(), indexes, tables)
            assert then.choice is not None, (plan.ways_out, changes)
            assert changes["gives"] in f"torch {then.choice.torch}{then.choice.local_label} ", (plan.ways_out, changes)
            followed += 1
    assert followed > 5


def changed_by(way: str) -> dict[str, str] | None:
    """What a sentence of a way out asks for, and the torch it promises."""
    gives = re.search(r"(torch [\d.]+(?:\+\w+)?)", way)
    if gives is None or "last" in way or "newest torch" in way:
        return None
    changes = {"gives": gives[1] + (" " if "+" in gives[1] else "")}
    if match := re.search(r"with Python (\S+) instead", way):
        changes["python"] = match[1]
    elif match := re.search(r"(?:to|with|version|from driver) (\d{3}(?:\.\d+)*) (?:or newer|on)", way):
        changes["driver"] = match[1]
    else:
        changes["index"] = way
    return changes


def test_the_cpu_is_offered_only_where_it_has_an_answer(tables: Tables) -> None:
    old = choose(target("470.57.02", RTX_3090, python="3.5"), Goal(), BOTH, tables)
    assert old.status == "conflict"
    assert not any("--cuda cpu" in way for way in old.ways_out)


def test_another_build_of_the_torch_asked_for_is_nearer_than_another_torch(tables: Tables) -> None:
    plan = choose(target("550.54.14", RTX_4090), Goal(torch="==2.4.1+cu130"), BOTH, tables)
    assert plan.nearest is not None
    assert plan.nearest.torch == "2.4.1"
    assert any(way.startswith("without the label +cu130: torch 2.4.1") for way in plan.ways_out)


def test_jetson_board_is_not_told_to_update_its_driver(tables: Tables) -> None:
    facts = target("540.3.0", ("Orin (nvgpu)", "8.7"), platform="linux_aarch64", jetson="R36.3")
    plan = choose(facts, Goal(), BOTH, tables)
    assert plan.status == "conflict"
    assert not any("ask the administrator" in way for way in plan.ways_out)
    assert any("developer.download.nvidia.com" in way and "JetPack 6" in way for way in plan.ways_out)

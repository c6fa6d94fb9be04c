"""One stack that runs on all nodes, or the fewest stacks and their nodes; and their locks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import envfix as api
from envfix.app import fleet_planning, planning
from envfix.model.fleet import FleetPlan, Stack
from envfix.model.plan import Plan, PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, DriverVersion
from envfix.render.console import ConsoleOutput
from envfix.resolver import sharing
from tests.fakes.running import cleaned_environment, envfix
from tests.loopback_world import CU118, World, stack, world_in

MACHINES = Path(__file__).resolve().parent / "machines"
PASCAL, AMPERE, OLD = "gtx1080ti-torch-cu128", "driver-470-torch-cu121", "seed-lab-server"
BLACKWELL, BROKEN, NO_CARD = "rtx5090-torch-cu118", "driver-mismatch-needs-reboot", "debian12-container-cpu"


def gathered(folder: Path, **nodes: str) -> Path:
    folder.mkdir(exist_ok=True)
    for node, slug in nodes.items():
        shutil.copy(MACHINES / slug / "snapshot.json", folder / f"{node}.json")
    return folder


def machine(driver: str | None, *cards: str, tag: str = "cp311", glibc: str | None = "2.31") -> PlanTarget:
    return PlanTarget(
        python=f"{tag[2]}.{tag[3:]}",
        tag=tag,
        platform="linux_x86_64",
        libc="glibc",
        glibc=glibc,
        driver=DriverVersion.parse(driver) if driver else None,
        gpus=tuple(
            TargetGpu(name=f"card {card}", capability=ComputeCapability.parse(card), uuid=f"GPU-{index}", index=index)
            for index, card in enumerate(cards)
        ),
        driver_state="works" if driver else "absent",
    )


def test_several_machines_ask_for_what_any_of_them_does() -> None:
    both = sharing.joined([machine("550.54.14", "8.0", "8.0"), machine("470.57.02", "7.0", glibc="2.28")])
    assert both is not None
    assert (str(both.driver), both.glibc) == ("470.57.02", "2.28")
    assert [(card.name, card.index, card.uuid) for card in both.gpus] == [("card 8.0", 0, None), ("card 7.0", 1, None)]
    unknown = sharing.joined([machine("550.54.14", "8.0"), machine("550.54.14", "8.0", glibc=None)])
    assert unknown is not None
    assert unknown.glibc is None


def test_machine_without_a_card_takes_what_the_others_take() -> None:
    both = sharing.joined([machine(None), machine("470.57.02", "7.0")])
    assert both is not None
    assert (str(both.driver), both.driver_state, len(both.gpus)) == ("470.57.02", "works", 1)


def test_machines_that_no_wheel_is_for_together_are_not_joined() -> None:
    assert sharing.joined([machine("470.57.02", "7.0"), machine("470.57.02", "7.0", tag="cp38")]) is None
    other = msgspec.structs.replace(machine("470.57.02", "7.0"), platform="linux_aarch64")
    assert sharing.joined([machine("470.57.02", "7.0"), other]) is None


def fits_within(span: int) -> Callable[[PlanTarget], bool]:
    """A made-up rule: cards of one stack may be so many generations apart."""

    def fits(target: PlanTarget) -> bool:
        generations = [card.capability.major for card in target.gpus if card.capability]
        return max(generations) - min(generations) <= span

    return fits


@pytest.mark.parametrize(
    ("cards", "span", "groups"),
    [
        (["7.0", "8.0", "9.0"], 9, [(0, 1, 2)]),
        (["7.0", "8.0", "9.0"], 1, [(0, 1), (2,)]),
        (["7.0", "9.0", "8.0", "10.0"], 1, [(0, 2), (1, 3)]),
        (["5.0", "8.0", "12.0"], 0, [(0,), (1,), (2,)]),
        ([f"{number}.0" for number in range(1, 13)], 2, [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]),
    ],
)
def test_fewest_groups_are_found(cards: list[str], span: int, groups: list[tuple[int, ...]]) -> None:
    targets = [machine(f"{400 + number}.10", card) for number, card in enumerate(cards)]
    assert sharing.shares(targets, fits_within(span)) == (tuple(groups), True)


def runs_on(*stacks: range | tuple[int, ...]) -> Callable[[PlanTarget], bool]:
    """A made-up rule: each stack runs on cards of these generations."""

    def fits(target: PlanTarget) -> bool:
        generations = {card.capability.major for card in target.gpus if card.capability}
        return any(generations <= set(stack) for stack in stacks)

    return fits


def twelve() -> list[PlanTarget]:
    """Machines of twelve generations; the older the driver, the more a quick look puts together what had better be apart."""
    order = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    return [machine(f"{400 + order.index(number)}.10", f"{number + 1}.0") for number in range(12)]


_STACK = Stack(nodes="gpu1", count=1, names=("gpu1",), plan=Plan(status="conflict", target=machine(None)))
THREE_AT_A_QUICK_LOOK = runs_on(range(1, 7), range(7, 13), (1, 2, 3, 7, 8, 9, 10))


def test_fewest_groups_are_found_where_a_quick_look_finds_more() -> None:
    assert sharing.shares(twelve(), THREE_AT_A_QUICK_LOOK) == ((tuple(range(6)), tuple(range(6, 12))), True)


def test_search_that_takes_too_long_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sharing, "MOST_ASKED", 3)
    found = sharing.shares(twelve(), THREE_AT_A_QUICK_LOOK)
    assert (found.groups, found.fewest) == (((0, 1, 2, 6, 7, 8, 9), (3, 4, 5), (10, 11)), False)
    ConsoleOutput(color=False).fleet_plan(FleetPlan(stacks=(_STACK, _STACK), fewest=found.fewest))
    assert capsys.readouterr().out.startswith("A small set of stacks, perhaps not the smallest: 2.")


def test_machine_that_asks_for_nothing_of_its_own_goes_with_another() -> None:
    """A newer driver and a newer C library: whatever runs on the older ones runs there; nobody need look for it."""
    newer = [machine(f"{500 + number}.10", "8.6", glibc=f"2.{32 + number}") for number in range(30)]
    asked: list[PlanTarget] = []

    def fits(target: PlanTarget) -> bool:
        asked.append(target)
        return True

    assert sharing.shares([*newer, machine("470.57.02", "8.6")], fits) == ((tuple(range(31)),), True)
    assert len(asked) < 100


def test_machine_on_which_a_card_is_left_out_takes_no_other_with_it() -> None:
    """The card that is left out may be the only one of the other."""
    both, one = machine("550.54.14", "5.0", "12.0"), machine("550.54.14", "5.0")
    assert sharing.shares([both, one], fits_within(0)) == (((0,), (1,)), True)


def test_machines_of_other_pythons_are_looked_at_by_themselves() -> None:
    targets = [
        machine(f"{450 + 10 * step}.10", f"{number}.0", tag=tag)
        for tag in ("cp310", "cp311")
        for step, number in enumerate((7, 8, 9))
    ]
    assert sharing.shares(targets, fits_within(1)) == (((0, 1), (3, 4), (2,), (5,)), True)


def plan(folder: Path, **wishes: object) -> FleetPlan:
    wanted: dict[str, object] = {"offline": True, "indexes": ("official",), "packages": ("none",), **wishes}
    request = planning.request_of(
        cuda="auto",
        cuda_exact=False,
        torch=None,
        snapshot=str(folder),
        **wanted,  # type: ignore[arg-type] # what is given
    )
    return fleet_planning.plan(request)


def test_one_stack_runs_on_all_nodes(tmp_path: Path) -> None:
    """The oldest driver and every card decide, and what is chosen really runs on each of them by itself."""
    found = plan(gathered(tmp_path / "all", gpu1=AMPERE, gpu2=AMPERE, gpu3=PASCAL, gpu4=OLD))
    (stack,) = found.stacks
    assert (stack.nodes, stack.count, found.stuck, found.unreached, found.complete) == ("gpu[1-4]", 4, (), (), True)
    choice = stack.plan.choice
    assert choice is not None
    for slug in (AMPERE, PASCAL, OLD):
        alone = api.plan_for(
            MACHINES / slug / "snapshot.json",
            torch=f"=={choice.torch}{choice.local_label}",
            packages=("none",),
            indexes=("official",),
        )
        assert alone.choice is not None, slug
        assert (alone.choice.torch, alone.choice.variant) == (choice.torch, choice.variant)


def test_other_nodes_get_stacks_of_their_own_and_broken_ones_a_reason(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu1=AMPERE, gpu2=PASCAL, gpu9=BLACKWELL, gpu8=BROKEN)
    (folder / "lost.json").write_text('{"schema": "envfix.unreached/1", "reason": "it is down"}')
    found = plan(folder, target="3.11")
    assert [(stack.nodes, stack.plan.status) for stack in found.stacks] == [("gpu[1-2]", "ok"), ("gpu9", "ok")]
    chosen = [stack.plan.choice.variant for stack in found.stacks if stack.plan.choice]
    assert chosen[0] == "cu118"
    assert chosen[1] in ("cu128", "cu130", "cu132")
    (stuck,) = found.stuck
    assert (stuck.nodes, stuck.reason.partition(":")[0]) == ("gpu8", "the NVIDIA driver is broken")
    assert stuck.ways_out[0].startswith("reboot the machine")
    assert [(row.nodes, row.reason) for row in found.unreached] == [("lost", "it is down")]
    assert not found.complete


def test_what_a_node_calls_its_parts_does_not_hurt_the_others(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu1=AMPERE, gpu2=PASCAL, gpu8=BROKEN)
    for node, old, new in (("gpu2", "NVIDIA GeForce GTX 1080 Ti", "::"), ("gpu8", '"550.163.01"', '"<script>x"')):
        text = (folder / f"{node}.json").read_text()
        assert old in text
        (folder / f"{node}.json").write_text(text.replace(old, new))
    found = plan(folder, target="3.11")
    assert [(stack.nodes, stack.plan.status) for stack in found.stacks] == [("gpu[1-2]", "ok")]
    assert [(row.nodes, row.reason.partition(":")[0]) for row in found.stuck] == [
        ("gpu8", "the NVIDIA driver is broken")
    ]


def test_command_tells_stacks_as_text_and_as_json(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu1=AMPERE, gpu2=PASCAL, login=NO_CARD)
    options = ("--from", str(folder), "--python", "3.11", "--offline", "--index", "official", "--with", "none")
    done = envfix("plan", *options)
    assert done.code == 0, done
    assert done.stdout.startswith(
        "One stack runs on all nodes.\ngpu[1-2], login (3 nodes): torch 2.7.1+cu118 (CUDA inside: cu118), torchvision"
    )
    document = envfix("plan", *options, "--json").document
    assert (document["schema"], document["status"]) == ("envfix.fleet-plan/1", "ok")
    (stack,) = document["stacks"]
    assert (stack["nodes"], stack["names"]) == ("gpu[1-2],login", ["gpu1", "gpu2", "login"])
    assert stack["plan"]["choice"]["torch"] == "2.7.1"


def test_what_makes_no_sense_for_a_folder_is_refused(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu1=AMPERE)
    done = envfix("plan", "--from", str(folder), "--driver", "550.54.14", "--gpu", "RTX 4090")
    assert (done.code, done.stderr.splitlines()[0]) == (2, "error: --from FOLDER plans for the nodes as they are")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Indexes on loopback that hold torch for CUDA 11.8."""
    with world_in(tmp_path) as made:
        made["official"].add("cu118", *CU118)
        yield made


def test_plan_and_lock_of_all_nodes(world: World, tmp_path: Path) -> None:
    folder = gathered(tmp_path / "nodes", gpu1=AMPERE, gpu2=PASCAL)
    options = ("--from", str(folder), "--python", "3.11", "--with", "none")
    planned = envfix("plan", *options, "--json", env=world.environment(), timeout=120)
    (stack,) = planned.document["stacks"]
    assert (stack["nodes"], stack["plan"]["choice"]["local_label"]) == ("gpu[1-2]", "+cu118")
    assert stack["plan"]["download_bytes"] > 0
    done = envfix("lock", *options, "-o", str(tmp_path / "requirements-lock.txt"), env=world.environment(), timeout=120)
    assert done.code == 0, done
    assert done.stdout.startswith("for gpu[1-2] (2 nodes):\nlocked:")
    text = (tmp_path / "requirements-lock.txt").read_text()
    assert f"#sha256={CU118[0].sha256}\n" in text
    for node in ("gpu1", "gpu2"):
        check = ("lock", "--check", str(tmp_path / "requirements-lock.txt"), "--from", str(folder / f"{node}.json"))
        checked = envfix(*check, "--python", "3.11", "--json", env=cleaned_environment(), timeout=60).document
        assert checked["status"] == "ok", checked


def test_each_of_several_stacks_has_a_lock_in_a_folder_of_its_own(world: World, tmp_path: Path) -> None:
    world["official"].add("cu128", *stack("2.7.1", "0.22.1", "+cu128"))
    folder = gathered(tmp_path / "nodes", gpu1=AMPERE, gpu2=PASCAL, gpu9=BLACKWELL)
    options = ("--from", str(folder), "--python", "3.11", "--with", "none", "--torch", "==2.7.1")
    refused = envfix("lock", *options, env=world.environment(), timeout=120)
    assert (refused.code, refused.stderr.splitlines()[-2]) == (2, "error: 2 stacks do not fit on one screen")
    done = envfix("lock", *options, "-o", str(tmp_path / "locks"), "--json", env=world.environment(), timeout=120)
    document = done.document
    assert [row["plan"] for row in document["locks"]] == [None, None]
    assert (done.code, document["schema"], document["stuck"]) == (0, "envfix.fleet-lock/1", [])
    found = {row["nodes"]: row["lock"]["files"][0]["path"] for row in document["locks"]}
    assert found == {
        "gpu[1-2]": f"{tmp_path}/locks/stack1/requirements-lock.txt",
        "gpu9": f"{tmp_path}/locks/stack2/requirements-lock.txt",
    }
    assert "2.7.1%2Bcu128" in Path(found["gpu9"]).read_text()

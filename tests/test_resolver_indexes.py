"""What indexes are seen to hold: listings confirm and extend the tables, mirrors step in, folders count only whole stacks."""

from __future__ import annotations

import pytest

from envfix.model.facts import IndexState
from envfix.model.plan import Goal, Plan
from envfix.resolver.choose import choose
from envfix.tables.loader import Tables
from tests.resolver_fixtures import (
    BASE,
    BOTH,
    OFFICIAL,
    REGISTRY,
    REGISTRY_ONLY,
    RTX_3090,
    RTX_4090,
    UNREACHABLE,
    target,
)

CPU_TORCH = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
CPU_VISION = "torchvision-0.28.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
TAIL = "cp311-cp311-manylinux_2_28_x86_64.whl"


def folder(*files: str) -> IndexState:
    return IndexState(name="find-links", location="/opt/wheels", reachable=True, files=files)


def listed(*files: str) -> IndexState:
    return IndexState(name="official", location=BASE, reachable=True, files=files)


def chosen(plan: Plan) -> tuple[str, str, str, str]:
    assert plan.choice is not None
    choice = plan.choice
    return choice.torch + choice.local_label, choice.variant, choice.index, choice.confidence


def test_cpu_torch_in_a_folder_is_not_taken_without_its_torchvision(tables: Tables) -> None:
    plan = choose(target(), Goal(), (*REGISTRY_ONLY, folder(CPU_TORCH)), tables)
    assert chosen(plan) == ("2.15.0", "cu132", "pypi", "verified")
    row = next(row for row in plan.rejected if (row.torch, row.variant) == ("2.13.0", "cpu"))
    assert row.because == "companion"
    assert "operator torchvision::nms does not exist" in row.text
    assert any("torchvision::nms" in reason for reason in plan.reasons)


def test_cpu_torch_in_a_folder_is_taken_alone(tables: Tables) -> None:
    plan = choose(target(), Goal(packages=()), (*REGISTRY_ONLY, folder(CPU_TORCH)), tables)
    assert chosen(plan) == ("2.13.0+cpu", "cpu", "find-links", "observed")
    assert plan.choice is not None
    assert plan.choice.torchvision is None
    assert [pin.name for pin in plan.packages] == ["torch"]


def test_whole_stack_in_a_folder_is_taken(tables: Tables) -> None:
    plan = choose(target(), Goal(), (*REGISTRY_ONLY, folder(CPU_TORCH, CPU_VISION)), tables)
    assert chosen(plan) == ("2.13.0+cpu", "cpu", "find-links", "observed")
    assert plan.commands[0][4:8] == ("--no-deps", "--no-index", "--find-links", "/opt/wheels")


def test_files_in_a_folder_for_other_platforms_and_garbage_are_passed_over(tables: Tables) -> None:
    junk = (
        "torch-2.13.0+cpu-cp311-cp311-win_amd64.whl",
        "torch-nonsense.whl",
        "torch-2.13.0+rocm6.4-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-9.9.9-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.16.0.dev20261101+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "<html>",
        "",
    )
    plain = choose(target(), Goal(packages=()), REGISTRY_ONLY, tables)
    assert chosen(choose(target(), Goal(packages=()), (*REGISTRY_ONLY, folder(*junk)), tables)) == chosen(plain)


def test_listing_confirms_what_was_only_inferred(tables: Tables) -> None:
    files = (f"torch-2.14.1%2Bcu126-{TAIL}", f"torchvision-0.29.1%2Bcu126-{TAIL}")
    plan = choose(target("550.54.14", RTX_4090), Goal(), (listed(*files), REGISTRY), tables)
    assert chosen(plan) == ("2.14.1+cu126", "cu126", "official", "observed")


def test_listing_of_torch_without_its_torchvision_is_no_stack(tables: Tables) -> None:
    files = (f"torch-2.14.1+cu126-{TAIL}", f"torchvision-0.28.0+cu126-{TAIL}")
    plan = choose(target("550.54.14", RTX_4090), Goal(torch="==2.14.1"), (listed(*files), REGISTRY), tables)
    assert plan.status == "conflict"
    row = next(row for row in plan.rejected if row.variant == "cu126" and row.torch == "2.14.1")
    assert row.because == "companion"


def test_listing_adds_a_file_for_an_interpreter_that_the_tables_lack(tables: Tables) -> None:
    files = (
        "torch-2.7.1+cu118-cp314-cp314-manylinux_2_28_x86_64.whl",
        "torchvision-0.22.1+cu118-cp314-cp314-manylinux_2_28_x86_64.whl",
    )
    plan = choose(target("470.57.02", RTX_3090, python="3.14"), Goal(), (listed(*files), REGISTRY), tables)
    assert chosen(plan) == ("2.7.1+cu118", "cu118", "official", "observed")


def test_listing_without_the_file_rules_it_out(tables: Tables) -> None:
    listing = listed(f"torch-2.6.0+cu118-{TAIL.replace('manylinux_2_28', 'linux')}")
    plan = choose(target("470.57.02", RTX_3090), Goal(), (listing, REGISTRY), tables)
    row = next(row for row in plan.rejected if (row.torch, row.variant) == ("2.7.1", "cu118"))
    assert row.because == "index"
    assert "does not hold torch-2.7.1+cu118" in row.text


def test_newer_torch_on_an_index_is_reported_not_planned(tables: Tables) -> None:
    listing = IndexState(
        name="pypi", location="", reachable=True, files=(f"torch-9.1.0-{TAIL}", f"torch-2.15.0-{TAIL}")
    )
    plan = choose(target(), Goal(), (UNREACHABLE, listing), tables)
    assert any(reason.startswith("torch 9.1.0 is out") for reason in plan.reasons)


def test_mirror_steps_in_for_the_official_index(tables: Tables) -> None:
    mirror = IndexState(name="nju", location="https://mirrors.nju.edu.cn/pytorch/whl", reachable=True)
    plan = choose(target("470.57.02", RTX_3090), Goal(), (*REGISTRY_ONLY, mirror), tables)
    assert chosen(plan)[:3] == ("2.7.1+cu118", "cu118", "nju")
    assert plan.choice is not None
    assert plan.choice.index_url == "https://mirrors.nju.edu.cn/pytorch/whl/cu118"
    assert {pin.index for pin in plan.packages} == {"nju", "pypi"}


def test_mirror_that_is_only_a_listing_is_used_as_find_links(tables: Tables) -> None:
    mirror = IndexState(name="aliyun", location="https://mirrors.aliyun.com/pytorch-wheels", reachable=True)
    plan = choose(target("470.57.02", RTX_3090), Goal(), (*REGISTRY_ONLY, mirror), tables)
    assert plan.commands[0][5:8] == (
        "--no-index",
        "--find-links",
        "https://mirrors.aliyun.com/pytorch-wheels/cu118/",
    )


def test_mirror_is_not_expected_to_hold_what_was_never_seen_there(tables: Tables) -> None:
    mirror = IndexState(name="sjtu", location="https://mirror.sjtu.edu.cn/pytorch-wheels", reachable=True)
    plan = choose(target(), Goal(cuda="cpu", cuda_exact=True), (*REGISTRY_ONLY, mirror), tables)
    assert plan.blocked_by == "index"


def test_address_of_a_variant_folder_is_known_as_the_official_index(tables: Tables) -> None:
    extra = IndexState(name=f"{BASE}/cu118", location=f"{BASE}/cu118", reachable=True)
    plan = choose(target("470.57.02", RTX_3090), Goal(), (extra, REGISTRY), tables)
    assert plan.choice is not None
    assert plan.choice.index_url == f"{BASE}/cu118"


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        pytest.param(("pypi",), ("2.0.1", "cu117", "pypi"), id="registry"),
        pytest.param(("official",), ("2.7.1+cu118", "cu118", "official"), id="official"),
        pytest.param((BASE,), ("2.7.1+cu118", "cu118", "official"), id="by-address"),
        pytest.param(("official", "pypi"), ("2.7.1+cu118", "cu118", "official"), id="both"),
    ],
)
def test_index_option_narrows_where_torch_comes_from(
    indexes: tuple[str, ...], expected: tuple[str, str, str], tables: Tables
) -> None:
    plan = choose(target("470.57.02", RTX_3090), Goal(indexes=indexes), BOTH, tables)
    assert chosen(plan)[:3] == expected


def test_mirror_named_while_offline_is_taken_as_reachable(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090), Goal(indexes=("nju",), offline=True), (), tables)
    assert chosen(plan)[:3] == ("2.7.1+cu118", "cu118", "nju")


def test_nothing_asked_means_both_are_taken_as_reachable_and_that_is_said(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090), Goal(offline=True), (), tables)
    assert chosen(plan)[2] == "official"
    assert "the official index and the default registry were not asked; taken as reachable" in plan.reasons


def test_index_that_was_not_asked_does_not_count(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090), Goal(), (REGISTRY,), tables)
    assert chosen(plan)[2] == "pypi"
    assert any(reason.startswith("the official index was not asked") for reason in plan.reasons)


def test_no_index_at_all_is_an_index_conflict(tables: Tables) -> None:
    dead = IndexState(name="pypi", location="", reachable=False, problem="no network")
    plan = choose(target("470.57.02", RTX_3090), Goal(), (UNREACHABLE, dead), tables)
    assert plan.blocked_by == "index"
    assert plan.nearest is not None
    assert plan.nearest.variant == "cu118"


def test_old_torchaudio_comes_from_the_registry(tables: Tables) -> None:
    goal = Goal(torch="==1.9.0+cu111", packages=("ultralytics", "torchaudio"))
    plan = choose(target("455.23.05", RTX_3090, python="3.8"), goal, (OFFICIAL, REGISTRY), tables)
    pins = {pin.name: (pin.specifier, pin.index) for pin in plan.packages}
    assert pins["torchvision"] == ("==0.10.0+cu111", "official")
    assert pins["torchaudio"] == ("==0.9.0", "pypi")

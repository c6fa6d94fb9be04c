"""The packages beside torch: nothing is planned that cannot exist because of what was asked of them."""

from __future__ import annotations

import pytest

from envfix.model.plan import Goal, Plan
from envfix.resolver.choose import choose
from envfix.tables.loader import Tables
from tests.resolver_fixtures import BOTH, GTX_1080_TI, target


def planned(tables: Tables, *packages: str, offline: bool = True, **facts: str) -> Plan:
    machine = target(python=facts.pop("python", "3.11"), **facts)
    return choose(machine, Goal(packages=packages, offline=offline), () if offline else BOTH, tables)


def specifier(plan: Plan, name: str) -> str:
    return next(pin.specifier for pin in plan.packages if pin.name == name)


def because(plan: Plan) -> set[tuple[str, str]]:
    return {(row.because, row.text) for row in plan.rejected}


def test_a_release_before_yolov8_is_not_bounded_to_yolov8(tables: Tables) -> None:
    plan = planned(tables, "ultralytics<8")
    assert (plan.status, specifier(plan, "ultralytics")) == ("ok", "<8")


def test_bounds_are_told_without_what_they_say_twice(tables: Tables) -> None:
    assert specifier(planned(tables, "ultralytics>=8.3"), "ultralytics") == ">=8.3"
    assert specifier(planned(tables, "ultralytics>=8.1", "ultralytics>=8.2"), "ultralytics") == ">=8.2.64"
    assert specifier(planned(tables, "ultralytics==8.3.20"), "ultralytics") == "==8.3.20"


def test_a_release_older_than_the_first_is_what_blocks(tables: Tables) -> None:
    plan = planned(tables, "ultralytics<0.0.10")
    assert (plan.status, plan.blocked_by) == ("conflict", "request")
    assert ("request", "there is no release ultralytics<0.0.10: the first was 0.0.13") in because(plan)


def test_a_release_newer_than_the_tables_is_taken_only_where_an_index_can_be_asked(tables: Tables) -> None:
    plan = planned(tables, "ultralytics==99")
    assert (plan.status, plan.blocked_by) == ("conflict", "request")
    assert any("the newest they know is 8.4.190" in text for _, text in because(plan))
    assert planned(tables, "ultralytics==99", offline=False).status == "ok"


@pytest.mark.parametrize(
    ("numpy", "python", "fits"),
    [
        ("==2.1", "3.9", False),
        ("==2.0", "3.9", True),
        (">=2.3", "3.10", False),
        (">=2.3,<3", "3.11", True),
        ("<3", "3.9", True),
    ],
)
def test_numpy_needs_its_own_python(tables: Tables, numpy: str, python: str, *, fits: bool) -> None:
    plan = planned(tables, f"numpy{numpy}", python=python)
    assert (plan.status == "ok") is fits
    if not fits:
        assert plan.blocked_by == "interpreter"
        assert any(text == f"numpy{numpy} does not run on Python {python}" for _, text in because(plan))


def test_extras_that_pin_torch_count_where_they_do(tables: Tables) -> None:
    asked = Goal(packages=("ultralytics[export]",), torch=">=2.15", cuda="cpu")
    arm = choose(target(platform="linux_aarch64", glibc="2.35"), asked, BOTH, tables)
    assert arm.status == "conflict"
    assert any(
        text.startswith("ultralytics[export] asks for torch>=2.12.0,<2.15.0 here, not 2.15.0")
        for constraint, text in because(arm)
        if constraint == "companion"
    )
    assert choose(target(glibc="2.35"), asked, BOTH, tables).status == "ok"


def test_extras_of_which_nobody_knows_the_torch_are_told(tables: Tables) -> None:
    plan = planned(tables, "ultralytics[export-executorch]")
    assert any(reason.startswith("ultralytics[export-executorch] may ask for another torch") for reason in plan.reasons)


def test_a_disputed_list_of_architectures_loses_to_a_verified_one(tables: Tables) -> None:
    machine = target("470.57.02", GTX_1080_TI, python="3.8")
    plan = choose(machine, Goal(torch="==1.8.0", offline=True), (), tables)
    assert plan.choice is not None
    assert plan.choice.variant == "cu102"
    named = choose(machine, Goal(torch="==1.8.0+cu111", offline=True), (), tables)
    assert named.choice is not None
    assert named.choice.variant == "cu111"
    assert any("1.8.1 is the safer choice" in reason for reason in named.reasons)

"""What diagnose says of the time after the first cause is mended: faults stack."""

from __future__ import annotations

import msgspec

from envfix.app.diagnosing import diagnose
from envfix.app.foreseeing import foresee
from envfix.model.facts import Environment, Machine, Startup, absent, found
from envfix.model.plan import Goal
from envfix.model.report import Afterwards
from envfix.resolver.choose import choose
from envfix.resolver.predict import predicted
from envfix.resolver.target import Elsewhere, describe
from envfix.tables.loader import Tables
from tests.made_up import IDLE, NO_TORCH, PYTHON, VIA_POLICY, card, environment, machine, torch

WITHOUT = environment(
    torch=NO_TORCH,
    torchvision=absent("-"),
    interpreter=found(msgspec.structs.replace(PYTHON, version="3.11.9", tag="cp311"), "-"),
)


def afterwards(machine_facts: Machine, environment_facts: Environment, tables: Tables) -> Afterwards | None:
    return foresee(machine_facts, environment_facts, diagnose(machine_facts, environment_facts, tables), tables)


def test_missing_torch_is_followed_by_the_stack_that_mends_it(tables: Tables) -> None:
    then = afterwards(machine("550.54.14"), WITHOUT, tables)
    assert then is not None
    assert then.plan.choice is not None
    assert (then.plan.choice.torch, then.plan.choice.variant) == ("2.13.0", "cu126")
    assert then.findings == ()


def test_driver_that_no_torch_runs_on_is_told_before_anybody_installs(tables: Tables) -> None:
    then = afterwards(machine("390.157", [card("GeForce RTX 3090", "8.6")]), WITHOUT, tables)
    assert then is not None
    assert then.plan.choice is None
    assert then.plan.blocked_by == "driver"
    assert any("ask the administrator" in way for way in then.plan.ways_out)


def test_fault_that_hides_behind_the_missing_torch_is_foreseen(tables: Tables) -> None:
    """Only a torch with CUDA is hurt by a CUDA library of another release on the loader's path; here nothing is yet."""
    startup = Startup(variables={"PYTHONPATH": "/old"}, copies=())
    hidden = msgspec.structs.replace(WITHOUT, startup=found(startup, "-"))
    plan = choose(
        describe(machine("550.54.14"), hidden.interpreter, Elsewhere(), tables), Goal(offline=True), (), tables
    )
    later = predicted(hidden, plan, tables)
    assert later.torch.value is not None
    assert later.torch.value.build == "2.13.0+cu126"
    assert {finding.severity.value for finding in diagnose(machine("550.54.14"), later, tables).findings} <= {"info"}


def test_planned_stack_is_healthy_on_every_kind_of_card(tables: Tables) -> None:
    """What the resolver takes, the rules accept: no finding about torch, torchvision, driver or card remains."""
    for version, cards in (
        ("470.57.02", [card()]),
        ("550.54.14", [card("NVIDIA GeForce RTX 4090", "8.9")]),
        ("580.95.05", [VIA_POLICY]),
        ("535.183.01", [card("NVIDIA GeForce GTX 1080 Ti", "6.1")]),
        ("580.95.05", [card("Tesla V100-SXM2-32GB", "7.0")]),
        ("580.95.05", [card(), IDLE]),
        (None, []),
    ):
        facts = machine(version, cards)
        then = afterwards(facts, WITHOUT, tables)
        assert then is not None
        assert then.plan.choice is not None, (version, cards)
        assert then.findings == (), (version, cards)


def test_healthy_machine_needs_no_foresight(tables: Tables) -> None:
    assert afterwards(machine(), environment(torch=torch()), tables) is None

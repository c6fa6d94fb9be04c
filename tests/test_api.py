"""`envfix.plan`: what other programs import."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import envfix
from envfix.errors import UsageError
from envfix.tables.loader import Tables


def test_plan_from_facts_alone(tables: Tables) -> None:
    plan = envfix.plan(python="3.11", driver="470.57.02", gpus=["RTX 3090"], tables=tables)
    assert plan.status == "ok"
    assert plan.choice is not None
    assert (plan.choice.torch, plan.choice.variant, plan.choice.torchvision) == ("2.7.1", "cu118", "0.22.1")


def test_plan_without_cards_is_for_the_cpu(tables: Tables) -> None:
    plan = envfix.plan(python="3.11", tables=tables)
    assert plan.choice is not None
    assert plan.choice.variant == "cpu"


def test_cards_without_a_driver_are_never_planned_for_the_cpu(tables: Tables) -> None:
    plan = envfix.plan(python="3.11", gpus=["RTX 3090"], tables=tables)
    assert (plan.status, plan.blocked_by, plan.choice) == ("conflict", "driver", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"python": "three"},
        {"python": "3.11", "platform": "amiga"},
        {"python": "3.11", "driver": "new", "gpus": ["RTX 3090"]},
        {"python": "3.11", "driver": "550.54.14", "gpus": ["RTX 12345"]},
        {"python": "3.11", "cuda": "99"},
        {"python": "3.11", "torch": "newest"},
    ],
    ids=["python", "platform", "driver", "gpu", "cuda", "torch"],
)
def test_nonsense_is_refused(tables: Tables, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        envfix.plan(**wrong, tables=tables)  # type: ignore[arg-type]


def test_importing_envfix_imports_no_resolver() -> None:
    code = "import sys, envfix; print([name for name in sys.modules if name.startswith('envfix.')])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['envfix._version']"


def test_many_plans_take_milliseconds_each(tables: Tables) -> None:
    cards = ["RTX 3090", "RTX 4090", "GTX 1080 Ti", "Tesla V100", "RTX 5090", "A100", "Tesla T4", "H100"]
    drivers = ["450.80.02", "455.23.05", "470.57.02", "525.60.13", "535.183.01", "550.54.14", "580.95.05"]
    pythons = ["3.8", "3.9", "3.10", "3.11", "3.12"]
    started = time.process_time()
    plans = [
        envfix.plan(python=python, driver=driver, gpus=[card], tables=tables)
        for card in cards
        for driver in drivers
        for python in pythons
    ]
    # 10 000 plans in a minute are 6 ms each; three times that catches a lost cache on any machine.
    assert (time.process_time() - started) / len(plans) < 0.018
    assert {plan.status for plan in plans} == {"ok", "conflict"}

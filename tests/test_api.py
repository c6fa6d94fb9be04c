"""`envfix.plan`: what other programs import."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import envfix
from envfix.errors import SnapshotError, UsageError
from envfix.snapshots import read
from envfix.tables.loader import Tables

MACHINES = Path(__file__).resolve().parent / "machines"


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


@pytest.mark.parametrize("python", ["3.11", "3.11.4", "3.11.4rc1", "3.15.0b2", "3.13t", "3.13.1t"])
def test_pythons_that_are_read(tables: Tables, python: str) -> None:
    plan = envfix.plan(python=python, tables=tables)
    assert (plan.status, plan.target.python) == ("ok", python)


def test_one_text_is_a_list_of_one(tables: Tables) -> None:
    described = envfix.plan(
        python="3.11", driver="470.57.02", gpus=["RTX 3090"], packages=["pandas"], indexes=["pypi"], tables=tables
    )
    assert described == envfix.plan(
        python="3.11", driver="470.57.02", gpus="RTX 3090", packages="pandas", indexes="pypi", tables=tables
    )
    assert envfix.plan(python="3.11", gpus="none", tables=tables).status == "ok"


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        (["pypi"], ("2.0.1", "cu117", "pypi")),
        (["official"], ("2.7.1", "cu118", "official")),
        (["nju", "pypi"], ("2.7.1", "cu118", "nju")),
        ([envfix.IndexState(name="pypi", location="", reachable=True)], ("2.0.1", "cu117", "pypi")),
        (["official", envfix.IndexState(name="pypi", location="", reachable=True)], ("2.7.1", "cu118", "official")),
    ],
)
def test_indexes_by_name_or_by_what_they_answered(
    tables: Tables, indexes: list[str | envfix.IndexState], expected: tuple[str, str, str]
) -> None:
    plan = envfix.plan(python="3.11", driver="470.57.02", gpus=["RTX 3090"], indexes=indexes, tables=tables)
    assert plan.choice is not None
    assert (plan.choice.torch, plan.choice.variant, plan.choice.index) == expected


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        ({"python": 3.11}, "python=3.11 is not text", 'python="3.11"'),
        ({"driver": 550}, "driver=550 is not text", 'driver="550"'),
        ({"driver": ""}, "driver: not a driver version", "550.54.14"),
        ({"cuda": ""}, "cuda is empty", "11.8"),
        ({"cuda": 11.8}, "cuda=11.8 is not text", 'cuda="11.8"'),
        ({"torch": 2}, "torch=2 is not text", 'torch="2"'),
        ({"packages": [1]}, "packages=1 is not text", 'packages="1"'),
        ({"packages": None}, "packages=None is not a list of texts", "packages="),
        ({"gpus": 3090}, "gpus=3090 is not a list of texts", 'gpus=["3090"]'),
        ({"gpus": ["RTX 12345"]}, "gpus=RTX 12345: this card is not in the tables", 'gpus="RTX 12345:CAPABILITY"'),
        ({"indexes": ["banana"]}, "indexes='banana' is neither", "official"),
        ({"indexes": [7]}, "indexes=7 is not text", 'indexes="7"'),
        ({"glibc": "foo"}, "glibc='foo' is not a glibc version", "2.31"),
        ({"glibc": 2.31}, "glibc=2.31 is not text", 'glibc="2.31"'),
        ({"platform": "amiga"}, "platform='amiga' is not known", "linux_x86_64"),
        ({"python": "three"}, "python='three' is not a CPython version", "3.11"),
        (
            {"packages": ["ultralytics>=9", "ultralytics<8"]},
            "packages='ultralytics>=9' and packages='ultralytics<8'",
            "one range",
        ),
        ({"cuda": "11.8", "torch": "==2.4.1+cu121"}, "torch===2.4.1+cu121 and cuda=11.8 contradict", "only one"),
    ],
)
def test_wrong_usage_is_told_in_the_words_of_the_api(
    tables: Tables, wrong: dict[str, object], says: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        envfix.plan(**{"python": "3.11", **wrong}, tables=tables)  # type: ignore[arg-type]
    assert says in caught.value.message
    assert hint in str(caught.value.hint)
    assert "--" not in f"{caught.value.message} {caught.value.hint}".replace("--query-gpu", "").replace("--format", "")


def test_a_recorded_machine_is_planned_for(tables: Tables) -> None:
    path = MACHINES / "driver-470-torch-cu121" / "snapshot.json"
    plan = envfix.plan_for(path, tables=tables)
    assert plan == envfix.plan_for(str(path), tables=tables)
    assert plan == envfix.plan_for(read(path.read_text(encoding="utf-8"), "it"), tables=tables)
    assert (plan.target.python[:4], str(plan.target.driver)) == ("3.8.", "470.57.02")
    assert plan.choice is not None
    assert (plan.choice.torch, plan.choice.variant) == ("2.4.1", "cu118")


def test_a_recorded_machine_may_be_changed(tables: Tables) -> None:
    plan = envfix.plan_for(
        MACHINES / "rtx5090-torch-cu118" / "snapshot.json",
        python="3.8",
        driver="470.57.02",
        gpus=["RTX 3090"],
        glibc="2.31",
        tables=tables,
    )
    assert (plan.target.tag, str(plan.target.driver), plan.target.glibc) == ("cp38", "470.57.02", "2.31")
    assert plan.choice is not None
    assert plan.choice.variant == "cu118"


def test_a_broken_recorded_machine_is_a_conflict(tables: Tables) -> None:
    plan = envfix.plan_for(MACHINES / "driver-mismatch-needs-reboot" / "snapshot.json", tables=tables)
    assert (plan.status, plan.blocked_by) == ("conflict", "driver")


def test_cards_on_a_recorded_machine_without_a_driver_need_one(tables: Tables) -> None:
    with pytest.raises(UsageError, match="gpus needs driver too"):
        envfix.plan_for(MACHINES / "debian12-container-cpu" / "snapshot.json", gpus=["RTX 3090"], tables=tables)


def test_what_is_no_snapshot_is_refused(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot read"):
        envfix.plan_for(tmp_path / "nothing.json", tables=tables)
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SnapshotError, match="not an envfix snapshot"):
        envfix.plan_for(tmp_path / "other.json", tables=tables)


def test_all_names_of_the_package_can_be_imported() -> None:
    assert all(getattr(envfix, name) is not None for name in envfix.__all__)


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

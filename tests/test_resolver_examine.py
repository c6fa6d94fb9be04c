"""`envfix plan --why-not`: one build, filter by filter."""

from __future__ import annotations

import pytest

from envfix.errors import UsageError
from envfix.model.plan import Examination, Goal, PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, DriverVersion
from envfix.resolver.choose import why_not
from envfix.tables.loader import Tables


def target(driver: str = "550.54.14", tag: str = "cp311") -> PlanTarget:
    return PlanTarget(
        python=tag.removeprefix("cp3"),
        tag=tag,
        platform="linux_x86_64",
        libc="glibc",
        glibc="2.35",
        driver=DriverVersion.parse(driver),
        gpus=(TargetGpu(name="RTX 4090", capability=ComputeCapability.of(8, 9), index=0),),
    )


def refusals(examination: Examination) -> set[str]:
    return {check.constraint for check in examination.checks if not check.fits}


def test_every_filter_is_asked_and_only_the_blocking_one_refuses(tables: Tables) -> None:
    official = next(one for one in why_not("2.13.0+cu130", target(), Goal(), (), tables) if one.index == "official")
    assert refusals(official) == {"driver"}
    assert len(official.checks) == 8
    assert "580.65.06" in next(check.text for check in official.checks if not check.fits)


def test_several_reasons_are_all_told(tables: Tables) -> None:
    # Python 3.8 has no wheel of 2.13.0, and the driver is too old for CUDA 13 as well.
    official = next(
        one for one in why_not("2.13.0+cu130", target(tag="cp38"), Goal(), (), tables) if one.index == "official"
    )
    assert refusals(official) == {"interpreter", "driver"}


def test_the_build_that_is_planned_says_so(tables: Tables) -> None:
    answers = why_not("2.13.0+cu126", target(), Goal(), (), tables)
    assert any("it is what is planned" in one.verdict for one in answers)


def test_a_release_in_two_numbers_is_its_first(tables: Tables) -> None:
    assert why_not("2.13", target(), Goal(), (), tables) == why_not("2.13.0", target(), Goal(), (), tables)
    assert why_not("2.13+cu130", target(), Goal(), (), tables) == why_not("2.13.0+cu130", target(), Goal(), (), tables)


def test_a_build_that_fits_names_the_better_one(tables: Tables) -> None:
    older = next(one for one in why_not("2.6.0+cu124", target(), Goal(), (), tables) if one.index == "official")
    assert refusals(older) == set()
    assert "torch 2.13.0+cu126 is the better answer" in older.verdict


@pytest.mark.parametrize(
    ("asked", "says"),
    [("2.0.0+cu121", "cu117 and cu118"), ("cu134", "cu134"), ("9.9.9", "9.9.9"), ("yes please", "names no build")],
)
def test_builds_that_do_not_exist_are_refused_with_what_does(tables: Tables, asked: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        why_not(asked, target(), Goal(), (), tables)

"""What holds for every machine, card, Python and request: checked on thousands of drawn cases, and on time."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from envfix.model.documents import from_builtins, to_builtins
from envfix.model.facts import IndexState
from envfix.model.plan import Choice, Goal, Plan, PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.resolver.choose import choose
from envfix.tables.architectures import runs_on
from envfix.tables.loader import Tables, load
from tests.resolver_fixtures import BOTH, REGISTRY, REGISTRY_ONLY, UNREACHABLE

TABLES, SAME_TABLES = load(), load()
CAPABILITIES = [cc for cc in TABLES.drivers.capabilities() if cc.major >= 3]
FLOORS = [TABLES.drivers.floor(CudaVersion.parse(row.cuda), "linux") for row in TABLES.drivers.branches()]
DRIVERS = sorted(
    {DriverVersion.parse(f"{row.branch}.42") for row in TABLES.drivers.branches()}
    | {floor.family for floor in FLOORS if floor is not None}
    | {floor.exact for floor in FLOORS if floor is not None and floor.exact is not None}
)
TAGS = ("cp36", "cp37", "cp38", "cp39", "cp310", "cp311", "cp312", "cp313", "cp313t", "cp314", "cp315")
PLATFORMS = ("linux_x86_64", "linux_aarch64", "win_amd64", "macosx_arm64", "macosx_x86_64")
MIRROR = IndexState(name="nju", location="https://mirrors.nju.edu.cn/pytorch/whl", reachable=True)
FOLDER = IndexState(
    name="find-links",
    location="/opt/wheels",
    reachable=True,
    files=("torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",),
)
INDEXES: Sequence[tuple[IndexState, ...]] = (BOTH, REGISTRY_ONLY, (UNREACHABLE, REGISTRY, MIRROR), (*BOTH, FOLDER), ())

cards = st.builds(TargetGpu, name=st.just("a card"), capability=st.sampled_from(CAPABILITIES))
goals = st.builds(
    Goal,
    cuda=st.sampled_from(("auto", "auto", "auto", "cpu", "11.1", "cu118", "12.4", "13.0", "10.2")),
    cuda_exact=st.booleans(),
    torch=st.sampled_from((None, None, None, ">=2", "<2", "==1.9.0", ">=2.4,<2.6")),
    packages=st.sampled_from((("ultralytics",), ("ultralytics", "torchaudio"), (), ("pandas",))),
)


@st.composite
def targets(draw: st.DrawFn) -> PlanTarget:
    tag = draw(st.sampled_from(TAGS))
    platform = draw(st.sampled_from(PLATFORMS))
    has_card = not platform.startswith("macosx") and draw(st.integers(0, 3)) > 0
    return PlanTarget(
        python=f"3.{tag[3:].rstrip('t')}",
        tag=tag,
        platform=platform,
        glibc=draw(st.sampled_from(("2.17", "2.31", None))) if "linux" in platform else None,
        driver=draw(st.sampled_from(DRIVERS)) if has_card else None,
        gpus=tuple(draw(st.lists(cards, min_size=1, max_size=2))) if has_card else (),
        driver_state="works" if has_card else "absent",
    )


many = settings(max_examples=250, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def served(plan: Plan) -> list[ComputeCapability]:
    """The cards that a plan is for: all, or those that its export line leaves visible."""
    shown = None if plan.gpu is None else plan.gpu.export.split("CUDA_VISIBLE_DEVICES=")[1].split(",")
    return [
        card.capability
        for at, card in enumerate(plan.target.gpus)
        if card.capability is not None and (shown is None or str(at) in shown)
    ]


@many
@given(facts=targets(), goal=goals, indexes=st.sampled_from(INDEXES))
def test_every_answer_is_true_by_the_tables(facts: PlanTarget, goal: Goal, indexes: tuple[IndexState, ...]) -> None:
    plan = choose(facts, goal, indexes, TABLES)
    if plan.choice is None:
        assert plan.status == "conflict"
        assert plan.blocked_by is not None
        assert plan.reasons
        if facts.gpus and goal.cuda != "cpu" and plan.nearest is not None:
            assert plan.nearest.variant != "cpu"
        return
    assert (plan.blocked_by, plan.nearest) == (None, None)
    check_file_exists(plan.choice, facts)
    check_companions(plan.choice, goal)
    check_request(plan.choice, goal)
    if plan.choice.compatibility != "cpu":
        check_runs(plan.choice, plan)
    else:
        assert not facts.gpus or goal.cuda == "cpu"
    pins = {pin.name: pin.specifier for pin in plan.packages}
    assert pins["torch"] == f"=={plan.choice.torch}{plan.choice.local_label}"
    assert {pin.index for pin in plan.packages if not pin.name.startswith("torch")} <= {"pypi"}


def check_file_exists(choice: Choice, facts: PlanTarget) -> None:
    index = "pypi" if choice.index == "pypi" else "official"
    names = [
        wheel
        for wheel in TABLES.wheels.find(
            "torch",
            version=choice.torch,
            variant=choice.variant,
            python=facts.tag,
            platform=facts.platform,
            index=index,
        )
        if wheel.local_label == choice.local_label
    ]
    assert names or choice.index == "find-links"
    if facts.glibc is not None:
        assert all(wheel.glibc is None or wheel.glibc <= tuple(map(int, facts.glibc.split("."))) for wheel in names)


def check_companions(choice: Choice, goal: Goal) -> None:
    row = TABLES.companions.of(Version(choice.torch))
    assert row is not None
    if choice.torchvision is not None:
        assert Version(choice.torchvision) in row.torchvision
    assert choice.torchvision is not None or not goal.packages
    assert choice.torchaudio is None or Version(choice.torchaudio) in row.torchaudio


def check_request(choice: Choice, goal: Goal) -> None:
    if goal.cuda == "cpu":
        assert choice.variant == "cpu" or not goal.cuda_exact
    elif goal.cuda != "auto":
        meant, have = CudaVersion.parse(goal.cuda), CudaVersion.parse(choice.variant)
        assert have == meant if goal.cuda_exact else have.major == meant.major
    if goal.torch == "==1.9.0":
        assert choice.torch == "1.9.0"


def check_runs(choice: Choice, plan: Plan) -> None:
    facts, cuda = plan.target, CudaVersion.parse(choice.variant)
    floor = TABLES.drivers.floor(cuda, "windows" if facts.platform.startswith("win") else "linux")
    built = TABLES.architectures.built(Version(choice.torch), choice.variant, facts.platform)
    assert floor is not None
    assert built is not None
    assert facts.driver is not None
    assert facts.driver >= floor.family
    direct = choice.compatibility == "direct"
    if floor.exact is not None:
        assert direct == (facts.driver >= floor.exact)
    assert served(plan)
    for cc in served(plan):
        assert runs_on(cc, built, driver_is_direct=direct)


@many
@given(facts=targets(), goal=goals, indexes=st.sampled_from(INDEXES))
def test_same_input_same_answer_and_it_survives_json(
    facts: PlanTarget, goal: Goal, indexes: tuple[IndexState, ...]
) -> None:
    plan = choose(facts, goal, indexes, TABLES)
    assert choose(facts, goal, tuple(reversed(indexes)), SAME_TABLES) == plan
    assert from_builtins(to_builtins(plan), Plan) == plan


def worth(plan: Plan, goal: Goal) -> tuple[bool, bool, bool, Version]:
    """How good a plan is for the user: one at all, what was meant, a build that fits the machine, the newer torch."""
    choice = plan.choice
    if choice is None:
        return False, False, False, Version("0")
    meant = goal.cuda in ("auto", "cpu") or CudaVersion.parse(goal.cuda).variant == choice.variant
    fits = choice.compatibility != "cpu" or choice.variant == "cpu"
    return True, meant, fits, Version(choice.torch)


@many
@given(facts=targets(), goal=goals, newer=st.sampled_from(DRIVERS))
def test_newer_driver_never_makes_it_worse(facts: PlanTarget, goal: Goal, newer: DriverVersion) -> None:
    lasts = [TABLES.drivers.last_branch_for(card.capability) for card in facts.gpus if card.capability is not None]
    branch = TABLES.drivers.branch(newer)
    dropped = any(last is not None and branch is not None and branch.branch > last for last in lasts)
    # A driver that has dropped a card is no better for it, and a wider choice may leave another card out.
    if facts.driver is None or newer < facts.driver or dropped:
        return
    before = choose(facts, goal, BOTH, TABLES)
    after = choose(msgspec.structs.replace(facts, driver=newer), goal, BOTH, TABLES)
    if before.gpu is None and after.gpu is None:
        assert worth(after, goal) >= worth(before, goal)
    else:
        assert worth(after, goal)[0] >= worth(before, goal)[0]


@many
@given(facts=targets(), goal=goals, more=st.sampled_from((MIRROR, FOLDER, BOTH[0])))
def test_one_more_index_never_makes_it_worse(facts: PlanTarget, goal: Goal, more: IndexState) -> None:
    before = choose(facts, goal, REGISTRY_ONLY, TABLES)
    states = [state for state in REGISTRY_ONLY if state.name != more.name]
    after = choose(facts, goal, (*states, more), TABLES)
    if before.gpu is None and after.gpu is None:
        assert worth(after, goal) >= worth(before, goal)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_rejected_build_is_named_once(platform: str, tables: Tables) -> None:
    facts = PlanTarget(python="3.11", tag="cp311", platform=platform, driver_state="absent")
    plan = choose(facts, Goal(), BOTH, tables)
    builds = [(row.torch, row.variant) for row in plan.rejected]
    assert len(builds) == len(set(builds))
    assert all(row.text for row in plan.rejected)


def test_hundreds_of_plans_a_second(tables: Tables) -> None:
    """The bar is 10 000 plans in a minute; here a tenth of the clock, by processor time."""
    grid = itertools.product(DRIVERS[::4], CAPABILITIES[::2], ("cp38", "cp311", "cp313"), (BOTH, REGISTRY_ONLY))
    cases = [
        (
            PlanTarget(
                python=f"3.{tag[3:]}",
                tag=tag,
                platform="linux_x86_64",
                glibc="2.31",
                driver=driver,
                gpus=(TargetGpu(name="a card", capability=cc),),
            ),
            indexes,
        )
        for driver, cc, tag, indexes in grid
    ]
    for facts, indexes in cases[:20]:
        choose(facts, Goal(), indexes, tables)
    gc.collect()
    gc.freeze()  # what thousands of other tests have left is no part of a plan
    try:
        started = time.process_time()
        for facts, indexes in cases[:600]:
            choose(facts, Goal(), indexes, tables)
        took = time.process_time() - started
    finally:
        gc.unfreeze()
    assert took / min(len(cases), 600) <= 0.006

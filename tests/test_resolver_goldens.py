"""The right answers on known machines, reviewed by hand against the sources of the tables."""

from __future__ import annotations

import pytest

from envfix.model.plan import Choice, Goal, Plan
from envfix.resolver.choose import choose
from envfix.tables.loader import Tables
from tests.resolver_fixtures import (
    BOTH,
    GTX_1080_TI,
    REGISTRY_ONLY,
    RTX_3090,
    RTX_4090,
    RTX_5090,
    V100,
    Card,
    machine,
    target,
)

INDEXES = {"both": BOTH, "registry": REGISTRY_ONLY}


def said(choice: Choice | None) -> str:
    """A choice in one line, as the goldens spell it."""
    if choice is None:
        return "-"
    return f"{choice.torch}{choice.local_label} {choice.variant} {choice.torchvision} {choice.index} {choice.compatibility}"


def answer(plan: Plan) -> str:
    if plan.status == "ok":
        assert plan.blocked_by is None
        assert plan.nearest is None
        return said(plan.choice)
    assert plan.choice is None
    assert (plan.packages, plan.commands) == ((), ())
    return f"blocked by {plan.blocked_by}, nearest {said(plan.nearest)}"


EIGHT_MACHINES = """
A 3.8  both     2.4.1+cu118 cu118 0.19.1 official minor
A 3.8  registry 2.0.1 cu117 0.15.2 pypi minor
A 3.11 both     2.7.1+cu118 cu118 0.22.1 official minor
A 3.11 registry 2.0.1 cu117 0.15.2 pypi minor
A 3.13 both     2.7.1+cu118 cu118 0.22.1 official minor
A 3.13 registry blocked by driver, nearest 2.0.1 cu117 0.15.2 pypi minor
B 3.8  both     2.4.1+cu124 cu124 0.19.1 official direct
B 3.8  registry 2.4.1 cu121 0.19.1 pypi direct
B 3.11 both     2.13.0+cu126 cu126 0.28.0 official minor
B 3.11 registry 2.10.0 cu128 0.25.0 pypi minor
B 3.13 both     2.13.0+cu126 cu126 0.28.0 official minor
B 3.13 registry 2.10.0 cu128 0.25.0 pypi minor
C 3.8  both     blocked by interpreter, nearest 2.15.0+cu132 cu132 0.29.2 official minor
C 3.8  registry blocked by interpreter, nearest 2.15.0 cu132 0.29.2 pypi minor
C 3.11 both     2.15.0+cu132 cu132 0.29.2 official minor
C 3.11 registry 2.15.0 cu132 0.29.2 pypi minor
C 3.13 both     2.15.0+cu132 cu132 0.29.2 official minor
C 3.13 registry 2.15.0 cu132 0.29.2 pypi minor
D 3.8  both     2.4.1+cu118 cu118 0.19.1 official minor
D 3.8  registry 2.0.1 cu117 0.15.2 pypi minor
D 3.11 both     2.7.1+cu118 cu118 0.22.1 official minor
D 3.11 registry 2.0.1 cu117 0.15.2 pypi minor
D 3.13 both     2.7.1+cu118 cu118 0.22.1 official minor
D 3.13 registry blocked by driver, nearest 2.0.1 cu117 0.15.2 pypi minor
E 3.8  both     2.4.1+cu121 cu121 0.19.1 official direct
E 3.8  registry 2.4.1 cu121 0.19.1 pypi direct
E 3.11 both     2.13.0+cu126 cu126 0.28.0 official minor
E 3.11 registry 2.7.1 cu126 0.22.1 pypi minor
E 3.13 both     2.13.0+cu126 cu126 0.28.0 official minor
E 3.13 registry 2.7.1 cu126 0.22.1 pypi minor
F 3.8  both     2.4.1+cu124 cu124 0.19.1 official direct
F 3.8  registry 2.4.1 cu121 0.19.1 pypi direct
F 3.11 both     2.13.0+cu126 cu126 0.28.0 official direct
F 3.11 registry 2.10.0 cu128 0.25.0 pypi direct
F 3.13 both     2.13.0+cu126 cu126 0.28.0 official direct
F 3.13 registry 2.10.0 cu128 0.25.0 pypi direct
G 3.8  both     2.4.1+cpu cpu 0.19.1 official cpu
G 3.8  registry 2.4.1 cu121 0.19.1 pypi cpu
G 3.11 both     2.13.0+cpu cpu 0.28.0 official cpu
G 3.11 registry 2.15.0 cu132 0.29.2 pypi cpu
G 3.13 both     2.13.0+cpu cpu 0.28.0 official cpu
G 3.13 registry 2.15.0 cu132 0.29.2 pypi cpu
H 3.8  both     blocked by driver, nearest 2.4.1+cu124 cu124 0.19.1 official direct
H 3.8  registry blocked by driver, nearest 2.4.1 cu121 0.19.1 pypi direct
H 3.11 both     blocked by driver, nearest 2.13.0+cu126 cu126 0.28.0 official minor
H 3.11 registry blocked by driver, nearest 2.10.0 cu128 0.25.0 pypi minor
H 3.13 both     blocked by driver, nearest 2.13.0+cu126 cu126 0.28.0 official minor
H 3.13 registry blocked by driver, nearest 2.10.0 cu128 0.25.0 pypi minor
"""


def rows(text: str) -> list[object]:
    found: list[object] = []
    for line in text.strip().splitlines():
        name, python, reach, expected = line.split(maxsplit=3)
        found.append(pytest.param(name, python, reach, expected, id=f"{name}-{python}-{reach}"))
    return found


@pytest.mark.parametrize(("letter", "python", "reach", "expected"), rows(EIGHT_MACHINES))
def test_eight_machines_get_the_reviewed_answer(
    letter: str, python: str, reach: str, expected: str, tables: Tables
) -> None:
    assert answer(choose(machine(letter, python), Goal(), INDEXES[reach], tables)) == expected


MORE: dict[str, tuple[str, Card]] = {
    "K80": ("418.87.00", ("Tesla K80", "3.7")),
    "T4": ("450.51.06", ("Tesla T4", "7.5")),
    "980Ti": ("510.47.03", ("NVIDIA GeForce GTX 980 Ti", "5.2")),
    "A100": ("525.60.13", ("NVIDIA A100-SXM4-80GB", "8.0")),
    "H100": ("535.183.01", ("NVIDIA H100 80GB HBM3", "9.0")),
    "B200": ("570.124.06", ("NVIDIA B200", "10.0")),
    "GTX1650": ("460.32.03", ("GeForce GTX 1650", "7.5")),
    "K40": ("470.57.02", ("Tesla K40m", "3.5")),
    "too-old": ("440.33", ("NVIDIA GeForce RTX 3090", "8.6")),
    "dropped": ("590.44.01", ("NVIDIA GeForce GTX 1080 Ti", "6.1")),
}
MORE_MACHINES = """
K80     3.8  both     1.8.1+cu101 cu101 0.9.1 official direct
K80     3.8  registry blocked by driver, nearest 1.8.1+cu101 cu101 0.9.1 official direct
K80     3.11 both     blocked by driver, nearest 1.8.1+cu101 cu101 0.9.1 official direct
K80     3.13 registry blocked by driver, nearest 2.7.1+cu118 cu118 0.22.1 official minor
T4      3.8  both     1.12.1+cu102 cu102 0.13.1 official direct
T4      3.8  registry 1.12.1 cu102 0.13.1 pypi direct
T4      3.11 both     blocked by driver, nearest 1.12.1+cu102 cu102 0.13.1 official direct
980Ti   3.11 both     2.7.1+cu118 cu118 0.22.1 official minor
A100    3.8  both     2.4.1+cu118 cu118 0.19.1 official direct
A100    3.11 both     2.13.0+cu126 cu126 0.28.0 official minor
H100    3.8  both     2.4.1+cu121 cu121 0.19.1 official direct
H100    3.11 registry 2.10.0 cu128 0.25.0 pypi minor
B200    3.11 both     2.13.0+cu129 cu129 0.28.0 official minor
B200    3.11 registry 2.10.0 cu128 0.25.0 pypi direct
GTX1650 3.11 both     2.7.1+cu118 cu118 0.22.1 official minor
K40     3.11 both     blocked by sm, nearest -
too-old 3.11 both     blocked by driver, nearest 2.7.1+cu118 cu118 0.22.1 official minor
dropped 3.11 both     blocked by driver, nearest 2.13.0+cu126 cu126 0.28.0 official direct
"""


@pytest.mark.parametrize(("name", "python", "reach", "expected"), rows(MORE_MACHINES))
def test_more_machines_get_the_reviewed_answer(
    name: str, python: str, reach: str, expected: str, tables: Tables
) -> None:
    driver, card = MORE[name]
    assert answer(choose(target(driver, card, python=python), Goal(), INDEXES[reach], tables)) == expected


def test_old_driver_on_the_registry_alone_bounds_numpy_and_opencv(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090), Goal(), REGISTRY_ONLY, tables)
    pins = {pin.name: pin.specifier for pin in plan.packages}
    assert pins == {
        "torch": "==2.0.1",
        "torchvision": "==0.15.2",
        "numpy": "<2",
        "opencv-python": "<4.12",
        "ultralytics": ">=8.0",
    }
    assert {pin.index for pin in plan.packages} == {"pypi"}
    assert plan.commands == (
        (
            *("python", "-m", "pip", "install", "torch==2.0.1", "torchvision==0.15.2"),
            *("numpy<2", "opencv-python<4.12", "ultralytics>=8.0"),
        ),
    )


def test_only_the_torch_family_comes_from_the_torch_index(tables: Tables) -> None:
    goal = Goal(packages=("ultralytics", "torchaudio", "pandas>=2"))
    plan = choose(target("470.57.02", RTX_3090), goal, BOTH, tables)
    assert {pin.name: pin.index for pin in plan.packages} == {
        "torch": "official",
        "torchvision": "official",
        "torchaudio": "official",
        "ultralytics": "pypi",
        "pandas": "pypi",
    }
    family, rest = plan.commands
    assert family == (
        *("python", "-m", "pip", "install", "--no-deps"),
        *("--index-url", "https://download.pytorch.org/whl/cu118"),
        *("torch==2.7.1+cu118", "torchvision==0.22.1+cu118", "torchaudio==2.7.1+cu118"),
    )
    assert "--index-url" not in rest
    assert "torch==2.7.1+cu118" in rest


def test_meant_cuda_is_taken_where_its_wheels_exist(tables: Tables) -> None:
    plan = choose(target("455.23.05", RTX_3090, python="3.8"), Goal(cuda="11.1"), BOTH, tables)
    assert answer(plan) == "1.10.2+cu111 cu111 0.11.3 official direct"


def test_meant_cuda_falls_back_to_its_family_and_says_why(tables: Tables) -> None:
    plan = choose(target("455.23.05", RTX_3090), Goal(cuda="11.1"), BOTH, tables)
    assert answer(plan) == "2.7.1+cu118 cu118 0.22.1 official minor"
    assert plan.reasons[0] == (
        "CUDA 11.1 itself is not possible here: its builds (torch 1.8.0 to 1.10.2) exist for Python 3.6 to 3.9 only,"
        " and this is Python 3.11"
    )
    assert any("nvcc" in reason for reason in plan.reasons)


def test_exact_cuda_refuses_and_names_the_interpreter(tables: Tables) -> None:
    plan = choose(target("455.23.05", RTX_3090), Goal(cuda="cu111", cuda_exact=True), BOTH, tables)
    assert answer(plan) == "blocked by interpreter, nearest 1.10.2+cu111 cu111 0.11.3 official direct"
    assert plan.ways_out[:2] == (
        "with Python 3.9 instead of Python 3.11: torch 1.10.2+cu111",
        "without --cuda cu111: torch 2.7.1+cu118",
    )


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        pytest.param(Goal(cuda="11.4"), "2.7.1+cu118 cu118 0.22.1 official minor", id="never-built"),
        pytest.param(Goal(cuda="11.7"), "2.0.1+cu117 cu117 0.15.2 official minor", id="release-in-its-family"),
        pytest.param(Goal(cuda="cpu"), "2.13.0+cpu cpu 0.28.0 official cpu", id="cpu-on-request"),
        pytest.param(Goal(torch="2.0.1"), "2.0.1+cu117 cu117 0.15.2 official minor", id="bare-version"),
        pytest.param(Goal(torch=">=2.4,<2.6"), "2.5.1+cu118 cu118 0.20.1 official minor", id="range"),
        pytest.param(Goal(torch="==2.1.2+cu118"), "2.1.2+cu118 cu118 0.16.2 official minor", id="local-label"),
        pytest.param(Goal(torch="==2.1.2+cpu"), "2.1.2+cpu cpu 0.16.2 official cpu", id="cpu-label"),
        pytest.param(
            Goal(torch="==1.9.0"), "blocked by interpreter, nearest 1.9.0+cu111 cu111 0.10.0 official direct", id="old"
        ),
        pytest.param(
            Goal(torch="==1.99"), "blocked by request, nearest 2.7.1+cu118 cu118 0.22.1 official minor", id="no-such"
        ),
        pytest.param(
            Goal(cuda="12.1"), "blocked by driver, nearest 2.7.1+cu118 cu118 0.22.1 official minor", id="family-too-new"
        ),
    ],
)
def test_what_the_user_asks_for_narrows_the_choice(goal: Goal, expected: str, tables: Tables) -> None:
    assert answer(choose(target("470.57.02", RTX_3090), goal, BOTH, tables)) == expected


def test_old_torch_from_the_registry_for_an_old_python(tables: Tables) -> None:
    plan = choose(target(python="3.8"), Goal(torch="==1.9.0"), REGISTRY_ONLY, tables)
    assert answer(plan) == "1.9.0 cu102 0.10.0 pypi cpu"
    assert any("CUDA 10.2 libraries that it will not use" in reason for reason in plan.reasons)


@pytest.mark.parametrize(
    ("driver", "card"),
    [
        pytest.param("550.54.14", RTX_4090, id="4090"),
        pytest.param("535.183.01", GTX_1080_TI, id="1080Ti"),
        pytest.param("580.95.05", V100, id="V100"),
    ],
)
def test_what_is_not_confirmed_is_left_aside_and_said(driver: str, card: Card, tables: Tables) -> None:
    plan = choose(target(driver, card), Goal(), BOTH, tables)
    assert plan.choice is not None
    assert plan.choice.torch == "2.13.0"
    assert any(reason.startswith("torch 2.14.1+cu126 would fit as well") for reason in plan.reasons)


def test_every_loser_has_one_reason_newest_first(tables: Tables) -> None:
    plan = choose(target("470.57.02", RTX_3090), Goal(), REGISTRY_ONLY, tables)
    builds = [(row.torch, row.variant) for row in plan.rejected]
    assert len(builds) == len(set(builds))
    assert builds[0] == ("2.15.0", "cu132")
    because = {(row.torch, row.variant): row.because for row in plan.rejected}
    assert because["2.15.0", "cu132"] == "driver"
    assert because["2.15.0", "cpu"] == "request"
    assert because["2.7.1", "cu118"] == "index"
    assert because["1.9.0", "cu111"] == "interpreter"
    assert ("2.0.1", "cu117") not in because


@pytest.mark.parametrize(
    ("platform", "driver", "cards", "expected"),
    [
        pytest.param("win_amd64", "591.44", (RTX_5090,), "2.13.0+cu130 cu130 0.28.0 official direct", id="windows"),
        pytest.param("win_amd64", None, (), "2.15.0+cpu cpu 0.29.2 official cpu", id="windows-cpu"),
        pytest.param("macosx_arm64", None, (), "2.15.0 cpu 0.29.2 pypi cpu", id="mac"),
        pytest.param(
            "linux_aarch64",
            "580.95.05",
            (("NVIDIA GB10", "12.1"),),
            "2.15.0+cu132 cu132 0.29.2 official minor",
            id="gb10",
        ),
        pytest.param(
            "linux_aarch64",
            "540.4.0",
            (("Orin", "8.7"),),
            "blocked by driver, nearest 2.15.0+cu132 cu132 0.29.2 official minor",
            id="orin",
        ),
        pytest.param("linux_riscv64", None, (), "blocked by platform, nearest -", id="riscv"),
    ],
)
def test_other_platforms(
    platform: str, driver: str | None, cards: tuple[Card, ...], expected: str, tables: Tables
) -> None:
    libc = {"libc": "glibc", "glibc": "2.35"} if platform.startswith("linux") else {"libc": None, "glibc": None}
    plan = choose(target(driver, *cards, platform=platform, **libc), Goal(), BOTH, tables)
    assert answer(plan) == expected


def test_wsl_goes_by_the_driver_of_windows(tables: Tables) -> None:
    # 528.33 is the floor of the CUDA 12 family on Windows, 525.60.13 on Linux.
    card = ("NVIDIA GeForce RTX 3090", "8.6")
    inside = choose(target("526.98", card, wsl=True), Goal(), BOTH, tables)
    linux = choose(target("526.98", card), Goal(), BOTH, tables)
    assert answer(inside) == "2.7.1+cu118 cu118 0.22.1 official direct"
    assert answer(linux) == "2.13.0+cu126 cu126 0.28.0 official minor"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        pytest.param({"glibc": "2.17"}, "2.6.0+cu124 cu124 0.21.0 official direct", id="old-glibc"),
        pytest.param(
            {"glibc": "2.12"}, "blocked by glibc, nearest 2.13.0+cu126 cu126 0.28.0 official minor", id="ancient-glibc"
        ),
        pytest.param(
            {"libc": "musl", "glibc": "1.2"},
            "blocked by platform, nearest 2.13.0+cu126 cu126 0.28.0 official minor",
            id="musl",
        ),
    ],
)
def test_the_c_library_bounds_the_choice(rest: dict[str, str], expected: str, tables: Tables) -> None:
    assert answer(choose(target("550.54.14", RTX_4090, **rest), Goal(), BOTH, tables)) == expected


def test_unknown_glibc_is_said(tables: Tables) -> None:
    plan = choose(target("550.54.14", RTX_4090, glibc=None), Goal(), BOTH, tables)
    assert "the version of glibc is not known; this build needs 2.28 or newer" in plan.reasons


def test_free_threaded_python_gets_free_threaded_files(tables: Tables) -> None:
    plan = choose(target(python="3.14", tag="cp314t"), Goal(), REGISTRY_ONLY, tables)
    assert answer(plan) == "2.15.0 cu132 0.29.2 pypi cpu"

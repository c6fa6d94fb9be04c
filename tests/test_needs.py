"""What a stack needs, by the tables and the names of its files; and which machine has that."""

from __future__ import annotations

import pytest
from msgspec import structs

from envfix.model.lock import Lock, LockedPackage, Needs
from envfix.model.lock_signs import variant_of
from envfix.model.plan import PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, DriverVersion
from envfix.resolver.needs import needs_of, suitability
from envfix.tables.loader import Tables

RTX_3090 = TargetGpu(name="RTX 3090", capability=ComputeCapability.parse("8.6"))
LAB = PlanTarget(
    python="3.11.7",
    tag="cp311",
    platform="linux_x86_64",
    libc="glibc",
    glibc="2.31",
    driver=DriverVersion.parse("470.57.02"),
    gpus=(RTX_3090,),
)
FILES = (
    "torch-2.7.1+cu118-cp311-cp311-manylinux_2_28_x86_64.whl",
    "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "pure-1.0-py3-none-any.whl",
)


def lab_lock(tables: Tables) -> Lock:
    needs = needs_of(LAB, "2.7.1", "cu118", FILES, tables)
    return Lock(needs=needs, packages=(LockedPackage(name="torch", version="2.7.1+cu118"),))


def answers(lock: Lock, target: PlanTarget) -> dict[str, str]:
    return {row.need: row.answer for row in suitability(lock, target)}


def test_floors_come_from_the_tables_and_glibc_from_the_names(tables: Tables) -> None:
    assert needs_of(LAB, "2.7.1", "cu118", FILES, tables) == Needs(
        python="3.11",
        tag="cp311",
        platform="linux_x86_64",
        libc="glibc",
        glibc="2.28",
        variant="cu118",
        driver="450.80.02",
        driver_direct="520.61.05",
        sm=("sm_37", "sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"),
    )


@pytest.mark.parametrize(
    ("files", "depends", "glibc"),
    [
        (("a-1-cp38-cp38-manylinux1_x86_64.whl",), (), "2.5"),
        (("a-1-cp38-cp38-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",), (), "2.12"),
        (("a-1-cp38-cp38-manylinux1_x86_64.manylinux_2_28_x86_64.whl",), (), "2.5"),
        (("a-1-cp38-cp38-manylinux_2_17_x86_64.whl", "b-1-cp38-cp38-manylinux_2_34_x86_64.whl"), (), "2.34"),
        (("a-1-cp38-cp38-linux_x86_64.whl",), (), None),
        ((), ("__glibc >=2.17,<3.0.a0", "python"), "2.17"),
    ],
)
def test_the_oldest_glibc_that_all_files_run_on(
    tables: Tables, files: tuple[str, ...], depends: tuple[str, ...], glibc: str | None
) -> None:
    assert needs_of(LAB, None, "cpu", files, tables, depends=depends).glibc == glibc


def test_the_machine_it_was_made_for_fits(tables: Tables) -> None:
    assert set(answers(lab_lock(tables), LAB).values()) == {"yes"}


@pytest.mark.parametrize(
    ("change", "need", "answer", "text"),
    [
        ({"platform": "win_amd64"}, "platform", "no", "it is for linux_x86_64, and this machine is win_amd64"),
        (
            {"python": "3.8.18", "tag": "cp38"},
            "python",
            "no",
            "it is for Python 3.11 (cp311), and the Python there is 3.8.18 (cp38)",
        ),
        ({"glibc": "2.27"}, "glibc", "no", "it needs glibc 2.28 or newer; there is 2.27"),
        ({"glibc": None}, "glibc", "unknown", "it needs glibc 2.28 or newer, and the one there is not known"),
        ({"libc": "musl"}, "glibc", "no", "it needs glibc 2.28 or newer, and this machine has musl"),
        (
            {"driver": DriverVersion.parse("440.33")},
            "driver",
            "no",
            "it needs NVIDIA driver 450.80.02 or newer; there is 440.33",
        ),
        (
            {"driver": None, "driver_state": "absent", "gpus": ()},
            "driver",
            "no",
            "it needs NVIDIA driver 450.80.02 or newer: no NVIDIA driver was found there",
        ),
        (
            {"driver": None, "driver_state": "unknown", "gpus": (), "gpu_problem": "nvidia-smi hangs"},
            "driver",
            "unknown",
            "it needs NVIDIA driver 450.80.02 or newer: nvidia-smi hangs",
        ),
        ({"gpus": ()}, "gpu", "no", "there is no NVIDIA card: it would run on the CPU only"),
        (
            {"gpus": (TargetGpu(name="RTX 5090", capability=ComputeCapability.parse("12.0")),)},
            "gpu",
            "no",
            "RTX 5090 has compute capability 12.0; it was compiled for sm_37 sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90",
        ),
        (
            {"gpus": (TargetGpu(name="a card"),)},
            "gpu",
            "unknown",
            "the compute capability of a card is not known",
        ),
    ],
)
def test_what_a_machine_lacks_is_named(
    tables: Tables, change: dict[str, object], need: str, answer: str, text: str
) -> None:
    rows = [row for row in suitability(lab_lock(tables), structs.replace(LAB, **change)) if row.need == need]
    assert [(row.answer, row.text) for row in rows] == [(answer, text)]


def test_code_for_newer_cards_needs_the_driver_of_its_own_cuda(tables: Tables) -> None:
    lock = lab_lock(tables)
    lock = structs.replace(lock, needs=structs.replace(lock.needs, sm=("sm_80", "compute_80")))
    newer = structs.replace(LAB, gpus=(TargetGpu(name="H100", capability=ComputeCapability.parse("9.0")),))
    assert answers(lock, newer)["gpu"] == "no"
    assert answers(lock, structs.replace(newer, driver=DriverVersion.parse("550.54.14")))["gpu"] == "yes"


def test_a_lock_for_the_cpu_on_a_machine_with_a_card_is_no_silent_yes(tables: Tables) -> None:
    needs = needs_of(LAB, "2.7.1", "cpu", (), tables)
    lock = Lock(needs=needs, packages=())
    rows = [row for row in suitability(lock, LAB) if row.need == "gpu"]
    assert [(row.answer, row.text) for row in rows] == [("warning", "it is for the CPU: RTX 3090 would not be used")]


def test_a_lock_with_its_own_python_asks_for_none(tables: Tables) -> None:
    lock = lab_lock(tables)
    python = LockedPackage(name="python", version="3.8.20", origin="conda")
    lock = structs.replace(lock, packages=(*lock.packages, python))
    assert "python" not in answers(lock, structs.replace(LAB, python="3.9", tag="cp39"))


def test_a_lock_that_says_nothing_of_cards_is_a_doubt() -> None:
    lock = Lock(needs=Needs(python="", tag="", platform="", variant=""), packages=())
    assert [(row.need, row.answer) for row in suitability(lock, LAB)] == [("gpu", "unknown")]


@pytest.mark.parametrize(
    ("packages", "variant"),
    [
        ((("torch", "2.7.1+cu118", None),), "cu118"),
        ((("torch", "2.7.1", None),), ""),
        ((("torch", "2.7.1+git123", None),), ""),
        ((("torch", "2.5.1+rocm6.2", None),), "rocm6.2"),
        ((("pytorch", "1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0"),), "cu111"),
        ((("pytorch", "2.5.1", "cuda126_py311h1_300"),), "cu126"),
        ((("pytorch", "1.8.0", "py3.8_cpu_0"),), "cpu"),
        ((("numpy", "1.26.4", None),), "cpu"),
        ((("cupy-cuda12x", "13.0", None),), ""),
        ((("nvidia-cublas-cu12", "12.1", None), ("numpy", "1.26.4", None)), ""),
    ],
)
def test_the_cuda_inside_is_told_by_label_or_build_and_never_guessed(
    packages: tuple[tuple[str, str, str | None], ...], variant: str
) -> None:
    locked = [
        LockedPackage(name=name, version=version, build=build, origin="conda" if build else "wheel")
        for name, version, build in packages
    ]
    assert variant_of(locked) == variant


def test_needs_that_contradict_torch_are_no_yes(tables: Tables) -> None:
    lock = lab_lock(tables)
    lock = structs.replace(lock, needs=structs.replace(lock.needs, variant="cpu"))
    assert [(row.answer, row.text) for row in suitability(lock, LAB) if row.need == "gpu"] == [
        ("unknown", "it says that it needs cpu, and its torch is 2.7.1+cu118: one of them was changed by hand")
    ]


def test_a_stack_for_other_cards_is_not_judged(tables: Tables) -> None:
    needs = needs_of(LAB, "2.5.1", "rocm6.2", (), tables)
    assert needs.in_words()[-1] == "Built for rocm6.2, which is not CUDA: NVIDIA cards do not run it."
    assert answers(Lock(needs=needs, packages=()), LAB)["gpu"] == "unknown"


def test_a_lock_for_musl_does_not_run_on_glibc(tables: Tables) -> None:
    lock = lab_lock(tables)
    lock = structs.replace(lock, needs=structs.replace(lock.needs, libc="musl", glibc=None))
    assert answers(lock, LAB)["glibc"] == "no"
    assert "glibc" not in answers(lock, structs.replace(LAB, libc="musl"))


@pytest.mark.parametrize(
    "change", [{"driver": "abc"}, {"variant": "cuXX"}, {"glibc": "abc"}, {"sm": ("sm_zz",)}, {"driver_direct": "x"}]
)
def test_needs_that_no_machine_can_have_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be its"):
        Needs(**{"python": "3.11", "tag": "cp311", "platform": "linux_x86_64", **change})  # type: ignore[arg-type]

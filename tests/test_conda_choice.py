"""Choosing among the builds that conda channels list: build strings, filters, and the words of a conflict."""

from __future__ import annotations

import msgspec
import pytest

from envfix.errors import UsageError
from envfix.installer.conda import Package, why_unsolvable
from envfix.model.plan import Goal, PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.resolver.conda_choice import choose_conda, read_build
from envfix.tables.loader import Tables

RTX_3090 = TargetGpu(name="RTX 3090", capability=ComputeCapability.parse("8.6"))
PYTORCH = "https://channels.example/pytorch"
FORGE = "https://channels.example/conda-forge"


def target(
    python: str = "3.8", driver: str | None = "470.57.02", *gpus: TargetGpu, glibc: str | None = "2.31"
) -> PlanTarget:
    return PlanTarget(
        python=python,
        tag="cp" + python.replace(".", ""),
        platform="linux_x86_64",
        libc="glibc",
        glibc=glibc,
        driver=DriverVersion.parse(driver) if driver else None,
        gpus=gpus or (RTX_3090,),
    )


def package(version: str, build: str, channel: str = "pytorch", *depends: str) -> Package:
    address = FORGE if channel == "conda-forge" else PYTORCH
    filename = f"pytorch-{version}-{build}.tar.bz2"
    return Package(
        name="pytorch",
        version=version,
        build=build,
        channel=channel,
        address=address,
        subdir="linux-64",
        filename=filename,
        url=f"{address}/linux-64/{filename}",
        depends=depends,
    )


OLD = (
    package("1.8.0", "py3.8_cpu_0"),
    package("1.8.0", "py3.8_cuda10.2_cudnn7.6.5_0"),
    package("1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0"),
)


@pytest.mark.parametrize(
    ("build", "depends", "python", "cuda", "kind"),
    [
        ("py3.8_cuda11.1_cudnn8.0.5_0", (), "3.8", "11.1", "cuda"),
        ("py3.8_cuda10.2.89_cudnn7.6.5_0", (), "3.8", "10.2", "cuda"),
        ("py3.12_cuda12.4_cudnn9.1.0_0", (), "3.12", "12.4", "cuda"),
        ("py3.8_cpu_0", (), "3.8", None, "cpu"),
        ("py38_cu111", (), "3.8", "11.1", "cuda"),
        ("py38_cpu", (), "3.8", None, "cpu"),
        ("cuda112py38h3bc8d3e_1", (), "3.8", "11.2", "cuda"),
        ("cuda118_py311h4ee7bbc_200", (), "3.11", "11.8", "cuda"),
        ("cuda92py37h1234abc_0", (), "3.7", "9.2", "cuda"),
        ("cuda126_mkl_py313_h0a1b2c3_300", (), "3.13", "12.6", "cuda"),
        ("cuda129_generic_py312_hdeadbee_204", (), "3.12", "12.9", "cuda"),
        ("cpu_mkl_py311h1234567_100", (), "3.11", None, "cpu"),
        ("cpu_generic_py310_hffffff0_0", (), "3.10", None, "cpu"),
        ("gpu_cuda113py310h19bae63_0", (), "3.10", "11.3", "cuda"),
        ("rocm6.4_py311h1234567_0", (), "3.11", None, "other"),
        ("cuda129_mkl_h1234567_300", ("python_abi 3.13.* *_cp313t",), "3.13t", "12.9", "cuda"),
        ("h1234567_0", ("python >=3.9,<3.10.0a0",), "3.9", None, "plain"),
        ("pyh1234567_0", ("python >=3.8",), None, None, "plain"),
    ],
)
def test_build_strings_of_all_channels_are_read(
    build: str, depends: tuple[str, ...], python: str | None, cuda: str | None, kind: str
) -> None:
    flavour = read_build(build, depends)

    assert flavour.python == python
    assert flavour.cuda == (CudaVersion.parse(cuda) if cuda else None)
    assert flavour.kind == kind


def test_the_seed_case_gets_the_build_for_cuda_11_1(tables: Tables) -> None:
    ranking = choose_conda(target(), Goal(cuda="11.1"), OLD, tables)

    assert [(row.torch, row.variant, row.builds) for row in ranking.builds] == [
        ("1.8.0", "cu111", ("py3.8_cuda11.1_cudnn8.0.5_0",))
    ]
    first = ranking.builds[0]
    assert first.choice.index_url == PYTORCH
    assert first.choice.compatibility == "direct"
    assert first.choice.confidence == "observed"
    assert first.reasons == (
        (
            "torch 1.8.0 (CUDA 11.1 inside) is the newest of those you asked for whose whole stack runs with Python 3.8 on"
            " RTX 3090 (compute capability 8.6)"
        ),
        "driver 470.57.02 serves CUDA 11.1 fully",
    )
    assert [(row.variant, row.because, row.text) for row in ranking.rejected] == [
        ("cu102", "request", "CUDA 10.2 is not what --cuda 11.1 means"),
        ("cpu", "request", "a build for the CPU only, and this machine has a GPU; it is taken only with --cuda cpu"),
    ]


def test_a_cuda_that_is_not_there_becomes_the_best_of_its_family_with_the_reason(tables: Tables) -> None:
    records = (package("2.1.0", "py3.8_cuda11.8_cudnn8.7.0_0"), package("2.1.0", "py3.8_cuda12.1_cudnn8.9.2_0"))

    ranking = choose_conda(target(), Goal(cuda="11.1"), records, tables)

    assert [(row.variant, row.meant) for row in ranking.builds] == [("cu118", False)]
    assert ranking.builds[0].reasons[0] == "no torch was ever built with CUDA 11.1 for linux_x86_64"
    assert ranking.builds[0].choice.compatibility == "minor"


def test_cuda_exact_refuses_instead(tables: Tables) -> None:
    records = (package("2.1.0", "py3.8_cuda11.8_cudnn8.7.0_0"),)

    ranking = choose_conda(target(), Goal(cuda="11.1", cuda_exact=True), records, tables)

    assert ranking.builds == ()
    assert ranking.conflict is not None
    assert ranking.conflict.blocked_by == "request"
    assert ranking.conflict.reasons == ("there is no build for --cuda 11.1 on linux_x86_64",)
    assert ranking.conflict.ways_out == ("without --cuda 11.1: torch 2.1.0 (CUDA 11.8 inside)",)


def test_a_machine_with_a_card_never_gets_a_cpu_build(tables: Tables) -> None:
    ranking = choose_conda(target(), Goal(), OLD[:1], tables)

    assert ranking.builds == ()
    assert ranking.conflict is not None
    assert ranking.conflict.blocked_by == "request"
    assert ranking.conflict.ways_out == ("to run on the CPU all the same, say so: --cuda cpu",)


def test_cuda_cpu_takes_the_cpu_build_first(tables: Tables) -> None:
    ranking = choose_conda(target(), Goal(cuda="cpu"), OLD, tables)

    assert ranking.builds[0].variant == "cpu"
    assert ranking.builds[0].meant
    assert not any(row.meant for row in ranking.builds[1:])


def test_a_machine_without_a_card_gets_the_cpu_build(tables: Tables) -> None:
    bare = msgspec.structs.replace(target(), gpus=(), driver=None, driver_state="absent")

    assert choose_conda(bare, Goal(), OLD, tables).builds[0].variant == "cpu"


@pytest.mark.parametrize(
    ("changes", "by", "text"),
    [
        (
            {"driver": DriverVersion.parse("418.40")},
            "driver",
            "torch 1.8.0 (CUDA 11.1 inside): CUDA 11.1 needs driver 450.80.02 or newer; this one is 418.40",
        ),
        (
            {"python": "3.12", "tag": "cp312"},
            "interpreter",
            "torch 1.8.0 (CUDA 11.1 inside): no file for Python 3.12: there are files for Python 3.8",
        ),
    ],
)
def test_conflicts_name_the_constraint_that_blocks(
    tables: Tables, changes: dict[str, object], by: str, text: str
) -> None:
    ranking = choose_conda(msgspec.structs.replace(target(), **changes), Goal(), (OLD[0], OLD[2]), tables)

    assert ranking.conflict is not None
    assert ranking.conflict.blocked_by == by
    assert ranking.conflict.reasons[0] == text


def test_portable_code_is_the_last_resort_and_is_told(tables: Tables) -> None:
    newer = package("1.9.0", "py3.8_cuda10.2_cudnn7.6.5_0")

    ranking = choose_conda(target(), Goal(), (newer, OLD[2]), tables)

    assert [row.torch for row in ranking.builds] == ["1.8.0", "1.9.0"]
    assert ranking.builds[1].reasons[-1] == (
        "it has no code of its own for the RTX 3090 (compute capability 8.6): the driver compiles it from portable code (PTX),"
        " which makes the first start slow, and CUDA 10.2 itself is older than that card"
    )


def test_what_is_not_in_the_tables_is_inferred_and_says_so(tables: Tables) -> None:
    records = (package("1.8.0", "cuda111py38h1234567_0", "conda-forge"),)

    ranking = choose_conda(target(), Goal(), records, tables)

    assert ranking.builds[0].choice.confidence == "inferred"
    assert ranking.builds[0].reasons[-1] == (
        "that this build has code for the RTX 3090 (compute capability 8.6) is not verified: inferred from the wheel torch"
        " 1.8.0+cu111, since the tables do not list this conda build"
    )


def test_a_build_of_a_cuda_without_wheels_is_inferred_from_the_cuda(tables: Tables) -> None:
    records = (package("1.8.0", "cuda112py38h1234567_0", "conda-forge"),)

    ranking = choose_conda(target(), Goal(), records, tables)

    assert ranking.builds[0].reasons[-1] == (
        "that this build has code for the RTX 3090 (compute capability 8.6) is not verified: inferred from what CUDA 11.2 can"
        " compile for, since the tables do not list this conda build"
    )


def test_glibc_of_the_package_bounds_it(tables: Tables) -> None:
    records = (package("2.12.0", "cuda130_mkl_py312_h1234567_300", "conda-forge", "__glibc >=2.28,<3.0.a0"),)
    here = target("3.12", "580.65.06", glibc="2.17")

    ranking = choose_conda(here, Goal(), records, tables)

    assert [(row.because, row.text) for row in ranking.rejected] == [
        ("glibc", "needs glibc 2.28 or newer; this system has 2.17")
    ]


def test_all_builds_of_one_release_and_cuda_are_left_to_the_solver(tables: Tables) -> None:
    builds = ("cuda126_mkl_py312_h1234567_300", "cuda126_generic_py312_h1234567_200")
    records = tuple(package("2.6.0", build, "conda-forge") for build in builds)

    ranking = choose_conda(target("3.12", "560.28.03"), Goal(), records, tables)

    assert [row.builds for row in ranking.builds] == [builds]


def test_of_equal_builds_the_earlier_channel_wins(tables: Tables) -> None:
    mine = msgspec.structs.replace(OLD[2], channel="lab", address="https://lab.example/lab")

    ranking = choose_conda(target(), Goal(cuda="11.1"), (OLD[2], mine), tables)

    assert [row.channel for row in ranking.builds] == ["pytorch", "lab"]


def test_no_pytorch_at_all_points_to_the_channel_that_has_it(tables: Tables) -> None:
    ranking = choose_conda(target(), Goal(cuda="11.1"), (), tables)

    assert ranking.conflict is not None
    assert ranking.conflict.blocked_by == "index"
    assert ranking.conflict.reasons == ("the channels that answer hold no pytorch for linux-64",)
    url = tables.conda.channel("pytorch")
    assert url is not None
    assert ranking.conflict.ways_out[0] == (
        f"the channel pytorch has torch 1.11.0 for CUDA 11.1 and Python 3.8: add {url.url} to the channels in .condarc"
    )


def test_a_broken_driver_stops_the_plan_as_it_does_for_wheels(tables: Tables) -> None:
    broken = msgspec.structs.replace(target(), driver_state="broken", gpu_problem="Driver/library version mismatch")

    ranking = choose_conda(broken, Goal(), OLD, tables)

    assert ranking.conflict is not None
    assert ranking.conflict.blocked_by == "driver"
    assert ranking.conflict.reasons == ("the NVIDIA driver is broken: Driver/library version mismatch",)


def test_nonsense_is_refused(tables: Tables) -> None:
    with pytest.raises(UsageError, match="there is no such CUDA"):
        choose_conda(target(), Goal(cuda="11.9"), OLD, tables)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            (
                "Cannot solve the request because of: The following packages are incompatible\n"
                "├─ __cuda * can be installed with any of the following options:\n"
                "│  └─ __cuda 10.2\n"
                "└─ pytorch ==1.8.0 *cuda11.1* cannot be installed because there are no viable options:\n"
                "   └─ pytorch 1.8.0 would require\n"
                "      └─ cudatoolkit >=11.1,<11.2, which cannot be installed because there are no viable options:\n"
                "         └─ cudatoolkit 11.1.74 would constrain\n"
                "            └─ __cuda >=11, which conflicts with any installable versions previously reported\n"
            ),
            "cudatoolkit 11.1.74 needs __cuda >=11, and here it is 10.2",
        ),
        (
            "Cannot solve the request because of: No candidates were found for nothere *.\n",
            "No candidates were found for nothere *",
        ),
        (
            (
                "Cannot solve the request because of: pytorch 1.8.0 cannot be installed because there are no viable options:\n"
                "└─ pytorch 1.8.0 would require\n"
                "   └─ __cuda >=11.1, for which no candidates were found.\n"
            ),
            "pytorch 1.8.0 needs __cuda >=11.1, for which no candidates were found",
        ),
        ("", "the solver found no set of packages"),
    ],
)
def test_the_solvers_tree_becomes_one_sentence(text: str, sentence: str) -> None:
    assert why_unsolvable(text) == sentence

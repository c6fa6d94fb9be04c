"""The wheels that exist, what the registry hides, what belongs together and what each build runs on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.tables.loader import Tables, load
from envfix.tables.wheels import PACKAGES, Wheel, platform_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return load(ROOT / "compat_tables", cache=tmp_path_factory.mktemp("cache"))


def _names(wheels: tuple[Wheel, ...]) -> set[str]:
    return {wheel.filename for wheel in wheels}


@pytest.mark.parametrize(
    ("version", "variant", "python", "platform", "filename"),
    [
        ("1.7.0", "cu110", "cp36", "linux_x86_64", "torch-1.7.0+cu110-cp36-cp36m-linux_x86_64.whl"),
        ("1.7.1", "cu102", "cp37", "win_amd64", "torch-1.7.1-cp37-cp37m-win_amd64.whl"),
        ("1.9.0", "cu111", "cp38", "linux_x86_64", "torch-1.9.0+cu111-cp38-cp38-linux_x86_64.whl"),
        ("1.9.0", "cu111", "cp37", "linux_x86_64", "torch-1.9.0+cu111-cp37-cp37m-linux_x86_64.whl"),
        ("1.10.2", "cu111", "cp38", "win_amd64", "torch-1.10.2+cu111-cp38-cp38-win_amd64.whl"),
        ("2.0.1", "cpu", "cp311", "macosx_arm64", "torch-2.0.1-cp311-none-macosx_11_0_arm64.whl"),
        ("2.6.0", "cu126", "cp313t", "linux_x86_64", "torch-2.6.0+cu126-cp313-cp313t-manylinux_2_28_x86_64.whl"),
        ("2.6.0", "cu124", "cp311", "linux_x86_64", "torch-2.6.0+cu124-cp311-cp311-linux_x86_64.whl"),
        ("2.6.0", "cu126", "cp311", "linux_aarch64", "torch-2.6.0+cu126-cp311-cp311-linux_aarch64.whl"),
        ("2.7.1", "cu118", "cp311", "linux_x86_64", "torch-2.7.1+cu118-cp311-cp311-manylinux_2_28_x86_64.whl"),
        ("2.8.0", "cpu", "cp312", "macosx_arm64", "torch-2.8.0-cp312-none-macosx_11_0_arm64.whl"),
        ("2.9.1", "cpu", "cp314", "macosx_arm64", "torch-2.9.1-cp314-cp314-macosx_11_0_arm64.whl"),
        ("2.13.0", "cu126", "cp311", "linux_x86_64", "torch-2.13.0+cu126-cp311-cp311-manylinux_2_28_x86_64.whl"),
        ("2.15.0", "cu132", "cp315", "linux_aarch64", "torch-2.15.0+cu132-cp315-cp315-manylinux_2_28_aarch64.whl"),
    ],
)
def test_an_official_wheel_has_this_name_and_address(
    tables: Tables, version: str, variant: str, python: str, platform: str, filename: str
) -> None:
    (wheel,) = tables.wheels.find(
        "torch", version=version, variant=variant, python=python, platform=platform, index="official"
    )
    assert wheel.filename == filename
    base = tables.indexes.official().base
    assert wheel.url == f"{base}/{variant}/{filename.replace('+', '%2B')}"


@pytest.mark.parametrize(
    ("version", "variant", "python", "platform"),
    [
        ("1.9.0", "cu111", "cp310", "linux_x86_64"),
        ("1.9.0", "cu113", "cp38", "linux_x86_64"),
        ("1.11.0", "cu102", "cp38", "win_amd64"),
        ("2.0.1", "cu121", "cp311", "linux_x86_64"),
        ("2.8.0", "cu118", "cp311", "linux_x86_64"),
        ("2.9.1", "cu129", "cp311", "win_amd64"),
        ("2.12.0", "cu129", "cp311", "linux_x86_64"),
        ("2.15.0", "cu126", "cp311", "linux_x86_64"),
        ("2.15.0", "cu132", "cp310", "linux_x86_64"),
        ("2.3.0", "cpu", "cp311", "macosx_x86_64"),
        ("2.3.0", "cu121", "cp311", "linux_aarch64"),
    ],
)
def test_a_wheel_that_was_never_built_is_not_there(
    tables: Tables, version: str, variant: str, python: str, platform: str
) -> None:
    assert tables.wheels.find("torch", version=version, variant=variant, python=python, platform=platform) == ()


@pytest.mark.parametrize(
    ("version", "platform", "variant"),
    [
        ("1.7.0", "linux_x86_64", "cu102"),
        ("1.13.1", "linux_x86_64", "cu117"),
        ("2.0.1", "linux_x86_64", "cu117"),
        ("2.1.0", "linux_x86_64", "cu121"),
        ("2.7.1", "linux_x86_64", "cu126"),
        ("2.10.0", "linux_x86_64", "cu128"),
        ("2.10.0", "linux_aarch64", "cpu"),
        ("2.11.0", "linux_aarch64", "cu130"),
        ("2.14.1", "linux_x86_64", "cu130"),
        ("2.15.0", "linux_x86_64", "cu132"),
        ("2.15.0", "win_amd64", "cpu"),
        ("2.15.0", "macosx_arm64", "cpu"),
    ],
)
def test_the_registry_hides_this_variant(tables: Tables, version: str, platform: str, variant: str) -> None:
    found = tables.wheels.find("torch", version=version, platform=platform, index="pypi")
    assert {wheel.variant for wheel in found} == {variant}
    assert {wheel.local_label for wheel in found} == {""}
    assert {wheel.url for wheel in found} == {None}


def test_the_registry_never_has_cuda_for_windows(tables: Tables) -> None:
    for package in PACKAGES:
        found = tables.wheels.find(package, platform="win_amd64", index="pypi")
        assert {wheel.variant for wheel in found} == {"cpu"}


def test_a_file_uploaded_again_comes_before_the_first_one(tables: Tables) -> None:
    found = tables.wheels.find("torch", version="2.10.0", python="cp311", platform="linux_x86_64", index="pypi")
    assert [wheel.filename for wheel in found] == [
        "torch-2.10.0-3-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.10.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    ]


def test_an_odd_abi_tag_of_the_registry_is_kept(tables: Tables) -> None:
    found = tables.wheels.find("torch", version="1.7.0", python="cp38", platform="win_amd64", index="pypi")
    assert _names(found) == {"torch-1.7.0-cp38-cp38m-win_amd64.whl"}


def test_counts_of_wheels(tables: Tables) -> None:
    """The copy of the index of July 2025 and the registry's list were counted by hand; 24 files are of 1.8.2 LTS."""
    everything = tables.wheels.all("torch")
    until_copy = [wheel for wheel in everything if wheel.version <= Version("2.7.1")]
    kinds = Counter(
        "registry" if wheel.index == "pypi" else "special" if wheel.special else _accelerator(wheel)
        for wheel in until_copy
    )
    assert kinds["ordinary"] == 1321
    assert kinds["special"] == 152 + 24
    assert kinds["rocm"] == 284
    assert kinds["xpu"] == 34
    assert sum(wheel.index == "pypi" for wheel in everything) == 900
    assert len(everything) == 3757 + 24


def test_the_lts_release_is_listed_at_its_own_addresses_and_never_planned(tables: Tables) -> None:
    found = tables.wheels.find("torch", version="1.8.2", python="cp38", platform="linux_x86_64", everything=True)
    assert [wheel.url for wheel in found] == [
        f"https://download.pytorch.org/whl/lts/1.8/{variant}/torch-1.8.2%2B{variant}-cp38-cp38-linux_x86_64.whl"
        for variant in ("cu111", "cu102", "cpu")
    ]
    assert {wheel.confidence for wheel in found} == {"inferred"}
    assert tables.wheels.find("torch", version="1.8.2") == ()


def _accelerator(wheel: Wheel) -> str:
    return "ordinary" if wheel.variant == "cpu" or wheel.cuda else wheel.variant.rstrip("0123456789.")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_name_parses_and_says_what_the_record_says(tables: Tables, package: str) -> None:
    for wheel in tables.wheels.all(next(name for name in PACKAGES if name == package)):
        name, version, build, tags = parse_wheel_filename(wheel.filename)
        assert name == wheel.package
        assert str(version) == f"{wheel.version}{wheel.local_label}"
        assert "".join(map(str, build)) == wheel.build
        assert {f"{tag.interpreter}-{tag.abi}" for tag in tags} == {f"{wheel.python.rstrip('t')}-{wheel.abi}"}
        assert {tag.platform for tag in tags} == set(wheel.platform_tag.split("."))
        assert platform_of(wheel.platform_tag) == wheel.platform


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_listed_twice(tables: Tables, package: str) -> None:
    wheels = tables.wheels.all(next(name for name in PACKAGES if name == package))
    places = Counter((wheel.index, wheel.directory, wheel.filename) for wheel in wheels)
    assert [place for place, times in places.items() if times > 1] == []


def test_find_leaves_out_what_a_plan_must_not_choose(tables: Tables) -> None:
    found = tables.wheels.find("torch")
    assert all(not wheel.special and (wheel.cuda or wheel.variant == "cpu") for wheel in found)
    assert {wheel.variant for wheel in tables.wheels.find("torch", variant="rocm6.3")} == {"rocm6.3"}
    special = tables.wheels.find("torch", version="2.0.1", variant="cu117", everything=True)
    assert "+cu117.with.pypi.cudnn" in {wheel.local_label for wheel in special}


def test_find_puts_newest_torch_first_then_official_then_newest_cuda(tables: Tables) -> None:
    found = tables.wheels.find("torch", python="cp311", platform="linux_x86_64")
    assert [wheel.version for wheel in found] == sorted((wheel.version for wheel in found), reverse=True)
    of_one = [(wheel.index, wheel.variant) for wheel in found if wheel.version == Version("2.7.1")]
    assert of_one == [
        ("official", "cu128"),
        ("official", "cu126"),
        ("official", "cu118"),
        ("official", "cpu"),
        ("pypi", "cu126"),
    ]


def test_find_agrees_with_filtering_everything(tables: Tables) -> None:
    everything = tables.wheels.find("torch")
    for python in ("cp38", "cp311", "cp313t"):
        for platform in ("linux_x86_64", "win_amd64"):
            expected = tuple(wheel for wheel in everything if (wheel.python, wheel.platform) == (python, platform))
            assert tables.wheels.find("torch", python=python, platform=platform) == expected


def test_find_ignores_a_local_label_in_the_version(tables: Tables) -> None:
    assert tables.wheels.find("torch", version="2.7.1+cu118") == tables.wheels.find("torch", version=Version("2.7.1"))


def test_find_knows_nothing_of_unknown_things(tables: Tables) -> None:
    assert tables.wheels.find("torch", version="9.9.9") == ()
    assert tables.wheels.find("torch", variant="cu999") == ()
    assert tables.wheels.find("torch", python="cp27") == ()
    assert tables.wheels.find("torch", platform="plan9") == ()


def test_inferred_interpreters_are_marked(tables: Tables) -> None:
    found = tables.wheels.find("torch", version="2.13.0", variant="cu126", platform="linux_x86_64")
    assert {wheel.python: wheel.confidence for wheel in found} == {
        "cp310": "verified",
        "cp311": "verified",
        "cp312": "verified",
        "cp313": "verified",
        "cp314": "verified",
        "cp315": "verified",
        "cp314t": "inferred",
        "cp315t": "inferred",
    }


def test_the_newest_cu126_is_verified_up_to_2_13_and_inferred_after(tables: Tables) -> None:
    found = tables.wheels.find("torch", variant="cu126", python="cp311", platform="linux_x86_64", index="official")
    newest = {str(wheel.version): wheel.confidence for wheel in found}
    assert newest["2.13.0"] == "verified"
    assert newest["2.14.1"] == "inferred"
    assert "2.15.0" not in newest


@pytest.mark.parametrize(
    ("version", "variant", "platform", "glibc"),
    [
        ("2.5.1", "cu124", "linux_x86_64", (2, 17)),
        ("2.6.0", "cu118", "linux_x86_64", (2, 17)),
        ("2.6.0", "cu126", "linux_x86_64", (2, 28)),
        ("2.7.1", "cu118", "linux_x86_64", (2, 28)),
        ("2.5.1", "cu124", "linux_aarch64", (2, 28)),
        ("2.1.0", "cpu", "linux_aarch64", (2, 17)),
        ("2.7.1", "cu118", "win_amd64", None),
        ("2.7.1", "cpu", "macosx_arm64", None),
    ],
)
def test_oldest_glibc(tables: Tables, version: str, variant: str, platform: str, glibc: tuple[int, int] | None) -> None:
    found = tables.wheels.find("torch", version=version, variant=variant, platform=platform, index="official")
    assert {wheel.glibc for wheel in found} == {glibc}


@pytest.mark.parametrize(
    ("variant", "version", "platform", "words"),
    [
        ("cu118", "2.8.0", "linux_x86_64", "11.8 builds ended"),
        ("cu112", "1.9.0", "linux_x86_64", "never released for this CUDA"),
        ("cu121", "2.3.0", "linux_aarch64", "Linux on ARM"),
        ("cu129", "2.10.0", "win_amd64", "Windows"),
        ("cpu", "2.3.0", "macosx_x86_64", "Intel"),
    ],
)
def test_why_a_build_is_absent(tables: Tables, variant: str, version: str, platform: str, words: str) -> None:
    why = tables.wheels.why_absent(variant, Version(version), platform)
    assert why is not None
    assert words in why


def test_no_reason_speaks_against_a_wheel_that_exists(tables: Tables) -> None:
    for wheel in tables.wheels.find("torch"):
        assert tables.wheels.why_absent(wheel.variant, wheel.version, wheel.platform) is None, wheel.filename


def test_variants_are_derived_newest_cuda_first(tables: Tables) -> None:
    variants = tables.wheels.variants()
    assert variants[:3] == ("cu132", "cu130", "cu129")
    assert variants[-2:] == ("cu92", "cpu")


def test_every_cuda_variant_has_a_driver_floor(tables: Tables) -> None:
    for variant in tables.wheels.variants():
        if variant != "cpu":
            cuda = CudaVersion.parse(variant)
            assert cuda.variant == variant
            for system in ("linux", "windows"):
                floor = tables.drivers.floor(cuda, "linux" if system == "linux" else "windows")
                assert floor is not None
                assert floor.exact is None or floor.family <= floor.exact


def test_every_plannable_cuda_wheel_has_an_architecture_list(tables: Tables) -> None:
    wheels = [wheel for wheel in tables.wheels.find("torch") if wheel.cuda]
    missing = {
        (str(wheel.version), wheel.variant, wheel.platform)
        for wheel in wheels
        if tables.architectures.built(wheel.version, wheel.variant, wheel.platform) is None
    }
    assert missing == set()


def test_every_architecture_list_belongs_to_a_wheel(tables: Tables) -> None:
    built = {(wheel.version, wheel.variant, wheel.platform) for wheel in tables.wheels.find("torch")}
    assert set(tables.architectures.builds()) <= built


def test_every_torch_has_companions_with_files(tables: Tables) -> None:
    assert tables.companions.torch_versions() == tables.wheels.versions()
    for torch in tables.wheels.versions():
        companions = tables.companions.of(torch)
        assert companions is not None
        avoided = {avoided.version for avoided in companions.avoid}
        assert companions.torchvision_recommended not in avoided
        assert companions.torchaudio_recommended not in avoided
        for package, version in (
            ("torchvision", companions.torchvision_recommended),
            ("torchaudio", companions.torchaudio_recommended),
        ):
            assert tables.wheels.find("torchvision" if package == "torchvision" else "torchaudio", version=version)


def test_each_official_cuda_wheel_finds_its_torchvision(tables: Tables) -> None:
    """Where torch is verified for an interpreter that torchvision serves at all, the pair is planned for."""
    lonely = set()
    for torch in tables.wheels.versions():
        companions = tables.companions.of(torch)
        assert companions is not None
        vision = companions.torchvision_recommended
        served = {wheel.python for wheel in tables.wheels.find("torchvision", version=vision, index="pypi")}
        for wheel in tables.wheels.find("torch", version=torch, index="official", platform="linux_x86_64"):
            pair = tables.wheels.find(
                "torchvision", version=vision, variant=wheel.variant, python=wheel.python, platform=wheel.platform
            )
            if not pair and wheel.python in served:
                lonely.add(wheel.filename)
    assert lonely == set()


@pytest.mark.parametrize(
    ("torch", "variant", "python", "platform", "filename"),
    [
        ("1.7.0", "cu102", "cp37", "linux_x86_64", "torchvision-0.8.1-cp37-cp37m-linux_x86_64.whl"),
        ("1.8.1", "cu102", "cp39", "linux_x86_64", "torchvision-0.9.1+cu102-cp39-cp39-linux_x86_64.whl"),
        ("1.10.0", "cu111", "cp38", "linux_x86_64", "torchvision-0.11.1+cu111-cp38-cp38-linux_x86_64.whl"),
        ("2.4.1", "cpu", "cp311", "linux_aarch64", "torchvision-0.19.1-cp311-cp311-linux_aarch64.whl"),
        ("2.6.0", "cu126", "cp312", "linux_x86_64", "torchvision-0.21.0+cu126-cp312-cp312-linux_x86_64.whl"),
        ("2.6.0", "cu126", "cp312", "linux_aarch64", "torchvision-0.21.0-cp312-cp312-linux_aarch64.whl"),
        ("2.7.1", "cu118", "cp312", "linux_x86_64", "torchvision-0.22.1+cu118-cp312-cp312-manylinux_2_28_x86_64.whl"),
        ("2.7.1", "cu118", "cp310", "win_amd64", "torchvision-0.22.1+cu118-cp310-cp310-win_amd64.whl"),
        ("2.7.1", "cpu", "cp311", "macosx_arm64", "torchvision-0.22.1-cp311-cp311-macosx_11_0_arm64.whl"),
        ("2.9.1", "cu130", "cp312", "linux_aarch64", "torchvision-0.24.1-cp312-cp312-manylinux_2_28_aarch64.whl"),
        (
            "2.10.0",
            "cu130",
            "cp312",
            "linux_aarch64",
            "torchvision-0.25.0+cu130-cp312-cp312-manylinux_2_28_aarch64.whl",
        ),
        ("2.14.0", "cu130", "cp312", "linux_x86_64", "torchvision-0.29.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl"),
    ],
)
def test_derived_torchvision_names_match_names_seen_in_public(
    tables: Tables, torch: str, variant: str, python: str, platform: str, filename: str
) -> None:
    companions = tables.companions.of(Version(torch))
    assert companions is not None
    found = tables.wheels.find(
        "torchvision",
        version=companions.torchvision_recommended,
        variant=variant,
        python=python,
        platform=platform,
        index="official",
    )
    assert _names(found) == {filename}


def test_old_torchaudio_lies_at_the_base_of_the_index(tables: Tables) -> None:
    found = tables.wheels.find(
        "torchaudio", version="0.9.0", variant="cu111", python="cp37", platform="linux_x86_64", index="official"
    )
    assert [wheel.url for wheel in found] == [
        f"{tables.indexes.official().base}/torchaudio-0.9.0-cp37-cp37m-linux_x86_64.whl"
    ]


def test_the_last_torchaudio_has_no_build_for_cuda_13_2(tables: Tables) -> None:
    found = tables.wheels.find("torchaudio", version="2.11.0", index="official")
    assert {wheel.variant for wheel in found} == {"cpu", "cu126", "cu128", "cu129", "cu130"}


def test_a_torchvision_for_any_python_serves_every_tag(tables: Tables) -> None:
    for python in ("cp311", "cp314t"):
        found = tables.wheels.find(
            "torchvision", version="0.29.2", variant="cu132", python=python, platform="linux_x86_64", index="official"
        )
        assert _names(found) == {"torchvision-0.29.2+cu132-py3-none-manylinux_2_28_x86_64.whl"}


def test_derived_files_are_never_called_verified(tables: Tables) -> None:
    for package in ("torchvision", "torchaudio"):
        found = tables.wheels.find("torchvision" if package == "torchvision" else "torchaudio", index="official")
        assert found
        assert all(wheel.confidence != "verified" for wheel in found)


@pytest.mark.parametrize(
    ("driver", "python", "index", "capability", "expected"),
    [
        pytest.param("470.57.02", "cp311", "official", "8.6", ("2.7.1", "cu118"), id="470-rtx3090-official"),
        pytest.param("470.57.02", "cp311", "pypi", "8.6", ("2.0.1", "cu117"), id="470-rtx3090-registry"),
        pytest.param("455.23.05", "cp311", "official", "8.6", ("2.7.1", "cu118"), id="455-rtx3090"),
        pytest.param("550.54.14", "cp311", "pypi", "8.9", ("2.10.0", "cu128"), id="550-rtx4090-registry"),
        pytest.param("550.54.14", "cp311", "official", "8.9", ("2.13.0", "cu126"), id="550-rtx4090-official"),
        pytest.param("535.54.03", "cp311", "pypi", "6.1", ("2.7.1", "cu126"), id="535-gtx1080ti-registry"),
        pytest.param("580.95.05", "cp311", "pypi", "7.0", ("2.10.0", "cu128"), id="580-v100-registry"),
        pytest.param("580.95.05", "cp311", "official", "7.0", ("2.13.0", "cu126"), id="580-v100-official"),
    ],
)
def test_tables_hold_the_agreed_right_answers(
    tables: Tables, driver: str, python: str, index: str, capability: str, expected: tuple[str, str]
) -> None:
    """The newest verified wheel that driver and card run; which CUDA of that release is not decided here."""
    from envfix.tables.architectures import runs_on

    cc, installed = ComputeCapability.parse(capability), DriverVersion.parse(driver)
    for wheel in tables.wheels.find("torch", python=python, platform="linux_x86_64", index=index):
        floor = tables.drivers.floor(wheel.cuda, "linux") if wheel.cuda else None
        built = tables.architectures.built(wheel.version, wheel.variant, wheel.platform)
        if floor is None or built is None or wheel.confidence != "verified":
            continue
        how = floor.compatibility(installed)
        fits = how is not None and runs_on(cc, built, driver_is_direct=how == "direct")
        nearest = wheel.variant == expected[1] or wheel.version != Version(expected[0])
        if fits and nearest:
            assert (str(wheel.version), wheel.variant) == expected
            return
    pytest.fail("no wheel fits")

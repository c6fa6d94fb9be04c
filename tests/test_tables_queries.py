"""Questions about drivers, architectures, companions, GPUs, compilers, indexes, ultralytics and conda."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envfix.errors import TableError
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.tables.architectures import INTEGRATED, SmList, runs_on
from envfix.tables.indexes import Indexes, IndexesFile
from envfix.tables.loader import Tables, load
from envfix.tables.rows import least, system_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return load(ROOT / "compat_tables", cache=tmp_path_factory.mktemp("cache"))


def _cc(text: str) -> ComputeCapability:
    return ComputeCapability.parse(text)


def _cuda(text: str) -> CudaVersion:
    return CudaVersion.parse(text)


# Drivers


@pytest.mark.parametrize(
    ("cuda", "system", "family", "exact"),
    [
        ("10.2", "linux", "440.33", "440.33"),
        ("10.1", "windows", "418.96", "418.96"),
        ("11.0", "linux", "450.36.06", "450.51.05"),
        ("11.1", "linux", "450.80.02", "455.23"),
        ("11.8", "linux", "450.80.02", "520.61.05"),
        ("11.8", "windows", "452.39", "520.06"),
        ("12.4", "linux", "525.60.13", "550.54.14"),
        ("12.6", "windows", "528.33", "560.76"),
        ("12.7", "linux", "525.60.13", None),
        ("13.0", "linux", "580.65.06", "580.65.06"),
        ("13.2", "windows", "580", None),
    ],
)
def test_driver_floor(tables: Tables, cuda: str, system: str, family: str, exact: str | None) -> None:
    floor = tables.drivers.floor(_cuda(cuda), "linux" if system == "linux" else "windows")
    assert floor is not None
    assert str(floor.family) == family
    assert (floor.exact and str(floor.exact)) == exact
    assert floor.source


@pytest.mark.parametrize("cuda", ["7.5", "9.5", "10.3", "14.0"])
def test_no_floor_is_made_up(tables: Tables, cuda: str) -> None:
    assert tables.drivers.floor(_cuda(cuda), "linux") is None


@pytest.mark.parametrize(
    ("cuda", "driver", "how"),
    [
        ("11.8", "450.80.01", None),
        ("11.8", "450.80.02", "minor"),
        ("11.8", "520.61.05", "direct"),
        ("12.6", "470.256.02", None),
        ("12.6", "550.54.14", "minor"),
        ("13.0", "580.65.06", "direct"),
        ("13.2", "580.95.05", "minor"),
    ],
)
def test_compatibility_of_a_driver(tables: Tables, cuda: str, driver: str, how: str | None) -> None:
    floor = tables.drivers.floor(_cuda(cuda), "linux")
    assert floor is not None
    assert floor.compatibility(DriverVersion.parse(driver)) == how


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [
        ("340.108", None),
        ("390.157", "9.1"),
        ("470.57.02", "11.4"),
        ("535.54.03", "12.2"),
        ("551.61", "12.4"),
        ("565.57.01", "12.7"),
        ("580.95.05", "13.0"),
        ("591.44", "13.1"),
        ("616.92", "13.4"),
        ("1000.1", "13.4"),
    ],
)
def test_newest_cuda_of_a_driver(tables: Tables, driver: str, cuda: str | None) -> None:
    newest = tables.drivers.newest_cuda(DriverVersion.parse(driver))
    assert (newest and str(newest)) == cuda


def test_a_runtimes_own_branch_serves_it(tables: Tables) -> None:
    for row in tables.drivers.file.toolkits:
        newest = tables.drivers.newest_cuda(DriverVersion.parse(row.linux))
        if newest is not None and row.linux not in ("367.48", "375.26"):
            assert newest >= _cuda(row.cuda), row


def test_first_branch_that_serves_a_cuda(tables: Tables) -> None:
    assert tables.drivers.first_branch_serving(_cuda("11.8")) == 520
    assert tables.drivers.first_branch_serving(_cuda("12.0")) == 525
    assert tables.drivers.first_branch_serving(_cuda("99.0")) is None


@pytest.mark.parametrize(
    ("capability", "first", "last"),
    [
        ("3.5", 319, 470),
        ("6.1", 367, 580),
        ("7.0", 384, 580),
        ("8.6", 455, None),
        ("12.0", 570, None),
        ("13.7", None, None),
    ],
)
def test_branches_that_know_a_gpu(tables: Tables, capability: str, first: int | None, last: int | None) -> None:
    assert tables.drivers.first_branch_for(_cc(capability)) == first
    assert tables.drivers.last_branch_for(_cc(capability)) == last


@pytest.mark.parametrize(
    ("capability", "needed", "possible"),
    [("7.0", False, False), ("7.5", False, True), ("8.9", False, True), ("12.0", True, True), ("13.7", False, True)],
)
def test_open_kernel_modules(tables: Tables, capability: str, needed: bool, possible: bool) -> None:  # noqa: FBT001
    assert tables.drivers.open_module_needed(_cc(capability)) is needed
    assert tables.drivers.open_module_possible(_cc(capability)) is possible


def test_forward_compatibility_is_never_for_geforce(tables: Tables) -> None:
    assert tables.drivers.forward_compatibility("linux", "geforce") is None
    assert tables.drivers.forward_compatibility("windows", "datacenter") is None
    found = tables.drivers.forward_compatibility("linux", "datacenter")
    assert found is not None
    assert found.package.format(major=12, minor=4) == "cuda-compat-12-4"


def test_capabilities_are_in_order(tables: Tables) -> None:
    known = tables.drivers.capabilities()
    assert known == tuple(sorted(known))
    assert _cc("8.6") in known


def test_integrated_capabilities_agree_with_the_table(tables: Tables) -> None:
    listed = {cc for cc in tables.drivers.capabilities() if (row := tables.drivers.capability(cc)) and row.integrated}
    assert listed | {_cc("10.1")} == INTEGRATED


# Architectures


@pytest.mark.parametrize(
    ("capability", "names", "cuda", "how", "sm"),
    [
        pytest.param("8.6", ["sm_80"], "11.8", "cubin", "8.0", id="ampere-on-older-binary"),
        pytest.param("8.9", ["sm_80", "sm_86"], "12.1", "cubin", "8.6", id="ada-takes-the-newest"),
        pytest.param("8.0", ["sm_86"], "12.1", "no", None, id="never-downwards"),
        pytest.param("9.0", ["sm_80", "sm_86"], "12.1", "no", None, id="never-across-majors"),
        pytest.param("7.5", ["sm_70"], "10.2", "cubin", "7.0", id="turing-on-volta"),
        pytest.param("12.1", ["sm_120"], "13.0", "cubin", "12.0", id="gb10"),
        pytest.param("11.0", ["sm_100"], "13.0", "no", None, id="thor-is-not-b200"),
        pytest.param("11.0", ["sm_110"], "13.0", "cubin", "11.0", id="thor"),
        pytest.param("8.7", ["sm_80", "sm_86"], "13.0", "no", None, id="orin-before-13.2"),
        pytest.param("8.7", ["sm_80", "sm_86"], "13.2", "cubin", "8.6", id="orin-from-13.2"),
        pytest.param("8.7", ["sm_87"], "11.4", "cubin", "8.7", id="orin-own-binary"),
        pytest.param("8.9", ["sm_87"], "12.6", "no", None, id="jetson-binary-on-a-card"),
        pytest.param("6.2", ["sm_60", "sm_61"], "10.2", "no", None, id="tx2"),
        pytest.param("9.0", ["sm_90a"], "12.4", "cubin", "9.0", id="exact-only"),
        pytest.param("10.0", ["sm_90a", "compute_90a"], "12.4", "no", None, id="exact-only-not-elsewhere"),
    ],
)
def test_which_binary_runs(capability: str, names: list[str], cuda: str, how: str, sm: str | None) -> None:
    fit = runs_on(_cc(capability), SmList.parse(names, cuda=_cuda(cuda)), driver_is_direct=True)
    assert fit.how == how
    assert fit.sm == (_cc(sm) if sm else None)
    assert bool(fit) is (how != "no")


def test_portable_code_needs_a_driver_as_new_as_its_cuda() -> None:
    built = SmList.parse(["sm_80", "compute_90"], cuda=_cuda("12.4"))
    assert runs_on(_cc("12.0"), built, driver_is_direct=True).how == "ptx"
    assert runs_on(_cc("12.0"), built, driver_is_direct=False).how == "no"
    assert runs_on(_cc("7.5"), built, driver_is_direct=True).how == "no"


def test_a_printed_list_is_read_leniently() -> None:
    built = SmList.parse(["sm_37", " compute_37 ", "gfx90a", "", "sm_100f", "native"])
    assert (built.sm, built.ptx, built.only) == ((_cc("3.7"),), (_cc("3.7"),), (_cc("10.0"),))


@pytest.mark.parametrize(
    ("capability", "last"),
    [
        ("3.7", ("2.7.1", "cu118")),
        ("5.2", ("2.14.1", "cu126")),
        ("6.1", ("2.14.1", "cu126")),
        ("7.0", ("2.14.1", "cu126")),
        ("7.5", ("2.15.0", "cu132")),
        ("12.0", ("2.15.0", "cu132")),
    ],
)
def test_last_release_for_a_gpu(tables: Tables, capability: str, last: tuple[str, str]) -> None:
    found = tables.architectures.last_release_for(_cc(capability), "linux_x86_64")
    assert found is not None
    assert (str(found.torch), found.variant) == last


@pytest.mark.parametrize(
    ("capability", "first", "platform"),
    [
        ("8.0", ("1.7.0", "cu110"), "linux_x86_64"),
        ("9.0", ("2.0.0", "cu118"), "linux_x86_64"),
        ("12.0", ("2.7.0", "cu128"), "linux_x86_64"),
        ("11.0", ("2.9.0", "cu130"), "linux_aarch64"),
        ("8.7", ("2.12.0", "cu132"), "linux_aarch64"),
    ],
)
def test_first_release_for_a_gpu(tables: Tables, capability: str, first: tuple[str, str], platform: str) -> None:
    found = tables.architectures.first_release_for(_cc(capability))
    assert found is not None
    assert (str(found.torch), found.variant, found.platform) == (*first, platform)


def test_no_release_for_cards_that_were_dropped(tables: Tables) -> None:
    assert tables.architectures.last_release_for(_cc("3.5")) is None
    assert tables.architectures.first_release_for(_cc("2.1")) is None


def test_architectures_of_a_wheel(tables: Tables) -> None:
    built = tables.architectures.built(Version("2.7.1+cu128"), "cu128", "linux_x86_64")
    assert built is not None
    assert [cc.sm for cc in built.sm] == ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
    assert built.cuda == _cuda("12.8")
    assert tables.architectures.built(Version("2.7.1"), "cpu", "linux_x86_64") is None


# Companions


def test_companions_of_a_release(tables: Tables) -> None:
    found = tables.companions.of(Version("2.7.1+cu118"))
    assert found is not None
    assert (str(found.torchvision_recommended), str(found.torchaudio_recommended)) == ("0.22.1", "2.7.1")
    assert found.cudnn["cu118"] == "9.1.0.70"
    assert found.cuda["cu126"] == "12.6.3"
    assert found.triton == "==3.3.1"
    assert found.released == "2025-06-04"
    assert tables.companions.of(Version("9.9")) is None


def test_a_yanked_torchvision_is_avoided(tables: Tables) -> None:
    found = tables.companions.of(Version("1.10.0"))
    assert found is not None
    assert found.torchvision == (Version("0.11.1"), Version("0.11.0"))
    assert [str(avoided.version) for avoided in found.avoid] == ["0.11.0"]


@pytest.mark.parametrize(
    ("torchvision", "torch"),
    [
        ("0.11.3", ["1.10.2"]),
        ("0.22.1+cu118", ["2.7.1"]),
        ("0.29.1", ["2.14.1", "2.15.0", "2.14.0"]),
        ("0.29.2", ["2.15.0", "2.14.1", "2.14.0"]),
        ("0.99.0", []),
    ],
)
def test_torch_of_a_torchvision(tables: Tables, torchvision: str, torch: list[str]) -> None:
    assert [str(version) for version in tables.companions.torch_of_torchvision(Version(torchvision))] == torch


def test_the_last_torchaudio_serves_later_torch(tables: Tables) -> None:
    found = tables.companions.torch_of_torchaudio(Version("2.11.0"))
    assert found[0] == Version("2.11.0")
    assert Version("2.15.0") in found


def test_pins_accept_what_is_listed_together(tables: Tables) -> None:
    for torch in tables.companions.torch_versions():
        companions = tables.companions.of(torch)
        assert companions is not None
        for version in companions.torchvision:
            pin = tables.companions.pin_of("torchvision", version)
            assert pin is not None
            assert torch in SpecifierSet(pin)
    assert tables.companions.pin_of("torchvision", Version("0.99")) is None


@pytest.mark.parametrize(
    ("torch", "platform", "python", "major"),
    [
        ("2.2.2", "linux_x86_64", "cp311", 1),
        ("2.3.0", "linux_x86_64", "cp311", 2),
        ("2.3.0", "linux_x86_64", "cp38", 1),
        ("2.4.0", "win_amd64", "cp311", 1),
        ("2.4.1", "win_amd64", "cp311", 2),
        ("2.3.0", "macosx_arm64", "cp312", 2),
    ],
)
def test_numpy_abi(tables: Tables, torch: str, platform: str, python: str, major: int) -> None:
    assert tables.companions.numpy_major(Version(torch), platform, python) == major


def test_bounds_beside_numpy_1(tables: Tables) -> None:
    assert tables.companions.numpy_1_bounds("cp311") == {
        "numpy": "<2",
        "opencv-python": "<4.12",
        "opencv-python-headless": "<4.12",
    }
    assert tables.companions.numpy_1_bounds("cp38") == {}
    assert tables.companions.numpy_1_bounds("cp313t")["numpy"] == "<2"


def test_triton_files(tables: Tables) -> None:
    assert "cp311" in tables.companions.triton_pythons(Version("3.3.1"), "linux_x86_64")
    assert tables.companions.triton_pythons(Version("3.3.1"), "win_amd64") == ()


# GPUs


@pytest.mark.parametrize(
    ("name", "capabilities"),
    [
        ("NVIDIA GeForce RTX 3090", ["8.6"]),
        ("RTX 3090", ["8.6"]),
        ("3090", ["8.6"]),
        ("geforce rtx 3060 laptop gpu", ["8.6"]),
        ("NVIDIA A100-SXM4-80GB", ["8.0"]),
        ("NVIDIA A100 80GB PCIe", ["8.0"]),
        ("NVIDIA H100 80GB HBM3", ["9.0"]),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", ["9.0"]),
        ("NVIDIA GH200 480GB", ["9.0"]),
        ("Tesla V100-SXM2-32GB", ["7.0"]),
        ("Tesla P100-PCIE-16GB", ["6.0"]),
        ("Tesla K40m", ["3.5"]),
        ("Tesla K80", ["3.7"]),
        ("GRID T4-8Q", ["7.5"]),
        ("GeForce GTX 1060", ["6.1"]),
        ("GeForce GTX 1060 6GB", ["6.1"]),
        ("NVIDIA GeForce RTX 2080 with Max-Q Design", ["7.5"]),
        ("NVIDIA TITAN X (Pascal)", ["6.1"]),
        ("GeForce GTX TITAN X", ["5.2"]),
        ("NVIDIA TITAN X", ["6.1"]),
        ("GTX TITAN X", ["5.2"]),
        ("TITAN X", ["5.2", "6.1"]),
        ("Quadro RTX 6000", ["7.5"]),
        ("RTX 6000", ["7.5", "8.9"]),
        ("RTX 6000 Ada", ["8.9"]),
        ("RTX PRO 6000", ["12.0"]),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", ["12.0"]),
        ("RTX 2050", ["8.6"]),
        ("NVIDIA GeForce RTX 2050", ["8.6"]),
        ("GeForce RTX 2050 (laptop)", ["8.6"]),
        ("GeForce GTX 1080 (laptop)", ["6.1"]),
        ("RTX 4090 Laptop", ["8.9"]),
        ("RTX3090", ["8.6"]),
        ("1080Ti", ["6.1"]),
        ("RTX 4090D", ["8.9"]),
        ("Jetson Orin", ["8.7"]),
        ("Jetson AGX Thor (T5000)", ["11.0"]),
        ("NVIDIA GB10 (DGX Spark)", ["12.1"]),
        ("DGX Spark", ["12.1"]),
        ("GeForce RTX", []),
        ("GRID", []),
        ("RTX 6000 Ada Generation", ["8.9"]),
        ("RTX A6000", ["8.6"]),
        ("NVIDIA GB10", ["12.1"]),
        ("Orin (nvgpu)", ["8.7"]),
        ("GeForce GT 730", ["3.5", "2.1"]),
        ("GeForce GTX 860M", ["5.0", "3.0"]),
        ("Graphics Device", []),
        ("Radeon RX 6800", []),
        ("", []),
        ("-" * 100_000, []),
    ],
)
def test_capability_of_a_name(tables: Tables, name: str, capabilities: list[str]) -> None:
    assert [str(cc) for cc in tables.gpus.capability_of(name)] == capabilities


def test_every_name_of_the_table_finds_itself(tables: Tables) -> None:
    for model in tables.gpus.all():
        for spelling in (model.name, f"NVIDIA {model.name}", model.name.upper()):
            assert set(model.capabilities) <= set(tables.gpus.capability_of(spelling)), spelling


def test_every_capability_of_a_gpu_is_known_to_the_driver_table(tables: Tables) -> None:
    known = set(tables.drivers.capabilities())
    assert {cc for model in tables.gpus.all() for cc in model.capabilities} <= known


def test_class_of_a_name(tables: Tables) -> None:
    assert tables.gpus.class_of("Tesla T4") == "datacenter"
    assert tables.gpus.class_of("RTX 4060 Laptop GPU") == "laptop"
    assert tables.gpus.class_of("Voodoo 2") is None


def test_jetson_wheels(tables: Tables) -> None:
    folders = [row.folder for row in tables.gpus.jetson_wheels()]
    jetson = tables.indexes.by_name("jetson")
    assert jetson is not None
    assert set(folders) <= set(jetson.variants)
    assert str(jetson.url("v61")).endswith("/jp/v61/pytorch/")


@pytest.mark.parametrize(
    ("l4t", "jetpack", "folder"),
    [
        ("R32.7.1", "4.6.1", "v461"),
        ("R32.7.6", "4.6.1", "v461"),
        ("R32.6.1", "4.6", None),
        ("R35.3.1", "5.1.1", "v51"),
        ("R35.4.1", "5.1.2", "v512"),
        ("R35.6.1", "5.1.3", "v512"),
        ("R36.3", "6.0", "v60"),
        ("36.3.0", "6.0", "v60"),
        ("R36.4.0", "6.1", "v61"),
        ("R36.4.4", "6.2", "v61"),
    ],
)
def test_jetpack_of_a_board_and_the_folder_of_its_wheels(
    tables: Tables, l4t: str, jetpack: str, folder: str | None
) -> None:
    found = tables.gpus.jetpack_of(l4t, tables.indexes)
    assert found is not None
    assert not found.runs_server_wheels
    assert str(found.jetpack) == jetpack
    assert (found.wheels.folder if found.wheels else None) == folder
    assert (found.address or "").endswith(f"/jp/{folder}/pytorch/") == (folder is not None)


@pytest.mark.parametrize("l4t", ["R38.2.0", "R39.1"])
def test_jetpack_7_runs_the_wheels_of_servers(tables: Tables, l4t: str) -> None:
    found = tables.gpus.jetpack_of(l4t, tables.indexes)
    assert found is not None
    assert (found.runs_server_wheels, found.wheels, found.address) == (True, None, None)
    assert "+cu132" in str(found.note)


@pytest.mark.parametrize("l4t", ["", "R28.2", "JetPack", "R36"])
def test_no_jetpack_for_what_the_table_does_not_know(tables: Tables, l4t: str) -> None:
    assert tables.gpus.jetpack_of(l4t, tables.indexes) is None


# Compilers


@pytest.mark.parametrize(
    ("cuda", "gcc_max", "clang_max"), [("10.2", 8, 8), ("11.8", 11, 14), ("12.4", 13, 17), ("13.0", 15, 20)]
)
def test_compilers_that_nvcc_accepts(tables: Tables, cuda: str, gcc_max: int, clang_max: int) -> None:
    limits = tables.host_compilers.limits(_cuda(cuda))
    assert limits is not None
    assert (limits.gcc_max, limits.clang_max) == (gcc_max, clang_max)


def test_torch_checks_compilers_by_its_own_table(tables: Tables) -> None:
    nvcc, torch = tables.host_compilers.limits(_cuda("12.3")), tables.host_compilers.torch_limits(_cuda("12.3"))
    assert nvcc is not None
    assert torch is not None
    assert (nvcc.gcc_max, torch.gcc_max) == (12, 13)
    assert tables.host_compilers.torch_limits(_cuda("11.8")) is None
    assert tables.host_compilers.limits(_cuda("12.7")) is None


@pytest.mark.parametrize(
    ("gcc", "cuda"), [(7, "9.2"), (9, "11.0"), (11, "11.4"), (13, "12.4"), (14, "12.8"), (99, None)]
)
def test_oldest_cuda_for_a_gcc(tables: Tables, gcc: int, cuda: str | None) -> None:
    found = tables.host_compilers.oldest_cuda_for_gcc(gcc)
    assert (found and str(found)) == cuda


def test_the_override_flag_begins_with_cuda_11(tables: Tables) -> None:
    assert tables.host_compilers.override_flag(_cuda("10.2")) is None
    assert tables.host_compilers.override_flag(_cuda("11.0")) is not None


@pytest.mark.parametrize(
    ("name", "version", "glibc"),
    [
        ("ubuntu", "22.04", "2.35"),
        ("rocky", "9.3", "2.34"),
        ("centos", "7", "2.17"),
        ("opensuse-leap", "15.5", "2.31"),
        ("alpine", "3.20", None),
        ("ubuntu", "4.10", "none"),
    ],
)
def test_distributions(tables: Tables, name: str, version: str, glibc: str | None) -> None:
    found = tables.host_compilers.distribution(name, version)
    assert (found.glibc if found else "none") == glibc


# Indexes


def test_indexes_by_name_kind_and_address(tables: Tables) -> None:
    official = tables.indexes.official()
    assert official.url("cu118") == f"{official.base}/cu118"
    assert official.file_url("cu118", "torch-1+cu118.whl") == f"{official.base}/cu118/torch-1%2Bcu118.whl"
    assert [index.name for index in tables.indexes.mirrors()] == ["aliyun", "nju", "sjtu"]
    assert tables.indexes.mirrors("EU") == ()
    assert tables.indexes.by_url(f"{official.base}/cu118/") == official
    assert tables.indexes.by_url("https://example.org/whl") is None
    lts = tables.indexes.by_url(f"{official.base}/lts/1.8/torch_lts.html")
    assert lts is not None
    assert lts.name == "pytorch-lts"
    registry = tables.indexes.by_name("pypi")
    assert registry is not None
    assert (registry.url("cpu"), registry.file_url("", "x.whl")) == (None, None)


def test_a_flat_mirror_is_not_an_index_url(tables: Tables) -> None:
    aliyun = tables.indexes.by_name("aliyun")
    assert aliyun is not None
    assert not aliyun.index_url
    assert "flat" in aliyun.layouts


def test_index_names_are_unique_and_bases_have_no_trailing_slash(tables: Tables) -> None:
    names = [index.name for index in tables.indexes.all()]
    assert len(names) == len(set(names))
    assert not any(base.endswith("/") for index in tables.indexes.all() for base in (index.base or "", *index.aliases))


def test_a_table_without_an_official_index_is_an_error() -> None:
    with pytest.raises(TableError, match=r"indexes\.yaml.*'kind'"):
        Indexes(IndexesFile(reviewed="2026-11-23", sources=(), indexes=())).official()


# ultralytics


@pytest.mark.parametrize(
    ("version", "system", "python", "torch", "numpy"),
    [
        ("8.0.0", "linux", ">=3.7.0", ">=1.7.0", ">=1.18.5"),
        ("8.0.10", "linux", ">=3.7,<=3.11", ">=1.7.0", ">=1.18.5"),
        ("8.0.30", "linux", ">=3.7,<=3.11", ">=1.7.0", ">=1.18.5"),
        ("8.0.151", "linux", ">=3.7", ">=1.7.0", ">=1.22.2"),
        ("8.0.152", "linux", ">=3.8", ">=1.8.0", ">=1.22.2"),
        ("8.2.50", "linux", ">=3.8", ">=1.8.0", ">=1.23.0,<2.0.0"),
        ("8.3.229", "linux", ">=3.8", ">=1.8.0,<=2.9.1", ">=1.23.0,<=2.3.4"),
        ("8.3.4", "linux", ">=3.8", ">=1.8.0", ">=1.23.0"),
        ("8.3.30", "macos", ">=3.8", ">=1.8.0", ">=1.23.0,<2.0.0"),
        ("8.3.90", "linux", ">=3.8", ">=1.8.0", ">=1.23.0,<=2.1.1"),
        ("8.4.190", "linux", ">=3.8", ">=1.8.0", ">=1.23.0"),
        ("8.4.190", "windows", ">=3.8", ">=1.8.0,!=2.4.0", ">=1.23.0"),
    ],
)
def test_what_an_ultralytics_asks_for(
    tables: Tables, version: str, system: str, python: str, torch: str, numpy: str
) -> None:
    found = tables.ultralytics.requirements(
        Version(version), system_of({"windows": "win", "macos": "macosx"}.get(system, ""))
    )
    assert found is not None
    assert (found.python, found.torch, found.numpy) == (python, torch, numpy)


def test_ultralytics_older_than_the_table(tables: Tables) -> None:
    assert tables.ultralytics.requirements(Version("0.0.1")) is None


def test_checkpoints_and_the_new_default_of_torch_load(tables: Tables) -> None:
    before, after = (tables.ultralytics.requirements(Version(text)) for text in ("8.2.63", "8.2.64"))
    assert before is not None
    assert after is not None
    assert (before.loads_weights_with_torch_2_6, after.loads_weights_with_torch_2_6) == (False, True)


def test_ranges_follow_each_other_without_gaps(tables: Tables) -> None:
    ranges = tables.ultralytics.ranges("macos")
    assert [found.until for found in ranges] == [*(found.first for found in ranges[1:]), None]
    assert ranges[-1].first <= tables.ultralytics.newest()
    for found in ranges:
        for specifier in (found.python, found.torch, found.torchvision, found.numpy, found.opencv):
            SpecifierSet(specifier)


def test_extras_that_replace_torch(tables: Tables) -> None:
    assert "export" in {extra.name for extra in tables.ultralytics.extras() if extra.replaces_torch}


# conda


def test_builds_of_the_pytorch_channel(tables: Tables) -> None:
    (build,) = tables.conda.pytorch_builds(torch=Version("1.10.2"), cuda=_cuda("11.1"), python="3.8")
    assert build.build_string == "py3.8_cuda11.1_cudnn8.0.5_0"
    assert build.selector == "cudatoolkit=11.1"
    assert build.channels == ("pytorch", "nvidia")
    newest = tables.conda.pytorch_builds()[0]
    assert (str(newest.torch), str(newest.cuda), newest.python) == ("2.5.1", "12.4", "3.12")


def test_conda_forge_cuda(tables: Tables) -> None:
    assert [str(cuda) for cuda in tables.conda.forge_cuda(Version("2.10.0"))] == ["13.0", "12.9"]
    assert [str(cuda) for cuda in tables.conda.forge_cuda(Version("2.7.1"), "win-64")] == ["12.8"]
    assert tables.conda.forge_cuda(Version("9.9")) == ()
    assert tables.conda.forge_glibc(Version("2.10.0"), _cuda("13.0")) == "2.28"
    assert tables.conda.forge_glibc(Version("9.9"), _cuda("13.0")) is None


def test_conda_forge_still_serves_pascal_beside_blackwell(tables: Tables) -> None:
    built = tables.conda.architectures("conda-forge", Version("2.13.0"), _cuda("12.9"))
    assert built is not None
    assert runs_on(_cc("6.1"), built, driver_is_direct=False)
    assert runs_on(_cc("12.0"), built, driver_is_direct=False)


def test_every_build_of_the_pytorch_channel_has_architectures(tables: Tables) -> None:
    for build in tables.conda.pytorch_builds():
        assert tables.conda.architectures("pytorch", build.torch, build.cuda) is not None, build
    assert tables.conda.architectures("conda-forge", Version("9.9"), _cuda("12.9")) is None


def test_channels_mirrors_and_traps(tables: Tables) -> None:
    channel = tables.conda.channel("pytorch")
    assert channel is not None
    assert channel.discontinued
    assert tables.conda.channel("nowhere") is None
    assert {channel.name for channel in tables.conda.channels()} >= {"pytorch", "conda-forge", "nvidia", "defaults"}
    mirror = tables.conda.mirrors("nvidia")[0]
    assert str(mirror.channel_url("nvidia")).endswith("/cloud/nvidia")
    assert mirror.channel_url("defaults") is None
    defaults = next(mirror for mirror in tables.conda.mirrors() if "defaults" in mirror.channels)
    assert str(defaults.channel_url("defaults")).endswith("/pkgs/main")
    assert [trap.package for trap in tables.conda.traps("pytorch", Version("2.2.0"))] == ["mkl"]
    assert tables.conda.traps("pytorch", Version("2.5.1")) == ()


# Words


def test_the_lesser_of_two_confidences() -> None:
    assert least("verified", "inferred") == "inferred"
    assert least("partly_verified", "verified") == "partly_verified"

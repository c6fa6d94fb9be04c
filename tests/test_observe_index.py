"""The observer: what live indexes hold against the tables, the rows it prints, and that these make the tables load."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from packaging.version import Version

from envfix.host.index import default_registry
from envfix.tables.loader import Tables, load
from envfix.tables.wheels import PACKAGES
from scripts import observe_index as observer
from scripts.observe_index import Addition, Asked, Finding, Inside, Kind, Remark, Seen, compare, is_drift, seen_file
from tests.loopback_index import make_wheel, serve

TABLES = Path(__file__).resolve().parent.parent / "compat_tables"
TODAY = "2027-01-02"

TORCH_2_16 = """Metadata-Version: 2.1
Name: torch
Version: 2.16.0
Requires-Python: >=3.11
Requires-Dist: filelock
Requires-Dist: cuda-toolkit[cublas,cudart]==13.2.3; platform_system == "Linux"
Requires-Dist: nvidia-cudnn-cu13==9.30.0.1; platform_system == "Linux"
Requires-Dist: triton~=3.10.0; platform_system == "Linux" and python_version < "3.16"
Requires-Dist: optree>=0.13.0; extra == "optree"
"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def seen(filename: str, **more: object) -> Seen:
    file = seen_file(filename, **{"url": f"https://index.example/{filename}", **more})
    assert file is not None, filename
    return file


def as_the_tables_say(tables: Tables, kind: Kind) -> Asked:
    """An index that holds exactly what the tables say."""
    name = "official" if kind == "official" else "pypi"
    rows = {row.version: row for row in tables.companions.file.torch}
    files: dict[str, tuple[Seen, ...]] = {}
    for package in PACKAGES:
        wheels = [wheel for wheel in tables.wheels.all(package) if wheel.index == name]
        more = {
            str(wheel.version): {"day": row.released, "requires_python": row.requires_python}
            for wheel in wheels
            if kind == "registry" and package == "torch" and (row := rows[str(wheel.version)])
        }
        files[package] = tuple(
            seen(
                wheel.filename,
                index=kind,
                directory=wheel.directory if kind == "official" else None,
                **more.get(str(wheel.version), {}),
            )
            for wheel in wheels
        )
    return Asked(name=name, address="https://index.example/", kind=kind, files=files)


def plus(asked: Asked, *more: Seen) -> Asked:
    files = {
        package: (*held, *(file for file in more if file.package == package)) for package, held in asked.files.items()
    }
    return Asked(name=asked.name, address=asked.address, kind=asked.kind, files=files)


def minus(asked: Asked, filename: str) -> Asked:
    files = {
        package: tuple(file for file in held if file.filename != filename) for package, held in asked.files.items()
    }
    return Asked(name=asked.name, address=asked.address, kind=asked.kind, files=files)


def opener(by_start: Mapping[str, Inside] | None = None) -> observer.Open:
    """Answers for wheels by the start of ``package-platform_tag``; everything else cannot be read."""

    def inside(file: Seen) -> Inside:
        name = f"{file.package}-{file.tag}"
        return next((told for start, told in (by_start or {}).items() if name.startswith(start)), Inside())

    return lambda files: [inside(file) for file in files]


def drift(findings: Iterable[Finding]) -> list[Finding]:
    return [one for one in findings if is_drift(one)]


def lines(findings: Iterable[Finding], table: str, *place: str) -> list[str]:
    return [one.lines for one in findings if isinstance(one, Addition) and (one.table, one.place) == (table, place)]


def texts(findings: Iterable[Finding], about: str) -> list[str]:
    return [one.text for one in findings if isinstance(one, Remark) and one.about == about]


def apply(folder: Path, findings: Iterable[Finding]) -> None:
    """Put what was printed where it says, as a person would with an editor."""
    for one in findings:
        if isinstance(one, Addition):
            path = folder / f"{one.table}.yaml"
            path.write_text(_with(path.read_text("utf-8").splitlines(), one), "utf-8")


def _with(text: list[str], addition: Addition) -> str:
    name, *deeper = addition.place
    start = text.index(f"{name}:") + 1
    end = next((number for number in range(start, len(text)) if re.match(r"\w", text[number])), len(text))
    if deeper:
        start = text.index(f"- version: {deeper[0]}", start, end)
        end = text.index(f"  {deeper[1]}:", start, end) + 1
    else:
        while not text[end - 1] or text[end - 1].startswith("#"):
            end -= 1
    kept = text[: start if addition.instead else end]
    return "\n".join([*kept, addition.lines, *text[end:], ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TABLES, tmp_path / "tables"))


def with_additions(folder: Path, findings: Iterable[Finding]) -> Tables:
    apply(folder, findings)
    tables = load(folder, cache=folder / "cache")
    tables.check()
    return tables


@pytest.mark.parametrize("kind", ["official", "registry"])
def test_an_index_that_holds_what_the_tables_say_is_no_drift(tables: Tables, kind: Kind) -> None:
    findings = compare(tables, [as_the_tables_say(tables, kind)], opener(), today=TODAY)
    assert drift(findings) == []
    assert bool(texts(findings, "confirmed")) == (kind == "official")


@pytest.fixture
def with_torch_2_16(tables: Tables) -> Asked:
    """The registry on the day after a release."""
    names = [
        *(f"torch-2.16.0-{tag}-manylinux_2_28_x86_64.whl" for tag in ("cp311-cp311", "cp314-cp314t")),
        "torch-2.16.0-cp311-cp311-manylinux_2_28_aarch64.whl",
        "torch-2.16.0-cp311-cp311-win_amd64.whl",
        "torch-2.16.0-cp311-none-macosx_14_0_arm64.whl",
    ]
    registry = as_the_tables_say(tables, "registry")
    return plus(registry, *(seen(name, day="2026-12-16", requires_python=">=3.11") for name in names))


INSIDES = opener(
    {
        "torch-manylinux": Inside(metadata=TORCH_2_16),
        "torch-win": Inside(metadata=TORCH_2_16, version_py="__version__ = '2.16.0+cpu'\ncuda: Optional[str] = None\n"),
        "torch-macosx": Inside(metadata=TORCH_2_16, version_py="__version__ = '2.16.0'\ncuda: Optional[str] = None\n"),
        "torchvision": Inside(
            metadata="Requires-Dist: torch (==2.16.0)\n", version_py="__version__ = '0.30.0+cu132'\n"
        ),
    }
)


def test_a_new_torch_on_the_registry_yields_its_rows(tables: Tables, with_torch_2_16: Asked) -> None:
    findings = compare(tables, [with_torch_2_16], INSIDES, today=TODAY)
    assert lines(findings, "wheels", "releases") == [
        (
            "- version: 2.16.0\n"
            "  official: []\n"
            "  registry:\n"
            "  - {variant: cu132, tag: manylinux_2_28_x86_64, pythons: [cp311, cp314t]}\n"
            "  - {variant: cu132, tag: manylinux_2_28_aarch64, pythons: [cp311]}\n"
            "  - {variant: cpu, tag: win_amd64, pythons: [cp311]}\n"
            "  - {variant: cpu, tag: macosx_14_0_arm64, abi: none, pythons: [cp311]}"
        )
    ]
    assert lines(findings, "companions", "torch") == [
        (
            "- {version: 2.16.0, released: '2026-12-16', requires_python: '>=3.11', torchvision: [0.29.2, 0.29.1], "
            "torchaudio: [2.11.0], triton: '~=3.10.0', triton_on: [linux_x86_64, linux_aarch64], cudnn: {cu132: 9.30.0.1}, "
            "cuda: {cu132: 13.2.3}, confidence: verified, source: wheel-metadata}"
        )
    ]
    architectures = lines(findings, "architectures", "builds")
    assert len(architectures) == 2
    assert architectures[0].startswith("- {torch: [2.16.0], variants: [cu132], platforms: [linux_aarch64], sm: [sm_")
    assert architectures[0].endswith("note: 'carried over from 2.15.0: read the binary'}")
    assert {one.table for one in drift(findings)} == {"wheels", "companions", "architectures"}


def test_a_new_torch_on_the_official_index_yields_a_row_for_each_variant(tables: Tables) -> None:
    names = {
        "torch-2.16.0+cu132-cp312-cp312-manylinux_2_28_x86_64.whl": "cu132",
        "torch-2.16.0+cu132-cp313-cp313-manylinux_2_28_x86_64.whl": "cu132",
        "torch-2.16.0+cpu-cp312-cp312-win_amd64.whl": "cpu",
        "torch-2.16.0-cp312-none-macosx_14_0_arm64.whl": "cpu",
        "torch-2.16.0+cpu.cxx11.abi-cp312-cp312-linux_x86_64.whl": "cpu-cxx11-abi",
        "torch-2.16.0+rocm7.2-cp312-cp312-manylinux_2_28_x86_64.whl": "rocm7.2",
        "torch-2.16.0.dev20261201+cu132-cp312-cp312-manylinux_2_28_x86_64.whl": "cu132",
    }
    official = as_the_tables_say(tables, "official")
    more = [seen_file(name, directory=directory, index="official") for name, directory in names.items()]
    findings = compare(tables, [plus(official, *filter(None, more))], opener(), today=TODAY)
    assert lines(findings, "wheels", "releases") == [
        (
            "- version: 2.16.0\n"
            "  official:\n"
            "  - {variant: cu132, tag: manylinux_2_28_x86_64, pythons: [cp312, cp313], confidence: verified, source: live-index}\n"
            "  - {variant: cpu, tag: win_amd64, pythons: [cp312], confidence: verified, source: live-index}\n"
            "  - {variant: cpu, label: '', tag: macosx_14_0_arm64, abi: none, pythons: [cp312], confidence: verified, "
            "source: live-index}\n"
            "  - {variant: cpu, directory: cpu-cxx11-abi, label: '+cpu.cxx11.abi', tag: linux_x86_64, pythons: [cp312], "
            "confidence: verified, source: live-index}\n"
            "  - {variant: rocm7.2, tag: manylinux_2_28_x86_64, pythons: [cp312], confidence: verified, source: live-index}\n"
            "  registry: []"
        )
    ]
    assert lines(findings, "wheels", "sources")[0].startswith("- {id: live-index, checked: '2027-01-02', what: ")
    assert "ask the registry" in " ".join(texts(findings, "unknown"))


def test_printed_rows_make_the_tables_load_and_agree_with_the_index(
    tables: Tables, with_torch_2_16: Asked, folder: Path
) -> None:
    official = plus(
        as_the_tables_say(tables, "official"),
        seen("torch-2.16.0+cu132-cp312-cp312-manylinux_2_28_x86_64.whl", directory="cu132", index="official"),
        seen("torch-2.14.1+cu130-cp39-cp39-win_amd64.whl", directory="cu130", index="official"),
        seen("torchvision-0.30.0+cu132-py3-none-manylinux_2_28_x86_64.whl", directory="cu132", index="official"),
    )
    registry = plus(
        with_torch_2_16,
        seen("torch-2.15.0-cp310-cp310-manylinux_2_28_x86_64.whl", requires_python=">=3.11"),
        seen("torchvision-0.30.0-py3-none-manylinux_2_28_x86_64.whl", day="2026-12-16"),
    )
    findings = compare(tables, [official, registry], INSIDES, today=TODAY)
    assert lines(findings, "companions", "torchvision") == [
        (
            "- version: 0.30.0\n  torch: '==2.16.0'\n  built_with: 2.16.0\n  registry:\n"
            "  - {variant: cu132, tag: manylinux_2_28_x86_64, pythons: [py3]}"
        )
    ]
    places = {one.place for one in drift(findings) if isinstance(one, Addition) and one.table == "wheels"}
    assert places == {
        ("sources",),
        ("releases",),
        ("releases", "2.14.1", "official"),
        ("releases", "2.15.0", "registry"),
    }
    now = with_additions(folder, findings)
    companions = now.companions.of(Version("2.16.0"))
    assert companions is not None
    assert companions.torchvision_recommended == Version("0.30.0")
    assert drift(compare(now, [official, registry], INSIDES, today=TODAY)) == []


def test_a_missing_file_is_reported_and_how_sure_the_table_was(tables: Tables) -> None:
    registry = minus(as_the_tables_say(tables, "registry"), "torch-2.15.0-cp311-cp311-win_amd64.whl")
    (gone,) = drift(compare(tables, [registry], opener(), today=TODAY))
    assert isinstance(gone, Remark)
    assert gone.about == "gone"
    assert gone.text == "torch 2.15.0 (cpu) win_amd64: cp311 (verified): not on pypi"
    assert gone.files == ("torch-2.15.0-cp311-cp311-win_amd64.whl",)


def test_a_missing_inferred_file_says_so(tables: Tables) -> None:
    name = "torch-2.15.0+cu132-cp311-cp311-win_amd64.whl"
    (gone,) = drift(compare(tables, [minus(as_the_tables_say(tables, "official"), name)], opener(), today=TODAY))
    assert isinstance(gone, Remark)
    assert gone.text == "torch 2.15.0+cu132 (cu132) win_amd64: cp311 (inferred): not on official"


def test_releases_older_than_the_tables_are_nothing_to_say(tables: Tables) -> None:
    registry = plus(as_the_tables_say(tables, "registry"), seen("torch-1.4.0-cp38-cp38-manylinux1_x86_64.whl"))
    assert compare(tables, [registry], opener(), today=TODAY) == ()


CUDA_12 = (
    'Requires-Dist: nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux" and platform_machine == "x86_64"\n'
)


@pytest.mark.parametrize(
    ("metadata", "platform", "variant"),
    [
        pytest.param(TORCH_2_16, "linux_x86_64", "cu132", id="toolkit"),
        pytest.param(TORCH_2_16, "linux_aarch64", "cu132", id="toolkit-arm"),
        pytest.param(TORCH_2_16, "win_amd64", None, id="toolkit-is-for-linux"),
        pytest.param(CUDA_12, "linux_x86_64", "cu128", id="runtime"),
        pytest.param(CUDA_12, "linux_aarch64", None, id="runtime-is-for-x86"),
        pytest.param("Requires-Dist: nvidia-cuda-runtime-cu11 (==11.7.99)\n", "linux_x86_64", "cu117", id="old-form"),
        pytest.param("Requires-Dist: nvidia-cuda-nvrtc==13.0.48\n", "linux_x86_64", "cu130", id="no-suffix"),
        pytest.param("Requires-Dist: not a requirement ==\n", "linux_x86_64", None, id="garbage"),
        pytest.param("", "linux_x86_64", None, id="nothing"),
    ],
)
def test_the_cuda_of_a_wheel_without_label_from_its_metadata(metadata: str, platform: str, variant: str | None) -> None:
    assert observer.variant_by_metadata(metadata, platform) == variant


@pytest.mark.parametrize(
    ("text", "platform", "variant"),
    [
        ("__version__ = '2.15.0+cu132'\ndebug = False\ncuda: Optional[str] = '13.2'\n", "linux_x86_64", "cu132"),
        ("__version__ = '1.9.0+cu102'\ncuda = '10.2'\n", "linux_x86_64", "cu102"),
        ("__version__ = '2.15.0'\ncuda: Optional[str] = '13.2'\n", "linux_x86_64", "cu132"),
        ("__version__ = '2.15.0+cpu'\ncuda: Optional[str] = None\n", "win_amd64", "cpu"),
        ("__version__ = '2.15.0'\ncuda: Optional[str] = None\n", "macosx_arm64", "cpu"),
        ("__version__ = '0.29.2+cu132'\nif x:\n    cuda = x()\n", "linux_x86_64", "cu132"),
        ("__version__ = '0.8.2'\n", "linux_x86_64", None),
    ],
)
def test_the_cuda_of_a_wheel_from_its_version_file(text: str, platform: str, variant: str | None) -> None:
    assert observer.variant_by_version_py(text, platform) == variant


def test_a_wheel_that_does_not_tell_its_cuda_makes_no_row(tables: Tables) -> None:
    more = seen("torch-2.15.0-cp310-cp310-manylinux_2_28_x86_64.whl", day="2026-10-28", requires_python=">=3.11")
    findings = compare(tables, [plus(as_the_tables_say(tables, "registry"), more)], opener(), today=TODAY)
    assert drift(findings) == []
    assert texts(findings, "unknown") == [
        "torch 2.15.0 manylinux_2_28_x86_64, cp310: its CUDA is unknown: read version.py of the wheel"
    ]


def test_one_more_file_of_a_known_release_is_a_row_for_that_release(tables: Tables, folder: Path) -> None:
    more = seen("torch-2.15.0-cp316-cp316-manylinux_2_28_x86_64.whl", requires_python=">=3.11")
    registry = plus(as_the_tables_say(tables, "registry"), more)
    findings = compare(tables, [registry], INSIDES, today=TODAY)
    assert lines(findings, "wheels", "releases", "2.15.0", "registry") == [
        "  - {variant: cu132, tag: manylinux_2_28_x86_64, pythons: [cp316]}"
    ]
    now = with_additions(folder, findings)
    assert drift(compare(now, [registry], INSIDES, today=TODAY)) == []


def test_a_companion_that_older_torch_accepts_changes_their_rows(tables: Tables) -> None:
    more = seen("torchvision-0.29.3-py3-none-manylinux_2_28_x86_64.whl", day="2026-10-30", yanked=True)
    vision = Inside(metadata="Requires-Dist: torch (>=2.14.0)\n", version_py="__version__ = '0.29.3+cu132'\n")
    registry = plus(as_the_tables_say(tables, "registry"), more)
    findings = compare(tables, [registry], opener({"torchvision": vision}), today=TODAY)
    (block,) = lines(findings, "companions", "torchvision")
    assert block.startswith("- version: 0.29.3\n  torch: '>=2.14.0'\n  built_with: 2.15.0\n  avoid: yanked\n")
    assert texts(findings, "wrong") == [
        f"torch {version}, column torchvision: 0.29.3 accepts this torch too"
        for version in ("2.14.0", "2.14.1", "2.15.0")
    ]


def test_columns_that_the_list_of_files_contradicts(tables: Tables) -> None:
    registry = as_the_tables_say(tables, "registry")
    torch = tuple(
        seen(file.filename, day="2020-01-01", requires_python=">=3.99", yanked=True)
        if file.version == "2.13.0"
        else file
        for file in registry.files["torch"]
    )
    odd = Asked(name="pypi", address="", files={"torch": torch})
    assert texts(compare(tables, [odd], opener(), today=TODAY), "wrong") == [
        "torch 2.13.0, column released: 2026-07-08 in the table, 2020-01-01 seen",
        "torch 2.13.0, column requires_python: >=3.10 in the table, >=3.99 seen",
        "torch 2.13.0 is yanked on pypi, and the table does not avoid it",
    ]


def test_a_thorough_look_opens_wheels_of_known_releases(tables: Tables) -> None:
    held = as_the_tables_say(tables, "registry").files["torch"]
    name = "torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    others = tuple(file for file in held if file.filename == name)
    inside = Inside(
        metadata='Requires-Dist: cuda-toolkit==13.0.2; platform_system == "Linux"\nRequires-Dist: triton==3.8.0\n',
        version_py="__version__ = '2.15.0+cu130'\n",
    )
    registry = Asked(name="pypi", address="", files={"torch": others})
    wrong = texts(compare(tables, [registry], opener({"torch-": inside}), today=TODAY, thorough=True), "wrong")
    assert wrong == [
        "torch 2.15.0, column triton: ~=3.9.0 in the table, ==3.8.0 seen",
        "torch 2.15.0, column cuda, cu132: 13.2.2 in the table, 13.0.2 seen",
        f"{name}, column variant: cu132 in the table, cu130 seen",
    ]


def test_a_file_that_no_naming_rule_yields_is_reported(tables: Tables) -> None:
    more = seen("torchvision-0.29.0+cu118-cp311-cp311-win_amd64.whl", directory="cu118", index="official")
    findings = compare(tables, [plus(as_the_tables_say(tables, "official"), more)], opener(), today=TODAY)
    assert [one.text for one in drift(findings) if isinstance(one, Remark)] == [
        "torchvision 0.29.0+cu118 win_amd64, cp311: on official, and no rule of the list official yields it"
    ]


def _pair(python: str) -> str:
    """Interpreter and ABI as a file name has them."""
    return python if "-" in python else f"{python.rstrip('t')}-{python}"


def test_triton_rows(tables: Tables, folder: Path) -> None:
    tag = "manylinux_2_27_x86_64.manylinux_2_28_x86_64"
    names = [
        f"triton-{row.version}-{_pair(python)}-manylinux_2_28_{row.platform.removeprefix('linux_')}.whl"
        for row in tables.companions.file.triton
        for python in row.pythons
    ]
    new = [f"triton-3.10.0-cp312-abi3-{tag}.whl", f"triton-3.10.0-cp311-cp311-{tag}.whl"]
    more = [f"triton-3.8.0-cp315-cp315-{tag}.whl", f"triton-3.8.0-pp311-pypy311_pp73-{tag}.whl", "triton-2.0.0.tar.gz"]
    files = tuple(filter(None, map(seen_file, [*names, *new, *more])))
    registry = Asked(name="pypi", address="", files={"triton": files})
    findings = compare(tables, [registry], opener(), today=TODAY)
    row = "- {platform: linux_x86_64, version: 3.10.0, pythons: [cp311, cp312-abi3], confidence: verified, source: registry-list}"
    assert lines(findings, "companions", "triton") == [row]
    assert len(drift(findings)) == 2
    assert texts(findings, "wrong")[0].startswith("triton 3.8.0 for linux_x86_64, column pythons: cp310,")
    assert Version("3.10.0") in {
        Version(row.version) for row in with_additions(folder, findings).companions.file.triton
    }


ULTRALYTICS = """Requires-Python: >=3.8
Requires-Dist: numpy>=1.23.0; platform_system != "Darwin"
Requires-Dist: numpy!=2.0.*,!=2.1.*,!=2.2.*,!=2.3.0,!=2.3.1,!=2.3.2,!=2.3.3,!=2.3.4,>=1.23.0; platform_system == "Darwin"
Requires-Dist: opencv-python!=4.13.0.90,>=4.7.0
Requires-Dist: torch>=1.8.0
Requires-Dist: torch!=2.4.0,>=1.8.0; sys_platform == "win32"
Requires-Dist: torchvision>=0.9.0
"""


def test_ultralytics_rows_for_what_a_release_changes(tables: Tables, folder: Path) -> None:
    changed = ULTRALYTICS.replace(">=3.8", ">=3.10").replace("torch!=2.4.0,>=1.8.0; sys", "torch>=2.0; sys")
    metadata = {"8.5.0": ULTRALYTICS, "8.5.1": changed, "8.5.2": changed}
    findings = tuple(observer.new_bounds(tables, metadata))
    sure = "confidence: verified, source: wheel-metadata}"
    assert lines(findings, "ultralytics", "python") == [f"- {{since: 8.5.1, specifier: '>=3.10', {sure}"]
    assert lines(findings, "ultralytics", "torch") == [
        f"- {{since: 8.5.1, systems: [windows], specifier: '>=1.8.0,>=2.0', {sure}"
    ]
    assert texts(findings, "note") == ["newest: 8.4.190 may become 8.5.2"]
    assert len(findings) == 3
    now = with_additions(folder, findings)
    assert list(observer.wrong_bounds(now, metadata)) == []
    assert len(list(observer.wrong_bounds(tables, metadata))) == 2


def test_ultralytics_lists_made_anew_say_what_the_releases_say(tables: Tables, folder: Path) -> None:
    """A list put in place of the whole old one, from the first release of the table on."""
    earlier = "Requires-Python: >=3.7\nRequires-Dist: torch>=1.7.0\n"
    metadata = {"0.0.13": earlier, "8.0.0": ULTRALYTICS, "8.4.190": ULTRALYTICS}
    rows = observer.bound_rows({}, metadata)
    assert [row.count("systems") for row in rows["numpy"]] == [1, 1]
    assert len(rows["opencv"]) == 1
    findings = [
        Addition(table="ultralytics", place=(column,), lines="\n".join(made), instead=True)
        for column, made in rows.items()
    ]
    assert list(observer.wrong_bounds(tables, metadata))
    assert list(observer.wrong_bounds(with_additions(folder, findings), metadata)) == []


def test_a_real_index_is_asked_for_names_and_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    with serve() as server:
        asked = (
            "torchvision==99.0",
            'cuda-toolkit[cudart]==13.2.3; platform_system == "Linux"',
            "nvidia-cudnn-cu13==9.9.9",
        )
        server.add("main", make_wheel("torch", "99.0.0", "cp314-cp314t-manylinux_2_28_x86_64", requires=asked))
        code = observer.main(["--index", server.url("json", "main"), "--package", "torch", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert document["indexes"][0]["kind"] == "registry"
    assert document["indexes"][0]["problem"] is None
    added = [one for one in document["findings"] if one["kind"] == "add"]
    assert [(one["table"], one["place"], one["lines"]) for one in added if one["table"] == "wheels"] == [
        (
            "wheels",
            ["releases"],
            (
                "- version: 99.0.0\n  official: []\n  registry:\n"
                "  - {variant: cu132, tag: manylinux_2_28_x86_64, pythons: [cp314t]}"
            ),
        )
    ]
    assert sum(one["kind"] == "remark" and one["about"] == "gone" for one in document["findings"]) > 100


def test_a_torch_index_is_known_by_its_labels_and_its_variant_pages_are_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serve() as server:
        server.add("main", make_wheel("torch", "99.0.0+cu118", "cp311-cp311-win_amd64"))
        code = observer.main(["--index", server.url("simple", "main"), "--package", "torch"])
        pages = server.asked("/simple/main/")
    told = capsys.readouterr().out
    assert code == 1
    assert "1 of torch" in told
    assert (
        "compat_tables/wheels.yaml, add to releases:\n- version: 99.0.0\n  official:\n  - {variant: cu118, tag" in told
    )
    assert {"/simple/main/torch/", "/simple/main/cu118/torch/", "/simple/main/cpu/torch/"} <= set(pages)


@pytest.mark.parametrize(
    ("link", "directory"),
    [
        ("/whl/cu118/torch-2.0.1%2Bcu118-cp311-cp311-linux_x86_64.whl#sha256=00", "cu118"),
        ("../cu118/torch-2.0.1%2Bcu118-cp311-cp311-linux_x86_64.whl", "cu118"),
        ("https://files.example/whl/cpu-cxx11-abi/torch-2.0.1%2Bcu118-cp311-cp311-linux_x86_64.whl", "cpu-cxx11-abi"),
        ("/whl/torch-2.0.1%2Bcu118-cp311-cp311-linux_x86_64.whl", ""),
        ("/elsewhere/torch-2.0.1%2Bcu118-cp311-cp311-linux_x86_64.whl", None),
    ],
)
def test_the_folder_of_a_file_comes_from_its_link(link: str, directory: str | None) -> None:
    import pypi_simple

    page = f'<html><body><a href="{link}">torch-2.0.1+cu118-cp311-cp311-linux_x86_64.whl</a></body></html>'
    (package,) = pypi_simple.ProjectPage.from_html("torch", page, base_url="https://index.example/whl/torch/").packages
    file = observer.seen_package(package, "https://index.example/whl")
    assert file is not None
    assert (file.directory, file.label, file.variant) == (directory, "+cu118", "cu118")


def test_an_index_that_cannot_be_asked_leaves_the_others_compared(capsys: pytest.CaptureFixture[str]) -> None:
    with serve() as server:
        server.add("main", make_wheel("torch", "99.0.0", "cp311-cp311-win_amd64"))
        server.add("empty", make_wheel("numpy", "1.0"))
        bad = ("http://127.0.0.1:9/simple/", f"{server.base}/broken/login/", server.url("simple", "empty"))
        options = [option for url in (*bad, server.url("simple", "main")) for option in ("--index", url)]
        code = observer.main([*options, "--package", "torch"])
    told = capsys.readouterr().out.splitlines()
    assert code == 3
    assert told[0].endswith(": refuses the connection")
    assert all(line.endswith(": answers, but has no files of torch") for line in told[1:3])
    assert told[3].endswith(": 1 of torch")
    assert any("not on http://127.0.0.1" in line and line.endswith("/simple/main/") for line in told)


def test_an_option_without_sense_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        observer.main(["--index", "pipy"])
    assert ended.value.code == 2
    assert "pipy: neither official, pypi nor an address" in capsys.readouterr().err


def test_small_members_are_read_out_of_a_large_wheel() -> None:
    import requests

    wheel = make_wheel("torch", "99.0.0", "cp311-cp311-win_amd64", requires=("numpy",), padding=500_000)
    with serve() as server, requests.Session() as session:
        server.add("main", wheel)
        remote = observer.RemoteFile(session, f"{server.base}/files/main/{wheel.filename}", 5)
        with zipfile.ZipFile(remote) as archive:
            assert archive.read("torch-99.0.0.dist-info/METADATA") == wheel.metadata
        assert all(request.range for request in server.requests)


@pytest.mark.online
def test_the_default_registry_holds_what_the_tables_say(tables: Tables) -> None:
    """Releases after the last review of the tables may be new; nothing about those before it may differ."""
    asked = observer.Web().ask("pypi", default_registry(), observer.PROJECTS, tables)
    assert asked.problem is None
    held = {
        project: tuple(file for file in files if not file.day or file.day <= tables.trust().reviewed)
        for project, files in asked.files.items()
    }
    reviewed = Asked(name=asked.name, address=asked.address, files=held)
    with_no_look_inside = compare(tables, [reviewed], opener(), today=TODAY)
    assert drift(with_no_look_inside) == []

"""A wrong table is reported with its file, the row and the key, whatever is wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envfix.errors import TableError
from envfix.tables.loader import load
from envfix.tables.sources import NAMES

TABLES = Path(__file__).resolve().parent.parent / "compat_tables"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TABLES, tmp_path / "tables"))


def _error(folder: Path, name: str) -> TableError:
    with pytest.raises(TableError) as caught:
        getattr(load(folder, cache=folder / "cache"), name)
    return caught.value


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        pytest.param(
            "drivers", "branch: 390", "branch: [390]", ["row 2 of branches", "'branch'", "wrong kind"], id="wrong-type"
        ),
        pytest.param(
            "drivers",
            "{branch: 390, cuda: '9.1'",
            "{branch: 390, cuda: 9",
            ["row 2 of branches (390)", "'cuda'", "wrong kind"],
            id="number-for-version",
        ),
        pytest.param(
            "drivers",
            "{branch: 390,",
            "{branch: 390, colour: red,",
            ["row 2 of branches (390)", "'colour'", "not a key"],
            id="unknown-key",
        ),
        pytest.param(
            "drivers",
            "{branch: 390, cuda: '9.1',",
            "{branch: 390,",
            ["row 2 of branches (390)", "'cuda'", "missing"],
            id="missing-key",
        ),
        pytest.param(
            "drivers",
            "{branch: 390, cuda: '9.1'",
            "{branch: 390, cuda: nine",
            ["row 2 of branches (390)", "'cuda'", "'nine' is not a CUDA version"],
            id="bad-cuda",
        ),
        pytest.param(
            "drivers",
            "linux: '440.33'",
            "linux: '440,33'",
            ["of toolkits (10.2)", "'linux'", "driver version"],
            id="bad-driver",
        ),
        pytest.param(
            "drivers",
            "{branch: 390, cuda: '9.1', status: legacy, note: last branch for Fermi, confidence: verified",
            "{branch: 390, cuda: '9.1', status: legacy, note: last branch for Fermi, confidence: sure",
            ["row 2 of branches (390)", "'confidence'", "'sure' is not one of"],
            id="unknown-confidence",
        ),
        pytest.param(
            "drivers",
            "{branch: 390, cuda: '9.1', status: legacy",
            "{branch: 390, cuda: '9.1', status: old",
            ["row 2 of branches (390)", "'status'", "'old' is not one of"],
            id="unknown-word",
        ),
        pytest.param(
            "drivers",
            "confidence: verified, source: driver-tables}",
            "confidence: verified, source: driver-tables + hearsay}",
            ["row 1 of toolkits (8.0)", "'source'", "'hearsay'"],
            id="unknown-source",
        ),
        pytest.param(
            "drivers", "{branch: 396,", "{branch: 390,", ["row 3 of branches (390)", "'branch'", "twice"], id="twice"
        ),
        pytest.param(
            "drivers", "reviewed: '2026-11-23'", "reviewed: soon", ["'reviewed'", "a day such as"], id="bad-day"
        ),
        pytest.param(
            "wheels",
            "- version: 1.7.1",
            "- version: 1.7.x",
            ["row 2 of releases (1.7.x)", "'version'", "release in three numbers such as"],
            id="bad-version",
        ),
        pytest.param(
            "wheels",
            "- version: 1.7.1",
            "- version: 1.7.0",
            ["row 2 of releases (1.7.0)", "'version'", "given twice"],
            id="release-twice",
        ),
        pytest.param(
            "wheels",
            "{variant: cu92, tag: linux_x86_64, pythons: [cp36, cp37, cp38]",
            "{variant: cu92, tag: linux_x86_64, pythons: [cp36, py37, cp38]",
            ["row 1 of releases (1.7.0)", "of official (cu92)", "'pythons'", "'py37'"],
            id="bad-python-tag",
        ),
        pytest.param(
            "wheels",
            "{variant: cu92,",
            "{variant: cuda92,",
            ["row 1 of releases (1.7.0)", "of official (cuda92)", "'variant'"],
            id="bad-variant",
        ),
        pytest.param(
            "wheels",
            "{variant: cu102, tag: manylinux1_x86_64, pythons: [cp36, cp37, cp38]}",
            "{variant: cu102, tag: manylinux1_x86_64}",
            ["row 1 of releases (1.7.0)", "row 1 of registry (cu102)", "'pythons'", "missing"],
            id="nested-missing-key",
        ),
        pytest.param(
            "companions",
            "requires_python: '>=3.6.1'",
            "requires_python: 3.6 or newer",
            ["row 1 of torch (1.7.0)", "'requires_python'", "specifier"],
            id="bad-specifier",
        ),
        pytest.param(
            "companions",
            "cudnn: {cu92: 7.6.3,",
            "cudnn: {cuda92: 7.6.3,",
            ["row 1 of torch (1.7.0)", "'cudnn'", "'cuda92'"],
            id="bad-key-of-a-mapping",
        ),
        pytest.param(
            "gpus", "capabilities: ['3.0']", "capabilities: ['3']", ["row 1 of gpus", "'capabilities'"], id="bad-cc"
        ),
        pytest.param("architectures", "sm: [sm_37,", "sm: [sm37,", ["row 1 of builds", "'sm'", "'sm37'"], id="bad-sm"),
        pytest.param(
            "indexes",
            "kind: official",
            "kind: mirror",
            ["'kind'", "official"],
            id="no-official-index",
        ),
        pytest.param(
            "wheels",
            "- version: 2.13.0",
            "- version: 2.13",
            ["of releases (2.13)", "'version'", "release in three numbers"],
            id="release-in-two-numbers",
        ),
        pytest.param(
            "wheels",
            "- version: 2.13.0",
            "- version: 2.13.7",
            ["of releases", "2.13.", "no row"],
            id="release-that-companions-lack",
        ),
        pytest.param(
            "companions",
            "torchvision: [0.28.0]",
            "torchvision: [0.82.0]",
            ["of torch (2.13.0)", "'torchvision'", "0.82.0"],
            id="companion-without-wheels",
        ),
        pytest.param(
            "companions",
            "torchvision: [0.28.0]",
            "torchvision: [0.27.1]",
            ["of torch (2.13.0)", "'torchvision'", "torchvision 0.27.1 asks for torch==2.12.1, not 2.13.0"],
            id="companion-of-another-torch",
        ),
        pytest.param(
            "companions",
            "cudnn: {cu126: 9.10.2.21, cu129: 9.20.0.48,",
            "cudnn: {cu127: 9.10.2.21, cu129: 9.20.0.48,",
            ["of torch (2.12.1)", "'cudnn'", "cu127"],
            id="variant-without-wheels",
        ),
        pytest.param(
            "architectures",
            "{torch: [2.15.0], variants: [cu130], platforms: [linux_x86_64]",
            "{torch: [2.15.9], variants: [cu130], platforms: [linux_x86_64]",
            ["2.15.", "cu130", "linux_x86_64"],
            id="architectures-of-no-release",
        ),
        pytest.param(
            "architectures",
            "{torch: [1.7.0, 1.7.1], variants: [cu101], platforms: [linux_x86_64]",
            "{torch: [1.7.0, 1.7.1], variants: [cu102], platforms: [linux_x86_64]",
            ["row 3 of builds (1.7.0 cu102 linux_x86_64)", "'torch'", "has a row already"],
            id="architectures-twice",
        ),
        pytest.param(
            "architectures",
            "confidence: partly_verified",
            "confidence: partly",
            ["row 1 of builds (1.7.0 cu92 linux_x86_64)", "'confidence'"],
            id="row-named-by-its-facts",
        ),
        pytest.param(
            "wheels",
            "tag: manylinux_2_28_x86_64",
            "tag: manylinux_2_28_x86_46",
            ["'tag'", "'manylinux_2_28_x86_46' is not a platform tag"],
            id="bad-architecture",
        ),
        pytest.param(
            "wheels",
            "{variant: cu92, tag: linux_x86_64, pythons: [cp36, cp37, cp38]",
            "{variant: cu92, tag: linux_x86_64, pythons: [cp36, cp36, cp38]",
            ["row 1 of releases (1.7.0)", "of official (cu92)", "'pythons'", "cp36 is given twice"],
            id="python-twice",
        ),
        pytest.param(
            "wheels",
            "cp315t], inferred: [cp310]",
            "cp315t], inferred: [cp311]",
            ["of official (cpu)", "'inferred'", "cp311 is among the pythons already"],
            id="python-seen-and-inferred",
        ),
        pytest.param(
            "wheels",
            "{variant: cu92, tag: linux_x86_64",
            "{variant: cpu, tag: linux_x86_64",
            ["row 1 of releases (1.7.0)", "of official (cpu)", "'tag'", "has a row already"],
            id="files-twice",
        ),
        pytest.param(
            "wheels",
            "- {tag: manylinux1_x86_64, glibc: '2.17', confidence: inferred, source: general-knowledge}\n",
            "",
            ["'tag'", "no row of glibc tells the oldest glibc of manylinux1_x86_64"],
            id="tag-without-glibc",
        ),
        pytest.param(
            "wheels",
            "- {variants: [cu126], torch: '>=2.15'",
            "- {variants: [cu126], torch: '>=2.13'",
            ["of releases (2.13.0)", "'variant'", "a row of absent says that cu126 does not exist"],
            id="wheels-said-to-be-absent",
        ),
        pytest.param(
            "wheels",
            "- {tag: linux_s390x, glibc: '2.17', confidence: inferred,",
            "- {tag: linux_s390x, glibc: '2.17',",
            ["row 6 of glibc (linux_s390x)", "'confidence'", "missing"],
            id="glibc-row-without-confidence",
        ),
        pytest.param(
            "indexes",
            "base: https://download.pytorch.org/whl\n",
            "base: htps://download.pytorch.org/whl\n",
            ["(official)", "'base'", "an address such as"],
            id="bad-address",
        ),
        pytest.param(
            "indexes",
            "newest_torch: 2.14.0",
            "newest_torch: 2.41.0",
            ["(aliyun)", "'newest_torch'", "2.41.0"],
            id="mirror-with-a-release-that-is-none",
        ),
        pytest.param(
            "gpus",
            "{name: GeForce RTX 5090, capabilities: ['12.0']",
            "{name: GeForce RTX 5090, capabilities: ['12.5']",
            ["(GeForce RTX 5090)", "'capabilities'", "12.5"],
            id="capability-that-no-driver-knows",
        ),
        pytest.param("indexes", "index_url: true", "index_url: yes", ["(official)", "'index_url'"], id="yes-is-text"),
    ],
)
def test_damage_is_reported_with_file_row_and_key(
    folder: Path, file: str, old: str, new: str, named: list[str]
) -> None:
    _replace(folder / f"{file}.yaml", old, new)
    message = _error(folder, file if file != "indexes" else "wheels").message
    assert f"{file}.yaml" in message
    for words in named:
        assert words in message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        pytest.param(b"", ["mapping"], id="empty"),
        pytest.param(b"- a\n- b\n", ["mapping"], id="a-list"),
        pytest.param(b"reviewed: '2026-11-23'\nsources: [\n", ["broken YAML", "row 3"], id="broken-yaml"),
        pytest.param(b"a: 1\nb: \xff\n", ["UTF-8", "row 2"], id="not-utf8"),
        pytest.param(b"a: 1\nb: \x00\n", ["broken YAML"], id="control-character"),
        pytest.param(b"a: 1\nb: 2\na: 3\n", ["row 3", "'a'", "given twice"], id="key-twice"),
        pytest.param(b"1: 2\n", ["row 1", "not text"], id="number-as-key"),
        pytest.param(b"a: !!python/object/apply:os.getcwd []\n", ["broken YAML", "row 1"], id="code"),
        pytest.param(b"sources: []\n", ["'reviewed'", "missing"], id="no-review"),
        pytest.param(b"reviewed: '2026-11-23'\nsources: []\n", ["missing"], id="no-rows"),
    ],
)
@pytest.mark.parametrize("name", ["drivers", "wheels"])
def test_an_unreadable_table_is_reported(folder: Path, name: str, content: bytes, named: list[str]) -> None:
    (folder / f"{name}.yaml").write_bytes(content)
    message = _error(folder, name).message
    for words in (f"{name}.yaml", *named):
        assert words in message


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_table_is_reported(folder: Path, name: str) -> None:
    (folder / f"{name}.yaml").unlink()
    error = _error(folder, name)
    assert error.message == f"{name}.yaml is missing from {folder}"
    assert error.exit_code == 3


def test_a_folder_in_place_of_a_table_is_reported(folder: Path) -> None:
    (folder / "drivers.yaml").unlink()
    (folder / "drivers.yaml").mkdir()
    assert "drivers.yaml cannot be read" in _error(folder, "drivers").message


@pytest.mark.parametrize("name", NAMES)
def test_every_part_of_every_table_is_needed(folder: Path, name: str) -> None:
    file = folder / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    for part in [line.split(":")[0] for line in text.splitlines() if line and line[0].isalpha()]:
        file.write_text(text.replace(f"\n{part}:", f"\nno_{part}:", 1), encoding="utf-8")
        message = _error(folder, name).message
        assert f"{name}.yaml" in message
        assert part in message


def test_a_wrong_table_is_not_cached(folder: Path) -> None:
    _replace(folder / "drivers.yaml", "source: driver-tables}", "source: hearsay}")
    assert "hearsay" in _error(folder, "drivers").message
    assert "hearsay" in _error(folder, "drivers").message


def _swap(row: str) -> str:
    return row.replace("{", "{unheard_of: 1, ", 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [pytest.param(_swap, id="unknown-key")])
def test_any_row_can_be_damaged_and_is_named(folder: Path, name: str, damage: Callable[[str], str]) -> None:
    file = folder / f"{name}.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [number for number, line in enumerate(lines) if line.lstrip().startswith("- {")]
    for number in rows[:: max(1, len(rows) // 5)]:
        damaged = [*lines[:number], damage(lines[number]), *lines[number + 1 :]]
        file.write_text("\n".join(damaged), encoding="utf-8")
        message = _error(folder, name).message
        for words in (f"{name}.yaml", "row ", "'unheard_of'"):
            assert words in message

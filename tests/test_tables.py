"""The tables are found, compiled, cached and read lazily, and a checkout never uses a stale copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from packaging.version import Version

from envfix.errors import TableError
from envfix.tables import loader
from envfix.tables.loader import PackagedStore, Tables, load
from envfix.tables.sources import NAMES, compile_table, parse_table

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "compat_tables"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tables that a test may edit."""
    return Path(shutil.copytree(TABLES, tmp_path / "tables"))


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def _packaged(place: Path) -> Path:
    """A package folder as a wheel installs it."""
    target = place / "envfix" / "_compat_tables"
    target.mkdir(parents=True)
    for name in NAMES:
        (target / f"{name}.json").write_bytes(compile_table((TABLES / f"{name}.yaml").read_bytes()))
    return target.parent


def test_every_table_of_the_checkout_is_valid(tmp_path: Path) -> None:
    load(TABLES, cache=tmp_path).check()


def test_the_folder_holds_exactly_the_known_tables() -> None:
    assert sorted(path.stem for path in TABLES.glob("*.yaml")) == sorted(NAMES)


def test_a_checkout_is_recognised_by_its_pyproject_beside_the_tables(tmp_path: Path) -> None:
    (tmp_path / "compat_tables").mkdir()
    assert loader._checkout(tmp_path / "envfix") is None
    (tmp_path / "pyproject.toml").touch()
    assert loader._checkout(tmp_path / "envfix") == tmp_path / "compat_tables"


def test_without_a_folder_the_checkout_wins(tmp_path: Path) -> None:
    assert load(cache=tmp_path).origin == str(TABLES)


def test_without_a_checkout_the_package_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_checkout", lambda: None)
    assert load(cache=tmp_path).origin == "envfix"


def test_a_given_folder_that_is_missing_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such folder") as caught:
        load(tmp_path / "nowhere")
    assert "ENVFIX_TABLES" in str(caught.value.hint)


def test_an_edit_is_seen_at_the_next_load(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert load(folder, cache=cache).indexes.by_name("nju") is not None
    _edit(folder / "indexes.yaml", "name: nju", "name: new")
    tables = load(folder, cache=cache)
    assert tables.indexes.by_name("nju") is None
    assert tables.indexes.by_name("new") is not None


def test_an_edited_table_leaves_one_compiled_file(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert load(folder, cache=cache).indexes.official()
    _edit(folder / "indexes.yaml", "name: nju", "name: new")
    assert load(folder, cache=cache).indexes.official()
    assert len(list((cache / "tables").glob("indexes-*"))) == 1
    assert len(list((cache / "tables").glob("checked-*"))) == 1


def test_a_cached_table_is_read_instead_of_its_yaml(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(folder, cache=tmp_path / "cache").indexes.official()
    monkeypatch.setattr(loader, "compile_table", _fail)
    assert load(folder, cache=tmp_path / "cache").indexes.official()


def _fail(_source: bytes) -> bytes:
    raise AssertionError("the YAML was parsed again")


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b"[1]", b'{"reviewed": "2026-11-23"'])
def test_a_damaged_cache_is_replaced(folder: Path, tmp_path: Path, damage: bytes) -> None:
    cache = tmp_path / "cache"
    assert load(folder, cache=cache).indexes.official()
    (cached,) = (cache / "tables").glob("indexes-*")
    whole = cached.read_bytes()
    cached.write_bytes(damage)
    assert load(folder, cache=cache).indexes.official()
    assert cached.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where a folder should be", encoding="utf-8")
    assert load(folder, cache=blocked).indexes.official()
    assert blocked.is_file()


def test_a_cache_on_a_full_disk_leaves_nothing_half_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert load(folder, cache=tmp_path / "cache").indexes.official()
    assert list((tmp_path / "cache" / "tables").iterdir()) == []


def test_the_users_cache_folder_is_the_default(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def cache_dir(name: str, **_options: object) -> str:
        asked.append(name)
        return str(tmp_path / "user")

    monkeypatch.setattr("platformdirs.user_cache_dir", cache_dir)
    assert load(folder).indexes.official()
    assert asked == ["envfix"]
    assert list((tmp_path / "user" / "tables").glob("indexes-*.json"))


def test_two_folders_do_not_share_a_cache_entry(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    cache = tmp_path / "cache"
    assert load(folder, cache=cache).indexes.official()
    assert load(other, cache=cache).indexes.official()
    assert len(list((cache / "tables").glob("indexes-*.json"))) == 2


def test_an_installed_package_reads_the_same_rows_as_the_checkout(tmp_path: Path) -> None:
    installed = Tables(PackagedStore(_packaged(tmp_path)))
    written = load(TABLES, cache=tmp_path / "cache")
    assert installed.wheels.file == written.wheels.file
    assert installed.companions.file == written.companions.file
    assert installed.drivers.file == written.drivers.file
    installed.check()


def test_an_installation_without_its_tables_says_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"drivers\.yaml is missing from this installation") as caught:
        Tables(PackagedStore(tmp_path)).drivers.branches()
    assert caught.value.hint == "install envfix again"


@pytest.mark.parametrize("name", NAMES)
def test_compiled_json_says_what_the_yaml_says(name: str) -> None:
    source = (TABLES / f"{name}.yaml").read_bytes()
    assert json.loads(compile_table(source)) == parse_table(source)


@pytest.mark.parametrize("name", NAMES)
def test_no_version_in_a_table_became_a_number(name: str) -> None:
    def walk(value: object) -> None:
        assert not isinstance(value, float)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(parse_table((TABLES / f"{name}.yaml").read_bytes()))


def test_only_the_tables_that_are_asked_are_read(tmp_path: Path) -> None:
    package = _packaged(tmp_path)
    for name in NAMES:
        if name != "drivers":
            (package / "_compat_tables" / f"{name}.json").unlink()
    assert Tables(PackagedStore(package)).drivers.branches()


def test_tables_of_a_folder_are_compared_once_after_each_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[str] = []
    monkeypatch.setattr(Tables, "check", lambda tables: checks.append(tables.origin))
    for _ in range(2):
        load(folder, cache=tmp_path / "cache")
    assert checks == [str(folder)]
    _edit(folder / "indexes.yaml", "name: nju", "name: new")
    load(folder, cache=tmp_path / "cache")
    assert checks == [str(folder)] * 2


def test_wheels_of_torch_do_not_read_the_companions(tmp_path: Path) -> None:
    package = _packaged(tmp_path)
    (package / "_compat_tables" / "companions.json").unlink()
    tables = Tables(PackagedStore(package))
    assert tables.wheels.find("torch", version="2.7.1")
    with pytest.raises(TableError, match=r"companions\.yaml"):
        tables.wheels.find("torchvision")


def test_tables_cannot_be_changed(tmp_path: Path) -> None:
    tables = load(TABLES, cache=tmp_path)
    with pytest.raises(AttributeError, match="immutable"):
        tables.drivers = None  # type: ignore[assignment]
    assert tables.drivers is tables.drivers
    assert repr(tables) == f"Tables({str(TABLES)!r})"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return load(TABLES, cache=tmp_path_factory.mktemp("cache"))


def test_rows_cannot_be_changed(tables: Tables) -> None:
    row = tables.drivers.branches()[0]
    with pytest.raises(AttributeError):
        row.cuda = "1.0"  # type: ignore[misc]


def test_trust_names_the_oldest_review_and_the_newest_torch(folder: Path, tmp_path: Path) -> None:
    _edit(folder / "drivers.yaml", "reviewed: '2026-11-23'", "reviewed: '2026-10-01'")
    trust = load(folder, cache=tmp_path / "cache").trust()
    assert (trust.reviewed, trust.newest_torch, trust.newest_torch_released) == (
        "2026-10-01",
        Version("2.15.0"),
        "2026-10-28",
    )


def test_unquoted_versions_and_days_stay_text(folder: Path, tmp_path: Path) -> None:
    _edit(folder / "drivers.yaml", "reviewed: '2026-11-23'", "reviewed: 2026-11-23")
    _edit(folder / "drivers.yaml", "{branch: 384, cuda: '9.0'", "{branch: 384, cuda: 9.0")
    _edit(folder / "drivers.yaml", "linux: '440.33'", "linux: 440.30")
    file = load(folder, cache=tmp_path / "cache").drivers.file
    assert file.reviewed == "2026-11-23"
    assert [row.linux for row in file.toolkits if row.cuda == "10.2"] == ["440.30"]


def test_a_new_release_is_rows_in_three_tables(folder: Path, tmp_path: Path) -> None:
    """Index address, variant, wheels of all three packages and architectures follow from the rows alone."""
    _edit(
        folder / "wheels.yaml",
        "releases:\n",
        """releases:
- version: 2.99.0
  official:
  - {variant: cu150, tag: manylinux_2_34_x86_64, pythons: [cp316], confidence: verified, source: registry-list}
  registry:
  - {variant: cu150, tag: manylinux_2_34_x86_64, pythons: [cp316]}
""",
    )
    _edit(
        folder / "companions.yaml",
        "\ntorch:\n",
        """
torch:
- {version: 2.99.0, released: 2027-05-01, requires_python: '>=3.12', torchvision: [0.29.2], torchaudio: [2.11.0],
   cudnn: {}, confidence: verified, source: wheel-metadata}
""",
    )
    _edit(
        folder / "architectures.yaml",
        "builds:\n",
        """builds:
- {torch: [2.99.0], variants: [cu150], platforms: [linux_x86_64], sm: [sm_150],
   confidence: verified, source: binary-scan}
""",
    )
    tables = load(folder, cache=tmp_path / "cache")
    found = tables.wheels.find("torch", python="cp316", platform="linux_x86_64")
    assert [wheel.url for wheel in found] == [
        f"{tables.indexes.official().base}/cu150/torch-2.99.0%2Bcu150-cp316-cp316-manylinux_2_34_x86_64.whl",
        None,
    ]
    assert found[0].glibc == (2, 34)
    assert tables.wheels.variants()[0] == "cu150"
    assert tables.architectures.built(Version("2.99.0"), "cu150", "linux_x86_64") is not None
    assert tables.trust().newest_torch == Version("2.99.0")


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(lambda tables: tables.wheels.all("torchvision"), id="wheels"),
        pytest.param(lambda tables: tables.gpus.all(), id="gpus"),
        pytest.param(lambda tables: tables.ultralytics.ranges(), id="ultralytics"),
        pytest.param(lambda tables: tables.conda.pytorch_builds(), id="conda"),
    ],
)
def test_the_same_question_has_the_same_answer(query: Callable[[Tables], object], tables: Tables) -> None:
    assert query(tables) == query(tables)


def test_records_of_answers_are_frozen(tables: Tables) -> None:
    for record in (tables.wheels.all()[0], tables.gpus.all()[0], tables.conda.pytorch_builds()[0], tables.trust()):
        assert isinstance(record, msgspec.Struct)
        assert record.__struct_config__.frozen

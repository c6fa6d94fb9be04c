"""The journal of a change: what is kept how, what is put back, and what is told where that is impossible."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from envfix.host import journal
from envfix.host.journal import Journal, JournalError
from envfix.installer import acting
from envfix.installer.changes import Layout, arriving, changes, layout_of
from envfix.model.reporter import NullReporter
from tests.small_disk import small_disk
from tests.trees import differences, tree

SITE = "lib/python3.11/site-packages"


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment with two packages, one of them with data that its owner has put in."""
    return filled(tmp_path / "env")


def filled(folder: Path) -> Path:
    put(
        folder,
        "torch",
        "2.0.1",
        {"torch/__init__.py": "old", "torch/lib/libtorch.so": "code", "../../../bin/torchrun": "#!"},
    )
    put(folder, "ultralytics", "8.0", {"ultralytics/__init__.py": "yolo"})
    (folder / SITE / "ultralytics" / "mine.yaml").write_text("my classes")
    (folder / SITE / "torch" / "__pycache__").mkdir()
    (folder / SITE / "torch" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"bytecode")
    (folder / "envfix-constraints.txt").write_text("torch==2.0.1\n")
    return folder


def put(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """A package with its RECORD."""
    site = folder / SITE
    info = f"{name}-{version}.dist-info"
    for path, text in {**files, f"{info}/METADATA": f"Name: {name}\nVersion: {version}\n"}.items():
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (folder / "bin").mkdir(exist_ok=True)
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/METADATA", f"{info}/RECORD"))
    (site / info / "RECORD").write_text(record)


def begun(env: Path, wanted: dict[str, str], incoming: dict[str, tuple[str, ...]] | None) -> Journal:
    """A change that has begun: what goes is aside, and what may be overwritten is kept."""
    layout = layout_of(str(env))
    log = Journal(str(env))
    before = log.begin("a test", zones=layout.zones, singles=layout.singles, litter=layout.litter)
    planned = changes(layout, before, wanted, incoming, lambda path: Path(path).read_text())
    log.keep([*planned.as_bytes, *(path for path in layout.singles if path in before)], as_bytes=True)
    log.keep([path for path in planned.keep if path not in layout.singles])
    log.move_aside(planned.move)
    return log


def test_a_whole_package_is_moved_with_one_rename_and_comes_back(env: Path) -> None:
    before = tree(env)
    inode = (env / SITE / "torch" / "lib" / "libtorch.so").stat().st_ino
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    assert not (env / SITE / "torch").exists()
    assert (env / "bin" / "torchrun").exists() is False
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new", "torch/more.py": "new"})
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert restored.differing == ()
    assert differences(before, tree(env)) == []
    assert (env / SITE / "torch" / "lib" / "libtorch.so").stat().st_ino == inode, "the very file, not a copy"
    assert (env / SITE / "torch" / "__pycache__" / "__init__.cpython-311.pyc").exists()


def test_what_its_owner_has_put_into_a_package_stays_where_it_is(env: Path) -> None:
    begun(env, {"ultralytics": "8.1"}, {"ultralytics": ("ultralytics/__init__.py",)})
    assert (env / SITE / "ultralytics" / "mine.yaml").read_text() == "my classes"
    assert not (env / SITE / "ultralytics" / "__init__.py").exists()


def test_a_file_of_another_package_that_a_wheel_overwrites_comes_back(env: Path) -> None:
    before = tree(env)
    begun(env, {"greedy": "1.0"}, {"greedy": ("ultralytics/__init__.py", "greedy.py")})
    (env / SITE / "ultralytics" / "__init__.py").unlink()
    put(env, "greedy", "1.0", {"ultralytics/__init__.py": "mine now", "greedy.py": "x"})
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def test_without_a_list_of_what_comes_everything_that_could_be_overwritten_is_kept(env: Path) -> None:
    before = tree(env)
    begun(env, {"greedy": "1.0"}, None)
    (env / SITE / "ultralytics" / "mine.yaml").unlink()
    (env / SITE / "ultralytics" / "mine.yaml").write_text("overwritten")
    (env / SITE / "torch" / "__init__.py").unlink()
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def test_a_command_that_a_new_package_overwrites_comes_back(env: Path) -> None:
    before = tree(env)
    begun(env, {"greedy": "1.0"}, {"greedy": ("greedy.py",)})
    (env / "bin" / "torchrun").unlink()
    (env / "bin" / "torchrun").write_text("another program")
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def test_a_change_that_was_taken_back_halfway_is_taken_back_by_the_next_try(env: Path) -> None:
    before = tree(env)
    begun(env, {"torch": "2.1.2", "ultralytics": "8.1"}, None)
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    kept = env / ".envfix" / "pending" / "kept" / SITE
    os.rename(kept / "torch-2.0.1.dist-info", env / SITE / "torch-2.0.1.dist-info")
    assert journal.roll_back(str(env)) is not None
    assert differences(before, tree(env)) == []
    assert journal.roll_back(str(env)) is None


def test_what_is_not_as_it_was_is_named(env: Path) -> None:
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    (env / SITE / "ultralytics" / "__init__.py").write_text("changed by somebody meanwhile")
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert restored.differing == (str(env / SITE / "ultralytics" / "__init__.py"),)
    assert acting.restored_in_words(restored).endswith(
        f"put back, 0 removed, but 1 are not as they were: {restored.differing[0]}"
    )


def test_a_damaged_journal_is_an_error_that_says_where_the_files_are(env: Path) -> None:
    begun(env, {"torch": "2.1.2"}, None)
    entry = env / ".envfix" / "pending" / "journal.json"
    entry.write_text('{"schema": "envfix.journal/1", "state"')
    with pytest.raises(JournalError) as caught:
        journal.roll_back(str(env))
    assert caught.value.message == f"the journal of an unfinished installation cannot be read: {entry}"
    assert caught.value.hint == (
        f"the files it kept are in {entry.parent}/kept; make a fresh environment with --new-env PATH"
    )


def test_a_journal_whose_list_is_gone_is_an_error(env: Path) -> None:
    begun(env, {"torch": "2.1.2"}, None)
    listed = env / ".envfix" / "pending" / "before"
    listed.write_bytes(b"[")
    with pytest.raises(JournalError) as caught:
        journal.roll_back(str(env))
    assert caught.value.message == f"the list of what was there cannot be read: {listed}"


def test_a_journal_that_had_not_begun_changes_nothing(env: Path) -> None:
    before = tree(env)
    (env / ".envfix" / "pending" / "kept").mkdir(parents=True)
    assert not journal.has_pending(str(env))
    assert journal.roll_back(str(env)) is None
    assert differences(before, tree(env)) == []


def test_names_that_are_no_text_are_kept_too(env: Path) -> None:
    name = os.path.join(os.fsencode(env / SITE), b"caf\xe9.py")
    with open(name, "wb") as stream:
        stream.write(b"x")
    begun(env, {"torch": "2.1.2"}, None)
    os.unlink(name)
    journal.roll_back(str(env))
    assert os.path.exists(name)


def test_kept_files_on_another_file_system_are_copied_and_come_back(tmp_path: Path) -> None:
    env = filled(tmp_path / "env")
    before = tree(env)
    with small_disk(env / ".envfix"):
        begun(env, {"torch": "2.1.2"}, None)
        assert not (env / SITE / "torch").exists()
        put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
        restored = journal.roll_back(str(env))
    assert restored is not None
    assert restored.differing == ()
    assert differences(before, tree(env)) == []


def test_where_there_is_no_room_for_what_is_kept_nothing_is_lost(tmp_path: Path) -> None:
    env = filled(tmp_path / "env")
    (env / SITE / "torch" / "lib" / "libtorch.so").write_bytes(b"x" * 300_000)
    before = tree(env)
    with small_disk(env / ".envfix", "size=64k"):
        with pytest.raises(OSError, match="No space left"):
            begun(env, {"torch": "2.1.2"}, None)
        journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def test_an_environment_that_was_moved_meanwhile_is_put_back_where_it_is_now(env: Path) -> None:
    before = tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    moved = env.rename(env.with_name("moved"))
    restored = journal.roll_back(str(moved))
    assert restored is not None
    assert restored.differing == ()
    assert differences(before, tree(moved)) == []


@pytest.mark.parametrize("zone", ["../precious", "/etc", "lib/../../precious", "link"])
def test_a_journal_that_points_out_of_its_environment_touches_nothing(env: Path, zone: str) -> None:
    precious = env.parent / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    (env / "link").symlink_to(precious)
    begun(env, {"torch": "2.1.2"}, None)
    entry = env / ".envfix" / "pending" / "journal.json"
    said = json.loads(entry.read_text())
    entry.write_text(json.dumps({**said, "zones": [zone, *said["zones"]]}))
    with pytest.raises(JournalError, match="lies outside of the environment"):
        journal.roll_back(str(env))
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_a_folder_that_became_a_link_is_replaced_and_not_followed(env: Path) -> None:
    before = tree(env)
    precious = env.parent / "precious"
    precious.mkdir()
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    (env / SITE / "torch").symlink_to(precious)
    journal.roll_back(str(env))
    assert list(precious.iterdir()) == []
    assert differences(before, tree(env)) == []


def test_an_unfinished_new_environment_in_which_its_owner_has_put_something_stays(tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.mkdir()
    Journal(str(env)).begin_new("torch", had_folder=False)
    (env / "bin").mkdir()
    (env / "pyvenv.cfg").write_text("home = /usr\nuv = 0.13\n")
    (env / "results").mkdir()
    (env / "results" / "best.pt").write_bytes(b"weights")
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert acting.restored_in_words(restored).endswith(
        f": what it left stays, because there is something in it that is not of it: {env}/results/best.pt"
    )
    assert (env / "results" / "best.pt").exists()
    assert not journal.has_pending(str(env))


def test_an_environment_that_somebody_else_has_made_in_its_place_stays(tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.mkdir()
    Journal(str(env)).begin_new("torch", had_folder=False)
    (env / "bin").mkdir()
    (env / "pyvenv.cfg").write_text("home = /usr\ninclude-system-site-packages = false\n")
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert restored.left == (f"{env}/pyvenv.cfg",)
    assert (env / "pyvenv.cfg").exists()


def test_what_came_meanwhile_and_is_not_of_the_change_stays(env: Path) -> None:
    log = begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py", "torch-2.1.2.dist-info/RECORD")})
    comes = arriving(layout_of(str(env)), {"torch": ("torch/__init__.py", "torch-2.1.2.dist-info/RECORD")})
    assert comes is not None
    log.expect(comes.files, comes.folders)
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    put(env, "later", "1.0", {"later.py": "mine"})
    (env / "bin" / "mytool").write_text("mine")
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert (env / SITE / "later.py").read_text() == "mine"
    assert (env / "bin" / "mytool").read_text() == "mine"
    assert not (env / SITE / "torch-2.1.2.dist-info").exists()
    assert (env / SITE / "torch" / "__init__.py").read_text() == "old"
    assert f"not of it, and left: {env}" in acting.restored_in_words(restored)


def test_a_package_folder_that_is_a_link_goes_aside_as_a_link(env: Path) -> None:
    elsewhere = env.parent / "bigdisk"
    shutil.move(env / SITE / "torch", elsewhere)
    (env / SITE / "torch").symlink_to(elsewhere)
    outside, before = tree(elsewhere), tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    assert not (env / SITE / "torch").is_symlink()
    assert differences(outside, tree(elsewhere)) == []
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


@pytest.mark.parametrize("metadata", ["torch.egg-link", "torch.egg-info"])
def test_what_old_installers_have_left_is_kept_whole(env: Path, metadata: str) -> None:
    shutil.rmtree(env / SITE / "torch-2.0.1.dist-info")
    (env / SITE / metadata).write_text("/home/me/torch\n.")
    (env / SITE / "easy-install.pth").write_text("/home/me/torch\n")
    before = tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    (env / SITE / metadata).unlink()
    (env / SITE / "easy-install.pth").write_text("")
    shutil.rmtree(env / SITE / "torch")
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


@pytest.mark.parametrize(
    "entry",
    ["ultralytics", "../../../bin/python3.11", "../../../../elsewhere", "/etc/passwd", ".", "..", "x" * 200_000],
)
def test_a_record_that_names_what_is_not_its_own_moves_nothing_of_it(env: Path, entry: str) -> None:
    (env / "bin" / "python3.11").write_text("#!")
    (env.parent / "elsewhere").write_text("mine")
    record = env / SITE / "torch-2.0.1.dist-info" / "RECORD"
    record.write_text(record.read_text() + f"{entry},,\n")
    before = tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    assert (env / "bin" / "python3.11").exists()
    assert (env / SITE / "ultralytics" / "__init__.py").exists()
    assert (env.parent / "elsewhere").read_text() == "mine"
    assert not (env / SITE / "torch-2.0.1.dist-info").exists()
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def test_two_versions_of_one_package_go_aside_together(env: Path) -> None:
    put(env, "torch", "1.9.0", {"torch/__init__.py": "older", "torch/old.py": "x"})
    before = tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    assert list((env / SITE).glob("torch*.dist-info")) == []
    assert [path.name for path in (env / SITE / "torch").rglob("*") if path.is_file()] == ["__init__.cpython-311.pyc"]
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


@pytest.mark.parametrize("link", [".envfix", ".envfix/pending", ".envfix/undo"])
def test_a_link_in_place_of_the_journal_is_not_followed(env: Path, link: str) -> None:
    elsewhere = env.parent / "elsewhere"
    elsewhere.mkdir()
    (env / link).parent.mkdir(exist_ok=True)
    (env / link).symlink_to(elsewhere)
    with pytest.raises(JournalError) as caught:
        journal.refuse_links(str(env))
    assert (caught.value.message, caught.value.hint) == (
        f"{env / link} is a link, which envfix does not follow",
        "remove the link",
    )
    assert list(elsewhere.iterdir()) == []


def test_a_list_that_names_files_elsewhere_is_an_error(env: Path) -> None:
    begun(env, {"torch": "2.1.2"}, None)
    listed = env / ".envfix" / "pending" / "before"
    listed.write_text(json.dumps({"../made": ["d", 0, 0]}))
    with pytest.raises(JournalError, match="names files outside of the environment"):
        journal.roll_back(str(env))
    assert not (env.parent / "made").exists()


def test_undo_leaves_a_command_that_somebody_has_changed_since(env: Path) -> None:
    put(env, "extra", "1.0", {"extra.py": "1", "../../../bin/extra": "one"})
    log = begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    log.commit({"torch": "2.1.2"}, ["torch"])
    (env / "bin" / "extra").unlink()
    (env / "bin" / "extra").write_text("two, of a later version")
    restored = acting.undo(str(env), NullReporter())
    assert restored is not None
    assert restored.differing == ()
    assert (env / "bin" / "extra").read_text() == "two, of a later version"
    assert (env / SITE / "torch" / "__init__.py").read_text() == "old"
    assert (env / "bin" / "torchrun").read_text() == "#!"


def upgraded(env: Path) -> None:
    """The change that all tests of a later undo begin with: ultralytics 8.0 with one file of its own becomes 8.1."""
    put(
        env,
        "ultralytics",
        "8.0",
        {"ultralytics/__init__.py": "yolo", "ultralytics/cfg.yaml": "lr: old", "ultralytics/gone.py": "x"},
    )
    (env / SITE / "ultralytics" / "mine.yaml").unlink()
    files = ("ultralytics/__init__.py", "ultralytics/cfg.yaml", "ultralytics/more.py")
    log = begun(env, {"ultralytics": "8.1"}, {"ultralytics": files})
    put(env, "ultralytics", "8.1", {path: f"new {path}" for path in files})
    log.commit({"ultralytics": "8.1"}, ["ultralytics"])


def package(env: Path) -> dict[str, str]:
    """The files of ultralytics with their text."""
    return {path.name: path.read_text() for path in (env / SITE / "ultralytics").iterdir()}


OLD = {"__init__.py": "yolo", "cfg.yaml": "lr: old", "gone.py": "x"}


def test_a_package_comes_back_whole_and_what_somebody_has_changed_in_it_is_put_aside(env: Path) -> None:
    upgraded(env)
    (env / SITE / "ultralytics" / "cfg.yaml").write_text("lr: mine")
    (env / SITE / "ultralytics" / "more.py").write_text("my idea")
    restored = acting.undo(str(env), NullReporter())
    assert restored is not None
    assert package(env) == OLD
    assert restored.edited == (f"{env}/{SITE}/ultralytics/cfg.yaml", f"{env}/{SITE}/ultralytics/more.py")
    assert restored.edited_in is not None
    aside = Path(restored.edited_in) / SITE / "ultralytics"
    assert [(aside / name).read_text() for name in ("cfg.yaml", "more.py")] == ["lr: mine", "my idea"]


@pytest.mark.parametrize("what", ["copied", "touched", "installed again"])
def test_a_new_time_is_no_change(env: Path, tmp_path: Path, what: str) -> None:
    upgraded(env)
    if what == "copied":
        env = Path(shutil.copytree(env, tmp_path / "copy", copy_function=shutil.copy))
    for path in (env / SITE / "ultralytics").iterdir():
        text = path.read_text()
        if what == "installed again":
            path.unlink()
        path.write_text(text)
        os.utime(path, (1, 1))
    restored = acting.undo(str(env), NullReporter())
    assert restored is not None
    assert (restored.edited, restored.differing) == ((), ())
    assert package(env) == OLD
    assert not (env / SITE / "ultralytics-8.1.dist-info").exists()
    assert not (env / ".envfix").exists()


def test_what_a_later_installer_wrote_about_the_same_package_goes_with_it(env: Path) -> None:
    upgraded(env)
    (env / SITE / "ultralytics-8.1.dist-info" / "direct_url.json").write_text("{}")
    acting.undo(str(env), NullReporter())
    assert not (env / SITE / "ultralytics-8.1.dist-info").exists()


def test_a_package_of_bytecode_alone_is_not_taken_for_what_python_writes(env: Path) -> None:
    upgraded(env)
    (env / SITE / "secret").mkdir()
    (env / SITE / "secret" / "__init__.pyc").write_bytes(b"code")
    acting.undo(str(env), NullReporter())
    assert (env / SITE / "secret" / "__init__.pyc").read_bytes() == b"code"


def test_nothing_is_written_through_links_that_lie_in_wait(env: Path) -> None:
    precious = env.parent / "precious.txt"
    precious.write_text("years of work")
    upgraded(env)
    (env / ".envfix" / "undo" / "journal.json.new").symlink_to(precious)
    acting.undo(str(env), NullReporter())
    assert package(env) == OLD
    assert precious.read_text() == "years of work"


def test_another_installation_than_the_one_that_was_shown_is_not_undone(env: Path) -> None:
    upgraded(env)
    with pytest.raises(JournalError) as caught:
        acting.undo(str(env), NullReporter(), began=1.0)
    assert caught.value.message == f"another installation has ended in {env} meanwhile; nothing was undone"
    assert package(env)["__init__.py"] == "new ultralytics/__init__.py"


def test_modes_of_folders_come_back_and_new_folders_go(env: Path) -> None:
    (env / SITE / "torch").chmod(0o2775)
    before = tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    (env / SITE / "torch").chmod(0o700)
    (env / "share" / "doc").mkdir(parents=True)
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def made(env: Path, *, files: tuple[str, ...] = ()) -> Journal:
    """A new environment that is being made, once its packages are known."""
    env.mkdir()
    log = Journal(str(env))
    log.begin_new("torch", had_folder=False, seal="envfix-constraints.txt")
    (env / "pyvenv.cfg").write_text("home = /usr\nuv = 0.13\n")
    if files:
        log.expect((str(env / "pyvenv.cfg"), *(str(env / SITE / path) for path in files)), ())
    return log


def test_a_bare_new_environment_goes_and_one_with_a_package_stays(tmp_path: Path) -> None:
    env = tmp_path / "env"
    made(env)
    (env / SITE).mkdir(parents=True)
    (env / SITE / "_virtualenv.py").write_text("")
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert restored.whole
    made(tmp_path / "other")
    put(tmp_path / "other", "extra", "1.0", {"extra.py": "1"})
    restored = journal.roll_back(str(tmp_path / "other"))
    assert restored is not None
    assert not restored.whole
    assert f"{tmp_path}/other/{SITE}/extra.py" in restored.left


def test_a_new_environment_that_is_complete_stays_and_can_be_undone(tmp_path: Path) -> None:
    env = tmp_path / "env"
    made(env, files=("torch/__init__.py",))
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    (env / "envfix-constraints.txt").write_text("torch==2.1.2\n")
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert acting.restored_in_words(restored).endswith(
        "but the environment is complete and stays: `envfix verify` proves it, `envfix undo` removes it"
    )
    assert (env / SITE / "torch" / "__init__.py").exists()
    undone = acting.undo(str(env), NullReporter())
    assert undone is not None
    assert undone.whole
    assert not env.exists()


def test_a_complete_environment_that_nobody_wants_goes(tmp_path: Path) -> None:
    env = tmp_path / "env"
    log = made(env, files=("torch/__init__.py",))
    log.complete()
    restored = journal.roll_back(str(env), complete_stays=False)
    assert restored is not None
    assert restored.whole


def test_an_unfinished_environment_that_was_used_after_a_long_quiet_stays(tmp_path: Path) -> None:
    env = tmp_path / "env"
    made(env, files=("torch/__init__.py",))
    (env / SITE / "torch").mkdir(parents=True)
    (env / SITE / "torch" / "__init__.py").write_text("new")
    entry = env / ".envfix" / "pending" / "journal.json"
    began = json.loads(entry.read_text())
    entry.write_text(json.dumps(began | {"began": began["began"] - 3600}))
    restored = journal.roll_back(str(env))
    assert restored is not None
    assert restored.left
    assert (env / SITE / "torch" / "__init__.py").exists()


def test_undo_twice_says_that_there_is_nothing(env: Path) -> None:
    log = begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    put(env, "torch", "2.1.2", {"torch/__init__.py": "new"})
    log.commit({"torch": "2.1.2"}, ["torch"])
    assert acting.undo(str(env), NullReporter()) is not None
    with pytest.raises(JournalError) as caught:
        acting.undo(str(env), NullReporter())
    assert caught.value.message == f"there is no installation to undo in {env}"


def test_the_files_of_the_last_change_alone_are_kept(env: Path) -> None:
    for version in ("2.1.2", "2.2.2"):
        log = begun(env, {"torch": version}, {"torch": ("torch/__init__.py",)})
        put(env, "torch", version, {"torch/__init__.py": version})
        log.commit({"torch": version}, ["torch"])
    acting.undo(str(env), NullReporter())
    assert (env / SITE / "torch" / "__init__.py").read_text() == "2.1.2"
    assert sorted(path.name for path in (env / SITE).glob("torch-*")) == ["torch-2.1.2.dist-info"]


def test_a_package_without_a_list_of_its_files_is_left_to_the_installer_and_kept(env: Path) -> None:
    shutil.rmtree(env / SITE / "torch-2.0.1.dist-info")
    (env / SITE / "torch-2.0.1.egg-info").mkdir()
    (env / SITE / "torch-2.0.1.egg-info" / "PKG-INFO").write_text("Name: torch\n")
    before = tree(env)
    begun(env, {"torch": "2.1.2"}, {"torch": ("torch/__init__.py",)})
    assert (env / SITE / "torch" / "__init__.py").exists()
    shutil.rmtree(env / SITE / "torch")
    journal.roll_back(str(env))
    assert differences(before, tree(env)) == []


def test_a_layout_is_read_from_an_environments_folders(env: Path) -> None:
    assert layout_of(str(env)) == Layout(prefix=str(env), site_packages=(str(env / SITE),), scripts=str(env / "bin"))

"""What is checked before an environment is changed: real Pythons, real file systems, real users, real programs."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envfix.errors import EnvfixError, TargetError
from envfix.host import processes
from envfix.host.processes import IN_USE_HINT, UserProcess, Users, in_use_message, users_of
from envfix.host.real import RealHost
from envfix.installer.interface import PathError, PermissionsError
from envfix.installer.preflight import (
    ProtectedError,
    TemporaryError,
    check_base,
    check_new_path,
    check_target,
    check_temporary,
)
from envfix.model.facts import Interpreter
from envfix.probes.interpreter import Target, probe
from tests.conftest import interpreter
from tests.small_disk import small_disk

HOST = RealHost()
NOBODY = 65534
DEBIAN = "/usr/bin/python3"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOADEDMODULES", "_LMFILES_", "SPACK_ENV", "UV_LINK_MODE", "PYTHONUSERBASE", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def asked(python: str) -> Interpreter:
    """What a real interpreter says of itself."""
    value = probe(HOST, Target(python, "--python"), timeout=60)[0].value
    assert value is not None
    return value


def environment(path: Path, python: str | None = None) -> Interpreter:
    """A real virtual environment, without pip."""
    argv = [python or interpreter("3.11"), "-m", "venv", "--without-pip", str(path)]
    result = HOST.run(argv, timeout=60)
    assert result.ok, result.failure
    return asked(f"{path}/bin/python")


@pytest.fixture(scope="session")
def whole_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that stands for itself, laid out as conda's are, to be made one by its records."""
    root = Path(interpreter("3.8")).parent.parent
    path = tmp_path_factory.mktemp("conda") / "envs-of-mine"
    without = shutil.ignore_patterns("test", "site-packages", "idlelib", "*.a", "__pycache__", "share", "config-3.8*")
    shutil.copytree(root, path, symlinks=True, ignore=without)
    (path / "lib" / "python3.8" / "site-packages").mkdir()
    return path


@pytest.fixture
def conda(whole_python: Path) -> Iterator[Callable[..., Interpreter]]:
    """Called with folders that make it conda's base: the same Python as a conda environment."""

    def make(*folders: str) -> Interpreter:
        for folder in ("conda-meta", *folders):
            (whole_python / folder).mkdir()
        return asked(f"{whole_python}/bin/python")

    yield make
    for folder in ("conda-meta", "condabin", ".spack"):
        shutil.rmtree(whole_python / folder, ignore_errors=True)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Run as a user who may do nothing, in a way that can be taken back."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can see into, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def refused(target: Interpreter, *, allow_base: bool = False) -> EnvfixError:
    with pytest.raises(EnvfixError) as caught:
        check_target(HOST, target, allow_base=allow_base)
    return caught.value


def test_an_environment_of_ones_own_passes_in_silence(tmp_path: Path) -> None:
    assert check_target(HOST, environment(tmp_path / "env"), allow_base=False, cache_dir=str(tmp_path / "uv")) == ()


def test_condas_own_environment_needs_a_word(conda: Callable[..., Interpreter], whole_python: Path) -> None:
    base = conda("condabin")
    assert base.kind == "base"
    error = refused(base)
    assert isinstance(error, ProtectedError)
    assert error.reference == "protected-environment"
    assert error.message == f"{whole_python} is conda's own environment (base): a broken base breaks conda itself"
    assert error.hint == (
        f"make an environment of your own with --new-env PATH --python {base.executable},"
        " or add --allow-base if you mean this one"
    )
    assert check_target(HOST, base, allow_base=True) == (
        f"{whole_python} is conda's own environment (base): if it breaks, conda breaks with it",
    )


def test_a_conda_environment_is_told_what_conda_will_not_know(
    conda: Callable[..., Interpreter], whole_python: Path
) -> None:
    assert check_target(HOST, conda(), allow_base=False) == (
        f"{whole_python} is a conda environment: pip packages go into it by its own pip; conda will not know of them",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("{}", ""),
        ("not JSON", ""),
        ("[1]", ""),
        (json.dumps({"message": "ask  the\nlab"}), ' ("ask the lab")'),
    ],
)
def test_a_frozen_conda_environment_needs_a_word(
    conda: Callable[..., Interpreter], whole_python: Path, text: str, said: str
) -> None:
    target, mark = conda(), whole_python / "conda-meta" / "frozen"
    mark.write_text(text)
    error = refused(target)
    assert isinstance(error, ProtectedError)
    assert error.message == f"{whole_python} is frozen: {mark} asks that it is not changed{said}"
    assert check_target(HOST, target, allow_base=True)[0] == (
        f"--allow-base overrides {mark}, which asks that the environment is not changed{said}"
    )


def test_a_python_that_the_system_manages_needs_a_word() -> None:
    if not list(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED")):
        pytest.skip("no Python here is marked as managed by the system")
    target = asked(DEBIAN)
    mark = f"/usr/lib/python{'.'.join(target.version.split('.')[:2])}/EXTERNALLY-MANAGED"
    error = refused(target)
    assert isinstance(error, ProtectedError)
    assert error.message == (
        f"{target.executable} is managed by the operating system ({mark} says so):"
        " what is installed by hand can break programs that use it"
    )
    assert error.hint is not None
    assert error.hint.startswith(f"make an environment of your own with --new-env PATH --python {target.executable}")
    with as_nobody():
        hint = refused(target).hint
        may_not = refused(target, allow_base=True)
    assert hint == f"make an environment of your own with --new-env PATH --python {target.executable}"
    assert isinstance(may_not, PermissionsError)
    assert may_not.message == f"you may not write to {target.site_packages[0]} (it belongs to root)"
    (note,) = check_target(HOST, target, allow_base=True)
    assert note == (
        f"--allow-base overrides {mark}, with which the operating system asks that {target.executable}"
        " is not changed by hand"
    )


def test_a_python_that_uv_manages_is_told_as_such(whole_python: Path) -> None:
    mark = whole_python / "lib" / "python3.8" / "EXTERNALLY-MANAGED"
    mark.write_text(
        "[externally-managed]\nError=This Python installation is managed by uv and should not be modified.\n"
    )
    try:
        target = asked(f"{whole_python}/bin/python")
        assert refused(target).message == (
            f"{target.executable} is managed by uv ({mark} says so): what is installed by hand can break programs"
            " that use it"
        )
    finally:
        mark.unlink()


def test_pyenvs_own_python_needs_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    target = asked(interpreter("3.11"))
    monkeypatch.setenv("PYENV_ROOT", str(Path(target.prefix).parent.parent))
    what = f"{target.executable} is pyenv's own Python {target.version}, not an environment"
    assert refused(target).message == f"{what}: everything that is run with it shares its packages"
    assert check_target(HOST, target, allow_base=True) == (
        f"{what}: what is installed is seen by everything that is run with it",
    )


def test_a_python_of_nobody_in_particular_needs_a_word(whole_python: Path) -> None:
    target = asked(f"{whole_python}/bin/python")
    assert refused(target).message == (
        f"{target.executable} is a Python for the whole machine, not an environment:"
        " everything that is run with it shares its packages"
    )


def test_an_environment_of_somebody_else_is_refused_with_its_owner(public: Path) -> None:
    target = environment(public / "env", DEBIAN)
    with as_nobody():
        error = refused(target, allow_base=True)
    assert isinstance(error, PermissionsError)
    assert error.message == f"you may not write to {target.site_packages[0]} (it belongs to root)"
    assert error.hint == (
        f"make an environment of your own with --new-env PATH --python {target.executable}"
        f" (to go on using its packages: `{target.executable} -m venv --system-site-packages PATH`)"
    )


@pytest.mark.parametrize("folder", ["bin", ""])
def test_folders_for_commands_and_for_the_way_back_must_be_writable_too(public: Path, folder: str) -> None:
    target = environment(public / "env", DEBIAN)
    for path in (public / "env", *(public / "env").rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    (public / "env" / folder).chmod(0o555)
    with as_nobody():
        error = refused(target)
    assert error.message == (f"you may not write to {(public / 'env' / folder)} (it is yours, but write-protected)")


def test_a_user_without_a_name_is_told_by_number(public: Path) -> None:
    target = environment(public / "env", DEBIAN)
    os.chown(target.site_packages[0], 12345, 12345)
    with as_nobody():
        assert refused(target).message == f"you may not write to {target.site_packages[0]} (it belongs to user 12345)"


def test_a_read_only_file_system_is_told_with_the_module_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "size=20m") as disk:
        target = environment(disk / "torch" / "2.1")
        assert HOST.run(["mount", "-o", "remount,ro", str(disk)], timeout=10).ok
        plain = refused(target)
        monkeypatch.setenv("LOADEDMODULES", "gcc/12.3:Torch/2.1")
        told = refused(target)
    assert isinstance(plain, PermissionsError)
    assert plain.message == f"{target.site_packages[0]} is on a read-only file system"
    assert told.message == f"{plain.message}; it comes from the module Torch/2.1"


@pytest.mark.parametrize("how", ["EasyBuild", "module file", "name"])
def test_a_python_of_a_module_is_told_by_the_modules_name(
    whole_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    target = asked(f"{whole_python}/bin/python")
    loaded = "gcc/12.3:Python/3.8.18-GCCcore-12.3.0"
    if how == "EasyBuild":
        monkeypatch.setenv("EBROOTGCC", "/apps/gcc")
        monkeypatch.setenv("EBROOTPYTHON", str(whole_python))
    elif how == "module file":
        texts = {"gcc": "/apps/gcc", "py": f'prepend_path("PATH", "{whole_python}/bin")'}
        for name, text in texts.items():
            (tmp_path / f"{name}.lua").write_text(text)
        monkeypatch.setenv("_LMFILES_", f"{tmp_path}/gcc.lua:{tmp_path}/py.lua")
    else:
        loaded = f"gcc/12.3:{whole_python.parent.name}/{whole_python.name}"
    monkeypatch.setenv("LOADEDMODULES", loaded)
    assert refused(target).message == (
        f"{target.executable} is the Python of the module {loaded.split(':')[1]}, not an environment:"
        " everything that is run with it shares its packages"
    )


def test_modules_that_have_nothing_to_do_with_it_are_not_named(
    whole_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "py.lua").write_text(f'prepend_path("PATH", "{whole_python}-other/bin")')
    monkeypatch.setenv("LOADEDMODULES", "Python/3.8.18:plain")
    monkeypatch.setenv("_LMFILES_", f"{tmp_path}/py.lua:{tmp_path}/gone.lua")
    monkeypatch.setenv("EBROOTPYTHON", f"{whole_python}-other")
    assert "a Python for the whole machine" in refused(asked(f"{whole_python}/bin/python")).message


def test_a_root_without_its_module_and_spack_are_named(
    whole_python: Path, conda: Callable[..., Interpreter], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = conda("condabin", ".spack")
    assert " (base) from Spack: " in refused(base).message
    monkeypatch.setenv("EBROOTANACONDA3", str(whole_python))
    assert " (base) from the module ANACONDA3: " in refused(base).message


def test_a_spack_environment_is_named(whole_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACK_ENV", str(whole_python.parent))
    assert " is the Python of Spack, not an environment: " in refused(asked(f"{whole_python}/bin/python")).message


def test_a_file_system_from_which_nothing_runs_cannot_hold_torch(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=20m,noexec") as disk:
        target = environment(disk / "env")
        error = refused(target)
        with pytest.raises(PathError) as caught:
            check_new_path(HOST, f"{disk}/new/env")
    assert isinstance(error, PathError)
    assert error.message == (
        f"{target.site_packages[0]} is on a file system from which nothing may be run (mounted noexec):"
        " torch's libraries cannot be loaded from there"
    )
    assert error.hint == "make an environment on another disk with --new-env PATH"
    assert caught.value.message == (
        f"{disk}/new/env is on a file system from which nothing may be run (mounted noexec); nothing was changed"
    )
    assert caught.value.hint == "choose a path on another disk"


def test_an_environment_whose_packages_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    target = environment(tmp_path / "env")
    (site,) = map(Path, target.site_packages)
    site.rename(tmp_path / "shared")
    site.symlink_to(tmp_path / "shared")
    error = refused(target, allow_base=True)
    assert isinstance(error, ProtectedError)
    assert error.message == (
        f"{site} leads to {tmp_path}/shared, outside of the environment: installing would change what is not its own"
    )
    assert error.hint == "make an environment of its own with --new-env PATH"


def test_an_environment_that_is_reached_through_a_link_passes(tmp_path: Path) -> None:
    environment(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert check_target(HOST, asked(f"{tmp_path}/link/bin/python"), allow_base=False) == ()


def test_envfix_does_not_change_the_environment_it_runs_from() -> None:
    error = refused(asked(sys.executable), allow_base=True)
    assert isinstance(error, ProtectedError)
    assert error.message == f"envfix itself runs from {sys.prefix}: it does not change the environment it runs from"
    assert error.hint == "name another environment with --python, or make one with --new-env PATH"


def test_an_environment_whose_python_is_gone_is_refused(tmp_path: Path, whole_python: Path) -> None:
    base = tmp_path / "base [3.8]"
    shutil.copytree(whole_python, base, symlinks=True)
    target = environment(tmp_path / "env", f"{base}/bin/python")
    assert check_target(HOST, target, allow_base=False) == ()
    shutil.rmtree(base)
    error = refused(target)
    assert isinstance(error, TargetError)
    assert error.message == (
        f"{tmp_path}/env was made from the Python in {base}/bin, which is gone ({tmp_path}/env/pyvenv.cfg names it):"
        " nothing can be run there"
    )
    assert error.hint == "make a new environment with --new-env PATH"
    with pytest.raises(TargetError):  # also where it cannot even be asked
        check_base(HOST, f"{tmp_path}/env")


def test_what_is_no_virtual_environment_has_no_python_to_lose(tmp_path: Path) -> None:
    check_base(HOST, str(tmp_path))


def test_files_that_cannot_be_linked_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = environment(tmp_path / "env")
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        cache = f"{disk}/uv/cache"
        notes = check_target(HOST, target, allow_base=False, cache_dir=cache)
        monkeypatch.setenv("UV_LINK_MODE", "copy")
        assert check_target(HOST, target, allow_base=False, cache_dir=cache) == ()
    assert "".join(notes) == (
        f"{target.site_packages[0]} is on another disk than uv's cache {cache}: files are copied instead of linked,"
        " which takes longer and more room"
    )


@pytest.mark.parametrize(
    ("names", "told", "them"), [(["torch"], "torch", "it"), (["torchvision", "torch"], "torch and torchvision", "them")]
)
def test_a_torch_of_the_user_that_hides_the_new_one_is_told(
    conda: Callable[..., Interpreter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    told: str,
    them: str,
) -> None:
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    site = tmp_path / "lib" / "python3.8" / "site-packages"
    for name in names:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").touch()
    target = conda()
    before = sorted(tmp_path.rglob("*"))
    (_, note) = check_target(HOST, target, allow_base=False)
    assert note == (
        f"Python finds {told} in {site} before what is installed now; envfix leaves {them} alone:"
        " PYTHONNOUSERSITE=1 keeps Python from looking there"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_virtual_environment_does_not_see_the_users_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    site = tmp_path / "lib" / "python3.11" / "site-packages" / "torch"
    site.mkdir(parents=True)
    (site / "__init__.py").touch()
    assert check_target(HOST, environment(tmp_path / "env"), allow_base=False) == ()


def test_temporary_files_go_where_programs_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_temporary(HOST, builds=False) == ()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert check_temporary(HOST, builds=True) == ()
    with small_disk(tmp_path / "disk", "size=1m,noexec") as disk:
        monkeypatch.setenv("TMPDIR", str(disk))
        notes = check_temporary(HOST, builds=False)
        with pytest.raises(TemporaryError) as building:
            check_temporary(HOST, builds=True)
        assert HOST.run(["mount", "-o", "remount,ro", str(disk)], timeout=10).ok
        with pytest.raises(TemporaryError) as read_only:
            check_temporary(HOST, builds=False)
    assert notes == (f"nothing may be run from {disk} (mounted noexec): torch.compile needs TMPDIR on another disk",)
    assert building.value.message == (
        f"a package must be built from source, and nothing may be run from {disk} (mounted noexec)"
    )
    assert building.value.hint == "set TMPDIR to a folder of your own on another disk"
    assert building.value.reference == "temporary-folder"
    assert read_only.value.message == f"no temporary files can be written: {disk} is on a read-only file system"


def test_a_temporary_folder_that_is_not_there_or_not_ones_own_is_told(
    tmp_path: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", f"{tmp_path}/none")
    with pytest.raises(TemporaryError) as missing:
        check_temporary(HOST, builds=False)
    assert missing.value.message == (
        f"no temporary files can be written: TMPDIR names {tmp_path}/none, which does not exist"
    )
    monkeypatch.setenv("TMPDIR", str(public))
    with as_nobody(), pytest.raises(TemporaryError) as foreign:
        check_temporary(HOST, builds=False)
    assert foreign.value.message == (
        f"no temporary files can be written: you may not write to {public} (it belongs to root)"
    )


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """A compiled module of a real Python, in an environment of its own."""
    target = environment(tmp_path / "env")
    (built,) = Path(interpreter("3.11")).parent.parent.glob("lib/python3.11/lib-dynload/_struct.*.so")
    return Path(shutil.copy(built, Path(target.site_packages[0]) / "_torchlike.so"))


HOLD = "import sys; {what}; print('ready', flush=True); sys.stdin.read()"
LOAD = "import ctypes; c = ctypes.CDLL(sys.argv[-1])"


@contextlib.contextmanager
def program(python: str, what: str, *arguments: str, user: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A running program that has said it is ready; it is ended with the block."""
    argv = [python, "-c", HOLD.format(what=what), *arguments]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=user)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that the test starts do not count as envfix's own."""
    monkeypatch.setattr(processes, "_ancestors", lambda _: iter(()))


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize("look", ["_in_proc", "_by_psutil"])
@pytest.mark.parametrize("how", ["loaded", "open", "deleted"])
def test_a_program_that_uses_the_files_is_named(
    extension: Path, monkeypatch: pytest.MonkeyPatch, look: str, how: str
) -> None:
    monkeypatch.setattr(processes, "_in_proc", getattr(processes, look))
    what = "f = open(sys.argv[-1], 'rb')" if how == "open" else LOAD
    python = f"{extension.parents[3]}/bin/python"
    before = time.time()
    with program(python, what, "--password", "s3cret with blanks", "--data=x", str(extension)) as running:
        if how == "deleted":
            extension.unlink()
        folder = os.path.relpath(extension.parent)  # a relative folder and one reached through a link are the same
        found = users_of([folder, f"{extension.parent}/none"]).processes
        assert [one.pid for one in found] == [running.pid]
        assert users_of([str(extension)]).processes == found
        assert users_of([f"{extension.parent}-other", str(extension.parent)[:-1]]).processes == ()
    (user,) = found
    assert user.command.startswith("python -c import sys; ")
    assert len(user.command) <= 60
    assert user.user == pwd.getpwuid(os.geteuid()).pw_name
    assert before - 5 < user.since < time.time()
    assert users_of([str(extension.parent)]).processes == ()


def test_envfix_itself_and_what_it_started_do_not_count(extension: Path) -> None:
    with open(extension, "rb") as held, mmap.mmap(held.fileno(), 0, access=mmap.ACCESS_READ):
        with program(interpreter("3.11"), LOAD, str(extension)):
            assert users_of([str(extension.parent)]) == Users(unreadable=users_of(["/nowhere"]).unreadable)
        # What has started envfix counts on request: a notebook, say, whose kernel has torch loaded.
        script = (
            "import sys; from envfix.host.processes import users_of; path = sys.argv[1:]; "
            "print(users_of(path), users_of(path, parents=True))"
        )
        told = HOST.run([sys.executable, "-c", script, str(extension.parent)], timeout=30)
    assert told.stdout.startswith("Users(processes=(), ")
    assert told.stdout.count(f"pid={os.getpid()},") == 1


def test_programs_of_others_that_cannot_be_seen_are_counted(extension: Path) -> None:
    everything = users_of([str(extension.parent)])
    with as_nobody():
        seen = users_of([str(extension.parent)])
    assert seen.processes == ()
    assert seen.unreadable > everything.unreadable


@pytest.mark.usefixtures("strangers")
def test_a_program_of_another_user_is_told_with_its_user(public: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a program as another user")
    held = public / "held.bin"
    held.write_bytes(b"x")
    with program(DEBIAN, "f = open(sys.argv[-1], 'rb')", str(held), user=NOBODY):
        found = users_of([str(public)])
    assert [one.user for one in found.processes] == ["nobody"]
    assert " of nobody, since " in in_use_message(found.processes)


@pytest.mark.usefixtures("strangers")
def test_a_program_that_ends_meanwhile_is_no_error(extension: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(interpreter("3.11"), LOAD, str(extension)) as running:

        def ended(_: int) -> Iterator[int]:
            os.kill(running.pid, signal.SIGKILL)
            os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
            return iter(())

        monkeypatch.setattr(processes, "_ancestors", ended)
        assert users_of([str(extension)]).processes == ()
        running.wait()
        assert processes._told(running.pid) is None


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/usr/bin/python3", "train.py"], "python3 train.py"),
        (["python", "x.py", "--token", "abc def", "-v"], "python x.py --token *** -v"),
        (["python", "x.py", "API_KEY=abc def", "-v"], "python x.py API_KEY=*** -v"),
        (["curl", "https://me:pw@host/x"], "curl https://***@host/x"),
        (["/opt/bin/trainer: rank 0 --password pw"], "trainer: rank 0 --password ***"),
        (["python", "-c", "import a\nimport b"], "python -c import a import b"),
        (["python", "x" * 100], "python " + "x" * 50 + "..."),
        ([""], ""),
    ],
)
def test_commands_are_short_and_without_passwords(argv: list[str], shown: str) -> None:
    assert processes._command(argv) == shown


def test_the_sentence_names_programs_and_what_happens_to_them() -> None:
    now = time.time()
    user = processes._user_name(os.geteuid())
    rows = [UserProcess(pid=120 + at, command=f"python {at}.py", user=user, since=now) for at in range(5)]
    at = time.strftime("%H:%M", time.localtime(now))
    assert in_use_message(rows[:1]) == (
        f"1 program uses this environment's torch now: python 0.py (pid 120, since {at});"
        " replacing it meanwhile can crash that program"
    )
    assert in_use_message(rows) == (
        f"5 programs use this environment's torch now: python 0.py (pid 120, since {at}), python 1.py (pid 121, since {at}),"
        f" python 2.py (pid 122, since {at}) and 2 more; replacing it meanwhile can crash them"
    )
    old = UserProcess(pid=7, command="jupyter", user="anna", since=0.0)
    assert "jupyter (pid 7 of anna, since 19" in in_use_message([old])
    assert IN_USE_HINT == "end them first, or make an environment beside this one with --new-env PATH"

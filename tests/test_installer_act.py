"""Making environments and installing into them with the real uv: exact, checked, quick to give up, leaving nothing half."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.errors import InstallError
from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.installer import acting
from envfix.installer.changes import layout_of
from envfix.installer.downloading import IDLE_LIMIT
from envfix.installer.interface import (
    DownloadError,
    PathError,
    PermissionsError,
    Resolution,
    ResolutionError,
    Sources,
    SpaceError,
    StalledError,
)
from envfix.installer.preflight import check_new_path
from envfix.installer.uv import UvInstaller, find_uv
from envfix.model.outcome import Installation, Rung, Verification
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import NullReporter, Reporter
from tests.conftest import interpreter
from tests.loopback_index import Index, make_wheel, serve
from tests.small_disk import small_disk
from tests.trees import differences, tree

HERE = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64", libc="glibc", glibc="2.31")
PINS = (
    PackagePin(name="torch", specifier="==2.1.2+cu118", index="official", because="test"),
    PackagePin(name="numpy", specifier="", index="pypi", because="test"),
)


QUIET = NullReporter()


class Heard:
    """Remembers what it was told; ``interrupt_at`` bytes acts like Ctrl-C."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.stages: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []
        self.notes: list[str] = []
        self._interrupt_at = interrupt_at

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        self.stages.append(text)

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self.notes.append(text)

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        self.bytes.append((done, total))
        if self._interrupt_at is not None and done >= self._interrupt_at:
            raise KeyboardInterrupt


@pytest.fixture
def server() -> Iterator[Index]:
    with serve() as index:
        index.add("cu118", make_wheel("torch", "2.1.2+cu118", requires=("numpy",), padding=3_000_000))
        index.add("main", make_wheel("numpy", "1.26.4"))
        for name in ("pip", "setuptools", "wheel"):
            index.add("main", make_wheel(name, "99.0"))
        yield index


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Index) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # None of these may lead uv astray.
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PIP_TARGET", "/nowhere")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")


def uv(reporter: Reporter | None = None, *, idle_limit: float = IDLE_LIMIT, offline: bool = False) -> UvInstaller:
    return UvInstaller(RealHost(), reporter or Heard(), idle_limit=idle_limit, offline=offline)


def sources(server: Index) -> Sources:
    return Sources(torch_url=server.url("simple", "cu118"), torch_name="official")


def resolution(server: Index) -> Resolution:
    answer = uv().resolve(PINS, sources(server), HERE)
    assert isinstance(answer, Resolution), answer
    return answer


def fill(
    server: Index, path: Path, installer: UvInstaller, reporter: Reporter = QUIET, *, rung: Rung | None = None
) -> Installation:
    """Make an environment at ``path`` and install the stack, as the command does; ``rung`` is one that its proof fails at."""
    wanted = resolution(server)

    def make(lock: EnvironmentLock) -> str:
        return installer.create_environment(interpreter("3.11"), str(path), lock=lock).python

    def work(python: str, lock: EnvironmentLock) -> Installation:
        return installer.install(wanted, python=python, prefix=str(path), constraints="torch==2.1.2+cu118\n", lock=lock)

    return acting.into_new(
        str(path),
        make,
        lambda layout: acting.by_wheels(RealHost(), layout, wanted.versions, installer.incoming(wanted)),
        what="torch",
        work=work,
        prove=lambda python: failed_at(rung, python) if rung else None,
        keep=False,
        reporter=reporter,
    )


def failed_at(rung: Rung, python: str) -> Verification:
    return Verification(status="failed", device="cuda:0", python=python, rungs=(rung,))


def version_of(path: Path, module: str) -> str:
    result = RealHost().run(
        [f"{path}/bin/python", "-E", "-c", f"import {module}; print({module}.__version__)"], timeout=20
    )
    assert result.ok, result.stderr
    return result.stdout.strip()


def test_the_resolved_stack_is_installed_and_held_by_a_constraints_file(server: Index, tmp_path: Path) -> None:
    wanted, heard = resolution(server), Heard()
    done = fill(server, tmp_path / "env", uv(heard), heard)
    assert version_of(tmp_path / "env", "torch") == "2.1.2+cu118"
    assert done.installed == {"torch": "2.1.2+cu118", "numpy": "1.26.4"}
    assert done.constraints_file == str(tmp_path / "env" / "envfix-constraints.txt")
    assert Path(done.constraints_file).read_text() == "torch==2.1.2+cu118\n"
    assert version_of(tmp_path / "env", "pip") == "99.0"
    assert heard.stages[0] == f"making the environment {tmp_path / 'env'}"
    assert "installing packages" in heard.stages
    done_bytes = [done for done, _ in heard.bytes]
    assert done_bytes == sorted(done_bytes)
    assert heard.bytes[-1] == (wanted.total_bytes, wanted.total_bytes)


def test_what_is_cached_costs_nothing_the_second_time(server: Index, tmp_path: Path) -> None:
    fill(server, tmp_path / "one", uv())
    again = resolution(server)
    assert again.cached_bytes == again.total_bytes
    assert again.bytes_to_download == 0
    server.requests.clear()
    fill(server, tmp_path / "two", uv())
    assert server.downloads() == []


def test_an_installed_version_is_left_alone_unless_it_is_to_be_laid_down_anew(server: Index, tmp_path: Path) -> None:
    env = tmp_path / "env"
    fill(server, env, uv())
    (torch,) = env.glob("lib/*/site-packages/torch/__init__.py")
    torch.unlink()
    wanted, python = resolution(server), f"{env}/bin/python"
    uv().install(wanted, python=python, prefix=str(env))
    assert not torch.exists()
    uv().install(wanted, python=python, prefix=str(env), options=["--reinstall-package", "torch"])
    assert torch.exists()


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_every_python_gets_its_environment(version: str, tmp_path: Path) -> None:
    made = uv().create_environment(interpreter(version), str(tmp_path / "env"))
    assert made.has_pip
    result = RealHost().run(
        [made.python, "-E", "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"], timeout=20
    )
    assert result.stdout.split() == [version, str(tmp_path / "env")]


def test_without_a_network_the_environment_gets_the_pip_that_python_brings(tmp_path: Path) -> None:
    made = uv(offline=True).create_environment(interpreter("3.11"), str(tmp_path / "env"))
    assert made.has_pip
    assert version_of(tmp_path / "env", "pip") != "99.0"


def test_an_empty_folder_may_become_the_environment(tmp_path: Path) -> None:
    (tmp_path / "[env]").mkdir()
    assert uv().create_environment(interpreter("3.11"), str(tmp_path / "[env]")).python


@pytest.mark.parametrize("inside", ["file", ".hidden"])
def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path, inside: str) -> None:
    (tmp_path / "[env]").mkdir()
    (tmp_path / "[env]" / inside).touch()
    with pytest.raises(PathError, match="not empty") as caught:
        check_new_path(RealHost(), str(tmp_path / "[env]"))
    assert caught.value.exit_code == 3
    assert caught.value.hint is not None
    assert [entry.name for entry in (tmp_path / "[env]").iterdir()] == [inside]


def test_a_file_is_not_replaced_by_an_environment(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("mine")
    with pytest.raises(PathError, match="is a file"):
        check_new_path(RealHost(), str(tmp_path / "env"))
    assert (tmp_path / "env").read_text() == "mine"


@pytest.mark.parametrize(("cause", "stays"), [("oom_other_process", True), ("oom_workload_too_big", False)])
def test_a_card_that_others_fill_speaks_not_against_what_was_installed(
    server: Index, tmp_path: Path, cause: str, *, stays: bool
) -> None:
    rung = Rung(name="driver", status="failed", seconds=0.1, cause=cause, message="the card is full")
    path = tmp_path / "env"
    if not stays:
        with pytest.raises(acting.Unproven):
            fill(server, path, uv(), rung=rung)
        assert not path.exists()
        return
    done = fill(server, path, uv(), rung=rung)
    assert version_of(path, "torch") == "2.1.2+cu118"
    assert done.verification is not None
    assert done.verification.status == "failed"
    assert done.notes == (
        "it stays installed: a full card says nothing against it; `envfix verify` proves it when there is room",
    )


def test_a_relative_path_is_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uv().create_environment(interpreter("3.11"), "sub/env").path == f"{tmp_path}/sub/env"


def test_a_python_that_is_none_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 127\n")
    fake.chmod(0o755)
    with pytest.raises(InstallError) as caught:
        acting.into_new(
            str(tmp_path / "above" / "env"),
            lambda lock: uv().create_environment(str(fake), str(tmp_path / "above" / "env"), lock=lock).python,
            lambda _: pytest.fail("there is nothing to install into"),
            what="torch",
            work=lambda _python, _lock: pytest.fail("there is nothing to install into"),
            prove=lambda _: None,
            keep=False,
            reporter=Heard(),
        )
    assert "making the environment" in str(caught.value)
    assert not (tmp_path / "above").exists()


def test_a_parent_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk, pytest.raises(PermissionsError, match="may not make"):
        check_new_path(RealHost(), str(disk / "env"))


def test_a_folder_that_the_system_does_not_let_be_made_is_an_error() -> None:
    with pytest.raises(InstallError):
        uv().create_environment(interpreter("3.11"), "/proc/envfix-test/env")


def test_a_wrong_hash_is_refused_and_the_environment_removed(server: Index, tmp_path: Path) -> None:
    server.wrong_hashes = True
    with pytest.raises(DownloadError, match="wrong hash") as caught:
        fill(server, tmp_path / "env", uv())
    assert "was removed again" in str(caught.value)
    assert "was removed again" in caught.value.message
    assert not (tmp_path / "env").exists()


def test_a_download_that_breaks_off_is_told_and_the_environment_removed(server: Index, tmp_path: Path) -> None:
    server.cut_files_after = 1_000_000
    with pytest.raises(DownloadError) as caught:
        fill(server, tmp_path / "env", uv())
    assert "Failed to download `torch==2.1.2+cu118`" in caught.value.message
    assert "Preparing" not in caught.value.message
    assert not (tmp_path / "env").exists()


def test_a_download_that_stalls_is_given_up_by_uv(
    server: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    wanted = resolution(server)
    server.stall_files = True
    made = uv().create_environment(interpreter("3.11"), str(tmp_path / "env"))
    with pytest.raises(DownloadError, match="in time"):
        uv().install(wanted, python=made.python, prefix=made.path)


def test_an_installer_that_does_not_move_is_ended(server: Index, tmp_path: Path) -> None:
    wanted = resolution(server)
    installer = uv(idle_limit=1.5)
    started = time.monotonic()
    made = installer.create_environment(interpreter("3.11"), str(tmp_path / "env"))
    server.stall_files = True
    with pytest.raises(StalledError, match="nothing moved"):
        installer.install(wanted, python=made.python, prefix=made.path)
    assert time.monotonic() - started < 12


def test_a_slow_but_steady_download_is_left_alone(server: Index, tmp_path: Path) -> None:
    wanted = resolution(server)
    server.bytes_per_second = 1_200_000
    made = uv().create_environment(interpreter("3.11"), str(tmp_path / "env"))
    done = uv(idle_limit=1.0).install(wanted, python=made.python, prefix=made.path)
    assert done.seconds > 1.5


def test_ctrl_c_removes_the_environment_again(server: Index, tmp_path: Path) -> None:
    heard = Heard(interrupt_at=200_000)
    server.bytes_per_second = 1_000_000
    with pytest.raises(KeyboardInterrupt):
        fill(server, tmp_path / "env", uv(heard), heard)
    assert not (tmp_path / "env").exists()
    assert heard.notes == [f"the unfinished environment {tmp_path / 'env'} was removed again"]


def test_a_protected_index_is_installed_from_with_the_users_own_password(
    server: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.password = "s3cret"  # noqa: S105
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main").replace("//", "//user:s3cret@"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", server.url("simple", "cu118").replace("//", "//user:s3cret@"))
    fill(server, tmp_path / "env", uv())
    assert version_of(tmp_path / "env", "torch") == "2.1.2+cu118"
    for record in (tmp_path / "env").rglob("*.json"):
        assert "s3cret" not in record.read_text()


def test_a_full_disk_is_told_and_the_environment_removed(server: Index, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        with pytest.raises(SpaceError, match="disk is full") as caught:
            fill(server, disk / "env", uv())
        assert caught.value.exit_code == 3
        assert not (disk / "env").exists()


def test_a_disk_that_fills_up_leaves_an_existing_environment_as_it_was(server: Index, tmp_path: Path) -> None:
    server.add("cu118", make_wheel("torch", "2.0.1+cu118", requires=("numpy",), padding=200_000))
    older = [PackagePin(name="torch", specifier="==2.0.1+cu118", index="official", because="test"), PINS[1]]
    with small_disk(tmp_path / "disk", "size=3m") as disk:
        env, installer = disk / "env", uv()
        python = installer.create_environment(interpreter("3.11"), str(env)).python
        old = installer.resolve(older, sources(server), HERE)
        assert isinstance(old, Resolution)
        installer.install(old, python=python, prefix=str(env))
        before, wanted = tree(env), resolution(server)

        def work(python: str, lock: EnvironmentLock) -> Installation:
            return installer.install(wanted, python=python, prefix=str(env), lock=lock)

        with pytest.raises(SpaceError) as caught:
            acting.into_existing(
                acting.by_wheels(RealHost(), layout_of(str(env)), wanted.versions, installer.incoming(wanted)),
                python,
                what="torch",
                work=work,
                prove=lambda _: None,
                keep=False,
                reporter=QUIET,
            )
        assert "the disk is full (or your quota is used up)" in caught.value.message
        assert caught.value.message.endswith("the environment is as it was before")
        assert differences(before, tree(env)) == []


@pytest.mark.parametrize("member", ["../../../../../evil.txt", "/tmp/envfix-evil.txt", "torch/link"])
def test_a_wheel_that_points_elsewhere_writes_nothing_there(server: Index, tmp_path: Path, member: str) -> None:
    """Left to uv, and looked at here: names that climb out, absolute names, a symbolic link."""
    honest = make_wheel("torch", "2.1.2+cu118", requires=("numpy",))
    data = io.BytesIO(honest.data)
    with zipfile.ZipFile(data, "a") as archive:
        entry = zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0))
        if member == "torch/link":
            entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, str(tmp_path / "outside"))
    server.add("cu118", dataclasses.replace(honest, data=data.getvalue()))
    with contextlib.suppress(InstallError):
        fill(server, tmp_path / "deep" / "env", uv())
    assert list(tmp_path.rglob("evil.txt")) == []
    assert not Path("/tmp/envfix-evil.txt").exists()
    assert not any(path.is_symlink() for path in tmp_path.rglob("link"))


def test_a_full_disk_for_temporary_files_is_told(
    server: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        (disk / "filler").write_bytes(b"x" * 64 * 1024)
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        with pytest.raises(InstallError):
            uv().resolve(PINS, sources(server), HERE)


def test_the_uv_envfix_brings_is_found_and_a_missing_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.access(find_uv(RealHost()), os.X_OK)

    def nothing() -> str:
        raise FileNotFoundError

    monkeypatch.setattr("uv.find_uv_bin", nothing)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ResolutionError, match="uv is not there"):
        find_uv(RealHost())

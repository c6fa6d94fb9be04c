"""Installing with the pips that Pythons from 3.6 on really bring: exact files, offline, checked, nothing beside the target."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from envfix.errors import InstallError
from envfix.host.interface import CommandResult, Deadline, DiskSpace
from envfix.host.locking import EnvironmentLock, locked
from envfix.host.real import RealHost
from envfix.installer.downloading import login_for, network_settings
from envfix.installer.environment import environment_for_installers
from envfix.installer.interface import (
    DownloadError,
    PermissionsError,
    Resolution,
    Sources,
    SpaceError,
    StalledError,
)
from envfix.installer.pip import PipInstaller, name_for_pip, pip_error
from envfix.installer.uv import UvInstaller
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import Reporter
from tests.conftest import interpreter
from tests.loopback_index import Index, Wheel, make_wheel, serve
from tests.small_disk import small_disk
from tests.test_fetch import Heard

VERSIONS = ("3.6", "3.7", "3.8", "3.11", "3.13")


def target(version: str = "3.11") -> PlanTarget:
    tag = f"cp{version.replace('.', '')}"
    return PlanTarget(python=version, tag=tag, platform="linux_x86_64", libc="glibc", glibc="2.31")


def torch(local: str, version: str) -> Wheel:
    """A made-up torch 1.9.0 for one interpreter, with a command of its own."""
    python = f"cp{version.replace('.', '')}"
    abi = f"{python}m" if version in ("3.6", "3.7") else python
    return make_wheel("torch", f"1.9.0+{local}", f"{python}-{abi}-linux_x86_64", requires=("numpy",), padding=200_000)


class Watching(RealHost):
    """The real machine, with a record of what was started and with which variables."""

    def __init__(self) -> None:
        super().__init__()
        self.argvs: list[list[str]] = []
        self.variables: list[Mapping[str, str]] = []
        self.locks: list[EnvironmentLock | None] = []
        self.told = ""

    def stream(
        self,
        argv: Sequence[str],
        *,
        on_text: Callable[[str], None],
        deadline: Deadline,
        env: Mapping[str, str] | None = None,
        drop_env: Sequence[str] = (),
        cwd: str | None = None,
        terminal: bool = False,
        lock: EnvironmentLock | None = None,
    ) -> CommandResult:
        """See ``Host.stream``."""
        self.argvs.append(list(argv))
        self.variables.append(dict(env or {}))
        self.locks.append(lock)

        def hear(text: str) -> None:
            self.told += text
            on_text(text)

        return super().stream(
            argv, on_text=hear, deadline=deadline, env=env, drop_env=drop_env, cwd=cwd, terminal=terminal, lock=lock
        )

    @property
    def installs(self) -> list[list[str]]:
        """The calls that change something."""
        return [argv for argv in self.argvs if "install" in argv and "--dry-run" not in argv]


@pytest.fixture
def server() -> Iterator[Index]:
    with serve() as index:
        for local in ("cu111", "cpu"):
            index.add(local, *(torch(local, version) for version in VERSIONS))
        index.add("main", make_wheel("numpy", "1.19.5"), make_wheel("numpy", "1.19.4"))
        yield index


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Index) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    # None of these may lead pip astray.
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PIP_TARGET", "/nowhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:s3cret@127.0.0.1:1/simple")


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives an environment with the pip that this Python brings, made once and then copied."""
    made: dict[str, Path] = {}

    def environment(version: str) -> Path:
        if version not in made:
            path = tmp_path_factory.mktemp("environments") / version
            python = interpreter(version)
            result = RealHost().run(
                [python, "-m", "venv", str(path)],
                timeout=120,
                env={"PYTHONPATH": "", "PIP_USER": "0", "PIP_TARGET": ""},
            )
            assert result.ok, result.failure
            made[version] = path
        return made[version]

    return environment


@pytest.fixture
def env(environments: Callable[[str], Path]) -> Path:
    """The environment of Python 3.11, emptied of what other tests have installed."""
    path = environments("3.11")
    run([f"{path}/bin/python", "-m", "pip", "uninstall", "-y", "torch", "numpy", "new"])
    return path


def run(argv: Sequence[str]) -> CommandResult:
    cleared = {"PYTHONPATH": "", "PIP_USER": "0", "PIP_TARGET": "", "PIP_REQUIRE_VIRTUALENV": "0"}
    return RealHost().run(argv, timeout=60, env=cleared)


def pin(name: str, specifier: str) -> PackagePin:
    return PackagePin(name=name, specifier=specifier, index="official" if name == "torch" else "pypi", because="test")


def resolution(
    server: Index, *pins: PackagePin, variant: str = "cu111", version: str = "3.11", layout: str = "simple"
) -> Resolution:
    """What uv makes of the request; its own downloads are none of this test's business."""
    sources = Sources(torch_url=server.url(layout, variant), torch_name="official")
    answer = UvInstaller(RealHost()).resolve(pins, sources, target(version))
    assert isinstance(answer, Resolution), answer
    server.requests.clear()
    return answer


def with_lock(resolution: Resolution, change: Callable[[str], str]) -> Resolution:
    """The same, but for its lock."""
    return msgspec.structs.replace(resolution, lock=change(resolution.lock))


def stack(server: Index, variant: str = "cu111", version: str = "3.11", numpy: str = "==1.19.5") -> Resolution:
    return resolution(server, pin("torch", f"==1.9.0+{variant}"), pin("numpy", numpy), variant=variant, version=version)


def pip(
    tmp_path: Path,
    env: Path,
    *,
    host: RealHost | None = None,
    reporter: Reporter | None = None,
    offline: bool = False,
    idle_limit: float = 600.0,
    addresses: Sequence[str] = (),
) -> PipInstaller:
    return PipInstaller(
        host or RealHost(),
        reporter or Heard(),
        python=f"{env}/bin/python",
        prefix=str(env),
        store=str(tmp_path / "store"),
        offline=offline,
        idle_limit=idle_limit,
        addresses=addresses,
    )


def version_of(env: Path, module: str) -> str:
    result = run([f"{env}/bin/python", "-c", f"import {module}; print({module}.__version__)"])
    assert result.ok, result.stderr
    return result.stdout.strip()


def laid_down(env: Path, module: str) -> list[Path]:
    return sorted(env.glob(f"lib/*/site-packages/{module}*"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_pip_installs_a_local_label_over_another_version(
    server: Index, tmp_path: Path, environments: Callable[[str], Path], version: str
) -> None:
    env = environments(version)
    python, host, heard = f"{env}/bin/python", Watching(), Heard()
    installer = pip(tmp_path, env, host=host, reporter=heard)
    before = stack(server, "cpu", version, numpy="==1.19.4")
    assert installer.refusal(before) is None
    installer.install(before, python=python, prefix=str(env))
    assert (version_of(env, "torch"), version_of(env, "numpy")) == ("1.9.0+cpu", "1.19.4")

    wanted = stack(server, "cu111", version)
    installer.fetch(wanted)
    server.requests.clear()
    assert installer.incoming(wanted)["numpy"] == (
        "numpy/__init__.py",
        "numpy-1.19.5.dist-info/METADATA",
        "numpy-1.19.5.dist-info/WHEEL",
        "numpy-1.19.5.dist-info/RECORD",
    )
    assert installer.refusal(wanted) is None
    with locked(str(env), patience=1, on_wait=print) as lock:
        done = installer.install(wanted, python=python, prefix=str(env), constraints="torch==1.9.0+cu111\n", lock=lock)
    assert (version_of(env, "torch"), version_of(env, "numpy")) == ("1.9.0+cu111", "1.19.5")
    assert [path.name for path in laid_down(env, "torch")] == ["torch", "torch-1.9.0+cu111.dist-info"]
    assert done.installed == {"torch": "1.9.0+cu111", "numpy": "1.19.5"}
    assert done.backend == "pip"
    assert done.constraints_file == str(env / "envfix-constraints.txt")
    assert Path(done.constraints_file).read_text() == "torch==1.9.0+cu111\n"
    # All network work was over before.
    assert server.requests == []
    assert list(env.rglob("direct_url.json")) == []
    assert [entry.name for entry in (tmp_path / "store").iterdir() if entry.name.startswith("run-")] == []
    (_, own_version, *_) = run([python, "-m", "pip", "--version"]).stdout.split()
    assert heard.stages[-1] == f"installing packages with pip {own_version}"
    assert host.locks[-1] is lock
    # Installed twice with one call each, and nothing secret for others to see.
    assert len(host.installs) == 2
    assert "s3cret" not in str(host.argvs) + str(host.variables) + host.told


def test_the_command_is_the_expected_one(server: Index, tmp_path: Path, env: Path) -> None:
    host = Watching()
    wanted = stack(server)
    pip(tmp_path, env, host=host).install(wanted, python=f"{env}/bin/python", prefix=str(env))
    (argv,) = host.installs
    workshop = argv[6].removesuffix("/wheels")
    assert workshop.startswith(f"{tmp_path}/store/run-")
    assert argv == [
        *(f"{env}/bin/python", "-m", "pip", "install", "--no-index", "--find-links", f"{workshop}/wheels"),
        *("--require-hashes", "-r", f"{workshop}/requirements.txt", "--only-binary", ":all:"),
        *("--disable-pip-version-check", "--no-input", "--no-cache-dir", "--no-compile", "--no-warn-script-location"),
        *("--no-deps", "--force-reinstall"),
    ]
    for place in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600)


def test_what_is_there_already_is_left_alone_unless_it_is_to_be_laid_down_anew(
    server: Index, tmp_path: Path, env: Path
) -> None:
    host, python = Watching(), f"{env}/bin/python"
    installer, wanted = pip(tmp_path, env, host=host), stack(server)
    installer.install(wanted, python=python, prefix=str(env))
    (module,) = env.glob("lib/*/site-packages/torch/__init__.py")
    module.unlink()
    installer.install(wanted, python=python, prefix=str(env))
    assert not module.exists()
    assert len(host.installs) == 1
    installer.install(wanted, python=python, prefix=str(env), reinstall=["Torch"])
    assert module.exists()
    assert len(host.installs) == 2


def test_a_plain_version_replaces_one_with_a_local_label(server: Index, tmp_path: Path, env: Path) -> None:
    """To pip, an installed 1.9.0+cu111 satisfies ==1.9.0."""
    installer, python = pip(tmp_path, env), f"{env}/bin/python"
    installer.install(stack(server), python=python, prefix=str(env))
    server.add("plain", make_wheel("torch", "1.9.0"))
    plain = resolution(server, pin("torch", "==1.9.0"), variant="plain")
    installer.install(plain, python=python, prefix=str(env))
    assert version_of(env, "torch") == "1.9.0"


def test_a_second_try_costs_nothing_and_works_offline(server: Index, tmp_path: Path, env: Path) -> None:
    wanted = stack(server)
    pip(tmp_path, env).fetch(wanted)
    assert len(server.downloads()) == 2
    server.requests.clear()
    offline = pip(tmp_path, env, offline=True)
    offline.install(wanted, python=f"{env}/bin/python", prefix=str(env))
    assert server.requests == []
    with pytest.raises(DownloadError) as caught:
        pip(tmp_path / "elsewhere", env, offline=True).fetch(wanted)
    assert caught.value.message.endswith("it is not on this disk, and going to the network is switched off")


def test_the_download_is_told(server: Index, tmp_path: Path, env: Path) -> None:
    wanted, heard = stack(server), Heard()
    pip(tmp_path, env, reporter=heard).fetch(wanted)
    assert heard.stages == ["downloading packages"]
    assert heard.bytes[-1] == (wanted.total_bytes, wanted.total_bytes)
    assert heard.counts[-1] == (2, 2)


def test_files_without_a_hash_are_installed_by_the_hash_they_have(server: Index, tmp_path: Path, env: Path) -> None:
    wanted = with_lock(stack(server), lambda lock: re.sub(r", hashes = \{[^}]*\}", "", lock))
    assert "sha256" not in wanted.lock
    installer = pip(tmp_path, env)
    assert installer.refusal(wanted) is None
    installer.install(wanted, python=f"{env}/bin/python", prefix=str(env))
    assert version_of(env, "torch") == "1.9.0+cu111"


def test_a_folder_of_wheels_is_used_where_it_is(server: Index, tmp_path: Path, env: Path) -> None:
    folder = tmp_path / "my wheels"
    folder.mkdir()
    for wheel in (torch("cu111", "3.11"), torch("cpu", "3.11"), make_wheel("numpy", "1.19.5")):
        (folder / wheel.filename).write_bytes(wheel.data)
    answer = UvInstaller(RealHost()).resolve(
        [pin("torch", "==1.9.0+cu111")], Sources(find_links=(str(folder),), registry=False), target()
    )
    assert isinstance(answer, Resolution), answer
    installer = pip(tmp_path, env)
    assert installer.refusal(answer) is None
    installer.install(answer, python=f"{env}/bin/python", prefix=str(env))
    assert version_of(env, "torch") == "1.9.0+cu111"
    assert server.requests == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("platform", ["manylinux2014_x86_64.manylinux_2_17_x86_64", "manylinux_2_28_x86_64"])
def test_an_old_pip_takes_platforms_it_has_not_heard_of(
    server: Index, tmp_path: Path, environments: Callable[[str], Path], version: str, platform: str
) -> None:
    env = environments(version)
    server.add("main", make_wheel("new", "1.0", f"py3-none-{platform}"))
    wanted = resolution(server, pin("new", "==1.0"), version=version)
    installer = pip(tmp_path, env)
    assert installer.refusal(wanted) is None
    installer.install(wanted, python=f"{env}/bin/python", prefix=str(env), reinstall=["new"])
    assert version_of(env, "new") == "1.0"


@pytest.mark.parametrize(
    ("name", "pip_version", "expected"),
    [
        ("a-1-cp36-cp36m-manylinux2014_x86_64.whl", (18, 1), "a-1-cp36-cp36m-linux_x86_64.whl"),
        ("a-1-cp36-cp36m-manylinux2014_x86_64.whl", (19, 3), "a-1-cp36-cp36m-manylinux2014_x86_64.whl"),
        ("a-1-cp36-cp36m-manylinux2010_x86_64.whl", (19, 0), "a-1-cp36-cp36m-manylinux2010_x86_64.whl"),
        ("a-1-cp36-cp36m-manylinux2010_i686.whl", (18, 1), "a-1-cp36-cp36m-linux_i686.whl"),
        ("a-1-cp36-cp36m-manylinux1_x86_64.whl", (9, 0), "a-1-cp36-cp36m-manylinux1_x86_64.whl"),
        ("a-1-py3-none-manylinux_2_17_aarch64.whl", (20, 2, 4), "a-1-py3-none-linux_aarch64.whl"),
        ("a-1-py3-none-manylinux_2_17_aarch64.whl", (20, 3), "a-1-py3-none-manylinux_2_17_aarch64.whl"),
        (
            "a-1-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.whl",
            (19, 0),
            "a-1-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.whl",
        ),
        ("a-1-py3-none-any.whl", (9, 0), "a-1-py3-none-any.whl"),
        ("a-1-py3-none-linux_x86_64.whl", (9, 0), "a-1-py3-none-linux_x86_64.whl"),
        ("a-1-py3-none-win_amd64.whl", (9, 0), "a-1-py3-none-win_amd64.whl"),
    ],
)
def test_the_name_under_which_pip_sees_a_wheel(name: str, pip_version: tuple[int, ...], expected: str) -> None:
    assert name_for_pip(name, pip_version) == expected


def wheel_with(member: str) -> Wheel:
    """A wheel with one file more, listed in its RECORD as every file is."""
    honest = make_wheel("evil", "1.0")
    record = "evil-1.0.dist-info/RECORD"
    buffer = io.BytesIO()
    data = b"escaped = True\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(io.BytesIO(honest.data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, text + f"{member},sha256={digest},{len(data)}\n".encode() if name == record else text)
        new.writestr(member, data)
    return Wheel("evil", honest.filename, buffer.getvalue(), honest.metadata)


@pytest.mark.parametrize(
    "member",
    ["../../../../escaped.py", "evil/../../escaped.py", "/tmp/envfix-escaped.py", "C:/escaped.py", "a\\..\\b.py"],
)
@pytest.mark.parametrize("version", ["3.6", "3.11"])
def test_a_wheel_that_would_write_elsewhere_is_not_installed(
    server: Index, tmp_path: Path, environments: Callable[[str], Path], member: str, version: str
) -> None:
    env, host = environments(version), Watching()
    server.add("main", wheel_with(member))
    wanted = resolution(server, pin("evil", "==1.0"), version=version)
    installer = pip(tmp_path, env, host=host)
    with pytest.raises(DownloadError) as caught:
        installer.incoming(wanted)
    assert caught.value.message == (
        f"evil-1.0-py3-none-any.whl would write outside of the environment ({member!r}): it is not installed; "
        "nothing was changed"
    )
    assert caught.value.hint == "do not use this index; choose another one with --index"
    with pytest.raises(DownloadError):
        installer.install(wanted, python=f"{env}/bin/python", prefix=str(env))
    assert host.argvs == []
    assert laid_down(env, "evil") == []
    assert not Path("/tmp/envfix-escaped.py").exists()


def test_what_must_be_built_is_refused_before_anything_is_changed(server: Index, tmp_path: Path, env: Path) -> None:
    wanted = stack(server)
    built = with_lock(wanted, lambda lock: lock.replace("numpy-1.19.5-py3-none-any.whl", "numpy-1.19.5.tar.gz"))
    host = Watching()
    with pytest.raises(InstallError) as caught:
        pip(tmp_path, env, host=host).fetch(built)
    assert caught.value.message == (
        "numpy 1.19.5 has no wheel for this Python and platform, and envfix does not build packages from source with "
        "pip; nothing was changed"
    )
    assert caught.value.hint == "take --backend uv, another version of it, or another Python"
    assert (server.requests, host.argvs) == ([], [])


def test_a_target_without_pip_is_told(server: Index, tmp_path: Path) -> None:
    python = interpreter("3.11")
    assert run([python, "-m", "venv", "--without-pip", str(tmp_path / "env")]).ok
    with pytest.raises(InstallError) as caught:
        pip(tmp_path, tmp_path / "env").install(
            stack(server), python=f"{tmp_path}/env/bin/python", prefix=f"{tmp_path}/env"
        )
    own = f"{tmp_path}/env/bin/python"
    assert caught.value.message == (
        f"{own} has no pip that works: exit code 1: {own}: No module named pip; nothing was changed"
    )
    assert caught.value.hint == f"{own} -m ensurepip brings one, or take --backend uv"


def test_a_pip_beside_the_user_is_not_taken_for_the_targets(
    server: Index, tmp_path: Path, env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    pip(tmp_path, env).install(stack(server), python=f"{env}/bin/python", prefix=str(env))
    assert version_of(env, "torch") == "1.9.0+cu111"


def test_a_dry_run_tells_in_pips_words_what_is_missing(server: Index, tmp_path: Path, env: Path) -> None:
    def without_numpy(lock: str) -> str:
        head, *packages = lock.split("[[packages]]")
        return head + "".join(f"[[packages]]{package}" for package in packages if 'name = "numpy"' not in package)

    words = pip(tmp_path, env).refusal(with_lock(stack(server), without_numpy))
    assert words == (
        "error: Could not find a version that satisfies the requirement numpy (from torch) (from versions: none)\n"
        "error: No matching distribution found for numpy"
    )
    assert laid_down(env, "torch") == []


def test_a_dry_run_tells_of_a_wheel_for_another_python(server: Index, tmp_path: Path, env: Path) -> None:
    wanted = stack(server, version="3.8")
    words = pip(tmp_path, env).refusal(wanted)
    assert words is not None
    assert "error: Could not find a version that satisfies the requirement torch==1.9.0+cu111" in words


def test_a_wheel_for_another_python_is_told(server: Index, tmp_path: Path, env: Path) -> None:
    with pytest.raises(InstallError) as caught:
        pip(tmp_path, env).install(stack(server, version="3.8"), python=f"{env}/bin/python", prefix=str(env))
    first, *words = caught.value.message.splitlines()
    assert first == (
        f"installing the packages with pip {own_pip(env)} failed: "
        "pip does not take the file of torch==1.9.0+cu111 for this Python and platform"
    )
    assert words[0].startswith("error: Could not find a version that satisfies the requirement torch==1.9.0+cu111")
    assert caught.value.hint == "take --backend uv, or a newer pip"


def own_pip(env: Path) -> str:
    return run([f"{env}/bin/python", "-m", "pip", "--version"]).stdout.split()[1]


def test_a_package_whose_file_list_is_missing_is_told(server: Index, tmp_path: Path, env: Path) -> None:
    installer, python = pip(tmp_path, env), f"{env}/bin/python"
    installer.install(stack(server, "cpu"), python=python, prefix=str(env))
    (record,) = env.glob("lib/*/site-packages/torch-*.dist-info/RECORD")
    kept = record.read_text()
    record.unlink()
    with pytest.raises(InstallError) as caught:
        installer.install(stack(server), python=python, prefix=str(env))
    record.write_text(kept)
    assert caught.value.message.splitlines()[0].endswith(
        "failed: torch is in the way and cannot be removed, because its file list is missing"
    )
    assert caught.value.hint == "make a fresh environment with --new-env PATH"


def test_a_file_that_changed_since_it_was_fetched_is_refused_by_pip(server: Index, tmp_path: Path, env: Path) -> None:
    installer, wanted = pip(tmp_path, env), stack(server)
    installer.fetch(wanted)
    (wheel,) = (tmp_path / "store").rglob("torch-*.whl")
    spoilt = bytearray(wheel.read_bytes())
    spoilt[-1:] = b"\x01\x00"
    wheel.write_bytes(bytes(spoilt))
    with pytest.raises(DownloadError) as caught:
        installer.install(wanted, python=f"{env}/bin/python", prefix=str(env))
    assert "a file has changed on this disk since it was fetched (wrong hash)" in caught.value.message
    assert caught.value.hint == "try again: it is fetched anew"
    pip(tmp_path, env).install(wanted, python=f"{env}/bin/python", prefix=str(env))
    assert version_of(env, "torch") == "1.9.0+cu111"


def test_a_broken_download_is_resumed_and_a_wrong_one_refused(server: Index, tmp_path: Path, env: Path) -> None:
    server.cut_files_after = 150_000
    wanted = stack(server)
    pip(tmp_path, env).fetch(wanted)
    assert "bytes=150000-" in server.ranges()
    server.cut_files_after, server.wrong_hashes = None, True
    wrong = stack(server, "cpu")
    with pytest.raises(DownloadError) as caught:
        pip(tmp_path, env).fetch(wrong)
    assert "sent another file than its index promised (wrong hash)" in caught.value.message


def test_a_password_reaches_the_index_but_no_message_and_no_argument(
    server: Index, tmp_path: Path, env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.password = "s3cret"  # noqa: S105
    secret = server.url("simple", "cu111").replace("//", "//user:s3cret@")
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main").replace("//", "//user:s3cret@"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", secret)
    host, heard = Watching(), Heard()
    wanted = stack(server)
    pip(tmp_path, env, host=host, reporter=heard).install(wanted, python=f"{env}/bin/python", prefix=str(env))
    assert version_of(env, "torch") == "1.9.0+cu111"
    assert "s3cret" not in str(host.argvs) + str(host.variables) + host.told + str(heard.notes + heard.stages)
    for place in tmp_path.joinpath("store").rglob("*"):
        assert place.is_dir() or b"s3cret" not in place.read_bytes()
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main"))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL")
    with pytest.raises(DownloadError) as caught:
        pip(tmp_path / "elsewhere", env).fetch(wanted)
    assert caught.value.message.endswith("asks for a user name and password (401)")
    pip(tmp_path / "elsewhere", env, addresses=[secret]).fetch(wanted)


def test_the_login_is_that_of_the_address_most_like_the_file() -> None:
    addresses = [
        "https://one:a@host/simple",
        "https://two:b%40@host/whl/cu118",
        "https://three:c@other/whl/cu118",
        "http://four:d@host/whl/cu118",
        "https://host/whl/cu118/deeper",
    ]
    assert login_for("https://host/whl/cu118/torch.whl", addresses) == ("two", "b@")
    assert login_for("https://host/simple/x.whl", addresses) == ("one", "a")
    assert login_for("https://own:e@host/x.whl", addresses) == ("own", "e")
    assert login_for("https://elsewhere/x.whl", addresses) is None


def test_the_users_network_settings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RealHost().environ(("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_")):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")

    def settings() -> dict[str, object]:
        made = network_settings(RealHost(), environment_for_installers(RealHost()))
        return {name: getattr(made, name) for name in made.__struct_fields__}

    plain = settings()
    assert (plain["timeout"], plain["idle_limit"], plain["proxy"], plain["certificates"]) == (15.0, 600.0, None, None)
    monkeypatch.setenv("PIP_PROXY", "http://proxy:1")
    monkeypatch.setenv("PIP_TIMEOUT", "60")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "one two:8443")
    monkeypatch.setenv("PIP_CERT", "/a/folder")
    monkeypatch.setenv("PIP_CLIENT_CERT", "/own.pem")
    assert settings() | {"back_off": 0} == {
        "proxy": "http://proxy:1",
        "certificates": "/a/folder",
        "client_certificate": "/own.pem",
        "insecure_hosts": ("one", "two:8443"),
        "timeout": 60.0,
        "idle_limit": 600.0,
        "back_off": 0,
        "offline": False,
    }
    monkeypatch.setenv("PIP_TIMEOUT", "5")
    monkeypatch.setenv("SSL_CERT_FILE", "/bundle.pem")
    assert (settings()["timeout"], settings()["certificates"]) == (15.0, "/bundle.pem")
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("UV_SYSTEM_CERTS", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://other:2")
    assert settings()["proxy"] is None


def test_a_pip_that_neither_says_nor_writes_anything_is_ended(server: Index, tmp_path: Path, env: Path) -> None:
    """A real interpreter, whose pip is replaced by one that hangs."""
    wanted = stack(server)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *" install "*) exec sleep 60;; esac\nexec {env}/bin/python "$@"\n')
    python.chmod(0o755)
    installer = pip(tmp_path, env, idle_limit=2.5, host=Quiet())
    started = time.monotonic()
    with pytest.raises(StalledError) as caught:
        installer.install(wanted, python=str(python), prefix=str(env))
    assert time.monotonic() - started < 12
    assert caught.value.message == (
        f"installing the packages with pip {own_pip(env)} failed: it has neither said nor written anything for 0 minutes"
    )
    assert list((tmp_path / "store").glob("run-*")) == []


class Quiet(RealHost):
    """The real machine, but for other programs that fill its disk meanwhile."""

    def disk_space(self, path: str) -> DiskSpace:
        """See ``ProbeHost.disk_space``."""
        return msgspec.structs.replace(super().disk_space(path), free=1)


def test_a_pip_that_writes_is_left_alone(server: Index, tmp_path: Path, env: Path) -> None:
    with small_disk(tmp_path / "disk", "size=50m") as disk:
        wanted = stack(server)
        python = tmp_path / "python"
        python.write_text(
            '#!/bin/sh\ncase "$*" in *" install "*) for n in 1 2 3 4 5 6 7 8 9 10 11 12; do '
            f"head -c 100000 /dev/zero > {disk}/$n; sleep 0.3; done; exit 0;; esac\n"
            f'exec {env}/bin/python "$@"\n'
        )
        python.chmod(0o755)
        done = pip(tmp_path, env, idle_limit=2.2).install(wanted, python=str(python), prefix=str(disk))
        assert done.seconds > 3.5


def test_a_full_disk_is_told(server: Index, tmp_path: Path) -> None:
    server.add("main", make_wheel("deep", "1.0", padding=30_000_000))
    wanted = resolution(server, pin("deep", "==1.0"))
    with small_disk(tmp_path / "disk", "size=45m") as disk:
        assert run([interpreter("3.11"), "-m", "venv", str(disk / "env")]).ok
        with pytest.raises(SpaceError) as caught:
            pip(tmp_path, disk / "env").install(wanted, python=f"{disk}/env/bin/python", prefix=str(disk / "env"))
    assert "failed: the disk is full (or your quota is used up)" in caught.value.message
    assert caught.value.hint == "free some room, or make an environment on another disk with --new-env PATH"


def test_a_store_on_a_full_disk_is_told(server: Index, tmp_path: Path, env: Path) -> None:
    wanted = stack(server)
    with small_disk(tmp_path / "store", "size=100k"), pytest.raises(SpaceError) as caught:
        pip(tmp_path, env).fetch(wanted)
    assert caught.value.message.endswith("failed: 0.2 MB needed, 0.1 MB free")
    with small_disk(tmp_path / "other", "size=1m,ro") as disk, pytest.raises(PermissionsError, match="Read-only"):
        PipInstaller(RealHost(), Heard(), python=f"{env}/bin/python", store=str(disk / "store")).fetch(wanted)


def test_a_system_python_is_not_changed(server: Index, tmp_path: Path) -> None:
    system = Path("/usr/bin/python3")
    if not system.exists() or not list(Path("/usr/lib").glob("python3.*/EXTERNALLY-MANAGED")):
        pytest.skip("no externally managed Python here")
    if not run([str(system), "-m", "pip", "--version"]).ok:
        pytest.skip("the system Python has no pip")
    version = run([str(system), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
    server.add("main", make_wheel("old", "1.0"))
    wanted = resolution(server, pin("old", "==1.0"), version=version)
    installer = PipInstaller(RealHost(), Heard(), python=str(system), store=str(tmp_path / "store"))
    with pytest.raises(PermissionsError) as caught:
        installer.install(wanted, python=str(system), prefix="/usr/local")
    assert "this Python belongs to the operating system and must not be changed" in caught.value.message
    host = Watching()
    installer = PipInstaller(host, Heard(), python=str(system), store=str(tmp_path / "store"))
    assert installer.refusal(wanted, options=["--break-system-packages"]) is None
    assert {"--break-system-packages", "--dry-run"} <= set(host.argvs[-1])


def test_what_killed_runs_left_is_swept_after_a_day(server: Index, tmp_path: Path, env: Path) -> None:
    old, new = tmp_path / "store" / "run-old", tmp_path / "store" / "run-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 100_000,) * 2)
    pip(tmp_path, env).install(stack(server), python=f"{env}/bin/python", prefix=str(env))
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize(
    ("words", "message", "kind"),
    [
        (
            "ERROR: Package 'x' requires a different Python: 3.8.18 not in '>=3.9'",
            "a package is made for another Python",
            InstallError,
        ),
        ("torch-1-cp38-cp38-win32.whl is not a supported wheel on this platform.", "the file of torch-1", InstallError),
        ("ERROR: Cannot uninstall 'PyYAML'. It is a distutils installed project", "PyYAML is in the way", InstallError),
        ("ERROR: Wheel 'x' located at /s/x.whl is invalid.", "the wheel of x is damaged", DownloadError),
        ("zipfile.BadZipFile: File is not a zip file", "the wheel of one package is damaged", DownloadError),
        ("OSError: [Errno 122] Disk quota exceeded", "the disk is full", SpaceError),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
            "writing is not permitted",
            PermissionsError,
        ),
        ("something else", "installing failed\nsomething else", InstallError),
    ],
)
def test_pips_words_become_causes(words: str, message: str, kind: type[InstallError]) -> None:
    error = pip_error(words, "installing")
    assert message in error.message
    assert type(error) is kind
    assert error.hint


@pytest.mark.online
def test_the_newest_pip_installs_it_too(server: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = stack(server)
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.delenv("PIP_CONFIG_FILE")
    with contextlib.suppress(InstallError):
        UvInstaller(RealHost()).create_environment(interpreter("3.11"), str(tmp_path / "env"))
    if not (tmp_path / "env").exists() or int(own_pip(tmp_path / "env").partition(".")[0]) < 25:
        pytest.skip("the registry gives no newer pip")
    python, installer = f"{tmp_path}/env/bin/python", pip(tmp_path, tmp_path / "env")
    assert installer.refusal(wanted) is None
    installer.install(wanted, python=python, prefix=f"{tmp_path}/env")
    assert version_of(tmp_path / "env", "torch") == "1.9.0+cu111"
    listed = json.loads(run([python, "-m", "pip", "list", "--format", "json"]).stdout)
    assert {"name": "torch", "version": "1.9.0+cu111"} in listed

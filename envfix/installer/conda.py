"""Solves, downloads and installs conda packages with rattler, the library of pixi: no conda, mamba or base environment is needed.

Nothing is written to a prefix before every package lies hash-checked in rattler's cache, and what will be written is told
file by file beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from envfix.errors import InstallError, UsageError
from envfix.host.interface import Host, ProbeHost
from envfix.installer.interface import DownloadError, PathError, PermissionsError, SpaceError, StalledError
from envfix.model.facts import CondaSettings
from envfix.model.language import say
from envfix.model.outcome import Installation
from envfix.model.plan import Download
from envfix.model.reporter import NullReporter, Reporter
from envfix.probes import conda as probe
from envfix.probes.interpreter import conda_roots, literal
from envfix.probes.package_sources import without_credentials

if TYPE_CHECKING:
    from rattler import Client, Gateway

LIST_LIMIT = 120.0
SOLVE_LIMIT = 60.0
IDLE_LIMIT = 120.0
_SILENT = NullReporter()
_TICK = 0.25
_RETRIES = 3
_NO_SPACE = re.compile(r"No space left on device|os error 28|Disk quota exceeded|os error 122")
_NO_PERMISSION = re.compile(r"Permission denied|os error 13|Read-only file system|os error 30")
_HASH = re.compile(
    r"hash mismatch when extracting (?P<url>\S+) to .*?expected (?P<told>[0-9a-f]+), got (?P<got>[0-9a-f]+)"
)
_FAILED = re.compile(r"failed to fetch (?P<file>\S+)")
_STATUS = re.compile(r"HTTP status (?:client|server) error \((?P<status>\d{3})")
_ENVIRONMENT_KEYS = ("envs_dirs", "envs_path")
T = TypeVar("T")


class ChannelError(InstallError):
    """A channel could not be read; ``problem`` says why in a few words."""

    reference = "conda-channel"


class ProtectedPrefixError(PathError):
    """The prefix is conda's own environment."""

    reference = "conda-base"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A channel by the user's name and its address; the address may hold credentials and is never shown."""

    name: str
    url: str

    @property
    def shown(self) -> str:
        """The address without user name and password."""
        return without_credentials(self.url)


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package as a channel lists it."""

    name: str
    version: str
    build: str
    channel: str
    address: str
    subdir: str
    filename: str
    url: str
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def download(self) -> Download:
        """As the plan tells it."""
        return Download(
            name=self.name,
            version=self.version,
            filename=self.filename,
            index=self.channel,
            size=self.size,
            sha256=self.sha256,
        )


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel holds of the packages asked for, or why it could not be read."""

    source: Source
    packages: tuple[Package, ...] = ()
    problem: str | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One solve: what is wanted, from which channels, for a machine with which virtual packages.

    ``specs`` and ``constraints`` are match specs, ``virtual`` maps names such as ``__cuda`` to version and build;
    ``prefix`` is the environment whose packages are kept where they fit (None: a new one). For a new one ``kept`` are
    packages, by name, version and build, that are taken where they fit and are needed.
    """

    specs: tuple[str, ...]
    sources: tuple[Source, ...]
    subdir: str
    virtual: dict[str, tuple[str, str]]
    constraints: tuple[str, ...] = ()
    priority: str | None = None
    prefix: str | None = None
    kept: tuple[tuple[str, str, str], ...] = ()


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """The exact packages that an environment will consist of; ``records`` are rattler's own, in the same order."""

    packages: tuple[Package, ...]
    records: tuple[Any, ...]
    subdir: str
    specs: tuple[str, ...]
    cached_bytes: int = 0
    seconds: float = 0.0

    def package(self, name: str) -> Package | None:
        """The package of this name, if it is part of it."""
        return next((one for one in self.packages if one.name == name), None)

    @property
    def versions(self) -> dict[str, str]:
        """Name to exact version."""
        return {one.name: one.version for one in self.packages}

    @property
    def total_bytes(self) -> int:
        """The size of all packages together."""
        return sum(one.size or 0 for one in self.packages)


class Unsolvable(msgspec.Struct, frozen=True, kw_only=True):
    """There is no solution: why in one sentence, and the solver's own words. ``timed_out``: it was ended."""

    message: str
    text: str
    timed_out: bool = False


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation does to a prefix, as paths in it: what goes, what is written over, what comes.

    ``foreign`` are those written over that belong to no conda package (pip's, for example). ``replaced`` maps names to the
    versions that were there and that come, ``gone`` are packages that no longer belong to the environment.
    """

    removed: tuple[str, ...]
    overwritten: tuple[str, ...]
    created: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    added: dict[str, str] = {}
    replaced: dict[str, tuple[str, str]] = {}
    gone: dict[str, str] = {}
    mended: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Every path that is there now and will not be as it was."""
        return (*self.removed, *self.overwritten)


class CondaInstaller:
    """Solves and installs with rattler. Raises ``InstallError`` where rattler is not installed.

    ``cache_dir`` is where packages and lists of packages are kept (default: rattler's own), ``idle_limit`` the seconds
    without any movement after which a download is ended.
    """

    name = "conda"

    def __init__(
        self,
        host: Host,
        reporter: Reporter = _SILENT,
        *,
        settings: CondaSettings | None = None,
        cache_dir: str | None = None,
        list_limit: float = LIST_LIMIT,
        solve_limit: float = SOLVE_LIMIT,
        idle_limit: float = IDLE_LIMIT,
    ) -> None:
        self._host = host
        self._reporter = reporter
        self._settings = settings if settings is not None else probe.read_settings(host)[0]
        self._cache = cache_dir or _default_cache(host)
        self._list_limit = list_limit
        self._solve_limit = solve_limit
        self._idle_limit = idle_limit
        try:
            import rattler  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise InstallError(
                say("conda environments need py-rattler, which is not installed beside envfix"),
                hint=say("install it into envfix's own environment: pip install py-rattler"),
            ) from error
        self._client: Client | None = None
        self._gateway: Gateway | None = None

    @property
    def cache_dir(self) -> str:
        """Where packages are kept, each in a folder of its own."""
        return os.path.join(self._cache, "pkgs")

    def listings(self, sources: Sequence[Source], names: Sequence[str], subdir: str) -> tuple[Listing, ...]:
        """What each channel holds of these packages, side by side; a channel that cannot be read says why."""
        return self._run(self._list(sources, names, subdir))

    def solve(self, wish: Wish) -> Solution | Unsolvable:
        """The best set of packages that meets the wish, or why there is none; changes nothing but caches."""
        return self._run(self._solve(wish))

    def fetch(self, solution: Solution) -> None:
        """Bring every package into the cache, hash-checked, before any prefix is touched.

        Raises ``DownloadError``, ``StalledError``, ``SpaceError`` or ``PermissionsError``; what has arrived is kept.
        """
        self._run(self._fetch(solution))

    def changes(self, solution: Solution, prefix: str) -> Changes:
        """Which paths of a prefix the installation will touch; all packages must have been fetched."""
        return _Comparison(self.cache_dir, solution, prefix).changes()

    def install(
        self, solution: Solution, prefix: str, *, allow_base: bool = False, command: str = "envfix install"
    ) -> Installation:
        """Make the prefix hold exactly the solution; packages that pip installed stay. Raises ``InstallError``.

        ``command`` is what conda's history of the environment will say.
        """
        refuse_base(prefix, allow_base=allow_base)
        started = time.monotonic()
        self.fetch(solution)
        compared = _Comparison(self.cache_dir, solution, prefix)
        changes = compared.changes()
        self._reporter.stage(
            say(
                "installing {number} conda packages",
                number=len(changes.added) + len(changes.replaced) + len(changes.mended),
            )
        )
        try:
            compared.remove_bytecode(changes)
        except OSError as error:
            raise _link_error(str(error), prefix) from error
        self._run(self._install(solution, prefix, compared))
        _write_history(prefix, compared, solution.specs, command)
        return Installation(
            prefix=prefix,
            python=os.path.join(prefix, _python_path(solution.subdir)),
            installed=solution.versions,
            seconds=round(time.monotonic() - started, 3),
            backend=self.name,
            replaced={name: old for name, (old, _) in changes.replaced.items()},
            made=not compared.before,
            notes=tuple(compared.notes()),
        )

    # --- what runs inside rattler ---

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end. Ctrl-C ends it: rattler's own threads stop with what they do."""
        with (
            _certificates(self._host, self._settings),
            asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner,
        ):
            return runner.run(work)

    def _connected(self) -> Client:
        """A client that goes through the proxies and trusts the certificates of .condarc."""
        if self._client is None:
            from rattler.config import Config
            from rattler.networking import Client

            config = Config.from_toml(_configuration(self._settings))
            self._client = Client.from_config(config, max_retries=_RETRIES, user_agent="envfix")
        return self._client

    def _lists(self) -> Gateway:
        if self._gateway is None:
            from rattler import Gateway

            folder = Path(self._cache, "repodata")
            self._gateway = Gateway(cache_dir=folder, client=self._connected())
        return self._gateway

    async def _list(self, sources: Sequence[Source], names: Sequence[str], subdir: str) -> tuple[Listing, ...]:
        return tuple(await asyncio.gather(*(self._list_one(source, names, subdir) for source in sources)))

    async def _list_one(self, source: Source, names: Sequence[str], subdir: str) -> Listing:
        from rattler import Channel

        query = self._lists().query([Channel(source.url)], _parts(subdir), list(names), recursive=False)
        try:
            answer = await asyncio.wait_for(_awaited(query), self._list_limit)
        except (TimeoutError, asyncio.TimeoutError):
            return Listing(
                source=source,
                problem=say(
                    "its list of packages had not arrived after {list_limit:g} s: it is too slow",
                    list_limit=self._list_limit,
                ),
            )
        except Exception as error:  # noqa: BLE001 - whatever is odd about one channel must not take the others along
            return Listing(source=source, problem=_channel_problem(str(error)))
        found = [_package(record, source) for part in answer for record in part]
        return Listing(source=source, packages=tuple(sorted(found, key=lambda one: (one.name, one.version, one.build))))

    async def _solve(self, wish: Wish) -> Solution | Unsolvable:
        import rattler
        from rattler.channel import ChannelPriority
        from rattler.exceptions import SolverError

        started = time.monotonic()
        if wish.prefix is not None:
            preferred = _records(wish.prefix)
            specs = [*wish.specs, *_keeping(preferred, wish.specs)]
        else:
            preferred, specs = await self._kept(wish), list(wish.specs)
        orders = {"strict": [ChannelPriority.Strict], "disabled": [ChannelPriority.Disabled]}.get(
            (wish.priority or "").lower(), [ChannelPriority.Strict, ChannelPriority.Disabled]
        )
        refused: Unsolvable | None = None
        for order in orders:
            left = self._solve_limit - (time.monotonic() - started)
            solving = rattler.solve(
                [rattler.Channel(source.url) for source in wish.sources],
                [rattler.MatchSpec(spec) for spec in specs],
                gateway=self._lists(),
                platforms=_parts(wish.subdir),
                locked_packages=preferred,
                virtual_packages=[_virtual(name, *told) for name, told in wish.virtual.items()],
                channel_priority=order,
                timeout=dt.timedelta(seconds=max(left, 1.0)),
                constraints=[rattler.MatchSpec(spec) for spec in wish.constraints],
                channel_relations="disabled",
            )
            try:
                records = await asyncio.wait_for(_awaited(solving), max(left, 1.0) + 1.0)
            except (TimeoutError, asyncio.TimeoutError):
                return _out_of_time(self._solve_limit)
            except SolverError as error:
                if time.monotonic() - started >= self._solve_limit:
                    return _out_of_time(self._solve_limit)
                refused = refused or Unsolvable(message=why_unsolvable(str(error)), text=str(error).strip())
            except Exception as error:  # a list of packages that did not come
                raise ChannelError(
                    say("the channels cannot be read: {channel_problem}", channel_problem=_channel_problem(str(error))),
                    hint=say("try again, or take another mirror"),
                ) from error
            else:
                return await self._solution(records, wish, time.monotonic() - started)
        assert refused is not None  # noqa: S101 - there is at least one order
        return refused

    async def _kept(self, wish: Wish) -> list[Any]:
        """Those of the packages to keep that the channels still list."""
        if not wish.kept:
            return []
        from rattler import Channel

        names = [name for name, _, _ in wish.kept]
        channels = [Channel(source.url) for source in wish.sources]
        parts = await _awaited(self._lists().query(channels, _parts(wish.subdir), names, recursive=False))
        rows = {
            (str(row.name.normalized), str(row.version), str(row.build)): row
            for part in reversed(parts)
            for row in part
        }
        return [rows[key] for key in wish.kept if key in rows]

    async def _solution(self, records: Sequence[Any], wish: Wish, seconds: float) -> Solution:
        ordered = sorted(records, key=lambda record: str(record.name.normalized))
        packages = tuple(_package(record, _source_of(record, wish.sources)) for record in ordered)
        cached = await self._cached(ordered)
        return Solution(
            packages=packages,
            records=tuple(ordered),
            subdir=wish.subdir,
            specs=wish.specs,
            cached_bytes=sum(one.size or 0 for one, here in zip(packages, cached, strict=True) if here),
            seconds=round(seconds, 3),
        )

    async def _cached(self, records: Sequence[Any]) -> list[bool]:
        """Which of them lie in the cache, whole."""
        from rattler import PackageCache

        index = await _awaited(PackageCache(self.cache_dir).index())
        return [bool(index.contains_record(record)) for record in records]

    async def _fetch(self, solution: Solution) -> None:
        cached = await self._cached(solution.records)
        missing = [record for record, here in zip(solution.records, cached, strict=True) if not here]
        if not missing:
            return
        size = sum(record.size or 0 for record in missing)
        self._reporter.stage(say("downloading {number} conda packages", number=len(missing)))
        if any(record.noarch.python for record in missing):  # these are laid out for the Python they go with
            missing += [row for row in solution.records if row.name.normalized == "python" and row not in missing]
        progress = _Progress(self._reporter, size, len(missing))
        scratch = os.path.join(self._cache, f".envfix-{os.getpid()}-{threading.get_ident()}")
        try:
            os.makedirs(self.cache_dir, exist_ok=True)
            await self._watched(self._linked(missing, scratch, solution.subdir, progress), progress)
        except OSError as error:
            raise _disk_error(str(error), self._cache) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            _remove_unfinished(self.cache_dir, [record.file_name for record in missing])

    async def _linked(self, records: Sequence[Any], folder: str, subdir: str, progress: Any) -> None:
        """Rattler has no command that only downloads: it links into a folder beside the cache that is thrown away."""
        import rattler
        from rattler.exceptions import InstallerError

        try:
            await _awaited(
                rattler.install(
                    list(records),
                    folder,
                    cache_dir=Path(self.cache_dir),
                    installed_packages=[],
                    platform=rattler.platform.Subdir(subdir),
                    client=self._connected(),
                    reporter=progress,
                )
            )
        except InstallerError as error:
            raise _download_error(str(error), self._cache, [_package(record, None) for record in records]) from error

    async def _watched(self, work: Coroutine[Any, Any, None], progress: _Progress) -> None:
        """Wait for the work, and end it when nothing has moved for too long."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_TICK)
                idle = time.monotonic() - progress.moved_at
                if not task.done() and idle > self._idle_limit:
                    name = ", ".join(sorted(progress.open)[:2]) or say("the channel")
                    raise StalledError(
                        say("nothing has arrived for {idle:.0f} s ({name}); nothing was changed", idle=idle, name=name),
                        hint=say("try again: what has arrived is kept; or take another mirror of the channel"),
                    )
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        await task

    async def _install(self, solution: Solution, prefix: str, compared: _Comparison) -> None:
        import rattler
        from rattler.exceptions import InstallerError, LinkError, TransactionError

        try:
            await _awaited(
                rattler.install(
                    list(solution.records),
                    prefix,
                    cache_dir=Path(self.cache_dir),
                    platform=rattler.platform.Subdir(solution.subdir),
                    client=self._connected(),
                    show_progress=False,
                    # What is as it should be is left alone, by our own comparison: it was told which paths change.
                    ignored_packages=compared.untouched,
                    reinstall_packages=compared.mended,
                    execute_link_scripts=False,
                )
            )
        except (InstallerError, LinkError, TransactionError, OSError) as error:
            raise _link_error(str(error), prefix) from error


class _Runner:
    """What ``asyncio.Runner`` is from Python 3.11 on."""

    def __enter__(self) -> _Runner:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return asyncio.run(work)


async def _awaited(work: Any) -> Any:
    """A coroutine of ours around what rattler hands out, which may be a future."""
    return await work


class _Progress:
    """Hears rattler's downloads, in rattler's threads, and tells of them as one (an ``InstallerReporter``)."""

    def __init__(self, reporter: Reporter, size: int, count: int) -> None:
        self._reporter = reporter
        self._size = size
        self._count = count
        self._done: dict[int, int] = {}
        self._finished: set[int] = set()
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()
        self.moved_at = time.monotonic()

    @property
    def open(self) -> set[str]:
        """The packages that are still on their way."""
        return {name for number, name in self._names.items() if number not in self._finished}

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        """A package is looked for."""
        self._names[operation] = package_name
        return operation

    def on_download_start(self, cache_entry: int) -> int:
        """Its download begins."""
        self._moved()
        return cache_entry

    def on_download_progress(self, download_idx: int, progress: int, total: int | None) -> None:
        """So many bytes of it are here."""
        del total
        with self._lock:
            if progress > self._done.get(download_idx, 0):
                self._done[download_idx] = progress
                self._moved()
            done = sum(self._done.values())
        self._reporter.progress(done, self._size or None)

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        """It is here, checked and unpacked."""
        with self._lock:
            self._finished.add(cache_entry)
            self._moved()
        self._reporter.packages(len(self._finished), self._count)

    def _moved(self) -> None:
        self.moved_at = time.monotonic()

    def __getattr__(self, name: str) -> Callable[..., int]:
        """What else rattler tells is of no interest."""
        if name.startswith("on_"):
            return lambda *_: 0
        raise AttributeError(name)


class _Comparison:
    """A solution beside what a prefix holds: which packages change, and with that which paths."""

    def __init__(self, cache_dir: str, solution: Solution, prefix: str) -> None:
        self._cache_dir = cache_dir
        self._prefix = prefix
        self._solution = solution
        self.before = {row.name: row for row in installed(prefix)}
        self.after = {one.name: one for one in solution.packages}
        same = {name for name, one in self.after.items() if name in self.before and self.before[name].is_same(one)}
        self.mended = {name for name in same if self.before[name].is_damaged(prefix)}
        self.untouched = same - self.mended

    def changes(self) -> Changes:
        """The paths that change."""
        leaving = [row for name, row in self.before.items() if name not in self.untouched]
        coming = [one for name, one in self.after.items() if name not in self.untouched]
        old = {path for row in leaving for path in (*row.files, row.record)}
        incoming = [(one.name, path) for one in coming for path in self._incoming(one)]
        new = {path for _, path in incoming} | {f"conda-meta/{_record_name(one)}" for one in coming}
        new |= set(self._clobbered(incoming)) | ({"CACHEDIR.TAG", "conda-meta/history"})
        old |= set(self._bytecode(old | new))
        there = {path for path in old | new if os.path.lexists(os.path.join(self._prefix, path))}
        kept = {path for name in self.untouched for path in self.before[name].files}
        written = new & there - {"CACHEDIR.TAG"}
        return Changes(
            removed=tuple(sorted(old & there - new)),
            overwritten=tuple(sorted(written)),
            created=tuple(sorted(new - there)),
            foreign=tuple(sorted(path for path in written - old - kept if not path.startswith("conda-meta/"))),
            added={one.name: one.version for one in coming if one.name not in self.before},
            replaced={
                one.name: (self.before[one.name].version, one.version)
                for one in coming
                if one.name in self.before and one.name not in self.mended
            },
            gone={row.name: row.version for row in leaving if row.name not in self.after},
            mended=tuple(sorted(self.mended)),
        )

    def _bytecode(self, paths: set[str]) -> Iterator[str]:
        """What Python has compiled of files that change: of one with the same date and size it would go on using it."""
        folders: dict[str, set[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            if name.endswith(".py"):
                folders.setdefault(folder, set()).add(name.removesuffix(".py"))
        for folder, names in folders.items():
            with contextlib.suppress(OSError):
                for compiled in os.listdir(os.path.join(self._prefix, folder, "__pycache__")):
                    if compiled.endswith(".pyc") and compiled.partition(".")[0] in names:
                        yield f"{folder}/__pycache__/{compiled}"

    def remove_bytecode(self, changes: Changes) -> None:
        """Delete what Python has compiled of files that change."""
        for path in changes.removed:
            if path.endswith(".pyc"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._prefix, path))

    def _clobbered(self, incoming: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Where rattler puts a file that two packages bring: aside, under the name of the package that loses."""
        owners: dict[str, list[str]] = {}
        for name in self.untouched:
            for path in self.before[name].files:
                owners.setdefault(path, []).append(name)
        for name, path in incoming:
            owners.setdefault(path, []).append(name)
        for path, names in owners.items():
            if len(names) > 1:
                yield from (f"__clobbers__/{name}/{path}" for name in names)

    def _incoming(self, one: Package) -> Iterator[str]:
        """The paths that a package lays down, by its own list in the cache."""
        folder = os.path.join(self._cache_dir, _stem(one.filename))
        site, scripts = self._layout()
        is_python = _is_noarch_python(folder)
        for path in _listed(folder):
            head, _, rest = path.partition("/")
            if is_python and head == "site-packages":
                yield f"{site}/{rest}"
            elif is_python and head == "python-scripts":
                yield f"{scripts}/{rest}"
            else:
                yield path
        for point in _entry_points(folder) if is_python else ():
            name = point.partition("=")[0].strip()
            windows = self._solution.subdir.startswith("win")
            yield from (f"{scripts}/{name}-script.py", f"{scripts}/{name}.exe") if windows else (f"{scripts}/{name}",)

    def _layout(self) -> tuple[str, str]:
        python = next((row for row in self._solution.records if row.name.normalized == "python"), None)
        if self._solution.subdir.startswith("win"):
            return "Lib/site-packages", "Scripts"
        named = getattr(python, "python_site_packages_path", None)
        version = ".".join(str(python.version).split(".")[:2]) if python is not None else "3"
        return named or f"lib/python{version}/site-packages", "bin"

    def notes(self) -> Iterator[str]:
        """What the user should know of the packages that came."""
        for name, one in sorted(self.after.items()):
            if name in self.untouched:
                continue
            folder = os.path.join(self._cache_dir, _stem(one.filename))
            script = f"bin/.{name}-post-link.sh"
            if os.path.lexists(os.path.join(folder, script)):
                yield say(
                    "{name} {version} brings a script that conda would run after linking; envfix"
                    " does not run it: {script}",
                    name=name,
                    version=one.version,
                    script=script,
                )

    def history(self) -> Iterator[str]:
        """What went and what came, as conda writes it down."""
        yield from sorted(f"-{row.dist}" for name, row in self.before.items() if name not in self.untouched)
        yield from sorted(
            f"+{without_credentials(one.address).rstrip('/')}/{one.subdir}::{one.name}-{one.version}-{one.build}"
            for name, one in self.after.items()
            if name not in self.untouched
        )


class InstalledPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package by its record in ``conda-meta``; ``files`` and ``record`` are paths in the prefix."""

    name: str
    version: str
    build: str
    record: str
    files: tuple[str, ...] = ()
    channel: str = ""
    subdir: str = ""
    sha256: str | None = None

    @property
    def dist(self) -> str:
        """As conda's history names it."""
        channel = without_credentials(self.channel).rstrip("/")
        where = channel if not self.subdir or channel.endswith(f"/{self.subdir}") else f"{channel}/{self.subdir}"
        return f"{where}::{self.name}-{self.version}-{self.build}"

    def is_same(self, one: Package) -> bool:
        """Whether it is this very package."""
        if (self.version, self.build) != (one.version, one.build):
            return False
        return self.sha256 is None or one.sha256 is None or self.sha256 == one.sha256

    def is_damaged(self, prefix: str) -> bool:
        """Whether files that the record names are not there."""
        return any(not os.path.lexists(os.path.join(prefix, path)) for path in self.files)


def installed(prefix: str) -> tuple[InstalledPackage, ...]:
    """The packages of an environment by its records; a record that cannot be read raises ``InstallError``."""
    return tuple(_installed(path) for path in sorted(Path(prefix, "conda-meta").glob("*.json")))


def _installed(path: Path) -> InstalledPackage:
    try:
        row = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        return InstalledPackage(
            name=row["name"],
            version=row["version"],
            build=row.get("build") or row.get("build_string") or "",
            record=f"conda-meta/{path.name}",
            files=tuple(row.get("files") or ()),
            channel=str(row.get("channel") or ""),
            subdir=str(row.get("subdir") or ""),
            sha256=row.get("sha256"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InstallError(
            say("{path} is damaged, so what conda installed there cannot be told", path=path),
            hint=say("make a fresh environment with --new-env PATH"),
        ) from error


def refuse_base(prefix: str, *, allow_base: bool = False) -> None:
    """Raise ``ProtectedPrefixError`` for conda's own environment, the one in which conda itself lives."""
    own = any(os.path.isdir(os.path.join(prefix, name)) for name in ("condabin", "pkgs", "envs"))
    if own and os.path.isdir(os.path.join(prefix, "conda-meta")) and not allow_base:
        raise ProtectedPrefixError(
            say("{prefix} is conda's own environment (base): a broken base breaks conda itself", prefix=prefix),
            hint=say("make an environment of your own with --new-env PATH, or add --allow-base if you mean this one"),
        )


def environment_path(host: ProbeHost, name: str) -> str:
    """The folder of a conda environment by its name: where it is, else where a new one of that name belongs.

    Raises ``UsageError`` for a name that is none, such as one with a slash.
    """
    if not re.fullmatch(r"[^\s/\\:#]+", name) or name in (".", ".."):
        raise UsageError(
            say("{name!r} is not a name for a conda environment", name=name[:60]),
            hint=say("give a path, or a name without / and blanks"),
        )
    folders = _environment_folders(host)
    roots = [root for root in conda_roots(host) if host.glob(f"{literal(root)}/conda-meta")]
    if name == "base" and roots:
        return roots[0]
    home = host.system_facts().get("home", "~")
    listed = [line.strip() for line in host.read_text(f"{home}/.conda/environments.txt").text.splitlines()]
    known = [*(f"{folder}/{name}" for folder in folders), *(row for row in listed if os.path.basename(row) == name)]
    return next((path for path in known if host.glob(f"{literal(path)}/conda-meta")), f"{folders[0]}/{name}")


def _environment_folders(host: ProbeHost) -> list[str]:
    """Conda's envs_dirs: of variables, then of .condarc files (the strongest first), then beside conda, then at home."""
    home = host.system_facts().get("home", "~")
    found: list[str] = []
    for variable in ("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH"):
        found += [part for part in re.split(rf"[,{os.pathsep}]", host.getenv(variable) or "") if part.strip()]
    roots = [root for root in conda_roots(host) if host.glob(f"{literal(root)}/conda-meta")]
    for path in reversed(probe.condarc_paths(host, host.getenv("CONDA_PREFIX"), roots[0] if roots else None)):
        answer = host.read_text(path, limit=65_536)
        with contextlib.suppress(ValueError):
            document = probe.parse_condarc(answer.text) if answer.outcome == "read" else {}
            for key in _ENVIRONMENT_KEYS:
                rows = document.get(key)
                found += (
                    [str(row) for row in rows] if isinstance(rows, list) else [rows] if isinstance(rows, str) else []
                )
    micromamba = host.getenv("MAMBA_ROOT_PREFIX")
    beside = [*roots, *([micromamba] if micromamba else [])]
    found += [f"{root}/envs" for root in beside if host.disk_space(f"{root}/envs").writable]
    found.append(f"{home}/.conda/envs")
    whole = [home + path.strip()[1:] if path.strip().startswith("~") else path.strip() for path in found]
    return list(dict.fromkeys(path.rstrip("/") for path in whole))


def why_unsolvable(text: str) -> str:
    """The solver's tree of reasons in one sentence: the last branch says what it fell at."""
    lines = [re.sub(r"^[\s│├└─]+", "", line).strip() for line in text.splitlines()]
    lines = [
        line for line in lines if line and not line.startswith("Cannot solve the request because of: The following")
    ]
    lines = [line.removeprefix("Cannot solve the request because of: ").rstrip(".") for line in lines]
    if not lines:
        return say("the solver found no set of packages")
    last = re.sub(r",? which conflicts with any installable versions previously reported$", "", lines[-1])
    last = re.sub(r",? (?:which )?(?:cannot be installed because there are|for which) no viable options:?$", "", last)
    here = next((line for line in lines if re.fullmatch(r"__\w+ [\d.]+(?: \S+)?", line)), None)
    owner = next((line for line in reversed(lines[:-1]) if re.search(r" would (?:require|constrain)$", line)), None)
    told = re.sub(r" would (?:require|constrain)$", "", owner) if owner else None
    whole = say("{told} needs {last}", told=told, last=last) if told is not None else last
    virtual = re.search(r"__\w+", whole)
    if here is not None and virtual is not None and here.startswith(f"{virtual[0]} "):
        return say("{whole}, and here it is {split}", whole=whole, split=here.split()[1])
    return whole


def _out_of_time(limit: float) -> Unsolvable:
    text = say("the solver had no answer after {limit:g} s and was ended", limit=limit)
    return Unsolvable(message=text, text=text, timed_out=True)


def _keeping(there: Sequence[Any], specs: Sequence[str]) -> Iterator[str]:
    """The packages of an environment that stay, in whatever version; what carries CUDA comes and goes with torch."""
    wanted = {re.split(r"[\s=<>!\[~]", spec.rpartition("::")[2], maxsplit=1)[0] for spec in specs}
    for record in there:
        name = str(record.name.normalized)
        if name not in wanted and not _WITH_TORCH.fullmatch(name):
            yield name


_WITH_TORCH = re.compile(
    r"cpuonly|cuda.*|cudnn|nccl|libtorch|pytorch-.*|torchtriton|triton|magma.*|lib(?:cu|nv|npp|magma).*|nvidia-.*|nvtx.*"
)


def _records(prefix: str) -> list[Any]:
    from rattler import PrefixRecord

    installed(prefix)  # says which record is damaged
    return [PrefixRecord.from_path(path) for path in sorted(Path(prefix, "conda-meta").glob("*.json"))]


def _parts(subdir: str) -> list[Any]:
    return [subdir, "noarch"]


def _virtual(name: str, version: str, build: str) -> Any:
    from rattler import GenericVirtualPackage, PackageName, Version
    from rattler.package import BuildString

    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))


def _source_of(record: Any, sources: Sequence[Source]) -> Source | None:
    fitting = [source for source in sources if str(record.url).startswith(f"{source.url.rstrip('/')}/")]
    return max(fitting, key=lambda source: len(source.url), default=None)


def _package(record: Any, source: Source | None) -> Package:
    return Package(
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        channel=source.name if source is not None else without_credentials(str(record.channel or "")).rstrip("/"),
        address=source.shown if source is not None else without_credentials(str(record.channel or "")).rstrip("/"),
        subdir=record.subdir,
        filename=record.file_name,
        url=str(record.url),
        depends=tuple(record.depends),
        constrains=tuple(record.constrains),
        size=record.size,
        sha256=record.sha256.hex() if record.sha256 else None,
        md5=record.md5.hex() if record.md5 else None,
    )


def _default_cache(host: ProbeHost) -> str:
    named = host.getenv("RATTLER_CACHE_DIR")
    if named:
        return named
    facts = host.system_facts()
    home = facts.get("home", "~")
    if facts.get("system") == "win32":
        return f"{host.getenv('LOCALAPPDATA') or f'{home}/AppData/Local'}/rattler/cache"
    if facts.get("system") == "darwin":
        return f"{home}/Library/Caches/rattler/cache"
    return f"{host.getenv('XDG_CACHE_HOME') or f'{home}/.cache'}/rattler/cache"


def _configuration(settings: CondaSettings) -> str:
    """What .condarc says of the network, in rattler's own format; the proxies may hold passwords."""
    lines: list[str] = []
    verify = (settings.ssl_verify or "true").lower()
    if verify == "false":
        lines.append("tls-no-verify = true")
    else:
        # A bundle that the user names is read as the system's own.
        own = verify == "truststore" or "/" in verify or "\\" in verify
        lines.append(f'tls-root-certs = "{"system" if own else "all"}"')
    proxies = {scheme: settings.proxies[scheme] for scheme in ("http", "https") if settings.proxies.get(scheme)}
    if proxies:
        lines += ["[proxy-config]", *(f"{scheme} = {json.dumps(address)}" for scheme, address in proxies.items())]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _certificates(host: ProbeHost, settings: CondaSettings) -> Iterator[None]:
    """Rattler reads a bundle of certificates from the process's variables only: for the time of its work it is there."""
    verify = settings.ssl_verify or ""
    named = os.path.expanduser(verify) if "/" in verify or "\\" in verify else host.getenv("REQUESTS_CA_BUNDLE")
    if not named or host.getenv("SSL_CERT_FILE") or not os.path.isfile(named):
        yield
        return
    os.putenv("SSL_CERT_FILE", named)
    try:
        yield
    finally:
        os.unsetenv("SSL_CERT_FILE")


def _channel_problem(text: str) -> str:
    """Why a list of packages could not be read, in a few words."""
    status = _STATUS.search(text)
    lines = [line.removeprefix("Caused by: ").strip() for line in _without_secrets(text).splitlines() if line.strip()]
    if status is not None:
        said = {"404": say("there is no such channel (404)"), "401": say("refuses (401)"), "403": say("refuses (403)")}
        return said.get(status["status"], say("answers with error {status}", status=status["status"]))
    if "failed to decode" in text or "failed to parse" in text:
        return (
            say("what it answers is no list of packages (a login page, or damaged): {lines}", lines=lines[-1])
            if lines
            else say("damaged")
        )
    if "certificate" in text.lower():
        return f"its certificate is not trusted: {lines[-1]}"
    return lines[-1] if lines else say("it cannot be read")


def _without_secrets(text: str) -> str:
    """A message without the passwords of the addresses in it."""
    return re.sub(r"(?<=://)[^\s/@]+@", "", text)


def _download_error(text: str, cache: str, packages: Sequence[Package]) -> InstallError:
    """What went wrong while packages were fetched, for people."""
    said = _without_secrets(text)
    if _NO_SPACE.search(said) or _NO_PERMISSION.search(said):
        return _disk_error(said, cache)
    failed = _FAILED.search(said)
    filename = failed["file"] if failed else say("a package")
    one = next((row for row in packages if row.filename == filename), None)
    where = say(" from {address}", address=one.address) if one is not None else ""
    wrong = _HASH.search(said)
    if wrong is not None:
        return DownloadError(
            say(
                "{filename}{where} is not the file that the channel promises: its sha256 begins"
                " with {got} instead of {told}; nothing was changed",
                filename=filename,
                where=where,
                got=wrong["got"][:12],
                told=wrong["told"][:12],
            ),
            hint=say(
                "try again later, or take another mirror of the channel: its list of packages and"
                " its files do not agree"
            ),
        )
    status = _STATUS.search(said)
    cause = (
        say("answered with error {status}", status=status["status"])
        if status
        else said.splitlines()[-1].removeprefix("Caused by: ")
    )
    return DownloadError(
        say(
            "{filename}{where} could not be downloaded: {cause}; nothing was changed",
            filename=filename,
            where=where,
            cause=cause,
        ),
        hint=say("try again: what has arrived is kept; or take another mirror of the channel"),
    )


def _disk_error(text: str, path: str) -> InstallError:
    if _NO_SPACE.search(text):
        return SpaceError(
            say("there is not enough room at {path}; nothing was changed", path=path),
            hint=say("free some room and try again"),
        )
    return PermissionsError(
        say(
            "you may not write to {path}: {splitlines}",
            path=path,
            splitlines=text.splitlines()[-1].removeprefix("Caused by: "),
        ),
        hint=say("RATTLER_CACHE_DIR names another folder"),
    )


def _link_error(text: str, prefix: str) -> InstallError:
    said = _without_secrets(text)
    last = said.splitlines()[-1].removeprefix("Caused by: ") if said else say("no reason given")
    if _NO_SPACE.search(said):
        return SpaceError(
            say("there is not enough room at {prefix}", prefix=prefix), hint=say("free some room and try again")
        )
    if _NO_PERMISSION.search(said):
        return PermissionsError(
            say("you may not write to {prefix}: {last}", prefix=prefix, last=last),
            hint=say("make an environment of your own with --new-env PATH"),
        )
    first = said.splitlines()[0] if said else say("it failed")
    return InstallError(
        say(
            "the conda packages could not be put into {prefix}: {first}: {last}", prefix=prefix, first=first, last=last
        ),
        hint=say("make a fresh environment with --new-env PATH"),
    )


def _stem(filename: str) -> str:
    return filename.removesuffix(".conda").removesuffix(".tar.bz2")


def _record_name(one: Package) -> str:
    return f"{one.name}-{one.version}-{one.build}.json"


def _read(folder: str, name: str) -> str:
    try:
        return Path(folder, "info", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _listed(folder: str) -> Iterator[str]:
    """The files of an unpacked package: paths.json, or the plain list of old packages."""
    text = _read(folder, "paths.json")
    if text:
        yield from (row["_path"] for row in json.loads(text)["paths"] if row.get("path_type") != "directory")
        return
    plain = _read(folder, "files")
    if not plain and not os.path.isdir(folder):
        raise InstallError(
            say(
                "{folder} is not in rattler's cache, so what it changes cannot be told", folder=os.path.basename(folder)
            ),
            hint=say("try again"),
        )
    yield from (line for line in plain.splitlines() if line)


def _link(folder: str) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        document = json.loads(_read(folder, "link.json") or "{}")
        told = document.get("noarch") if isinstance(document, dict) else None
        return told if isinstance(told, dict) else {}
    return {}


def _is_noarch_python(folder: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(json.loads(_read(folder, "index.json") or "{}").get("noarch") == "python")
    return False


def _entry_points(folder: str) -> Sequence[str]:
    points = _link(folder).get("entry_points")
    return points if isinstance(points, list) else ()


def _remove_unfinished(cache_dir: str, filenames: Sequence[str]) -> None:
    """Half unpacked packages that an interrupted download leaves: hidden folders with six more letters."""
    stems = tuple(f".{_stem(filename)}" for filename in filenames)
    with contextlib.suppress(OSError):
        for name in os.listdir(cache_dir):
            if any(name.startswith(stem) and len(name) == len(stem) + 6 for stem in stems):
                shutil.rmtree(os.path.join(cache_dir, name), ignore_errors=True)


def _python_path(subdir: str) -> str:
    return "python.exe" if subdir.startswith("win") else "bin/python"


def _write_history(prefix: str, compared: _Comparison, specs: Sequence[str], command: str) -> None:
    """Conda looks up in this file what was once asked for, and when an environment changed."""
    rows = list(compared.history())
    if not rows:
        return
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    asked = ", ".join(f"'{_plain(spec, compared.after)}'" for spec in specs)
    lines = [f"==> {now} <==", f"# cmd: {command}", *rows, f"# update specs: [{asked}]"]
    path = Path(prefix, "conda-meta", "history")
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError as error:
        raise _link_error(str(error), prefix) from error


def _plain(spec: str, packages: Mapping[str, Package]) -> str:
    """A spec as the user would type it: the exact build instead of a list of builds in brackets."""
    text, bracket, _ = spec.rpartition("::")[2].partition("[")
    one = packages.get(text.strip())
    return f"{one.name}=={one.version}={one.build}" if bracket and one is not None else text.strip()

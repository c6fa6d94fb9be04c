"""Drives uv from outside: proves a plan by a dry resolution, makes environments, installs what was resolved.

A plan becomes a made-up project whose torch family has an *explicit* index: uv asks that index for these names only, so
it cannot inject any other package. The resolution is a pylock.toml with addresses and hashes, and that is what is
installed: nothing is resolved twice, and no file is accepted that is not the resolved one.
"""

from __future__ import annotations

import contextlib
import json
import os.path
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envfix.host.index import default_registry, file_sizes, files_without_hash
from envfix.host.interface import CommandResult, Deadline, Host
from envfix.host.locking import EnvironmentLock
from envfix.installer import lock_reader
from envfix.installer.changes import commands_of, record_paths
from envfix.installer.downloading import IDLE_LIMIT, download, has_begun, measured_rate, remove_files
from envfix.installer.environment import environment_for_installers
from envfix.installer.finishing import finished, write
from envfix.installer.interface import (
    TORCH_FAMILY,
    Answer,
    BrokenOffError,
    NewEnvironment,
    Refusal,
    Resolution,
    ResolutionError,
    Sources,
    SpaceError,
    StalledError,
)
from envfix.installer.problems import STAND_IN, install_error, missing_package, refusal
from envfix.installer.progress import INSTALLING, UvProgress, Waiting
from envfix.installer.route import find_route
from envfix.model.language import retold, say
from envfix.model.outcome import Installation
from envfix.model.plan import REGISTRY, PackagePin, PlanTarget
from envfix.model.reporter import NullReporter, Reporter
from envfix.probes.package_sources import without_credentials

RESOLVE_LIMIT = 180.0
CREATE_LIMIT = 120.0
CHECK_LIMIT = 30.0
# A download that after so many seconds has so many seconds left is one to resume.
SLOW_AFTER, SLOW_LEFT = 15.0, 240.0
OLDEST_PYTHON = (3, 6)
_OUTPUT_KEPT = 200_000
_LOCK_LIMIT = 20_000_000
_SILENT = NullReporter()
# For a Mac that is not this machine uv assumes macOS 13, for which torch has no wheels any more.
_MACOS = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
_INDEX_NAME = "torch"
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)", re.MULTILINE)


class UvInstaller:
    """Resolves and installs with uv (implements ``Installer``).

    ``prefix`` is the environment whose pip.conf counts, ``idle_limit`` the seconds without any movement after which an
    installation is ended, ``addresses`` are index addresses as the user gave them, maybe with a password, ``store`` the
    folder for what envfix fetches itself, ``registry`` an index to use in place of the default one. Raises ``ResolutionError``
    when there is no uv.
    """

    name = "uv"

    def __init__(
        self,
        host: Host,
        reporter: Reporter = _SILENT,
        *,
        prefix: str | None = None,
        offline: bool = False,
        idle_limit: float = IDLE_LIMIT,
        addresses: Sequence[str] = (),
        store: str = "",
        registry: str | None = None,
    ) -> None:
        self._host = host
        self._reporter = reporter
        self._offline = offline
        self._idle_limit = idle_limit
        self._addresses = addresses
        self._store = store
        self._environment = environment_for_installers(host, prefix)
        if registry is not None:
            self._environment.variables["UV_DEFAULT_INDEX"] = registry
        self._program = find_uv(host)

    @property
    def cache_dir(self) -> str:
        """Where uv keeps what it has downloaded."""
        named = self._environment.variables.get("UV_CACHE_DIR") or self._host.getenv("UV_CACHE_DIR")
        if named:
            return self._absolute(named)
        facts = self._host.system_facts()
        home = facts.get("home", "~")
        if facts.get("system") == "win32":
            return f"{self._host.getenv('LOCALAPPDATA') or f'{home}/AppData/Local'}/uv/cache"
        return f"{self._host.getenv('XDG_CACHE_HOME') or f'{home}/.cache'}/uv"

    def resolve(
        self,
        requirements: Sequence[PackagePin],
        sources: Sources,
        target: PlanTarget,
        *,
        python: str | None = None,
        constraints: str = "",
        installed: Mapping[str, str] | None = None,
        alone: bool = False,
    ) -> Answer:
        """The exact files that would be installed, or uv's refusal; changes nothing but uv's cache.

        ``requirements`` are what is asked for, ``constraints`` (a constraints file's text) bounds what comes along.
        ``python`` is the interpreter to install into; None resolves for ``target`` as a machine envfix is not on.
        ``installed`` are versions to keep where they fit; ``alone``: without what the packages depend on. Raises
        ``ResolutionError`` when uv cannot be asked at all.
        """
        beyond = _beyond_uv(target, here=python is not None)
        if beyond is not None:
            return beyond
        started = time.monotonic()
        registry = _Later(self._registry)
        wanted = [_requirement(pin) for pin in requirements]
        chooser = [*self._interpreter(python, target), *self._source_options(sources)]
        family = _from_torch_index(requirements, sources)

        unhashed = self._unhashed(sources, family)

        def compile_() -> tuple[str, str | None]:
            text = project(wanted, sources, family, target.python)
            options = [*chooser, "--no-deps"] if alone else chooser
            if not unhashed:
                return self._compile(text, sources, options, constraints, installed or {})
            return self._compile_unhashed(
                text, sources, options, constraints, installed or {}, family, unhashed, target
            )

        text, failure = compile_()
        only_there = canonicalize_name(missing_package(failure or "") or "")
        if only_there in TORCH_FAMILY and sources.torch_url and only_there not in family:
            # pytorch-triton exists on the torch index only, and an explicit index serves only names that are asked for.
            wanted.append(Requirement(only_there))
            family |= {only_there}
            text, failure = compile_()
        if failure is not None:
            return refusal(failure, find_route(self._host, self._environment.variables))
        lock = lock_reader.with_indexes(text, _index_of(sources, family, registry.result()))
        return self._resolution(lock, sources, family, target, started)

    def create_environment(self, python: str, path: str, *, lock: EnvironmentLock | None = None) -> NewEnvironment:
        """Make an environment at ``path`` for the interpreter ``python``, with a pip of its own where one can be had.

        Without its own pip, ``pip install`` in the activated environment would run another environment's pip. A folder that
        is there already is filled. Raises ``PermissionsError``, ``SpaceError`` or ``InstallError``.
        """
        path, python = self._absolute(path), self._program_path(python)
        self._reporter.stage(say("making the environment {path}", path=path))
        seeded = not self._offline and self._venv(python, path, lock, "--seed") is None
        if not seeded:
            failure = self._venv(python, path, lock)
            if failure is not None:
                raise install_error(failure, say("making the environment {path}", path=path))
        own = environment_python(self._host, path)
        has_pip = seeded or self._run([own, "-Im", "ensurepip", "--default-pip"], CREATE_LIMIT, lock=lock)[0].ok
        return NewEnvironment(path=path, python=own, has_pip=has_pip)

    def fetch(self, resolution: Resolution, *, python: str) -> Resolution:
        """Bring everything that is missing onto this disk, hash-checked, before any environment is touched.

        The answer is what is to be installed. uv has no command that only downloads: it installs into a folder that is
        thrown away, by links into its cache. It begins a broken file anew: where it breaks off, or would take long, envfix
        fetches itself, from where the last try has ended. Raises ``InstallError`` or one of its kinds.
        """
        files = lock_reader.files(resolution.lock, resolution.target)
        missing = [file for file in files if not self._is_cached(file)]
        if not missing:
            return resolution
        if not any(has_begun(file, self._store) for file in missing):
            try:
                self._into_cache(resolution, python, _Patience(resolution.bytes_to_download))
            except (BrokenOffError, StalledError, _TooSlow) as reason:
                if not all(file.filename.endswith(".whl") for file in missing):
                    raise
                self._reporter.note(
                    say(
                        "{splitlines}: envfix goes on itself, and resumes after a break",
                        splitlines=str(reason).splitlines()[0],
                    )
                )
            else:
                return resolution
        paths = download(
            self._host,
            self._environment,
            [file for file in missing if not self._is_cached(file)],
            self._store,
            addresses=self._addresses,
            idle_limit=self._idle_limit,
            offline=self._offline,
            reporter=self._reporter,
        )
        fetched = msgspec.structs.replace(resolution, lock=lock_reader.with_files(resolution.lock, paths))
        self._into_cache(fetched, python, None)
        return fetched

    def _into_cache(self, resolution: Resolution, python: str, patience: _Patience | None) -> None:
        # Beside the cache's own files: links are made there, and nothing is copied. (uv's symbolic links take ten times as long.)
        scratch = f"{self.cache_dir}/.envfix-{secrets.token_hex(8)}"
        try:
            self._install(resolution, python, ["--target", scratch, "--no-deps"], patience=patience)
        finally:
            with contextlib.suppress(OSError):
                self._host.remove_tree(scratch)

    def incoming(self, resolution: Resolution) -> dict[str, tuple[str, ...]] | None:
        """The paths that each wheel will lay down, from uv's cache; None where one of them is not found there."""
        found: dict[str, tuple[str, ...]] = {}
        for file in lock_reader.files(resolution.lock, resolution.target):
            records = [
                record for place in self._cached(file) for record in self._host.glob(f"{place}/*.dist-info/RECORD")
            ]
            if not records:
                return None
            texts = [self._host.read_text(record, limit=_LOCK_LIMIT).text for record in records]
            paths = [path for text in texts for path in record_paths(text)]
            commands = (self._host.read_text(f"{os.path.dirname(record)}/entry_points.txt").text for record in records)
            paths += [path for text in commands for path in commands_of(text)]
            found[canonicalize_name(file.name)] = tuple(paths)
        return found

    def refusal(self, resolution: Resolution, *, options: Sequence[str] = ()) -> str | None:
        """None: uv has resolved it itself."""
        del resolution, options
        return None

    def install(
        self,
        resolution: Resolution,
        *,
        python: str,
        prefix: str,
        constraints: str | None = None,
        options: Sequence[str] = (),
        lock: EnvironmentLock | None = None,
    ) -> Installation:
        """Install exactly what was resolved into the environment of ``python``, every file checked against its hash.

        ``constraints`` is written to ``envfix-constraints.txt`` in ``prefix``; ``options`` are further ones for uv; ``lock``
        is the environment's, to be held by uv as well. Raises ``InstallError`` or one of its kinds.
        """
        started = time.monotonic()
        self._install(resolution, python, options, lock)
        remove_files(resolution.lock, self._store)  # uv's cache has them now
        return finished(
            self._host,
            self.name,
            resolution,
            python=python,
            prefix=prefix,
            constraints=constraints,
            started=started,
        )

    def download_seconds(self, resolution: Resolution) -> float | None:
        """How long what is missing will take, by the rate at which its largest file begins to arrive; None: not known."""
        sizes = {row.filename: row.size for row in resolution.downloads}
        files = (file for file in lock_reader.files(resolution.lock, resolution.target) if not self._is_cached(file))
        missing = [msgspec.structs.replace(file, size=sizes.get(file.filename)) for file in files]
        rate = measured_rate(self._host, self._environment, missing, addresses=self._addresses)
        return None if rate is None else resolution.bytes_to_download / rate

    def incompatibilities(self, python: str) -> tuple[str, ...]:
        """Which packages of an environment want another version of one that is there, or one that is not; a sentence each."""
        argv = [self._program, "pip", "check", "--python", self._program_path(python)]
        text = self._run(argv, CHECK_LIMIT)[1]
        return tuple(match[1].replace("`", "") for match in re.finditer(r"^The package (.+)$", text, re.MULTILINE))

    def _install(
        self,
        resolution: Resolution,
        python: str,
        options: Sequence[str],
        environment_lock: EnvironmentLock | None = None,
        patience: _Patience | None = None,
    ) -> None:
        route = find_route(self._host, self._environment.variables, resolution.lock)
        expected = resolution.bytes_to_download if not resolution.unknown_sizes else 0
        reporter = _Fetching(self._reporter) if "--target" in options else self._reporter
        progress = UvProgress(reporter, expected, route=route, limit=self._idle_limit)
        with self._folder() as folder:
            lock = f"{folder}/pylock.toml"
            # Into this private file: as an option, the index could supply other packages too.
            secret = self._with_credentials(resolution.sources.torch_url or "")
            write(self._host, lock, lock_reader.with_credentials(resolution.lock, secret))
            argv = [self._program, "pip", "install", "--python", self._program_path(python), "-r", lock, *options]
            if self._offline:
                argv.append("--offline")
            # uv begins a broken file anew; envfix goes on with it.
            gives_up = {"UV_HTTP_RETRIES": "0"} if patience and not self._host.getenv("UV_HTTP_RETRIES") else {}
            result, text = self._run(
                argv,
                self._idle_limit,
                cwd=folder,
                progress=progress,
                variables=gives_up,
                lock=environment_lock,
                patience=patience,
            )
        if result.outcome == "timed-out":
            raise StalledError(
                say(
                    "nothing moved for {idle_limit:.0f} minutes after {done:.0f} MB: stopped",
                    idle_limit=self._idle_limit / 60,
                    done=progress.done / 1e6,
                ),
                hint=say("try again: packages that have arrived are kept; or choose another index with --index"),
            )
        if not result.ok:
            raise install_error(text or result.failure, say("installing the packages"), route)
        progress.finish()

    def _resolution(
        self, lock: str, sources: Sources, family: frozenset[str], target: PlanTarget, started: float
    ) -> Resolution:
        files = lock_reader.files(lock, target)
        certificates = self._environment.variables.get("SSL_CERT_FILE") or self._host.getenv("SSL_CERT_FILE")
        unsized = [file.url for file in files if file.size is None]
        known = {} if self._offline else file_sizes(unsized, certificates=certificates)
        files = [file.sized(known) for file in files]
        names = {True: sources.torch_name, False: REGISTRY}
        downloads = tuple(file.download(names[canonicalize_name(file.name) in family]) for file in files)
        cached = [file for file in files if file.size and self._is_cached(file)]
        return Resolution(
            downloads=downloads,
            lock=lock,
            target=target,
            sources=sources,
            total_bytes=sum(download.size or 0 for download in downloads),
            unknown_sizes=sum(download.size is None for download in downloads),
            cached_bytes=sum(file.size or 0 for file in cached),
            seconds=round(time.monotonic() - started, 3),
        )

    def _is_cached(self, file: lock_reader.LockedFile) -> bool:
        """Whether the file is on this disk already."""
        return file.url.startswith("file:") or bool(self._cached(file))

    def _cached(self, file: lock_reader.LockedFile) -> list[str]:
        """Where uv's cache holds the wheel unpacked: ``wheels-v8/{pypi,index/HASH}/NAME/VERSION-TAG`` (a link)."""
        if not file.filename.endswith(".whl"):
            return []
        rest = file.filename.removesuffix(".whl").partition("-")[2]
        buckets = ("pypi", "index/*")
        return [
            place
            for bucket in buckets
            for place in self._host.glob(f"{self.cache_dir}/wheels-v*/{bucket}/{file.name}/{rest}")
        ]

    def _compile(
        self,
        wanted: str,
        sources: Sources,
        chooser: Sequence[str],
        constraints: str,
        installed: Mapping[str, str],
        *,
        listed: bool = False,
    ) -> tuple[str, str | None]:
        """The lock's text (``listed``: a list of pins instead, without hashes), or why there is none in uv's words."""
        output = "pins.txt" if listed else "pylock.toml"
        with self._folder() as folder:
            write(self._host, f"{folder}/pyproject.toml", wanted)
            argv = [self._program, "pip", "compile", "-q", "pyproject.toml"]
            argv += ["--format", "requirements.txt", "--no-annotate"] if listed else ["--format", "pylock.toml"]
            argv += ["-o", output, "--no-header", *chooser]
            if constraints:
                write(self._host, f"{folder}/constraints.txt", constraints)
                argv += ["-c", "constraints.txt"]
            if installed:
                # uv keeps the versions of an earlier lock where they fit, as it would when installing.
                kept = lock_reader.pinned(installed) if listed else lock_reader.preferences(installed)
                write(self._host, f"{folder}/{output}", kept)
            variables = {**_MACOS, **self._secrets(sources)} if _for_macos(argv) else self._secrets(sources)
            result, text = self._run(argv, RESOLVE_LIMIT, cwd=folder, variables=variables)
            if not result.ok and "Failed to initialize cache" in text:  # a home that nobody may write, as in containers
                result, text = self._run([*argv, "--no-cache"], RESOLVE_LIMIT, cwd=folder, variables=variables)
            if result.outcome == "timed-out":
                return "", f"error: no resolution within {RESOLVE_LIMIT:.0f} s: operation timed out"
            if result.outcome != "exited":
                raise ResolutionError(
                    say("uv cannot be run: {failure}", failure=retold(result.failure)),
                    hint=say("its path is {program}", program=self._program),
                )
            if not result.ok:
                return "", text or result.failure
            return self._host.read_text(f"{folder}/{output}", limit=_LOCK_LIMIT).text, None

    def _unhashed(self, sources: Sources, family: frozenset[str]) -> dict[str, str]:
        """The files of a torch index that tells no hash of them, by name: uv would download them to work it out."""
        url = self._with_credentials(sources.torch_url or "")
        if self._offline or not url.startswith("http"):
            return {}
        if sources.torch_layout == "find-links":
            pages = [url]
        elif "://" in sources.torch_name:  # of those that have a name of their own it is known that they tell hashes
            pages = [f"{url.rstrip('/')}/{name}/" for name in sorted(family)]
        else:
            return {}
        certificates = self._environment.variables.get("SSL_CERT_FILE") or self._host.getenv("SSL_CERT_FILE")
        found: dict[str, str] = {}
        for page in pages:
            found |= files_without_hash(page, certificates=certificates)
        return found

    def _compile_unhashed(
        self,
        wanted: str,
        sources: Sources,
        chooser: Sequence[str],
        constraints: str,
        installed: Mapping[str, str],
        family: frozenset[str],
        unhashed: Mapping[str, str],
        target: PlanTarget,
    ) -> tuple[str, str | None]:
        """The same without a hash of the torch family: its versions first, then the files of the rest, then its own."""
        pins, failure = self._compile(wanted, sources, chooser, constraints, installed, listed=True)
        if failure is not None:
            return "", failure
        versions = {canonicalize_name(name): version for name, version in _PIN.findall(pins)}
        others = [Requirement(f"{name}=={version}") for name, version in versions.items() if name not in family]
        text = lock_reader.EMPTY
        if others:
            rest = project(others, sources, frozenset(), target.python)
            text, failure = self._compile(rest, sources, [*chooser, "--no-deps"], "", {})
            if failure is not None:
                return "", failure
        own = {str(name): version for name, version in versions.items() if name in family}
        locked = lock_reader.with_unhashed(text, own, unhashed, target)
        return (locked, None) if locked is not None else self._compile(wanted, sources, chooser, constraints, installed)

    def _interpreter(self, python: str | None, target: PlanTarget) -> list[str]:
        if python is not None:
            return ["--python", self._program_path(python)]
        # Any interpreter does for reading metadata; envfix's own is there for certain.
        own = self._host.system_facts().get("own_python", "")
        options = ["--python", own] if own else []
        return [*options, "--python-version", target.python, "--python-platform", uv_platform(target)]

    def _source_options(self, sources: Sources) -> list[str]:
        options = ["--offline"] if self._offline else []
        if not sources.registry:
            options.append("--no-index")
        return options

    def _with_credentials(self, location: str) -> str:
        for address in self._addresses:
            bare = without_credentials(address).rstrip("/")
            if address.rstrip("/") != bare and (location.rstrip("/") == bare or location.startswith(f"{bare}/")):
                secret = urlsplit(address).netloc.rpartition("@")[0]
                return location.replace("://", f"://{secret}@", 1)
        return self._environment.settings.with_credentials(location)

    def _registry(self) -> str:
        configured = self._environment.variables.get("UV_DEFAULT_INDEX")
        # Without the slash uv knows its own default and finds what other runs have cached.
        return without_credentials(configured) if configured else default_registry().rstrip("/")

    def _secrets(self, sources: Sources) -> dict[str, str]:
        """Variables that let uv log in where the user has configured a password; arguments are seen by everybody."""
        found: dict[str, str] = {}
        if sources.find_links:
            found["UV_FIND_LINKS"] = ",".join(map(self._with_credentials, sources.find_links))
        if sources.torch_url is not None:
            secret = urlsplit(self._with_credentials(sources.torch_url))
            # Not UV_INDEX: that would let the torch index supply anything.
            for name, value in (("USERNAME", secret.username), ("PASSWORD", secret.password)):
                if value:
                    found[f"UV_INDEX_{_INDEX_NAME.upper()}_{name}"] = unquote(value)
        return found

    def _venv(self, python: str, path: str, lock: EnvironmentLock | None, *options: str) -> str | None:
        """Make a bare environment; what uv said when it could not."""
        fixed = ("-q", "--no-project", "--allow-existing")
        argv = [self._program, "venv", *fixed, "--python", python, *options, path]
        result, text = self._run(argv, CREATE_LIMIT, lock=lock)
        return None if result.ok else text or result.failure

    @contextlib.contextmanager
    def _folder(self) -> Iterator[str]:
        """A temporary folder outside every project, so that no uv.toml or pyproject.toml of the user is found."""
        try:
            folder = self._host.make_temporary_folder()
        except OSError as error:
            raise SpaceError(
                say("no temporary file can be written: {strerror}", strerror=error.strerror), hint=say("set TMPDIR")
            ) from error
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                self._host.remove_tree(folder)

    def _run(
        self,
        argv: Sequence[str],
        limit: float,
        *,
        cwd: str | None = None,
        progress: UvProgress | None = None,
        variables: Mapping[str, str] | None = None,
        lock: EnvironmentLock | None = None,
        patience: _Patience | None = None,
    ) -> tuple[CommandResult, str]:
        """Run a program in the cleaned environment; ``limit`` is in seconds, since the last movement with progress."""
        deadline = Deadline(limit)
        kept: list[str] = []
        follower = progress if progress is not None else Waiting(self._reporter, limit)

        def hear(text: str) -> None:
            kept.append(text)
            if follower.feed(text):
                deadline.extend(limit)
            if patience is not None and progress is not None:
                patience.look(progress.done)
            if len(kept) > 1000:
                kept[:] = ["".join(kept)[-_OUTPUT_KEPT:]]

        result = self._host.stream(
            argv,
            on_text=hear,
            deadline=deadline,
            env={**self._environment.variables, **(variables or {})},
            drop_env=self._environment.drop,
            cwd=cwd,
            terminal=progress is not None,
            lock=lock,
        )
        return result, "".join(kept)[-_OUTPUT_KEPT:]

    def _absolute(self, path: str) -> str:
        facts = self._host.system_facts()
        expanded = f"{facts.get('home', '~')}{path[1:]}" if path == "~" or path.startswith("~/") else path
        return os.path.normpath(os.path.join(facts.get("working_folder", ""), expanded))

    def _program_path(self, python: str) -> str:
        """An absolute path: uv runs in another folder. A link is kept, since it is what makes an environment."""
        return self._absolute(python) if "/" in python or os.sep in python else python


class _Fetching:
    """Hears uv fill its cache, and does not call that installing (implements ``Reporter``)."""

    def __init__(self, reporter: Reporter) -> None:
        self.progress, self.packages, self.note = reporter.progress, reporter.packages, reporter.note
        self._stage = reporter.stage

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        if text != INSTALLING:
            self._stage(text)


class _TooSlow(Exception):  # noqa: N818 - never leaves this module
    """The download would take so long that whoever is interrupted must not begin anew."""


class _Patience:
    """Looks how a download of so many bytes gets on; raises ``_TooSlow`` once it is clear that it takes long."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._began = time.monotonic()

    def look(self, done: int) -> None:
        """Called as it goes on."""
        spent = time.monotonic() - self._began
        if spent < SLOW_AFTER or not done or not self._expected:
            return
        left = (self._expected - done) / (done / spent)
        if left > SLOW_LEFT:
            raise _TooSlow(say("the network is slow here ({left:.0f} min left)", left=left / 60))


class _Later:
    """Starts a computation in a thread at once; ``result`` waits for it."""

    def __init__(self, work: Callable[[], str]) -> None:
        self._value = ""
        self._thread = threading.Thread(target=self._work, args=(work,), daemon=True)
        self._thread.start()

    def _work(self, work: Callable[[], str]) -> None:
        self._value = work()

    def result(self) -> str:
        self._thread.join()
        return self._value


def find_uv(host: Host) -> str:
    """The uv that envfix depends on, or else the first on PATH; raises ``ResolutionError``."""
    with contextlib.suppress(ImportError, FileNotFoundError, OSError):
        import uv

        return str(uv.find_uv_bin())
    on_path = host.which("uv")
    if not on_path:
        raise ResolutionError(
            say("uv is not there"), hint=say("install envfix together with its dependencies: it brings uv")
        )
    return on_path[0]


def environment_python(host: Host, path: str) -> str:
    """The interpreter inside an environment."""
    windows = host.system_facts().get("system") == "win32"
    return f"{path}\\Scripts\\python.exe" if windows else f"{path}/bin/python"


def project(requirements: Sequence[Requirement], sources: Sources, family: frozenset[str], python: str) -> str:
    """The pyproject.toml of a made-up project that wants these packages, ``family`` from the torch index only."""
    major_minor = ".".join(python.split(".")[:2])
    lines = [
        "[project]",
        f"name = {_toml(STAND_IN)}",
        'version = "0"',
        f"requires-python = {_toml(f'>={major_minor}')}",
        f"dependencies = [{', '.join(_toml(str(requirement)) for requirement in requirements)}]",
    ]
    if sources.torch_url is not None and family:
        lines += [
            "[[tool.uv.index]]",
            f'name = "{_INDEX_NAME}"',
            f"url = {_toml(sources.torch_url)}",
            "explicit = true",
        ]
        if sources.torch_layout == "find-links":
            lines.append('format = "flat"')
        lines.append("[tool.uv.sources]")
        lines += [f'{_toml(name)} = {{ index = "{_INDEX_NAME}" }}' for name in sorted(family)]
    return "\n".join(lines) + "\n"


def uv_platform(target: PlanTarget) -> str:
    """The target's platform in uv's words; glibc is rounded down to what uv knows, and 2.28 where it is not known."""
    fixed = {
        "win_amd64": "x86_64-pc-windows-msvc",
        "macosx_arm64": "aarch64-apple-darwin",
        "macosx_x86_64": "x86_64-apple-darwin",
    }
    if target.platform in fixed:
        return fixed[target.platform]
    machine = "aarch64" if target.platform.endswith("aarch64") else "x86_64"
    if target.libc == "musl":
        return f"{machine}-unknown-linux-musl"
    match = re.match(r"2\.(\d+)", target.glibc or "")
    minor = int(match[1]) if match else 28
    fitting = [known for known in (17, 28, *range(31, 41)) if known <= minor]
    return f"{machine}-manylinux_2_{fitting[-1] if fitting else 17}"


def _for_macos(argv: Sequence[str]) -> bool:
    return any(word.endswith("-apple-darwin") for word in argv)


def _beyond_uv(target: PlanTarget, *, here: bool) -> Refusal | None:
    """Why uv cannot be asked about such a Python."""
    if target.tag.endswith("t") and not here:
        message = say("a free-threaded Python that is not on this machine cannot be resolved for")
        return Refusal(kind="unchecked", message=message, text=say("uv's --python-version has no free-threaded form"))
    if tuple(int(part) for part in re.findall(r"\d+", target.python)[:2]) < OLDEST_PYTHON:
        message = say("Python {python} is too old for every installer envfix can drive", python=target.python)
        return Refusal(
            kind="unchecked", message=message, text=say("uv and today's index pages need Python 3.6 or newer")
        )
    return None


def _requirement(pin: PackagePin) -> Requirement:
    try:
        return Requirement(f"{pin.name}{pin.specifier}")
    except InvalidRequirement as error:
        raise ResolutionError(
            say("not a package requirement: {pin}{specifier}", pin=pin.name, specifier=pin.specifier), hint=str(error)
        ) from error


def _from_torch_index(pins: Sequence[PackagePin], sources: Sources) -> frozenset[str]:
    """The names the torch index supplies; raises ``ResolutionError`` when a plan wants another package from there."""
    if sources.torch_url is None:
        return frozenset()
    names = {canonicalize_name(_requirement(pin).name): pin.index for pin in pins}
    foreign = [name for name, index in names.items() if index == sources.torch_name and name not in TORCH_FAMILY]
    if foreign:
        raise ResolutionError(
            say(
                "{foreign} must not come from {torch_name}: only the torch family may",
                foreign=foreign[0],
                torch_name=sources.torch_name,
            )
        )
    return frozenset(name for name, index in names.items() if name in TORCH_FAMILY and index != REGISTRY)


def _index_of(sources: Sources, family: frozenset[str], registry: str) -> Callable[[str], str | None]:
    """Which index a package of the lock is from; None where that is not known."""

    def index(name: str) -> str | None:
        if sources.torch_url is not None and canonicalize_name(name) in family:
            return sources.torch_url if sources.torch_url.startswith("http") else None
        return None if sources.find_links or not sources.registry else registry

    return index


def _toml(text: str) -> str:
    return json.dumps(text)

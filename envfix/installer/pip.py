"""Installs with the target's own pip, any since pip 9: envfix fetches the resolved files, pip lays them down offline.

What is installed is decided by uv's resolution. All network work is over before the environment is touched, so that the
network habits of an old pip do not matter; pip gets a folder with exactly these wheels, and their hashes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envfix.errors import InstallError
from envfix.host.hashing import sha256_of
from envfix.host.interface import CommandResult, Deadline, Host
from envfix.host.locking import EnvironmentLock
from envfix.installer import lock_reader
from envfix.installer.changes import commands_of
from envfix.installer.downloading import IDLE_LIMIT, download
from envfix.installer.environment import environment_for_installers
from envfix.installer.finishing import finished
from envfix.installer.interface import DownloadError, Resolution, SpaceError, StalledError
from envfix.installer.lock_reader import LockedFile
from envfix.installer.problems import install_error, telling_lines
from envfix.model.language import later, look_up, retold, say
from envfix.model.outcome import Installation
from envfix.model.reporter import NullReporter, Reporter

ASK_LIMIT = 60.0
PROVE_LIMIT = 300.0
OLDEST_PIP, FIRST_DRY_RUN = (9,), (22, 2)
# The first pip that knows an option.
_FIRST_WITH = {"--no-warn-script-location": (10,), "--break-system-packages": (23, 0, 1)}
_LEFTOVER = 86_400.0
_OUTPUT_KEPT = 200_000
_RUN = "run-"
_ENTRY_POINTS = re.compile(r"[^/]+\.dist-info/entry_points\.txt")
_SILENT = NullReporter()
_WHERE = "import json, sysconfig; print(json.dumps([sysconfig.get_path('purelib'), sysconfig.get_path('platlib')]))"
# The first pip that knows each kind of platform tag.
_PLATFORMS = (
    ("manylinux1_", (0,)),
    ("manylinux2010_", (19, 0)),
    ("manylinux2014_", (19, 3)),
    ("manylinux_", (20, 3)),
)


class _Sign(msgspec.Struct, frozen=True, kw_only=True):
    """A failure in pip's words, and ours; ``{0}`` is the pattern's first group."""

    pattern: str
    message: str
    hint: str
    error: type[InstallError] = InstallError


_OWN_ENVIRONMENT = later("make a fresh environment with --new-env PATH")
_SIGNS = (
    _Sign(
        pattern=r"No space left on device|Disk quota exceeded|not enough space on the disk",
        message=later("the disk is full (or your quota is used up)"),
        hint=later("free some room, or make an environment on another disk with --new-env PATH"),
        error=SpaceError,
    ),
    _Sign(
        pattern=r"DO NOT MATCH THE HASHES FROM THE REQUIREMENTS",
        message=later("a file has changed on this disk since it was fetched (wrong hash)"),
        hint=later("try again: it is fetched anew"),
        error=DownloadError,
    ),
    _Sign(
        pattern=r"requires a different Python|requires Python '",
        message=later("a package is made for another Python"),
        hint=later("take another Python, or another version of the package"),
    ),
    _Sign(
        pattern=r"(?:satisfies the requirement|distribution found for) ([^\s(]+)|(\S+\.whl) is not a supported wheel",
        message=later("pip does not take the file of {0} for this Python and platform"),
        hint=later("take --backend uv, or a newer pip"),
    ),
    _Sign(
        pattern=r"Cannot uninstall '?([^\s',]+)",
        message=later("{0} is in the way and cannot be removed, because its file list is missing"),
        hint=_OWN_ENVIRONMENT,
    ),
    _Sign(
        pattern=r"[Ww]heel '?([^\s']+)'? .*is invalid|(\S+) has an invalid wheel|BadZipFile|bad CRC|invalid metadata",
        message=later("the wheel of {0} is damaged or not a proper one"),
        hint=later("take another version of it, or another index with --index"),
        error=DownloadError,
    ),
)


class PipInstaller:
    """Fetches what uv has resolved and installs it with the target's pip.

    ``python`` is the interpreter whose pip works, ``prefix`` the environment whose pip.conf counts, ``store`` the folder
    that keeps downloaded wheels, ``idle_limit`` the seconds without any movement after which pip is ended, ``addresses``
    are index addresses as the user gave them, maybe with a password.
    """

    name = "pip"

    def __init__(
        self,
        host: Host,
        reporter: Reporter = _SILENT,
        *,
        python: str,
        prefix: str | None = None,
        store: str,
        offline: bool = False,
        idle_limit: float = IDLE_LIMIT,
        addresses: Sequence[str] = (),
    ) -> None:
        self._host = host
        self._reporter = reporter
        self._python = python
        self._store = store
        self._offline = offline
        self._idle_limit = idle_limit
        self._addresses = addresses
        self._environment = environment_for_installers(host, prefix)
        self._paths: dict[str, str] = {}

    def fetch(self, resolution: Resolution, *, python: str | None = None) -> Resolution:
        """Bring every file onto this disk, checked against its hash; what is in the store already costs nothing.

        Raises ``InstallError`` or one of its kinds; what has arrived is kept for the next try.
        """
        del python
        files = lock_reader.files(resolution.lock, resolution.target)
        for file in files:
            if not file.filename.endswith(".whl"):
                raise InstallError(
                    say(
                        "{file} {version} has no wheel for this Python and platform, and envfix"
                        " does not build packages from source with pip; nothing was changed",
                        file=file.name,
                        version=file.version,
                    ),
                    hint=say("take --backend uv, another version of it, or another Python"),
                )
        self._paths |= download(
            self._host,
            self._environment,
            files,
            self._store,
            addresses=self._addresses,
            idle_limit=self._idle_limit,
            offline=self._offline,
            reporter=self._reporter,
        )
        return resolution

    def incoming(self, resolution: Resolution) -> dict[str, tuple[str, ...]]:
        """The paths that each wheel will lay down, relative to where it goes, by package.

        Raises ``DownloadError`` for a wheel that would write outside of the environment: an old pip would let it.
        """
        return {canonicalize_name(file.name): _members(path, file.filename) for file, path in self._fetched(resolution)}

    def refusal(self, resolution: Resolution, *, options: Sequence[str] = ()) -> str | None:
        """Why this pip would refuse the resolution, in its own words; None where it would not, or cannot be asked.

        A dry run from the fetched files: hashes, tags, the packages' own needs. pip can do it since 22.2.
        """
        files = self._fetched(resolution)
        version = self._pip_version(self._python)
        if version < FIRST_DRY_RUN or not files:
            return None
        with self._workshop(files, version, [file.name for file, _ in files]) as workshop:
            argv = [*self._argv(self._python, workshop, version, options), "--dry-run", "--ignore-installed"]
            result, text = self._run(argv, workshop, PROVE_LIMIT)
        if result.ok or result.outcome == "timed-out":
            return None
        return telling_lines(_as_error_lines(text)) or result.failure

    def install(
        self,
        resolution: Resolution,
        *,
        python: str,
        prefix: str,
        constraints: str | None = None,
        reinstall: Sequence[str] = (),
        options: Sequence[str] = (),
        lock: EnvironmentLock | None = None,
    ) -> Installation:
        """Install exactly what was resolved into the environment of ``python``; what is there in that version stays.

        ``constraints`` is written to ``envfix-constraints.txt`` in ``prefix``; ``reinstall`` names packages to lay down
        anew also when their version is there; ``options`` are further ones for pip, left out where it is too old for
        them; ``lock`` is the environment's, to be held by pip as well. Raises ``InstallError`` or one of its kinds.
        """
        started = time.monotonic()
        self.incoming(resolution)  # nothing that would write elsewhere
        files = self._fetched(resolution)
        version = self._pip_version(python)
        again = {canonicalize_name(name) for name in reinstall}
        there = self._installed(python)
        names = [
            file.name
            for file, _ in files
            if canonicalize_name(file.name) in again or not _is_there(file, there.get(canonicalize_name(file.name), ()))
        ]
        if names:
            self._reporter.stage(say("installing packages with pip {dotted}", dotted=_dotted(version)))
            self._install(python, prefix, files, version, names, options, lock)
        return finished(
            self._host,
            self.name,
            resolution,
            python=python,
            prefix=prefix,
            constraints=constraints,
            started=started,
        )

    def _install(
        self,
        python: str,
        prefix: str,
        files: Sequence[tuple[LockedFile, str]],
        version: tuple[int, ...],
        names: Sequence[str],
        options: Sequence[str],
        lock: EnvironmentLock | None,
    ) -> None:
        doing = say("installing the packages with pip {dotted}", dotted=_dotted(version))
        with self._workshop(files, version, names) as workshop:
            # Forced, since what is wanted was found out here: to pip, 1.9.0+cpu is a 1.9.0.
            argv = [*self._argv(python, workshop, version, options), "--no-deps", "--force-reinstall"]
            result, text = self._run(argv, workshop, self._idle_limit, lock=lock, moved=self._writing(prefix))
        if result.outcome == "timed-out":
            raise StalledError(
                say(
                    "{doing} failed: it has neither said nor written anything for {idle_limit:.0f} minutes",
                    doing=doing,
                    idle_limit=self._idle_limit / 60,
                ),
                hint=say("does the disk or the network file system answer? Then try again: what has arrived is kept"),
            )
        if not result.ok:
            raise pip_error(text or result.failure, doing)

    def _argv(self, python: str, workshop: str, version: tuple[int, ...], options: Sequence[str]) -> list[str]:
        """What every call has in common. Nothing in it is secret: every user of the machine sees arguments."""
        argv = [python, "-m", "pip", "install", "--no-index", "--find-links", f"{workshop}/wheels"]
        argv += ["--require-hashes", "-r", f"{workshop}/requirements.txt", "--only-binary", ":all:"]
        argv += ["--disable-pip-version-check", "--no-input", "--no-cache-dir"]
        # Measured: compiling makes torch take a third longer and forty packages of pure Python six times as long. Python
        # compiles at the first import what is imported; uv leaves it to that as well.
        argv.append("--no-compile")
        wished = ["--no-warn-script-location", *options]
        return argv + [option for option in wished if version >= _FIRST_WITH.get(option, OLDEST_PIP)]

    @contextlib.contextmanager
    def _workshop(
        self, files: Sequence[tuple[LockedFile, str]], version: tuple[int, ...], names: Sequence[str]
    ) -> Iterator[str]:
        """A private folder with links to the wheels and the requirements; pip's temporary files go there too.

        It is in the store, since an old pip unpacks all wheels before it installs the first one: /tmp may be small.
        """
        _sweep(self._store)
        with self._preparing():
            folder = tempfile.mkdtemp(prefix=_RUN, dir=self._store)
        try:
            with self._preparing():
                os.mkdir(f"{folder}/wheels")
                for file, path in files:
                    _link(path, f"{folder}/wheels/{name_for_pip(file.filename, version)}")
                lines = (
                    f"{file.name}=={file.version} --hash=sha256:{file.sha256 or sha256_of(path)}\n"
                    for file, path in files
                    if file.name in names
                )
                self._host.write_text(f"{folder}/requirements.txt", "".join(lines))
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _preparing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise pip_error(f"{self._store}: {error.strerror}", say("preparing the files for pip")) from error

    def _writing(self, prefix: str) -> Callable[[], bool]:
        """Tells whether the disk has filled or emptied since the last time: pip says nothing while it unpacks."""
        last = [self._host.disk_space(prefix).free]

        def moved() -> bool:
            before, last[0] = last[0], self._host.disk_space(prefix).free
            return before != last[0]

        return moved

    def _fetched(self, resolution: Resolution) -> list[tuple[LockedFile, str]]:
        files = lock_reader.files(resolution.lock, resolution.target)
        if any(file.url not in self._paths for file in files):
            self.fetch(resolution)
        return [(file, self._paths[file.url]) for file in files]

    def _pip_version(self, python: str) -> tuple[int, ...]:
        """The target's pip; raises ``InstallError`` where there is none that works."""
        result = self._ask([python, "-m", "pip", "--version", "--disable-pip-version-check"])
        match = re.search(r"^pip (\d+(?:\.\d+)*)", result.stdout, re.MULTILINE)
        if not result.ok or match is None:
            reason = f": {retold(result.failure)}" if not result.ok else ""
            raise InstallError(
                say("{python} has no pip that works{reason}; nothing was changed", python=python, reason=reason),
                hint=say("{python} -m ensurepip brings one, or take --backend uv", python=python),
            )
        version = tuple(int(part) for part in match[1].split("."))
        if version < OLDEST_PIP:
            raise InstallError(
                say("pip {match} of {python} is too old; nothing was changed", match=match[1], python=python),
                hint=say("take --backend uv, or a newer pip"),
            )
        return version

    def _installed(self, python: str) -> Mapping[str, Sequence[str]]:
        """The versions of each package in the environment's own folders, not in those it only looks into."""
        result = self._ask([python, "-c", _WHERE])
        try:
            folders = {str(folder) for folder in json.loads(result.stdout)}
        except (ValueError, TypeError) as error:
            raise InstallError(
                say(
                    "{python} does not say where it keeps packages: {failure}",
                    python=python,
                    failure=retold(result.failure),
                )
            ) from error
        found: dict[str, list[str]] = {}
        for folder in folders:
            for path in self._host.glob(f"{_literal(folder)}/*-info"):
                name, _, version = os.path.basename(path).rpartition(".")[0].partition("-")
                found.setdefault(canonicalize_name(name), []).append(re.sub(r"-py[\d.]+$", "", version))
        return found

    def _ask(self, argv: Sequence[str]) -> CommandResult:
        try:
            folder = self._host.make_temporary_folder()
        except OSError as error:
            raise SpaceError(
                say("no temporary file can be written: {strerror}", strerror=error.strerror), hint=say("set TMPDIR")
            ) from error
        try:
            result, text = self._run(argv, folder, ASK_LIMIT)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return msgspec.structs.replace(result, stdout=text)

    def _run(
        self,
        argv: Sequence[str],
        folder: str,
        limit: float,
        *,
        lock: EnvironmentLock | None = None,
        moved: Callable[[], bool] | None = None,
    ) -> tuple[CommandResult, str]:
        """Run pip in the cleaned environment, in a private folder: a ``pip`` beside the user must not be taken for it.

        ``limit`` is in seconds, with ``moved`` since pip has last said something or that was true.
        """
        deadline = Deadline(limit)
        kept: list[str] = []

        def hear(text: str) -> None:
            kept.append(text)
            if moved is not None and (text or moved()):
                deadline.extend(limit)

        variables = {
            name: value
            for name, value in self._environment.variables.items()
            # pip shall reach for nothing, and these may hold a password.
            if name not in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "ALL_PROXY")
        }
        variables |= {"TMPDIR": folder, "PIP_USER": "0", "PYTHONIOENCODING": "utf-8", "TERM": "dumb"}
        result = self._host.stream(
            argv,
            on_text=hear,
            deadline=deadline,
            env=variables,
            drop_env=self._environment.drop,
            cwd=folder,
            lock=lock,
        )
        return result, "".join(kept)[-_OUTPUT_KEPT:]


def pip_error(text: str, doing: str) -> InstallError:
    """The error for a failed run of pip; ``doing`` is what was tried (``installing the packages with pip 23.0.1``)."""
    lines = _as_error_lines(text)
    for sign in _SIGNS:
        match = re.search(sign.pattern, text)
        if match is not None:
            named = next((group for group in match.groups() if group), say("one package"))
            telling = telling_lines(lines)
            return sign.error(
                say(
                    "{doing} failed: {named}\n{telling}",
                    doing=doing,
                    named=look_up(sign.message).format(named),
                    telling=telling,
                ),
                hint=sign.hint,
            )
    return install_error(lines, doing)


def name_for_pip(filename: str, version: tuple[int, ...]) -> str:
    """The wheel's name, or one that an old pip takes: it looks at nothing else to tell whether a wheel fits.

    Resolving has proved that the wheel fits; pip 18 has not heard of manylinux2014, but knows ``linux_x86_64``.
    """
    stem, _, platforms = filename.removesuffix(".whl").rpartition("-")
    singles = platforms.split(".")
    if not all(single.startswith("manylinux") for single in singles):
        return filename
    for single in singles:
        first = next(first for kind, first in _PLATFORMS if single.startswith(kind)) if "_" in single else (99,)
        if version >= first:
            return filename
    machine = re.sub(r"^manylinux(?:\d+|_\d+_\d+)_", "", singles[-1])
    return f"{stem}-linux_{machine}.whl"


def _members(path: str, filename: str) -> tuple[str, ...]:
    """The files in a wheel, and the commands it asks for; raises ``DownloadError`` for one outside of the environment."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = tuple(name for name in archive.namelist() if not name.endswith("/"))
            asked = [archive.read(name).decode("utf-8", "replace") for name in names if _ENTRY_POINTS.fullmatch(name)]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DownloadError(
            say("{filename} cannot be opened: {error}; nothing was changed", filename=filename, error=error)
        ) from error
    for name in names:
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name) or "\\" in name:
            raise DownloadError(
                say(
                    "{filename} would write outside of the environment ({name!r}): it is not"
                    " installed; nothing was changed",
                    filename=filename,
                    name=name,
                ),
                hint=say("do not use this index; choose another one with --index"),
            )
    return (*names, *(path for text in asked for path in commands_of(text)))


def _is_there(file: LockedFile, versions: Sequence[str]) -> bool:
    """Whether exactly this version is there, local label included, and no other beside it."""
    try:
        return len(versions) == 1 and Version(versions[0].replace("_", "+", 1)) == Version(file.version)
    except InvalidVersion:
        return False


def _link(path: str, link: str) -> None:
    try:
        os.symlink(os.path.abspath(path), link)
    except (OSError, NotImplementedError):  # Windows lets few people make links
        shutil.copyfile(path, link)


def _sweep(store: str) -> None:
    """Delete what runs that were killed have left, once nobody can be at it any more."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(store):
            if entry.name.startswith(_RUN) and time.time() - entry.stat().st_mtime > _LEFTOVER:
                shutil.rmtree(entry.path, ignore_errors=True)


def _as_error_lines(text: str) -> str:
    """Errors of pip begin with ``ERROR:``, those of uv with ``error:``, by which the telling lines are found."""
    return re.sub(r"^\s*ERROR: ", "error: ", text, flags=re.MULTILINE)


def _literal(path: str) -> str:
    """A path in which no bracket is a pattern."""
    return re.sub(r"([\[*?])", r"[\1]", path)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)

"""Finds the compatibility tables, compiles them when they are hand-written, and reads each only when it is asked."""

from __future__ import annotations

import contextlib
import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
from packaging.version import Version

from envfix._version import __version__
from envfix.errors import TableError
from envfix.model.language import say
from envfix.tables.rows import TableFile, check_rows, decode
from envfix.tables.sources import NAMES, SourceError, compile_table

if TYPE_CHECKING:
    from envfix.tables.architectures import Architectures
    from envfix.tables.companions import CompanionsFile, CompanionTable
    from envfix.tables.conda import Conda
    from envfix.tables.drivers import Drivers
    from envfix.tables.gpus import Gpus
    from envfix.tables.host_compilers import HostCompilers
    from envfix.tables.indexes import Indexes
    from envfix.tables.ultralytics import Ultralytics
    from envfix.tables.wheels import Wheels

FileT = TypeVar("FileT", bound=TableFile)

_PACKAGE = Path(__file__).resolve().parent.parent
_HINT = "ENVFIX_TABLES must name a folder that holds all tables; leave it unset to use those that came with envfix"


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Until when the tables can be trusted: the day of the oldest review and the newest torch they know."""

    reviewed: str
    newest_torch: Version
    newest_torch_released: str


class Store(Protocol):
    """Where tables are kept."""

    origin: str

    def read(self, name: str, kind: type[FileT]) -> FileT:
        """The rows of one table; raises ``TableError``."""


class Tables:
    """All compatibility tables; each is read at its first use and cannot be changed.

    ``origin`` says where they come from: a folder, or ``envfix`` for those inside the installed package.
    """

    def __init__(self, store: Store) -> None:
        self.__dict__["_store"] = store

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("tables are immutable")

    def __repr__(self) -> str:
        return f"Tables({self.origin!r})"

    @property
    def origin(self) -> str:
        """Where the tables come from."""
        store: Store = self.__dict__["_store"]
        return store.origin

    def _read(self, name: str, kind: type[FileT]) -> FileT:
        store: Store = self.__dict__["_store"]
        return store.read(name, kind)

    @cached_property
    def drivers(self) -> Drivers:
        """What CUDA runtimes need of drivers, and which GPUs drivers know."""
        from envfix.tables.drivers import Drivers, DriversFile

        return Drivers(self._read("drivers", DriversFile))

    @cached_property
    def wheels(self) -> Wheels:
        """Which wheels exist."""
        from envfix.tables.wheels import Wheels, WheelsFile

        return Wheels(self._read("wheels", WheelsFile), _Companions(self), self.indexes)

    @cached_property
    def companions(self) -> CompanionTable:
        """What belongs to each torch release."""
        from envfix.tables.companions import CompanionsFile, CompanionTable

        return CompanionTable(self._read("companions", CompanionsFile))

    @cached_property
    def architectures(self) -> Architectures:
        """Which GPU architectures each wheel was compiled for."""
        from envfix.tables.architectures import Architectures, ArchitecturesFile

        return Architectures(self._read("architectures", ArchitecturesFile))

    @cached_property
    def gpus(self) -> Gpus:
        """Which compute capability belongs to a GPU name."""
        from envfix.tables.gpus import Gpus, GpusFile

        return Gpus(self._read("gpus", GpusFile))

    @cached_property
    def host_compilers(self) -> HostCompilers:
        """Which compilers nvcc and torch accept."""
        from envfix.tables.host_compilers import HostCompilers, HostCompilersFile

        return HostCompilers(self._read("host_compilers", HostCompilersFile))

    @cached_property
    def indexes(self) -> Indexes:
        """Where wheels come from."""
        from envfix.tables.indexes import Indexes, IndexesFile

        return Indexes(self._read("indexes", IndexesFile))

    @cached_property
    def ultralytics(self) -> Ultralytics:
        """What ultralytics asks for."""
        from envfix.tables.ultralytics import Ultralytics, UltralyticsFile

        return Ultralytics(self._read("ultralytics", UltralyticsFile))

    @cached_property
    def conda(self) -> Conda:
        """Which builds conda channels hold."""
        from envfix.tables.conda import Conda, CondaFile

        return Conda(self._read("conda", CondaFile))

    def trust(self) -> Trust:
        """Until when the tables that decide a plan can be trusted."""
        files: list[TableFile] = [self.wheels.file, self.companions.file, self.architectures.file, self.drivers.file]
        newest = max(self.companions.file.torch, key=lambda row: Version(row.version))
        return Trust(
            reviewed=min(file.reviewed for file in files),
            newest_torch=Version(newest.version),
            newest_torch_released=newest.released,
        )

    def check(self) -> None:
        """Read every table and compare them, so that a wrong one is reported now; raises ``TableError``."""
        from envfix.tables.agreement import check_agreement

        for name in NAMES:
            getattr(self, name)
        check_agreement(self)


class _Companions:
    """Reads the companions when wheels first need them: those of torch alone do not."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @property
    def file(self) -> CompanionsFile:
        return self._tables.companions.file


def load(folder: Path | None = None, *, cache: Path | None = None) -> Tables:
    """The compatibility tables: of ``folder`` if given, of the checkout envfix runs from, or those inside the package.

    ``cache`` is where compiled tables of a folder or checkout are kept; left out, the user's cache folder. Raises
    ``TableError`` when ``folder`` does not exist, and when a table of a folder or checkout is missing, is wrong or
    contradicts another one; that is looked at once after each change.
    """
    if folder is not None and not folder.is_dir():
        raise TableError(say("{folder}: there is no such folder of tables", folder=folder), hint=_HINT)
    chosen = folder or _checkout()
    return _checked(FolderStore(chosen, cache)) if chosen else Tables(PackagedStore())


def _checked(store: FolderStore) -> Tables:
    tables = Tables(store)
    if not store.was_checked():
        tables.check()
        store.remember_check()
    return tables


def _checkout(package: Path = _PACKAGE) -> Path | None:
    """The tables beside the package in a checkout; an editable install uses these and never a copy."""
    folder = package.parent / "compat_tables"
    return folder if folder.is_dir() and (package.parent / "pyproject.toml").is_file() else None


class PackagedStore:
    """The compiled tables inside the installed package."""

    origin = "envfix"

    def __init__(self, package: Path = _PACKAGE) -> None:
        self._folder = package / "_compat_tables"

    def read(self, name: str, kind: type[FileT]) -> FileT:
        """The rows of one table; raises ``TableError``."""
        try:
            compiled = (self._folder / f"{name}.json").read_bytes()
        except OSError:
            compiled = self._from_archive(name)
        return decode(name, compiled, kind)

    def _from_archive(self, name: str) -> bytes:
        """The same for a package that is not a folder, such as one inside a zip file."""
        import importlib.resources

        try:
            return importlib.resources.files("envfix").joinpath("_compat_tables").joinpath(f"{name}.json").read_bytes()
        except (OSError, ModuleNotFoundError) as error:
            raise TableError(
                say("{name}.yaml is missing from this installation of envfix", name=name),
                hint=say("install envfix again"),
            ) from error


class FolderStore:
    """Hand-written tables in a folder; what they compile to is kept in a cache as long as the file does not change."""

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.origin = str(folder)
        self._folder = folder
        self._given_cache = cache

    def read(self, name: str, kind: type[FileT]) -> FileT:
        """The rows of one table; raises ``TableError``."""
        source = self._folder / f"{name}.yaml"
        cached = self._cache_file(source)
        with contextlib.suppress(OSError, msgspec.DecodeError, TableError):
            return decode(name, cached.read_bytes(), kind)
        compiled = _compile(source)
        file = decode(name, compiled, kind)
        check_rows(name, file)
        _keep(cached, compiled)
        return file

    def was_checked(self) -> bool:
        """Whether this envfix has compared the tables as they are now; raises ``TableError`` where one is missing."""
        return self._check_mark().is_file()

    def remember_check(self) -> None:
        """Note that the tables as they are now agree with each other."""
        _keep(self._check_mark(), b"{}")

    def _check_mark(self) -> Path:
        states = " ".join((__version__, *(_state(self._folder / f"{name}.yaml") for name in NAMES)))
        return self._cache / "tables" / f"checked-{_crc(str(self._folder.resolve()))}-{_crc(states)}.json"

    def _cache_file(self, source: Path) -> Path:
        return self._cache / "tables" / f"{source.stem}-{_crc(str(source.resolve()))}-{_state(source)}.json"

    @cached_property
    def _cache(self) -> Path:
        if self._given_cache is not None:
            return self._given_cache
        import platformdirs

        return Path(platformdirs.user_cache_dir("envfix", appauthor=False))


def _state(source: Path) -> str:
    """What changes when a table is edited: its size and when it was written."""
    try:
        state = source.stat()
    except OSError as error:
        raise TableError(
            say("{source} is missing from {parent}", source=source.name, parent=source.parent), hint=_HINT
        ) from error
    return f"{state.st_size}-{state.st_mtime_ns}"


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _compile(source: Path) -> bytes:
    try:
        return compile_table(source.read_bytes())
    except SourceError as error:
        row = f", row {error.row}" if error.row else ""
        key = f", key {error.key!r}" if error.key else ""
        raise TableError(f"{source.name}{row}{key}: {error}") from error
    except OSError as error:
        raise TableError(
            say("{source} cannot be read: {strerror}", source=source.name, strerror=error.strerror), hint=_HINT
        ) from error


def _keep(target: Path, compiled: bytes) -> None:
    """Put a compiled table into the cache in one step, drop the one it replaces; nothing where that is not allowed."""
    import tempfile

    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(compiled)
            Path(temporary).replace(target)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        prefix = "-".join(target.stem.split("-")[:2])
        for old in target.parent.glob(f"{prefix}-*.json"):
            if old != target:
                old.unlink(missing_ok=True)

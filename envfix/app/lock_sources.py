"""Where locks come from: a plan that uv or rattler has resolved, or an environment as it really is."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.utils import canonicalize_name

from envfix.app.lock_environment import There, by_name, directly, of_conda, rows_here, rows_saved
from envfix.app.planning import PlanRequest, decide, look
from envfix.app.pricing import Priced, price
from envfix.app.settings import NOBODY, cache_folder, tables_for
from envfix.errors import InstallError, UsageError
from envfix.host.hashing import sha256_of
from envfix.host.index import default_registry
from envfix.host.real import RealHost
from envfix.installer import lock_reader
from envfix.installer.downloading import IDLE_LIMIT, download
from envfix.installer.environment import environment_for_installers
from envfix.installer.interface import TORCH_FAMILY, Refusal, Resolution, Sources
from envfix.installer.lock_reader import LockedFile as Listed
from envfix.installer.uv import UvInstaller
from envfix.lockers.conda_family import on_this_disk
from envfix.lockers.header import bare
from envfix.lockers.interface import LockError
from envfix.model.facts import Environment
from envfix.model.language import retold, say, stated
from envfix.model.lock import Lock, LockedFile, LockedPackage
from envfix.model.lock_signs import CPU, LABEL, variant_of
from envfix.model.plan import REGISTRY, PackagePin, Plan, PlanTarget
from envfix.model.reporter import Reporter
from envfix.probes.package_sources import without_credentials
from envfix.resolver.needs import needs_of
from envfix.resolver.target import Elsewhere, describe
from envfix.tables.architectures import SmList
from envfix.tables.loader import Tables

if TYPE_CHECKING:
    from envfix.app.conda_stack import Kept

# Mirrors that are tried where an index does not have a file.
_MOST_INDEXES = 4


class Sourced(msgspec.Struct, frozen=True, kw_only=True):
    """A lock, or the plan that says why there is none; ``notes`` are what the user should know."""

    lock: Lock | None
    plan: Plan | None = None
    notes: tuple[str, ...] = ()


# --- from a plan ---


def from_plan(
    request: PlanRequest, *, keeping: Mapping[str, str] | None = None, reporter: Reporter = NOBODY
) -> Sourced:
    """The exact files of the stack that a plan chooses; nothing is installed.

    ``keeping`` are versions to keep where they fit. Raises ``InstallError`` where the plan cannot be resolved.
    """
    tables = tables_for(RealHost())
    decision = decide(request, reporter=reporter)
    if decision.plan.status != "ok":
        return Sourced(lock=None, plan=decision.plan)
    priced = price(decision, installed=keeping, offline=request.goal.offline, reporter=reporter)
    if priced.plan.status != "ok":
        return Sourced(lock=None, plan=priced.plan)
    if priced.resolution is None:
        message, hint = (priced.refusal.message, priced.refusal.hint) if priced.refusal else ("no answer", None)
        raise InstallError(
            say("uv cannot resolve this plan, so there is nothing to lock: {message}", message=message), hint=hint
        )
    return Sourced(lock=_lock_of(priced, priced.resolution, tables))


def _lock_of(priced: Priced, resolution: Resolution, tables: Tables) -> Lock:
    choice = priced.plan.choice
    assert choice is not None  # noqa: S101 - a resolved plan has an answer
    files = lock_reader.files(resolution.lock, resolution.target)
    sizes = {row.filename: row.size for row in resolution.downloads}
    files = [msgspec.structs.replace(file, size=file.size or sizes.get(file.filename)) for file in files]
    places = _Places(resolution, {row.name: row.index for row in resolution.downloads})
    pins = (pin for pin in priced.plan.packages if not pin.bound_only)
    # Planned for the CPU it needs no driver, also where only a build with CUDA inside could be had.
    variant = CPU if choice.compatibility == "cpu" else choice.variant
    return Lock(
        needs=needs_of(resolution.target, choice.torch, variant, [file.filename for file in files], tables),
        packages=tuple(sorted(map(places.package, files), key=lambda one: one.name)),
        asked=tuple(f"{pin.name}{pin.specifier}" for pin in pins),
    )


class _Places:
    """Where the files of a resolution come from."""

    def __init__(self, resolution: Resolution, indexes: Mapping[str, str]) -> None:
        self._sources = resolution.sources
        self._indexes = indexes
        self._addresses = lock_reader.indexes(resolution.lock)

    def package(self, file: Listed) -> LockedPackage:
        """A file of the resolution as it is locked."""
        name = canonicalize_name(file.name)
        index = self._indexes.get(file.name, REGISTRY)
        is_torch = index == self._sources.torch_name and self._sources.torch_url is not None and index != REGISTRY
        address = self._sources.torch_url if is_torch else self._addresses.get(file.name)
        is_default = address is None or address.rstrip("/") == default_registry().rstrip("/")
        return LockedPackage(
            name=name,
            version=file.version,
            origin="wheel" if file.filename.endswith(".whl") else "sdist",
            file=LockedFile(
                filename=file.filename,
                url=bare(file.url),
                size=file.size,
                sha256=file.sha256,
            ),
            index=index,
            index_url=None if is_default else bare(address or ""),
            find_links=is_torch and self._sources.torch_layout == "find-links",
        )


def from_conda_plan(request: PlanRequest, *, kept: Kept | None = None, reporter: Reporter = NOBODY) -> Sourced:
    """The same of conda packages; ``kept`` is what stays of an older lock where it fits."""
    from envfix.app.conda_stack import plan_conda

    # What is locked is an environment of its own, whatever lies in the one that was named.
    nowhere = os.path.join(cache_folder(RealHost()), "locked")
    decision = plan_conda(msgspec.structs.replace(request, new_env=nowhere), kept=kept, reporter=reporter)
    if decision.plan.status != "ok" or decision.solution is None:
        return Sourced(lock=None, plan=decision.plan)
    choice, solution = decision.plan.choice, decision.solution
    assert choice is not None  # noqa: S101 - as above
    packages = tuple(of_conda(one, one.channel, one.address) for one in sorted(solution.packages, key=by_name))
    depends = [spec for one in packages for spec in one.depends]
    tables = tables_for(RealHost())
    return Sourced(
        lock=Lock(
            needs=needs_of(decision.plan.target, choice.torch, choice.variant, (), tables, depends=depends),
            packages=packages,
            specs=tuple(map(bare, solution.specs)),
            channels=tuple((bare(source.name), bare(source.shown)) for source in decision.sources),
        ),
        notes=tuple(map(retold, on_this_disk(packages))),
    )


# --- from an environment ---


def from_environment(request: PlanRequest, *, reporter: Reporter = NOBODY) -> Sourced:
    """What is installed in the target (or was, in a snapshot), with the file of an index for each package.

    What no index holds is in the lock with a note. Raises ``UsageError`` where the target cannot be asked.
    """
    host = RealHost()
    tables = tables_for(host)
    reporter.stage(say("reading what is installed"))
    machine, environment = look(request, host, tables, reporter)
    interpreter = environment.interpreter.value
    if interpreter is None:
        raise UsageError(
            say(
                "the Python at {source} cannot be used: {problem}",
                source=environment.interpreter.source,
                problem=retold(environment.interpreter.problem or ""),
            ),
            hint=say("name an environment with --python, or say what to plan, such as --cuda auto"),
        )
    target = describe(machine, environment.interpreter, Elsewhere(), tables)
    is_here = request.snapshot is None
    there = rows_here(host, interpreter) if is_here else rows_saved(environment)
    if not there.rows and not there.conda:
        raise LockError(
            say("nothing is installed in {prefix}", prefix=interpreter.prefix)
            if interpreter.kind != "system"
            else say(
                "pip has installed nothing for {python}, and packages of the system itself are not locked",
                python=interpreter.executable,
            ),
            hint=say("say what to plan, such as --cuda auto"),
        )
    python = interpreter.executable if is_here else None
    finder = _Finder(host, request, tables, target, python, reporter)
    torch_variant = environment.torch.value.variant if environment.torch.value else None
    found = [*finder.found(there.rows, torch_variant), *there.conda]
    packages = tuple(sorted(found, key=lambda one: (one.name, one.origin == "conda")))
    version, variant = _torch_there(environment, packages)
    needs = needs_of(
        target,
        version,
        variant,
        [one.file.filename for one in packages if one.file is not None and one.origin != "conda"],
        tables,
        code=_code(environment),
        depends=[spec for one in packages for spec in one.depends],
    )
    channels = dict.fromkeys((one.index, one.index_url) for one in there.conda if one.index_url)
    lock = Lock(
        needs=needs,
        packages=packages,
        channels=tuple((name, url) for name, url in channels if url),
        source=stated("an environment") if is_here else stated("a saved machine"),
    )
    misfits = finder.misfits() if is_here else ()
    return Sourced(lock=lock, notes=(*there.notes, *_notes(packages), *finder.notes, *misfits))


def _notes(packages: Sequence[LockedPackage]) -> Iterable[str]:
    for package in packages:
        if package.note is not None:
            yield f"{package.name} {package.version}: {retold(package.note)}"


def _torch_there(environment: Environment, packages: Sequence[LockedPackage]) -> tuple[str | None, str]:
    """Version and variant of torch: by its files, and where these do not tell a CUDA, by its label or conda's build."""
    torch = environment.torch.value
    if torch is not None and (torch.cuda is not None or torch.hip):
        return torch.version.partition("+")[0], torch.variant if torch.cuda is not None else variant_of(packages)
    told = variant_of(packages)
    there = next((one for one in packages if one.name in ("torch", "pytorch")), None)
    version = there.version.partition("+")[0] if there is not None else None
    # Its files say that there is no CUDA inside, and nothing says otherwise.
    return version, CPU if torch is not None and not told else told


def _code(environment: Environment) -> SmList | None:
    """What the libraries of the torch that is there say they were compiled for."""
    torch = environment.torch.value
    if torch is None or not torch.sm:
        return None
    return SmList(sm=torch.sm, ptx=torch.ptx, cuda=torch.cuda)


class _UnreachableError(InstallError):
    """An index does not answer, so nobody can say what it holds."""


class _Finder:
    """Finds the file of each installed package in the index that it is from."""

    def __init__(
        self,
        host: RealHost,
        request: PlanRequest,
        tables: Tables,
        target: PlanTarget,
        python: str | None,
        reporter: Reporter,
    ) -> None:
        self._tables = tables
        self._target = target
        self._python = python
        self._reporter = reporter
        self._named = _named_indexes(host, request)
        self._host = host
        self._offline = request.goal.offline
        self._uv = UvInstaller(host, reporter, addresses=self._named, offline=self._offline)
        self.notes: list[str] = []

    def found(self, rows: Sequence[There], torch_label: str | None) -> list[LockedPackage]:
        """Each package with its file, or with the reason why nobody can say it."""
        told = {row: directly(row) for row in rows}
        # A file that was named by its address may be that of an index all the same: a lockfile names it so.
        left = [row for row, one in told.items() if one is None or one.file is not None]
        groups: dict[str | None, list[There]] = {}
        for row in left:
            groups.setdefault(self._label(row, torch_label), []).append(row)
        found = {
            one.name: one
            for label, group in groups.items()
            for one in (self._in_registry(group) if label is None else self._in_torch_index(group, label))
        }
        return [_either(one, found.get(str(canonicalize_name(row.name)))) for row, one in told.items()]

    def _label(self, row: There, torch_label: str | None) -> str | None:
        """The variant of the torch index that holds it; None: the default registry does."""
        name, label = canonicalize_name(row.name), row.version.partition("+")[2]
        if name in TORCH_FAMILY and LABEL.fullmatch(label):
            return label
        only_there = name in TORCH_FAMILY and name.startswith("pytorch-triton")
        return torch_label if only_there else None

    def _in_registry(self, rows: Sequence[There]) -> list[LockedPackage]:
        """The indexes that the user names come first, then the default one, then the extra ones of pip's and uv's settings."""
        settings = environment_for_installers(self._host).settings
        extra = [
            source.location for source in settings.sources if source.kind == "extra-index" and "://" in source.location
        ]
        named = [
            one for one in self._named if "://" in one and self._tables.indexes.by_url(without_credentials(one)) is None
        ]
        done: list[LockedPackage] = []
        left = list(rows)
        for place in (*named, None, *extra):
            if not left:
                break
            name = say("the default index") if place is None else without_credentials(place)
            self._reporter.stage(say("asking {name} for {count} packages", name=name, count=len(left)))
            try:
                found = self._asked(left, Sources(), place)
            except _UnreachableError as error:
                if place is not None and place in extra:
                    self.notes.append(say("{name} cannot be asked: {error}", name=name, error=error))
                    continue
                raise InstallError(
                    say("{name} cannot be asked: {error}", name=name, error=error), hint=error.hint
                ) from error
            done += found
            left = _without(left, found)
        if extra and len(left) < len(rows):
            self.notes.append(
                say(
                    "you have configured extra indexes: a package that is in your default index as well is locked from there"
                )
            )
        return [*done, *(_unknown(row, stated("no index that was asked has such a file")) for row in left)]

    def misfits(self) -> tuple[str, ...]:
        """Which packages of the environment do not fit together: what solves anew refuses such a lock."""
        if self._python is None:
            return ()
        lines = self._uv.incompatibilities(self._python)
        if not lines:
            return ()
        more = say(" (and {count} more)", count=len(lines) - 1) if len(lines) > 1 else ""
        return (
            say(
                "its packages do not fit together, so uv lock and conda will refuse what pip takes: {lines}{more}",
                lines=lines[0],
                more=more,
            ),
        )

    def _in_torch_index(self, rows: Sequence[There], label: str) -> list[LockedPackage]:
        done: list[LockedPackage] = []
        left = list(rows)
        tried: list[str] = []
        problems: list[str] = []
        for name, url, is_page in self._places(label):
            self._reporter.stage(say("asking {name} for {count} packages of torch", name=name, count=len(left)))
            sources = Sources(torch_url=url, torch_layout="find-links" if is_page else "index", torch_name=name)
            try:
                found = self._asked(left, sources)
            except _UnreachableError as error:
                problems.append(f"{name}: {error}")
                continue
            tried.append(name)
            done += found
            left = _without(left, found)
            if not left:
                return done
        if problems:  # it may well be there
            names = " and ".join(f"{row.name} {row.version}" for row in left)
            raise InstallError(
                say(
                    "which file {names} came from cannot be told, because an index does not answer: {problems}",
                    names=names,
                    problems="; ".join(problems),
                ),
                hint=say("try again later, or name an index that has it with --index"),
            )
        why = stated(
            "no index that was asked has it ({value}): name its index with --index", value=", ".join(tried) or "none"
        )
        return [*done, *(_unknown(row, why) for row in left)]

    def _places(self, label: str) -> Iterable[tuple[str, str, bool]]:
        """The torch indexes to ask: those that the user names, or the official one and its mirrors."""
        rows = self._tables.indexes
        if self._named:
            for named in self._named:
                row = rows.by_name(named)
                url = row.url(label) if row is not None else without_credentials(named)
                if url is not None and "://" in url:
                    yield (named if row is not None else url), url, bool(row and not row.index_url)
            return
        official = rows.official()
        for row in (official, *rows.mirrors())[:_MOST_INDEXES]:
            url = row.url(label)
            if url is not None:
                yield row.name, url, not row.index_url

    def _asked(self, rows: Sequence[There], sources: Sources, registry: str | None = None) -> list[LockedPackage]:
        """Those of the packages that an index has: uv is asked for exactly these versions, and again without what it misses.

        ``registry`` is asked in place of the default index. Raises ``_UnreachableError``.
        """
        uv = self._uv
        if registry is not None:
            uv = UvInstaller(
                self._host, self._reporter, addresses=(registry,), offline=self._offline, registry=registry
            )
        left = list(rows)
        while left:
            index = sources.torch_name if sources.torch_url else REGISTRY
            pins = [
                PackagePin(name=row.name, specifier=f"=={row.version}", index=index, because="it is installed")
                for row in left
            ]
            answer = uv.resolve(pins, sources, self._target, python=self._python, alone=True)
            if isinstance(answer, Refusal):
                missing = _named_in(answer, left)
                if answer.kind in ("network", "machine"):
                    raise _UnreachableError(answer.message, hint=answer.hint)
                if missing is None and len(left) > 1:  # it does not say which one: each half by itself
                    half = len(left) // 2
                    parts = (self._asked(part, sources, registry) for part in (left[:half], left[half:]))
                    return [one for part in parts for one in part]
                left.remove(missing or left[0])
                continue
            places = _Places(answer, dict.fromkeys((row.name for row in answer.downloads), index))
            files = lock_reader.candidates(answer.lock)
            default = {str(canonicalize_name(file.name)): file for file in lock_reader.files(answer.lock, self._target)}
            return [_matched(row, files, default, places) for row in left]
        return []


def _without(rows: Sequence[There], found: Sequence[LockedPackage]) -> list[There]:
    """The rows that were not found."""
    names = {one.name for one in found}
    return [row for row in rows if canonicalize_name(row.name) not in names]


def _named_indexes(host: RealHost, request: PlanRequest) -> tuple[str, ...]:
    """The indexes that the user names, as they were given, passwords included."""
    named = tuple(name for name in request.goal.indexes if name != "auto")
    return named or tuple((host.getenv("ENVFIX_INDEX") or "").split())


def _either(told: LockedPackage | None, found: LockedPackage | None) -> LockedPackage:
    """What is known of a package: the file of an index, unless it came from an address that holds another one."""
    if told is None or found is None:
        one = found or told
        assert one is not None  # noqa: S101 - what was not told has been looked for
        return one
    if told.file is None or found.file is None:
        return told
    is_same = told.file.url == found.file.url or (told.file.sha256 or "") == found.file.sha256
    return found if is_same else told


def _named_in(answer: Refusal, rows: Sequence[There]) -> There | None:
    """The package that the refusal is about."""
    for pattern in (
        r"Because (?:there is no version of )?{0}(?:==\S+)? ",
        r"\b{0}(?:==\S+)? (?:was not found|has no)",
        r"\b{0}\b",
    ):
        for row in rows:
            if re.search(pattern.format(re.escape(canonicalize_name(row.name))), answer.text, re.IGNORECASE):
                return row
    return None


def _matched(
    row: There, files: Mapping[str, tuple[Listed, ...]], default: Mapping[str, Listed], places: _Places
) -> LockedPackage:
    """The file that was installed: of all that the index has, the one with the tags that its metadata tells."""
    name = canonicalize_name(row.name)
    offered = files.get(name, ())
    same = [one for one in offered if one.filename.endswith(".whl") and row.tags and fits(one.filename, row.tags)]
    if same:
        return places.package(same[0])
    chosen = places.package(default[name])
    if not row.tags:
        return chosen
    sdist = next((one for one in offered if not one.filename.endswith(".whl")), None)
    if sdist is not None and not any(one.filename.endswith(".whl") for one in offered):
        return places.package(sdist)
    note = stated(
        "it was installed from a file that its index does not have; locked is {value}",
        value=chosen.file.filename if chosen.file else "-",
    )
    return msgspec.structs.replace(chosen, note=note)


def fits(filename: str, tags: Sequence[str]) -> bool:
    """Whether a wheel of this name is one whose metadata tells these tags; other files and odd names do.

    Old wheels of torch were renamed to manylinux without a word in their metadata, which says ``linux_x86_64``.
    """
    parts = filename.removesuffix(".whl").split("-")[-3:]
    if not filename.endswith(".whl") or len(parts) != 3:
        return True
    named = {"-".join(one) for one in product(*(part.split(".") for part in parts))}
    plain = {re.sub(r"-manylinux\w*?_(x86_64|aarch64|i686)$", r"-linux_\1", one) for one in named}
    return not (named | plain).isdisjoint(tags)


def _unknown(row: There, why: str) -> LockedPackage:
    return LockedPackage(name=canonicalize_name(row.name), version=row.version, origin="unknown", note=why)


# --- hashes and addresses ---


def with_hashes(lock: Lock, request: PlanRequest, *, reporter: Reporter = NOBODY) -> tuple[Lock, dict[str, str]]:
    """The lock with the hash of every wheel of which no index tells one, worked out from the file; and where these lie now.

    The files of the default index are fetched as well: no lock names its addresses. Raises ``InstallError``.
    """
    host = RealHost()
    wanted = {
        one.file.url: Listed(
            name=one.name,
            version=one.version,
            filename=one.file.filename,
            url=one.file.url,
            size=one.file.size,
            sha256=one.file.sha256,
        )
        for one in lock.wheels()
        if one.file is not None and one.file.url is not None and (one.file.sha256 is None or _is_default(one))
    }
    paths = download(
        host,
        environment_for_installers(host),
        list(wanted.values()),
        os.path.join(cache_folder(host), "wheels"),
        addresses=_named_indexes(host, request),
        idle_limit=IDLE_LIMIT,
        offline=request.goal.offline,
        reporter=reporter,
    )
    packages = tuple(_hashed(one, paths) for one in lock.packages)
    named = {unquote(urlsplit(url).path.rpartition("/")[2]): path for url, path in paths.items()}
    return msgspec.structs.replace(lock, packages=packages), named


def _hashed(package: LockedPackage, paths: Mapping[str, str]) -> LockedPackage:
    file = package.file
    path = paths.get(file.url or "") if file is not None else None
    if file is None or file.sha256 is not None or path is None:
        return package
    return msgspec.structs.replace(package, file=msgspec.structs.replace(file, sha256=sha256_of(path)))


def _is_default(package: LockedPackage) -> bool:
    """Whether it comes from the client's own default index."""
    return package.index_url is None and package.origin in ("wheel", "sdist")


def without_default_addresses(lock: Lock) -> Lock:
    """The lock as it is written: the client's own default index says itself where its files lie."""

    def plain(package: LockedPackage) -> LockedPackage:
        if package.file is None or not _is_default(package):
            return package
        return msgspec.structs.replace(package, file=msgspec.structs.replace(package.file, url=None))

    return msgspec.structs.replace(lock, packages=tuple(map(plain, lock.packages)))

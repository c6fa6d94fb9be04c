"""lock: from a plan or an environment to lockfiles, and from a lockfile back to whether it runs here, or is what is here."""

from __future__ import annotations

import filecmp
import os.path
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envfix.app import lock_sources
from envfix.app.lock_environment import SEEDED, There, directly, rows_here
from envfix.app.lock_sources import Sourced
from envfix.app.planning import PlanRequest, look
from envfix.app.settings import NOBODY, tables_for
from envfix.errors import EnvfixError, UsageError
from envfix.host.real import RealHost
from envfix.installer import changes
from envfix.installer.changes import same_version
from envfix.lockers import formats
from envfix.lockers.conda_family import dependency, files_beside
from envfix.lockers.interface import Locker, LockError, LockFileError
from envfix.lockers.pip_family import is_elsewhere, read_toml
from envfix.model.facts import Environment
from envfix.model.language import retold, say
from envfix.model.lock import (
    Difference,
    Lock,
    LockCheck,
    LockedAs,
    LockedFile,
    LockedPackage,
    Locking,
    Status,
    Suitability,
)
from envfix.model.plan import Plan
from envfix.model.reporter import Reporter
from envfix.resolver.conda_choice import TORCH, conda_name
from envfix.resolver.needs import suitability
from envfix.resolver.target import Elsewhere, describe

# Bytes beyond which no lock is read: the largest there are have some hundred thousand.
_LIMIT = 20_000_000
# How a file of envfix begins: it may be written anew.
_OURS = re.compile(r"(?:# syntax=[^\n]*\n)?# Locked by envfix from ")
# What people build upon: it is written anew only as long as nobody has.
_EXTENDED = ("uv", "dockerfile")
_RECORD_LIMIT = 50_000_000
# So many notes an error tells.
_REASONS = 6
_FAMILY = ("torch", "torchvision", "torchaudio")


class LockRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to lock and how. ``planned``: what ``plan`` would choose, else what is installed; ``conda``: of conda packages.

    ``out`` is a file or a folder (None: the text alone), ``update`` the packages of the lock at ``out`` that may change.
    ``download``: fetch files whose hash no index tells, and those that a lock looks for beside itself. ``texts``: the
    answer may hold the texts of several files.
    """

    plan: PlanRequest
    planned: bool
    conda: bool = False
    formats: tuple[str, ...] = ()
    out: str | None = None
    update: tuple[str, ...] = ()
    download: bool = False
    texts: bool = False


def lock(request: LockRequest, *, reporter: Reporter = NOBODY) -> Locking | Plan:
    """The lockfiles, written where ``out`` says; or the plan that tells why there is none.

    Raises ``UsageError`` for what makes no sense, ``LockError`` for what a format cannot hold; nothing is written then.
    """
    host = RealHost()
    if request.out == "":
        raise UsageError(say("-o needs the name of a file or a folder"))
    names = request.formats or _meant(request)
    places = _places(names, request.out) if names else ()
    _check_places(host, names, places)
    if len(names) > 1 and None in places and not request.texts:
        raise UsageError(
            say("several formats do not fit on one screen"), hint=say("name a folder for them with -o FOLDER")
        )
    old = _old(host, request, names) if request.update else None
    sourced = _sourced(request, old, reporter)
    if sourced.lock is None:
        assert sourced.plan is not None  # noqa: S101 - one of both
        return sourced.plan
    if not names:
        names = (_default_for(sourced.lock),)
        places = _places(names, request.out)
        _check_places(host, names, places)
    left_out = _left_out(sourced.lock, sourced.notes)
    made, beside = sourced.lock, dict[str, str]()
    if request.download:
        made, beside = lock_sources.with_hashes(made, request.plan, reporter=reporter)
    made = lock_sources.without_default_addresses(made)
    files = tuple(
        LockedAs(format=name, path=path, text=formats.locker(name).lock(made))
        for name, path in zip(names, places, strict=True)
    )
    _write(host, files, beside)
    notes = (*sourced.notes, *_notes(made, files, downloaded=request.download))
    changed = None if old is None else tuple(_changed(old, made))
    return Locking(lock=made, files=files, left_out=left_out, notes=notes, changed=changed)


def check(path: str, request: PlanRequest, *, format_name: str | None = None, reporter: Reporter = NOBODY) -> LockCheck:
    """Whether the lock in a file runs on a machine, and whether it is what is installed there. Raises ``LockFileError``."""
    host = RealHost()
    tables = tables_for(host)
    found, read = _read(host, path, format_name)
    if not read.needs.tag and not read.packages:
        raise LockFileError(say("{path} says nothing that could be compared", path=path))
    machine, environment = look(request, host, tables, reporter)
    interpreter = environment.interpreter.value
    asked = request.target
    if interpreter is None and asked is None and read.needs.python:
        asked = read.needs.python  # there is no Python to compare with: one of that version can be made
    said = Elsewhere(
        driver=request.driver, gpus=request.gpus, platform=request.platform, glibc=request.glibc, python=asked
    )
    target = describe(machine, environment.interpreter, said, tables)
    rows = suitability(read, target)
    elsewhere = request.snapshot or request.driver or request.gpus or request.platform or request.glibc
    differences = None if elsewhere or interpreter is None else tuple(_differences(host, read, environment))
    taken = tuple(_taken_by_uv(host, path, read)) if found.name == "uv" else ()
    differences = (*(differences or ()), *taken) if taken else differences
    checked = request.snapshot or (say("a {platform} machine", platform=target.platform) if elsewhere else None)
    return LockCheck(
        file=path,
        format=found.name,
        status=_status(rows, differences or ()),
        suitability=rows,
        differences=differences,
        checked=checked or (interpreter.prefix if interpreter is not None else say("this machine")),
        notes=tuple(_missing_needs(read)),
    )


def _status(rows: Sequence[Suitability], differences: Sequence[Difference]) -> Status:
    """A doubt is no yes, and what was installed beside the lock does not matter."""
    answers = {row.answer for row in rows}
    if "no" in answers:
        return "unfit"
    if "unknown" in answers or not rows:
        return "unknown"
    return "differs" if any(row.kind != "extra" for row in differences) else "ok"


# --- where and what ---


def _sourced(request: LockRequest, old: Lock | None, reporter: Reporter) -> Sourced:
    only_conda = bool(request.formats) and set(request.formats) <= formats.ONLY_CONDA
    if old is not None:
        return _updated(request, old, reporter)
    if request.planned and (request.conda or only_conda):
        return lock_sources.from_conda_plan(request.plan, reporter=reporter)
    if request.planned:
        return lock_sources.from_plan(request.plan, reporter=reporter)
    return lock_sources.from_environment(request.plan, reporter=reporter)


def _meant(request: LockRequest) -> tuple[str, ...]:
    """The format that the name of the file says; none where that has to be seen."""
    if request.out not in (None, "-") and not _is_folder(request.out):
        name = os.path.basename(request.out)
        meant = formats.by_filename(name)
        if meant is None:
            raise UsageError(
                say("{name} does not say which format is wanted", name=name),
                hint=say("add --format, one of {names}", names=", ".join(formats.NAMES)),
            )
        return (meant,)
    return ("requirements",) if request.planned and not request.conda else ()


def _default_for(made: Lock) -> str:
    """The format that holds everything that is in the lock."""
    if not made.conda():
        return "requirements"
    return "environment.yml" if made.wheels() else "conda-explicit"


def _places(names: Sequence[str], out: str | None) -> tuple[str | None, ...]:
    """The path of each file; None: its text alone is wanted."""
    out = None if out == "-" else out
    if out is None:
        return (None,) * len(names)
    if len(names) == 1 and not _is_folder(out):
        return (out,)
    if os.path.isfile(out):
        raise UsageError(
            say("{out} is a file, and there are {number} formats", out=out, number=len(names)),
            hint=say("name a folder with -o FOLDER"),
        )
    return tuple(os.path.join(out, formats.locker(name).filename) for name in names)


def _is_folder(out: str) -> bool:
    return out.endswith(os.sep) or os.path.isdir(out)


def _check_places(host: RealHost, names: Sequence[str], places: Sequence[str | None]) -> None:
    """Refuse to write over what somebody else has written: a pyproject.toml or Dockerfile of a project, for example."""
    for name, path in zip(names, places, strict=True):
        if path is None or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)):
            continue  # a pipe or /dev/null takes everything
        if os.path.isdir(path):
            raise UsageError(say("{path} is a folder", path=path), hint=say("name another file with -o"))
        answer = host.read_text(path, limit=_LIMIT)
        if answer.outcome == "unreadable":
            raise UsageError(
                say("{path} cannot be written anew: {problem}", path=path, problem=answer.problem),
                hint=say("name another file with -o"),
            )
        if answer.outcome == "read" and answer.text and not _is_ours(name, answer.text):
            raise UsageError(
                say("{path} is there, and envfix has not written it like this: it is left alone", path=path),
                hint=say("move it away, or name another file with -o"),
            )


def _is_ours(name: str, text: str) -> bool:
    if not _OURS.match(text):
        return False
    if name not in _EXTENDED:
        return True
    locker = formats.locker(name)
    try:
        return locker.lock(locker.read(text)) == text
    except (LockError, LockFileError):
        return False


def _left_out(made: Lock, notes: Sequence[str]) -> tuple[str, ...]:
    """What no lockfile brings back elsewhere; raises ``LockError`` with the reasons where that is everything."""
    names = tuple(one.name for one in made.wheels() if is_elsewhere(one))
    if names and len(names) == len(made.packages):
        why = "; ".join(notes[:_REASONS])
        raise LockError(
            say("nothing that is installed comes back on another machine: {why}", why=why or ", ".join(names)),
            hint=say("lock a plan instead: envfix lock --cuda auto"),
        )
    return names


def _write(host: RealHost, files: Sequence[LockedAs], beside: Mapping[str, str]) -> None:
    """Write all files; those that a lock looks for beside itself come first, so that it never misses one."""
    at = ""
    try:
        for file in files:
            at = file.path or ""
            if not at:
                continue
            folder = os.path.dirname(os.path.abspath(at))
            os.makedirs(folder, exist_ok=True)
            for name in _looked_for(file):
                if name in beside:
                    at = os.path.join(folder, "wheels", name)
                    _copy(beside[name], at)
            host.write_text(file.path or "", file.text)
    except OSError as error:
        raise EnvfixError(
            say("cannot write {at}: {strerror}", at=at, strerror=error.strerror or error),
            hint=say("name another file with -o"),
        ) from error


def _looked_for(file: LockedAs) -> list[str]:
    """The files that a lock looks for in the folder ``wheels`` beside it."""
    if file.format == "pylock":
        return re.findall(r'path = "wheels/([^"/]+)"', file.text)
    return files_beside(file.text) if file.format in ("conda-lock", "pixi") else []


def _copy(source: str, target: str) -> None:
    """Put a file beside a lock; another one of that name is left alone, and nobody writes through a link."""
    if os.path.lexists(target):
        if os.path.isfile(target) and filecmp.cmp(source, target, shallow=False):
            return
        raise UsageError(
            say("{target} is there, and it is another file: it is left alone", target=target), hint=say("move it away")
        )
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)


def _notes(made: Lock, files: Sequence[LockedAs], *, downloaded: bool) -> Iterator[str]:
    without = [one.name for one in made.packages if one.file is not None and not (one.file.sha256 or one.file.md5)]
    if without:
        yield (
            say(
                "no index tells the hash of {without}: nothing checks these files later;"
                " --download fetches them and works it out",
                without=", ".join(without),
            )
        )
    looking = [formats.locker(file.format).filename for file in files if _looked_for(file)]
    if looking and not downloaded:
        yield (
            say(
                "{looking}: the files of your default index are looked for in the folder wheels"
                " beside it, because no lock names that index: the first lines say how to fill it,"
                " and --download does it now",
                looking=" and ".join(looking),
            )
        )


# --- update ---


def _old(host: RealHost, request: LockRequest, names: Sequence[str]) -> Lock:
    if request.out is None or len(names) != 1 or not os.path.isfile(request.out):
        raise UsageError(say("--update changes a lock that is there"), hint=say("name it with -o FILE"))
    return _read(host, request.out, names[0])[1]


def _updated(request: LockRequest, old: Lock, reporter: Reporter) -> Sourced:
    """The plan for the machine of the old lock, in which everything stays that may."""
    if old.conda():
        return _conda_updated(request, old, reporter)
    wanted = {str(canonicalize_name(name)) for name in request.update}
    unknown = sorted(wanted - {one.name for one in old.packages})
    if unknown:
        raise UsageError(
            say("{unknown} is not in {out}", unknown=unknown[0], out=request.out),
            hint=say("add a package with --with, without --update"),
        )
    torch = old.package("torch")
    if torch is None:
        raise LockError(
            say("this lock has no torch, and envfix plans stacks around it"), hint=say("write the lock anew")
        )
    moves = wanted | (set(_FAMILY) if wanted & set(_FAMILY) or request.plan.goal.torch else set())
    keeping = {one.name: one.version for one in _of_indexes(old) if one.name not in moves}
    plan = _for_the_same(request.plan, old, None if "torch" in moves else torch)
    goal = msgspec.structs.replace(plan.goal, packages=tuple(_still_asked(old, wanted)) or ("none",))
    plan = msgspec.structs.replace(plan, goal=goal)
    sourced = lock_sources.from_plan(plan, keeping=keeping, reporter=reporter)
    if sourced.lock is None:
        return sourced
    # What no index holds stays as it was, what has not changed is told as before, and so is where the lock came from.
    packages = {one.name: one for one in sourced.lock.packages}
    packages |= {one.name: one for one in old.packages if one not in _of_indexes(old) or _is_same(one, packages)}
    ordered = tuple(packages[name] for name in sorted(packages))
    asked = sourced.lock.asked if old.asked else ()
    lock = msgspec.structs.replace(sourced.lock, packages=ordered, asked=asked, source=old.source)
    return msgspec.structs.replace(sourced, lock=lock)


def _conda_updated(request: LockRequest, old: Lock, reporter: Reporter) -> Sourced:
    """The same for conda packages, which are solved together; what pip brings beside them stays as it is."""
    from envfix.app.conda_stack import Kept

    wanted = {conda_name(str(canonicalize_name(name))) for name in request.update}
    names = {one.name for one in old.conda()}
    wheels = {one.name for one in old.wheels()}
    for name in sorted(wanted - names):
        if name in wheels:
            raise LockError(
                say("{name} is a package of pip beside conda's, and --update changes conda's alone", name=name),
                hint=say(
                    "install the newer one into the environment, then lock that: envfix lock --python ENVIRONMENT"
                ),
            )
        raise UsageError(
            say("{name} is not in {out}", name=name, out=request.out),
            hint=say("lock anew with --with to add a package"),
        )
    torch = next((one for one in old.conda() if one.name == TORCH), None)
    if torch is None:
        raise LockError(
            say("this lock has no {torch}, and envfix plans stacks around it", torch=TORCH),
            hint=say("write the lock anew"),
        )
    moves = wanted | ({TORCH} if request.plan.goal.torch else set())
    plan = _for_the_same(request.plan, old, None if TORCH in moves else torch)
    plan = msgspec.structs.replace(plan, goal=msgspec.structs.replace(plan.goal, packages=("none",)))
    kept = Kept(
        packages=tuple((one.name, one.version, one.build or "") for one in old.conda() if one.name not in moves),
        specs=tuple(_asked_of_conda(old, wanted)),
        channels=old.channels,
    )
    sourced = lock_sources.from_conda_plan(plan, kept=kept, reporter=reporter)
    if sourced.lock is None:
        return sourced
    # What has not changed is told as before, and so is where the lock came from and what was asked for.
    new = {one.name: one for one in sourced.lock.packages}
    new |= {one.name: one for one in old.conda() if _is_same(one, new)}
    lock = msgspec.structs.replace(
        sourced.lock,
        packages=tuple(new[name] for name in sorted(new)),
        specs=sourced.lock.specs if old.specs else (),
        channels=old.channels or sourced.lock.channels,
        source=old.source,
    )
    sourced = msgspec.structs.replace(sourced, lock=lock)
    if not wheels:
        return sourced
    note = say(
        "{wheels}: of pip, kept as before; nobody has checked that they fit the new conda packages",
        wheels=", ".join(sorted(wheels)),
    )
    ordered = tuple(sorted((*lock.packages, *old.wheels()), key=lambda one: (one.name, one.origin == "conda")))
    lock = msgspec.structs.replace(lock, packages=ordered, asked=old.asked)
    return msgspec.structs.replace(sourced, lock=lock, notes=(*sourced.notes, note))


def _asked_of_conda(old: Lock, wanted: set[str]) -> Iterator[str]:
    """What was asked for beside torch and Python; where the lock does not tell, all that nothing else in it needs."""
    specs = {dependency(text)[0]: text for text in old.specs}
    if not specs:
        needed = {dependency(text)[0] for one in old.conda() for text in one.depends}
        specs = {one.name: one.name for one in old.conda() if one.name not in needed}
    for name, text in specs.items():
        if name not in (TORCH, "python"):
            yield name if name in wanted else text


def _for_the_same(plan: PlanRequest, old: Lock, torch: LockedPackage | None) -> PlanRequest:
    """The request for the machine of a lock: its Python, platform and CUDA, and ``torch`` where that stays."""
    goal = plan.goal
    if goal.cuda == "auto" and old.needs.variant:
        # The same CUDA, also on a machine that has no card: that is what the lock is for.
        goal = msgspec.structs.replace(goal, cuda=old.needs.variant)
    if torch is not None:
        exact = old.needs.variant.startswith("cu")
        goal = msgspec.structs.replace(goal, torch=f"=={torch.version.partition('+')[0]}", cuda_exact=exact)
    return msgspec.structs.replace(
        plan,
        goal=goal,
        target=plan.target or old.needs.python or None,
        platform=plan.platform or old.needs.platform or None,
    )


def _is_same(one: LockedPackage, packages: Mapping[str, LockedPackage]) -> bool:
    """Whether the very file that was locked is the one that comes."""
    new = packages.get(one.name)
    return new is not None and new.file is not None and one.file is not None and _same_sums(one.file, new.file) is True


def _same_sums(one: LockedFile, other: LockedFile) -> bool | None:
    """Whether two files are the same by every checksum that both tell; None where they have none in common."""
    known = [row for row in ((one.sha256, other.sha256), (one.md5, other.md5)) if all(row)]
    return all(mine == theirs for mine, theirs in known) if known else None


def _of_indexes(old: Lock) -> list[LockedPackage]:
    return [one for one in old.packages if one.origin in ("wheel", "sdist")]


def _still_asked(old: Lock, wanted: set[str]) -> Iterator[str]:
    """What was asked for beside torch; all packages, where the lock does not tell."""
    for text in old.asked or [one.name for one in _of_indexes(old)]:
        try:
            name = str(canonicalize_name(Requirement(text).name))
        except InvalidRequirement:
            continue
        if name != "torch":
            yield name if name in wanted or name in _FAMILY else text


def _changed(old: Lock, new: Lock) -> Iterator[tuple[str, str | None, str | None]]:
    before, after = ({one.name: one.version for one in lock.packages} for lock in (old, new))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


# --- check ---


def _read(host: RealHost, path: str, format_name: str | None) -> tuple[Locker, Lock]:
    answer = host.read_text(path, limit=_LIMIT)
    if answer.outcome != "read":
        raise LockFileError(
            say("cannot read {path}: {problem}", path=path, problem=answer.problem or say("there is no such file"))
        )
    if len(answer.text) >= _LIMIT:
        raise LockFileError(
            say("{path} is larger than {limit} MB: that is no lock", path=path, limit=_LIMIT // 1_000_000)
        )
    name = os.path.basename(path)
    found = formats.locker(format_name) if format_name is not None else formats.recognised(answer.text, name)
    try:
        return found, found.read(answer.text)
    except LockFileError as error:
        error.message = f"{path}: {error.message}"
        error.args = (error.message,)
        raise
    except RecursionError as error:
        raise LockFileError(say("{path}: it is nested too deep to be a lock", path=path)) from error


def _missing_needs(read: Lock) -> Iterator[str]:
    if not read.needs.tag:
        yield say("this lock does not say what machine it needs: envfix has not written it")


def _differences(host: RealHost, locked: Lock, environment: Environment) -> Iterator[Difference]:
    assert environment.interpreter.value is not None  # noqa: S101 - the caller has looked
    found = rows_here(host, environment.interpreter.value)
    layout = changes.layout_for(environment.interpreter.value)
    rows = changes.there_now(layout)
    there = {str(canonicalize_name(row.name)): row for row in found.rows}
    conda_there = {one.name: one for one in found.conda}
    for one in locked.packages:
        if one.origin == "conda":
            yield from _conda_difference(host, layout.prefix, one, conda_there.get(one.name))
        elif one.name not in SEEDED:
            yield from _difference(one, there.get(one.name)) or _damage(host, rows.get(one.name, ()), one)
    names = {one.name for one in locked.wheels()}
    for name, row in sorted(there.items()):
        if name not in names:
            yield Difference(name=name, kind="extra", there=row.version)
    names = {one.name for one in locked.conda()}
    if names:
        for name, package in sorted(conda_there.items()):
            if name not in names:
                yield Difference(name=name, kind="extra", there=_with_build(package))


def _taken_by_uv(host: RealHost, path: str, locked: Lock) -> Iterator[Difference]:
    """Files that uv has written into its own lock beside the project although they are not those that were locked.

    A pyproject.toml has no place for the hash of a file of the default index, so uv believes what it finds at its first lock.
    """
    answer = host.read_text(os.path.join(os.path.dirname(path), "uv.lock"), limit=_LIMIT)
    if answer.outcome != "read":
        return
    try:
        read_toml(answer.text)
    except LockFileError as error:
        raise LockFileError(say("uv.lock beside it: {message}", message=error.message)) from error
    there = set(re.findall(r"sha256:([0-9a-f]{64})", answer.text))
    for one in locked.wheels():
        if one.file is not None and one.file.sha256 is not None and one.file.sha256 not in there:
            yield Difference(name=one.name, kind="changed", locked=one.version, there=say("another file in uv.lock"))


def _difference(one: LockedPackage, row: There | None) -> list[Difference]:
    """Another version, another build, or another origin than the locked one."""
    if row is None:
        return [Difference(name=one.name, kind="missing", locked=one.version)]
    if not same_version(row.version, one.version):
        return [Difference(name=one.name, kind="changed", locked=one.version, there=row.version)]
    if one.file is not None and row.tags and not lock_sources.fits(one.file.filename, row.tags):
        there = f"{row.version} ({row.tags[0]})"
        return [Difference(name=one.name, kind="changed", locked=f"{one.version} ({one.file.filename})", there=there)]
    origin = _other_origin(one, directly(row))
    return [] if origin is None else [Difference(name=one.name, kind="changed", locked=one.version, there=origin)]


def _other_origin(one: LockedPackage, own: LockedPackage | None) -> str | None:
    """What is there in place of the locked file, address or commit; None where nothing speaks against it."""
    if own is None:  # it came from an index, as far as anybody has written down
        if one.origin != "direct":
            return None
        return say("installed, and nothing says that it came from {address}", address=one.direct_url)
    if own.file is not None and one.file is not None:
        return _other_file(own.file, one.file)
    if own.origin == one.origin and (one.origin != "direct" or own.direct_url == one.direct_url):
        return None
    return say("another one: {note}", note=retold(own.note or own.direct_url or ""))


def _other_file(there: LockedFile, locked: LockedFile) -> str | None:
    """What speaks against the file that is there being the locked one: its checksum, or else its address."""
    same = _same_sums(there, locked)
    if same is not None:
        return None if same else say("of another file")
    if not (there.url and locked.url) or there.url == locked.url:
        return None
    return say("from another address, and no hash tells whether it is the same file: {url}", url=there.url)


def _damage(host: RealHost, rows: Sequence[changes.Installed], one: LockedPackage) -> list[Difference]:
    """Files of a package that are gone, or are not what its own list says."""
    there = _in_words(*changes.damaged_files(rows, lambda path: _record(host, path)))
    return [] if there is None else [Difference(name=one.name, kind="changed", locked=one.version, there=there)]


def _in_words(gone: int, other: int) -> str | None:
    """How many files are gone and how many are not what they were; None where all is well."""
    parts = (
        say("{gone} of its files gone", gone=gone) if gone else "",
        say("{other} of its files changed", other=other) if other else "",
    )
    return say("installed, with {filter}", filter=" and ".join(filter(None, parts))) if gone or other else None


def _conda_difference(
    host: RealHost, prefix: str, one: LockedPackage, package: LockedPackage | None
) -> list[Difference]:
    if package is None:
        return [Difference(name=one.name, kind="missing", locked=_with_build(one))]
    there = None
    if (package.version, package.build) != (one.version, one.build):
        there = _with_build(package)
    elif package.file is not None and one.file is not None:
        there = _other_file(package.file, one.file)
    if there is None:
        there = _in_words(*changes.damaged_conda_files(prefix, package.name, lambda path: _record(host, path)))
    return [] if there is None else [Difference(name=one.name, kind="changed", locked=_with_build(one), there=there)]


def _record(host: RealHost, path: str) -> str:
    return host.read_text(path, limit=_RECORD_LIMIT).text


def _with_build(one: LockedPackage) -> str:
    return f"{one.version} {one.build or ''}".strip()

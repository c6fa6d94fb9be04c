"""Changes an environment so that it ends as the new one or as the old one, whole: lock, journal, install, prove, or take back."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
from packaging.utils import canonicalize_name

from envfix.errors import EnvfixError, InstallError
from envfix.host import journal, signals
from envfix.host.interface import Host
from envfix.host.journal import Journal, Listing, Restored
from envfix.host.locking import EnvironmentLock, locked
from envfix.installer import changes as changing
from envfix.installer.changes import Arriving, Changes, Layout
from envfix.installer.interface import PermissionsError, SpaceError
from envfix.lockers.constraints import FILENAME
from envfix.model.language import later, look_up, say
from envfix.model.outcome import Installation, Verification
from envfix.model.reporter import Reporter

# How long a second envfix waits for the first one, in seconds.
PATIENCE = 60.0
AS_BEFORE = later("the environment is as it was before")
_RECORD_LIMIT = 50_000_000


class Proof(Protocol):
    """Climbs the ladder in the environment of an interpreter; None: there is nothing to prove."""

    def __call__(self, python: str) -> Verification | None:
        """The verification."""


class Work(Protocol):
    """Installs into the environment; the lock is handed on to every program that writes there."""

    def __call__(self, python: str, lock: EnvironmentLock) -> Installation:
        """What was installed; raises ``InstallError``."""


class _CondaPath(msgspec.Struct, frozen=True):
    path: str = msgspec.field(name="_path")
    sha256: str | None = None
    sha256_in_prefix: str | None = None


class _CondaPaths(msgspec.Struct, frozen=True):
    paths: tuple[_CondaPath, ...] = ()


class _CondaRecord(msgspec.Struct, frozen=True):
    paths_data: _CondaPaths = _CondaPaths()


class Unproven(InstallError):  # noqa: N818 - not an error of envfix: the verification's own answer
    """It was installed and failed its verification, so it was taken back."""

    reference = "verification"
    exit_code = 4

    def __init__(self, installation: Installation) -> None:
        super().__init__(
            say("it was installed, but verification failed"), hint=say("--keep leaves it as it is, to look at")
        )
        self.installation = installation


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation may touch in an environment: folders, further files, and by ``plan`` what of it has to be kept.

    ``arriving`` is what comes (None: not known beforehand), ``ours`` are the packages it belongs to. ``check`` looks
    afterwards whether all has come that should; it raises ``InstallError``. ``digests`` are the sha256 of what has come.
    """

    layout: Layout
    zones: tuple[str, ...]
    singles: tuple[str, ...]
    plan: Callable[[Listing], Changes]
    check: Callable[[], None]
    digests: Callable[[], dict[str, str]]
    arriving: Arriving | None
    ours: tuple[str, ...]


def by_wheels(
    host: Host, layout: Layout, wanted: Mapping[str, str], incoming: Mapping[str, Sequence[str]] | None
) -> Touched:
    """What wheels touch. ``wanted`` are the exact versions, ``incoming`` the paths they lay down (None: not known)."""

    def plan(before: Listing) -> Changes:
        return changing.changes(layout, before, wanted, incoming, lambda path: _read(host, path))

    return Touched(
        layout=layout,
        zones=layout.zones,
        singles=_singles(layout, incoming),
        plan=plan,
        check=lambda: _all_there(layout, wanted),
        digests=lambda: changing.digests_of(layout, wanted, lambda path: _read(host, path)),
        arriving=changing.arriving(layout, incoming),
        ours=tuple(canonicalize_name(name) for name in wanted),
    )


def by_conda(layout: Layout, created: Sequence[str], kept: Sequence[str], replaced: Mapping[str, str]) -> Touched:
    """What conda packages touch, by paths in the environment: what comes, and what is there and goes or is written over."""
    paths = [os.path.join(layout.prefix, path) for path in (*created, *kept)]
    # A folder that is not there yet goes with what comes into it.
    folders = {folder for path in paths for folder in _missing(os.path.dirname(path))}
    history = os.path.join(layout.prefix, "conda-meta", "history")

    def plan(before: Listing) -> Changes:
        there = [
            path for path in dict.fromkeys(paths) if path in before and before[path].kind != "d" and path != history
        ]
        return Changes(
            added={},
            replaced={name: (old, "") for name, old in replaced.items()},
            mended=(),
            move=(),
            keep=tuple(there),
            as_bytes=(history,) if history in before else (),
        )

    records = os.path.join(layout.prefix, "conda-meta")
    singles = dict.fromkeys((*layout.singles, *paths, *sorted(folders)))
    return Touched(
        layout=layout,
        zones=(records,),
        singles=tuple(singles),
        plan=plan,
        check=lambda: None,
        digests=lambda: _conda_digests(layout.prefix),
        arriving=Arriving(files=tuple(singles), folders=(records,)),
        ours=tuple(replaced),
    )


def into_existing(
    touched: Touched, python: str, *, what: str, work: Work, prove: Proof, keep: bool, reporter: Reporter
) -> Installation:
    """Install into an environment that is there; whatever goes wrong, it is put back.

    Raises ``InstallError``; ``Unproven`` where the verification fails, unless ``keep`` or others fill the card.
    """
    layout = touched.layout
    with _held(layout.prefix, reporter) as lock:
        log = Journal(layout.prefix)
        with _taken_back_on_failure(layout.prefix, reporter):
            with _disk_trouble(layout.prefix):
                comes = touched.arriving
                before = log.begin(
                    what,
                    zones=touched.zones,
                    singles=touched.singles,
                    litter=layout.litter,
                    coming=None if comes is None else (comes.files, comes.folders),
                )
                planned = touched.plan(before)
                _refuse_protected(planned)
                singles = [path for path in layout.singles if path in before]
                links = [path for path in singles if before[path].kind == "l"]
                as_bytes = (*planned.as_bytes, *(path for path in singles if path not in links))
                log.keep(as_bytes, as_bytes=True)
                log.keep([path for path in planned.keep if path not in (*as_bytes, *links)])
                # Nobody writes through a link to elsewhere.
                log.move_aside((*planned.move, *links))
            installation = work(python, lock)
            touched.check()
            return _ended(log, touched, _proven(installation, prove(python), keep=keep), planned)


def into_new(
    path: str,
    make: Callable[[EnvironmentLock], str],
    touched: Callable[[Layout], Touched],
    *,
    what: str,
    work: Work,
    prove: Proof,
    keep: bool,
    reporter: Reporter,
) -> Installation:
    """Make an environment at ``path`` (``make`` returns its interpreter) and install into it; a failure removes it again.

    ``touched`` says of its layout, once it is made, what the installation brings.
    """
    had_folder = os.path.isdir(path)
    made = list(_missing(path))
    try:
        with _disk_trouble(path):
            os.makedirs(path, exist_ok=True)
        with _held(path, reporter) as lock:
            log = Journal(path)
            with _taken_back_on_failure(path, reporter):
                with _disk_trouble(path):
                    log.begin_new(what, had_folder=had_folder, seal=FILENAME, litter=changing.layout_of(path).litter)
                python = make(lock)
                comes = touched(changing.layout_of(path))
                with _disk_trouble(path):
                    # Where it is not known beforehand what comes, all that lies where packages belong does.
                    brings = comes.arriving or Arriving(files=comes.layout.singles, folders=comes.layout.zones)
                    log.expect((*journal.listing((path,), ()), *brings.files), brings.folders)
                installation = work(python, lock)
                comes = touched(changing.layout_of(path))
                with _disk_trouble(path):
                    log.complete()
                return _ended(log, comes, _proven(installation, prove(python), keep=keep), None)
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # only an empty one goes; the lock was in the innermost until now
                os.rmdir(folder)


def take_back(prefix: str, reporter: Reporter) -> Restored | None:
    """Put an environment back where an earlier installation did not end; None where there is nothing of the kind.

    Raises ``BusyError`` while that installation still runs, ``PermissionsError`` where this user may not.
    """
    if not journal.has_pending(prefix):
        return None
    with _held(prefix, reporter, patience=0.0, recover=False):
        restored = journal.roll_back(prefix)
    _remove_emptied(prefix, restored)
    return restored


def undo(prefix: str, reporter: Reporter, also: Sequence[str] = (), *, began: float | None = None) -> Restored | None:
    """Take the last installation back (the one that ``began`` then), and the files in ``also``; raises ``JournalError``."""
    with _held(prefix, reporter):
        entry = journal.undoable(prefix)
        if entry is not None and began is not None and entry.began != began:
            raise journal.JournalError(
                say("another installation has ended in {prefix} meanwhile; nothing was undone", prefix=prefix),
                hint=say("run `envfix undo` again to take that one back"),
            )
        with signals.undisturbed():
            restored = journal.undo(prefix, also)
    _remove_emptied(prefix, restored)
    return restored


def _remove_emptied(prefix: str, restored: Restored | None) -> None:
    """The folder of a removed environment goes too, now that nothing is locked in it; one that was there before stays."""
    if restored is not None and restored.whole and not restored.had_folder:
        with contextlib.suppress(OSError):
            os.rmdir(prefix)


def forget(prefix: str, reporter: Reporter) -> bool:
    """Delete what is kept for ``undo``; whether there was anything."""
    with _held(prefix, reporter):
        return journal.forget(prefix)


def changed_since(layout: Layout, entry: journal.Entry) -> tuple[str, ...]:
    """Packages of the installation that are there in another version now: taking it back takes these away."""
    now = _everything(layout)
    return tuple(name for name in sorted(entry.ours) if name in now and now[name] != entry.distributions.get(name))


def came_since(layout: Layout, entry: journal.Entry) -> tuple[str, ...]:
    """Other packages that were installed or changed after the installation: they stay."""
    now = _everything(layout)
    return tuple(
        f"{name} {version}"
        for name, version in sorted(now.items())
        if name not in entry.ours and entry.distributions.get(name) != version
    )


def versions(layout: Layout) -> dict[str, str]:
    """The distributions that are there now, by canonical name."""
    there = changing.there_now(layout)
    return {name: rows[0].version for name, rows in there.items() if rows[0].version}


def _everything(layout: Layout) -> dict[str, str]:
    """The same with conda's packages, by their records."""
    records = glob.glob(os.path.join(glob.escape(layout.prefix), "conda-meta", "*.json"))
    told = [os.path.basename(record).removesuffix(".json").rsplit("-", 2) for record in records]
    return versions(layout) | {f"{row[0]} (conda)": "-".join(row[1:]) for row in told if len(row) == 3}


def restored_in_words(restored: Restored) -> str:
    """What was put back, for people."""
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(restored.began))
    head = say("an installation that began at {began} did not end ({what})", began=began, what=restored.what)
    if restored.whole:
        return say("{head}: the unfinished environment was removed", head=head)
    if restored.complete:
        return say(
            "{head}, but the environment is complete and stays: `envfix verify` proves it, `envfix undo` removes it",
            head=head,
        )
    some = ", ".join(restored.left[:3]) + (
        say(" and {number} more", number=len(restored.left) - 3) if len(restored.left) > 3 else ""
    )
    if restored.left and not restored.back and not restored.removed and not restored.differing:
        return say(
            "{head}: what it left stays, because there is something in it that is not of it: {some}",
            head=head,
            some=some,
        )
    counts = say("{back} files put back, {removed} removed", back=restored.back, removed=restored.removed)
    stays = say("; not of it, and left: {some}", some=some) if restored.left else ""
    if restored.differing:
        others = ", ".join(restored.differing[:3])
        return say(
            "{head}: {counts}, but {number} are not as they were: {others}{stays}",
            head=head,
            counts=counts,
            number=len(restored.differing),
            others=others,
            stays=stays,
        )
    return f"{head}: {look_up(AS_BEFORE)} ({counts}{stays})"


@contextlib.contextmanager
def _held(
    prefix: str, reporter: Reporter, *, patience: float = PATIENCE, recover: bool = True
) -> Iterator[EnvironmentLock]:
    """Hold the environment's lock, and put back what an earlier installation has left."""
    journal.refuse_links(prefix)
    with contextlib.ExitStack() as stack:
        with _disk_trouble(prefix):
            lock = stack.enter_context(locked(prefix, patience=patience, on_wait=reporter.stage))
        if recover:
            restored = journal.roll_back(prefix)
            if restored is not None:
                reporter.note(restored_in_words(restored))
        yield lock


@contextlib.contextmanager
def _taken_back_on_failure(prefix: str, reporter: Reporter) -> Iterator[None]:
    """Whatever fails inside, Ctrl-C included, is taken back before it goes on."""
    with signals.as_interruptions():
        try:
            yield
        except BaseException as error:
            is_back, note = _take_back_now(prefix, reporter)
            if isinstance(error, Unproven) and not is_back:
                raise InstallError(
                    say(
                        "{error} ({failed_rung}), and it could not be taken back: {note}",
                        error=error.message,
                        failed_rung=_failed_rung(error.installation),
                        note=note,
                    ),
                    hint=say("run `envfix undo` in that environment when the reason is gone"),
                ) from error
            if isinstance(error, EnvfixError):
                error.message = error.message if look_up(AS_BEFORE) in error.message else f"{error.message}\n{note}"
                error.args = (error.message,)
            else:
                with contextlib.suppress(OSError, ValueError):  # nobody may be listening any more
                    reporter.note(note)
            raise


def _failed_rung(installation: Installation) -> str:
    failed = installation.verification.failed if installation.verification else None
    return failed.message or failed.name if failed else say("no rung")


def _take_back_now(prefix: str, reporter: Reporter) -> tuple[bool, str]:
    """Whether all is as it was before, and what to say of it."""
    with signals.undisturbed():
        with contextlib.suppress(OSError, ValueError):
            reporter.stage(say("putting the environment back"))
        try:
            restored = journal.roll_back(prefix, complete_stays=False)
        except (OSError, EnvfixError) as error:
            why = reason(error) if isinstance(error, OSError) else error
            note = say(
                "the environment could not be put back yet ({why}); the next envfix command in it tries again", why=why
            )
            return False, note
    if restored is None:
        return True, look_up(AS_BEFORE)
    if restored.whole:
        return True, say("the unfinished environment {prefix} was removed again", prefix=prefix)
    if restored.differing:
        some = ", ".join(restored.differing[:3])
        return False, say("{number} files are not as they were: {some}", number=len(restored.differing), some=some)
    return True, look_up(AS_BEFORE)


def reason(error: OSError) -> str:
    """What the system says, and of which file."""
    return f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error.strerror or error)


def _refuse_protected(planned: Changes) -> None:
    """Raise ``PermissionsError`` where what is replaced lies in a folder that its owner has protected."""
    for path in planned.move:
        is_folder = os.path.isdir(path) and not os.path.islink(path)
        for folder in (os.path.dirname(path), *((path,) if is_folder else ())):
            if not os.access(folder, os.W_OK):
                raise PermissionsError(
                    say("{folder} is write-protected, and the packages in it are to be replaced", folder=folder),
                    hint=say(
                        "allow it with `chmod -R u+w {folder}`, or make an environment of its own with --new-env PATH",
                        folder=folder,
                    ),
                )


@contextlib.contextmanager
def _disk_trouble(prefix: str) -> Iterator[None]:
    """What the disk refuses while envfix itself writes, as an error of envfix."""
    try:
        yield
    except PermissionError as error:
        raise PermissionsError(
            say("you may not write to {filename}", filename=error.filename or prefix),
            hint=say("make an environment of your own with --new-env PATH"),
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SpaceError(
                say("{prefix} cannot be changed safely: {strerror}", prefix=prefix, strerror=error.strerror or error),
                hint=say("free some room, or make an environment on another disk with --new-env PATH"),
            ) from error
        raise PermissionsError(
            say("{prefix} cannot be changed: {reason}", prefix=prefix, reason=reason(error)),
            hint=say("make an environment elsewhere with --new-env PATH"),
        ) from error


def _proven(installation: Installation, verification: Verification | None, *, keep: bool) -> Installation:
    proven = msgspec.structs.replace(installation, verification=verification)
    if verification is None or verification.status != "failed" or keep:
        return proven
    if verification.waits_for_others:
        note = say(
            "it stays installed: a full card says nothing against it; `envfix verify` proves it when there is room"
        )
        return msgspec.structs.replace(proven, notes=(*installation.notes, note))
    raise Unproven(msgspec.structs.replace(proven, taken_back=True))


def _ended(log: Journal, touched: Touched, installation: Installation, planned: Changes | None) -> Installation:
    """Write down that all went well. From here on, only ``envfix undo`` takes it back."""
    if planned is not None:
        installation = msgspec.structs.replace(
            installation, replaced={name: old for name, (old, _) in planned.replaced.items()}
        )
    with signals.undisturbed(), _disk_trouble(installation.prefix):
        log.commit(_everything(touched.layout), touched.ours, touched.digests())
    return installation


def _all_there(layout: Layout, wanted: Mapping[str, str]) -> None:
    """The installer said it is done; its packages must be there in these versions. Raises ``InstallError``."""
    there = changing.there_now(layout)
    for name, version in wanted.items():
        versions = [row.version for row in there.get(canonicalize_name(name), ())]
        if not any(changing.same_version(one, version) for one in versions):
            found = say(" and ").join(versions) or say("nothing")
            raise InstallError(
                say(
                    "the installer said it was done, but {name} {version} is not there ({found} is)",
                    name=name,
                    version=version,
                    found=found,
                ),
                hint=say("try again; if it happens again, make a fresh environment with --new-env PATH"),
            )


def _singles(layout: Layout, incoming: Mapping[str, Sequence[str]] | None) -> tuple[str, ...]:
    """What may come outside the zones: files that the wheels bring for the prefix itself, and new folders for them."""
    places = [place for paths in (incoming or {}).values() for path in paths for place in changing.places(path, layout)]
    zones, within = tuple(zone + os.sep for zone in layout.zones), layout.prefix + os.sep
    more = (place for place in dict.fromkeys(places) if place.startswith(within) and not place.startswith(zones))
    files = tuple(more)
    folders = {folder for path in files for folder in _missing(os.path.dirname(path))}
    return (*layout.singles, *files, *sorted(folders))


def _conda_digests(prefix: str) -> dict[str, str]:
    """The sha256 of the files of all conda packages, as their records tell."""
    digests: dict[str, str] = {}
    for record in glob.glob(os.path.join(glob.escape(prefix), "conda-meta", "*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError), open(record, "rb") as stream:
            told = msgspec.json.decode(stream.read(), type=_CondaRecord)
            for one in told.paths_data.paths:
                digests[os.path.join(prefix, one.path)] = one.sha256_in_prefix or one.sha256 or ""
    return digests


def _missing(path: str) -> Iterator[str]:
    """The folder and those above it that are not there, the innermost first."""
    while not os.path.lexists(path):
        yield path
        path = os.path.dirname(path)


def _read(host: Host, path: str) -> str:
    return host.read_text(path, limit=_RECORD_LIMIT).text

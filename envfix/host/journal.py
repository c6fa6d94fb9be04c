"""Keeps an environment's files while it is changed, so that it can be put back byte for byte: after Ctrl-C, kill -9, a full disk.

Everything lies in ``PREFIX/.envfix``: ``lock`` (who works on the environment), ``pending`` (a change that has not ended well
yet) and ``undo`` (the last one that has). A change begins with a listing of what is there and an entry that says it has
begun; both are on the disk before the first file moves. What will be replaced is then moved aside: a rename takes no time and
no room, and keeps the file as it was. What may be overwritten is kept by reflink or hard link, what programs write into, and
what lies on another file system, byte by byte.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import glob
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from envfix.errors import EnvfixError
from envfix.host.hashing import sha256_of
from envfix.model.language import say

FOLDER = ".envfix"
_PENDING, _UNDO, _ENTRY = "pending", "undo", "journal.json"
_KEPT, _BEFORE, _AFTER, _COMING = "kept", "before", "after", "coming"
# Where files go that somebody has changed since, when an undo puts the older ones in their place.
_EDITED = "edited"
_SCHEMA = "envfix.journal/2"
# All that a virtual environment consists of before anything is installed into it.
_BARE_ENVIRONMENT = re.compile(
    r"pyvenv\.cfg|\.gitignore|CACHEDIR\.TAG|\.lock|\.tmp.*|lib64|(?:bin|Scripts)/(?:[Aa]ctivate[\w.]*|deactivate\.bat|pydoc\.bat|python[\w.-]*)"
    r"|(?:lib/python[\d.]+t?|Lib)/site-packages/_virtualenv\.(?:py|pth)"
)
# What a killed installer leaves: uv's folders begin with a dot, rattler tries whether it can make links.
_LITTER = re.compile(r"(?:\.[\w.-]+|symtest_)\*")
_WORKSHOP = re.compile(r"[/\\](?:\.tmp|~|\.envfix-|symtest_[0-9a-f-]{36}$)[^/\\]*(?:[/\\]|$)")
# Files up to this size, in bytes, are compared by their content where nobody has told their hash.
_WORTH_HASHING = 16_000_000
# Seconds without any change after which nothing of that installation runs any more: what is written later is somebody else's.
_QUIET = 900.0
# What file systems answer where they cannot link or rename: then bytes are copied.
_CANNOT = {
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EACCES,
    errno.ENOTTY,
}


class JournalError(EnvfixError):
    """The kept files cannot be read or put back; the message says what to do by hand."""

    reference = "journal"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is being done, and how far it is. ``zones`` are the folders that may change, ``singles`` further files.

    All paths are relative to the environment, which may be moved; none leads out of it. ``litter`` are patterns of what a
    killed installer leaves elsewhere. ``new``: the whole environment is being made (``had_folder``: an empty folder was
    there), and it is complete once the file ``seal`` is there. ``done``: it has ended well and can be undone. ``ours`` are the
    packages that it installed, ``distributions`` all that were there at its end. ``undoing``: it is being taken back after its
    end, and so are the files in ``also``.
    """

    schema: str
    state: Literal["new", "running", "done"]
    began: float
    what: str
    zones: tuple[str, ...] = ()
    singles: tuple[str, ...] = ()
    litter: tuple[str, ...] = ()
    distributions: dict[str, str] = {}
    ours: tuple[str, ...] = ()
    is_new: bool = False
    had_folder: bool = False
    seal: str | None = None
    undoing: bool = False
    also: tuple[str, ...] = ()


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A file, folder or link that was there: ``kind`` is f, d or l; ``size`` in bytes, ``modified`` in nanoseconds.

    ``access`` is its mode, owner and group. Another ``inode`` is another file, even where all else is the same.
    ``digest`` is the sha256 of its bytes in hexadecimal, or the target of a link, where that is known.
    """

    kind: str
    size: int
    modified: int
    access: tuple[int, int, int] = (0, 0, 0)
    inode: int = 0
    digest: str = ""


Listing = dict[str, Listed]


class _Coming(msgspec.Struct, frozen=True):
    """What a change brings, relative to the environment: files, and folders with all that is in them."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was put back: the change it was, how many files came back or went, and what is not as it was.

    ``left`` is what came meanwhile and is not of the change: it stays. ``edited`` are files that somebody has changed since the
    change ended: the older ones are in their place, and they lie in ``edited_in``. ``whole``: the environment itself was removed
    (``had_folder``: its empty folder was there before, and stays). ``complete``: it had been made to the end, and stays.
    """

    what: str
    began: float
    back: int = 0
    removed: int = 0
    differing: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    edited_in: str | None = None
    whole: bool = False
    had_folder: bool = False
    complete: bool = False


def has_pending(prefix: str) -> bool:
    """Whether a change of this environment has begun and not ended well: one look at the disk."""
    return os.path.lexists(os.path.join(prefix, FOLDER, _PENDING, _ENTRY))


def refuse_links(prefix: str) -> None:
    """Raise ``JournalError`` where envfix's own folders are links: what is kept lies in the environment itself."""
    home = os.path.join(prefix, FOLDER)
    for parts in ((), (_PENDING,), (_UNDO,), (_PENDING, _KEPT), (_UNDO, _KEPT), (_EDITED,)):
        path = os.path.join(home, *parts)
        if os.path.islink(path):
            raise JournalError(
                say("{path} is a link, which envfix does not follow", path=path), hint=say("remove the link")
            )


def undoable(prefix: str) -> Entry | None:
    """The last change that ended well and can be taken back."""
    return _read_entry(os.path.join(prefix, FOLDER, _UNDO))


def kept_bytes(prefix: str) -> int:
    """How much room the kept files take that are nowhere else."""
    total = 0
    for folder, _, names in os.walk(os.path.join(prefix, FOLDER, _UNDO)):
        for name in names:
            with contextlib.suppress(OSError):
                told = os.lstat(os.path.join(folder, name))
                total += told.st_size if told.st_nlink == 1 else 0
    return total


class Journal:
    """One change of an environment, from ``begin`` to ``commit``; in between ``roll_back`` takes it back at any moment."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._folder = os.path.join(prefix, FOLDER, _PENDING)
        self._entry: Entry | None = None
        self._before: Listing = {}

    def begin(
        self,
        what: str,
        *,
        zones: Sequence[str],
        singles: Sequence[str],
        litter: Sequence[str] = (),
        coming: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> Listing:
        """Write down what is there now; raises ``OSError``. Nothing has changed yet when this returns.

        ``coming`` are the files that will come, and the folders with all that is in them (see ``expect``).
        """
        _remove(self._folder)
        os.makedirs(os.path.join(self._folder, _KEPT), mode=0o700)
        self._entry = Entry(
            schema=_SCHEMA,
            state="running",
            began=time.time(),
            what=what,
            zones=tuple(
                os.path.relpath(_inside(self.prefix, os.path.relpath(zone, self.prefix)), self.prefix)
                for zone in _outermost(zones)
            ),
            singles=tuple(map(self._relative, singles)),
            litter=tuple(litter),
        )
        self._before = _listing_of(self.prefix, self._entry)
        _write(os.path.join(self._folder, _BEFORE), _packed(self.prefix, self._before))
        if coming is not None:
            self.expect(*coming)
        _write(os.path.join(self._folder, _ENTRY), msgspec.json.encode(self._entry))
        return self._before

    def begin_new(self, what: str, *, had_folder: bool, seal: str | None = None, litter: Sequence[str] = ()) -> None:
        """A whole environment is going to be made in this folder, the file ``seal`` last; raises ``OSError``."""
        os.makedirs(os.path.join(self._folder, _KEPT), mode=0o700)
        self._entry = Entry(
            schema=_SCHEMA,
            state="new",
            began=time.time(),
            what=what,
            is_new=True,
            had_folder=had_folder,
            seal=seal,
            litter=tuple(litter),
        )
        _write(os.path.join(self._folder, _ENTRY), msgspec.json.encode(self._entry))

    def expect(self, files: Iterable[str], folders: Iterable[str]) -> None:
        """Write down what will come: only that goes when the change is taken back before its end.

        Without it, everything goes that is new in the zones. Called again, it adds to what was said.
        """
        told = _expected(self._folder) or _Coming()
        more = _Coming(
            files=(*told.files, *map(self._told, files)),
            folders=(*told.folders, *map(self._told, folders)),
        )
        _write(os.path.join(self._folder, _COMING), msgspec.json.encode(more))

    def move_aside(self, paths: Iterable[str]) -> None:
        """Take files and folders that will be replaced out of the way."""
        for path in paths:
            if not _tried(os.rename, path, self._place(path)):
                self._keep_bytes(path)
                _remove(path)

    def keep(self, paths: Iterable[str], *, as_bytes: bool = False) -> None:
        """Keep files that stay where they are but may be overwritten; ``as_bytes`` those that are written into."""
        for path in paths:
            if as_bytes or not _tried(_hard_link, path, self._place(path)):
                self._keep_bytes(path)

    def _keep_bytes(self, path: str) -> None:
        """Copy it; whoever is interrupted must not find half a copy among what is put back."""
        half = os.path.join(self._folder, "half")
        _remove(half)
        _copy(path, half)
        os.rename(half, self._place(path))

    def complete(self) -> None:
        """Write down that a new environment holds all that it should: from here on it is not removed for being unfinished."""
        _write(os.path.join(self._folder, _AFTER), _packed(self.prefix, listing((self.prefix,), ())))

    def commit(
        self, distributions: dict[str, str], ours: Iterable[str], digests: Mapping[str, str] | None = None
    ) -> None:
        """The change has ended well; its kept files replace those of the change before.

        ``digests`` are the sha256 of files that it brought, by path: an undo tells by them what somebody has changed since.
        """
        assert self._entry is not None  # noqa: S101 - begin comes first
        if not self._entry.is_new:
            after = _listing_of(self.prefix, self._entry)
            told = {
                path: _with_digest(path, one, digests or {})
                for path, one in after.items()
                if one != self._before.get(path)
            }
            _write(os.path.join(self._folder, _AFTER), _packed(self.prefix, after | told), sync=False)
        done = msgspec.structs.replace(self._entry, state="done", distributions=distributions, ours=tuple(ours))
        _write(os.path.join(self._folder, _ENTRY), msgspec.json.encode(done))
        _settle_done(self.prefix)

    def _place(self, path: str) -> str:
        """Where the file is kept; its folder is made."""
        kept = os.path.join(self._folder, _KEPT, self._relative(path))
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        return kept

    def _told(self, path: str) -> str:
        begin = self.prefix.rstrip(os.sep) + os.sep
        # Thousands of paths: working out the relative one in general takes longer than all the rest.
        is_plain = path.startswith(begin) and os.pardir not in path
        return _as_text(path[len(begin) :] if is_plain else os.path.relpath(path, self.prefix))

    def _relative(self, path: str) -> str:
        relative = os.path.relpath(path, self.prefix)
        _inside(self.prefix, relative, follows=False)
        return relative


def roll_back(prefix: str, *, complete_stays: bool = True) -> Restored | None:
    """Take an unfinished change back; None where there is none. Can be interrupted and called again.

    A new environment that was made to the end stays, unless ``complete_stays`` says that it is not wanted. The caller holds the
    lock. Raises ``JournalError`` when the entry is damaged, ``OSError`` when the disk refuses.
    """
    folder = os.path.join(prefix, FOLDER, _PENDING)
    if not os.path.lexists(os.path.join(folder, _ENTRY)):
        _remove(folder)  # an entry that was never finished: nothing had changed
        return None
    entry = _read_entry(folder)
    if entry is None:
        raise JournalError(
            say(
                "the journal of an unfinished installation cannot be read: {folder}/{entry}",
                folder=folder,
                entry=_ENTRY,
            ),
            hint=say(
                "the files it kept are in {folder}/{kept}; make a fresh environment with --new-env PATH",
                folder=folder,
                kept=_KEPT,
            ),
        )
    if entry.state == "done":
        _settle_done(prefix)
        return None
    if entry.is_new:
        signs = [os.path.join(folder, _AFTER), *([_inside(prefix, entry.seal)] if entry.seal else [])]
        if complete_stays and any(map(os.path.lexists, signs)):
            _write(os.path.join(folder, _ENTRY), msgspec.json.encode(msgspec.structs.replace(entry, state="done")))
            _settle_done(prefix)
            return Restored(what=entry.what, began=entry.began, complete=True)
        for path in signs:
            _remove(path)
        return _take_new_back(prefix, folder, entry)
    before = _unpacked(prefix, os.path.join(folder, _BEFORE))
    restored = _put_back(prefix, folder, entry, before)
    _forget(folder)
    return restored


def undo(prefix: str, also: Iterable[str] = ()) -> Restored | None:
    """Take the last change back: what it brought goes, what it took comes back; the files in ``also`` go too.

    What came after it otherwise stays. The caller holds the lock. Raises ``JournalError`` when there is nothing to undo.
    """
    folder = os.path.join(prefix, FOLDER, _UNDO)
    entry = _read_entry(folder)
    if entry is None:
        raise JournalError(
            say("there is no installation to undo in {prefix}", prefix=prefix),
            hint=say("only the last one of envfix can be"),
        )
    if entry.is_new:
        _remove_new(prefix, entry)
        return Restored(what=entry.what, began=entry.began, whole=True, had_folder=entry.had_folder)
    # From here on it is an unfinished change: whoever is interrupted now finds it again.
    more = tuple(_as_text(os.path.relpath(path, prefix)) for path in also)
    undoing = msgspec.structs.replace(entry, state="running", undoing=True, also=more)
    _write(os.path.join(folder, _ENTRY), msgspec.json.encode(undoing))
    pending = os.path.join(prefix, FOLDER, _PENDING)
    _remove(pending)
    os.rename(folder, pending)
    return roll_back(prefix)


def forget(prefix: str) -> bool:
    """Delete what is kept for ``undo``; whether there was anything."""
    folder = os.path.join(prefix, FOLDER, _UNDO)
    if not os.path.lexists(folder):
        return False
    _forget(folder)
    return True


def listing(zones: Sequence[str], singles: Sequence[str]) -> Listing:
    """Everything in these folders and these files, by path; links are not followed, envfix's own folder is left out."""
    found: Listing = {}
    for path in (*zones, *singles):
        with contextlib.suppress(OSError):
            found[path] = _listed(path, os.lstat(path))
    waiting = list(zones)
    while waiting:
        folder = waiting.pop()
        try:
            entries = os.scandir(folder)
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.name == FOLDER:
                    continue
                told = _listed(entry.path, entry.stat(follow_symlinks=False))
                found[entry.path] = told
                if told.kind == "d":
                    waiting.append(entry.path)
    return found


def _listing_of(prefix: str, entry: Entry) -> Listing:
    """What is there now of all that the change may touch."""
    here = glob.escape(prefix)
    patterns = [pattern for pattern in entry.litter if _LITTER.fullmatch(pattern)]
    litter = [path for pattern in patterns for path in glob.glob(os.path.join(here, pattern))]
    folders = [path for path in litter if os.path.isdir(path) and not os.path.islink(path)]
    zones, singles = ([_inside(prefix, path) for path in paths] for paths in (entry.zones, entry.singles))
    return listing((*zones, *folders), (*singles, *litter))


def _inside(prefix: str, relative: str, *, follows: bool = True) -> str:
    """The path in the environment; raises ``JournalError`` where it leads out of it, by links or otherwise.

    ``follows``: what lies in it will be touched too, so it must not be a link to elsewhere itself.
    """
    path = os.path.normpath(os.path.join(prefix, relative))
    real, home = os.path.realpath(os.path.dirname(path)), os.path.realpath(prefix)
    within = f"{real}{os.sep}".startswith(f"{home.rstrip(os.sep)}{os.sep}")
    if os.path.isabs(relative) or not within or (follows and os.path.isdir(path) and _leaves(path, home)):
        raise JournalError(
            say("{path} lies outside of the environment {prefix}: it is not touched", path=path, prefix=prefix),
            hint=say("make an environment of its own with --new-env PATH"),
        )
    return path


def _leaves(path: str, home: str) -> bool:
    return not f"{os.path.realpath(path)}{os.sep}".startswith(f"{home.rstrip(os.sep)}{os.sep}")


def _listed(path: str, told: os.stat_result) -> Listed:
    access = (stat.S_IMODE(told.st_mode), told.st_uid, told.st_gid)
    if stat.S_ISDIR(told.st_mode):
        return Listed("d", 0, 0, access)
    if stat.S_ISLNK(told.st_mode):
        return Listed("l", told.st_size, told.st_mtime_ns, access, told.st_ino, _as_text(os.readlink(path)))
    return Listed("f", told.st_size, told.st_mtime_ns, access, told.st_ino)


def _with_digest(path: str, told: Listed, digests: Mapping[str, str]) -> Listed:
    """The same with its hash: the one that is known, or worked out for a file that is not too big."""
    if told.kind != "f" or _is_bytecode(path):
        return told
    digest = digests.get(path) or (_digest(path) if told.size <= _WORTH_HASHING else "")
    return msgspec.structs.replace(told, digest=digest)


def _digest(path: str) -> str:
    """The sha256 of a file in hexadecimal; empty where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _same(path: str, told: Listed, now: Listed, *, by_time: bool = True) -> bool:
    """Whether what is there now is what the listing tells: by kind, size and (``by_time``) time, or else by content."""
    if (told.kind, told.size) != (now.kind, now.size):
        return False
    if told.kind == "d" or (told.kind == "f" and (told.modified == now.modified or not by_time)):
        return True
    return bool(told.digest) and told.digest == (now.digest or _digest(path))


def _outermost(zones: Sequence[str]) -> Iterator[str]:
    """The zones without those that lie in another one, or are another one by a link."""
    seen: dict[str, str] = {}
    for zone in zones:
        seen.setdefault(os.path.realpath(zone), zone)
    for real, zone in seen.items():
        if not any(real != other and real.startswith(other.rstrip(os.sep) + os.sep) for other in seen):
            yield zone


def _put_back(prefix: str, folder: str, entry: Entry, before: Listing) -> Restored:
    """Remove what came with the change, bring back what was kept, look whether all is as it was."""
    found = _listing_of(prefix, entry)
    after = _unpacked(prefix, os.path.join(folder, _AFTER)) if entry.undoing else {}
    also = {os.path.join(prefix, _as_name(path)) for path in entry.also}
    mine = _brought(prefix, before, after, also) if entry.undoing else _coming_with(prefix, _expected(folder))
    kept = os.path.join(folder, _KEPT)
    # What the change has not touched is not put back either: whatever has become of it since.
    untouched = {path for path, told in before.items() if told.kind != "d" and after.get(path) == told}
    changed = (
        path
        for path, told in after.items()
        if path in found and path not in also and path not in untouched and not _same(path, told, found[path])
    )
    edited, edited_in = _set_aside(prefix, entry, kept, changed)
    came = [path for path in found if path not in before]
    removed = sum(_remove_one(path) for path in came if not _is_folder(path) and not _is_bytecode(path) and mine(path))
    back = _bring_back(prefix, kept, entry, untouched)
    for path in came:
        if _is_bytecode(path) and not os.path.exists(_source_of(path)):
            _remove_one(path)
    # The innermost first. One that still holds something that stays is left.
    for path in sorted(came, key=len, reverse=True):
        if _is_folder(path) and mine(path):
            _remove_one(path)
    filled = {os.path.dirname(path) for path in before}
    for path, told in before.items():
        if told.kind == "d" and path not in filled and not os.path.isdir(path):
            os.makedirs(path, exist_ok=True)
    now = _listing_of(prefix, entry)
    _give_back_access({path: told for path, told in before.items() if after.get(path) != told}, now)
    # Python writes bytecode anew whenever it likes. A copied environment has other times.
    differing = tuple(
        path
        for path, told in before.items()
        if path not in untouched
        and told.kind != "d"
        and not _is_bytecode(path)
        and not (path in now and _same(path, told, now[path], by_time=not entry.undoing))
    )
    left = tuple(path for path in came if path in now and now[path].kind != "d" and not _is_bytecode(path))
    return Restored(
        what=entry.what,
        began=entry.began,
        back=back,
        removed=removed,
        differing=differing,
        left=left,
        edited=edited,
        edited_in=edited_in,
    )


def _set_aside(prefix: str, entry: Entry, kept: str, paths: Iterable[str]) -> tuple[tuple[str, ...], str | None]:
    """Move files that somebody has changed since out of the way of the older ones; they and where they lie now."""
    when = time.strftime("%Y%m%d-%H%M%S", time.localtime(entry.began))
    place = os.path.join(prefix, FOLDER, _EDITED, when)
    aside = []
    for path in paths:
        relative = os.path.relpath(path, prefix)
        old = os.path.join(kept, relative)
        if _is_folder(path) or _is_bytecode(path) or os.path.dirname(path).endswith(".dist-info"):
            continue
        if os.path.isfile(old) and os.path.isfile(path) and filecmp.cmp(old, path, shallow=False):
            continue
        os.makedirs(os.path.dirname(os.path.join(place, relative)), mode=0o700, exist_ok=True)
        _move(_inside(prefix, relative, follows=False), os.path.join(place, relative))
        aside.append(path)
    return tuple(aside), place if os.path.isdir(place) else None


def _give_back_access(before: Listing, now: Listing) -> None:
    """Modes and owners as they were, the innermost first; what the system does not allow stays as it is."""
    for path in sorted(before, key=len, reverse=True):
        told, is_now = before[path], now.get(path)
        if is_now is None or is_now.access == told.access or is_now.kind != told.kind:
            continue
        mode, owner, group = told.access
        with contextlib.suppress(OSError):
            if is_now.access[1:] != told.access[1:]:
                os.chown(path, owner, group, follow_symlinks=False)
            if told.kind != "l":
                os.chmod(path, mode)


def _brought(prefix: str, before: Listing, after: Listing, also: Collection[str]) -> Callable[[str], bool]:
    """Answers whether a file or folder that is new belongs to a change that has ended, or to what replaced it since."""
    # Installing a package again may write more about it.
    metadata = tuple(path + os.sep for path in after if path.endswith(".dist-info") and path not in before)
    all_also = _with_folders(prefix, also)
    return lambda path: path in after or path in all_also or path.startswith(metadata)


def _with_folders(prefix: str, paths: Collection[str]) -> set[str]:
    """The same with every folder of the environment that they lie in."""
    found = set(paths)
    for path in paths:
        while len(path := os.path.dirname(path)) > len(prefix) and path not in found:
            found.add(path)
    return found


def _coming_with(prefix: str, told: _Coming | None) -> Callable[[str], bool]:
    """Answers whether a file or folder that is new has come with the unfinished change, and not from somebody else."""
    if told is None:
        return lambda _: True
    files, whole = ([os.path.join(prefix, _as_name(path)) for path in paths] for paths in (told.files, told.folders))
    # The folders that have to be made for them come too.
    coming, below = _with_folders(prefix, (*files, *whole)), tuple(path + os.sep for path in whole)
    # uv, pip, rattler and envfix work in places of such names before they put a package where it belongs.
    return lambda path: path in coming or path.startswith(below) or bool(_WORKSHOP.search(path))


def _expected(folder: str) -> _Coming | None:
    try:
        with open(os.path.join(folder, _COMING), "rb") as stream:
            return msgspec.json.decode(stream.read(), type=_Coming)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_bytecode(path: str) -> bool:
    """Whether Python has written it beside a module; without its ``__pycache__`` it is a module itself."""
    return path.endswith(".pyc") and os.path.basename(os.path.dirname(path)) == "__pycache__"


def _source_of(bytecode: str) -> str:
    """The module that a file of bytecode belongs to."""
    place, name = os.path.split(bytecode)
    return os.path.join(os.path.dirname(place), f"{name.partition('.')[0]}.py")


def _take_new_back(prefix: str, folder: str, entry: Entry) -> Restored:
    """Remove an environment that was not finished; one that somebody has used meanwhile stays."""
    here = listing((prefix,), ())
    files = [path for path, one in here.items() if one.kind != "d" and not _is_bytecode(path)]
    told = _expected(folder)
    if told is None:  # it was just being made: an environment of another program is none of ours
        begin = len(prefix.rstrip(os.sep)) + 1
        left = [path for path in files if not _BARE_ENVIRONMENT.fullmatch(path[begin:].replace(os.sep, "/"))]
        left = left or ([os.path.join(prefix, "pyvenv.cfg")] if _is_of_others(prefix) else [])
    else:
        mine = _coming_with(prefix, told)
        litter = {path for pattern in entry.litter for path in glob.glob(os.path.join(glob.escape(prefix), pattern))}
        left = [path for path in files if not mine(path) and path not in litter]
    left = left or _written_later(files, entry.began)
    if left:
        _forget(folder)
        return Restored(what=entry.what, began=entry.began, left=tuple(left))
    _remove_new(prefix, entry)
    return Restored(what=entry.what, began=entry.began, whole=True, had_folder=entry.had_folder)


def _written_later(files: Iterable[str], began: float) -> list[str]:
    """The files that were written after a long quiet: whoever did that was not the installation that broke off."""
    changed = []
    for path in files:
        with contextlib.suppress(OSError):
            changed.append((os.lstat(path).st_ctime, path))
    last = began
    for when, path in sorted(changed):
        if when > last + _QUIET:
            return [path]
        last = max(last, when)
    return []


def _is_of_others(prefix: str) -> bool:
    """Whether another program than uv has made this environment."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as stream:
            return re.search(r"^uv = ", stream.read(10_000), re.MULTILINE) is None
    except OSError:
        return False


def _bring_back(prefix: str, kept: str, entry: Entry, untouched: Collection[str]) -> int:
    """Move every kept file to where it was, but for what was never touched; whole folders where nothing is there."""
    places = {os.path.join(kept, path): _inside(prefix, path) for path in (*entry.zones, *entry.singles)}
    back, zones = 0, set(places.values())
    home = os.path.realpath(kept)
    waiting = [
        (source, target)
        for source, target in places.items()
        if os.path.lexists(source) and not _leaves(os.path.dirname(source), home)
    ]
    while waiting:
        source, target = waiting.pop()
        if _is_folder(source) and (_is_folder(target) or (target in zones and os.path.isdir(target))):
            with os.scandir(source) as entries:
                waiting += [(one.path, os.path.join(target, one.name)) for one in entries]
            continue
        if target in untouched:
            continue
        if _is_folder(source) or os.path.isdir(target) or os.path.islink(target):
            _remove(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            _move(source, target)
        except PermissionError:
            # It may never have gone: nobody can change a file that the system protects.
            if not (os.path.isfile(source) and os.path.isfile(target) and filecmp.cmp(source, target, shallow=False)):
                raise
            _remove(source)
        back += sum(len(names) for _, _, names in os.walk(target)) if _is_folder(target) else 1
    return back


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _settle_done(prefix: str) -> None:
    """A change that has ended well becomes the one that can be undone."""
    home = os.path.join(prefix, FOLDER)
    _forget(os.path.join(home, _UNDO))
    os.rename(os.path.join(home, _PENDING), os.path.join(home, _UNDO))


def _forget(folder: str) -> None:
    """Delete a journal: its entry first, so that a half deleted one is none."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, _ENTRY))
    _remove(folder)


def _remove_new(prefix: str, entry: Entry) -> None:
    """Delete an environment that was made whole; its journal last, so that an interrupted removal is found again."""
    for name in os.listdir(prefix):
        if name != FOLDER:
            _remove(os.path.join(prefix, name))
    for name in (_UNDO, _PENDING):
        _forget(os.path.join(prefix, FOLDER, name))
    if not entry.had_folder:
        _remove(prefix)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not _is_folder(path):
            os.unlink(path)
            return
        try:
            shutil.rmtree(path)
        except PermissionError:  # a folder in it may be write-protected
            for folder, _, _ in os.walk(path):
                os.chmod(folder, 0o700)
            shutil.rmtree(path)


def _remove_one(path: str) -> bool:
    """Delete a file or an empty folder; whether a file went."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
            return False
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _move(source: str, target: str) -> None:
    if not _tried(os.replace, source, target):
        # On another file system: beside the target first, so that it appears whole or not at all.
        beside = f"{target}.envfix-back"
        _remove(beside)
        _copy(source, beside)
        os.replace(beside, target)
        _remove(source)


def _hard_link(path: str, kept: str) -> None:
    os.link(path, kept, follow_symlinks=False)


def _tried(action: Callable[[str, str], None], path: str, place: str) -> bool:
    """Do it; False where the file system cannot do this at all. Raises ``OSError`` for anything else."""
    try:
        action(path, place)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True


def _copy(path: str, kept: str) -> None:
    if _is_folder(path):
        shutil.copytree(path, kept, symlinks=True, dirs_exist_ok=True, copy_function=_copy_file)
        for folder, _, _ in os.walk(path):
            _copy_owner(folder, os.path.join(kept, os.path.relpath(folder, path)))
    else:
        _copy_file(path, kept)


def _copy_file(path: str, kept: str) -> str:
    if not os.path.islink(path) and _reflink(path, kept):
        shutil.copystat(path, kept)
    else:
        shutil.copy2(path, kept, follow_symlinks=False)
    _copy_owner(path, kept)
    return kept


def _copy_owner(path: str, kept: str) -> None:
    """Whoever it belongs to, it belongs to them still; only root can give files away."""
    told = os.lstat(path)
    if hasattr(os, "geteuid") and os.geteuid() == 0 and (told.st_uid, told.st_gid) != (0, 0):
        os.chown(kept, told.st_uid, told.st_gid, follow_symlinks=False)
        shutil.copystat(path, kept, follow_symlinks=False)  # a new owner costs special bits of the mode


def _reflink(path: str, kept: str) -> bool:
    """Share the bytes until one of the two is written to, where the file system can (Btrfs, XFS)."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        with open(path, "rb") as source, open(kept, "wb") as target:
            fcntl.ioctl(target.fileno(), 0x40049409, source.fileno())  # FICLONE, linux/fs.h
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True


def _write(path: str, data: bytes, *, sync: bool = True) -> None:
    """Write a file whole or not at all, and onto the disk."""
    temporary = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    # Never through a link that somebody has put there.
    with open(temporary, "xb") as stream:
        stream.write(data)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(temporary, path)
    if sync and hasattr(os, "O_DIRECTORY"):
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read_entry(folder: str) -> Entry | None:
    """The entry of a journal; None where there is none or it is damaged."""
    try:
        with open(os.path.join(folder, _ENTRY), "rb") as stream:
            entry = msgspec.json.decode(stream.read(10_000_000), type=Entry)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return entry if entry.schema == _SCHEMA else None


# Names of files are bytes; JSON is text.
def _as_text(path: str) -> str:
    return os.fsencode(path).decode("latin-1")


def _as_name(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))


def _packed(prefix: str, found: Listing) -> bytes:
    begin = len(prefix.rstrip(os.sep)) + 1
    return msgspec.json.encode({_as_text(path[begin:]): told for path, told in found.items()})


def _unpacked(prefix: str, path: str) -> Listing:
    try:
        with open(path, "rb") as stream:
            raw = msgspec.json.decode(stream.read(), type=dict[str, Listed])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(
            say("the list of what was there cannot be read: {path}", path=path),
            hint=say("make a fresh environment with --new-env PATH"),
        ) from error
    found = {os.path.join(prefix, _as_name(name)): told for name, told in raw.items()}
    if any(os.path.isabs(_as_name(name)) or ".." in name.split(os.sep) for name in raw):
        raise JournalError(
            say("the list of what was there names files outside of the environment: {path}", path=path),
            hint=say("make a fresh environment with --new-env PATH"),
        )
    return found

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
import glob
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from envfix.errors import EnvfixError

FOLDER = ".envfix"
_PENDING, _UNDO, _ENTRY = "pending", "undo", "journal.json"
_KEPT, _BEFORE, _AFTER, _COMING = "kept", "before", "after", "coming"
_SCHEMA = "envfix.journal/1"
# What lies at the top of a virtual environment.
_OF_ENVIRONMENTS = re.compile(
    r"bin|lib|lib64|include|share|etc|man|Lib|Scripts|Include|pyvenv\.cfg|\.gitignore|CACHEDIR\.TAG|\.lock|\.tmp.*|envfix-constraints\.txt"
)
# The names of what installers work in begin with a dot.
_LITTER = re.compile(r"\.[\w.-]+\*")
_WORKSHOP = re.compile(r"[/\\](?:\.tmp|~)[^/\\]*(?:[/\\]|$)")
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
    killed installer leaves elsewhere. ``new``: the whole environment is being made
    (``had_folder``: an empty folder was there). ``done``: it has ended well and can be undone. ``ours`` are the packages that
    it installed, ``distributions`` all that were there at its end. ``undoing``: it is being taken back after its end, and so
    are the files in ``also``.
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
    undoing: bool = False
    also: tuple[str, ...] = ()


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A file, folder or link that was there: ``kind`` is f, d or l; ``size`` in bytes, ``modified`` in nanoseconds."""

    kind: str
    size: int
    modified: int


Listing = dict[str, Listed]


class _Coming(msgspec.Struct, frozen=True):
    """What a change brings, relative to the environment: files, and folders with all that is in them."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was put back: the change it was, how many files came back or went, and what is not as it was.

    ``left`` is what came meanwhile and is not of the change: it stays. ``whole``: the environment itself was removed.
    """

    what: str
    began: float
    back: int = 0
    removed: int = 0
    differing: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    whole: bool = False


def has_pending(prefix: str) -> bool:
    """Whether a change of this environment has begun and not ended well: one look at the disk."""
    return os.path.lexists(os.path.join(prefix, FOLDER, _PENDING, _ENTRY))


def refuse_links(prefix: str) -> None:
    """Raise ``JournalError`` where envfix's own folders are links: what is kept lies in the environment itself."""
    home = os.path.join(prefix, FOLDER)
    for parts in ((), (_PENDING,), (_UNDO,), (_PENDING, _KEPT), (_UNDO, _KEPT)):
        path = os.path.join(home, *parts)
        if os.path.islink(path):
            raise JournalError(f"{path} is a link, which envfix does not follow", hint="remove the link")


def undoable(prefix: str) -> Entry | None:
    """The last change that ended well and can be taken back."""
    return _read_entry(os.path.join(prefix, FOLDER, _UNDO))


def kept_bytes(prefix: str) -> int:
    """How much room the kept files take that are nowhere else."""
    total = 0
    for folder, _, names in os.walk(os.path.join(prefix, FOLDER)):
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
        shutil.rmtree(self._folder, ignore_errors=True)
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

    def begin_new(self, what: str, *, had_folder: bool, litter: Sequence[str] = ()) -> None:
        """A whole environment is going to be made in this folder; raises ``OSError``."""
        os.makedirs(os.path.join(self._folder, _KEPT), mode=0o700)
        self._entry = Entry(
            schema=_SCHEMA,
            state="new",
            began=time.time(),
            what=what,
            is_new=True,
            had_folder=had_folder,
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

    def commit(self, distributions: dict[str, str], ours: Iterable[str]) -> None:
        """The change has ended well; its kept files replace those of the change before."""
        assert self._entry is not None  # noqa: S101 - begin comes first
        if not self._entry.is_new:
            _write(
                os.path.join(self._folder, _AFTER),
                _packed(self.prefix, _listing_of(self.prefix, self._entry)),
                sync=False,
            )
        done = msgspec.structs.replace(self._entry, state="done", distributions=distributions, ours=tuple(ours))
        _write(os.path.join(self._folder, _ENTRY), msgspec.json.encode(done))
        _settle_done(self.prefix)

    def _place(self, path: str) -> str:
        """Where the file is kept; its folder is made."""
        kept = os.path.join(self._folder, _KEPT, self._relative(path))
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        return kept

    def _told(self, path: str) -> str:
        return _as_text(os.path.relpath(path, self.prefix))

    def _relative(self, path: str) -> str:
        relative = os.path.relpath(path, self.prefix)
        _inside(self.prefix, relative, follows=False)
        return relative


def roll_back(prefix: str) -> Restored | None:
    """Take an unfinished change back; None where there is none. Can be interrupted and called again.

    The caller holds the lock. Raises ``JournalError`` when the entry is damaged, ``OSError`` when the disk refuses.
    """
    folder = os.path.join(prefix, FOLDER, _PENDING)
    if not os.path.lexists(os.path.join(folder, _ENTRY)):
        _remove(folder)  # an entry that was never finished: nothing had changed
        return None
    entry = _read_entry(folder)
    if entry is None:
        raise JournalError(
            f"the journal of an unfinished installation cannot be read: {folder}/{_ENTRY}",
            hint=f"the files it kept are in {folder}/{_KEPT}; make a fresh environment with --new-env PATH",
        )
    if entry.state == "done":
        _settle_done(prefix)
        return None
    if entry.is_new:
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
        raise JournalError(f"there is no installation to undo in {prefix}", hint="only the last one of envfix can be")
    if entry.is_new:
        _remove_new(prefix, entry)
        return Restored(what=entry.what, began=entry.began, whole=True)
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
    for path in singles:
        with contextlib.suppress(OSError):
            found[path] = _listed(os.lstat(path))
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
                told = _listed(entry.stat(follow_symlinks=False))
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
            f"{path} lies outside of the environment {prefix}: it is not touched",
            hint="make an environment of its own with --new-env PATH",
        )
    return path


def _leaves(path: str, home: str) -> bool:
    return not f"{os.path.realpath(path)}{os.sep}".startswith(f"{home.rstrip(os.sep)}{os.sep}")


def _listed(told: os.stat_result) -> Listed:
    kind = "d" if stat.S_ISDIR(told.st_mode) else "l" if stat.S_ISLNK(told.st_mode) else "f"
    return Listed(kind, 0 if kind == "d" else told.st_size, 0 if kind == "d" else told.st_mtime_ns)


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
    mine = (lambda path: path in after or path in also) if entry.undoing else _coming_with(prefix, folder)
    # What somebody has changed after the end of this change is theirs.
    theirs = {path for path in found if path in after and after[path] != found[path] and path not in also}
    came = [path for path in found if path not in before]
    removed = sum(_remove_one(path) for path in came if not _is_folder(path) and not _is_bytecode(path) and mine(path))
    back = _bring_back(prefix, os.path.join(folder, _KEPT), entry, theirs)
    for path in came:
        if _is_bytecode(path) and not os.path.exists(_source_of(path)):
            _remove_one(path)
    # The innermost first. One that still holds something that stays is left.
    for path in sorted(came, key=len, reverse=True):
        if _is_folder(path):
            _remove_one(path)
    filled = {os.path.dirname(path) for path in before}
    for path, told in before.items():
        if told.kind == "d" and path not in filled and not os.path.isdir(path):
            os.makedirs(path, exist_ok=True)
    now = _listing_of(prefix, entry)
    # Python writes bytecode anew whenever it likes.
    differing = tuple(
        path
        for path, told in before.items()
        if now.get(path) != told and told.kind != "d" and after.get(path) != told and not _is_bytecode(path)
    )
    left = tuple(path for path in came if path in now and now[path].kind != "d" and not _is_bytecode(path))
    return Restored(what=entry.what, began=entry.began, back=back, removed=removed, differing=differing, left=left)


def _coming_with(prefix: str, folder: str) -> Callable[[str], bool]:
    """Answers whether a file that is new has come with the unfinished change, and not from somebody else."""
    told = _expected(folder)
    if told is None:
        return lambda _: True
    files = {os.path.join(prefix, _as_name(path)) for path in told.files}
    folders = tuple(os.path.join(prefix, _as_name(path)) + os.sep for path in told.folders)
    # uv and pip work in folders of such names before they put a package in its place.
    return lambda path: path in files or path.startswith(folders) or bool(_WORKSHOP.search(path))


def _expected(folder: str) -> _Coming | None:
    try:
        with open(os.path.join(folder, _COMING), "rb") as stream:
            return msgspec.json.decode(stream.read(), type=_Coming)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_bytecode(path: str) -> bool:
    return path.endswith(".pyc")


def _source_of(bytecode: str) -> str:
    """The module that a file of bytecode belongs to."""
    place, name = os.path.split(bytecode)
    if os.path.basename(place) != "__pycache__":
        return bytecode.removesuffix("c")
    return os.path.join(os.path.dirname(place), f"{name.partition('.')[0]}.py")


def _take_new_back(prefix: str, folder: str, entry: Entry) -> Restored:
    """Remove an environment that was not finished; one in which somebody has put something meanwhile stays."""
    here = [path for path in listing((prefix,), ()) if not _is_bytecode(path)]
    files = [path for path in here if not _is_folder(path)]
    told = _expected(folder)
    if told is not None:
        mine = _coming_with(prefix, folder)
        litter = {path for pattern in entry.litter for path in glob.glob(os.path.join(glob.escape(prefix), pattern))}
        left = [path for path in files if not mine(path) and path not in litter]
    else:  # it was just being made: an environment of another program is none of ours
        tops = [path for path in here if os.path.dirname(path) == prefix]
        left = [path for path in tops if not _OF_ENVIRONMENTS.fullmatch(os.path.basename(path))]
        left = left or ([os.path.join(prefix, "pyvenv.cfg")] if _is_of_others(prefix) else [])
    if left:
        _forget(folder)
        return Restored(what=entry.what, began=entry.began, left=tuple(left))
    _remove_new(prefix, entry)
    return Restored(what=entry.what, began=entry.began, whole=True)


def _is_of_others(prefix: str) -> bool:
    """Whether another program than uv has made this environment."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as stream:
            return re.search(r"^uv = ", stream.read(10_000), re.MULTILINE) is None
    except OSError:
        return False


def _bring_back(prefix: str, kept: str, entry: Entry, theirs: Collection[str]) -> int:
    """Move every kept file to where it was, but for what is somebody else's now; whole folders where nothing is there."""
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
        if target in theirs:
            continue
        if _is_folder(source) or os.path.isdir(target) or os.path.islink(target):
            _remove(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _move(source, target)
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
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


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
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.copytree(path, kept, symlinks=True, dirs_exist_ok=True, copy_function=_copy_file)
    else:
        _copy_file(path, kept)


def _copy_file(path: str, kept: str) -> str:
    if not os.path.islink(path) and _reflink(path, kept):
        shutil.copystat(path, kept)
    else:
        shutil.copy2(path, kept, follow_symlinks=False)
    return kept


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
    with open(temporary, "wb") as stream:
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
            f"the list of what was there cannot be read: {path}",
            hint="make a fresh environment with --new-env PATH",
        ) from error
    found = {os.path.join(prefix, _as_name(name)): told for name, told in raw.items()}
    if any(os.path.isabs(_as_name(name)) or ".." in name.split(os.sep) for name in raw):
        raise JournalError(
            f"the list of what was there names files outside of the environment: {path}",
            hint="make a fresh environment with --new-env PATH",
        )
    return found

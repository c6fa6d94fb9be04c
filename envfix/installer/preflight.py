"""What is checked before anything is changed: whether the environment may be changed, its place, and room on the disks."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

from envfix.errors import InstallError, TargetError
from envfix.host.interface import DiskSpace, Host, ProbeHost
from envfix.installer.changes import layout_for
from envfix.installer.interface import PathError, PermissionsError, SpaceError
from envfix.model.facts import Interpreter
from envfix.model.language import say
from envfix.probes.interpreter import literal

# Unpacked size of a stack over that of its wheels: measured 1.9 for torch 2.15 with ultralytics, 2.2 for torch 1.8.
UNPACKED = 2.2
_TEMPORARY = 50_000_000
_GB = 1e9
_MARKER_LIMIT = 10_000
_MODULE_FILE_LIMIT = 200_000
# Why a Python is refused, and what is said of it where it is not.
_Protection: TypeAlias = tuple[str, str]
_NO_PROTECTION: _Protection = ("", "")
_HIDING = ("torch", "torchvision", "torchaudio")


class ProtectedError(InstallError):
    """This Python is not one to be changed without saying so in so many words; nothing was changed."""

    reference = "protected-environment"


class TemporaryError(InstallError):
    """The folder for temporary files cannot serve; nothing was changed."""

    reference = "temporary-folder"


def check_target(
    host: ProbeHost, interpreter: Interpreter, *, allow_base: bool, cache_dir: str | None = None, by_pip: bool = True
) -> tuple[str, ...]:
    """What the user should know before this environment is changed; raises where it must not or cannot be.

    ``allow_base`` is the user's word that a Python which others rely on may be changed; nobody's word makes root of this
    user. ``cache_dir`` is uv's cache (None: uv does not install), ``by_pip`` whether wheels come rather than conda packages.
    Raises ``ProtectedError``, ``PermissionsError``, ``PathError`` or ``TargetError``.
    """
    _refuse_own(host, interpreter)
    check_base(host, interpreter.prefix)
    _refuse_links(host, interpreter)
    origin = _origin(host, interpreter.prefix)
    notes = list(_protection(host, interpreter, origin, allow_base=allow_base))
    if interpreter.kind == "conda" and by_pip:
        notes.append(
            say(
                "{prefix} is a conda environment: pip packages go into it by its own pip; conda will not know of them",
                prefix=interpreter.prefix,
            )
        )
    _demand_writable(interpreter, origin)
    for place in interpreter.site_packages:
        if _is_noexec(place):
            raise PathError(
                say(
                    "{place} is on a file system from which nothing may be run (mounted noexec):"
                    " torch's libraries cannot be loaded from there",
                    place=place,
                ),
                hint=say("make an environment on another disk with --new-env PATH"),
            )
    return (*notes, *_copied(host, interpreter, cache_dir), *_hidden_by_user_site(host, interpreter))


def check_base(host: ProbeHost, prefix: str) -> None:
    """Raise ``TargetError`` when ``prefix`` is a virtual environment whose Python is gone; it cannot even be asked then."""
    told = f"{prefix}/pyvenv.cfg"
    match = re.search(r"^home\s*=\s*(.+?)\s*$", host.read_text(told, limit=_MARKER_LIMIT).text, re.MULTILINE)
    if match is not None and not host.glob(f"{literal(match[1])}/python*"):
        raise TargetError(
            say(
                "{prefix} was made from the Python in {match}, which is gone ({told} names it):"
                " nothing can be run there",
                prefix=prefix,
                match=match[1],
                told=told,
            ),
            hint=say("make a new environment with --new-env PATH"),
        )


def check_temporary(host: ProbeHost, *, builds: bool) -> tuple[str, ...]:
    """Raise ``TemporaryError`` unless temporary files can be written, and programs be run there if a package is built.

    ``builds``: a package of the plan has no wheel. Returns what the user should know.
    """
    named = host.getenv("TMPDIR")
    path = named or "/tmp"  # noqa: S108 - where uv and pip write without TMPDIR
    if os.name == "nt":
        path = host.getenv("TEMP") or host.getenv("TMP") or host.system_facts().get("home", "")
    says = say("TMPDIR names {path}", path=path) if named else path
    hint = say("set TMPDIR to a folder of your own on another disk")
    if not os.path.isdir(path):
        reason = say(", which does not exist") if named else say(" does not exist")
        raise TemporaryError(
            say("no temporary files can be written: {says}{reason}", says=says, reason=reason), hint=hint
        )
    obstacle = _obstacle(path)
    if obstacle is not None:
        raise TemporaryError(say("no temporary files can be written: {obstacle}", obstacle=obstacle), hint=hint)
    if not _is_noexec(path):
        return ()
    if builds:
        raise TemporaryError(
            say("a package must be built from source, and nothing may be run from {path} (mounted noexec)", path=path),
            hint=hint,
        )
    return (
        say("nothing may be run from {path} (mounted noexec): torch.compile needs TMPDIR on another disk", path=path),
    )


def _refuse_own(host: ProbeHost, interpreter: Interpreter) -> None:
    own = host.system_facts().get("own_prefix", "")
    if own and host.real_path(own) == host.real_path(interpreter.prefix):
        raise ProtectedError(
            say(
                "envfix itself runs from {prefix}: it does not change the environment it runs from",
                prefix=interpreter.prefix,
            ),
            hint=say("name another environment with --python, or make one with --new-env PATH"),
        )


def _refuse_links(host: ProbeHost, interpreter: Interpreter) -> None:
    """An environment's folders may be links, but not to somewhere else; a system's own may lie anywhere."""
    if interpreter.kind not in ("venv", "conda", "base"):
        return
    for place in _places(interpreter):
        real = host.real_path(place)
        if _is_inside(place, interpreter.prefix) and not _is_inside(real, host.real_path(interpreter.prefix)):
            raise ProtectedError(
                say(
                    "{place} leads to {real}, outside of the environment: installing would change what is not its own",
                    place=place,
                    real=real,
                ),
                hint=say("make an environment of its own with --new-env PATH"),
            )


def _protection(host: ProbeHost, interpreter: Interpreter, origin: str | None, *, allow_base: bool) -> Iterator[str]:
    """What is to be known of this kind of Python; raises ``ProtectedError`` for one that ``allow_base`` must allow."""
    python = interpreter.executable
    come_from = say(" from {origin}", origin=origin) if origin else ""
    refusals = [
        (refusal, note)
        for refusal, note in (
            _conda_base(interpreter, come_from),
            _managed(host, interpreter),
            _frozen(host, interpreter),
            _shared(host, interpreter, origin),
        )
        if refusal
    ]
    if refusals and not allow_base:
        may_write = not any(_obstacle(place) for place in _places(interpreter))
        allowed = say(", or add --allow-base if you mean this one") if may_write else ""
        raise ProtectedError(
            refusals[0][0],
            hint=say(
                "make an environment of your own with --new-env PATH --python {python}{allowed}",
                python=python,
                allowed=allowed,
            ),
        )
    yield from (note for _, note in refusals)


def _conda_base(interpreter: Interpreter, come_from: str) -> _Protection:
    if interpreter.kind != "base":
        return _NO_PROTECTION
    what = say("{prefix} is conda's own environment (base){come_from}", prefix=interpreter.prefix, come_from=come_from)
    return say("{what}: a broken base breaks conda itself", what=what), say(
        "{what}: if it breaks, conda breaks with it", what=what
    )


def _managed(host: ProbeHost, interpreter: Interpreter) -> _Protection:
    """A mark after PEP 668: Debian, Fedora and Homebrew set it, uv for its own Pythons, some images for conda's."""
    if not interpreter.externally_managed or interpreter.kind == "base":
        return _NO_PROTECTION
    short = ".".join(interpreter.version.split(".")[:2])
    marks = host.glob(f"{literal(interpreter.base_prefix)}/[lL]ib*/python{short}*/EXTERNALLY-MANAGED")
    marks = marks or host.glob(f"{literal(interpreter.base_prefix)}/[lL]ib/EXTERNALLY-MANAGED")
    mark = marks[0] if marks else say("its file EXTERNALLY-MANAGED")
    is_uv = marks and "managed by uv" in host.read_text(mark, limit=_MARKER_LIMIT).text
    manager = "uv" if is_uv else say("the operating system")
    python = interpreter.executable
    return (
        say(
            "{python} is managed by {manager} ({mark} says so): what is installed by hand can"
            " break programs that use it",
            python=python,
            manager=manager,
            mark=mark,
        ),
        say(
            "--allow-base overrides {mark}, with which {manager} asks that {python} is not changed by hand",
            mark=mark,
            manager=manager,
            python=python,
        ),
    )


def _frozen(host: ProbeHost, interpreter: Interpreter) -> _Protection:
    """A conda environment that its owner has frozen (CEP 22); the file may hold a message as JSON, or nothing."""
    mark = f"{interpreter.prefix}/conda-meta/frozen"
    file = host.read_text(mark, limit=_MARKER_LIMIT)
    if interpreter.kind not in ("conda", "base") or file.outcome == "absent":
        return _NO_PROTECTION
    message = None
    with contextlib.suppress(ValueError, AttributeError):
        message = json.loads(file.text).get("message")
    said = f' ("{" ".join(message.split())}")' if isinstance(message, str) and message.strip() else ""
    return (
        say(
            "{prefix} is frozen: {mark} asks that it is not changed{said}",
            prefix=interpreter.prefix,
            mark=mark,
            said=said,
        ),
        say(
            "--allow-base overrides {mark}, which asks that the environment is not changed{said}", mark=mark, said=said
        ),
    )


def _shared(host: ProbeHost, interpreter: Interpreter, origin: str | None) -> _Protection:
    if interpreter.kind != "system" or interpreter.externally_managed:
        return _NO_PROTECTION
    pyenv = host.getenv("PYENV_ROOT") or f"{host.system_facts().get('home', '~')}/.pyenv"
    if origin is not None:
        whose = say("the Python of {origin}", origin=origin)
    elif _is_inside(interpreter.prefix, f"{pyenv}/versions"):
        whose = say("pyenv's own Python {version}", version=interpreter.version)
    else:
        whose = say("a Python for the whole machine")
    what = say("{executable} is {whose}, not an environment", executable=interpreter.executable, whose=whose)
    return (
        say("{what}: everything that is run with it shares its packages", what=what),
        say("{what}: what is installed is seen by everything that is run with it", what=what),
    )


def _demand_writable(interpreter: Interpreter, origin: str | None) -> None:
    """Raise ``PermissionsError`` where this user may not write; becoming root is nothing that envfix does."""
    for place in _places(interpreter):
        obstacle = _obstacle(place)
        if obstacle is not None:
            python = interpreter.executable
            raise PermissionsError(
                say("{obstacle}; it comes from {origin}", obstacle=obstacle, origin=origin) if origin else obstacle,
                hint=say(
                    "make an environment of your own with --new-env PATH --python {python} (to go"
                    " on using its packages: `{python} -m venv --system-site-packages PATH`)",
                    python=python,
                ),
            )


def _places(interpreter: Interpreter) -> tuple[str, ...]:
    """The folders that every installation writes to."""
    layout = layout_for(interpreter)
    return (*layout.site_packages, layout.scripts, layout.prefix)


def _obstacle(place: str) -> str | None:
    """Why this user cannot write to a folder (or make it); None: nothing seen."""
    there = _nearest(place)
    if _flags(there) & getattr(os, "ST_RDONLY", 1):
        return say("{place} is on a read-only file system", place=place)
    if os.access(there, os.W_OK | os.X_OK):
        return None
    return say("you may not write to {place} ({owner})", place=place, owner=_owner(there))


def _owner(path: str) -> str:
    try:
        number = os.stat(path).st_uid
    except OSError:
        return say("its owner cannot be told")
    if number == getattr(os, "geteuid", lambda: None)():
        return say("it is yours, but write-protected")
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        return say("it belongs to {pw_name}", pw_name=pwd.getpwuid(number).pw_name)
    return say("it belongs to user {number}", number=number)


def _is_noexec(place: str) -> bool:
    return bool(_flags(_nearest(place)) & getattr(os, "ST_NOEXEC", 0))


def _flags(path: str) -> int:
    """The mount flags of the file system that holds a path; 0 where that is not told."""
    try:
        return os.statvfs(path).f_flag
    except (OSError, AttributeError):
        return 0


def _nearest(path: str) -> str:
    """The path or its nearest parent that exists."""
    place = os.path.abspath(path)
    while not os.path.exists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    return place


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _copied(host: ProbeHost, interpreter: Interpreter, cache_dir: str | None) -> Iterator[str]:
    if cache_dir is None or host.getenv("UV_LINK_MODE") == "copy":
        return
    for place in interpreter.site_packages[:1]:
        with contextlib.suppress(OSError):
            if os.stat(_nearest(place)).st_dev != os.stat(_nearest(cache_dir)).st_dev:
                yield (
                    say(
                        "{place} is on another disk than uv's cache {cache_dir}: files are copied"
                        " instead of linked, which takes longer and more room",
                        place=place,
                        cache_dir=cache_dir,
                    )
                )


def _hidden_by_user_site(host: ProbeHost, interpreter: Interpreter) -> Iterator[str]:
    """Packages of the user's own folder come first for a Python that is no virtual environment."""
    folder = interpreter.user_site
    if not folder or not interpreter.user_site_enabled or folder in interpreter.site_packages:
        return
    hiding = [name for name in _HIDING if host.glob(f"{literal(folder)}/{name}/__init__.py")]
    if hiding:
        them = "it" if len(hiding) == 1 else "them"
        yield (
            say(
                "Python finds {hiding} in {folder} before what is installed now; envfix leaves"
                " {them} alone: PYTHONNOUSERSITE=1 keeps Python from looking there",
                hiding=say(" and ").join(hiding),
                folder=folder,
                them=them,
            )
        )


def _origin(host: ProbeHost, prefix: str) -> str | None:
    """Who has put a Python onto a cluster: the loaded environment module that it belongs to, or Spack."""
    names = [name for name in (host.getenv("LOADEDMODULES") or "").split(":") if name]
    for variable, root in host.environ(("EBROOT",)).items():
        if root and _is_inside(prefix, root):
            package = variable.removeprefix("EBROOT").casefold()
            loaded = [name for name in names if _bare(name.partition("/")[0]) == package]
            return say("the module {which}", which=loaded[0] if loaded else variable.removeprefix("EBROOT"))
    files = [file for file in (host.getenv("_LMFILES_") or "").split(":") if file]
    for name, file in zip(names, files, strict=False):
        if re.search(rf"{re.escape(prefix)}(?![\w.-])", host.read_text(file, limit=_MODULE_FILE_LIMIT).text):
            return say("the module {name}", name=name)
    parts = [part.casefold() for part in prefix.split("/")]
    for name in names:
        # python/3.11 of /apps/python/3.11: the file itself may put the path together from pieces.
        first, _, version = name.casefold().partition("/")
        if version and (first, version) in pairwise(parts):
            return say("the module {name}", name=name)
    view = host.getenv("SPACK_ENV")
    if (view and _is_inside(prefix, view)) or host.glob(f"{literal(prefix)}/.spack"):
        return "Spack"
    return None


def _bare(name: str) -> str:
    """A package's name as EasyBuild writes it in variables, about: ``Python`` of EBROOTPYTHON."""
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("-", "min").replace("+", "plus"))


def unpacked_bytes(download_bytes: int) -> int:
    """An estimate of the disk space that wheels of so many bytes take once unpacked."""
    return int(download_bytes * UNPACKED)


def check_space(
    host: ProbeHost,
    prefix: str,
    cache_dir: str | None,
    tmp: str | None,
    needed_bytes: int,
    *,
    new_bytes: int | None = None,
) -> None:
    """Raise ``SpaceError`` unless ``needed_bytes`` (unpacked) fit where they go, ``PermissionsError`` if unwritable.

    uv unpacks into its cache (only what is not there yet: ``new_bytes``, default all) and links from there into
    ``prefix`` where both lie on one file system, else copies. A disk that cannot be asked passes.
    """
    new = needed_bytes if new_bytes is None else min(new_bytes, needed_bytes)
    place = host.disk_space(prefix)
    cache = host.disk_space(cache_dir) if cache_dir else None
    # Free and total bytes tell file systems apart well enough: two that agree in both need the same room anyway.
    linked = cache is not None and (cache.free, cache.total) == (place.free, place.total)
    if not place.writable and place.problem is None:
        raise PermissionsError(
            say("you may not write to {prefix}", prefix=prefix),
            hint=say("make an environment of your own with --new-env PATH"),
        )
    both = new + needed_bytes if host.getenv("UV_LINK_MODE") == "copy" else new
    _demand(place, both if linked else needed_bytes, prefix, say("--new-env PATH on another disk"))
    if cache is not None and cache_dir is not None:
        _demand(cache, new, cache_dir, say("UV_CACHE_DIR names a folder on another disk"))
    if tmp is not None:
        _demand(host.disk_space(tmp), min(_TEMPORARY, needed_bytes), tmp, say("TMPDIR names a folder on another disk"))


def _demand(space: DiskSpace, needed: int, path: str, way_out: str) -> None:
    if space.free is not None and space.free < needed:
        raise SpaceError(
            say(
                "not enough room at {path}: {gb} needed, {gb_2} free; nothing was changed",
                path=path,
                gb=_gb(needed),
                gb_2=_gb(space.free),
            ),
            hint=say("free some room, or: {way_out}", way_out=way_out),
        )


def check_new_path(host: Host, path: str) -> None:
    """Raise ``PathError`` or ``PermissionsError`` unless a new environment can be made at ``path``."""
    if host.read_text(path, limit=1).outcome == "read":
        raise PathError(say("{path} is a file", path=path), hint=say("choose a path that does not exist yet"))
    if _exists(host, path) and (_exists(host, f"{path}/*", magic=True) or _exists(host, f"{path}/.*", magic=True)):
        raise PathError(
            say("{path} exists and is not empty; nothing was changed", path=path),
            hint=say("choose a path that does not exist yet"),
        )
    space = host.disk_space(path)
    if space.problem is not None:
        raise PathError(
            say("{path} cannot be used: {problem}", path=path, problem=space.problem), hint=say("choose another path")
        )
    if not space.writable:
        raise PermissionsError(
            say("you may not make {path}; nothing was changed", path=path),
            hint=say("choose a path in your home folder"),
        )
    if _is_noexec(path):
        raise PathError(
            say(
                "{path} is on a file system from which nothing may be run (mounted noexec); nothing was changed",
                path=path,
            ),
            hint=say("choose a path on another disk"),
        )


def _exists(host: ProbeHost, path: str, *, magic: bool = False) -> bool:
    folder, _, pattern = path.rpartition("/") if magic else (path, "", "")
    # A bracket in a folder's name is no pattern.
    literal = folder.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    found = host.glob(f"{literal}/{pattern}" if magic else literal)
    return any(hit.rstrip("/").rpartition("/")[2] not in (".", "..") for hit in found)


def _gb(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB / 10 else f"{max(size / 1e6, 0.1):.1f} MB"

"""undo: put the environment back as it was before the last installation, or give up the files kept for that."""

from __future__ import annotations

import os.path
import time
from collections.abc import Callable

import msgspec

from envfix.app.recovering import prefixes, settle
from envfix.app.settings import NOBODY, named_target, time_limit
from envfix.errors import TargetError, UsageError
from envfix.host import journal
from envfix.host.real import RealHost
from envfix.installer import acting, changes
from envfix.installer.changes import Layout
from envfix.model.language import retold, say
from envfix.model.outcome import Undone
from envfix.model.reporter import Reporter
from envfix.probes import interpreter

_LIMIT = 50_000_000


class Undoable(msgspec.Struct, frozen=True, kw_only=True):
    """What can be taken back in an environment.

    ``changed`` are packages of it that somebody has changed since: they are lost with it. ``stays`` came since and stays.
    """

    layout: Layout
    what: str
    began: float
    kept_bytes: int
    is_new: bool
    changed: tuple[str, ...]
    stays: tuple[str, ...]

    @property
    def question(self) -> str | None:
        """What to ask before it is done; None where nothing else is lost."""
        if self.is_new:
            return say("This removes the environment {prefix} with everything in it. Do it?", prefix=self.layout.prefix)
        if self.changed:
            return say(
                "{changed} was changed since: that version goes too. Do it?", changed=say(" and ").join(self.changed)
            )
        return None


def find(target: str | None, *, reporter: Reporter = NOBODY) -> Undoable:
    """The last installation into the target's environment; raises ``JournalError`` where there is none."""
    layout = _layout(target, reporter)
    entry = journal.undoable(layout.prefix)
    if entry is None:
        raise journal.JournalError(
            say("there is no installation of envfix to undo in {prefix}", prefix=layout.prefix),
            hint=say("only the last one is kept, until `envfix undo --forget` or the next installation"),
        )
    return Undoable(
        layout=layout,
        what=entry.what,
        began=entry.began,
        kept_bytes=journal.kept_bytes(layout.prefix),
        is_new=entry.is_new,
        changed=acting.changed_since(layout, entry),
        stays=acting.came_since(layout, entry),
    )


def confirm(undoable: Undoable, ask: Callable[[str], bool], *, yes: bool) -> None:
    """Ask where more is lost than the installation itself; raises ``UsageError`` that says what to add."""
    if undoable.question is not None and not yes and not ask(undoable.question):
        lost = (
            say("the whole environment")
            if undoable.is_new
            else say("what was changed since: {changed}", changed=", ".join(undoable.changed))
        )
        raise UsageError(
            say("nothing was undone: it would remove {lost}", lost=lost),
            hint=say("add --yes to do it without being asked"),
        )


def undo(undoable: Undoable, *, reporter: Reporter = NOBODY) -> Undone:
    """Take it back; raises ``EnvfixError`` where that is impossible."""
    host = RealHost()
    reporter.stage(say("putting the environment back"))
    also = changes.files_of(undoable.layout, undoable.changed, lambda path: host.read_text(path, limit=_LIMIT).text)
    restored = acting.undo(undoable.layout.prefix, reporter, also, began=undoable.began)
    return Undone(
        prefix=undoable.layout.prefix,
        what=undoable.what,
        began=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(undoable.began)),
        removed_environment=undoable.is_new,
        files_back=restored.back if restored else 0,
        files_removed=restored.removed if restored else 0,
        differing=restored.differing if restored else (),
        stays=undoable.stays,
        edited=restored.edited if restored else (),
        edited_in=restored.edited_in if restored else None,
    )


def forget(undoable: Undoable, *, reporter: Reporter = NOBODY) -> Undone:
    """Delete the files kept for undo; the environment stays as it is."""
    acting.forget(undoable.layout.prefix, reporter)
    return Undone(
        prefix=undoable.layout.prefix,
        what=undoable.what,
        began=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(undoable.began)),
        forgotten_bytes=undoable.kept_bytes,
    )


def _layout(target: str | None, reporter: Reporter) -> Layout:
    host = RealHost()
    if target is not None and os.path.isdir(target):
        settle(os.path.abspath(target), reporter)  # what is left of one may have no interpreter
    path = named_target(host, target)
    settle(path, reporter)
    chosen = interpreter.resolve(host, target)
    said = interpreter.probe(host, chosen, timeout=time_limit(host), with_binaries=False)[0]
    if said.value is not None:
        return changes.layout_for(said.value)
    for prefix in prefixes(path):  # its interpreter is broken, but what is to be undone lies there all the same
        if journal.undoable(prefix) is not None:
            return changes.layout_of(prefix)
    raise TargetError(
        say("{path} cannot be asked: {problem}", path=path, problem=retold(said.problem or "")),
        hint=say("name the environment with --python PATH"),
    )

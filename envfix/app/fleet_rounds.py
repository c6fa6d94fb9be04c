"""fleet next: one round of asking a node, for who can only run programs there one after the other (Ansible)."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import msgspec

from envfix.app.fleet import (
    FleetRequest,
    Seen,
    collector_files,
    look_at,
    make_folder,
    save,
    unreached_document,
    write_into,
)
from envfix.app.settings import time_limit
from envfix.errors import EnvfixError, SnapshotError, UsageError
from envfix.fleet import ansible, nodesets, travelling
from envfix.fleet.asking import Asked, Asking
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.model import reasons
from envfix.model.language import say

# Seconds that one round may take on the node, and characters of what it answers.
ROUND_SECONDS = 150.0
MOST_TOLD = 16_000_000


class _Begun(msgspec.Struct, kw_only=True):
    """What is known between two rounds."""

    cookie: str
    asked: list[Any] = []
    transcript: list[dict[str, Any]] = []
    rounds: int = 0


def playbook(request: FleetRequest, path: str) -> str:
    """Write the playbook, and say where it collects into."""
    host = RealHost()
    folder = os.path.abspath(request.save or "envfix-nodes")
    python = host.system_facts()["own_python"]
    options = [
        *(("--python", request.target) if request.target else ()),
        *(() if request.with_import else ("--no-import",)),
    ]
    text = ansible.playbook(folder, (python, "-I", "-m", "envfix"), options)
    make_folder(folder)
    try:
        host.write_text(path, text)
    except OSError as error:
        raise EnvfixError(
            say("cannot write {path}: {strerror}", path=path, strerror=error.strerror or error)
        ) from error
    return folder


def read_told() -> str:
    """What Ansible gives on standard input."""
    with RealHost().open_bytes(None) as stream:
        return stream.read(4 * MOST_TOLD).decode("utf-8", "replace")


def next_round(folder: str, node: str, told: str, request: FleetRequest, *, last: bool) -> str:
    """What goes to the node next, for its standard input; nothing once all is told, which then lies in the folder.

    ``told`` is what Ansible registered of the last round, as JSON; empty before the first.
    """
    if not nodesets.NAME.fullmatch(node):
        raise UsageError(say("{node!r} is not the name of a node", node=node[:80]))
    host = RealHost()
    state = os.path.join(folder, f".{node}.asking")
    said = _said(told)
    try:
        if said.get("unreachable"):
            raise SnapshotError(_why(said))  # noqa: TRY301 - told like any other reason
        if said and not _has_begun(host, state):
            return ""  # all was told in an earlier round
        begun = _begun(host, state) if said else _Begun(cookie="")
        language, wanted, asking, seen = _look(host, begun, said, request)
        if wanted and not last:
            going_on = _Begun(cookie=language.cookie, asked=wanted, transcript=asking.all_calls, rounds=asking.rounds)
            host.write_text(state, msgspec.json.encode(going_on).decode())
            return language.program + language.round(wanted, ROUND_SECONDS - 10, together=False)
        _keep(host, folder, node, request, asking, None if wanted else seen)
    except SnapshotError as error:
        write_into(host, folder, node, unreached_document(error.message))
    with contextlib.suppress(OSError):
        os.unlink(state)
    return ""


def _keep(host: RealHost, folder: str, node: str, request: FleetRequest, asking: Asking, seen: Seen | None) -> None:
    if seen is None:
        raise SnapshotError(reasons.UNFINISHED)
    save(host, msgspec.structs.replace(request, save=folder), node, seen, asking.told)


def _begun(host: RealHost, state: str) -> _Begun:
    try:
        return msgspec.json.decode(host.read_text(state, limit=8 * MOST_TOLD).text, type=_Begun)
    except msgspec.DecodeError as error:
        raise SnapshotError(reasons.LOST_TRACK.format(file=state)) from error


def _said(told: str) -> dict[str, Any]:
    try:
        said = json.loads(told or "{}")
    except (ValueError, RecursionError) as error:
        raise UsageError(say("what the last round told is not JSON")) from error
    return said if isinstance(said, dict) else {}


def _has_begun(host: RealHost, state: str) -> bool:
    return host.read_text(state, limit=1).outcome == "read"


def _look(
    host: RealHost, begun: _Begun, said: dict[str, Any], request: FleetRequest
) -> tuple[travelling.Language, list[Asked], Asking, Any]:
    limit = time_limit(host)

    def look(node: ProbeHost) -> Seen:
        return look_at(node, request, limit, None)

    language = travelling.Language(collector_files(host), lifetime=ROUND_SECONDS)
    asking = Asking(look, begun.transcript)
    asking.rounds = begun.rounds
    if said:
        if said.get("rc") != 0:
            raise SnapshotError(_why(said))
        out = str(said.get("stdout") or "")
        if len(out) > MOST_TOLD:
            raise SnapshotError(reasons.TOO_MUCH.format(most=MOST_TOLD // 1_000_000))
        asked: list[Asked] = [(row[0], row[1]) for row in begun.asked]
        language.cookie = begun.cookie
        asking.take(asked, language.answers(out))
    seen, wanted = asking.look()
    return language, list(wanted), asking, seen


def _why(said: dict[str, Any]) -> str:
    """What Ansible says of a node that did not answer, or the last line of what the program there said."""
    lines = [line for key in ("msg", "stderr") for line in str(said.get(key) or "").strip().splitlines()]
    code, last = said.get("rc"), (lines or [reasons.NOTHING_SAID])[-1][:300]
    return last if code is None else reasons.ENDED.format(code=code, reason=last)

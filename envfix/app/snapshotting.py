"""snapshot: detect through a recording host, and save facts and transcript redacted."""

from __future__ import annotations

from envfix import snapshots
from envfix.app.detecting import detect
from envfix.app.settings import NOBODY, named_target, time_limit
from envfix.errors import EnvfixError, SnapshotError
from envfix.host.real import RealHost
from envfix.host.recording import RecordingHost
from envfix.model.documents import to_json
from envfix.model.reporter import Reporter
from envfix.snapshots import Snapshot


def read_snapshot(host: RealHost, path: str) -> Snapshot:
    """The machine saved in a file; raises ``SnapshotError``."""
    answer = host.read_text(path, limit=snapshots.SIZE_LIMIT)
    if answer.outcome != "read":
        raise SnapshotError(f"cannot read {path}: {answer.problem or 'there is no such file'}")
    return snapshots.read(answer.text, path)


def save_snapshot(
    path: str, target: str | None = None, *, with_import: bool = True, reporter: Reporter = NOBODY
) -> str:
    """Write this machine's facts and transcript, redacted, to ``path``; raises ``EnvfixError`` where that is impossible."""
    host = RealHost()
    recording = RecordingHost(host)
    reporter.stage("looking at this machine and its Python")
    if target is not None:
        named_target(host, target)
    machine, environment = detect(recording, target, with_import=with_import, timeout=time_limit(host))
    redactor = snapshots.redactor_here(host.system_facts()["home"], machine)
    content = snapshots.document(
        machine, environment, recording.transcript, redactor, target=target, with_import=with_import
    )
    try:
        host.write_text(path, to_json(content) + "\n")
    except OSError as error:
        raise EnvfixError(
            f"cannot write {path}: {error.strerror or error}", hint="name another file with -o"
        ) from error
    return path

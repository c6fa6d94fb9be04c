"""snapshot: detect through a recording host, and save facts and transcript redacted; and look at what was saved or pasted."""

from __future__ import annotations

from envfix import snapshots
from envfix._version import __version__
from envfix.app.detecting import detect
from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, time_limit
from envfix.errors import EnvfixError, SnapshotError
from envfix.host.real import RealHost
from envfix.host.recording import RecordingHost
from envfix.model.documents import to_json
from envfix.model.language import in_english, later, say
from envfix.model.reporter import Reporter
from envfix.report_reader import facts, lines
from envfix.snapshots import Snapshot
from envfix.tables.loader import Tables

ACCEPTED = later("give a file written by `envfix snapshot -o`, or the output of `python -m torch.utils.collect_env`")


def read_snapshot(host: RealHost, path: str, tables: Tables) -> Snapshot:
    """The machine saved in a file, or the one that a pasted report tells of; raises ``SnapshotError``."""
    answer = host.read_text(path, limit=snapshots.SIZE_LIMIT)
    if answer.outcome != "read":
        raise SnapshotError(
            say("cannot read {path}: {problem}", path=path, problem=answer.problem or say("there is no such file"))
        )
    if answer.text.lstrip("\ufeff \t\r\n").startswith("{"):
        return snapshots.read(answer.text, path)
    report = lines.find(answer.text)
    if report is None:
        raise SnapshotError(
            say("{path} holds neither an envfix snapshot nor a collect_env report", path=path), hint=ACCEPTED
        )
    machine, environment = facts.read(report, tables)
    return Snapshot(machine=machine, environment=environment, envfix=__version__, with_import=False)


def save_snapshot(
    path: str, target: str | None = None, *, with_import: bool = True, reporter: Reporter = NOBODY
) -> str:
    """Write this machine's facts and transcript, redacted, to ``path``; raises ``EnvfixError`` where that is impossible."""
    host = RealHost()
    recording = RecordingHost(host)
    reporter.stage(say("looking at this machine and its Python"))
    if target is not None:
        named_target(host, target)
    with in_english():  # what is saved is read by others
        machine, environment = detect(
            recording,
            target,
            with_import=with_import,
            timeout=time_limit(host),
            settle=lambda path: settle(path, reporter),
        )
    redactor = snapshots.redactor_here(host.system_facts()["home"], machine)
    content = snapshots.document(
        machine, environment, recording.transcript, redactor, target=target, with_import=with_import
    )
    try:
        host.write_text(path, to_json(content) + "\n")
    except OSError as error:
        raise EnvfixError(
            say("cannot write {path}: {strerror}", path=path, strerror=error.strerror or error),
            hint=say("name another file with -o"),
        ) from error
    return path

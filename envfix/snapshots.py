"""A machine saved in a file: the facts and the redacted transcript they were read from."""

from __future__ import annotations

import contextlib
import getpass
import json
import platform
from collections.abc import Iterable
from typing import Any

import msgspec

from envfix._version import __version__
from envfix.errors import SnapshotError
from envfix.model.documents import Redactor, from_builtins, json_to_record, to_builtins
from envfix.model.facts import Environment, Machine
from envfix.model.language import say

SCHEMA = "envfix.snapshot/1"
SIZE_LIMIT = 64_000_000


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What ``envfix snapshot`` writes. ``transcript`` is every question and its answer, ``facts`` what was read from them."""

    machine: Machine
    environment: Environment
    envfix: str
    target: str | None = None
    with_import: bool = True
    transcript: tuple[dict[str, Any], ...] = ()


def redactor_here(home: str, machine: Machine | None, others: Iterable[str] = ()) -> Redactor:
    """A redactor for the user and host that this process runs as, for whoever else uses the machine's cards, and for others."""
    people = []
    with contextlib.suppress(KeyError, OSError):
        people.append(getpass.getuser())
    cards = (machine.gpus.value if machine else None) or ()
    people += [process.user for card in cards for process in card.processes if process.user]
    return Redactor(home=home, people=[*people, *others], host=platform.node())


def document(
    machine: Machine,
    environment: Environment,
    transcript: list[dict[str, Any]],
    redactor: Redactor,
    *,
    target: str | None,
    with_import: bool,
) -> dict[str, Any]:
    """The snapshot as plain values, redacted; nothing that was not redacted leaves this function."""
    facts = {"machine": to_builtins(machine), "environment": to_builtins(environment)}
    content = {"target": target, "with_import": with_import, "facts": facts, "transcript": transcript}
    return {"schema": SCHEMA, "envfix": __version__, **redactor.value(content)}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The two halves of what is known of a saved machine."""

    machine: Machine
    environment: Environment


class _Sealed(msgspec.Struct, frozen=True):
    schema: str
    facts: msgspec.Raw


def sealed_facts(text: str) -> bytes | None:
    """The facts of a snapshot as they stand there, to be compared and opened; None: not a snapshot that this envfix reads.

    Much faster than ``read``, which then says what is wrong: the transcript, most of a snapshot, is passed over.
    """
    try:
        sealed = msgspec.json.decode(text, type=_Sealed)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return bytes(sealed.facts) if sealed.schema == SCHEMA else None


def open_facts(sealed: bytes) -> Facts | None:
    """The same as records; None: they are damaged."""
    try:
        return json_to_record(sealed, Facts)
    except (msgspec.DecodeError, ValueError, NotImplementedError, RecursionError):
        return None


def read(text: str, name: str) -> Snapshot:
    """A snapshot from its text; raises ``SnapshotError`` saying what is wrong with it and where."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(
            say("{name} is not JSON ({error})", name=name, error=error),
            hint=say("give a file written by `envfix snapshot -o`"),
        ) from error
    if not isinstance(content, dict) or not str(content.get("schema", "")).startswith("envfix.snapshot/"):
        raise SnapshotError(
            say("{name} is not an envfix snapshot", name=name), hint=say("give a file written by `envfix snapshot -o`")
        )
    if content["schema"] != SCHEMA:
        raise SnapshotError(
            say(
                "{name} has the schema {schema}, this envfix reads {schema_2}",
                name=name,
                schema=content["schema"],
                schema_2=SCHEMA,
            ),
            hint=say("update envfix"),
        )
    facts = content.get("facts")
    flat = {**content, **(facts if isinstance(facts, dict) else {})}
    keys = set(Snapshot.__struct_fields__)
    try:
        return from_builtins({key: value for key, value in flat.items() if key in keys}, Snapshot)
    except (msgspec.ValidationError, ValueError, NotImplementedError, RecursionError) as error:
        raise SnapshotError(say("{name} is damaged: {error}", name=name, error=error)) from error

"""From the bytes of a log to its causes: pure, without touching the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from envfix.logs import scanning
from envfix.logs.cleaning import Stream
from envfix.model.explanation import Explanation
from envfix.model.facts import Environment, Machine
from envfix.model.gpu_use import by_number, numbers
from envfix.model.language import say
from envfix.model.log import Log
from envfix.report_reader import statements
from envfix.rules import _explaining, _log
from envfix.rules._rule import all_rules

if TYPE_CHECKING:
    from envfix.tables.loader import Tables


def read(stream: Stream, name: str | None = None) -> Log:
    """Everything in a log that any rule looks for; ``name`` is what it is called where several are read."""
    errors, beside = _log.patterns(all_rules())
    return scanning.scan(stream, errors, (*beside, *statements.PATTERNS), name=name)


def is_silent(log: Log) -> bool:
    """Whether nothing in the log is a failure that any rule knows."""
    return not _log.suspicions(log, all_rules())


def alone(log: Log, tables: Tables, notes: tuple[str, ...] = ()) -> Explanation:
    """The causes by what the log itself says, of errors and of the machine that it was made on."""
    stated = statements.read(log, tables)
    told: Literal["log", "none"] = "log" if stated.told else "none"
    return joined(log, stated.machine, stated.environment, tables, facts=told, notes=notes)


def joined(
    log: Log,
    machine: Machine,
    environment: Environment,
    tables: Tables,
    *,
    facts: Literal["machine", "file", "log", "none"],
    origin: str | None = None,
    notes: tuple[str, ...] = (),
) -> Explanation:
    """The causes by a log and by facts of the machine that it was made on."""
    if log.passed_over:
        size = f"{log.passed_over / (1 << 20):.0f} MiB"
        notes = (
            *notes,
            say("This log is so large and varied that {size} of its middle were not read closely.", size=size),
        )
    causes = _explaining.causes(log, all_rules(), machine, environment, tables, stated=facts == "log")
    cards = numbers(machine.gpus.value or ())
    if facts == "file":  # the serial ids of a saved machine are stand-ins
        causes = by_number(causes, cards)
    return Explanation(
        causes=causes,
        ambiguous=_explaining.is_ambiguous(causes),
        facts=facts,
        lines=log.lines,
        bytes=log.bytes,
        origin=origin,
        notes=notes,
        cards=cards,
    )

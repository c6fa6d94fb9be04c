"""Runs the ladder in the target interpreter, follows it rung by rung, and turns whatever happens into rungs."""

from __future__ import annotations

import json
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from envfix.errors import TargetError
from envfix.host.interface import CommandResult, Deadline, Host
from envfix.host.target import Said, told
from envfix.model.language import in_english, later, look_up, retold, say
from envfix.model.outcome import NOT_TRIED, Rung, RungStatus, Verification
from envfix.model.reporter import NullReporter, Reporter
from envfix.verifier.causes import classify, classify_signal
from envfix.verifier.interface import STAGES, TIME_LIMITS, Level, Weights, rungs_of

SCRIPT = "envfix_verify_ladder.py"
# All that the ladder is made of, for where nothing lies beside it.
SCRIPTS = (
    SCRIPT,
    "envfix_verify_basics.py",
    "envfix_verify_memory.py",
    "envfix_verify_train.py",
    "envfix_verify_weights.py",
)
_LINE_LIMIT = 64 * 1024
_SHOWN_OUTPUT = 1500
_SHOWN_WORDS = 400
_FRAME = re.compile(r'^ +File "([^"\n]{1,400})", line (\d{1,7}) in ', re.MULTILINE)
_LEAVING_SECONDS = 10.0
# What Windows gives as exit code for a crash; elsewhere a crash is a negative code.
_WINDOWS_CRASHES = {0xC0000005: "SIGSEGV", 0xC000001D: "SIGILL", 0xC0000409: "SIGABRT"}
# What is sure of a rung that failed, where nothing says why.
_AT_LEAST = {"import": "torch_import_fails"}
_KILLED = {
    "SIGILL": later("killed by SIGILL: this processor lacks an instruction that the library uses"),
    "SIGKILL": later("killed by SIGKILL, most likely by the system for lack of memory"),
}


class _Start(msgspec.Struct, tag_field="event", tag="start"):
    rung: str


class _End(msgspec.Struct, tag_field="event", tag="end"):
    rung: str
    status: RungStatus
    seconds: float
    message: str | Said
    detail: dict[str, Any] = {}


class _Done(msgspec.Struct, tag_field="event", tag="done"):
    device: str
    weights: str
    memory: dict[str, Any]


class _TooOld(msgspec.Struct, tag_field="event", tag="too_old"):
    version: str


_Event = _Start | _End | _Done | _TooOld
_EVENTS = msgspec.json.Decoder(_Event)


def verify(
    host: Host,
    python: str,
    *,
    level: Level = "yolo",
    device: str = "auto",
    expect: Mapping[str, str] | None = None,
    gpu_expected: bool = False,
    weights: Weights | None = None,
    memory: bool = False,
    reporter: Reporter | None = None,
    limits: Mapping[str, float] = TIME_LIMITS,
    on_rung: Callable[[Rung], None] | None = None,
) -> Verification:
    """Climb the ladder with the interpreter ``python``; a broken environment is a failed rung, never an exception.

    ``device`` is ``auto``, ``cpu``, a number or a GPU's UUID; ``expect`` names the versions that must be installed.
    With ``gpu_expected`` (the machine has an NVIDIA GPU) an unusable GPU is a failure unless the device is ``cpu``.
    ``weights`` adds a rung with trained weights, ``memory`` one that measures where a GPU's memory goes.
    ``on_rung`` hears of each rung as soon as it is decided. Raises ``TargetError`` if ``python`` cannot be asked.
    """
    cookie = secrets.token_hex(16)
    rungs = rungs_of(level, weights=weights is not None, memory=memory)
    climb = _Climb(rungs, {**TIME_LIMITS, **limits}, reporter or NullReporter(), on_rung)
    climb.facts.update(gpu_expected=gpu_expected, LD_LIBRARY_PATH=host.getenv("LD_LIBRARY_PATH"))
    reader = EventReader(cookie)
    scratch = host.make_temporary_folder()
    request = {
        "rungs": rungs,
        "device": device,
        "expect": dict(expect or {}),
        "gpu_expected": gpu_expected,
        "limits": climb.limits,
        "scratch": scratch,
        "weights": weights,
    }

    def follow(text: str) -> None:
        for event in reader.feed(text):
            climb.hear(event)

    try:
        result = host.stream(
            [python, host.script_path(SCRIPT), cookie, json.dumps(msgspec.to_builtins(request))],
            on_text=follow,
            deadline=climb.deadline,
            env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        )
    finally:
        with suppress(OSError):
            host.remove_tree(scratch)
    follow("\n")
    return climb.conclude(python, result, reader.noise(result.stdout))


class Prepared:
    """A climb on another machine: what is asked for, and how its whole output is read afterwards."""

    def __init__(self, rungs: tuple[str, ...], weights: Weights | None) -> None:
        self._rungs, self._weights = rungs, weights
        self._cookie = secrets.token_hex(16)
        self._limits = {name: TIME_LIMITS[name] for name in rungs}

    @property
    def seconds(self) -> float:
        """How long all rungs together may take."""
        return sum(self._limits.values())

    def arguments(self, folder: str, *, device: str, gpu_expected: bool) -> tuple[str, str]:
        """What the script is started with; ``folder`` is an empty one, removed afterwards."""
        request = {
            "rungs": self._rungs,
            "device": device,
            "expect": {},
            "gpu_expected": gpu_expected,
            "limits": self._limits,
            "scratch": folder,
            "weights": self._weights,
        }
        return self._cookie, json.dumps(msgspec.to_builtins(request))

    def read(self, python: str, result: CommandResult, *, gpu_expected: bool) -> Verification:
        """The rungs in what it printed; raises ``TargetError`` where it could not be asked."""
        climb = _Climb(self._rungs, self._limits, NullReporter(), None)
        climb.facts.update(gpu_expected=gpu_expected)
        reader = EventReader(self._cookie)
        for event in reader.feed(result.stdout + "\n"):
            climb.hear(event)
        return climb.conclude(python, result, f"{reader.noise(result.stdout)}\n{result.stderr}".strip())


def prepare(*, level: Level, weights: Weights | None = None) -> Prepared:
    """A climb that is carried out elsewhere."""
    return Prepared(rungs_of(level, weights=weights is not None), weights)


class EventReader:
    """Finds the ladder's events in a stream of text between whatever libraries print; keeps at most one line of it."""

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie
        self._rest = ""

    def feed(self, text: str) -> Iterator[_Event]:
        """The events that are complete now; damaged ones are ignored (their rung then counts as not answered)."""
        *lines, rest = (self._rest + text).split("\n")
        self._rest = rest[-_LINE_LIMIT:]
        for line in lines:
            _, found, answer = line.partition(self._cookie)
            if found:
                with suppress(msgspec.DecodeError):
                    yield _EVENTS.decode(answer)

    def noise(self, text: str) -> str:
        """The text without the events: what the libraries themselves said."""
        lines = (line.rstrip() for line in text.split("\n") if self._cookie not in line)
        return "\n".join(line for line in lines if line)


class _Climb:
    """What is known of the climb so far."""

    def __init__(
        self,
        expected: tuple[str, ...],
        limits: Mapping[str, float],
        reporter: Reporter,
        on_rung: Callable[[Rung], None] | None,
    ) -> None:
        self.limits = {name: limits[name] for name in expected}
        self.deadline = Deadline(self.limits[expected[0]])
        self.facts: dict[str, Any] = {}
        self._expected = expected
        self._reporter = reporter
        self._on_rung = on_rung
        self._rungs: list[Rung] = []
        self._started_at: float | None = None
        self._done: _Done | None = None
        self._too_old: str | None = None

    @property
    def _next(self) -> str | None:
        """The rung whose answer is due."""
        return self._expected[len(self._rungs)] if len(self._rungs) < len(self._expected) else None

    @property
    def _failed(self) -> bool:
        return any(rung.status == "failed" for rung in self._rungs)

    def hear(self, event: _Event) -> None:
        """Take in one event; what does not belong to the rung that is due is ignored."""
        if isinstance(event, _TooOld):
            self._too_old = event.version
        elif isinstance(event, _Done):
            self._done = event
            self.deadline.extend(_LEAVING_SECONDS)
        elif event.rung != self._next or self._failed:
            return
        elif isinstance(event, _Start):
            self._started_at = time.monotonic()
            self.deadline.extend(self.limits[event.rung])
            self._reporter.stage(STAGES[event.rung])
        else:
            self._take(event)

    def conclude(self, python: str, result: CommandResult, noise: str) -> Verification:
        """Decide the rungs that gave no answer themselves; raises ``TargetError`` if nothing was heard at all."""
        if self._too_old is not None:
            raise TargetError(
                say("Python {too_old} is too old to be verified: {python}", too_old=self._too_old, python=python),
                hint=say("envfix verifies Python 3.6 and newer"),
            )
        if not self._rungs and self._started_at is None:
            reason = retold(result.failure) if not result.ok else say("it ran but did not answer as a Python would")
            if result.outcome == "timed-out":
                reason = say("no answer in {limits:g} s", limits=self.limits[self._expected[0]])
            raise TargetError(say("{python} cannot be asked: {reason}", python=python, reason=reason))
        if not self._failed and self._next is not None:
            self._add(self._lost_rung(self._next, result, noise))
        self._skip_rest()
        device = self._done.device if self._done else str(self.facts.get("device", "cpu"))
        return Verification(
            status="failed" if self._failed else "passed",
            device=device,
            python=python,
            rungs=tuple(self._rungs),
            weights=self._done.weights if self._done else "random",
            memory=_in_words(self._done.memory) if self._done else {},
        )

    def _take(self, event: _End) -> None:
        self.facts.update(event.detail)
        cause = None
        if event.status == "failed":
            text = "\n".join(str(event.detail.get(key, "")) for key in ("error", "text", "reason"))
            with in_english():
                words = told(event.message)
            cause = classify(event.rung, f"{words}\n{text}".strip(), self.facts)
            if cause is None and not event.detail.get("missing"):
                cause = _AT_LEAST.get(event.rung)
        self._add(
            Rung(
                name=event.rung,
                status=event.status,
                seconds=event.seconds,
                detail=event.detail,
                cause=cause,
                message=_shortened(told(event.message)),
            )
        )

    def _add(self, rung: Rung) -> None:
        self._rungs.append(rung)
        self._started_at = None
        if self._on_rung is not None:
            self._on_rung(rung)

    def _lost_rung(self, name: str, result: CommandResult, noise: str) -> Rung:
        """The rung during which the process hung, crashed or left."""
        seconds = 0.0 if self._started_at is None else time.monotonic() - self._started_at
        message, cause = _ending(name, result, noise, self.limits[name], self.facts)
        detail = {"output": _last_words(noise)} if noise else {}
        cause = cause or _AT_LEAST.get(name)
        return Rung(name=name, status="failed", seconds=round(seconds, 3), detail=detail, cause=cause, message=message)

    def _skip_rest(self) -> None:
        culprit = next((rung.name for rung in self._rungs if rung.status == "failed"), None)
        for name in self._expected[len(self._rungs) :]:
            message = say("an earlier rung failed: {culprit}", culprit=culprit)
            self._add(Rung(name=name, status="skipped", seconds=0.0, message=message, detail={NOT_TRIED: culprit}))


def _in_words(memory: dict[str, Any]) -> dict[str, Any]:
    """The memory, with the lines that tell it."""
    if "lines" not in memory:
        return memory
    return {**memory, "lines": [told(line) for line in msgspec.convert(memory["lines"], list[str | Said])]}


def _shortened(words: str) -> str:
    """The beginning and the end: the first words name the library, the last the reason."""
    if len(words) <= _SHOWN_WORDS:
        return words
    return f"{words[: _SHOWN_WORDS * 2 // 3]} ... {words[-_SHOWN_WORDS // 3 :]}"


def _last_words(noise: str) -> str:
    """The part of the output that tells most: what was said before a stack was printed, and its innermost frames."""
    dull = ("<frozen importlib", SCRIPT, "Extension modules: ")
    text = "\n".join(line for line in noise.split("\n") if not any(word in line for word in dull))
    stack = text.rfind("(most recent call first)")
    start = len(text) - _SHOWN_OUTPUT if stack < 0 else stack - _SHOWN_OUTPUT // 2
    return text[max(start, 0) :][:_SHOWN_OUTPUT]


def _ending(
    name: str, result: CommandResult, noise: str, limit: float, facts: Mapping[str, Any]
) -> tuple[str, str | None]:
    """How the process ended in the middle of a rung, and where: one sentence, and the cause if its last words prove one."""
    place = _place(noise)
    if result.outcome == "timed-out":
        return say(
            "no answer in {limit:g} s{place}", limit=limit, place=place and say("; it hangs in {place}", place=place)
        ), None
    killed_by = _signal_name(result.returncode)
    if killed_by is not None:
        killed = look_up(_KILLED.get(killed_by, "")) or say("killed by {killed_by}", killed_by=killed_by)
        return say(
            "{told}{place}", told=killed, place=place and say("; it was in {place}", place=place)
        ), classify_signal(name, killed_by, noise, facts)
    return say("the process ended early with exit code {returncode}", returncode=result.returncode), classify(
        name, noise, facts
    )


def _place(noise: str) -> str:
    """The innermost line of Python in the stack that was printed last, of the thread that crashed or of the first one."""
    crashed = noise.rfind("Current thread ")
    start = crashed if crashed >= 0 else noise.rfind("(most recent call first)")
    frames = _FRAME.finditer(noise, start) if start >= 0 else iter(())
    inner = next((frame for frame in frames if "<frozen" not in frame[1]), None)
    return (
        ""
        if inner is None or inner[1].endswith(SCRIPT)
        else say("{inner}, line {inner_2}", inner=inner[1], inner_2=inner[2])
    )


def _signal_name(code: int | None) -> str | None:
    if code is None or code in _WINDOWS_CRASHES:
        return _WINDOWS_CRASHES.get(code or 0)
    if code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return say("signal {value}", value=-code)

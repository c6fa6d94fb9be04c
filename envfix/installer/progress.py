"""Reads the progress that uv draws on a terminal and tells it to a reporter, also when there is none for a while."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable

from envfix.installer.route import NO_ROUTE, Route
from envfix.model.language import later, say
from envfix.model.reporter import Reporter

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
# ⠋ Preparing packages... (6/13)   scipy   ------------------------------ 13.97 MiB/33.71 MiB
_FRAME = re.compile(r"Preparing packages\.\.\. \((\d+)/(\d+)\)")
_ROW = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s+-{5,}\s+([\d.]+) (B|[KMG]iB)/([\d.]+) (B|[KMG]iB)")
_STAGE = re.compile(r"(Resolving|Preparing|Building|Installing|Uninstalled|Prepared)\b")
_DOWNLOADING = later("downloading packages")
INSTALLING = later("installing packages")
_STAGES = {
    "Resolving": later("working out the packages"),
    "Preparing": _DOWNLOADING,
    "Building": later("building a package from source"),
    "Prepared": INSTALLING,
    "Installing": INSTALLING,
    "Uninstalled": INSTALLING,
}
_CARRY = 400
# After so many seconds without movement the user is told, and again at growing distance.
STALLS = (10.0, 60.0, 180.0, 300.0, 480.0)
# A download below this many bytes a second, over that many seconds, is told once if more than a minute is left.
SLOW_RATE = 20_000
SLOW_OVER = 20.0
_SLOW_LEFT = 60.0


class StallNotice:
    """Tells a reporter when nothing has moved for a while, and when it moves again.

    ``limit`` is after how many seconds envfix gives up (0: never); ``what`` says of what nothing is heard.
    """

    def __init__(
        self,
        reporter: Reporter,
        limit: float = 0.0,
        *,
        what: Callable[[], str] = lambda: say("nothing has been heard"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reporter = reporter
        self._end = (
            say("envfix gives up after {span} at most; Ctrl-C is safe", span=span(limit))
            if limit
            else say("Ctrl-C is safe")
        )
        self._what = what
        self._clock = clock
        self._moved_at = clock()
        self._told = 0

    def moved(self, *, silently: bool = False) -> None:
        """Something has moved just now; ``silently`` where the reporter hears of it in other words."""
        now = self._clock()
        if self._told and not silently:
            self._reporter.note(say("it moves again, after {span}", span=span(now - self._moved_at)))
        self._moved_at, self._told = now, 0

    def look(self) -> None:
        """Called again and again while nothing moves."""
        still = self._clock() - self._moved_at
        passed = sum(still >= limit for limit in STALLS)
        if passed > self._told:
            self._told = passed
            nothing = self._what()
            before, _, source = nothing.partition(" from ")
            self._reporter.note(
                say(
                    "{before} for {span}{source}: still waiting ({end})",
                    before=before,
                    span=span(still),
                    source=say(" from {source}", source=source) if source else "",
                    end=self._end,
                )
            )


class Waiting:
    """Follows a program that draws nothing; ``feed`` is called with what it prints and about once a second."""

    def __init__(self, reporter: Reporter, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall = StallNotice(reporter, limit, what=lambda: say("there is no answer"), clock=clock)

    def feed(self, text: str) -> bool:
        """See ``UvProgress.feed``; what such a program prints never moves its deadline."""
        if text:
            self._stall.moved()
        else:
            self._stall.look()
        return False


class UvProgress:
    """Follows uv's drawing; ``expected`` is the number of bytes known to be missing (0: not known).

    ``route`` says where packages come from, ``limit`` after how many seconds without movement envfix gives up.
    """

    def __init__(
        self,
        reporter: Reporter,
        expected: int = 0,
        *,
        route: Route = NO_ROUTE,
        limit: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reporter = reporter
        self._expected = expected
        self._route = route
        self._clock = clock
        self._stall = StallNotice(reporter, limit, what=self._nothing, clock=clock)
        self._carry = ""
        self._rows: dict[str, tuple[int, int]] = {}
        self._shown: set[str] = set()
        self._frame: set[str] = set()
        self._restarted = False
        self._given_up: set[tuple[str, int]] = set()
        self._done = 0
        self._stage = ""
        self._counter = ""
        self._samples: deque[tuple[float, int]] = deque()
        self._slow_told = False

    @property
    def done(self) -> int:
        """Bytes that have arrived, as far as drawn."""
        return self._done

    def feed(self, text: str) -> bool:
        """Take the next piece of output; whether anything has moved (a turning spinner is no movement).

        An empty text is no output for about a second: time to look whether anything still moves.
        """
        clean = self._carry + _ANSI.sub("", text)
        end = 0
        moved = False
        for match in re.finditer(f"{_FRAME.pattern}|{_ROW.pattern}", clean):
            end = match.end()
            moved |= self._take_frame(match) if match[1] else self._take_row(match)
        moved |= self._take_stage(clean)
        moved |= self._count()
        # A new line is movement too: "Downloaded torch", " + numpy==1.26.4".
        moved |= "\n" in text
        # What is kept must not hold a stage word again, or an old one would win over the new.
        self._carry = clean[max(end, len(clean) - _CARRY) :].rpartition("\n")[2]
        if moved:
            self._stall.moved(silently=self._restarted)
            self._restarted = False
        else:
            self._stall.look()
        self._look_at_speed()
        return moved

    def finish(self) -> None:
        """Everything has arrived."""
        total = max(self._expected, self._done)
        if total:
            self._reporter.progress(total, total)

    def _take_frame(self, match: re.Match[str]) -> bool:
        counter = match[0]
        self._shown, self._frame = self._frame, set()
        if counter == self._counter:
            return False
        self._counter = counter
        if int(match[2]):
            self._reporter.packages(int(match[1]), int(match[2]))
        return True

    def _take_row(self, match: re.Match[str]) -> bool:
        name = match[3]
        done = int(float(match[4]) * _UNITS[match[5]])
        total = int(float(match[6]) * _UNITS[match[7]])
        before, whole = self._rows.get(name, (0, total))
        if name in self._frame:  # a try that uv has given up stays drawn, below the one that counts
            self._given_up.add((name, done))
            return False
        if done < before and (name, done) in self._given_up:  # the one that counts has arrived
            return False
        self._frame.add(name)
        if done < before and whole == total:
            self._restart(name, before)
        moved = self._rows.get(name) != (done, total)
        self._rows[name] = (done, total)
        return moved

    def _restart(self, name: str, before: int) -> None:
        """Uv has lost the connection and begins a file anew."""
        self._samples.clear()
        self._restarted = True
        self._reporter.note(
            say(
                "the download of {name}{from_} broke off after {size} and begins again",
                name=name,
                from_=self._from(name),
                size=_size(before),
            )
        )

    def _take_stage(self, text: str) -> bool:
        words = _STAGE.findall(text)
        stage = _STAGES[words[-1]] if words else self._stage
        if stage == self._stage:
            return False
        self._stage = stage
        self._samples.clear()
        self._reporter.stage(stage)
        return True

    def _count(self) -> bool:
        """Add up: a row that was drawn and is gone has arrived whole."""
        drawn = self._shown | self._frame
        done = sum(row[0] if name in drawn else row[1] for name, row in self._rows.items())
        if done <= self._done:
            return False
        self._done = done
        total = max(self._expected, self._whole)
        self._reporter.progress(done, total if self._expected else None)
        return True

    @property
    def _whole(self) -> int:
        return sum(row[1] for row in self._rows.values())

    def _look_at_speed(self) -> None:
        """Say once that a download is so slow that another index is worth a thought."""
        if self._slow_told or self._stage != _DOWNLOADING or not self._done:
            return
        now = self._clock()
        self._samples.append((now, self._done))
        while now - self._samples[0][0] > SLOW_OVER and now - self._samples[1][0] >= SLOW_OVER:
            self._samples.popleft()
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        left = max(self._expected, self._whole) - self._done
        if last - first < SLOW_OVER or after == before:  # when nothing comes at all, that is told elsewhere
            return
        rate = (after - before) / (last - first)
        if rate < SLOW_RATE and left / rate > _SLOW_LEFT:
            self._slow_told = True
            self._reporter.note(
                say(
                    "the download is very slow ({size}/s): {span} left; another index may be faster: --index",
                    size=_size(rate),
                    span=span(left / rate),
                )
            )

    def _nothing(self) -> str:
        """What does not move, in words that ``StallNotice`` puts a time into."""
        if self._stage != _DOWNLOADING:
            return say("uv has not got on ({stage})", stage=self._stage) if self._stage else say("there is no answer")
        drawn = self._shown | self._frame
        open_rows = sorted(name for name, (done, total) in self._rows.items() if name in drawn and done < total)
        if len(open_rows) == 1:
            return say(
                "nothing has arrived from {host} ({open_rows})",
                host=self._host(open_rows) or say("the package index"),
                open_rows=open_rows[0],
            )
        host = self._host(open_rows or list(self._route.hosts))
        return say("nothing has arrived from {host}", host=host or say("the package indexes"))

    def _host(self, names: list[str]) -> str:
        """The hosts of these packages; nothing where there are more than two of them."""
        hosts = sorted({host for name in names if (host := self._route.host_of(name)) is not None})
        return say(" and ").join(hosts) if len(hosts) <= 2 else ""

    def _from(self, name: str) -> str:
        host = self._route.host_of(name)
        return say(" from {host}", host=host) if host else ""


def span(seconds: float) -> str:
    """A length of time in one rounded number: ``12 s``, ``3 min``, ``5 h``, ``2 days``."""
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return say("{seconds:.0f} days", seconds=seconds / 86_400)


def _size(count: float) -> str:
    """Bytes with one digit after the point: ``1.0 kB``."""
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"

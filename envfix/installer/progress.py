"""Reads the progress that uv draws on a terminal and tells it to a reporter."""

from __future__ import annotations

import re

from envfix.model.reporter import Reporter

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
# ⠋ Preparing packages... (6/13)   scipy   ------------------------------ 13.97 MiB/33.71 MiB
_FRAME = re.compile(r"Preparing packages\.\.\. \((\d+)/(\d+)\)")
_ROW = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s+-{5,}\s+([\d.]+) (B|[KMG]iB)/([\d.]+) (B|[KMG]iB)")
_STAGE = re.compile(r"(Resolving|Preparing|Building|Installing|Uninstalled|Prepared)\b")
_STAGES = {
    "Resolving": "working out the packages",
    "Preparing": "downloading packages",
    "Building": "building a package from source",
    "Prepared": "installing packages",
    "Installing": "installing packages",
    "Uninstalled": "installing packages",
}
_CARRY = 400


class UvProgress:
    """Follows uv's drawing; ``expected`` is the number of bytes known to be missing (0: not known)."""

    def __init__(self, reporter: Reporter, expected: int = 0) -> None:
        self._reporter = reporter
        self._expected = expected
        self._carry = ""
        self._rows: dict[str, tuple[int, int]] = {}
        self._shown: set[str] = set()
        self._frame: set[str] = set()
        self._done = 0
        self._stage = ""
        self._counter = ""

    @property
    def done(self) -> int:
        """Bytes that have arrived, as far as drawn."""
        return self._done

    def feed(self, text: str) -> bool:
        """Take the next piece of output; whether anything has moved (a turning spinner is no movement)."""
        clean = self._carry + _ANSI.sub("", text)
        end = 0
        moved = False
        for match in re.finditer(f"{_FRAME.pattern}|{_ROW.pattern}", clean):
            end = match.end()
            moved |= self._take_frame(match) if match[1] else self._take_row(match)
        moved |= self._take_stage(clean) or self._count()
        # A new line is movement too: "Downloaded torch", " + numpy==1.26.4".
        moved |= "\n" in text
        # What is kept must not hold a stage word again, or an old one would win over the new.
        self._carry = clean[max(end, len(clean) - _CARRY) :].rpartition("\n")[2]
        return moved

    def finish(self) -> None:
        """Everything has arrived."""
        total = max(self._expected, self._done)
        if total:
            self._reporter.progress(total, total)

    def _take_frame(self, match: re.Match[str]) -> bool:
        counter = match[0]
        self._shown, self._frame = self._frame, set()
        moved, self._counter = counter != self._counter, counter
        return moved

    def _take_row(self, match: re.Match[str]) -> bool:
        name = match[3]
        done = int(float(match[4]) * _UNITS[match[5]])
        total = int(float(match[6]) * _UNITS[match[7]])
        self._frame.add(name)
        moved = self._rows.get(name) != (done, total)
        self._rows[name] = (done, total)
        return moved

    def _take_stage(self, text: str) -> bool:
        words = _STAGE.findall(text)
        stage = _STAGES[words[-1]] if words else self._stage
        if stage == self._stage:
            return False
        self._stage = stage
        self._reporter.stage(stage)
        return True

    def _count(self) -> bool:
        """Add up: a row that was drawn and is gone has arrived whole."""
        drawn = self._shown | self._frame
        done = sum(row[0] if name in drawn else row[1] for name, row in self._rows.items())
        if done <= self._done:
            return False
        self._done = done
        total = max(self._expected, sum(row[1] for row in self._rows.values()))
        self._reporter.progress(done, total if self._expected else None)
        return True

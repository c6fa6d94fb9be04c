"""What ``fit`` measures and answers, and the sums between: a line through the measured batches, and the largest batch under it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from envfix.model.language import say

MIB, GIB = 1 << 20, 1 << 30
# Measured one after the other, as far as they surely fit. Larger ones tell more about a batch that is large.
SMALL_BATCHES = (1, 2, 4, 8, 16, 32)
# Nothing is gained by larger batches, and their learning rate is a study of its own.
LARGEST_TRIED = 1024
# Where the predicted batch does not hold, these parts of the way up from the last proven one are tried.
STEPS_DOWN = (1.0, 0.95, 0.9, 0.8, 0.65, 0.5, 0.25)
# Sides of pictures are multiples of the network's stride.
STRIDE = 32
# What others take meanwhile is told from here on.
NOTICEABLE = 256 * MIB
# What CUDA itself takes of an empty card, about.
CONTEXT = GIB // 2
WIDE_SHARE = 0.9
SIZES = ("n", "s", "m", "l", "x")


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One batch that was tried; memory in bytes.

    ``limit`` is what it might take, ``available`` what was free for it. ``oom``: it asked for more than ``limit``, or than there
    was; ``over``: it took more; ``skipped``: others had taken so much meanwhile that it was not tried.
    """

    batch: int
    outcome: Literal["ok", "oom", "over", "skipped"]
    limit: int
    available: int
    peak_reserved: int | None = None
    peak_allocated: int | None = None
    seconds: float | None = None
    text: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one step of training in bytes: ``fixed + per_image * batch``."""

    fixed: int
    per_image: int

    def at(self, batch: int) -> int:
        """What a batch takes."""
        return self.fixed + self.per_image * batch


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """What would let a larger batch fit; ``batch`` is about how large (None: not calculated)."""

    text: str
    batch: int | None = None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """The largest batch that fits the share of the card's free memory; ``batch`` is None where not even one picture does.

    That batch has run. Memory in bytes: ``free`` is what the card had left for this process before, ``limit`` the part of it
    that could be taken in the end, ``peak`` what the batch took. ``larger`` is what would let a larger batch fit. ``cause`` is,
    where nothing fits, whose memory it is, by the catalogue's name.
    """

    status: Literal["fits", "nothing_fits"]
    model: str
    imgsz: int
    card: str
    device: str
    share: float
    amp: bool
    batch: int | None
    total: int
    free: int
    limit: int
    peak: int | None
    line: Line | None
    seconds_per_image: float | None
    measured: tuple[Step, ...]
    larger: tuple[Way, ...] = ()
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    export: tuple[str, ...] = ()
    python: str = ""
    torch: str | None = None
    ultralytics: str | None = None
    parameters: int | None = None
    cause: str | None = None


def fit_line(steps: Sequence[Step]) -> Line | None:
    """The line through the batches that fitted (least squares), lifted until none lies above it; None without any.

    From a single batch nobody can tell what is fixed: then all of it counts for the pictures, which promises too little.
    """
    points = [(step.batch, step.peak_reserved) for step in steps if step.outcome == "ok" and step.peak_reserved]
    if not points:
        return None
    middle = math.fsum(batch for batch, _ in points) / len(points)
    spread = math.fsum((batch - middle) ** 2 for batch, _ in points)
    slope = math.fsum((batch - middle) * size for batch, size in points) / spread if spread else 0.0
    if slope <= 0:
        batch, size = max(points)
        return Line(fixed=0, per_image=math.ceil(size / batch))
    per_image = math.ceil(slope)
    return Line(fixed=max(size - per_image * batch for batch, size in points), per_image=per_image)


def largest_batch(line: Line, limit: int) -> int:
    """The largest batch whose memory by the line stays within the limit; 0 where not even one picture does."""
    return max(0, min(LARGEST_TRIED, (limit - line.fixed) // line.per_image))


def best_proven(steps: Sequence[Step]) -> Step | None:
    """The largest batch that fitted."""
    return max((step for step in steps if step.outcome == "ok"), key=lambda step: step.batch, default=None)


def candidates(line: Line, limit: int, steps: Sequence[Step]) -> tuple[int, ...]:
    """The batches to try after the small ones, largest first: what the line promises, and steps down from there.

    None of them is as small as one that has fitted, or as large as one that has not.
    """
    proven = best_proven(steps)
    low = proven.batch if proven else 0
    refused = [step.batch for step in steps if step.outcome in ("oom", "over")]
    high = min([largest_batch(line, limit), *(batch - 1 for batch in refused)])
    wanted = (low + math.floor((high - low) * part) for part in STEPS_DOWN)
    return tuple(sorted({batch for batch in wanted if batch > low}, reverse=True))


def taken_meanwhile(*runs: tuple[int, Sequence[Step]]) -> int:
    """How much of the card others took between and during these runs, in bytes; little is none.

    A run is what was free at its start, and its steps. Only what was looked at alike is compared: CUDA itself takes more of
    the card when its first kernels run, so the first step of a run stands alone.
    """
    losses = [runs[0][0] - runs[-1][0]]
    losses += [steps[1].available - steps[-1].available for _, steps in runs if len(steps) > 1]
    lost = max(losses)
    return lost if lost >= NOTICEABLE else 0


def ways(fit: Fit) -> Iterator[Way]:
    """What would let a larger batch fit, with about how large it would be."""
    now = fit.batch or 0
    yield from (way for way in _changes(fit) if way.batch is None or way.batch > now)
    smaller = smaller_model(fit.model)
    if smaller is not None:
        yield Way(text=say("the smaller model {smaller}", smaller=smaller))
    if now:
        yield Way(
            text=say("gradients of several batches added up: ultralytics does that by itself, to 64 pictures (nbs=64)")
        )


def _changes(fit: Fit) -> Iterator[Way]:
    """What a user can change, largest effect first."""
    line = fit.line
    held = fit.total - fit.free
    if held >= GIB:
        text = say(
            "an empty card: others and CUDA itself held {value} GiB of it (`envfix gpus` names who)",
            value=f"{held / GIB:.1f}",
        )
        yield Way(text=text, batch=_about(line, int(fit.share * (fit.total - CONTEXT))))
    side = int(fit.imgsz * 0.8) // STRIDE * STRIDE
    if side >= STRIDE:
        area = (side / fit.imgsz) ** 2
        small = None
        if line is not None:
            small = Line(fixed=line.fixed, per_image=max(1, math.ceil(line.per_image * area)))
        yield Way(text=say("smaller pictures: imgsz={side}", side=side), batch=_about(small, fit.limit))
    if not fit.amp:
        yield Way(text=say("half precision: leave out --no-amp, and train with amp=True"))
    if fit.share < WIDE_SHARE:
        text = say(
            "a larger share of what is free: --share {wide_share}, which leaves less for peaks and for others",
            wide_share=f"{WIDE_SHARE:g}",
        )
        yield Way(text=text, batch=_about(line, int(WIDE_SHARE * fit.limit / fit.share)))


def _about(line: Line | None, limit: int) -> int | None:
    return None if line is None else largest_batch(line, limit)


def smaller_model(name: str) -> str | None:
    """The next smaller model of the same family: ``yolov8s.pt`` for ``yolov8m.pt``; None where the name does not tell."""
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    if "yolo" not in stem.lower() or not stem or stem[-1] not in SIZES[1:] or not stem[-2:-1].isdigit():
        return None
    return f"{stem[:-1]}{SIZES[SIZES.index(stem[-1]) - 1]}{dot}{ending}"

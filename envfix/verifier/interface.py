"""The rungs of the ladder, how long each may take, and how far a verification climbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from envfix.model.language import later

Level = Literal["import", "cuda", "yolo", "train"]

_OWN_RUNGS: Mapping[Level, tuple[str, ...]] = {
    "import": ("interpreter", "import", "versions"),
    "cuda": ("driver", "allocate", "matmul", "conv", "nms", "memory"),
    "yolo": ("yolo_predict", "yolo_weights"),
    "train": ("train",),
}

# What a user sees while a rung is climbed.
STAGES: Mapping[str, str] = {
    "interpreter": later("starting the interpreter"),
    "import": later("importing torch"),
    "versions": later("comparing versions"),
    "driver": later("opening the driver"),
    "allocate": later("taking GPU memory"),
    "matmul": later("multiplying matrices"),
    "conv": later("convolving"),
    "nms": later("suppressing overlapping boxes"),
    "memory": later("measuring where GPU memory goes"),
    "yolo_predict": later("predicting with YOLOv8n"),
    "yolo_weights": later("looking for a person and a bus with trained weights"),
    "train": later("training for one short epoch"),
}

# Seconds. A cold import from a network disk takes a minute; on a card without ready-made binaries the first kernels are
# compiled for minutes. Longer than that is a hang.
TIME_LIMITS: Mapping[str, float] = {
    "interpreter": 30.0,
    "import": 180.0,
    "versions": 120.0,
    "driver": 60.0,
    "allocate": 300.0,
    "matmul": 300.0,
    "conv": 300.0,
    "nms": 300.0,
    "memory": 300.0,
    "yolo_predict": 600.0,
    "yolo_weights": 600.0,
    "train": 900.0,
}


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Which trained weights to try: a ``file``; else, with ``find``, a ``yolov8n.pt`` of this user; else a ``download``.

    ``trust`` loads a file whatever it would run. ``picture`` is the file for the picture with what was found; without a name it
    is ``envfix-verify.jpg`` in the working folder. Paths are those of the working folder.
    """

    file: str | None = None
    find: bool = False
    download: bool = False
    trust: bool = False
    picture: str | None = None


def rungs_of(level: Level, *, weights: bool = True, memory: bool = False) -> tuple[str, ...]:
    """The rungs climbed for a level, lowest first; each level contains the ones before it.

    Trained weights are tried, and memory is measured, only where that is wished for.
    """
    left_out = {rung for rung, wished in (("yolo_weights", weights), ("memory", memory)) if not wished}
    levels = get_args(Level)
    climbed = (rung for one in levels[: levels.index(level) + 1] for rung in _OWN_RUNGS[one])
    return tuple(rung for rung in climbed if rung not in left_out)

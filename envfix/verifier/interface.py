"""The rungs of the ladder, how long each may take, and how far a verification climbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Level = Literal["import", "cuda", "yolo"]

_OWN_RUNGS: Mapping[Level, tuple[str, ...]] = {
    "import": ("interpreter", "import", "versions"),
    "cuda": ("driver", "allocate", "matmul", "conv", "nms"),
    "yolo": ("yolo_predict",),
}

# What a user sees while a rung is climbed.
STAGES: Mapping[str, str] = {
    "interpreter": "starting the interpreter",
    "import": "importing torch",
    "versions": "comparing versions",
    "driver": "opening the driver",
    "allocate": "taking GPU memory",
    "matmul": "multiplying matrices",
    "conv": "convolving",
    "nms": "suppressing overlapping boxes",
    "yolo_predict": "predicting with YOLOv8n",
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
    "yolo_predict": 600.0,
}


def rungs_of(level: Level) -> tuple[str, ...]:
    """The rungs climbed for a level, lowest first; each level contains the ones before it."""
    levels = get_args(Level)
    return tuple(rung for one in levels[: levels.index(level) + 1] for rung in _OWN_RUNGS[one])

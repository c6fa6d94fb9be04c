"""Quantities in words that more than one part of envfix says."""

from __future__ import annotations


def time_span(seconds: float) -> str:
    """A time span in its largest whole unit: ``3 hours``."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"

"""envfix finds, explains and mends broken torch + CUDA environments, and proves the result with a YOLOv8 prediction.

For other programs: ``envfix.plan(python="3.11", driver="470.57.02", gpus=["RTX 3090"])`` decides which torch stack runs
there, without touching any machine (see ``envfix.api.plan``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envfix._version import __version__

if TYPE_CHECKING:
    from envfix.api import plan

__all__ = ["__version__", "plan"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: the command line must not wait for it."""
    if name == "plan":
        from envfix.api import plan

        return plan
    raise AttributeError(f"module 'envfix' has no attribute {name!r}")

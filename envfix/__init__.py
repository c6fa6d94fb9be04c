"""envfix finds, explains and mends broken torch + CUDA environments, and proves the result with a YOLOv8 prediction.

For other programs, without touching any machine:

- ``envfix.plan(python="3.11", driver="470.57.02", gpus=["RTX 3090"])`` decides which torch stack runs there;
- ``envfix.plan_for("machine.json")`` decides it for a machine that ``envfix snapshot -o machine.json`` recorded;
- ``envfix.explain(text)`` names the causes that the output of a program shows;
- ``envfix.IndexState`` tells either which index answers, and what it lists.

``envfix.api`` documents all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envfix._version import __version__

if TYPE_CHECKING:
    from envfix.api import explain, plan, plan_for
    from envfix.model.facts import IndexState

__all__ = ["IndexState", "__version__", "explain", "plan", "plan_for"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: the command line must not wait for it."""
    if name in __all__:
        from envfix import api

        return getattr(api, name)
    raise AttributeError(f"module 'envfix' has no attribute {name!r}")

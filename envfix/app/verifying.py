"""verify: climb the ladder in the target."""

from __future__ import annotations

from collections.abc import Callable

from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, time_limit
from envfix.host.real import RealHost
from envfix.model.outcome import Rung, Verification
from envfix.model.reporter import Reporter
from envfix.probes import displays, nvidia_driver
from envfix.verifier import ladder
from envfix.verifier.interface import Level


def verify(
    target: str | None = None,
    *,
    level: Level = "yolo",
    device: str = "auto",
    reporter: Reporter = NOBODY,
    on_rung: Callable[[Rung], None] | None = None,
) -> Verification:
    """Climb the ladder in the target; a machine with an NVIDIA card must use it unless ``device`` is ``cpu``.

    Raises ``UsageError`` where there is no such interpreter and ``TargetError`` where it cannot be asked.
    """
    host = RealHost()
    chosen = named_target(host, target)
    settle(chosen, reporter)
    limit = time_limit(host)
    reporter.stage("looking for NVIDIA cards")
    nvidia, pci = nvidia_driver.probe(host, timeout=limit), displays.probe(host, timeout=limit)
    has_gpu = (
        bool(nvidia.gpus.value) or nvidia.gpus.is_unknown or any(row.vendor_id == "10de" for row in pci.value or ())
    )
    return ladder.verify(
        host, chosen, level=level, device=device, gpu_expected=has_gpu, reporter=reporter, on_rung=on_rung
    )

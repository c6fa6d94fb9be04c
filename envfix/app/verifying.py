"""verify: climb the ladder in the target."""

from __future__ import annotations

from collections.abc import Callable

from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, time_limit
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.model.outcome import Rung, Verification
from envfix.model.reporter import Reporter
from envfix.probes import displays, nvidia_driver
from envfix.verifier import ladder
from envfix.verifier.interface import Level, Weights


def verify(
    target: str | None = None,
    *,
    level: Level = "yolo",
    device: str = "auto",
    weights: str | None = None,
    allow_download: bool = False,
    trust_weights: bool = False,
    picture: str | None = None,
    memory: bool = False,
    reporter: Reporter = NOBODY,
    on_rung: Callable[[Rung], None] | None = None,
) -> Verification:
    """Climb the ladder in the target; a machine with an NVIDIA card must use it unless ``device`` is ``cpu``.

    ``weights`` are trained weights to try; without, a ``yolov8n.pt`` of this user is tried where there is one, else one that
    ultralytics may fetch with ``allow_download``. ``trust_weights`` loads a file whatever it would run; ``picture`` is the file
    for the picture with what was found. ``memory`` adds the ledger of the GPU's memory.
    Raises ``UsageError`` where there is no such interpreter and ``TargetError`` where it cannot be asked.
    """
    wish = Weights(file=weights, find=weights is None, download=allow_download, trust=trust_weights, picture=picture)
    if wish != Weights(find=True) and level in ("import", "cuda"):
        raise UsageError(f"weights are not tried at --level {level}", hint="take --level yolo or train")
    if trust_weights and weights is None:
        raise UsageError("--trust-weights needs --weights FILE", hint="name the file that you trust")
    if memory and level == "import":
        raise UsageError("memory is not measured at --level import", hint="take --level cuda or higher")
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
        host,
        chosen,
        level=level,
        device=device,
        gpu_expected=has_gpu,
        weights=wish,
        memory=memory,
        reporter=reporter,
        on_rung=on_rung,
    )

"""verify: climb the ladder in the target."""

from __future__ import annotations

import os.path
from collections.abc import Callable

from envfix.app import gpu_failure, holding, idle_card, mending, scene
from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, standing, time_limit
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.model.facts import Machine
from envfix.model.language import say
from envfix.model.outcome import Rung, Verification
from envfix.model.reporter import Reporter
from envfix.probes.interpreter import literal
from envfix.verifier import ladder
from envfix.verifier.interface import Level, Weights

# What the ladder asks of a card (LEAST_FREE of envfix_verify_memory.py), so that the choice and the ladder agree.
LEAST_FREE = 3 << 29


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

    ``device`` is ``auto`` (the idlest card that this shell may use), a number as torch counts, or a UUID.
    ``weights`` are trained weights to try; without, a ``yolov8n.pt`` of this user is tried where there is one, else one that
    ultralytics may fetch with ``allow_download``. ``trust_weights`` loads a file whatever it would run; ``picture`` is the file
    for the picture with what was found. ``memory`` adds the ledger of the GPU's memory.
    Raises ``UsageError`` where there is no such interpreter and ``TargetError`` where it cannot be asked.
    """
    wish = Weights(file=weights, find=weights is None, download=allow_download, trust=trust_weights, picture=picture)
    if wish != Weights(find=True) and level in ("import", "cuda"):
        raise UsageError(
            say("weights are not tried at --level {level}", level=level), hint=say("take --level yolo or train")
        )
    if trust_weights and weights is None:
        raise UsageError(say("--trust-weights needs --weights FILE"), hint=say("name the file that you trust"))
    if memory and level == "import":
        raise UsageError(say("memory is not measured at --level import"), hint=say("take --level cuda or higher"))
    host = RealHost()
    _check_files(host, weights, picture)
    standing(host)
    chosen = named_target(host, target)
    settle(chosen, reporter)
    limit = time_limit(host)
    reporter.stage(say("looking for NVIDIA cards"))
    machine = holding.ask(host, limit)
    card = _card(machine, device, reporter)
    waiting: list[Rung] = []

    def hear(rung: Rung) -> None:
        # What failed is told when the process that failed is gone: only then nothing of its own is on the card.
        if waiting or rung.status == "failed":
            waiting.append(rung)
        elif on_rung is not None:
            on_rung(rung)

    verification = ladder.verify(
        host,
        chosen,
        level=level,
        device=card,
        gpu_expected=has_gpu(machine),
        weights=wish,
        memory=memory,
        reporter=reporter,
        on_rung=hear,
    )
    verification = why(verification, scene.here(host, chosen, reporter), wish)
    if on_rung is not None:
        for rung in verification.rungs[len(verification.rungs) - len(waiting) :]:
            on_rung(rung)
    return verification


def why(verification: Verification, place: scene.Scene, weights: Weights) -> Verification:
    """The same, and where a rung failed with its cause and the one thing that mends it."""
    return mending.mended(gpu_failure.explained(verification, place), place, weights)


def _check_files(host: RealHost, weights: str | None, picture: str | None) -> None:
    """A wrong name is the user's, and no fault of the environment: it is told before anything is measured."""
    if weights is not None:
        _must_be_there(host, weights)
    if picture is not None:
        _must_be_a_place(picture)


def _must_be_there(host: RealHost, weights: str) -> None:
    path = literal(os.path.expanduser(weights))
    if not weights or not host.glob(path):
        raise UsageError(
            say("there is no file {weights}", weights=weights),
            hint=say("name the .pt file of a YOLOv8 model, or leave --weights out"),
        )
    if host.glob(f"{path}/"):
        raise UsageError(say("{weights} is a folder", weights=weights), hint=say("name the .pt file in it"))


def _must_be_a_place(picture: str) -> None:
    path = os.path.abspath(os.path.expanduser(picture))
    if os.path.isdir(path):
        raise UsageError(say("{picture} is a folder", picture=picture), hint=say("name a file in it"))
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(say("there is no folder for {picture}", picture=picture), hint=say("name another place"))


def _card(machine: Machine, device: str, reporter: Reporter) -> str:
    """The device that the ladder is asked for, and why cards were left alone."""
    if device == "cpu":
        return device
    if device != "auto":
        if not idle_card.DEVICE.fullmatch(device):
            raise UsageError(
                say("--device {device!r} is no device", device=device),
                hint=say("auto, cpu, a number, or the UUID of a GPU"),
            )
        idle_card.check_named(machine, device)
        return device
    return idle_device(machine, reporter)


def idle_device(machine: Machine, reporter: Reporter) -> str:
    """What the ladder is asked for where the user names no device: ``auto`` with the idlest card that this shell may use."""
    choice = idle_card.choose(machine, need=LEAST_FREE)
    for reason in choice.left:
        reporter.note(say("left alone: {reason}", reason=reason))
    return "auto" if choice.device == "auto" else f"auto:{choice.device}"


def has_gpu(machine: Machine) -> bool:
    """Whether there is an NVIDIA card, or a doubt of it: then a torch that uses none has failed."""
    cards = machine.gpus
    return bool(cards.value) or cards.is_unknown or any(row.vendor_id == "10de" for row in machine.displays.value or ())

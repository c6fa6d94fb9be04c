"""Why a rung failed on a card: the rules of ``explain``, with who holds the card now and which one is free."""

from __future__ import annotations

from typing import Any

import msgspec

from envfix.app import out_of_memory
from envfix.app.scene import Scene
from envfix.model.documents import to_builtins
from envfix.model.explanation import Cause
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.outcome import Rung, Verification
from envfix.rules._devices import VISIBLE, batch_without_card
from envfix.rules._rule import spoken

GIB = 1 << 30
HIDDEN = "cuda_visible_devices_hides_gpu"
# What keeps programs off every card, whatever torch makes of it.
SHUT: tuple[str, ...] = ("compute_mode_exclusive", "mig_single_instance")
TOO_SMALL = Remedy(
    text=later(
        "These rungs need about one GiB of a card, half of it for CUDA itself; without a larger"
        " card they run on the CPU."
    ),
    commands=(("envfix", "verify", "--device", "cpu"),),
)
WHO = Remedy(text=later("See who holds the card and which one is free."), commands=(("envfix", "gpus"),))


def explained(verification: Verification, scene: Scene) -> Verification:
    """The same, where a card could not be opened or its memory ran out: with the cause, the sum and what to do."""
    failed = verification.failed
    if failed is None:
        return verification
    if failed.name == "driver":
        return _by_facts(verification, failed, scene)
    # What the driver rung learned of the card: its number, what was free, and the ladder's own limit.
    card: dict[str, Any] = next((rung.detail for rung in verification.rungs if rung.name == "driver"), {})
    text = _refusal(failed.detail) if failed.detail.get("refused") else _said(failed)
    cause = out_of_memory.cause_of(text, scene, card=card.get("card"))
    if cause is None:
        return verification
    message, name = _told(failed, cause, card)
    remedies = (
        (spoken(TOO_SMALL),)
        if name == "oom_workload_too_big"
        else cause.remedies
        if name == cause.cause
        else (spoken(WHO),)
    )
    rung = msgspec.structs.replace(
        failed, message=message, cause=name, detail={**failed.detail, "explanation": to_builtins(cause)}
    )
    return _replaced(verification, rung, remedies)


def _by_facts(verification: Verification, failed: Rung, scene: Scene) -> Verification:
    """Where torch only says that there is no GPU, or every one is hidden from it: what keeps it from those that are there."""
    machine, _ = scene.facts
    value = machine.variables.get(VISIBLE)
    hides = value is not None and value.strip() in ("", "-1")
    if not hides and failed.cause not in (None, HIDDEN):
        return verification
    wanted = SHUT
    if hides or failed.cause == HIDDEN:
        wanted = (HIDDEN if batch_without_card(machine) is None else "job_without_gpu",)
    finding = next((one for one in scene.findings if one.cause in wanted), None)
    if finding is None or (wanted is SHUT and finding.severity is not Severity.ERROR):
        return verification
    rung = msgspec.structs.replace(failed, message=f"{failed.message}. {finding.message}", cause=finding.cause)
    return _replaced(verification, rung, scene.typed(finding.remedies))


def full_card(scene: Scene) -> Finding | None:
    """Who fills a card now and which one is free, by the rule of ``diagnose``; None where no card is full."""
    return next((one for one in scene.findings if one.cause == "oom_other_process"), None)


def _said(failed: Rung) -> str:
    parts = [str(failed.detail.get(key, "")) for key in ("error", "text", "output")]
    return "\n".join([": ".join(parts[:2]), parts[2], failed.message])


def _refusal(detail: dict[str, Any]) -> str:
    """A card that was left alone, in the words that torch would have had for it: one rule judges both."""
    total, free, wanted = (f"{detail[key] / GIB:.2f} GiB" for key in ("memory_total", "memory_free", "wanted"))
    return (
        f"CUDA out of memory. Tried to allocate {wanted} (GPU 0; {total} total capacity; 0 bytes already allocated;"
        f" {free} free; 0 bytes reserved in total by PyTorch)"
    )


def _told(failed: Rung, cause: Cause, card: dict[str, Any]) -> tuple[str, str]:
    """The sentence, and the cause: a limit of the ladder's own is no limit of the card."""
    if failed.detail.get("refused"):
        return failed.message, cause.cause
    budget = card.get("memory_budget")
    if budget is None or not out_of_memory.beyond_limit(_said(failed)):
        return say("out of the card's memory: {cause}", cause=cause.message), cause.cause
    total, free = int(card["memory_total"]), int(card["memory_free"])
    held = total - free
    message = say(
        "this rung needs more than {budget:.1f} GiB, which is what the ladder takes of the"
        " card at most: {free:.1f} of {total:.1f} GiB were free, and others shall not run out"
        " of memory",
        budget=budget / GIB,
        free=free / GIB,
        total=total / GIB,
    )
    return message, "oom_other_process" if held > free else "oom_workload_too_big"


def _replaced(verification: Verification, rung: Rung, remedies: tuple[Remedy, ...]) -> Verification:
    rungs = tuple(rung if one.name == rung.name else one for one in verification.rungs)
    return msgspec.structs.replace(verification, rungs=rungs, remedies=remedies)

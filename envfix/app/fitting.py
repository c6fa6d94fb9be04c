"""fit: the largest training batch that fits the free memory of a card, by short measured steps in the target."""

from __future__ import annotations

import json
import shlex
import signal
from contextlib import suppress
from typing import Any

import msgspec

from envfix.app import gpu_failure, holding, idle_card, out_of_memory, scene
from envfix.app.idle_card import Choice
from envfix.app.recovering import settle
from envfix.app.settings import NOBODY, named_target, standing, time_limit
from envfix.errors import EnvfixError, UsageError
from envfix.host.interface import CommandResult, Deadline
from envfix.host.real import RealHost
from envfix.host.target import COOKIE, Said, read_answer, told
from envfix.model import fit as sums
from envfix.model.facts import Machine
from envfix.model.fit import Fit, Line, Step
from envfix.model.language import in_english, later, retold, say
from envfix.model.reporter import Reporter
from envfix.rules._devices import VISIBLE, batch_without_card
from envfix.verifier.causes import classify

SCRIPT = "envfix_fit.py"
# A cold import from a network disk takes minutes, as does compiling kernels for a card without ready-made ones.
SECONDS = 600.0
# A card with less free is left alone (LEAST_FREE of envfix_fit.py).
LEAST_FREE = 1 << 30
LEAST_SHARE, MOST_SHARE = 0.05, 0.95
# In pictures of 32 pixels, the last layers see a single place, of which a batch of one has no statistics.
SMALLEST_SIDE, LARGEST_SIDE = 64, 4096

HINTS = {
    "no_gpu": later("`envfix diagnose` says why, and what mends it"),
    "full": later("`envfix gpus` shows who holds the card, and which one is free"),
    "no_ultralytics": later("`envfix install` brings it, or name another interpreter with --python"),
    "torch": later("`envfix diagnose` says why, and what mends it"),
    "memory_not_told": later("`envfix gpus` shows what the driver tells"),
    "task": later("give a detection model, such as yolov8n.yaml"),
}


class FitError(EnvfixError):
    """Nothing could be measured: no card, a model that does not load, a torch that does not work."""

    reference = "fit"


class NoGpuError(FitError):
    """There is no card to measure on."""

    reference = "no-gpu"


class _Problem(msgspec.Struct, frozen=True):
    kind: str
    text: str | Said


class Answer(msgspec.Struct, frozen=True):
    """What the script in the target says; all memory in bytes."""

    steps: tuple[Step, ...] = ()
    done: bool = False
    problem: _Problem | None = None
    note: str | Said | None = None
    torch: str | None = None
    ultralytics: str | None = None
    card: str | None = None
    parameters: int | None = None
    total: int | None = None
    free: int | None = None


def fit(
    model: str,
    *,
    target: str | None = None,
    imgsz: int = 640,
    device: str = "auto",
    share: float = 0.8,
    amp: bool = True,
    trust_weights: bool = False,
    reporter: Reporter = NOBODY,
    host: RealHost | None = None,
) -> Fit:
    """Measure small batches on the card, predict the largest one that fits ``share`` of what is free, and try it once.

    ``device`` is ``auto`` (the idlest card that this shell may use), a number as torch counts, or a UUID. Raises ``NoGpuError``
    where there is no card to measure on and ``FitError`` where the model cannot be trained there.
    """
    side = _checked(model, imgsz, device, share)
    host = host or RealHost()
    standing(host)
    chosen = named_target(host, target)
    settle(chosen, reporter)
    reporter.stage(say("looking for a free card"))
    machine = holding.ask(host, time_limit(host))
    if device == "auto":
        choice = free_card(machine)
        wanted, export = choice.device, choice.export
        if choice.card is not None and len(machine.gpus.value or ()) > 1:
            reporter.note(say("taken: GPU {index}, the idlest card that this shell may use", index=choice.card.index))
        for reason in choice.left:
            reporter.note(say("left alone: {reason}", reason=reason))
    else:
        idle_card.check_named(machine, device)
        wanted, export = device, () if device.isdecimal() else (f"CUDA_VISIBLE_DEVICES={device}",)
    asked = {"model": model, "imgsz": side, "device": wanted, "share": share, "amp": amp, "trust": trust_weights}
    reporter.stage(say("measuring small batches of {model}", model=model))
    small = [{"batch": batch, "bytes": 0} for batch in sums.SMALL_BATCHES]
    first = ask_target(host, chosen, {"mode": "climb", "batches": small, **asked})
    steps = first.steps
    last: Answer | None = None
    line = sums.fit_line(steps)
    if line is not None:
        tries = sums.candidates(line, steps[-1].limit, steps)
        if tries:
            reporter.stage(say("trying a batch of {tries}", tries=tries[0]))
            wishes = [{"batch": batch, "bytes": line.at(batch)} for batch in tries]
            last = _second(host, chosen, {"mode": "descend", "batches": wishes, **asked}, reporter)
    answer = conclude(first, last, line, {**asked, "python": chosen})
    cause, why = _why_nothing(answer, host, chosen, reporter)
    notes = [*([] if why is None else [why]), *answer.notes]
    if side != imgsz:
        notes.insert(
            0,
            say(
                "sides of pictures are multiples of {stride}: {side} instead of {imgsz}, as in training",
                stride=sums.STRIDE,
                side=side,
                imgsz=imgsz,
            ),
        )
    return msgspec.structs.replace(answer, export=export if answer.batch else (), notes=tuple(notes), cause=cause)


def _why_nothing(found: Fit, host: RealHost, python: str, reporter: Reporter) -> tuple[str | None, str | None]:
    """Whose memory it is where not even one picture fits, by the sum of ``explain``, and how that is said."""
    text = next((step.text for step in found.measured if step.text), None)
    if found.batch or text is None:
        return None, None
    if out_of_memory.beyond_limit(text):
        return "oom_other_process" if found.total - found.free > found.free else "oom_workload_too_big", None
    cause = out_of_memory.cause_of(text, scene.here(host, python, reporter))
    return (None, None) if cause is None else (cause.cause, cause.message)


def _checked(model: str, imgsz: int, device: str, share: float) -> int:
    """The side of the pictures that training would take; raises where the request makes no sense."""
    if not model.strip():
        raise UsageError(say("MODEL is empty"), hint=say("for example yolov8n.pt"))
    if not SMALLEST_SIDE <= imgsz <= LARGEST_SIDE:
        raise UsageError(
            say(
                "--imgsz {imgsz} is not between {smallest_side} and {largest_side}",
                imgsz=imgsz,
                smallest_side=SMALLEST_SIDE,
                largest_side=LARGEST_SIDE,
            )
        )
    if not LEAST_SHARE <= share <= MOST_SHARE:
        raise UsageError(
            say(
                "--share {share:g} is not between {least_share} and {most_share}",
                share=share,
                least_share=LEAST_SHARE,
                most_share=MOST_SHARE,
            ),
            hint=say("it is the part of the free memory that may be used"),
        )
    if device.lower() == "cpu":
        raise NoGpuError(say("fit measures the memory of a GPU; on the CPU there is nothing to measure"), hint=CPU_HINT)
    if device != "auto" and not idle_card.DEVICE.fullmatch(device):
        raise UsageError(
            say("--device {device!r} is no card", device=device), hint=say("a number, the UUID of a GPU, or auto")
        )
    return -(-imgsz // sums.STRIDE) * sums.STRIDE


CPU_HINT = later("on a CPU the time limits the batch, not memory: begin with batch=4")


def free_card(machine: Machine) -> Choice:
    """The idlest card that this shell may use, and the variables that let training take it; ``NoGpuError`` without one."""
    use = holding.judge(machine)
    if not use.cards:
        hint = say("`envfix diagnose` says more") if use.failed else CPU_HINT
        raise NoGpuError(say("there is no GPU to measure on: {problem}", problem=retold(use.problem or "")), hint=hint)
    if batch_without_card(machine) is not None:
        raise NoGpuError(
            say("this job was given no GPU"), hint=say("ask for one when you start it: `srun --gres=gpu:1 --pty bash`")
        )
    choice = idle_card.choose(machine, need=LEAST_FREE, share=holding.FREE_SHARE)
    hidden = machine.variables.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and choice.card is None and not idle_card.may_use_any(machine):
        raise NoGpuError(
            say("CUDA_VISIBLE_DEVICES={hidden!r} hides every card from this shell", hidden=hidden),
            hint=say("`unset CUDA_VISIBLE_DEVICES`, or name a card that is there"),
        )
    if choice.full or (choice.card is None and choice.left):
        raise NoGpuError(
            say("no card is free that this shell may use: {left}", left="; ".join(choice.left)),
            hint=say("`envfix gpus` shows who holds them; --device 0 measures what is left on the first"),
        )
    return choice


def ask_target(host: RealHost, python: str, request: dict[str, Any]) -> Answer:
    """What the script measured; raises ``FitError`` where it could not, in its own words."""
    scratch = host.make_temporary_folder()
    try:
        text = json.dumps({**request, "scratch": scratch})
        # Not as a probe is run: an interrupted envfix must leave nobody on the card.
        result = host.stream(
            [python, host.script_path(SCRIPT), COOKIE, text],
            on_text=lambda _text: None,
            deadline=Deadline(SECONDS),
            env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        )
    finally:
        with suppress(OSError):
            host.remove_tree(scratch)
    heard = read_answer(result, SECONDS)
    if heard.facts is None:
        if heard.too_old:
            raise FitError(
                say("Python {too_old} is too old to be measured: {python}", too_old=heard.too_old, python=python),
                hint=say("3.6 and newer can be"),
            )
        raise FitError(
            say("{python} cannot be asked: {problem}", python=python, problem=retold(heard.problem or "")),
            hint=say("`envfix diagnose` says more"),
        )
    try:
        answer = msgspec.convert(heard.facts, Answer)
    except msgspec.ValidationError as error:
        raise FitError(
            say("{python} cannot be asked: its answer is damaged ({error})", python=python, error=error)
        ) from error
    if answer.problem is not None:
        raise _told(answer.problem, host, python)
    if not answer.done and not answer.steps:
        raise FitError(
            say("measuring ended early: {ending}", ending=_ending(result)),
            hint=say("`envfix verify` tries the card step by step"),
        )
    if answer.total is None or answer.free is None:
        raise FitError(say("{python} cannot be asked: its answer is damaged", python=python))
    return answer


def _told(problem: _Problem, host: RealHost, python: str) -> FitError:
    hint = HINTS.get(problem.kind)
    if problem.kind == "no_gpu":
        facts = {"gpu_expected": True, "asked": "auto", "visible_devices": host.getenv(VISIBLE)}
        with in_english():
            words = told(problem.text)
        cause = classify("driver", words, facts)
        if cause is not None:
            hint = say("`envfix causes {cause}` explains it, and `envfix verify` says what mends it here", cause=cause)
        return NoGpuError(say("torch cannot use the card: {problem}", problem=told(problem.text)), hint=hint)
    finding = gpu_failure.full_card(scene.here(host, python)) if problem.kind == "full" else None
    if finding is None:
        return FitError(told(problem.text), hint=hint)
    first = finding.remedies[0]
    paste = "".join(f" `{shlex.join(argv)}`" for argv in first.commands)
    return FitError(
        "; ".join([told(problem.text), *(one.value for one in finding.because)]), hint=f"{first.text}{paste}"
    )


def _ending(result: CommandResult) -> str:
    """How the process ended that did not come to its end."""
    if result.outcome == "timed-out":
        return say("no answer within {seconds:g} seconds", seconds=SECONDS)
    code = result.returncode or 0
    if code < 0:
        with suppress(ValueError):
            return say("killed by {name}", name=signal.Signals(-code).name)
    return say("exit code {code}", code=code)


def _second(host: RealHost, python: str, request: dict[str, Any], reporter: Reporter) -> Answer | None:
    """The large batches; where they cannot be tried any more, the small ones still hold."""
    try:
        return ask_target(host, python, request)
    except FitError as error:
        reporter.note(say("the large batch could not be tried: {error}", error=error.message))
        return None


def conclude(first: Answer, last: Answer | None, line: Line | None, asked: dict[str, Any]) -> Fit:
    """The answer from what was measured: ``first`` the small batches, ``last`` the large ones (None: none were tried)."""
    steps = (*first.steps, *(last.steps if last else ()))
    best = sums.best_proven(steps)
    final = steps[-1] if steps else None
    model, imgsz = str(asked["model"]), int(asked["imgsz"])
    seconds = best.seconds / best.batch if best is not None and best.seconds is not None else None
    found = Fit(
        status="nothing_fits" if best is None else "fits",
        model=model,
        imgsz=imgsz,
        card=first.card or "GPU",
        device=str(asked["device"]),
        share=float(asked["share"]),
        amp=bool(asked["amp"]),
        batch=best.batch if best else None,
        total=first.total or 0,
        free=first.free or 0,
        limit=final.limit if final else 0,
        peak=best.peak_reserved if best else None,
        line=line,
        seconds_per_image=seconds,
        measured=steps,
        command=_command(best, asked) if best else (),
        python=str(asked["python"]),
        torch=first.torch,
        ultralytics=first.ultralytics,
        parameters=first.parameters,
    )
    return msgspec.structs.replace(found, larger=tuple(sums.ways(found)), notes=tuple(_notes(first, last, found)))


def _command(best: Step, asked: dict[str, Any]) -> tuple[str, ...]:
    """The start of the command that trains with this batch."""
    card = (f"device={asked['device']}",) if str(asked["device"]).isdecimal() else ()
    full = () if asked["amp"] else ("amp=False",)
    words = (f"model={asked['model']}", f"imgsz={asked['imgsz']}", f"batch={best.batch}")
    return ("yolo", "detect", "train", *words, *card, *full)


def _notes(first: Answer, last: Answer | None, found: Fit) -> list[str]:
    notes = [told(first.note)] if first.note else []
    runs = [(run.free or 0, run.steps) for run in (first, last) if run is not None]
    lost = sums.taken_meanwhile(*runs)
    if lost:
        notes.append(
            say(
                "others took {lost:.1f} GiB of this card meanwhile; measure again when they are done",
                lost=lost / sums.GIB,
            )
        )
    if found.batch == sums.LARGEST_TRIED:
        notes.append(say("larger batches than {largest_tried} are not tried", largest_tried=sums.LARGEST_TRIED))
    refused = [step for step in found.measured if step.outcome in ("oom", "over") and step.batch > (found.batch or 0)]
    if found.batch and refused:
        least = min(refused, key=lambda step: step.batch)
        by_others = least.text is not None and out_of_memory.is_taken_by_others(least.text)
        why = (
            say("ran out of memory that others took at that moment") if by_others else say("needs more than the limit")
        )
        notes.append(say("a batch of {batch} was tried and {why}", batch=least.batch, why=why))
    if not first.done:
        notes.append(say("measuring ended early; this is what was measured until then"))
    return notes

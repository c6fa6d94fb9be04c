"""Cards as bars of memory: yours, others, free."""

from __future__ import annotations

from collections.abc import Iterator

from rich.padding import Padding

from envfix.model.fit import Fit, Step
from envfix.model.gpu_use import CardField, CardUse
from envfix.model.language import later, look_up, say
from envfix.render.text import Text
from envfix.render.words import command_line, duration

GIB = 1024**3
# Others, yours, the driver's own, free: told apart by their shape, and by colour where there is some.
PARTS = (("█", "#", "red"), ("▒", "=", "yellow"), ("░", ":", "dim"), ("·", ".", "green"))
NAMES = (later("others"), later("yours"), later("driver"), later("free"))
# Who may change a setting, where it is not the user.
ADMINS = (later("admin"), later("admin of the host"))


def legend(*, unicode: bool) -> Text:
    """What the signs of the bars mean."""
    line = Text()
    for (sign, plain, style), name in zip(PARTS, NAMES, strict=True):
        line.append(sign if unicode else plain, style=style)
        line.append(f" {look_up(name)}   ")
    return line


def bar(use: CardUse, width: int, *, unicode: bool) -> Text:
    """One card's memory as a bar of ``width`` signs; empty where the driver does not tell."""
    total = use.card.memory_total
    if not total or use.others is None or use.yours is None or use.own is None:
        return Text(say("(memory not told)"), style="dim")
    others = _signs(use.others, total, width)
    yours = min(_signs(use.yours, total, width), width - others)
    own = min(_signs(use.own, total, width), width - others - yours)
    line = Text("[")
    for (sign, plain, style), count in zip(PARTS, (others, yours, own, width - others - yours - own), strict=True):
        line.append((sign if unicode else plain) * count, style=style)
    line.append("]")
    return line


def _signs(part: int, total: int, width: int) -> int:
    """As many signs as the part of the whole; what is there at all has one at least."""
    return min(width, max(1 if part > total / 200 else 0, round(width * part / total)))


def numbers(use: CardUse) -> str:
    """``21.8 GiB others, 1.8 yours, 0.0 of 23.7 free``."""
    card = use.card
    if card.memory_total is None:
        return say("memory not told")
    total = f"{card.memory_total / GIB:.1f} GiB"
    if use.others is None or use.yours is None or card.memory_free is None:
        return say("{total}, free memory not told", total=total)
    return say(
        "{memory_free:.1f} of {total} free, {yours:.1f} yours, {others:.1f} others",
        memory_free=card.memory_free / GIB,
        total=total,
        yours=use.yours / GIB,
        others=use.others / GIB,
    )


def processes(use: CardUse) -> Iterator[str]:
    """Each process with its owner, what it holds, since when, and what it is."""
    for memory, owner, command in process_rows(use):
        yield f"{memory:>9}  {owner}  {command}"


def process_rows(use: CardUse) -> Iterator[tuple[str, str, str]]:
    """The same as memory, owner with number and start, and program; who holds most comes first."""
    for process in sorted(use.card.processes, key=lambda one: -(one.memory or 0)):
        memory = f"{process.memory / GIB:.1f} GiB" if process.memory is not None else say("memory not told")
        owner = say("you") if process.own else process.user or say("owner not told")
        since = say(", since {since} UTC", since=process.since.replace("T", " ")[:16]) if process.since else ""
        yield (
            memory,
            say("{owner}, pid {pid}{since}", owner=owner, pid=process.pid, since=since),
            process.command or say("command not told"),
        )


def fields(use: CardUse) -> Iterator[Text | Padding]:
    """nvidia-smi's fields: what each says, what that means, whether training cares, and the command that changes it."""
    for field in use.fields:
        line = Text(say("  {name}: ", name=look_up(field.name)), style="bold")
        line.append(say("not known") if field.value is None else field.value, style=_style(field))
        yield line
        yield Padding(Text(_sentence(field)), (0, 0, 0, 6), expand=False)
        if field.commands:
            who = say("You") if field.by == "user" else say("An {by}", by=look_up(field.by or ""))
            yield Text(
                say(
                    "      {who} can: {commands}",
                    who=who,
                    commands="; ".join(command_line(argv) for argv in field.commands),
                )
            )


def _style(field: CardField) -> str:
    return "bold yellow" if field.matters else "not bold dim" if field.value is None else "not bold"


def _sentence(field: CardField) -> str:
    start = say("{sentence}.", sentence=field.meaning[0].upper() + field.meaning[1:])
    if field.value is None:
        return say("{start} Not known: {unknown}.", start=start, unknown=field.unknown)
    return say("{start} Training: {training}.", start=start, training=field.training)


def fit_headline(fit: Fit) -> str:
    """In one line: ``Batch 37 fits: yolov8n.pt with pictures of 640 pixels on NVIDIA GeForce RTX 3090``."""
    what = say("{model} with pictures of {imgsz} pixels on {card}", model=fit.model, imgsz=fit.imgsz, card=fit.card)
    return (
        say("Batch {batch} fits: {what}.", batch=fit.batch, what=what)
        if fit.batch
        else say("Not even one picture fits: {what}.", what=what)
    )


def fit_lines(fit: Fit) -> Iterator[str]:
    """How that is known: memory, the line, time, and what was measured."""
    share = say(
        "{limit:.1f} GiB ({share:.0%} of what was free; the card has {total:.1f} GiB)",
        limit=fit.limit / GIB,
        share=fit.share,
        total=fit.total / GIB,
    )
    if fit.peak is not None:
        yield say("Memory: {peak:.2f} GiB at most, measured; allowed were {share}.", peak=fit.peak / GIB, share=share)
    else:
        yield say("Memory: allowed were {share}.", share=share)
    if fit.line is not None and len([step for step in fit.measured if step.outcome == "ok"]) > 1:
        yield say(
            "About {fixed:.2f} GiB for the model, and {per_image:.3f} GiB for each picture.",
            fixed=fit.line.fixed / GIB,
            per_image=fit.line.per_image / GIB,
        )
    if fit.seconds_per_image is not None:
        yield say(
            "Time: {time} a picture on the card alone, without reading pictures from the disk.",
            time=_time(fit.seconds_per_image),
        )
    precision = say("half precision") if fit.amp else say("full precision")
    yield say(
        "Measured: steps of training in {precision} with AdamW and 32 boxes a picture. {map}.",
        precision=precision,
        map="; ".join(map(_step, fit.measured)),
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else duration(seconds)


def _step(step: Step) -> str:
    if step.outcome == "skipped":
        return say("batch {batch} not tried", batch=step.batch)
    if step.outcome != "ok" or step.peak_reserved is None:
        return say("batch {batch} too large", batch=step.batch)
    return say("batch {batch} {peak_reserved:.2f} GiB", batch=step.batch, peak_reserved=step.peak_reserved / GIB)

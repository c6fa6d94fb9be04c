"""Cards as bars of memory: yours, others, free."""

from __future__ import annotations

from collections.abc import Iterator

from rich.padding import Padding
from rich.text import Text

from envfix.model.fit import Fit, Step
from envfix.model.gpu_use import CardField, CardUse
from envfix.render.words import command_line, duration

GIB = 1024**3
# Others, yours, the driver's own, free: told apart by their shape, and by colour where there is some.
PARTS = (("█", "#", "red"), ("▒", "=", "yellow"), ("░", ":", "dim"), ("·", ".", "green"))
NAMES = ("others", "yours", "driver", "free")


def legend(*, unicode: bool) -> Text:
    """What the signs of the bars mean."""
    line = Text()
    for (sign, plain, style), name in zip(PARTS, NAMES, strict=True):
        line.append(sign if unicode else plain, style=style)
        line.append(f" {name}   ")
    return line


def bar(use: CardUse, width: int, *, unicode: bool) -> Text:
    """One card's memory as a bar of ``width`` signs; empty where the driver does not tell."""
    total = use.card.memory_total
    if not total or use.others is None or use.yours is None or use.own is None:
        return Text("(memory not told)", style="dim")
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
        return "memory not told"
    total = f"{card.memory_total / GIB:.1f} GiB"
    if use.others is None or use.yours is None or card.memory_free is None:
        return f"{total}, free memory not told"
    return f"{card.memory_free / GIB:.1f} of {total} free, {use.yours / GIB:.1f} yours, {use.others / GIB:.1f} others"


def processes(use: CardUse) -> Iterator[str]:
    """Each process with its owner, what it holds, since when, and what it is."""
    for memory, owner, command in process_rows(use):
        yield f"{memory:>9}  {owner}  {command}"


def process_rows(use: CardUse) -> Iterator[tuple[str, str, str]]:
    """The same as memory, owner with number and start, and program; who holds most comes first."""
    for process in sorted(use.card.processes, key=lambda one: -(one.memory or 0)):
        memory = f"{process.memory / GIB:.1f} GiB" if process.memory is not None else "memory not told"
        owner = "you" if process.own else process.user or "owner not told"
        since = f", since {process.since.replace('T', ' ')[:16]} UTC" if process.since else ""
        yield memory, f"{owner}  pid {process.pid}{since}", process.command or "command not told"


def fields(use: CardUse) -> Iterator[Text | Padding]:
    """nvidia-smi's fields: what each says, what that means, whether training cares, and the command that changes it."""
    for field in use.fields:
        line = Text(f"  {field.name}: ", style="bold")
        line.append("not known" if field.value is None else field.value, style=_style(field))
        yield line
        yield Padding(Text(_sentence(field)), (0, 0, 0, 6), expand=False)
        if field.commands:
            who = "You" if field.by == "user" else f"An {field.by}"
            yield Text(f"      {who} can: {'; '.join(command_line(argv) for argv in field.commands)}")


def _style(field: CardField) -> str:
    return "bold yellow" if field.matters else "dim" if field.value is None else "not bold"


def _sentence(field: CardField) -> str:
    start = f"{field.meaning[0].upper()}{field.meaning[1:]}."
    if field.value is None:
        return f"{start} Not known: {field.unknown}."
    return f"{start} Training: {field.training}."


def fit_headline(fit: Fit) -> str:
    """In one line: ``Batch 37 fits: yolov8n.pt with pictures of 640 pixels on NVIDIA GeForce RTX 3090``."""
    what = f"{fit.model} with pictures of {fit.imgsz} pixels on {fit.card}"
    return f"Batch {fit.batch} fits: {what}." if fit.batch else f"Not even one picture fits: {what}."


def fit_lines(fit: Fit) -> Iterator[str]:
    """How that is known: memory, the line, time, and what was measured."""
    share = f"{fit.limit / GIB:.1f} GiB ({fit.share:.0%} of what was free; the card has {fit.total / GIB:.1f} GiB)"
    if fit.peak is not None:
        yield f"Memory: {fit.peak / GIB:.2f} GiB at most, measured; allowed were {share}."
    else:
        yield f"Memory: allowed were {share}."
    if fit.line is not None and len([step for step in fit.measured if step.outcome == "ok"]) > 1:
        yield f"About {fit.line.fixed / GIB:.2f} GiB for the model, and {fit.line.per_image / GIB:.3f} GiB for each picture."
    if fit.seconds_per_image is not None:
        yield f"Time: {_time(fit.seconds_per_image)} a picture on the card alone, without reading pictures from the disk."
    precision = "half precision" if fit.amp else "full precision"
    yield f"Measured: steps of training in {precision} with AdamW and 32 boxes a picture. {'; '.join(map(_step, fit.measured))}."


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else duration(seconds)


def _step(step: Step) -> str:
    if step.outcome == "skipped":
        return f"batch {step.batch} not tried"
    if step.outcome != "ok" or step.peak_reserved is None:
        return f"batch {step.batch} too large"
    return f"batch {step.batch} {step.peak_reserved / GIB:.2f} GiB"

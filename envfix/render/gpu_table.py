"""Cards as bars of memory: yours, others, free."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from envfix.model.gpu_use import CardUse

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
    for process in sorted(use.card.processes, key=lambda one: -(one.memory or 0)):
        memory = f"{process.memory / GIB:.1f} GiB" if process.memory is not None else "memory not told"
        owner = "you" if process.own else process.user or "owner not told"
        since = f", since {process.since.replace('T', ' ')[:16]} UTC" if process.since else ""
        yield f"{memory:>9}  {owner}  pid {process.pid}{since}  {process.command or 'command not told'}"

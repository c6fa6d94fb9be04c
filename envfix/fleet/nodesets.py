"""Names of nodes, many as one text and back: ``gpu[1-6,9]``. ClusterShell's, which also knows groups, where it is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from envfix.errors import UsageError
from envfix.model.language import later, look_up, say

# What a node may be called: anything else is never given to ssh or srun, and stands alone where nodes are put together.
NAME = re.compile(r"(?!-)[A-Za-z0-9_.@-]{1,255}", re.ASCII)
MOST_NODES = 100_000
EXAMPLE = later("for example node[1-8],gpu9")
ADDRESS = later("give an address of IPv6 a name in your configuration of ssh: Host NAME, HostName ADDRESS")
_PART = re.compile(r"([^\[\],]*)(?:\[([0-9,\- ]+)\])?([^\[\],]*)(?:,|$)")
_GROUP = re.compile(r"(?:^|[,!&^])\s*@")
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def expand(text: str) -> tuple[str, ...]:
    """The nodes that a text names: ``node[1-8],gpu9``, with ClusterShell also ``@group``; raises ``UsageError``."""
    try:
        from ClusterShell.NodeSet import NodeSet, NodeSetException
    except ImportError:
        names = _expand(text)
    else:
        try:
            nodes = NodeSet(text)
        except NodeSetException as error:
            raise UsageError(
                say("{text!r} names no nodes: {error}", text=text[:80], error=error), hint=look_up(EXAMPLE)
            ) from error
        except Exception as error:  # its files of groups are the user's, and it takes whatever stands in them
            problem = " ".join(str(error).split())
            raise UsageError(
                say("{text!r}: ClusterShell cannot read its groups: {error}", text=text[:80], error=problem)
            ) from error
        if len(nodes) > MOST_NODES:
            raise UsageError(
                say(
                    "{text!r} names {number} nodes, more than {most}",
                    text=text[:80],
                    number=len(nodes),
                    most=MOST_NODES,
                )
            )
        names = list(nodes)
    strange = next((name for name in names if not NAME.fullmatch(name)), None)
    if strange is not None:
        hint = look_up(ADDRESS if ":" in strange else EXAMPLE)
        raise UsageError(say("{strange!r} is not the name of a node", strange=strange[:80]), hint=hint)
    if not names:
        raise UsageError(say("{text!r} names no nodes", text=text[:80]), hint=look_up(EXAMPLE))
    return tuple(dict.fromkeys(names))


def _expand(text: str) -> list[str]:
    if _GROUP.search(text):
        raise UsageError(
            say("{text!r} is a group, which ClusterShell knows", text=text[:80]),
            hint=say("pip install 'envfix[fleet]'"),
        )
    names: list[str] = []
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or part.end() == at:
            raise UsageError(say("{text!r} names no nodes", text=text[:80]), hint=look_up(EXAMPLE))
        at = part.end()
        numbers = [""] if part[2] is None else _numbers(part[2])
        names += [f"{part[1]}{number}{part[3]}".strip() for number in numbers if part[1] or part[2] or part[3]]
    return names


def _numbers(text: str) -> list[str]:
    found: list[str] = []
    for piece in text.replace(" ", "").split(","):
        first, dash, last = piece.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) - int(first) > MOST_NODES:
            raise UsageError(say("[{text}] is no range of numbers", text=text[:80]), hint=say("for example node[1-8]"))
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last or first) + 1)]
    return found


def fold(names: Iterable[str]) -> str:
    """Nodes as one short text, ordered; names that are no names of nodes stand by themselves."""
    plain: list[str] = []
    strange: list[str] = []
    for name in names:
        (plain if NAME.fullmatch(name) and "@" not in name else strange).append(" ".join(name.split()))
    try:
        from ClusterShell.NodeSet import NodeSet

        folded = str(NodeSet.fromlist(plain)) if plain else ""
    except ImportError:
        folded = _fold(plain)
    return ",".join(filter(None, [folded, *sorted(strange)]))


def _fold(names: Iterable[str]) -> str:
    """Names that differ in their last number only share a pair of brackets."""
    shapes: dict[tuple[str, str], set[str]] = {}
    texts: set[str] = set()
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None:
            texts.add(name)
        else:
            shapes.setdefault((match[1], match[3]), set()).add(match[2])
    for (before, after), numbers in shapes.items():
        # gpu08 to gpu10 are of one width; gpu8 to gpu10 are not.
        padded = {len(number) for number in numbers if number.startswith("0") and len(number) > 1}
        for padding in (0, *padded):
            here = sorted(int(one) for one in numbers if (len(one) if len(one) in padded else 0) == padding)
            ranges = ",".join(_ranges(here, padding))
            if here:
                texts.add(f"{before}[{ranges}]{after}" if len(here) > 1 else f"{before}{ranges}{after}")
    return ",".join(sorted(texts))


def _ranges(numbers: list[int], padding: int) -> list[str]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return [
        f"{first:0{padding}d}" if first == last else f"{first:0{padding}d}-{last:0{padding}d}" for first, last in runs
    ]

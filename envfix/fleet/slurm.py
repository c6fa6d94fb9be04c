"""Nodes of a Slurm cluster: sinfo says which there are, srun runs a step of one task on each.

A step a node, not one for all: a node that is down would keep the whole waiting, and one that fails would end it. The
answer then needs no name in it either (``%N`` is the short host name, which need not be unique). Nothing of the submitter's
variables is let into the node's own state; no card is asked for, so as not to wait for one, and the empty
CUDA_VISIBLE_DEVICES of such a step is not taken for the node's.
"""

from __future__ import annotations

import re

from envfix.errors import EnvfixError, UsageError
from envfix.fleet import nodesets
from envfix.fleet.interface import Listing
from envfix.fleet.travelling import start
from envfix.host.interface import ProbeHost
from envfix.model import reasons
from envfix.model.language import retold, say

FIELDS = "%N|%t|%G|%E"
# A node that is full is not waited for.
PATIENCE = 20
SINFO_SECONDS = 30.0
# Of sinfo's short states those in which a step can start; the others are told with the reason that an administrator left.
_USABLE = ("idle", "mix", "alloc", "comp", "resv")
_IN_WORDS = {
    "down": reasons.DOWN,
    "drain": reasons.DRAINED,
    "drng": reasons.DRAINING,
    "fail": reasons.FAILED,
    "maint": reasons.MAINTENANCE,
    "unk": reasons.STATE_UNKNOWN,
    "boot": reasons.BOOTING,
}
_CARDS = re.compile(r"(?:^|,)gpu(?::[^:,()]+)*:(\d+)(?=[,(]|$)")
# Slices of cards: how many cards they are of is not told.
_SLICES = re.compile(r"gpu:\d+g\.\d+gb")


def parse_sinfo(text: str) -> Listing:
    """Lines of ``sinfo -h -N -o '%N|%t|%G|%E'``; a node is told once for each of its partitions.

    A state may end in signs: ``idle~`` is powered down, ``down*`` and ``idle*`` do not respond::

        gpu1|idle|gpu:a100:2(S:0)|none
        gpu2|down*|gpu:v100:1|Not responding
    """
    nodes, unreached, cards = [], {}, {}
    for line in text.splitlines():
        name, state, gres, reason = [*(part.strip() for part in line.split("|", 3)), "", "", "", ""][:4]
        if not nodesets.NAME.fullmatch(name) or name in nodes or name in unreached:
            continue
        cards[name] = 0 if _SLICES.search(gres) else sum(int(count) for count in _CARDS.findall(gres))
        plain = state.rstrip("*~#!%$@^-+")
        if plain in _USABLE and "*" not in state:
            nodes.append(name)
            continue
        silent = "*" in state and plain != "down"
        said = reasons.NO_RESPONSE if silent else _IN_WORDS.get(plain) or reasons.STATE.format(state=state)
        unreached[name] = f"{said}: {reason}" if reason not in ("", "none") else said
    return Listing(nodes=tuple(nodes), unreached=unreached, cards=cards)


class Slurm:
    """Needs sinfo and srun here, and any Python from 2.7 on there (implements ``Engine``)."""

    def __init__(
        self,
        host: ProbeHost,
        *,
        partition: str | None = None,
        nodes: str | None = None,
        seconds: float = 300.0,
        with_card: bool = False,
    ) -> None:
        self._host, self._partition, self._with_card = host, partition, with_card
        self._minutes = int(seconds // 60) + 2
        self.name = f"Slurm, partition {partition}" if partition else "Slurm"
        self._named = None if nodes is None else nodesets.expand(nodes)

    def nodes(self) -> Listing:
        """Those of the partition, or those that are named."""
        where = (
            *(("-p", self._partition) if self._partition else ()),
            *(("-n", ",".join(self._named)) if self._named else ()),
        )
        answer = self._host.run(["sinfo", "-h", "-N", "-o", FIELDS, *where], timeout=SINFO_SECONDS)
        if not answer.ok:
            raise EnvfixError(
                say("Slurm does not tell its nodes: sinfo: {failure}", failure=retold(answer.failure)),
                hint=say("try `sinfo` by itself"),
            )
        listing = parse_sinfo(answer.stdout)
        missing = [name for name in self._named or () if name not in listing.nodes and name not in listing.unreached]
        if not listing.nodes and not listing.unreached and not missing:
            raise UsageError(
                say("Slurm lists no nodes")
                if self._partition is None
                else say("Slurm lists no nodes in a partition {partition}", partition=self._partition),
                hint=say("`sinfo` shows partitions and nodes"),
            )
        return Listing(
            nodes=listing.nodes,
            unreached={**listing.unreached, **dict.fromkeys(missing, reasons.NOT_IN_SLURM)},
            cards=listing.cards,
        )

    def command(self, node: str) -> tuple[str, ...]:
        """One task on that node, which starts within seconds or not at all; with a card where cards are to be used."""
        where = ("-p", self._partition) if self._partition else ()
        card = ("--gres=gpu:1",) if self._with_card else ()
        bounds = (f"--immediate={PATIENCE}", f"--time={self._minutes}", "--job-name=envfix", "--quiet")
        state = start("fresh log-in with its cards" if self._with_card else "fresh log-in")
        return ("srun", *where, "-N1", "-n1", "-w", node, *card, *bounds, *state)

    def close(self) -> None:
        """Nothing was made: the steps have ended."""

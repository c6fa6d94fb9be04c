"""What an engine is: which nodes there are, and the command that reaches one of them. One file per engine implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes that can be asked, and those that cannot with the reason.

    ``cards`` is how many cards the scheduler says a node has: what a job without cards sees there may be none of them.
    """

    nodes: tuple[str, ...]
    unreached: dict[str, str] = {}
    cards: dict[str, int] = {}


class Engine(Protocol):
    """One way to many nodes that a site already has."""

    @property
    def name(self) -> str:
        """How it is called in answers."""

    def nodes(self) -> Listing:
        """Which nodes are meant, ready to be asked; raises ``EnvfixError`` where the engine itself does not answer."""

    def command(self, node: str) -> Sequence[str]:
        """The program that is spoken to, here, in order to speak to the collector on the node."""

    def close(self) -> None:
        """Take away whatever was made in order to ask."""

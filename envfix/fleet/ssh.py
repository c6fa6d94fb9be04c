"""Nodes by ssh, with the user's own configuration, keys and jump hosts."""

from __future__ import annotations

import shlex

from envfix.fleet import nodesets
from envfix.fleet.interface import Listing
from envfix.fleet.travelling import start

CONNECT_SECONDS = 10


class Ssh:
    """Needs ssh here, log-ins without a password, and any Python from 2.7 on there (implements ``Engine``)."""

    name = "ssh"

    def __init__(self, nodes: str, *, configuration: str | None = None) -> None:
        self._nodes, self._configuration = nodes, configuration

    def nodes(self) -> Listing:
        """All that are named: whether one answers is seen by asking it."""
        return Listing(nodes=nodesets.expand(self._nodes))

    def command(self, node: str) -> tuple[str, ...]:
        """Never asks for a password or a host key: nobody sits there to answer for eight nodes."""
        options = ("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}")
        own = () if self._configuration is None else ("-F", self._configuration)
        return ("ssh", *own, *options, "--", node, shlex.join(start("log-in")))

    def close(self) -> None:
        """Nothing was made."""

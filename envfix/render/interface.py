"""What an output format must be able to show; one file per format implements it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from envfix.model.explanation import Explanation
from envfix.model.fit import Fit
from envfix.model.fleet import FleetCards, FleetLocking, FleetPlan, FleetReport, FleetVerified, NodeVerified
from envfix.model.gpu_use import GpuUse
from envfix.model.lock import LockCheck, Locking
from envfix.model.outcome import Installation, Rung, Undone, Verification
from envfix.model.plan import Plan
from envfix.model.report import CausePage, Report, WheelRow
from envfix.model.reporter import Reporter
from envfix.model.stack import SharedReport


class Output(Protocol):
    """Shows each kind of answer once; ``reporter`` takes the progress that comes before it."""

    @property
    def reporter(self) -> Reporter:
        """Where progress goes."""

    def diagnosis(self, report: Report) -> None:
        """Facts, findings and what to do next."""

    def shared(self, text: str) -> None:
        """The text of a report that takes the place of the answer; formats for scripts have it in a file only."""

    def fleet(self, report: FleetReport) -> None:
        """Nodes of equal state, what differs, and who was not reached."""

    def fleet_plan(self, plan: FleetPlan) -> None:
        """The stacks and their nodes, and who has none."""

    def fleet_locked(self, locking: FleetLocking) -> None:
        """The locks of these stacks."""

    def fleet_playbook(self, path: str, folder: str) -> None:
        """A playbook was written that collects into a folder."""

    def fleet_gpus(self, cards: FleetCards) -> None:
        """The cards of many nodes, the freest first."""

    def fleet_node(self, node: NodeVerified) -> None:
        """How far the ladder of one node holds, as soon as that is known."""

    def fleet_verified(self, verified: FleetVerified) -> None:
        """Where it fails, why, and what mends it."""

    def explanation(self, explanation: Explanation) -> None:
        """The causes that a log shows, and what mends them."""

    def gpus(self, use: GpuUse) -> None:
        """Who holds which card, and which one to take."""

    def watch_gpus(self, uses: Iterator[GpuUse]) -> None:
        """The same again and again in one place, until the user stops it; formats for scripts never do that."""

    def fit(self, fit: Fit) -> None:
        """The largest batch that fits a card, how that is known, and what would let a larger one fit."""

    def plan(self, plan: Plan) -> None:
        """The stack, its price, and why not something else."""

    def confirm(self, question: str) -> bool:
        """Ask before something is changed; formats without a person answer no."""

    def rung(self, rung: Rung) -> None:
        """One rung of a verification as soon as it is done."""

    def verification(self, verification: Verification) -> None:
        """The ladder as a whole."""

    def installation(self, plan: Plan, installation: Installation) -> None:
        """What was installed and whether it proved itself."""

    def locked(self, locking: Locking) -> None:
        """The lockfiles that were written, or the text of the one that was asked for."""

    def lock_check(self, check: LockCheck) -> None:
        """Whether a lock runs on a machine, and whether it is what is installed there."""

    def undone(self, undone: Undone) -> None:
        """What was put back."""

    def saved(self, path: str) -> None:
        """A file was written."""

    def wheels(self, rows: Sequence[WheelRow]) -> None:
        """The wheels that exist."""

    def causes(self, pages: Sequence[CausePage], *, page: bool) -> None:
        """The catalogue, or one manual page."""


class ReportFormat(Protocol):
    """Lays a report out as the text of a file that people show to others; it is given nothing that was not redacted."""

    def diagnosis(self, shared: SharedReport) -> str:
        """The whole text of the file."""

"""Where something failed: the machine and the interpreter there, looked at once, when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from envfix.app.advising import typed
from envfix.app.detecting import detect
from envfix.app.settings import NOBODY, tables_for, time_limit
from envfix.host.real import RealHost
from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.language import say
from envfix.model.reporter import Reporter
from envfix.probes.interpreter import literal
from envfix.rules._rule import diagnose, judge
from envfix.tables.loader import Tables


class Scene:
    """``look`` asks the machine: to be done when what failed is gone, so that its own memory is no longer counted.

    ``is_taken`` says whether a name is already that of a file there, ``diagnose`` is the command that finds more about it.
    """

    def __init__(
        self,
        target: str,
        tables: Tables,
        look: Callable[[], tuple[Machine, Environment]],
        is_taken: Callable[[str], bool],
        *,
        diagnose: tuple[str, ...],
    ) -> None:
        self.target, self.tables, self._look, self._is_taken = target, tables, look, is_taken
        self.diagnose = diagnose

    @cached_property
    def facts(self) -> tuple[Machine, Environment]:
        """The machine and the interpreter, as they are now."""
        return self._look()

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the rules say of them."""
        return diagnose(judge(*self.facts, self.tables)).findings

    def typed(self, remedies: tuple[Remedy, ...]) -> tuple[Remedy, ...]:
        """The same remedies with commands to install that can be typed there as they are."""
        return typed(remedies, self.target, self._is_taken)


def here(host: RealHost, target: str, reporter: Reporter = NOBODY) -> Scene:
    """This machine."""

    def look() -> tuple[Machine, Environment]:
        reporter.stage(say("looking at this machine and its Python"))
        return detect(host, target, with_import=False, timeout=time_limit(host))

    return Scene(
        target,
        tables_for(host),
        look,
        lambda name: bool(host.glob(literal(name))),
        diagnose=("envfix", "diagnose", "--python", target),
    )

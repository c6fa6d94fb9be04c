"""Laying out answers: text for people, one JSON document for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from envfix.render.console import ConsoleOutput
    from envfix.render.interface import Output


def open_output(
    *, as_json: bool, color: bool = True, quiet: bool = False, verbose: bool = False, progress: bool = False
) -> Output:
    """Where the answer goes: standard output as JSON or as text; progress goes to standard error.

    With JSON there is progress only where ``progress`` asks for it, as JSON lines.
    """
    if as_json:
        from envfix.render.json_doc import JsonOutput

        return JsonOutput(progress=progress, quiet=quiet)
    return cast("Output", _LaterConsole(color=color, quiet=quiet, verbose=verbose))


def open_error_output(*, color: bool = True, verbose: bool = False) -> ConsoleOutput:
    """The same text on standard error, where standard output belongs to a program that was run."""
    from envfix.render.console import ConsoleOutput

    return ConsoleOutput(color=color, verbose=verbose, errors=True)


class _LaterReporter:
    """Progress to an output that is made when there is some (implements ``Reporter``)."""

    def __init__(self, output: _LaterConsole) -> None:
        self._output = output

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        self._output.console.reporter.stage(text)

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        self._output.console.reporter.progress(done, total)

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""
        self._output.console.reporter.packages(done, total)

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self._output.console.reporter.note(text)


class _LaterConsole:
    """Text output that is made at its first use: rich takes 25 ms to import, which is time to ask questions in."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._console: Any = None
        self.reporter = _LaterReporter(self)
        self._clear_when_the_command_ends()

    def _clear_when_the_command_ends(self) -> None:
        """An error is told after the command: it must not stand behind what was drawn last."""
        import click

        context = click.get_current_context(silent=True)
        if context is not None:
            context.call_on_close(lambda: self._console is not None and self._console.reporter.done())

    @property
    def console(self) -> Any:
        if self._console is None:
            from envfix.render.console import ConsoleOutput

            self._console = ConsoleOutput(**self._options)
        return self._console

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)

"""Laying out answers: text for people, one JSON document for scripts."""

from __future__ import annotations

from envfix.render.interface import Output


def open_output(*, as_json: bool, color: bool = True, quiet: bool = False, verbose: bool = False) -> Output:
    """Where the answer goes: standard output as JSON or as text; progress goes to standard error."""
    if as_json:
        from envfix.render.json_doc import JsonOutput

        return JsonOutput()
    from envfix.render.console import ConsoleOutput

    return ConsoleOutput(color=color, quiet=quiet, verbose=verbose)

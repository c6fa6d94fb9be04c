"""``envfix undo``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.model.language import later


@click.command()
@shared.options(
    shared.python_option,
    click.option(
        "--forget", is_flag=True, help=later("Keep the environment as it is, and delete what is kept for undo.")
    ),
    click.option("-y", "--yes", is_flag=True, help=later("Do not ask, also where later packages are lost.")),
    shared.json_option,
    shared.quiet_option,
    shared.color_option,
)
def command(*, target: str | None, forget: bool, yes: bool, as_json: bool, quiet: bool, no_color: bool) -> int:
    """Put an environment back as it was before the last `envfix install`, file by file.

    What was installed since stays, and is named. Asks only where more would be lost: packages of that install which
    were changed since, or an environment that it made.

    \b
    envfix undo
    envfix undo --python yolo-env
    envfix undo --forget
    """
    from envfix.app import undoing
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet)
    found = undoing.find(target, reporter=out.reporter)
    if forget:
        out.undone(undoing.forget(found, reporter=out.reporter))
        return 0
    undoing.confirm(found, out.confirm, yes=yes)
    out.undone(undoing.undo(found, reporter=out.reporter))
    return 0

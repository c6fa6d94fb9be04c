"""``envfix snapshot``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.model.language import later


@click.command()
@shared.options(
    click.option(
        "-o", "--output", required=True, type=shared.FILE, metavar="FILE", help=later("The file to write (JSON).")
    ),
    shared.python_option,
    click.option("--no-import", "no_import", is_flag=True, help=later("Do not import torch; read files only (fast).")),
    shared.json_option,
    shared.quiet_option,
    shared.color_option,
)
def command(*, output: str, target: str | None, no_import: bool, as_json: bool, quiet: bool, no_color: bool) -> int:
    """Save what envfix sees here, so that it can be diagnosed on any machine.

    The file holds the facts and everything that was asked and answered. Your user name, home folder, host name, GPU
    serial ids and passwords in addresses are taken out before anything is written.

    \b
    envfix snapshot -o gpu7.json
    envfix diagnose --from gpu7.json
    """
    from envfix.app import snapshotting
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet)
    out.saved(snapshotting.save_snapshot(output, target, with_import=not no_import, reporter=out.reporter))
    return 0

"""``envfix install``."""

from __future__ import annotations

from typing import Any

import click

from envfix.commands import _options as shared
from envfix.commands._plan_options import BACKEND, NEW_ENV, Backend, goal_options
from envfix.model.language import later


@click.command()
@goal_options
@shared.options(
    NEW_ENV,
    shared.python_option,
    BACKEND,
    click.option("-y", "--yes", is_flag=True, help=later("Do not ask before the download starts.")),
    click.option("--dry-run", is_flag=True, help=later("Only show the plan.")),
    click.option("--keep", is_flag=True, help=later("Keep what was installed even if verification fails.")),
    click.option("--allow-base", is_flag=True, help=later("Also change conda's base or a system Python.")),
    click.option("--even-in-use", is_flag=True, help=later("Also while programs run on the torch that is replaced.")),
    shared.offline_option,
    shared.json_option,
    click.option("--progress", is_flag=True, help=later("With --json: progress as JSON lines on standard error.")),
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    backend: Backend,
    yes: bool,
    dry_run: bool,
    keep: bool,
    allow_base: bool,
    even_in_use: bool,
    as_json: bool,
    progress: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
    **wishes: Any,
) -> int:
    """Install the stack that runs here, then prove it with a YOLOv8 prediction.

    Into the environment of --python (default: the one of your shell), or into a new one. The price is shown first. If
    anything fails, or you press Ctrl-C, the environment is as it was before; `envfix undo` takes back what went well.

    \b
    envfix install --new-env yolo-env
    envfix install --cuda 11.1 --python my-env
    envfix install --new-env old-env --python 3.8 --torch '==1.9.0' --yes
    """
    from envfix.app import installing, planning
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose, progress=progress)
    request = installing.InstallRequest(
        plan=planning.request_of(**wishes),
        backend=backend,
        allow_base=allow_base,
        keep=keep,
    )
    prepared = installing.prepare(request, reporter=out.reporter, dry_run=dry_run)
    if dry_run or prepared.plan.status != "ok" or not as_json:
        out.plan(prepared.plan)
    if prepared.plan.status != "ok":
        return 1
    for note in prepared.notes:
        out.reporter.note(note)
    if dry_run:
        return 0
    installing.confirm(prepared, out.confirm, yes=yes, even_in_use=even_in_use)
    installation = installing.install(prepared, reporter=out.reporter, on_rung=out.rung)
    if installation.verification is not None and not as_json:
        out.verification(installation.verification)
    out.installation(prepared.plan, installation)
    failed = installation.verification is not None and installation.verification.status == "failed"
    return 4 if failed else 0

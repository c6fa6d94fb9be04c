"""``envfix install``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.commands._plan_options import NEW_ENV, goal_options


@click.command()
@goal_options
@shared.options(
    NEW_ENV,
    shared.python_option,
    click.option("--yes", is_flag=True, help="Do not ask before the download starts."),
    click.option("--dry-run", is_flag=True, help="Only show the plan."),
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    cuda: str,
    cuda_exact: bool,
    torch: str | None,
    packages: tuple[str, ...],
    indexes: tuple[str, ...],
    new_env: str | None,
    target: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Install the stack that runs here into a new environment, then prove it with a YOLOv8 prediction.

    The price is shown first. If anything fails, or you press Ctrl-C, the new environment is removed again.

    \b
    envfix install --new-env yolo-env
    envfix install --new-env old-env --python 3.8 --torch '==1.9.0' --yes
    """
    from envfix.app import installing, planning
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    request = planning.PlanRequest(
        goal=planning.goal(
            cuda=cuda, cuda_exact=cuda_exact, torch=torch, packages=packages, indexes=indexes, offline=False
        ),
        target=target,
    )
    prepared = installing.prepare(request, new_env, reporter=out.reporter, dry_run=dry_run)
    if dry_run or prepared.plan.status != "ok" or not as_json:
        out.plan(prepared.plan)
    if prepared.plan.status != "ok":
        return 1
    if dry_run:
        return 0
    installing.confirm(out.confirm, yes=yes)
    installation = installing.install(prepared, reporter=out.reporter, on_rung=out.rung)
    if installation.verification is not None and not as_json:
        out.verification(installation.verification)
    out.installation(prepared.plan, installation)
    failed = installation.verification is not None and installation.verification.status == "failed"
    return 4 if failed else 0

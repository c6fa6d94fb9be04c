"""``envfix plan``."""

from __future__ import annotations

from typing import Any

import click

from envfix.commands import _options as shared
from envfix.commands._plan_options import BACKEND, NEW_ENV, Backend, goal_options, machine_options
from envfix.commands._report_options import page_option, save_page, spare
from envfix.errors import UsageError
from envfix.model.language import later, say


@click.command()
@goal_options
@machine_options
@NEW_ENV
@BACKEND
@click.option("-y", "--yes", is_flag=True, hidden=True, help=later("As for install; a plan asks nothing."))
@click.option(
    "--why-not", metavar="BUILD", help=later("Explain one build filter by filter: 2.13.0, cu130 or 2.13.0+cu130.")
)
@shared.options(
    shared.python_option,
    shared.from_option,
    shared.offline_option,
    page_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    backend: Backend,
    yes: bool,
    html: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
    **wishes: Any,
) -> int:
    """Tell what would be installed here, from where, how big it is, and why.

    Changes nothing. Ends with 1 when no stack satisfies the request.

    \b
    envfix plan
    envfix plan --cuda 11.1 --python 3.8
    envfix plan --driver 470.57.02 --gpu "RTX 3090" --python 3.11 --offline
    envfix plan --why-not 2.13.0+cu130
    envfix plan --from nodes/
    """
    del yes
    from envfix.app import planning
    from envfix.render import open_output

    spare((wishes["snapshot"],), html=html)
    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    if planning.is_folder(wishes["snapshot"]):
        if html is not None:
            raise UsageError(
                say("there is no page for the plan of many machines"),
                hint=say("name one saved machine: --from FILE"),
            )
        from envfix.app import fleet_planning

        shared_plan = fleet_planning.plan(planning.request_of(**wishes), reporter=out.reporter)
        out.fleet_plan(shared_plan)
        return 0 if shared_plan.complete else 1
    plan = planning.plan(planning.request_of(**wishes), conda=backend == "conda", reporter=out.reporter)
    save_page(html, plan, out)
    out.plan(plan)
    return 0 if plan.status == "ok" else 1

"""``envfix diagnose``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.commands._report_options import Reports, report_options, spare
from envfix.model.language import later


@click.command()
@shared.options(
    shared.python_option,
    shared.from_option,
    click.option("--no-import", "no_import", is_flag=True, help=later("Do not import torch; read files only (fast).")),
    click.option("--network", is_flag=True, help=later("Also ask which package indexes answer from here.")),
    report_options,
    shared.offline_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    target: str | None,
    snapshot: str | None,
    no_import: bool,
    network: bool,
    html: str | None,
    markdown: str | None,
    svg: str | None,
    offline: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Tell what this machine is, which Python is meant, what is wrong and the one command that mends it.

    Changes nothing. Ends with 1 when something is broken.

    \b
    envfix diagnose
    envfix diagnose --python ~/.conda/envs/yolov8_env --verbose
    envfix diagnose --from gpu7.json --json
    envfix diagnose --html report.html
    envfix diagnose --markdown > report.md
    """
    from envfix.app import diagnosing
    from envfix.render import open_output

    spare((snapshot,), html=html, markdown=markdown, svg=svg)
    reports = Reports(as_json=as_json, html=html, markdown=markdown, svg=svg)
    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    report = diagnosing.report(
        target,
        snapshot=snapshot,
        with_import=not no_import,
        network=network and not offline,
        reporter=out.reporter,
    )
    reports.diagnosis(report, out)
    return 1 if report.diagnosis.verdict == "broken" else 0

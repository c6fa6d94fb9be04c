"""``envfix gpus``."""

from __future__ import annotations

import contextlib

import click

from envfix.commands import _options as shared
from envfix.model.language import later, say


@click.command()
@shared.options(
    click.option(
        "--explain", is_flag=True, help=later("Also say what each field of nvidia-smi means on each card now.")
    ),
    click.option("--watch", is_flag=True, help=later("Look again every two seconds until Ctrl-C.")),
    shared.from_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    explain: bool,
    watch: bool,
    snapshot: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Tell who holds which GPU and since when, which one is free, and the line to paste.

    Changes nothing. Ends with 3 when the driver does not answer.

    \b
    envfix gpus
    envfix gpus --explain
    envfix gpus --watch
    envfix gpus --json
    """
    from envfix.app import holding
    from envfix.errors import UsageError
    from envfix.render import open_output

    if watch and (as_json or snapshot is not None):
        raise UsageError(
            say("--watch looks at this machine and is for people"), hint=say("leave out --json and --from")
        )
    if watch and explain:
        raise UsageError(say("--watch has no room for explanations"), hint=say("leave out --watch or --explain"))
    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            out.watch_gpus(holding.watch(every=2.0))
        return 0
    use = holding.gpu_use(snapshot, out.reporter, explain=explain)
    out.gpus(use)
    return 3 if use.failed else 0

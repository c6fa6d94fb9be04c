"""``envfix explain``."""

from __future__ import annotations

import sys

import click

from envfix.commands import _options as shared
from envfix.commands._report_options import page_option, save_page, spare
from envfix.errors import UsageError
from envfix.model.language import later, say


@click.command()
@shared.options(
    click.argument("files", type=shared.FILE, metavar="[FILE or -]...", nargs=-1),
    shared.python_option,
    shared.from_option,
    click.option(
        "--no-machine", "no_machine", is_flag=True, help=later("Judge the log alone; it is of another machine.")
    ),
    page_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    files: tuple[str, ...],
    target: str | None,
    snapshot: str | None,
    no_machine: bool,
    html: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Name the root cause of an error, a log or a collect_env report, with the lines that prove it and what mends it here.

    Changes nothing. Ends with 1 when something is broken, with 0 when nothing is recognised.

    \b
    envfix explain err.log
    yolo train data=coco128.yaml 2>&1 | envfix explain -
    envfix explain --no-machine pasted.txt --json
    """
    from envfix.app import explaining
    from envfix.render import open_output

    if not files and sys.stdin.isatty():
        raise UsageError(
            say("nothing to explain: name the file that holds the error"),
            hint=say("or pipe the program's output: `yolo train ... 2>&1 | envfix explain -`"),
        )
    spare((snapshot, *files), html=html)
    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    explanation = explaining.explain_files(
        files or (explaining.STANDARD_INPUT,),
        target,
        snapshot=snapshot,
        with_machine=not no_machine,
        reporter=out.reporter,
    )
    save_page(html, explanation, out)
    out.explanation(explanation)
    return 1 if explanation.is_error else 0

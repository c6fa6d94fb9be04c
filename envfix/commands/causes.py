"""``envfix causes``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The causes that a shell offers."""
    del ctx, param
    from envfix.app import cataloguing

    return [page.cause for page in cataloguing.causes() if page.cause.startswith(incomplete)]


@click.command()
@shared.options(
    click.argument("words", metavar="[NAME or WORD]...", nargs=-1, shell_complete=_names),
    shared.json_option,
    shared.color_option,
)
def command(*, words: tuple[str, ...], as_json: bool, no_color: bool) -> int:
    """List every cause envfix knows, those that some words describe, or show the manual page of one.

    \b
    envfix causes
    envfix causes driver_too_old_for_wheel
    envfix causes out of memory
    """
    from envfix.app import cataloguing
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color)
    pages = cataloguing.causes(words)
    out.causes(pages, page=bool(words) and len(pages) == 1)
    return 0

"""``envfix causes``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared


@click.command()
@shared.options(click.argument("words", metavar="[NAME or WORD]...", nargs=-1), shared.json_option, shared.color_option)
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

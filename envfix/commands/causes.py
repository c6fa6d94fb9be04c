"""``envfix causes``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared


@click.command()
@shared.options(click.argument("name", required=False), shared.json_option, shared.color_option)
def command(*, name: str | None, as_json: bool, no_color: bool) -> int:
    """List every cause envfix knows, or show the manual page of one.

    \b
    envfix causes
    envfix causes driver_too_old_for_wheel
    """
    from envfix.app import cataloguing
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color)
    out.causes(cataloguing.causes(name), page=name is not None)
    return 0

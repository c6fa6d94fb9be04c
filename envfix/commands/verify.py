"""``envfix verify``."""

from __future__ import annotations

from typing import Literal, get_args

import click

from envfix.commands import _options as shared

Level = Literal["import", "cuda", "yolo"]


@click.command()
@shared.options(
    shared.python_option,
    click.option(
        "--level",
        type=click.Choice(get_args(Level)),
        default="yolo",
        show_default=True,
        help="How far up the ladder.",
    ),
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|0|UUID", help="On which device."),
    shared.json_option,
    shared.quiet_option,
    shared.color_option,
)
def command(*, target: str | None, level: Level, device: str, as_json: bool, quiet: bool, no_color: bool) -> int:
    """Prove an environment rung by rung: import, driver, computing, torchvision, and a YOLOv8 prediction.

    Changes nothing in the environment and downloads nothing. Ends with 4 when a rung fails.

    \b
    envfix verify --python yolo-env
    envfix verify --level cuda --device 0
    """
    from envfix.app import verifying
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet)
    verification = verifying.verify(target, level=level, device=device, reporter=out.reporter, on_rung=out.rung)
    out.verification(verification)
    return 4 if verification.status == "failed" else 0

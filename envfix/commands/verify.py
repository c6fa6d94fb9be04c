"""``envfix verify``."""

from __future__ import annotations

from typing import Literal, get_args

import click

from envfix.commands import _options as shared
from envfix.commands._report_options import page_option, save_page
from envfix.model.language import later

Level = Literal["import", "cuda", "yolo", "train"]


@click.command()
@shared.options(
    shared.python_option,
    click.option(
        "--level",
        type=click.Choice(get_args(Level)),
        default="yolo",
        show_default=True,
        help=later("How far up the ladder."),
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|0|UUID",
        help=later(
            "On which device; auto is the idlest card that this shell may use, and the CPU only where there is no card."
        ),
    ),
    click.option(
        "--weights",
        type=shared.FILE,
        metavar="FILE",
        help=later(
            "Trained weights that must find the person and the bus in the packaged picture."
            " Default: a yolov8n.pt of yours, if there is one in this folder or where ultralytics"
            " keeps them."
        ),
    ),
    click.option(
        "--allow-download", is_flag=True, help=later("Let ultralytics fetch yolov8n.pt (6 MB) if there is none.")
    ),
    click.option(
        "--trust-weights",
        is_flag=True,
        help=later("Load FILE even if it holds more than a model: it may run anything."),
    ),
    click.option(
        "--picture",
        type=shared.FILE,
        metavar="FILE",
        help=later("Where to save what was found. Default: envfix-verify.jpg in this folder."),
    ),
    click.option(
        "--memory", is_flag=True, help=later("Tell where the GPU's memory goes: others, context, reserved, tensors.")
    ),
    page_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    target: str | None,
    level: Level,
    device: str,
    weights: str | None,
    allow_download: bool,
    trust_weights: bool,
    picture: str | None,
    memory: bool,
    html: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Prove an environment rung by rung: import, driver, computing, torchvision, and a YOLOv8 prediction.

    Changes nothing in the environment, and downloads nothing unless you allow it. Trained weights, where there are some, must
    find the person and the bus in the picture inside ultralytics; that picture with its boxes is the one file it leaves.
    Ends with 4 when a rung fails.

    \b
    envfix verify --python yolo-env
    envfix verify --level cuda --device 0
    envfix verify --weights yolov8n.pt --picture found.jpg
    """
    from envfix.app import verifying
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, verbose=verbose, quiet=quiet)
    verification = verifying.verify(
        target,
        level=level,
        device=device,
        weights=weights,
        allow_download=allow_download,
        trust_weights=trust_weights,
        picture=picture,
        memory=memory,
        reporter=out.reporter,
        on_rung=out.rung,
    )
    save_page(html, verification, out)
    out.verification(verification)
    return 4 if verification.status == "failed" else 0

"""``envfix fit``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.model.language import later


@click.command()
@click.argument("model", type=shared.FILE)
@shared.options(
    click.option("--imgsz", default=640, show_default=True, metavar="PIXELS", help=later("The side of the pictures.")),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|0|UUID",
        help=later("Which card. auto: the idlest that this shell may use; a number as torch counts."),
    ),
    click.option(
        "--share",
        default=0.8,
        show_default=True,
        metavar="PART",
        help=later("How much of the free memory may be used."),
    ),
    click.option("--no-amp", is_flag=True, help=later("Measure without half precision, for training with amp=False.")),
    click.option(
        "--trust-weights",
        is_flag=True,
        help=later("Load MODEL even if it holds more than a model: it may run anything."),
    ),
    shared.python_option,
    shared.json_option,
    shared.quiet_option,
    shared.color_option,
)
def command(
    *,
    model: str,
    imgsz: int,
    device: str,
    share: float,
    no_amp: bool,
    trust_weights: bool,
    target: str | None,
    as_json: bool,
    quiet: bool,
    no_color: bool,
) -> int:
    """Find the largest training batch of a YOLO detection MODEL that fits the free memory of a card.

    Measures a few steps of training with small batches, predicts the largest batch that fits, and tries it once. Never takes
    more than the share of what is free, changes nothing, downloads nothing. MODEL is a file, or a name as in yolov8n.pt.
    Ends with 1 when not even one picture fits, and with 3 where there is no GPU to measure on.

    \b
    envfix fit yolov8n.pt
    envfix fit yolov8m.pt --imgsz 1280 --device 0
    envfix fit runs/detect/train/weights/last.pt --share 0.9 --json
    """
    from envfix.app import fitting
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet)
    found = fitting.fit(
        model,
        target=target,
        imgsz=imgsz,
        device=device,
        share=share,
        amp=not no_amp,
        trust_weights=trust_weights,
        reporter=out.reporter,
    )
    out.fit(found)
    return 0 if found.batch else 1

"""``envfix wheels``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.model.language import later


@click.command()
@shared.options(
    click.option(
        "--package",
        "packages",
        multiple=True,
        metavar="NAME",
        help=later("torch, torchvision or torchaudio (repeatable)."),
    ),
    click.option("--torch", metavar="SPEC", help=later("Of this torch, or belonging to it: 1.9.0, '>=2.4,<2.6'.")),
    click.option("--cuda", metavar="11.1|cu118|cpu", help=later("With this CUDA inside.")),
    click.option("--python", metavar="VERSION", help=later("For this Python, such as 3.8 or 3.13t.")),
    click.option("--platform", metavar="TAG", help=later("For this platform, such as linux_x86_64.")),
    click.option("--index", type=click.Choice(("official", "pypi")), help=later("On this index.")),
    shared.json_option,
    shared.verbose_option,
    shared.color_option,
)
def command(
    *,
    packages: tuple[str, ...],
    torch: str | None,
    cuda: str | None,
    python: str | None,
    platform: str | None,
    index: str | None,
    as_json: bool,
    verbose: bool,
    no_color: bool,
) -> int:
    """List the torch, torchvision and torchaudio wheels that exist, with exact file names.

    The CUDA inside a wheel is stated also where its name hides it (the default registry's wheels carry no label).
    Asks no index: this is what the tables know. With -v each line ends with the address of the file. Those of the
    default registry have none that could be computed (`-`, in JSON "url": null): it makes them from the files' content.

    \b
    envfix wheels --torch 1.9.0 --python 3.8 --platform linux_x86_64
    envfix wheels --cuda 11.8 --package torch --json
    """
    from envfix.app import listing
    from envfix.render import open_output

    rows = listing.wheels(packages=packages, torch=torch, cuda=cuda, python=python, platform=platform, index=index)
    open_output(as_json=as_json, color=not no_color, verbose=verbose).wheels(rows)
    return 0

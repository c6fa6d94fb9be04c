"""``envfix run``."""

from __future__ import annotations

import click

from envfix.commands import _options as shared
from envfix.model.language import later, say


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@shared.options(
    click.argument("argv", metavar="PROGRAM [ARGUMENTS]...", nargs=-1, required=True, type=shared.FILE),
    shared.python_option,
    click.option(
        "--no-machine", "no_machine", is_flag=True, help=later("Judge its output alone; ask nothing of this machine.")
    ),
    shared.verbose_option,
    shared.color_option,
)
def command(*, argv: tuple[str, ...], target: str | None, no_machine: bool, verbose: bool, no_color: bool) -> int:
    """Run a program untouched, with its own exit code, and explain on standard error why it failed if it does.

    \b
    envfix run -- yolo train data=coco128.yaml model=yolov8n.pt
    envfix run -- python train.py --epochs 3
    envfix run -- pip install -r requirements.txt
    """
    from envfix.app import running
    from envfix.render import open_error_output

    ended = running.run(argv, target)
    out = open_error_output(color=not no_color, verbose=verbose)
    if not ended.started:
        out.not_started(argv[0], ended.problem)
    try:
        explanation = running.explain(ended, argv, target, with_machine=not no_machine, reporter=out.reporter)
        if explanation is not None and (ended.started or explanation.causes):
            out.failure(argv[0], ended.code, running.how_it_ended(ended.code), explanation)
    except KeyboardInterrupt:
        pass  # whoever stops the explanation still gets the program's own exit code
    except Exception as error:  # noqa: BLE001 - and so does a script, whatever goes wrong in here
        click.echo(say("envfix: cannot explain it: {error}", error=error), err=True)
    return running.leave(ended)

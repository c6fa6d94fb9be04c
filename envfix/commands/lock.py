"""``envfix lock``."""

from __future__ import annotations

from typing import Any, get_args

import click
from click.core import ParameterSource

from envfix.commands import _options as shared
from envfix.commands._plan_options import BACKEND, Backend, goal_options, machine_options
from envfix.model.language import later, say
from envfix.model.lock import Format

# What says that a plan is to be locked, and not what is installed.
_OF_WISHES = ("cuda", "cuda_exact", "torch", "packages", "backend")
_OF_PLANS = (*_OF_WISHES, "driver", "gpus", "platform", "glibc")


@click.command()
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(get_args(Format)),
    help=later("Which lockfile (repeatable; default: what the name after -o says, else requirements)."),
)
@click.option(
    "-o",
    "--output",
    "out",
    type=shared.FILE,
    metavar="FILE|FOLDER",
    help=later("Where to write it; without, it is printed."),
)
@click.option(
    "--check",
    "check",
    type=shared.FILE,
    metavar="FILE",
    help=later("Compare this lock with the environment, or with a machine."),
)
@click.option(
    "--update", multiple=True, metavar="PKG", help=later("Change only what must change for this package (repeatable).")
)
@click.option(
    "--download",
    is_flag=True,
    help=later("Fetch files of which no index tells the hash, and those beside a pylock.toml."),
)
@goal_options
@machine_options
@BACKEND
@shared.options(
    shared.python_option,
    shared.from_option,
    shared.offline_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    formats: tuple[str, ...],
    out: str | None,
    check: str | None,
    update: tuple[str, ...],
    download: bool,
    backend: Backend,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
    **wishes: Any,
) -> int:
    """Write lockfiles that bring the same stack back on another machine, and say what machine that must be.

    With any option of `envfix plan` (--cuda, --torch, --with, --gpu ...) the plan is locked, and nothing has to be
    installed; without, what is installed in --python is locked. Ends with 1 when there is no such stack, and when a
    lock that is checked does not fit.

    \b
    envfix lock --cuda 11.1 --python 3.8 -o requirements-lock.txt
    envfix lock --python yolo-env --format pylock --format dockerfile -o locks/
    envfix lock --check requirements-lock.txt --from other-machine.json
    envfix lock --update torch -o requirements-lock.txt
    envfix lock --from nodes/ -o locks/
    """
    from envfix.app import locking, planning
    from envfix.model.plan import Plan
    from envfix.render import open_output

    out_ = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    request = planning.request_of(**wishes)
    planned = any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _OF_PLANS)
    if update and wishes["packages"]:
        raise click.UsageError(say("--update keeps what the lock was asked for: leave out --with"))
    if check is not None:
        if download or any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _OF_WISHES):
            raise click.UsageError(
                say("--check compares what is in the file: leave out --cuda, --torch, --with and --download")
            )
        if len(formats) > 1 or out is not None or update:
            raise click.UsageError(
                say("--check reads one lock and writes none: leave out -o, --update and all but one --format")
            )
        checked = locking.check(check, request, format_name=next(iter(formats), None), reporter=out_.reporter)
        out_.lock_check(checked)
        return 0 if checked.status == "ok" else 1
    wanted = locking.LockRequest(
        plan=request,
        planned=planned,
        conda=backend == "conda",
        formats=tuple(dict.fromkeys(formats)),
        out=out,
        update=update,
        download=download,
        texts=as_json,
    )
    if planning.is_folder(wishes["snapshot"]):
        from envfix.app import fleet_planning

        locks = fleet_planning.lock(wanted, reporter=out_.reporter)
        out_.fleet_locked(locks)
        return 0 if locks.complete else 1
    made = locking.lock(wanted, reporter=out_.reporter)
    if isinstance(made, Plan):
        out_.plan(made)
        return 1
    out_.locked(made)
    return 0

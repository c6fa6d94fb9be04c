"""The command line: parses and delegates; the one place where errors become exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import click

from envfix._version import __version__
from envfix.errors import EnvfixError

# What each command does, so that --help needs to import none of them.
COMMANDS = {
    "diagnose": "What is this machine, which Python is this, what is wrong, what mends it.",
    "explain": "Name the cause of a pasted error or log, and what mends it here.",
    "run": "Run a program untouched; explain only if it fails.",
    "plan": "What would be installed, from where, how big, and why.",
    "install": "Carry a plan out, safely, then prove it.",
    "lock": "Write lockfiles that rebuild the same environment, and check them.",
    "undo": "Put the environment back as it was before the last install.",
    "verify": "Climb the ladder from import to a YOLOv8 prediction.",
    "gpus": "Who holds which GPU, which one is free, and the line to paste.",
    "fit": "The largest training batch that fits the free memory of a card.",
    "wheels": "Which torch wheels exist, and the CUDA inside each.",
    "snapshot": "Save this machine's facts, without names and secrets.",
    "fleet": "The same for all nodes of a cluster: srun, ssh, kubectl, Ansible.",
    "causes": "The catalogue of causes, or the manual page of one.",
}


class LazyGroup(click.Group):
    """Imports the module of a command only when that command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which people need them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"envfix.commands.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command offers the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from error


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`envfix` alone is `envfix diagnose`. Exit codes: 0 fine, 1 errors found or no stack fits, 2 wrong usage,\n"
    "3 envfix could not do it, 4 verification failed, 130 interrupted.",
)
@click.version_option(__version__, prog_name="envfix", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> int | None:
    """Find, explain and mend what is wrong between Python, torch, CUDA and the driver."""
    if ctx.invoked_subcommand is None:
        command = importlib.import_module("envfix.commands.diagnose").command
        result: int | None = ctx.invoke(command)
        return result
    return None


def main(arguments: Sequence[str]) -> int:
    """Run envfix with these arguments and return its exit code; never raises."""
    try:
        code = _run(arguments, as_json="--json" in arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # as in `envfix diagnose | head`: the reader has what it wanted
        _leave_standard_output()
        return 0
    except OSError as error:
        _leave_standard_output()
        return _refuse(f"cannot write the answer: {error.strerror or error}", None, 3, "output", as_json=False)


def _run(arguments: Sequence[str], *, as_json: bool) -> int:
    """The same, except that standard output may refuse to take the answer (``OSError``)."""
    try:
        with cli.make_context("envfix", _with_command(arguments)) as context:
            result = cli.invoke(context)
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _refuse(error.format_message(), None, 2, "usage", as_json=as_json, context=getattr(error, "ctx", None))
    except EnvfixError as error:
        return _refuse(error.message, error.hint, error.exit_code, error.reference, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        from envfix.host.signals import undisturbed

        with undisturbed():  # who ends a program often sends two signals
            return _refuse("interrupted", None, 130, "interrupted", as_json=as_json)
    except BrokenPipeError:
        raise
    except Exception as error:  # the last barrier: a user never sees a traceback
        hint = "this is a fault in envfix; please report it with the output of ENVFIX_DEBUG=1"
        if _debugging() or getattr(error, "errno", None) == errno.ENOSPC:
            raise
        return _refuse(f"{type(error).__name__}: {error}", hint, 3, "internal-error", as_json=as_json)


def _with_command(arguments: Sequence[str]) -> list[str]:
    """`envfix --json` is `envfix diagnose --json`: without a command, options are those of diagnose."""
    if arguments and arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version"):
        return ["diagnose", *arguments]
    return list(arguments)


def _leave_standard_output() -> None:
    """Nobody takes what is still to be written; without this, Python complains about it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _debugging() -> bool:
    from envfix.host.real import RealHost

    return RealHost().getenv("ENVFIX_DEBUG") is not None


def _refuse(
    message: str,
    hint: str | None,
    code: int,
    reference: str,
    *,
    as_json: bool,
    context: click.Context | None = None,
) -> int:
    """Say what went wrong: on stderr for people, as one JSON document on stdout for scripts."""
    if as_json:
        from envfix.model.documents import to_json

        error = {"reference": reference, "message": message, "hint": hint, "exit_code": code}
        # JSON is UTF-8, whatever the terminal speaks.
        click.echo(to_json({"schema": "envfix.error/1", "error": error}).encode())
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    elif context is not None and code == 2:
        click.echo(f"hint: `{context.command_path} --help` shows what is possible", err=True)
    return code

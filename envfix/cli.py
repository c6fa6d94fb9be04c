"""The command line: parses and delegates; the one place where errors become exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from envfix._version import __version__
from envfix.commands._help import asked_for, joined, speaking
from envfix.errors import EnvfixError
from envfix.model.language import later, look_up, say, speak, wished
from envfix.model.started import as_started

# What each command does, so that --help needs to import none of them; the six that people come for first, by example.
EXAMPLES = {
    "diagnose": ("envfix diagnose", later("what is here, what is wrong, what mends it")),
    "explain": ("envfix explain error.log", later("why it failed, and what mends it here")),
    "plan": ("envfix plan --cuda 11.1", later("what would be installed, how big, and why")),
    "install": ("envfix install --new-env yolo", later("install it safely, then prove it")),
    "verify": ("envfix verify", later("climb from import to a YOLOv8 prediction")),
    "gpus": ("envfix gpus", later("who holds which GPU, and which one is free")),
}
MORE = {
    "run": later("run a program untouched; explain only if it fails"),
    "lock": later("write lockfiles that rebuild an environment; check them"),
    "undo": later("put the environment back as it was before the last install"),
    "fit": later("the largest training batch that fits the free memory of a card"),
    "wheels": later("which torch wheels exist, and the CUDA inside each"),
    "snapshot": later("save this machine's facts, without names and secrets"),
    "fleet": later("the same for a whole cluster: srun, ssh, kubectl, Ansible"),
    "causes": later("the catalogue of causes, or the manual page of one"),
    "completion": later("what completes envfix in bash, zsh or fish"),
}
COMMANDS = (*EXAMPLES, *MORE)
_INTERRUPTED = 130


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
        return speaking(command)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What people come for, and the other commands, without importing any; it fits on one screen."""
        del ctx
        for title, rows in ((say("What people come for"), EXAMPLES.values()), (say("Also"), MORE.items())):
            with formatter.section(title):
                formatter.write_dl([(as_started(term), text) for term, text in rows], col_max=36)

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
            raise click.UsageError(
                say("{error} Did you mean '{near}'?", error=error.message, near=near[0]), ctx
            ) from error


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=later(
        "`envfix` alone is diagnose; `envfix COMMAND --help` has examples.\n\nExit: 0 fine, 1"
        " errors, 2 usage, 3 failed, 4 not verified, 130 interrupted."
    ),
)
@click.version_option(__version__, prog_name="envfix", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> int | None:
    """Find, explain and mend what is wrong with torch, CUDA and the driver."""
    if ctx.invoked_subcommand is None:
        command = importlib.import_module("envfix.commands.diagnose").command
        result: int | None = ctx.invoke(command)
        return result
    return None


speaking(cli)


def main(arguments: Sequence[str]) -> int:
    """Run envfix with these arguments and return its exit code; never raises."""
    completing = os.environ.get("_ENVFIX_COMPLETE")  # noqa: TID251 - a shell waits, and a Host takes longer to import
    if completing is not None:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "envfix", "_ENVFIX_COMPLETE", completing)
    try:
        # What scripts read is English, unless --lang says otherwise.
        asked, as_json = asked_for(arguments), "--json" in arguments
        told = "en" if as_json or not _is_wide() else wished(os.environ.get)  # noqa: TID251 - a Host takes longer to import
        speak(asked or told)
        code = _run(arguments, as_json=as_json)
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:
                if code != _INTERRUPTED:  # the terminal may be closed: nobody waits for an answer
                    raise
                _leave(sys.stdout)
        return code
    except BrokenPipeError:  # as in `envfix diagnose | head`: the reader has what it wanted
        _leave(sys.stdout)
        return 0
    except OSError as error:
        _leave(sys.stdout)
        return _refuse(
            say("cannot write the answer: {strerror}", strerror=error.strerror or error),
            None,
            3,
            "output",
            as_json=False,
        )


def _is_wide() -> bool:
    """Whether standard output has letters beyond those of the West: some consoles of Windows show numbers for the others."""
    try:
        "中".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _run(arguments: Sequence[str], *, as_json: bool) -> int:
    """The same, except that standard output may refuse to take the answer (``OSError``)."""
    try:
        with cli.make_context(as_started("envfix"), _with_command(arguments)) as context:
            result = cli.invoke(context)
            return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # `envfix fleet`: which of its commands is meant?
        if not as_json:
            _tell(error.format_message())
            return error.exit_code
        return _refuse(say("a command is missing"), None, 2, "usage", as_json=True, context=error.ctx)
    except click.ClickException as error:
        message = joined(error.format_message())
        return _refuse(message, None, 2, "usage", as_json=as_json, context=getattr(error, "ctx", None))
    except EnvfixError as error:
        return _refuse(error.message, error.hint, error.exit_code, error.reference, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        from envfix.host.signals import undisturbed

        with undisturbed():  # who ends a program often sends two signals
            return _refuse(say("interrupted"), None, _INTERRUPTED, "interrupted", as_json=as_json)
    except BrokenPipeError:
        raise
    except Exception as error:  # the last barrier: a user never sees a traceback
        hint = say("this is a fault in envfix; please report it with the output of ENVFIX_DEBUG=1")
        if _debugging() or getattr(error, "errno", None) == errno.ENOSPC:
            raise
        return _refuse(f"{type(error).__name__}: {error}", hint, 3, "internal-error", as_json=as_json)


def _with_command(arguments: Sequence[str]) -> list[str]:
    """`envfix --json` is `envfix diagnose --json`: without a command, options are those of diagnose."""
    given = list(arguments)
    # Only --lang may stand before a command.
    at = 0
    while at < len(given) and given[at].partition("=")[0] == "--lang":
        at += 1 if "=" in given[at] else 2
    # What other programs have as commands.
    if given[at : at + 1] == ["help"]:
        return [*given[:at], *given[at + 1 :], "--help"]
    if given[at:] == ["version"]:
        return [*given[:at], "--version"]
    if at < len(given) and given[at].startswith("-") and given[at] not in ("-h", "--help", "--version"):
        return [*given[:at], "diagnose", *given[at:]]
    return given


def _leave(stream: TextIO) -> None:
    """Nobody takes what is still to be written; without this, Python complains about it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _tell(text: str) -> None:
    """Say it on standard error, if anybody listens there still."""
    try:
        click.echo(text, err=True)
    except OSError:
        _leave(sys.stderr)


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
    from envfix.model.words import readable

    message, hint = readable(look_up(message)), readable(look_up(hint)) if hint else hint
    if as_json:
        from envfix.model.documents import to_json

        error = {"reference": reference, "message": message, "hint": hint, "exit_code": code}
        # JSON is UTF-8, whatever the terminal speaks.
        click.echo(to_json({"schema": "envfix.error/1", "error": error}).encode())
    _tell(say("error: {message}", message=message))
    if hint:
        _tell(say("hint: {hint}", hint=hint))
    elif context is not None and code == 2:
        _tell(say("hint: `{command_path} --help` shows what is possible", command_path=context.command_path))
    return code

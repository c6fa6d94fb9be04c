"""The help of every command in the chosen language: click lays it out in English and asks this for the words."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from envfix.model.language import LANGUAGES, language, later, look_up, named, say, speak
from envfix.model.started import as_started

if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # generic since 8.2 only
# Click's own words, in the spelling of its releases from 8.1 to 8.5; those that envfix never lets it say are left out.
WORDS = (
    later("Usage: "),
    later("Options"),
    later("Commands"),
    later("Show this message and exit."),
    later("Show the version and exit."),
    later("default: {default}"),
    later("(dynamic)"),
    later("required"),
    # What is wrong with how a command was called.
    later("Missing argument"),
    later("Missing option"),
    later("Missing parameter"),
    later("Missing {param_type}"),
    later("Missing command."),
    later("Choose from:\n\t{choices}"),
    later("Choose from:\n\t{choices}."),
    later("Invalid value: {message}"),
    later("Invalid value for {param_hint}: {message}"),
    later("No such option: {name}"),
    later("No such option {name!r}."),
    later("No such command {name!r}."),
    later("Did you mean {possibility}?"),
    later("(Did you mean one of: {possibilities}?)"),
    later("(Possible options: {possibilities})"),
    later("Option {name!r} does not take a value."),
    later("Option {name!r} requires an argument."),
    later("Option {name!r} requires {nargs} arguments."),
    later("Argument {name!r} takes {nargs} values."),
    later("Takes {nargs} values but 1 was given."),
    later("Takes {nargs} values but {len} were given."),
    later("Got unexpected extra argument ({args})"),
    later("Got unexpected extra arguments ({args})"),
    later("{value!r} is not {choice}."),
    later("{value!r} is not one of {choices}."),
    later("{value!r} is not a valid {number_type}."),
    later("{value} is not in the range {range}."),
)
# What click adds to the help of an option: its default, or that it is required.
_EXTRA = re.compile(r"(?s)(.*?)(  \[[^\[\]]*\])?")


def one_or_many(one: str, many: str, count: int) -> str:
    """As gettext's ``ngettext``: each form is a sentence of the catalogues."""
    return look_up(one if count == 1 else many)


def teach_click() -> None:
    """Let click ask the catalogues: it asks gettext, under a name in each of its modules, for the language of the machine."""
    for name, module in list(sys.modules.items()):
        if name.startswith("click."):
            for asked, answer in (("_", look_up), ("ngettext", one_or_many)):
                if hasattr(module, asked):
                    setattr(module, asked, answer)


teach_click()


def joined(text: str) -> str:
    """What click has said, which puts sentences together as English does."""
    return text if language() == "en" else re.sub(r"(?<=['\]])\.(?: |$)|。 ", "。", text)


def asked_for(arguments: Iterable[str]) -> str | None:
    """The language that ``--lang`` names in these arguments, so that what is wrong with them is said in it."""
    words, running = iter(arguments), False
    for word in words:
        name, given, value = word.partition("=")
        if name == "--lang":
            return named(value if given else next(words, ""))
        if word == "--" or (running and not word.startswith("-")):  # what follows belongs to another program
            return None
        if word == "--python":
            next(words, None)
        running = running or word == "run"
    return None


class Language(_Choice):
    """``en`` or ``zh``, also as a locale or a web page names it (``zh_CN``); no Chinese in traditional characters."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The language; click refuses any other."""
        return super().convert(named(str(value)) or value, param, ctx)


def _speak(_context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        speak(value)


# Every command has it, also before the name of the command.
lang_option = click.Option(
    ["--lang"],
    type=Language(tuple(LANGUAGES)),
    is_eager=True,
    expose_value=False,
    callback=_speak,
    help=later("English or Simplified Chinese (default: as LANG says; --json is English unless --lang is given)."),
)


class Formatter(click.HelpFormatter):
    """As click has it in English; else each paragraph is looked up, and broken where its language allows."""

    # What the commands of a group do; click itself gives the beginning only, which no catalogue knows.
    summaries: Mapping[str, str] = {}

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line that says how the command is called."""
        super().write_usage(prog, args, look_up("Usage: ") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """The name of a section."""
        self.write(f"{'':{self.current_indent}}{say('{heading}:', heading=heading)}\n")

    def write_text(self, text: str) -> None:
        """What a command does, and its examples, which are no words."""
        if language() == "en":
            told = [as_started(block) if block.startswith("\b\n") else block for block in text.split("\n\n")]
            super().write_text("\n\n".join(told))
            return
        indent = " " * self.current_indent
        blocks = [self._lines(block, self.width - self.current_indent) for block in look_up(text).split("\n\n")]
        self.write("\n\n".join("\n".join(f"{indent}{line}" for line in block) for block in blocks) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands, with what each does."""
        if language() == "en":
            super().write_dl(rows, col_max, col_spacing)
            return
        from envfix.render.wrapping import wrapped

        rows = list(rows)
        column = min(max((len(term) for term, _ in rows), default=0), col_max) + col_spacing
        for term, text in rows:
            first, *more = wrapped(_translated(self.summaries.get(term, text)), self.width - column - col_spacing) or [
                ""
            ]
            start = f"{'':{self.current_indent}}{term}"
            if len(term) > column - col_spacing:
                self.write(f"{start}\n")
                start = " " * self.current_indent
            self.write(f"{start}{'':{self.current_indent + column - len(start)}}{first}\n")
            self.write("".join(f"{'':{self.current_indent + column}}{line}\n" for line in more))

    @staticmethod
    def _lines(block: str, width: int) -> list[str]:
        from envfix.render.wrapping import wrapped

        examples = block.startswith("\b\n")
        return as_started(block).split("\n")[1:] if examples else wrapped(look_up(" ".join(block.split())), width)


class Context(click.Context):
    """Click's, with the help above."""

    formatter_class = Formatter

    def make_formatter(self) -> click.HelpFormatter:
        """One that knows the commands of a group; the group that imports its commands late says itself what they do."""
        formatter = super().make_formatter()
        if isinstance(formatter, Formatter) and type(self.command) is click.Group:
            formatter.summaries = {name: _summary(one) for name, one in self.command.commands.items()}
        return formatter


def speaking(command: click.Command) -> click.Command:
    """A command, and those below it, with ``--lang`` and with help in the chosen language."""
    command.context_class = Context
    if all(parameter.name != lang_option.name for parameter in command.params):
        command.params.append(lang_option)
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        speaking(one)
    return command


def _summary(command: click.Command) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _translated(text: str) -> str:
    match = _EXTRA.fullmatch(text)
    assert match is not None  # noqa: S101 - it matches any text
    return look_up(match[1]) + (match[2] or "")

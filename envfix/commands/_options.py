"""Options that several commands share, spelled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from envfix.model.language import later

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


class Typed(click.types.StringParamType):
    """A value as it was typed; a shell completes the ``usual`` ones, or files where there are none."""

    def __init__(self, *usual: str) -> None:
        self._usual = usual

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What can be meant by its beginning."""
        del ctx, param
        from click.shell_completion import CompletionItem

        if not self._usual:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(value) for value in self._usual if value.startswith(incomplete)]


FILE = Typed()

python_option = click.option(
    "--python",
    "target",
    type=FILE,
    metavar="TARGET",
    help=later(
        "The interpreter: a path, a version (3.9), an environment's folder or a conda"
        " environment's name. Default: what `python` means in your shell."
    ),
)
from_option = click.option(
    "--from",
    "snapshot",
    type=FILE,
    metavar="FILE",
    help=later("Look at another machine: one saved by `envfix snapshot`, or a pasted collect_env report of torch."),
)
json_option = click.option("--json", "as_json", is_flag=True, help=later("One JSON document on standard output."))
offline_option = click.option("--offline", is_flag=True, help=later("Ask no index; decide from the built-in tables."))
color_option = click.option("--no-color", is_flag=True, help=later("Plain text (NO_COLOR does the same)."))
quiet_option = click.option("-q", "--quiet", is_flag=True, help=later("No progress, only the answer."))
verbose_option = click.option("-v", "--verbose", is_flag=True, help=later("Every fact and every reason."))


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several option decorators as one, in the order in which --help shows them."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate

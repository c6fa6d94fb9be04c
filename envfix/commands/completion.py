"""``envfix completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# Where nothing else has begun zsh's own completion, what follows would be an error at every start.
_ZSH = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print what completes envfix's commands, options and their values in a shell.

    \b
    envfix completion bash >> ~/.bashrc
    envfix completion zsh >> ~/.zshrc
    envfix completion fish > ~/.config/fish/completions/envfix.fish
    """
    root = ctx.find_root()
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows these shells
    source = found(root.command, {}, "envfix", "_ENVFIX_COMPLETE").source()
    click.echo(f"{_ZSH}{source}" if shell == "zsh" else source)
    return 0

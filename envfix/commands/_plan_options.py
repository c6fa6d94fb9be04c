"""The options that say what is wanted and for which machine: shared by plan, install and lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import click

from envfix.commands import _options as shared
from envfix.model.language import later

F = TypeVar("F", bound=Callable[..., Any])
# For completion only: the tables know which there are.
CUDAS = ("cu118", "cu121", "cu124", "cu126", "cu128", "cu129", "cu130", "cu132")

_GOAL = (
    click.option(
        "--cuda",
        default="auto",
        show_default=True,
        type=shared.Typed("auto", "cpu", *CUDAS),
        metavar="11.1|cu118|cpu|auto",
        help=later("The CUDA you have here; the same family is taken where no such wheel exists."),
    ),
    click.option("--cuda-exact", is_flag=True, help=later("Exactly that CUDA, or no plan.")),
    click.option("--torch", metavar="SPEC", help=later("Which torch, such as '==1.9.0' or '>=2.4,<2.6'.")),
    click.option(
        "--with",
        "packages",
        multiple=True,
        metavar="PKG",
        help=later("Packages beside torch (repeatable; default ultralytics; `none` for torch alone)."),
    ),
    click.option(
        "--index",
        "indexes",
        multiple=True,
        type=shared.Typed("auto", "official", "pypi", "aliyun", "nju", "sjtu"),
        metavar="auto|official|pypi|MIRROR|URL",
        help=later("Where wheels may come from (repeatable; default: whichever answers)."),
    ),
)
NEW_ENV = click.option(
    "--new-env", type=shared.FILE, metavar="PATH", help=later("Make this environment and install into it.")
)
Backend = Literal["auto", "uv", "pip", "conda"]
BACKEND = click.option(
    "--backend",
    type=click.Choice(get_args(Backend)),
    default="auto",
    show_default=True,
    help=later("What installs: uv, the target's own pip, or conda packages from your channels."),
)
_MACHINE = (
    click.option("--driver", metavar="VERSION", help=later("Plan for a machine with this NVIDIA driver.")),
    click.option(
        "--gpu",
        "gpus",
        multiple=True,
        metavar="NAME",
        help=later('Plan for this card, such as "RTX 3090" (repeatable; `none`).'),
    ),
    click.option(
        "--platform",
        type=shared.Typed("linux_x86_64", "linux_aarch64", "win_amd64", "macosx_arm64"),
        metavar="TAG",
        help=later("Plan for linux_x86_64, linux_aarch64, win_amd64 or macosx_arm64."),
    ),
    click.option("--glibc", metavar="VERSION", help=later("Plan for a Linux with this C library, such as 2.31.")),
)


def goal_options(function: F) -> F:
    """What is wanted."""
    for decorator in reversed(_GOAL):
        function = decorator(function)
    return function


def machine_options(function: F) -> F:
    """For which machine, if not this one."""
    for decorator in reversed(_MACHINE):
        function = decorator(function)
    return function

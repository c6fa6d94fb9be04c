"""The package installed by pip is called ``pytorch``, which is only a placeholder.

What you see
    'You tried to install "pytorch". The package named for PyTorch is "torch"', "Failed building wheel for pytorch", a
    file ``pytorch-1.0.2.tar.gz``, "No module named 'tools.setup_helpers'".

Why
    On the Python package index the name ``pytorch`` holds no torch: its versions 0.1.2 and 1.0.2 fail on purpose
    while they are built. Where one got through, ``import torch`` finds nothing, although "pytorch" is listed. (In
    conda the package is called ``pytorch``; there it is the real one, and its metadata says ``torch``.)

How envfix knows
    In a log: what pip collects and what its build says. On a machine: a distribution ``pytorch`` of version 1.0.2 or
    older is installed.

How to mend
    Remove the placeholder and install ``torch``.

What not to do
    Build tools, wheel, setuptools or another pip do not make it work.

Sources
    Metadata folders of the target; messages of pip and of the placeholder.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.rules._changing import in_place
from envfix.rules._environments import IN_NEW_ENVIRONMENT, NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# The versions of the placeholder on the index: 0.1.2 and 1.0.2.
PLACEHOLDER = regex(r"(?:0\.|1\.0\.)")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    rows = [row for row in environment.distributions.value or () if row.name.lower() == "pytorch"]
    if interpreter is None or not rows or not PLACEHOLDER.match(rows[0].version):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if environment.torch.is_absent else Severity.INFO,
        message=say(
            "The package `pytorch` {version} is a placeholder with no torch in it; the real one is `torch`.",
            version=rows[0].version,
        ),
        because=(
            cite(
                "environment.distributions",
                environment.distributions,
                say("pytorch {version} in {location}", version=rows[0].version, location=rows[0].location),
            ),
        ),
        remedies=(
            in_place(environment, say("Remove the placeholder."), "uninstall", "--yes", "pytorch"),
            *((IN_NEW_ENVIRONMENT,) if environment.torch.is_absent else ()),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"You tried to install .{0,2}pytorch.{0,2}\. The package named", confidence=0.98, quoted=True
        ),
        Signature(pattern=r"pytorch-(?:0\.1|1\.0)[\w.]{0,12}\.tar\.gz", confidence=0.93, quoted=True),
        Signature(
            pattern=r"(?:Failed building wheel|Building wheel|Failed to build wheels?|Running setup\.py \w{1,20}"
            r"|Could not build wheels|python setup\.py"
            r" egg_info) for pytorch[\s:,;(]",
            confidence=0.93,
            quoted=True,
        ),
        Signature(pattern=r"Failed to build `?pytorch(?:==[01]\.[\w.]{1,10})?[`\s,]", confidence=0.93, quoted=True),
        Signature(pattern=r"No module named '?tools\.setup_helpers", confidence=0.8, quoted=True),
        Signature(
            pattern=r"satisfies the requirement (?P<wish>pytorch(?:[=<>!~][^\s(]{0,40})?) \(|No matching distribution"
            r" found for pytorch(?:[\s=<>!~]|\n)",
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=r"pip3? install (?:-[\w-]{1,20} ){0,4}pytorch(?:==[\d.]{1,8})?(?:\s|\n)",
            beside=(r"(?i)error",),
            unless=(r"You tried to install|pytorch-[01]\.",),
            confidence=0.5,
        ),
        Signature(
            pattern=r"[Bb]ecause (?:there (?:is|are) no versions? of )?pytorch(?:[=<>!~]\S{1,30})? ",
            beside=(r"No solution found",),
            confidence=0.75,
            quoted=True,
        ),
    ),
    message=later(
        "The package `pytorch` of the Python package index is a placeholder with no torch in it;"
        " the real one is `torch`."
    ),
    remedies=(
        Remedy(text=later("Install `torch`, not `pytorch`."), commands=(NEW_ENV,)),
        Remedy(
            text=later("Or with pip, in the environment you have."),
            commands=(("python", "-m", "pip", "install", "torch", "torchvision"),),
        ),
    ),
    explains=("wheel_not_on_index", "wheel_python_mismatch", "python_32bit", "platform_without_wheel"),
)

RULE = Rule(
    code="INT111",
    cause="wrong_package_name_pytorch",
    title=later("pytorch is not torch"),
    needs=("environment.interpreter", "environment.distributions", "environment.torch"),
    check=check,
    rank=28,
    explains=("torch_not_installed",),
    log=LOG,
)

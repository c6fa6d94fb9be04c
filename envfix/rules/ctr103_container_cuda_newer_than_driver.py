"""The image was made for a newer CUDA than the host's driver serves.

What you see
    "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a
    newer version, or use an earlier cuda container".

Why
    Images with CUDA say what they need in ``NVIDIA_REQUIRE_CUDA`` ("cuda>=12.8", and older drivers of some kinds
    that do as well), and the driver of the host serves less. A torch wheel brings its own CUDA: it runs if the
    driver is new enough for *that* (see the cause driver_too_old_for_wheel).

How envfix knows
    The variable against the driver. Where the container was started all the same, somebody switched that check off
    or the engine does not make it; within one CUDA family this is then only good to know. In a log the text above.

How to mend
    An image for an older CUDA, or a newer driver on the host.

What not to do
    Do not install a toolkit on the host, and do not take NVIDIA_DISABLE_REQUIRE for a repair.

Sources
    NVIDIA container toolkit documentation (constraints); CUDA compatibility guide.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.model.versions import CudaVersion, DriverVersion
from envfix.rules._devices import container, cuda_works
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

VARIABLE = "NVIDIA_REQUIRE_CUDA"
_CONDITION = regex(r"(cuda|driver|brand|arch)(>=|<=|<|>|=|!=)([\w.]+)")


def parse_requirement(text: str) -> tuple[tuple[tuple[str, str, str], ...], ...]:
    """Alternatives, each a list of conditions: ``cuda>=12.4 brand=tesla,driver>=470,driver<471`` has two."""
    return tuple(tuple(_CONDITION.findall(part)) for part in text.split() if _CONDITION.search(part))


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    driver, text = machine.driver.value, machine.variables.get(VARIABLE, "")
    if container(machine) is None or driver is None or not text or cuda_works(environment):
        return
    served = driver.cuda or tables.drivers.newest_cuda(driver.version)
    alternatives = parse_requirement(text)
    needed = _oldest(alternatives)
    if served is None or needed is None:
        return
    host = Host(served, driver.version, _are_consumer_cards(machine, tables))
    if any(all(_may_hold(condition, host) for condition in one) for one in alternatives):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO if needed.major == served.major else Severity.WARNING,
        message=say(
            "This image was made for CUDA {needed}, but the host's driver {version} serves CUDA {served} at most.",
            needed=needed,
            version=driver.version,
            served=served,
        ),
        because=(
            Evidence(fact="machine.variables", value=text[:200], source=VARIABLE),
            cite(
                "machine.driver",
                machine.driver,
                say("{version}, serves CUDA {served}", version=driver.version, served=served),
            ),
        ),
        remedies=(
            Remedy(
                text=say(
                    "Use an image for CUDA {served} or older, or ask for a newer driver on the host.", served=served
                ),
                safe=False,
            ),
        ),
    )


def _are_consumer_cards(machine: Machine, tables: Tables) -> bool:
    """Whether all cards are known to be of the brands for players."""
    kinds = {tables.gpus.class_of(card.name) for card in machine.gpus.value or ()}
    return bool(kinds) and kinds <= {"geforce", "laptop"}


class Host(NamedTuple):
    """What the conditions of an image are held against; ``consumer``: all cards are of the brands for players."""

    served: CudaVersion
    driver: DriverVersion
    consumer: bool


def _may_hold(condition: tuple[str, str, str], host: Host) -> bool:
    """Whether a condition holds; one that cannot be judged is taken as holding."""
    name, sign, value = condition
    try:
        if name == "cuda":
            return _holds(host.served, sign, CudaVersion.parse(value))
        if name == "driver":
            return _holds(host.driver, sign, DriverVersion.parse(value if "." in value else f"{value}.0"))
    except ValueError:
        return True
    return name != "brand" or not host.consumer or value.startswith(("geforce", "titan"))


def _oldest(alternatives: tuple[tuple[tuple[str, str, str], ...], ...]) -> CudaVersion | None:
    """The oldest CUDA that one of the alternatives asks for by name."""
    found = []
    for name, sign, value in itertools.chain.from_iterable(alternatives):
        if (name, sign) == ("cuda", ">=") and re.fullmatch(r"\d{1,3}\.\d{1,2}", value):
            found.append(CudaVersion.parse(value))
    return min(found, default=None)


def _holds(left: CudaVersion | DriverVersion, sign: str, right: CudaVersion | DriverVersion) -> bool:
    answers = {
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
        "=": left == right,
        "!=": left != right,
    }
    return answers[sign]


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"unsatisfied condition: cuda\s?>=?\s?(?P<needed>\d+(?:\.\d+)?)", confidence=0.98, quoted=True
        ),
        Signature(
            pattern=r"requirement error: (?:unsatisfied condition: (?:brand|driver|arch)|invalid expression)",
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=r"This container was built for NVIDIA Driver Release (?P<release>[\d.]+) or later, but version "
            r"(?P<driver>[\d.]+) was detected"
            r" and compatibility mode is UNAVAILABLE",
            confidence=0.95,
        ),
    ),
    message=(
        later(
            "The image asks for CUDA {needed} or newer, and the host's driver serves less: the"
            " container is not started."
        ),
        later("The image was made for driver {release} or newer, and the host has {driver}."),
        later("The image asks for a newer CUDA than the host's driver serves."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Use an image (a tag) for the CUDA that the host's driver serves; nvidia-smi on the host shows it."
            ),
            commands=(("nvidia-smi",),),
        ),
        Remedy(text=later("Or have the host's driver updated. A toolkit on the host changes nothing."), safe=False),
    ),
    explains=("driver_too_old_for_wheel", "container_toolkit_missing"),
)


RULE = Rule(
    code="CTR103",
    cause="container_cuda_newer_than_driver",
    title=later("The image is for a newer CUDA than the driver serves"),
    needs=("machine.driver",),
    check=check,
    rank=34,
    log=LOG,
)

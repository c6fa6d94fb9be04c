"""The CUDA compiler is so new that it no longer compiles for the architecture that is asked for.

What you see
    "nvcc fatal   : Unsupported gpu architecture 'compute_35'" with CUDA 12, or 'compute_61', 'compute_70' with CUDA 13. The same
    words with a high number ('compute_90', 'compute_120') mean the opposite: nvcc is too old.

Why
    Each major release of the toolkit drops the oldest cards: CUDA 11 Kepler's 3.0, CUDA 12 Kepler altogether (3.5, 3.7), CUDA 13
    Maxwell, Pascal and Volta (5.0 to 7.2). Often nobody needs them: a list in setup.py or CMake names them by hand.

How envfix knows
    The number against the list of what each release dropped; in a log also the release of nvcc, where it is named. On the machine
    the card against the nvcc that a build would take, only where extensions are compiled.

How to mend
    Where your card is newer, ask for your card's architecture only (TORCH_CUDA_ARCH_LIST, or the list in the project's build
    file). Where the card itself was dropped, take the last toolkit that knows it, of the family of a torch that still runs on it.

What not to do
    No newer toolkit and no newer driver brings an architecture back.

Sources
    NVIDIA CUDA Toolkit release notes (deprecated and dropped architectures of 9.0, 11.0, 12.0 and 13.0).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide, Reading
from envfix.rules._nvcc_architectures import RELEASES, UNSUPPORTED, dropped_in, is_dropped, number_of
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling, home, nvcc_there
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, kit = environment.torch.value, build_toolkit(machine)
    reason = compiling(machine, environment)
    if torch is None or torch.cuda is None or kit is None or reason is None:
        return
    if machine.variables.get("TORCH_CUDA_ARCH_LIST"):
        return
    cards = [(card, card.capability) for card in machine.gpus.value or () if card.capability is not None]
    gone = [(card, first) for card, own in cards if (first := dropped_in(int(own.sm[3:]))) and kit.version >= first]
    if not gone or len(gone) < len(cards):
        return
    card, first = gone[0]
    older = [other for other in machine.toolkits.value or () if other.version < first]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=say(
            "The compiler nvcc {version} no longer compiles for the {card}: CUDA {first} dropped such cards.",
            version=kit.version,
            card=card.name,
            first=first,
        ),
        because=(
            nvcc_there(machine, kit),
            cite(
                "machine.gpus",
                machine.gpus,
                say("{card}, compute capability {capability}", card=card.name, capability=card.capability),
            ),
            reason.sign,
        ),
        remedies=(
            Remedy(
                text=say(
                    "Before building, choose the toolkit of CUDA {version} that is here already.",
                    version=older[0].version,
                ),
                commands=(("export", f"CUDA_HOME={home(older[0])}"),),
            )
            if older
            else Remedy(
                text=say(
                    "Use a ready-made wheel of the extension, or ask for a toolkit older than CUDA"
                    " {first} that is of torch's own family.",
                    first=first,
                ),
                safe=False,
            ),
        ),
    )


def _weigh_architecture(hit: Hit, log: Log) -> float | None:
    """The same words say that nvcc is too old and that it is too new: the number decides, and nvcc's release."""
    dropped = is_dropped(hit, log)
    return dropped if dropped > OFTEN else None


OFTEN = 0.2


def _message(reading: Reading) -> str:
    number = number_of(reading.hits[0])
    release = next((one.groups["release"] for pattern in RELEASES for one in reading.log.found(pattern)), None)
    first = dropped_in(number)
    which = say(" of CUDA {release}", release=release) if release else ""
    since = say(": CUDA {first} and newer dropped it", first=first) if first else ""
    return say(
        "The CUDA compiler{which} no longer knows the architecture {number}.{number_2}{since}.",
        which=which,
        number=number // 10,
        number_2=number % 10,
        since=since,
    )


def _mends(reading: Reading) -> tuple[Remedy, ...]:
    number = number_of(reading.hits[0])
    first = dropped_in(number)
    return (
        Remedy(
            text=say(
                "If your card is newer, build for your card only, and take the old numbers out of"
                " the project's own list (-gencode lines in setup.py, CUDA_ARCHITECTURES in CMake)."
            ),
            commands=(
                ("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv"),
                ("export", "TORCH_CUDA_ARCH_LIST=YOUR_CARDS_NUMBER"),
            ),
        ),
        Remedy(
            text=say(
                "If it is your card's own number, compile with a toolkit older than CUDA {first},"
                " of the family of a torch that still runs on the card.",
                first=first,
            ),
            commands=(NEW_ENV,),
        ),
    )


LOG = LogSide(
    signatures=(Signature(pattern=UNSUPPORTED, weigh=_weigh_architecture, looks_at=RELEASES),),
    message=_message,
    remedies=_mends,
    tell_apart=Remedy(
        text=later("See which release of nvcc the build takes and what it knows."),
        commands=(("nvcc", "--version"), ("nvcc", "--list-gpu-arch")),
    ),
)

RULE = Rule(
    code="TKT108",
    cause="nvcc_too_new_for_gpu",
    title=later("nvcc no longer knows the card"),
    needs=("environment.torch",),
    check=check,
    rank=52,
    log=LOG,
)

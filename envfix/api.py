"""What other programs import: the decision alone, from facts, without touching the machine."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

from envfix import snapshots
from envfix.errors import SnapshotError, UsageError
from envfix.model.explanation import Explanation
from envfix.model.facts import IndexState, unknown
from envfix.model.plan import Goal, Plan, PlanTarget, TargetGpu
from envfix.model.versions import DriverVersion
from envfix.resolver.choose import choose
from envfix.resolver.request import parse_gpu
from envfix.resolver.target import Elsewhere, check_glibc, check_platform, describe, read_python
from envfix.snapshots import Snapshot
from envfix.tables.loader import Tables, load


@cache
def _own_tables() -> Tables:
    """Envfix's own tables, read once: many plans are asked for one after the other."""
    return load()


def plan(
    *,
    python: str,
    driver: str | None = None,
    gpus: Sequence[str] = (),
    platform: str = "linux_x86_64",
    glibc: str | None = None,
    cuda: str = "auto",
    cuda_exact: bool = False,
    torch: str | None = None,
    packages: Sequence[str] = ("ultralytics",),
    indexes: Sequence[IndexState | str] = (),
    tables: Tables | None = None,
) -> Plan:
    """The torch stack for a machine that is described, not asked: pure, offline, the same answer for the same facts.

    Every version is text: ``python="3.10"`` (the number 3.10 is 3.1). One text is taken for a list of one.

    Args:
        python: CPython version of the target, such as ``3.11``, ``3.15.0b2`` or ``3.13t`` (free-threaded).
        driver: NVIDIA driver version, such as ``550.54.14``; needed when there are ``gpus``.
        gpus: card names (``RTX 3090``) or names with their compute capability (``My Card:8.6``); none plans for the CPU.
        platform: a wheel platform: ``linux_x86_64``, ``linux_aarch64``, ``win_amd64``, ``macosx_arm64``, ``macosx_x86_64``.
        glibc: the C library of the machine, such as ``2.31`` (Linux; None: not bounded).
        cuda: ``auto``, ``cpu``, or the CUDA that is meant (``11.8``, ``cu118``): an intent.
        cuda_exact: exactly that CUDA, or no plan.
        torch: a version or specifier (``2.4.1``, ``>=2.4,<2.6``, ``==1.9.0+cu111``).
        packages: requirements beside torch; ``("none",)`` for torch alone.
        indexes: where wheels may come from. Names (``official``, ``pypi``, a mirror) are taken as reachable; an
            ``envfix.IndexState`` says of one index whether it answers and what it lists (``envfix diagnose --network
            --json`` writes them under ``facts.indexes``). None: the official index and the default registry are assumed.
        tables: compatibility tables; None: those that came with envfix. Pass one object for many plans.

    Returns:
        A plan with ``status`` ``ok`` and its ``choice``, or ``conflict`` with the one constraint that blocks
        (``blocked_by``), the ``nearest`` answer and ``ways_out``.

    Raises:
        UsageError: a value makes no sense (unknown card, no such CUDA, not a version, a number in place of text).
        TableError: a table is missing or wrong.
    """
    tables = tables or _own_tables()
    with _in_words_of_the_api():
        tag = read_python(_text("python", python))
        check_platform(_text("platform", platform))
        linux = platform.startswith("linux")
        if glibc is not None:
            check_glibc(_text("glibc", glibc))
        cards = _cards(gpus, tables)
        target = PlanTarget(
            python=python,
            tag=tag,
            platform=platform,
            libc="glibc" if linux else None,
            glibc=glibc if linux else None,
            driver=_driver(driver),
            gpus=cards,
            driver_state="works" if driver else "unknown" if cards else "absent",
            gpu_problem="no driver version was given" if cards and not driver else None,
        )
        goal = _goal(cuda, torch, packages, indexes, cuda_exact=cuda_exact)
        return choose(target, goal, _states(indexes), tables)


def plan_for(
    snapshot: Snapshot | str | Path,
    *,
    python: str | None = None,
    driver: str | None = None,
    gpus: Sequence[str] = (),
    platform: str | None = None,
    glibc: str | None = None,
    cuda: str = "auto",
    cuda_exact: bool = False,
    torch: str | None = None,
    packages: Sequence[str] = ("ultralytics",),
    indexes: Sequence[IndexState | str] = (),
    tables: Tables | None = None,
) -> Plan:
    """The torch stack for a recorded machine: what ``envfix snapshot -o machine.json`` wrote there.

    Args:
        snapshot: the file, or what ``envfix.snapshots.read`` made of its text.
        python: another CPython version than the recorded interpreter; None: the recorded one.
        driver: another driver than the recorded one (``plan`` has the form); None: as recorded.
        gpus: other cards than the recorded ones; ``("none",)`` for none.
        platform: another platform than the recorded one.
        glibc: another C library than the recorded one.
        cuda: as for ``plan``, and so are all that follow.
        cuda_exact: exactly that CUDA, or no plan.
        torch: a version or specifier.
        packages: requirements beside torch.
        indexes: where wheels may come from.
        tables: compatibility tables.

    Returns:
        A plan, as from ``plan``. A broken driver or a card that could not be read is a ``conflict`` that says so.

    Raises:
        SnapshotError: the file cannot be read, or is no snapshot of this envfix.
        UsageError: a value makes no sense, or contradicts what was recorded.
        TableError: a table is missing or wrong.
    """
    tables = tables or _own_tables()
    saved = snapshot if isinstance(snapshot, Snapshot) else _read(Path(snapshot))
    interpreter = saved.environment.interpreter
    with _in_words_of_the_api():
        if python is not None:
            read_python(_text("python", python))
            interpreter = unknown(f"python={python!r}", "only named")
        said = Elsewhere(
            driver=None if driver is None else _text("driver", driver),
            gpus=_texts("gpus", gpus),
            platform=None if platform is None else _text("platform", platform),
            glibc=None if glibc is None else _text("glibc", glibc),
            python=python,
        )
        target = describe(saved.machine, interpreter, said, tables)
        goal = _goal(cuda, torch, packages, indexes, cuda_exact=cuda_exact)
        return choose(target, goal, _states(indexes), tables)


def explain(
    log: str | bytes, *, snapshot: str | Path | Snapshot | None = None, tables: Tables | None = None
) -> Explanation:
    """The causes that the output of a program shows: pure, offline, linear in the length of the log.

    Args:
        log: what a program printed, a log or a pasted ``collect_env`` report; bytes may be of any encoding.
        snapshot: the machine that it was made on, as for ``plan_for``; None: only what the log itself says of it.
        tables: compatibility tables; None: those that came with envfix.

    Returns:
        The causes, the surest root first, each with its ``confidence`` (0 to 1), the lines that prove it and its remedies;
        no cause where nothing in it is a failure that envfix knows. ``ambiguous``: the log leaves open which of them it is.

    Raises:
        SnapshotError: the snapshot cannot be read.
        UsageError: the log is neither text nor bytes.
        TableError: a table is missing or wrong.
    """
    from envfix import explaining

    if not isinstance(log, (str, bytes)):
        raise UsageError(f"log={type(log).__name__} is neither text nor bytes", hint="give what the program printed")
    tables = tables or _own_tables()
    seen = explaining.read(io.BytesIO(log.encode("utf-8", "replace") if isinstance(log, str) else log))
    if snapshot is None:
        return explaining.alone(seen, tables)
    if not isinstance(snapshot, (str, Path, Snapshot)):
        raise UsageError(f"snapshot={type(snapshot).__name__} is neither a file nor a snapshot")
    saved = snapshot if isinstance(snapshot, Snapshot) else _read(Path(snapshot))
    origin = None if isinstance(snapshot, Snapshot) else str(snapshot)
    return explaining.joined(seen, saved.machine, saved.environment, tables, facts="file", origin=origin)


def _read(path: Path) -> Snapshot:
    try:
        if path.stat().st_size > snapshots.SIZE_LIMIT:
            raise SnapshotError(f"{path} is too large for a snapshot")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SnapshotError(f"cannot read {path}: {error.strerror or error}") from error
    return snapshots.read(text, str(path))


def _goal(
    cuda: str, torch: str | None, packages: Sequence[str], indexes: Sequence[IndexState | str], *, cuda_exact: bool
) -> Goal:
    states = _states(indexes)
    names = _names(indexes)
    return Goal(
        cuda=_text("cuda", cuda),
        cuda_exact=cuda_exact,
        torch=None if torch is None else _text("torch", torch),
        packages=_texts("packages", packages),
        indexes=(*names, *(state.name for state in states)) if names else ("auto",),
        # An index that is only named, or assumed, cannot be asked: it is taken as reachable.
        offline=bool(names) or not states,
    )


def _states(indexes: Sequence[IndexState | str]) -> tuple[IndexState, ...]:
    return () if isinstance(indexes, str) else tuple(item for item in indexes if isinstance(item, IndexState))


def _names(indexes: Sequence[IndexState | str]) -> tuple[str, ...]:
    if isinstance(indexes, str):
        return (indexes,)
    return _texts("indexes", [item for item in indexes if not isinstance(item, IndexState)])


def _cards(gpus: Sequence[str], tables: Tables) -> tuple[TargetGpu, ...]:
    names = _texts("gpus", gpus)
    if [name.lower() for name in names] == ["none"]:
        return ()
    return tuple(msgspec.structs.replace(parse_gpu(name, tables), index=index) for index, name in enumerate(names))


def _driver(text: str | None) -> DriverVersion | None:
    if text is None:
        return None
    try:
        return DriverVersion.parse(_text("driver", text))
    except ValueError as error:
        raise UsageError(f"driver: {error}", hint='for example driver="550.54.14"') from error


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise UsageError(f"{name}={value!r} is not text", hint=f'write it in quotes: {name}="{value}"')


def _texts(name: str, values: object) -> tuple[str, ...]:
    """One text is a list of one; what is no text has no place in it."""
    if isinstance(values, str):
        return (values,)
    if not isinstance(values, Sequence):
        raise UsageError(f"{name}={values!r} is not a list of texts", hint=f'write it as {name}=["{values}"]')
    return tuple(_text(name, value) for value in values)


# The options of the command line and what they are called here.
_ARGUMENTS = {
    "cuda-exact": "cuda_exact",
    "index": "indexes",
    "with": "packages",
    "gpu": "gpus",
    "cuda": "cuda",
    "torch": "torch",
    "driver": "driver",
    "glibc": "glibc",
    "platform": "platform",
    "python": "python",
}
# An option with its value behind it, or named in a sentence.
_OPTION = re.compile(rf"--({'|'.join(_ARGUMENTS)})(?![\w-])( (?!(?:needs|too|is|once)\b))?")


@contextmanager
def _in_words_of_the_api() -> Iterator[None]:
    """Wrong usage is told with the names of arguments, not of options."""
    try:
        yield
    except UsageError as error:
        hint = None if error.hint is None else _without_options(error.hint)
        raise UsageError(_without_options(error.message), hint=hint) from error


def _without_options(text: str) -> str:
    return _OPTION.sub(lambda match: _ARGUMENTS[match[1]] + ("=" if match[2] else ""), text)

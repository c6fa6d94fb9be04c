"""detect: ask the machine and one interpreter on it, everything side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from envfix.app.beside import Beside, Question
from envfix.app.settings import PROBE_TIMEOUT
from envfix.errors import EnvfixError
from envfix.host.interface import ProbeHost
from envfix.host.target import Answer
from envfix.model.documents import without_secrets
from envfix.model.facts import (
    NOT_ASKED,
    Environment,
    Interpreter,
    Machine,
    Observed,
    TorchImport,
    absent,
    unknown,
)
from envfix.model.language import stated
from envfix.probes import commands, interpreter, nvidia_driver
from envfix.probes.nvidia_driver import NvidiaFacts

R = TypeVar("R")
IMPORT_TIMEOUT = 120.0
SETTLING = 3.0
# A probe may start several programs one after the other, each with its own time limit; then nobody waits any longer.
PROGRAMS_A_PROBE = 4
VARIABLES = (
    "CC",
    "CONDA_",
    "CUDAHOSTCXX",
    "CUDA_",
    "CXX",
    "FORCE_CUDA",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MAX_JOBS",
    "NVCC_",
    "NVIDIA_",
    "PIP_",
    "PYTHON",
    "PYTORCH_",
    "SLURM_GPUS",
    "SLURM_JOB",
    "TORCH_",
    "UV_",
    "VIRTUAL_ENV",
)


def detect(
    host: ProbeHost,
    target: str | None = None,
    *,
    with_import: bool = True,
    brief: bool = False,
    timeout: float = PROBE_TIMEOUT,
    settle: Callable[[str], object] = lambda _: None,
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[Machine, Environment]:
    """Ask the machine and one interpreter on it; ``target`` as in ``--python``, None for what ``python`` means in the shell.

    Everything is asked side by side within ``timeout`` seconds a question; the import of torch may take longer. Raises
    nothing for a broken machine: what cannot be told is *unknown* with the reason. ``brief`` asks only what decides a plan:
    platform, driver, cards and interpreter; the rest is *not asked*. ``settle`` is called with the target's path before
    it is run. ``meanwhile`` is called once all is asked: work that needs no answer is done while programs start.
    """
    pool = Beside(PROGRAMS_A_PROBE * timeout)
    try:
        chosen = interpreter.resolve(host, target)
        if target is None and chosen.path is not None:
            chosen = chosen._replace(path=commands.without_shim(host, chosen.path))
        if chosen.path is not None:
            settle(chosen.path)
        asked = pool.submit(interpreter.probe, host, chosen, timeout=timeout, with_binaries=not brief)
        nvidia = pool.submit(nvidia_driver.probe, host, timeout=timeout)
        from envfix.app.asking import BRIEF, PROBES  # while the two programs start

        probes = {name: probe for name, probe in PROBES.items() if not brief or name in BRIEF}
        answers = {name: pool.submit(probe, host, timeout) for name, probe in probes.items()}
        meanwhile()
        identity, answer = _identity(asked, chosen.how)
        environment = _environment(host, chosen.path, identity, answer, pool, with_import=with_import)
        driver, gpus, layers = _nvidia(nvidia)
        facts: dict[str, Any] = {name: unknown(name.replace("_", " "), NOT_ASKED) for name in PROBES}
        facts |= {name: _fact(future, name.replace("_", " ")) for name, future in answers.items()}
        machine = Machine(
            driver=driver,
            gpus=gpus,
            driver_layers=layers,
            # No passwords in it, whoever it is shown to.
            variables=without_secrets(host.environ(VARIABLES)),
            **facts,
        )
    finally:
        # After Ctrl-C, or where nobody waits any longer: a program that hangs must not outlive envfix.
        if not pool.settled:
            host.interrupt()
            pool.settle(SETTLING)
    return machine, environment


def _identity(
    question: Question[tuple[Observed[Interpreter], Answer]], how: str
) -> tuple[Observed[Interpreter], Answer]:
    """What the target is; a fault of ours in asking it leaves the machine's facts alone."""
    try:
        return question.result()
    except EnvfixError:
        raise
    except Exception as error:  # noqa: BLE001 - as below
        problem = _failed(stated("asking it"), error)
        return unknown(how, problem), Answer(None, problem)


def _failed(what: str, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"{what} failed: {error}"
    return stated(
        "{what} failed ({kind}: {error}); please report it", what=what, kind=type(error).__name__, error=error
    )


def _fact(question: Question[Observed[R]], name: str) -> Observed[R]:
    """What a probe found; one that fails makes its own fact unknown and takes no other along."""
    try:
        return question.result()
    except EnvfixError:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours, told as what it is: one fact that could not be had
        return unknown(name, _failed(stated("looking for it"), error))


def _nvidia(question: Question[NvidiaFacts]) -> NvidiaFacts:
    try:
        return question.result()
    except EnvfixError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        problem = _failed(stated("asking the driver"), error)
        return NvidiaFacts(*(unknown("NVIDIA driver", problem) for _ in NvidiaFacts._fields))


def _environment(
    host: ProbeHost,
    python: str | None,
    identity: Observed[Interpreter],
    answer: Answer,
    pool: Beside,
    *,
    with_import: bool,
) -> Environment:
    from envfix.app.asking import ENVIRONMENT_PROBES
    from envfix.probes import binaries, package_sources, torch_install

    value = identity.value
    installed = torch_install.distributions(answer, stated("metadata folders on the target's path"))
    torch = torch_install.torch_build(answer, installed)
    sources = pool.submit(package_sources.probe, host, value.prefix if value else None)
    imported: Question[Observed[TorchImport]] | None = None
    if with_import and python is not None and value is not None and not torch.is_absent:
        # Through the very path the user's shell would run: a wrapper may set variables that matter.
        patience = IMPORT_TIMEOUT + PROBE_TIMEOUT
        imported = pool.submit_for(patience, torch_install.torch_import, host, python, timeout=IMPORT_TIMEOUT)
    asked = {name: pool.submit(probe, host, value, answer) for name, (_, probe) in ENVIRONMENT_PROBES.items() if value}
    facts: dict[str, Observed[Any]] = {
        name: _fact(asked[name], source) if name in asked else unknown(source, stated("the target is unknown"))
        for name, (source, _) in ENVIRONMENT_PROBES.items()
    }
    return Environment(
        interpreter=identity,
        distributions=installed,
        torch=torch,
        torchvision=torch_install.vision_build(answer, installed),
        package_sources=_fact(sources, package_sources.SOURCE),
        binaries=binaries.read(answer),
        torch_import=_fact(imported, "import torch") if imported else _no_import(torch.is_absent, asked=with_import),
        **facts,
    )


def _no_import(torch_is_absent: bool, *, asked: bool) -> Observed[TorchImport]:  # noqa: FBT001
    if torch_is_absent:
        return absent(stated("import torch"), stated("there is no torch to import"))
    return unknown(stated("import torch"), NOT_ASKED if not asked else stated("the target cannot be asked"))

"""onnxruntime cannot use the GPU: its CUDA is another one, or two of its packages lie over each other.

What it checks
    onnxruntime and onnxruntime-gpu installed together; the CUDA libraries that its CUDA part needs against every
    place the loader looks, those that came with torch included. Only on a machine with an NVIDIA card.

Why it matters
    "Failed to create CUDAExecutionProvider": it goes on with the processor, many times slower, and says so in one
    line.

How to fix
    The onnxruntime-gpu that was built for the CUDA in use, with its libraries, and only one of the two packages.
    Changing torch is not needed.

Sources
    Installed packages; ELF header of libonnxruntime_providers_cuda.so.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import pip
from envfix.rules._family import CUDA_LIBRARY, compiled, evidence, has_nvidia_card, installed
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    here = installed(environment)
    gpu, cpu = here.get("onnxruntime-gpu"), here.get("onnxruntime")
    if gpu is None or not has_nvidia_card(machine):
        return
    lacking = [
        (name, file)
        for file in compiled(environment, "onnxruntime")
        for name in file.unresolved
        if CUDA_LIBRARY.match(name)
    ]
    if lacking:
        name, file = lacking[0]
        message = f"The CUDA part of onnxruntime-gpu {gpu.version} needs {name}, which is nowhere: it would use the processor."
        because = (
            Evidence(fact="environment.binaries", value=f"needs {name}", source=file.path),
            *evidence(gpu),
        )
        remedy = Remedy(
            text=f"Install the onnxruntime-gpu release for the CUDA of this torch, or the packages that carry {name}."
        )
    elif cpu is not None and cpu.location == gpu.location:
        message = "The packages onnxruntime and onnxruntime-gpu lie over each other in one folder: which of them works is chance."
        because = evidence(gpu, cpu)
        remedy = Remedy(
            text="Remove both and install the GPU one again.",
            commands=tuple(
                dict.fromkeys(
                    (
                        *pip(environment, "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"),
                        *pip(environment, "install", f"onnxruntime-gpu=={gpu.version}"),
                    )
                )
            ),
            safe=False,
        )
    else:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=message,
        because=because,
        remedies=(remedy,),
    )


RULE = Rule(
    code="LIB110",
    cause="onnxruntime_cuda_mismatch",
    title="onnxruntime cannot use the GPU",
    needs=("environment.distributions", "environment.binaries"),
    check=check,
    rank=47,
)

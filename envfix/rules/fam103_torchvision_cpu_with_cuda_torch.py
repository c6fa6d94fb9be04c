"""torchvision is a CPU build beside a torch with CUDA.

What you see
    "Could not run 'torchvision::nms' with arguments from the 'CUDA' backend", and "'torchvision::nms' is only
    available for these backends: [CPU, ...".

Why
    torchvision came from another place than torch (the default index, a CPU index): its operators have no GPU
    version. Every YOLO prediction on the GPU ends there.

How envfix knows
    The installed torch was built with CUDA, while torchvision's label is ``+cpu``, or its library needs no CUDA
    library at all. In a log the texts above.

How to mend
    Install torchvision from the same place and for the same CUDA as torch, both in one command.

What not to do
    Do not run nms on the processor for good, and do not reinstall ultralytics: neither changes torchvision.

Sources
    version.py of both packages; the libraries that torchvision's own library needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._family import NEW_ENVIRONMENT, compiled, has_nvidia_card, version
from envfix.rules._log import LogSide
from envfix.rules._log_libraries import loading
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, vision = environment.torch.value, environment.torchvision.value
    if torch is None or vision is None or torch.cuda is None or vision.cuda is not None:
        return
    proof = _proof(environment)
    if proof is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR if has_nvidia_card(machine) else Severity.INFO,
        message=say(
            "torchvision {build} is a CPU build, torch {build_2} has CUDA: its operators cannot run on the GPU.",
            build=vision.build,
            build_2=torch.build,
        ),
        because=(cite("environment.torch", environment.torch, f"{torch.build}, CUDA {torch.cuda}"), proof),
        remedies=(NEW_ENVIRONMENT,),
    )


def _proof(environment: Environment) -> Evidence | None:
    """What shows that torchvision was built without CUDA; None where nothing does."""
    vision = environment.torchvision.value
    own = version(vision.build) if vision else None
    if own is not None and own.local == "cpu":
        return cite("environment.torchvision", environment.torchvision, str(own))
    files = [file for file in compiled(environment, "torchvision") if any("torch" in name for name in file.needs)]
    if files and not any("cuda" in name or "cudart" in name for file in files for name in file.needs):
        value = say(
            "needs {names}, no CUDA library",
            names=", ".join(name for name in files[0].needs if "torch" in name or "c10" in name),
        )
        return Evidence(fact="environment.binaries", value=value, source=files[0].path)
    return None


def _backends(hit: Hit, log: Log) -> float | None:
    """The list of what it can do names no CUDA."""
    del log
    listed = hit.after.partition("]")[0][:600]
    return None if re.search(r"\bCUDA\b", listed) or "'MPS' backend" in hit.before[-400:] else 0.85


def _old_words(hit: Hit, log: Log) -> float | None:
    """Releases before 0.7 and other packages say the same of themselves."""
    del log
    return 0.85 if loading(hit) == "torchvision" or "torchvision" in hit.after[:300] else None


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"Could not run 'torchvision::\w+' with arguments from the 'CUDA\w*' backend", confidence=0.96
        ),
        Signature(
            pattern=r"'torchvision::\w+' is only available for these backends: \[CPU(?:, (?:Meta|Quantized\w+|Sparse\w+"
            r"|Mkldnn\w*|BackendSelect))*",
            weigh=_backends,
        ),
        Signature(pattern=r"Not compiled with GPU support", weigh=_old_words),
    ),
    message=later("torchvision is a build without CUDA beside a torch with CUDA: its operators cannot run on the GPU."),
    remedies=(
        NEW_ENVIRONMENT,
        Remedy(
            text=later("Or reinstall both in one command, from the CUDA index that this torch comes from."),
            commands=(
                ("python", "-m", "pip", "uninstall", "-y", "torch", "torchvision"),
                ("python", "-m", "pip", "install", "torch", "torchvision", "--index-url", "CUDA_INDEX_URL"),
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See the CUDA inside both (None beside a number is this cause)."),
        commands=(("python", "-c", "import torch, torchvision; print(torch.version.cuda, torchvision.version.cuda)"),),
    ),
    explains=("torchvision_torch_mismatch",),
)


RULE = Rule(
    code="FAM103",
    cause="torchvision_cpu_with_cuda_torch",
    title=later("torchvision is a CPU build beside a CUDA torch"),
    needs=("environment.torch", "environment.torchvision"),
    check=check,
    rank=36,
    log=LOG,
)

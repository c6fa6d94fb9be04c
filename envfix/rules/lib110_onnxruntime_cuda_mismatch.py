"""onnxruntime cannot use the GPU: its CUDA is another one, or two of its packages lie over each other.

What you see
    "Failed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA 12.*", "LoadLibrary failed with error 126 ...
    onnxruntime_providers_cuda.dll", "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.11: cannot
    open". It goes on with the processor, many times slower.

Why
    onnxruntime-gpu is built for one major release of CUDA and of cuDNN and brings neither; and onnxruntime (for processors) beside
    onnxruntime-gpu overwrites it.

How envfix knows
    onnxruntime and onnxruntime-gpu installed together; the CUDA libraries that its CUDA part needs against every place the loader
    looks, those that came with torch included. Only on a machine with an NVIDIA card. In a log the texts above.

How to mend
    The onnxruntime-gpu that was built for the CUDA in use, with its libraries, and only one of the two packages.

What not to do
    Changing torch is not needed.

Sources
    Installed packages; ELF header of libonnxruntime_providers_cuda.so; onnxruntime's page on the CUDA execution provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._askers import asker
from envfix.rules._changing import pip
from envfix.rules._family import CUDA_LIBRARY, compiled, evidence, has_nvidia_card, installed
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import CUDA_LIBRARY_MISSING
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
        message = say(
            "The CUDA part of onnxruntime-gpu {version} needs {name}, which is nowhere: it would use the processor.",
            version=gpu.version,
            name=name,
        )
        because = (
            Evidence(fact="environment.binaries", value=say("needs {name}", name=name), source=file.path),
            *evidence(gpu),
        )
        remedy = Remedy(
            text=say(
                "Install the onnxruntime-gpu release for the CUDA of this torch, or the packages that carry {name}.",
                name=name,
            )
        )
    elif cpu is not None and cpu.location == gpu.location:
        message = say(
            "The packages onnxruntime and onnxruntime-gpu lie over each other in one folder: which"
            " of them works is chance."
        )
        because = evidence(gpu, cpu)
        remedy = Remedy(
            text=say("Remove both and install the GPU one again."),
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


def _weigh_library(hit: Hit, log: Log) -> float | None:
    """The same text of another program is another cause."""
    del log
    named = "onnxruntime" in f"{hit.before[-400:]}{hit.after[:100]}" or asker(hit) == "onnxruntime"
    return 0.9 if named else None


LOG = LogSide(
    signatures=(
        Signature(pattern=r"Failed to create CUDAExecutionProvider", confidence=0.93),
        Signature(pattern=r"Failed to create (?:Nv)?Tensorrt\w*ExecutionProvider", confidence=0.7),
        Signature(
            pattern=r"LoadLibrary failed with error (?P<code>12[67]|193)[^\n]{0,200}onnxruntime_providers_\w+",
            confidence=0.95,
        ),
        Signature(
            pattern=r"Failed to load (?:shared )?library [^\n]{0,200}onnxruntime_providers_\w+\.(?:so"
            r"|dll)[^\n]{0,80}?(?:with )?(?:error|Error):?\s?"
            r"(?P<library>lib\w+\.so[.\d]*)?",
            confidence=0.95,
        ),
        Signature(
            pattern=r"onnxruntime_providers_\w+\.dll[^\n]{0,60}?[\"'](?P<library>[\w.-]+\.dll)[\"'] which is missing",
            confidence=0.96,
        ),
        Signature(pattern=CUDA_LIBRARY_MISSING, weigh=_weigh_library),
        Signature(pattern=r"[Rr]equire cuDNN (?P<cudnn>\d+)\.\* and CUDA (?P<cuda>\d+)\.\*", confidence=0.85),
        Signature(pattern=r"CUDA_PATH is set but CUDA was\s?n[o']?t able to be loaded", confidence=0.92),
        Signature(
            pattern=r"Specified provider 'CUDAExecutionProvider' is not in available provider names",
            confidence=0.85,
        ),
        Signature(
            pattern=r"(?:Failed to start|Error loading) ONNX Runtime[^\n]{0,60}CUDA|EP Error [^\n]{0,300}when "
            r"using \[[^\]\n]*CUDAExecutionProvider",
            confidence=0.8,
        ),
        Signature(pattern=r"Falling back to \['(?:CUDA|CPU)ExecutionProvider'", confidence=0.6),
        Signature(
            pattern=r"[Mm]odule 'onnxruntime' has no attribute '(?:InferenceSession|get_available_providers"
            r"|get_device|SessionOptions)'"
            r"|cannot import name '(?:get_available_providers|InferenceSession)' from 'onnxruntime'",
            confidence=0.8,
        ),
        Signature(
            pattern=r"CUDNN failure \d+: CUDNN_STATUS_\w+ ; GPU=|CUDNN error executing cudnn\w+", confidence=0.55
        ),
        Signature(pattern=r"DLL load failed while importing onnxruntime_pybind11_state", confidence=0.4),
    ),
    message=(
        later(
            "onnxruntime's GPU part needs CUDA {cuda} and cuDNN {cudnn}, and does not find them:"
            " it would use the processor."
        ),
        later("onnxruntime's GPU part needs {library}, which is not there: it would use the processor."),
        later(
            "onnxruntime cannot use the GPU: the CUDA that it was built for is not here, or its"
            " CPU package lies over the other."
        ),
    ),
    remedies=(
        Remedy(
            text=later(
                "Keep one package only, the GPU one, with the CUDA libraries it was built for"
                " (1.19 and newer: CUDA 12 and cuDNN 9; up to 1.18 by default CUDA 11.8 and cuDNN"
                " 8)."
            ),
            commands=(
                ("python", "-m", "pip", "uninstall", "-y", "onnxruntime", "onnxruntime-gpu"),
                ("python", "-m", "pip", "install", "onnxruntime-gpu[cuda,cudnn]"),
            ),
            safe=False,
        ),
        Remedy(
            text=later(
                "In the program, import torch before onnxruntime, or call"
                " onnxruntime.preload_dlls() (1.21 and newer), so that it finds the libraries that"
                " came with torch."
            ),
        ),
    ),
    tell_apart=Remedy(
        text=later(
            "See which providers this onnxruntime has at all: without CUDAExecutionProvider it is"
            " the package for processors."
        ),
        commands=(("python", "-c", "import onnxruntime as o; print(o.__version__, o.get_available_providers())"),),
    ),
    severity=Severity.WARNING,
    explains=("missing_cuda_runtime_lib",),
)


RULE = Rule(
    code="LIB110",
    cause="onnxruntime_cuda_mismatch",
    title=later("onnxruntime cannot use the GPU"),
    needs=("environment.distributions", "environment.binaries"),
    check=check,
    rank=47,
    log=LOG,
)

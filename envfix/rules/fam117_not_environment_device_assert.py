"""An index or a class number is out of range: the program or its data, not the environment.

What you see
    "CUDA error: device-side assert triggered", "Assertion `t >= 0 && t < n_classes` failed", "Target 80 is out
    of bounds".

Why
    A kernel on the card checks its indices: a label beyond the number of classes, a word beyond the size of an
    embedding, a wrong index in the program. After such a failure every later call of this process fails as
    well, with messages of cuBLAS or cuDNN too. The card and the driver are fine. It is told as a warning, for
    nothing of the environment is broken, and yet the program stops there.

How envfix knows
    The assertion of the kernel, or the message of the same check on the processor. No facts of a machine show
    it.

How to mend
    Correct the labels or the number of classes (``nc`` in the data file); a run on the processor, or with
    CUDA_LAUNCH_BLOCKING=1, names the very line.

What not to do
    Do not reinstall CUDA or torch, and do not reset the card: start the program again after the correction.

Sources
    The assertions in torch's kernels.
"""

from __future__ import annotations

from envfix.model.finding import Remedy, Severity
from envfix.model.language import later
from envfix.model.log import Hit, Log, Signature
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule

KERNEL = r"block: \[\d+,\s?\d+,\s?\d+\], thread: \[\d+,\s?\d+,\s?\d+\],? Assertion"
CONDITION = (
    r"Assertion `(?P<condition>[^`\n]{0,120}(?:n_classes|srcIndex|indexValue|out of bounds|sizes\[i\]"
    r"|num_embeddings|input_val|cur_target|idx_dim|ignore_index"
    r"|weights|index_size|target_val|probability|cumdist)[^`\n]{0,120})` failed"
)


def _numpy(hit: Hit, log: Log) -> float | None:
    """Python's own lists and NumPy say it of any program; a tensor's dimension is torch's word."""
    del log
    return 0.9 if "dimension" in hit.text else 0.5


LOG = LogSide(
    signatures=(
        Signature(pattern=r"device-side assert triggered|cudaErrorAssert\b|CUDA_ERROR_ASSERT\b", confidence=0.95),
        Signature(pattern=KERNEL, confidence=0.97),
        Signature(pattern=CONDITION, confidence=0.97),
        Signature(pattern=r"Target (?P<target>-?\d+) is out of bounds", confidence=0.95),
        Signature(
            pattern=r"index out of range in self|index out of range: Tried to access index \d+ out of table",
            confidence=0.93,
        ),
        Signature(
            pattern=r"index (?P<index>-?\d+) is out of bounds for (?:dimension|axis) \d+ with size (?P<size>\d+)",
            weigh=_numpy,
        ),
        Signature(
            pattern=r"Label class (?P<target>\d+) exceeds (?:dataset class count|nc=)\s?(?P<classes>\d+)",
            confidence=0.9,
        ),
        Signature(pattern=r"Class values must be (?:smaller than num_classes|non-negative)", confidence=0.9),
        Signature(pattern=r"[Pp]robability tensor contains either .inf., .nan. or element < 0", confidence=0.75),
        Signature(pattern=r"[Aa]ll elements of (?:input|target) should be between 0 and 1", confidence=0.85),
        Signature(
            pattern=r"an illegal memory access was encountered|cudaErrorIllegalAddress|CUDA_ERROR_ILLEGAL_ADDRESS",
            confidence=0.3,
        ),
    ),
    message=(
        (
            later(
                "The data hold the class {target}, but the model has only {classes} classes"
                " (counted from 0); the card and the driver are fine."
            )
        ),
        (
            later(
                "The data hold the class {target}, which the model does not have (classes are"
                " counted from 0); the card and the driver are fine."
            )
        ),
        later("The program asks for index {index} where there are {size}; the card and the driver are fine."),
        later("An index or a class number is out of range ({condition}); the card and the driver are fine."),
        later("A kernel found an index or a class number out of range; the card and the driver are fine."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Compare the class numbers in the labels with the number of classes of the model"
                " (nc in the data file); they count from 0."
            )
        ),
        Remedy(
            text=later(
                "Run it once with calls one after another, or on the processor: the traceback then names the very line."
            ),
            commands=(("env", "CUDA_LAUNCH_BLOCKING=1", "python", "YOUR_PROGRAM.py"),),
        ),
    ),
    severity=Severity.WARNING,
    tell_apart=Remedy(
        text=later("Calculate something on the card in a new process: if that works, the environment is well."),
        commands=(("python", "-c", "import torch; print(torch.ones(1, device='cuda') + 1)"),),
    ),
    explains=("oom_workload_too_big", "cuda_does_not_start", "cudnn_version_conflict"),
)

RULE = Rule(
    code="FAM117",
    cause="not_environment_device_assert",
    title=later("Not the environment: an index is out of range"),
    needs=(),
    check=None,  # no facts of a machine show it: the environment is well
    rank=95,
    log=LOG,
)

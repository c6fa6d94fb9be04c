"""Shapes, layers or kinds of numbers do not fit together: the program or its data, not the environment.

What you see
    "mat1 and mat2 shapes cannot be multiplied", "size mismatch for head.weight: copying a param with shape",
    "Expected all tensors to be on the same device".

Why
    Tensors of a program do not fit: pictures of another size or with another number of channels, weights of
    another model or another number of classes, one part on the card and one on the processor, half and full
    precision mixed. Drivers and packages are fine. It is told as a warning, for nothing of the environment is
    broken, and yet the program stops there.

How envfix knows
    The message of torch itself. No facts of a machine show it.

How to mend
    Go to the line that the traceback names, print the shapes, devices and kinds of what goes in, and make them
    fit; take the weights that belong to the model.

What not to do
    Do not reinstall torch or CUDA. ``strict=False`` only leaves the layers that do not fit without their
    weights.

Sources
    The messages in torch's sources.
"""

from __future__ import annotations

from envfix.model.finding import Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules import _log_patterns as texts
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule

SHAPES = (
    r"mat1 and mat2 shapes cannot be multiplied \((?P<first>\d+x\d+) and (?P<second>\d+x\d+)\)",
    (
        r"mat1 and mat2 shapes cannot be multiplied|mat1 dim 1 must match mat2 dim 0|size mismatch, m1: \["
        r"|size mismatch, got \d+|vec and mat shapes|batch1 and batch2 must"
    ),
    (
        r"The"
        r" size of tensor a \((?P<first>\d+)\) must match the size of tensor b \((?P<second>\d+)\) at non-singleton dimension \d+"
    ),
    r"Sizes of tensors must match except in dimension",
    r"expected input\[[^\]\n]{1,60}\] to have (?P<first>\d+) channels, but got (?P<second>\d+) channels",
    (
        r"Expected \d-dimensional input for \d-dimensional weight"
        r"|Expected \dD (?:\(unbatched\) )?(?:or \dD )?\(?(?:un)?batched\)? (?:or \dD \(batched\) )?input to conv"
    ),
    r"shape '\[[^\]\n]{1,80}\]' is invalid for input of size \d+",
    r"stack expects each tensor to be equal size|Trying to resize storage that is not resizable",
    r"Target size \(torch\.Size\(\[[^\]\n]{0,60}\]\)\) must be the same as input size",
    (
        r"Expected input batch_size \(\d+\) to match target batch_size \(\d+\)"
        r"|\dD or \dD target tensor expected, multi-target not supported"
        r"|only batches of spatial targets supported"
    ),
    r"view size is not compatible with input tensor's size and stride",
    r"Kernel size can't be greater than actual input size|Expected more than 1 value per channel when training",
    (
        r"shape mismatch: (?:value|indexing) (?:array|tensor)[^\n]{0,120}"
        r"|The expanded size of the tensor \(\d+\) must match the existing size"
    ),
    r"[Gg]ot invalid dimensions for input|Unexpected input data type\. Actual: ",
    r"einsum\(\): (?:subscript|operands)|The shape of the mask \[[^\]\n]{1,60}\] at index \d+ does not match",
)
WEIGHTS = (
    r"size mismatch for (?P<layer>[\w.]+): copying a param(?:eter)? with shape",
    r"Error\(s\) in loading state_dict for (?P<model>\w+)",
    r"Missing key\(s\) in state_dict: |Unexpected key\(s\) in state_dict: ",
)
DEVICES = (
    r"Expected all tensors to be on the same device",
    r"Expected object of (?:backend|device type) (?:CUDA|cuda) but got (?:backend|device type) (?:CPU|cpu)",
    (
        r"Input type \((?:torch\.)?(?:\w+\.)*\w+\) and (?:weight"
        r"|bias) type \((?:torch\.)?[\w.:]+\) should be the same"
        r"|Input and hidden tensors are not at the same device"
    ),
    r"indices should be either on (?:cpu|cuda\S*) or on the same device as the indexed tensor",
    r"can't convert cuda:\d device type tensor to numpy|can't convert CUDA tensor to numpy",
)
KINDS = (
    r"expected scalar type \w+ but (?:found|got) \w+|Expected object of scalar type \w+ but got",
    (
        r"Expected tensor for argument #\d+ '\w+' to have one of the following scalar types: |must have the same dtype, but got"
        r"|expected m1 and m2 to have the same dtype|self and mat2 must have the same dtype"
    ),
    r"Input type \(float\) and bias type \(c10::Half\)|Query, key, and value must have the same dtype",
)
LAYERS = (r"Can't get attribute '(?P<layer>\w+)' on <module '(?P<module>(?:models|ultralytics|utils)[\w.]*)'",)


def _message(reading: Reading) -> str:
    groups, log = reading.groups, reading.log
    if any(map(log.found, LAYERS)):
        return say(
            "The file of weights holds the layer {layer}, which this version of the program"
            " does not know; torch and CUDA are fine.",
            layer=groups.get("layer", ""),
        )
    if any(map(log.found, WEIGHTS)):
        return say(
            "The weights are those of another model (other layers, other shapes or another"
            " number of classes); torch and CUDA are fine."
        )
    if any(map(log.found, DEVICES)):
        return say("The program has one part on the card and one on the processor; torch and CUDA are fine.")
    if any(map(log.found, KINDS)):
        return say(
            "The program mixes kinds of numbers (half and full precision, or integers); torch and CUDA are fine."
        )
    if groups.get("first") and groups.get("second"):
        return say(
            "The shapes of the program's tensors do not fit ({first} and {second}); torch and CUDA are fine.",
            first=groups["first"],
            second=groups["second"],
        )
    return say("The shapes of the program's tensors do not fit; torch and CUDA are fine.")


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    log = reading.log
    if any(map(log.found, LAYERS)):
        return (
            Remedy(
                text=say("Update the program that the weights were made with."),
                commands=(("python", "-m", "pip", "install", "-U", "ultralytics"),),
            ),
        )
    if any(map(log.found, WEIGHTS)):
        return (
            Remedy(
                text=say(
                    "Take the weights that belong to this model, or build the model with the"
                    " number of classes that they have."
                )
            ),
        )
    if any(map(log.found, DEVICES)):
        return (
            Remedy(text=say("In the line that the traceback names, move both to one device: tensor.to(model_device).")),
        )
    if any(map(log.found, KINDS)):
        return (
            Remedy(
                text=say(
                    "In the line that the traceback names, make both the same kind:"
                    " tensor.to(model_dtype), or call model.float()."
                )
            ),
        )
    return (
        Remedy(
            text=say(
                "Print the shapes before the line that the traceback names, and make data and"
                " model fit; do not reinstall anything."
            )
        ),
    )


LOG = LogSide(
    signatures=(
        *(Signature(pattern=pattern, confidence=0.93) for pattern in (*SHAPES, *WEIGHTS)),
        *(Signature(pattern=pattern, confidence=0.9) for pattern in (*DEVICES, *KINDS)),
        *(Signature(pattern=pattern, confidence=0.7) for pattern in LAYERS),
        Signature(pattern=texts.HALF_ON_CPU, confidence=0.45),
    ),
    message=_message,
    remedies=_remedies,
    severity=Severity.WARNING,
    tell_apart=Remedy(
        text=later("Calculate something on the card: if that works, the environment is well."),
        commands=(
            ("python", "-c", "import torch; print(torch.ones(2, 2, device='cuda') @ torch.ones(2, 2, device='cuda'))"),
        ),
    ),
)

RULE = Rule(
    code="FAM116",
    cause="not_environment_shape_mismatch",
    title=later("Not the environment: shapes or layers do not fit"),
    needs=(),
    check=None,  # no facts of a machine show it: the environment is well
    rank=95,
    log=LOG,
)

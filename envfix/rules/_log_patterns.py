"""Texts that several causes share: alone they name none of them, so each rule that uses one gives it a low confidence.

Where a rule's facts are known they decide; the log alone leaves candidates.
"""

from __future__ import annotations

# Python finds no module torch: never installed here, another interpreter, a build without it, a file of that name ...
NO_MODULE_TORCH = r"No module named '?torch'?(?:[\s'\"]|$)"
# A kernel was started on a card for which the program holds no code: torch's own or an extension's.
NO_KERNEL_IMAGE = r"no kernel image is available for execution on the device|cudaErrorNoKernelImageForDevice"
# No card is there for this process: hidden by a variable, none in the machine, none in the container ...
NO_CUDA_GPUS = r"No CUDA GPUs are available|no CUDA-capable device is detected|cudaErrorNoDevice|CUDA_ERROR_NO_DEVICE"
# There is no driver to open.
NO_DRIVER = r"Found no NVIDIA driver on your system"
# torch says no and nothing else.
NOT_AVAILABLE = (
    r"(?:torch\.)?cuda\.is_available\(\)[\s)]{0,3}(?:[:=]{1,2}|->|returns?)?[\s>]*False\b|CUDA available:?\s*False\b"
)
# This torch was built without CUDA.
NOT_COMPILED = r"Torch not compiled with CUDA enabled"
# ultralytics asked for a card and torch counts none.
INVALID_DEVICE = r"Invalid CUDA 'device=(?P<device>[^']*)' requested"
# A card refuses another process, or refuses altogether.
BUSY = r"all CUDA-capable devices are busy or unavailable|cudaErrorDevicesUnavailable"
# nvidia-smi is not there.
NO_NVIDIA_SMI = r"nvidia-smi: (?:command )?not found|'nvidia-smi' is not recognized|command not found: nvidia-smi"
# pip found no version to install; what it lists are those that this Python could have.
NO_MATCHING_VERSION = (
    r"(?i)could not find a version that satisfies the requirement (?P<wanted>(?:torch|torchvision|torchaudio)\b[^\s(;]*)[^\n(]{0,80}"
    r"\(from versions:? (?P<versions>[^)\n]*)"
)

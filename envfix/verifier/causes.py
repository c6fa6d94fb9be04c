"""Names the cause of a failed rung from what the failing library said, by the catalogue's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Facts = Mapping[str, Any]
_Cause = str | Callable[[str, Facts], str | None]

_CUDA_LIBRARY = (
    r"lib(?:cudart|cublas|cublasLt|cudnn\w*|cufft\w*|cufile|cupti|curand|cusolver\w*|cusparse\w*|nccl|nvJitLink|nvrtc\S*|"
    r"nvToolsExt|nvshmem\w*)[-\w]*\.so"
)


# Rungs on which torch's own kernels have run already.
_BUILT_BESIDE = ("nms", "yolo_predict", "yolo_weights", "train")


def _by_architecture(rung: str, facts: Facts) -> str | None:
    """No machine code for the card: too new or too old for torch, or only the library built beside it lacks it."""
    if rung in _BUILT_BESIDE:
        return "extension_missing_arch"
    capability, built = facts.get("capability"), _sm_numbers(facts.get("arch_list"))
    if not capability or not built:
        return "sm_too_new_for_wheel"
    return "sm_too_old_for_wheel" if _number(str(capability)) < min(built) else "sm_too_new_for_wheel"


def _sm_numbers(names: object) -> list[int]:
    found = re.findall(r"(?:sm|compute)_(\d+)", " ".join(map(str, names)) if isinstance(names, list | tuple) else "")
    return [int(number) for number in found]


def _number(capability: str) -> int:
    return int(capability.replace(".", "") or 0)


def _by_loader_path(_rung: str, facts: Facts) -> str:
    """A library of another version: from the user's own loader path if there is one, else a second installation."""
    return "cuda_lib_path_pollution" if facts.get("LD_LIBRARY_PATH") else "mixed_installs"


def _by_visible_devices(_rung: str, facts: Facts) -> str | None:
    """No GPU can be seen on a machine with one: the user's variable hides it, or the one asked for does not exist."""
    if not facts.get("gpu_expected"):
        return None
    if facts.get("visible_devices") is not None:
        return "cuda_visible_devices_hides_gpu"
    return "invalid_device_ordinal" if facts.get("asked") != "auto" else None


def _torch_shadow(_rung: str, facts: Facts) -> str | None:
    return "user_site_shadowing" if "/.local/lib/" in str(facts.get("text")) else "local_name_shadowing"


_ANYWHERE: tuple[tuple[str, _Cause], ...] = (
    # the C library and its companions
    (r"version .?(?:GLIBCXX|CXXABI)_[\d.]+.? not found", "glibcxx_missing"),
    (r"version .?GLIBC_[\d.]+.? not found", "glibc_too_old"),
    (r"cannot allocate memory in static TLS block", "static_tls_exhausted"),
    (r"undefined symbol: iJIT_", "mkl_ijit_symbol"),
    (r"OMP: Error #15", "openmp_duplicate"),
    (r"Illegal instruction|SIGILL", "cpu_without_avx"),
    (r"lib(?:GL|gthread-2\.0|glib-2\.0|SM|Xext|Xrender)\.so[.\d]*: cannot open", "opencv_system_lib_missing"),
    (r"WinError 126\b", "windows_dll_dependency_missing"),
    (r"WinError 1455\b", "windows_pagefile_too_small"),
    # CUDA's own libraries
    (r"undefined symbol: \w*nvJitLink\w*", "cuda_lib_path_pollution"),
    (r"undefined symbol: cublasLt\w+", "cuda_lib_path_pollution"),
    (r"Could not load library libcudnn_\w+[^\n]*libcuda\.so: cannot open", "wsl_libcuda_path"),
    (r"cuDNN version incompatibility|Could not load library libcudnn", "cudnn_version_conflict"),
    (
        r"(?:GET|FIND) was unable to find an engine|CUDNN_STATUS_(?:VERSION|SUBLIBRARY)\w*_MISMATCH",
        "cudnn_version_conflict",
    ),
    (_CUDA_LIBRARY + r"[.\d]*: cannot open shared object file", "missing_cuda_runtime_lib"),
    (_CUDA_LIBRARY + r"\S{0,20} not found in the system path", "missing_cuda_runtime_lib"),
    (r"No module named 'pkg_resources'", "setuptools_pkg_resources_removed"),
    # torch, torchvision, numpy
    (r"operator torchvision::nms does not exist|Couldn't load custom C\+\+ ops", "torchvision_torch_mismatch"),
    (r"partially initialized module 'torchvision'", "torchvision_torch_mismatch"),
    (r"Could not run 'torchvision::nms' with arguments from the 'CUDA' backend", "torchvision_cpu_with_cuda_torch"),
    (r"compiled using NumPy 1\.x|_ARRAY_API not found|Numpy is not available|infer dtype of numpy", "numpy2_abi"),
    (r"Weights only load failed|Unsupported global: GLOBAL", "library_too_old_for_torch"),
    # driver and card
    (r"Torch not compiled with CUDA enabled|this torch is a CPU build", "cpu_only_build_installed"),
    (r"NVIDIA driver on your system is too old|driver version is insufficient", "driver_too_old_for_wheel"),
    (r"Error 804\b|forward compatibility was attempted on non supported HW", "cuda_compat_unsupported_hw"),
    (r"Error 803\b|unsupported display driver / cuda driver combination", "driver_library_version_mismatch"),
    (r"Driver/library version mismatch", "driver_library_version_mismatch"),
    (r"Error 802\b|system not yet initialized", "fabric_manager_not_running"),
    (r"CUDA unknown error", "cuda_unknown_error_uvm"),
    (
        r"CUDA-capable device\(s\) is/are busy or unavailable|all CUDA-capable devices are busy",
        "compute_mode_exclusive",
    ),
    (r"No CUDA GPUs are available|no CUDA-capable device is detected", _by_visible_devices),
    (r"invalid device ordinal", "invalid_device_ordinal"),
    (r"no kernel image is available|invalid value for --gpu-architecture", _by_architecture),
    (r"is not compatible with the current PyTorch installation", _by_architecture),
    (r"PyTorch no longer supports this GPU because it is too old", "sm_too_old_for_wheel"),
    (r"uncorrectable ECC|GPU is lost|fallen off the bus", "gpu_hardware_fault"),
    # memory; the rungs need a few hundred megabytes, so a full card was filled by somebody else
    (r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError", "oom_other_process"),
    (r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED", "oom_other_process"),
    (r"DefaultCPUAllocator: (?:can't|not enough) \w* ?memory|\bMemoryError\b", "host_ram_exhausted_runtime"),
    (r"No space left on device", "disk_or_tmp_full"),
)

_YOLO: tuple[tuple[str, _Cause], ...] = ((r"No module named 'torch\.", "torch_too_old_for_library"),)

# Tried after the general ones, for text that means something only at that rung.
_AT_RUNG: Mapping[str, tuple[tuple[str, _Cause], ...]] = {
    "import": (
        (r"No module named '?torch'?\s*$", "torch_not_installed"),
        (r"NotTorch", _torch_shadow),
        (r"No module named 'torch\.(?:_C|version)'|partially initialized module 'torch'", "local_name_shadowing"),
        (r"undefined symbol: (?:nccl|cudnn|cublas|cusparse)\w+", _by_loader_path),
        (r"lib(?:torch|c10)\S*\.so\S*: undefined symbol", "mixed_installs"),
    ),
    "versions": (
        (r"No module named 'torch\.|cannot import name '\w+' from 'torch", "torchvision_torch_mismatch"),
        (r"module 'torch\S*' has no attribute", "torchvision_torch_mismatch"),
        (r"lib(?:torch|c10)\w*\.so: cannot open|undefined symbol: _ZN", "torchvision_torch_mismatch"),
        (r"Fatal Python error[\s\S]{0,2000}torchvision[/\\]extension\.py", "torchvision_torch_mismatch"),
    ),
    "yolo_predict": _YOLO,
    "yolo_weights": (
        (r"version https://git-lfs|invalid load key, '[v<]'", "weights_file_is_git_lfs_pointer"),
        (r"PytorchStreamReader failed reading zip archive", "corrupt_download_hash"),
        *_YOLO,
    ),
}

_SIGNALS: Mapping[str, str] = {"SIGILL": "cpu_without_avx", "SIGKILL": "host_ram_exhausted_runtime"}


def classify(rung: str, text: str, facts: Facts) -> str | None:
    """The cause of a rung that failed with ``text``, or None where the text alone does not prove one.

    ``facts`` is what the rungs so far reported (capability, arch_list, visible_devices ...), ``gpu_expected`` and the
    loader path.
    """
    for pattern, cause in (*_ANYWHERE, *_AT_RUNG.get(rung, ())):
        if re.search(pattern, text, re.MULTILINE):
            return cause(rung, facts) if callable(cause) else cause
    return None


def classify_signal(rung: str, signal: str, output: str, facts: Facts) -> str | None:
    """The cause of a rung during which the process was killed: by the signal itself, or what was printed before it."""
    return _SIGNALS.get(signal) or classify(rung, output, facts)

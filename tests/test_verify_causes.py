"""The words of a failing library are mapped to the catalogue's cause names."""

from __future__ import annotations

from typing import Any

import pytest

from envfix.verifier.causes import classify, classify_signal

LISTED = ["sm_75", "sm_80", "sm_86", "sm_90", "compute_90"]
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"


@pytest.mark.parametrize(
    ("rung", "text", "facts", "cause"),
    [
        ("import", "ModuleNotFoundError: No module named 'torch'\n", {}, "torch_not_installed"),
        ("import", "No module named 'torch._C'", {}, "local_name_shadowing"),
        ("import", "No module named 'typing_extensions'", {}, None),
        ("import", "NotTorch\nmodule 'torch' at /p/torch.py has no attribute 'Tensor'", {}, "local_name_shadowing"),
        (
            "import",
            "NotTorch",
            {"text": "module 'torch' at /home/u/.local/lib/python3.8/site-packages/torch/__init__.py"},
            "user_site_shadowing",
        ),
        (
            "import",
            "OSError: libcudnn.so.9: cannot open shared object file: No such file or directory",
            {},
            "missing_cuda_runtime_lib",
        ),
        ("import", "libcusparseLt.so.0: cannot open shared object file", {}, "missing_cuda_runtime_lib"),
        ("import", "libcupti.so.12: cannot open shared object file", {}, "missing_cuda_runtime_lib"),
        ("import", "libnvJitLink.so.12: cannot open shared object file", {}, "missing_cuda_runtime_lib"),
        ("import", "libnvToolsExt.so.1: cannot open shared object file", {}, "missing_cuda_runtime_lib"),
        (
            "import",
            "ValueError: libcublas.so.*[0-9] not found in the system path ['/e/lib/python3.11/site-packages']",
            {},
            "missing_cuda_runtime_lib",
        ),
        ("import", "No module named 'pkg_resources'", {}, "setuptools_pkg_resources_removed"),
        ("yolo_predict", "No module named 'pkg_resources'", {}, "setuptools_pkg_resources_removed"),
        ("yolo_predict", "tqdm is not installed, and ultralytics needs it", {}, None),
        (
            "import",
            "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by x)",
            {},
            "glibcxx_missing",
        ),
        ("import", "/lib64/libc.so.6: version `GLIBC_2.28' not found (required by /e/libc10.so)", {}, "glibc_too_old"),
        ("import", "libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent", {}, "mkl_ijit_symbol"),
        ("import", "libgomp.so.1: cannot allocate memory in static TLS block", {}, "static_tls_exhausted"),
        (
            "import",
            "libcusparse.so.12: undefined symbol: __nvJitLinkAddData_12_1, version libnvJitLink.so.12",
            {},
            "cuda_lib_path_pollution",
        ),
        (
            "import",
            "libtorch_cuda.so: undefined symbol: ncclCommRegister",
            {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"},
            "cuda_lib_path_pollution",
        ),
        ("import", "libtorch_cuda.so: undefined symbol: ncclCommRegister", {}, "mixed_installs"),
        (
            "import",
            "[WinError 126] The specified module could not be found. Error loading c10.dll",
            {},
            "windows_dll_dependency_missing",
        ),
        ("versions", "RuntimeError: operator torchvision::nms does not exist", {}, "torchvision_torch_mismatch"),
        ("versions", "No module named 'torch.ao'", {}, "torchvision_torch_mismatch"),
        ("versions", "No module named 'PIL'", {}, None),
        ("versions", "libtorch_cuda.so: cannot open shared object file", {}, "torchvision_torch_mismatch"),
        ("versions", "RuntimeError: Numpy is not available", {}, "numpy2_abi"),
        ("versions", "torch is 2.1.0, expected 2.4.1", {}, None),
        (
            "driver",
            "torch cannot use this machine's NVIDIA GPU: this torch is a CPU build",
            {},
            "cpu_only_build_installed",
        ),
        (
            "driver",
            "The NVIDIA driver on your system is too old (found version 11040).",
            {},
            "driver_too_old_for_wheel",
        ),
        (
            "driver",
            "Error 804: forward compatibility was attempted on non supported HW",
            {},
            "cuda_compat_unsupported_hw",
        ),
        (
            "driver",
            "Error 803: system has unsupported display driver / cuda driver combination",
            {},
            "driver_library_version_mismatch",
        ),
        ("driver", "Error 802: system not yet initialized", {}, "fabric_manager_not_running"),
        (
            "driver",
            "CUDA unknown error - this may be due to an incorrectly set up environment",
            {},
            "cuda_unknown_error_uvm",
        ),
        ("driver", "Found no NVIDIA driver on your system.", {"gpu_expected": True}, None),
        (
            "driver",
            "No CUDA GPUs are available",
            {"gpu_expected": True, "asked": "auto", "visible_devices": None},
            None,
        ),
        (
            "driver",
            "No CUDA GPUs are available",
            {"gpu_expected": True, "asked": "auto", "visible_devices": ""},
            "cuda_visible_devices_hides_gpu",
        ),
        (
            "driver",
            "No CUDA GPUs are available",
            {"gpu_expected": True, "asked": "7", "visible_devices": None},
            "invalid_device_ordinal",
        ),
        ("driver", "No CUDA GPUs are available", {"asked": "0", "visible_devices": ""}, None),
        ("driver", "torch cannot use GPU 3: invalid device ordinal: torch sees 2", {}, "invalid_device_ordinal"),
        ("allocate", NO_KERNEL, {"capability": "12.0", "arch_list": LISTED}, "sm_too_new_for_wheel"),
        ("allocate", NO_KERNEL, {"capability": "6.1", "arch_list": LISTED}, "sm_too_old_for_wheel"),
        ("allocate", NO_KERNEL, {}, "sm_too_new_for_wheel"),
        ("nms", NO_KERNEL, {"capability": "8.6", "arch_list": LISTED}, "extension_missing_arch"),
        ("allocate", "CUDA out of memory. Tried to allocate 4.00 MiB", {}, "oom_other_process"),
        ("allocate", "CUDA error: all CUDA-capable devices are busy or unavailable", {}, "compute_mode_exclusive"),
        (
            "conv",
            "cuDNN version incompatibility: PyTorch was compiled against (8, 9, 2) but found runtime version (8, 5, 0)",
            {},
            "cudnn_version_conflict",
        ),
        (
            "conv",
            "Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared object file",
            {},
            "wsl_libcuda_path",
        ),
        (
            "nms",
            "Couldn't load custom C++ ops. This can happen if your PyTorch and torchvision versions",
            {},
            "torchvision_torch_mismatch",
        ),
        (
            "nms",
            "Could not run 'torchvision::nms' with arguments from the 'CUDA' backend.",
            {},
            "torchvision_cpu_with_cuda_torch",
        ),
        ("yolo_predict", "libGL.so.1: cannot open shared object file", {}, "opencv_system_lib_missing"),
        ("yolo_predict", "No module named 'torch.amp'", {}, "torch_too_old_for_library"),
        ("yolo_predict", "Weights only load failed", {}, "library_too_old_for_torch"),
        ("yolo_predict", "ultralytics is not installed in this interpreter", {}, None),
        ("yolo_predict", "[Errno 28] No space left on device", {}, "disk_or_tmp_full"),
        ("matmul", "the matrix product is wrong: relative error 3e-01 where rounding explains 5e-05", {}, None),
    ],
)
def test_a_text_has_one_cause(rung: str, text: str, facts: dict[str, Any], cause: str | None) -> None:
    assert classify(rung, text, facts) == cause


def test_an_abort_inside_torchvision_is_a_mismatched_pair() -> None:
    output = (
        "terminate called after throwing an instance of 'std::system_error'\nFatal Python error: Aborted\n"
        'Current thread 0x1 (most recent call first):\n  File "/e/torch/_ops.py", line 1587 in load_library\n'
        '  File "/usr/lib/python3/dist-packages/torchvision/extension.py", line 36 in <module>\n'
    )
    assert classify_signal("versions", "SIGABRT", output, {}) == "torchvision_torch_mismatch"
    assert classify_signal("import", "SIGABRT", "nothing known", {}) is None


def test_a_long_hostile_text_is_read_quickly() -> None:
    assert classify("import", "libcudnn " * 4000 + "'torch" * 4000, {}) is None

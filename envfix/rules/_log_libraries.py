"""Whose library a message names, where a traceback ends, and what a missing symbol belongs to."""

from __future__ import annotations

import re

from envfix.model.log import Hit
from envfix.model.regex import regex
from envfix.rules._log import Reading

# Packages of compiled code for torch, by how their modules and folders are called.
EXTENSION = (
    r"flash[-_]attn\w*|xformers|mmcv\w*|mmdet3d|detectron2|pytorch3d|torch[-_](?:scatter|sparse|cluster"
    r"|spline_conv)|pyg_lib|torchtext"
    r"|natten\w*|apex\w*|amp_C|bitsandbytes|spconv|cumm|MinkowskiEngine\w*|pointnet2?\w*"
    r"|causal_conv1d\w*|mamba_ssm|selective_scan\w*"
    r"|diff_gaussian_rasterization|diff_\w*rasteriz\w+|simple_knn|nvdiffrast|tinycudann\w*|gsplat|kaolin"
    r"|vllm\w*|sgl_kernel|flashinfer"
    r"|deepspeed|auto_?gptq|exllama\w*|awq\w*|MultiScaleDeformableAttention|torchsparse|dcn\w*|deform\w*"
    r"|inplace_abn|upfirdn2d\w*"
    r"|fused\w*|torch_tensorrt|torchao|maskrcnn_benchmark|knn\w*|chamfer\w*|sageattention"
    r"|transformer_engine\w*|grouped_gemm|raymarching"
    r"|gridencoder|iou3d\w*|roiaware\w*|correlation\w*|alt_cuda_corr|torchmcubes|warp_rnnt|fastmoe"
    r"|quant_cuda|groundingdino|unilm"
)
_EXTENSION = regex(rf"(?:^|[/\\\s.'\"])(?:{EXTENSION})(?:$|[/\\\s.'\"-])")
# Names that torch's own libraries give: mangled ones of its name spaces, those of old releases, those of its C interface.
_OF_TORCH = regex(
    r"(?:2at|3c10|5torch|6caffe2)(?=[0-9A-Z])|^_?TH(?:C|P|N|Cuda|Tensor|Storage|Float)?\w*_|^_?TH[CP]\w+"
    r"|^torch_|^aoti_torch"
)
_OF_PYTHON = regex(r"^_?Py[A-Z_]\w+")
_FRAME = regex(
    r"(?:File |^)\s*[\"']?(?P<path>[^\s\"'(]+?\.(?:py|pyx))[\"']?(?:, line |:)\d+[^\n]*\n?(?P<source>[^\n]*)",
    re.MULTILINE,
)
_PACKAGE = regex(r"(?:site|dist)-packages[/\\](?P<name>[A-Za-z_]\w*)")
_LOADERS = regex(r"torch[/\\](?:_ops|_classes)\.py|ctypes[/\\]__init__\.py|importlib[/\\]")


def of_torch(symbol: str) -> bool:
    """Whether a symbol is one that torch's libraries give."""
    return _OF_TORCH.search(symbol) is not None


def of_python(symbol: str) -> bool:
    """Whether a symbol is one of the interpreter itself."""
    return _OF_PYTHON.search(symbol) is not None


def owner(path: str) -> str:
    """Whose a library is: ``torch``, ``torchvision``, ``torchaudio``, ``cuda``, ``extension``, or ``other``."""
    plain = path.replace("\\", "/")
    name = plain.rpartition("/")[2]
    if re.match(r"lib(?:cu(?:blas|dnn|fft|rand|solver|sparse|dart|pti)|nccl|nv[A-Z]|nvrtc)", name):
        return "cuda"
    if "torchaudio" in plain or name.startswith("_torch_sox"):
        return "torchaudio"
    if "torchvision" in plain:
        return "torchvision"
    if re.match(r"(?:lib(?:torch(?!audio|vision|text|_tensorrt)\w*|c10\w*|caffe2\w*|shm)\b)", name) or re.search(
        r"/torch/(?:lib/|_C\b|_C\.)", plain
    ):
        return "torch"
    compiled = re.search(r"\.cpython-\d+|(?:site|dist)-packages/|torch_extensions/|/build/lib|\.egg/", plain)
    if _EXTENSION.search(plain) or _EXTENSION.search(name.partition(".")[0]) or compiled:
        return "extension"
    return "other"


def is_extension(text: str) -> bool:
    """Whether a text names a package of compiled code for torch."""
    return _EXTENSION.search(text) is not None


# Where programs begin: a list of frames that starts there has the innermost one last.
_BEGINS = regex(r"execution\.py|main\w*\.py|app\.py|train\w*\.py|launch\.py|<string>|<stdin>|runpy|webui\.py|/bin/")


def last_frames(hit: Hit) -> list[tuple[str, str]]:
    """Paths and source lines of the traceback that ends at a place, the last first; loaders of libraries left out."""
    before = hit.before.rpartition("Traceback (most recent call last)")[2]
    frames = _frames(before[-3500:])[::-1]
    if not frames:
        # Some programs print the message first and the traceback below it, with its heading or without, in either order.
        below, _, rest = hit.after.partition("Traceback (most recent call last)")
        frames = _frames(below) or _frames(rest)[::-1]
        if frames and _BEGINS.search(frames[0][0]):
            frames = frames[::-1]
    return [frame for frame in frames if not _LOADERS.search(frame[0])]


def _frames(text: str) -> list[tuple[str, str]]:
    return [(frame["path"], frame["source"].strip()) for frame in _FRAME.finditer(text)]


def loading(hit: Hit) -> str:
    """Whose code was being run where a traceback ends, as ``owner`` says it; ``unknown`` where there is no traceback."""
    frames = last_frames(hit)
    if not frames:
        return "unknown"
    path, source = frames[0]
    package = _PACKAGE.search(path)
    name = package["name"] if package else ""
    if name in ("torch", "torchvision", "torchaudio"):
        return name
    if is_extension(f"/{name}/") or re.search(r"\b_(?:C|ext)\b|_cuda\b|_ext\b|import \w*_cuda", source):
        return "extension"
    return "other"


def package_at(hit: Hit) -> str | None:
    """The package whose code the traceback ends in."""
    found = (_PACKAGE.search(path) for path, _ in last_frames(hit)[:3])
    return next((one["name"] for one in found if one and one["name"] not in ("torch", "torchvision")), None)


def named(path: str) -> str:
    """The package of a library's path, or its file name."""
    package = _PACKAGE.search(path)
    name = path.replace("\\", "/").rpartition("/")[2]
    return package["name"] if package and package["name"] not in ("torch", "nvidia") else name.partition(".cpython")[0]


def library_in(reading: Reading) -> str | None:
    """The library that a message names, as people call it."""
    path = reading.groups.get("library", "")
    return named(path) if path.strip() else None

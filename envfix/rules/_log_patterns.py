"""Texts that several causes share: alone they name none of them, so each rule that uses one gives it a low confidence.

Where a rule's facts are known they decide; the log alone leaves candidates.
"""

from __future__ import annotations

# Python finds no module torch: never installed here, another interpreter, a build without it, a file of that name ...
NO_MODULE_TORCH = r"No module named '?torch'?(?:[\s'\"]|$)"
# A kernel was started on a card for which the program holds no code: torch's own or an extension's.
NO_KERNEL_IMAGE = (
    r"(?:Cuda failure (?:\d+ )?')?no kernel image is available for execution on (?:the )?device|cudaErrorNoKernelImageForDevice"
    r"|cudaSuccess \((?:48|209) vs\. 0\)"
)
# No card is there for this process: hidden by a variable, none in the machine, none in the container ...
NO_CUDA_GPUS = (
    r"No CUDA GPUs are available|No visible GPU devices"
    r"|(?:Cuda failure (?:\d+ )?')?no CUDA-capable device is detected|cudaErrorNoDevice"
    r"|(?:failed call to \w+: |Call to \w+ results in )?CUDA_ERROR_NO_DEVICE"
    r"|Check failed: error == cudaSuccess \((?:38|100) vs\. 0\)"
)
# There is no driver to open.
NO_DRIVER = r"Found no NVIDIA driver on your system"
# torch says no and nothing else.
NOT_AVAILABLE = (
    r"(?:python3? -c ['\"]import torch[;,]\s?)?(?:print\()?(?:torch\.)?cuda\.is_available\(\)[\s)'\"]{0,4}"
    r"(?:[:=]|->|returns?)?[\s>]*False\b"
    r"|CUDA (?:is )?available:?\s*False\b"
)
# This torch was built without CUDA.
NOT_COMPILED = r"Torch not compiled with CUDA enabled"
# ultralytics asked for a card and torch counts none.
INVALID_DEVICE = r"Invalid CUDA 'device=(?P<device>[^']*)' requested"
# A card refuses another process, or refuses altogether.
BUSY = (
    r"(?:Check failed: error == cudaSuccess \(46 vs\. 0\) "
    r"|Cuda failure (?:\d+ )?')?(?:all )?CUDA-capable device(?:s are|\(s\) is/are)"
    r" busy or unavailable|cudaErrorDevicesUnavailable|(?:failed call to \w+: "
    r"|Call to \w+ results in )?CUDA_ERROR_DEVICE_UNAVAILABLE"
)
# nvidia-smi is not there.
NO_NVIDIA_SMI = (
    r"['\"`]?nvidia-smi['\"`]?(?:: command| command)?(?: could)?:? not (?:be )?found|['\"]?nvidia-smi['\"]? is not recognized"
    r"|command not found: nvidia-smi|Unknown command:? nvidia-smi|nvidia-smi: orden no encontrada|nvidia-smi: Befehl nicht gefunden"
    r"|nvidia-smi(?:: |\xef\xbc\x9a)\xe6\x9c\xaa\xe6\x89\xbe|'nvidia-smi' \xe4\xb8\x8d\xe6\x98\xaf|\"nvidia-smi\" no se reconoce"
    r"|exec:? \"?nvidia-smi\"?:? executable file not found|No such file or directory: 'nvidia-smi'"
    r"|executable file [`']nvidia-smi[`'] not found"
)
# A process that loads data ended without a word: main memory, shared memory, the page file, a program without its main guard ...
WORKER_EXITED = r"DataLoader worker \(pid\(?s?\)?[^)\n]{0,80}\) exited unexpectedly"
# An environment for a build of its own, in which what is installed is not seen.
ISOLATED_BUILD = (
    r"pip-build-env|Getting requirements to build (?:wheel|editable)|Preparing (?:wheel )?metadata|Failed to build"
    r"|get_requires_for_build|prepare_metadata_for_build|build_wheel|build_editable|setuptools[./\\]build_meta"
    r"|pyproject_hooks|pep517[/\\]|egg_info|builds-v\d"
)
# How shells and cmd say, in the languages people have, that they know no command; it stands behind the command's name.
_NOT_KNOWN = (
    "(?:command )?not found|未找到命令|找不到命令|orden no encontrada|no se encontró la orden|commande introuvable"
    "|Kommando nicht gefunden|Befehl nicht gefunden|comando não encontrado|comando non trovato|команда не найдена"
    "|コマンドが見つかりません|명령어를 찾을 수 없음"
)
_NOT_RECOGNISED = (
    "is not recogni[sz]ed|no se reconoce|n'est pas reconnu|ist entweder falsch|wurde nicht als Name|não é reconhecido"
    "|non è riconosciuto|не является|не распознано|nie jest rozpoznawan|iç ya da d\u0131ş komut|不是内部或外部|不是內部或外部"
    "|项识别为|は、内部コマンドまたは外部コマンド|은\\(는\\) 내부 또는 외부 명령"
)
_WIDE_COLON = "\uff1a"


def not_found(names: str) -> str:
    """A pattern for the messages of shells that know no command of one of these names (``yolo|ultralytics``)."""
    quoted = rf"['\"](?:{names})['\"]"
    return (
        rf"\b(?:{names})(?::|{_WIDE_COLON})\s?(?:{_NOT_KNOWN})|command not found: (?:{names})\b|Command '(?:{names})' not found"
        rf"|Unknown command:? ['\"]?(?:{names})\b"
        rf"|(?:(?:The term|Die Benennung|El término|Le terme|O termo|Der Befehl|Nazwa|无法将)\s?)?{quoted}\s?(?:{_NOT_RECOGNISED})"
        rf"|ObjectNotFound: \((?:{names}):String\)|exec: \"(?:{names})\": executable file not found"
        rf"|No such file or directory: '(?:{names})'"
    )


# The loader finds a CUDA library nowhere; which package asked for it decides.
CUDA_LIBRARY_MISSING = (
    r"(?P<library>lib(?:cudart|cublas(?:Lt)?|cudnn\w*|cufftw?|curand|cusolver(?:Mg)?|cusparse(?:Lt)?|cudss"
    r"|cupti|cufile|nccl|nvrtc(?:-builtins)?"
    r"|nvJitLink|nvToolsExt|nvshmem\w*|npp\w+|nvjpeg|nvinfer\w*)(?:-[0-9a-f]{8})?\.so[.\d]*): cannot open shared object file"
)
# cuDNN says no and not why: another cuDNN is loaded, the card's memory is full, the card is not supported ...
CUDNN_NOT_INITIALIZED = r"CUDNN_STATUS_NOT_INITIALIZED"
CUDNN_EXECUTION_FAILED = r"CUDNN_STATUS_EXECUTION_FAILED"
CUDNN_INTERNAL_ERROR = r"CUDNN_STATUS_INTERNAL_ERROR"
CUDNN_NO_ENGINE = r"(?:GET|FIND) was unable to find an engine to execute this computation"
CUDNN_NO_ALGORITHM = r"Unable to find a valid cuDNN algorithm to run convolution"
# A CUDA library misses a symbol in its companion: an older one lies on the loader's path, or two packages of it are mixed.
CUDA_SYMBOL_MISSING = (
    r"undefined symbol: (?P<symbol>(?:__)?(?:nvJitLink|cublas|cusparse|cusolver|cufft|curand|nccl|nvrtc"
    r"|cupti|cudaGetDriverEntryPoint|nvshmem|cuFile)\w+)"
)

# --- what shows where a log was made: beside an ambiguous text it tells which cause is the likely one ---

# A container, or the program that starts one.
IN_CONTAINER = (
    r"root@[0-9a-f]{12}[:\s]|\b(?:docker|podman)(?:-compose)? (?:compose )?(?:run|exec|up)\b"
    r"|Error response from daemon|/\.dockerenv"
    r"|== CUDA ==|\bnvidia-docker2?\b|\bkubectl\b|Container image Copyright|\b[Dd]ockerfile\b|docker-compose|nvidia-container-cli"
    r"|OCI runtime|/workspace/"
)
# A command or a file that asks for a GPU when it starts a container.
GPU_ASKED_FOR = (
    r"--gpus\b|--runtime[=\s]nvidia|nvidia-docker|nvidia\.com/gpu|driver: nvidia|runtime: nvidia"
    r"|capabilities: \[{1,2}['\"]?gpu"
)
UNDER_WSL = r"microsoft-standard-WSL|/mnt/[a-z]/[Uu]sers|/usr/lib/wsl|\bWSL\b|\bWSL2\b"
ON_MAC = r"[\s\"'(=]/Users/[\w.-]+/|macosx_\d|\bDarwin\b|/opt/homebrew/|\b[Mm]ac\s?OS\b"
ON_WINDOWS = (
    r"[A-Za-z]:(?:\\{1,2}|/)(?:Users|Program Files|ProgramData|Windows)|win_amd64|\[WinError \d+\]|\.dll\b|PS [A-Z]:\\"
)
ON_JETSON = r"-tegra\b|nv_tegra_release|\bL4T\b|\bJ[Ee][Tt][Pp]ack\b|\b[Jj]etson\b|\bOrin\b|\bXavier\b|/tegra"
IN_BATCH_JOB = (
    r"\bsrun\b|slurmstepd|SLURM_[A-Z]|\bsbatch\b|\bsalloc\b|Submitted batch job|\bPBS_[A-Z]|\bqsub\b|\bbsub\b|--gres\b"
)
IN_COLAB = r"google[.-]colab|[\s\"']/content/\w|/kaggle/"
# nvidia-smi's table: driver and card answer.
DRIVER_ANSWERS = r"NVIDIA-SMI \d{3}\.\d+"
# A card that is not NVIDIA's.
OTHER_CARD = r"Radeon RX|\bgfx\d{3,4}\b|\bROCm\b|\bRX [567]\d{3}\b|Apple M[1-5]\b|Intel\(?R?\)? Arc|Intel Arc"
# The variable as it was set or printed: "CUDA_VISIBLE_DEVICES=1 python train.py", "os.environ['CUDA_VISIBLE_DEVICES']: -1".
VISIBLE_SET = r"CUDA_VISIBLE_DEVICES['\"]?\]?\s?(?:[:=]{1,2}|is set to)\s?['\"]?(?P<visible>[-\w,]*)"

# --- more shared texts ---

# The loader finds no library of the driver at all.
NO_LIBCUDA = r"libcuda\.so\.1(?::| =>) (?:cannot open shared object file|not found)"
# CUDA's first call failed; why stands behind it.
CANNOT_START = r"Unexpected error from cudaGetDeviceCount\(\)|CUDA driver initialization failed"
# YOLOv5's words for INVALID_DEVICE.
OLD_INVALID_DEVICE = (
    r"Invalid CUDA '--device (?P<device>[^']*)' requested"
    r"|CUDA unavailable, invalid device (?P<old_device>\S+) requested"
)
# An index of a card as torch checks it in its own code.
DEVICE_ASSERT = r"device >= 0 && device < num_gpus,? INTERNAL ASSERT FAILED"
# The same as NO_KERNEL_IMAGE in the words of older CUDA and of the driver.
NO_BINARY = (
    r"(?:failed call to \w+: |Call to \w+ results in )?CUDA_ERROR_NO_BINARY_FOR_GPU"
    r"|cudaErrorInvalidDeviceFunction|invalid device function"
    r"|device kernel image is invalid|CUDA_ERROR_INVALID_IMAGE"
)
# The driver's tool sees no card although the driver runs.
NO_DEVICES_FOUND = r"No devices were found"
# NVML fails without a reason.
NVML_UNKNOWN = r"(?i:failed to initialize nvml:?\s+unknown error)|nvml error: unknown error|NVMLError_Unknown"
# A container that asked for a card is refused, because no library of the driver is there.
CLI_NO_LIBRARY = r"load library failed: (?P<library>lib(?:nvidia-ml|cuda)\.so\.1)"
# A job or pod that no node can take.
NO_GPU_RESOURCE = r"Insufficient nvidia\.com/gpu"
# The loader misses a name in a library that is loaded; which library complains and whose the name is decide.
UNDEFINED_SYMBOL = r"(?P<library>[^\s:'\"|]*\.so[.\d]*): undefined symbol(?:: (?P<symbol>\w+))?"
# The same on macOS.
SYMBOL_NOT_FOUND = (
    r"Symbol not found: [\s(]*_?(?P<symbol>_\w+)[\s)]*Referenced from: '?(?:<[^>\n]*> )?(?P<library>[^\s'\"]+)"
)
# A library of torch is not there, or not where it is looked for.
TORCH_LIBRARY_MISSING = (
    r"(?P<library>lib(?:torch(?:_cuda\w*|_cpu|_python|_hip|_global_deps)?|c10(?:_cuda|_hip)?"
    r"|caffe2\w*)\.so[.\d]*): cannot open shared object file"
)
# Windows finds a library and misses a function in it, or (126) a library that it needs.
DLL_LOAD_FAILED = r"DLL load failed(?: while importing (?P<module>\w+))?: [^\n]{1,80}"
# Operators written in C++ that no library has registered.
NO_OPERATOR = (
    r"(?:operator|No such operator|Could not find the operator) (?P<library>[A-Za-z]\w*)::(?P<operator>\w+)"
    r"|'_OpNamespace' '(?P<namespace>\w+)' object has no attribute"
)
# A Python name that this torch does not have: newer or older than the code that asks, or another module of that name.
TORCH_ATTRIBUTE = r"module '(?P<module>torch(?:\.\w+)*)' has no attribute '(?P<attribute>\w+)'"
TORCH_NAME = r"cannot import name '?(?P<attribute>\w+)'? from '?(?P<module>torch(?:\.\w+)*)'?(?P<where> \([^)\n]{1,300}\))?(?:\s|$)"
TORCH_MODULE = r"No module named '?(?P<module>torch(?:\.\w+)+)"
# Two packages were compiled with different CUDA releases, as one of them says itself.
OTHER_CUDA = (
    r"Detected that PyTorch and (?P<library>\w+) were compiled with different CUDA(?: major)? versions"
    r"(?:\. PyTorch has CUDA [Vv]ersion\s?=?\s?(?P<torch_cuda>[\d.]*\d) (?:whereas"
    r"|and) \w+ has CUDA [Vv]ersion\s?=?\s?(?P<other_cuda>[\d.]*\d))?"
)
# Half precision where there is no card to calculate with it: on purpose, or because torch sees none.
HALF_ON_CPU = (
    r"(?P<kernel>\w*(?:[Ll]ayer[Nn]orm|slow_conv|addmm|baddbmm|upsample|softmax|clamp|gelu"
    r"|conv)\w*)\"? not implemented for 'Half'"
)
# bitsandbytes has no library for the CUDA that torch has, or does not find that CUDA.
BITSANDBYTES_CPU = (
    r"bitsandbytes was compiled without GPU support|CUDA Setup failed despite (?:CUDA|GPU) being available"
)
# xformers says for which torch it was built.
XFORMERS_BUILT = (
    r"xFormers was built for:\s+PyTorch (?P<built>\S+) with CUDA (?P<cuda>\w+) \(you have (?P<have>[^)\s]+)\)"
)
# transformers and others find no torch that they could use.
NO_TORCH_FOR_LIBRARY = (
    r"requires the PyTorch library but it was not found in your environment"
    r"|None of PyTorch, TensorFlow[^\n]{0,30} have been found"
)
# A card that is cut into instances, none of which is there.
NO_MIG_DEVICES = r"No MIG(?:-enabled)? devices found"
# A card of a virtual machine, a slice of a host's: GRID T4-8Q, NVIDIA A10-24Q, GRID V100D-8C.
VIRTUAL_CARD = r"(?:GRID|NVIDIA|Tesla) [A-Z]{1,3}\d{1,4}[A-Z]{0,4}-\d{1,2}-?\d?[QCBA]\b|\bvGPU\b"
# A build of torch without CUDA, as banners and package lists show it.
CPU_BUILD = r"torch[-=]{1,2}[\d.]+\+cpu|torch\s+[\d.]+\+cpu|Torch not compiled with CUDA enabled"
# The variable was emptied or set to -1.
HIDDEN = r"CUDA_VISIBLE_DEVICES['\"]?\]?\s?[:=]\s?['\"]?(?:-1\b|['\"]|NoDevFiles)"

"""What several rules ask of CUDA libraries: those that came with torch against those that lie outside the target."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, NativeLibrary
from envfix.model.finding import Evidence, Remedy
from envfix.model.language import say
from envfix.rules._family import import_works, installed, version

# Which pip package carries a library, by the beginning of the file's name (cu11, cu12 ... is appended; CUDA 13 has no suffix).
_CARRIED_BY = {
    "libcudart": "nvidia-cuda-runtime",
    "libcublas": "nvidia-cublas",
    "libcublasLt": "nvidia-cublas",
    "libcudnn": "nvidia-cudnn",
    "libcufft": "nvidia-cufft",
    "libcupti": "nvidia-cuda-cupti",
    "libcurand": "nvidia-curand",
    "libcusolver": "nvidia-cusolver",
    "libcusparse": "nvidia-cusparse",
    "libnccl": "nvidia-nccl",
    "libnvJitLink": "nvidia-nvjitlink",
    "libnvrtc": "nvidia-cuda-nvrtc",
}


def stem_of(name: str) -> str:
    """``libcudnn`` of ``libcudnn_ops_infer.so.8``, ``libcublasLt`` of ``libcublasLt-3b81d170.so.11``."""
    match = re.match(r"lib[A-Za-z]+", name)
    return match[0] if match else name


def major_of(name: str) -> str | None:
    """``12`` of ``libcublas.so.12``."""
    match = re.search(r"\.so\.(\d+)", name)
    return match[1] if match else None


def carrier(name: str, environment: Environment) -> str | None:
    """The installed pip package that carries a library, or None: nobody does, or it lies in torch's own folder."""
    base = _CARRIED_BY.get(stem_of(name))
    here = installed(environment)
    return next((key for key in here if base and (key == base or key.startswith(f"{base}-cu"))), None)


def shadowing(machine: Machine, environment: Environment, *, cudnn: bool) -> tuple[NativeLibrary, ...]:
    """Libraries on LD_LIBRARY_PATH of the name and major number of one that came with torch; the loader takes them first."""
    value = environment.binaries.value
    own = {(stem_of(name), major_of(name)) for name in value.bundled} if value else set()
    return tuple(
        library
        for library in machine.libraries.value or ()
        if library.found_by == "LD_LIBRARY_PATH"
        and library.name.startswith("libcudnn") == cudnn
        and (stem_of(library.name), major_of(library.name)) in own
    )


def older(library: NativeLibrary, environment: Environment) -> bool:
    """Whether it is known to be older than the one that came with torch, by the version of the package that carries that one."""
    own = installed(environment).get(carrier(library.name, environment) or "")
    here, there = version(own.version) if own else None, version(library.version)
    if here is None or there is None:
        return False
    # libcublas.so.12 alone says nothing but the major number, which is equal.
    depth = len(there.release)
    return depth > 1 and there.release < here.release[:depth]


def loaded_from_outside(environment: Environment, *, cudnn: bool) -> tuple[str, ...]:
    """CUDA libraries that the import really loaded from outside the target."""
    said = environment.torch_import.value
    paths = said.foreign_libraries if said is not None and import_works(environment) else ()
    return tuple(path for path in paths if path.rpartition("/")[2].startswith("libcudnn") == cudnn)


def is_bundled(path: str, environment: Environment) -> bool:
    """Whether torch brought a library of that name and major number itself."""
    value, name = environment.binaries.value, path.rpartition("/")[2]
    return value is not None and any(
        (stem_of(own), major_of(own)) == (stem_of(name), major_of(name)) for own in value.bundled
    )


def placed(machine: Machine, libraries: tuple[NativeLibrary, ...]) -> Iterator[Evidence]:
    """Each library with its place and how the loader comes there."""
    for library in libraries[:5]:
        value = say(
            "{library} (version {version}) in {path}, by {found_by}",
            library=library.name,
            version=library.version,
            path=library.path.rpartition("/")[0],
            found_by=library.found_by,
        )
        yield Evidence(fact="machine.libraries", value=value, source=machine.libraries.source)


def loaded(environment: Environment, paths: tuple[str, ...]) -> tuple[Evidence, ...]:
    """The paths that were loaded."""
    return tuple(
        Evidence(
            fact="environment.torch_import",
            value=say("loaded {path}", path=path),
            source=environment.torch_import.source,
        )
        for path in paths[:5]
    )


def without_path(environment: Environment) -> Remedy:
    """The same program without LD_LIBRARY_PATH, which shows at once whether that is it."""
    interpreter = environment.interpreter.value
    python = interpreter.executable if interpreter else "python"
    return Remedy(
        text=say(
            "Take CUDA folders out of LD_LIBRARY_PATH (in ~/.bashrc, modules or activation"
            " scripts): torch brings its own libraries."
        ),
        commands=(
            ("env", "-u", "LD_LIBRARY_PATH", python, "-c", "import torch; print(torch.zeros(1))"),
            ("unset", "LD_LIBRARY_PATH"),
        ),
    )

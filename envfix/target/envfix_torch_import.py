"""Imports torch once and prints what only the import can tell, as JSON between two cookies (argument 1)."""

import sys

if sys.version_info < (3, 6):  # noqa: UP036 - the target may be any Python
    sys.stdout.write('%s{"too_old": "%d.%d.%d"}%s\n' % ((sys.argv[1],) + tuple(sys.version_info[:3]) + (sys.argv[1],)))
    sys.exit(88)

import json
import os
import re
import time
import warnings

# Without libcuda itself: it belongs to the driver and lies outside every environment.
CUDA_LIBRARY = re.compile(r"/lib(?:cudart|cudnn|cublas|nccl|nvJitLink|cusparse|cufft|curand|cusolver|nvrtc|cupti)[\w-]*\.so[\w.]*$")
# Prefixes that hold all kinds of things beside the Python in them.
SHARED = ("/", "/usr", "/usr/local")


def inside(folders):
    """Where libraries of this environment lie: its prefix, unless that is the system's, and the folders of modules."""
    places = [prefix for prefix in (sys.prefix, sys.base_prefix) if prefix not in SHARED] + [entry for entry in folders if entry]
    return tuple(os.path.realpath(place).rstrip(os.sep) + os.sep for place in places)


def loaded_libraries(folders):
    """CUDA libraries mapped into this process that lie outside this environment."""
    own, outside = inside(folders), set()
    try:
        with open("/proc/self/maps") as stream:
            for line in stream:
                path = "/" + line.rstrip("\n").partition("/")[2]
                if CUDA_LIBRARY.search(path) and not os.path.realpath(path).startswith(own):
                    outside.add(path)
    except (OSError, ValueError):
        pass
    return sorted(outside)


def numpy_problem(torch):
    """What torch says when it is to hand an array to NumPy, or None: a NumPy it was not built for is only seen so."""
    if "numpy" not in sys.modules or not hasattr(torch, "zeros"):
        return None
    try:
        torch.zeros(1).numpy()
    except Exception as error:  # noqa: BLE001 - the text is the fact
        return str(error)[:500]
    return None


def main():
    # The folder of this script must not be where torch is looked for.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = folders = [entry for entry in sys.path if entry != here]
    facts = {"ok": False}
    started = time.time()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import torch

            facts["seconds"] = time.time() - started
            facts["ok"] = True
            facts["version"] = str(getattr(torch, "__version__", ""))
            cuda = getattr(torch, "cuda", None)
            facts["cuda_available"] = bool(cuda.is_available()) if cuda is not None else None
            if facts["cuda_available"] is False and getattr(getattr(torch, "version", None), "cuda", None):
                try:
                    torch.cuda.init()
                except Exception as error:  # noqa: BLE001 - the text is the fact
                    facts["cuda_problem"] = str(error)[:2000]
            facts["numpy_problem"] = numpy_problem(torch)
        said = [str(item.message)[:2000] for item in caught if "CUDA" in str(item.message) or "NVIDIA" in str(item.message)]
        if said:
            facts["cuda_problem"] = said[0]
    except BaseException as error:  # noqa: BLE001 - also SystemExit from a broken package: the text is the fact
        facts.setdefault("seconds", time.time() - started)
        facts["error"] = "%s: %s" % (type(error).__name__, str(error)[:4000])
    facts["foreign_libraries"] = loaded_libraries(folders)
    sys.stdout.flush()
    sys.stdout.write("\n" + sys.argv[1] + json.dumps(facts) + sys.argv[1] + "\n")
    sys.stdout.flush()
    os._exit(0)  # a torch that crashes while ending must not spoil the answer


if __name__ == "__main__":
    main()

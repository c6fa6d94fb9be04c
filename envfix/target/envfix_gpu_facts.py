"""Asks the NVIDIA driver through NVML, else through the driver library; JSON between two cookies (argument 1).

Run in a process of its own by envfix's own interpreter, because these libraries may hang or crash.
"""

import ctypes
import json
import sys
from datetime import datetime, timezone

LIBRARY_NAMES = ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")


def library_file(word):
    """The file a mapped library was loaded from: its name carries the version of the user-space driver."""
    try:
        with open("/proc/self/maps") as stream:
            for line in stream:
                if word in line:
                    return "/" + line.rstrip("\n").partition("/")[2]
    except OSError:
        pass
    return None


def load_first(names):
    """The first library that loads, or why none does: a file that is there but broken tells more than one that is missing."""
    problems = []
    for name in names:
        try:
            return ctypes.CDLL(name), None
        except OSError as error:
            problems.append(str(error))
    return None, next((problem for problem in problems if not missing(problem)), problems[0])


def missing(problem):
    return "cannot open shared object" in problem or "no such file" in problem.lower() or "could not find module" in problem.lower()


def nvml():
    """Driver, cards and processes as NVML tells them; a field that the driver refuses is left out."""
    if sys.platform != "win32":
        library, problem = load_first(LIBRARY_NAMES)
        if library is None:
            return {"state": "absent" if missing(problem) else "error", "text": problem}
    import pynvml as n

    try:
        n.nvmlInit()
    except n.NVMLError as error:
        code = getattr(error, "value", None)
        return {"state": "error", "code": code, "text": str(error), "library": library_file("libnvidia-ml")}
    try:
        return {
            "state": "works",
            "library": library_file("libnvidia-ml"),
            "driver": text(ask(n.nvmlSystemGetDriverVersion)),
            "cuda": ask(n.nvmlSystemGetCudaDriverVersion_v2) or ask(n.nvmlSystemGetCudaDriverVersion),
            "gpus": [card(n, index) for index in range(ask(n.nvmlDeviceGetCount) or 0)],
        }
    finally:
        ask(n.nvmlShutdown)


def ask(function, *arguments):
    """The answer, or None where this driver or card does not know the question."""
    import pynvml as n

    try:
        return function(*arguments)
    except (n.NVMLError, n.NVMLLibraryMismatchError, AttributeError, UnicodeDecodeError, ValueError):
        return None  # pynvml says LibraryMismatch, which is no NVMLError, where a driver lacks the newest form of a function


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def card(n, index):
    handle = ask(n.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return {"index": index, "name": "", "problem": "the driver gives no handle for this card"}
    facts = {"index": index, "name": text(ask(n.nvmlDeviceGetName, handle)) or "", "uuid": text(ask(n.nvmlDeviceGetUUID, handle))}
    capability = ask(n.nvmlDeviceGetCudaComputeCapability, handle)
    if capability:
        facts["capability"] = "%d.%d" % tuple(capability)
    memory = ask(n.nvmlDeviceGetMemoryInfo, handle)
    if memory:
        facts["memory_total"], facts["memory_free"] = int(memory.total), int(memory.free)
    pci = ask(n.nvmlDeviceGetPciInfo, handle)
    if pci:
        facts["pci_bus"] = text(pci.busId)
        facts["pci_id"] = "%04x:%04x" % (pci.pciDeviceId & 0xFFFF, pci.pciDeviceId >> 16)
    mig = ask(n.nvmlDeviceGetMigMode, handle)
    if mig:
        facts["mig"] = bool(mig[0])
    facts["processes"] = [process(n, pid, memory) for pid, memory in holders(n, handle)]
    return facts


class FirstLayout(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong)]


class SecondLayout(ctypes.Structure):
    _fields_ = [*FirstLayout._fields_, ("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]


# Each driver knows the functions of its own time only: the third since 510, the second before, the first on old ones.
PROCESS_LISTS = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", SecondLayout),
    ("nvmlDeviceGetComputeRunningProcesses_v2", SecondLayout),
    ("nvmlDeviceGetComputeRunningProcesses", FirstLayout),
)
NOT_TOLD = 2**64 - 1


def holders(n, handle):
    """Process numbers and bytes (None: not told) on one card, by the newest list that this driver has."""
    for name, layout in PROCESS_LISTS:
        function = getattr(n.nvmlLib, name, None)
        if function is not None:
            count = ctypes.c_uint(256)
            rows = (layout * count.value)()
            if function(handle, ctypes.byref(count), rows) != n.NVML_SUCCESS:
                return []
            return [(row.pid, None if row.memory == NOT_TOLD else row.memory) for row in rows[: count.value]]
    return []


def process(n, pid, memory):
    facts = {"pid": pid}
    if memory is not None:
        facts["memory"] = memory
    command = text(ask(n.nvmlSystemGetProcessName, pid))
    try:
        import psutil

        owner = psutil.Process(pid)
        facts["user"] = owner.username()
        facts["since"] = datetime.fromtimestamp(owner.create_time(), timezone.utc).isoformat(timespec="seconds")
        command = " ".join(owner.cmdline())[:300] or command
    except Exception:  # noqa: BLE001 - another user's or another container's process: what NVML says is all there is
        pass
    if command:
        facts["command"] = command
    return facts


def driver_library():
    """The same, thinner, from libcuda: for machines where NVML is missing or refuses."""
    library, problem = load_first(("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"))
    if library is None:
        return {"state": "absent" if missing(problem) else "error", "text": problem}
    code = library.cuInit(0)
    number = ctypes.c_int()
    facts = {"state": "works" if code == 0 else "error", "code": code, "library": library_file("libcuda.so")}
    if library.cuDriverGetVersion(ctypes.byref(number)) == 0:
        facts["cuda"] = number.value
    if code != 0:
        return facts
    library.cuDeviceGetCount(ctypes.byref(number))
    facts["gpus"] = [driver_card(library, index) for index in range(number.value)]
    return facts


def driver_card(library, index):
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    library.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, 256, device)
    library.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    facts = {"index": index, "name": text(name.value), "capability": "%d.%d" % (major.value, minor.value)}
    total = ctypes.c_size_t()
    if library.cuDeviceTotalMem_v2(ctypes.byref(total), device) == 0:
        facts["memory_total"] = total.value
    return facts


def main():
    facts = {"nvml": nvml()}
    if facts["nvml"]["state"] != "works":
        try:
            facts["libcuda"] = driver_library()
        except AttributeError as error:
            facts["libcuda"] = {"state": "error", "text": str(error)}
    sys.stdout.write(sys.argv[1] + json.dumps(facts) + sys.argv[1] + "\n")


if __name__ == "__main__":
    main()

"""Asks the NVIDIA driver through NVML, else through the driver library; JSON between two cookies (argument 1).

Run in a process of its own by envfix's own interpreter, because these libraries may hang or crash; on a node of a cluster by
whatever Python is there, so that the syntax is that of Python 2.7.
"""

import ctypes
import errno
import glob
import json
import os
import re
import stat
import sys
import time

LIBRARY_NAMES = ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
CUDA_NAMES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1")


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
    try:
        handle = n.nvmlDeviceGetHandleByIndex(index)
    except n.NVMLError as error:
        return {"index": index, "name": "", "code": getattr(error, "value", None), "problem": str(error)}
    facts = {"index": index, "name": text(ask(n.nvmlDeviceGetName, handle)) or "", "uuid": text(ask(n.nvmlDeviceGetUUID, handle))}
    capability = ask(n.nvmlDeviceGetCudaComputeCapability, handle)
    if capability:
        facts["capability"] = "%d.%d" % tuple(capability)
    memory = ask(n.nvmlDeviceGetMemoryInfo, handle)
    if memory:
        facts["memory_total"], facts["memory_free"] = int(memory.total), int(memory.free)
    reserved = memory_reserved(n, handle)
    if reserved is not None:
        facts["memory_reserved"] = reserved
    pci = ask(n.nvmlDeviceGetPciInfo, handle)
    if pci:
        facts["pci_bus"] = text(pci.busId)
        facts["pci_id"] = "%04x:%04x" % (pci.pciDeviceId & 0xFFFF, pci.pciDeviceId >> 16)
    mig = ask(n.nvmlDeviceGetMigMode, handle)
    if mig:
        facts["mig"] = bool(mig[0])
        facts["mig_instances"] = mig_instances(n, handle) if mig[0] else []
    facts.update(state(n, handle))
    now = activity(n, handle)
    if now:
        facts["activity"] = now
    facts["processes"] = [process(n, pid, memory) for pid, memory in holders(n, handle)]
    return facts


def memory_reserved(n, handle):
    """What the driver keeps for itself; drivers before 510 do not tell it apart."""
    if not hasattr(n, "nvmlMemory_v2"):
        return None
    told = ask(n.nvmlDeviceGetMemoryInfo, handle, n.nvmlMemory_v2)
    return None if told is None else int(told.reserved)


# NVML's bits, in the words of `nvidia-smi -q -d PERFORMANCE`.
SLOWED_BY = (
    (0x1, "idle"),
    (0x2, "clocks set by hand"),
    (0x4, "power limit"),
    (0x8, "hardware slowdown"),
    (0x10, "sync boost"),
    (0x20, "heat"),
    (0x40, "heat (hardware)"),
    (0x80, "power brake"),
    (0x100, "display clocks"),
)
UNKNOWN_STATE = 32


def activity(n, handle):
    """What the card does now; a field that the driver refuses is left out."""
    state = ask(n.nvmlDeviceGetPerformanceState, handle)
    busy = ask(n.nvmlDeviceGetUtilizationRates, handle)
    power, limit = ask(n.nvmlDeviceGetPowerUsage, handle), ask(n.nvmlDeviceGetEnforcedPowerLimit, handle)
    slowed = ask(n.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    facts = {
        "performance_state": None if state == UNKNOWN_STATE else state,
        "utilization": None if busy is None else int(busy.gpu),
        "temperature": ask(n.nvmlDeviceGetTemperature, handle, n.NVML_TEMPERATURE_GPU),
        "fan": ask(n.nvmlDeviceGetFanSpeed, handle),
        "power": None if power is None else power / 1000.0,
        "power_limit": None if limit is None else limit / 1000.0,
        "slowed_by": None if slowed is None else [name for bit, name in SLOWED_BY if slowed & bit],
    }
    return {key: value for key, value in facts.items() if value is not None}


def mig_instances(n, handle):
    """The slices of a card; positions may be empty."""
    instances = []
    for position in range(ask(n.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = ask(n.nvmlDeviceGetMigDeviceHandleByIndex, handle, position)
        uuid = text(ask(n.nvmlDeviceGetUUID, part)) if part is not None else None
        if uuid:
            memory = ask(n.nvmlDeviceGetMemoryInfo, part)
            told = {"memory_total": int(memory.total), "memory_free": int(memory.free)} if memory else {}
            instances.append(dict(told, uuid=uuid, name=text(ask(n.nvmlDeviceGetName, part))))
    return instances


COMPUTE_MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")
VIRTUALIZATION = ("none", "passthrough", "vgpu", "host-vgpu", "host-vsga")
FABRIC = ("not-supported", "not-started", "in-progress", "completed")


def word(words, number):
    """The word for one of NVML's numbers; None for a number of a later age."""
    return words[number] if number is not None and 0 <= number < len(words) else None


def state(n, handle):
    """What keeps a program off a card that is there: modes, faults of its memory, a licence, the fabric."""
    ecc = ask(n.nvmlDeviceGetEccMode, handle)
    virtualization = word(VIRTUALIZATION, ask(n.nvmlDeviceGetVirtualizationMode, handle))
    facts = {
        "compute_mode": word(COMPUTE_MODES, ask(n.nvmlDeviceGetComputeMode, handle)),
        "persistence": yes(ask(n.nvmlDeviceGetPersistenceMode, handle)),
        "display_active": yes(ask(n.nvmlDeviceGetDisplayActive, handle)),
        "ecc": yes(ecc[0]) if ecc else None,
        "repair": repair(n, handle),
        "virtualization": virtualization,
        "licensed": licensed(n, handle) if virtualization == "vgpu" else None,
        "fabric": fabric(n, handle),
    }
    if facts["ecc"]:
        facts["ecc_errors"] = ask(n.nvmlDeviceGetTotalEccErrors, handle, n.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, n.NVML_VOLATILE_ECC)
    return {key: value for key, value in facts.items() if value is not None}


def yes(number):
    return None if number is None else bool(number)


def repair(n, handle):
    """Damaged memory that waits for a reset, or that can no longer be replaced."""
    rows = ask(n.nvmlDeviceGetRemappedRows, handle)  # since Ampere: corrected, uncorrected, pending, failed
    if rows is not None:
        return "failed" if rows[3] else "pending" if rows[2] else None
    return "pending" if ask(n.nvmlDeviceGetRetiredPagesPendingStatus, handle) else None


def licensed(n, handle):
    """Whether a virtual card has its licence; None where the driver does not say."""
    answer = ask(n.nvmlDeviceGetGridLicensableFeatures_v4, handle)
    if answer is None or not answer.isGridLicenseSupported:
        return None
    return any(answer.gridLicensableFeatures[i].featureState for i in range(min(answer.licensableFeaturesCount, 3)))


def fabric(n, handle):
    if not hasattr(n, "c_nvmlGpuFabricInfo_t"):
        return None
    info = n.c_nvmlGpuFabricInfo_t()
    if ask(n.nvmlDeviceGetGpuFabricInfo, handle, ctypes.byref(info)) is None:
        return None
    return word(FABRIC, info.state)


class FirstLayout(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong)]


class SecondLayout(ctypes.Structure):
    _fields_ = FirstLayout._fields_ + [("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]


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


# The inode of the first process number space since Linux 3.8: what every process outside a container has.
FIRST_PID_SPACE = "pid:[4026531836]"


def is_that_process(pid):
    """Whether the process of this number here is the one that the driver means.

    In a container the driver may tell the host's numbers, which here belong to others or to nobody: then only a process
    that has the driver's library in its memory is believed to be meant.
    """
    try:
        if os.readlink("/proc/self/ns/pid") == FIRST_PID_SPACE:
            return True
    except (OSError, AttributeError):
        return True
    try:
        with open("/proc/%d/maps" % pid) as stream:
            return any("libcuda" in line or "/dev/nvidia" in line for line in stream)
    except OSError:
        return False


def process(n, pid, memory):
    facts = {"pid": pid}
    if memory is not None:
        facts["memory"] = memory
    if not is_that_process(pid):
        return facts
    command = text(ask(n.nvmlSystemGetProcessName, pid))
    try:
        import psutil

        owner = psutil.Process(pid)
        facts["user"] = owner.username()
        facts["own"] = owner.uids().real == os.getuid()
        facts["since"] = moment(owner.create_time())
        command = " ".join(owner.cmdline())[:300] or command
    except ImportError:  # on a node of a cluster, where nothing is installed
        command = from_proc(pid, facts) or command
    except Exception:  # noqa: BLE001 - another user's or another container's process: what NVML says is all there is
        pass
    if command:
        facts["command"] = command
    return facts


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))


def from_proc(pid, facts):
    """Owner and start of a process from the kernel's own files, and its command line; as far as they may be read."""
    folder = "/proc/%d" % pid
    try:
        owner = os.stat(folder).st_uid
        facts["user"], facts["own"] = account(owner), owner == os.getuid()
        with open("/proc/stat") as stream:
            booted = [int(line.split()[1]) for line in stream if line.startswith("btime ")][0]
        with open(folder + "/stat") as stream:
            ticks = int(stream.read().rpartition(")")[2].split()[19])
        facts["since"] = moment(booted + ticks // os.sysconf("SC_CLK_TCK"))
        with open(folder + "/cmdline", "rb") as stream:
            return stream.read(4000).decode("utf-8", "replace").replace("\0", " ").strip()[:300]
    except (OSError, IOError, ValueError, IndexError):  # noqa: UP024 - two kinds in Python 2
        return None


def driver_library(initialise):
    """Which libcuda the loader takes and the CUDA it serves; when NVML does not work also the cards it sees, and why not."""
    library, problem = load_first(CUDA_NAMES)
    if library is None:
        return {"state": "absent" if missing(problem) else "error", "text": problem}
    number = ctypes.c_int()
    facts = {"state": "works", "library": library_file("libcuda.so")}
    if library.cuDriverGetVersion(ctypes.byref(number)) == 0:
        facts["cuda"] = number.value
    if not initialise:
        return facts
    facts["code"] = code = library.cuInit(0)
    if code != 0:
        facts["state"] = "error"
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


def device_files(pattern="/dev/nvidia*"):
    """Who may use the driver's device files."""
    if sys.platform == "win32":
        return []
    mine, rows = set(os.getgroups()) | {os.getegid()}, []
    for path in sorted(glob.glob(pattern)):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode):
            continue
        rows.append(
            {
                "path": path,
                "mode": file_mode(status.st_mode),
                "owner": account(status.st_uid),
                "group": group_name(status.st_gid),
                "usable": os.access(path, os.R_OK | os.W_OK),
                "in_group": status.st_gid in mine,
                "listed": listed_in(status.st_gid),
            }
        )
    return rows


def file_mode(mode):
    """As ``ls`` writes it: ``crw-rw----``."""
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p", stat.S_IFSOCK: "s"}.get(stat.S_IFMT(mode), "-")
    return kind + "".join(sign if mode & (0o400 >> at) else "-" for at, sign in enumerate("rwxrwxrwx"))


def account(number):
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number):
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def listed_in(number):
    """Whether this user's account is entered in the group, be it for the next login only."""
    import grp
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name in grp.getgrgid(number).gr_mem
    except KeyError:
        return False


def control_error(path="/dev/nvidiactl"):
    """The error number of opening the control device, None when it opens: 1 a control group forbids it, 2 not there, 13 its mode."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return error.errno
    return None


TELLING = re.compile(r"NVRM: .*(?:Xid|fallen off the bus|GPU is lost|RmInitAdapter failed|API mismatch|probe routine was not called|GSP)")
LONGEST_LOOK = 0.2


def kernel_log(path="/dev/kmsg", kept=12):
    """What the driver complained about in the kernel's log since the start, the last of it; empty where it may not be read."""
    try:
        stream = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, AttributeError):
        return []
    said, until = {}, time.time() + LONGEST_LOOK
    try:
        while time.time() < until:
            try:
                record = os.read(stream, 8192)
            except OSError as error:
                if error.errno != errno.EPIPE:
                    break  # no more records
                continue  # the oldest records were overwritten meanwhile
            if not record:
                break
            line = record.decode("utf-8", "replace").partition(";")[2].partition("\n")[0]
            if TELLING.search(line):
                said.pop(line[:300], None)
                said[line[:300]] = True
    finally:
        os.close(stream)
    return list(said)[-kept:]


def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def main():
    facts = {"nvml": nvml(), "files": device_files()}
    works = facts["nvml"]["state"] == "works"
    if not works and facts["files"]:
        facts["control_error"] = control_error()
    if facts["nvml"]["state"] != "absent" or os.path.isdir("/proc/driver/nvidia"):
        facts["kernel_log"] = kernel_log()
    # Said once before: the next library may crash or hang, and what is known by now must not be lost with it.
    answer(dict(facts, libcuda={"state": "error", "text": "libcuda-ended-its-process"}))
    try:
        facts["libcuda"] = driver_library(initialise=not works)
    except AttributeError as error:
        facts["libcuda"] = {"state": "error", "text": str(error), "library": library_file("libcuda.so")}
    if os.path.isdir("/usr/lib/wsl/lib"):
        facts["libcuda_bare"] = loads("libcuda.so")
    answer(facts)


def answer(facts):
    sys.stdout.write(sys.argv[1] + json.dumps(facts) + sys.argv[1] + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

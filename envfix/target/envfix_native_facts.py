"""What the compiled files of torch, and of what is built on it, need and offer; run by envfix_interpreter_facts.py."""

import sys

import glob
import json
import mmap
import os
import re
import struct

DAMAGED = (OSError, ValueError, IndexError, OverflowError, struct.error)
# In the order in which most names are found.
TORCH_LIBRARIES = (
    "libc10.so", "libtorch_cpu.so", "libtorch_python.so", "libc10_cuda.so", "libtorch_cuda.so", "libtorch_cuda_cpp.so",
    "libtorch_cuda_cu.so", "libtorch.so",
)  # fmt: skip
# The libraries by which a package stands or falls; others are loaded only for a purpose (video, one of many CUDA releases).
BUILT_ON_TORCH = {
    "torchvision": ("_C*.so",),
    "torchaudio": ("lib/libtorchaudio.so", "lib/_torchaudio.so", "_torchaudio.so"),
    "torchtext": ("lib/libtorchtext.so",),
    "xformers": ("_C*.so",),
    "mmcv": ("_ext*.so",),
    "detectron2": ("_C*.so",),
    "pytorch3d": ("_C*.so",),
    "torch_scatter": ("_*_cpu.so", "_*_cuda.so"),
    "torch_sparse": ("_*_cpu.so", "_*_cuda.so"),
    "torch_cluster": ("_*_cpu.so", "_*_cuda.so"),
    "torch_spline_conv": ("_*_cpu.so", "_*_cuda.so"),
    "pyg_lib": ("libpyg.so",),
    "natten": ("_C*.so", "libnatten*.so"),
}
OTHERS = {"cv2": ("cv2*.so", "python-3*/cv2*.so"), "onnxruntime": ("capi/libonnxruntime_providers_cuda.so",)}
BY_DRIVER = re.compile(r"lib(cuda|nvidia-[\w-]+|nvcuvid)\.so\.1$")
CUDA_MAJOR = re.compile(r"lib(?:cudart|cublas)(?:-[0-9a-f]+)?\.so\.(\d+)")
CUDA_LIBRARY = re.compile(
    r"lib(cudart|cublas|cublasLt|cudnn\w*|nccl|nvJitLink|cusparse|cusparseLt|cufft|curand|cusolver|nvrtc|cupti)\b[^/]*\.so"
)
TORCH_NAME = re.compile(br"_ZNK?S?(3c10|2at|5torch)")
CPU_FLAGS = {"sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f"}
WANTS_PKG_RESOURCES = ("ultralytics/utils/checks.py", "ultralytics/yolo/utils/checks.py", "torch/utils/cpp_extension.py")
FATBIN = struct.pack("<I", 0xBA55ED50)


class Elf:
    """The dynamic part of a 64-bit little-endian ELF file; raises one of DAMAGED for anything else."""

    def __init__(self, path):
        with open(path, "rb") as stream:
            self.data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        self.path = path
        self.loads, entries = [], []
        start, size, count = self.at("<Q", 32)[0], self.at("<H", 54)[0], self.at("<H", 56)[0]
        for number in range(min(count, 200)):
            kind, _, offset, address, _, length = self.at("<IIQQQQ", start + number * size)
            if kind == 1:
                self.loads.append((address, offset, length))
            elif kind == 2:
                entries = list(struct.iter_unpack("<qQ", self.data[offset : offset + length // 16 * 16]))
        if not entries:
            raise ValueError("nothing is told about linking")
        self.tags = dict(entries)
        self.strings = self.offset(self.tags[5]) if 5 in self.tags else 0
        self.needs = [self.text(value) for tag, value in entries if tag == 1]
        self.search = [
            entry.replace("$ORIGIN", os.path.dirname(path)).replace("${ORIGIN}", os.path.dirname(path))
            for tag, value in entries
            if tag in (15, 29)
            for entry in self.text(value).split(":")
        ]

    def at(self, form, offset):
        return struct.unpack_from(form, self.data, offset)

    def offset(self, address):
        for start, offset, length in self.loads:
            if start <= address < start + length:
                return address - start + offset
        raise ValueError("an address outside the file")

    def text(self, place):
        return self.name(place).decode("utf-8", "replace")

    def name(self, place):
        start = self.strings + place
        end = self.data.find(b"\0", start, start + 8192)
        if end == -1:
            raise ValueError("a name without an end")
        return self.data[start:end]

    def newest(self, prefix):
        """The newest version of a library (GLIBC_ or GLIBCXX_) that this file asks for."""
        if 0x6FFFFFFE not in self.tags:
            return None
        place, seen = self.offset(self.tags[0x6FFFFFFE]), set()
        for _ in range(min(self.tags.get(0x6FFFFFFF, 0), 200)):
            _, count, _, auxiliary, following = self.at("<HHIII", place)
            entry = place + auxiliary
            for _ in range(min(count, 200)):
                _, _, _, name, step = self.at("<IHHII", entry)
                seen.add(self.text(name))
                entry += step
            place += following
        return newest(prefix, seen)

    def offered(self, prefix):
        """The newest version of itself that a library offers, by the names in its string table."""
        table = self.data[self.strings : self.strings + min(self.tags.get(10, 0), 4000000)]
        found = re.findall(re.escape(prefix).encode() + br"[0-9.]+(?=\0)", table)
        return newest(prefix, {name.decode() for name in found})

    def wanted_names(self, pattern):
        """Undefined symbols whose names match; with a GNU hash table they come before all others."""
        if 0x6FFFFEF5 not in self.tags:
            return
        first = self.at("<I", self.offset(self.tags[0x6FFFFEF5]) + 4)[0]
        table = self.offset(self.tags[6])
        for number in range(1, min(first, 20000)):
            name, info, _, section = self.at("<IBBH", table + number * 24)
            if section == 0 and info >> 4 == 1:
                symbol = self.name(name)
                if pattern.match(symbol):
                    yield symbol

    def has_hash(self):
        return 0x6FFFFEF5 in self.tags and 6 in self.tags

    def has(self, symbol, number):
        """Whether it defines a symbol, by its GNU hash table; ``number`` is the symbol's hash."""
        table, symbols = self.offset(self.tags[0x6FFFFEF5]), self.offset(self.tags[6])
        buckets, first, bloom, shift = self.at("<IIII", table)
        word = self.at("<Q", table + 16 + (number // 64) % bloom * 8)[0]
        if not (word >> number % 64) & (word >> (number >> shift) % 64) & 1:
            return False
        start = table + 16 + bloom * 8
        index = self.at("<I", start + number % buckets * 4)[0]
        while index >= first:
            chained = self.at("<I", start + buckets * 4 + (index - first) * 4)[0]
            if chained | 1 == number | 1 and self.name(self.at("<I", symbols + index * 24)[0]) == symbol:
                return True
            if chained & 1:
                break
            index += 1
        return False

    def section(self, wanted):
        """Begin and end of a named section in the file, or None."""
        start, (size, count, names) = self.at("<Q", 40)[0], self.at("<HHH", 58)
        table = self.at("<Q", start + names * size + 24)[0]
        for number in range(min(count, 200)):
            name, kind, _, _, offset, length = self.at("<IIQQQQ", start + number * size)
            if kind != 8 and self.data[table + name : table + name + len(wanted) + 1] == wanted + b"\0":
                return offset, offset + length
        return None


def newest(prefix, names):
    """The highest of names such as GLIBC_2.17, without the prefix."""
    numbers = [name[len(prefix) :] for name in names if re.match(re.escape(prefix) + r"\d+(\.\d+)*$", name)]
    return max(numbers, key=lambda text: [int(part) for part in text.split(".")]) if numbers else None


def gnu_hash(symbol):
    number = 5381
    for letter in symbol:
        number = (number * 33 + letter) & 0xFFFFFFFF
    return number


def architectures(elf):
    """SM names of the GPU code inside: what was compiled (sm_86) and what is portable (compute_86); None without GPU code."""
    place = elf.section(b".nv_fatbin")
    if place is None:
        return None
    found, (at, end) = set(), place
    for _ in range(4000):
        at = elf.data.find(FATBIN, at, end)
        if at == -1:
            break
        header, payload = elf.at("<H", at + 6)[0], elf.at("<Q", at + 8)[0]
        entry, stop = at + header, min(at + header + payload, end)
        while entry + 32 <= stop:
            kind, size, length = elf.at("<H", entry)[0], elf.at("<I", entry + 4)[0], elf.at("<Q", entry + 8)[0]
            if kind in (1, 2):
                found.add("%s_%d" % ("compute" if kind == 1 else "sm", elf.at("<I", entry + 28)[0]))
            if size + length == 0:
                break
            entry += size + length
        at = max(stop, at + 16)
    return sorted(found)


def listed(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


class Loader:
    """Where the dynamic loader looks for libraries, in its order, and what torch's own import makes known beforehand."""

    def __init__(self, folders, torch):
        self.folders, self.names = folders, {}
        self.first = [entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]  # noqa: TID251 - no Host in the target
        self.prefix = [os.path.join(sys.prefix, "lib"), os.path.join(getattr(sys, "base_prefix", sys.prefix), "lib")]
        self.system = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
        try:
            with open("/etc/ld.so.cache", "rb") as stream:
                self.cache = stream.read(4000000)
        except OSError:
            self.cache = None
        self.with_torch = [os.path.join(torch, "lib")] if torch else []
        for folder in folders:
            vendor = os.path.join(folder, "nvidia")
            self.with_torch += [os.path.join(vendor, name, "lib") for name in sorted(listed(vendor))]
        self.beforehand = list(self.with_torch)
        for folder in folders:
            self.beforehand += [os.path.join(folder, name) for name in sorted(listed(folder)) if name.endswith(".libs")]
        # A wheel renames what it brings (libcudart-80664282.so.10.2); once loaded, it answers to its own name.
        names = [(re.sub(r"[-.][0-9a-f]{8}(?=\.so)", "", name), name) for folder in self.beforehand for name in listed(folder)]
        self.renamed = {plain for plain, name in names if plain != name}

    def holds(self, folder, name):
        if folder not in self.names:
            self.names[folder] = set(listed(folder))
        # A link whose end was moved away does not help.
        return name in self.names[folder] and os.path.exists(os.path.join(folder, name))

    def near(self, name, elf):
        """The file of this name that came with the target's packages, or None."""
        for folder in elf.search + [os.path.dirname(elf.path)] + self.beforehand:
            if self.holds(folder, name):
                return os.path.join(folder, name)
        return None

    def finds(self, name, elf):
        if name in self.renamed or (name.startswith("/") and os.path.exists(name)) or self.near(name, elf) or any(self.holds(folder, name) for folder in self.first + self.prefix + self.system):
            return True
        word = name.encode() + b"\0"
        return b"\0" + word in self.cache or b"/" + word in self.cache

    def unresolved(self, elf, deep):
        """Needed libraries that lie nowhere; ``deep`` looks also at what the libraries beside it need."""
        if self.cache is None:
            return []
        missing, seen, queue = [], set(), [elf]
        while queue and len(seen) < 400:
            one = queue.pop()
            for name in one.needs:
                if name in seen or BY_DRIVER.match(name) or name.startswith(("libpython", "ld-linux")):
                    continue
                seen.add(name)
                path = self.near(name, one)
                if path is None and not self.finds(name, one):
                    missing.append(name)
                elif path and deep:
                    try:
                        queue.append(Elf(path))
                    except DAMAGED:
                        pass
        return missing


def missing_symbols(elf, loader, torch_libraries):
    """Some names that it takes from torch and that no library at hand has; None where that cannot be told."""
    if not torch_libraries or not elf.has_hash():
        return None
    holders = list(torch_libraries)
    known = {os.path.basename(holder.path) for holder in holders}
    for name in elf.needs:
        path = None if name in known else loader.near(name, elf)
        if path and not CUDA_LIBRARY.search(name):
            holders.append(Elf(path))
    if not all(holder.has_hash() for holder in holders):
        return None
    missing = []
    for symbol in elf.wanted_names(TORCH_NAME):
        number = gnu_hash(symbol)
        if not any(holder.has(symbol, number) for holder in holders):
            missing.append(symbol.decode("ascii", "replace"))
            if len(missing) == 3:
                break
    return missing


def describe(path, package, loader, torch_libraries, deep=False):
    """What one library needs, or None for a file that is no readable ELF library."""
    try:
        elf = Elf(path)
        built_on_torch = any(re.match(r"lib(c10|torch)", name) for name in elf.needs)
        majors = [int(match.group(1)) for match in map(CUDA_MAJOR.match, elf.needs) if match]
        row = {
            "path": path,
            "package": package,
            "needs": elf.needs[:60],
            "unresolved": loader.unresolved(elf, deep)[:10],
            "cuda": max(majors) if majors else None,
            "glibc": elf.newest("GLIBC_"),
            "glibcxx": elf.newest("GLIBCXX_"),
        }
        if package != "torch" and built_on_torch:
            row["missing_symbols"] = missing_symbols(elf, loader, torch_libraries)
            row["architectures"] = architectures(elf)
        return row
    except DAMAGED:
        return None


def package_folder(name, folders):
    for folder in folders:
        place = os.path.join(folder, name)
        if os.path.isfile(os.path.join(place, "__init__.py")):
            return place
    return None


def files(loader, torch, folders):
    libraries = [os.path.join(torch, "lib", name) for name in TORCH_LIBRARIES] if torch else []
    rows = [describe(path, "torch", loader, ()) for path in libraries if os.path.exists(path)]
    opened = []
    for path in libraries:
        try:
            opened.append(Elf(path))
        except DAMAGED:
            pass
    for package, patterns in sorted(BUILT_ON_TORCH.items()) + sorted(OTHERS.items()):
        place = package_folder(package, folders)
        for pattern in patterns if place else ():
            for path in sorted(glob.glob(os.path.join(glob.escape(place), pattern)))[:8]:
                rows.append(describe(path, package, loader, opened, deep=package == "cv2"))
    for folder in folders:
        # Extensions without a package of their own, such as flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so.
        names = sorted(name for name in listed(folder) if "cuda" in name and name.endswith(".so"))
        for name in names[:12]:
            row = describe(os.path.join(folder, name), name.split(".")[0], loader, opened)
            if row and any(name.startswith(("libc10", "libtorch")) for name in row["needs"]):
                rows.append(row)
    return [row for row in rows if row]


def cpp_libraries(loader):
    """Copies of libstdc++ in the order of the loader, the system's last."""
    paths = [os.path.join(folder, "libstdc++.so.6") for folder in loader.first + loader.prefix[:1]]
    match = re.search(br"\0(/[^\0]+/libstdc\+\+\.so\.6)\0", loader.cache or b"")
    paths += [match.group(1).decode("utf-8", "replace")] if match else []
    rows = []
    for path in paths:
        if os.path.exists(path) and path not in [row["path"] for row in rows]:
            try:
                rows.append({"path": path, "glibcxx": Elf(path).offered("GLIBCXX_")})
            except DAMAGED:
                rows.append({"path": path, "glibcxx": None})
    return rows


def openmp(folders):
    """Different copies of the Intel or LLVM OpenMP library, of which a process bears only one."""
    places = [os.path.join(sys.prefix, "lib"), os.path.join(sys.prefix, "Library", "bin")]
    for folder in folders:
        places += [os.path.join(folder, "torch", "lib"), os.path.join(folder, "torch", ".dylibs")]
        places += [os.path.join(folder, name) for name in listed(folder) if name.endswith(".libs")]
    found = {}
    for place in places:
        for name in listed(place):
            if name.startswith(("libiomp5", "libomp.")) and name.endswith((".so", ".dylib", ".dll")):
                path = os.path.join(place, name)
                found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            match = re.search(r"^flags\s*:(.*)$", stream.read(20000), re.MULTILINE)
    except OSError:
        return None
    return sorted(CPU_FLAGS & set(match.group(1).split())) if match else None


def built_for(folders):
    """xformers writes down for which torch its libraries were compiled."""
    place = package_folder("xformers", folders)
    try:
        with open(os.path.join(place or "", "cpp_lib.json"), encoding="utf-8") as stream:
            said = json.loads(stream.read(200000))["version"]["torch"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {"xformers": str(said)[:40]}


def wants_pkg_resources(folders):
    """Packages whose start imports pkg_resources, which setuptools no longer has."""
    found = []
    for name in WANTS_PKG_RESOURCES:
        place = package_folder(name.split("/")[0], folders)
        try:
            with open(os.path.join(os.path.dirname(place or ""), *name.split("/")), encoding="utf-8", errors="replace") as stream:
                if place and re.search(r"^(import|from) pkg_resources\b", stream.read(200000), re.MULTILINE):
                    found.append("torch.utils.cpp_extension" if name.startswith("torch") else "ultralytics")
        except OSError:
            pass
    return sorted(set(found))


def native(folders):
    """All of it, for the folders on the path."""
    torch = package_folder("torch", folders)
    loader = Loader(folders, torch)
    has_pkg_resources = package_folder("pkg_resources", folders) is not None
    return {
        "files": files(loader, torch, folders),
        "cpp_libraries": cpp_libraries(loader),
        "openmp": openmp(folders),
        "bundled": sorted({name for folder in loader.with_torch for name in listed(folder) if CUDA_LIBRARY.match(name)}),
        "built_for": built_for(folders),
        "pkg_resources": has_pkg_resources,
        "pkg_resources_wanted_by": [] if has_pkg_resources else wants_pkg_resources(folders),
        "cpu_flags": cpu_flags(),
    }

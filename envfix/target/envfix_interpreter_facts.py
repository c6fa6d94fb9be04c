"""Prints what this interpreter is and which distributions lie on its path, as JSON between two cookies (argument 1)."""

import sys

if sys.version_info < (3, 6):  # noqa: UP036 - the target may be any Python
    sys.stdout.write('%s{"too_old": "%d.%d.%d"}%s\n' % ((sys.argv[1],) + tuple(sys.version_info[:3]) + (sys.argv[1],)))
    sys.exit(88)

import ast
import json
import mmap
import os
import re
import site
import struct
import sysconfig

FAMILY = re.compile(
    r"^(torch|torchvision|torchaudio|torchtext|triton|pytorch[-_.]triton|numpy|ultralytics|opencv[-_.].*|nvidia[-_.].*|pip|setuptools"
    r"|xformers|flash[-_.]attn|mmcv([-_.](full|lite))?|torch[-_.](scatter|sparse|cluster|spline[-_.]conv)|pyg[-_.]lib|detectron2"
    r"|pytorch3d|natten|bitsandbytes|onnxruntime([-_.]gpu)?)$",
    re.IGNORECASE,
)
CODE = re.compile(r"\.(py|pyd|dll|dylib|so(\.[0-9.]+)?)$")
LIBRARY = re.compile(r"\.(pyd|dll|dylib|so(\.[0-9.]+)?)$")
ON_TORCH = re.compile(r"^Requires-Dist: *((?:torch|torchvision|torchaudio)\b(?![-_.]).*?)\s*$", re.MULTILINE)
CONDA_FAMILY = re.compile(
    r"^(pytorch(-cuda|-mutex|-cpu|-gpu)?|libtorch|torchvision|torchaudio|cudatoolkit|cpuonly|cudnn|mkl|intel-openmp|llvm-openmp"
    r"|_openmp_mutex|numpy|libstdcxx-ng|libstdcxx)$"
)
CONDA_RECORD = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)\.json$")
METADATA_FOLDER = re.compile(r"^(?P<name>[A-Za-z0-9._]+?)-(?P<version>[0-9][^-]*)(-py[0-9.]+)?\.(dist-info|egg-info)$")
SM_LIST = re.compile(br"((?:sm|compute)_\d+[a-z]?(?: (?:sm|compute)_\d+[a-z]?)*)\x00")
PTX_BEFORE = re.compile(br"(?:compute_\d+[a-z]? )+$")


# Where modules are looked for; the folder of this script comes first, unless PYTHONSAFEPATH keeps it out.
HERE = os.path.dirname(os.path.abspath(__file__))
SEARCH_PATH = [entry for entry in sys.path if entry and entry != HERE]


def interpreter():
    """Version, tags, prefix and where packages come from."""
    soabi = sysconfig.get_config_var("SOABI") or ""
    user_site = None
    try:
        user_site = site.getusersitepackages()
    except Exception:  # noqa: BLE001 - sites with a broken HOME raise all kinds; the rest of the facts still count
        pass
    paths = sysconfig.get_paths()
    stdlib = paths.get("stdlib", "")
    return {
        "executable": sys.executable,
        "version": "%d.%d.%d" % sys.version_info[:3],
        "releaselevel": sys.version_info[3],
        "implementation": sys.implementation.name,
        "soabi": soabi,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "platform": sysconfig.get_platform(),
        "bits": struct.calcsize("P") * 8,
        "prefix": sys.prefix,
        "base_prefix": getattr(sys, "base_prefix", sys.prefix),
        "conda_meta": os.path.isdir(os.path.join(sys.prefix, "conda-meta")),
        "conda_base": os.path.isdir(os.path.join(sys.prefix, "condabin")) or os.path.isdir(os.path.join(sys.prefix, "envs")),
        "site_packages": sorted({paths.get("purelib", ""), paths.get("platlib", "")} - {""}),
        "purelib_writable": os.access(paths.get("purelib", ""), os.W_OK),
        "user_site": user_site,
        "user_site_enabled": bool(site.ENABLE_USER_SITE),
        "externally_managed": os.path.exists(os.path.join(stdlib, "EXTERNALLY-MANAGED")),
        "path": SEARCH_PATH,
    }


def distributions(folders):
    """Every metadata folder on the path; for the torch family also installer, requirements and missing files."""
    seen = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            match = METADATA_FOLDER.match(name)
            if match:
                row = {"name": match.group("name"), "version": match.group("version"), "location": folder}
                metadata = os.path.join(folder, name)
                row.update(family_details(folder, metadata) if FAMILY.match(row["name"]) else what_it_asks_of_torch(metadata))
                seen.append(row)
            elif name.startswith("~"):
                seen.append({"name": name, "version": "0", "location": folder, "leftover": True})
    return seen


def head_of(metadata, limit=4000000):
    """The head of a METADATA or PKG-INFO; an egg-info may be that very file."""
    text = read(os.path.join(metadata, "METADATA"), limit) or read(os.path.join(metadata, "PKG-INFO"), limit) or read(metadata, limit) or ""
    return text.split("\n\n", 1)[0]


def what_it_asks_of_torch(metadata):
    requires = ON_TORCH.findall(head_of(metadata, 100000))
    return {"requires": requires, "metadata": os.path.basename(metadata), "modified": modified(metadata)} if requires else {}


def modified(path):
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def family_details(folder, metadata):
    details = {"metadata": os.path.basename(metadata), "modified": modified(metadata)}
    for key, name in (("installer", "INSTALLER"), ("direct_url", "direct_url.json")):
        text = read(os.path.join(metadata, name))
        if text is not None:
            details[key] = text.strip()[:2000]
    head = head_of(metadata)
    details["requires"] = re.findall(r"^Requires-Dist: *(.+?)\s*$", head, re.MULTILINE)
    version = re.search(r"^Version: *(\S+)", head, re.MULTILINE)
    if version:
        details["version"] = version.group(1)
    details["tags"] = re.findall(r"^Tag: *(\S+)", read(os.path.join(metadata, "WHEEL"), 20000) or "", re.MULTILINE)[:20]
    if os.path.basename(metadata).lower().startswith(("torchaudio-", "torchtext-")):
        values = constants(os.path.join(folder, os.path.basename(metadata).split("-")[0].lower(), "version.py")) or {}
        details["build"] = values.get("__version__")
    record = read(os.path.join(metadata, "RECORD"))
    if record is not None:
        entries = [line.rsplit(",", 2)[0].strip('"') for line in record.splitlines() if line.count(",") >= 2]
        details.update(compared(folder, entries))
    return details


def compared(folder, entries):
    """Files that an installer listed against those that are there, a listing a folder: many times faster than asking each."""
    # Bytecode is written and removed at will; everything else must be there.
    entries = [entry for entry in entries if not entry.endswith(".pyc")]
    listings, missing = {}, []
    for entry in entries:
        place, _, name = entry.rpartition("/")
        if place not in listings:
            try:
                listings[place] = set(os.listdir(os.path.join(folder, place)))
            except OSError:
                listings[place] = set()
        if name not in listings[place]:
            missing.append(entry)
    code = [entry for entry in missing if CODE.search(entry)]
    code.sort(key=lambda entry: (not LIBRARY.search(entry), entry.count("/"), entry))
    return {
        "listed_files": len(entries),
        "missing_files": len(missing),
        "missing_code": len(code),
        "missing_examples": (code or sorted(missing))[:5],
    }


def conda_records():
    """What conda believes to be installed of the torch family, in this prefix and in the active one; None without conda."""
    rows, seen = [], False
    for prefix in dict.fromkeys([sys.prefix, os.environ.get("CONDA_PREFIX") or sys.prefix]):  # noqa: TID251 - no Host in the target
        try:
            names = sorted(os.listdir(os.path.join(prefix, "conda-meta")))
        except OSError:
            continue
        seen = True
        for name in names:
            match = CONDA_RECORD.match(name)
            if match and CONDA_FAMILY.match(match.group("name")):
                rows.append(conda_record(prefix, name, match.groupdict()))
    return rows if seen else None


def conda_record(prefix, name, row):
    row["prefix"] = prefix
    text = read(os.path.join(prefix, "conda-meta", name), 40000000)
    try:
        said = json.loads(text or "")
        row["channel"] = str(said.get("channel") or "") or None
        row.update(compared(prefix, [str(entry) for entry in said.get("files") or ()]))
    except (ValueError, AttributeError, TypeError):
        pass  # half-written: its name says what it is
    return row


def read(path, limit=4000000):
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(limit)
    except OSError:
        return None


def constants(path):
    """The plain values assigned at the top of a version.py, annotated or not."""
    text = read(path)
    if text is None:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    values = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                try:
                    values[target.id] = ast.literal_eval(value)
                except (ValueError, TypeError):
                    pass
    return {key: value for key, value in values.items() if value is None or isinstance(value, str)}


def package_folder(name, folders):
    """Where a package would be imported from: Python prefers any with __init__.py to a bare folder, which may be a leftover."""
    places = [os.path.join(folder, name) for folder in folders if os.path.isdir(os.path.join(folder, name))]
    whole = [place for place in places if os.path.isfile(os.path.join(place, "__init__.py"))]
    return (whole + places + [None])[0]


def torch_build(folders):
    """Version, CUDA and the architectures of an installed torch, from its files alone."""
    place = package_folder("torch", folders)
    if place is None:
        return None
    facts = {"location": place, "version_file": constants(os.path.join(place, "version.py"))}
    for library in ("libtorch_python.so", "libtorch_cuda.so", "torch_python.dll"):
        path = os.path.join(place, "lib", library)
        if os.path.isfile(path):
            facts["library"] = library
            words = architectures(path)
            if words:
                facts["architectures"] = words
                break
    return facts


def architectures(path):
    """The longest list of SM names in a library: what torch.cuda.get_arch_list() prints."""
    try:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = list(sm_lists(data))
    except (OSError, ValueError):
        return None
    return max(found, key=len).split() if found else []


def sm_lists(data):
    """Words sm_NN and compute_NN up to a zero byte: several, or one alone between zero bytes.

    Searched by a fixed text first: that takes 30 ms in 30 MB, a regular expression over all of it takes 900.
    """
    at = data.find(b"sm_")
    while at != -1:
        before = PTX_BEFORE.search(data[max(0, at - 200) : at])
        start = at - len(before.group(0)) if before else at
        match = SM_LIST.match(data, start)
        if match and (b" " in match.group(1) or data[start - 1 : start] == b"\x00"):
            yield match.group(1).decode()
        at = data.find(b"sm_", max(at + 3, match.end() if match else 0))


def vision_build(folders):
    place = package_folder("torchvision", folders)
    if place is None:
        return None
    return {"location": place, "version_file": constants(os.path.join(place, "version.py"))}


def shadows():
    """Files in the working folder that would hide torch from a script started there."""
    return sorted(
        name for name in ("torch.py", "torchvision.py", "numpy.py", "ultralytics.py") if os.path.isfile(name)
    ) + sorted(name + os.sep for name in ("torch", "torchvision", "ultralytics") if os.path.isfile(os.path.join(name, "__init__.py")))


def main():
    folders = [entry for entry in SEARCH_PATH if os.path.isdir(entry)]
    facts = {
        "interpreter": interpreter(),
        "distributions": distributions(folders),
        "torch": torch_build(folders),
        "torchvision": vision_build(folders),
        "shadows": shadows(),
        "conda_records": conda_records(),
    }
    sys.stdout.write(sys.argv[1] + json.dumps(facts) + sys.argv[1] + "\n")


if __name__ == "__main__":
    main()

"""Prints what this interpreter is and which distributions lie on its path, as JSON between two cookies (argument 1).

With a second argument also what their compiled files need (envfix_native_facts.py).
"""

import sys

if sys.version_info < (3, 6):  # noqa: UP036 - the target may be any Python
    sys.stdout.write('%s{"too_old": "%d.%d.%d"}%s\n' % ((sys.argv[1],) + tuple(sys.version_info[:3]) + (sys.argv[1],)))
    sys.exit(88)

import ast
import importlib.util
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
# What is looked for along the whole path: another copy of these decides what a program really gets.
COPIED = ("torch", "torchvision", "numpy", "ultralytics")
COMPILED_CORE = {"torch": ("_C",), "numpy": ("core/_multiarray_umath", "_core/_multiarray_umath")}
# Modules of Python itself that torch imports and whose names people give to their own files.
STANDARD = ("calendar", "code", "collections", "copy", "dataclasses", "datetime", "email", "enum", "http", "inspect", "json",
            "logging", "math", "multiprocessing", "numbers", "operator", "pickle", "platform", "queue", "random", "secrets",
            "select", "selectors", "signal", "socket", "string", "struct", "subprocess", "tempfile", "threading", "token",
            "tokenize", "traceback", "types", "typing", "warnings")
# Modules of other people that torch or ultralytics import, and whose names people give to their own files too.
THIRD_PARTY = ("PIL", "cpuinfo", "cv2", "filelock", "fsspec", "jinja2", "matplotlib", "mpmath", "networkx", "packaging", "pandas",
               "polars", "psutil", "requests", "scipy", "seaborn", "sympy", "thop", "tqdm", "typing_extensions", "yaml")
# Packages whose requirements are followed, and the modules of those that are not called like their package.
REQUIRING = re.compile(r"^(torch|torchvision|torchaudio|ultralytics)$", re.IGNORECASE)
MODULES = {"gitpython": "git", "hydra-core": "hydra", "ipython": "IPython", "nvidia-ml-py": "pynvml", "pillow": "PIL",
           "py-cpuinfo": "cpuinfo", "pyyaml": "yaml", "scikit-image": "skimage", "scikit-learn": "sklearn",
           "ultralytics-thop": "thop"}
SHELL_FILES = (".bashrc", ".bash_aliases", ".bash_profile", ".profile", ".zshrc", ".config/fish/config.fish")
ALIAS = re.compile(r"^[ \t]*alias[ \t]+(python3?|pip3?|conda|mamba|yolo)[= \t]+(.+?)[ \t]*$", re.MULTILINE)
LAUNCHER = re.compile(br"#!\"?([^\r\n\"]+?python[^\r\n\"]*?)\"?[ \t]*\r?\n(?=PK)")
# Libraries of Microsoft's C++ runtime that torch's own need.
RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")


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
        "externally_managed": os.path.exists(os.path.join(stdlib, "EXTERNALLY-MANAGED")) and not in_venv(),
        "path": SEARCH_PATH,
        "scripts": paths.get("scripts"),
        "ssl_problem": ssl_problem(),
        "headers": any(os.path.isfile(os.path.join(paths.get(key, ""), "Python.h")) for key in ("include", "platinclude")),
        "ensurepip": os.path.isfile(os.path.join(stdlib, "ensurepip", "__main__.py")),
    }


def in_venv():
    """pip refuses to touch a marked Python, but not the virtual environments made from it."""
    return sys.prefix != getattr(sys, "base_prefix", sys.prefix)


def ssl_problem():
    """Why the compiled part of the ssl module does not load: without it nothing can be fetched over https."""
    try:
        __import__("_ssl")
    except ImportError as error:
        return str(error)[:300]
    return None


def distributions(folders):
    """Every metadata folder on the path, and where it came from if that was no index; more for the torch family."""
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
    note_findable(seen)
    return seen


def note_findable(rows):
    """Which required packages have no metadata, but a module that an import would find: some of conda's, eggs, folders of a .pth."""
    names = {key_of(row["name"]) for row in rows}
    for row in rows:
        if REQUIRING.match(row["name"]):
            lines = [line for line in row.get("requires", ()) if "extra ==" not in line]
            wanted = {key_of(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in lines} - names
            findable = sorted(name for name in wanted if is_findable(name))
            if findable:
                row["findable"] = findable


def key_of(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def is_findable(package):
    """Whether there is a module of that package; an empty folder, which an uninstallation may leave, is none."""
    module = "cv2" if "opencv" in package else MODULES.get(package, package.replace("-", "_"))
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # noqa: BLE001 - hooks of other packages may raise anything
        return False
    return spec is not None and spec.origin not in (None, "namespace")


def head_of(metadata, limit=4000000):
    """The head of a METADATA or PKG-INFO; an egg-info may be that very file."""
    text = read(os.path.join(metadata, "METADATA"), limit) or read(os.path.join(metadata, "PKG-INFO"), limit) or read(metadata, limit) or ""
    return text.split("\n\n", 1)[0]


def what_it_asks_of_torch(metadata):
    requires = ON_TORCH.findall(head_of(metadata, 100000))
    details = {"requires": requires, "metadata": os.path.basename(metadata), "modified": modified(metadata)} if requires else {}
    origin = read(os.path.join(metadata, "direct_url.json"), 2000)
    if origin is not None:  # it came from an address or a folder: an index may have another one of that name
        details["direct_url"] = origin.strip()
    return details


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
            except (OSError, ValueError):  # also a zero byte in the name
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
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass  # half-written: its name says what it is
    return row


def read(path, limit=4000000):
    if not os.path.isfile(path):  # a pipe in its place would be waited for
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(limit)
    except OSError:
        return None


def constants(path):
    """The plain values assigned at the top of a version.py, annotated or not."""
    text = read(path, 100000)
    if text is None:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
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
    return (whole + places + [editable_folder(name)])[0]


def editable_folder(name):
    """A package installed from its sources is found by a hook that its installer put into Python."""
    if not any("editable" in getattr(finder, "__module__", "") for finder in sys.meta_path):
        return None
    try:
        from importlib.util import find_spec

        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec else []
    except Exception:  # noqa: BLE001 - a hook of somebody else may raise anything
        return None
    return ([place for place in places if os.path.isfile(os.path.join(place, "__init__.py"))] + [None])[0]


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


def copies(folders, installed, user_site):
    """Every copy of torch and what it needs, in the order in which Python looks."""
    found, seen = [], set()
    for folder in folders:
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        for name in COPIED:
            row = copy_in(folder, name)
            if row is not None:
                row["user_site"] = user_site is not None and real == os.path.realpath(user_site)
                versions = [one["version"] for one in installed if one["location"] == folder and one["name"].lower() == name]
                row["version"] = row["version"] or (versions + [None])[0]
                found.append(row)
    return found


def copy_in(folder, name):
    place = os.path.join(folder, name)
    if os.path.isfile(os.path.join(place, "__init__.py")):
        version = (constants(os.path.join(place, "version.py")) or {}).get("__version__") if name.startswith("torch") else None
        return {"name": name, "location": place, "kind": "package", "version": version, "built_for": built_for(place, name)}
    if os.path.isfile(place + ".py"):
        return {"name": name, "location": place + ".py", "kind": "module", "version": None}
    if os.path.isdir(place):
        return {"name": name, "location": place, "kind": "folder", "version": None}
    return None


def built_for(place, name):
    """What the compiled core was built for, by its file's ending: _C.cpython-311-x86_64-linux-gnu.so; "" where it names nothing."""
    endings = set()
    for core in COMPILED_CORE.get(name, ()):
        folder, begin = os.path.split(os.path.join(place, core))
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for entry in names:
            if entry.startswith(begin + ".") and entry.endswith((".so", ".pyd")):
                endings.add(entry[len(begin) + 1 :].rpartition(".")[0])
    return sorted(endings)


def path_files(folders):
    """The .pth files that add folders to the path, or run code at each start."""
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if name.endswith(".pth"):
                lines = (read(os.path.join(folder, name)) or "").splitlines()[:200]
                adds = [os.path.join(folder, line.strip()) for line in lines if line.strip() and not line.startswith(("#", "import"))]
                adds = [entry for entry in adds if os.path.isdir(entry)]
                runs = any(line.startswith(("import ", "import\t")) for line in lines)
                if adds or runs:
                    found.append({"path": os.path.join(folder, name), "adds": adds, "runs_code": runs})
    return found


def aliases():
    """The lines of the user's shell files that give such a command another meaning; nothing else of these files is told."""
    found = {}
    for name in SHELL_FILES:
        path = os.path.join(os.path.expanduser("~"), name)
        for command, meaning in ALIAS.findall(read(path) or "" if os.path.isfile(path) else ""):
            found[command] = "%s (%s)" % (meaning.strip("'\"")[:300], path)
    return found


def script_folders():
    """Where pip puts commands for this Python; the user's own folder where that counts."""
    folders = [sysconfig.get_path("scripts")]
    if site.ENABLE_USER_SITE:
        try:
            folders.append(sysconfig.get_path("scripts", os.name + "_user"))
        except KeyError:
            pass
    return [folder for folder in folders if folder]


def launchers(folders):
    """Windows: the Python that each .exe beside this one starts, which is written behind the program."""
    found = {}
    for folder in folders:
        for name in ("pip", "yolo", "torchrun"):
            path = os.path.join(folder, name + ".exe")
            try:
                with open(path, "rb") as stream:
                    match = LAUNCHER.search(stream.read(400000))
            except OSError:
                continue
            if match:
                found[path] = match.group(1).decode("utf-8", "replace")
    return found


def script_policy():
    """Windows: which scripts PowerShell runs, as set for this user or else this computer; None where neither is set."""
    import winreg

    for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
        try:
            with winreg.OpenKey(root, r"SOFTWARE\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell") as key:
                return str(winreg.QueryValueEx(key, "ExecutionPolicy")[0])
        except OSError:
            pass
    return None


def commit_limit():
    """Windows: how many bytes of memory can be promised at most, main memory and page file together."""
    import ctypes

    status = (ctypes.c_ulonglong * 8)()
    status[0] = 64  # the size of the structure, in its first four bytes
    try:
        return int(status[3]) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
    except (AttributeError, OSError):
        return None


def windows():
    """What only Windows has: whether long paths are allowed (None: not told), and runtime libraries that are nowhere."""
    facts = {}
    if os.name != "nt":
        return facts
    try:
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            facts["long_paths"] = bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except Exception:  # noqa: BLE001 - not every Windows has the value
        pass
    facts["script_policy"] = script_policy()
    facts["commit_limit"] = commit_limit()
    system = os.path.join(os.path.expandvars("%SystemRoot%"), "System32")
    places = [system, sys.prefix, getattr(sys, "base_prefix", sys.prefix), os.path.join(sys.prefix, "Library", "bin")]
    facts["missing_dlls"] = [name for name in RUNTIME if not any(os.path.isfile(os.path.join(place, name)) for place in places)]
    return facts


def startup(folders, said, installed):
    """What decides, before a program starts, which interpreter runs and where modules are looked for."""
    sites = said["site_packages"] + ([said["user_site"]] if said["user_site"] and said["user_site_enabled"] else [])
    customised = [getattr(sys.modules.get(name), "__file__", None) for name in ("sitecustomize", "usercustomize")]
    scripts = script_folders()
    return {
        "copies": copies(folders, installed, said["user_site"]),
        "path_files": path_files(sites),
        "customised_by": [path for path in customised if path],
        "aliases": aliases(),
        "script_folders": scripts,
        "launchers": launchers(scripts) if os.name == "nt" else {},
        "windows": windows(),
    }


def shadows():
    """Files in the working folder that would hide torch, or a module that torch needs, from a script started there."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it was deleted while the user stood in it
        return []
    if getattr(sys.flags, "safe_path", False) or here in [os.path.realpath(entry) for entry in SEARCH_PATH]:
        return []  # kept out, or nothing but what is found anyway: an installation from sources, site-packages themselves
    files = [name + ".py" for name in COPIED]
    if not os.path.isfile("__init__.py"):  # within a package no program is started
        files += [name + ".py" for name in STANDARD + THIRD_PARTY]
    found = [name for name in files if os.path.isfile(name)]
    for name in COPIED:
        place = editable_folder(name)
        if os.path.isfile(os.path.join(name, "__init__.py")) and not (place and os.path.realpath(place) == os.path.join(here, name)):
            found.append(name + os.sep)
    return sorted(found)


def native(folders):
    """What the compiled files need, or why that cannot be told: it must not take the rest along."""
    path = os.path.join(HERE, "envfix_native_facts.py")
    namespace = {"__name__": "envfix_native_facts", "__file__": path}
    try:
        text = globals().get("ENVFIX_FILES", {}).get("envfix_native_facts.py")  # sent along where nothing lies beside this file
        if text is None:
            with open(path, encoding="utf-8") as stream:
                text = stream.read()
        exec(compile(text, path, "exec"), namespace)
        return namespace["native"](folders)
    except Exception as error:  # noqa: BLE001
        return {"problem": "%s: %s" % (type(error).__name__, error)}


def main():
    folders = [entry for entry in SEARCH_PATH if os.path.isdir(entry)]
    said = interpreter()
    installed = distributions(folders)
    facts = {
        "interpreter": said,
        "distributions": installed,
        "startup": startup(folders, said, installed),
        "torch": torch_build(folders),
        "torchvision": vision_build(folders),
        "shadows": shadows(),
        "conda_records": conda_records(),
        "held": read(os.path.join(sys.prefix, "envfix-constraints.txt"), 100000),
    }
    if len(sys.argv) > 2:
        # Reading the other script costs as much as all the rest: nothing of it is there without one of these.
        worth_it = any(package_folder(name, folders) for name in ("torch", "cv2", "onnxruntime"))
        facts["binaries"] = native(folders) if worth_it else None
    sys.stdout.write(sys.argv[1] + json.dumps(facts) + sys.argv[1] + "\n")


if __name__ == "__main__":
    main()

"""Answers envfix's questions on a node of a cluster: what travels there over standard input, and leaves nothing behind.

It knows nothing of what is looked for. Each line it reads is a round of questions, the very ones that envfix's own probes
ask a machine (run this program, read this file, which files match ...); each line it writes holds the answers, between two
cookies, because a login may print anything. It ends when its input ends, after its time, and with whatever it has started.

Syntax of Python 2.7 and 3, standard library only; no file is written (but into the folder of a script that needs one): scripts for other interpreters are given to them on
their standard input, and with them in ``ENVFIX_FILES`` what they import.
"""

import glob
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Of a program's output, the beginning and the end are kept.
HEAD, END = 500000, 500000
WORKERS = 12
# What a script that is read from standard input needs first: its name, the files that were sent along, and a way to import
# them. The working folder is taken off the path, where a script that is started by its path has its own folder instead.
PREAMBLE = """
import sys
if sys.path and not sys.path[0]:
    del sys.path[0]
import json
ENVFIX_FILES = json.loads(%s)
class EnvfixFinder(object):
    def find_module(self, name, path=None):
        return self if name + ".py" in ENVFIX_FILES else None
    def load_module(self, name):
        import types
        module = sys.modules[name] = types.ModuleType(str(name))
        self.exec_module(module)
        return module
    def find_spec(self, name, path=None, target=None):
        if name + ".py" in ENVFIX_FILES:
            from importlib.machinery import ModuleSpec
            return ModuleSpec(name, self)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.__file__ = "/envfix/" + module.__name__ + ".py"
        exec(compile(ENVFIX_FILES[module.__name__ + ".py"], module.__file__, "exec"), module.__dict__)
sys.meta_path.insert(0, EnvfixFinder())
__file__ = "/envfix/" + %s
exec(compile(ENVFIX_FILES[%s], __file__, "exec"))
"""
GATE = """
import sys
if sys.version_info < (2, 7):
    sys.stdout.write('%s{"too_old": "%d.%d.%d"}%s\\n' % ((sys.argv[1],) + tuple(sys.version_info[:3]) + (sys.argv[1],)))
    sys.exit(88)
"""


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Output(threading.Thread):
    """Drains one pipe to its end, so that the program never blocks."""

    def __init__(self, stream):
        threading.Thread.__init__(self)
        self.daemon = True
        self.stream, self.head, self.tail, self.truncated = stream, b"", b"", False
        self.start()

    def run(self):
        try:
            while True:
                chunk = os.read(self.stream.fileno(), 65536)
                if not chunk:
                    break
                room = HEAD - len(self.head)
                self.head += chunk[:room]
                self.tail += chunk[room:]
                if len(self.tail) > 2 * END:
                    self.cut()
        except (OSError, ValueError):
            pass

    def cut(self):
        self.truncated = self.truncated or len(self.tail) > END
        self.tail = self.tail[-END:]

    def text(self):
        self.cut()
        return text(self.head + self.tail)


class Node(object):
    """The machine this runs on, asked by the names of envfix's questions."""

    def __init__(self, files):
        self.files = files
        self.running, self.folders = set(), set()

    def run(self, timeout, argv, env, cwd):
        return self.start(timeout, argv, env, cwd, None)

    def run_script(self, timeout, python, script, arguments):
        """With an interpreter of the node; None stands for envfix's own, which is not there: this one takes its place."""
        command = [sys.executable] + (["-I"] if sys.version_info >= (3, 4) else ["-s", "-E"]) if python is None else [python]
        names = json.dumps(json.dumps(self.files)), json.dumps(script), json.dumps(script)
        quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
        return self.start(timeout, command + ["-"] + arguments, quiet, None, (GATE + PREAMBLE % names).encode("ascii"))

    def run_in_folder(self, timeout, python, script, arguments):
        """The same, with an empty folder that is removed afterwards."""
        folder = tempfile.mkdtemp(prefix="envfix-")
        self.folders.add(folder)
        try:
            return self.run_script(timeout, python, script, [word.replace("{envfix-folder}", folder) for word in arguments])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self.folders.discard(folder)

    def start(self, timeout, argv, env, cwd, given):
        nowhere = open(os.devnull, "rb")
        extra = {"start_new_session": True} if sys.version_info >= (3, 2) else {"preexec_fn": os.setsid}
        try:
            process = subprocess.Popen(
                argv,
                stdin=nowhere if given is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(os.environ, **env),
                cwd=cwd,
                close_fds=True,
                **extra
            )
        except (OSError, IOError) as error:
            nobody = isinstance(error, OSError) and error.errno == 2
            return {"outcome": "not-found" if nobody else "not-permitted", "stderr": text(error.strerror or str(error))}
        finally:
            nowhere.close()
        self.running.add(process)
        try:
            return self.followed(process, timeout, given)
        finally:
            self.running.discard(process)

    def followed(self, process, timeout, given):
        until = time.time() + timeout
        readers = [Output(process.stdout), Output(process.stderr)]
        if given is not None:
            writer = threading.Thread(target=feed, args=(process.stdin, given))
            writer.daemon = True
            writer.start()
        while process.poll() is None and time.time() < until:
            readers[0].join(min(0.05, max(0.0, until - time.time())))
            if not readers[0].is_alive():
                time.sleep(0.005)
        late = process.poll() is None
        for reader in readers:
            reader.join(0.0 if late else 1.0)
        if late or any(reader.is_alive() for reader in readers):
            end(process)
            for reader in readers:
                reader.join(1.0)
        out, err = [reader.text() for reader in readers]
        return {
            "outcome": "timed-out" if late else "exited",
            "returncode": None if late else process.returncode,
            "stdout": out,
            "stderr": err,
            "truncated": any(reader.truncated for reader in readers),
        }

    def read_text(self, limit, path):
        try:
            if not os.path.isfile(path):
                os.stat(path)
                return {"outcome": "unreadable", "problem": "not a regular file"}
            with open(path, "rb") as stream:
                data = stream.read(int(limit))
        except (OSError, IOError, ValueError, TypeError) as error:
            if getattr(error, "errno", None) in (2, 20):
                return {"outcome": "absent"}
            return {"outcome": "unreadable", "problem": text(getattr(error, "strerror", None) or str(error))}
        return {"outcome": "read", "text": text(data)}

    def glob(self, _, pattern):
        return sorted(text(path) for path in glob.glob(pattern))

    def which(self, _, name):
        hits = []
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = os.path.join(folder, name)
            if folder and path not in hits and os.path.isfile(path) and os.access(path, os.X_OK):
                hits.append(text(path))
        return hits

    def real_path(self, _, path):
        return text(os.path.realpath(path))

    def getenv(self, _, name):
        return text(os.environ.get(name))

    def environ(self, _, prefixes):
        return dict((text(name), text(value)) for name, value in os.environ.items() if text(name).startswith(tuple(prefixes)))

    def system_facts(self, _):
        family, version = libc()
        try:
            here = os.getcwd()
        except OSError:
            here = ""
        return {
            "system": "linux" if sys.platform.startswith("linux") else sys.platform,
            "machine": platform.machine(),
            "release": platform.release(),
            "libc": family,
            "libc_version": version,
            "home": text(os.path.expanduser("~")),
            "working_folder": text(here),
            "own_prefix": "",
            "own_python": "",
        }

    def find_interpreter(self, _, spec):
        """pyenv's newest, or the one of that name on PATH."""
        root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
        folders = glob.glob(os.path.join(root, "versions", spec)) + glob.glob(os.path.join(root, "versions", spec + ".*"))
        folders.sort(key=lambda folder: [int(part) if part.isdigit() else -1 for part in os.path.basename(folder).split(".")])
        near = [os.path.join(folder, "bin", "python") for folder in reversed(folders)]
        return ([path for path in near if os.path.exists(path)] + self.which(None, "python" + spec) + [None])[0]

    def disk_space(self, _, path):
        place = os.path.abspath(path)
        while not os.path.exists(place) and os.path.dirname(place) != place:
            place = os.path.dirname(place)
        try:
            status = os.statvfs(place)
        except OSError as error:
            return {"free": None, "total": None, "writable": False, "problem": text(error.strerror)}
        return {
            "free": status.f_bavail * status.f_frsize,
            "total": status.f_blocks * status.f_frsize,
            "writable": os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK),
            "problem": None,
        }

    def leave(self, *_):
        """End with everything that was started here."""
        for process in list(self.running):
            end(process)
        for folder in list(self.folders):
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def feed(stream, given):
    try:
        stream.write(given)
        stream.close()
    except (OSError, IOError, ValueError):
        pass  # it ended without reading its script


def end(process):
    """The program and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except OSError:
            return
        until = time.time() + 1.0
        while process.poll() is None and time.time() < until:
            time.sleep(0.01)


def libc():
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        said = ""
    family, _, version = said.partition(" ")
    if family == "glibc":
        return family, version
    try:
        import ctypes

        told = ctypes.CDLL(None).gnu_get_libc_version
        told.restype = ctypes.c_char_p
        return "glibc", text(told())
    except (ImportError, OSError, AttributeError):
        pass
    return ("musl", "") if glob.glob("/lib/ld-musl-*.so.1") else ("", "")


def answered(node, asked, seconds):
    """The answers to a round, in its order; None where one did not come in time: a disk may not answer at all.

    A question is its name and arguments, and how long it may take (of a file: how much is read).
    """
    answers, left, lock = [None] * len(asked), list(enumerate(asked)), threading.Lock()
    left.reverse()

    def work():
        while True:
            with lock:
                if not left:
                    return
                number, (question, bound) = left.pop()
            try:
                answers[number] = {"answer": getattr(node, question[0])(bound, *question[1:])}
            except Exception as error:  # noqa: BLE001 - one question must not take the others along
                answers[number] = {"problem": "%s: %s" % (type(error).__name__, error)}

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    until = time.time() + seconds
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        while thread.is_alive() and time.time() < until:
            thread.join(0.05)
    return list(answers)


def main(files, cookie, lifetime):
    node = Node(files)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, node.leave)
    signal.alarm(lifetime)
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        sys.stdout.write(cookie + json.dumps(answered(node, request["ask"], request["seconds"])) + cookie + "\n")
        sys.stdout.flush()
    node.leave()

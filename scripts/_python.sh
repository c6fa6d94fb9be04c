# Shared by run and test: finds a Python that can run envfix; `_prepare.py` makes the environment with it.

# Prints a working python >= 3.10 that has venv. Candidates are run, not trusted: a pyenv shim may answer "command not found".
find_python() {
    bare='' old=''
    for candidate in "${ENVFIX_BOOTSTRAP_PYTHON:-}" python3 python python3.14 python3.13 python3.12 python3.11 python3.10 \
        /usr/bin/python3 /usr/local/bin/python3; do
        [ -n "$candidate" ] || continue
        answer=$("$candidate" -c '
import sys
if sys.version_info < (3, 10):
    sys.stdout.write("old %d.%d.%d" % sys.version_info[:3])
else:
    try:
        import ensurepip, venv
        sys.stdout.write("good")
    except ImportError:
        sys.stdout.write("bare %d.%d.%d" % sys.version_info[:3])
' 2>/dev/null) || continue
        case $answer in
            good) echo "$candidate" && return 0 ;;
            bare*) bare="${bare:-$candidate (${answer#bare })}" ;;
            old*) old="${old:-; $candidate is ${answer#old }}" ;;
        esac
    done
    if [ -n "$bare" ]; then
        echo "error: $bare has no venv module, so that envfix cannot have an environment of its own" >&2
        echo "hint: install it (Debian, Ubuntu: apt-get install python3-venv), or set ENVFIX_BOOTSTRAP_PYTHON=/path/to/python3" >&2
    else
        echo "error: envfix needs Python 3.10 or newer, and there is none on PATH$old" >&2
        echo "hint: install one (Debian, Ubuntu: apt-get install python3-venv), or set ENVFIX_BOOTSTRAP_PYTHON=/path/to/python3" >&2
    fi
    return 3
}

# prepare FOLDER ARGUMENTS...: the environment in FOLDER, unless it is there and newer than what it was made from.
# Who makes it starts this script anew then: a signal finds one process, and that one puts all in order.
prepare() {
    if [ ! -f "$1/.envfix-installed" ] || [ "$here/pyproject.toml" -nt "$1/.envfix-installed" ]; then
        python=$(find_python) || exit 3
        exec "$python" -I "$here/scripts/_prepare.py" "$0" "$@"
    fi
}

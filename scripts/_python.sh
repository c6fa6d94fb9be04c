# Shared by run and test: finds a Python that can run envfix, makes an environment with it, installs into it.

# Prints a working python >= 3.10 that has venv. Candidates are run, not trusted: a pyenv shim may answer "command not found".
find_python() {
    for candidate in "${ENVFIX_BOOTSTRAP_PYTHON:-}" python3 python python3.14 python3.13 python3.12 python3.11 python3.10 \
        /usr/bin/python3 /usr/local/bin/python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
    done
    echo "envfix needs Python 3.10 or newer with the venv module; none was found on PATH." >&2
    echo "hint: install one (Debian, Ubuntu: apt-get install python3-venv) or set ENVFIX_BOOTSTRAP_PYTHON=/path/to/python3" >&2
    return 3
}

# prepare_environment FOLDER: a fresh virtual environment, put in place whole or not at all.
prepare_environment() {
    python=$(find_python) || exit 3
    rm -rf "$1"
    if ! "$python" -m venv "$1" >&2; then
        rm -rf "$1"
        echo "hint: $python cannot make a virtual environment; see above" >&2
        exit 3
    fi
}

# install_quietly FOLDER CHECKOUT [EXTRA PIP ARGUMENTS]: shows pip's words only if it fails.
install_quietly() {
    folder=$1 checkout=$2
    shift 2
    log=$folder/.envfix-pip.log
    if ! env -u PIP_TARGET -u PIP_PREFIX -u PIP_USER -u PYTHONPATH -u PYTHONHOME PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$folder/bin/python" -m pip install --quiet --editable "$checkout" "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -rf "$folder"
        echo "envfix: installing its own requirements failed; see above" >&2
        exit 3
    fi
}

#!/bin/sh
# Sets up what the Makefile's commands need. Runs on a fresh Debian 12 with python3, python3-venv, make and git.
#   setup.sh uv                 where uv is
#   setup.sh python [VERSION]   uv (bootstrapped into .tools/ when absent) and the locked environment
#   setup.sh has VERSION        whether that Python is here
#   setup.sh debian             the packages of debian-packages.txt that are missing
set -eu
cd "$(dirname "$0")/.."

# Byte code must be written: without it every process that imports Prefect compiles it anew, ten seconds each.
unset PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

find_uv() {
    if command -v uv >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if [ ! -x .tools/bin/uv ]; then
        echo "uv is not here: putting it into .tools/ (nothing outside this folder changes)" >&2
        python3 -m venv .tools >&2
        .tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9' >&2
    fi
    echo "$PWD/.tools/bin/uv"
}

python_environment() {
    folder=.venv${1:+-$1}
    stamp=$folder/.synced
    if [ -e "$stamp" ] && [ ! pyproject.toml -nt "$stamp" ] && [ ! uv.lock -nt "$stamp" ]; then
        return
    fi
    uv=$(find_uv)
    if [ -n "${1:-}" ]; then
        UV_PROJECT_ENVIRONMENT=$folder "$uv" sync --locked --compile-bytecode --python "$(find_python "$1")"
    else
        "$uv" sync --locked --compile-bytecode
    fi
    touch "$stamp"
}

# pyenv puts names on PATH for versions that it has but does not use: such a name is there and does not run.
find_python() {
    for candidate in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if [ -x "$candidate" ] && "$candidate" -c '' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    "$(find_uv)" python find --no-python-downloads "$1" 2>/dev/null
}

missing_packages() {
    sed -e '/^#/d' -e '/^$/d' deployments/debian-packages.txt | while read -r _ package _; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            *' installed') ;;
            *) echo "$package" ;;
        esac
    done
}

debian_packages() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        echo "not a Debian system: the tiers that need Debian packages will say so" >&2
        return
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        echo "no root and no password-less sudo: these packages are missing and stay so:" $missing >&2
        return
    fi
    echo "Going to install these Debian packages (their own services are not started):"
    for package in $missing; do
        sed -n "s/^[a-z0-9]* *\($package\)  *\(.*\)/  \1: \2/p" deployments/debian-packages.txt
    done
    $as_root sh deployments/install-packages.sh $missing
}

case ${1:-} in
    python) python_environment "${2:-}" ;;
    has) find_python "$2" >/dev/null ;;
    debian) debian_packages ;;
    uv) find_uv ;;
    *) echo "usage: setup.sh python [VERSION] | has VERSION | debian | uv" >&2; exit 2 ;;
esac

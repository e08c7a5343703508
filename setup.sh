#!/usr/bin/env bash
# Makes the virtual environment with everything that runs, tests and lints the repository.
#   PYTHON  the interpreter (3.10 to 3.12), default python3
#   VENV    the environment's folder, default .venv
# Where a ROS 2 installation is sourced (ROS_DISTRO is set) it is used; elsewhere ROS 2 comes as wheels from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
PACKAGES=(ros2_ws/src/activemimic_{description,control} activemimic_policy ros2_ws/src/activemimic_{data,sim,rollout}
    training activemimic_bringup)
MESA=(libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0)

say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null ||
    fail "expected Python 3.10, 3.11 or 3.12, found $("$PYTHON" --version 2>&1 || echo "no $PYTHON"): set PYTHON=…"

say "1/3 OpenGL without a display (Mesa)"
if ! ldconfig -p | grep -q 'libEGL_mesa\.so\|libOSMesa\.so' || ! ldconfig -p | grep -q 'libOpenGL\.so'; then
    command -v apt-get >/dev/null || fail "no apt-get here: install Mesa's EGL (Debian's packages: ${MESA[*]})"
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "ask an administrator for: apt-get install ${MESA[*]}"
        as_root=(sudo)
        echo "sudo is used to install ${MESA[*]}"
    fi
    "${as_root[@]}" apt-get update -qq || echo "the package lists could not be renewed; trying with those that are there"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${MESA[@]}" >/dev/null ||
        fail "the Mesa packages could not be installed; as an administrator: apt-get install ${MESA[*]}"
fi

say "2/3 Python packages"
if [ ! -x "$VENV/bin/python" ]; then
    options=()
    [ -n "${ROS_DISTRO:-}" ] && options=(--system-site-packages)
    "$PYTHON" -m venv "${options[@]}" "$VENV" ||
        fail "$PYTHON -m venv failed: on Debian and Ubuntu install python3-venv, and remove $VENV"
fi
"$VENV/bin/python" -m pip install -q --disable-pip-version-check uv==0.13.8 2> >(grep -v WARNING >&2)
# uv does not read pip's settings; a folder of wheels that pip was given (a CPU build of torch, say) serves here too.
find_links=$("$VENV/bin/python" -m pip config get global.find-links 2>/dev/null || true)
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$find_links}}"
[ -n "$UV_FIND_LINKS" ] || unset UV_FIND_LINKS
requirements=(-r requirements.txt)
if [ -z "${ROS_DISTRO:-}" ]; then
    [ "$(uname -m)" = x86_64 ] ||
        fail "the ROS 2 wheels exist for x86_64 alone: install ROS 2 (Humble or Jazzy) and source its setup.bash first"
    requirements+=(-r requirements-ros.txt)
fi
"$VENV/bin/uv" pip install --compile-bytecode --python "$VENV/bin/python" -c constraints.txt "${requirements[@]}"

say "3/3 ActiveMimic's packages"
for package in "${PACKAGES[@]}"; do
    # The compatible mode puts the folder itself on the path: the repository's folders bear the packages' names.
    "$VENV/bin/uv" pip install -q --python "$VENV/bin/python" --no-deps --no-build-isolation \
        -C editable_mode=compat -e "$package"
done
say "ready: $VENV/bin/activemimic --help"

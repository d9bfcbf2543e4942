#!/bin/sh
# Makes .venv with c1m and all its extras. Needs Python 3.11 or later with pip, or root on Debian.
# `setup.sh programs` gets the programs that only the end-to-end tests drive instead.
set -eu
cd "$(dirname "$0")"

# Quietly, and only for root on Debian: elsewhere the tests that need one are skipped and say so.
if [ "${1:-}" = programs ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        exit 0
    fi
    wanted=
    PATH="$PATH:/usr/sbin"
    for each in chromium haproxy nats-server nginx:nginx-light redis-server stunnel:stunnel4; do
        command -v "${each%:*}" >/dev/null 2>&1 || wanted="$wanted ${each#*:}"
    done
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || wanted="$wanted libnginx-mod-stream"
    if [ -n "$wanted" ]; then
        echo "setup: installing$wanted with apt-get, for the tests"
        # shellcheck disable=SC2086 # several words
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -q --no-install-recommends $wanted; } >/dev/null 2>&1 ||
            echo "setup:$wanted could not be installed; the tests that need it are skipped" >&2
    fi
    exit 0
fi

python=${PYTHON:-python3}
stamp=.venv/.c1m-installed
if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && .venv/bin/python -c 'import c1m' 2>/dev/null; then
    exit 0
fi
if ! command -v "$python" >/dev/null 2>&1 || ! "$python" -m pip --version >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing python3 and python3-pip with apt-get"
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q python3 python3-pip >/dev/null
    else
        echo "setup: c1m needs Python 3.11 or later with pip; none was found as '$python'." >&2
        echo "setup: on Debian run 'apt-get install python3 python3-pip' as root, then again." >&2
        exit 2
    fi
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: c1m needs Python 3.11 or later; '$python' is $("$python" -V)." >&2
    echo "setup: name another with PYTHON=/path/to/python3.11 make demo" >&2
    exit 2
fi
echo "setup: making .venv and installing c1m into it"
# Debian's python3 has no ensurepip without python3-venv; pip outside the venv fills it instead.
"$python" -m venv --without-pip .venv
"$python" -m pip --disable-pip-version-check --python .venv/bin/python install -q -e '.[cli,report,metrics,push,tls,dev]'
touch "$stamp"

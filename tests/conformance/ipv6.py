"""A name for ::1, where the machine has the address and /etc/hosts has no name for it.

Tests that bind to "localhost" with IPv6 would fail on both loops, and say nothing about either.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from functools import cache
from pathlib import Path

_BOUND = 'mount --bind "$0" /etc/hosts && exec "$@"'


@cache
def named(directory: Path) -> tuple[str, ...]:
    """What to put before a command that needs it: a mount namespace with another /etc/hosts.

    Nothing where it is not needed, or cannot be done (only root may).
    """
    if has_name() or not has_address() or shutil.which("unshare") is None:
        return ()
    hosts = directory / "hosts"
    hosts.write_text(Path("/etc/hosts").read_text() + "\n::1 localhost ip6-localhost\n")
    before = ("unshare", "-m", "sh", "-c", _BOUND, str(hosts))
    works = subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0
    return before if works else ()


def has_name() -> bool:
    """Whether localhost is ::1, too."""
    try:
        return bool(socket.getaddrinfo("localhost", 0, socket.AF_INET6))
    except OSError:
        return False


def has_address() -> bool:
    """Whether ::1 can be bound."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

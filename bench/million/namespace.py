"""A network namespace of its own: no port, route or TIME_WAIT of others is in the way.

What it has of its own by that are the kernel's defaults for sysctls below net.ipv4 and for
somaxconn, and a table of established connections (Linux 6.1, tcp_child_ehash_entries: it is made
for the namespaces that are made in one, so there are two, one in the other). The machine's own
table is made at boot for its memory, 262,144 chains at 24 GB, where two million sockets stand eight
deep. The slab caches are the machine's.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import socket
import struct
from pathlib import Path

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1
EHASH_ENTRIES = 1 << 22

_IFREQ = struct.Struct("16sH22x")  # ifreq: name, flags


def enter() -> bool:
    """Move this process, and what it starts, into a new one with loopback up.

    False, with nothing changed, where that is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        return False
    with contextlib.suppress(OSError):  # older kernels use the machine's table
        Path("/proc/sys/net/ipv4/tcp_child_ehash_entries").write_text(str(EHASH_ENTRIES))
        libc.unshare(CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        _, flags = _IFREQ.unpack(answer)
        fcntl.ioctl(control, SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | IFF_UP))
    return True

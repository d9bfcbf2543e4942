"""A network namespace of its own: no port, route or TIME_WAIT of others is in the way.

What it has of its own by that are the kernel's defaults for sysctls below net.ipv4 and for
somaxconn. The table of established connections is the machine's (unless tcp_child_ehash_entries is
set), and so are the slab caches.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1

_IFREQ = struct.Struct("16sH22x")  # ifreq: name, flags


def enter() -> bool:
    """Move this process, and what it starts, into a new one with loopback up.

    False, with nothing changed, where that is not allowed.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        _, flags = _IFREQ.unpack(answer)
        fcntl.ioctl(control, SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | IFF_UP))
    return True

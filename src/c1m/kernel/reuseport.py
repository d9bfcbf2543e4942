"""Several sockets that listen on one port (SO_REUSEPORT), and which of them a connection is for.

Facts (seen on 6.18, IPv4 and IPv6; net/core/sock_reuseport.c)
- A socket that listens alone keeps others out, and may let them join later: SO_REUSEPORT is set on
  it when it listens. So the first of a group finds out, as any other does, that a port is in use;
  two groups on one port would share their connections without a word.
- The sockets of a group are numbered as they began to listen. A classic BPF program on any of them
  (SO_ATTACH_REUSEPORT_CBPF) sees a SYN and returns the number of the one that gets it. For a number
  that there is not the kernel chooses itself, by a hash of addresses and ports. A further program
  takes the place of the one before at once; no connection is lost.
- Where one is closed, the last one takes its number, and what was in its accept queue is reset.
  So none is closed while the others serve.
- A program may ask for a random number of 32 bits (SKF_AD_RANDOM). It is asked once for a SYN: what
  comes later of a connection finds the half of it that there is.
- Only processes of one user (effective, when they made the socket) can listen on one port.

What they mean here: who binds the sockets keeps them all, and gives each process its own. Where a
process dies, its socket goes on listening, and who has connected waits there for the next one.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from c1m.kernel.sockets import Listener

SO_ATTACH_REUSEPORT_CBPF = 51  # include/uapi/asm-generic/socket.h
INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS
_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)  # BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + RANDOM
_AT_LEAST, _RETURN = 0x35, 0x06  # BPF_JMP | BPF_JGE | BPF_K, BPF_RET | BPF_K


def choose_below(listener: Listener, bounds: Sequence[int]) -> bool:
    """Have a random number r of 32 bits choose: the first socket i of the group with r < bounds[i],
    else the last one. `bounds` is one less than there are sockets, and rises.

    Whether the kernel has taken it; where it has not it goes on choosing by its hash.
    """
    program = [_LOAD_RANDOM]
    for number, bound in enumerate(bounds):
        program += [(_AT_LEAST, 1, 0, bound), (_RETURN, 0, 0, number)]
    program.append((_RETURN, 0, 0, len(bounds)))
    memory = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    given = struct.pack("HP", len(program), ctypes.addressof(memory))  # struct sock_fprog
    sock = socket.socket(fileno=listener.fd)
    try:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, given)
            return True
        return False
    finally:
        sock.detach()

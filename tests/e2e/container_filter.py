"""A container's seccomp filter: `python container_filter.py ERRNO COMMAND ...` runs it under one.

Docker's and Podman's default profiles allow what is on a list, and answer the rest with EPERM or
ENOSYS; io_uring is not on it. This refuses those that they refuse and that have one number on all
architectures (from 424 on), and allows the rest.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

IO_URING = (425, 426, 427)
# open_tree to fspick; pidfd_getfd; mount_setattr; quotactl_fd; set_mempolicy_home_node
OTHERS = (*range(428, 434), 438, 442, 443, 450)
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # of classic BPF
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def refuse(calls: tuple[int, ...], code: int) -> None:
    """This thread and what it starts get `code` for these system calls, for ever."""
    steps = [(LOAD_WORD, 0, 0, 0)]  # the call's number
    for place, call in enumerate(calls):
        steps.append((JUMP_IF_EQUAL, len(calls) - place, 0, call))
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | code)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    head = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, head, 0, 0)):
        if libc.prctl(*words):
            raise OSError(ctypes.get_errno(), "no filter of system calls can be installed")


if __name__ == "__main__":
    refuse((*IO_URING, *OTHERS), int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])

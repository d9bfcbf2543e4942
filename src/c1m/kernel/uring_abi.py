"""io_uring's interface as NumPy dtypes and numbers (Linux: include/uapi/linux/io_uring.h).

Layouts are checked against the kernel's header in tests/kernel. Behind each optional thing stands
the first mainline version that has it; features are probed, never guessed from the version.
"""

from __future__ import annotations

import numpy as np

SQE = np.dtype(
    [
        ("opcode", "u1"),
        ("flags", "u1"),
        ("ioprio", "<u2"),
        ("fd", "<i4"),
        ("off", "<u8"),
        ("addr", "<u8"),
        ("len", "<u4"),
        ("op_flags", "<u4"),
        ("user_data", "<u8"),
        ("buf_group", "<u2"),
        ("personality", "<u2"),
        ("file_index", "<u4"),
        ("addr3", "<u8"),
        ("pad", "<u8"),
    ]
)
CQE = np.dtype([("user_data", "<u8"), ("res", "<i4"), ("flags", "<u4")])
BUFFER = np.dtype([("addr", "<u8"), ("len", "<u4"), ("bid", "<u2"), ("tail", "<u2")])

_OFFSETS = [
    ("head", "<u4"), ("tail", "<u4"), ("ring_mask", "<u4"), ("ring_entries", "<u4"),
]  # fmt: skip
SQ_OFFSETS = np.dtype(
    [*_OFFSETS, ("flags", "<u4"), ("dropped", "<u4"), ("array", "<u4"), ("resv1", "<u4"),
     ("user_addr", "<u8")]
)  # fmt: skip
CQ_OFFSETS = np.dtype(
    [*_OFFSETS, ("overflow", "<u4"), ("cqes", "<u4"), ("flags", "<u4"), ("resv1", "<u4"),
     ("user_addr", "<u8")]
)  # fmt: skip
PARAMS = np.dtype(
    [
        ("sq_entries", "<u4"), ("cq_entries", "<u4"), ("flags", "<u4"), ("sq_thread_cpu", "<u4"),
        ("sq_thread_idle", "<u4"), ("features", "<u4"), ("wq_fd", "<u4"), ("resv", "<u4", 3),
        ("sq_off", SQ_OFFSETS), ("cq_off", CQ_OFFSETS),
    ]
)  # fmt: skip
FILES_REGISTER = np.dtype(
    [("nr", "<u4"), ("flags", "<u4"), ("resv", "<u8"), ("data", "<u8"), ("tags", "<u8")]
)
FILES_UPDATE = np.dtype([("offset", "<u4"), ("resv", "<u4"), ("fds", "<u8")])
BUFFER_REGISTER = np.dtype(
    [("ring_addr", "<u8"), ("ring_entries", "<u4"), ("bgid", "<u2"), ("flags", "<u2"),
     ("resv", "<u8", 3)]
)  # fmt: skip
GETEVENTS_ARG = np.dtype(
    [("sigmask", "<u8"), ("sigmask_sz", "<u4"), ("min_wait_usec", "<u4"), ("ts", "<u8"),
     ("ts_sec", "<i8"), ("ts_nsec", "<i8")]
)  # fmt: skip  # the struct is the first 24 bytes; its timespec lies behind it in the same memory
GETEVENTS_ARG_SIZE = 24

assert (SQE.itemsize, CQE.itemsize, BUFFER.itemsize, PARAMS.itemsize) == (64, 16, 16, 120)
assert (FILES_REGISTER.itemsize, BUFFER_REGISTER.itemsize) == (32, 40)

# setup flags
SETUP_CQSIZE = 1 << 3
SETUP_CLAMP = 1 << 4
SETUP_R_DISABLED = 1 << 6  # 5.10
SETUP_SUBMIT_ALL = 1 << 7  # 5.18
SETUP_TASKRUN_FLAG = 1 << 9  # 5.19
SETUP_SINGLE_ISSUER = 1 << 12  # 6.0
SETUP_DEFER_TASKRUN = 1 << 13  # 6.1
SETUP_NO_SQARRAY = 1 << 16  # 6.6

# mmap offsets
OFF_SQ_RING = 0
OFF_SQES = 0x10000000

# words the kernel writes into the submission queue's flags
SQ_CQ_OVERFLOW = 2
SQ_TASKRUN = 4

ENTER_GETEVENTS = 1
ENTER_EXT_ARG = 8

# opcodes
OP_NOP = 0
OP_POLL_ADD = 6
OP_ACCEPT = 13
OP_ASYNC_CANCEL = 14
OP_CONNECT = 16
OP_CLOSE = 19
OP_SEND = 26
OP_RECV = 27
OP_SHUTDOWN = 34  # 5.11
OP_SOCKET = 45  # 5.19
OP_URING_CMD = 46  # 5.19; setsockopt and getsockopt 6.7
OP_FIXED_FD_INSTALL = 54  # 6.8
OP_BIND = 56  # 6.11

# flags of a submission
FIXED_FILE = 1
BUFFER_SELECT = 32
SKIP_SUCCESS = 64  # 5.17: no completion when it went well

ACCEPT_MULTISHOT = 1  # 5.19, in ioprio
RECV_POLL_FIRST = 1  # 5.19, in ioprio
RECV_MULTISHOT = 2  # 6.0, in ioprio
POLL_MULTISHOT = 1  # 5.13, in len
CANCEL_ALL = 1  # 5.19, in op_flags: every request of that user data, not the first found
FILE_INDEX_ALLOC = 0xFFFFFFFF
SOCKET_URING_OP_GETSOCKOPT = 2
SOCKET_URING_OP_SETSOCKOPT = 3

SO_PEERNAME = 28  # the length asked for must be the address's own

# flags of a completion
CQE_BUFFER = 1
CQE_MORE = 2
CQE_SOCK_NONEMPTY = 4
CQE_BUFFER_SHIFT = 16

# registrations
REGISTER_EVENTFD = 4
REGISTER_FILES_UPDATE = 6
REGISTER_PROBE = 8
REGISTER_ENABLE_RINGS = 12
REGISTER_FILES2 = 13
REGISTER_IOWQ_MAX_WORKERS = 19
REGISTER_PBUF_RING = 22
UNREGISTER_PBUF_RING = 23
FILES_SPARSE = 1

FILES_MAX = 1 << 20  # IORING_MAX_FIXED_FILES: slots of one ring's table
BUFFER_IDS_MAX = 1 << 16  # a buffer id is 16 bits
BUFFER_RING_MAX = 1 << 15  # entries of one provided buffer ring

POLLIN = 0x1
POLLOUT = 0x4
POLLERR = 0x8
POLLHUP = 0x10
POLLRDHUP = 0x2000

MSG_DONTWAIT = 0x40
MSG_WAITALL = 0x100
MSG_NOSIGNAL = 0x4000

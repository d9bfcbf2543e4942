"""The dtypes and numbers of uring_abi against the kernel's own header, as a compiler sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from c1m.kernel import libc
from c1m.kernel import uring_abi as abi

HEADER = "linux/io_uring.h"

STRUCTS = {
    "SQE": "struct io_uring_sqe",
    "CQE": "struct io_uring_cqe",
    "BUFFER": "struct io_uring_buf",
    "SQ_OFFSETS": "struct io_sqring_offsets",
    "CQ_OFFSETS": "struct io_cqring_offsets",
    "PARAMS": "struct io_uring_params",
    "FILES_REGISTER": "struct io_uring_rsrc_register",
    "FILES_UPDATE": "struct io_uring_files_update",
    "BUFFER_REGISTER": "struct io_uring_buf_reg",
    "GETEVENTS_ARG": "struct io_uring_getevents_arg",
}
# Where the header has another name for a field; the second was its name when it was reserved.
RENAMED = {
    ("SQE", "op_flags"): ["msg_flags"],
    ("BUFFER", "tail"): ["resv"],
    ("SQ_OFFSETS", "user_addr"): ["user_addr", "resv2"],
    ("CQ_OFFSETS", "user_addr"): ["user_addr", "resv2"],
    ("FILES_REGISTER", "resv"): ["resv2"],
    ("BUFFER_REGISTER", "flags"): ["flags", "pad"],
    ("GETEVENTS_ARG", "min_wait_usec"): ["min_wait_usec", "pad"],
}
OURS_ONLY = {("GETEVENTS_ARG", "ts_sec"), ("GETEVENTS_ARG", "ts_nsec"), ("SQE", "pad")}

CONSTANTS = {
    "SETUP_CQSIZE": "IORING_SETUP_CQSIZE",
    "SETUP_CLAMP": "IORING_SETUP_CLAMP",
    "SETUP_R_DISABLED": "IORING_SETUP_R_DISABLED",
    "SETUP_SUBMIT_ALL": "IORING_SETUP_SUBMIT_ALL",
    "SETUP_TASKRUN_FLAG": "IORING_SETUP_TASKRUN_FLAG",
    "SETUP_SINGLE_ISSUER": "IORING_SETUP_SINGLE_ISSUER",
    "SETUP_DEFER_TASKRUN": "IORING_SETUP_DEFER_TASKRUN",
    "SETUP_NO_SQARRAY": "IORING_SETUP_NO_SQARRAY",
    "OFF_SQ_RING": "IORING_OFF_SQ_RING",
    "OFF_SQES": "IORING_OFF_SQES",
    "SQ_CQ_OVERFLOW": "IORING_SQ_CQ_OVERFLOW",
    "SQ_TASKRUN": "IORING_SQ_TASKRUN",
    "ENTER_GETEVENTS": "IORING_ENTER_GETEVENTS",
    "ENTER_EXT_ARG": "IORING_ENTER_EXT_ARG",
    "OP_NOP": "IORING_OP_NOP",
    "OP_POLL_ADD": "IORING_OP_POLL_ADD",
    "OP_ACCEPT": "IORING_OP_ACCEPT",
    "OP_ASYNC_CANCEL": "IORING_OP_ASYNC_CANCEL",
    "OP_CONNECT": "IORING_OP_CONNECT",
    "OP_CLOSE": "IORING_OP_CLOSE",
    "OP_SEND": "IORING_OP_SEND",
    "OP_RECV": "IORING_OP_RECV",
    "OP_SHUTDOWN": "IORING_OP_SHUTDOWN",
    "OP_SOCKET": "IORING_OP_SOCKET",
    "OP_URING_CMD": "IORING_OP_URING_CMD",
    "OP_FIXED_FD_INSTALL": "IORING_OP_FIXED_FD_INSTALL",
    "OP_BIND": "IORING_OP_BIND",
    "FIXED_FILE": "IOSQE_FIXED_FILE",
    "BUFFER_SELECT": "IOSQE_BUFFER_SELECT",
    "SKIP_SUCCESS": "IOSQE_CQE_SKIP_SUCCESS",
    "ACCEPT_MULTISHOT": "IORING_ACCEPT_MULTISHOT",
    "RECV_POLL_FIRST": "IORING_RECVSEND_POLL_FIRST",
    "RECV_MULTISHOT": "IORING_RECV_MULTISHOT",
    "POLL_MULTISHOT": "IORING_POLL_ADD_MULTI",
    "POLLIN": "POLLIN",
    "POLLOUT": "POLLOUT",
    "POLLERR": "POLLERR",
    "POLLHUP": "POLLHUP",
    "POLLRDHUP": "POLLRDHUP",
    "CQE_SOCK_NONEMPTY": "IORING_CQE_F_SOCK_NONEMPTY",
    "CANCEL_ALL": "IORING_ASYNC_CANCEL_ALL",
    "FILE_INDEX_ALLOC": "IORING_FILE_INDEX_ALLOC",
    "SOCKET_URING_OP_GETSOCKOPT": "SOCKET_URING_OP_GETSOCKOPT",
    "SOCKET_URING_OP_SETSOCKOPT": "SOCKET_URING_OP_SETSOCKOPT",
    "SO_PEERNAME": "SO_PEERNAME",
    "CQE_BUFFER": "IORING_CQE_F_BUFFER",
    "CQE_MORE": "IORING_CQE_F_MORE",
    "CQE_BUFFER_SHIFT": "IORING_CQE_BUFFER_SHIFT",
    "REGISTER_EVENTFD": "IORING_REGISTER_EVENTFD",
    "REGISTER_FILES_UPDATE": "IORING_REGISTER_FILES_UPDATE",
    "REGISTER_PROBE": "IORING_REGISTER_PROBE",
    "REGISTER_ENABLE_RINGS": "IORING_REGISTER_ENABLE_RINGS",
    "REGISTER_FILES2": "IORING_REGISTER_FILES2",
    "REGISTER_IOWQ_MAX_WORKERS": "IORING_REGISTER_IOWQ_MAX_WORKERS",
    "REGISTER_PBUF_RING": "IORING_REGISTER_PBUF_RING",
    "UNREGISTER_PBUF_RING": "IORING_UNREGISTER_PBUF_RING",
    "FILES_SPARSE": "IORING_RSRC_REGISTER_SPARSE",
    "MSG_DONTWAIT": "MSG_DONTWAIT",
    "MSG_WAITALL": "MSG_WAITALL",
    "MSG_NOSIGNAL": "MSG_NOSIGNAL",
}
SYSCALLS = {
    "NR_IO_URING_SETUP": "__NR_io_uring_setup",
    "NR_IO_URING_ENTER": "__NR_io_uring_enter",
    "NR_IO_URING_REGISTER": "__NR_io_uring_register",
}
INCLUDES = (
    HEADER,
    "linux/poll.h",
    "stddef.h",
    "stdio.h",
    "sys/socket.h",
    "sys/syscall.h",
    "time.h",
)


class Compiler:
    """Values of C expressions, and whether a piece of C compiles."""

    def __init__(self, folder: Path) -> None:
        gcc = shutil.which("gcc") or shutil.which("cc")
        if gcc is None:
            pytest.skip("there is no C compiler here to read the kernel's header with")
        self._gcc = gcc
        self._folder = folder
        if not self.compiles("0"):
            pytest.skip(f"the header {HEADER} is not here (package linux-libc-dev)")

    def _run(self, body: str) -> subprocess.CompletedProcess[str]:
        source = "".join(f"#include <{name}>\n" for name in INCLUDES)
        file = self._folder / "layout.c"
        file.write_text(f"{source}int main(void) {{\n{body}\nreturn 0; }}\n")
        command = [self._gcc, "-w", "-o", str(self._folder / "layout"), str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def compiles(self, expression: str) -> bool:
        """Whether the header knows what the expression names."""
        return self._run(f"(void)({expression});").returncode == 0

    def missing(self, expressions: list[str]) -> set[str]:
        """Those of the expressions that the header, being older, does not know."""
        if not expressions:
            return set()
        # One compilation tells all of them: its messages name what is undeclared or absent.
        result = self._run("\n".join(f"(void)({e});" for e in expressions))
        lines = {int(n) for n in re.findall(r"layout\.c:(\d+):", result.stderr)}
        first = len(INCLUDES) + 2
        return {e for i, e in enumerate(expressions) if first + i in lines}

    def values(self, expressions: list[str]) -> dict[str, int]:
        """Their values."""
        body = "\n".join(f'printf("%lld\\n", (long long)({e}));' for e in expressions)
        built = self._run(body)
        assert built.returncode == 0, built.stderr
        program = str(self._folder / "layout")
        printed = subprocess.run([program], capture_output=True, text=True, check=True)
        return dict(zip(expressions, map(int, printed.stdout.split()), strict=True))


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    return Compiler(tmp_path_factory.mktemp("abi"))


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_layout(compiler: Compiler, name: str) -> None:
    struct = STRUCTS[name]
    dtype: np.dtype[np.void] = getattr(abi, name)
    assert dtype.names is not None
    fields = {}
    for field in dtype.names:
        if (name, field) not in OURS_ONLY:
            names = RENAMED.get((name, field), [field])
            absent = compiler.missing([f"offsetof({struct}, {c})" for c in names[:-1]])
            known = [c for c in names if f"offsetof({struct}, {c})" not in absent]
            fields[field] = (
                f"offsetof({struct}, {known[0]})",
                f"sizeof((({struct} *)0)->{known[0]})",
            )
    expressions = [e for pair in fields.values() for e in pair]
    values = compiler.values([f"sizeof({struct})", *expressions])
    size = abi.GETEVENTS_ARG_SIZE if name == "GETEVENTS_ARG" else dtype.itemsize
    assert values[f"sizeof({struct})"] == size
    assert dtype.fields is not None
    for field, (offset, width) in fields.items():
        assert dtype.fields[field][1] == values[offset], f"offset of {name}.{field}"
        if field != "resv":  # reserved words: taken together here, apart there, or the reverse
            assert dtype.fields[field][0].itemsize == values[width], f"size of {name}.{field}"


def test_the_tail_of_a_buffer_ring_lies_in_its_first_entry(compiler: Compiler) -> None:
    expression = "offsetof(struct io_uring_buf_ring, tail)"
    assert abi.BUFFER.fields is not None
    assert compiler.values([expression])[expression] == abi.BUFFER.fields["tail"][1] == 14


def test_unions_of_a_submission(compiler: Compiler) -> None:
    """Names of one place: what the operations mean by the words of a submission."""
    sqe = "struct io_uring_sqe"
    same = {
        "op_flags": ["accept_flags", "cancel_flags", "poll32_events", "msg_flags"],
        "buf_group": ["buf_index", "buf_group"],
        "off": ["addr2", "cmd_op"],
        "file_index": ["splice_fd_in", "optlen"],
        "addr": ["level"],
        "addr3": ["optval"],
    }
    wanted = {(ours, f"offsetof({sqe}, {c})") for ours, names in same.items() for c in names}
    absent = compiler.missing([e for _, e in wanted])
    values = compiler.values([e for _, e in wanted if e not in absent])
    assert abi.SQE.fields is not None
    for ours, expression in wanted:
        if expression in values:
            assert values[expression] == abi.SQE.fields[ours][1], expression
    assert len(values) >= 6


def test_constants(compiler: Compiler) -> None:
    absent = compiler.missing([*CONSTANTS.values()])
    values = compiler.values([c for c in CONSTANTS.values() if c not in absent])
    for ours, c in CONSTANTS.items():
        if c in values:
            assert getattr(abi, ours) == values[c] % (1 << 32), f"{ours} is {c}"
    # What a header of Linux 6.1 has is never absent.
    assert absent <= {
        "IORING_SETUP_NO_SQARRAY", "SOCKET_URING_OP_SETSOCKOPT", "SOCKET_URING_OP_GETSOCKOPT",
        "IORING_OP_BIND", "IORING_OP_FIXED_FD_INSTALL",
    }  # fmt: skip


def test_every_number_is_checked() -> None:
    ours = {name for name, value in vars(abi).items() if name.isupper() and isinstance(value, int)}
    limits = {"FILES_MAX", "BUFFER_IDS_MAX", "BUFFER_RING_MAX", "GETEVENTS_ARG_SIZE"}
    assert ours - limits == set(CONSTANTS)


def test_every_dtype_is_checked() -> None:
    ours = {name for name, value in vars(abi).items() if isinstance(value, np.dtype)}
    assert ours == set(STRUCTS)


def test_numbers_of_the_system_calls(compiler: Compiler) -> None:
    values = compiler.values([*SYSCALLS.values()])
    for ours, c in SYSCALLS.items():
        assert getattr(libc, ours) == values[c]


def test_the_time_span_behind_the_argument_of_enter(compiler: Compiler) -> None:
    assert compiler.values(["sizeof(struct timespec)"]) == {"sizeof(struct timespec)": 16}
    assert abi.GETEVENTS_ARG.itemsize == abi.GETEVENTS_ARG_SIZE + 16

"""Memory for keys: nothing before it is used, not in core dumps, empty in forked children."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from c1m.kernel import secret_memory

ROWS = 1 << 24


def mapping_of(address: int) -> dict[str, str]:
    """What /proc/self/smaps says of the mapping that has this address."""
    lines, is_it = {}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            start, end = (int(each, 16) for each in words[0].split("-"))
            is_it = start <= address < end
        elif is_it:
            lines[words[0].rstrip(":")] = " ".join(words[1:])
    return lines


def dirty(column: npt.NDArray[np.uint8]) -> int:
    """Bytes of its mapping that were written to."""
    return int(mapping_of(column.ctypes.data)["Private_Dirty"].split()[0]) << 10


def test_pages_are_taken_as_they_are_used() -> None:
    column = secret_memory.zeros(ROWS, 48)
    assert column.shape == (ROWS, 48) and not column[::99991].any()
    before = dirty(column)  # neighbours of the same kind are one mapping for the kernel
    column[:1000] = 1
    column[ROWS // 2] = 1
    assert 48 << 10 <= dirty(column) - before <= 64 << 10
    flags = mapping_of(column.ctypes.data)["VmFlags"].split()
    assert {"dd", "wf"} <= set(flags), "core dumps or children have it"
    assert column.flags.writeable and column.dtype == np.uint8


def test_a_child_sees_nothing() -> None:
    code = """if True:
        import os
        from c1m.kernel import secret_memory
        column = secret_memory.zeros(10, 48)
        column[:] = 7
        child = os.fork()
        if not child:
            os._exit(int(column.any()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (column == 7).all()
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_part_of_a_file_is_given_back() -> None:
    fd = secret_memory.file()
    os.write(fd, b"x" * (3 << 16))
    secret_memory.give_back(fd, 1 << 16, 1 << 16)
    assert os.pread(fd, 1 << 16, 1 << 16) == bytes(1 << 16)
    assert os.pread(fd, 9, 0) == os.pread(fd, 9, 2 << 16) == b"x" * 9
    assert os.fstat(fd).st_size == 3 << 16
    os.close(fd)

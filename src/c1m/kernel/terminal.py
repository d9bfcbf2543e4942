"""The controlling terminal.

Facts. When it has gone (its window was closed, the line was hung up) the kernel sends SIGHUP and
takes it from all processes of its session: /dev/tty then gives ENXIO (tty_ioctl(4), tty(4)).
"""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether this process has one."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True

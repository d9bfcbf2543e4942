"""What this package uses of asyncio that is not public, in one place.

These names have been the same from Python 3.11 to 3.14; what differs is said here.
"""

from __future__ import annotations

import sys
from asyncio import SelectorEventLoop, base_events, constants, format_helpers, futures, transports
from typing import Any

LoopBase: Any = SelectorEventLoop
"""Calls `_start_serving`, `_stop_serving`, `_make_socket_transport`, `_make_ssl_transport` and
`_connect_sock` where it would make a transport; has `_ready`, `_scheduled` and `_stopping`."""

FlowControl: Any = transports._FlowControlMixin  # type: ignore[attr-defined,unused-ignore]
"""Watermarks, and calls of pause_writing and resume_writing with their reports."""

set_nodelay: Any = base_events._set_nodelay  # type: ignore[attr-defined]
set_result_unless_cancelled: Any = futures._set_result_unless_cancelled  # type: ignore[attr-defined]
format_callback: Any = format_helpers._format_callback_source  # type: ignore[attr-defined,unused-ignore]
SENDFILE_FALLBACK: Any = constants._SendfileMode.FALLBACK  # type: ignore[attr-defined,unused-ignore]

_ATTACH_TAKES_TRANSPORT = sys.version_info >= (3, 13)


def attach(server: Any, transport: object) -> None:
    """asyncio.Server: one more connection."""
    server._attach(transport) if _ATTACH_TAKES_TRANSPORT else server._attach()


def detach(server: Any, transport: object) -> None:
    """One less."""
    server._detach(transport) if _ATTACH_TAKES_TRANSPORT else server._detach()


def claim(loop: Any, fd: int, transport: object) -> None:
    """add_reader and the like refuse this descriptor: it is a transport's."""
    loop._transports[fd] = transport


def disclaim(loop: Any, fd: int) -> None:
    """It is nobody's again."""
    loop._transports.pop(fd, None)

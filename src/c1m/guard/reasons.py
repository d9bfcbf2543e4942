"""Why the guard ends a connection: numbers beside errnos, in words."""

from __future__ import annotations

from enum import Enum

BASE = 1 << 22  # beside errnos, what TLS says (tls.reasons) and PROXY headers (protocols.proxy)


class Why(Enum):
    """What is said in statistics and in logs. `name` is the limit's."""

    code: int

    PER_SOURCE = "its address has as many connections as it may"
    FULL = "the server is full"
    DENIED = "its address is not let in"
    FIRST_BYTE = "it sent nothing in time"
    IDLE = "idle too long"
    UNREAD = "it did not read for too long"
    UNSENT = "more was unsent than it may have"


for _place, _why in enumerate(Why):
    _why.code = BASE + _place
BY_CODE = {why.code: why for why in Why}

"""Why the guard ends a connection: numbers beside errnos, in words."""

from __future__ import annotations

from enum import Enum

BASE = 1 << 22  # beside errnos, what TLS says (tls.reasons) and PROXY headers (protocols.proxy)


class Why(Enum):
    """What is said in statistics and in logs. `value` is the limit's option, and the words."""

    code: int

    PER_SOURCE = "per_source", "its address has as many connections as it may"
    FULL = "connections_max", "the server is full"
    DENIED = "deny", "its address is not let in"
    NO_ADDRESS = "allow", "nothing says its address, and not all are let in"
    FIRST_BYTE = "first_byte_timeout", "it sent nothing in time"
    IDLE = "idle_timeout", "idle too long"
    UNREAD = "unread_timeout", "it did not read for too long"
    UNSENT = "unsent_max", "more was unsent than it may have"
    UNSENT_SOFT = "unsent_soft", "too much was unsent for too long"
    UNSENT_TOTAL = "unsent_total", "too much was unsent in all, and it was owed most of it"

    @property
    def option(self) -> str:
        """The limit's."""
        return str(self.value[0])

    @property
    def words(self) -> str:
        """For people."""
        return str(self.value[1])


for _place, _why in enumerate(Why):
    _why.code = BASE + _place
BY_CODE = {why.code: why for why in Why}
# What happens at limits that end nobody, and at the one that does both.
_ACTS = {
    "connections_max": "the server is full",
    "accept_rate": "more come than are accepted in a second, and wait",
    "memory_max": "the process has more memory than that, and further connections wait",
    "turn": "a connection brings more into a tick than it may, and waits for its next turn",
}


def acts(option: str) -> str:
    """What it means that this limit acts, in words."""
    words = {why.option: why.words for why in reversed(Why)} | _ACTS
    return words.get(option, "it has begun")

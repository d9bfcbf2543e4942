"""What clients and publishers do wrong, and how they are told: one list for all of them. Pure."""

from __future__ import annotations

from c1m.protocols.websocket.frames import Close

# By kind: the status of HTTP. A WebSocket of form=json is told in JSON and stays; a raw one, which
# has no other way to be told, is closed with CLOSE_CODES.
STATUSES = {
    "bad-request": 400,
    "bad-channel": 400,
    "bad-message": 400,
    "too-many-channels": 400,
    "no-token": 401,
    "bad-token": 401,
    "not-allowed": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "too-large": 413,
    "upgrade-required": 426,
    "busy": 503,
    "stopping": 503,
    "not-relayed": 503,
    "unknown": 504,
}
CLOSE_CODES = {
    "too-large": Close.TOO_LARGE,
    "stopping": Close.GOING_AWAY,
    "not-relayed": Close.TRY_LATER,
    "unknown": Close.TRY_LATER,
}


class Mistake(ValueError):
    """What was asked cannot be done: `kind` for programs, `why` for people.

    `line` says which one of many in a request it is, from 1 on.
    """

    def __init__(self, kind: str, why: str, *, line: int = 0) -> None:
        assert kind in STATUSES
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.line = line

    @property
    def status(self) -> int:
        """Of HTTP."""
        return STATUSES[self.kind]

    @property
    def close_code(self) -> int:
        """Of a WebSocket that cannot be told otherwise."""
        return CLOSE_CODES.get(self.kind, Close.POLICY)

    def as_value(self) -> dict[str, object]:
        """{"error": {"kind": ..., "message": ...}}, with "line" where it is one of many."""
        said: dict[str, object] = {"kind": self.kind, "message": self.why}
        if self.line:
            said["line"] = self.line
        return {"error": said}


BUSY = Mistake("busy", "Much is on its way to subscribers: try again a little later.")
STOPPING = Mistake("stopping", "The server stops: try again when it is back.")

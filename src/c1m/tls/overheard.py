"""What is kept of a handshake under way, so that its connection can be taken over."""

from __future__ import annotations

from c1m.tls.hello import Hello, HelloReader
from c1m.tls.keylog import CLIENTS, SERVERS, Secrets


class Overheard:
    """What is kept of a handshake under way for the hand-over."""

    __slots__ = ("_is_client", "_reader", "hello", "secrets")

    def __init__(self, *, is_client: bool) -> None:
        self._is_client = is_client
        self._reader: HelloReader | None = HelloReader()  # of what the client says
        self.hello: Hello | None = None
        self.secrets: Secrets = {}

    def step(self, came: bytes, said: bytes) -> None:
        """To be called behind each step, also one that fails: what came before it, and was said."""
        if self.hello is None:
            assert self._reader is not None
            self.hello = self._reader.take(said if self._is_client else came)
            if self.hello is None:
                return
            self._reader = None
        if len(self.secrets) == 2:
            return
        keylog = CLIENTS if self._is_client else SERVERS
        self.secrets |= keylog.take(self.hello.random)

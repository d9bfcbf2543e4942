"""The hand-over: when a handshake of TLS 1.3 is done, its connection goes on with records of ours.

What is needed for that: both application traffic secrets, which the key log has (`keylog.py`); how
many records were written under them, which are the tickets of a server; and what came behind the
peer's Finished, which OpenSSL has not looked at (`session.py`). Whatever else was negotiated binds
the handshake only, but for what `_stays` names: then the connection stays with its ssl object.
"""

from __future__ import annotations

import ssl
from weakref import WeakSet

from c1m.tls.hello import Hello
from c1m.tls.keylog import CLIENT, SERVER, keylog_of
from c1m.tls.overheard import Overheard
from c1m.tls.records import DATA, HEADER, Records
from c1m.tls.session import Session
from c1m.tls.suites import BY_NAME


class HandOff:
    """Takes connections of one engine over into `records`."""

    def __init__(self, capacity: int) -> None:
        self.records = Records(capacity)
        self._contexts: WeakSet[ssl.SSLContext] = WeakSet()

    def attach(self, context: ssl.SSLContext) -> None:
        """Connections of this context can be taken over, also if SNI brings them to it.

        Raises UsageError where it logs its keys elsewhere.
        """
        if context not in self._contexts:
            keylog_of(context).attach(context)
            self._contexts.add(context)

    def close(self) -> None:
        """Let all contexts go, and wipe what is left of connections."""
        self.records.forget_all()
        for context in tuple(self._contexts):
            keylog_of(context).detach(context)
        self._contexts.clear()

    def take_over(
        self, slot: int, session: Session, overheard: Overheard, said: bytes
    ) -> bytes | None:
        """A handshake that is done, and what its last step has said: what is to be opened now.

        None: the connection stays with its ssl object.
        """
        secrets, overheard.secrets = overheard.secrets, {}
        cipher = session.object.cipher()
        suite = BY_NAME.get(cipher[0]) if cipher is not None else None
        if suite is None or len(secrets) != 2 or _stays(session, overheard.hello):
            return None
        is_client = not session.object.server_side
        ours, theirs = (CLIENT, SERVER) if is_client else (SERVER, CLIENT)
        self.records.take_over(
            slot,
            suite,
            secrets[theirs],
            secrets[ours],
            is_client=is_client,
            # A client's last flight is under the keys of the handshake.
            written=0 if is_client else protected_in(said),
        )
        return session.leftover()


def _stays(session: Session, hello: Hello | None) -> bool:
    """Whether what was negotiated binds what comes, or ssl has begun to read that."""
    if hello is None or hello.wants_short_records:  # ours have any length
        return True
    if not session.object.server_side and session.object.context.post_handshake_auth:
        return True  # the server may ask for a certificate
    return session.object.pending() > 0


def protected_in(said: bytes) -> int:
    """How many of these records are protected."""
    count = at = 0
    while at + HEADER <= len(said):
        count += said[at] == DATA
        at += HEADER + int.from_bytes(said[at + 3 : at + HEADER], "big")
    return count

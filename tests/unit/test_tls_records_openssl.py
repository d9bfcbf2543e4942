"""The same wrong records to OpenSSL and to ours: both end it, and say why in the same words.

Where OpenSSL says something else than what RFC 8446 names, that stands beside it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from c1m.engine.contract import Pieces
from c1m.tls.handoff import HandOff
from c1m.tls.keylog import CLIENT, SERVER
from c1m.tls.reasons import ALERT, OUR_ALERT, Alert
from c1m.tls.records import Records
from c1m.tls.session import Session
from tls_pairs import CAPACITY, SLOT, begun, client_context, server_context, shaken
from tls_streams import (
    ALERT_TYPE,
    CCS,
    HANDSHAKE,
    PLAIN_MAX,
    Direction,
    Maker,
    SlowReader,
    ticket,
)

A = Alert
SAME, TAKEN = -1, -2  # by OpenSSL: answered as by us; taken for right


def handshake(maker: Maker, message: bytes) -> bytes:
    return maker.record(HANDSHAKE, message)


# What, our alert, OpenSSL's where it is another.
WRONG: dict[str, tuple[Callable[[Maker], bytes], int, int]] = {
    "a change_cipher_spec": (lambda m: b"\x14\x03\x03\0\x01\x01", A.UNEXPECTED_MESSAGE, SAME),
    "an unprotected alert": (lambda m: b"\x15\x03\x03\0\x02\x01\0", A.UNEXPECTED_MESSAGE, SAME),
    "unprotected handshake": (lambda m: b"\x16\3\3\0\4\x18\0\0\0", A.UNEXPECTED_MESSAGE, SAME),
    "too long": (lambda m: b"\x17\x03\x03\x41\x01" + bytes(16641), A.RECORD_OVERFLOW, SAME),
    "cannot be opened": (lambda m: b"\x17\x03\x03\0\x30" + bytes(48), A.BAD_RECORD_MAC, SAME),
    "content too long": (lambda m: m.data(bytes(PLAIN_MAX + 1)), A.RECORD_OVERFLOW, SAME),
    "padding too long": (lambda m: m.data(bytes(PLAIN_MAX), 1), A.RECORD_OVERFLOW, TAKEN),
    "only padding": (lambda m: m.inner(bytes(9)), A.UNEXPECTED_MESSAGE, SAME),
    "change_cipher_spec inside": (lambda m: m.record(CCS, b"\1"), A.UNEXPECTED_MESSAGE, SAME),
    "another type inside": (lambda m: m.record(99, b"\1"), A.UNEXPECTED_MESSAGE, SAME),
    "an empty handshake record": (lambda m: handshake(m, b""), A.UNEXPECTED_MESSAGE, SAME),
    "an empty alert": (lambda m: m.record(ALERT_TYPE, b""), A.UNEXPECTED_MESSAGE, SAME),
    "a long alert": (
        lambda m: m.record(ALERT_TYPE, b"\1\0\1\0"), A.DECODE_ERROR, A.UNEXPECTED_MESSAGE,
    ),
    "an unknown KeyUpdate": (lambda m: handshake(m, b"\x18\0\0\1\2"), A.ILLEGAL_PARAMETER, SAME),
    "a long KeyUpdate": (
        lambda m: handshake(m, b"\x18\0\0\2\0\0"), A.DECODE_ERROR, A.ILLEGAL_PARAMETER,
    ),
    "a KeyUpdate and more": (
        lambda m: handshake(m, b"\x18\0\0\1\0" * 2), A.UNEXPECTED_MESSAGE, SAME,
    ),
    "a ticket": (lambda m: handshake(m, ticket()), A.UNEXPECTED_MESSAGE, SAME),
    "33 empty records": (
        lambda m: b"".join([m.data(b"") for _ in range(33)]), A.UNEXPECTED_MESSAGE, SAME,
    ),
}  # fmt: skip


def told(session: Session, secret: bytes, came: bytes) -> int:
    """The alert that ssl answers these with."""
    session.incoming.write(came)
    found: Pieces = []
    try:
        session.read(SLOT, found)
    except ssl.SSLError:
        assert not found
    else:
        return TAKEN
    return SlowReader(Direction(0, secret), True).read(session.said()).reason - ALERT


@pytest.mark.parametrize("what", WRONG)
def test_wrong_records(what: str) -> None:
    make, ours, openssl = WRONG[what]
    handoff = HandOff(CAPACITY)
    client, server = begun(client_context(), server_context(0))
    handoff.attach(server_context(0))
    shaken(client, server)
    secrets = server.overheard.secrets
    stream = make(Maker(0, secrets[CLIENT]))
    said = told(server.session, secrets[SERVER], stream)
    handoff.close()
    assert said == (ours if openssl == SAME else openssl)
    records = Records(CAPACITY)
    records.take_over(SLOT, 0, secrets[CLIENT], secrets[SERVER])
    assert records.open_many([(SLOT, stream)]).ended == [(SLOT, OUR_ALERT + ours)]

"""What a failed handshake is: a number, and words, on both sides."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import pytest

import certificates
from c1m.tls import reasons
from c1m.tls.failures import reason_of, words_of

OURS = certificates.authority()


@dataclass
class Side:
    """One end: an ssl object over memory, and what its handshake ended with."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    object: ssl.SSLObject
    error: ssl.SSLError | None = None
    is_done: bool = False

    def step(self) -> None:
        """Go on, also behind the handshake, where an alert of the peer may come."""
        if self.error is not None:
            return
        try:
            if not self.is_done:
                self.object.do_handshake()
                self.is_done = True
            self.object.read(1)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error


def side(context: ssl.SSLContext, name: str | None = None) -> Side:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    is_server = name is None
    return Side(incoming, outgoing, context.wrap_bio(incoming, outgoing, is_server, name))


def served(leaf: certificates.Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key, leaf.password)
    return context


def trusting(authority: certificates.Authority = OURS) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.cert))


def reasons_of(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost"
) -> tuple[int, int]:
    """What a handshake that fails is for the server and for the client."""
    near, far = side(server), side(client, name)
    for _ in range(4):
        far.step()
        near.incoming.write(far.outgoing.read())
        near.step()
        far.incoming.write(near.outgoing.read())
    return tuple(0 if each.error is None else reason_of(each.error) for each in (near, far))  # type: ignore[return-value]


def test_a_certificate_that_does_not_fit() -> None:
    server = served(OURS.leaf("localhost"))
    expired = served(OURS.leaf("localhost", span=certificates.EXPIRED))
    early = served(OURS.leaf("localhost", span=certificates.NOT_YET))
    others = trusting(certificates.authority("another authority"))
    alert = reasons.ALERT
    assert reasons_of(server, trusting()) == (0, 0)
    assert reasons_of(expired, trusting()) == (alert + 45, reasons.EXPIRED)
    assert reasons_of(early, trusting()) == (alert + 42, reasons.NOT_YET_VALID)
    assert reasons_of(server, others) == (alert + 48, reasons.UNKNOWN_ISSUER)
    wrong = reasons_of(server, trusting(), "elsewhere.example")
    assert wrong[1] == reasons.WRONG_NAME
    assert wrong[0] > alert


def test_one_that_is_its_own_issuer() -> None:
    itself = certificates.Leaf(
        OURS.cert, certificates._written("key", _key_of(OURS)), OURS.certificate
    )
    server = served(itself)
    other = trusting(certificates.authority("another authority"))
    assert reasons_of(server, other)[1] == reasons.SELF_SIGNED


def _key_of(authority: certificates.Authority) -> bytes:
    return certificates._key_pem(authority._key, None)


def test_nothing_in_common() -> None:
    server, client = served(OURS.leaf("localhost")), trusting()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert reasons_of(server, client) == (reasons.NO_COMMON, reasons.ALERT + 70)
    server, client = served(OURS.leaf("localhost")), trusting()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    client.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert reasons_of(server, client) == (reasons.NO_COMMON, reasons.ALERT + 40)


def test_a_client_without_the_certificate_that_is_asked_for() -> None:
    server = served(OURS.leaf("localhost"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(OURS.cert)
    assert reasons_of(server, trusting()) == (reasons.NO_CERTIFICATE, reasons.ALERT + 116)
    client = trusting()
    others = certificates.authority("another authority").leaf("mallory", client=True)
    client.load_cert_chain(others.cert, others.key)
    assert reasons_of(server, client) == (reasons.UNKNOWN_ISSUER, reasons.ALERT + 48)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", reasons.HTTP_TO_TLS),
        (b"CONNECT host:443 HTTP/1.1\r\n\r\n", reasons.HTTP_TO_TLS),
        (b"*1\r\n$4\r\nPING\r\n", reasons.NOT_TLS),
        (b"\x16\x03\x01\xff\xff" + bytes(100), reasons.BAD_RECORD),
    ],
)
def test_what_is_no_tls(said: bytes, reason: int) -> None:
    near = side(served(OURS.leaf("localhost")))
    near.incoming.write(said)
    near.step()
    assert near.error is not None
    assert reason_of(near.error) == reason
    assert "_ssl.c" not in words_of(near.error)
    assert len(words_of(near.error)) > 5


def test_the_words_are_those_of_the_certificate() -> None:
    server = served(OURS.leaf("localhost", span=certificates.EXPIRED))
    near, far = side(server), side(trusting(), "localhost")
    far.step()
    near.incoming.write(far.outgoing.read())
    near.step()
    far.incoming.write(near.outgoing.read())
    far.step()
    assert far.error is not None
    assert words_of(far.error) == "certificate has expired"


def test_an_error_that_has_no_name_is_a_failed_handshake() -> None:
    assert reason_of(ssl.SSLError(1, "unknown")) == reasons.HANDSHAKE_FAILED
    assert words_of(ssl.SSLError(1, "unknown")) == "unknown"

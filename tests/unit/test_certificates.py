"""The tests' own certificates are what they say: ssl accepts or refuses them for that reason."""

from __future__ import annotations

import ssl

import pytest

import certificates


def verified(leaf: certificates.Leaf, ca: certificates.Authority, name: str) -> str:
    """A handshake in memory: the version, or why the client refused."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf.cert, leaf.key, leaf.password)
    client = ssl.create_default_context(cafile=str(ca.cert))
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(a, b, server_side=True)
    theirs = client.wrap_bio(b, a, server_hostname=name)
    for _ in range(3):
        for end in (theirs, ours):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return str(theirs.version())


@pytest.mark.parametrize("kind", [certificates.ECDSA, certificates.RSA, certificates.ED25519])
def test_a_leaf_is_for_its_names(kind: str) -> None:
    ours = certificates.authority()
    leaf = ours.leaf("localhost", "127.0.0.1", kind=kind)
    assert leaf is ours.leaf("localhost", "127.0.0.1", kind=kind)
    assert verified(leaf, ours, "localhost") == "TLSv1.3"
    assert verified(leaf, ours, "127.0.0.1") == "TLSv1.3"
    assert "mismatch" in verified(leaf, ours, "example.org")
    assert "issuer" in verified(leaf, certificates.authority("another"), "localhost")


def test_spans_chains_and_passwords() -> None:
    ours = certificates.authority()
    assert "expired" in verified(ours.leaf("a", span=certificates.EXPIRED), ours, "a")
    assert "not yet valid" in verified(ours.leaf("a", span=certificates.NOT_YET), ours, "a")
    assert verified(ours.intermediate.leaf("a"), ours, "a") == "TLSv1.3"
    assert "issuer" in verified(ours.intermediate.leaf("a", chain=False), ours, "a")
    assert verified(ours.leaf("a", password="secret"), ours, "a") == "TLSv1.3"
    assert "unsuitable" in verified(ours.leaf("a", client=True), ours, "a")
    assert b"ENCRYPTED" in ours.leaf("a", password="secret").key.read_bytes()

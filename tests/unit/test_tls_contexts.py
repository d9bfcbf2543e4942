"""A server's contexts: every mistake in its files is a sentence; by name; and what clients get."""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

import certificates
from c1m import TLS, UsageError
from c1m.addresses import AF_INET, Endpoint
from c1m.tls.contexts import Contexts, contexts_of
from c1m.tls.credentials import PeerCertificate, read_certificates
from c1m.units import NS_PER_S

OURS = certificates.authority()
LEAF = OURS.leaf("localhost", "127.0.0.1")


def listeners(*schemes: str) -> list[Endpoint]:
    return [Endpoint(AF_INET, "127.0.0.1", 1, scheme=scheme) for scheme in schemes]


def made(*args: Any, schemes: tuple[str, ...] = ("tls",), **options: Any) -> Contexts:
    return contexts_of(TLS(*args, **options), listeners(*schemes))


def refused(*args: Any, **options: Any) -> str:
    with pytest.raises(UsageError) as raised:
        made(*args, **options)
    return str(raised.value)


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.touch(0o600)
    path.write_bytes(content)
    return path


def shaken(server: ssl.SSLContext, name: str, *, shows: Any = None, **options: Any) -> Any:
    """The client's end of a handshake in memory; the client has these options."""
    client = ssl.create_default_context(cafile=str(OURS.cert))
    if shows is not None:
        client.load_cert_chain(shows.cert, shows.key)
    client.set_alpn_protocols(["h2", "http/1.1"])
    for option, value in options.items():
        setattr(client, option, value)
    return between(server, client, name)


def between(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str, session: Any = None
) -> ssl.SSLObject:
    """A handshake in memory, and a byte behind it: the client's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    for end in (theirs, ours) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    ours.write(b"x")
    assert theirs.read(1) == b"x"
    return theirs


def names_shown(connection: ssl.SSLObject) -> set[str]:
    shown = connection.getpeercert()
    assert shown is not None
    return {str(name[1]) for name in shown["subjectAltName"]}


# --- what is wrong, in a sentence -----------------------------------------------------------------


def test_a_key_of_another_certificate() -> None:
    said = refused(LEAF.cert, OURS.leaf("other").key)
    assert "does not fit the certificate" in said


def test_encrypted_keys(tmp_path: Path) -> None:
    leaf = OURS.leaf("a", password="right")
    assert "is encrypted, and there is no passphrase" in refused(leaf.cert, leaf.key)
    wrong = refused(leaf.cert, leaf.key, key_password="wrong")
    assert "cannot be opened with that passphrase" in wrong
    assert "wrong" not in wrong.replace("passphrase", "")
    made(leaf.cert, leaf.key, key_password="right")
    file = written(tmp_path, "password", b"right\n")
    made(leaf.cert, leaf.key, key_password_file=file)
    made(LEAF.cert, LEAF.key, key_password="not needed")
    umlauts = OURS.leaf("a", password="schlüssel")
    made(umlauts.cert, umlauts.key, key_password="schlüssel")
    file = written(tmp_path, "umlauts", "schlüssel\n".encode())
    made(umlauts.cert, umlauts.key, key_password_file=file)
    file.chmod(0o644)
    assert "everybody may read it" in refused(leaf.cert, leaf.key, key_password_file=file)
    assert "right" not in repr(TLS(leaf.cert, leaf.key, key_password="right"))


def test_who_may_read_a_key(tmp_path: Path) -> None:
    key = written(tmp_path, "key", LEAF.key.read_bytes())
    for mode in (0o600, 0o640):  # its group may: ssl-cert on Debian
        key.chmod(mode)
        made(LEAF.cert, key)
    key.chmod(0o644)
    said = refused(LEAF.cert, key)
    assert "everybody may read it" in said
    assert f"chmod 600 {key}" in said
    assert stat.S_IMODE(key.stat().st_mode) == 0o644


@pytest.mark.parametrize("span", [certificates.EXPIRED, certificates.NOT_YET])
def test_a_span_that_is_not_now_is_noted(span: str) -> None:
    leaf = OURS.intermediate.leaf("a", span=span)
    (note,) = made(leaf.cert, leaf.key).notes
    assert ("has expired (" if span == certificates.EXPIRED else "is not valid before ") in note
    is_over = span == certificates.EXPIRED
    found = leaf.certificate
    day = found.not_valid_after_utc if is_over else found.not_valid_before_utc
    assert f"{day:%Y-%m-%d}" in note


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "cannot be read: no such file" in refused(tmp_path / "none", LEAF.key)
    assert "cannot be read: no such file" in refused(LEAF.cert, tmp_path / "none")
    assert "cannot be read: is a directory" in refused(tmp_path, LEAF.key)
    text = written(tmp_path, "text", b"hello\n")
    assert "is no PEM" in refused(text, LEAF.key)
    assert "no private key" in refused(LEAF.cert, text)
    assert "is no PEM" in refused(written(tmp_path, "empty", b""), LEAF.key)
    der = written(tmp_path, "der", ssl.PEM_cert_to_DER_cert(LEAF.certificate.public_bytes(
        serialization.Encoding.PEM).decode()))  # fmt: skip
    assert "openssl x509 -inform der" in refused(der, LEAF.key)
    broken = LEAF.cert.read_bytes().replace(b"MII", b"MIX", 1)
    assert "cannot be read" in refused(written(tmp_path, "broken", broken), LEAF.key)
    broken = LEAF.key.read_bytes().replace(b"MI", b"XX", 1)
    assert "cannot be read" in refused(LEAF.cert, written(tmp_path, "broken key", broken))


def test_certificate_and_key_mixed_up() -> None:
    said = refused(LEAF.key, LEAF.cert)
    assert "has a private key, and no certificate" in said
    assert "the other way round" in said
    assert "has a certificate, and no private key" in refused(LEAF.cert, OURS.cert)
    assert "has a private key, and no certificate" in refused(LEAF.key)


def test_a_certificate_alone(tmp_path: Path) -> None:
    """Everybody may read it; what is missing is the key."""
    alone = written(tmp_path, "cert.pem", LEAF.cert.read_bytes())
    alone.chmod(0o644)
    said = refused(alone)
    assert "No key is given, and " in said
    assert "Give --tls-key FILE, too" in said


def test_a_chain_upside_down_broken_or_not_there(tmp_path: Path) -> None:
    leaf = OURS.intermediate.leaf("a")
    first, second = read_certificates(str(leaf.cert))
    own, above = (c.public_bytes(serialization.Encoding.PEM) for c in (first, second))
    assert "is upside down" in refused(written(tmp_path, "down", above + own), leaf.key)
    other = certificates.authority("another").cert.read_bytes()
    (note,) = made(written(tmp_path, "broken", own + other), leaf.key).notes
    assert "is broken" in note
    assert "CN=c1m test intermediate" in note
    (note,) = made(written(tmp_path, "alone", own), leaf.key).notes
    assert "has no chain" in note
    assert made(leaf.cert, leaf.key).notes == []


def test_ciphers_that_leave_none() -> None:
    assert "leaves none" in refused(LEAF.cert, LEAF.key, ciphers="NOTHING")
    of_rsa = "ECDHE-RSA-AES128-GCM-SHA256"
    assert "leaves none for a key of ECDSA" in refused(LEAF.cert, LEAF.key, ciphers=of_rsa)
    rsa = OURS.leaf("a", kind=certificates.RSA)
    made(rsa.cert, rsa.key, ciphers=of_rsa)
    both = refused(LEAF.cert, LEAF.key, ciphers=of_rsa, min_version="1.3")
    assert "Leave one of the two out" in both


def test_options_that_cannot_be() -> None:
    assert "Use 1.2 or 1.3" in refused(LEAF.cert, LEAF.key, min_version="1.1")
    assert "no certificate" in refused([], LEAF.key)
    assert "1 certificates and 2 keys" in refused(LEAF.cert, [LEAF.key, LEAF.key])
    assert "optional" in refused(LEAF.cert, LEAF.key, client_optional=True)
    assert "no name of a protocol" in refused(LEAF.cert, LEAF.key, alpn=["http/1.1", ""])
    assert "tickets" in refused(LEAF.cert, LEAF.key, tickets=9)
    assert "handshake_timeout" in refused(LEAF.cert, LEAF.key, handshake_timeout=0)
    assert "handoff" in refused(LEAF.cert, LEAF.key, handoff="yes")


def test_a_client_ca_without_certificates(tmp_path: Path) -> None:
    said = refused(LEAF.cert, LEAF.key, client_ca=written(tmp_path, "ca", b""))
    assert "is no PEM" in said
    assert "and no certificate" in refused(LEAF.cert, LEAF.key, client_ca=LEAF.key)


def test_a_copy_is_the_same_with_something_else() -> None:
    tls = TLS(LEAF.cert, LEAF.key, handshake_timeout="3s")
    copy = dataclasses.replace(tls, handoff=True)
    assert (copy.handshake_ns, copy.handoff, copy.pairs) == (3 * NS_PER_S, True, tls.pairs)


def test_two_certificates_for_one_name() -> None:
    other = OURS.leaf("localhost", again=1)
    said = refused([LEAF.cert, other.cert], [LEAF.key, other.key])
    assert "are both for localhost" in said


# --- what clients get -----------------------------------------------------------------------------


def test_a_certificate_by_name_by_wildcard_and_the_first_for_all_others() -> None:
    leaves = [LEAF, OURS.leaf("a.example"), OURS.leaf("*.b.example", "b.example")]
    contexts = made([leaf.cert for leaf in leaves], [leaf.key for leaf in leaves])
    context = contexts.acceptor.by_listener[0]
    assert names_shown(shaken(context, "a.example")) == {"a.example"}
    assert names_shown(shaken(context, "x.B.example")) == {"*.b.example", "b.example"}
    assert names_shown(shaken(context, "localhost")) == {"localhost", "127.0.0.1"}
    for unknown in ("x.y.b.example", "c.example"):
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            shaken(context, unknown)
    assert len([line for line in contexts.facts if line.startswith("certificate: ")]) == 3


def test_two_kinds_of_keys_for_the_same_names() -> None:
    ecdsa, rsa = OURS.leaf("a"), OURS.leaf("a", kind=certificates.RSA)
    context = made([ecdsa.cert, rsa.cert], [ecdsa.key, rsa.key]).acceptor.by_listener[0]
    client = ssl.create_default_context(cafile=str(OURS.cert))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        client.set_ciphers(cipher)
        shown = between(context, client, "a").cipher()
        assert shown is not None and shown[0] == cipher


def test_alpn_is_of_https_listeners_unless_it_is_said() -> None:
    contexts = made(LEAF.cert, LEAF.key, schemes=("https", "http", "rediss", "https"))
    by_listener = contexts.acceptor.by_listener
    assert set(by_listener) == {0, 2, 3}
    assert by_listener[0] is by_listener[3]
    assert shaken(by_listener[0], "localhost").selected_alpn_protocol() == "http/1.1"
    assert shaken(by_listener[2], "localhost").selected_alpn_protocol() is None
    said = made(LEAF.cert, LEAF.key, schemes=("tls",), alpn="h2").acceptor.by_listener[0]
    assert shaken(said, "localhost").selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tickets", [0, 1])
def test_tickets(version: ssl.TLSVersion, tickets: int) -> None:
    context = made(LEAF.cert, LEAF.key, tickets=tickets).acceptor.by_listener[0]
    client = ssl.create_default_context(cafile=str(OURS.cert))
    client.maximum_version = version
    first = between(context, client, "localhost")
    again = between(context, client, "localhost", first.session)
    assert again.session_reused is bool(tickets)


def test_defaults_are_forward_secret_and_authenticated() -> None:
    context = made(LEAF.cert, LEAF.key).acceptor.context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher
        assert cipher["name"].startswith(("TLS_", "ECDHE-")), cipher


def test_certificates_of_clients() -> None:
    alice = OURS.leaf("alice", client=True)
    mallory = certificates.authority("another").leaf("alice", client=True)
    context = made(LEAF.cert, LEAF.key, client_ca=OURS.cert).acceptor.by_listener[0]
    assert context.verify_mode is ssl.CERT_REQUIRED
    shaken(context, "localhost", shows=alice)
    for wrong in (mallory, None, LEAF):
        with pytest.raises(ssl.SSLError):
            shaken(context, "localhost", shows=wrong)
    context = made(
        LEAF.cert, LEAF.key, client_ca=OURS.cert, client_optional=True
    ).acceptor.by_listener[0]
    shaken(context, "localhost")
    with pytest.raises(ssl.SSLError):
        shaken(context, "localhost", shows=mallory)


def test_whom_a_certificate_names() -> None:
    leaf = OURS.leaf("alice", "alice.example", "127.0.0.1", client=True)
    der = leaf.certificate.public_bytes(serialization.Encoding.DER)
    peer = PeerCertificate.of(der)
    assert (peer.subject, peer.common_name) == ("CN=alice", "alice")
    assert peer.issuer == "CN=c1m test authority"
    assert peer.names == ("alice", "alice.example", "127.0.0.1")
    assert peer.serial == leaf.certificate.serial_number
    assert peer.not_after == leaf.certificate.not_valid_after_utc
    assert "der" not in repr(peer)

"""The hand-over, against Python's ssl: in memory."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import certificates
from c1m.errors import UsageError
from c1m.tls.handoff import HandOff, protected_in
from c1m.tls.hello import Hello, HelloReader
from c1m.tls.keylog import CLIENTS, SERVER, SERVERS, KeyLog
from c1m.tls.suites import SUITES
from tls_pairs import (
    CAPACITY,
    SLOT,
    End,
    Handed,
    begun,
    client_context,
    offer,
    read,
    server_context,
    shaken,
    text,
)


@pytest.fixture
def handoff() -> Iterator[HandOff]:
    """One that lets its contexts go."""
    handoff = HandOff(CAPACITY)
    yield handoff
    handoff.close()


def fresh_server(**attributes: object) -> ssl.SSLContext:
    served = certificates.authority().leaf("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.cert, served.key)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def fresh_client(**attributes: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.authority().cert)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def done(
    handoff: HandOff,
    client: ssl.SSLContext,
    server: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
) -> tuple[End, End]:
    """Both ends behind their handshake."""
    for context in (client, server):
        handoff.attach(context)
    ends = begun(client, server, session)
    shaken(*ends)
    return ends


Check = Callable[[HandOff, End, End], None]


def check_server(handoff: HandOff, client: End, server: End) -> None:
    """It is taken over, and speaks with the client's ssl object."""
    handed = Handed(server, handoff)
    assert text(handed.open(client.session.write(b"ping")).plain) == b"ping"
    assert read(client.session, handed.seal(b"pong")) == b"pong"


def check_client(handoff: HandOff, client: End, server: End) -> None:
    """It is taken over, and speaks with the server's ssl object."""
    handed = Handed(client, handoff)
    assert text(handed.open(server.session.write(b"ping")).plain) == b"ping"
    assert read(server.session, handed.seal(b"pong")) == b"pong"


@pytest.mark.parametrize("check", [check_server, check_client])
@pytest.mark.parametrize("tickets", [0, 1, 2, 7])
@pytest.mark.parametrize("suite", range(len(SUITES)))
def test_either_side_is_taken_over(
    handoff: HandOff, suite: int, tickets: int, check: Check
) -> None:
    client, server = done(handoff, client_context(suite), server_context(tickets))
    cipher = client.session.object.cipher()
    assert cipher is not None and cipher[0] == SUITES[suite].name
    assert protected_in(server.last) == tickets
    check(handoff, client, server)


def test_what_came_with_the_finished_is_opened(handoff: HandOff) -> None:
    client, server = begun(client_context(), server_context())
    for end in (client, server):
        handoff.attach(end.session.object.context)
    finished = client.step(server.step(client.step(b"")))
    early = client.session.write(b"one") + client.session.write(b"two")
    server.step(finished + early[:-4])
    handed = Handed(server, handoff)
    assert text(handed.first.plain) == b"one"
    assert text(handed.open(early[-4:]).plain) == b"two"


def test_tickets_that_come_later_are_skipped(handoff: HandOff) -> None:
    client, server = begun(client_context(), server_context())
    for end in (client, server):
        handoff.attach(end.session.object.context)
    finished = client.step(server.step(client.step(b"")))
    handed = Handed(client, handoff)
    tickets = server.step(finished)
    for at in range(len(tickets)):
        opened = handed.open(tickets[at : at + 1])
        assert not opened.plain and not opened.replies and not opened.ended
    assert text(handed.open(server.session.write(b"ping")).plain) == b"ping"


@pytest.mark.parametrize("check", [check_server, check_client])
def test_a_second_hello_is_no_matter(handoff: HandOff, check: Check) -> None:
    server = fresh_server()
    server.set_ecdh_curve("secp384r1")  # of which a client sends no share at first
    ends = begun(fresh_client(), server)
    for end in ends:
        handoff.attach(end.session.object.context)
    client, served = ends
    retry = served.step(client.step(b""))
    assert len(retry) < 200, "no HelloRetryRequest"
    shaken(client, served, retry)
    check(handoff, client, served)


@pytest.mark.parametrize("check", [check_server, check_client])
def test_a_certificate_of_the_client_is_no_matter(handoff: HandOff, check: Check) -> None:
    alice = certificates.authority().leaf("alice", client=True)
    client, server = fresh_client(), fresh_server(verify_mode=ssl.CERT_REQUIRED)
    client.load_cert_chain(alice.cert, alice.key)
    server.load_verify_locations(certificates.authority().cert)
    ends = done(handoff, client, server)
    assert ends[1].session.object.getpeercert()
    check(handoff, *ends)


@pytest.mark.parametrize("check", [check_server, check_client])
def test_resumed_ones_are_taken_over(handoff: HandOff, check: Check) -> None:
    context, server = fresh_client(), fresh_server()
    first, _ = done(handoff, context, server)
    read(first.session)
    ends = done(handoff, context, server, first.session.object.session)
    assert ends[0].session.object.session_reused
    check(handoff, *ends)


def test_another_certificate_by_name_is_no_matter(handoff: HandOff) -> None:
    other, server = fresh_server(), fresh_server()

    def chosen(connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        connection.context = other

    server.sni_callback = chosen
    handoff.attach(other)
    check_server(handoff, *done(handoff, fresh_client(), server))


# --- those that stay ------------------------------------------------------------------------------


def stays(handoff: HandOff, end: End) -> bool:
    return handoff.take_over(SLOT, end.session, end.overheard, end.last) is None


def test_tls_1_2_stays_with_ssl(handoff: HandOff) -> None:
    client = fresh_client(maximum_version=ssl.TLSVersion.TLSv1_2)
    ends = done(handoff, client, fresh_server())
    assert [stays(handoff, end) for end in ends] == [True, True]
    assert not ends[0].overheard.secrets


def test_a_cipher_that_is_none_of_ours_stays_with_ssl(handoff: HandOff) -> None:
    client, server = fresh_client(), fresh_server()
    for context in (client, server):
        offer(context, "TLS_AES_128_CCM_SHA256")
    ends = done(handoff, client, server)
    assert [stays(handoff, end) for end in ends] == [True, True]


def test_without_its_secrets_it_stays_with_ssl(handoff: HandOff) -> None:
    ends = begun(fresh_client(), fresh_server())
    shaken(*ends)
    assert [stays(handoff, end) for end in ends] == [True, True]


def test_a_client_that_may_be_asked_later_stays_with_ssl(handoff: HandOff) -> None:
    client, server = done(handoff, fresh_client(post_handshake_auth=True), fresh_server())
    assert stays(handoff, client) and not stays(handoff, server)


def test_a_client_that_wants_short_records_stays_with_ssl(handoff: HandOff) -> None:
    _, server = done(handoff, fresh_client(), fresh_server())
    hello = hello_of(with_extension(first_said(), 1, b"\x01"))
    assert hello is not None and hello.wants_short_records
    server.overheard.hello = hello
    assert stays(handoff, server)


# --- what a ClientHello says ----------------------------------------------------------------------


def first_said() -> bytes:
    return begun(fresh_client(), fresh_server())[0].step(b"")


def with_extension(hello: bytes, kind: int, content: bytes) -> bytes:
    """The same ClientHello, in one record, with another extension behind the others."""
    more = kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content
    body = bytearray(hello[9:] + more)
    at = 34 + 1 + body[34]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    size = int.from_bytes(body[at : at + 2], "big") + len(more)
    body[at : at + 2] = size.to_bytes(2, "big")
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return hello[:3] + len(message).to_bytes(2, "big") + message


def hello_of(said: bytes) -> Hello | None:
    return HelloReader().take(said)


def test_a_hello_has_a_random() -> None:
    said = first_said()
    hello = hello_of(said)
    assert hello is not None and not hello.wants_short_records
    assert hello.random == said[11:43]
    assert said[11:43].hex() not in repr(hello) and str(said[11:43]) not in repr(hello)
    assert hello_of(said + b"\x14\x03\x03\0\x01\x01") == hello  # what is behind it is no matter


def test_a_hello_may_come_in_any_pieces() -> None:
    said = first_said()
    message = said[5:]
    split = b"".join(
        b"\x16\x03\x01\0\x07" + message[at : at + 7] for at in range(0, len(message) // 7 * 7, 7)
    )
    rest = message[len(message) // 7 * 7 :]
    split += b"\x16\x03\x01" + len(rest).to_bytes(2, "big") + rest
    assert hello_of(split) == hello_of(said)
    for size in range(len(said)):
        assert hello_of(said[:size]) is None
    for size in range(len(split)):
        found = hello_of(split[:size])
        assert found is None or (not rest and size == len(split) - 5)
    reader = HelloReader()
    found_by_bytes = [reader.take(split[at : at + 1]) for at in range(len(split))]
    assert [each for each in found_by_bytes if each is not None][:1] == [hello_of(said)]


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(99), b"\x16\x03\x01\0\x05\x02\0\0\x01\0"]
)
def test_what_is_no_hello(said: bytes) -> None:
    assert hello_of(said) is None


# --- the key log ----------------------------------------------------------------------------------


def test_secrets_are_those_of_the_random_and_given_once(handoff: HandOff) -> None:
    client, server = fresh_client(), fresh_server()
    for context in (client, server):
        handoff.attach(context)
    several = [begun(client, server) for _ in range(5)]
    said = [one.session for one, _ in several]
    hellos = []
    for session in said:
        session.shake()
        hellos.append(session.said())
    for (_, served), hello in zip(several, hellos, strict=True):
        served.session.incoming.write(hello)
        served.session.shake()  # without having been overheard
    randoms = [hello[11:43] for hello in hellos]
    found = [SERVERS.take(each) for each in reversed(randoms)]
    assert all(set(each) == {SERVER} for each in found)  # the client's comes with its Finished
    assert len({each[SERVER] for each in found}) == 5
    assert [SERVERS.take(each) for each in randoms] == [{}] * 5
    assert SERVERS.take(bytes(32)) == {}


def test_a_users_own_log_is_not_taken(tmp_path: Path) -> None:
    context = fresh_client(keylog_filename=str(tmp_path / "keys"))
    with pytest.raises(UsageError, match="SSLKEYLOGFILE"):
        HandOff(CAPACITY).attach(context)
    assert context.keylog_filename == str(tmp_path / "keys")


def test_contexts_may_be_shared() -> None:
    context, one, other = fresh_server(), HandOff(CAPACITY), HandOff(CAPACITY)
    for handoff in (one, one, other):
        handoff.attach(context)
    client = fresh_client()
    one.attach(client)
    one.close()
    assert context.keylog_filename is not None and client.keylog_filename is None
    check_server(other, *done(other, client, context))
    other.close()
    assert context.keylog_filename is None


def test_what_nobody_takes_stops_nothing() -> None:
    """Somebody else's handshakes with a context of ours."""
    context, client, handoff = fresh_server(), fresh_client(), HandOff(CAPACITY)
    handoff.attach(context)
    for _ in range(100):
        one, other = begun(client, context)
        said = b""
        for _ in range(2):
            one.session.incoming.write(said)
            one.is_done = one.is_done or one.session.shake()
            other.session.incoming.write(one.session.said())
            other.session.shake()
            said = other.session.said()
    check_server(handoff, *done(handoff, client, context))  # reading has made room
    handoff.close()


def descriptors() -> int:
    """Of key logs, in this process: each has one, and each of its contexts."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the directory's own
            count += os.readlink(f"/proc/self/fd/{name}").startswith("/memfd:c1m-tls")
    return count


def test_nothing_is_left_open() -> None:
    log, before = KeyLog(), descriptors()
    context, gone = fresh_server(), fresh_server()
    log.attach(context)
    log.attach(gone)
    assert descriptors() == before + 3
    del gone
    log.detach(context)
    assert descriptors() == before
    log.detach(context)  # twice is no harm
    log.attach(context)
    assert descriptors() == before + 2
    log.detach(context)
    assert descriptors() == before


def test_what_was_read_is_wiped(handoff: HandOff) -> None:
    done(handoff, fresh_client(), fresh_server())
    for log in (CLIENTS, SERVERS):
        assert log._at > 300 and not log._unclaimed
        assert not any(os.pread(log._fd, log._at + 1, 0))


def test_its_memory_is_given_back() -> None:
    log, context = KeyLog(), fresh_server()
    log.attach(context)
    line = f"{SERVER} {'00' * 32} {'ab' * 32}\n".encode()
    with open(f"/proc/self/fd/{log._fd}", "ab", buffering=0) as file:
        for _ in range(2000):
            file.write(line)
            assert log.take(bytes(32)) == {SERVER: b"\xab" * 32}
    assert os.fstat(log._fd).st_blocks * 512 <= 1 << 17 < log._at
    log.detach(context)


def test_handshakes_of_several_threads() -> None:
    """Each has its own hand-offs of both sides, and contexts that all have."""
    client, server = fresh_client(), fresh_server()
    failed: list[BaseException] = []

    def run() -> None:
        handoff = HandOff(CAPACITY)
        try:
            for _ in range(10):
                ends = done(handoff, client, server)
                ours, theirs = Handed(ends[1], handoff), Handed(ends[0], HandOff(CAPACITY))
                assert not ours.first.ended and not theirs.first.ended
                assert text(theirs.open(ours.seal(b"ping")).plain) == b"ping"
                assert text(ours.open(theirs.seal(b"pong")).plain) == b"pong"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    keep = HandOff(CAPACITY)
    keep.attach(client)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keep.close()
    assert not failed

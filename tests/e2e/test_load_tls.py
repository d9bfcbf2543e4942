"""`c1m load` over TLS: against our servers, and against those of Python's ssl with each defect."""

from __future__ import annotations

import itertools
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import c1m
import certificates
from c1m.errors import UsageError
from e2e.cli_helpers import Server, assert_as_asked, load, run

OURS = certificates.authority()
OTHERS = certificates.authority("another authority")
SERVED = OURS.leaf("localhost", "127.0.0.1")
HANDOFF = ("", "--tls-handoff")
RESET = ("ECONNRESET", "EPIPE")  # by what was sent to one that was closed, before its alert is read
TRUST = ("--ca", OURS.cert)


def tls_server(tmp_path: Path, *arguments: object, leaf: certificates.Leaf = SERVED) -> Server:
    """An echo over TLS."""
    flags = ("--tls-cert", leaf.cert, "--tls-key", leaf.key)
    return Server(tmp_path, *flags, *arguments, listen=["tls://127.0.0.1:0"])


@pytest.mark.parametrize("server_flag", HANDOFF)
@pytest.mark.parametrize("flag", HANDOFF)
def test_an_echo(tmp_path: Path, engine: str, server_flag: str, flag: str) -> None:
    with tls_server(tmp_path, "--engine", engine, *filter(None, [server_flag])) as server:
        status, record, output = load(
            tmp_path, server.url, *TRUST, "--connections", 60, "--hold", "1s", "--think", "0s",
            "--engine", engine, *filter(None, [flag]), "--require", "secured.p50 < 100s",
        )  # fmt: skip
        assert status == 0, output
        assert server.stop() == 0
    c, tls = record.connections, record.tls
    assert (c.attempted, c.connected, c.secured, c.opened, c.ready) == (60,) * 5
    assert c.lost == c.tls_failed == 0
    assert record.latencies["secured"].count == record.latencies["connect"].count == 60
    assert sum(record.series.secured) == 60
    assert record.requests.right == record.requests.sent > 60
    assert tls is not None and (tls.version, tls.resumed) == ("TLSv1.3", 0)
    assert tls.handed_off == (60 if flag else 0) and tls.seconds > 0
    assert tls.subject == "CN=localhost" and tls.expires > record.started
    assert "secured: TLS handshake done" in output


@pytest.mark.parametrize("flag", HANDOFF)
def test_sessions_are_taken_up(tmp_path: Path, flag: str) -> None:
    """The first connection brings a ticket before its first reply, and none begins before that."""
    with tls_server(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, *TRUST, "--connections", 50, "--tls-resume", *filter(None, [flag])
        )
    assert status == 0, output
    assert record.tls is not None and record.tls.resumed == 49
    assert record.tls.handed_off == (49 if flag else 0), "the one that brings it stays with ssl"


def test_each_stage_over_tls(tmp_path: Path) -> None:
    stages = [
        "ramp 0..80 in 500ms", "hold for 500ms think 20ms",
        "steps 80..100 by 10 every 300ms think 20ms", "storm 50%", "hold 100 for 500ms", "stampede",
        "drain in 300ms",
    ]  # fmt: skip
    with tls_server(tmp_path, "--tls-handoff") as server:
        status, record, output = load(
            tmp_path, server.url, *TRUST, "--tls-handoff", "--churn", "100/s",
            *(word for stage in stages for word in ("--stage", stage)),
        )  # fmt: skip
    assert_as_asked(status, record, output)
    c = record.connections
    assert c.lost == 0 and c.closed > 100 and c.opened == c.secured == c.attempted


def test_several_targets_have_their_own_names(tmp_path: Path) -> None:
    """One is right by its address, the other by its name; under another name both are wrong."""
    with tls_server(tmp_path) as one, tls_server(tmp_path) as other:
        places = (one.url, other.url.replace("127.0.0.1", "localhost"))
        status, _, output = load(tmp_path, *places, *TRUST, "--connections", 20)
        assert status == 0, output
        refused = run("load", *places, *TRUST, "--server-name", "elsewhere.example")
    assert refused.returncode == 2
    assert "is for other names (localhost, 127.0.0.1)" in refused.stderr
    assert "--server-name" in refused.stderr


# --- what is spoken over it -----------------------------------------------------------------------


@pytest.mark.parametrize("flag", HANDOFF)
def test_redis_over_tls(tmp_path: Path, flag: str) -> None:
    files = ("--tls-cert", SERVED.cert, "--tls-key", SERVED.key)
    with Server(tmp_path, *files, app="kv", listen=["rediss://127.0.0.1:0"]) as server:
        for more in ((), ("--scenario", "redis-subscribe", "--think", "20ms")):
            status, record, output = load(
                tmp_path, server.url.replace("tls", "rediss"), *TRUST, "--connections", 20,
                "--hold", "500ms", *more, *filter(None, [flag]),
            )  # fmt: skip
            assert status == 0, output
            assert record.connections.secured == 20 and record.requests.right > 0


@pytest.mark.parametrize("flag", HANDOFF)
def test_web_sockets_and_events_over_tls(tmp_path: Path, flag: str) -> None:
    """Also published by POST, on a connection of its own over TLS, under another name."""
    files = ("--tls-cert", SERVED.cert, "--tls-key", SERVED.key)
    with Server(tmp_path, *files, app="push", listen=["https://127.0.0.1:0"]) as server:
        place = server.url.partition("://")[2].rstrip("/")
        elsewhere = f"https://{place.replace('127.0.0.1', 'localhost')}/publish?channel=a"
        for target, more in (
            (f"wss://{place}/connect?channel=a", ()),
            (f"wss://{place}/connect?channel=a", ("--publish-to", elsewhere)),
            (f"sses://{place}/events?channel=a", ()),
            (f"sses://{place}/events?channel=a", ("--publish-to", elsewhere)),
        ):
            status, record, output = load(
                tmp_path, target, *TRUST, "--connections", 22, "--scenario", "publish",
                "--publishers", 2, "--hold", "500ms", "--think", "20ms", *more,
                *filter(None, [flag]),
            )  # fmt: skip
            assert status == 0, output
            fan_out, tls = record.fan_out, record.tls
            assert fan_out is not None and fan_out.received == fan_out.expected > 0
            assert tls is not None and tls.protocol in ("http/1.1", "")
            posts = 2 if more or target.startswith("sses") else 0
            assert record.latencies["secured"].count == 22
            assert record.latencies["handshake"].count == 22 - posts
            assert "opened: request accepted" in output


def test_openssls_own_server(tmp_path: Path) -> None:
    """It answers a line with the line from behind, one connection after the other; the first of
    each run asks for its certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = [
        openssl, "s_server", "-accept", "127.0.0.1:0", "-cert", SERVED.cert, "-key",
        SERVED.key, "-rev", "-naccept", "6",
    ]  # fmt: skip
    server = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        while "ACCEPT" not in (line := server.stdout.readline()):
            assert server.poll() is None
        port = line.strip().rpartition(":")[2]
        for flags in ((), ("--tls-handoff",), ("--tls-handoff", "--tls-resume")):
            status, record, output = load(
                tmp_path, f"tls://127.0.0.1:{port}", *TRUST, *flags, "--connections", 1,
                "--scenario", "ping", "--message", "abcd\\n", "--expect", "dcba\\n",
                "--hold", "300ms", "--think", "20ms",
            )  # fmt: skip
            assert status == 0, output
            assert record.requests.right > 1
    finally:
        server.kill()
        server.communicate()


# --- servers with a defect ------------------------------------------------------------------------


def context_of(leaf: certificates.Leaf = SERVED) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    return context


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does this with every connection in a thread, then ends it; a target."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    try:
        yield f"tls://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join()


def echoing(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Over TLS, until the client ends it; close_notify is answered."""

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            while piece := secured.recv(1 << 14):
                secured.sendall(piece)
            secured.unwrap()

    return answer


def older(context: ssl.SSLContext) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("flags", [(), ("--tls-handoff",), ("--tls-resume",)])
@pytest.mark.parametrize("is_old", [False, True])
def test_pythons_ssl(tmp_path: Path, is_old: bool, flags: Sequence[str]) -> None:
    context = older(context_of()) if is_old else context_of()
    with serving(echoing(context)) as target:
        status, record, output = load(
            tmp_path,
            target,
            *TRUST,
            "--connections",
            30,
            "--hold",
            "300ms",
            "--think",
            "0s",
            *flags,
        )
    assert status == 0, output
    assert record.tls is not None
    assert record.tls.version == ("TLSv1.2" if is_old else "TLSv1.3")
    assert record.tls.handed_off == (30 if "--tls-handoff" in flags and not is_old else 0)
    assert record.tls.resumed == (29 if "--tls-resume" in flags else 0)


EXPIRED = OURS.leaf("localhost", "127.0.0.1", span=certificates.EXPIRED)
NOT_YET = OURS.leaf("localhost", "127.0.0.1", span=certificates.NOT_YET)
ELSEWHERE = OURS.leaf("elsewhere.example", "192.0.2.7")


def at_first(first: certificates.Leaf, then: certificates.Leaf) -> Callable[[socket.socket], None]:
    """An echo that has another certificate from the second connection on."""
    later = itertools.repeat(echoing(context_of(then)))
    answers = itertools.chain([echoing(context_of(first))], later)
    return lambda connection: next(answers)(connection)


@pytest.mark.parametrize(
    ("leaf", "trusted", "errno", "text"),
    [
        (EXPIRED, OURS, "certificate expired", "expired: '20"),
        (NOT_YET, OURS, "certificate not yet valid", "not valid yet: '20"),
        (ELSEWHERE, OURS, "wrong name", "elsewhere.example, 192.0.2.7"),
        (OTHERS.leaf("localhost"), OURS, "unknown issuer", "CN=another authority"),
    ],
)
def test_certificates_that_are_refused(
    tmp_path: Path,
    leaf: certificates.Leaf,
    trusted: certificates.Authority,
    errno: str,
    text: str,
) -> None:
    """The first handshake asks whether there is any use in beginning."""
    with serving(at_first(SERVED, leaf)) as target:
        common = (target, "--connections", 12)
        status, record, output = load(tmp_path, *common, "--ca", trusted.cert)
        assert status == 1
        (failure,) = record.failures
        assert (failure.phase, failure.errno, failure.count) == ("tls", errno, 12)
        assert text in failure.text and failure.remedy
        c = record.connections
        assert (c.connected, c.secured, c.tls_failed, c.opened) == (12, 0, 12, 0)
        assert f"12 x {errno} in the TLS handshake" in output
        status, record, output = load(tmp_path, *common, "--insecure")
        assert status == 0, output


@pytest.mark.parametrize(
    ("leaf", "trusted", "text"),
    [
        (EXPIRED, OURS, "the server's certificate has expired (20"),
        (NOT_YET, OURS, "the server's certificate is not valid yet (20"),
        (
            ELSEWHERE,
            OURS,
            "is for other names (elsewhere.example, 192.0.2.7). Give one",
        ),
        (
            SERVED,
            OTHERS,
            "certificate (signed by CN=c1m test authority). Give the ",
        ),
    ],
)
def test_a_certificate_that_is_refused_before_anything_is_opened(
    leaf: certificates.Leaf, trusted: certificates.Authority, text: str
) -> None:
    with serving(echoing(context_of(leaf))) as target:
        done = run("load", target, "--ca", trusted.cert)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("c1m: At 127.0.0.1:") and text in done.stderr
    assert done.stderr.count("\n") == 1


def resetting(connection: socket.socket) -> None:
    connection.recv(1 << 14)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def silent(connection: socket.socket) -> None:
    while connection.recv(1 << 14):
        pass


def answering(said: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 14)
        connection.sendall(said)
        silent(connection)

    return answer


def ending(connection: socket.socket) -> None:
    connection.recv(1 << 14)


@pytest.mark.parametrize(
    ("answer", "errno", "text"),
    [
        (ending, "TLS EOF", "ended the connection within the handshake"),
        (resetting, "ECONNRESET", "reset the connection within the handshake"),
        (silent, "ETIMEDOUT", "did not finish the handshake in time"),
        (answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no TLS", "no TLS"),
        (answering(b"-ERR unknown command\r\n"), "no TLS", "no TLS"),
        (answering(b"\x15\x03\x03\0\x02\x02\x28"), "alert handshake_failure", "no cipher"),
        (answering(b"\x15\x03\x03\0\x02\x02\x46"), "alert protocol_version", "no version"),
    ],
)
def test_servers_that_cannot(
    tmp_path: Path, answer: Callable[[socket.socket], None], errno: str, text: str
) -> None:
    with serving(answer) as target:
        timeout = "5s" if answer is silent else "60s"
        status, record, output = load(
            tmp_path, target, *TRUST, "--connections", 9, "--timeout", timeout
        )
    assert status == 1
    (failure,) = record.failures
    assert (failure.phase, failure.errno, failure.count) == ("tls", errno, 9)
    assert text in failure.text and failure.remedy
    assert text in " ".join(output.split())
    assert record.connections.tls_failed == record.connections.connected == 9


def test_versions_that_do_not_meet(tmp_path: Path) -> None:
    with serving(echoing(older(context_of()))) as target:
        status, record, output = load(
            tmp_path, target, *TRUST, "--connections", 5, "--tls-min", "1.3"
        )
    assert status == 1
    (failure,) = record.failures
    assert failure.errno in ("nothing in common", "alert protocol_version"), failure
    assert "version" in output and "--tls-min" in output


def test_a_stream_that_is_cut(tmp_path: Path) -> None:
    """The end of the stream without a close_notify is told from a close."""
    context = context_of()

    def cutting(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(secured.recv(1 << 14))
            secured.recv(1 << 14)

    for flags in ((), ("--tls-handoff",)):
        with serving(cutting) as target:
            status, record, output = load(
                tmp_path, target, *TRUST, "--connections", 7, "--stage", "ramp 7", "--stage",
                "stampede", *flags,
            )  # fmt: skip
        assert status == 1
        assert [(f.phase, f.errno, f.count) for f in record.failures] == [("open", "truncated", 7)]
        assert "without a close_notify" in output


def test_client_certificates(tmp_path: Path) -> None:
    context = context_of()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(OURS.cert)
    mine, strange = OURS.leaf("alice", client=True), OTHERS.leaf("mallory", client=True)
    with serving(echoing(context)) as target:
        common = (target, *TRUST, "--connections", 6)
        shown = ("--cert", mine.cert, "--key", mine.key)
        status, record, output = load(tmp_path, *common, *shown)
        assert status == 0, output
        status, record, output = load(tmp_path, *common, "--cert", mine.both)
        assert status == 0, output
        # By TLS 1.3 a client's handshake is done before the server has looked at its certificate.
        status, record, output = load(tmp_path, *common)
        assert status == 1
        assert {f.errno for f in record.failures} <= {"alert certificate_required", *RESET}
        shown = ("--cert", strange.cert, "--key", strange.key)
        status, record, output = load(tmp_path, *common, *shown)
    assert status == 1
    assert {f.errno for f in record.failures} <= {"alert unknown_ca", *RESET}


# --- TLS and plain mixed up -----------------------------------------------------------------------


def test_plain_bytes_to_a_tls_port(tmp_path: Path) -> None:
    with tls_server(tmp_path) as server:
        for scheme in ("tcp", "ws"):
            status, _, output = load(
                tmp_path, server.url.replace("tls", scheme), "--connections", 5
            )
            assert status == 1
            assert "speaks TLS" in output, output
        plain = server.url.replace("tls", "redis")
        status, _, output = load(tmp_path, plain, "--connections", 5, "--hold", "1s")
        assert status == 1
        assert server.url.replace("tls", "rediss") in output, output


def test_bad_input_opens_nothing(tmp_path: Path) -> None:
    """One sentence each; nothing listens on these ports, and nobody is asked."""
    (tmp_path / "empty.pem").touch()
    other = OTHERS.leaf("mallory", client=True)
    locked = OURS.leaf("locked", password="secret")
    target, plain, ca = "tls://127.0.0.1:1", "tcp://127.0.0.1:1", str(OURS.cert)
    posting = {"scenario": "publish", "publish_to": "http://127.0.0.1/p"}
    given: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (target, {"ca": str(tmp_path / "none.pem")}, "cannot be read: no such file"),
        (target, {"ca": str(tmp_path)}, "cannot be read: is a directory"),
        (target, {"ca": str(tmp_path / "empty.pem")}, "has no certificate in PEM"),
        (target, {"ca": str(SERVED.key)}, "has no certificate in PEM"),
        (target, {"ca": ca, "insecure": True}, "Give one of them"),
        (target, {"key": str(SERVED.key)}, "--key is the key of --cert"),
        (target, {"cert": str(SERVED.cert), "key": str(other.key)}, "is not that of the cert"),
        (target, {"cert": str(SERVED.cert)}, "a certificate and its key in"),
        (target, {"cert": str(locked.cert), "key": str(locked.key)}, "is encrypted"),
        (target, {"tls_min": "1.1"}, "1.1"),
        (plain, {"ca": ca}, "--ca is for targets over TLS"),
        ([target, "tcp://127.0.0.1:2"], {}, "Some targets are over TLS, others are not"),
        ("wss://127.0.0.1:1/", posting, "with TLS or without, all alike"),
    )
    for targets, options, said in given:
        with pytest.raises(UsageError) as error:
            c1m.load(targets, connections=1, **options)
        assert said in str(error.value) and "secret" not in str(error.value)
    done = run("load", target, "--ca", tmp_path / "none.pem", "--connections", 1)
    assert done.returncode == 2 and "cannot be read: no such file" in done.stderr

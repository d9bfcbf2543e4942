"""OpenSSL's s_client as a client of our servers.

Its letters (K, k, R, Q) are commands where they begin what it reads; what is said beside them is
digits.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable

from certificates import ECDSA, RSA

from ..obtaining import CannotBeHad
from .cases import CLIENT, Case
from .piped import Piped
from .stage import SIZES, Failed, Stage, digits, payload

PEER = "OpenSSL s_client"
BY_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
BY_12 = tuple(
    (kind, f"ECDHE-{kind.upper()}-{cipher}")
    for kind in (ECDSA, RSA)
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)


def version() -> str:
    """As it says it."""
    if shutil.which("openssl") is None:
        raise CannotBeHad("openssl is not installed; try: apt-get install openssl")
    return subprocess.run(["openssl", "version"], capture_output=True, text=True).stdout.strip()


def s_client(stage: Stage, port: int, *options: object) -> Piped:
    """It, connected."""
    version()
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", stage.ca]
    command += ["-verify_return_error", "-no_ign_eof", *options]
    return Piped(command, stage.where)


def _echo_all(client: Piped, make: Callable[[int], bytes] = payload) -> None:
    for size in SIZES:
        sent = make(size)
        if client.exchange(sent) != sent:
            raise Failed(f"an echo of {size} bytes was wrong")


def _close(client: Piped, *, says: bytes = b"") -> None:
    """It ends by close_notify, when its input does, and waits for ours."""
    client.end_input()
    status = client.wait()
    if status != 0 or client.came != says or "error" in client.errors.lower():
        raise Failed(f"it ended with {status}: {bytes(client.came[:200])!r} {client.errors}")


def _expect(client: Piped, *words: str) -> None:
    for word in words:
        client.until_error(word)


def cipher(stage: Stage, *options: str, name: str, protocol: str, kind: str = ECDSA) -> None:
    """All sizes by one cipher, then a close in good order."""
    port = stage.serve(kind=kind)
    with s_client(stage, port, "-brief", "-nocommands", *options) as client:
        _echo_all(client)
        _expect(client, f"Protocol version: {protocol}", f"Ciphersuite: {name}", "Verification: OK")
        _close(client)


def key_updates(stage: Stage) -> str:
    """By K, a KeyUpdate that asks for one back; by k, one that does not: ten of each."""
    port = stage.serve()
    with s_client(stage, port, "-msg", "-msgfile", stage.where / "messages", "-brief") as client:
        for number in range(20):
            client.say(b"k\n" if number % 2 else b"K\n")
            client.until_error("KEYUPDATE\n", number + 1)  # it has read the letter alone
            sent = digits(SIZES[number % len(SIZES)])
            if client.exchange(sent) != sent:
                raise Failed(f"an echo behind KeyUpdate {number} was wrong")
        _close(client)
    said = (stage.where / "messages").read_text(errors="replace")
    out, back = (
        said.count(f"{way} TLS 1.3, Handshake [length 0005], KeyUpdate") for way in (">>>", "<<<")
    )
    if (out, back) != (20, 10):
        raise Failed(f"it sent {out} KeyUpdates and received {back}")
    return f"{out} sent, {back} came back"


def resumption(stage: Stage, protocol: str) -> None:
    """By a session that it kept in a file."""
    port, kept = stage.serve(), stage.where / "session.pem"
    kept.unlink(missing_ok=True)
    for way, word in (("-sess_out", b"New, "), ("-sess_in", b"Reused, ")):
        with s_client(stage, port, f"-{protocol}", way, kept) as client:
            client.until(word)
            client.say(b"01234567\n")
            client.until(b"01234567\n")
            client.end_input()
            client.wait()


def reconnects(stage: Stage, protocol: str) -> str:
    """-reconnect: five times more with the session of the first."""
    port = stage.serve()
    reused = 0
    with s_client(stage, port, f"-{protocol}", "-reconnect") as client:
        for _ in range(5):
            reused += client.until(b"drop connection and then reconnect").count(b"Reused, ")
        client.end_input()
        client.wait()
        reused += bytes(client.came).count(b"Reused, ")
    # Over TLS 1.3 it does not read before it reconnects, so that it has no ticket.
    if reused != (5 if protocol == "tls1_2" else 0):
        raise Failed(f"it resumed {reused} times of 5")
    return f"resumed {reused} times"


def client_certificate(stage: Stage, protocol: str) -> None:
    """One that is asked for, and shown."""
    port = stage.serve("echo", "--tls-client-ca", stage.ca)
    shown = ("-cert", stage.client.cert, "-key", stage.client.key)
    with s_client(stage, port, "-brief", "-nocommands", f"-{protocol}", *shown) as client:
        _echo_all(client)
        _close(client)


def no_client_certificate(stage: Stage, protocol: str) -> None:
    """One that is asked for, and not shown: an alert says so."""
    port = stage.serve("echo", "--tls-client-ca", stage.ca)
    with s_client(stage, port, "-brief", "-nocommands", f"-{protocol}") as client:
        client.wait()
        wanted = "certificate required" if protocol == "tls1_3" else "handshake failure"
        if wanted not in client.errors:
            raise Failed(f"{wanted!r} is not in what it said: {client.errors}")
    cipher(stage, name="", protocol="")


def killed(stage: Stage) -> None:
    """It is killed in the middle of an echo: others do not feel it."""
    port = stage.serve()
    for _ in range(5):
        with s_client(stage, port, "-brief", "-nocommands") as client:
            client.exchange(payload(100_000), 1)
            client.process.send_signal(signal.SIGKILL)
    cipher(stage, name="", protocol="")


def renegotiation(stage: Stage) -> None:
    """R over TLS 1.2 is refused, and the server goes on."""
    port = stage.serve()
    with s_client(stage, port, "-tls1_2", "-brief") as client:
        client.exchange(b"0123456789\n")
        client.say(b"R\n")
        client.wait()
        if "no renegotiation" not in client.errors:
            raise Failed(f"it was not told: {client.errors}")
    cipher(stage, name="", protocol="")


def early_data(stage: Stage) -> str:
    """0-RTT is not offered: tickets allow none, and what was to go early goes with the rest."""
    port, kept, early = stage.serve(), stage.where / "early.pem", stage.where / "early"
    kept.unlink(missing_ok=True)
    early.write_bytes(b"early")
    with s_client(stage, port, "-tls1_3", "-sess_out", kept) as client:
        client.say(b"01234567\n")
        client.until(b"01234567\n")
        client.end_input()
        client.wait()
    with s_client(stage, port, "-tls1_3", "-sess_in", kept, "-early_data", early) as client:
        client.until(b"Reused, ")
        said = client.until(b"Verify return code")
        client.end_input()
        client.wait()
        if b"Early data was not sent" not in said and b"Early data was rejected" not in said:
            raise Failed(f"it says nothing of early data: {said!r}")
    return "none sent"


def options(stage: Stage, *words: str) -> None:
    """All sizes with options of its own, by both versions that they are for."""
    for protocol in (
        ("tls1_3",) if words[0] in ("-record_padding", "-no_middlebox") else ("tls1_3", "tls1_2")
    ):
        with s_client(
            stage, stage.serve(), "-brief", "-nocommands", f"-{protocol}", *words
        ) as client:
            _echo_all(client)
            _close(client)


def small_records(stage: Stage) -> None:
    """A value of many records' size to one who takes 512 bytes in a record (RFC 6066, 4)."""
    value = payload(20_000)
    asked = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$20000\r\n" + value + b"\r\n"
    for protocol in ("tls1_3", "tls1_2"):
        limits = ("-brief", "-nocommands", f"-{protocol}", "-maxfraglen", "512")
        with s_client(stage, stage.serve("kv"), *limits) as client:
            if client.exchange(asked, 5) != b"+OK\r\n":
                raise Failed("a value was not taken")
            wanted = b"$20000\r\n" + value + b"\r\n"
            if client.exchange(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", len(wanted)) != wanted:
                raise Failed("a value came back another")
            _close(client)


def wrong_version(stage: Stage) -> None:
    """TLS 1.1 is refused with the alert for it."""
    old = ("-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
    with s_client(stage, stage.serve(), "-brief", "-nocommands", *old) as client:
        if client.wait() == 0 or "alert protocol version" not in client.errors:
            raise Failed(f"it was not told: {client.errors}")


def cases() -> list[Case]:
    """All of them."""

    def case(
        what: str, function: Callable[..., str | None], *more: object, **named: object
    ) -> Case:
        def run(stage: Stage) -> str | None:
            return function(stage, *more, **named)

        return Case(PEER, CLIENT, what, run)

    found = [
        case(name, cipher, "-ciphersuites", name, name=name, protocol="TLSv1.3") for name in BY_13
    ]
    found += [
        case(name, cipher, "-tls1_2", "-cipher", name, name=name, protocol="TLSv1.2", kind=kind)
        for kind, name in BY_12
    ]
    found.append(case("KeyUpdate, K and k", key_updates))
    for protocol, said in (("tls1_3", "TLS 1.3"), ("tls1_2", "TLS 1.2")):
        found += [
            case(f"resumption, {said}", resumption, protocol),
            case(f"-reconnect, {said}", reconnects, protocol),
            case(f"a client certificate, {said}", client_certificate, protocol),
            case(f"no client certificate, {said}", no_client_certificate, protocol),
        ]
    for words in (
        "-max_send_frag 512", "-split_send_frag 512 -max_send_frag 1024", "-record_padding 4096",
        "-record_padding 16384", "-maxfraglen 512", "-maxfraglen 4096", "-no_ticket",
        "-no_middlebox", "-groups P-521:P-256",
    ):  # fmt: skip
        found.append(case(words, options, *words.split()))
    return [
        *found,
        case("-maxfraglen 512, a long reply", small_records),
        case("killed", killed),
        case("renegotiation is refused", renegotiation),
        case("early data is refused", early_data),
        case("TLS 1.1 is refused", wrong_version),
    ]

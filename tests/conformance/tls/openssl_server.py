"""OpenSSL's s_server as a server of our load client: one connection at a time.

It does not echo: what it writes to its output is given back to its input. Where its letters are
typed (K, k) what is said beside them is digits.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from certificates import ECDSA, ED25519, RSA

from ..kv_servers import free_port
from .cases import SERVER, Case
from .openssl_client import BY_12, BY_13, version
from .piped import Piped, listens
from .stage import Failed, Stage, all_right, digits, rounds

PEER = "OpenSSL s_server"
UPDATES = 20
TYPED = b"SSL_do_handshake -> 1\n"  # what it says of a letter
MARK = b"<" + digits(17_000) + b">\n"  # more than a record holds


@contextlib.contextmanager
def s_server(stage: Stage, *options: object, kind: str = ECDSA) -> Iterator[tuple[int, Piped]]:
    """Its port, and it."""
    version()
    port, leaf = free_port(), stage.leaf(kind)
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", leaf.cert]
    command += ["-cert_chain", leaf.cert, "-key", leaf.key, "-CAfile", stage.ca, *options]
    with Piped(command, stage.where) as process:
        listens(port, process.process)
        yield port, process


@contextlib.contextmanager
def _echoing(process: Piped, take: Callable[[bytes], None]) -> Iterator[None]:
    """What it says is taken until the end of the `with`, by a thread of its own."""
    wrong: list[BaseException] = []

    def go_on() -> None:
        try:
            while piece := process.piece():
                take(piece)
        except BaseException as why:
            wrong.append(why)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        process.process.terminate()
        thread.join()
    if wrong and not isinstance(wrong[0], BrokenPipeError | Failed):
        raise Failed(f"echoing: {wrong[0]!r}")


def echoes(stage: Stage, *options: object, kind: str = ECDSA, ours: tuple[object, ...] = ()) -> str:
    """All sizes, then a close in good order."""
    with s_server(stage, "-quiet", *options, kind=kind) as (port, process):
        with _echoing(process, process.say):
            said = stage.echoes(port, *ours)
        if "error" in process.errors.lower():
            raise Failed(f"it said {process.errors}")
    return said


def shown(stage: Stage, protocol: str) -> str:
    """It wants a client's certificate."""
    ours = ("--cert", stage.client.cert, "--key", stage.client.key)
    return echoes(stage, "-Verify", "1", "-verify_return_error", f"-{protocol}", ours=ours)


def key_updates(stage: Stage) -> str:
    """K and k typed before it answers: ten of each, then more answers."""
    messages = stage.where / "messages"
    messages.unlink(missing_ok=True)
    sent = 0
    came = bytearray()

    def said(way: str) -> int:
        text = messages.read_text(errors="replace")
        return text.count(f"{way} TLS 1.3, Handshake [length 0005], KeyUpdate")

    def has_sent() -> bool:
        return said(">>>") == sent

    with s_server(stage, "-tls1_3", "-msg", "-msgfile", messages) as (port, process):

        def take(piece: bytes) -> None:
            nonlocal sent
            came.extend(piece)
            came[:] = came.replace(TYPED, b"")  # stands anywhere: it is printed another way
            while MARK in came:
                del came[: came.index(MARK) + len(MARK)]
                if sent < UPDATES:
                    sent += 1
                    process.say(b"k\n" if sent % 2 else b"K\n")
                    process.wait_for(has_sent, "it to say KeyUpdate")
                process.say(MARK)

        (stage.where / "mark").write_bytes(MARK)
        with _echoing(process, take):
            record = stage.load(
                f"tls://127.0.0.1:{port}", "--scenario", "ping", "--connections", "1",
                "--message", f"@{stage.where / 'mark'}", "--expect", f"@{stage.where / 'mark'}",
                *rounds(UPDATES + 4),
            )  # fmt: skip
    right = all_right(record, UPDATES + 5)
    if (said(">>>"), said("<<<")) != (UPDATES, UPDATES // 2):
        raise Failed(f"it sent {said('>>>')} KeyUpdates and received {said('<<<')}")
    return f"{UPDATES} sent, {UPDATES // 2} came back, {right}"


def reversing(stage: Stage, protocol: str) -> str:
    """-rev, which sends back lines reversed."""
    with s_server(stage, "-rev", "-brief", f"-{protocol}") as (port, process):
        record = stage.load(
            f"tls://127.0.0.1:{port}", "--scenario", "ping", "--connections", "1",
            "--message", r"0123456789\n", "--expect", r"9876543210\n", *rounds(3),
        )  # fmt: skip
        process.process.terminate()
    return all_right(record, 4)


def killed(stage: Stage) -> str:
    """It is killed under load: the run ends, and says that a connection was lost, and how."""
    with s_server(stage, "-quiet") as (port, process):
        left = 3

        def take(piece: bytes) -> None:
            nonlocal left
            process.say(piece)
            left -= 1
            if not left:
                process.process.send_signal(signal.SIGKILL)

        with _echoing(process, take):
            record = stage.load(
                f"tls://127.0.0.1:{port}", "--connections", "1", *rounds(5), status=1,
            )  # fmt: skip
    if record["connections"]["lost"] != 1 or len(record["failures"]) != 1:
        raise Failed(f"{record['connections']} {record['failures']}")
    return str(record["failures"][0]["errno"])


def cases() -> list[Case]:
    """All of them."""

    def case(
        what: str, function: Callable[..., str], *more: object, kind: str | None = None
    ) -> Case:
        named = {} if kind is None else {"kind": kind}
        return Case(PEER, SERVER, what, lambda stage: function(stage, *more, **named))

    found = [case(name, echoes, "-tls1_3", "-ciphersuites", name) for name in BY_13]
    found += [case(name, echoes, "-tls1_2", "-cipher", name, kind=kind) for kind, name in BY_12]
    found += [
        case("an RSA certificate, TLS 1.3", echoes, "-tls1_3", kind=RSA),
        case("an Ed25519 certificate, TLS 1.3", echoes, "-tls1_3", kind=ED25519),
        case("KeyUpdate, K and k", key_updates),
    ]
    for protocol, said in (("tls1_3", "TLS 1.3"), ("tls1_2", "TLS 1.2")):
        found.append(case(f"a client certificate, {said}", shown, protocol))
        found.append(case(f"-rev, {said}", reversing, protocol))
    for words in (
        "-num_tickets 0", "-num_tickets 20", "-no_ticket", "-groups P-384",
        "-early_data", "-max_send_frag 512", "-record_padding 4096",
    ):  # fmt: skip
        found.append(case(words, echoes, *words.split()))
    return [*found, case("killed", killed)]

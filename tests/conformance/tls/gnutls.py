"""GnuTLS's gnutls-cli as a client, and gnutls-serv as a server: a library of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

from ..kv_servers import free_port
from ..obtaining import CannotBeHad
from .cases import CLIENT, SERVER, Case
from .piped import Piped, listens
from .stage import SIZES, Failed, Stage, all_right, digits, rounds

BY_13, BY_12 = (f"NORMAL:-VERS-ALL:+VERS-TLS{version}" for version in ("1.3", "1.2"))
CIPHERS = ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305")


def version() -> str:
    """As it says it."""
    if shutil.which("gnutls-cli") is None:
        raise CannotBeHad("gnutls-cli is not installed; try: apt-get install gnutls-bin")
    done = subprocess.run(["gnutls-cli", "--version"], capture_output=True, text=True)
    return done.stdout.splitlines()[0]


def client(stage: Stage, priority: str, *options: object, shows: bool = False) -> None:
    """All sizes as lines, with KeyUpdates of both kinds between them over TLS 1.3; then the end."""
    version()
    port = stage.serve("echo", *(("--tls-client-ca", stage.ca) if shows else ()))
    log = stage.where / "gnutls.log"
    command = ["gnutls-cli", "--inline-commands", "--x509cafile", stage.ca, "--logfile", log]
    command += ["--priority", priority, "-p", port, *options, "localhost"]
    if shows:
        shown = stage.client
        command += ["--x509certfile", shown.cert, "--x509keyfile", shown.key]
    with Piped(command, stage.where) as process:
        rekeyed = 0
        for size in SIZES:
            sent = digits(size) + b"\n"
            if process.exchange(sent) != sent:
                raise Failed(f"an echo of {size} bytes was wrong")
            if priority.startswith(BY_13):
                rekeyed += 1
                process.say(b"^rekey1^\n" if rekeyed % 2 else b"^rekey^\n")
        process.end_input()
        status = process.wait()
        if status != 0 or process.came:
            raise Failed(f"it ended with {status}: {bytes(process.came[:200])!r} {process.errors}")
    if log.read_text().count("Rekey was completed") != rekeyed:
        raise Failed(f"of {rekeyed} KeyUpdates: {log.read_text()[-600:]}")


def resumed(stage: Stage) -> None:
    """--resume: a second connection by the first one's session."""
    version()
    command = ["gnutls-cli", "--x509cafile", stage.ca, "--resume", "-p", stage.serve(), "localhost"]
    with Piped([*command, "--waitresumption"], stage.where) as process:
        process.until(b"This is a resumed session")
        process.end_input()
        process.wait()


def server(stage: Stage, priority: str, *, shows: bool = False) -> str:
    """--echo, to ten connections."""
    version()
    port, leaf = free_port(), stage.leaf()
    command = ["gnutls-serv", "--echo", "-p", port, "--x509certfile", leaf.cert, "--quiet"]
    command += ["--x509keyfile", leaf.key, "--x509cafile", stage.ca, "--priority", priority]
    command += (
        ["--require-client-cert", "--verify-client-cert"] if shows else ["--disable-client-cert"]
    )
    ours = ("--cert", stage.client.cert, "--key", stage.client.key) if shows else ()
    with Piped(command, stage.where, merged=True) as process:
        listens(port, process.process)
        lines = ("--scenario", "lines", "--connections", 10, *rounds(5))
        record = stage.load(f"tls://127.0.0.1:{port}", *lines, *ours)
    return all_right(record, 60)


def cases() -> list[Case]:
    """All of them."""

    def case(
        role: str,
        what: str,
        function: Callable[..., str | None],
        *more: object,
        shows: bool = False,
    ) -> Case:
        named = {"shows": True} if shows else {}
        return Case("GnuTLS", role, what, lambda stage: function(stage, *more, **named))

    found = []
    for role, function in ((CLIENT, client), (SERVER, server)):
        updates = " and KeyUpdate both ways" if role == CLIENT else ""
        for cipher in CIPHERS:
            priority = f"{BY_13}:-CIPHER-ALL:+{cipher}"
            found.append(case(role, f"TLS 1.3, {cipher}{updates}", function, priority))
        for cipher in CIPHERS:
            priority = f"{BY_12}:-CIPHER-ALL:+{cipher}"
            found.append(case(role, f"TLS 1.2, {cipher}", function, priority))
        found.append(case(role, "a client certificate", function, BY_13, shows=True))
    found.append(case(CLIENT, "resumption", resumed))
    return found

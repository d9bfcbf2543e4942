"""What a server is told of TLS: `c1m.TLS`, and --tls-... of `c1m serve`. Opens nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from c1m import arguments
from c1m.arguments import COUNT, DURATION, FLAG, TEXT, TEXTS, AppOption, Choice
from c1m.errors import UsageError
from c1m.units import NS_PER_S

# TLS 1.2 with forward secrecy and authenticated encryption, and nothing else (RFC 9325, 4.2).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
VERSIONS = ("1.2", "1.3")
TICKETS = 1
TICKETS_MAX = 8
ALPN_MAX = 255  # bytes of a name (RFC 7301, 3.1)
HANDSHAKE_NS = 10 * NS_PER_S
HANDSHAKES_MAX = 1024

OPTIONS = (
    AppOption("tls_cert", TEXTS, "The certificate and its chain, in PEM. Given several times: the "
              "one that has the name that the client asks for, else the first.", "FILE"),
    AppOption("tls_key", TEXTS, "Its private key, in PEM; one for each --tls-cert, in the same "
              "order. Not everybody may read it.  [default: in the certificate's file]", "FILE"),
    AppOption("tls_key_password_file", TEXT, "Encrypted keys are opened with the first line of "
              "this file, which nobody else may read.", "FILE"),
    AppOption("tls_client_ca", TEXT, "Clients must show a certificate that one of these issuers "
              "has signed.", "FILE"),
    AppOption("tls_client_optional", FLAG, "They may do without; a wrong one is still refused."),
    AppOption("tls_min_version", Choice(VERSIONS), "The oldest version that is spoken.  [default: "
              "1.2]"),
    AppOption("tls_ciphers", TEXT, "OpenSSL's list of ciphers for TLS 1.2; TLS 1.3 has all of its "
              f"own.  [default: {CIPHERS}]", "LIST"),
    AppOption("tls_alpn", TEXTS, "Protocols to agree on, the best first. May be given more than "
              "once.  [default: http/1.1 where the listener is https://, else none]", "NAME"),
    AppOption("tls_tickets", COUNT.within(0, TICKETS_MAX), "Tickets for each connection, with "
              f"which its client resumes. 0: none.  [default: {TICKETS}]"),
    AppOption("tls_handshake_timeout", DURATION.within(NS_PER_S // 1000, 3600 * NS_PER_S),
              "A handshake may take this long.  [default: 10s]"),
    AppOption("tls_handshakes_max", COUNT.within(1, 1 << 24), "The most handshakes at a time; "
              f"others wait.  [default: {HANDSHAKES_MAX:,}]"),
    AppOption("tls_handoff", FLAG, "Experimental: behind the handshake of TLS 1.3 the traffic keys "
              "are taken over from OpenSSL, and an idle connection takes about a hundred bytes."),
)  # fmt: skip


@dataclass(slots=True)
class TLS:
    """Certificates and keys, as files in PEM, and how TLS is spoken.

    `cert` and `key` are one file each or several, pair by pair; without `key` it is in the file of
    the certificate. The first pair is for clients that ask for no name, or for one that none has.
    `key_password` opens encrypted keys (or `key_password_file`, whose first line does). The other
    options are those of `c1m serve`: `client_ca=FILE` has clients show a certificate
    (`server.peer_certificate(slot)` then says whose), `min_version="1.3"`, `handoff=True`.

    Files are read when a server is made, and by its `reload_tls()`. Raises UsageError for what
    cannot be meant.
    """

    cert: Any
    key: Any = None
    key_password: Any = field(default=None, repr=False)
    key_password_file: Any = None
    client_ca: Any = None
    client_optional: Any = False
    min_version: Any = "1.2"
    ciphers: Any = CIPHERS
    alpn: Any = None
    tickets: Any = TICKETS
    handshake_timeout: Any = HANDSHAKE_NS / NS_PER_S  # or "10s"
    handshakes_max: Any = HANDSHAKES_MAX
    handoff: Any = False

    def __post_init__(self) -> None:
        kinds = {option.name.removeprefix("tls_"): option for option in OPTIONS}
        self.cert, self.key = _paths(self.cert), _paths(self.key)
        self.client_ca = _path(self.client_ca)
        self.key_password_file = _path(self.key_password_file)
        self.alpn = None if isinstance(self.alpn, Sequence) and not self.alpn else self.alpn
        for each in fields(self):
            if each.name in kinds:
                given = kinds[each.name].check(getattr(self, each.name), f"tls.{each.name}")
                if each.name != "handshake_timeout":  # a copy is checked again
                    setattr(self, each.name, given)
        if self.key_password is not None:
            arguments.text("tls.key_password", self.key_password)
            if self.key_password_file is not None:
                raise UsageError("A password and a file of it are given.", "Give one of the two.")
        self._check_pairs()
        self._check_others()

    def _check_pairs(self) -> None:
        if not self.cert:
            raise UsageError(
                "A key is given, and no certificate." if self.key else "There is no certificate.",
                "Give --tls-cert FILE, too (in Python: c1m.TLS(cert, key)).",
            )
        if self.key and len(self.key) != len(self.cert):
            raise UsageError(
                f"There are {len(self.cert)} certificates and {len(self.key)} keys.",
                "Give one key for each certificate, in the same order.",
            )

    def _check_others(self) -> None:
        if self.client_optional and self.client_ca is None:
            raise UsageError(
                "Certificates of clients are optional, and there is nobody who may issue them.",
                "Give --tls-client-ca FILE, too, or leave it out.",
            )
        if self.min_version == "1.3" and self.ciphers not in (None, CIPHERS):
            raise UsageError(
                "The ciphers (--tls-ciphers) are those of TLS 1.2, and the oldest version is 1.3.",
                "Leave one of the two out.",
            )
        for name in self.alpn or ():
            if not (name.isascii() and name.isprintable() and 0 < len(name) <= ALPN_MAX):
                raise UsageError(f"{name!r} is no name of a protocol.", "Write http/1.1.")

    @property
    def handshake_ns(self) -> int:
        """How long a handshake may take."""
        return int(DURATION.check("tls.handshake_timeout", self.handshake_timeout))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Files of certificates, and those of their keys."""
        return list(zip(self.cert, self.key or self.cert, strict=True))


def _path(given: Any) -> Any:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def _paths(given: Any) -> Any:
    if given is None or isinstance(given, str | os.PathLike):
        return [] if given is None else [_path(given)]
    return [_path(each) for each in given] if isinstance(given, list | tuple) else given

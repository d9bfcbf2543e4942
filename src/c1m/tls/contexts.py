"""A server's ssl contexts, made of the files that `c1m.TLS` names: all of them, or a sentence.

One context for each set of names (SNI), each once for every ALPN that listeners want. All have the
same options: when the client has said a name, OpenSSL takes certificates and issuers from the other
context, and the rest from the first.

Facts. With SSL_OP_NO_TICKET TLS 1.2 still resumes by session ids, from a cache of OpenSSL's; Python
has no switch for that. OpenSSL asks for a passphrase on the terminal where no callback gives one.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from c1m.addresses import Endpoint
from c1m.clock import wall_time_s
from c1m.errors import UsageError
from c1m.files import secret_line
from c1m.kernel import ktls
from c1m.tls.credentials import Pair, der_of, name_of, read_certificates, read_pair
from c1m.tls.engine import Acceptor
from c1m.tls.options import TLS

HTTP_ALPN = ("http/1.1",)
SHOWN = 8  # certificates
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
AUTHENTICATION = {
    "RSA": "auth-rsa",
    "ECDSA": "auth-ecdsa",
    "Ed25519": "auth-ecdsa",
    "Ed448": "auth-ecdsa",
}  # (RFC 8422)


@dataclass(slots=True)
class Contexts:
    """What a server accepts with, and what is to be said of it: facts, and what is odd."""

    acceptor: Acceptor
    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def contexts_of(tls: TLS | ssl.SSLContext, endpoints: Sequence[Endpoint]) -> Contexts:
    """For the listeners of a server. Raises UsageError, with nothing kept, for what is wrong."""
    if isinstance(tls, ssl.SSLContext):
        return Contexts(Acceptor(tls), ["TLS: by a context of the program"])
    return _Made(tls).contexts(endpoints)


@dataclass(slots=True)
class _Group:
    """Certificates for the same names, each with another kind of key."""

    pairs: list[Pair]

    @property
    def names(self) -> frozenset[str]:
        return self.pairs[0].names


class _Made:
    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        password = None if tls.key_password is None else tls.key_password.encode()
        if tls.key_password_file is not None:
            password = secret_line(tls.key_password_file, "passphrase").encode("latin-1")
        self._password = password or b""
        self._pairs = [read_pair(cert, key, password) for cert, key in tls.pairs]
        self._groups = _grouped(self._pairs)
        self._issuers = [] if tls.client_ca is None else read_certificates(tls.client_ca)

    def contexts(self, endpoints: Sequence[Endpoint]) -> Contexts:
        by_alpn: dict[tuple[str, ...], list[ssl.SSLContext]] = {}
        by_listener = {}
        for number, endpoint in enumerate(endpoints):
            if endpoint.is_tls:
                alpn = self._alpn(endpoint)
                if alpn not in by_alpn:
                    by_alpn[alpn] = self._of_alpn(alpn)
                by_listener[number] = by_alpn[alpn][0]
        every = [context for each in by_alpn.values() for context in each]
        acceptor = Acceptor(every[0], by_listener, every)
        notes = [note for pair in self._pairs for note in pair.notes(wall_time_s())]
        for issuer in self._issuers:
            if issuer.not_valid_after_utc.timestamp() <= wall_time_s():
                notes.append(
                    f"{name_of(issuer.subject)} in {self._tls.client_ca} has expired: certificates "
                    "of clients that it has signed are refused."
                )
        return Contexts(acceptor, self._facts(), notes)

    def _alpn(self, endpoint: Endpoint) -> tuple[str, ...]:
        if self._tls.alpn is not None:
            return tuple(self._tls.alpn)
        return HTTP_ALPN if endpoint.scheme == "https" else ()

    def _of_alpn(self, alpn: tuple[str, ...]) -> list[ssl.SSLContext]:
        made = [self._context(group, alpn) for group in self._groups]
        if len(made) > 1:
            by_name = {
                name: context
                for group, context in zip(self._groups, made, strict=True)
                for name in group.names
            }
            made[0].sni_callback = _chooser(by_name)
        return made

    def _context(self, group: _Group, alpn: tuple[str, ...]) -> ssl.SSLContext:
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = tls.tickets
        if not tls.tickets:
            context.options |= ssl.OP_NO_TICKET
        _set_version(context, tls.min_version)
        for pair in group.pairs:
            self._load(context, pair)
        self._set_ciphers(context, group)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if self._issuers:
            self._ask_clients(context)
        return context

    def _load(self, context: ssl.SSLContext, pair: Pair) -> None:
        try:
            context.load_cert_chain(pair.cert_file, pair.key_file, lambda: self._password)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise UsageError(
                f"OpenSSL refuses {pair.cert_file} with {pair.key_file} ({_reason(error)}).",
                "Give a certificate with a key of RSA (2,048 bits or more), ECDSA or Ed25519.",
            ) from None

    def _set_ciphers(self, context: ssl.SSLContext, group: _Group) -> None:
        ciphers = self._tls.ciphers
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError:
            raise UsageError(
                f"The list of ciphers {ciphers!r} leaves none.",
                "Look at what it names: openssl ciphers -v LIST",
            ) from None
        if self._tls.min_version == "1.3":
            return
        wanted = {AUTHENTICATION.get(pair.kind, "") for pair in group.pairs}
        old = [each for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"]
        if not any(each["auth"] in wanted for each in old):
            kinds = " and ".join(pair.kind for pair in group.pairs)
            raise UsageError(
                f"The list of ciphers {ciphers!r} leaves none for a key of {kinds}.",
                "Add some for it, or give --tls-min-version 1.3.",
            )

    def _ask_clients(self, context: ssl.SSLContext) -> None:
        der = b"".join(map(der_of, self._issuers))
        try:
            context.load_verify_locations(cadata=der)
        except ssl.SSLError as error:
            raise UsageError(
                f"OpenSSL refuses {self._tls.client_ca} ({_reason(error)}).", "Get it anew."
            ) from None
        is_optional = self._tls.client_optional
        context.verify_mode = ssl.CERT_OPTIONAL if is_optional else ssl.CERT_REQUIRED

    def _facts(self) -> list[str]:
        tls = self._tls
        versions = "TLS 1.3" if tls.min_version == "1.3" else "TLS 1.2 and 1.3"
        tickets = f"{tls.tickets} ticket{'s' if tls.tickets > 1 else ''} for each connection"
        said = [versions, tickets if tls.tickets else "no tickets"]
        if self._issuers:
            said.append(
                f"certificates of clients {'asked for' if tls.client_optional else 'needed'}"
            )
        if tls.alpn is not None:
            said.append(f"ALPN {', '.join(tls.alpn)}")
        handed = "hand-off (experimental): behind the handshake of TLS 1.3 records are c1m's own"
        more = len(self._pairs) - SHOWN
        return [
            *(f"certificate: {pair.shown()}" for pair in self._pairs[:SHOWN]),
            *([f"and {more:,} further certificates"] if more > 0 else []),
            ", ".join(said),
            *([handed, _kernel_tls()] if tls.handoff else []),
        ]


def _kernel_tls() -> str:
    return f"kernel TLS is not used. {ktls.probe() or 'This kernel has it.'}"


def _grouped(pairs: list[Pair]) -> list[_Group]:
    """By names: those with the same ones, but other kinds of keys, go together."""
    groups: list[_Group] = []
    for pair in pairs:
        same = next((group for group in groups if group.names == pair.names), None)
        if same is not None and pair.kind not in [other.kind for other in same.pairs]:
            same.pairs.append(pair)
            continue
        for group in groups:
            shared = group.names & pair.names
            if shared or same is group:
                raise UsageError(
                    f"{group.pairs[0].cert_file} and {pair.cert_file} are both for "
                    f"{min(shared, default='no name')}.",
                    "Give one of them, or one with a key of RSA and one of ECDSA for the same "
                    "names.",
                )
        if groups and not pair.names:
            raise UsageError(
                f"{pair.cert_file} has no name that a client could ask for.", "Give it first."
            )
        groups.append(_Group([pair]))
    return groups


def _chooser(by_name: dict[str, ssl.SSLContext]) -> Callable[[Any, str | None, Any], None]:
    """What ssl calls with the name that the client has said (RFC 6066, 3), or None."""

    def choose(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        if name is not None:
            name = name.lower()
            found = by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}")  # (RFC 6125)
            if found is not None:
                connection.context = found

    return choose


def _set_version(context: ssl.SSLContext, version: str) -> None:
    wanted = VERSIONS[version]
    with contextlib.suppress(ValueError, ssl.SSLError):
        context.minimum_version = wanted
        if getattr(ssl, f"HAS_TLSv1_{version[-1]}", True):
            return
    raise UsageError(
        f"{ssl.OPENSSL_VERSION} has no TLS {version}.", "Give another --tls-min-version."
    )


def _reason(error: Exception) -> str:
    """OpenSSL's word for it, without its file and line."""
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else type(error).__name__

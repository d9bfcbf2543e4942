"""What a run over TLS connects with, and what the record says about it."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c1m.addresses import AF_UNIX, Endpoint, parse_url, unpack
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from c1m.limits.mqtt_reasons import NOT_MQTT
from c1m.limits.reasons import NOT_HTTP, PEER_EOF
from c1m.limits.tls_reasons import words_of
from c1m.loadgen.connections import ConnectionPool
from c1m.loadgen.schemes.base import Url
from c1m.loadgen.schemes.known import SCHEMES
from c1m.loadgen.sources import AddressPlan
from c1m.results.options import LoadOptions, flags_given
from c1m.results.record import Requests
from c1m.tls import certificates, reasons
from c1m.tls.connector import Connector
from c1m.tls.engine import handoff_class
from c1m.tls.failures import reason_of

GOODBYE_S = 0.2  # how long a server's close_notify is waited for
LOOK_S = 5.0  # how long a certificate that was refused is asked for again
_ODD = NOT_HTTP, NOT_MQTT  # what came may be an alert of TLS
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """The context, and the name that each target's certificate must have. Connections below
    `apart_below` go to a place of their own, `apart`. `first`: which of the run's the first is."""

    context: ssl.SSLContext
    names: Sequence[str]
    apart: str = ""
    apart_below: int = 0
    first: int = 0

    def name_of(self, number: int) -> str:
        """Of this connection's server: the same arithmetic as that of `AddressPlan.rows`."""
        if number < self.apart_below:
            return self.apart
        return self.names[(self.first + number) % len(self.names)]

    def connector(self, options: LoadOptions) -> Connector:
        """What an engine connects with."""
        connector = Connector(self.context, resumes=options.tls_resume)
        connector.names = {*self.names, self.apart or self.names[0]}
        if len(connector.names) == 1:
            connector.server_name = self.names[0]
        return connector


def check_unused(options: LoadOptions) -> None:
    """Raise UsageError for options that are for targets over TLS, and there are none."""
    fields = (
        "ca", "cert", "key", "insecure", "server_name", "tls_min", "tls_resume", "tls_handoff"
    )  # fmt: skip
    for _, flag in flags_given(options, fields):
        raise UsageError(
            f"{flag} is for targets over TLS.",
            "Write the target as tls://, https://, wss://, sses://, mqtts:// or rediss://, or "
            "leave it out.",
        )


def names_of(targets: Sequence[str], asked: str | None) -> list[str]:
    """The name for each endpoint of these, in the order of `plan_addresses`."""
    found: dict[Endpoint, str] = {}
    for text in targets:
        host = parse_url(text)[1]
        for endpoint in resolve(text):
            found.setdefault(endpoint, asked or expected_name(host))
    return list(found.values())


def expected_name(host: str) -> str:
    """Without what no certificate has: the scope of an address, the dot that ends a name."""
    return host.partition("%")[0].rstrip(".")


def context_of(options: LoadOptions, *, alpn: str) -> ssl.SSLContext:
    """Raises UsageError for files that are not what they should be."""
    if options.tls_handoff:
        handoff_class()  # which says what is missing, before anything is opened
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[options.tls_min]
    if alpn:
        context.set_alpn_protocols([alpn])
    if options.insecure and options.ca is not None:
        raise UsageError("--insecure takes any certificate, --ca does not.", "Give one of them.")
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca is None:
        context.load_default_certs()
    else:
        _trust(context, options.ca)
    if options.key is not None and options.cert is None:
        raise UsageError("--key is the key of --cert, which is not given.", "Give both.")
    if options.cert is not None:
        _show(context, options.cert, options.key or options.cert)
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise UsageError(
            f"{path} has no certificate in PEM.", "Give the certificate of who signed the server's."
        ) from None


def _show(context: ssl.SSLContext, cert: str, key: str) -> None:
    """The certificate that this client shows."""

    def no_password() -> str:
        raise UsageError(
            f"The key in {key} is encrypted, and c1m load does not ask for a passphrase.",
            f"Write it without one: openssl pkey -in {key} -out FILE",
        )

    for path in (cert, key):
        _check_readable(path)
    try:
        context.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"The key in {key} is not that of the certificate in {cert}.",
                "Give the two that were made together.",
            ) from None
        what = f"a certificate in {cert} and its key in {key}"
        if cert == key:
            what = f"a certificate and its key in {cert}"
        raise UsageError(
            f"There should be {what}, in PEM, and OpenSSL cannot take them "
            f"({(error.reason or 'unknown format').lower().replace('_', ' ')}).",
            f"Look at them with: openssl x509 -noout -subject -in {cert}; openssl pkey -noout -in "
            f"{key}",
        ) from None


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{path} cannot be read: {(why or 'unknown').lower()}.", "Give another file."
        ) from None


# --- why it failed --------------------------------------------------------------------------------

_REFUSED = (
    reasons.EXPIRED, reasons.NOT_YET_VALID, reasons.WRONG_NAME, reasons.UNKNOWN_ISSUER,
    reasons.SELF_SIGNED,
)  # fmt: skip
_OTHERS = (reasons.HANDSHAKE_FAILED, reasons.BAD_CERTIFICATE, reasons.NO_COMMON, reasons.BAD_RECORD)


def in_words(
    first: Mapping[int, int], said: Mapping[int, str], tls: TlsPlan, addresses: AddressPlan
) -> dict[int, str]:
    """What is known besides, by reason: what ssl says of what has no reason of its own; of
    certificates that were refused the names, the day, the issuer. ssl does not show these, so each
    is asked for once more. `first`: a connection for each reason."""
    found = {reason: said[reason] for reason in _OTHERS if reason in said}
    for reason in set(_REFUSED) & first.keys():
        number = first[reason]
        rows = addresses.rows(np.array([number]))[1]
        endpoint = unpack(rows.family, bytes(rows.rows[0]))
        found[reason] = _shown(reason, endpoint, tls.name_of(number))
    return found


def _shown(reason: int, endpoint: Endpoint, name: str) -> str:
    """What there is to know of a certificate that was refused for this reason."""
    shown = certificates.read(_certificate_of(endpoint, name))
    words = {
        reasons.EXPIRED: shown.expires,
        reasons.NOT_YET_VALID: shown.begins,
        reasons.WRONG_NAME: ", ".join(shown.names),
    }
    return words.get(reason, shown.issuer)


def check_trusted(tls: TlsPlan, endpoint: Endpoint) -> None:
    """Raise UsageError where a target's certificate is refused, by one handshake with it: all
    connections would fail so. What else goes wrong is seen in the run."""
    if tls.context.verify_mode == ssl.CERT_NONE or endpoint.family == AF_UNIX:
        return
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), LOOK_S) as plain,
            tls.context.wrap_socket(plain, server_hostname=tls.names[0]) as secured,
        ):
            secured.settimeout(GOODBYE_S)
            secured.unwrap()
        return
    except ssl.SSLCertVerificationError as error:
        reason = reason_of(error)
    except (OSError, ValueError):
        return
    text, remedy = words_of(reason)
    known = _shown(reason, endpoint, tls.names[0])
    about = "signed by " * (reason == reasons.UNKNOWN_ISSUER) + known if known else ""
    place = str(endpoint).rpartition("://")[2]
    raise UsageError(f"At {place} {text}{f' ({about})' if about else ''}.", remedy)


def met_nobody(connections: ConnectionPool, first: Requests) -> bool:
    """Connects were answered, and nothing else was: something else may be spoken there."""
    counts = connections.counts
    ends = set(connections.handshake_errnos if not counts.opened else connections.lost_errnos)
    if counts.opened and (counts.ready or not first.due):
        return False
    if any(connections.said.get(each, "").startswith("\x15\x03") for each in _ODD):
        return True
    return bool(ends) and ends <= {PEER_EOF, errno.ECONNRESET, errno.EPIPE}


def that_it_speaks_tls(asked: LoadOptions, targets: Sequence[Endpoint]) -> list[str]:
    """A sentence where a run without TLS has met a server that speaks it; asks it once."""
    first = targets[0]
    if first.family == AF_UNIX or not _certificate_of(first, first.host):
        return []
    url = Url.of(asked.targets[0])
    secured, place = SCHEMES[url.scheme].over_tls, url.text.rpartition("://")[2]
    return [
        f"The server speaks TLS on port {first.port}, and this run did not: write the target as "
        f"{secured}://{place}."
    ]


def _certificate_of(endpoint: Endpoint, name: str) -> bytes:
    """In DER; nothing where there is no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), LOOK_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return secured.getpeercert(True) or b""
    except (OSError, ValueError):
        return b""

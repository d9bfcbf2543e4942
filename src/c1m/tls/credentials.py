"""Certificates and keys as files have them: read, named, and what is wrong with them in a sentence.

A key that everybody may read is refused, as ssh and PostgreSQL do: a certificate whose key is known
is worth nothing. Its group may, as Debian has it (ssl-cert).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from c1m.errors import UsageError
from c1m.files import check_is_private, read_bytes

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import NameOID
except ImportError as error:
    raise UsageError(
        f"TLS needs cryptography, which is not here ({error}).", "pip install 'c1m[tls]'"
    ) from None

FILE_MAX = 1 << 20
TO_PEM = "Make PEM of it: openssl x509 -inform der -in FILE -out NEW"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Whom a client is, as its certificate says, which was verified.

    `subject` and `issuer` as in RFC 4514 ("CN=alice,O=Example"); `names` are its other names (DNS,
    addresses, URIs, e-mail); `der` is all of it, for the package `cryptography`.
    """

    subject: str
    issuer: str
    serial: int
    not_after: datetime
    names: tuple[str, ...]
    der: bytes = field(repr=False)

    @classmethod
    def of(cls, der: bytes) -> PeerCertificate:
        """Of the certificate's own bytes."""
        found = x509.load_der_x509_certificate(der)
        return cls(
            name_of(found.subject), name_of(found.issuer), found.serial_number,
            found.not_valid_after_utc, tuple(map(str, _alternatives(found))), der,
        )  # fmt: skip

    @property
    def common_name(self) -> str:
        """The subject's, or ""."""
        named = x509.load_der_x509_certificate(self.der).subject
        common = named.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(common[0].value) if common else ""


@dataclass(slots=True)
class Pair:
    """A certificate with its chain, and the files that it and its key are in."""

    cert_file: str
    key_file: str
    chain: list[x509.Certificate]
    kind: str  # of its key: "RSA"
    names: frozenset[str]  # by which clients ask for it, in small letters

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own."""
        return self.chain[0]

    def shown(self) -> str:
        """Names, kind of key and end, for people."""
        names = [str(each) for each in _alternatives(self.leaf)] or sorted(self.names)
        said = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        return f"{said or 'no name'} ({self.kind}, until {_day(self.leaf.not_valid_after_utc)})"

    def notes(self, now_s: float) -> list[str]:
        """What is not as it should be, and still works for some clients."""
        leaf, first, last = self.leaf, self.leaf.not_valid_before_utc, self.leaf.not_valid_after_utc
        said = []
        if last.timestamp() <= now_s:
            said.append(f"{self.cert_file} has expired ({_day(last)}): clients will refuse it.")
        if first.timestamp() > now_s:
            said.append(f"{self.cert_file} is not valid before {_day(first)}: clients refuse it.")
        if len(self.chain) == 1 and leaf.issuer != leaf.subject:
            said.append(
                f"{self.cert_file} has no chain: clients must know its issuer "
                f"({name_of(leaf.issuer)}). If that one is an intermediate, append its certificate."
            )
        for below, above in zip(self.chain, self.chain[1:], strict=False):
            if below.issuer != above.subject:
                said.append(
                    f"The chain in {self.cert_file} is broken: {name_of(below.subject)} was issued "
                    f"by {name_of(below.issuer)}, and {name_of(above.subject)} is next."
                )
                break
        return said


def read_pair(cert_file: str, key_file: str, password: bytes | None) -> Pair:
    """A certificate and its key. Raises UsageError where they are none, or not of each other."""
    chain = read_certificates(cert_file, key_file)
    key = _read_key(key_file, password, is_own=key_file != cert_file)
    if not _fits(chain[0], key):
        if any(_fits(each, key) for each in chain[1:]):
            raise UsageError(
                f"The chain in {cert_file} is upside down.",
                "Put the server's own certificate first, then that of its issuer.",
            )
        raise UsageError(
            f"The key in {key_file} does not fit the certificate in {cert_file}.",
            "Give the key that the certificate was requested with.",
        )
    return Pair(cert_file, key_file, chain, _kind(key), _names(chain[0]))


def read_certificates(path: str, key_file: str = "") -> list[x509.Certificate]:
    """All certificates of a file, in order; there is one at least. Raises UsageError."""
    data = read_bytes(path, FILE_MAX)
    if b"-----BEGIN " not in data:
        is_der = data[:1] == b"\x30"
        what = "is binary (DER or PKCS #12)" if is_der else "is no PEM"
        remedy = TO_PEM if is_der else "Give a file with -----BEGIN CERTIFICATE-----."
        raise UsageError(f"{path} {what}: there is no certificate to read.", remedy)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        is_key = b"PRIVATE KEY-----" in data
        is_swapped = is_key and key_file not in ("", path)
        raise UsageError(
            f"{path} has {'a private key' if is_key else 'something else'}, and no certificate.",
            "The certificate and the key are mixed up: give them the other way round."
            if is_swapped and b"-----BEGIN CERTIFICATE-----" in read_bytes(key_file, FILE_MAX)
            else "Give the file of the certificate.",
        )
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise UsageError(
            f"{path} has a certificate that cannot be read ({_short(error)}).", "Get it anew."
        ) from None


def _read_key(path: str, password: bytes | None, *, is_own: bool) -> Any:
    """`is_own`: a file was named for it."""
    data = read_bytes(path, FILE_MAX)
    if b"PRIVATE KEY-----" not in data:
        if not is_own:
            raise UsageError(
                f"No key is given, and {path} has none beside the certificate.",
                "Give --tls-key FILE, too (in Python: c1m.TLS(cert, key)).",
            )
        what = "a certificate" if b"BEGIN CERTIFICATE" in data else "something else"
        raise UsageError(
            f"{path} has {what if b'-----BEGIN ' in data else 'no PEM in it'}, and no private key.",
            "Give the file of the key (-----BEGIN PRIVATE KEY-----).",
        )
    check_is_private(path, "private key", group=True)
    is_encrypted = b"ENCRYPTED" in data
    if is_encrypted and password is None:
        raise UsageError(
            f"The key in {path} is encrypted, and there is no passphrase.",
            "Give --tls-key-password-file FILE (in Python: key_password=...).",
        )
    try:
        return serialization.load_pem_private_key(data, password if is_encrypted else None)
    except Exception as error:  # ValueError, TypeError, UnsupportedAlgorithm
        # What the error says is about the format; it has nothing of the key in it.
        raise UsageError(
            f"The key in {path} cannot be opened with that passphrase."
            if is_encrypted
            else f"The key in {path} cannot be read ({_short(error)}).",
            "Check the passphrase." if is_encrypted else "Give a key in PEM (PKCS #8).",
        ) from None


def _fits(certificate: x509.Certificate, key: Any) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    own: bytes = key.public_key().public_bytes(*form)
    return certificate.public_key().public_bytes(*form) == own


def _kind(key: Any) -> str:
    """ "RSA", "ECDSA", "Ed25519"."""
    name = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
    return "ECDSA" if name in ("EllipticCurve", "EC") else name


def _alternatives(certificate: x509.Certificate) -> list[Any]:
    """The values of subjectAltName."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [getattr(each, "value", each) for each in found.value]


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """DNS names; where there are no names of any kind, the common name (as clients once did)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = found.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(each.value) for each in common]
    return frozenset(name.lower() for name in names)


def der_of(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def name_of(name: x509.Name) -> str:
    """As RFC 4514 has it, or how to say that there is none."""
    return name.rfc4514_string() or "(no name)"


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d}"


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")[:120]

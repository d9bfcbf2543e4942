"""Certificates for tests: an authority, and what it signs, as files in PEM.

    ours = certificates.authority()
    served = ours.leaf("localhost", "127.0.0.1")  # served.cert, served.key; clients trust ours.cert
    client = ours.leaf("alice", client=True)

Made when first asked for, in a directory of this process that goes with it; what is asked for again
is the same files. Names that are addresses become addresses.
"""

from __future__ import annotations

import atexit
import functools
import ipaddress
import itertools
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

ECDSA, RSA, ED25519 = "ecdsa", "rsa", "ed25519"  # kinds of keys
VALID, EXPIRED, NOT_YET = "valid", "expired", "not yet valid"
_SPANS = {VALID: (-2, 30), EXPIRED: (-60, -1), NOT_YET: (30, 60)}  # days from now

_numbers = itertools.count(1)


@functools.cache
def directory() -> Path:
    """Where this process has its files."""
    path = Path(tempfile.mkdtemp(prefix="c1m-certificates-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def authority(name: str = "c1m test authority") -> Authority:
    """A root of trust; another name is another one."""
    key = _private_key(ECDSA)
    return Authority(key, _signed(_named(name), key, _named(name), key, ca=True))


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key. `cert` has the chain behind it, but for the root."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    password: str | None = None

    @property
    def both(self) -> Path:
        """Key and chain in one file."""
        return _written("both", self.key.read_bytes() + self.cert.read_bytes())


@dataclass(eq=False)
class Authority:
    """Signs certificates. `chain`: itself and those above, but for the root."""

    _key: PrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    _made: dict[object, Leaf] = field(default_factory=dict)

    @functools.cached_property
    def cert(self) -> Path:
        """What peers are told to trust."""
        return _written("ca", _pem(self.certificate))

    @functools.cached_property
    def intermediate(self) -> Authority:
        """An authority below this one; its leaves' files have the chain."""
        name, key = _named("c1m test intermediate"), _private_key(ECDSA)
        mine = _signed(name, key, self.certificate.subject, self._key, ca=True)
        return Authority(key, mine, (mine, *self.chain))

    def leaf(
        self,
        *names: str,
        kind: str = ECDSA,
        span: str = VALID,
        client: bool = False,
        password: str | None = None,
        chain: bool = True,
        again: object = None,
    ) -> Leaf:
        """A certificate for these names and addresses (the first is its common name).

        `password` encrypts the key; `chain=False` leaves the intermediates out. Another `again` is
        another certificate.
        """
        wanted = (names, kind, span, client, password, chain, again)
        if wanted not in self._made:
            key = _private_key(kind)
            mine = _signed(
                _named(names[0]), key, self.certificate.subject, self._key,
                names=names, span=span, client=client,
            )  # fmt: skip
            files = b"".join(map(_pem, (mine, *self.chain) if chain else (mine,)))
            self._made[wanted] = Leaf(
                _written("cert", files), _written("key", _key_pem(key, password)), mine, password
            )
        return self._made[wanted]


def _private_key(kind: str) -> PrivateKey:
    if kind == RSA:
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == ED25519 else _p256()


def _p256() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _signed(
    subject: x509.Name,
    key: PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    *,
    names: tuple[str, ...] = (),
    span: str = VALID,
    ca: bool = False,
    client: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    first, last = (now + timedelta(days=days) for days in _SPANS[span])
    if ca:  # valid whenever a leaf of any span is
        first, last = now - timedelta(days=90), now + timedelta(days=90)
    use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_usage(ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not ca:
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(list(map(_name, names))), False)
    return made.sign(
        issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKey, password: str | None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password.encode()),
    )


def _written(what: str, content: bytes) -> Path:
    path = directory() / f"{next(_numbers)}-{what}.pem"
    path.touch(0o600)
    path.write_bytes(content)
    return path

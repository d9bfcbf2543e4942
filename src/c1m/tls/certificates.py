"""What a certificate says of itself, for people. Pure.

Read by `cryptography` where it is installed: ssl tells nothing of a certificate that it refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certificate:
    """`begins` and `expires` are in UTC: ISO 8601. `names`: of hosts, and addresses."""

    subject: str = ""
    issuer: str = ""
    begins: str = ""
    expires: str = ""
    names: Sequence[str] = ()


def read(der: bytes) -> Certificate:
    """What a certificate in DER says; nothing of what cannot be read."""
    try:
        from cryptography import x509

        found = x509.load_der_x509_certificate(der)
        begins, expires = found.not_valid_before_utc, found.not_valid_after_utc
        return Certificate(
            found.subject.rfc4514_string(),
            found.issuer.rfc4514_string(),
            begins.strftime("%Y-%m-%dT%H:%M:%SZ"),
            expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            _names(found),
        )
    except (ImportError, ValueError):
        return Certificate()


def _names(certificate: object) -> list[str]:
    from cryptography import x509

    assert isinstance(certificate, x509.Certificate)
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = said.get_values_for_type(x509.IPAddress)
    return [*said.get_values_for_type(x509.DNSName), *map(str, addresses)]

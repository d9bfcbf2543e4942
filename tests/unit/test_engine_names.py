"""Addresses of peers out of struct sockaddr; endpoints whose connections have a PROXY header."""

from __future__ import annotations

import pytest

from c1m.engine.names import address_of
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from proxy_headers import sockaddr


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "::1", "::ffff:192.0.2.7"])
def test_a_sockaddr_has_a_host_and_a_port(host: str) -> None:
    assert address_of(sockaddr(host, 51000)) == (host, 51000)


def test_what_has_none() -> None:
    assert address_of(b"") == address_of(b"\1\0/run/x.sock\0") == ("", 0)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:80", "tls://[::1]:80", "unix:///run/x.sock"])
def test_a_scheme_says_that_a_header_comes_first(text: str) -> None:
    proxied = text.replace("://", "+proxy://")
    (plain,), (other,) = resolve(text), resolve(proxied.replace("+proxy", "+Proxy"))
    assert (plain.is_proxied, other.is_proxied) == (False, True) and plain == other
    assert (str(plain), str(other)) == (text, proxied) and plain.is_tls is other.is_tls


@pytest.mark.parametrize(
    "text", ["+proxy://127.0.0.1:80", "tcp+proxy+proxy://127.0.0.1:80", "tcp+x://127.0.0.1:80",
             "127.0.0.1+proxy:80"]
)  # fmt: skip
def test_other_schemes_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        resolve(text)

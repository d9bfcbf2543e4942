"""Requests for a WebSocket, found again by their bytes."""

from __future__ import annotations

import pytest

from c1m.protocols.http.requests import Bounds, RequestReader
from c1m.protocols.http.upgrades import KEPT_BYTES, Upgrades

KEYS = (b"AAAAAAAAAAAAAAAAAAAAAA==", b"dGhlIHNhbXBsZSBub25jZQ==", b"+/+/+/+/+/+/+/+/+/+/+w==")
BROWSER = (
    b"GET /connect?channel=news HTTP/1.1\r\nHost: push.example.com\r\nConnection: Upgrade\r\n"
    b"Pragma: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\n"
    b"Origin: http://push.example.com\r\nSec-WebSocket-Version: 13\r\nCookie: a=b; c=d\r\n"
    b"Sec-WebSocket-Key: %b\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
LIBRARY = (  # with what others write in small letters
    b"GET / HTTP/1.1\r\nhost: a:1\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n"
    b"sec-websocket-key: %b\r\nsec-websocket-version: 13\r\n\r\n"
)


@pytest.mark.parametrize("form", [BROWSER, LIBRARY])
def test_heads_that_differ_in_their_key_are_one(form: bytes) -> None:
    upgrades = Upgrades(Bounds())
    found = [upgrades.find(form % key) for key in KEYS]
    assert [each and each[1] for each in found] == list(KEYS)
    assert len({id(each[0]) for each in found if each is not None}) == 1
    reader = RequestReader(Bounds())
    reader.feed(form % KEYS[0])
    request = reader.next()
    assert request is not None and found[0] is not None and found[0][0] == request.head


@pytest.mark.parametrize("piece", [
    b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", BROWSER % b"short==", BROWSER % (b"A" * 25),
    (BROWSER % KEYS[0])[:-1], BROWSER % KEYS[0] + b"\x81", b"\n" + BROWSER % KEYS[0],
    BROWSER.replace(b"13", b"8") % KEYS[0], BROWSER.replace(b"GET", b"PUT") % KEYS[0],
    BROWSER.replace(b"HTTP/1.1", b"HTTP/1.0") % KEYS[0], BROWSER.replace(b"Host", b"X") % KEYS[0],
    BROWSER.replace(b"Pragma:", b"Pragma :") % KEYS[0],
    BROWSER.replace(b"Pragma:", b"Sec-WebSocket-Key: %b\r\nX:") % (KEYS[1], KEYS[0]),
    BROWSER.replace(b"Pragma:", b"Content-Length: 4\r\nX:") % KEYS[0],
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n" + LIBRARY % KEYS[0],
])  # fmt: skip
def test_what_is_none_or_not_whole_is_left_to_the_plain_form(piece: bytes) -> None:
    upgrades = Upgrades(Bounds())
    assert upgrades.find(piece) is None
    assert upgrades.find(BROWSER % KEYS[0]) is not None
    assert upgrades.find(piece) is None


def test_what_is_kept_is_bounded_in_bytes() -> None:
    upgrades = Upgrades(Bounds())
    for n in range(3000):
        form = BROWSER.replace(b"a=b", b"a=%b%d" % (b"x" * 2000, n))
        assert upgrades.find(form % KEYS[0]) is not None
        assert upgrades.kept <= KEPT_BYTES


def test_each_address_has_its_own_head() -> None:
    upgrades = Upgrades(Bounds())
    for n in [*range(100), *range(100)]:
        target = b"/connect?token=%d" % n
        found = upgrades.find(BROWSER.replace(b"/connect?channel=news", target) % KEYS[n % 3])
        assert found is not None and found[0].target == target
        assert found[0].query == {"token": [str(n)]}
        assert found[0].get(b"cookie") == b"a=b; c=d"
    for target in (
        b"",
        b"a",
        b"/#",
        b"/\x7f",
        b"/ /",
        b"http://a/",
        b"/\r\nX: y",
        b"/" + b"a" * 8192,
    ):
        assert upgrades.find(BROWSER.replace(b"/connect?channel=news", target) % KEYS[0]) is None


def test_an_address_with_its_host_in_it_lends_its_fields_to_nobody() -> None:
    upgrades = Upgrades(Bounds())
    absolute = BROWSER.replace(b"GET /", b"GET http://other/")
    for form, host in ((absolute, b"other"), (BROWSER, b"push.example.com")):
        found = upgrades.find(form % KEYS[0])
        assert found is not None and found[0].get(b"host") == host

"""What a conversation yields: its bytes over each protocol, where its reply ends, what it is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import c1m
from c1m.errors import ScenarioError, UsageError
from c1m.protocols.http.messages import Bounds
from c1m.protocols.http.requests import RequestReader
from c1m.protocols.resp import replies
from c1m.protocols.resp.requests import Requests
from c1m.protocols.resp.values import ErrorReply, value_of
from c1m.scenarios import asks_mqtt
from c1m.scenarios.asks import Ask, Hear, Pause, Request, Response, Say, Session
from c1m.scenarios.commands import Command

HTTP = Session("http", "shop.example:8080", ("Accept: */*",))
HEAD = b"Host: shop.example:8080\r\nAccept: */*\r\n"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (c1m.Get("/cart"), b"GET /cart HTTP/1.1\r\n" + HEAD + b"\r\n"),
        (
            c1m.Post("/cart/7", data={"item": 1}, headers={"X-Id": "a b"}),
            b"POST /cart/7 HTTP/1.1\r\n" + HEAD + b"X-Id: a b\r\nContent-Type: application/json\r\n"
            b'Content-Length: 11\r\n\r\n{"item": 1}',
        ),
        (
            c1m.Put("/a", "\u00e4"),
            b"PUT /a HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n\xc3\xa4",
        ),
        (c1m.Post("/a"), b"POST /a HTTP/1.1\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"),
        (c1m.Delete("/a?b=c&d=%20"), b"DELETE /a?b=c&d=%20 HTTP/1.1\r\n" + HEAD + b"\r\n"),
        (c1m.Get("/old town\r\n#x"), b"GET /old%20town%0D%0A%23x HTTP/1.1\r\n" + HEAD + b"\r\n"),
        (c1m.Request("PATCH", "/a", b"x"), b"PATCH /a HTTP/1.1\r\n" + HEAD
            + b"Content-Length: 1\r\n\r\nx"),
    ],
)  # fmt: skip
def test_requests_of_http(ask: Request, said: bytes) -> None:
    assert ask.encode(HTTP) == said


@given(st.text(), st.text(st.characters(codec="utf-8"), max_size=50))
def test_no_path_and_no_body_make_another_request(path: str, body: str) -> None:
    said = Request("POST", "/" + path.encode("utf-8", "replace").decode(), body).encode(HTTP)
    reader = RequestReader(Bounds())
    reader.feed(said)
    request = reader.next()
    assert request is not None and (request.head.method, request.body) == (b"POST", body.encode())
    assert reader.rest() == b""


@pytest.mark.parametrize(
    "ask",
    [
        c1m.Get("cart"),
        c1m.Get(""),
        c1m.Get("/", headers={"X": "a\r\nY: b"}),
        c1m.Get("/", headers={"X Y": "a"}),
    ],
)
def test_requests_that_cannot_be_said(ask: Request) -> None:
    with pytest.raises(ScenarioError):
        ask.encode(HTTP)


def test_a_response() -> None:
    body = json.dumps({"total": 0}).encode()
    reply = Response(
        b"HTTP/1.1 201 Created\r\nSet-Cookie: a=1\r\nX: y\r\nset-cookie: b\r\n\r\n" + body
    )
    assert (reply.status, reply.body, reply.text) == (201, body, body.decode())
    assert reply.headers == {"set-cookie": "a=1, b", "x": "y"}
    assert reply.json() == {"total": 0} and reply.get(b"x") == b"y"
    assert "201" in repr(reply)
    with pytest.raises(ValueError, match="Expecting value"):
        Response(b"HTTP/1.0 200 OK\r\n\r\n").json()


@pytest.mark.parametrize(
    ("expect", "status", "wrong"),
    [
        (None, 302, None),
        (None, 404, "status 404"),
        (404, 404, None),
        (201, 200, "status 200"),
        ((200, 404), 404, None),
        ((200, 404), 500, "status 500"),
    ],
)
def test_statuses_that_are_right(expect: Any, status: int, wrong: str | None) -> None:
    ask = c1m.Get("/", expect=expect)
    assert ask.wrong(ask.heard(b"HTTP/1.1 %d X\r\n\r\n" % status)) == wrong


# --- commands -------------------------------------------------------------------------------------


def test_commands_are_what_a_server_reads() -> None:
    said = Command("SET", b"k\xff", 1, 2.5, "\u00e4").encode(Session("redis"))
    assert Requests().feed(said) == [[b"SET", b"k\xff", b"1", b"2.5", b"\xc3\xa4"]]


@pytest.mark.parametrize("words", [(), (None,), (True,), (["a"],)])
def test_commands_that_cannot_be_said(words: Any) -> None:
    with pytest.raises(ScenarioError):
        Command(*words).encode(Session("redis"))


VALUES = [
    (b"+OK\r\n", b"OK"),
    (b":-12\r\n", -12),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"_\r\n", None),
    (b"$0\r\n\r\n", b""),
    (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
    (b"*3\r\n:1\r\n*1\r\n+a\r\n$-1\r\n", [1, [b"a"], None]),
    (b"-ERR no\r\n", ErrorReply("ERR no")),
    (b"!7\r\nERR \r\na\r\n", ErrorReply("ERR \r\na")),
    (b",1.5\r\n", 1.5),
    (b",inf\r\n", float("inf")),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b"(12345678901234567890\r\n", 12345678901234567890),
    (b"=7\r\ntxt:abc\r\n", b"abc"),
    (b"%2\r\n+a\r\n:1\r\n*1\r\n:2\r\n:3\r\n", {b"a": 1, "[2]": 3}),
    (b"~2\r\n+a\r\n+b\r\n", [b"a", b"b"]),
    (b"|1\r\n+ttl\r\n:9\r\n+a\r\n", b"a"),
]


@pytest.mark.parametrize(("reply", "value"), VALUES)
def test_replies_are_values(reply: bytes, value: Any) -> None:
    assert replies.reply_size(reply + b"+more\r\n") == len(reply)
    assert value_of(reply) == value
    assert Command("GET", "k", expect=value).wrong(value) is None


_PLAIN = st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20)
_ROWS = _PLAIN | st.lists(_PLAIN, max_size=4)
_VALUES = _ROWS | st.lists(_ROWS, max_size=4)


def _encoded(value: Any) -> bytes:
    if value is None:
        return replies.NIL
    if isinstance(value, int):
        return replies.integer(value)
    if isinstance(value, bytes):
        return replies.bulk(value)
    return replies.array([_encoded(each) for each in value])


@given(_VALUES)
def test_a_value_comes_back_as_it_was_encoded(value: Any) -> None:
    assert value_of(_encoded(value)) == value


@given(st.binary(max_size=40))
def test_what_is_no_reply_is_a_value_error_or_a_value(reply: bytes) -> None:
    with contextlib.suppress(ValueError):
        value_of(reply)


def test_an_error_is_wrong_unless_it_may_be() -> None:
    reply = b"-WRONGTYPE it is a list\r\n"
    error = Command("GET", "k").heard(reply)
    assert (error.code, error.text) == ("WRONGTYPE", "WRONGTYPE it is a list")
    assert Command("GET", "k").wrong(error) == "WRONGTYPE it is a list"
    assert Command("GET", "k", may_fail=True).wrong(error) is None
    assert Command("GET", "k", expect="a").wrong(b"a") is None
    assert Command("GET", "k", expect=None).wrong(b"a") == ""
    assert str(error) == repr(error) and len({error, ErrorReply(error.text)}) == 1


def test_a_push_is_no_reply() -> None:
    ask = Command("GET", "k")
    assert not ask.is_reply(ask.heard(b">2\r\n+invalidate\r\n*1\r\n+k\r\n"))
    assert ask.is_reply(ask.heard(b"*1\r\n+k\r\n"))
    subscribe = Command("SUBSCRIBE", "c", when=lambda value: value[0] == b"subscribe")
    assert subscribe.is_reply([b"subscribe", b"c", 1])
    assert not subscribe.is_reply([b"message", b"c", b"x"])


# --- texts ----------------------------------------------------------------------------------------


def test_a_text_hears_a_text() -> None:
    ask = Say("\u00e4", expect="\u00e4")
    assert ask.encode(Session("ws")) == b"\xc3\xa4"
    assert ask.heard(b"\xc3\xa4") == "\u00e4" and ask.wrong("\u00e4") is None
    assert ask.wrong("a") == ""
    with pytest.raises(ValueError, match="utf-8"):
        ask.heard(b"\xff")
    assert Say(b"a").heard(b"\xff") == b"\xff"
    ask = Say("a", expect="b", when=lambda _: True)  # what is no text may come, too
    assert ask.wrong(ask.heard(b"\xff")) == "" and ask.wrong(ask.heard(b"b")) is None


def test_hearing_of_mqtt_expects_a_payload() -> None:
    ask = Hear(expect="21.5")
    ask.encode(Session("mqtt"))
    message = asks_mqtt.MqttMessage("a", b"21.5")
    assert ask.wrong(message) is None
    assert ask.wrong(asks_mqtt.MqttMessage("a", b"22")) == ""


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    deep = b"[" * 200_000
    with pytest.raises(ValueError, match="too deeply"):
        Response(b"HTTP/1.1 200 OK\r\n\r\n" + deep).json()
    with pytest.raises(ValueError, match="too deeply"):
        asks_mqtt.MqttMessage("a", deep).json()


def test_a_session_does_not_show_its_fields() -> None:
    assert "secret" not in repr(Session("http", "a", ["Authorization: Basic secret"]))


def test_hearing_says_nothing() -> None:
    ask = Hear(expect=b"hello")
    assert ask.encode(Session("ws")) == b"" and ask.has_end
    assert ask.heard(b"hello") == "hello" and ask.wrong("hello") is None
    assert ask.heard(b"\xff") == b"\xff" and ask.wrong(b"\xff") == ""
    ask = Hear()
    assert not ask.has_end
    ask.encode(Session("redis"))
    assert ask.has_end and ask.whole(b"+a\r\n+b") == 4 and ask.heard(b"+a\r\n") == b"a"
    assert Hear(until="\n").whole(b"a\nb") == 2


def test_pauses() -> None:
    assert (Pause("2s").ns, Pause(0.5).ns, Pause(0).ns) == (2_000_000_000, 500_000_000, 0)
    for wrong in ("2 apples", -1, None):
        with pytest.raises(UsageError):
            Pause(wrong)  # type: ignore[arg-type]


def test_an_ask_of_ones_own() -> None:
    with pytest.raises(NotImplementedError):
        Ask().encode(HTTP)
    assert (Ask().has_end, Ask().whole(b"abc"), Ask().due()) == (False, 3, b"")

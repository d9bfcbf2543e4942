"""Scenario http: what is asked for, what is right, and whose a response is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.loadgen.schemes.http import read_urls
from c1m.loadgen.schemes.known import meant
from c1m.results.options import LoadOptions
from c1m.scenarios.asks import Session
from c1m.scenarios.base import Scenario
from c1m.scenarios.expected import Expected
from c1m.scenarios.http import Http
from c1m.scenarios.http_requests import HttpRequests, Wanted
from c1m.scenarios.ledger import CROSSED, OUTCOMES
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.messages import Numbers

SESSION = Session("http", "a:80", ("X-N: {n}",))


def response(body: bytes, status: int = 200, fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d Any\r\n%b\r\n%b" % (status, fields, body)


def http(expected: Expected | None = None, **asked: object) -> Http:
    scenario = Http()
    scenario.hears_messages = True
    scenario.ask(HttpRequests(session=SESSION, **asked), expected or Expected())  # type: ignore[arg-type]
    scenario.begin(4, 7)
    return scenario


def said(scenario: Scenario, numbers: Numbers, seqs: Numbers) -> list[bytes]:
    return scenario.requests(numbers, seqs).pieces()


# --- what is asked for ----------------------------------------------------------------------------


def test_a_request_is_a_template() -> None:
    body = '{"client": {n}, "of": {"seq": {seq}}}'
    scenario = http(wanted=[Wanted("POST", "/{seq}?n={n}")], body=body)
    numbers, seqs = np.array([0, 3, 3]), np.array([9, 10, 0])
    for n, s, request in zip(
        numbers.tolist(), seqs.tolist(), said(scenario, numbers, seqs), strict=True
    ):
        content = b'{"client": %d, "of": {"seq": %d}}' % (n, s)
        head = b"POST /%d?n=%d HTTP/1.1\r\nHost: a:80\r\nX-N: %d\r\n" % (s, n, n)
        assert request == head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


@pytest.mark.parametrize("body", [b"{n} {\xff}\r\n", "ä {x}", ""])
def test_other_bodies(body: str | bytes) -> None:
    (request,) = said(http(body=body, wanted=[Wanted("PUT")]), np.array([1]), np.array([2]))
    content = body.encode() if isinstance(body, str) else body
    head, _, rest = request.partition(b"\r\n\r\n")
    assert rest == content and head.endswith(b"Content-Length: %d" % len(content))


@pytest.mark.parametrize("places", ["", "{n}"])
def test_paths_are_drawn_by_weight_and_seed(places: str) -> None:
    wanted = [Wanted("GET", f"/a{places}", 3), Wanted("HEAD", f"/b{places}", 1)]
    numbers, seqs = np.repeat(np.arange(4), 250), np.tile(np.arange(250), 4)
    first = said(http(wanted=wanted), numbers, seqs)
    assert first == said(http(wanted=wanted), numbers, seqs)
    assert first[7:9] == said(http(wanted=wanted), numbers[7:9], seqs[7:9])
    share = sum(one.startswith(b"GET /a") for one in first) / 1000
    assert 0.68 < share < 0.82
    assert any(one.startswith(b"HEAD /b") for one in first)


def test_a_file_of_paths(tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_text("# shop\n/a\n\n3 /cart?id={n}\nPOST /orders\n 2  DELETE /ä\n")
    assert read_urls(str(path), "GET") == [
        Wanted("GET", "/a"), Wanted("GET", "/cart?id={n}", 3), Wanted("POST", "/orders"),
        Wanted("DELETE", "/%C3%A4", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["a", "/a b", "0 /a", "get /a", "CONNECT /a", "/a#b", "", "-1 /a"])
def test_a_file_of_something_else(line: str, tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_text(line)
    with pytest.raises(UsageError):
        read_urls(str(path), "GET")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"method": "get"}, "'get' is no method"),
        ({"method": "CONNECT"}, "'CONNECT' is no method"),
        ({"headers": ["X: a\r\nY: b"]}, "no field of a request"),
        ({"headers": ["Content-Length: 3"]}, "this client's own"),
        ({"headers": ["X: {foo}"]}, "stands for nothing"),
        ({"headers": ["Authorization: a"], "targets": ["http://me:secret@a"]}, "Give one of them"),
        ({"body": "{any:3}"}, "which only what is expected can have"),
        ({"message": "a"}, "no use for --message"),
        ({"publishers": 3}, "no use for --publishers"),
        ({"url_file": "/nowhere"}, "cannot be read"),
        ({"url_file": "/a", "targets": ["http://a/b"]}, "has a path, and --url-file"),
        ({"expect_status": "700"}, "no status of HTTP"),
        ({"expect_status": "200,"}, "no status of HTTP"),
        ({"expect_headers": ["X"]}, "no field of a response"),
        ({"expect_json": ["a"]}, "no field of JSON"),
        ({"expect_json": ["a=b"]}, "is no JSON"),
        ({"expect_json": ["a=" + "[" * 200_000]}, "is no JSON"),
        ({"expect_headers": ["\udcff: 1"]}, "expect-header.* has bytes that are not UTF-8"),
        ({"targets": ["http://me:secret\udcff@a"]}, "target has bytes that are not UTF-8"),
        ({"expect_contains": ["{any:3}"]}, "Use it with --expect only"),
        ({"scenario": "own.py:A", "expect_status": "200"}, "no use for --expect-status"),
        ({"scenario": "own.py:A", "body": ""}, "no use for --body"),
        ({"targets": ["http://a", "http://me:secret@b"]}, "different users"),
    ],
)
def test_what_is_refused(given: dict[str, object], what: str) -> None:
    options = LoadOptions(**{"targets": ["http://127.0.0.1"], **given})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=what) as error:
        scheme, options = meant(options)
        scheme.scenario_for(options).begin(1, 0)
    assert "secret" not in str(error.value)


def test_a_user_and_a_password() -> None:
    scheme, options = meant(LoadOptions(targets=["http://me:s%2Fcret@127.0.0.1/a"]))
    scenario = scheme.scenario_for(options)
    scenario.begin(1, 0)
    (request,) = said(scenario, np.array([0]), np.array([0]))
    assert b"\r\nAuthorization: Basic bWU6cy9jcmV0\r\n" in request
    assert scheme.shown() == ["http://me:***@127.0.0.1/a"]
    assert options.targets == ["tcp://127.0.0.1:80"]


# --- what is right --------------------------------------------------------------------------------

JSON = b'{"cart": {"total": 0, "items": [{"name": "tea"}], "paid": false}}'


@pytest.mark.parametrize(
    ("expected", "answer", "wrong"),
    [
        (Expected(), response(b"", 304), ""),
        (Expected(), response(b"", 400), "status 400, expected one below 400"),
        (Expected("404"), response(b"", 404), ""),
        (Expected("200,3xx"), response(b"", 302), ""),
        (Expected("200,3xx"), response(b"", 204), "status 204, expected 200 or 3xx"),
        (Expected(fields=["X: {n}"]), response(b"", 200, b"x: 2\r\n"), ""),
        (Expected(fields=["X: 1"]), response(b"", 200, b"x: 2\r\n"), "field x is '2', expected"),
        (Expected(fields=["X: 1"]), response(b""), "field x is not there, expected '1'"),
        (Expected(body="{n}-{seq} {any:2}{x}"), response(b"2-5 ab{x}"), ""),
        (Expected(body="{n}-{seq}"), response(b"2-4"), "another body: '2-4', expected '2-5'"),
        (Expected(body=b"{n}"), response(b"{n}"), ""),
        (Expected(body=""), response(b""), ""),
        (Expected(body=""), response(b"a"), "the body is 'a', expected none"),
        (Expected(parts=["b", "{seq}"]), response(b"ab5"), ""),
        (Expected(parts=["b"]), response(b"ac"), "the body has no 'b': 'ac'"),
        (Expected(values=["cart.total=0", 'cart.items.0.name="tea"']), response(JSON), ""),
        (Expected(values=["cart.total=1"]), response(JSON), "cart.total is 0, expected 1"),
        (Expected(values=["cart.paid=0"]), response(JSON), "cart.paid is false, expected 0"),
        (Expected(values=["cart.items.1=0"]), response(JSON), "is not there, expected 0"),
        (Expected(values=["cart.no=null"]), response(JSON), "is not there, expected null"),
        (Expected(values=["a={seq}"]), response(b'{"a": 5}'), ""),
        (Expected(values=["a=0"]), response(b"<html>"), "the body is no JSON: '<html>'"),
        (Expected(values=["a=0"]), response(b"[" * 200_000), "the body is no JSON: '[["),
        (Expected(values=["a=0"]), response(b"\xff"), "the body is no JSON"),
    ],
)
def test_what_is_right(expected: Expected, answer: bytes, wrong: str) -> None:
    scenario = http(expected)
    note = scenario.why_wrong(2, 5, answer)
    assert (wrong in note) if wrong else not note
    assert scenario.accepts(2, 5, answer) == (not wrong)
    numbers, seqs, data = np.array([2] * 3), np.array([5] * 3), Ragged.of([answer] * 3)
    for _ in range(2):  # known again, or not
        assert scenario.which_right(numbers, seqs, data).tolist() == [not wrong] * 3
        assert scenario.are_right(numbers, seqs, data) == (not wrong)
        one = Ragged.repeat(answer, 3)
        assert scenario.are_right(numbers, seqs, one) == (not wrong)


def test_what_is_known_is_right_for_whom_it_is() -> None:
    """The same memory, and another request."""
    scenario = http(Expected(body="{n}"))
    one = Ragged.repeat(response(b"2"), 1)
    assert scenario.are_right(np.array([2]), np.array([0]), one)
    assert not scenario.are_right(np.array([1]), np.array([0]), one)


# --- whose it is ----------------------------------------------------------------------------------


def run(depth: int, *steps: tuple[str, int, str]) -> tuple[dict[str, int], dict[str, int], int]:
    """Send on a connection, or hear there; outcomes, what came beyond, and what is in flight."""
    scenario = http(Expected(body="{n} {seq}"))
    exchange = exchange_of(scenario, 4, depth)
    outcomes: dict[str, int] = {}
    for what, number, text in steps:
        one = np.array([number])
        if what == "send":
            exchange.requests(one)
            continue
        if what == "lose":
            resolved = exchange.give_up(one, np.array([int(text)]))
        else:
            bodies = [response(body.encode()) for body in text.split(",")]
            resolved = exchange.take(np.repeat(one, len(bodies)), Ragged.of(bodies))
        kinds = ["right"] * len(resolved.numbers)
        if resolved.outcomes is not None:
            kinds = [OUTCOMES[kind] for kind in resolved.outcomes.tolist()]
        for kind in kinds:
            outcomes[kind] = outcomes.get(kind, 0) + 1
    return outcomes, dict(exchange.ledger.extras), exchange.ledger.in_flight


SWAPPED = [("send", 0, ""), ("send", 1, ""), ("hear", 0, "1 0"), ("hear", 1, "0 0")]
WRONG_PLACE = [("send", 0, ""), ("send", 1, ""), ("hear", 0, "1 0"), ("send", 0, "")]


@pytest.mark.parametrize(
    ("depth", "steps", "outcomes", "extras"),
    [
        (1, [("send", 0, ""), ("hear", 0, "0 0")], {"right": 1}, {}),
        (1, SWAPPED, {"crossed": 2}, {}),
        # An answer too many shifts nothing: what is late is nobody else's.
        (1, [*WRONG_PLACE, ("hear", 0, "0 0"), ("hear", 0, "0 1"), ("hear", 1, "1 0")],
         {"crossed": 1, "right": 2}, {"late": 1}),
        (1, [("send", 0, ""), ("hear", 0, "0 0,0 0"), ("send", 0, ""), ("hear", 0, "0 1")],
         {"right": 2}, {"doubled": 1}),
        (1, [("send", 0, ""), ("hear", 0, "0 0"), ("send", 0, ""), ("hear", 0, "0 0")],
         {"right": 1, "stale": 1}, {}),
        (1, [("send", 0, ""), ("lose", 0, "0"), ("send", 0, ""), ("hear", 0, "0 0"),
             ("hear", 0, "0 1")], {"missing": 1, "right": 1}, {"late": 1}),
        (1, [("send", 0, ""), ("hear", 0, "what"), ("send", 0, ""), ("hear", 0, "0 1")],
         {"garbled": 1, "right": 1}, {}),
        (3, [("send", 0, "")] * 3 + [("hear", 0, "0 0,0 0,0 1,0 2")],
         {"right": 3}, {"doubled": 1}),
        (3, [("send", 0, "")] * 3 + [("hear", 0, "0 1,0 0,0 2")],
         {"right": 2, "reordered": 1}, {}),
    ],
)  # fmt: skip
def test_whose_it_is(
    depth: int, steps: list[tuple[str, int, str]], outcomes: dict[str, int], extras: dict[str, int]
) -> None:
    assert run(depth, *steps) == (outcomes, extras, 0)


@pytest.mark.parametrize("number", ["2", "9", "1" * 30])
def test_who_is_named_must_be_right_there(number: str) -> None:
    """The letters are of connection 1: a digit of its number is not what the server was told."""
    scenario = http(Expected(body="{n} {seq} {random:8}"))
    right = scenario.reply(1, 0)
    assert scenario.identify(response(right)) == (1, 0)
    assert scenario.mix_up(2, 0, response(right)) == CROSSED
    changed = response(number.encode() + right[1:])
    assert scenario.identify(changed) is None and scenario.mix_up(1, 0, changed) is None

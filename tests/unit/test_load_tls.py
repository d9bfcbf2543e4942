"""The load client over TLS without a socket: schemes, names, sessions, reasons."""

from __future__ import annotations

import ssl
from typing import Any

import numpy as np
import pytest

import certificates
from c1m.addresses import parse_url
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from c1m.limits.reasons import errno_name, explain
from c1m.loadgen.schemes.known import meant
from c1m.loadgen.schemes.publishing import Publishing
from c1m.loadgen.sources import plan_addresses
from c1m.loadgen.tls import TlsPlan, check_unused, context_of, expected_name, names_of
from c1m.results.options import LoadOptions
from c1m.tls import reasons
from c1m.tls.connector import BRINGERS_MAX, Connector
from c1m.tls.session import Session

OURS = certificates.authority()
SERVED = OURS.leaf("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    ("text", "place", "scenario"),
    [
        ("tls://127.0.0.1:9", "tls://127.0.0.1:9", "echo"),
        ("TLS://127.0.0.1:9-12", "TLS://127.0.0.1:9-12", "echo"),
        ("rediss://127.0.0.1", "tls://127.0.0.1:6379", "resp"),
        ("rediss://[::1]:7/0", "tls://[::1]:7", "resp"),
        ("wss://localhost/chat?a=b", "tls://localhost:443", "echo"),
        ("WSS://[::1]:9/", "tls://[::1]:9", "echo"),
        ("sses://localhost:9", "tls://localhost:9", "hold"),
        ("ws://localhost", "tcp://localhost:80", "echo"),
    ],
)
def test_where_to_connect(text: str, place: str, scenario: str) -> None:
    options = meant(LoadOptions(targets=[text]))[1]
    assert (options.targets, options.scenario) == ([place], scenario)
    assert parse_url(place)[0] == place.partition("://")[0].lower()


@pytest.mark.parametrize(
    ("targets", "what"),
    [
        (["tls://a:1", "tcp://a:2"], "Some targets are over TLS, others are not"),
        (["a:2", "tls://a:1"], "Some targets are over TLS, others are not"),
        (["wss://a/", "ws://a/"], "Some targets are over TLS, others are not"),
        (["wss://a/", "tls://a:1"], "speak different things"),
        (["wss://a/", "sses://a/"], "speak different things"),
    ],
)
def test_targets_that_do_not_go_together(targets: list[str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        meant(LoadOptions(targets=targets))


def test_publishers_are_over_tls_as_subscribers_are() -> None:
    def asked(target: str, place: str) -> LoadOptions:
        return LoadOptions(targets=[target], scenario="publish", publish_to=place)

    found = meant(asked("sses://a/events", "https://b/publish"))[0]
    assert isinstance(found, Publishing)
    assert (found.apart, found.publish_to, found.publish_host) == (
        "tls://b:443",
        "/publish",
        "b",
    )
    found = meant(asked("wss://a:7/x", "/publish"))[0]
    assert isinstance(found, Publishing) and (found.name, found.apart) == ("ws", "")
    for target, place in (("wss://a/", "http://b/p"), ("ws://a/", "https://b/p")):
        with pytest.raises(UsageError, match="with TLS or without, all alike"):
            meant(asked(target, place))
    with pytest.raises(UsageError, match="not a place to POST to"):
        meant(asked("wss://a/", "tls://b/p"))


def test_options_that_are_for_targets_over_tls() -> None:
    check_unused(LoadOptions())
    given: dict[str, Any] = {
        "ca": "x", "cert": "x", "key": "x", "insecure": True, "server_name": "x",
        "tls_min": "1.3", "tls_resume": True, "tls_handoff": True,
    }  # fmt: skip
    for name, value in given.items():
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is for targets over TLS"):
            check_unused(LoadOptions(**{name: value}))


# --- names ----------------------------------------------------------------------------------------


def test_each_target_has_its_name() -> None:
    """In the order in which connections go to them; what is given twice is there once."""
    targets = ["tls://127.0.0.1:1-3", "tls://localhost:2-4", "tls://[::1]:9"]
    assert names_of(targets, None) == ["127.0.0.1"] * 3 + ["localhost", "::1"]
    assert names_of(targets, "elsewhere") == ["elsewhere"] * 5
    four = targets[:2]
    endpoints = [endpoint for text in four for endpoint in resolve(text)]
    plan = plan_addresses(10, endpoints, [], 100)
    tls = TlsPlan(ssl.create_default_context(), names_of(four, None))
    _, destinations = plan.rows(np.arange(8))
    ports = destinations.rows[:, 2:4].astype(int) @ (256, 1)
    assert [(int(port), tls.name_of(n)) for n, port in enumerate(ports)] == 2 * [
        (1, "127.0.0.1"), (2, "127.0.0.1"), (3, "127.0.0.1"), (4, "localhost"),
    ]  # fmt: skip
    apart = TlsPlan(tls.context, tls.names, "publisher", 2)
    assert [apart.name_of(n) for n in range(4)] == ["publisher"] * 2 + ["127.0.0.1", "localhost"]
    connector = apart.connector(LoadOptions())
    assert connector.server_name is None
    assert set(connector.names) == {"publisher", "127.0.0.1", "localhost"}
    assert TlsPlan(tls.context, ["a", "a"]).connector(LoadOptions()).server_name == "a"


def test_what_no_certificate_has_is_not_expected() -> None:
    assert names_of(["tls://[fe80::1%lo]:1"], None) == ["fe80::1"]
    assert expected_name("localhost.") == "localhost"


# --- sessions -------------------------------------------------------------------------------------


class Pair:
    """A client's session of a connector, and a server's object, over memory."""

    def __init__(self, connector: Connector, server: ssl.SSLContext) -> None:
        self.connector = connector
        self.client = connector.begin(0)
        self.server = Session(server, server_side=True)

    def shake(self) -> Session:
        """Both to the end, with the tickets read."""
        is_told = False
        for _ in range(4):
            if self.client.shake() and not is_told:
                is_told = True
                self.connector.done(self.client)
            self.server.incoming.write(self.client.said())
            self.server.shake()
            self.client.incoming.write(self.server.said())
        assert is_told
        found: list[tuple[int, bytes]] = []
        self.client.read(0, found)
        if self.client.brings:
            self.connector.took(self.client)
        return self.client


def contexts(*, tickets: int = 2, is_old: bool = False) -> tuple[Connector, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(SERVED.cert, SERVED.key)
    server.num_tickets = tickets
    if is_old:
        server.maximum_version = ssl.TLSVersion.TLSv1_2
    client = context_of(LoadOptions(ca=str(OURS.cert)), alpn="")
    return Connector(client, "localhost", resumes=True), server


@pytest.mark.parametrize("is_old", [False, True])
def test_a_session_is_taken_up(is_old: bool) -> None:
    connector, server = contexts(is_old=is_old)
    assert connector.awaited == 1
    first = Pair(connector, server).shake()
    assert not first.brings and connector.awaited == 0 and connector.resumed == 0
    for n in range(1, 4):
        assert Pair(connector, server).shake().object.session_reused
        assert connector.resumed == n
    assert connector.first is not None and connector.first.version == first.object.version()


def test_a_server_that_has_new_keys_gives_a_new_ticket() -> None:
    connector, server = contexts()
    Pair(connector, server).shake()
    _, anew = contexts()
    assert not Pair(connector, anew).shake().object.session_reused
    assert Pair(connector, anew).shake().object.session_reused and connector.resumed == 1


def test_a_server_without_tickets_is_not_waited_for_without_end() -> None:
    connector, server = contexts(tickets=0)
    stay = [Pair(connector, server).shake().brings for _ in range(BRINGERS_MAX + 2)]
    assert stay == [True] * BRINGERS_MAX + [False] * 2
    assert connector.awaited == 0 and connector.resumed == 0


# --- reasons --------------------------------------------------------------------------------------


def test_every_number_has_a_name_words_and_a_remedy() -> None:
    numbers = [
        value for name, value in vars(reasons).items()
        if name.isupper() and isinstance(value, int) and name not in ("BASE", "ALERT", "OUR_ALERT")
    ]  # fmt: skip
    alerts = [*reasons.ALERTS, 255]
    numbers += [base + each for base in (reasons.ALERT, reasons.OUR_ALERT) for each in alerts]
    assert len(numbers) > 80
    seen = set()
    for number in numbers:
        seen.add(errno_name(number))
        for phase in ("tls", "open"):
            text, remedy = explain(number, phase)
            assert text and not text.endswith(".")
            assert remedy.endswith(".")
    assert len(seen) == len(numbers), "no two have one name"
    assert errno_name(reasons.ALERT + 48) == "alert unknown_ca"
    assert errno_name(reasons.ALERT + 255) == "alert 255"

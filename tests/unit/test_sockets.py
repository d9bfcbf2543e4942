"""kernel.sockets: listeners all or none, the sentences of refusals, the accept queue in force."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint
from c1m.errors import UsageError
from c1m.kernel import sockets
from c1m.kernel.sockets import (
    accept_queue_of,
    bound_endpoint,
    close_listeners,
    open_listeners,
    resolve,
    somaxconn,
)

ANY = Endpoint(AF_INET, "127.0.0.1", 0)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets to close after the test."""
    socks: list[socket.socket] = []
    yield socks
    close_listeners(socks)


def listen(opened: list[socket.socket], *endpoints: Endpoint, backlog: int = 16) -> list[Endpoint]:
    socks = open_listeners(endpoints, backlog)
    opened += socks
    return [bound_endpoint(s, e.family) for s, e in zip(socks, endpoints, strict=True)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_resolve() -> None:
    assert resolve("tcp://127.0.0.1:5-7") == [Endpoint(AF_INET, "127.0.0.1", p) for p in (5, 6, 7)]
    assert resolve("tcp://[::1]:5") == [Endpoint(AF_INET6, "::1", 5)]
    assert resolve("unix:///run/x") == [Endpoint(AF_UNIX, path="/run/x")]


def test_resolve_looks_names_up_and_prefers_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))
    four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [six, four])
    assert resolve("tcp://here:1-2") == [Endpoint(AF_INET, "127.0.0.1", p) for p in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [six])
    assert resolve("tcp://here:1") == [Endpoint(AF_INET6, "::1", 1)]


def test_an_unknown_host_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.invalid"):
        resolve("tcp://nowhere.invalid:80")
    with pytest.raises(UsageError, match="not known"):
        resolve(f"tcp://{'x' * 80}.{'y' * 300}:80")


def test_options_of_a_listener(opened: list[socket.socket]) -> None:
    listen(opened, ANY, Endpoint(AF_INET6, "::1", 0))
    for sock in opened:
        assert not sock.getblocking()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert opened[1].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_accepted_sockets_inherit_nodelay(opened: list[socket.socket]) -> None:
    (bound,) = listen(opened, ANY)
    with socket.create_connection((bound.host, bound.port)):
        accepted, _ = opened[0].accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_one_port_for_both_families(opened: list[socket.socket]) -> None:
    (bound,) = listen(opened, Endpoint(AF_INET6, "::", 0))
    listen(opened, Endpoint(AF_INET, "0.0.0.0", bound.port))


def test_a_port_in_use_names_the_endpoint_and_its_holder(opened: list[socket.socket]) -> None:
    (bound,) = listen(opened, ANY)
    before = descriptors()
    with pytest.raises(UsageError) as caught:
        open_listeners([ANY, bound, ANY], 16)
    assert str(bound) in caught.value.message
    assert f"process {os.getpid()}" in caught.value.message
    assert descriptors() == before


def test_an_address_of_another_host() -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.77 is not an address of this host"):
        open_listeners([Endpoint(AF_INET, "192.0.2.77", 0)], 16)


def test_a_refusal_for_want_of_privilege_names_the_first_free_port() -> None:
    refused = sockets._refused(Endpoint(AF_INET, "127.0.0.1", 80), PermissionError(13, "denied"))
    assert "tcp://127.0.0.1:80" in refused.message
    assert "ports below" in refused.message
    assert "CAP_NET_BIND_SERVICE" in refused.remedy


def test_a_refusal_for_want_of_descriptors() -> None:
    refused = sockets._refused(ANY, OSError(24, "Too many open files"))
    assert "ulimit -n" in refused.remedy


def test_unix_a_stale_file_is_replaced_and_a_live_one_is_in_use(
    tmp_path: Path, opened: list[socket.socket]
) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(endpoint.path)
        stale.listen()
    assert os.path.exists(endpoint.path)
    assert listen(opened, endpoint) == [endpoint]
    with pytest.raises(UsageError, match="in use"):
        open_listeners([endpoint], 16)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(endpoint.path)


def test_unix_a_live_one_with_a_full_queue_is_in_use(
    tmp_path: Path, opened: list[socket.socket]
) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    listen(opened, endpoint, backlog=0)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(endpoint.path)
        with pytest.raises(UsageError, match="in use"):
            open_listeners([endpoint], 16)


def test_unix_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(UsageError, match="no socket"):
        open_listeners([Endpoint(AF_UNIX, path=str(path))], 16)
    assert path.read_text() == "mine"


def test_unix_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        open_listeners([Endpoint(AF_UNIX, path=str(tmp_path / "no" / "socket"))], 16)


def test_unix_closing_removes_its_own_file_only(tmp_path: Path) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    first = open_listeners([endpoint], 16)
    os.unlink(endpoint.path)
    second = open_listeners([endpoint], 16)
    close_listeners(first)
    assert os.path.exists(endpoint.path)
    close_listeners(second)
    assert not os.path.exists(endpoint.path)
    close_listeners(second)


def test_all_or_none_removes_the_unix_file_again(tmp_path: Path) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    with pytest.raises(UsageError):
        open_listeners([endpoint, Endpoint(AF_INET, "192.0.2.77", 0)], 16)
    assert not os.path.exists(endpoint.path)


def test_the_accept_queue_in_force(tmp_path: Path, opened: list[socket.socket]) -> None:
    six, unix = Endpoint(AF_INET6, "::1", 0), Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    bound = listen(opened, ANY, six, unix, backlog=17)
    assert [accept_queue_of(b.port or b.path) for b in bound] == [17, 17, 17]


def test_a_backlog_above_somaxconn_is_cut(opened: list[socket.socket]) -> None:
    (bound,) = listen(opened, ANY, backlog=1 << 30)
    assert accept_queue_of(bound.port) == somaxconn()


def test_of_two_listeners_on_one_port_the_smaller_queue_counts(opened: list[socket.socket]) -> None:
    (bound,) = listen(opened, ANY, backlog=30)
    listen(opened, Endpoint(AF_INET, "127.0.0.2", bound.port), backlog=20)
    assert accept_queue_of(bound.port) == 20


def test_where_nobody_listens_nothing_can_be_told(tmp_path: Path) -> None:
    with socket.socket() as bound_only:
        bound_only.bind(("127.0.0.1", 0))
        assert accept_queue_of(bound_only.getsockname()[1]) is None
    assert accept_queue_of(str(tmp_path / "socket")) is None

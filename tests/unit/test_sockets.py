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
from c1m.kernel.sock_diag import accept_queue_of
from c1m.kernel.sockets import Listener, open_listeners, renew, resolve

ANY = Endpoint(AF_INET, "127.0.0.1", 0)


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    """Listeners to close after the test."""
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close()


def listen(opened: list[Listener], *endpoints: Endpoint, backlog: int = 16) -> list[Endpoint]:
    listeners = open_listeners(endpoints, backlog)
    opened += listeners
    return [listener.endpoint for listener in listeners]


def sock_of(listener: Listener) -> socket.socket:
    """A socket object for the same socket."""
    return socket.socket(fileno=os.dup(listener.fd))


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


def test_options_of_a_listener(opened: list[Listener]) -> None:
    listen(opened, ANY, Endpoint(AF_INET6, "::1", 0))
    for listener in opened:
        assert not os.get_blocking(listener.fd)
        with sock_of(listener) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    with sock_of(opened[1]) as sock:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_accepted_sockets_inherit_nodelay(opened: list[Listener]) -> None:
    (bound,) = listen(opened, ANY)
    with socket.create_connection((bound.host, bound.port)), sock_of(opened[0]) as sock:
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_one_port_for_both_families(opened: list[Listener]) -> None:
    (bound,) = listen(opened, Endpoint(AF_INET6, "::", 0))
    listen(opened, Endpoint(AF_INET, "0.0.0.0", bound.port))


def test_a_port_in_use_names_the_endpoint_and_its_holder(opened: list[Listener]) -> None:
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
    tmp_path: Path, opened: list[Listener]
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
    tmp_path: Path, opened: list[Listener]
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
    (first,) = open_listeners([endpoint], 16)
    os.unlink(endpoint.path)
    (second,) = open_listeners([endpoint], 16)
    first.close()
    assert os.path.exists(endpoint.path)
    second.close()
    assert not os.path.exists(endpoint.path)
    second.close()


def test_what_is_listened_on_already_stays_with_the_new_backlog(opened: list[Listener]) -> None:
    one, two = listen(opened, ANY, Endpoint(AF_INET6, "::1", 0))
    three = Endpoint(AF_INET, "127.0.0.2", 0)
    wanted, dropped = renew(opened, [three, two], 23, open_listeners)
    opened.append(wanted[0])
    assert wanted[1] is opened[1] and dropped == [opened[0]]
    assert accept_queue_of(two.port) == 23 and accept_queue_of(one.port) == 16
    assert wanted[0].endpoint.host == "127.0.0.2" and wanted[0].endpoint.port


def test_an_endpoint_that_cannot_be_listened_on_changes_nothing(opened: list[Listener]) -> None:
    (one,) = listen(opened, ANY)
    with pytest.raises(UsageError):
        renew(opened, [one, Endpoint(AF_INET, "192.0.2.77", 0)], 23, open_listeners)
    assert accept_queue_of(one.port) == 16


def test_all_or_none_removes_the_unix_file_again(tmp_path: Path) -> None:
    endpoint = Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    with pytest.raises(UsageError):
        open_listeners([endpoint, Endpoint(AF_INET, "192.0.2.77", 0)], 16)
    assert not os.path.exists(endpoint.path)


def test_the_accept_queue_in_force(tmp_path: Path, opened: list[Listener]) -> None:
    six, unix = Endpoint(AF_INET6, "::1", 0), Endpoint(AF_UNIX, path=str(tmp_path / "socket"))
    bound = listen(opened, ANY, six, unix, backlog=17)
    assert [accept_queue_of(b.port or b.path) for b in bound] == [17, 17, 17]


def test_a_backlog_above_somaxconn_is_cut(opened: list[Listener]) -> None:
    (bound,) = listen(opened, ANY, backlog=1 << 30)
    assert accept_queue_of(bound.port) == int(Path("/proc/sys/net/core/somaxconn").read_text())


def test_of_two_listeners_on_one_port_the_smaller_queue_counts(opened: list[Listener]) -> None:
    (bound,) = listen(opened, ANY, backlog=30)
    listen(opened, Endpoint(AF_INET, "127.0.0.2", bound.port), backlog=20)
    assert accept_queue_of(bound.port) == 20


def test_where_nobody_listens_nothing_can_be_told(tmp_path: Path) -> None:
    with socket.socket() as bound_only:
        bound_only.bind(("127.0.0.1", 0))
        assert accept_queue_of(bound_only.getsockname()[1]) is None
    assert accept_queue_of(str(tmp_path / "socket")) is None

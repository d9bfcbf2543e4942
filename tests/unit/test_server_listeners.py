"""Which of the sockets that another process has opened is for which endpoint."""

from __future__ import annotations

from c1m.addresses import AF_INET, AF_UNIX, Endpoint
from c1m.kernel.supervisor import Given
from c1m.server.listeners import matched

HERE = "127.0.0.1"


def tcp(port: int, host: str = HERE, scheme: str = "tcp") -> Endpoint:
    return Endpoint(AF_INET, host, port, scheme=scheme)


def given(fd: int, asked: Endpoint, bound: Endpoint | None = None) -> Given:
    return Given(fd, asked, bound or asked, is_shared=False)


def fds(taken: list[Given | None]) -> list[int | None]:
    return [None if each is None else each.fd for each in taken]


def test_by_what_was_asked_whatever_the_order_and_the_scheme() -> None:
    path = Endpoint(AF_UNIX, path="/run/a")
    sockets = [given(1, tcp(1)), given(2, path), given(3, tcp(3))]
    taken, rest = matched([tcp(3, scheme="https"), path, tcp(4)], sockets)
    assert fds(taken) == [3, 2, None]
    assert [each.fd for each in rest] == [1]


def test_ports_that_the_kernel_chose() -> None:
    sockets = [given(1, tcp(0), tcp(40_001)), given(2, tcp(0), tcp(40_002)), given(3, tcp(7))]
    taken, rest = matched([tcp(0), tcp(7), tcp(0), tcp(0)], sockets)
    assert fds(taken) == [1, 3, 2, None]
    assert rest == []


def test_a_chosen_port_that_is_named_now() -> None:
    taken, rest = matched([tcp(40_001), tcp(0)], [given(1, tcp(0), tcp(40_001)), given(2, tcp(9))])
    assert fds(taken) == [1, 2]
    assert rest == []


def test_another_host_is_another_endpoint() -> None:
    taken, rest = matched([tcp(0, "127.0.0.2"), tcp(5, "0.0.0.0")], [given(1, tcp(5))])
    assert fds(taken) == [None, None]
    assert [each.fd for each in rest] == [1]

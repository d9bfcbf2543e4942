"""What a server may be told, whether it runs an application or asyncio protocols."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from c1m import arguments, files
from c1m.addresses import Endpoint
from c1m.bounds import (
    BACKLOG,
    BUSY_POLL_NS,
    DRAIN_NS,
    INT_MAX,
    LINGER_NS,
    OUTBOX_HIGH,
)
from c1m.clock import Clock, SystemClock
from c1m.engine.choose import AUTO, ENGINES, FEW, check_name, choose
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.guard.engine import GuardEngine, Words, no_words
from c1m.guard.ledger import Ledger
from c1m.guard.networks import Networks, network_of
from c1m.guard.options import Limits
from c1m.kernel.procfs import process_sample
from c1m.kernel.sockets import resolve
from c1m.kernel.supervisor import Given
from c1m.kernel.users import User
from c1m.server import failures
from c1m.server.listeners import Listeners
from c1m.server.proxied import ProxyEngine
from c1m.tls.options import TLS
from c1m.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from c1m.server.admin import Admin
    from c1m.server.security import Security

BY_PARENT = object()  # for `admin`: operators ask the process that has started this one


@dataclass(slots=True, kw_only=True)
class ServerOptions:
    """Options as `Server` describes them. Raises UsageError for what cannot be meant."""

    listen: Any
    engine: Any = AUTO
    connections_max: Any = None
    outbox_high: Any = OUTBOX_HIGH
    backlog: Any = BACKLOG
    busy_poll_ns: Any = BUSY_POLL_NS
    drain_ns: Any = DRAIN_NS
    linger_ns: Any = LINGER_NS
    clock: Any = None
    tls: Any = None
    proxy_protocol: Any = False
    proxy_from: Any = ()
    limits: Any = None
    drain_spread_ns: Any = 0
    user: Any = None
    given: Sequence[Given] = ()
    admin: Any = None
    on_error: Any = failures.CLOSE
    access_log: Any = None
    access_log_json: Any = False
    endpoints: list[Endpoint] = field(init=False)
    admin_endpoints: list[Endpoint] = field(init=False)  # one, or none
    ledger: Ledger | None = field(default=None, init=False)
    trusted: Networks = field(init=False)

    def __post_init__(self) -> None:
        self.clock = SystemClock() if self.clock is None else self.clock
        if not isinstance(self.clock, Clock):
            raise UsageError(f"{self.clock!r} is no clock.", "Give it a now_ns(), or leave it out.")
        if self.connections_max is not None:
            self.connections_max = arguments.COUNT.check("connections_max", self.connections_max)
            if self.connections_max == 0:
                raise UsageError("A server for 0 connections (connections_max) holds nothing.")
        self.endpoints = [e for url in arguments.texts("listen", self.listen) for e in resolve(url)]
        if not self.endpoints:
            raise UsageError("There is nothing to listen on.", "Name at least one endpoint.")
        if arguments.flag("proxy_protocol", self.proxy_protocol):
            self.endpoints = [replace(each, is_proxied=True) for each in self.endpoints]
        proxies = arguments.texts("proxy_from", self.proxy_from)
        self.trusted = Networks(network_of(text, "proxy_from (--proxy-from)") for text in proxies)
        _check_tls(self.tls)
        if not (isinstance(self.given, list | tuple) and all(type(e) is Given for e in self.given)):
            raise UsageError("given is no row of sockets of another process.", "Leave it out.")
        if self.limits is not None and not isinstance(self.limits, Limits):
            raise UsageError(f"limits is {self.limits!r}.", "Give a c1m.Limits(...).")
        has_own = self.admin is not None and self.admin is not BY_PARENT
        self.admin_endpoints = [_admin_endpoint(self.admin)] if has_own else []
        self.on_error = failures.checked(self.on_error)
        if self.access_log is not None:
            files.check_writable(arguments.text("access_log", self.access_log))
        arguments.flag("access_log_json", self.access_log_json)
        self.backlog = arguments.integer("backlog", self.backlog, most=INT_MAX)
        for name in ("outbox_high", "busy_poll_ns", "drain_ns", "drain_spread_ns", "linger_ns"):
            setattr(self, name, arguments.integer(name, getattr(self, name)))
        if self.user is not None:
            self.user = User.of(arguments.text("user", self.user))

    def prepare(self, listeners: Listeners) -> Security | None:
        """What needs the rights that this process was started with: sockets are bound and keys are
        read; then it is the user's.

        Before there is an engine: see kernel/users.py. One that is given listens by itself.
        """
        if isinstance(self.engine, str):
            check_name(self.engine)
            listeners.bind(self.backlog, self.given)
        security = self.security(listeners.endpoints)
        if self.user is not None:
            self.user.become(listeners.paths())
        return security

    def make_engine(self, *, needs_descriptors: bool = False) -> Engine:
        """The engine that is named, or the one that is given. Raises UsageError for neither."""
        if isinstance(self.engine, str):
            asks_names = self.limits is not None and self.limits.asks_names()
            return choose(
                self.engine,
                live_max=self.connections_max,
                outbox_high=self.outbox_high,
                linger_ns=self.linger_ns,
                busy_poll_ns=self.busy_poll_ns,
                few_first=sys.maxsize if needs_descriptors else FEW,  # an event loop's, or not
                needs_descriptors=needs_descriptors or asks_names,
            )
        if isinstance(self.engine, type) or not isinstance(self.engine, Engine):
            names = ", ".join([AUTO, *ENGINES])
            raise UsageError(f"{self.engine!r} is no engine.", f"Name one: {names}.")
        return self.engine

    def watched(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """The same, with what the kernel is to find out about peers (kernel/sockets.py)."""
        if self.limits is None:
            return list(endpoints)
        keepalive_ns = self.limits.value("keepalive") or 0
        untaken_ns = self.limits.value("unread_timeout") or 0
        if untaken_ns:
            untaken_ns = max(untaken_ns, 2 * keepalive_ns)
        keepalive_s = -(-keepalive_ns // NS_PER_S)
        untaken_ms = untaken_ns // NS_PER_MS
        return [replace(each, keepalive_s=keepalive_s, untaken_ms=untaken_ms) for each in endpoints]

    def with_proxies(self, engine: Engine, endpoints: Sequence[Endpoint]) -> Engine:
        """The engine, with PROXY headers read where one of the endpoints has them."""
        if any(each.is_proxied for each in endpoints):
            return ProxyEngine(engine, self.clock, self.trusted)
        if self.trusted:
            raise UsageError(
                "Proxies are trusted (proxy_from, --proxy-from), and no PROXY headers are read.",
                "Give --proxy-protocol, or listen on tcp+proxy://HOST:PORT.",
            )
        return engine

    def with_limits(
        self, engine: Engine, words: Words = no_words, turn: int | None = None
    ) -> Engine:
        """The engine, with a guard around it where something is limited, or noted for operators.

        `words`: what those are told who come by a listener when the server is full. `turn`: what
        the application has for a limit of that name.
        """
        if self.admin is not None or self.access_log is not None:
            keeps_peers = self.access_log is not None
            self.ledger = Ledger(engine.capacity, self.clock, keeps_peers=keeps_peers)
        limits = (self.limits or Limits()).with_turn(turn)
        if not limits.any() and self.ledger is None:
            return engine
        return GuardEngine(engine, limits, self.clock, words, _memory, self.ledger)

    @property
    def takes_over(self) -> bool:
        """Whether another process still serves, and listens where this one is to."""
        return any(not each.is_shared for each in self.given)

    def listener_for_operators(self, server: Any) -> Admin | None:
        """It listens; None where there is to be none. Raises UsageError."""
        if not self.admin_endpoints:
            return None
        from c1m.server.admin import Admin  # http.server and its like take some megabytes

        return Admin(server, self.admin_endpoints[0])

    def security(self, endpoints: Sequence[Endpoint]) -> Security | None:
        """TLS, where one of these has it, or the listener for operators. Raises UsageError."""
        endpoints = [*endpoints, *self.admin_endpoints]
        if self.tls is None and not any(endpoint.is_tls for endpoint in endpoints):
            return None
        from c1m.server.security import security_of

        return security_of(self.tls, endpoints)


def _admin_endpoint(given: Any) -> Endpoint:
    try:
        found = resolve(arguments.text("admin", given))
    except UsageError as error:
        raise UsageError(f"--admin: {error.message}", error.remedy) from None
    if len(found) != 1 or found[0].is_proxied:
        raise UsageError(
            f"--admin: {given!r} is not one plain place.",
            "Write 127.0.0.1:9100, https://127.0.0.1:9100 or unix:///run/c1m-admin.sock.",
        )
    return found[0]


def _memory() -> int:
    """What the process has in memory, in bytes."""
    sample = process_sample()
    return 0 if sample is None else sample.rss_bytes


def _check_tls(tls: Any) -> None:
    if tls is None or isinstance(tls, TLS):
        return
    if not isinstance(tls, ssl.SSLContext):
        raise UsageError(f"tls is {tls!r}.", "Give a c1m.TLS(cert, key), or an ssl.SSLContext.")
    if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise UsageError(
            "tls is a context for clients.",
            "Make one with ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), or give a c1m.TLS.",
        )

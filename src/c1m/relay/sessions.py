"""A connection to a broker, by its well-kept client: redis-py, nats-py. In an asyncio program.

A session goes on until something fails: then it raises, and another one is made. The clients' own
ways to connect again and to send again are off: nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Protocol

from c1m.errors import UsageError
from c1m.relay.broker import Broker

CONNECT_S = 5.0
REDIS_MESSAGE_MAX = 512 << 20  # proto-max-bulk-len
QUEUE_MAX = 1000  # of NATS's messages that nobody has taken yet


class Session(Protocol):
    """Subscribed to the broker's channel."""

    message_max: int  # bytes that the broker takes at a time

    async def publish(self, payload: bytes) -> None:
        """Hand it to the broker. Raises what the client raises."""

    async def receive(self) -> bytes:
        """The next that comes, one's own included. Raises where the connection has ended."""
        raise NotImplementedError

    async def close(self) -> None:
        """End it. Raises nothing."""


def check_client(broker: Broker) -> None:
    """Raise UsageError where the client's package is not there."""
    package, name = ("nats", "nats-py") if broker.is_nats else ("redis", "redis")
    try:
        __import__(package)
    except ImportError:
        raise UsageError(
            f"{broker} needs the package {name}.", "pip install 'c1m[relay]'"
        ) from None


async def open_session(broker: Broker) -> Session:
    """Connect and subscribe. Raises what the client raises."""
    return await (_open_nats if broker.is_nats else _open_redis)(broker)


class _Redis:
    """Two connections: one publishes, one is subscribed."""

    message_max = REDIS_MESSAGE_MAX

    def __init__(self, client: Any, pubsub: Any, name: str) -> None:
        self._client, self._pubsub, self._name = client, pubsub, name

    async def publish(self, payload: bytes) -> None:
        await self._client.publish(self._name, payload)

    async def receive(self) -> bytes:
        while True:
            message = await self._pubsub.get_message(timeout=None)
            if message is None:
                continue
            if message["type"] == "message":
                return bytes(message["data"])
            # It was subscribed before: the client has connected anew by itself, and what was
            # published meanwhile is missing.
            raise ConnectionError("the connection was lost")

    async def close(self) -> None:
        for each in (self._pubsub, self._client):
            try:
                await asyncio.wait_for(each.aclose(), 1)
            except Exception:  # it is of no use any more
                continue


async def _open_redis(broker: Broker) -> Session:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    place: dict[str, Any] = {"host": broker.host, "port": broker.port}
    if broker.path:
        place = {"unix_socket_path": broker.path}
    if broker.scheme == "rediss":
        place |= {"ssl": True, "ssl_check_hostname": True}
    client = Redis(
        **place, username=broker.user, password=broker.password, protocol=2,
        retry=Retry(NoBackoff(), 0), socket_connect_timeout=CONNECT_S,
    )  # fmt: skip
    session = _Redis(client, client.pubsub(), broker.name)
    try:
        await session._pubsub.subscribe(broker.name)
        reply = await session._pubsub.get_message(timeout=CONNECT_S)
        if reply is None or reply["type"] != "subscribe":
            raise TimeoutError("it did not answer SUBSCRIBE")
    except BaseException:
        await session.close()
        raise
    return session


class _Nats:
    """One connection."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the connection's end
        self._places = asyncio.Semaphore(QUEUE_MAX)
        self._has_ended = False
        self._why: Exception | None = None
        self.client: Any = None
        self.message_max = 0

    async def publish(self, payload: bytes) -> None:
        if self._has_ended:
            raise self._reason()
        await self.client.publish(self._name, payload)

    async def receive(self) -> bytes:
        data = await self._queue.get()
        if data is None:
            raise self._reason()
        self._places.release()
        return data

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self.client.close(), 1)
        except Exception:  # it is of no use any more
            return

    def _reason(self) -> Exception:
        return self._why or ConnectionError("the connection has ended")

    # --- what nats-py calls ---------------------------------------------------------------------

    async def on_message(self, message: Any) -> None:
        await self._places.acquire()  # it reads no further meanwhile
        self._queue.put_nowait(message.data)

    async def on_error(self, error: Exception) -> None:
        self._why = error

    async def on_end(self) -> None:
        self._has_ended = True
        self._queue.put_nowait(None)


async def _open_nats(broker: Broker) -> Session:
    import nats

    session = _Nats(broker.name)
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    given: dict[str, Any] = {"user": broker.user, "password": broker.password}
    session.client = await nats.connect(
        f"nats://{host}:{broker.port}", allow_reconnect=False, connect_timeout=int(CONNECT_S),
        error_cb=session.on_error, disconnected_cb=session.on_end, closed_cb=session.on_end,
        name="c1m", **{name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    session.message_max = session.client.max_payload
    await session.client.subscribe(broker.name, cb=session.on_message)
    await session.client.flush(int(CONNECT_S))
    return session


def words(error: BaseException) -> str:
    """Why a session ended, in one line."""
    if isinstance(error, TimeoutError) and not str(error):
        return "it does not answer"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    said = " ".join(str(error).split()) or type(error).__name__
    return said[:200].rstrip(".")

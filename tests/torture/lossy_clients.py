"""Clients that check every byte, for the far end of a bad wire: not ours, but others' libraries.

`python lossy_clients.py KIND HOST PORT [--count N] [--rounds N] [--size BYTES] [--seed N]` prints
what it found as JSON. One that waits longer than --patience is stuck, and wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import ssl
import sys
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from websockets.asyncio.client import connect

CHUNK = 20_000


class Clients:
    """What was asked for, and what was found."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.checked_bytes = self.conversations = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def found(self, size: int, wrong: str = "") -> None:
        """A conversation has ended, so many bytes of it were right."""
        with self._lock:
            self.checked_bytes += size
            self.conversations += 1
            if wrong:
                self.wrong.append(wrong)

    def random(self, number: int) -> Random:
        """Of one of the clients."""
        return Random(self.asked.seed * 1_000_003 + number)

    # --- bytes that come back ---------------------------------------------------------------------

    def echo(self) -> None:
        """Over plain TCP; who has said all closes its half, and waits for the other."""
        asyncio.run(self._echoes(None))

    def tls(self) -> None:
        """The same over TLS, which has no half-close."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        asyncio.run(self._echoes(context))

    async def _echoes(self, context: ssl.SSLContext | None) -> None:
        await asyncio.gather(*(self._some_echoes(n, context) for n in range(self.asked.count)))

    async def _some_echoes(self, number: int, context: ssl.SSLContext | None) -> None:
        random = self.random(number)
        for turn in range(self.asked.rounds):
            sent = random.randbytes(random.randrange(1, self.asked.size))
            try:
                async with asyncio.timeout(self.asked.patience):
                    came = await self._one_echo(random, sent, context)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.found(0, f"client {number}, conversation {turn}: {error!r}")
                return
            self.found(len(came), "" if came == sent else f"client {number}: other bytes came")

    async def _one_echo(self, random: Random, sent: bytes, context: ssl.SSLContext | None) -> bytes:
        reader, writer = await asyncio.open_connection(
            self.asked.host,
            self.asked.port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else 3600,
        )
        reading = asyncio.create_task(reader.readexactly(len(sent)))
        at = 0
        while at < len(sent):
            size = random.randrange(1, CHUNK)
            writer.write(sent[at : at + size])
            await writer.drain()
            at += size
        came = await reading
        if context is None:
            writer.write_eof()
            came += await reader.read()  # the server has nothing more to say
        writer.close()
        await writer.wait_closed()
        return came

    # --- a key-value server -----------------------------------------------------------------------

    def kv(self) -> None:
        """redis-py, each in a thread, with keys of its own and a counter of all."""
        each = [threading.Thread(target=self._keys, args=(n,)) for n in range(self.asked.count)]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()
        counter = self._redis().incr("all")
        wanted = self.asked.count * self.asked.rounds * 20 + 1
        if counter != wanted and not self.wrong:
            self.wrong.append(f"the counter of all is {counter}, not {wanted}")

    def _redis(self) -> Any:
        return redis.Redis(
            self.asked.host, self.asked.port, socket_timeout=self.asked.patience,
            socket_connect_timeout=self.asked.patience, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip

    def _keys(self, number: int) -> None:
        random, size, wrong = self.random(number), 0, ""
        try:
            for turn in range(self.asked.rounds):
                client, key = self._redis(), f"{number}:{turn}"
                sent = random.randbytes(random.randrange(self.asked.size))
                client.set(key, sent)
                pipeline = client.pipeline(transaction=False)
                for _ in range(20):
                    pipeline.incr("all")
                pipeline.execute()
                came = client.get(key)
                size += len(came)
                wrong = wrong or ("" if came == sent else f"client {number}: {key} is another")
                client.close()
        except redis.RedisError as error:
            wrong = f"client {number}: {error!r}"
        self.found(size, wrong)

    # --- a push server ----------------------------------------------------------------------------

    def push(self) -> None:
        """`websockets` hear all that is posted, in its order."""
        asyncio.run(self._subscribers())

    async def _subscribers(self) -> None:
        random = self.random(0)
        messages = [
            f"{n} {random.randbytes(random.randrange(1, 2000)).hex()}"
            for n in range(self.asked.rounds * 10)
        ]
        there = asyncio.Semaphore(0)
        hear = [asyncio.create_task(self._hear(messages, there)) for _ in range(self.asked.count)]
        for _ in hear:
            await there.acquire()
        if not self.wrong:
            await asyncio.to_thread(self._publish, messages)
        await asyncio.gather(*hear)

    async def _hear(self, messages: list[str], there: asyncio.Semaphore) -> None:
        url, size, wrong = f"ws://{self.asked.host}:{self.asked.port}/connect?channel=a", 0, ""
        waits: dict[str, Any] = {"open_timeout": self.asked.patience, "ping_interval": None}
        try:
            async with (
                asyncio.timeout(self.asked.patience),
                connect(url, close_timeout=self.asked.patience, **waits) as socket,
            ):
                there.release()
                for sent in messages:
                    came = await socket.recv()
                    assert came == sent, f"{came[:20]!r} came instead of {sent[:20]!r}"
                    size += len(sent)
        except Exception as error:
            wrong = f"a subscriber: {error!r}"
            there.release()
        self.found(size, wrong)

    def _publish(self, messages: list[str]) -> None:
        client = http.client.HTTPConnection(
            self.asked.host, self.asked.port, timeout=self.asked.patience
        )
        for message in messages:
            client.request("POST", "/publish?channel=a", message.encode())
            answer = client.getresponse()
            if json.loads(answer.read())["subscribers"] != self.asked.count:
                self.wrong.append("a subscriber has gone while it was published")
        client.close()


KINDS: dict[str, Callable[[Clients], None]] = {
    "echo": Clients.echo, "kv": Clients.kv, "push": Clients.push, "tls": Clients.tls,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=100.0)
    clients = Clients(parser.parse_args())
    KINDS[clients.asked.kind](clients)
    found = {
        "conversations": clients.conversations,
        "bytes": clients.checked_bytes,
        "wrong": clients.wrong,
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

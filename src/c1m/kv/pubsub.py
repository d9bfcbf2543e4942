"""Publish and subscribe: to channels, to patterns of their names, and to shard channels.

Shard channels are channels with names of their own: there is one shard. A message is encoded once
for each version of the protocol among those who hear it, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from c1m.engine.contract import Slots
from c1m.fanout.channels import Channels
from c1m.kv.channels import Subscriptions
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import wrong_subcommand
from c1m.kv.glob import matcher
from c1m.kv.rows import IS_SUBSCRIBER, RESP3
from c1m.kv.store import Store
from c1m.protocols.resp.replies import NULLS, array, bulk, bulks, integer, push

FEW = 8  # subscribers up to which one by one is quicker than arrays

Count = Callable[[int], int]


def publish(store: Store, name: bytes, message: bytes) -> int:
    """Send a message to a channel's subscribers, then to those of patterns; to how many."""
    words = [bulk(name), bulk(message)]
    subscriptions = store.subscriptions
    count = _say(store, subscriptions.channels.slots(name), [bulk(b"message"), *words])
    for pattern in subscriptions.patterns.matching(name):
        slots = subscriptions.patterns.slots(pattern)
        count += _say(store, slots, [bulk(b"pmessage"), bulk(pattern), *words])
    return count


def subscribe_all(store: Store, slots: Slots, name: bytes) -> None:
    """SUBSCRIBE of one channel by connections, int32[n], each once, that have no subscription yet.

    Their replies go out as one payload, behind what they wait for already.
    """
    subscriptions = store.subscriptions
    assert not (subscriptions.states[slots] & ~np.uint8(RESP3)).any(), "only what is plain"
    subscriptions.channels.add_all(slots, name)
    subscriptions.states[slots] |= IS_SUBSCRIBER
    _say(store, slots, [bulk(b"subscribe"), bulk(name), integer(1)])


def leave(client: Client) -> None:
    """A connection is subscribed to nothing any more, and is not told."""
    if client.is_subscriber:
        client.store.subscriptions.forget(np.array([client.slot], np.int32))
        _note(client)


def _say(store: Store, slots: Slots, words: list[bytes]) -> int:
    """A push to all of these, int32[n], each once, in the protocol that each speaks; n."""
    if not len(slots):
        return 0
    states = store.subscriptions.states[slots]
    if len(slots) <= FEW:
        for slot, state in zip(slots.tolist(), states.tolist(), strict=True):
            store.out.say(slot, push(words, 3 if state & RESP3 else 2))
        return len(slots)
    is_resp3 = (states & RESP3) != 0
    count = int(np.count_nonzero(is_resp3))
    for protocol, those in ((2, len(slots) - count), (3, count)):
        if those == len(slots):
            store.out.say_to_all(slots, push(words, protocol))
        elif those:
            store.out.say_to_all(slots[is_resp3 == (protocol == 3)], push(words, protocol))
    return len(slots)


def _note(client: Client) -> None:
    """Write into a connection's row, at once, what messages to it go by."""
    subscriptions = client.store.subscriptions
    client.is_subscriber = subscriptions.has_any(client.slot)
    state = int(subscriptions.states[client.slot]) & ~(IS_SUBSCRIBER | RESP3)
    state |= (IS_SUBSCRIBER if client.is_subscriber else 0) | (RESP3 if client.protocol == 3 else 0)
    subscriptions.states[client.slot] = state


# --- subscribing ------------------------------------------------------------------------------


def _subscribe(client: Client, kind: Channels, names: Args, verb: bytes, count: Count) -> bytes:
    said = []
    for name in names:
        kind.add(client.slot, name)
        said.append(push([bulk(verb), bulk(name), integer(count(client.slot))], client.protocol))
    _note(client)
    return b"".join(said)


def _unsubscribe(client: Client, kind: Channels, names: Args, verb: bytes, count: Count) -> bytes:
    said = []
    for name in names or kind.of(client.slot):
        kind.remove(client.slot, name)
        said.append(push([bulk(verb), bulk(name), integer(count(client.slot))], client.protocol))
    if not said:
        nobody = [bulk(verb), NULLS[client.protocol], integer(count(client.slot))]
        said.append(push(nobody, client.protocol))
    _note(client)
    return b"".join(said)


def _of(client: Client) -> Subscriptions:
    return client.store.subscriptions


@command("subscribe", -2, "pubsub noscript loading stale")
def subscribe(client: Client, args: Args) -> bytes:
    """Receive what is published to channels."""
    return _subscribe(client, _of(client).channels, args[1:], b"subscribe", _of(client).count)


@command("unsubscribe", -1, "pubsub noscript loading stale")
def unsubscribe(client: Client, args: Args) -> bytes:
    """Stop receiving from channels, or from all channels."""
    return _unsubscribe(client, _of(client).channels, args[1:], b"unsubscribe", _of(client).count)


@command("psubscribe", -2, "pubsub noscript loading stale")
def psubscribe(client: Client, args: Args) -> bytes:
    """Receive what is published to channels whose names match patterns."""
    return _subscribe(client, _of(client).patterns, args[1:], b"psubscribe", _of(client).count)


@command("punsubscribe", -1, "pubsub noscript loading stale")
def punsubscribe(client: Client, args: Args) -> bytes:
    """Stop receiving by patterns, or by all patterns."""
    return _unsubscribe(client, _of(client).patterns, args[1:], b"punsubscribe", _of(client).count)


@command("ssubscribe", -2, "pubsub noscript loading stale", (1, -1, 1))
def ssubscribe(client: Client, args: Args) -> bytes:
    """Receive what is published to shard channels."""
    shards = _of(client).shards
    return _subscribe(client, shards, args[1:], b"ssubscribe", shards.count)


@command("sunsubscribe", -1, "pubsub noscript loading stale", (1, -1, 1))
def sunsubscribe(client: Client, args: Args) -> bytes:
    """Stop receiving from shard channels, or from all shard channels."""
    shards = _of(client).shards
    return _unsubscribe(client, shards, args[1:], b"sunsubscribe", shards.count)


# --- publishing -------------------------------------------------------------------------------


@command("publish", 3, "pubsub loading stale fast")
def publish_(client: Client, args: Args) -> bytes | None:
    """Send a message to a channel; the reply is how many receive it."""
    if client.store.elsewhere is not None:
        return client.store.publishers.publish(client, args[1], args[2])
    return integer(publish(client.store, args[1], args[2]))


@command("spublish", 3, "pubsub loading stale fast", (1, 1, 1))
def spublish(client: Client, args: Args) -> bytes:
    """Send a message to a shard channel; the reply is how many receive it."""
    slots = _of(client).shards.slots(args[1])
    return integer(_say(client.store, slots, [bulk(b"smessage"), bulk(args[1]), bulk(args[2])]))


# --- looking ----------------------------------------------------------------------------------


def _matching(names: Iterable[bytes], args: Args) -> bytes:
    """The names that match a pattern, if one is given."""
    if len(args) > 3:
        raise wrong_subcommand(args)
    if len(args) == 2:
        return bulks(list(names))
    matches = matcher(args[2])
    return bulks([name for name in names if matches(name)])


def _sizes(size: Callable[[bytes], int], names: Args) -> bytes:
    """Each name and how many subscribers it has: an array also in RESP3."""
    return array([each for name in names for each in (bulk(name), integer(size(name)))])


@command("pubsub|channels", -2, "pubsub loading stale")
def pubsub_channels(client: Client, args: Args) -> bytes:
    """The channels that have subscribers, those of a pattern if one is given."""
    names, elsewhere = _of(client).channels.names(), client.store.elsewhere
    return _matching({*names, *elsewhere.names()} if elsewhere is not None else names, args)


@command("pubsub|numsub", -2, "pubsub loading stale")
def pubsub_numsub(client: Client, args: Args) -> bytes:
    """How many subscribers channels have, those of patterns apart."""
    channels, elsewhere = _of(client).channels, client.store.elsewhere
    if elsewhere is None:
        return _sizes(channels.size, args[2:])
    return _sizes(lambda name: channels.size(name) + elsewhere.size(name), args[2:])


@command("pubsub|numpat", 2, "pubsub loading stale")
def pubsub_numpat(client: Client, args: Args) -> bytes:
    """How many patterns are subscribed to."""
    return integer(len(_of(client).patterns))


@command("pubsub|shardchannels", -2, "pubsub loading stale")
def pubsub_shardchannels(client: Client, args: Args) -> bytes:
    """The shard channels that have subscribers, those of a pattern if one is given."""
    return _matching(_of(client).shards.names(), args)


@command("pubsub|shardnumsub", -2, "pubsub loading stale")
def pubsub_shardnumsub(client: Client, args: Args) -> bytes:
    """How many subscribers shard channels have."""
    return _sizes(_of(client).shards.size, args[2:])

"""CLIENT: what a connection is called, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from c1m.engine.contract import Slots
from c1m.kv.arguments import integer
from c1m.kv.client import SILENT, SKIPS, TALKS_AGAIN, Client
from c1m.kv.commands import Args, command
from c1m.kv.connection import client_name
from c1m.kv.errors import SYNTAX, CommandError, wrong_subcommand
from c1m.kv.rows import DATABASE_SHIFT, IS_KEPT, IS_SUBSCRIBER, RESP3
from c1m.kv.store import Store
from c1m.protocols.resp.replies import EMPTY, NULLS, OK, bulk, mapping, set_of, verbatim
from c1m.protocols.resp.replies import command as request
from c1m.protocols.resp.replies import integer as number

_FLAGS = "noscript loading stale"
_ADMIN = "admin " + _FLAGS
Ends = tuple[str, str]  # a connection's addresses: the peer's, the server's
TYPES = (b"normal", b"master", b"replica", b"pubsub")


@command("client|id", 2, _FLAGS)
def client_id(client: Client, args: Args) -> bytes:
    """The connection's id, which is never given again."""
    return number(client.store.rows.id_of(client.slot))


@command("client|getname", 2, _FLAGS)
def client_getname(client: Client, args: Args) -> bytes:
    """The connection's name."""
    name = client.store.rows.label(client.slot).name
    return bulk(name) if name else NULLS[client.protocol]


@command("client|setname", 3, _FLAGS)
def client_setname(client: Client, args: Args) -> bytes:
    """Name the connection."""
    rows = client.store.rows
    rows.set_label(client.slot, rows.label(client.slot)._replace(name=client_name(args[2])))
    return OK


@command("client|setinfo", 4, _FLAGS)
def client_setinfo(client: Client, args: Args) -> bytes:
    """Say which library the client is: LIB-NAME or LIB-VER."""
    kind = args[2].lower()
    if kind not in (b"lib-name", b"lib-ver"):
        raise CommandError(b"ERR Unrecognized option '%b'" % args[2])
    if not all(33 <= byte <= 126 for byte in args[3]):
        raise CommandError(b"ERR %b cannot contain spaces, newlines or special characters." % kind)
    rows = client.store.rows
    label = rows.label(client.slot)
    is_name = kind == b"lib-name"
    label = label._replace(library=args[3]) if is_name else label._replace(version=args[3])
    rows.set_label(client.slot, label)
    return OK


# --- the list ---------------------------------------------------------------------------------


def of_type(store: Store, slots: Slots, kind: object) -> Slots:
    """Those of some connections that are normal or pubsub ones; there are no others."""
    is_subscriber = (store.rows.state[slots] & IS_SUBSCRIBER) != 0
    if kind not in (b"normal", b"pubsub"):
        return slots[:0]
    found: Slots = slots[is_subscriber == (kind == b"pubsub")]
    return found


def described(asking: Client, slots: Iterable[int], args: Args) -> bytes:
    """Lines of CLIENT LIST; `args`: what the asking client runs."""
    store = asking.store
    shown, query = b"|".join(args[:2]).lower(), request(*args)
    rows, now_ms = store.rows, store.now_ms
    numbers = np.fromiter(slots, np.int32)
    lines = []
    for slot, (address, local) in zip(numbers.tolist(), store.addresses(numbers), strict=True):
        state, label = int(rows.state[slot]), rows.label(slot)
        kept = asking if slot == asking.slot else rows.kept.get(slot)
        queue = kept.queue if kept is not None else None
        protocol, index = 3 if state & RESP3 else 2, state >> DATABASE_SHIFT
        is_subscriber = bool(state & IS_SUBSCRIBER)
        if kept is not None:
            protocol, index = kept.protocol, kept.db.index
            is_subscriber = kept.is_subscriber
        heard, ran = store.subscriptions, "NULL"  # of others it is not kept what they ran last
        if slot == asking.slot:
            ran = shown.decode()
        elif is_subscriber:
            ran = "subscribe" if heard.channels.count(slot) else "psubscribe"
        marks = "P" * is_subscriber + "x" * (queue is not None)
        if kept is not None:
            marks += "b" * (kept.later is not None) + "d" * kept.is_stale
            marks += "O" * kept.is_monitor + "c" * kept.is_closing
        lines.append(
            f"id={rows.id_of(slot)} addr={address} laddr={local} fd={slot} "
            f"name={label.name.decode()} age={rows.age_s(slot, now_ms)} "
            f"idle={0 if slot == asking.slot else rows.idle_s(slot, now_ms)} "
            f"flags={marks or 'N'} db={index} sub={heard.channels.count(slot)} "
            f"psub={heard.patterns.count(slot)} ssub={heard.shards.count(slot)} "
            f"multi={-1 if queue is None else len(queue)} "
            f"qbuf={len(query) if slot == asking.slot else 0} qbuf-free=0 argv-mem=0 "
            f"multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r "
            f"cmd={ran} user=default redir=-1 "
            f"resp={protocol} lib-name={label.library.decode()} lib-ver={label.version.decode()}\n"
        )
    return "".join(lines).encode()


@command("client|info", 2, _FLAGS)
def client_info(client: Client, args: Args) -> bytes:
    """The line of CLIENT LIST for this connection."""
    return verbatim(described(client, [client.slot], args), client.protocol)


@command("client|list", -2, _ADMIN)
def client_list(client: Client, args: Args) -> bytes:
    """All connections, a line for each; of one TYPE, or those with some IDs."""
    store = client.store
    option = args[2].lower() if len(args) > 2 else b""
    slots: Iterable[int]
    if not option:
        slots = store.rows.slots().tolist()
    elif option == b"type" and len(args) == 4:
        kind = _type(args[3])
        slots = of_type(store, store.rows.slots(), kind).tolist()
    elif option == b"id" and len(args) > 3:
        numbers = [integer(text, b"ERR Invalid client ID") for text in args[3:]]
        found = [store.rows.find(each) for each in numbers]
        slots = [slot for slot in found if slot is not None]
    else:
        raise CommandError(SYNTAX)
    return verbatim(described(client, slots, args), client.protocol)


def _type(text: bytes) -> bytes:
    kind = text.lower().replace(b"slave", b"replica")
    if kind not in TYPES:
        raise CommandError(b"ERR Unknown client type '%b'" % text)
    return kind


# --- ending others' waiting and connections ---------------------------------------------------


@command("client|kill", -3, _ADMIN)
def client_kill(client: Client, args: Args) -> bytes:
    """End connections: by address, or by ID, TYPE, USER, ADDR, LADDR and SKIPME."""
    if len(args) == 3:
        if not _kill(client, {"addr": args[2].decode("latin-1")}, skips_me=False):
            raise CommandError(b"ERR No such client")
        return OK
    if len(args) % 2:
        raise CommandError(SYNTAX)
    store, skips_me = client.store, True
    wanted: dict[str, object] = {}
    for option, value in zip(args[2::2], args[3::2], strict=True):
        option = option.lower()
        if option == b"id":
            wrong = b"ERR client-id should be greater than 0"
            if integer(value, wrong) <= 0:
                raise CommandError(wrong)
            wanted["slot"] = store.rows.find(integer(value))
        elif option == b"type":
            wanted["type"] = _type(value)
        elif option in (b"addr", b"laddr"):
            wanted[option.decode()] = value.decode("latin-1")
        elif option == b"user":
            if value != b"default":
                raise CommandError(b"ERR No such user '%b'" % value)
        elif option == b"skipme" and value.lower() in (b"yes", b"no"):
            skips_me = value.lower() == b"yes"
        else:
            raise CommandError(SYNTAX)

    return number(_kill(client, wanted, skips_me=skips_me))


def _kill(client: Client, wanted: dict[str, object], *, skips_me: bool) -> int:
    """End those of whom all that is wanted is true; how many."""
    store = client.store
    if "slot" in wanted:
        slots = np.array([wanted["slot"]] if wanted["slot"] is not None else [], np.int32)
    else:
        slots = store.rows.slots()
    if skips_me:
        slots = slots[slots != client.slot]
    if "type" in wanted:
        slots = of_type(store, slots, wanted["type"])
    for place, name in enumerate(("addr", "laddr")):
        if name in wanted:
            is_there = [each[place] == wanted[name] for each in store.addresses(slots)]
            slots = slots[np.array(is_there, np.bool_)]
    count = 0
    for slot in slots.tolist():
        if slot == client.slot:
            client.is_closing = True
            count += 1
        else:
            count += _end(store, slot)
    return count


def _end(store: Store, slot: int) -> bool:
    """End another connection: what comes behind this command finds it no longer. False: it ends
    already.
    """
    client = store.rows.kept.get(slot) or Client(slot, store)
    if client.is_closing:
        return False
    client.leave()
    store.subscriptions.forget(np.array([slot], np.int32))
    client.is_closing = True  # so what it has sent in this tick is not run
    store.rows.kept[slot] = client
    store.rows.state[slot] = IS_KEPT
    store.out.killed.append(slot)
    return True


@command("client|unblock", -3, _ADMIN)
def client_unblock(client: Client, args: Args) -> bytes:
    """End a connection's wait for a key: as by its TIMEOUT, or with an ERROR."""
    if len(args) > 4:
        raise wrong_subcommand(args)
    reason = args[3].lower() if len(args) == 4 else b"timeout"
    if reason not in (b"timeout", b"error"):
        raise CommandError(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    slot = client.store.rows.find(integer(args[2]))
    found = None if slot is None else client.store.rows.kept.get(slot)
    waiting = client.store.waiting
    return number(found is not None and waiting.unblock(found, is_error=reason == b"error"))


# --- the rest ---------------------------------------------------------------------------------


@command("client|reply", 3, _FLAGS)
def client_reply(client: Client, args: Args) -> bytes | None:
    """Whether replies are sent: ON, OFF, or SKIP the next one."""
    mode = args[2].lower()
    if mode == b"on":
        client.silence = TALKS_AGAIN
        return OK
    if mode not in (b"off", b"skip"):
        raise CommandError(SYNTAX)
    if client.silence != SILENT:
        client.silence = SILENT if mode == b"off" else SKIPS
    return None


def _on_or_off(text: bytes) -> bytes:
    if text.lower() not in (b"on", b"off"):
        raise CommandError(SYNTAX)
    return OK


@command("client|no-evict", 3, _ADMIN)
def client_no_evict(client: Client, args: Args) -> bytes:
    """Accepted: connections are not dropped for memory here."""
    return _on_or_off(args[2])


@command("client|no-touch", 3, _FLAGS)
def client_no_touch(client: Client, args: Args) -> bytes:
    """Accepted, and without effect."""
    return _on_or_off(args[2])


@command("client|getredir", 2, _FLAGS)
def client_getredir(client: Client, args: Args) -> bytes:
    """Always -1: there is no tracking."""
    return number(-1)


@command("client|tracking", -3, _FLAGS)
def client_tracking(client: Client, args: Args) -> bytes:
    """Client-side caching: it can be switched off only."""
    mode = args[2].lower()
    if mode == b"on":
        raise CommandError(b"ERR Client tracking is not supported by this server")
    return _on_or_off(mode)


@command("client|caching", 3, _FLAGS)
def client_caching(client: Client, args: Args) -> bytes:
    """Refused: there is no tracking."""
    raise CommandError(
        b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or"
        b" OPTOUT mode enabled"
    )


@command("client|trackinginfo", 2, _FLAGS)
def client_trackinginfo(client: Client, args: Args) -> bytes:
    """That there is no tracking."""
    off = set_of([bulk(b"off")], client.protocol)
    pairs = [bulk(b"flags"), off, bulk(b"redirect"), number(-1), bulk(b"prefixes"), EMPTY]
    return mapping(pairs, client.protocol)


@command("client|pause", -3, _ADMIN)
def client_pause(client: Client, args: Args) -> bytes:
    """Let all clients' commands wait for so many milliseconds; WRITE: what changes data only."""
    mode = args[3].lower() if len(args) == 4 else b"all"
    if len(args) > 4 or mode not in (b"write", b"all"):
        raise CommandError(b"ERR CLIENT PAUSE mode must be WRITE or ALL")
    for_ms = integer(args[2], b"ERR timeout is not an integer or out of range")
    if for_ms < 0:
        raise CommandError(b"ERR timeout is negative")
    store = client.store
    store.pause.begin(store.now_ms + for_ms, is_all=mode == b"all")
    store.guard()
    return OK


@command("client|unpause", 2, _ADMIN)
def client_unpause(client: Client, args: Args) -> bytes:
    """Let those who wait because of CLIENT PAUSE go on."""
    client.store.end_pause()
    return OK

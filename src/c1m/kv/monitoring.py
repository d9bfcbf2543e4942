"""What others see of the commands that run: MONITOR, and the names in the slow log."""

from __future__ import annotations

import numpy as np

from c1m.kv.client import Client
from c1m.kv.commands import Args, Command

_REDACTED = b"(redacted)"
_ESCAPES = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 34: b'\\"', 92: b"\\\\"}
_SHOWN = [
    _ESCAPES.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\x%02x" % byte)
    for byte in range(256)
]


def who(client: Client) -> tuple[str, bytes]:
    """A client's address and name."""
    store = client.store
    ((address, _),) = store.addresses(np.array([client.slot], np.int32))
    return address, store.rows.label(client.slot).name


def without_secrets(args: Args) -> Args:
    """A command as others may see it: without passwords."""
    words = [arg.lower() for arg in args]
    shown = list(args)
    if words[0] == b"auth":
        shown[1:] = [_REDACTED] * len(args[1:])
    elif words[0] == b"hello" and b"auth" in words:
        at = words.index(b"auth")
        shown[at + 1 : at + 3] = [_REDACTED] * len(args[at + 1 : at + 3])
    elif words[:2] == [b"config", b"set"]:
        for at in range(3, len(args), 2):
            if words[at - 1] == b"requirepass":
                shown[at] = _REDACTED
    return shown


def show(client: Client, command: Command, args: Args) -> None:
    """Tell those who said MONITOR what a client has done."""
    if "skip_monitor" in command.flags or "admin" in command.flags:
        return
    store = client.store
    now_us = store.host.now_us() if store.host.now_us is not None else store.now_ms * 1000
    words = b" ".join(b'"%b"' % b"".join(map(_SHOWN.__getitem__, a)) for a in without_secrets(args))
    address = who(client)[0].encode()
    about = b"%d.%06d [%d %b]" % (*divmod(now_us, 1_000_000), client.db.index, address)
    for slot in store.monitors:
        store.out.say(slot, b"+%b %b\r\n" % (about, words))

"""Kernel TLS: records of TLS 1.3 sealed and opened by the kernel, with keys that it is given.

Facts (include/uapi/linux/tls.h, Documentation/networking/tls.rst). A connected TCP socket gets the
upper protocol "tls"; then it takes a key for sending (TLS_TX) and one for receiving (TLS_RX). From
there on what is written is content of application data; a record of another type is sent and
received with a control message. A key can be changed behind a KeyUpdate since Linux 6.14; before
that the second one is refused with EBUSY. Of the 12 bytes of AES-GCM's IV the first four are called
salt.

What they mean here. A key for sending may be given when all that was said so far is in the socket;
one for receiving when nothing that was received waits anywhere, and at the end of a record.

Choice. `probe` tries it on a connection to ourselves. Without a change of keys it is not offered,
for a peer may ask for one at any time (RFC 8446, 4.6.3).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

SOL_TLS = 282
TCP_ULP = 31
TLS_TX, TLS_RX = 1, 2
SET_RECORD_TYPE, GET_RECORD_TYPE = 1, 2
TLS_1_3 = 0x0304
RECORD_TYPE_SPACE = socket.CMSG_SPACE(1)

SetOption = Callable[[int, int, int, bytes], None]
"""setsockopt of a descriptor: level, name, value. Raises OSError."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """struct tls12_crypto_info_*: iv, key, salt and sequence behind version and cipher."""

    cipher: int  # TLS_CIPHER_*
    key_size: int
    salt_size: int  # the first bytes of the IV; the others are `iv`


# By the number of the suite in TLS (RFC 8446, B.4).
LAYOUTS = {
    0x1301: _Layout(51, 16, 4),
    0x1302: _Layout(52, 32, 4),
    0x1303: _Layout(54, 32, 0),
}


def crypto_info(suite: int, key: bytes, iv: bytes, count: int) -> bytes:
    """What the kernel is given: `count` records were sealed under this key so far."""
    layout = LAYOUTS[suite]
    if len(key) != layout.key_size or len(iv) != 12:
        raise ValueError("The key or the IV does not have the size that its cipher suite wants.")
    head = struct.pack("=HH", TLS_1_3, layout.cipher)
    salt, rest = iv[: layout.salt_size], iv[layout.salt_size :]
    return head + rest + key + salt + count.to_bytes(8, "big")


def set_option(fd: int, level: int, name: int, value: bytes) -> None:
    """setsockopt, of whatever socket this is a descriptor of."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setsockopt(level, name, value)


def begin(fd: int, set_option: SetOption = set_option) -> None:
    """The socket gets kernel TLS, without any keys yet. Raises OSError."""
    set_option(fd, socket.IPPROTO_TCP, TCP_ULP, b"tls")


def give_key(fd: int, way: int, info: bytes, set_option: SetOption = set_option) -> None:
    """A key for sending (TLS_TX) or receiving (TLS_RX): the first, or the next. Raises OSError."""
    set_option(fd, SOL_TLS, way, info)


def send_record(fd: int, kind: int, content: bytes) -> None:
    """A record of this type, an alert say. Raises OSError: EAGAIN where it does not fit."""
    control = [(SOL_TLS, SET_RECORD_TYPE, bytes((kind,)))]
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.sendmsg([content], control, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_record(fd: int, size: int) -> tuple[int, bytes]:
    """Type and content of the next record, or of a part of it. Raises OSError."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        content, control, _, _ = sock.recvmsg(size, RECORD_TYPE_SPACE, socket.MSG_DONTWAIT)
    kinds = [v[0] for level, name, v in control if (level, name) == (SOL_TLS, GET_RECORD_TYPE)]
    return kinds[0] if kinds else 23, content


def probe(set_option: SetOption = set_option) -> str:
    """Why this kernel cannot be given keys, as a sentence; "" where it can."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as ours, listener.accept()[0]:
            return _tried(ours.fileno(), set_option)


def _tried(fd: int, set_option: SetOption) -> str:
    try:
        begin(fd, set_option)
    except OSError as error:  # ENOENT: it was built without, or the module is not there
        return f"This kernel has no TLS ({error.strerror})."
    suite = min(LAYOUTS)
    info = crypto_info(suite, bytes(LAYOUTS[suite].key_size), bytes(12), 0)
    try:
        give_key(fd, TLS_TX, info, set_option)
    except OSError as error:
        return f"This kernel's TLS has no version 1.3 ({error.strerror})."
    try:
        give_key(fd, TLS_TX, info, set_option)
    except OSError as error:  # EBUSY
        return f"This kernel's TLS cannot change keys, which needs Linux 6.14 ({error.strerror})."
    return ""

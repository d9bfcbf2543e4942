"""PROXY headers for tests: made field by field, and read in the plainest way there is."""

from __future__ import annotations

import socket
import struct

from c1m.protocols.proxy import SIGNATURE, V2_MAX, ClientTLS, Header, Wrong

Address = tuple[str, int]

AUTHORITY, CHECKSUM, NOOP, TLS, TLS_VERSION, TLS_NAME = 0x02, 0x03, 0x04, 0x20, 0x21, 0x22


def line(source: Address, destination: Address) -> bytes:
    """Version 1."""
    family = "TCP6" if ":" in source[0] else "TCP4"
    text = f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n"
    return text.encode()


def binary(source: Address, destination: Address, fields: bytes = b"") -> bytes:
    """Version 2, of TCP."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    hosts = b"".join(socket.inet_pton(family, host) for host, _ in (source, destination))
    block = hosts + struct.pack(">HH", source[1], destination[1]) + fields
    return binary_of(0x21, 0x21 if family == socket.AF_INET6 else 0x11, block)


def binary_of(command: int, protocol: int, block: bytes = b"") -> bytes:
    """Version 2, of anything."""
    return SIGNATURE + struct.pack(">BBH", command, protocol, len(block)) + block


def field(kind: int, value: bytes) -> bytes:
    """A further field of version 2."""
    return struct.pack(">BH", kind, len(value)) + value


def client_tls(client: int, verify: int, *fields: bytes) -> bytes:
    """The field about the client's TLS."""
    return field(TLS, struct.pack(">BI", client, verify) + b"".join(fields))


def with_checksum(header: bytes) -> bytes:
    """The header with a right checksum as its last field."""
    size = len(header) - 16 + 7
    whole = header[:14] + struct.pack(">H", size) + header[16:] + field(CHECKSUM, bytes(4))
    return whole[:-4] + struct.pack(">I", checksum(whole))


def checksum(data: bytes) -> int:
    """CRC32c, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            odd = (crc ^ byte >> bit) & 1
            crc = crc >> 1 ^ (0x82F63B78 if odd else 0)
    return crc ^ 0xFFFFFFFF


def sockaddr(host: str, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6."""
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
        return struct.pack("<H", socket.AF_INET6) + struct.pack(">HI16sI", port, 0, packed, 0)
    packed = socket.inet_pton(socket.AF_INET, host)
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H4s8s", port, packed, b"")


# --- the plainest reader ------------------------------------------------------------------------


def read_slowly(stream: bytes) -> Header | Wrong | None:
    """A header, what is wrong, or None: more must come. By the bytes, one after the other."""
    for word, reader in ((b"PROXY ", _line), (SIGNATURE, _binary)):
        if stream.startswith(word) or word.startswith(stream):
            return reader(stream)
    return Wrong.NO_HEADER


def _line(stream: bytes) -> Header | Wrong | None:
    for at in range(min(len(stream), 107)):
        before, byte = stream[at - 1 : at], stream[at : at + 1]
        if (byte == b"\n") is not (before == b"\r"):
            return Wrong.LINE_END
        if byte == b"\n":
            return _words(stream[: at - 1].decode("latin-1"), at + 1)
    return None if len(stream) < 107 else Wrong.LINE_LENGTH


def _words(text: str, size: int) -> Header | Wrong:
    words = text.split(" ")
    if words[1] == "UNKNOWN":
        return Header(size, 1)
    if words[1] not in ("TCP4", "TCP6"):
        return Wrong.LINE_FAMILY
    if len(words) != 6 or "" in words:
        return Wrong.LINE_FIELDS
    family = socket.AF_INET if words[1] == "TCP4" else socket.AF_INET6
    for host in words[2:4]:
        numbers = host.split(".")
        zeros = any(number != "0" and number.startswith("0") for number in numbers)
        if (family == socket.AF_INET and zeros) or not host.isascii() or "\0" in host:
            return Wrong.LINE_ADDRESS
        try:
            socket.inet_pton(family, host)
        except OSError:
            return Wrong.LINE_ADDRESS
    for port in words[4:]:
        if port not in map(str, range(65536)):
            return Wrong.LINE_PORT
    source, destination = map(sockaddr, words[2:4], map(int, words[4:]))
    return Header(size, 1, source, destination)


def _binary(stream: bytes) -> Header | Wrong | None:
    if len(stream) < 16:
        return None
    command, protocol, size = struct.unpack(">BBH", stream[12:16])
    if command >> 4 != 2:
        return Wrong.VERSION
    if command not in (0x20, 0x21):
        return Wrong.COMMAND
    if 16 + size > V2_MAX:
        return Wrong.TOO_LONG
    unknown = {0x00, 0x01, 0x02, 0x10, 0x20, 0x30}
    addresses = {0x10: 12, 0x20: 36, 0x30: 216}.get(protocol & 0xF0, 0)
    if command == 0x21 and protocol not in unknown | {0x11, 0x12, 0x21, 0x22, 0x31, 0x32}:
        return Wrong.FAMILY
    if command == 0x21 and size < addresses:
        return Wrong.TOO_SHORT
    if len(stream) < 16 + size:
        return None
    if command == 0x20 or protocol in unknown:
        return Header(16 + size, 2)
    header = stream[: 16 + size]
    block, rest = header[16 : 16 + addresses], header[16 + addresses :]
    source = destination = b""
    if addresses < 216:
        family, width = (socket.AF_INET, 4) if addresses == 12 else (socket.AF_INET6, 16)
        hosts = [socket.inet_ntop(family, block[at : at + width]) for at in (0, width)]
        ports = struct.unpack(">HH", block[-4:])
        source, destination = map(sockaddr, hosts, ports)
    return _with_fields(header, rest, Header(len(header), 2, source, destination))


def _with_fields(header: bytes, rest: bytes, found: Header) -> Header | Wrong:
    authority, tls = "", None
    while rest:
        kind, value, behind = _first_field(rest)
        if value is None:
            return Wrong.FIELD
        if kind == CHECKSUM:
            at = len(header) - len(rest) + 3
            whole = header[:at] + bytes(len(value)) + header[at + len(value) :]
            if struct.pack(">I", checksum(whole)) != value:
                return Wrong.CHECKSUM
        if kind == AUTHORITY:
            authority = value.decode(errors="backslashreplace")
        if kind == TLS:
            shown = _shown_tls(value)
            if isinstance(shown, Wrong):
                return shown
            tls = shown
        rest = behind
    return Header(found.size, 2, found.source, found.destination, authority, tls)


def _first_field(rest: bytes) -> tuple[int, bytes | None, bytes]:
    if len(rest) < 3:
        return 0, None, b""
    kind, size = struct.unpack(">BH", rest[:3])
    if len(rest) < 3 + size:
        return 0, None, b""
    return kind, rest[3 : 3 + size], rest[3 + size :]


def _shown_tls(value: bytes) -> ClientTLS | Wrong | None:
    if len(value) < 5:
        return Wrong.FIELD
    client, verify = struct.unpack(">BI", value[:5])
    rest, texts = value[5:], {TLS_VERSION: "", TLS_NAME: ""}
    while rest:
        kind, text, rest = _first_field(rest)
        if text is None:
            return Wrong.FIELD
        texts[kind] = text.decode(errors="backslashreplace")
    if not client & 1:
        return None
    return ClientTLS(texts[TLS_VERSION], client & 6 != 0 and verify == 0, texts[TLS_NAME])

"""PROXY protocol: what a proxy says of a connection's client, before the client's own bytes. Pure.

HAProxy's specification (proxy-protocol.txt) has two forms: a line of text (2.1) and a binary header
with further fields (2.2), which are told apart by their first byte. `read` is given all that has
come, which is at most V2_MAX bytes until there is a header or it is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from c1m.addresses import AF_INET, AF_INET6

BASE = 1 << 21  # of numbers for what is wrong, beside errnos and what TLS says (tls.reasons)
LINE_MAX = 107  # bytes of version 1, its end included (2.1)
V2_MAX = 4096  # bytes of version 2; by its length it could have 65,551
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = len(SIGNATURE) + 4  # and version and command, family and transport, length

_LOCAL, _PROXY = 0, 1  # commands
_UNSPEC, _INET, _INET6, _UNIX = range(4)  # families
_ADDRESSES = {_INET: 12, _INET6: 36, _UNIX: 216}  # bytes, ports included
_TRANSPORTS = (0, 1, 2)  # unknown, stream, datagram
_AUTHORITY, _CHECKSUM, _TLS, _TLS_VERSION, _TLS_NAME = 0x02, 0x03, 0x20, 0x21, 0x22
_HAS_CERTIFICATE = 0x02 | 0x04  # of this connection, of its session

_OCTET = rb"(?:0|[1-9][0-9]{0,2})"
_IPV4 = re.compile(rb"\.".join([_OCTET] * 4))
_IPV6 = re.compile(rb"[0-9A-Fa-f:.]{2,45}")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_ALONE = re.compile(rb"\r(?!\n)(?!\Z)|(?<!\r)\n")


class Wrong(Enum):
    """Why a connection has no header, in a sentence."""

    code: int  # a number beside errnos

    NO_HEADER = "The first bytes are no PROXY header."
    LINE_LENGTH = f"The line does not end within {LINE_MAX} bytes."
    LINE_END = "A CR or an LF is alone: the line must end in both."
    LINE_FAMILY = "The line is about none of TCP4, TCP6 and UNKNOWN."
    LINE_FIELDS = "The line has not two addresses and two ports, each behind one space."
    LINE_ADDRESS = "An address in the line is none of its family."
    LINE_PORT = "A port in the line is no number of 0 to 65535 without zeros before it."
    VERSION = "The header's version is neither 1 nor 2."
    COMMAND = "The header's command is neither LOCAL nor PROXY."
    FAMILY = "The header's address family or transport is unknown."
    TOO_LONG = f"The header has more than {V2_MAX:,} bytes."
    TOO_SHORT = "The header is too short for its addresses."
    FIELD = "A field of the header reaches beyond its end."
    CHECKSUM = "The header's checksum is wrong."
    ENDED = "The connection ended before its header had come."
    LATE = "The header did not come in time."
    STRANGER = "The peer is none of the proxies that are trusted."
    TOO_MUCH = "Too much of headers that had not come whole waited already."


for _place, _wrong in enumerate(Wrong):
    _wrong.code = BASE + _place
BY_CODE = {wrong.code: wrong for wrong in Wrong}


class Broken(Exception):
    """The stream does not begin with a header that can be read."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(wrong.value)
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """How the client speaks TLS with the proxy (2.2.6)."""

    version: str = ""  # "TLSv1.3"
    is_verified: bool = False  # it has shown a certificate, and the proxy has verified that
    common_name: str = ""  # of the certificate's subject


@dataclass(frozen=True, slots=True)
class Header:
    """What was said. Addresses are struct sockaddr; None: those of the connection itself are meant;
    b"": the client has none, for it came over a unix socket."""

    size: int  # bytes of the stream
    version: int
    source: bytes | None = None
    destination: bytes | None = None
    authority: str = ""  # the name that the client asked for
    tls: ClientTLS | None = None


def read(stream: bytes) -> Header | None:
    """The header that the stream begins with; None: more must come. Raises Broken."""
    if stream[:1] == SIGNATURE[:1]:
        return _read_binary(stream)
    if stream[:6] != b"PROXY "[: len(stream)]:
        raise Broken(Wrong.NO_HEADER)
    return _read_line(stream)


# --- version 1 ------------------------------------------------------------------------------------


def _read_line(stream: bytes) -> Header | None:
    end = stream.find(b"\r\n", 0, LINE_MAX)
    line = stream[: end + 2] if end >= 0 else stream[:LINE_MAX]
    if _ALONE.search(line):
        raise Broken(Wrong.LINE_END)
    if end < 0:
        if len(stream) >= LINE_MAX:
            raise Broken(Wrong.LINE_LENGTH)
        return None
    _, family, *fields = line[:end].split(b" ")
    if family == b"UNKNOWN":  # what is behind it is to be ignored
        return Header(end + 2, 1)
    if family not in (b"TCP4", b"TCP6"):
        raise Broken(Wrong.LINE_FAMILY)
    if len(fields) != 4 or not all(fields):
        raise Broken(Wrong.LINE_FIELDS)
    of_text = _ipv4_of if family == b"TCP4" else _ipv6_of
    addresses, ports = [of_text(text) for text in fields[:2]], [_port_of(t) for t in fields[2:]]
    source, destination = map(_sockaddr, addresses, ports)
    return Header(end + 2, 1, source, destination)


def _ipv4_of(text: bytes) -> bytes:
    numbers = [int(part) for part in text.split(b".")] if _IPV4.fullmatch(text) else [256]
    if max(numbers) > 255:
        raise Broken(Wrong.LINE_ADDRESS)
    return bytes(numbers)


def _ipv6_of(text: bytes) -> bytes:
    try:
        if _IPV6.fullmatch(text):
            return ipaddress.IPv6Address(text.decode()).packed
    except ValueError:
        pass
    raise Broken(Wrong.LINE_ADDRESS)


def _port_of(text: bytes) -> bytes:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise Broken(Wrong.LINE_PORT)
    return int(text).to_bytes(2, "big")


def _sockaddr(address: bytes, port: bytes) -> bytes:
    if len(address) == 4:
        return AF_INET.to_bytes(2, "little") + port + address + bytes(8)
    return AF_INET6.to_bytes(2, "little") + port + bytes(4) + address + bytes(4)


# --- version 2 ------------------------------------------------------------------------------------


def _read_binary(stream: bytes) -> Header | None:
    if stream[: len(SIGNATURE)] != SIGNATURE[: len(stream)]:
        raise Broken(Wrong.NO_HEADER)
    if len(stream) < _FIXED:
        return None
    version, command = divmod(stream[12], 16)
    family, transport = divmod(stream[13], 16)
    size = _FIXED + int.from_bytes(stream[14:16], "big")
    if version != 2:
        raise Broken(Wrong.VERSION)
    if command not in (_LOCAL, _PROXY):
        raise Broken(Wrong.COMMAND)
    if size > V2_MAX:
        raise Broken(Wrong.TOO_LONG)
    is_local = command == _LOCAL  # a proxy's own connection: all else is to be ignored
    if not is_local and (family not in (_UNSPEC, *_ADDRESSES) or transport not in _TRANSPORTS):
        raise Broken(Wrong.FAMILY)
    if not is_local and size < _FIXED + _ADDRESSES.get(family, 0):
        raise Broken(Wrong.TOO_SHORT)
    if len(stream) < size:
        return None
    if is_local or family == _UNSPEC or transport == 0:
        return Header(size, 2)  # addresses of no known size may be in it
    return _read_body(stream[:size], family)


def _read_body(header: bytes, family: int) -> Header:
    ends = _FIXED + _ADDRESSES[family]
    width = {_INET: 4, _INET6: 16}.get(family, 0)
    source = destination = b""
    if width:
        first, ports = header[_FIXED : ends - 4], header[ends - 4 : ends]
        source = _sockaddr(first[:width], ports[:2])
        destination = _sockaddr(first[width:], ports[2:])
    authority, tls = "", None
    for kind, at, value in _fields(header, ends):
        if kind == _CHECKSUM:
            without = header[:at] + bytes(len(value)) + header[at + len(value) :]
            if crc32c(without).to_bytes(4, "big") != value:
                raise Broken(Wrong.CHECKSUM)
        elif kind == _AUTHORITY:
            authority = _text(value)
        elif kind == _TLS:
            tls = _client_tls(value)
    return Header(len(header), 2, source, destination, authority, tls)


def _fields(block: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, place and value of each (2.2: pp2_tlv)."""
    while at < len(block):
        begin = at + 3
        at = begin + int.from_bytes(block[at + 1 : begin], "big")
        if begin > len(block) or at > len(block):
            raise Broken(Wrong.FIELD)
        yield block[begin - 3], begin, block[begin:at]


def _client_tls(value: bytes) -> ClientTLS | None:
    """Facts. HAProxy says "verified" (0) of a client without a certificate, too."""
    if len(value) < 5:
        raise Broken(Wrong.FIELD)
    texts = {kind: _text(text) for kind, _, text in _fields(value, 5)}
    if not value[0] & 1:
        return None
    is_verified = value[0] & _HAS_CERTIFICATE != 0 and value[1:5] == bytes(4)
    return ClientTLS(texts.get(_TLS_VERSION, ""), is_verified, texts.get(_TLS_NAME, ""))


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def crc32c(data: bytes) -> int:
    """The checksum of RFC 4960, appendix B: reflected, polynomial 0x1EDC6F41."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = [_crc_of(byte) for byte in range(256)]

"""What two readers of HTTP/1.1 could read in two ways, and what must become of it here.

A case is a stream and what it is answered: the statuses of its requests in order, 200 where one is
taken, and the number of bytes in each body that is taken. A refusal is the last.
"""

from __future__ import annotations

from typing import NamedTuple

HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"  # what must not be taken for a request


class Case(NamedTuple):
    """One stream."""

    name: str
    stream: bytes
    statuses: tuple[int, ...]
    bodies: tuple[int, ...] = ()


def get(*lines: bytes) -> bytes:
    """A GET with these further lines."""
    return b"GET / HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with these further lines, and what follows its head."""
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


LENGTHS = (
    Case("length", post(b"Content-Length: 5", body=b"hello" + NEXT), (200, 200), (5, 0)),
    Case("length 0", post(b"Content-Length: 0", body=NEXT), (200, 200), (0, 0)),
    Case("no length", post(body=NEXT), (200, 200), (0, 0)),
    Case("leading zeros", post(b"Content-Length: 005", body=b"hello" + NEXT), (200, 200), (5, 0)),
    Case("two lengths", post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"), (400,)),
    Case("equal lengths", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), (400,)),
    Case("list of lengths", post(b"Content-Length: 5, 5", body=b"hello"), (400,)),
    Case("list of other lengths", post(b"Content-Length: 5, 6", body=b"hello"), (400,)),
    Case("plus", post(b"Content-Length: +5", body=b"hello"), (400,)),
    Case("minus", post(b"Content-Length: -5", body=b"hello"), (400,)),
    Case("minus zero", post(b"Content-Length: -0", body=b""), (400,)),
    Case("hexadecimal length", post(b"Content-Length: 0x5", body=b"hello"), (400,)),
    Case("length in letters", post(b"Content-Length: 5a", body=b"hello"), (400,)),
    Case("empty length", post(b"Content-Length:", body=b"hello"), (400,)),
    Case("length with space", post(b"Content-Length: 5 5", body=b"hello"), (400,)),
    Case("underscore", post(b"Content-Length: 1_0", body=b"hellohello"), (400,)),
    Case("other digits", post("Content-Length: ٥".encode(), body=b"hello"), (400,)),
    Case("fraction", post(b"Content-Length: 5.0", body=b"hello"), (400,)),
    Case("exponent", post(b"Content-Length: 1e1", body=b"hellohello"), (400,)),
    Case("huge length", post(b"Content-Length: 99999999999999999999", body=b"hello"), (413,)),
    Case("2**64 + 5", post(b"Content-Length: 18446744073709551621", body=b"hello"), (413,)),
    Case("2**32 + 5", post(b"Content-Length: 4294967301", body=b"hello"), (413,)),
)

CODINGS = (
    Case("chunked", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + NEXT, (200, 200), (5, 0)),
    Case(
        "Chunked", post(b"Transfer-Encoding: Chunked", body=b"0\r\n\r\n" + NEXT), (200, 200), (0, 0)
    ),
    Case(
        "both",
        post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG" + NEXT),
        (400,),
    ),
    Case(
        "both, other order",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 6", body=b"0\r\n\r\nG" + NEXT),
        (400,),
    ),
    Case(
        "both, length 0",
        post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case(
        "coding of HTTP/1.0",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (400,),
    ),
    Case("gzip", post(b"Transfer-Encoding: gzip", body=b"x"), (400,)),
    Case("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), (501,)),
    Case("chunked, gzip", post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), (400,)),
    Case("identity", post(b"Transfer-Encoding: identity", body=NEXT), (400,)),
    Case("chunked, identity", post(b"Transfer-Encoding: chunked, identity", body=NEXT), (400,)),
    Case(
        "identity, chunked",
        post(b"Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n"),
        (501,),
    ),
    Case("chunked twice", post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), (400,)),
    Case(
        "chunked in two fields",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case(
        "chunked and cow",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case("xchunked", post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), (400,)),
    Case("chunk", post(b"Transfer-Encoding: chunk", body=b"0\r\n\r\n"), (400,)),
    Case("quoted chunked", post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), (400,)),
    Case("chunked;q=1", post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), (400,)),
    Case(
        "empty coding and chunked",
        post(b"Transfer-Encoding:", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case("chunked and nothing", post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n"), (400,)),
    Case("empty coding", post(b"Transfer-Encoding:", body=NEXT), (400,)),
    Case(
        "coding with vertical tab",
        post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case("coding with NUL", post(b"Transfer-Encoding: chunked\0", body=b"0\r\n\r\n"), (400,)),
    Case("space before colon", post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), (400,)),
    Case("tab before colon", post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"), (400,)),
    Case("folded coding", post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), (400,)),
    Case(
        "coding behind bare CR",
        post(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case(
        "coding behind bare LF",
        post(b"X: y\nTransfer-Encoding: chunked", body=b"0\r\n\r\n"),
        (400,),
    ),
    Case(
        "name with underscore is another",
        post(b"Transfer_Encoding: chunked", body=NEXT),
        (200, 200),
        (0, 0),
    ),
)

CHUNKS = (
    Case("extension", CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n" + NEXT, (200, 200), (5, 0)),
    Case("quoted extension", CHUNKED + b'5;a="b;c"\r\nhello\r\n0;x\r\n\r\n', (200,), (5,)),
    Case(
        "trailers",
        CHUNKED + b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n" + NEXT,
        (200, 200),
        (1, 0),
    ),
    Case("capital size", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", (200,), (10,)),
    Case(
        "zeros before the size", CHUNKED + b"005\r\nhello\r\n000\r\n\r\n" + NEXT, (200, 200), (5, 0)
    ),
    Case("size with 0x", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size with plus", CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size with minus", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size with space before", CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size with space behind", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size with underscore", CHUNKED + b"1_0\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("no size", CHUNKED + b"\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("only an extension", CHUNKED + b";a\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size in letters", CHUNKED + b"g\r\nhello\r\n0\r\n\r\n", (400,)),
    Case(
        "size of 17 digits",
        CHUNKED + b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        (400,),
    ),
    Case("size of 2**64 + 5", CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("size of 2**63", CHUNKED + b"8000000000000000\r\nhello\r\n0\r\n\r\n", (413,)),
    Case("size with bare LF", CHUNKED + b"5\nhello\r\n0\r\n\r\n", (400,)),
    Case("size with bare CR", CHUNKED + b"5\rhello\r\n0\r\n\r\n", (400,)),
    Case("extension with bare LF", CHUNKED + b"5;a\nhello\r\n0\r\n\r\n", (400,)),
    Case("extension with bare CR", CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("extension with NUL", CHUNKED + b"5;a\0\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("data is longer", CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n", (400,)),
    Case("data is shorter", CHUNKED + b"6\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("data ends with LF", CHUNKED + b"5\r\nhello\n0\r\n\r\n", (400,)),
    Case("data ends with CR", CHUNKED + b"5\r\nhello\r0\r\n\r\n", (400,)),
    Case("data ends with nothing", CHUNKED + b"5\r\nhello0\r\n\r\n", (400,)),
    Case("chunks end with LF", CHUNKED + b"0\n\n" + NEXT, (400,)),
    Case("length as trailer", CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n" + NEXT, (400,)),
    Case("coding as trailer", CHUNKED + b"0\r\nTransfer-Encoding: x\r\n\r\n" + NEXT, (400,)),
    Case("unquoted extension", CHUNKED + b'5;a="b\r\nhello\r\n0\r\n\r\n', (400,)),
    Case("space before an extension", CHUNKED + b"5 ;a\r\nhello\r\n0\r\n\r\n", (400,)),
    Case("trailer with space", CHUNKED + b"0\r\nA : b\r\n\r\n", (400,)),
    Case("trailer with bare LF", CHUNKED + b"0\r\nA: b\n\r\n", (400,)),
    Case("folded trailer", CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", (400,)),
    Case("request as trailer", CHUNKED + b"0\r\n" + NEXT, (400,)),
)

LINES = (
    Case("empty lines before", b"\r\n\r\n" + NEXT, (200,), (0,)),
    Case("two requests", NEXT + NEXT, (200, 200), (0, 0)),
    Case("empty line between", NEXT + b"\r\n" + NEXT, (200, 200), (0, 0)),
    Case("LF before", b"\n" + NEXT, (400,)),
    Case("space before the method", b" " + NEXT, (400,)),
    Case("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("tab", b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("two spaces before the version", b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("space behind the version", b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", (400,)),
    Case("space in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("NUL in the target", b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("high byte in the target", b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("CR in the target", b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case(
        "fragment",
        b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n",
        (400,),
    ),
    Case("no version", b"GET /\r\n" + HOST + b"\r\n", (400,)),
    Case("no target", b"GET HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("version 2", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", (505,)),
    Case("version 0.9", b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", (505,)),
    Case("version 1.10", b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", (400,)),
    Case("version 01.1", b"GET / HTTP/01.1\r\n" + HOST + b"\r\n", (400,)),
    Case("version in small letters", b"GET / http/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    Case("method with colon", b"GE:T / HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("method with quote", b'G"T / HTTP/1.1\r\n' + HOST + b"\r\n", (400,)),
    Case("unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", (200,), (0,)),
    Case("CONNECT", b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", (501,)),
    Case("line ends with LF", b"GET / HTTP/1.1\n" + HOST + b"\r\n", (400,)),
    Case("asterisk of GET", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("asterisk of OPTIONS", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (200,), (0,)),
    Case("absolute", b"GET http://a/b HTTP/1.1\r\n" + HOST + b"\r\n", (200,), (0,)),
    Case("absolute without host", b"GET http:///b HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("absolute with user", b"GET http://u@a/b HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("other scheme", b"GET file:///b HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    Case("no slash", b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
)

FIELDS = (
    Case("no host", b"GET / HTTP/1.1\r\n\r\n", (400,)),
    Case("no host in 1.0", b"GET / HTTP/1.0\r\n\r\n", (200,), (0,)),
    Case("two hosts", get(b"Host: b"), (400,)),
    Case("two equal hosts", get(b"Host: a"), (400,)),
    Case("two hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
    Case("host with space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", (400,)),
    Case("host with slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", (400,)),
    Case("host with user", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", (400,)),
    Case("hosts with comma and space", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", (400,)),
    Case("empty host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", (200,), (0,)),
    Case("IPv6 host", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", (200,), (0,)),
    Case("first line begins with space", b"GET / HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n", (400,)),
    Case("folded", get(b"X: y", b" z"), (400,)),
    Case("folded with tab", get(b"X: y", b"\tz"), (400,)),
    Case("no colon", get(b"X"), (400,)),
    Case("no name", get(b": x"), (400,)),
    Case("space in the name", get(b"X Y: z"), (400,)),
    Case("high byte in the name", get(b"X\xff: z"), (400,)),
    Case("high byte in the value", get(b"X: \xc3\xa4"), (200,), (0,)),
    Case("NUL in the value", get(b"X: \0"), (400,)),
    Case("NUL in the name", get(b"X\0: y"), (400,)),
    Case("CR in the value", get(b"X: a\rb"), (400,)),
    Case("CR before the end", get(b"X: a\r"), (400,)),
    Case("LF in the value", get(b"X: a\nY: b"), (400,)),
    Case("DEL in the value", get(b"X: \x7f"), (400,)),
    Case("head ends with LF", b"GET / HTTP/1.1\r\n" + HOST + b"\n" + NEXT, (400,)),
    Case("other expectation", get(b"Expect: 200-ok"), (417,)),
    Case("other expectation in 1.0", b"GET / HTTP/1.0\r\nExpect: x\r\n\r\n", (200,), (0,)),
    Case("long line", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414,)),
    Case("line without end", b"GET /" + b"a" * 8192, (414,)),
    Case("long field", get(b"X: " + b"a" * 32768), (431,)),
    Case("field without end", b"GET / HTTP/1.1\r\nX: " + b"a" * 32768, (431,)),
    Case("long head", get(*[b"X: " + b"a" * 700] * 50), (431,)),
    Case("many fields", get(*[b"X: y"] * 100), (431,)),
    Case("long body", post(b"Content-Length: 1048577000"), (413,)),
    Case("long chunks", CHUNKED + b"fffff\r\n" + b"a" * 0xFFFFF + b"\r\n2\r\n", (413,)),
    Case("long line of a chunk", CHUNKED + b"1;" + b"a" * 4096 + b"\r\n", (400,)),
    Case("long extensions", CHUNKED + (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 9, (400,)),
    Case("long trailers", CHUNKED + b"0\r\n" + b"A: b\r\n" * 101, (431,)),
)  # fmt: skip

CASES = (*LENGTHS, *CODINGS, *CHUNKS, *LINES, *FIELDS)

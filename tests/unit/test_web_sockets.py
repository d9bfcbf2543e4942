"""WebSockets over a fake kernel: order, ends, signs of life, bounds, compression."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from c1m.protocols.http.requests import Request
from c1m.protocols.http.responses import Response
from c1m.protocols.websocket.frames import Close, Message, Op, close_frame, frame
from c1m.server.server import Server
from c1m.units import NS_PER_S
from c1m.web.app import GoneBatch, MessageBatch, UpgradeBatch, WebApp
from websocket_stage import MASK, Client, Stage, texts

Make = Callable[..., Stage]


class Echo(WebApp):
    """Answers messages; b"close me" with a close frame."""

    came: list[bytes]
    gone: list[tuple[int, int]]

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self.came, self.gone = [], []

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        self.accept(batch.slots, batch.keys, server)

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        self.stream(slot, server)
        return None

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        self.came += batch.messages.pieces()
        self.send_text(batch.slots, batch.messages, server)
        for slot, message in zip(batch.slots.tolist(), batch.messages.pieces(), strict=True):
            if message == b"close me":
                self.close(slot, 4000, server, b"As you say.")

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        self.gone += zip(batch.slots.tolist(), batch.codes.tolist(), strict=True)

    def codes(self) -> list[int]:
        return [code for _, code in self.gone]


@pytest.fixture
def make() -> Iterator[Make]:
    stages: list[Stage] = []

    def make(**options: Any) -> Stage:
        stages.append(Stage(Echo(**options)))
        return stages[-1]

    yield make
    for stage in stages:
        app = stage.app
        assert not app._frames and not app._unfinished_frames
        stage.server.shutdown()


def echo(stage: Stage) -> Echo:
    assert isinstance(stage.app, Echo)
    return stage.app


# --- order and ends -----------------------------------------------------------------------------


def test_messages_and_control_frames_of_one_piece_are_taken_in_order(make: Make) -> None:
    client = make().client()
    client.send(
        frame(Op.TEXT, b"one", MASK) + frame(Op.TEXT, b"tw", MASK, first=0)
        + frame(Op.PING, b"?", MASK) + frame(Op.CONTINUATION, b"o", MASK)
        + frame(Op.TEXT, b"three", MASK) + frame(Op.CLOSE, b"\x03\xe8bye", MASK)
        + frame(Op.TEXT, b"four", MASK)
    )  # fmt: skip
    heard = client.hear()
    assert heard[0] == Message(Op.PONG, b"?")
    assert texts(heard[1:4]) == [b"one", b"two", b"three"]
    assert heard[4:] == [Message(Op.CLOSE, b"\x03\xe8")]
    assert client.peer.at_eof
    app = echo(client.stage)
    assert app.came == [b"one", b"two", b"three"] and app.codes() == [1000]


def test_what_comes_with_the_upgrade_comes_behind_it(make: Make) -> None:
    stage = make()
    client = Client(stage, stage.connection())
    client.upgrade(behind=frame(Op.TEXT, b"early", MASK) + frame(Op.TEXT, b"later", MASK)[:9])
    client.send(frame(Op.TEXT, b"later", MASK)[9:])
    assert echo(stage).came == [b"early", b"later"]


@pytest.mark.parametrize("payload", [b"", b"\x03\xe9", b"\x0f\xa0why"])
def test_who_closes_is_answered_with_its_code(make: Make, payload: bytes) -> None:
    client = make().client()
    client.say(Op.CLOSE, payload)
    assert client.hear() == [Message(Op.CLOSE, payload[:2])]
    assert client.peer.at_eof
    code = int.from_bytes(payload[:2], "big") or Close.NO_CODE
    assert echo(client.stage).codes() == [code]


def test_whom_the_server_closes_may_answer_and_is_told_of_once(make: Make) -> None:
    client = make().client()
    client.say(Op.TEXT, b"close me")
    assert client.hear() == [Message(Op.TEXT, b"close me"),
                             Message(Op.CLOSE, b"\x0f\xa0As you say.")]  # fmt: skip
    client.say(Op.TEXT, b"late")
    client.say(Op.PING, b"late")
    assert client.hear() == [] and not client.peer.at_eof
    client.say(Op.CLOSE, b"\x0f\xa0")
    assert client.has_ended()
    assert echo(client.stage).came == [b"close me"] and echo(client.stage).codes() == [4000]


def test_who_does_not_answer_a_close_frame_is_ended_after_a_while(make: Make) -> None:
    client = make(ping_ns=NS_PER_S).client()
    client.say(Op.TEXT, b"close me")
    client.stage.pass_time(3)
    assert not client.has_ended()
    client.stage.pass_time(5)
    assert client.has_ended()
    assert echo(client.stage).codes() == [4000]


def test_who_breaks_the_protocol_reads_why(make: Make) -> None:
    client = make().client()
    client.send(frame(Op.TEXT, b"good", MASK) + frame(Op.TEXT, b"\xff", MASK) + bytes(99_999))
    good, close = client.hear()
    assert good == Message(Op.TEXT, b"good")
    assert close == Message(Op.CLOSE, b"\x03\xefA text is not UTF-8.")
    assert client.peer.at_eof  # its half; what is still on its way is passed over
    client.send(frame(Op.TEXT, b"more", MASK) * 1000)
    assert echo(client.stage).codes() == [1007] and echo(client.stage).came == [b"good"]
    assert client.stage.server.statistics.live == 1
    client.peer.close()
    client.stage.ticks()
    assert client.stage.server.statistics.live == 0


def test_who_breaks_it_and_stays_is_ended_after_a_while(make: Make) -> None:
    client = make().client()
    client.send(b"\x81\x00")
    assert client.hear()[0].payload[:2] == b"\x03\xea"
    client.stage.pass_time(8)
    assert client.stage.server.statistics.live == 0


def test_a_connection_that_breaks_ends_with_1006(make: Make) -> None:
    stage = make()
    clients = [stage.client() for _ in range(3)]
    clients[0].peer.reset()
    clients[1].peer.shutdown_write()
    clients[2].send(frame(Op.TEXT, b"unfinished", MASK)[:9])
    clients[2].peer.close()
    stage.ticks()
    assert echo(stage).codes() == [1006] * 3
    assert clients[1].has_ended()


# --- signs of life ------------------------------------------------------------------------------


def test_who_gives_no_sign_of_life_is_dropped_and_no_other(make: Make) -> None:
    stage = make(ping_ns=2 * NS_PER_S)
    dumb, pongs, talks, answers_late = (stage.client() for _ in range(4))
    for step in range(90):
        stage.pass_time(0.1)
        for each in pongs.hear():
            pongs.say(Op.PONG, each.payload)
        if step % 15 == 0:
            talks.say(Op.TEXT, b"hello")
        if step % 19 == 0:
            answers_late.say(Op.PONG, b"")
    assert echo(stage).codes() == [1006]
    assert dumb.has_ended() and stage.app.silent == 1
    assert [client.has_ended() for client in (pongs, talks, answers_late)] == [False] * 3


def test_pings_are_spread_over_the_time_between_them(make: Make) -> None:
    stage = make(ping_ns=2 * NS_PER_S)
    clients = [stage.client() for _ in range(40)]
    counts = []
    for _ in range(60):
        stage.pass_time(0.1)
        heard = [client.hear() for client in clients]
        counts.append(sum(map(len, heard)))
        for client, pings in zip(clients, heard, strict=True):
            for ping in pings:
                assert ping == Message(Op.PING, b"")
                client.say(Op.PONG, b"")
    assert sum(counts) == 40 * 3 and max(counts) <= 4
    assert stage.app.silent == 0


def test_streams_get_a_comment_as_often(make: Make) -> None:
    stage = make(ping_ns=NS_PER_S)
    peer = stage.connection()
    peer.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    stage.ticks()
    assert b"text/event-stream" in peer.recv()
    stage.pass_time(3)
    assert peer.recv() == b":\n\n" * 3


def test_nobody_is_asked_where_that_is_not_wanted(make: Make) -> None:
    client = make(ping_ns=0).client()
    client.stage.pass_time(100)
    assert client.hear() == [] and not client.has_ended()


def test_nobody_is_dropped_because_the_server_stood_still(make: Make) -> None:
    stage = make(ping_ns=NS_PER_S)
    clients = [stage.client() for _ in range(20)]
    stage.pass_time(1)
    for client in clients:
        client.peer.send(frame(Op.PONG, b"", MASK))
    stage.kernel.clock.advance(60 * NS_PER_S)
    stage.ticks()
    assert stage.app.silent == 0


def test_who_is_not_read_from_is_not_taken_for_dead(make: Make) -> None:
    client = make(ping_ns=NS_PER_S).client()
    (slot,) = client.stage.server.live_slots().tolist()
    client.stage.server.pause(slot)
    client.stage.pass_time(5)
    client.stage.server.resume(slot)
    client.stage.pass_time(1)
    assert not client.has_ended()


# --- bounds -------------------------------------------------------------------------------------


def test_who_pings_and_does_not_read_costs_no_more_than_anybody(make: Make) -> None:
    client = make(ping_ns=0).client()
    ping = frame(Op.PING, bytes(125), MASK) * 500
    sent = 0
    for _ in range(400):
        sent += client.peer.send(ping[sent % len(ping) :])
        client.stage.ticks(2)
    server = client.stage.server
    assert sent < 8 << 20  # what fits into its buffers and ours; then it is not read from
    assert server.engine.statistics().outbox_bytes < 4 << 20


def test_what_is_unfinished_is_bounded_for_each_and_for_all(make: Make) -> None:
    stage = make(message_max=2000, frames_max=5000)
    clients = [stage.client() for _ in range(4)]
    for client in clients[:3]:
        client.send(frame(Op.BINARY, bytes(1900), MASK)[:1000])
    assert [client.hear() for client in clients[:3]] == [[], [], []]
    clients[3].send(frame(Op.BINARY, bytes(2001), MASK)[:8])
    assert clients[3].hear()[0].payload[:2] == b"\x03\xf1"  # 1009
    late = stage.client()
    late.send(frame(Op.BINARY, bytes(1900), MASK)[:1000])
    assert late.hear()[0].payload[:2] == b"\x03\xf5"  # 1013
    for client in clients[:3]:
        client.send(frame(Op.BINARY, bytes(1900), MASK)[1000:])
        assert client.hear()[0].payload == bytes(1900)
    assert not stage.app._unfinished_frames


# --- compression --------------------------------------------------------------------------------

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def deflated(payload: bytes) -> bytes:
    state = zlib.compressobj(wbits=-15)
    return (state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compression_is_not_agreed_to_unless_it_is_wanted(make: Make) -> None:
    client = make().client(DEFLATE)
    assert b"Extensions" not in client.response
    client.send(frame(Op.TEXT, deflated(b"a" * 100), MASK, first=0xC0))
    assert client.hear()[0].payload[:2] == b"\x03\xea"


def test_messages_are_compressed_for_those_who_agreed(make: Make) -> None:
    stage = make(compress=True)
    plain, short = stage.client(), stage.client(DEFLATE)
    assert b"Extensions" not in plain.response
    assert (
        b"Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        in short.response
    )
    slots = stage.server.live_slots()
    for _ in range(2):
        stage.app.send_text(slots, b"a" * 1000, stage.server)
        stage.ticks()
        assert plain.peer.recv() == frame(Op.TEXT, b"a" * 1000)
        got = short.peer.recv()
        assert got[0] == 0xC1 and len(got) < 50
        assert zlib.decompressobj(-15).decompress(got[2:] + b"\0\0\xff\xff") == b"a" * 1000
    short.send(frame(Op.TEXT, deflated(b"b" * 500), MASK, first=0xC0))
    assert echo(stage).came == [b"b" * 500]
    assert short.peer.recv()[0] == 0xC1


def test_what_goes_to_many_is_compressed_once_for_all_of_them(make: Make) -> None:
    stage = make(compress=True)
    clients = [stage.client(DEFLATE) for _ in range(3)] + [stage.client()]
    two = frame(Op.TEXT, b"one " * 100) + frame(Op.TEXT, b"two " * 100)
    stage.app.deliveries.add(stage.server.live_slots(), two)
    stage.ticks()
    *short, plain = [client.peer.recv() for client in clients]
    assert plain == two and len(short[0]) < 60 and short == short[:1] * 3
    assert stage.app.compression is not None and len(stage.app.compression._kept) == 1


def test_a_bomb_is_refused_before_it_is_inflated(make: Make) -> None:
    client = make(compress=True, message_max=10_000).client(DEFLATE)
    client.send(frame(Op.BINARY, deflated(bytes(1 << 20)), MASK, first=0xC0))
    assert client.hear() == [
        Message(Op.CLOSE, close_frame(1009, b"A message has more than 10000 bytes.")[2:])
    ]


def test_what_cannot_be_inflated_is_refused(make: Make) -> None:
    client = make(compress=True).client(DEFLATE)
    client.send(frame(Op.BINARY, b"\xff\xff\xff", MASK, first=0xC0))
    assert client.hear()[0].payload[:2] == b"\x03\xef"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (b"permessage-deflate", b""),
        (b"permessage-deflate; server_max_window_bits=12", b"; server_max_window_bits=12"),
        (b"x-other, permessage-deflate; server_max_window_bits=9", b"; server_max_window_bits=9"),
        (b"permessage-deflate; server_max_window_bits=7", None),
        (b"permessage-deflate; server_max_window_bits", None),
        (b"permessage-deflate; unknown", None),
        (b"permessage-deflate; client_no_context_takeover=1", None),
        (b'permessage-deflate; a, permessage-deflate; client_max_window_bits="10"', b""),
    ],
)
def test_what_is_agreed_to(make: Make, offer: bytes, answer: bytes | None) -> None:
    client = make(compress=True).client(b"Sec-WebSocket-Extensions: " + offer)
    _, _, said = client.response.partition(b"client_no_context_takeover")
    assert said[: len(answer or b"")] == (answer or b"")
    assert (b"Extensions" in client.response) == (answer is not None)
    if offer.endswith(b"=9"):  # a smaller window than ours: we send it nothing compressed
        client.stage.app.send_text(
            client.stage.server.live_slots(), b"a" * 999, client.stage.server
        )
        assert texts(client.hear()) == [b"a" * 999]

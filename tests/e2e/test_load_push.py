"""`c1m load ws://` and `sse://` against `c1m serve push`: thousands hear what is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cli_helpers import Server, load

COUNT = 10_001  # the first of them publishes
MESSAGE = "client {n} publishes {seq} {random:40}"


@pytest.mark.parametrize("scheme", ["ws", "sse"])
def test_thousands_hear_what_is_posted(tmp_path: Path, scheme: str, engine: str) -> None:
    path = "connect" if scheme == "ws" else "events"
    with Server(tmp_path, "--engine", engine, app="push", listen=["http://127.0.0.1:0"]) as server:
        place = server.url.partition("://")[2]
        status, record, output = load(
            tmp_path, f"{scheme}://{place}/{path}?channel=news", "--scenario", "publish",
            "--publish-to", "/publish?channel=news", "--message", MESSAGE, "--engine", engine,
            "--stage", f"ramp {COUNT}", "--stage", "hold for 1s think 0s", "--timeout", "100s",
        )  # fmt: skip
        assert status == 0, output
        assert server.stop() == 0
    c, fan_out = record.connections, record.fan_out
    assert (c.opened, c.peak_open, c.lost, c.handshake_failed) == (COUNT, COUNT, 0, 0)
    assert record.latencies["handshake"].count == COUNT - 1
    assert fan_out is not None and fan_out.published > 0
    assert fan_out.received == fan_out.expected == fan_out.published * (COUNT - 1)
    assert (fan_out.doubled, fan_out.garbled) == (0, 0)


def test_all_but_one_listen_to_one(tmp_path: Path, engine: str) -> None:
    with Server(tmp_path, "--engine", engine, app="push", listen=["http://127.0.0.1:0"]) as server:
        place = server.url.partition("://")[2]
        status, record, output = load(
            tmp_path, f"ws://{place}/connect?channel=news", "--connections", 1000,
            "--hold", "500ms", "--scenario", "publish", "--engine", engine,
        )  # fmt: skip
    assert status == 0, output
    fan_out = record.fan_out
    assert fan_out is not None and fan_out.received == fan_out.published * 1000 > 0

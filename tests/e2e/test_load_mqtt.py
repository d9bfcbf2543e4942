"""`c1m load mqtt://` against Debian's mosquitto, and against the server in tests/.

What is true is asked of mosquitto's log: a line for each packet that it has read and written.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

import c1m
import certificates
from c1m.results.record import RunRecord
from e2e.cli_helpers import PATIENCE_S, finish, load, run, start
from e2e.debian_servers import free_port, program, running
from e2e.library_runs import eventually, serving
from mqtt_server import MqttServer

VERSIONS = ["3.1.1", "5"]
_PACKET = re.compile(r"(Received|Sending) ([A-Z]+) (?:from|to) c1m-")


class Mosquitto:
    """One that runs: its port, its log so far, and what that counts of our packets."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self._log = port, log
        self.url = f"mqtt://127.0.0.1:{port}"

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def counts(self) -> Counter[str]:
        """Packets by "Received PUBLISH" and the like; of a server that has ended."""
        return Counter(" ".join(found) for found in _PACKET.findall(self.log()))


@contextmanager
def mosquitto(tmp_path: Path, *lines: str, anybody: bool = True) -> Iterator[Mosquitto]:
    """A server for the time of a `with`."""
    port = free_port()
    settings = [f"listener {port} 127.0.0.1", "user root", "log_type all", "max_queued_messages 0",
                "log_dest stdout", f"allow_anonymous {str(anybody).lower()}", *lines]  # fmt: skip
    (tmp_path / "mosquitto.conf").write_text("\n".join(settings) + "\n")
    command: list[str | Path] = [program("mosquitto", "mosquitto")]
    command += ["-c", tmp_path / "mosquitto.conf"]
    log = tmp_path / "mosquitto.log"
    with running(command, port, log):
        yield Mosquitto(port, log)


def assert_all_right(status: int, record: RunRecord, output: str) -> None:
    assert status == 0 and record.verdict.shortfalls == [], output
    assert record.connections.lost == 0 and record.failures == []


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_echo(tmp_path: Path, engine: str, version: str, qos: int) -> None:
    with mosquitto(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, "--connections", 60, "--hold", "1s", "--think", "20ms",
            "--mqtt-version", version, "--qos", qos, "--engine", engine,
        )  # fmt: skip
    assert_all_right(status, record, output)
    assert record.connections.ready == record.latencies["handshake"].count == 60
    sent = record.all_requests.sent
    assert record.all_requests.right == sent >= 60
    counts = server.counts()
    once = ("Received CONNECT", "Received SUBSCRIBE", "Sending SUBACK", "Received DISCONNECT")
    assert [counts[name] for name in once[1:]] == [60] * 3
    assert counts["Received PUBLISH"] == counts["Sending PUBLISH"] == sent
    assert counts["Received PUBACK"] == counts["Sending PUBACK"] == sent * qos


@pytest.mark.parametrize("version", VERSIONS)
def test_a_publication_reaches_all(tmp_path: Path, version: str) -> None:
    with mosquitto(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, "--scenario", "publish", "--publishers", 2, "--connections", 100,
            "--hold", "1s", "--think", "100ms", "--qos", 1, "--mqtt-version", version,
            "--topic", "news/{{of the day}}",
        )  # fmt: skip
    assert_all_right(status, record, output)
    fan_out, counts = record.fan_out, server.counts()
    assert fan_out is not None and fan_out.published == counts["Received PUBLISH"] >= 2
    assert (
        fan_out.expected == fan_out.received == counts["Sending PUBLISH"] == 100 * fan_out.published
    )
    assert (fan_out.doubled, fan_out.garbled) == (0, 0)
    assert counts["Received PUBACK"] == fan_out.received
    assert "news/{of the day}" in server.log()


def test_many_at_once_on_a_connection(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, "--pipeline", 16, "--qos", 1, "--message",
            "{n} {seq} {random:300}", "--stage", "ramp 20", "--stage", "hold for 500ms think 0s",
            "--stage", "storm 50%", "--stage", "hold 20 for 300ms think 1ms", "--stage", "stampede",
        )  # fmt: skip
    assert_all_right(status, record, output)


def test_pings_keep_connections_alive(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, "--scenario", "hold", "--connections", 40, "--hold", "10s",
            "--keep-alive", "8s", "--topic", "a/#",
        )  # fmt: skip
    assert_all_right(status, record, output)
    counts = server.counts()
    assert counts["Received PINGREQ"] == counts["Sending PINGRESP"] >= 40
    assert counts["Received SUBSCRIBE"] == counts["Received DISCONNECT"] == 40


def test_what_the_server_has_kept_is_no_fault(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        for number in range(2):
            status, record, output = load(
                tmp_path, server.url, "--connections", 30, "--hold", "300ms", "--think", "50ms",
                "--retain", "--qos", number, "--mqtt-version", VERSIONS[number],
            )  # fmt: skip
            assert_all_right(status, record, output)
            assert any("30 messages that the server had kept" in d for d in record.doubts) == number


def test_wills(tmp_path: Path) -> None:
    """Published where a connection breaks, and not where it ends in good order.

    By epoll: the kernel closes what a killed process had in rings when it comes to it.
    """
    echo = ["--connections", 5, "--think", "50ms", "--engine", "epoll"]
    with mosquitto(tmp_path) as server, listening(server.port, "3.1.1", [("#", 0)]) as (heard, _):
        will = ["--will", "gone/{n}={n} is gone"]
        status, record, output = load(tmp_path, server.url, *echo, *will, "--hold", "100ms")
        assert_all_right(status, record, output)
        will = ["--will", "gone/{n}={n} broke", "--seed", "1", "--mqtt-version", "5"]
        breaking = start("load", server.url, *echo, *will, "--hold", "60s")
        topics = {f"c1m/1/{n}" for n in range(5)}
        eventually(lambda: topics <= {message[0] for message in heard}, "all are connected")
        breaking.kill()
        finish(breaking)
        wills = {(f"gone/{n}", b"%d broke" % n, 0, False) for n in range(5)}
        eventually(lambda: wills <= set(heard), "their wills are published")
    assert {message for message in heard if message[0].startswith("gone")} == wills


@pytest.mark.parametrize("version", VERSIONS)
def test_users(tmp_path: Path, version: str) -> None:
    passwords = tmp_path / "passwords"
    for number in range(3):
        tool = program("mosquitto_passwd", "mosquitto")
        flag = [] if number else ["-c"]
        subprocess.run([tool, *flag, "-b", passwords, f"user-{number}", "s:cret"], check=True)
    with mosquitto(tmp_path, f"password_file {passwords}", anybody=False) as server:
        place = f"127.0.0.1:{server.port}"
        more = ["--connections", 3, "--hold", "100ms", "--mqtt-version", version]
        status, record, output = load(tmp_path, f"mqtt://user-{{n}}:s%3Acret@{place}", *more)
        assert_all_right(status, record, output)
        written = (tmp_path / "run.json").read_text() + output
        assert "cret" not in written and "user-{n}:***@" in written
        status, record, output = load(tmp_path, f"mqtt://user-{{n}}:Ahv7pheiv@{place}", *more)
    assert status == 1
    (failure,) = record.failures
    assert (failure.phase, failure.count) == ("handshake", 3)
    assert failure.errno == ("CONNACK 0x87" if version == "5" else "CONNACK 0x05")
    assert "not authorized" in failure.text and "Ahv7" not in output


def test_over_tls(tmp_path: Path) -> None:
    authority = certificates.authority()
    leaf = authority.leaf("localhost", "127.0.0.1")
    lines = [f"cafile {authority.cert}", f"certfile {leaf.cert}", f"keyfile {leaf.key}"]
    with mosquitto(tmp_path, f"listener {(port := free_port())} 127.0.0.1", *lines):
        status, record, output = load(
            tmp_path, f"mqtts://localhost:{port}", "--ca", authority.cert, "--connections", 30,
            "--hold", "500ms", "--qos", 1, "--tls-handoff",
        )  # fmt: skip
        assert_all_right(status, record, output)
        assert record.tls is not None and record.tls.version == "TLSv1.3"
        short = ["--connections", 2, "--hold", "100ms"]
        done = run("load", f"mqtts://localhost:{port}", *short)
        assert done.returncode == 2 and "--ca" in done.stderr
        refused, record, output = load(tmp_path, f"mqtt://localhost:{port}", *short)
    hint = f"write the target as mqtts://localhost:{port}"
    assert refused == 1 and hint in " ".join(output.split())


def test_refused_subscriptions(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic read c1m/0/1\ntopic write c1m/#\n")
    with mosquitto(tmp_path, f"acl_file {rules}") as server:
        status, record, output = load(
            tmp_path, server.url, "--connections", 3, "--hold", "100ms", "--mqtt-version", "5",
            "--topic", "$SYS/{n}",
        )  # fmt: skip
    assert status == 1, output
    assert record.requests.right == 0 and record.verdict.shortfalls


def test_something_else_is_spoken_there(tmp_path: Path) -> None:
    with serving(c1m.WebSocketApp(), "http://127.0.0.1:0") as web:
        status, record, _ = load(
            tmp_path, f"mqtt://127.0.0.1:{web.port}", "--connections", 2, "--hold", "100ms"
        )
    assert status == 1
    assert {failure.errno for failure in record.failures} <= {"not MQTT", "EOF", "ECONNRESET"}


FLEET = """
import c1m

class Fleet(c1m.Conversation):
    def talk(self, n):
        yield c1m.Subscribe(f"fleet/{n}/command", qos=1)
        yield c1m.Publish(f"fleet/{n}/status", b"up", retain=True)
        for command in ("start", "stop"):
            done = yield c1m.Publish(
                f"fleet/{n}/command", command, qos=0,
                when=lambda message: message.topic == f"fleet/{n}/command",
            )
            self.check("command", (done.text, done.retain) == (command, False), done.text)
        yield c1m.Unsubscribe(f"fleet/{n}/command")
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_conversation(tmp_path: Path, version: str) -> None:
    (tmp_path / "fleet.py").write_text(FLEET)
    with mosquitto(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, "--scenario", tmp_path / "fleet.py", "--connections", 20,
            "--hold", "2s", "--think", "10ms", "--mqtt-version", version,
        )  # fmt: skip
    assert_all_right(status, record, output)
    (check,) = record.checks
    assert (check.name, check.failed) == ("command", 0) and check.passed > 0
    counts = server.counts()
    assert counts["Received SUBSCRIBE"] >= 20
    assert counts["Received UNSUBSCRIBE"] == counts["Sending UNSUBACK"]


@pytest.mark.parametrize("version", VERSIONS)
def test_our_own_server(tmp_path: Path, version: str) -> None:
    """The server of tests/, whose counts are ours; and a client of others' is content with it."""
    app = MqttServer()
    with serving(app) as server:
        url = f"mqtt://127.0.0.1:{server.port}"
        status, record, output = load(
            tmp_path, url, "--scenario", "publish", "--connections", 100, "--hold", "500ms",
            "--think", "50ms", "--qos", 1, "--mqtt-version", version,
        )  # fmt: skip
        assert_all_right(status, record, output)
        assert record.fan_out is not None
        counts = app.counts
        assert counts["connected"] == counts["subscribed"] == counts["disconnected"] == 100
        assert counts["delivered"] == counts["acknowledged"] == record.fan_out.received
        paho_is_content(server.port, version)


@contextmanager
def listening(
    port: int, version: str, topics: list[tuple[str, int]]
) -> Iterator[tuple[list[tuple[str, bytes, int, bool]], paho.Client]]:
    """Messages that others' client hears, and that, subscribed."""
    heard: list[tuple[str, bytes, int, bool]] = []
    protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, "other", protocol=protocol)
    granted: list[int] = []
    client.on_subscribe = lambda *arguments: granted.append(1)
    client.on_message = lambda _, __, message: heard.append(
        (message.topic, bytes(message.payload), message.qos, message.retain)
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        eventually(client.is_connected, "paho is connected")
        client.subscribe(topics)
        eventually(lambda: granted, "paho is subscribed")
        yield heard, client
    finally:
        client.disconnect()
        client.loop_stop()


def paho_is_content(port: int, version: str) -> None:
    with listening(port, version, [("a/+", 0)]) as (heard, client):
        client.publish("kept", b"first", 1, retain=True).wait_for_publish(PATIENCE_S)
        client.subscribe("kept", 1)
        eventually(lambda: len(heard) == 1, "paho hears what was kept")
        client.publish("a/b", b"second", 1).wait_for_publish(PATIENCE_S)
        eventually(lambda: len(heard) == 2, "paho hears itself")
    assert heard == [("kept", b"first", 1, True), ("a/b", b"second", 0, False)]


def test_what_makes_no_sense_is_one_sentence(tmp_path: Path) -> None:
    for arguments, words in (
        (["mqtt://127.0.0.1:1/a/b"], "--topic 'a/b'"),
        (["mqtt://127.0.0.1:1", "--header", "a: b"], "--header is of no use with mqtt://"),
        (
            ["tcp://127.0.0.1:1", "--qos", "1", "--connections", "1"],
            "--qos is of no use with tcp://",
        ),
        (["mqtt://127.0.0.1:1", "--qos", "2"], "qos"),
        (["mqtt://127.0.0.1:1", "--client-id", "me"], "Put {n} into it"),
        (["mqt://127.0.0.1:1"], "Is mqtt:// meant?"),
    ):
        done = run("load", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr, done.stderr

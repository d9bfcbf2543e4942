"""The business cases of examples/, each as its header says, and against a server with a fault."""

from __future__ import annotations

from pathlib import Path

from c1m.results.record import RunRecord
from e2e.cli_helpers import load
from e2e.debian_servers import free_port, program, running
from e2e.library_runs import process
from e2e.test_examples import EXAMPLES, connect, interrupted

BANK = "bank.py:Customer=9 bank.py:Auditor"


def case(tmp_path: Path, url: str, names: str, *more: object) -> tuple[int, RunRecord, str]:
    """A case, by its names in examples/: no reply was wrong, and nobody was lost."""
    scenario = ", ".join(f"{EXAMPLES}/{name}" for name in names.split())
    more = more if "--stage" in more else ("--hold", "2s", *more)
    status, record, said = load(tmp_path, url, "--scenario", scenario, "--timeout", "60s", *more)
    assert record.requests.right > 0 == record.requests.wrong, said
    assert record.connections.lost == 0, said
    return status, record, said


def counts(record: RunRecord) -> dict[str, tuple[int, int]]:
    """How often each check held, and how often not."""
    return {check.name: (check.passed, check.failed) for check in record.checks}


def failed(record: RunRecord) -> list[str]:
    return [check.name for check in record.checks if check.failed]


def test_shop(tmp_path: Path) -> None:
    port = free_port()
    with process(EXAMPLES / "shop_server.py", str(port)) as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"http://127.0.0.1:{port}", "shop.py:Browser=9 shop.py:Buyer",
            "--connections", 40,
            "--require", "check:total is right == 0",
        )  # fmt: skip
        interrupted(server)
    assert status == 0 and failed(record) == [], said
    found = counts(record)
    assert found["there is tea"][0] > 0 and found["total is right"][0] > 1
    assert found["orders add up"] == (1, 0)
    assert set(record.statuses) == {"200", "201"}


def test_a_shop_that_forgets_something_in_every_fifth_total(tmp_path: Path) -> None:
    port = free_port()
    with process(EXAMPLES / "shop_server.py", str(port), "5") as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"http://127.0.0.1:{port}", "shop.py:Buyer", "--connections", 20,
            "--require", "check:total is right == 0",
        )  # fmt: skip
        interrupted(server)
    passed, wrong = counts(record)["total is right"]
    assert status == 1 and failed(record) == ["total is right"], said
    assert wrong == (passed + wrong) // 5 > 0


def test_chat(tmp_path: Path) -> None:
    port = free_port()
    with process(EXAMPLES / "chat.py", str(port)) as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"ws://127.0.0.1:{port}/tea?name={{n}}", "chat_load.py", "--connections", 20
        )
        interrupted(server)
    assert status == 0 and failed(record) == [], said
    assert counts(record)["once and in order"][0] > record.requests.right


def test_a_chat_that_says_some_things_twice(tmp_path: Path) -> None:
    text = (EXAMPLES / "chat.py").read_text()
    line = "            server.publish(room, f\"{name}: {message.decode(errors='replace')}\")\n"
    assert line in text
    again = f"            if message.endswith(b'1'):\n    {line}"
    (tmp_path / "chat.py").write_text(text.replace(line, line + again))
    port = free_port()
    with process(tmp_path / "chat.py", str(port)) as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"ws://127.0.0.1:{port}/tea?name={{n}}", "chat_load.py", "--connections", 5
        )
        interrupted(server)
    assert status == 1 and failed(record) == ["once and in order"], said


def test_bank_on_our_server_and_on_redis(tmp_path: Path) -> None:
    port = free_port()
    redis = [program("redis-server", "redis-server"), "--port", str(port), "--save", ""]
    with running(redis, port, tmp_path / "redis.log"):
        check_bank(tmp_path, port)
    port = free_port()
    with process("-m", "c1m", "serve", "kv", "--listen", f"tcp://127.0.0.1:{port}") as server:
        connect(port, server).close()
        check_bank(tmp_path, port)


def check_bank(tmp_path: Path, port: int) -> None:
    status, record, said = case(tmp_path, f"redis://127.0.0.1:{port}", BANK, "--connections", 40)
    assert status == 0 and failed(record) == [], said
    assert all(passed > 0 for passed, _ in counts(record).values())
    assert set(counts(record)) == {"no account below zero", "the sum is kept"}


def test_a_bank_that_loses_payments(tmp_path: Path) -> None:
    port = free_port()
    with process(EXAMPLES / "broken_kv.py", "payment", str(port), "3") as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"redis://127.0.0.1:{port}", BANK, "--connections", 40
        )
        assert int(interrupted(server).split()[-3].replace(",", "")) > 0
    assert status == 1 and failed(record) == ["the sum is kept"], said


FLEET = "fleet.py:Vehicle=19 fleet.py:Control"
STAGES = ("ramp 40", "hold for 1s at 100/s", "storm 20%", "hold for 1s at 100/s")
AS_SAID = [word for stage in STAGES for word in ("--stage", stage)]
LOST = ("--qos", 1, "--will", "fleet/{n}/lost=gone")

# Every command goes on to another vehicle.
CROSSED = """
import dataclasses, sys
sys.path.insert(0, {tests!r})
import c1m
from mqtt_server import MqttServer

class Crossed(MqttServer):
    def publish(self, packet, server):
        fleet, vehicle, what = packet.topic.split(b"/")
        if what == b"command":
            vehicle = b"%d" % (int(vehicle) // 2)
            packet = dataclasses.replace(packet, topic=b"/".join((fleet, vehicle, what)))
        super().publish(packet, server)

c1m.serve(Crossed(), "tcp://127.0.0.1:{port}")
"""


def test_fleet(tmp_path: Path) -> None:
    """A fifth of all clients is lost on the way, and begins anew behind its will."""
    port = free_port()
    broker = [program("mosquitto", "mosquitto"), "-p", str(port)]
    with running(broker, port, tmp_path / "mosquitto.log"):
        _, record, said = case(tmp_path, f"mqtt://127.0.0.1:{port}", FLEET, *LOST, *AS_SAID)
    assert failed(record) == [] and record.connections.closed == 8, said
    assert counts(record)["positions in order"][0] > 40


def test_a_broker_that_sends_commands_to_another_vehicle(tmp_path: Path) -> None:
    port, script = free_port(), tmp_path / "crossed.py"
    script.write_text(CROSSED.format(tests=str(Path(__file__).parents[1]), port=port))
    with process(script) as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"mqtt://127.0.0.1:{port}", FLEET, *LOST, "--connections", 40,
        )  # fmt: skip
    assert status == 1 and failed(record) == ["commands reach one vehicle"], said

"""Business cases on real servers: sessions over HTTP, WebSocket and Redis's protocol; checks, data
from files, several scenarios, what is done before and after; what is wrong is told at once."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import c1m
from c1m.results.outcomes import Check
from e2e.cli_helpers import PATIENCE_S, finish, load, run, start
from e2e.debian_servers import free_port, program, running
from e2e.web_servers import WebServer


class Carts(BaseHTTPRequestHandler):
    """POST /carts makes one, POST /carts/ID puts something in, GET /carts/ID says what it costs."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    lock = threading.Lock()
    totals: dict[int, int]
    seen: list[str]

    def do_GET(self) -> None:
        cart = int(self.path.rpartition("/")[2])
        self._answer(200 if cart in self.totals else 404, {"total": self.totals.get(cart, 0)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(self.headers.get("X-User", ""))
        if self.path == "/carts":
            with self.lock:
                cart = len(self.totals)
                self.totals[cart] = 0
            self._answer(201, {"id": cart})
        else:
            cart = int(self.path.rpartition("/")[2])
            self.totals[cart] += body["price"]
            self._answer(200, {"total": self.totals[cart]})

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def carts() -> Iterator[tuple[int, type[Carts]]]:
    kind = type("Shop", (Carts,), {"totals": {}, "seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], kind
        server.shutdown()
        thread.join()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    command = [program("redis-server", "redis-server"), "--port", str(port), "--save", ""]
    with running([*command, "--dir", tmp_path], port, tmp_path / "redis.log"):
        yield port


SHOP = """
import c1m

USERS = c1m.feeder("users.csv")
SOLD = {"price": 0}


class Buy(c1m.Conversation):
    def set_up(self):
        print("set up")

    def talk(self, n):
        user = USERS.next(n)
        fields = {"X-User": user["name"]}
        reply = yield c1m.Post("/carts", data={}, headers=fields, expect=201)
        cart = f"/carts/{reply.json()['id']}"
        for _ in range(2):
            reply = yield c1m.Post(cart, data={"price": 3}, headers=fields)
        SOLD["price"] += 6
        self.check("cart total", reply.json()["total"] == 6, reply.text)
        reply = yield c1m.Get(cart)
        self.check("still there", reply.json() == {"total": 6}, reply.text)
        self.check("cheap", reply.json()["total"] < 5, reply.text)

    def at_end(self):
        self.check("something sold", SOLD["price"] > 0, SOLD)

    def tear_down(self):
        print("torn down")


class Browse(c1m.Conversation):
    def talk(self, n):
        yield c1m.Get("/carts/0", expect=(200, 404))
        yield c1m.Pause("20ms")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "users.csv").write_text("name,city\nAnn,Ulm\nBob,Bonn\nCyd,Kiel\n")
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path / "shop.py"


def by_name(record: c1m.RunRecord) -> dict[str, Check]:
    return {one.name: one for one in record.checks}


def test_a_session_over_http(tmp_path: Path, shop: Path, carts: tuple[int, type[Carts]]) -> None:
    port, kind = carts
    status, record, said = load(
        tmp_path, f"http://127.0.0.1:{port}", "--scenario", f"{shop}:Buy", "--connections", 5,
        "--hold", "1s", "--think", "10ms",
    )  # fmt: skip
    assert status == 1  # one check fails each time
    checks = by_name(record)
    assert list(checks) == ["cart total", "still there", "cheap", "something sold"]
    assert checks["cart total"].failed == checks["still there"].failed == 0
    assert checks["cheap"].passed == 0 and checks["cheap"].first == '{"total": 6}'
    assert checks["cart total"].passed >= checks["cheap"].failed > 0
    assert checks["something sold"] == Check("something sold", 1, 0)
    assert len(record.verdict.shortfalls) == 1 and "'cheap'" in record.verdict.shortfalls[0]
    assert said.startswith("set up\ntorn down\n")
    assert record.all_requests.right == record.all_requests.sent
    assert sum(record.statuses.values()) == record.all_requests.right
    assert record.statuses["201"] == len(kind.totals)
    assert {"Ann", "Bob", "Cyd"} == set(kind.seen)


def test_thresholds_on_checks(tmp_path: Path, shop: Path, carts: tuple[int, type[Carts]]) -> None:
    arguments = (
        f"http://127.0.0.1:{carts[0]}", "--scenario", f"{shop}:Buy", "--connections", 3, "--hold",
        "300ms", "--think", "10ms", "--require", "check:cart total == 0",
    )  # fmt: skip
    status, record, _ = load(tmp_path, *arguments)
    assert status == 0 and [one.holds for one in record.thresholds] == [True]
    status, record, _ = load(tmp_path, *arguments, "--require", "check:cheap == 0")
    assert status == 1 and [one.holds for one in record.thresholds] == [True, False]


def test_several_scenarios_with_weights(
    tmp_path: Path, shop: Path, carts: tuple[int, type[Carts]]
) -> None:
    status, record, said = load(
        tmp_path, f"http://127.0.0.1:{carts[0]}", "--scenario", f"{shop}:Browse=3",
        "--scenario", f"{shop}:Buy", "--connections", 8, "--hold", "500ms", "--think", "0s",
        "--require", "check:cart total == 0", "--require", "missing == 0",
    )  # fmt: skip
    assert status == 0, said
    browse, buy = record.shares
    assert (browse.connections, buy.connections) == (6, 2)
    assert browse.sent + buy.sent == record.all_requests.sent
    assert browse.right == browse.sent > 0 and buy.right == buy.sent > 0
    assert "scenarios" in said and record.asked.scenario == f"{shop}:Browse=3, {shop}:Buy"
    # Those that pause ask again 20 ms after their reply.
    assert browse.sent / 6 <= 1 + (record.requests.seconds + 0.1) / 0.02


def test_a_server_that_ends_connections_between_requests(
    tmp_path: Path, shop: Path, carts: tuple[int, type[Carts]]
) -> None:
    carts[1].protocol_version = "HTTP/1.0"
    status, record, said = load(
        tmp_path, f"http://127.0.0.1:{carts[0]}", "--scenario", f"{shop}:Browse", "--scenario",
        f"{shop}:Buy", "--connections", 4, "--hold", "500ms", "--think", "5ms", "--require",
        "check:still there == 0", "--require", "missing == 0", "--require", "wrong == 0",
    )  # fmt: skip
    assert status == 0, said
    assert by_name(record)["still there"].passed > 0
    assert len(carts[1].totals) == record.statuses["201"]


CHAT = """
import c1m


class Chat(c1m.Conversation):
    def begin(self, connections, seed):
        self.said = [0] * connections

    def talk(self, n):
        mine = f"{n}: {self.said[n]}"
        self.said[n] += 1
        reply = yield c1m.Say(mine, when=lambda message: message == mine)
        self.check("own words", reply == mine, reply)

    def heard(self, n, message):
        return int(message.partition(":")[0]) != n
"""


def test_a_chat_over_websockets(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "binary.py").write_text(
        "import c1m\ndef talk(n):\n    yield c1m.Say(b'\\xff', expect=b'\\xff')\n"
    )
    with WebServer("websockets") as server:
        for scenario in ("chat.py", "binary.py"):
            status, record, said = load(
                tmp_path, f"ws://{server.place}", "--scenario", tmp_path / scenario,
                "--connections", 20, "--hold", "500ms", "--rate", "200/s",
            )  # fmt: skip
            assert status == 0 or record.requests.unsent, said
            assert record.all_requests.right == record.all_requests.sent > 20


BANK = """
import random

import c1m

MONEY = 100


class Bank(c1m.Conversation):
    def begin(self, connections, seed):
        self.accounts = [f"account:{i}" for i in range(10)]
        self.random = random.Random(seed)

    def talk(self, n):
        yield c1m.Command("SETNX", "opened", 0)
        source, target = self.random.sample(self.accounts, 2)
        reply = yield c1m.Command("DECRBY", source, 5)
        yield c1m.Command("INCRBY", target, 5)
        self.check("a number", isinstance(reply, int), reply)
        reply = yield c1m.Command("LPUSH", source, "x", may_fail=True)
        self.check("an error that is wanted", reply.code == "WRONGTYPE", reply)
        values = yield c1m.Command("MGET", *self.accounts)
        self.check("all there", len(values) == 10, values)
        missing = yield c1m.Command("GET", "nothing", expect=None)
        assert missing is None
"""


def test_a_bank_over_redis(tmp_path: Path, redis: int) -> None:
    (tmp_path / "bank.py").write_text(BANK)
    status, record, said = load(
        tmp_path, f"redis://127.0.0.1:{redis}", "--scenario", tmp_path / "bank.py",
        "--connections", 20, "--hold", "1s", "--think", "0s",
    )  # fmt: skip
    assert status == 0, said
    assert record.all_requests.right == record.all_requests.sent > 100
    assert list(by_name(record)) == ["a number", "an error that is wanted", "all there"]
    with socket.create_connection(("127.0.0.1", redis), PATIENCE_S) as sock:
        sock.sendall(b"INFO commandstats\r\n")
        stats = sock.recv(1 << 16).decode()
    calls = {line[8:].split(":")[0]: line for line in stats.splitlines() if "cmdstat_" in line}
    assert "calls=1," in calls.pop("cluster|slots")  # before anything was opened
    done = sum(int(line.partition("calls=")[2].split(",")[0]) for line in calls.values())
    assert done == record.all_requests.sent


GREETED = """
import c1m


def talk(n):
    greeting = yield c1m.Hear(until=b"\\n")
    assert greeting == b"220 ready\\n"
    while True:
        yield c1m.Say(b"x\\n", expect=b"x\\n")
"""


def test_a_server_that_speaks_first(tmp_path: Path) -> None:
    (tmp_path / "greeted.py").write_text(GREETED)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.sendall(b"220 ready\n")
                while piece := sock.recv(1000):
                    sock.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        record = c1m.load(
            f"tcp://127.0.0.1:{listener.getsockname()[1]}",
            scenario=str(tmp_path / "greeted.py"), connections=1, hold=0.3, think=0.01,
        )  # fmt: skip
        thread.join(PATIENCE_S)
    assert record.verdict.complete, record.verdict.shortfalls
    assert record.requests.right > 1


def test_it_is_torn_down_when_the_run_is_interrupted(
    tmp_path: Path, shop: Path, carts: tuple[int, type[Carts]]
) -> None:
    process = start(
        "load", f"http://127.0.0.1:{carts[0]}", "--scenario", f"{shop}:Buy", "--connections", 2,
        "--hold", "100s", "--think", "10ms", "--quiet", "--json", tmp_path / "run.json",
    )  # fmt: skip
    while not carts[1].totals:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, errors = finish(process)
    assert (process.returncode, errors) == (1, "")
    assert "torn down" in said and "interrupted" in said


@pytest.mark.parametrize(
    ("code", "scheme", "told"),
    [
        ("talk = 7", "http", "has no scenarios"),
        ("def talk(n):\n    yield c1m.Say(ROWS.next(n)['nmae'])", "ws", "did you mean 'name'"),
        ("def talk(n):\n    yield c1m.Command('PING')", "http", "cannot be said over http://"),
        ("def talk(n):\n    yield c1m.Get('/')", "redis", "for targets as http://"),
        ("def talk(n):\n    c1m.check('a', {}['b'])\n    yield c1m.Get('/')", "http",
         "own.py:5: KeyError: 'b'"),
        ("def talk(n):\n    yield c1m.Get('/', headers={'A': 'b\\r\\nC: d'})", "http",
         "no field of a request"),
        ("c1m.feeder('nothing.csv')", "http", "nothing.csv"),
        ("class A(c1m.Conversation):\n    async def talk(self, n):\n"
         "        pass", "http", "coroutine, no generator"),
        ("c1m.feeder('rows.csv', columns=['street'])", "http", "has no column 'street'"),
        ("class A(c1m.Conversation):\n    def set_up(self):\n        1 / 0\n"
         "    def talk(self, n):\n        yield c1m.Get('/')", "http",
         "own.py:6: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_is_opened(
    tmp_path: Path, code: str, scheme: str, told: str
) -> None:
    (tmp_path / "rows.csv").write_text("name\nAnn\nBob\n")
    path = tmp_path / "own.py"
    path.write_text(f"import c1m\nROWS = c1m.feeder('rows.csv')\n\n{code}\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        done = run(
            "load", f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", "--scenario", path,
            "--connections", 2, "--quiet",
        )  # fmt: skip
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (done.returncode, done.stdout) == (2, ""), done.stdout
    assert done.stderr.startswith("c1m: ") and done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_path_of_the_target_is_not_passed_over(shop: Path) -> None:
    done = run("load", "http://127.0.0.1:1/api", "--scenario", f"{shop}:Buy", "--quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The target has a path, and " in done.stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ONCE.next(n)['name']", "rows.csv is used up: each of its 4 rows was taken once"),
        ("c1m.check('a', 1 / 0)", "own.py:8: ZeroDivisionError: division by zero"),
    ],
)
def test_a_run_ends_in_good_order_where_a_talk_cannot_go_on(
    tmp_path: Path, carts: tuple[int, type[Carts]], code: str, told: str
) -> None:
    (tmp_path / "rows.csv").write_text("name\nAnn\nBob\nCyd\nDan\n")
    path = tmp_path / "own.py"
    path.write_text(
        "import c1m\nONCE = c1m.feeder('rows.csv', 'once')\n\n\ndef talk(n):\n    while True:\n"
        f"        yield c1m.Post('/carts', data={{}})\n        {code}\n"
    )
    status, record, said = load(
        tmp_path, f"http://127.0.0.1:{carts[0]}", "--scenario", path, "--connections", 2,
        "--hold", "30s", "--think", "1ms",
    )  # fmt: skip
    assert status == 1
    assert any(told in short for short in record.verdict.shortfalls), said
    assert len(carts[1].seen) == record.all_requests.sent

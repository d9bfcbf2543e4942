"""The business cases of examples/, each as its header says, and against a server with a fault."""

from __future__ import annotations

from pathlib import Path

from c1m.results.record import RunRecord
from e2e.cli_helpers import load
from e2e.debian_servers import free_port
from e2e.library_runs import process
from e2e.test_examples import EXAMPLES, connect, interrupted


def case(tmp_path: Path, url: str, name: str, *more: object) -> tuple[int, RunRecord, str]:
    """The case against a server that is there; all that was said was answered."""
    status, record, said = load(
        tmp_path, url, "--scenario", EXAMPLES / name, "--hold", "1s", "--timeout", "60s", *more
    )
    assert record.requests.right == record.requests.sent > 0, said
    assert record.connections.lost == 0, said
    return status, record, said


def counts(record: RunRecord) -> dict[str, tuple[int, int]]:
    """How often each check held, and how often not."""
    return {check.name: (check.passed, check.failed) for check in record.checks}


def failed(record: RunRecord) -> list[str]:
    return [check.name for check in record.checks if check.failed]


def test_chat(tmp_path: Path) -> None:
    port = free_port()
    with process(EXAMPLES / "chat.py", str(port)) as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"ws://127.0.0.1:{port}/tea?name=guest", "chat_load.py", "--connections", 20
        )
        interrupted(server)
    assert status == 0 and failed(record) == [], said
    assert counts(record)["once and in order"][0] > record.requests.right


def test_a_chat_that_says_some_things_twice(tmp_path: Path) -> None:
    text = (EXAMPLES / "chat.py").read_text()
    line = "            server.publish(room, f\"{name}: {message.decode(errors='replace')}\")\n"
    assert line in text
    again = f"            if message.endswith(b'7'):\n    {line}"
    (tmp_path / "chat.py").write_text(text.replace(line, line + again))
    port = free_port()
    with process(tmp_path / "chat.py", str(port)) as server:
        connect(port, server).close()
        status, record, said = case(
            tmp_path, f"ws://127.0.0.1:{port}/tea?name=guest", "chat_load.py", "--connections", 5
        )
        interrupted(server)
    assert status == 1 and failed(record) == ["once and in order"], said

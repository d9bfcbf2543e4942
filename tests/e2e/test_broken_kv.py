"""`c1m load redis://` finds what a deliberately broken server does, as often as it did it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from c1m.apps.kv.app import KeyValue
from e2e.cli_helpers import load
from e2e.debian_servers import free_port
from e2e.library_runs import process, serving
from e2e.test_examples import EXAMPLES, connect, interrupted

EVERY = 200


@pytest.mark.parametrize("kind", ["crossed", "stale", "double", "lost", "counter"])
def test_each_fault_is_named_and_counted(tmp_path: Path, kind: str) -> None:
    port = free_port()
    with process(EXAMPLES / "broken_kv.py", kind, str(port), str(EVERY)) as child:
        connect(port, child).close()
        status, record, said = load(
            tmp_path, f"redis://127.0.0.1:{port}", "--connections", 200, "--hold", "2s",
            "--timeout", "10s",
        )  # fmt: skip
        match = re.search(r"([0-9,]+) [A-Z]+, of which ([0-9,]+) were", interrupted(child))
    assert match is not None
    calls, faults = (int(text.replace(",", "")) for text in match.groups())
    assert status == 1 and faults >= 1, said
    asked = record.all_requests
    assert record.asked.scenario == "resp" and calls > EVERY
    if kind in ("crossed", "stale"):
        if kind == "stale":  # those that nobody asked for any more are not seen
            assert 1 <= asked.wrong <= faults
            faults = asked.wrong
        assert asked.faults == {kind: faults} and asked.wrong == faults
        assert record.notes == [] and asked.missing == 0
    elif kind == "double":
        assert asked.faults == {"doubled": faults} and (asked.wrong, asked.missing) == (0, 0)
    elif kind == "lost":
        assert asked.missing == faults and asked.wrong == 0
    else:
        assert asked.wrong == asked.missing == 0
        (note,) = record.notes
        faults -= calls % EVERY == 0  # nobody came after the last one to hear its number again
        assert f"INCR: {faults:,} of {calls:,} replies said a number that another" in note
        assert note in " ".join(said.split())


def test_one_that_is_right_is_found_right(tmp_path: Path) -> None:
    with serving(KeyValue()) as run:
        status, record, said = load(
            tmp_path, f"redis://127.0.0.1:{run.port}", "--connections", 2000, "--hold", "1s",
        )  # fmt: skip
    assert status == 0 and record.verdict.complete, said
    assert record.asked.scenario == "resp" and record.notes == [] and record.faults == []
    assert record.all_requests.right == record.all_requests.sent > 2000

"""The observer's end in the run's process: it never waits, and outlives its other process."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.cli.live import observer as module
from c1m.cli.live.observer import Observer, as_json
from c1m.errors import C1mError, UsageError
from c1m.results import codec
from c1m.results.record import Requests
from c1m.results.snapshot import Snapshot
from snapshot_samples import busy

TAKES_ALL_LATER = """
import os, sys, time
time.sleep(0.5)
with open({path!r}, "wb") as file:
    while message := os.read(0, 1 << 20):
        file.write(message + b"\\n")
"""


def stand_in(code: str, monkeypatch: pytest.MonkeyPatch) -> Observer:
    """An observer whose other process runs `code`, in the mode of a dashboard."""
    monkeypatch.setattr(module, "_COMMAND", (sys.executable, "-c", code))
    monkeypatch.setattr(module, "can_draw", lambda stream: True)
    return Observer(sys.stdout)


def children() -> set[str]:
    """The pids of this process's children."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def wide(number: int) -> Snapshot:
    """A snapshot whose message is long: a socket holds some thirty of them."""
    return busy(elapsed_s=float(number), errnos={f"E{i:04}": i for i in range(700)})


@given(st.lists(st.integers(0, 1 << 60), max_size=60), st.floats(), st.text(max_size=20))
def test_a_message_says_what_the_codec_would(octaves: list[int], rate: float, text: str) -> None:
    snapshot = busy(octaves=octaves, right_per_s=rate, target=text, open=np.int64(7),
                    sent_per_s=np.float64(0.5), lag_max_ns=np.int32(3))  # fmt: skip
    line = as_json(snapshot)
    plain = codec.decode(Snapshot, codec.encode(snapshot))
    read = codec.decode(Snapshot, json.loads(line))
    if np.isfinite(rate):
        assert read == plain
    assert (read.octaves, read.target, read.open) == (octaves, text, 7)


def test_quiet_starts_nothing_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Observer(sys.stdout, is_quiet=True) as observer:
        observer.show(busy())
        assert observer._process is None
    assert capfd.readouterr() == ("", "")


def test_off_a_terminal_a_dashboard_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Observer(sys.stdout) as observer:
        assert not observer.is_drawn and observer._process is None
        observer.show(busy())
    assert "999,940 open" in capsys.readouterr().out


def test_metrics_are_served_until_the_end() -> None:
    pytest.importorskip("prometheus_client")
    with Observer(sys.stdout, is_quiet=True, metrics=":0") as observer:
        observer.show(busy(open=123))
        for _ in range(100):  # the other process may not have read it yet
            with urllib.request.urlopen(observer.urls["metrics"]) as answer:
                if "\nc1m_connections_open 123.0\n" in answer.read().decode():
                    break
        else:
            raise AssertionError("the snapshot was not served")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(observer.urls["metrics"])


def test_a_port_in_use_is_one_sentence_and_leaves_nothing_running() -> None:
    pytest.importorskip("prometheus_client")
    with Observer(sys.stdout, is_quiet=True, metrics=":0") as first:
        before = children()
        address = first.urls["metrics"].removeprefix("http://").removesuffix("/metrics")
        with pytest.raises(UsageError, match=f"served at {address}: address already in use"):
            Observer(sys.stdout, is_quiet=True, metrics=address)
        assert children() == before


def test_what_is_no_address_starts_nothing() -> None:
    before = children()
    with pytest.raises(UsageError, match="--metrics: 'here' is not an address with one port"):
        Observer(sys.stdout, is_quiet=True, metrics="here")
    assert children() == before


def test_metrics_that_do_not_start_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COMMAND", (sys.executable, "-c", "raise MemoryError('none')"))
    with pytest.raises(C1mError, match="did not start: MemoryError: none"):
        Observer(sys.stdout, is_quiet=True, metrics=":0")


def test_a_slow_observer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots are dropped while the socket is full; all that arrives is whole and in order."""
    path = tmp_path / "taken"
    observer = stand_in(TAKES_ALL_LATER.format(path=str(path)), monkeypatch)
    for i in range(300):
        observer.show(wide(i))
    observer.show(busy(elapsed_s=300.0, is_last=True))
    observer.close()
    lines = path.read_bytes().splitlines()
    taken = [codec.decode(Snapshot, json.loads(line)) for line in lines]
    again = observer.dropped - (301 - len(taken))
    assert again in (0, 1)  # 1: the last was dropped, then sent after all
    assert observer.dropped > 0
    came = [int(one.elapsed_s) for one in taken[:-1]]
    assert taken[:-1] == [wide(i) for i in came]
    assert came == sorted(set(came))
    assert taken[-1].is_last


def test_one_that_never_reads_is_ended(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.1)
    monkeypatch.setattr(module, "LAST_S", 0.1)
    observer = stand_in("import time; time.sleep(600)", monkeypatch)
    for i in range(100):
        observer.show(wide(i))
    process = observer._process
    observer.close()
    assert process is not None and process.returncode == -9
    assert "ended badly (signal 9)" in capfd.readouterr().err


def test_when_it_dies_the_run_goes_on_with_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = stand_in("import sys; sys.exit('no terminal')", monkeypatch)
    assert observer._process is not None
    observer._process.wait(60)
    for second in range(3):
        observer.show(busy(elapsed_s=float(second), requests=Requests(right=second)))
    observer.close()
    out, err = capsys.readouterr()
    assert err == "c1m: the dashboard ended (status 1: no terminal).\n"
    assert not observer.is_drawn
    assert [line[:8] for line in out.splitlines()] == ["   0.0 s", "   1.0 s", "   2.0 s"]

"""Plain lines: what they say, and when they are left out."""

from __future__ import annotations

import io
import os
import threading

import pytest

from c1m.cli.live.plain import Live, PlainLines, can_draw, plain_line
from c1m.results.snapshot import Snapshot
from snapshot_samples import busy, of_a_cluster, run


class Terminal(io.StringIO):
    """A stream in memory that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def lines_of(snapshots: list[Snapshot]) -> list[str]:
    stream = io.StringIO()
    lines = PlainLines(stream)
    for snapshot in snapshots:
        lines.add(snapshot)
    lines.done()
    return stream.getvalue().splitlines()


def test_a_busy_moment_in_one_line() -> None:
    assert plain_line(busy()) == (
        "  52.4 s  hold 1M for 60s at 50k/s (2 of 4)  999,940 open  "
        "1,648,100 right at 49,870/s of 50,000/s  p50 1.18 ms p99 17.1 ms max 45.3 ms  "
        "3 wrong  2 missing  100 unsent  13 failed  47 lost  "
        "(47 x ECONNRESET, 9 x ECONNREFUSED, 4 x ETIMEDOUT, 2 x garbled)"
    )


def test_nothing_yet_is_short() -> None:
    assert plain_line(Snapshot()) == "   0.0 s  0 open"


def test_figures_that_are_none_do_not_stop_a_line() -> None:
    assert "right at 0.0/s" in plain_line(busy(right_per_s=float("nan")))


def test_at_most_a_line_a_second_but_for_stages_and_the_end() -> None:
    snapshots = list(run(step_s=0.1))
    lines = lines_of(snapshots)
    assert len(lines) <= 95 + 4 + 1
    assert lines[-1].startswith("  95.0 s")
    firsts = {s.stage: s.elapsed_s for s in reversed(snapshots)}
    for stage, start_s in firsts.items():
        assert any(line.startswith(f"{start_s:6.1f} s  {stage}") for line in lines)


def test_only_what_is_new_but_a_sign_of_life() -> None:
    quiet = [busy(elapsed_s=float(t), stage_left_s=200.0 - t) for t in range(150)]
    assert [line[:8] for line in lines_of(quiet)] == ["   0.0 s", "  60.0 s", " 120.0 s"]


def test_a_terminal_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    live = Live(stream)
    live.show("one")
    live.show("2" * 50)
    live.done()
    assert stream.getvalue() == "\r\x1b[Kone\r\x1b[K" + "2" * 39 + "\n"


@pytest.mark.parametrize("term", ["dumb", "unknown", "", None])
def test_a_dumb_terminal_gets_plain_lines(
    term: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    stream = Terminal()
    Live(stream).show("one")
    assert stream.getvalue() == "one\n"
    assert not can_draw(stream)


def test_a_full_pipe_is_not_waited_for() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    live = Live(stream)

    def fill() -> None:
        for i in range(5000):  # 100 bytes each: eight times what a pipe holds
            live.show(f"{i:99}")

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    taken = os.read(reader, 1 << 20)
    assert taken.startswith(b"%99d\n%99d\n" % (0, 1)) and len(taken) % 100 == 0
    live.show("goes on")
    assert os.read(reader, 100) == b"goes on\n"
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        live.show("to nobody")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_lost_worker_and_those_that_are_waited_for() -> None:
    lost = "  DEGRADED: lost 10.0.0.4:40001 at 31.2 s: it was silent for 8 s"
    assert plain_line(of_a_cluster()).endswith(lost)
    silent = busy(worker_states={"running": 2, "silent": 2})
    assert plain_line(silent).endswith("  2 workers silent")
    waiting = plain_line(Snapshot(stage="waiting for 3 of 4 workers", stages=2))
    assert waiting == "   0.0 s  waiting for 3 of 4 workers  0 open"

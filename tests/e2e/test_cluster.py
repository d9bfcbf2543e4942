"""`c1m load --cluster local:N`: the whole is what one load client would have done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from distributed import Security

from c1m.cluster.part import Order, Part
from c1m.results.options import LoadOptions
from c1m.results.record import RunRecord
from c1m.results.share import Share
from e2e import cli_helpers as cli
from e2e.dask_processes import Cluster, below, command, connections_to, until

ROLES = ("scheduler", "worker", "client")


def test_two_processes_together_do_what_was_asked(tmp_path: Path) -> None:
    """Connections and requests add up, and nothing of Dask's is said on the terminal."""
    with cli.Server(tmp_path) as server:
        path = tmp_path / "run.json"
        done = cli.run(
            "load", server.url, "--connections", 101, "--hold", "2s", "--rate", "200/s",
            "--cluster", "local:2", "--quiet", "--json", path,
        )  # fmt: skip
    assert done.stderr == ""
    record = RunRecord.read(path)
    assert record.connections.opened == record.connections.open_at_end == 101
    assert record.requests.right == record.requests.sent == 400


def test_no_scheduler_is_named(tmp_path: Path) -> None:
    """What is no address, and where nobody answers, is said in a sentence."""
    for given, said in [
        ("nonsense", "--cluster 'nonsense' is no scheduler's address."),
        ("http://127.0.0.1:80", "is no scheduler's address."),
        ("local:0", "--cluster local:0 is no number of processes from 1 to 64."),
        (f"tcp://127.0.0.1:{cli.free_ports(1)}", "No Dask scheduler answers at tcp://127.0.0.1:"),
    ]:
        done = cli.run("load", "tcp://127.0.0.1:1", "--cluster", given, "--quiet")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_terminal_interrupts_it(tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of the terminal: only the controller minds."""
    with cli.Server(tmp_path) as server:
        path = tmp_path / "run.json"
        load = cli.start(
            "load", server.url, "--connections", 100, "--hold", "10m", "--cluster", "local:2",
            "--quiet", "--json", path,
        )  # fmt: skip
        until(lambda: connections_to(int(server.url.rpartition(":")[2])) == 100, "the hold")
        os.killpg(load.pid, signal.SIGINT)
        said, errors = cli.finish(load)
    assert (load.returncode, errors) == (1, ""), said
    record = RunRecord.read(path)
    assert record.connections.opened == 100
    assert record.verdict.shortfalls == ["The run was interrupted before its end."]


def test_interrupted_before_the_start(tmp_path: Path) -> None:
    """It ends at once, and says so."""
    with cli.Server(tmp_path) as server:
        load = cli.start("load", server.url, "--connections", 10, "--cluster", "local:2", "--quiet")
        until(lambda: any(b"cluster.child" in command(pid) for pid in below(load.pid)), "a part")
        load.send_signal(signal.SIGINT)
        _, errors = cli.finish(load)
    assert (load.returncode, errors) == (1, "c1m: It was interrupted before it began.\n")


def test_an_order_to_end_before_the_start() -> None:
    """Also where the worker ignores SIGINT, as those of local:N do: who waits for the start of a
    run ends at once."""
    ours, theirs = Pipe()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "c1m.cluster.child", str(theirs.fileno()), "."],
            pass_fds=[theirs.fileno()],
        )
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.close()
    asked = LoadOptions(targets=["tcp://127.0.0.1:1"], connections=1)
    with child, ours:
        ours.send(Part("run", Share(0, 2), asked))
        while ours.recv()[0] != "ready":
            pass
        ours.send(Order("stop"))
        assert ours.recv() == ("failed", 0, "It was ended before it began.")
    assert child.returncode == 0


def test_without_dask() -> None:
    """It is imported only for a cluster, and said to be missing there."""
    words = "import sys, c1m; sys.modules['distributed'] = None; from c1m.cli.main import main"
    load = "sys.argv[1:] = ['load', 'tcp://127.0.0.1:1', '--cluster', 'local:2']; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"{words}; assert 'dask' not in sys.modules; {load}"],
        capture_output=True, text=True, timeout=cli.PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "c1m: --cluster needs Dask, and there is no module 'distributed' here. "
        "Install it: pip install 'c1m[cluster]'.\n"
    )


@pytest.mark.parametrize("app", ["kv", "push"])
def test_what_is_spoken(tmp_path: Path, app: str) -> None:
    """Other protocols than echoed bytes."""
    url = {"kv": "tcp://127.0.0.1:0", "push": "http://127.0.0.1:0"}[app]
    with cli.Server(tmp_path, app=app, listen=[url]) as server:
        host = server.url.partition("://")[2].rstrip("/")
        asked = {"kv": [f"redis://{host}"], "push": [f"http://{host}/no", "--expect-status", 404]}
        path = tmp_path / "run.json"
        done = cli.run(
            "load", *asked[app], "--connections", 21, "--stage", "ramp 21",
            "--stage", "hold for 2s at 100/s", "--cluster", "local:3", "--quiet", "--json", path,
        )  # fmt: skip
    assert done.stderr == ""
    record = RunRecord.read(path)
    assert record.connections.opened == record.connections.open_at_end == 21
    assert record.requests.right == record.requests.sent == 200, done.stdout


def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's own settings say with which certificates."""
    temporary: Any = Security.temporary
    made = temporary()
    for role in ("ca_file", *(f"{w}_{k}" for w in ROLES for k in ("cert", "key"))):
        file = tmp_path / f"{role}.pem"
        file.write_text(getattr(made, f"tls_{role}"))
        name = role.upper().replace("_CERT", "__CERT").replace("_KEY", "__KEY")
        monkeypatch.setenv(f"DASK_DISTRIBUTED__COMM__TLS__{name}", str(file))
    with cli.Server(tmp_path) as server, Cluster(tmp_path, 1, scheme="tls") as cluster:
        done = cli.run(
            "load", server.url, "--connections", 10, "--cluster", cluster.address, "--quiet",
            "--hold", "1s", "--rate", "50/s", "--json", tmp_path / "run.json",
        )  # fmt: skip
    assert done.stderr == ""
    assert RunRecord.read(tmp_path / "run.json").connections.opened == 10


_BUSY = """
    busy = sorted(client.scheduler_info()["workers"])[0]
    work = client.submit(time.sleep, 600, workers=[busy], pure=False)
    print(busy, flush=True)
"""


def test_workers_that_have_other_work(tmp_path: Path) -> None:
    """Who does not begin in time is named, and that it is busy; nothing is opened."""
    with cli.Server(tmp_path) as server, Cluster(tmp_path) as cluster:
        with cluster.client(_BUSY) as busy:
            done = cli.run(
                "load", server.url, "--connections", 10, "--cluster", cluster.address, "--quiet",
                "--ready-timeout", "15s",
            )  # fmt: skip
        assert done.returncode == 1 and done.stdout == ""
        assert f"1 of 2 workers were not ready within 15.0 s: {busy}. Are they" in done.stderr
        assert not cluster.load_clients()
        assert server.stop() == 0 and server.figures()["opened"] == 0

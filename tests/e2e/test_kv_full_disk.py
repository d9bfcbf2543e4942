"""A disk that fills up under a server: writes are refused, reads go on, and it recovers.

The disk is a small tmpfs in a mount namespace of the server's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from e2e.library_runs import WAIT_S, eventually

SERVER = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "c1m-test", sys.argv[1]], check=True)
from c1m.apps.kv import data_flusher, persistence
from c1m.apps.kv.app import KeyValue
from c1m.serving import serve
persistence.RETRY_NS_MAX = 100_000_000
data_flusher.ROUND_S = 0.1
serve(KeyValue(data=sys.argv[1] + "/data", durability=sys.argv[3]), "unix://" + sys.argv[2])
"""


@pytest.fixture(params=["always", "everysec", "no"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server whose disk has 3 MB; its socket is `sock`, its disk `disk` of its root."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = [sys.executable, "-c", SERVER, str(disk), str(tmp_path / "sock"), request.param]
    with subprocess.Popen(["unshare", "--mount", *arguments]) as child:
        try:
            eventually((tmp_path / "sock").exists, "it listens")
            yield child
        finally:
            child.terminate()
            child.wait(WAIT_S)


def test_a_full_disk(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    disk = Path(f"/proc/{server.pid}/root") / str(tmp_path / "disk")[1:]
    filler = disk / "filler"
    with redis.Redis(unix_socket_path=str(tmp_path / "sock"), socket_timeout=WAIT_S) as client:
        client.set("before", 1)
        filler.write_bytes(b"")
        with filler.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        confirmed: list[int] = []

        def is_refused() -> bool:
            number = len(confirmed)
            try:
                client.set(f"k{number}", "v" * 500)
            except redis.ResponseError as error:
                return str(error).startswith("MISCONF Errors writing to the data store: ")
            confirmed.append(number)
            return False

        eventually(is_refused, "writes are refused")
        assert client.get("before") == b"1"
        assert client.exists("before") == 1
        filler.unlink()

        def works() -> bool:
            try:
                return bool(client.set("after", 1))
            except redis.ResponseError:
                return False

        eventually(works, "writes are taken again")
        for number in confirmed:
            assert client.get(f"k{number}") == b"v" * 500
    server.terminate()
    assert server.wait(WAIT_S) == 0

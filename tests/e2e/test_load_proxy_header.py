"""`c1m load --proxy-header`: as a proxy in front of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import c1m
import certificates
from e2e.cli_helpers import load, run
from e2e.library_runs import serving

COUNT = 200


class Clients(c1m.App):
    """An echo that keeps the addresses of those who came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        self.seen += server.peers(batch.slots)

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_each_connection_is_a_client(
    tmp_path: Path, engine: str, version: str, scheme: str
) -> None:
    ours, app = certificates.authority(), Clients()
    leaf = ours.leaf("localhost", "127.0.0.1")
    options: dict[str, Any] = {}
    if scheme == "tls":
        options = {"tls": c1m.TLS(cert=str(leaf.cert), key=str(leaf.key))}
    with serving(app, f"{scheme}+proxy://127.0.0.1:0", **options) as server:
        status, record, said = load(
            tmp_path, f"{scheme}://127.0.0.1:{server.port}", "--connections", COUNT,
            "--proxy-header", version, "--engine", engine, "--hold", "1s",
            *(("--ca", ours.cert) if options else ()),
        )  # fmt: skip
        assert status == 0, said
        assert record.verdict.complete and record.asked.proxy_header == version
    assert len(set(app.seen)) == len(app.seen) == COUNT
    assert all(host.startswith("198.18.") for host, _ in app.seen)


def test_a_version_that_is_none() -> None:
    done = run("load", "tcp://127.0.0.1:1", "--connections", 1, "--proxy-header", "3")
    assert done.returncode == 2 and "--proxy-header" in done.stderr

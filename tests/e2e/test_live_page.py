"""`c1m load --live`: the dashboard of a real run as a page, in a real browser."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from e2e.cli_helpers import Server, finish, free_ports, run, start
from e2e.devtools import Browser

PHONE: dict[str, Any] = {"width": 390, "height": 844, "touch": True}
LOAD = ("--connections", "500", "--rate", "2k/s", "--live", ":0")


def began(*arguments: object) -> tuple[subprocess.Popen[str], str]:
    """A run whose page is served, and the page's URL."""
    process = start("load", *arguments, "--json", "/dev/null")
    assert process.stderr is not None
    name, _, url = process.stderr.readline().strip().partition(": ")
    assert name == "live", name
    return process, url


def text(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


def test_a_run_is_watched_from_its_middle_to_its_verdict(browser: Browser, tmp_path: Path) -> None:
    with Server(tmp_path, "--quiet") as server:
        process, url = began(server.url, *LOAD, "--hold", "4s", "--require", "lost == 0")
        with browser.open(url) as page, browser.open(url, **PHONE, dark=True) as phone:
            for each in (page, phone):
                each.wait_for(f"{text('tiles')}.includes('of 500 asked')")
                each.wait_for("document.querySelectorAll('#rate path').length === 2")
            assert page.value(text("target")) == f"{server.url} echo"
            page.wait_for(f"{text('stage')}.startsWith('Stage 2 of 2')")
            page.wait_for("rows.length > 4 && rows.every((row, i) => !i || row[0] > rows[i-1][0])")
            for each in (page, phone):
                each.wait_for(f"{text('state')} === 'The run is over'")
                assert each.value(text("verdict")).startswith("COMPLETE: 500 of 500 connections")
                assert "holds: lost == 0 (0)" in each.value(text("verdict"))
                assert each.value("document.getElementById('verdict').className") == "good"
                each.wait_for(f"{text('left')}.startsWith('done after')")
                assert each.complaints() == []
                assert each.requested() == [url, f"{url}events"]
            assert phone.value("document.documentElement.scrollWidth") <= PHONE["width"]
            assert phone.value("getComputedStyle(document.body).color") == "rgb(236, 234, 229)"
            page.screenshot(tmp_path / "live.png")
            assert (tmp_path / "live.png").stat().st_size > 30_000
        output, said = finish(process)
        assert process.returncode == 0 and said == ""
        assert "COMPLETE" in output


def test_the_workers_of_a_cluster_have_a_line_each(browser: Browser, tmp_path: Path) -> None:
    with Server(tmp_path, "--quiet") as server:
        process, url = began(server.url, *LOAD, "--hold", "6s", "--cluster", "local:2")
        with browser.open(url) as page:
            page.wait_for(f"{text('workers')}.includes('2 running')")
            rows = "[...document.querySelectorAll('#workers tr')].slice(1)"
            page.wait_for(f"{rows}.every((row) => row.cells[2].textContent === '250')")
            page.wait_for(f"{rows}.every((row) => row.cells[5].textContent.endsWith('%'))")
            assert page.value(f"{rows}.length") == 2
            assert page.value("document.getElementById('degraded').hidden")
            page.wait_for(f"{text('verdict')}.startsWith('COMPLETE: 500 of 500 connections')")
            assert page.complaints() == []
        finish(process)
        assert process.returncode == 0


def test_who_comes_late_gets_the_run_so_far(tmp_path: Path) -> None:
    """Beside metrics; the events are JSON, whatever the figures are."""
    with Server(tmp_path, "--quiet") as server:
        options = ("--hold", "3s", "--metrics", ":0")
        process = start("load", server.url, *LOAD, *options)
        assert process.stderr is not None
        urls = dict(process.stderr.readline().strip().split(": ") for _ in range(2))
        assert urls.keys() == {"metrics", "live"}
        with urllib.request.urlopen(urls["metrics"], timeout=60) as answer:
            assert b"c1m_connections_open" in answer.read()
        with urllib.request.urlopen(f"{urls['live']}events", timeout=60) as answer:
            events = answer.read().decode().split("\n\n")
        events = [one for one in events if one and one != ":"]  # without comments that keep alive
        parts = [dict(line.split(": ", 1) for line in one.split("\n")) for one in events]
        names = [part["event"] for part in parts]
        assert names == ["past", *["now"] * (len(names) - 2), "verdict"]
        (past, *snapshots, verdict) = (json.loads(part["data"]) for part in parts)
        assert [len(row) for row in past] == [7] * len(past)
        assert snapshots[-1]["is_last"] and verdict["verdict"]["is_good"]
        assert "COMPLETE" in verdict["verdict"]["summary"]
        finish(process)
        assert process.returncode == 0


def test_a_port_that_is_taken_is_refused_before_the_run(tmp_path: Path) -> None:
    with Server(tmp_path, "--quiet") as server, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("load", server.url, "--connections", 10, "--live", f":{port}")
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith(f"c1m: The page cannot be served at :{port}: ")
        assert "Give another address with --live." in done.stderr
        assert "Traceback" not in done.stderr
        both = free_ports(1)
        done = run("load", server.url, "--connections", 10, "--live", f":{both}",
                   "--metrics", f":{both}")  # fmt: skip
        assert done.returncode == 2 and "cannot be served at" in done.stderr
        assert server.stop() == 0
        assert server.figures()["opened"] == 0


@pytest.mark.parametrize("address", ["", "x", ":99999", "127.0.0.1:80-90", "unix:///x"])
def test_an_address_that_is_none(address: str) -> None:
    done = run("load", "tcp://127.0.0.1:9", "--live", address)
    assert done.returncode == 2
    assert f"--live: {address!r} is not an address with one port." in done.stderr
    assert "Write :8080 (this machine only)" in done.stderr


def test_what_is_no_page(tmp_path: Path) -> None:
    with Server(tmp_path, "--quiet") as server:
        process, url = began(server.url, *LOAD, "--hold", "2s")
        for path, status in (("nothing", b"404"), ("events/x", b"404")):
            with socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1][:-1]))) as peer:
                peer.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert peer.recv(100).split()[1] == status
        finish(process)
        assert process.returncode == 0

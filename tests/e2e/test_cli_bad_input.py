"""Bad input: one line on standard error that begins with "c1m: ", status 2, nothing left behind.

Nothing here reaches beyond this host: what has no route is asked for in a network namespace that
has nothing but a loopback interface.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.cli_helpers import run

PORT = "tcp://127.0.0.1:1"  # nobody is asked for anything there


def refused(tmp_path: Path, *arguments: object, before: tuple[str, ...] = ()) -> str:
    """The sentence with which a command is refused, having changed nothing in its directory."""
    found = sorted(path.name for path in tmp_path.rglob("*"))
    done = run(*arguments, cwd=tmp_path, before=before)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("c1m: "), done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == found
    assert processes_in(tmp_path) == []
    return done.stderr


def processes_in(directory: Path) -> list[str]:
    """Processes that work there: what a command started and left behind would."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # ended meanwhile, or not ours to see
            if os.readlink(link) == str(directory):
                found.append(link.parent.name)
    return found


LOAD = ("load", PORT, "--connections", "10")
SERVE = ("serve", "echo", "--listen")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("load", "htp://127.0.0.1:80", "--connections", "1"),
            "scheme of .* is unknown. Is http:// meant?",
        ),
        ((*SERVE, "udp://127.0.0.1:8001"), "scheme .* unknown"),
        ((*SERVE, "127.0.0.1"), "is not an endpoint"),
        ((*SERVE, "tcp://127.0.0.1:8009-8001"), "backwards"),
        ((*SERVE, "tcp://127.0.0.1:70000"), "above 65535"),
        ((*SERVE, "tcp://:8001"), "names no host"),
        ((*SERVE, "unix://relative"), "absolute path"),
        ((*SERVE, "unix:///no/such/directory/sock"), "cannot be listened on"),
        ((*SERVE, "tcp://127.0.0.1:0", "--connections-max", "0"), "holds nothing"),
        ((*SERVE, "tcp://127.0.0.1:0", "--drain", "soon"), "not a duration"),
        ((*SERVE, "tcp://127.0.0.1:0", "--outbox", "much"), "not a size"),
        ((*SERVE, "tcp://127.0.0.1:0", "--backlog", "99999999999"), "too large for --backlog"),
        ((*SERVE, "tcp://127.0.0.1:0", "--busy-poll", "1h"), "--busy-poll. Give 0 to 100 ms"),
        ((*SERVE, "tcp://127.0.0.1:0", "--drain", "2000000h"), "Give 0 to 1,000,000h"),
        ((*SERVE, "tcp://127.0.0.1:0", "--json", "no/such/file"), "cannot be written"),
        (
            ("load", "redi://:secret@127.0.0.1"),
            "'redi://:[*]{3}@127.0.0.1' is unknown. Is redis://",
        ),
        (("load", "http://127.0.0.1", "--topic", "a"), "no use with http://.*mqtt://, mqtts://"),
        (("load", "http://127.0.0.1", "--scenario", "resp"), "cannot be spoken over http://"),
        (("load", "http://127.0.0.1", "--scenario", "echo"), "cannot be spoken over http://"),
        (("load", "redis://127.0.0.1", "--scenario", "echo"), "cannot be spoken over redis://"),
        (("load", "redis://127.0.0.1", "--scenario", "http"), "it is 'resp' here"),
        (("load", "http://127.0.0.1", "--header", "A: b\r\nC: d"), "is no field.*in one line"),
        (("load", "http://127.0.0.1", "--ca", "ca.pem"), "--ca is for targets over TLS"),
        (("load", "https://127.0.0.1", "--ca", "ca.pem"), "ca.pem cannot be read"),
        (("load", PORT, "--require", "check: == 0"), "names no check"),
        (("load", PORT, "--require", "check:\udcff == 0"), "names no check"),
        (("load", PORT, "--require", "status:5x == 0"), "no status of HTTP"),
        (("load", "tcp://127.0.0.1:9-8", "--connections", "1"), "backwards"),
        (("load", "tcp://127.0.0.1:0", "--connections", "1"), "port 0"),
        (("load", "tcp://0.0.0.0:8001", "--connections", "1"), "no target"),
        (("load", PORT, "--connections", "0"), "too small for --connections. Give 1 to"),
        (("load", PORT, "--connections", "-5"), "not a count"),
        (("load", PORT, "--connections", "many"), "not a count"),
        (("load", PORT, "--connections", "1.5"), "not a whole number"),
        ((*LOAD, "--hold", "forever"), "not a duration"),
        ((*LOAD, "--timeout", "0s"), "too small for --timeout. Give 1 ns to"),
        ((*LOAD, "--connect-rate", "0/s"), "not above zero"),
        ((*LOAD, "--connect-rate", "fast"), "not a rate"),
        ((*LOAD, "--connect-window", "0"), "too small for --connect-window"),
        ((*LOAD, "--message", "{x}"), "stands for nothing"),
        ((*LOAD, "--message", "{n"), "stands for nothing"),
        ((*LOAD, "--message", ""), "empty"),
        ((*LOAD, "--source", "here"), "not a source address"),
        ((*LOAD, "--source", "::1"), "not of the target's address family"),
        ((*LOAD, "--source", "192.0.2.1"), "192.0.2.1 is not an address of this host"),
        ((*LOAD, "--source", ""), "not a source address"),
        ((*LOAD, "--server-pid", "4194303"), "no process 4194303"),
        ((*LOAD, "--message", "@/dev/zero"), "more than 1,048,576 bytes"),
        ((*LOAD, "--plan", "/dev/zero"), "more than 1,048,576 bytes"),
        ((*LOAD, "--json", ""), "without a name"),
        (("load", "tcp://[::1]:1", "--connections", "100k"), "Use 127.0.0.1.* on [0-9]+ ports"),
        (("report", "/dev/zero"), "more than 67,108,864 bytes"),
        ((*LOAD, "--json", "no/such/run.json"), "no directory no/such"),
        ((*LOAD, "--report", "no/such/run.html"), "no directory no/such"),
        ((*LOAD, "--json", "."), "is a directory"),
        (("load", PORT, "unix:///run/x", "--connections", "1"), "mix address families"),
        (("report", "missing.json"), "cannot be read: no such file"),
        (("demo", "--connections", "0"), "0 connections were asked"),
        (("demo", "--connections", "10", "--hold", "x"), "not a duration"),
        (("demo", "--connections", "10", "--out", "/dev/null/out"), "cannot be made"),
        (("doctor", "--connections", "0"), "0 connections were asked"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    assert re.search(said, refused(tmp_path, *arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("load", "--connections", "1"), "TARGET"),
        ((*LOAD, "--bogus"), "--bogus"),
        ((*LOAD, "--engine", "kqueue"), "kqueue"),
        ((*LOAD, "--server-pid", "x"), "--server-pid: 'x' is not a process id."),
        ((*LOAD, "--server-pid", "0"), "is not a process id"),
        ((*LOAD, "--server-pid", "-1"), "is not a process id"),
        ((*LOAD, "--server-pid", "999999999"), "is not a process id"),
        (("serve", "nosuch", "--listen", "tcp://127.0.0.1:0"), "nosuch"),
        (("serve", "echo"), "--listen"),
        (("bogus",), "bogus"),
        (("report",), "RECORD"),
        (("serve",), "Choose from: echo, kv, push, or MODULE:NAME. Try"),
        (("report", "a", "b"), "unexpected extra argument (b). Try"),
    ],
)
def test_a_command_line_that_is_not_one(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(tmp_path, *arguments)


def test_a_port_in_use_names_who_holds_it(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        url = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        said = refused(tmp_path, *SERVE, url)
        assert url in said and "in use by" in said and f"(process {os.getpid()})" in said
        # With another listener before it: that one is not left behind either.
        path = tmp_path / "echo.sock"
        refused(tmp_path, *SERVE, f"unix://{path}", "--listen", url)
        assert not path.exists()


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        assert "in use" in refused(tmp_path, *SERVE, f"unix://{path}")
    (tmp_path / "file").write_text("mine")
    assert "no socket" in refused(tmp_path, *SERVE, f"unix://{tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", [("load", PORT), ("demo",)])
def test_more_than_the_machine_can_hold_says_how_many_fit(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    said = refused(tmp_path, *command, "--connections", "900M")
    assert "900,000,000 connections were asked" in said
    numbers = [int(n.replace(",", "")) for n in re.findall(r"[0-9][0-9,]*", said)]
    assert any(100 < n < 900_000_000 for n in numbers)


def test_epoll_beyond_its_descriptors_names_that_limit(tmp_path: Path) -> None:
    limit = ("prlimit", "--nofile=500:500")
    said = refused(tmp_path, "load", PORT, "--connections", "600", "--engine", "epoll",
                   before=limit)  # fmt: skip
    assert "600 connections were asked" in said and "RLIMIT_NOFILE" in said
    fits = re.search(r"can hold about ([0-9,]+) ", said)
    assert fits is not None and 300 < int(fits[1]) < 500
    assert "--engine uring" in said


def in_an_empty_network() -> tuple[str, ...]:
    """What starts a command with nothing but a loopback interface; skips where that cannot be."""
    before = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
    tried = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    return before


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]"])
def test_no_route(tmp_path: Path, host: str) -> None:
    target = f"tcp://{host}:80"
    said = refused(tmp_path, "load", target, "--connections", "10", before=in_an_empty_network())
    assert f"no way to {target}: network is unreachable" in said
    assert "ip route get" in said


def test_an_unknown_host(tmp_path: Path) -> None:
    said = refused(
        tmp_path, "load", "tcp://nobody.invalid:80", "--connections", "1",
        before=in_an_empty_network(),
    )  # fmt: skip
    assert "nobody.invalid" in said and "not known" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps({"schema": "c1m-run/2", "asked": {"hold_s": float("nan")}}), "NaN is no"),
        ('{"schema": "c1m-run/2", "asked": {"hold_s": 1e999}}', "1e999 is no"),
        ('{"schema": "c1m-run/1", "asked": {"pipeline": -1}}', "not a count"),
        ("[]", "has no schema"),
        ("{}", "has no schema"),
        (json.dumps({"schema": "c1m-run/9"}), "c1m-run/9"),
        (json.dumps({"schema": "c1m-run/1", "connections": 5}), "damaged"),
    ],
)
def test_a_file_that_is_no_record(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert said in refused(tmp_path, "report", "run.json", "--html", "run.html")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    assert "is not text" in refused(tmp_path, "report", "run.json")


def test_files_that_are_there_stay_as_they_are_when_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("old")
    refused(tmp_path, *LOAD, "--json", "run.json", "--report", "no/such/run.html")
    assert (tmp_path / "run.json").read_text() == "old"

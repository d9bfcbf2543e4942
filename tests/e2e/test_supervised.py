"""A server that systemd has started: its sockets, what it is told, its users, and its files."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from c1m.cli.serve import serve
from c1m.errors import UsageError
from c1m.kernel.supervisor import Notifier, activated
from certificates import authority
from e2e.cli_helpers import COMMAND, PATIENCE_S, free_ports, run
from e2e.debian_servers import program

# Passes listening sockets on as sd_listen_fds(3) says, and becomes the command.
STARTER = textwrap.dedent("""
    import os, socket, sys
    names, *command = sys.argv[1:]
    for at in range(3, 3 + int(os.environ["COUNT"])):
        os.set_inheritable(at, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=os.environ["COUNT"],
                      LISTEN_FDNAMES=names)
    os.execv(command[0], command)
""")


@contextmanager
def told(tmp_path: Path, *, abstract: bool = False) -> Iterator[socket.socket]:
    """Where a supervisor hears; `NOTIFY_SOCKET` is in its `name`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0c1m-notify-{os.getpid()}" if abstract else str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_S)
        yield sock


def hear(sock: socket.socket, wanted: str) -> dict[str, str]:
    """The next datagram that has this line; all of its assignments."""
    while True:
        lines = sock.recv(4096).decode().splitlines()
        if wanted in lines:
            return dict(line.split("=", 1) for line in lines)


@contextmanager
def started(
    *arguments: object,
    sock: socket.socket | None = None,
    pass_fds: tuple[int, ...] = (),
    names: str = "",
    code: str = "",
    **environment: str,
) -> Iterator[subprocess.Popen[str]]:
    """`c1m serve`, or a program, with descriptors 3, 4, ... and a supervisor."""
    env = os.environ | environment
    if sock is not None:
        name = sock.getsockname()
        env["NOTIFY_SOCKET"] = "@" + name[1:].decode() if isinstance(name, bytes) else name
    command = [*COMMAND, "serve", *map(str, arguments)]
    if code:
        command = [sys.executable, "-c", code, *map(str, arguments)]
    if pass_fds:
        env["COUNT"] = str(len(pass_fds))
        command = [sys.executable, "-c", STARTER, names, *command]

    def at_three_and_on() -> None:
        kept = [os.dup(os.dup(os.dup(fd))) for fd in pass_fds]
        for at, fd in enumerate(kept):
            os.dup2(fd, 3 + at)

    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=at_three_and_on if pass_fds else None, close_fds=not pass_fds,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], *, is_told: bool = False) -> str:
    if not is_told:
        process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    return output


def echoed(sock: socket.socket, text: bytes = b"hello") -> bool:
    sock.settimeout(PATIENCE_S)
    sock.sendall(text)
    return sock.recv(100) == text


@pytest.mark.parametrize("abstract", [False, True])
def test_what_a_supervisor_is_told(tmp_path: Path, abstract: bool) -> None:
    with (
        told(tmp_path, abstract=abstract) as sock,
        started("echo", "--listen", "tcp://127.0.0.1:0", sock=sock, WATCHDOG_USEC="400000") as it,
    ):
        assert "STATUS" in hear(sock, "READY=1")
        for _ in range(3):
            hear(sock, "WATCHDOG=1")
        it.send_signal(signal.SIGTERM)
        said = hear(sock, "STOPPING=1")
        assert int(said["EXTEND_TIMEOUT_USEC"]) > 0
        assert "draining" in said["STATUS"]
        end(it, is_told=True)


HANGS = """
import sys, threading, time, c1m
class Hangs(c1m.App):
    def on_data(self, batch, server):
        server.send(batch.slots, batch.data)
        server.engine.flush()
        time.sleep(3600)
c1m.serve(Hangs(), sys.argv[1], engine="epoll")
"""


def test_a_loop_that_hangs_says_nothing(tmp_path: Path) -> None:
    port = free_ports(1)
    with (
        told(tmp_path) as sock,
        started(f"tcp://127.0.0.1:{port}", code=HANGS, sock=sock, WATCHDOG_USEC="400000"),
    ):
        hear(sock, "READY=1")
        hear(sock, "WATCHDOG=1")
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert echoed(client)
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    sock.recv(4096)
            sock.settimeout(2.0)  # five times what is expected within
            with pytest.raises(TimeoutError):
                sock.recv(4096)


def test_the_watchdog_of_another_process_is_not_ours(tmp_path: Path) -> None:
    with (
        told(tmp_path) as sock,
        started("echo", "--listen", "tcp://127.0.0.1:0", sock=sock, WATCHDOG_USEC="100000",
                WATCHDOG_PID="1") as it,
    ):  # fmt: skip
        hear(sock, "READY=1")
        it.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in (said := sock.recv(4096).decode()):
            assert "WATCHDOG" not in said
        end(it, is_told=True)


def test_a_reload_is_told(tmp_path: Path) -> None:
    leaf = authority().leaf("localhost")
    with (
        told(tmp_path) as sock,
        started("echo", "--listen", "tls://127.0.0.1:0", "--tls-cert", leaf.cert, "--tls-key",
                leaf.key, sock=sock) as it,
    ):  # fmt: skip
        hear(sock, "READY=1")
        it.send_signal(signal.SIGHUP)
        assert int(hear(sock, "RELOADING=1")["MONOTONIC_USEC"]) > 0
        hear(sock, "READY=1")
        end(it)


def listening(path: Path | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    sock.bind(str(path) if path else ("127.0.0.1", 0))
    sock.listen(16)
    return sock


@pytest.mark.parametrize("engine", ["uring", "epoll"])
@pytest.mark.parametrize("asks", [False, True])
def test_sockets_of_systemd_stay_its_own(tmp_path: Path, engine: str, asks: bool) -> None:
    """Who connects between two processes waits; the file of a unix socket is left where it is."""
    path = tmp_path / "echo.sock"
    with listening() as tcp, listening(path) as local:
        port = tcp.getsockname()[1]
        options = ["--listen", f"unix://{path}", "--listen", f"tcp://127.0.0.1:{port}"] * asks
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port)) as early:
                fds = (tcp.fileno(), local.fileno())
                with started("echo", *options, "--engine", engine, pass_fds=fds) as it:
                    assert echoed(early)
                    with socket.socket(socket.AF_UNIX) as client:
                        client.connect(str(path))
                        assert echoed(client)
                    end(it)
        with socket.create_connection(("127.0.0.1", port)):
            pass
        assert stat.S_ISSOCK(path.stat().st_mode)


PROGRAM = """
import asyncio, c1m
class Echo(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data)
c1m.serve(Echo)
"""


def test_a_program_of_protocols_has_them_too(tmp_path: Path) -> None:
    with (
        listening() as tcp,
        told(tmp_path) as sock,
        started(code=PROGRAM, pass_fds=(tcp.fileno(),), sock=sock) as it,
    ):
        hear(sock, "READY=1")
        with socket.create_connection(tcp.getsockname()) as client:
            assert echoed(client)
        end(it)


def test_names_say_what_is_spoken(tmp_path: Path) -> None:
    with listening() as tcp, started("echo", pass_fds=(tcp.fileno(),), names="https") as it:
        _, errors = it.communicate(timeout=PATIENCE_S)
        assert it.returncode == 2
        assert f"https://127.0.0.1:{tcp.getsockname()[1]} is to speak TLS" in errors


def test_sockets_that_do_not_fit(tmp_path: Path) -> None:
    with listening() as tcp, listening() as other:
        ports = [sock.getsockname()[1] for sock in (tcp, other)]
        options = ("--listen", f"tcp://127.0.0.1:{ports[0]}")
        with started("echo", *options, pass_fds=(tcp.fileno(), other.fileno())) as it:
            _, errors = it.communicate(timeout=PATIENCE_S)
            assert it.returncode == 2
            assert f"systemd has opened tcp://127.0.0.1:{ports[1]}, and no --listen says" in errors
    with socket.socket() as silent, started("echo", pass_fds=(silent.fileno(),)) as it:
        _, errors = it.communicate(timeout=PATIENCE_S)
        assert it.returncode == 2
        assert "is no stream socket that listens. Use ListenStream=" in errors


def test_systemds_own_activator(tmp_path: Path) -> None:
    activate = program("systemd-socket-activate", "systemd")
    port = free_ports(1)
    it = subprocess.Popen(
        [activate, "-l", f"127.0.0.1:{port}", f"--setenv=PATH={os.environ['PATH']}", *COMMAND,
         "serve", "echo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    assert echoed(client)
                    break
            assert it.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        it.send_signal(signal.SIGTERM)
        output, _ = it.communicate(timeout=PATIENCE_S)
        assert f"listening on tcp://127.0.0.1:{port}" in output
        assert it.returncode == 0
    finally:
        it.kill()
        it.communicate()


# --- who a server is ------------------------------------------------------------------------------


def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(re.split(r":\s*", line, maxsplit=1) for line in lines)


@pytest.mark.parametrize("engine", ["uring", "epoll"])
def test_a_user_without_rights_serves_on_a_privileged_port(tmp_path: Path, engine: str) -> None:
    """A key that root only may read, a port below 1024, and a file of which both are told."""
    root_only()
    tmp_path.chmod(0o711)
    leaf = authority().leaf("localhost")
    key = tmp_path / "key.pem"
    key.write_bytes(leaf.key.read_bytes())
    key.chmod(0o600)
    port, path = privileged_port(), tmp_path / "echo.sock"
    with (
        told(tmp_path) as sock,
        started("echo", "--listen", f"tls://127.0.0.1:{port}", "--tls-cert", leaf.cert,
                "--tls-key", key, "--listen", f"unix://{path}?mode=0660&group=daemon",
                "--user", "nobody", "--engine", engine, sock=sock) as it,
    ):  # fmt: skip
        os.chmod(tmp_path / "notify", 0o777)
        assert it.stdout is not None
        assert "listening" in it.stdout.readline()
        status = status_of(it.pid)
        assert set(status["Uid"].split()) == {"65534"}
        assert "0" not in (*status["Gid"].split(), *status["Groups"].split())
        for caps in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status[caps], 16) == 0
        said = path.stat()
        assert (said.st_mode & 0o777, said.st_uid, said.st_gid) == (0o660, 65534, 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert echoed(client)
        end(it)


def test_a_user_that_may_not_read_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def imports_more(*args: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'mmap'")

    monkeypatch.setattr("c1m.serving.server_of", imports_more)
    asked = ["echo", "--listen", "tcp://127.0.0.1:0", "--user", "nobody"]
    assert isinstance(CliRunner().invoke(serve, asked).exception, ModuleNotFoundError)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    said = CliRunner().invoke(serve, asked).exception
    assert isinstance(said, UsageError)
    assert "nobody (--user) may not read" in str(said)


def privileged_port() -> int:
    for port in range(600, 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1000 is free")


def test_users_that_cannot_be() -> None:
    root_only()
    listen = ("--listen", "tcp://127.0.0.1:0")
    for user, sentence in (
        ("nobody-of-that-name", "There is no user 'nobody-of-that-name'."),
        ("nobody:no-such-group", "There is no group 'no-such-group'."),
    ):
        done = run("serve", "echo", *listen, "--user", user)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    done = run(
        "serve", "echo", *listen, "--user", "daemon",
        before=["setpriv", "--reuid=61999", "--regid=61999", "--clear-groups",
                "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"],
    )  # fmt: skip
    assert done.returncode == 2
    assert "Only root can become daemon (--user), and this process is not." in done.stderr


def test_modes_that_mean_nothing(tmp_path: Path) -> None:
    for query, sentence in (
        ("mode=rw", "'mode=rw' says nothing of a unix socket."),
        ("mode=09", "'mode=09' says nothing"),
        ("owner=me", "'owner=me' says nothing of a unix socket."),
        ("group=no-such-group", "there is no such group."),
    ):
        done = run("serve", "echo", "--listen", f"unix://{tmp_path}/a.sock?{query}")
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
        assert not (tmp_path / "a.sock").exists()


def test_numbers_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digit to str.isdigit is no number to int()."""
    for name, value in {
        "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "²", "NOTIFY_SOCKET": "/nowhere",
        "WATCHDOG_USEC": "²", "WATCHDOG_PID": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert activated() == []
    notifier = Notifier()
    assert notifier.watchdog_ns == 0
    notifier.close()
